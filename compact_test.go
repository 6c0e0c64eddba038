package vhd_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

const (
	compactBlock = 64 << 10
	// compactSlot is what such a block takes in a file, with what aligns the next one: a bitmap of 512 bytes, its
	// data, and as much as brings the next data to a multiple of 4096.
	compactSlot = compactBlock + 4096
)

// compact compacts an image that is a file, closes it, and returns how it was and is.
func compact(t testing.TB, name string) (before, after []byte) {
	t.Helper()
	disk, err := vhd.Open(name, nil)
	require.NoError(t, err)
	foretold, err := disk.CompactSize(t.Context(), vhd.CompactOptions{})
	require.NoError(t, err)
	unfinished := disk.Chain()[0].NeedsRecovery()
	require.NoError(t, disk.Close())
	before, err = os.ReadFile(name)
	require.NoError(t, err)
	disk, err = vhd.Open(name, &vhd.Options{Writable: true})
	require.NoError(t, err)
	defer func() { _ = disk.Close() }() // of a test that failed
	content := readAll(t, disk, disk.Size())
	require.NoError(t, disk.Compact(t.Context(), vhd.CompactOptions{}))
	requireSameBytes(t, content, readAll(t, disk, disk.Size()), 0)
	atOnce, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, disk.Close())
	after, err = os.ReadFile(name)
	require.NoError(t, err)
	require.True(t, bytes.Equal(atOnce, after), "Close changed what was compacted")
	if !unfinished { // else opening for writing changed it before
		require.Len(t, after, int(foretold))
	}
	return before, after
}

// requireCompact fails unless an image can't be made any smaller: compacting it again changes no byte, and a check
// finds no space to be given back.
func requireCompact(t testing.TB, name string) {
	t.Helper()
	before, after := compact(t, name)
	require.True(t, bytes.Equal(before, after), "compacting twice changes it again")
	report, err := vhd.Check(t.Context(), name, vhd.CheckOptions{})
	require.NoError(t, err)
	for _, f := range report.Findings {
		require.Equal(t, vhd.SeverityInfo, f.Severity, "%+v", f)
	}
}

// blocksOf makes blocks of compactBlock bytes, each filled with its own byte, or with zeros.
func blocksOf(fills ...byte) []vhdtest.Block {
	var blocks []vhdtest.Block
	for i, b := range fills {
		blocks = append(blocks, vhdtest.Block{Index: i, Data: plain(b, compactBlock), Align: 4096})
	}
	return blocks
}

