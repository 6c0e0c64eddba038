package vhd_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// What a merge leaves, or was not asked to remove, is never taken for more than it is.

const lineSize = 8 << 20

// newLine makes images on one another, base first, each with 4096 bytes of its own, and returns what
// the last reads as.
func newLine(t testing.TB, opts vhd.Options, names ...string) (content []byte) {
	t.Helper()
	content = make([]byte, lineSize)
	for n, name := range names {
		create := vhd.CreateOptions{Options: opts, Size: lineSize, BlockSize: 64 << 10}
		if n > 0 {
			create.Parent = names[n-1]
		}
		p := fill(byte(n+1), 4096)
		copy(content[n*2048:], p)
		require.NoError(t, createAndFill(name, create, func(d *vhd.Disk) error {
			_, err := d.WriteAt(p, int64(n)*2048)
			return err
		}))
	}
	return content
}

// inDir are names of files in a directory.
func inDir(dir string, names ...string) (paths []string) {
	for _, name := range names {
		paths = append(paths, filepath.Join(dir, name))
	}
	return paths
}

// openLine opens an image for writing, and closes it when the test ends.
func openLine(t testing.TB, name string, opts vhd.Options) *vhd.Disk {
	t.Helper()
	opts.Writable = true
	disk, err := vhd.Open(name, &opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = disk.Close() })
	return disk
}

// requireOrphan says that an image's parent is not what the image saw.
func requireOrphan(t testing.TB, name string, opts vhd.Options) {
	t.Helper()
	opts.Writable = false
	_, err := vhd.Open(name, &opts)
	require.ErrorIs(t, err, vhd.ErrParentMismatch)
}

func TestAMergeDoesNotRemoveAFileThatHasTheLeafsNameByNow(t *testing.T) {
	names := inDir(t.TempDir(), "base.vhd", "leaf.vhd", "kept.vhd")
	content := newLine(t, vhd.Options{}, names[:2]...)
	disk := openLine(t, names[1], vhd.Options{})
	require.NoError(t, os.Rename(names[1], names[2]))
	require.NoError(t, os.WriteFile(names[1], []byte("precious"), 0o600))
	require.ErrorIs(t, disk.Merge(t.Context(), 0, 1, vhd.MergeOptions{}), vhd.ErrLocked)
	strange, err := os.ReadFile(names[1])
	require.NoError(t, err)
	require.Equal(t, "precious", string(strange))
	p := fill(9, 512)
	copy(content, p)
	_, err = disk.WriteAt(p, 0)
	require.NoError(t, err)
	requireSameBytes(t, content, readAll(t, disk, lineSize), 0)
	require.NoError(t, disk.Close())
	requireFileReadsAs(t, names[2], content)
}

func TestALeafThatLivesOnUnderAnotherNameDoesNotReadWhatIsWrittenAfterItsMerge(t *testing.T) {
	names := inDir(t.TempDir(), "base.vhd", "leaf.vhd", "second.vhd")
	newLine(t, vhd.Options{}, names[:2]...)
	require.NoError(t, os.Link(names[1], names[2]))
	disk := openLine(t, names[1], vhd.Options{})
	require.NoError(t, disk.Merge(t.Context(), 0, 1, vhd.MergeOptions{}))
	require.NoError(t, disk.Close())
	requireOrphan(t, names[2], vhd.Options{})
}

func TestALeafBehindALinkDoesNotReadWhatIsWrittenAfterItsMerge(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	t.Cleanup(func() { _ = root.Close() })
	opts := vhd.Options{FS: vhd.RootFS(root)}
	newLine(t, opts, "base.vhd", "leaf.vhd")
	require.NoError(t, os.Symlink("leaf.vhd", filepath.Join(dir, "current.vhd")))
	disk := openLine(t, "current.vhd", opts)
	require.NoError(t, disk.Merge(t.Context(), 0, 1, vhd.MergeOptions{}))
	require.NoError(t, disk.Close())
	requireOrphan(t, "leaf.vhd", opts)
}

