package vhd_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// The chains that benchmarks read. Making one takes seconds and gigabytes, so
// each is made once, when it is first needed, for all benchmarks of a run.

const (
	benchDepth  = 64      // parents of the deepest child
	benchPiece  = 4 << 10 // a random read or write
	benchStride = 1 << 20 // a sequential one

	benchBlock = 2 << 20
	benchSlot  = benchBlock + 4096 // what a block takes in its file, aligned
	benchFirst = 8<<20 - 512       // where the first block's bitmap is: behind the largest table
)

// benchChain is a base and its children, each a child of the one before. Every
// one is the leaf of a chain that can be opened.
type benchChain struct {
	what  string
	size  int64
	build func(c *benchChain, b *testing.B)

	once  sync.Once
	dir   string
	names []string // by the number of parents
	raw   string   // a file that holds what the last of them reads as, if there is data
	made  bool
}

var (
	// scatteredChain is a disk as they are: three quarters of it were never
	// written.
	scatteredChain = &benchChain{what: "scattered", size: 4 << 30, build: (*benchChain).buildScattered}
	// fullChain has no holes, which cost nearly nothing and hide what the rest does.
	fullChain = &benchChain{what: "full", size: 1 << 30, build: (*benchChain).buildFull}
	// fragmentedChain is one child that has every other sector.
	fragmentedChain = &benchChain{what: "fragmented", size: 64 << 20, build: (*benchChain).buildFragmented}
	// hugeChain is as large as they get, and its blocks are everywhere. Only their
	// bitmaps are in the files.
	hugeChain = &benchChain{what: "huge", size: vhd.MaxDynamicSize, build: (*benchChain).buildHuge}
)

const (
	childWrites = 1000 // in every child with data, of benchPiece at random places
	hugeBlocks  = 2000 // in every image of hugeChain
)

// removeBenchChains takes away what benchmarks made.
func removeBenchChains() error {
	for _, c := range []*benchChain{scatteredChain, fullChain, fragmentedChain, hugeChain} {
		if c.dir == "" {
			continue
		}
		if err := os.RemoveAll(c.dir); err != nil {
			return err
		}
	}
	return nil
}

// make makes the chain's files, unless they are there.
func (c *benchChain) make(b *testing.B) {
	b.Helper()
	c.once.Do(func() {
		var err error
		c.dir, err = os.MkdirTemp("", "vhd-bench-") //nolint:usetesting // it outlives the benchmark
		require.NoError(b, err)
		c.raw = filepath.Join(c.dir, "raw")
		c.build(c, b)
		c.made = true
	})
	require.True(b, c.made, "an earlier benchmark could not make the chain")
}

func (c *benchChain) buildScattered(b *testing.B) {
	b.Helper()
	c.buildData(b, 4)
}

func (c *benchChain) buildFull(b *testing.B) {
	b.Helper()
	c.buildData(b, 1)
}

// buildData makes a base of which every so many blocks are full of data,
// children with scattered writes, and the raw file.
func (c *benchChain) buildData(b *testing.B, everyNth int) {
	b.Helper()
	raw := c.createRaw(b)
	rng := rand.New(rand.NewPCG(1, 2))
	base := vhdtest.NewDynamic(c.size)
	pattern := randomBytes(rng, benchBlock+c.size/benchBlock*benchPiece)
	for i := 0; int64(i)*benchBlock < c.size; i += everyNth {
		data := pattern[i*benchPiece:][:benchBlock] // another one for every block
		base.Blocks = append(base.Blocks, vhdtest.Block{Index: i, Off: benchSlotAt(len(base.Blocks)), Data: data})
		_, err := raw.WriteAt(data, int64(i)*benchBlock)
		require.NoError(b, err)
	}
	c.add(b, base)
	parent := base
	for range benchDepth {
		parent = c.addChild(b, parent, raw, rng)
	}
	require.NoError(b, raw.Sync())
	c.requireContent(b)
}

// createRaw makes the raw file, which is all zeros.
func (c *benchChain) createRaw(b *testing.B) *os.File {
	b.Helper()
	raw, err := os.Create(c.raw)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, raw.Close()) })
	require.NoError(b, raw.Truncate(c.size))
	return raw
}

func randomBytes(rng *rand.Rand, n int64) []byte {
	p := make([]byte, n)
	for i := 0; i < len(p); i += 8 {
		binary.LittleEndian.PutUint64(p[i:], rng.Uint64())
	}
	return p
}

// benchSlotAt is where the n-th block of a file has its bitmap.
func benchSlotAt(n int) int64 { return benchFirst + int64(n)*benchSlot }

// add writes an image to a file, and has it where the page cache need not write
// it while somebody measures.
func (c *benchChain) add(b *testing.B, img *vhdtest.Image, pieces ...filePiece) {
	b.Helper()
	name := filepath.Join(c.dir, c.nextName())
	img.WriteFile(b, name)
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	require.NoError(b, err)
	for _, p := range pieces {
		_, err := f.WriteAt(p.data, p.off)
		require.NoError(b, err)
	}
	require.NoError(b, f.Sync())
	require.NoError(b, f.Close())
	c.names = append(c.names, name)
}