// plain is n bytes that are all the same.
func plain(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

// compactDisk is a dynamic disk of such blocks.
func compactDisk(fills ...byte) *vhdtest.Image {
	img := vhdtest.NewDynamic(int64(len(fills))*compactBlock, blocksOf(fills...)...)
	img.BlockSize, img.EndAlign = compactBlock, 4096
	return img
}

// compactChild is a child of a disk of such blocks.
func compactChild(parent *vhdtest.Image, blocks ...vhdtest.Block) *vhdtest.Image {
	img := vhdtest.NewChild(parent, "base.vhd", blocks...)
	img.BlockSize, img.EndAlign = compactBlock, 4096
	return img
}

// writeChain writes a base and its child to a new directory, and returns the child's name.
func writeChain(t testing.TB, base, leaf *vhdtest.Image) string {
	t.Helper()
	dir := t.TempDir()
	base.WriteFile(t, filepath.Join(dir, "base.vhd"))
	name := filepath.Join(dir, "leaf.vhd")
	leaf.WriteFile(t, name)
	return name
}

// presentIn says which sectors of the first block the image has, by its own bitmap on disk.
func presentIn(t testing.TB, file []byte, block int) []int {
	t.Helper()
	off := int64(vhdtest.Entry(t, file, block)) * vhd.SectorSize
	var present []int
	for sector := range compactBlock / vhd.SectorSize {
		if file[off+int64(sector/8)]&(0x80>>(sector%8)) != 0 {
			present = append(present, sector)
		}
	}
	return present
}

func TestCompactDropsBlocksOfZerosAndClosesTheHoles(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.vhd")
	img := compactDisk('a', 0, 'c', 0, 0, 'f')
	img.WriteFile(t, name)
	before, after := compact(t, name)
	require.Len(t, after, len(before)-3*compactSlot)
	require.Equal(t, img.Content(t, nil), vhdtest.Qemu.Content(t, name))
	for _, block := range []int{1, 3, 4} {
		require.Equal(t, vhdtest.Unallocated, vhdtest.Entry(t, after, block))
	}
	for _, block := range []int{0, 2} {
		require.Equal(t, vhdtest.Entry(t, before, block), vhdtest.Entry(t, after, block), "what is in its place stays there")
	}
	require.Equal(t, vhdtest.Entry(t, before, 1), vhdtest.Entry(t, after, 5), "the last block is in the first hole")
	requireCompact(t, name)
}

func TestCompactDropsSectorsThatTheParentHasToo(t *testing.T) {
	base := compactDisk('p', 'q', 'r')
	mixed := plain('q', compactBlock)
	copy(mixed[7*512:], plain('x', 3*512))
	leaf := compactChild(base,
		vhdtest.Block{Index: 0, Data: plain('p', compactBlock), Align: 4096},
		vhdtest.Block{Index: 1, Data: mixed, Align: 4096},
	)
	name := writeChain(t, base, leaf)
	before, after := compact(t, name)
	require.Len(t, after, len(before)-compactSlot)
	require.Equal(t, vhdtest.Unallocated, vhdtest.Entry(t, after, 0))
	require.Equal(t, []int{7, 8, 9}, presentIn(t, after, 1))
	require.Equal(t, leaf.Content(t, base.Content(t, nil)), vhdtest.SevenZip.Content(t, name))
	requireCompact(t, name)
}

// Zeros over a parent's data are data: dropping them brought deleted files back, and lost people's disks, elsewhere.
func TestZeroOverDataThenCompactStaysZero(t *testing.T) {
	base := compactDisk('p', 'q', 0)
	name := writeChain(t, base, compactChild(base))
	disk, err := vhd.Open(name, &vhd.Options{Writable: true})
	require.NoError(t, err)
	require.NoError(t, disk.WriteZeroes(0, compactBlock))
	_, err = disk.WriteAt(make([]byte, compactBlock), compactBlock)
	require.NoError(t, err)
	_, err = disk.WriteAt(make([]byte, compactBlock), 2*compactBlock) // where nothing is below
	require.NoError(t, err)
	require.NoError(t, disk.Compact(t.Context(), vhd.CompactOptions{}))
	require.NoError(t, disk.Close())
	require.Equal(t, make([]byte, 3*compactBlock), vhdtest.SevenZip.Content(t, name))
	after, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Len(t, presentIn(t, after, 0), compactBlock/512)
	require.Len(t, presentIn(t, after, 1), compactBlock/512)
	require.Equal(t, vhdtest.Unallocated, vhdtest.Entry(t, after, 2))
	requireCompact(t, name)
}

func TestCompactDropsZerosBehindTheEndOfASmallerParent(t *testing.T) {
	base := compactDisk('p')
	leaf := compactChild(base,
		vhdtest.Block{Index: 0, Data: make([]byte, compactBlock), Align: 4096},
		vhdtest.Block{Index: 2, Data: make([]byte, compactBlock), Align: 4096},
		vhdtest.Block{Index: 3, Data: plain('z', 512), Align: 4096},
	)
	leaf.Size = 3*compactBlock + 5*512
	name := writeChain(t, base, leaf)
	before, after := compact(t, name)
	require.Len(t, after, len(before)-compactSlot)
	require.Len(t, presentIn(t, after, 0), compactBlock/512)
	require.Equal(t, vhdtest.Unallocated, vhdtest.Entry(t, after, 2))
	require.Equal(t, 0, presentIn(t, after, 3)[0])
	requireCompact(t, name)
}

// The bits behind the disk's end are nobody's.
func TestCompactDropsABlockThatHasOnlySectorsBehindTheDisksEnd(t *testing.T) {
	base := compactDisk('p', 'q')
	tail := plain('x', compactBlock)
	copy(tail, plain('q', 3*512))
	leaf := compactChild(base, vhdtest.Block{Index: 1, Data: tail, Align: 4096})
	leaf.Size = compactBlock + 3*512
	name := writeChain(t, base, leaf)
	before, after := compact(t, name)
	require.Len(t, after, len(before)-compactSlot)
	requireCompact(t, name)
}

func TestCompactGoesByTheBitmapsOfADiskWithoutAParent(t *testing.T) {
	img := compactDisk('a', 'b')
	img.Blocks[0].Bitmap = make([]byte, compactBlock/512/8)                                               // its data does not count
	img.Blocks[1].Bitmap = vhdtest.Bitmap(compactBlock/512, func(sector int) bool { return sector != 5 }) // nor does sector 5's
	name := filepath.Join(t.TempDir(), "x.vhd")
	img.WriteFile(t, name)
	before, after := compact(t, name)
	require.Len(t, after, len(before)-compactSlot)
	require.Equal(t, vhdtest.Unallocated, vhdtest.Entry(t, after, 0))
	at, was := vhdtest.Entry(t, after, 1)*512, vhdtest.Entry(t, before, 1)*512
	require.Less(t, at, was)
	require.True(t, bytes.Equal(before[was:was+512+compactBlock], after[at:at+512+compactBlock]), "a block is moved with all that is in it")
	requireCompact(t, name)
}

func TestCompactWithBlockSizesThatDiffer(t *testing.T) {
	for _, sizes := range [][2]int64{{4 << 20, 512}, {512, 4 << 20}, {2048, 256 << 10}, {2 << 20, 64 << 10}} {
		rng := rand.New(rand.NewPCG(uint64(sizes[0]), 1))
		dir := t.TempDir()
		content := make([]byte, 9<<20+1536)
		write := func(disk *vhd.Disk, p []byte, off int) {
			copy(content[off:], p)
			_, err := disk.WriteAt(p, int64(off))
			require.NoError(t, err)
		}
		base, err := vhd.Create(filepath.Join(dir, "base.vhd"), vhd.CreateOptions{Size: int64(len(content)), BlockSize: sizes[0]})
		require.NoError(t, err)
		for range 20 {
			write(base, randomBytes(rng, 64<<10), rng.IntN(len(content)-64<<10))
		}
		require.NoError(t, base.Close())
		below := bytes.Clone(content)
		name := filepath.Join(dir, "leaf.vhd")
		leaf, err := vhd.Create(name, vhd.CreateOptions{Parent: filepath.Join(dir, "base.vhd"), BlockSize: sizes[1]})
		require.NoError(t, err)
		for i := range 30 {
			off, n := rng.IntN(len(content)-200<<10), 1+rng.IntN(200<<10)
			p := [][]byte{randomBytes(rng, int64(n)/8*8), below[off:][:n], make([]byte, n)}[i%3]
			write(leaf, p, off)
		}
		require.NoError(t, leaf.Close())
		compact(t, name)
		requireCompact(t, name)
		requireOwnSectors(t, name, below, content)
		if sizes[1] >= 4096 {
			require.True(t, bytes.Equal(content, vhdtest.SevenZip.Content(t, name)))
		}
	}
}

// requireOwnSectors fails unless a child has exactly those sectors that differ from what is below.
func requireOwnSectors(t testing.TB, name string, below, content []byte) {
	t.Helper()
	disk, err := vhd.Open(name, nil)
	require.NoError(t, err)
	defer disk.Close()
	requireSameBytes(t, content, readAll(t, disk, disk.Size()), 0)
	for e, err := range disk.Extents(0, disk.Size()) {
		require.NoError(t, err)
		for off := e.Offset; off < e.Offset+e.Length; off += 512 {
			same := bytes.Equal(below[off:off+512], content[off:off+512])
			require.Equal(t, !same, e.Depth == 0, "sector %d", off/512)
		}
	}
}

func TestCompactClosesHolesBetweenBlocksThatAreNotAligned(t *testing.T) {
	for name, gaps := range map[string][]int64{"none": {0, 0, 0, 0}, "odd ones": {1024, 512, 0, 3 * 512}} {
		t.Run(name, func(t *testing.T) {
			base := compactDisk('p', 'q', 'r', 's')
			blocks := blocksOf('a', 'q', 'c', 'd')
			for i := range blocks {
				blocks[i].Align, blocks[i].Gap = 0, gaps[i]
			}
			leaf := compactChild(base, blocks...)
			leaf.EndAlign = 0
			name := writeChain(t, base, leaf)
			before, after := compact(t, name)
			require.LessOrEqual(t, len(after), len(before)-compactBlock-512+4096)
			require.Equal(t, leaf.Content(t, base.Content(t, nil)), vhdtest.SevenZip.Content(t, name))
			requireCompact(t, name)
		})
	}
}

func TestCompactGivesBackWhatIsBehindTheLastBlock(t *testing.T) {
	img := compactDisk('a', 'b')
	img.Slack = 9 * 4096 // too little for a block
	name := filepath.Join(t.TempDir(), "x.vhd")
	img.WriteFile(t, name)
	before, after := compact(t, name)
	require.Len(t, after, len(before)-9*4096)
	requireCompact(t, name)
}

// Opening for writing makes such a block whole, and so the file longer.
func TestTheSizeOfACompactImageIsForetoldIfItsLastBlockIsCutOff(t *testing.T) {
	for _, c := range []struct {
		fill byte
		cut  int64
	}{{'c', 1000}, {'c', compactBlock}, {0, 1000}} {
		img := compactDisk('a', 'b', c.fill)
		img.Blocks[2].Cut, img.EndAlign = c.cut, 0
		name := filepath.Join(t.TempDir(), "x.vhd")
		img.WriteFile(t, name)
		compact(t, name) // which compares
		requireCompact(t, name)
	}
}

func TestCompactLeavesWhatItDoesNotKnowAsItWas(t *testing.T) {
	base := compactDisk('p', 'q', 'r')
	leaf := compactChild(base, blocksOf('p', 'x')...)
	leaf.FooterReserved, leaf.HeaderReserved = plain('F', 427), plain('H', 256)
	leaf.Locators[1] = vhdtest.Locator{Code: 0x3F3F3F3F, Data: []byte("nobody knows what this is")}
	leaf.Locators[5] = vhdtest.MacX("/base.vhd")
	leaf.Locators[5].AfterBAT = true
	name := writeChain(t, base, leaf)
	before, after := compact(t, name)
	require.Len(t, after, len(before)-compactSlot)
	table := 3 * 4
	first := int64(vhdtest.Entry(t, before, 0)) * 512
	at := bytes.Index(before, vhdtest.Header(t, before)) + 1024
	require.NotZero(t, table)
	require.Equal(t, vhdtest.Header(t, before), vhdtest.Header(t, after))
	require.Equal(t, before[:at], after[:at])
	require.Equal(t, vhdtest.EndFooter(t, before), vhdtest.EndFooter(t, after))
	changed := 0
	for off := at; int64(off) < first; off++ {
		if before[off] != after[off] {
			changed++
		}
	}
	require.LessOrEqual(t, changed, 8, "two entries of the BAT")
}

func TestCompactClearsXensBatmapBeforeABlockIsNotFullAnyMore(t *testing.T) {
	base := compactDisk('p', 'q', 'r')
	mixed := plain('q', compactBlock)
	copy(mixed, "x")
	leaf := compactChild(base, vhdtest.Block{Index: 1, Data: mixed, Align: 4096})
	leaf.BATOff, leaf.BATArea = 4096, 1536
	dir := t.TempDir()
	base.WriteFile(t, filepath.Join(dir, "base.vhd"))
	name := filepath.Join(dir, "leaf.vhd")
	file := leaf.Build(t)
	copy(file[4608:], "tdbatmap\x00\x00\x00\x00\x00\x00\x14\x00\x00\x00\x00\x01\x00\x01\x00\x02")
	clear(file[4608+28 : 4096+1536])
	file[5120] = 0b01000000
	file[4608+27] = 0b10111111 // the one's complement of its sum
	file[4608+24], file[4608+25], file[4608+26] = 0xFF, 0xFF, 0xFF
	require.NoError(t, os.WriteFile(name, file, 0o600))
	report, err := vhd.Check(t.Context(), name, vhd.CheckOptions{})
	require.NoError(t, err)
	require.Empty(t, report.Findings, "the batmap is right")
	_, after := compact(t, name)
	require.Equal(t, []int{0}, presentIn(t, after, 1))
	require.Equal(t, "tdbatmap", string(after[4608:4616]))
	require.Equal(t, []byte{0xFF, 0xFF, 0xFF, 0xFF}, after[4608+24:4608+28], "the one's complement of no sum")
	require.True(t, isZeros(after[5120:5632]))
	requireCompact(t, name)
}

// What a guest makes a block's bitmap look like is no batmap when the block is gone either.
func TestTheBitmapOfADroppedBlockIsNotTakenForABatmap(t *testing.T) {
	const block = 2 << 20
	for _, headerOff := range []int64{0, 16 << 20} { // at home, or coming home too
		bitmap := make([]byte, 512)
		copy(bitmap, "tdbatmap")
		img := vhdtest.NewDynamic(8*block, vhdtest.Block{Index: 0, Data: make([]byte, block), Bitmap: bitmap},
			vhdtest.Block{Index: 1, Data: make([]byte, block)}, vhdtest.Block{Index: 2, Data: make([]byte, block)},
			vhdtest.Block{Index: 3, Data: plain('a', block)})
		img.HeaderOff = headerOff
		raw := img.Build(t)
		behind := int64(vhdtest.Entry(t, raw, 2))*512 + block/2
		binary.BigEndian.PutUint64(bitmap[8:], uint64(behind)) // within a block that goes too
		binary.BigEndian.PutUint32(bitmap[16:], 1)
		mem := inMemory(t, img.Build(t)) // where no hole takes the bitmap away
		disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: mem, Writable: true})
		require.NoError(t, err)
		foretold, err := disk.CompactSize(t.Context(), vhd.CompactOptions{})
		require.NoError(t, err)
		require.NoError(t, disk.Compact(t.Context(), vhd.CompactOptions{}))
		require.NoError(t, disk.Close())
		require.Less(t, len(fileOf(t, mem)), block+64<<10)
		require.Len(t, fileOf(t, mem), int(foretold))
	}
}

