package vhd_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

func TestAnyWritesReadBackAsFromPlainMemory(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { newMemMachine(rt).run(rt) })
}

func TestAnyWritesToRealFilesReadBackAsFromPlainMemory(t *testing.T) {
	top := t.TempDir()
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		if runs++; testing.Short() && runs > 10 {
			return
		}
		dir := filepath.Join(top, strconv.Itoa(runs))
		defer func() { require.NoError(rt, os.RemoveAll(dir)) }()
		newChainMachine(rt, dir, realFiles).run(rt)
	})
}

// maxModelDepth is how many parents a leaf gets.
const maxModelDepth = 8

// chainMachine does the same to a chain of disks and to its model.
type chainMachine struct {
	opts  vhd.Options
	files modelFiles

	disk   *vhd.Disk
	model  *vhdtest.Model
	images []*modelImage // base first
	made   int           // images, also those that are in the chain no more
	// Of these sectors a part was zeroed: who holds them is the engine's choice. With the number of the lowest leaf
	// where that was done: what is written over them in a later one may be dropped again.
	partlyZeroed map[int64]int
	sparseBase   bool // whole blocks of the base are present where one sector was written
	writes       uint64
}

// modelImage is what is known of an image of the chain.
type modelImage struct {
	name      string
	diskType  vhd.DiskType
	blockSize int64
	madeSize  int64
	sum       [sha256.Size]byte // of its file, since it is a parent

	holes      bool // blocks were given back: there may be gaps
	rearranged bool // a table or a path may stand between blocks, and stays there
	shrunk     bool // bits may be set behind the disk's end
	clearData  bool // there may be data under clear bits of a disk without a parent
	roomyTable bool // its table may have more entries than it has blocks
	strayed    bool // its path leads nowhere from its new folder, where its parent is found all the same
}

// modelFiles are how files are handled other than by the engine.
type modelFiles struct {
	fsys   vhd.FS // nil: the operating system's
	read   func(name string) ([]byte, error)
	write  func(name string, data []byte) error
	mkdir  func(name string) error
	rename func(from, to string) error
	remove func(name string) error
}

var realFiles = modelFiles{
	read: os.ReadFile, write: writeKeepingTime, rename: os.Rename, remove: os.Remove,
	mkdir: func(name string) error { return os.MkdirAll(name, 0o755) },
}

// writeKeepingTime writes a file. One that is there already keeps its time, by which children go: the disk in it stays the
// same.
func writeKeepingTime(name string, data []byte) error {
	info, missing := os.Stat(name)
	if err := os.WriteFile(name, data, 0o600); err != nil || missing != nil {
		return err
	}
	return os.Chtimes(name, info.ModTime(), info.ModTime())
}

// newMemMachine is one of files in memory, that can have two names or not.
func newMemMachine(t *rapid.T) *chainMachine {
	t.Helper()
	mem := vhdtest.NewMemFS()
	files := modelFiles{mem, mem.ReadFile, mem.WriteFile, mem.MkdirAll, mem.Rename, mem.Remove}
	if rapid.Bool().Draw(t, "links") {
		files.fsys = mem.Linking()
	}
	return newChainMachine(t, "disks", files)
}

func newChainMachine(t *rapid.T, dir string, files modelFiles) *chainMachine {
	t.Helper()
	c := &chainMachine{
		opts: vhd.Options{
			FS: files.fsys, Writable: true, Root: dir,
			CacheSize: rapid.SampledFrom([]int64{0, 0, 1, 700}).Draw(t, "cache"),
		},
		files: files, partlyZeroed: map[int64]int{},
	}
	for _, folder := range c.folders() {
		require.NoError(t, files.mkdir(folder))
	}
	return c
}

// folders are those that images are in. They come into being in the first one.
func (c *chainMachine) folders() []string {
	return []string{c.opts.Root, path.Join(filepath.ToSlash(c.opts.Root), "elsewhere")}
}

func (c *chainMachine) leaf() *modelImage { return c.images[len(c.images)-1] }

// parents are all images but the leaf, base first.
func (c *chainMachine) parents() []*modelImage { return c.images[:len(c.images)-1] }

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
		"rebase unsafe":   c.rebaseUnsafe,
		"merge":           c.merge,
		"merge to a file": c.mergeToFile,
		"changed extents": c.changedExtents,
		"export":          c.export,
		"import":          c.importContent,
		"import anew":     c.importAnew,
		"rename":          c.rename,
		"move":            c.move,
		"repair":          c.repair,
		"repair by moves": c.repairElsewhere,
		"revert":          c.revert,
		"compact":         c.compact,
		"pass the end":    c.passTheEnd,
		"read at the end": c.readAtTheEnd,
	})
	c.readAll(t)
	c.close(t)
	for _, image := range c.parents() {
		require.Equal(t, image.sum, c.sum(t, image.name), "%s is a parent and changed", image.name)
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
	c.sparseBase = true
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
	disk, err := vhd.Create(name, opts)
	require.NoError(t, err)
	c.disk = disk
	c.add(name, opts.BlockSize)
}

