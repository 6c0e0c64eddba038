package vhd_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// How fast a disk is, is decided by how often it asks its storage, and for how
// much. A clock would tell that of one machine; calls can be counted anywhere.

// countedChain opens a chain, leaf first, in storage whose calls are counted from
// now on.
func countedChain(t testing.TB, opts vhd.Options, imgs ...*vhdtest.Image) (*vhd.Disk, *vhdtest.RecordFS) {
	t.Helper()
	mem := vhdtest.NewMemFS()
	for i, img := range imgs {
		require.NoError(t, mem.WriteFile(countedName(i), img.Build(t)))
	}
	calls := vhdtest.NewRecordFS(mem)
	opts.FS = calls
	disk, err := vhd.Open(countedName(0), &opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, disk.Close()) })
	require.Len(t, disk.Chain(), len(imgs))
	calls.Reset()
	return disk, calls
}

// countedName is the name of the image that has so many children.
func countedName(depth int) string { return fmt.Sprintf("%d.vhd", depth) }

// childOf is a child of the image that will be called parentName.
func childOf(parent *vhdtest.Image, blockSize int64, parentName string, blocks ...vhdtest.Block) *vhdtest.Image {
	child := vhdtest.NewChild(parent, parentName, blocks...)
	child.BlockSize = blockSize
	return child
}

func mustReadAt(t testing.TB, disk *vhd.Disk, n, off int64) {
	t.Helper()
	got, err := disk.ReadAt(make([]byte, n), off)
	require.NoError(t, err)
	require.EqualValues(t, n, got)
}

func TestAReadIsAtMostOneCallForEachExtent(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	ncalls, nextents := 0, 0
	for seed := range 10 {
		chain := vhdtest.RandomChain(uint64(seed), vhdtest.ChainOptions{Limits: vhdtest.Anything})
		mem := vhdtest.NewMemFS()
		for name, file := range chain.Files(t) {
			require.NoError(t, mem.WriteFile(name, file))
		}
		calls := vhdtest.NewRecordFS(mem)
		disk, err := vhd.Open(chain.Names[0], &vhd.Options{FS: calls})
		require.NoError(t, err)
		for range 100 {
			off := rng.Int64N(disk.Size())
			n := 1 + rng.Int64N(min(disk.Size()-off, 1<<20))
			mustReadAt(t, disk, n, off) // makes the maps
			calls.Reset()
			mustReadAt(t, disk, n, off)
			here := dataExtents(t, disk, n, off)
			require.LessOrEqual(t, calls.Count(), here, "chain %d: %d bytes at %d", seed, n, off)
			ncalls, nextents = ncalls+calls.Count(), nextents+here
		}
		require.NoError(t, disk.Close())
	}
	require.Greater(t, nextents, 1000)
	t.Logf("%d calls for %d extents", ncalls, nextents)
}

// dataExtents is how many extents the range has that are no holes.
func dataExtents(t testing.TB, disk *vhd.Disk, n, off int64) int {
	t.Helper()
	count := 0
	for e, err := range disk.FileExtents(off, n) {
		require.NoError(t, err)
		if e.Depth != vhd.Hole {
			count++
		}
	}
	return count
}

func TestWhatLiesInOnePieceIsOneCallWhateverItPasses(t *testing.T) {
	const block = 16 << 20 // eight windows
	base := vhdtest.NewDynamic(2 * block)
	base.BlockSize = block
	base.Blocks = []vhdtest.Block{{Index: 0, Data: []byte("base")}, {Index: 1, Data: []byte("base")}}
	second := vhdtest.Bitmap(block/vhd.SectorSize, func(sector int) bool { return sector == 100 })
	child := childOf(base, block, countedName(1), vhdtest.Block{Index: 1, Bitmap: second})
	disk, calls := countedChain(t, vhd.Options{}, child, base)
	for _, tt := range []struct {
		what   string
		n, off int64
		want   int
	}{
		{"a block of eight windows", block, 0, 1},
		{"a part of it", block - 4097, 4001, 1},
		{"two blocks, with a bitmap between them, and the second's sector of the child", 2 * block, 0, 4},
		{"around the child's sector", 3 * vhd.SectorSize, block + 99*vhd.SectorSize, 2},
		{"the child's sector", vhd.SectorSize, block + 100*vhd.SectorSize, 1},
	} {
		mustReadAt(t, disk, tt.n, tt.off)
		calls.Reset()
		mustReadAt(t, disk, tt.n, tt.off)
		require.Equal(t, tt.want, calls.Count(), "%s: %v", tt.what, calls.Ops())
	}
}