func TestCompactKeepsTheBatmapOfWhatIsCompactAlready(t *testing.T) {
	base := compactDisk('p', 'q', 'r')
	leaf := compactChild(base, blocksOf('x')...)
	leaf.BATOff, leaf.BATArea = 4096, 1536
	dir := t.TempDir()
	base.WriteFile(t, filepath.Join(dir, "base.vhd"))
	file := leaf.Build(t)
	copy(file[4608:], "tdbatmap\x00\x00\x00\x00\x00\x00\x14\x00\x00\x00\x00\x01\x00\x01\x00\x02")
	name := filepath.Join(dir, "leaf.vhd")
	require.NoError(t, os.WriteFile(name, file, 0o600))
	before, after := compact(t, name)
	require.True(t, bytes.Equal(before, after))
}

func TestWithoutItsParentNothingOfAChildIsDropped(t *testing.T) {
	base := compactDisk(0, 'q', 'r')
	leaf := compactChild(base, blocksOf(0, 'q', 0)...)
	leaf.Blocks[1].Gap, leaf.Blocks[1].Align = 2*compactSlot, 0
	name := writeChain(t, base, leaf)
	want := leaf.Content(t, base.Content(t, nil))
	before, err := os.ReadFile(name)
	require.NoError(t, err)
	disk, err := vhd.Open(name, &vhd.Options{Writable: true, NoParents: true})
	require.NoError(t, err)
	require.NoError(t, disk.Compact(t.Context(), vhd.CompactOptions{}))
	require.NoError(t, disk.Close())
	after, err := os.ReadFile(name)
	require.NoError(t, err)
	for block := range 3 {
		require.Len(t, presentIn(t, after, block), compactBlock/512)
	}
	require.Less(t, len(after), len(before)-compactSlot, "the holes are closed all the same")
	require.Equal(t, want, vhdtest.SevenZip.Content(t, name))
}

