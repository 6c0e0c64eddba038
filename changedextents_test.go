package vhd_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// changedBlocks are changed extents as {first block, blocks, depth}.
func changedBlocks(t testing.TB, d *vhd.Disk, upper, lower int, off, n int64) [][3]int64 {
	t.Helper()
	got := [][3]int64{}
	for e, err := range d.ChangedExtents(upper, lower, off, n) {
		require.NoError(t, err)
		got = append(got, [3]int64{e.Offset / extentBlock, e.Length / extentBlock, int64(e.Depth)})
	}
	return got
}

func TestChangedExtentsTellWhatTheImagesAboveHold(t *testing.T) {
	fsys := vhdtest.NewMemFS()
	disk := newExtentChain(t, fsys)
	for range 2 {
		all := disk.Size()
		require.Equal(t, [][3]int64{{1, 1, 0}, {3, 1, 0}, {8, 1, 0}}, changedBlocks(t, disk, 0, 1, 0, all))
		require.Equal(t, [][3]int64{{1, 1, 0}, {2, 1, 1}, {3, 1, 0}, {4, 2, 1}, {8, 1, 0}}, changedBlocks(t, disk, 0, 2, 0, 1<<62))
		require.Equal(t, [][3]int64{{1, 2, 1}, {4, 2, 1}}, changedBlocks(t, disk, 1, 2, 0, all))
		require.Equal(t, [][3]int64{{5, 1, 1}}, changedBlocks(t, disk, 1, 2, 5*extentBlock, 10*extentBlock))
		require.Empty(t, changedBlocks(t, disk, 0, 2, 9*extentBlock, all))
		require.Empty(t, changedBlocks(t, disk, 0, 2, all, 100))
		require.Empty(t, changedBlocks(t, disk, 0, 2, extentBlock, 0))
		_ = disk.Close()
		var err error
		disk, err = vhd.Open("leaf.vhd", &vhd.Options{FS: fsys, CacheSize: 1})
		require.NoError(t, err)
	}
	require.NoError(t, disk.Close())
}

func TestChangedExtentsAreCutWhereTheyWereAskedFor(t *testing.T) {
	disk := newExtentChain(t, vhdtest.NewMemFS())
	var got []vhd.Extent
	for e, err := range disk.ChangedExtents(0, 2, 3*extentBlock-7, 10) {
		require.NoError(t, err)
		got = append(got, e)
	}
	require.Equal(t, []vhd.Extent{{Offset: 3*extentBlock - 7, Length: 7, Depth: 1}, {Offset: 3 * extentBlock, Length: 3, Depth: 0}}, got)
}

func TestChangedExtentsEndWhenTheCallerHasEnough(t *testing.T) {
	disk := newExtentChain(t, vhdtest.NewMemFS())
	for enough := 1; enough <= 5; enough++ {
		n := 0
		for _, err := range disk.ChangedExtents(0, 2, 0, disk.Size()) {
			require.NoError(t, err)
			if n++; n == enough {
				break
			}
		}
		require.Equal(t, enough, n)
	}
}

func TestChangedExtentsNeedTwoImagesOneAboveTheOther(t *testing.T) {
	disk := newExtentChain(t, vhdtest.NewMemFS())
	for _, c := range []struct {
		upper, lower int
		off, n       int64
		want         error
	}{
		{0, 0, 0, 1, fs.ErrInvalid},
		{1, 0, 0, 1, fs.ErrInvalid},
		{-1, 1, 0, 1, fs.ErrInvalid},
		{0, 3, 0, 1, fs.ErrInvalid},
		{0, 1, -1, 1, vhd.ErrOutOfRange},
		{0, 1, 0, -1, vhd.ErrOutOfRange},
	} {
		n := 0
		for e, err := range disk.ChangedExtents(c.upper, c.lower, c.off, c.n) {
			require.ErrorIs(t, err, c.want)
			require.Equal(t, vhd.Extent{Depth: vhd.Hole}, e)
			n++
		}
		require.Equal(t, 1, n)
	}
	require.NoError(t, disk.Close())
	for _, err := range disk.ChangedExtents(0, 1, 0, 1) {
		require.Equal(t, vhd.ErrClosed, err)
	}
}

// smallMiddle makes a chain of which the middle ends after 4 blocks:
//
//	leaf    . . . . . . l .
//	middle  . . m . |
//	base    b b b b b . b b
func smallMiddle(t *testing.T, fsys *vhdtest.MemFS) *vhd.Disk {
	t.Helper()
	opts := vhd.CreateOptions{Options: vhd.Options{FS: fsys}, BlockSize: extentBlock}
	var disk *vhd.Disk
	for i, blocks := range []string{"bbbbb.bb", "..m.", "......l."} {
		opts.Size = int64(len(blocks)) * extentBlock
		var err error
		disk, err = vhd.Create([]string{"base.vhd", "middle.vhd", "leaf.vhd"}[i], opts)
		require.NoError(t, err)
		for at, letter := range []byte(blocks) {
			if letter != '.' {
				_, err = disk.WriteAt(bytes.Repeat([]byte{letter}, extentBlock), int64(at)*extentBlock)
				require.NoError(t, err)
			}
		}
		if i < 2 {
			require.NoError(t, disk.Close())
			opts.Parent = disk.Chain()[0].Name()
		}
	}
	t.Cleanup(func() { _ = disk.Close() })
	return disk
}

