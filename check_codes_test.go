package vhd_test

import (
	"context"
	"encoding/binary"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

const checkedBlock = 64 << 10

// checkedDisk is a dynamic disk of four blocks, of which 2 and 0 are there, in that order, with which nothing is odd.
func checkedDisk() *vhdtest.Image {
	img := vhdtest.NewDynamic(4*checkedBlock,
		vhdtest.Block{Index: 2, Data: fill(2, checkedBlock), Align: 4096}, vhdtest.Block{Index: 0, Data: fill(1, checkedBlock), Align: 4096})
	img.BlockSize = checkedBlock
	return img
}

// checkedChild is a child of it, in disk.vhd, which has every other sector of block 1.
func checkedChild() *vhdtest.Image {
	img := vhdtest.NewChild(checkedDisk(), "base.vhd", vhdtest.Block{
		Index: 1, Data: fill(3, checkedBlock), Align: 4096, Bitmap: vhdtest.Bitmap(128, func(sector int) bool { return sector%2 == 0 }),
	})
	img.BlockSize = checkedBlock
	return img
}

// Where things are in checkedDisk: behind the BAT the first block's data is at the next multiple of 4096, its bitmap a
// sector in front of that. checkedChild has a path of a sector in front of its BAT.
const (
	checkedTable  = 1536
	checkedFirst  = 4096 - 512 // block 2
	checkedSecond = checkedFirst + 512 + checkedBlock + 4096 - 512
	checkedEnd    = checkedSecond + 512 + checkedBlock // the footer

	childPath  = 1536
	childTable = 2048
	childFirst = 4096 - 512
	childEnd   = childFirst + 512 + checkedBlock
)

// flaw is a thing that was planted in an image. Its severity and structure are those that docs/check.md has for its
// code.
type flaw struct {
	code   string
	offset int64
	file   func(t testing.TB) []byte
	says   []string                               // among others
	also   []string                               // other codes that can't but come with it
	stays  bool                                   // no repair mends it here, though it does elsewhere
	base   []string                               // names of files that hold checkedDisk
	alter  func(t testing.TB, file []byte) []byte // what was done to these; nil: nothing
	opts   vhd.CheckOptions
}

func plant(code string, offset int64, file func(t testing.TB) []byte, says ...string) flaw {
	return flaw{code: code, offset: offset, file: file, says: says}
}

func (f flaw) with(codes ...string) flaw {
	f.also = codes
	return f
}

func (f flaw) unmended() flaw {
	f.stays = true
	return f
}

func (f flaw) beside(names ...string) flaw {
	f.base = names
	return f
}

func (f flaw) whose(alter func(t testing.TB, file []byte) []byte) flaw {
	f.alter = alter
	return f
}

func (f flaw) opened(opts vhd.CheckOptions) flaw {
	f.opts = opts
	return f
}

// disk is checkedDisk in another form.
func disk(form func(img *vhdtest.Image)) func(t testing.TB) []byte {
	return func(t testing.TB) []byte {
		t.Helper()
		img := checkedDisk()
		form(img)
		return img.Build(t)
	}
}

func child(form func(img *vhdtest.Image)) func(t testing.TB) []byte {
	return func(t testing.TB) []byte {
		t.Helper()
		img := checkedChild()
		form(img)
		return img.Build(t)
	}
}

// altered is a file, changed.
func altered(file func(t testing.TB) []byte, changes ...func(t testing.TB, file []byte) []byte) func(t testing.TB) []byte {
	return func(t testing.TB) []byte {
		t.Helper()
		b := file(t)
		for _, change := range changes {
			b = change(t, b)
		}
		return b
	}
}

func asIs(*vhdtest.Image) {}

// putIn puts a number of size bytes at off of the structure that of finds, and mends its checksum.
func putIn(of func(t vhdtest.TB, file []byte, change func([]byte)), off, size int, n uint64) func(t testing.TB, file []byte) []byte {
	return func(t testing.TB, file []byte) []byte {
		t.Helper()
		of(t, file, func(b []byte) { integerField{"", off, size}.put(b, n) })
		return file
	}
}

func inEnd(off, size int, n uint64) func(t testing.TB, file []byte) []byte {
	return putIn(vhdtest.EditFooter, off, size, n)
}

func inCopy(off, size int, n uint64) func(t testing.TB, file []byte) []byte {
	return putIn(vhdtest.EditCopy, off, size, n)
}

func inBoth(off, size int, n uint64) func(t testing.TB, file []byte) []byte {
	return putIn(vhdtest.EditFooters, off, size, n)
}

func inHead(off, size int, n uint64) func(t testing.TB, file []byte) []byte {
	return putIn(vhdtest.EditHeader, off, size, n)
}

// flip turns a bit, behind the back of any checksum. An offset below zero counts from the file's end.
func flip(off int) func(t testing.TB, file []byte) []byte {
	return func(t testing.TB, file []byte) []byte {
		t.Helper()
		file[(off+len(file))%len(file)] ^= 1
		return file
	}
}

func entry(block int, sector uint32) func(t testing.TB, file []byte) []byte {
	return func(t testing.TB, file []byte) []byte {
		t.Helper()
		vhdtest.EditEntry(t, file, block, sector)
		return file
	}
}

// beforeFooter puts bytes in front of the end footer.
func beforeFooter(n int) func(t testing.TB, file []byte) []byte {
	return func(t testing.TB, file []byte) []byte {
		t.Helper()
		end := len(file) - vhdtest.FooterSize
		return slices.Concat(file[:end], make([]byte, n), file[end:])
	}
}

func append4096(_ testing.TB, file []byte) []byte { return append(file, make([]byte, 4096)...) }

func fixedDisk(t testing.TB) []byte {
	t.Helper()
	return vhdtest.NewFixed(1<<20, fill(1, 1<<20)).Build(t)
}

// cutTable is a disk whose BAT is the last thing in the file, and lacks most of its padding.
func cutTable(t testing.TB) []byte {
	t.Helper()
	img := checkedDisk()
	img.BATOff = checkedEnd
	file := img.Build(t)
	return slices.Concat(file[:checkedEnd+16], file[len(file)-vhdtest.FooterSize:])
}

// crowdedBehindDisk has more blocks behind the disk's end, all at one sound place, than its file of 4608 bytes could
// hold: a block takes 1024, as does the header.
func crowdedBehindDisk(t testing.TB) []byte {
	t.Helper()
	img := vhdtest.NewDynamic(4*512, vhdtest.Block{Index: 0})
	img.BlockSize, img.MaxEntries, img.Entries, img.Slack = 512, 64, map[int]uint32{}, 1024
	for index := 4; index < 64; index++ {
		img.Entries[index] = (checkedTable + 512 + 1024) / 512
	}
	return img.Build(t)
}

// xensDisk is a disk with a batmap behind its BAT: the header at 2560, the map at 3072.
func xensDisk(bits byte, checksum uint32) func(t testing.TB) []byte {
	return func(t testing.TB) []byte {
		t.Helper()
		img := checkedDisk()
		img.BATOff, img.BATArea = 2048, 1536
		file := img.Build(t)
		copy(file[2560:], "tdbatmap\x00\x00\x00\x00\x00\x00\x0c\x00\x00\x00\x00\x01\x00\x01\x00\x02")
		binary.BigEndian.PutUint32(file[2560+24:], checksum)
		clear(file[2560+28 : 3584])
		file[3072] = bits
		return file
	}
}

var plantedInFooters = []flaw{
	plant("file-size", checkedEnd+612, altered(disk(asIs), beforeFooter(100)), "139876 bytes"),
	plant("footer-lost", checkedEnd, disk(func(img *vhdtest.Image) { img.Footer = vhdtest.FooterZeroed }), "at the file's end is lost", "zeros"),
	plant("footer-lost", checkedEnd, disk(func(img *vhdtest.Image) { img.Footer = vhdtest.FooterXen }), "Xen"),
	plant("trailing-bytes", checkedEnd+512, altered(disk(asIs), append4096), "4096 bytes"),
	plant("trailing-bytes", 1<<20+512, altered(fixedDisk, append4096), "4096 bytes", "fixed disk").unmended(),
	plant("footer-checksum", checkedEnd+64, altered(disk(asIs), flip(-300)), "at the file's end is damaged", "checksum"),
	plant("footer-checksum", 1<<20+64, altered(fixedDisk, flip(-300)), "at the file's end is damaged", "checksum").unmended(),
	plant("footer-version", checkedEnd+12, altered(disk(asIs), inEnd(12, 4, 2<<16)), "0x00020000"),
	plant("footer-size", checkedEnd+40, altered(disk(asIs), inEnd(40, 8, 1<<63)), "original size 9223372036854775808"),
	plant("copy-lost", 0, disk(func(img *vhdtest.Image) { img.Copy = vhdtest.CopyLost }), "The footer's copy", "zeros"),
	plant("copy-checksum", 64, altered(disk(asIs), flip(200)), "The footer's copy", "damaged"),
	plant("copy-version", 12, altered(disk(asIs), inCopy(12, 4, 2<<16)), "The footer's copy", "0x00020000"),
	plant("copy-size", 48, altered(disk(asIs), inCopy(48, 8, 1<<63)), "The footer's copy", "current size 9223372036854775808"),
	plant("footers-differ", 84, altered(disk(asIs), inCopy(84, 1, 7)), "saved state", "0x00 at the file's end", "0x07 in the copy"),
	plant("footers-differ", 85, altered(disk(asIs), inCopy(300, 1, 7)), "reserved bytes"),
	plant("disk-type", checkedEnd+60, altered(disk(asIs), inEnd(60, 4, 6)), "disk type 6", "dynamic"),
	plant("disk-size", checkedEnd+48, altered(disk(asIs), inBoth(48, 8, 4*checkedBlock-256), inBoth(40, 8, 4*checkedBlock-256)), "261888", "multiple of 512"),
	plant("disk-size", 1<<20+48, altered(fixedDisk, inEnd(48, 8, 1<<20+512), inEnd(40, 8, 1<<20+512)), "1049088", "at most 1048576"),
	plant("footer-511", checkedEnd, disk(func(img *vhdtest.Image) { img.Footer = vhdtest.Footer511 }), "511"),
	plant("footer-features", checkedEnd+8, disk(func(img *vhdtest.Image) { img.Features = 6 }), "0x00000006"),
	plant("temporary", checkedEnd+8, disk(func(img *vhdtest.Image) { img.Features = 3 }), "temporary"),
	plant("footer-data-offset", 1<<20+16, altered(fixedDisk, inEnd(16, 8, 512)), "0x200"),
	plant("time-stamp", checkedEnd+24, disk(func(img *vhdtest.Image) { img.Time = math.MaxUint32 }), "2136-02-07"),
	plant("original-size", checkedEnd+40, disk(func(img *vhdtest.Image) { img.OriginalSize = 1 << 20 }), "1048576", "262144"),
	plant("disk-large", 1536+32768+48, func(t testing.TB) []byte {
		t.Helper()
		img := vhdtest.NewDynamic(2041 << 30)
		img.BlockSize, img.MaxEntries = 256<<20, 0
		return img.Build(t)
	}, "2191507062784", "2190433320960"),
	plant("geometry", checkedEnd+56, disk(func(img *vhdtest.Image) { img.Geometry = &vhdtest.Geometry{} }), "0 cylinders", "262144 bytes"),
	plant("geometry", checkedEnd+56, disk(func(img *vhdtest.Image) {
		img.Geometry = &vhdtest.Geometry{Cylinders: 1000, Heads: 16, SectorsPerTrack: 63}
	}), "1000 cylinders, 16 heads and 63 sectors", "7, 4 and 17"),
	plant("id-zero", checkedEnd+68, disk(func(img *vhdtest.Image) { img.ID = [16]byte{} }), "all zeros"),
	plant("saved-state", checkedEnd+84, disk(func(img *vhdtest.Image) { img.SavedState = 1 }), "saved state"),
	plant("footer-reserved", checkedEnd+85, disk(func(img *vhdtest.Image) { img.FooterReserved = []byte("\x00x") }), "reserved"),
	plant("fixed-slack", 1<<20, altered(fixedDisk, beforeFooter(4096)), "4096 bytes"),
}

var plantedInHeaders = []flaw{
	plant("header-place", checkedEnd+16, altered(disk(asIs), inBoth(16, 8, 1<<40)), "1099511627776"),
	plant("header-lost", 512, altered(disk(asIs), func(_ testing.TB, file []byte) []byte {
		clear(file[512:1536])
		return file
	}), `"\x00\x00`),
	plant("header-checksum", 512+36, altered(disk(asIs), flip(512+36)), "damaged", "checksum"),
	plant("block-size", 512+32, altered(disk(asIs), inHead(32, 4, 1536)), "1536", "power of two"),
	plant("table-entries", 512+28, altered(disk(asIs), inHead(28, 4, 3)), "3 entries", "at least 4"),
	plant("table-place", 512+16, altered(disk(asIs), inHead(16, 8, 1024)), "1024", "overlap"),
	plant("table-place", 512+28, altered(disk(asIs), inHead(28, 4, math.MaxInt32)), "2147483647", "at most"),
	plant("table-padding", checkedEnd+16, cutTable, "cut off").with("file-size"),
	plant("table-large", 512+28, disk(func(img *vhdtest.Image) { img.MaxEntries = 9 }), "9 entries", "4 blocks"),
	plant("header-moved", 2048, disk(func(img *vhdtest.Image) { img.BATOff, img.HeaderOff = 512, 2048 }), "2048"),
	plant("header-data-offset", 512+8, altered(disk(asIs), inHead(8, 8, 512)), "0x200"),
	plant("header-reserved", 512+60, disk(func(img *vhdtest.Image) { img.HeaderReserved = []byte("x") }), "reserved"),
	plant("header-reserved", 512+60, child(func(img *vhdtest.Image) { img.Locators[0].Reserved = 1 }), "reserved"),
	plant("parent-unused", 512+40, disk(func(img *vhdtest.Image) { img.ParentName = `C:\d\base.vhd` }), "no"),

	plant("parent-id-zero", 512+40, child(func(img *vhdtest.Image) { img.ParentID = [16]byte{} }), "zeros"),
	plant("parent-unnamed", 512+64, child(func(img *vhdtest.Image) {
		img.ParentName, img.Locators = "", [8]vhdtest.Locator{}
	}), "where its parent is"),
	plant("locator-place", 512+576+16, altered(child(asIs), inHead(576+16, 8, 1<<40)), "locator 0", "1099511627776"),
	plant("locator-data", 512+576+8, altered(child(asIs), inHead(576+8, 4, 0)), "locator 0", "0 bytes"),
	plant("locator-data", 512+576+8, altered(child(asIs), inHead(576+16, 8, 1<<64-512)), "0xfffffffffffffe00"),
	plant("locator-code", 512+576+3*24, child(func(img *vhdtest.Image) {
		img.Locators[3] = vhdtest.Locator{Code: 0x12345678, Data: []byte("base.vhd")}
	}), "locator 3", "0x12345678"),
	plant("locator-path", childPath, child(func(img *vhdtest.Image) { img.Locators[0] = vhdtest.W2ru(`.\CON.vhd`) }), "locator 0", "W2ru", "device"),
	plant("locator-path", childPath, child(func(img *vhdtest.Image) { img.Locators[0] = vhdtest.Mac([]byte("noise")) }), "locator 0", "alias"),
	plant("locator-space", 512+576+4, child(func(img *vhdtest.Image) { img.Locators[0].SpaceInSectors = true }), "in sectors, 1"),
	plant("locator-space", 512+576+4, child(func(img *vhdtest.Image) { img.Locators[0].Space = 1 << 20 }), "1048576 bytes", "at 1536"),
	plant("locator-space", 512+576+4, altered(child(asIs), inHead(576+4, 4, 0)), "0 bytes", "path of 20"),
	plant("locator-space", 512+576+4, child(func(img *vhdtest.Image) { img.Locators[0].Space = 1024 }), "1024 bytes", "at 1536", "the BAT"),
	plant("locator-space", 512+576+4, child(func(img *vhdtest.Image) {
		img.BATOff, img.Locators[0] = 1536, vhdtest.W2ru(`.\base.vhd`).At(2048)
		img.Locators[0].Space = 4096
	}), "4096 bytes", "at 2048", "block 1"),
	plant("locator-space", 512+576+4, child(func(img *vhdtest.Image) {
		img.BATOff, img.Locators[0], img.Locators[1] = 1536, vhdtest.W2ru(`.\base.vhd`).At(2048), vhdtest.W2ku(`.\base.vhd`).At(2560)
		img.Locators[0].Space = 1024
	}), "1024 bytes", "at 2048", "the path of locator 1"),
	plant("locator-overlap", childPath, child(func(img *vhdtest.Image) {
		img.Locators = [8]vhdtest.Locator{vhdtest.W2ru(`.\base.vhd`).At(childPath), vhdtest.W2ku(`.\base.vhd`).At(childPath)}
	}), "locator 1", "another locator"),
	plant("locator-overlap", childTable, altered(child(asIs), inHead(576+16, 8, childTable)), "locator 0", "the BAT"),
}

var plantedInBlocks = []flaw{
	plant("bat-metadata", checkedTable+8, altered(disk(asIs), entry(2, 1)), "Block 2", "sector 1", "the dynamic header"),
	plant("bat-metadata", childTable+8, altered(child(asIs), entry(2, childPath/512)), "Block 2", "sector 3", "the BAT"),
	plant("bat-past-end", checkedTable+4, altered(disk(asIs), entry(1, 1<<20)), "Block 1", "sector 1048576", "sector 272"),
	plant("bat-cut", checkedTable+8, altered(disk(asIs), func(_ testing.TB, file []byte) []byte {
		return file[:checkedFirst+512+checkedBlock/2]
	}), "Block 2", "lacks 32768 bytes").with("footer-lost", "bat-past-end"),
	plant("bat-overlap", checkedTable+4, altered(disk(asIs), entry(1, checkedSecond/512)), "Blocks 0 and 1", "sectors 143 and 143", "66048 bytes"),
	plant("bat-overlap", checkedTable+4, altered(disk(asIs), entry(1, checkedFirst/512+3)), "Blocks 2 and 1", "sectors 7 and 10", "64512 bytes"),
	plant("bat-overlap", checkedTable+4*7, crowdedBehindDisk, "behind the disk's end").with("bat-beyond-disk", "table-large"),
	plant("block-cut", checkedTable, disk(func(img *vhdtest.Image) { img.Blocks[1].Cut = checkedBlock / 2 }), "Block 0", "32768 bytes"),
	plant("bat-beyond-disk", checkedTable+20, disk(func(img *vhdtest.Image) {
		img.MaxEntries, img.Entries = 8, map[int]uint32{5: 1 << 31, 7: 0}
	}), "Entry 5", "1 more behind").with("table-large"),
	plant("block-unaligned", 2048+512, disk(func(img *vhdtest.Image) {
		img.Blocks[0].Align, img.Blocks[1].Align = 0, 0
	}), "2 of 2 blocks", "block 2 first"),
	plant("free-blocks", checkedFirst+512+checkedBlock, disk(func(img *vhdtest.Image) { img.Blocks[1].Gap = 2 * checkedBlock }), "134656 bytes", "fit there: 1"),
	plant("free-blocks", checkedEnd, disk(func(img *vhdtest.Image) { img.HeaderOff = 1 << 20 }), "909312 bytes", "fit there: 13").with("header-moved"),
	plant("small-gaps", checkedFirst+512+checkedBlock, disk(func(img *vhdtest.Image) {
		img.Blocks = append(img.Blocks, vhdtest.Block{Index: 1, Align: 4096}, vhdtest.Block{Index: 3, Align: 4096})
		for i := 1; i < len(img.Blocks); i++ { // beside 3584 bytes that align each, 28672, 28672 and 12288
			img.Blocks[i].Gap = []int64{0, 28672, 28672, 12288}[i]
		}
	}), "69632 bytes", "together: 1"),
	plant("slack", checkedEnd, disk(func(img *vhdtest.Image) { img.Slack = 4 * checkedBlock }), "262144 bytes"),
	plant("batmap-wrong", 2560, xensDisk(0, 0), "checksum is 0x00000000"),
	plant("batmap-wrong", 2560, altered(xensDisk(0, ^uint32(0)), func(_ testing.TB, file []byte) []byte {
		file[2560+8] = 7
		return file
	}), "0x700000000000c00"),
	plant("batmap-wrong", 2560, altered(xensDisk(0, ^uint32(0)), func(_ testing.TB, file []byte) []byte {
		file[2560+19] = 0
		return file
	}), "0 bytes", "4 blocks"),
	plant("batmap-stale", 3072, xensDisk(0b11100000, ^uint32(0b11100000)), "1 are not"),

	plant("bitmap-clear-data", checkedSecond, disk(func(img *vhdtest.Image) {
		img.Blocks[1].Bitmap = vhdtest.Bitmap(128, func(sector int) bool { return sector < 3 })
	}), "Block 0", "sector 3:"),
	plant("bitmap-past-disk", childFirst, child(func(img *vhdtest.Image) {
		img.Size -= 512
		img.Blocks[0].Index, img.Blocks[0].Bitmap = 3, nil
	}), "block 3"),
	plant("bitmap-padding", checkedFirst, disk(func(img *vhdtest.Image) {
		img.Blocks[0].Bitmap = vhdtest.Bitmap(129, func(int) bool { return true })
	}), "block 2"),
}

var withChain = vhd.CheckOptions{Chain: true}

var plantedInChains = []flaw{
	plant("parent-not-found", 512+40, child(asIs), "parent not found", `base.vhd" (W2ru: `).opened(withChain),
	plant("parent-not-found", 512+40, child(func(img *vhdtest.Image) {
		img.ParentName, img.Locators = "", [8]vhdtest.Locator{}
	}), "names none").with("parent-unnamed").opened(withChain),
	plant("parent-mismatch", 512+40, child(func(img *vhdtest.Image) { img.ParentID[0]++ }), "another identifier").beside("base.vhd").opened(withChain),
	plant("parent-mismatch", 512+40, child(func(img *vhdtest.Image) { img.ParentID[0]++ }), "d/base.vhd has").
		beside("base.vhd").opened(vhd.CheckOptions{Options: vhd.Options{IgnoreParentIdentity: true}, Chain: true}),
	plant("parent-damaged", 512+40, child(asIs), "d/base.vhd is damaged", "dynamic header", "checksum is wrong").
		beside("base.vhd").whose(flip(512 + 36)).with("header-checksum").opened(withChain),
	plant("parent-outside-root", 512+40, child(func(img *vhdtest.Image) {
		img.ParentName, img.Locators[0] = "", vhdtest.W2ru(`..\base.vhd`)
	}), "outside").beside("../base.vhd").opened(withChain),
	plant("chain-loop", 512+40, child(func(img *vhdtest.Image) {
		img.ParentName, img.Locators[0] = "", vhdtest.W2ru(`.\disk.vhd`)
	}), "loop").opened(withChain),
	plant("chain-depth", 512+40, child(asIs), "1 images").beside("base.vhd").opened(vhd.CheckOptions{Options: vhd.Options{MaxDepth: 1}, Chain: true}),
	plant("parent-time", 512+56, child(func(img *vhdtest.Image) { img.ParentTime = 60 }), "2000-01-01T00:01:00Z", "2026-01-01T00:00:00Z").
		beside("base.vhd").opened(withChain),
	plant("parent-size", childEnd+48, child(func(img *vhdtest.Image) { img.Size += checkedBlock }), "327680 bytes", "262144").beside("base.vhd").opened(withChain),
}

// Each image holds one flaw, and what is said of it was written down beside it.
func TestCheckFindsWhatWasPlantedAndNothingElse(t *testing.T) {
	page := codesOfPage(t)
	for _, f := range slices.Concat(plantedInFooters, plantedInHeaders, plantedInBlocks, plantedInChains) {
		t.Run(f.code, func(t *testing.T) {
			files := f.files(t)
			report, err := checkFiles(t, files, f.opts)
			require.NoError(t, err)
			require.ElementsMatch(t, append([]string{f.code}, f.also...), allCodes(report), "%+v", report.Findings)
			at := slices.IndexFunc(report.Findings, func(found vhd.Finding) bool { return found.Code == f.code })
			found := report.Findings[at]
			for _, words := range f.says {
				require.Contains(t, found.Message, words)
			}
			want := page[f.code]
			want.Code, want.Image, want.Offset, want.Message = f.code, "d/disk.vhd", f.offset, found.Message
			require.Equal(t, want, found)
		})
	}
}

// files are the image, and its parents.
func (f flaw) files(t testing.TB) map[string][]byte {
	t.Helper()
	files := map[string][]byte{"disk.vhd": f.file(t)}
	for _, name := range f.base {
		files[name] = checkedDisk().Build(t)
		if f.alter != nil {
			files[name] = f.alter(t, files[name])
		}
	}
	return files
}

// With Parent all is found that is about the image itself, and nothing about its parents.
func TestCheckWithTheParentFindsHowTheTwoGoTogether(t *testing.T) {
	for _, f := range plantedInChains {
		t.Run(f.code, func(t *testing.T) {
			files := f.files(t)
			whole, err := checkFiles(t, files, f.opts)
			require.NoError(t, err)
			opts := f.opts
			opts.Chain, opts.Parent = false, true
			report, err := checkFiles(t, files, opts)
			require.NoError(t, err)
			require.Equal(t, slices.DeleteFunc(whole.Findings, func(found vhd.Finding) bool { return found.Image != "d/disk.vhd" }), report.Findings)
		})
	}
}

// Whatever image of a chain is checked, it is told that the chain is too long.
func TestCheckWithTheParentGoesToTheChainsEnd(t *testing.T) {
	f := newLineage(t)
	for most, codes := range map[int][]string{1: {"chain-depth"}, 2: {"chain-depth"}, 3: nil} {
		report, err := vhd.Check(t.Context(), f.name("leaf.vhd"), vhd.CheckOptions{Options: vhd.Options{MaxDepth: most}, Parent: true})
		require.NoError(t, err)
		require.Equal(t, codes, allCodes(report))
	}
}

// The chain that was not gone to the end of could have been too long.
func TestCheckWithTheParentEndsWithItsContext(t *testing.T) {
	f := newLineage(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	opts := vhd.CheckOptions{Options: vhd.Options{MaxDepth: 2}, Parent: true, Progress: func(done, total int64) {
		if done == total {
			cancel()
		}
	}}
	_, err := vhd.Check(ctx, f.name("leaf.vhd"), opts)
	require.ErrorIs(t, err, context.Canceled)
}

// codesOfPage is what docs/check.md has of each code: severity and structure.
func codesOfPage(t testing.TB) map[string]vhd.Finding {
	t.Helper()
	page, err := os.ReadFile("docs/check.md")
	require.NoError(t, err)
	codes := map[string]vhd.Finding{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\| ([a-z]+) \\| ([A-Za-z ]+) \\| .+ \\|$").FindAllSubmatch(page, -1) {
		require.NotContains(t, codes, string(row[1]))
		f := vhd.Finding{Structure: string(row[3])}
		require.NoError(t, f.Severity.UnmarshalText(row[2]))
		codes[string(row[1])] = f
	}
	return codes
}

func allCodes(report *vhd.Report) []string {
	var codes []string
	for _, f := range report.Findings {
		codes = append(codes, f.Code)
	}
	return codes
}

// A sound image may have whatever Xen says rightly of it.
func TestCheckFindsNothingInABatmapThatIsRight(t *testing.T) {
	for _, bits := range []byte{0, 0b10000000, 0b10100000} {
		report, err := checkFiles(t, map[string][]byte{"disk.vhd": xensDisk(bits, ^uint32(bits))(t)}, vhd.CheckOptions{})
		require.NoError(t, err)
		require.Empty(t, report.Findings)
	}
}

// The findings of each image of a chain bear its name, those of the leaf first.
func TestCheckTellsOfAllImagesOfAChain(t *testing.T) {
	base, leaf := checkedDisk(), checkedChild()
	base.SavedState, leaf.SavedState = 1, 1
	baseFile := base.Build(t)
	vhdtest.EditEntry(t, baseFile, 1, 0)
	report, err := checkFiles(t, map[string][]byte{"disk.vhd": leaf.Build(t), "base.vhd": baseFile}, withChain)
	require.NoError(t, err)
	var told []string
	for _, f := range report.Findings {
		told = append(told, f.Image+" "+f.Code)
	}
	require.Equal(t, []string{"d/base.vhd bat-metadata", "d/disk.vhd saved-state", "d/base.vhd saved-state"}, told)
}

// Where both footers are damaged there is nothing to go on from, and that is told.
func TestCheckTellsOfAnImageWithoutAWholeFooter(t *testing.T) {
	report, err := checkFiles(t, map[string][]byte{"disk.vhd": altered(disk(asIs), flip(200), flip(-300))(t)}, vhd.CheckOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{"footer-checksum", "copy-checksum"}, allCodes(report))
}

// A disk that has lost both footers was one all the same, as its header says.
func TestCheckKnowsAnImageThatLostBothFootersByItsHeader(t *testing.T) {
	lost := disk(func(img *vhdtest.Image) { img.Footer, img.Copy = vhdtest.FooterZeroed, vhdtest.CopyLost })
	report, err := checkFiles(t, map[string][]byte{"disk.vhd": lost(t)}, vhd.CheckOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{"footer-lost", "copy-lost"}, allCodes(report))

	report, err = requireRepaired(t, putDisk(t, lost(t)))
	require.NoError(t, err)
	require.Empty(t, report.Steps)
	for _, f := range report.Findings {
		require.Contains(t, f.Message, "It is not mended: both footers are damaged")
	}
	_, err = checkFiles(t, map[string][]byte{"disk.vhd": altered(lost, flip(512+900))(t)}, vhd.CheckOptions{})
	require.ErrorIs(t, err, vhd.ErrFormat, "a guest may have written that")
}

func TestEveryCodeIsPlantedSomewhere(t *testing.T) {
	planted := map[string]bool{}
	for _, f := range slices.Concat(plantedInFooters, plantedInHeaders, plantedInBlocks, plantedInChains) {
		planted[f.code] = true
	}
	require.Equal(t, slices.Sorted(maps.Keys(codesOfPage(t))), slices.Sorted(maps.Keys(planted)))
}

// A footer of 511 bytes may be nearly all there is.
func TestCheckReadsAFooterOf511BytesInTheSmallestFiles(t *testing.T) {
	img := vhdtest.NewFixed(0, nil)
	img.Footer = vhdtest.Footer511
	for _, file := range [][]byte{img.Build(t), append([]byte{7}, img.Build(t)...)} {
		report, err := checkFiles(t, map[string][]byte{"disk.vhd": file}, vhd.CheckOptions{})
		require.NoError(t, err)
		require.Contains(t, allCodes(report), "footer-511")
		require.Empty(t, errorsIn(report))
	}
}

// Structures that are sound are told of whatever else is broken.
func TestCheckGoesOnBehindWhatIsBroken(t *testing.T) {
	file := altered(disk(asIs), flip(-300), inHead(28, 4, 3), entry(1, 1))(t)
	report, err := checkFiles(t, map[string][]byte{"disk.vhd": file}, vhd.CheckOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{"footer-checksum", "table-entries", "bat-metadata"}, allCodes(report))

	// A header of which nothing but the checksum is wrong leads on; one that contradicts the file does not.
	file = altered(disk(asIs), entry(1, 1), flip(512+36))(t)
	report, err = checkFiles(t, map[string][]byte{"disk.vhd": file}, vhd.CheckOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{"header-checksum", "bat-metadata"}, allCodes(report))
	for _, change := range []func(t testing.TB, file []byte) []byte{inHead(28, 4, 3), inHead(32, 4, 3), inHead(16, 8, 1024), inHead(24, 4, 2<<16)} {
		file = altered(disk(asIs), entry(1, 1), change, flip(512+36))(t)
		report, err = checkFiles(t, map[string][]byte{"disk.vhd": file}, vhd.CheckOptions{})
		require.NoError(t, err)
		require.Equal(t, []string{"header-checksum"}, allCodes(report))
	}

	both := altered(disk(asIs), inHead(32, 4, 3), inHead(16, 8, 1))(t)
	report, err = checkFiles(t, map[string][]byte{"disk.vhd": both}, vhd.CheckOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{"block-size", "table-place"}, allCodes(report))
}
