package vhd_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
)

// takenBy is how many bytes of storage a file takes.
func takenBy(t testing.TB, name string) int64 {
	t.Helper()
	info, err := os.Stat(name)
	require.NoError(t, err)
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

// childOfData is a child, with blocks of 2 MiB, of a disk that is full of data.
func childOfData(t testing.TB, nblocks int64) (name string, child *vhd.Disk) {
	t.Helper()
	dir := t.TempDir()
	base := filepath.Join(dir, "base.vhd")
	require.NoError(t, createAndFill(base, vhd.CreateOptions{Size: nblocks << 21}, func(d *vhd.Disk) error {
		_, err := d.WriteAt(plain('p', int(nblocks<<21)), 0)
		return err
	}))
	name = filepath.Join(dir, "child.vhd")
	child, err := vhd.Create(name, vhd.CreateOptions{Parent: base})
	require.NoError(t, err)
	return name, child
}

func TestZerosOverAParentsDataTakeNoSpace(t *testing.T) {
	name, child := childOfData(t, 8)
	require.NoError(t, child.WriteZeroes(1<<20, 14<<20))
	_, err := child.WriteAt([]byte("x"), 15<<20)
	require.NoError(t, err)
	require.NoError(t, child.WriteZeroes(15<<20, 1<<20), "a block that is there")
	require.True(t, isZeros(readAll(t, child, 16<<20)[1<<20:]))
	require.NoError(t, child.Close())
	require.Less(t, takenBy(t, name), int64(256<<10))
	requireFindings(t, name, vhd.CheckOptions{Chain: true})
}

// Where zeros take no space, no room is needed for them.
func TestAChildGrowsOverItsParentsDataOnAFullDisk(t *testing.T) {
	name, child := childOfData(t, 64)
	require.NoError(t, child.Resize(t.Context(), 1<<20, allowLoss))
	require.NoError(t, child.Close())
	fsys := realSpaceFS{swapFS{FS: vhd.RootFS(openRoot(t, filepath.Dir(name)))}, 8 << 20}
	for _, opts := range []vhd.ResizeOptions{{DryRun: true}, {}} {
		for _, writable := range []bool{false, true} {
			disk, err := vhd.Open("child.vhd", &vhd.Options{FS: fsys, Writable: writable})
			require.NoError(t, err)
			if writable || opts.DryRun {
				require.NoError(t, disk.Resize(t.Context(), 128<<20, opts))
			}
			require.NoError(t, disk.Close())
		}
	}
	require.Less(t, takenBy(t, name), int64(1<<20))
}

// realSpaceFS is a directory of the operating system's that says how many bytes are free.
type realSpaceFS struct {
	swapFS
	free int64
}

func (s realSpaceFS) FreeSpace(string) (int64, error) { return s.free, nil }

func openRoot(t testing.TB, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	t.Cleanup(func() { _ = root.Close() })
	return root
}

// Blocks of zeros over a parent's data, which are holes in the file, stay holes where Compact puts them.
func TestBlocksThatCompactMovesKeepTheirHoles(t *testing.T) {
	name, child := childOfData(t, 16)
	_, err := child.WriteAt(plain('c', 8<<21), 0)
	require.NoError(t, err)
	require.NoError(t, child.WriteZeroes(8<<21, 8<<21))
	_, err = child.WriteAt(plain('p', 8<<21), 0) // what Compact drops
	require.NoError(t, err)
	require.NoError(t, child.Compact(t.Context(), vhd.CompactOptions{}))
	require.True(t, isZeros(readAll(t, child, 16<<21)[8<<21:]))
	require.NoError(t, child.Close())
	require.Less(t, takenBy(t, name), int64(256<<10))
	requireCompact(t, name)
}
