package vhd

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// hookedBase is a directory of the operating system's in which each read of base.vhd can be
// held up. Other files can be asked for their holes.
type hookedBase struct {
	FS
	onRead func()
}

func (h *hookedBase) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := h.FS.OpenFile(name, flag, perm)
	if err != nil || name != "base.vhd" {
		return f, err
	}
	return hookedBaseFile{f, h}, nil
}

type hookedBaseFile struct {
	File
	hooks *hookedBase
}

func (f hookedBaseFile) ReadAt(p []byte, off int64) (int, error) {
	if f.hooks.onRead != nil {
		f.hooks.onRead()
	}
	return f.File.ReadAt(p, off)
}

// openRoot opens a new directory, until the test ends.
func openRoot(t *testing.T) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, root.Close()) })
	return root
}

// movable is a child whose block 0, of which it holds the second half, stands behind a place
// that is free. Its base has data in the first half.
func movable(t *testing.T) (*Disk, *hookedBase) {
	t.Helper()
	hooks := &hookedBase{FS: RootFS(openRoot(t))}
	opts := Options{FS: hooks, Lock: LockNone, Writable: true}
	base, err := Create("base.vhd", CreateOptions{Options: opts, Size: 4 * windowSize})
	require.NoError(t, err)
	_, err = base.WriteAt([]byte("base"), 0)
	require.NoError(t, err)
	require.NoError(t, base.Close())
	child, err := Create("child.vhd", CreateOptions{Options: opts, Parent: "base.vhd"})
	require.NoError(t, err)
	for _, off := range []int64{3 * windowSize, windowSize / 2} {
		_, err = child.WriteAt(bytes.Repeat([]byte("x"), windowSize/2), off)
		require.NoError(t, err)
	}
	require.NoError(t, child.Close())
	disk, err := Open("child.vhd", &opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, disk.Close()) })
	require.NoError(t, disk.WriteZeroes(3*windowSize, windowSize))
	require.NoError(t, disk.Sync())
	return disk, hooks
}

// moveFirstBlock moves block 0 as Compact does, and gives back its place.
func moveFirstBlock(d *Disk) error {
	c, err := d.newCompaction(CompactOptions{})
	if err != nil {
		return err
	}
	return d.alone(func() error {
		b, err := c.leaf.block(0)
		if err != nil {
			return err
		}
		off, ok := c.leaf.slotBefore(b.off)
		if !ok {
			return errors.New("no place in front of it is free")
		}
		if err := c.moveBlock(b, off); err != nil {
			return err
		}
		d.publishChanges()
		return d.flush(heldLock{})
	})
}

// Where the block was is a hole, and known from a map that was right a moment ago.
func TestABlockThatMovesWhileAnExportIsPlannedIsNotLeftOut(t *testing.T) {
	disk, hooks := movable(t)
	opts := ExportOptions{Type: Dynamic, BlockSize: windowSize / 2} // that of the base is another one
	want, err := disk.ExportSize(t.Context(), opts)
	require.NoError(t, err)
	moved := make(chan error)
	hooks.onRead = func() { // the map of window 0 is made, with the disk's lock held
		hooks.onRead = nil
		go func() { moved <- moveFirstBlock(disk) }()
		for disk.mu.TryRLock() { // until that waits for the lock, which it then gets before window 1 is looked at
			disk.mu.RUnlock()
			runtime.Gosched()
		}
	}
	got, err := disk.ExportSize(t.Context(), opts)
	require.NoError(t, err)
	require.NoError(t, <-moved)
	require.Equal(t, want, got)
}

func TestAnExportIsPlannedThoughSpaceIsFreedWithoutEnd(t *testing.T) {
	disk, hooks := movable(t)
	opts := ExportOptions{Type: Dynamic, BlockSize: windowSize / 2}
	want, err := disk.ExportSize(t.Context(), opts)
	require.NoError(t, err)
	hooks.onRead = func() { disk.reuses.Add(1) }
	got, err := disk.ExportSize(t.Context(), opts)
	require.NoError(t, err)
	require.GreaterOrEqual(t, got, want)
}