func (c *benchChain) nextName() string { return fmt.Sprintf("%d.vhd", len(c.names)) }

func (c *benchChain) lastName() string { return filepath.Base(c.names[len(c.names)-1]) }

// filePiece is bytes of a file.
type filePiece struct {
	data []byte
	off  int64
}

// addChild adds a child with scattered writes to the chain, and does the same to
// raw. The child is laid out as if it had been written in that order, but takes
// no space for what was not written.
func (c *benchChain) addChild(b *testing.B, parent *vhdtest.Image, raw *os.File, rng *rand.Rand) *vhdtest.Image {
	b.Helper()
	var blocks []vhdtest.Block
	var pieces []filePiece
	at := map[int]int{} // in blocks, by index
	for range childWrites {
		off := rng.Int64N(c.size/benchPiece) * benchPiece
		index, inBlock := int(off/benchBlock), off%benchBlock
		if _, ok := at[index]; !ok {
			at[index] = len(blocks)
			bitmap := make([]byte, benchBlock/vhd.SectorSize/8)
			blocks = append(blocks, vhdtest.Block{Index: index, Off: benchSlotAt(len(blocks)), Bitmap: bitmap})
		}
		block := &blocks[at[index]]
		block.Bitmap[inBlock/benchPiece] = 0xFF // its eight sectors
		data := randomBytes(rng, benchPiece)
		pieces = append(pieces, filePiece{data, block.Off + vhd.SectorSize + inBlock})
		_, err := raw.WriteAt(data, off)
		require.NoError(b, err)
	}
	child := vhdtest.NewChild(parent, c.lastName(), blocks...)
	c.add(b, child, pieces...)
	return child
}

// requireContent looks whether the chain is what it is said to be. After that all
// of it is in the page cache, and the raw file too, whose holes take space there.
func (c *benchChain) requireContent(b *testing.B) {
	b.Helper()
	disk, raw := c.open(b, len(c.names)-1, nil), c.openRaw(b)
	want, got := make([]byte, benchStride), make([]byte, benchStride)
	for off := int64(0); off < c.size; off += benchStride {
		_, err := raw.ReadAt(want, off)
		require.NoError(b, err)
		_, err = disk.ReadAt(got, off)
		require.NoError(b, err)
		requireSameBytes(b, want, got, off)
	}
}

// buildHuge makes images whose blocks are spread over the disk and are half full.
func (c *benchChain) buildHuge(b *testing.B) {
	b.Helper()
	rng := rand.New(rand.NewPCG(5, 6))
	bitmap := vhdtest.Bitmap(benchBlock/vhd.SectorSize, func(sector int) bool { return sector/8%2 == 0 })
	var parent *vhdtest.Image
	for range benchDepth + 1 {
		img := vhdtest.NewDynamic(c.size)
		if parent != nil {
			img = vhdtest.NewChild(parent, c.lastName())
		}
		for _, index := range scatteredBlocks(rng, c.size) {
			img.Blocks = append(img.Blocks, vhdtest.Block{Index: index, Off: benchSlotAt(len(img.Blocks)), Bitmap: bitmap})
		}
		c.add(b, img)
		parent = img
	}
}

// buildFragmented makes a base full of data, a child that has every other sector,
// and the raw file.
func (c *benchChain) buildFragmented(b *testing.B) {
	b.Helper()
	raw := c.createRaw(b)
	rng := rand.New(rand.NewPCG(7, 8))
	bitmap := bytes.Repeat([]byte{0x55}, benchBlock/vhd.SectorSize/8)
	base := vhdtest.NewDynamic(c.size)
	child := vhdtest.NewChild(base, c.nextName())
	for i := range int(c.size / benchBlock) {
		data, over := randomBytes(rng, benchBlock), randomBytes(rng, benchBlock)
		base.Blocks = append(base.Blocks, vhdtest.Block{Index: i, Off: benchSlotAt(i), Data: data})
		child.Blocks = append(child.Blocks, vhdtest.Block{Index: i, Off: benchSlotAt(i), Data: over, Bitmap: bitmap})
	}
	for off := int64(0); off < c.size; off += benchBlock {
		_, err := raw.WriteAt(vhdtest.ContentRange(b, []*vhdtest.Image{child, base}, off, benchBlock), off)
		require.NoError(b, err)
	}
	c.add(b, base)
	c.add(b, child)
	c.requireContent(b)
}

// scatteredBlocks are hugeBlocks blocks, more or less, of a disk of that size.
func scatteredBlocks(rng *rand.Rand, size int64) []int {
	var indexes []int
	for range hugeBlocks {
		indexes = append(indexes, int(rng.Int64N(size/benchBlock)))
	}
	slices.Sort(indexes)
	return slices.Compact(indexes)
}

