package vhd_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

func TestAnyWritesReadBackAsFromPlainMemory(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		fsys := vhdtest.NewMemFS()
		c := newChainMachine(rt, fsys, "disks/")
		require.NoError(rt, fsys.MkdirAll("disks"))
		c.readFile = fsys.ReadFile
		c.run(rt)
	})
}

func TestAnyWritesToRealFilesReadBackAsFromPlainMemory(t *testing.T) {
	top := t.TempDir()
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		if runs++; testing.Short() && runs > 10 {
			return
		}
		dir := filepath.Join(top, strconv.Itoa(runs))
		require.NoError(rt, os.Mkdir(dir, 0o755))
		defer func() { require.NoError(rt, os.RemoveAll(dir)) }()
		c := newChainMachine(rt, nil, dir+string(filepath.Separator))
		c.readFile = os.ReadFile
		c.run(rt)
	})
}

// maxModelDepth is how many parents a leaf gets.
const maxModelDepth = 8

// chainMachine does the same to a chain of disks and to its model.
type chainMachine struct {
	opts     vhd.Options
	prefix   string // of all names
	readFile func(name string) ([]byte, error)

	disk  *vhd.Disk
	model *vhdtest.Model
	names []string // base first
	made  int      // images, also those that are in the chain no more
	sums  map[string][sha256.Size]byte
	// Of these sectors a part was zeroed: who holds them is the engine's choice. With the number of the lowest leaf
	// where that was done: what is written over them in a later one may be dropped again.
	partlyZeroed map[int64]int
	rearranged   bool // a table or a path may stand between blocks, and stays there
	sparseBase   bool // whole blocks of the base are present where one sector was written
	blockSize    int64
	writes       uint64
}

func newChainMachine(t *rapid.T, fsys vhd.FS, prefix string) *chainMachine {
	return &chainMachine{
		opts:   vhd.Options{FS: fsys, Writable: true, CacheSize: rapid.SampledFrom([]int64{0, 0, 1, 700}).Draw(t, "cache")},
		prefix: prefix, sums: map[string][sha256.Size]byte{}, partlyZeroed: map[int64]int{},
	}
}

func (c *chainMachine) run(t *rapid.T) {
	t.Helper()
	c.createBase(t)
	defer func() { _ = c.disk.Close() }() // of a test that failed
	t.Repeat(map[string]func(*rapid.T){
		"":                c.check,
		"write":           c.write,
		"write again":     c.write,
		"write more":      c.write,
		"write zeroes":    c.writeZeroes,
		"free blocks":     c.freeBlocks,
		"read all":        c.readAll,
		"sync":            c.sync,
		"reopen":          c.reopen,
		"new child":       c.newChild,
		"snapshot":        c.snapshot,
		"resize":          c.resize,
		"rebase":          c.rebase,
		"merge":           c.merge,
		"export":          c.export,
		"revert":          c.revert,
		"compact":         c.compact,
		"pass the end":    c.passTheEnd,
		"read at the end": c.readAtTheEnd,
	})
	c.readAll(t)
	c.close(t)
	for _, name := range c.names[:len(c.names)-1] {
		require.Equal(t, c.sums[name], c.sum(t, name), "%s is a parent and changed", name)
	}
	c.open(t)
	c.readAll(t)
	c.close(t)
}

// drawBlockSize draws any block size, small ones more often.
func drawBlockSize(t *rapid.T) int64 {
	shift := rapid.SampledFrom([]int{9, 9, 10, 10, 11, 12, 12, 13, 15, 16, 19, 21, 21, 22, 24}).Draw(t, "block size 2^")
	return 1 << shift
}

// drawDiskSize draws a size of a few windows, or of many small blocks.
func drawDiskSize(t *rapid.T, blockSize int64) int64 {
	most := int64(5 << 20)
	if blockSize < 4096 {
		most = blockSize * 400
	}
	if rapid.Bool().Draw(t, "small") {
		most = min(most, 300<<10)
	}
	sectors := rapid.Int64Range(1, most/vhd.SectorSize).Draw(t, "sectors")
	return sectors * vhd.SectorSize
}