// Of a disk that is read in small pieces, from front to back, every byte of
// every bitmap is read once, whatever windows and blocks are to each other.
func TestABitmapIsReadOnce(t *testing.T) {
	for _, block := range []int64{4 << 10, 64 << 10, 2 << 20, 16 << 20} {
		t.Run(fmt.Sprintf("blocks of %d", block), func(t *testing.T) {
			const size = 32 << 20
			base, child := bitmapChain(size, block)
			disk, calls := countedChain(t, vhd.Options{}, child, base)
			for off := int64(0); off < size; off += 16 << 10 {
				mustReadAt(t, disk, 16<<10, off)
			}
			for depth, img := range []*vhdtest.Image{child, base} {
				requireBitmapsReadOnce(t, calls, countedName(depth), img)
			}
		})
	}
}

// bitmapChain is a base and a child that have all blocks, in places that are
// known, and of which each has some sectors.
func bitmapChain(size, block int64) (base, child *vhdtest.Image) {
	base = vhdtest.NewDynamic(size)
	base.BlockSize = block
	child = childOf(base, block, countedName(1))
	for i := range int(size / block) {
		off := firstBitmap + int64(i)*bitmapSlot(block)
		bitmap := vhdtest.Bitmap(int(block/vhd.SectorSize), func(sector int) bool { return sector%3 == 0 })
		base.Blocks = append(base.Blocks, vhdtest.Block{Index: i, Off: off})
		child.Blocks = append(child.Blocks, vhdtest.Block{Index: i, Off: off, Bitmap: bitmap})
	}
	return base, child
}

const firstBitmap = 1 << 20 // offset, in the images of bitmapChain

// bitmapSlot is how far bitmaps are from each other there.
func bitmapSlot(block int64) int64 { return block + max(bitmapBytes(block), vhd.SectorSize) }

// bitmapBytes is what the bits of a block's sectors take.
func bitmapBytes(block int64) int64 { return block / vhd.SectorSize / 8 }

func requireBitmapsReadOnce(t testing.TB, calls *vhdtest.RecordFS, name string, img *vhdtest.Image) {
	t.Helper()
	times := map[int64]int{} // that a byte of the file was read
	n := bitmapBytes(img.BlockSize)
	for _, op := range calls.Ops() {
		if op.Name != name || op.Off < firstBitmap || (op.Off-firstBitmap)%bitmapSlot(img.BlockSize) >= n {
			continue // tables, or data
		}
		for at := range op.N {
			times[op.Off+at]++
		}
	}
	for _, b := range img.Blocks {
		for at := range n {
			require.Equal(t, 1, times[b.Off+at], "%s: byte %d of the bitmap at %d", name, at, b.Off)
		}
	}
}

// A window costs what the layers cost that have something there, and not what
// the chain's length does.
func TestOnlyLayersThatHaveABlockAreAskedForIt(t *testing.T) {
	const depth, block = 64, 64 << 10
	holders := []int{1, 4, 16} // layers that have something in window 1, 2 and 3
	base := vhdtest.NewDynamic(int64(len(holders)+1) * benchBlock)
	base.BlockSize = block
	imgs := []*vhdtest.Image{base}
	for i := range depth {
		child := childOf(imgs[0], block, countedName(depth-i))
		for window, n := range holders {
			if i < n {
				own := vhdtest.Bitmap(block/vhd.SectorSize, func(sector int) bool { return sector == i })
				child.Blocks = append(child.Blocks, vhdtest.Block{Index: (window + 1) * benchBlock / block, Bitmap: own})
			}
		}
		imgs = slices.Insert(imgs, 0, child)
	}
	disk, calls := countedChain(t, vhd.Options{}, imgs...)
	mustReadAt(t, disk, 1, 0)
	require.LessOrEqual(t, calls.Count(), depth+1, "of every layer's table the piece that tells of all windows")
	for window, n := range holders {
		calls.Reset()
		mustReadAt(t, disk, vhd.SectorSize, int64(window+1)*benchBlock)
		require.LessOrEqual(t, calls.Count(), n+1, "%d layers, and the sector itself: %v", n, calls.Ops())
		mustReadAt(t, disk, benchBlock, int64(window+1)*benchBlock)
		require.LessOrEqual(t, calls.Count(), 2*n+1, "the map is there: %v", calls.Ops())
	}
}