func TestMergedImagesThatCouldNotBeRemovedAreInNobodysWay(t *testing.T) {
	for _, levels := range [][2]int{{0, 2}, {1, 2}} {
		mem := vhdtest.NewMemFS()
		faults := vhdtest.NewFaultFS(mem)
		opts := vhd.Options{FS: faults}
		content := newLine(t, opts, "base.vhd", "low.vhd", "middle.vhd", "leaf.vhd")
		disk := openLine(t, "leaf.vhd", opts)
		left := func(op vhdtest.Op) bool { return op.Kind == vhdtest.OpRemove && op.Name == "middle.vhd" }
		faults.Arm(vhdtest.Fault{At: 1, Match: left})
		require.Error(t, disk.Merge(t.Context(), levels[0], levels[1], vhd.MergeOptions{}))
		require.Equal(t, 1, faults.Fired())
		faults.Disarm()
		require.NotContains(t, namesOf(disk), "middle.vhd")
		requireOrphan(t, "middle.vhd", opts)
		requireSameBytes(t, content, readAll(t, disk, lineSize), 0)
		require.NoError(t, disk.Merge(t.Context(), 0, 1, vhd.MergeOptions{}), "the next merge takes it for another child")
		requireSameBytes(t, content, readAll(t, disk, lineSize), 0)
		require.NoError(t, disk.Close())
	}
}

func TestAMergedImageBehindALinkIsRemoved(t *testing.T) {
	dir := t.TempDir()
	names := inDir(dir, "base.vhd", "middle.vhd", "leaf.vhd")
	content := newLine(t, vhd.Options{}, names...)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "far"), 0o700))
	far := filepath.Join(dir, "far", "real.vhd")
	require.NoError(t, os.Rename(names[1], far))
	require.NoError(t, os.Symlink(filepath.Join("far", "real.vhd"), names[1]))
	disk := openLine(t, names[2], vhd.Options{})
	require.NoError(t, disk.Merge(t.Context(), 1, 2, vhd.MergeOptions{}))
	require.NoFileExists(t, far)
	require.NoError(t, disk.Close())
	requireFileReadsAs(t, names[2], content)
}

func TestChildrenBesideWhatALinkLeadsToAreOtherChildren(t *testing.T) {
	dir := t.TempDir()
	names := inDir(dir, "base.vhd", "middle.vhd", "leaf.vhd")
	newLine(t, vhd.Options{}, names...)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "far"), 0o700))
	far := filepath.Join(dir, "far", "real.vhd")
	require.NoError(t, os.Rename(names[1], far))
	require.NoError(t, os.Symlink(filepath.Join("far", "real.vhd"), names[1]))
	other, err := vhd.Create(filepath.Join(dir, "far", "other.vhd"), vhd.CreateOptions{Parent: far, Options: vhd.Options{Root: dir}})
	require.NoError(t, err)
	require.NoError(t, other.Close())
	disk := openLine(t, names[2], vhd.Options{})
	require.ErrorIs(t, disk.Merge(t.Context(), 0, 1, vhd.MergeOptions{}), vhd.ErrOtherChildren)
}

// The leaf had nothing when the merge began, so the images below were not going to change.
func TestOtherChildrenDoNotReadWhatAMergeBringsThatWasWrittenMeanwhile(t *testing.T) {
	mem := vhdtest.NewMemFS()
	storage := vhdtest.NewCrashFS(mem, vhdtest.CrashOptions{})
	opts := vhd.Options{FS: storage}
	newLine(t, opts, "base.vhd", "other.vhd")
	require.NoError(t, createAndFill("leaf.vhd", vhd.CreateOptions{Options: opts, Parent: "base.vhd"}, func(*vhd.Disk) error { return nil }))
	disk := openLine(t, "leaf.vhd", opts)
	written := make(chan error, 1)
	begun := false
	storage.OnOp = func(op vhdtest.Op) {
		if begun || op.Kind != vhdtest.OpSync || op.Name != "base.vhd" {
			return
		}
		begun = true
		go func() {
			_, err := disk.WriteAt(fill(7, 512), 0)
			written <- err
		}()
		select {
		case err := <-written:
			written <- err
		case <-time.After(50 * time.Millisecond): // it waits
		}
	}
	require.NoError(t, disk.Merge(t.Context(), 0, 1, vhd.MergeOptions{Force: true}))
	require.NoError(t, <-written)
	require.True(t, bytes.Equal(fill(7, 512), readAll(t, disk, 512)))
	require.NoError(t, disk.Close())
	requireOrphan(t, "other.vhd", opts)
}