func (c *chainMachine) createBase(t *rapid.T) {
	t.Helper()
	opts := vhd.CreateOptions{Options: c.opts, Type: vhd.Dynamic, BlockSize: drawBlockSize(t)}
	opts.Size = drawDiskSize(t, opts.BlockSize)
	c.blockSize, c.sparseBase = opts.BlockSize, true
	c.model = vhdtest.NewModel(opts.Size)
	if rapid.IntRange(0, 4).Draw(t, "fixed") == 0 {
		opts.Type, c.sparseBase = vhd.Fixed, false
		c.model = vhdtest.NewModelOf(make([]byte, opts.Size))
	}
	t.Logf("base: %v of %d bytes in blocks of %d", opts.Type, opts.Size, opts.BlockSize)
	c.create(t, opts)
}

func (c *chainMachine) create(t *rapid.T, opts vhd.CreateOptions) {
	t.Helper()
	name := c.nextName()
	if len(c.names) == 0 && c.opts.FS != nil {
		require.NoError(t, c.opts.FS.(*vhdtest.MemFS).MkdirAll(c.prefix))
	}
	disk, err := vhd.Create(name, opts)
	require.NoError(t, err)
	c.disk, c.names = disk, append(c.names, name)
}

func (c *chainMachine) nextName() string {
	c.made++
	return fmt.Sprintf("%s%d.vhd", c.prefix, c.made)
}

func (c *chainMachine) newChild(t *rapid.T) {
	if c.model.Depth() >= maxModelDepth {
		t.Skip("deep enough")
	}
	c.close(t)
	parent := c.names[len(c.names)-1]
	opts := vhd.CreateOptions{Options: c.opts, Parent: parent, BlockSize: drawBlockSize(t)}
	opts.Writable = false // Create's disk is writable all the same
	size := c.model.Size()
	if rapid.Bool().Draw(t, "other size") || opts.BlockSize < 4096 && size > opts.BlockSize*400 {
		size = drawDiskSize(t, opts.BlockSize)
		opts.Size = size
	}
	t.Logf("child: %d bytes in blocks of %d", size, opts.BlockSize)
	c.sums[parent] = c.sum(t, parent)
	c.create(t, opts)
	c.model.NewChild(size)
	c.blockSize = opts.BlockSize
	require.Equal(t, size, c.disk.Size())
	require.Len(t, c.disk.Chain(), c.model.Depth()+1)
}

// snapshot puts a child of the same size on top while the disk is open.
func (c *chainMachine) snapshot(t *rapid.T) {
	if c.model.Depth() >= maxModelDepth {
		t.Skip("deep enough")
	}
	blockSize := drawBlockSize(t)
	if c.model.Size() > blockSize*400 && blockSize < 4096 {
		blockSize = 4096
	}
	name := c.nextName()
	require.NoError(t, c.disk.Snapshot(name, vhd.CreateOptions{BlockSize: blockSize}))
	parent := c.names[len(c.names)-1]
	c.sums[parent] = c.sum(t, parent)
	c.names = append(c.names, name)
	c.model.NewChild(c.model.Size())
	c.blockSize = blockSize
	require.Len(t, c.disk.Chain(), c.model.Depth()+1)
}

