package vhd_test

import (
	"context"
	"io/fs"
	"os"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// What can be known beforehand ends a merge before it changes anything, and a dry run says the same.

// requireNotBegun says that neither a dry run nor a merge is begun, for that reason, and that the receiving image
// stays what it is.
func requireNotBegun(t testing.TB, disk *vhd.Disk, from, into int, reason error, ofDryRun bool) {
	t.Helper()
	names, id := namesOf(disk), disk.Chain()[into].Footer().ID
	copied := false
	progress := func(int64, int64) { copied = true }
	if ofDryRun {
		require.ErrorIs(t, disk.Merge(context.Background(), from, into, vhd.MergeOptions{DryRun: true, Progress: progress}), reason, "a dry run")
	}
	require.ErrorIs(t, disk.Merge(context.Background(), from, into, vhd.MergeOptions{Progress: progress}), reason)
	require.False(t, copied)
	require.Equal(t, names, namesOf(disk))
	requireID(t, id, disk.Chain()[into].Name(), disk)
}

// requireID looks into the file of an image.
func requireID(t testing.TB, want uuid.UUID, name string, disk *vhd.Disk) {
	t.Helper()
	for _, image := range disk.Chain() {
		if image.Name() == name {
			require.Equal(t, want, image.Footer().ID)
		}
	}
}

func TestADryRunOfAMergeLooksForSpace(t *testing.T) {
	mem := vhdtest.NewMemFS()
	newLine(t, vhd.Options{FS: mem}, "base.vhd")
	require.NoError(t, createAndFill("leaf.vhd", vhd.CreateOptions{Options: vhd.Options{FS: mem}, Parent: "base.vhd"}, func(d *vhd.Disk) error {
		_, err := d.WriteAt(fill(3, 1<<20), 1<<20)
		return err
	}))
	for _, writable := range []bool{true, false} {
		disk, err := vhd.Open("leaf.vhd", &vhd.Options{FS: scarceFS{mem, 1000}, Writable: writable})
		require.NoError(t, err)
		require.ErrorIs(t, disk.Merge(t.Context(), 0, 1, vhd.MergeOptions{DryRun: true}), vhd.ErrNoSpace)
		require.NoError(t, disk.Close())
	}
	disk := openLine(t, "leaf.vhd", vhd.Options{FS: scarceFS{mem, 1000}})
	requireNotBegun(t, disk, 0, 1, vhd.ErrNoSpace, true)
}

func TestADryRunOfAMergeIntoANewFileLooksWhetherItsNameIsFree(t *testing.T) {
	mem := vhdtest.NewMemFS()
	newLine(t, vhd.Options{FS: mem}, "base.vhd", "leaf.vhd")
	disk := openLine(t, "leaf.vhd", vhd.Options{FS: mem})
	require.ErrorIs(t, disk.Merge(t.Context(), 0, 1, vhd.MergeOptions{DryRun: true, Output: "base.vhd"}), fs.ErrExist)
}

func TestAMergeThatWouldResizeAnImageWithASavedStateIsNotBegun(t *testing.T) {
	mem := vhdtest.NewMemFS()
	opts := vhd.Options{FS: mem}
	newLine(t, opts, "base.vhd")
	raw, err := mem.ReadFile("base.vhd")
	require.NoError(t, err)
	var footer vhd.Footer
	require.NoError(t, footer.UnmarshalBinary(raw[len(raw)-vhd.SectorSize:]))
	footer.SavedState = 1
	saved, err := footer.MarshalBinary()
	require.NoError(t, err)
	copy(raw, saved)
	copy(raw[len(raw)-vhd.SectorSize:], saved)
	require.NoError(t, mem.WriteFile("base.vhd", raw))
	require.NoError(t, createAndFill("leaf.vhd", vhd.CreateOptions{Options: opts, Parent: "base.vhd", Size: 9 << 20}, func(d *vhd.Disk) error {
		_, err := d.WriteAt(fill(3, 4096), 0)
		return err
	}))
	requireNotBegun(t, openLine(t, "leaf.vhd", opts), 0, 1, vhd.ErrUnsupported, true)
}

func TestAMergeIntoAnImageWhoseNameTheOneAboveCanNotStoreIsNotBegun(t *testing.T) {
	dir := t.TempDir()
	names := inDir(dir, "base.vhd", "middle.vhd", "leaf.vhd", "base 12:30.vhd")
	newLine(t, vhd.Options{}, names[:3]...)
	require.NoError(t, os.Rename(names[0], names[3]))
	disk := openLine(t, names[2], vhd.Options{Search: []string{dir}})
	requireNotBegun(t, disk, 1, 2, vhd.ErrUnsupported, true)
}

func TestAMergeBelowAnImageThatOthersReadIsNotBegun(t *testing.T) {
	names := inDir(t.TempDir(), "base.vhd", "low.vhd", "middle.vhd", "high.vhd", "leaf.vhd")
	newLine(t, vhd.Options{}, names...)
	disk := openLine(t, names[4], vhd.Options{})
	reader, err := vhd.Open(names[3], &vhd.Options{NoParents: true})
	require.NoError(t, err)
	requireNotBegun(t, disk, 2, 3, vhd.ErrLocked, false)
	require.NoError(t, reader.Close())
}

func TestZerosThatBecomeDataAreSpaceToo(t *testing.T) {
	for name, sizes := range map[string][]int64{ // base first; what is written to one that has a larger parent hides zeros
		"as the receiving image grows over a larger parent": {16 << 20, 2 << 20, 16 << 20},
		"as an image between was smaller":                   {16 << 20, 16 << 20, 2 << 20, 16 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			mem := vhdtest.NewMemFS()
			parent := ""
			for n, size := range sizes {
				image := string(rune('0'+n)) + ".vhd"
				require.NoError(t, createAndFill(image, vhd.CreateOptions{Options: vhd.Options{FS: mem}, Parent: parent, Size: size}, func(d *vhd.Disk) error {
					p := fill(1, 512)
					if n == 0 {
						p = fill(1, size)
					}
					_, err := d.WriteAt(p, 0)
					return err
				}))
				parent = image
			}
			from, into := 0, len(sizes)-2
			const blocks = 8 // of 2 MiB with their bitmaps, of which the receiving image has the first
			need := int64(blocks-1) * (2<<20 + 4096)
			disk := openLine(t, parent, vhd.Options{FS: scarceFS{mem, need - 1}})
			requireNotBegun(t, disk, from, into, vhd.ErrNoSpace, true)
			require.NoError(t, disk.Close())
			disk = openLine(t, parent, vhd.Options{FS: scarceFS{mem, need}})
			content := readAll(t, disk, disk.Size())
			require.NoError(t, disk.Merge(t.Context(), from, into, vhd.MergeOptions{}))
			requireSameBytes(t, content, readAll(t, disk, disk.Size()), 0)
		})
	}
}

func TestAFileThatCanNotBeReadMayBeAnotherChild(t *testing.T) {
	mem := vhdtest.NewMemFS()
	newLine(t, vhd.Options{FS: mem}, "base.vhd", "leaf.vhd")
	require.NoError(t, mem.WriteFile("secret", []byte("x")))
	disk := openLine(t, "leaf.vhd", vhd.Options{FS: denying{mem, "secret"}})
	err := disk.Merge(t.Context(), 0, 1, vhd.MergeOptions{})
	require.ErrorIs(t, err, vhd.ErrOtherChildren)
	require.ErrorIs(t, err, fs.ErrPermission)
	require.EqualError(t, err, "vhd: secret: can't tell whether there is another child: permission denied")
	require.NoError(t, disk.Merge(t.Context(), 0, 1, vhd.MergeOptions{Force: true}))
}
