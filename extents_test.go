package vhd_test

import (
	"bytes"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// extentBlock is what the tests of extents count in.
const extentBlock = 4096

// newExtentChain makes a chain of three disks of 1024 blocks, two windows, of
// which the letters tell who holds what of the first ten:
//
//	leaf    . c . c . . . . c .
//	middle  . m m . m m . . . .
//	base    b b b . . b . . . .
func newExtentChain(t *testing.T, fsys *vhdtest.MemFS) *vhd.Disk {
	t.Helper()
	var disk *vhd.Disk
	for i, blocks := range []string{"bbb..b....", ".mm.mm....", ".c.c....c."} {
		opts := vhd.CreateOptions{Options: vhd.Options{FS: fsys}, Size: 1024 * extentBlock, BlockSize: extentBlock}
		if i > 0 {
			opts.Parent = []string{"base.vhd", "middle.vhd"}[i-1]
		}
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
		}
	}
	t.Cleanup(func() { _ = disk.Close() })
	return disk
}

// inBlocks are extents as {first block, blocks, depth}.
func inBlocks(t testing.TB, d *vhd.Disk, off, n int64) [][3]int64 {
	t.Helper()
	var got [][3]int64
	for e, err := range d.Extents(off, n) {
		require.NoError(t, err)
		got = append(got, [3]int64{e.Offset / extentBlock, e.Length / extentBlock, int64(e.Depth)})
	}
	return got
}

func TestExtentsTellWhoHoldsWhat(t *testing.T) {
	fsys := vhdtest.NewMemFS()
	disk := newExtentChain(t, fsys)
	want := [][3]int64{{0, 1, 2}, {1, 1, 0}, {2, 1, 1}, {3, 1, 0}, {4, 2, 1}, {6, 2, -1}, {8, 1, 0}, {9, 1015, -1}}
	require.Equal(t, want, inBlocks(t, disk, 0, disk.Size()))
	require.Equal(t, want, inBlocks(t, disk, 0, 1<<62), "as far as the disk goes")
	require.Equal(t, [][3]int64{{5, 1, 1}, {6, 2, -1}}, inBlocks(t, disk, 5*extentBlock, 3*extentBlock))
	require.Empty(t, inBlocks(t, disk, disk.Size(), 100))
	require.Empty(t, inBlocks(t, disk, disk.Size()+1, 100))
	require.Empty(t, inBlocks(t, disk, 0, 0))

	require.NoError(t, disk.Close())
	disk, err := vhd.Open("leaf.vhd", &vhd.Options{FS: fsys, CacheSize: 1})
	require.NoError(t, err)
	require.Equal(t, want, inBlocks(t, disk, 0, disk.Size()), "when it is opened again")
	require.NoError(t, disk.Close())
}

func TestExtentsAreCutWhereTheyWereAskedFor(t *testing.T) {
	disk := newExtentChain(t, vhdtest.NewMemFS())
	var got []vhd.Extent
	for e, err := range disk.Extents(3*extentBlock-7, 10) {
		require.NoError(t, err)
		got = append(got, e)
	}
	require.Equal(t, []vhd.Extent{{Offset: 3*extentBlock - 7, Length: 7, Depth: 1}, {Offset: 3 * extentBlock, Length: 3, Depth: 0}}, got)
}

func TestExtentsEndWhenTheCallerHasEnough(t *testing.T) {
	disk := newExtentChain(t, vhdtest.NewMemFS())
	for enough := 1; enough <= 4; enough++ {
		n := 0
		for _, err := range disk.Extents(0, disk.Size()) {
			require.NoError(t, err)
			if n++; n == enough {
				break
			}
		}
		require.Equal(t, enough, n)
	}
}

func TestExtentsOfAFixedDiskAreOne(t *testing.T) {
	fsys := vhdtest.NewMemFS()
	disk, err := vhd.Create("fixed.vhd", vhd.CreateOptions{Options: vhd.Options{FS: fsys}, Type: vhd.Fixed, Size: 9 << 20})
	require.NoError(t, err)
	require.Equal(t, [][3]int64{{0, 2304, 0}}, inBlocks(t, disk, 0, 9<<20))
	require.NoError(t, disk.Close())
	child, err := vhd.Create("child.vhd", vhd.CreateOptions{Options: vhd.Options{FS: fsys}, Parent: "fixed.vhd", Size: 10 << 20})
	require.NoError(t, err)
	require.Equal(t, [][3]int64{{0, 2304, 1}, {2304, 256, -1}}, inBlocks(t, child, 0, 10<<20))
	require.NoError(t, child.Close())
}

func TestFileExtentsTellWhereEveryByteIsStored(t *testing.T) {
	fsys := vhdtest.NewMemFS()
	disk := newExtentChain(t, fsys)
	at := int64(0)
	for e, err := range disk.FileExtents(0, disk.Size()) {
		require.NoError(t, err)
		require.Equal(t, at, e.Offset)
		at += e.Length
		got := make([]byte, e.Length)
		_, err := disk.ReadAt(got, e.Offset)
		require.NoError(t, err)
		if e.Depth == vhd.Hole {
			require.Zero(t, e.FileOffset)
			require.Equal(t, make([]byte, e.Length), got)
			continue
		}
		file := mustReadFile(t, fsys, disk.Chain()[e.Depth].Name())
		requireSameBytes(t, file[e.FileOffset:][:e.Length], got, e.Offset)
	}
	require.Equal(t, disk.Size(), at)
}