// add notes the image that is the leaf by now.
func (c *chainMachine) add(name string, blockSize int64) {
	c.images = append(c.images, &modelImage{
		name: name, diskType: c.disk.Chain()[0].Footer().Type, blockSize: blockSize, madeSize: c.disk.Size(),
	})
}

func (c *chainMachine) nextName() string { return c.nextNameIn(c.opts.Root) }

func (c *chainMachine) nextNameIn(folder string) string {
	c.made++
	return fmt.Sprintf("%s/%d.vhd", filepath.ToSlash(folder), c.made)
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
	unit := rapid.SampledFrom([]int64{1, vhd.SectorSize, c.leaf().blockSize, 2 << 20}).Draw(t, label+" unit")
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
	c.wrote(t, p, off)
}

// wrote writes to the model what was written to the disk.
func (c *chainMachine) wrote(t *rapid.T, p []byte, off int64) {
	t.Helper()
	_, err := c.model.WriteAt(p, off)
	require.NoError(t, err)
	end := off + int64(len(p))
	for sector := off / vhd.SectorSize; off < end && sector <= (end-1)/vhd.SectorSize; sector++ {
		if c.partlyZeroed[sector] == len(c.images) {
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
	size, blockSize := c.model.Size(), c.leaf().blockSize
	first := rapid.Int64Range(0, (size-1)/blockSize).Draw(t, "first block")
	n := rapid.Int64Range(1, 3).Draw(t, "blocks")
	if rapid.IntRange(0, 3).Draw(t, "all") == 0 {
		first, n = 0, size/blockSize+1
	}
	c.zero(t, first*blockSize, min(n*blockSize, size-first*blockSize))
}

func (c *chainMachine) zero(t *rapid.T, off, n int64) {
	t.Helper()
	t.Logf("zero %d at %d", n, off)
	require.NoError(t, c.disk.WriteZeroes(off, n))
	c.zeroed(t, off, n)
}

// zeroed makes zeros in the model of what was made zeros in the disk.
func (c *chainMachine) zeroed(t *rapid.T, off, n int64) {
	t.Helper()
	c.leaf().holes = true
	require.NoError(t, c.model.WriteZeroes(off, n))
	if n > 0 {
		for _, sector := range []int64{off / vhd.SectorSize, (off + n - 1) / vhd.SectorSize} {
			if c.partlyZeroed[sector] == 0 {
				c.partlyZeroed[sector] = len(c.images)
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

func (c *chainMachine) sync(t *rapid.T) { require.NoError(t, c.disk.Sync()) }

func (c *chainMachine) reopen(t *rapid.T) {
	c.close(t)
	c.open(t)
}

func (c *chainMachine) close(t *rapid.T) {
	t.Helper()
	require.NoError(t, c.disk.Close())
	require.ErrorIs(t, c.disk.Close(), vhd.ErrClosed)
	if n := len(c.images); n > 1 {
		require.Equal(t, c.images[n-2].sum, c.sum(t, c.images[n-2].name), "the parent of what was closed changed")
	}
	c.requireTrueBatmap(t)
	c.checkFiles(t, closed)
}

func (c *chainMachine) open(t *rapid.T) {
	t.Helper()
	disk, err := vhd.Open(c.leaf().name, &c.opts)
	require.NoError(t, err)
	require.False(t, disk.Chain()[0].NeedsRecovery())
	c.disk = disk
}

func (c *chainMachine) passTheEnd(t *rapid.T) {
	size := c.model.Size()
	off := max(0, size-rapid.Int64Range(0, 1000).Draw(t, "before the end"))
	n := size - off + rapid.Int64Range(1, 1000).Draw(t, "past the end")
	got, err := c.disk.WriteAt(make([]byte, n), off)
	require.ErrorIs(t, err, vhd.ErrOutOfRange)
	require.Zero(t, got)
	require.ErrorIs(t, c.disk.WriteZeroes(off, n), vhd.ErrOutOfRange)
	require.ErrorIs(t, c.disk.Import(t.Context(), bytes.NewReader(make([]byte, off+n)), off+n, vhd.ImportOptions{}), vhd.ErrOutOfRange)
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
	require.Equal(t, len(want), len(got), "bytes") //nolint:testifylint // Len prints them all
	for i := range want {
		if want[i] != got[i] {
			require.Failf(t, "wrong bytes", "first at byte %d, sector %d: got %x, want %x", off+int64(i),
				(off+int64(i))/vhd.SectorSize, got[i:min(len(got), i+16)], want[i:min(len(want), i+16)])
		}
	}
}