// A parent's damage is no reason to trust what is left of it.
func TestWhatTheParentCanNotGiveIsKept(t *testing.T) {
	base := compactDisk('p', 'q', 'r')
	leaf := compactChild(base, blocksOf('p', 'q')...)
	name := writeChain(t, base, leaf)
	damaged, err := os.ReadFile(filepath.Join(filepath.Dir(name), "base.vhd"))
	require.NoError(t, err)
	vhdtest.EditEntry(t, damaged, 0, 1<<30) // far past the file's end
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(name), "base.vhd"), damaged, 0o600))
	disk, err := vhd.Open(name, &vhd.Options{Writable: true})
	require.NoError(t, err)
	require.NoError(t, disk.Compact(t.Context(), vhd.CompactOptions{}))
	require.NoError(t, disk.Close())
	after, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Len(t, presentIn(t, after, 0), compactBlock/512)
	require.Equal(t, vhdtest.Unallocated, vhdtest.Entry(t, after, 1))
}

func TestWhatCanNotBeCompactedIsRefused(t *testing.T) {
	dir := t.TempDir()
	saved := compactDisk('a', 0)
	saved.SavedState = 1
	saved.WriteFile(t, filepath.Join(dir, "saved.vhd"))
	vhdtest.NewFixed(1<<20, nil).WriteFile(t, filepath.Join(dir, "fixed.vhd"))
	compactDisk('a', 0).WriteFile(t, filepath.Join(dir, "dynamic.vhd"))
	base := compactDisk('p', 'q')
	base.WriteFile(t, filepath.Join(dir, "base.vhd"))
	child := compactChild(base, blocksOf('p')...)
	child.ParentID[3]++
	child.WriteFile(t, filepath.Join(dir, "strange.vhd"))
	for name, want := range map[string]struct {
		opts vhd.Options
		err  error
	}{
		"saved.vhd":   {vhd.Options{Writable: true}, vhd.ErrUnsupported},
		"fixed.vhd":   {vhd.Options{Writable: true}, vhd.ErrUnsupported},
		"dynamic.vhd": {vhd.Options{}, vhd.ErrReadOnly},
		"strange.vhd": {vhd.Options{Writable: true, IgnoreParentIdentity: true}, vhd.ErrParentMismatch},
	} {
		name = filepath.Join(dir, name)
		before := fileSum(t, name)
		disk, err := vhd.Open(name, &want.opts)
		require.NoError(t, err)
		err = disk.Compact(t.Context(), vhd.CompactOptions{})
		require.ErrorIs(t, err, want.err)
		require.ErrorContains(t, err, name)
		require.NoError(t, disk.Close())
		require.ErrorIs(t, disk.Compact(t.Context(), vhd.CompactOptions{}), vhd.ErrClosed)
		require.Equal(t, before, fileSum(t, name))
	}
}