func TestExtentsOutsideTheRangeAreAnError(t *testing.T) {
	disk := newExtentChain(t, vhdtest.NewMemFS())
	for _, span := range [][2]int64{{-1, 10}, {0, -1}, {-5, -5}} {
		n := 0
		for e, err := range disk.Extents(span[0], span[1]) {
			require.ErrorIs(t, err, vhd.ErrOutOfRange)
			require.Equal(t, vhd.Hole, e.Depth)
			n++
		}
		require.Equal(t, 1, n)
	}
}

func TestExtentsWithoutParentsAreErrorsWhereAParentWouldTell(t *testing.T) {
	fsys := vhdtest.NewMemFS()
	require.NoError(t, newExtentChain(t, fsys).Close())
	disk, err := vhd.Open("leaf.vhd", &vhd.Options{FS: fsys, NoParents: true})
	require.NoError(t, err)
	defer disk.Close()
	var held, missing int64
	at := int64(0)
	for e, err := range disk.Extents(0, disk.Size()) {
		require.Equal(t, at, e.Offset)
		at += e.Length
		if err != nil {
			require.ErrorIs(t, err, vhd.ErrParentNotFound)
			require.Equal(t, vhd.Hole, e.Depth)
			missing += e.Length
		} else {
			require.Equal(t, 0, e.Depth)
			held += e.Length
		}
	}
	require.Equal(t, disk.Size(), at)
	require.EqualValues(t, 3*extentBlock, held)
	require.EqualValues(t, 1021*extentBlock, missing)
}

func TestExtentsGoOnBehindWhatCanNotBeRead(t *testing.T) {
	fsys := vhdtest.NewMemFS()
	require.NoError(t, newExtentChain(t, fsys).Close())
	faults := vhdtest.NewFaultFS(fsys)
	disk, err := vhd.Open("leaf.vhd", &vhd.Options{FS: faults})
	require.NoError(t, err)
	defer disk.Close()
	faults.Arm(vhdtest.Fault{At: 1, Forever: true, All: true, Match: func(op vhdtest.Op) bool {
		return op.Kind == vhdtest.OpRead && strings.HasSuffix(op.Name, "middle.vhd")
	}})
	at, failed, held := int64(0), 0, int64(0)
	for e, err := range disk.Extents(0, disk.Size()) {
		require.Equal(t, at, e.Offset)
		at += e.Length
		if err != nil {
			require.ErrorIs(t, err, syscall.EIO)
			failed++
		} else if e.Depth == 0 {
			held += e.Length
		}
	}
	require.Equal(t, disk.Size(), at)
	require.Positive(t, failed)
	require.EqualValues(t, 3*extentBlock, held)
	faults.Disarm()
	require.Len(t, inBlocks(t, disk, 0, disk.Size()), 8, "nothing of the failure is kept")
}

// A window's tables are read once, however many extents it has.
func TestExtentsReadEveryBitmapOnce(t *testing.T) {
	r := newChildRig(t, vhd.CreateOptions{})
	for sector := int64(0); sector < 256; sector += 2 {
		r.write(t, []byte{1}, sector*vhd.SectorSize)
	}
	r.reopen(t)
	n := 0
	for _, err := range r.disk.Extents(0, r.disk.Size()) {
		require.NoError(t, err)
		n++
	}
	require.Equal(t, 256, n)
	require.LessOrEqual(t, r.rec.Count(vhdtest.OpRead), 2*(16+1), "two images, each of 16 blocks and a page of the BAT")
}

// A range of many blocks is zeroed without asking the parents anew for each.
func TestZeroingManySmallBlocksReadsEveryBitmapOnce(t *testing.T) {
	r := newRig(t, vhd.CreateOptions{BlockSize: 4096})
	for block := int64(0); block < 256; block += 2 {
		r.write(t, []byte{1}, block*4096)
	}
	require.NoError(t, r.disk.Close())
	require.NoError(t, r.mem.Rename(rigName, "parent.vhd"))
	child := createRig(t, r.mem, r.rec, vhd.CreateOptions{Parent: "parent.vhd", BlockSize: 4096})
	child.write(t, make([]byte, 1<<20), 0)
	child.reopen(t)
	require.NoError(t, child.disk.WriteZeroes(0, 1<<20))
	require.LessOrEqual(t, r.rec.Count(vhdtest.OpRead), 4*(256+1), "of each block, a few times")
}

// A window behind the parent's end has no block of it, not even where its last
// block is larger than a window.
func TestAChildMayBeFarLargerThanItsParent(t *testing.T) {
	for _, c := range []struct {
		parent, blockSize, child int64
	}{{32 << 20, 16 << 20, 40 << 30}, {0, 4 << 20, 16 << 20}, {1 << 20, 256 << 20, 1 << 30}} {
		base := vhdtest.NewDynamic(c.parent)
		base.BlockSize = c.blockSize
		child := vhdtest.NewChild(base, "1.vhd")
		child.Size = c.child
		disk, _ := countedChain(t, vhd.Options{}, child, base)
		for _, off := range []int64{0, c.parent, c.parent + 2<<20, c.child / 2, c.child - 512} {
			got := bytes.Repeat([]byte{1}, 512)
			_, err := disk.ReadAt(got, off)
			require.NoError(t, err)
			require.True(t, isZeros(got), "at %d", off)
		}
		for e, err := range disk.Extents(0, disk.Size()) {
			require.NoError(t, err)
			require.Equal(t, vhd.Extent{Length: c.child, Depth: vhd.Hole}, e)
		}
	}
}