// windowsChain puts a chain of n images into the tree, such as Windows 10 makes,
// and returns the leaf's name.
func windowsChain(t testing.TB, tr *tree, n int) string {
	t.Helper()
	img := vhdtest.NewDynamic(64 << 20)
	for i := range n {
		name := countedName(n - 1 - i)
		tr.put(t, name, img)
		img = vhdtest.NewChild(img, name)
		img.LikeWindows10(`C:\elsewhere\`+name, `.\`+name)
	}
	return countedName(0)
}

func TestOpeningAChainOf64OpensEachFileOnceAndAsksItLittle(t *testing.T) {
	const nimages = 65
	mem := vhdtest.NewMemFS()
	tr := tree{kind: "own FS", mem: mem, fs: mem}
	leaf := windowsChain(t, &tr, nimages)
	calls := vhdtest.NewRecordFS(mem)
	disk, err := vhd.Open(leaf, &vhd.Options{FS: calls})
	require.NoError(t, err)
	opened := map[string]int{}
	for _, op := range calls.Ops() {
		if op.Kind == vhdtest.OpOpen {
			opened[op.Name]++
		}
	}
	require.Len(t, opened, nimages)
	require.Equal(t, nimages, calls.Count(vhdtest.OpOpen))
	require.LessOrEqual(t, calls.Count(), nimages*callsPerImage, "%v", calls.Ops()[:4*callsPerImage])
	require.NoError(t, disk.Close())
	require.Equal(t, nimages, calls.Count(vhdtest.OpClose))
}

// callsPerImage is how often the storage is asked for an image: to open it, for its
// size, its footer, how it starts, with the header and a path, and another path.
const callsPerImage = 5

func TestOpeningTheLargestDiskReadsNoneOfItsTable(t *testing.T) {
	const nimages = 4
	var imgs []*vhdtest.Image
	for i := range nimages {
		img := vhdtest.NewDynamic(vhd.MaxDynamicSize)
		if i > 0 {
			img = vhdtest.NewChild(imgs[0], countedName(nimages-i))
		}
		img.Blocks = []vhdtest.Block{{Index: i * 1000, Data: []byte("data")}}
		imgs = slices.Insert(imgs, 0, img)
	}
	mem := vhdtest.NewMemFS()
	for i, img := range imgs {
		require.NoError(t, mem.WriteFile(countedName(i), img.Build(t)))
	}
	calls := vhdtest.NewRecordFS(mem)
	disk, err := vhd.Open(countedName(0), &vhd.Options{FS: calls})
	require.NoError(t, err)
	defer disk.Close()
	require.LessOrEqual(t, bytesOf(calls, vhdtest.OpRead), int64(nimages*10<<10))

	calls.Reset()
	mustReadAt(t, disk, 4096, disk.Size()/2)
	require.LessOrEqual(t, bytesOf(calls, vhdtest.OpRead), int64(nimages*4096), "a read looks at one piece of each table")
}

// bytesOf is how many bytes the calls of a kind moved.
func bytesOf(calls *vhdtest.RecordFS, kind vhdtest.OpKind) int64 {
	var n int64
	for _, op := range calls.Ops() {
		if op.Kind == kind {
			n += op.N
		}
	}
	return n
}

// Of a block of 2 MiB no more is written than was asked for, and what says so.
func TestAFirstWriteToALargeBlockOfAChildWritesWhatItWasAskedFor(t *testing.T) {
	parent := newRig(t, vhd.CreateOptions{})
	require.NoError(t, parent.disk.Close())
	require.NoError(t, parent.mem.Rename(rigName, "parent.vhd"))
	r := createRig(t, parent.mem, parent.rec, vhd.CreateOptions{Parent: "parent.vhd", Size: 1 << 30, BlockSize: 2 << 20})
	r.write(t, make([]byte, 4096), 20<<20+64<<10)
	require.NoError(t, r.disk.Sync())
	const structures = 4 * vhd.SectorSize // the footer, the zeros where it was, a bitmap, a piece of the BAT
	require.LessOrEqual(t, bytesOf(r.rec, vhdtest.OpWrite), int64(4096+structures), "%v", r.rec.Ops())
	require.LessOrEqual(t, bytesOf(r.rec, vhdtest.OpRead), int64(4096+vhd.SectorSize), "of the BAT: %v", r.rec.Ops())

	r.rec.Reset()
	r.write(t, make([]byte, 4096), 24<<20)
	require.NoError(t, r.disk.Sync())
	require.LessOrEqual(t, bytesOf(r.rec, vhdtest.OpWrite), int64(4096+2*vhd.SectorSize), "the footer has moved for more than one block")
}

func TestAFillFromFrontToBackNeverReadsTheParent(t *testing.T) {
	for _, n := range []int64{4 << 10, 64 << 10, 1 << 20, 3 << 20} {
		r := newChildRig(t, vhd.CreateOptions{Size: 12 << 20, BlockSize: 2 << 20})
		p := bytes.Repeat([]byte("c"), int(n))
		for off := int64(0); off < r.disk.Size(); off += n {
			r.write(t, p, off)
		}
		require.NoError(t, r.disk.Sync())
		got := readAll(t, r.disk, r.disk.Size())
		require.Equal(t, bytes.Repeat([]byte("c"), len(got)), got)
		for _, op := range r.rec.Ops() {
			require.NotEqual(t, "parent.vhd", op.Name, "%v in pieces of %d", op, n)
		}
	}
}