func TestCompactTellsItsProgress(t *testing.T) {
	for _, fills := range [][]byte{{'a', 0, 'c', 0, 'e'}, {0, 0}, {'a'}, {}} {
		name := filepath.Join(t.TempDir(), "x.vhd")
		img := compactDisk(fills...)
		img.Size = 8 * compactBlock
		img.WriteFile(t, name)
		disk, err := vhd.Open(name, &vhd.Options{Writable: true})
		require.NoError(t, err)
		var all []int64
		require.NoError(t, disk.Compact(t.Context(), vhd.CompactOptions{Progress: func(done, total int64) {
			require.EqualValues(t, 2*len(fills)*compactBlock, total)
			all = append(all, done)
		}}))
		require.NoError(t, disk.Close())
		require.True(t, slices.IsSorted(all), "%v", all)
		require.EqualValues(t, 2*len(fills)*compactBlock, all[len(all)-1])
	}
}

func TestTheEndOfTheContextEndsACompaction(t *testing.T) {
	base := compactDisk(bytes.Repeat([]byte("p"), 40)...)
	fills := bytes.Repeat([]byte("px"), 20) // half of it can be dropped
	leaf := compactChild(base, blocksOf(fills...)...)
	want := leaf.Content(t, base.Content(t, nil))
	for end, more := 0, true; more || end < 10; end++ {
		name := writeChain(t, base, leaf)
		disk, err := vhd.Open(name, &vhd.Options{Writable: true})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		err = disk.Compact(ctx, vhd.CompactOptions{Progress: func(int64, int64) {
			if n++; n > end {
				cancel()
			}
		}})
		if more = err != nil; more {
			require.ErrorIs(t, err, context.Canceled)
		}
		requireSameBytes(t, want, readAll(t, disk, disk.Size()), 0)
		_, err = disk.WriteAt([]byte("usable as before"), 0)
		require.NoError(t, err)
		_, err = disk.WriteAt(want[:16], 0)
		require.NoError(t, err)
		require.NoError(t, disk.Close())
		requireSameBytes(t, want, vhdtest.SevenZip.Content(t, name), 0)
		compact(t, name)
		requireCompact(t, name)
	}
}