// resize gives the leaf another size, at random or near the one it has, and loses
// what falls off if it must.
func (c *chainMachine) resize(t *rapid.T) {
	c.rearranged = true
	old := c.model.Size()
	size := drawDiskSize(t, c.blockSize)
	if rapid.Bool().Draw(t, "nearly the same") {
		size = max(old+rapid.Int64Range(-9, 9).Draw(t, "more sectors")*vhd.SectorSize, vhd.SectorSize)
	}
	t.Logf("resize %d to %d", old, size)
	loses := false
	if size < old {
		loses = !isZeros(c.model.Content()[size:])
	}
	err := c.disk.Resize(t.Context(), size, vhd.ResizeOptions{})
	if loses {
		require.ErrorIs(t, err, vhd.ErrDataLoss)
		require.Equal(t, old, c.disk.Size())
		err = c.disk.Resize(t.Context(), size, vhd.ResizeOptions{AllowLoss: true})
	}
	require.NoError(t, err)
	c.model.Resize(size)
	require.Equal(t, size, c.disk.Size())
	footer := c.disk.Chain()[0].Footer()
	require.Equal(t, size, footer.CurrentSize)
	require.Equal(t, vhd.GeometryOf(size), footer.Geometry)
	if header, ok := c.disk.Chain()[0].Header(); ok {
		require.EqualValues(t, 512, footer.DataOffset)
		require.EqualValues(t, (size+header.BlockSize-1)/header.BlockSize, header.MaxTableEntries)
	}
}

// rebase makes another image of the chain the leaf's parent, or the same one
// again.
func (c *chainMachine) rebase(t *rapid.T) {
	c.rearranged = true
	if c.model.Depth() == 0 {
		t.Skip("it has no parent")
	}
	depth := rapid.IntRange(1, c.model.Depth()).Draw(t, "depth")
	parent := len(c.names) - 1 - depth
	require.NoError(t, c.disk.Rebase(c.names[parent], vhd.RebaseOptions{}))
	c.names = append(c.names[:parent+1], c.names[len(c.names)-1])
	c.model.Rebase(depth)
	require.Len(t, c.disk.Chain(), c.model.Depth()+1)
}