// open opens the chain's child that has so many parents.
func (c *benchChain) open(b *testing.B, depth int, opts *vhd.Options) *vhd.Disk {
	b.Helper()
	disk, err := vhd.Open(c.names[depth], opts)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, disk.Close()) })
	return disk
}

func (c *benchChain) openRaw(b *testing.B) *os.File {
	b.Helper()
	raw, err := os.Open(c.raw)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, raw.Close()) })
	return raw
}

// randomOffs are the offsets of pieces at random places of the disk, and fall on so
// many that no cache of the processor holds them.
func (c *benchChain) randomOffs() []int64 {
	rng := rand.New(rand.NewPCG(3, 4))
	offs := make([]int64, 1<<16)
	for i := range offs {
		offs[i] = rng.Int64N(c.size/benchPiece) * benchPiece
	}
	return offs
}

func (c *benchChain) sequentialOffs() []int64 {
	var offs []int64
	for off := int64(0); off < c.size; off += benchStride {
		offs = append(offs, off)
	}
	return offs
}

// pread is a read that a disk's came down to.
type pread struct {
	file *os.File
	n    int
	off  int64
}

// benchReads are reads of n bytes each, of a disk whose maps are cached and,
// bare, what they come down to.
type benchReads struct {
	b        *testing.B
	disk     *vhd.Disk
	raw      *os.File
	offs     []int64
	n        int
	preads   [][]pread // by read
	holes    []int     // by read, bytes of it
	nextents int       // that are no holes, cut where reads begin and end
}

// reads makes the chain's disk with so many parents ready to be read. All has been
// read twice then, for the kernel has more to do at a page's second time.
func (c *benchChain) reads(b *testing.B, depth int, offs []int64, n int) *benchReads {
	b.Helper()
	c.make(b)
	r := &benchReads{b: b, disk: c.open(b, depth, nil), raw: c.openRaw(b), offs: offs, n: n}
	r.record(c, depth)
	p := make([]byte, n)
	for i, off := range offs {
		r.read(p, i)
		r.readRaw(p, i)
		holes := 0
		for e, err := range r.disk.FileExtents(off, int64(n)) {
			require.NoError(b, err)
			if e.Depth == vhd.Hole {
				holes += int(e.Length)
			} else {
				r.nextents++
			}
		}
		r.holes = append(r.holes, holes)
	}
	return r
}

// record notes what each read comes down to, as seen by the storage.
func (r *benchReads) record(c *benchChain, depth int) {
	b := r.b
	root, err := os.OpenRoot(c.dir)
	require.NoError(b, err)
	defer root.Close()
	files := map[string]*os.File{}
	for _, name := range c.names[:depth+1] {
		f, err := os.Open(name)
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, f.Close()) })
		files[filepath.Base(name)] = f
	}
	calls := vhdtest.NewRecordFS(vhd.RootFS(root))
	disk, err := vhd.Open(filepath.Base(c.names[depth]), &vhd.Options{FS: calls})
	require.NoError(b, err)
	defer disk.Close()
	p := make([]byte, r.n)
	for _, off := range r.offs {
		_, err := disk.ReadAt(p, off) // makes the maps
		require.NoError(b, err)
		calls.Reset()
		_, err = disk.ReadAt(p, off)
		require.NoError(b, err)
		var preads []pread
		for _, op := range calls.Ops() {
			require.Equal(b, vhdtest.OpRead, op.Kind)
			preads = append(preads, pread{files[path.Base(op.Name)], int(op.N), op.Off})
		}
		r.preads = append(r.preads, preads)
	}
}

// read is the i-th read, over again from the start after the last.
func (r *benchReads) read(p []byte, i int) {
	if _, err := r.disk.ReadAt(p, r.offs[i%len(r.offs)]); err != nil {
		r.b.Error(err)
	}
}

// readBare is what the i-th read comes down to: the same preads, and as many
// bytes cleared as came from holes. Preads that pass little gaps are more bytes
// than p has, all together.
func (r *benchReads) readBare(p []byte, i int) {
	at := 0
	for _, read := range r.preads[i%len(r.preads)] {
		at = min(at, len(p)-read.n)
		if _, err := read.file.ReadAt(p[at:at+read.n], read.off); err != nil {
			r.b.Error(err)
		}
		at += read.n
	}
	clear(p[:r.holes[i%len(r.holes)]])
}

// readRaw is the i-th read, of the raw file.
func (r *benchReads) readRaw(p []byte, i int) {
	if _, err := r.raw.ReadAt(p, r.offs[i%len(r.offs)]); err != nil {
		r.b.Error(err)
	}
}

// npreads is how many preads all reads together come down to.
func (r *benchReads) npreads() int {
	n := 0
	for _, preads := range r.preads {
		n += len(preads)
	}
	return n
}