func TestRealImagesAreCompactedToTheSameContent(t *testing.T) {
	set := vhdtest.Corpus(t)
	for _, img := range set.Images {
		if img.Dynamic == nil {
			continue
		}
		t.Run(img.File, func(t *testing.T) {
			skipLarge(t, img)
			names := set.Copy(t, img.File)
			disk, err := vhd.Open(names[0], &vhd.Options{Writable: true})
			require.NoError(t, err)
			err = disk.Compact(t.Context(), vhd.CompactOptions{})
			if disk.Chain()[0].Footer().SavedState != 0 {
				require.ErrorIs(t, err, vhd.ErrUnsupported)
				require.NoError(t, disk.Close())
				return
			}
			require.NoError(t, err)
			require.Equal(t, img.ContentSHA256, sumOf(t, disk))
			require.NoError(t, disk.Close())
			if slices.Contains(img.ReadersAgree, "7zz") {
				require.Equal(t, img.ContentSHA256, vhdtest.SevenZip.Sum(t, names...))
			}
			requireCompact(t, names[0])
			for i, parent := range set.Chain(t, img.File)[1:] {
				require.Equal(t, parent.SHA256, fileSum(t, names[i+1]))
			}
		})
	}
}

func TestAnyImageIsCompactedToTheSameContent(t *testing.T) {
	for seed := range uint64(80) {
		chain := vhdtest.RandomChain(seed, vhdtest.ChainOptions{Limits: vhdtest.Anything})
		if chain.Images[0].Type == vhdtest.Fixed || chain.Images[0].SavedState != 0 {
			continue
		}
		names := chain.WriteDir(t, t.TempDir())
		compact(t, names[0])
		disk, err := vhd.Open(names[0], nil)
		require.NoError(t, err)
		requireSameBytes(t, chain.Content(t), readAll(t, disk, disk.Size()), 0)
		require.NoError(t, disk.Close())
		before, after := compact(t, names[0])
		require.True(t, bytes.Equal(before, after), "seed %d: compacting twice changes it again", seed)
	}
}
