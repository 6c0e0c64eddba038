package vhd

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Some file systems, such as APFS, say that what is not yet on storage is a hole. Who believed that would drop it.
func TestCompactDoesNotAskForHolesInWhatWasWrittenSinceItBegan(t *testing.T) {
	const block = 1 << 20
	name := filepath.Join(t.TempDir(), "disk.vhd")
	disk, err := Create(name, CreateOptions{Size: 8*block - SectorSize, BlockSize: block})
	require.NoError(t, err)
	for i := range int64(4) {
		_, err = disk.WriteAt([]byte("data"), 2*i*block)
		require.NoError(t, err)
	}
	c, err := disk.newCompaction(CompactOptions{})
	require.NoError(t, err)
	require.NoError(t, disk.Sync())
	pieces := func(window int64) (n int) {
		b, err := c.leaf.block(window * 2)
		require.NoError(t, err)
		off := c.leaf.dataOff(b, 0)
		for from, to := range c.dataOf(c.leaf.layer, b.index*block, off, off+block) {
			if from == off && to == off+block {
				return 1
			}
			n += int(to - from)
		}
		return n
	}
	if f, ok := c.leaf.file.(*os.File); !ok || nextIsAll(f, c.leaf.img.FileSize()) {
		t.Skip("the file system has no holes, or does not tell them")
	}
	_, err = disk.WriteAt([]byte("more"), 2*block+17)
	require.NoError(t, err)
	require.NoError(t, disk.WriteZeroes(5*block-30, 10))
	got := []int{pieces(0), pieces(1), pieces(2), pieces(3)}
	require.Equal(t, []int{4096, 1, 1, 4096}, got)
	require.Equal(t, []int64{1, 2}, slices.Sorted(slices.Values(disk.marks.Load().take())))
	disk.marks.Store(nil)
	require.NoError(t, disk.Close())
}

// nextIsAll says whether all of a file, which has holes, is data for who asks.
func nextIsAll(f *os.File, size int64) bool {
	from, to := nextData(f, 0, size)
	return from == 0 && to == size
}