func TestZerosBehindTheEndOfAnImageBetweenAreAChange(t *testing.T) {
	disk := smallMiddle(t, vhdtest.NewMemFS())
	require.Equal(t, [][3]int64{{2, 1, 1}, {4, 1, -1}, {6, 1, 0}, {7, 1, -1}}, changedBlocks(t, disk, 0, 2, 0, disk.Size()),
		"but not where the base has nothing")
	require.Equal(t, [][3]int64{{6, 1, 0}}, changedBlocks(t, disk, 0, 1, 0, disk.Size()), "both read as zeros there")
	require.Equal(t, [][3]int64{{2, 1, 1}}, changedBlocks(t, disk, 1, 2, 0, disk.Size()), "the middle ends there")
}

// What the images of a chain hold is the builder's word.
func TestWhatIsNoChangedExtentReadsTheSameFromBothImages(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			chain := vhdtest.RandomChain(seed, vhdtest.ChainOptions{Limits: vhdtest.Anything})
			disk, err := vhd.Open(chain.WriteDir(t, t.TempDir())[0], nil)
			require.NoError(t, err)
			var contents [][]byte
			for depth := range chain.Images {
				contents = append(contents, chain.ContentFrom(t, depth))
				for upper := range depth {
					requireChanges(t, disk, upper, depth, contents[upper], contents[depth])
				}
			}
			require.NoError(t, disk.Close())
		})
	}
}

// requireChanges compares what two images read as where no change is told of.
func requireChanges(t require.TestingT, disk *vhd.Disk, upper, lower int, above, below []byte) {
	if h, ok := t.(interface{ Helper() }); ok {
		h.Helper()
	}
	size := min(disk.Size(), int64(len(above)))
	if int64(len(below)) < size {
		below = append(bytes.Clone(below), make([]byte, size-int64(len(below)))...)
	}
	at, before := int64(0), vhd.Extent{Depth: -2}
	for e, err := range disk.ChangedExtents(upper, lower, 0, disk.Size()) {
		require.NoError(t, err)
		require.Positive(t, e.Length)
		require.True(t, e.Offset > at || e.Offset == at && e.Depth != before.Depth, "%v, %v", before, e)
		require.True(t, e.Depth == vhd.Hole || upper <= e.Depth && e.Depth < lower, "%v", e)
		requireSameBytes(t, below[at:e.Offset], above[at:e.Offset], at)
		at, before = e.Offset+e.Length, e
		if e.Depth == vhd.Hole {
			require.True(t, isZeros(above[e.Offset:at]))
		}
	}
	require.LessOrEqual(t, at, size)
	requireSameBytes(t, below[at:size], above[at:size], at)
}

func TestChangedExtentsOfWhatCanNotBeReadAreErrors(t *testing.T) {
	fsys := vhdtest.NewMemFS()
	require.NoError(t, newExtentChain(t, fsys).Close())
	faults := vhdtest.NewFaultFS(fsys)
	disk, err := vhd.Open("leaf.vhd", &vhd.Options{FS: faults})
	require.NoError(t, err)
	defer disk.Close()
	faults.Arm(vhdtest.Fault{At: 1, Forever: true, All: true, Match: func(op vhdtest.Op) bool {
		return op.Kind == vhdtest.OpRead && strings.HasSuffix(op.Name, "middle.vhd")
	}})
	failed := 0
	for _, err := range disk.ChangedExtents(0, 2, 0, disk.Size()) {
		if err != nil {
			require.ErrorIs(t, err, syscall.EIO)
			failed++
		}
	}
	require.Positive(t, failed)
	require.Len(t, changedBlocks(t, disk, 0, 1, 0, disk.Size()), 3, "nobody asks the middle")
	faults.Disarm()
	require.Len(t, changedBlocks(t, disk, 0, 2, 0, disk.Size()), 5)
}

// Whether zeros hide anything can't be told without the base.
func TestWhatZerosHideInADamagedBaseIsAnError(t *testing.T) {
	fsys := vhdtest.NewMemFS()
	require.NoError(t, smallMiddle(t, fsys).Close())
	base := mustReadFile(t, fsys, "base.vhd")
	vhdtest.EditEntry(t, base, 4, 1<<20)
	require.NoError(t, fsys.WriteFile("base.vhd", base))
	disk, err := vhd.Open("leaf.vhd", &vhd.Options{FS: fsys})
	require.NoError(t, err)
	defer disk.Close()
	at := int64(-1)
	for e, err := range disk.ChangedExtents(0, 2, 0, disk.Size()) {
		if err != nil {
			require.ErrorIs(t, err, vhd.ErrCorrupt)
			require.ErrorContains(t, err, "base.vhd")
			require.Equal(t, vhd.Extent{Offset: 4 * extentBlock, Length: extentBlock, Depth: vhd.Hole}, e)
			at = e.Offset
		}
	}
	require.Positive(t, at)
	require.Len(t, changedBlocks(t, disk, 0, 1, 0, disk.Size()), 1, "the base is not asked")
	_, err = disk.ExportSize(t.Context(), vhd.ExportOptions{Type: vhd.Differencing, Base: 2})
	require.ErrorIs(t, err, vhd.ErrCorrupt)
}