// merge folds images into one below them. A rebase may have left other children of theirs, which nobody opens any more.
func (c *chainMachine) merge(t *rapid.T) {
	c.rearranged = true
	if c.model.Depth() == 0 {
		t.Skip("it has no parent")
	}
	from := rapid.IntRange(0, c.model.Depth()-1).Draw(t, "from")
	into := rapid.IntRange(from+1, c.model.Depth()).Draw(t, "into")
	t.Logf("merge %d into %d", from, into)
	require.NoError(t, c.disk.Merge(t.Context(), from, into, vhd.MergeOptions{Force: true}))
	c.model.Merge(from, into)
	top, bottom := len(c.names)-1-from, len(c.names)-1-into
	for _, name := range c.names[bottom+1 : top+1] {
		_, err := c.readFile(name)
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
	for sector, leaf := range c.partlyZeroed {
		c.partlyZeroed[sector] = min(leaf, max(leaf-(into-from), bottom+1))
	}
	c.names = slices.Delete(c.names, bottom+1, top+1)
	for _, name := range c.names[:len(c.names)-1][max(bottom-1, 0):] { // the one that received, and one that it is the parent of
		c.sums[name] = c.sum(t, name)
	}
	if header, ok := c.disk.Chain()[0].Header(); ok {
		c.blockSize = header.BlockSize
	}
	require.Len(t, c.disk.Chain(), c.model.Depth()+1)
}

// span draws a range of the disk that likes to start and end near the edges of
// sectors, blocks and windows.
func (c *chainMachine) span(t *rapid.T) (off, n int64) {
	t.Helper()
	off = c.place(t, "from")
	switch rapid.IntRange(0, 3).Draw(t, "length") {
	case 0:
		n = rapid.Int64Range(0, 3*vhd.SectorSize).Draw(t, "n")
	case 1:
		n = rapid.Int64Range(0, 40).Draw(t, "sectors") * vhd.SectorSize
	default:
		end := c.place(t, "to")
		off, n = min(off, end), max(off, end)-min(off, end)
	}
	return off, min(n, c.model.Size()-off)
}

func (c *chainMachine) place(t *rapid.T, label string) int64 {
	size := c.model.Size()
	unit := rapid.SampledFrom([]int64{1, vhd.SectorSize, c.blockSize, 2 << 20}).Draw(t, label+" unit")
	off := rapid.Int64Range(0, size/unit).Draw(t, label) * unit
	if rapid.IntRange(0, 2).Draw(t, label+" skewed") == 0 {
		off += rapid.SampledFrom([]int64{-vhd.SectorSize, -1, 1, vhd.SectorSize, 100}).Draw(t, label+" skew")
	}
	return min(max(off, 0), size)
}

func (c *chainMachine) write(t *rapid.T) {
	off, n := c.span(t)
	c.writes++
	p := pattern(c.writes, n)
	t.Logf("write %d at %d", n, off)
	got, err := c.disk.WriteAt(p, off)
	require.NoError(t, err)
	require.Equal(t, len(p), got)
	_, err = c.model.WriteAt(p, off)
	require.NoError(t, err)
	for sector := off / vhd.SectorSize; n > 0 && sector <= (off+n-1)/vhd.SectorSize; sector++ {
		if c.partlyZeroed[sector] == len(c.names) {
			delete(c.partlyZeroed, sector)
		}
	}
}

// pattern is bytes that no other write has, and every tenth time zeros, which
// are data like any other.
func pattern(number uint64, n int64) []byte {
	p := make([]byte, n+8)
	if number%10 != 0 {
		rng := rand.NewPCG(number, 0)
		for i := 0; i < int(n); i += 8 {
			binary.LittleEndian.PutUint64(p[i:], rng.Uint64())
		}
	}
	return p[:n]
}

func (c *chainMachine) writeZeroes(t *rapid.T) {
	off, n := c.span(t)
	c.zero(t, off, n)
}

// freeBlocks zeroes whole blocks, or all there is.
func (c *chainMachine) freeBlocks(t *rapid.T) {
	size := c.model.Size()
	first := rapid.Int64Range(0, (size-1)/c.blockSize).Draw(t, "first block")
	n := rapid.Int64Range(1, 3).Draw(t, "blocks")
	if rapid.IntRange(0, 3).Draw(t, "all") == 0 {
		first, n = 0, size/c.blockSize+1
	}
	c.zero(t, first*c.blockSize, min(n*c.blockSize, size-first*c.blockSize))
}

func (c *chainMachine) zero(t *rapid.T, off, n int64) {
	t.Helper()
	t.Logf("zero %d at %d", n, off)
	require.NoError(t, c.disk.WriteZeroes(off, n))
	require.NoError(t, c.model.WriteZeroes(off, n))
	if n > 0 {
		for _, sector := range []int64{off / vhd.SectorSize, (off + n - 1) / vhd.SectorSize} {
			if c.partlyZeroed[sector] == 0 {
				c.partlyZeroed[sector] = len(c.names)
			}
		}
	}
}

// revert writes what is below the leaf.
func (c *chainMachine) revert(t *rapid.T) {
	off, n := c.span(t)
	p := c.model.Below()[off:][:n]
	t.Logf("revert %d at %d", n, off)
	_, err := c.disk.WriteAt(p, off)
	require.NoError(t, err)
	_, err = c.model.WriteAt(p, off)
	require.NoError(t, err)
}

// compact makes the leaf as small as it can be: nothing is left that a check would find to be given back, and
// compacting again changes nothing.
func (c *chainMachine) compact(t *rapid.T) {
	err := c.disk.Compact(t.Context(), vhd.CompactOptions{})
	if len(c.names) == 1 && !c.sparseBase {
		require.ErrorIs(t, err, vhd.ErrUnsupported)
		return
	}
	require.NoError(t, err)
	c.model.Compact(c.blockSize)
	name := c.names[len(c.names)-1]
	before := c.sum(t, name)
	require.NoError(t, c.disk.Compact(t.Context(), vhd.CompactOptions{}))
	require.Equal(t, before, c.sum(t, name), "compacted twice")
	opts := vhd.CheckOptions{Options: c.opts}
	opts.Writable, opts.Lock = false, vhd.LockNone
	report, err := vhd.Check(t.Context(), name, opts)
	require.NoError(t, err)
	odd := []string{"original-size", "bitmap-past-disk"}
	if c.rearranged {
		odd = append(odd, "free-blocks", "block-unaligned")
	}
	for _, f := range report.Findings {
		require.Contains(t, odd, f.Code, "%+v", f)
	}
}

func (c *chainMachine) sync(t *rapid.T) { require.NoError(t, c.disk.Sync()) }

func (c *chainMachine) reopen(t *rapid.T) {
	c.close(t)
	c.open(t)
}

func (c *chainMachine) close(t *rapid.T) {
	t.Helper()
	require.NoError(t, c.disk.Close())
	require.ErrorIs(t, c.disk.Close(), vhd.ErrClosed)
	if n := len(c.names); n > 1 {
		parent := c.names[n-2]
		require.Equal(t, c.sums[parent], c.sum(t, parent), "the parent of what was closed changed")
	}
	c.checkFiles(t)
}

// checkFiles checks what was closed. Blocks that were given back may leave gaps, and children may have other sizes.
func (c *chainMachine) checkFiles(t *rapid.T) {
	t.Helper()
	opts := vhd.CheckOptions{Options: c.opts, Chain: true}
	opts.Writable = false
	report, err := vhd.Check(t.Context(), c.names[len(c.names)-1], opts)
	require.NoError(t, err)
	for _, f := range report.Findings {
		require.Contains(t, []string{"free-blocks", "block-unaligned", "parent-size", "original-size", "bitmap-past-disk"}, f.Code, "%+v", f)
	}
}

func (c *chainMachine) open(t *rapid.T) {
	t.Helper()
	disk, err := vhd.Open(c.names[len(c.names)-1], &c.opts)
	require.NoError(t, err)
	require.False(t, disk.Chain()[0].NeedsRecovery())
	c.disk = disk
}

func (c *chainMachine) sum(t *rapid.T, name string) [sha256.Size]byte {
	t.Helper()
	b, err := c.readFile(name)
	require.NoError(t, err)
	return sha256.Sum256(b)
}

// export exports the disk as it is by now, synced or not.
func (c *chainMachine) export(t *rapid.T) {
	opts := vhd.ExportOptions{Type: rapid.SampledFrom([]vhd.DiskType{0, vhd.Fixed, vhd.Dynamic, vhd.Differencing}).Draw(t, "type")}
	var parents []vhd.File
	if opts.Type == vhd.Differencing {
		if len(c.names) == 1 {
			t.Skip("it has no parent")
		}
		opts.Base = rapid.IntRange(1, len(c.names)-1).Draw(t, "base")
		for _, name := range slices.Backward(c.names[:len(c.names)-opts.Base]) {
			file, err := c.readFile(name)
			require.NoError(t, err)
			parents = append(parents, vhd.ReadOnlyFile(bytes.NewReader(file), int64(len(file))))
		}
	}
	image := exportVHD(t, c.disk, opts)
	if opts.Type == 0 {
		requireSameBytes(t, c.model.Content(), image, 0)
		return
	}
	files := append([]vhd.File{vhd.ReadOnlyFile(bytes.NewReader(image), int64(len(image)))}, parents...)
	disk, err := vhd.OpenChain(nil, files...)
	require.NoError(t, err)
	got := make([]byte, disk.Size())
	_, err = disk.ReadAt(got, 0)
	require.NoError(t, err)
	requireSameBytes(t, c.model.Content(), got, 0)
	require.NoError(t, disk.Close())
}

func (c *chainMachine) passTheEnd(t *rapid.T) {
	size := c.model.Size()
	off := max(0, size-rapid.Int64Range(0, 1000).Draw(t, "before the end"))
	n := size - off + rapid.Int64Range(1, 1000).Draw(t, "past the end")
	got, err := c.disk.WriteAt(make([]byte, n), off)
	require.ErrorIs(t, err, vhd.ErrOutOfRange)
	require.Zero(t, got)
	require.ErrorIs(t, c.disk.WriteZeroes(off, n), vhd.ErrOutOfRange)
}

func (c *chainMachine) readAtTheEnd(t *rapid.T) {
	size := c.model.Size()
	n := rapid.Int64Range(0, min(size, 2000)).Draw(t, "before the end")
	p := make([]byte, n+rapid.Int64Range(1, 600).Draw(t, "past the end"))
	got, err := c.disk.ReadAt(p, size-n)
	requireEOF(t, err)
	require.Equal(t, int(n), got)
	want := make([]byte, n)
	_, err = c.model.ReadAt(want, size-n)
	require.NoError(t, err)
	requireSameBytes(t, want, p[:n], size-n)
}

// check reads somewhere, and looks at the extents there.
func (c *chainMachine) check(t *rapid.T) {
	off, n := c.span(t)
	c.read(t, off, n)
	c.checkExtents(t, off, n)
	c.checkWhileOpen(t)
}

// checkWhileOpen checks what the files are at any time: sound, whatever has not been synced.
func (c *chainMachine) checkWhileOpen(t *rapid.T) {
	t.Helper()
	opts := vhd.CheckOptions{Options: c.opts, Chain: true}
	opts.Writable, opts.Lock = false, vhd.LockNone
	report, err := vhd.Check(t.Context(), c.names[len(c.names)-1], opts)
	require.NoError(t, err)
	for _, f := range report.Findings {
		require.NotEqual(t, vhd.SeverityError, f.Severity, "%+v", f)
	}
}

func (c *chainMachine) readAll(t *rapid.T) {
	c.read(t, 0, c.model.Size())
	c.checkExtents(t, 0, c.model.Size())
}

func (c *chainMachine) read(t *rapid.T, off, n int64) {
	t.Helper()
	want := make([]byte, n)
	_, err := c.model.ReadAt(want, off)
	require.NoError(t, err)
	got := bytes.Repeat([]byte{0xEE}, int(n))
	read, err := c.disk.ReadAt(got, off)
	require.NoError(t, err)
	require.Equal(t, int(n), read)
	requireSameBytes(t, want, got, off)
}

func (c *chainMachine) checkExtents(t *rapid.T, off, n int64) {
	t.Helper()
	at, before := off, vhd.Extent{Depth: -2}
	for e, err := range c.disk.Extents(off, n) {
		require.NoError(t, err)
		require.Equal(t, at, e.Offset, "extents abut")
		require.Positive(t, e.Length)
		require.NotEqual(t, before.Depth, e.Depth, "extents are as long as they can be: %v, %v", before, e)
		c.checkOwners(t, e)
		at, before = at+e.Length, e
	}
	require.Equal(t, off+n, at, "extents reach to the end")
}

func (c *chainMachine) checkOwners(t *rapid.T, e vhd.Extent) {
	t.Helper()
	base := c.model.Depth()
	for sector := e.Offset / vhd.SectorSize; sector*vhd.SectorSize < e.Offset+e.Length; sector++ {
		owner, certain := c.model.Owner(sector)
		switch {
		case owner == e.Depth || !certain || c.partlyZeroed[sector] > 0:
		case owner == vhdtest.NoOwner && e.Depth == base && c.sparseBase: // its whole block is
		default:
			require.Failf(t, "wrong depth", "sector %d is in %v, and in depth %d of the model", sector, e, owner)
		}
	}
}

func requireEOF(t require.TestingT, err error) {
	if h, ok := t.(interface{ Helper() }); ok {
		h.Helper()
	}
	require.Equal(t, io.EOF, err, "a bare io.EOF")
}

// requireSameBytes says where the first difference is, and does not print
// megabytes.
func requireSameBytes(t require.TestingT, want, got []byte, off int64) {
	if h, ok := t.(interface{ Helper() }); ok {
		h.Helper()
	}
	if bytes.Equal(want, got) {
		return
	}
	require.Len(t, got, len(want))
	for i := range want {
		if want[i] != got[i] {
			require.Failf(t, "wrong bytes", "first at byte %d, sector %d: got %x, want %x", off+int64(i),
				(off+int64(i))/vhd.SectorSize, got[i:min(len(got), i+16)], want[i:min(len(want), i+16)])
		}
	}
}
