package vhdtest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// Limits say what random images may have. Its zero value is the plainest image there is; Anything allows all.
type Limits struct {
	MinBlockSize, MaxBlockSize int64 // zero: 512 bytes, 2 MiB
	SectorBitmaps              bool  // bits differ within a byte of a sector bitmap; else whole bytes are equal
	ClearInBase                bool  // clear bits in a dynamic disk without a parent, over zeros
	GarbageInBase              bool  // clear bits in a dynamic disk without a parent, over anything
	BitsPastEnd                bool  // bits set past the disk's end and the block's last sector
	LargerChildren             bool  // than their parents
	SmallerChildren            bool
	OddSizes                   bool // sizes that are no multiple of the block, else of 2 MiB
	OriginalSizes              bool // an original size that isn't the current one
	MoreEntries                bool // more BAT entries than the size needs
	Layouts                    bool // header and BAT anywhere, gaps, slack, blocks in any order
	CutBlocks                  bool // a last block that ends with the file
	Reserved                   bool // reserved bytes that aren't zero
	SavedStates                bool
	LostCopies                 bool // the footer's copy is lost
	OtherCopies                bool // the footer's copy is not the end's
	LostFooters                bool // the end footer is lost: zeros, 0xC7 or cut off
	ShortFooters               bool // footers of 511 bytes
	AnyNames                   bool // names beyond ASCII
	AnyLocators                bool // all kinds of locators in all slots, else W2ru in the first
}

// Anything allows all that the format does.
var Anything = Limits{
	SectorBitmaps: true, ClearInBase: true, GarbageInBase: true, BitsPastEnd: true, LargerChildren: true,
	SmallerChildren: true, OddSizes: true, OriginalSizes: true, MoreEntries: true, Layouts: true, CutBlocks: true,
	Reserved: true, SavedStates: true, LostCopies: true, OtherCopies: true, LostFooters: true, ShortFooters: true,
	AnyNames: true, AnyLocators: true,
}

// ForQemu is what qemu-img 7.2 reads right, measured: of a single image all but
//   - blocks below 4 KiB: it takes their bitmaps for empty and reads one sector too early;
//   - a lost copy, and a block past the end of the file: refused. A block that only the footer's room is lacking
//     of: the footer is read as data;
//   - clear bits in a disk without a parent: it reads what is under them.
var ForQemu = Limits{
	MinBlockSize: 4096, SectorBitmaps: true, ClearInBase: true, BitsPastEnd: true, OddSizes: true, OriginalSizes: true,
	MoreEntries: true, Layouts: true, Reserved: true, SavedStates: true, OtherCopies: true, LostFooters: true,
	ShortFooters: true, AnyNames: true,
}

// ForSevenZip is what 7zz 26.02 reads right, measured with blocks of 512 bytes to 256 MiB. It refuses
//   - what lies past the parent's end, when something is asked there;
//   - even one BAT entry more than the size needs;
//   - any reserved byte that isn't zero, in the footer or the header;
//   - a copy that is lost or not the end footer's, an end footer that is lost or has 511 bytes;
//   - a block past the end of the file, even when only the footer is lacking;
//   - data that isn't zero under a clear bit of a disk without a parent.
//
// It finds the parent by W2ru, in any slot, with or without `.\`, and by the header's name; not by W2ku, Wi2r or MacX.
var ForSevenZip = Limits{
	SectorBitmaps: true, ClearInBase: true, BitsPastEnd: true, SmallerChildren: true, OddSizes: true, OriginalSizes: true,
	Layouts: true, SavedStates: true, AnyNames: true, AnyLocators: true,
}

// ForLibvhdi is what libvhdi 20210425 reads right, measured. It
//   - refuses blocks below 4 KiB, and reads wrong bytes from those below 1 MiB;
//   - reads wrong bytes where a bitmap's runs don't end at a byte;
//   - takes the original size for the current one;
//   - refuses what lies past the parent's end, a lost end footer or one of 511 bytes, a block past the end of the
//     file, and disks of no size.
var ForLibvhdi = Limits{
	MinBlockSize: 1 << 20, ClearInBase: true, GarbageInBase: true, BitsPastEnd: true, SmallerChildren: true,
	OddSizes: true, MoreEntries: true, Layouts: true, Reserved: true, SavedStates: true, LostCopies: true,
	OtherCopies: true, AnyNames: true, AnyLocators: true,
}

// ChainOptions are what RandomChain keeps to.
type ChainOptions struct {
	Images  int   // how many; zero: 2 to 9
	MaxSize int64 // of a disk, in bytes; zero: 4 MiB
	Limits  Limits
}

// Chain is images that lie in one directory, leaf first.
type Chain struct {
	Images []*Image
	Names  []string
}

// RandomChain is a chain that is a function of the seed and the options.
func RandomChain(seed uint64, opts ChainOptions) *Chain {
	g := &generator{rand.New(rand.NewPCG(seed, 0)), opts.Limits, orElse(opts.MaxSize, 4<<20)}
	n := opts.Images
	if n == 0 {
		n = 2 + g.rng.IntN(8)
	}
	c := &Chain{}
	var parent *Image
	var parentName string
	for i := range n {
		img := g.image(parent)
		name := g.name(i)
		if parent != nil {
			g.refer(img, parent, parentName)
		}
		g.form(img)
		c.Images = append([]*Image{img}, c.Images...)
		c.Names = append([]string{name}, c.Names...)
		parent, parentName = img, name
	}
	return c
}

// Files are the chain's files by name.
func (c *Chain) Files(t TB) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for i, img := range c.Images {
		files[c.Names[i]] = img.Build(t)
	}
	return files
}

// WriteDir writes the chain's files to a directory and returns their whole names, leaf first.
func (c *Chain) WriteDir(t TB, dir string) []string {
	t.Helper()
	var names []string
	for i, img := range c.Images {
		name := filepath.Join(dir, c.Names[i])
		if err := os.WriteFile(name, img.Build(t), 0o644); err != nil {
			t.Fatalf("vhdtest: %v", err)
		}
		names = append(names, name)
	}
	return names
}

// Content is what the leaf reads as.
func (c *Chain) Content(t TB) []byte {
	t.Helper()
	return c.ContentFrom(t, 0)
}

// ContentFrom is what the image at that depth reads as, with the leaf at 0.
func (c *Chain) ContentFrom(t TB, depth int) []byte {
	t.Helper()
	var content []byte
	for i := len(c.Images) - 1; i >= depth; i-- {
		content = c.Images[i].Content(t, content)
	}
	return content
}

// generator makes random images.
type generator struct {
	rng     *rand.Rand
	limits  Limits
	maxSize int64
}

// oneIn is true once in n times, where allowed.
func (g *generator) oneIn(n int, allowed bool) bool { return allowed && g.rng.IntN(n) == 0 }

// upTo is a multiple of unit, 0 to n of it.
func (g *generator) upTo(n int, unit int64) int64 { return int64(g.rng.IntN(n+1)) * unit }

func (g *generator) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.rng.Uint32())
	}
	return b
}

func (g *generator) image(parent *Image) *Image {
	img := &Image{Time: g.rng.Uint32(), Type: Dynamic, BlockSize: g.blockSize()}
	copy(img.ID[:], g.bytes(16))
	img.Size = g.size(parent, img.BlockSize)
	if g.oneIn(3, g.limits.OriginalSizes) {
		img.OriginalSize = SectorSize * (1 + g.rng.Int64N(2*g.maxSize/SectorSize))
	}
	switch {
	case parent != nil:
		img.Type = Differencing
	case g.rng.IntN(3) == 0:
		img.Type, img.BlockSize = Fixed, 0
		img.Data = g.sectors(int(img.Size/SectorSize), 0)
		return img
	}
	if g.oneIn(3, g.limits.MoreEntries) {
		img.MaxEntries = img.maxEntries() + 1 + g.rng.Int64N(300)
	}
	g.blocks(img)
	return img
}

// blockSize is a power of two, the smaller the less often: small blocks make many.
func (g *generator) blockSize() int64 {
	low, high := orElse(g.limits.MinBlockSize, SectorSize), orElse(g.limits.MaxBlockSize, defaultBlockSize)
	var sizes []int64
	for bs := low; bs <= high; bs *= 2 {
		sizes = append(sizes, bs)
	}
	return sizes[g.rng.IntN(len(sizes))]
}

func (g *generator) size(parent *Image, blockSize int64) int64 {
	if parent != nil && g.rng.IntN(2) == 0 {
		return parent.Size
	}
	unit := int64(defaultBlockSize)
	if g.limits.OddSizes {
		unit = []int64{SectorSize, SectorSize, 4096, blockSize}[g.rng.IntN(4)]
	}
	// Half of the disks are small, so that many blocks end past the disk's end.
	limit := g.maxSize
	if g.oneIn(2, g.limits.OddSizes) {
		limit = max(limit/16, SectorSize)
	}
	size := unit * (1 + g.rng.Int64N(max(1, limit/unit)))
	if parent != nil && (size > parent.Size && !g.limits.LargerChildren || size < parent.Size && !g.limits.SmallerChildren) {
		return parent.Size
	}
	return size
}

// blocks allocates some of the image's blocks. Small blocks come in runs, so that the random work doesn't grow.
func (g *generator) blocks(img *Image) {
	nblocks := int((img.Size + img.BlockSize - 1) / img.BlockSize)
	percent := []int{0, 20, 50, 90, 100}[g.rng.IntN(5)]
	for index := range nblocks {
		if g.rng.IntN(100) >= percent {
			continue
		}
		b := Block{Index: index, Bitmap: g.bitmap(img, index)}
		b.Data = g.blockData(img, b.Bitmap)
		img.Blocks = append(img.Blocks, b)
	}
	if !g.limits.Layouts {
		return
	}
	g.rng.Shuffle(len(img.Blocks), func(i, j int) { img.Blocks[i], img.Blocks[j] = img.Blocks[j], img.Blocks[i] })
	for i := range img.Blocks {
		switch g.rng.IntN(8) {
		case 0:
			img.Blocks[i].Gap = g.upTo(9, SectorSize)
		case 1:
			img.Blocks[i].Align = 4096
		}
	}
}

// bitmap is nil, all ones, for a third of all blocks.
func (g *generator) bitmap(img *Image, index int) []byte {
	nsectors := img.SectorsPerBlock()
	if img.Type == Dynamic && !g.limits.ClearInBase && !g.limits.GarbageInBase || g.rng.IntN(3) == 0 {
		return nil
	}
	unit := 8 // sectors that are alike
	if g.limits.SectorBitmaps {
		unit = 1
	}
	percent := []int{0, 3, 50, 97}[g.rng.IntN(4)]
	run := unit * (1 + g.rng.IntN(16))
	here := false
	bits := Bitmap(nsectors, func(sector int) bool {
		if sector%run == 0 {
			here = g.rng.IntN(100) < percent
		}
		return here
	})
	if !g.limits.BitsPastEnd {
		return g.clearPastEnd(img, index, bits)
	}
	if g.rng.IntN(3) == 0 {
		bits = append(bits, g.bytes(int(img.bitmapArea())-len(bits))...)
	}
	return bits
}

// clearPastEnd clears bits past the disk's end, but not where a byte would be broken up by it.
func (g *generator) clearPastEnd(img *Image, index int, bits []byte) []byte {
	start := int64(index) * img.BlockSize
	for sector := range int64(img.SectorsPerBlock()) {
		past := start+sector*SectorSize >= img.Size
		if past && (g.limits.SectorBitmaps || start+sector/8*8*SectorSize >= img.Size) {
			bits[sector/8] &^= 0x80 >> (sector % 8)
		}
	}
	return bits
}

// blockData is random sectors. Under clear bits a child has garbage, and a disk without a parent
// zeros unless the limits say otherwise.
func (g *generator) blockData(img *Image, bits []byte) []byte {
	data := g.sectors(img.SectorsPerBlock(), g.rng.IntN(4))
	if bits == nil || img.Type == Differencing || g.oneIn(2, g.limits.GarbageInBase) {
		return data
	}
	for sector := range img.SectorsPerBlock() {
		if bits[sector/8]&(0x80>>(sector%8)) == 0 {
			clear(data[sector*SectorSize:][:SectorSize])
		}
	}
	return data
}

// sectors is nsectors sectors, each of a random number's repetitions; zeroQuarters quarters of them are zeros.
func (g *generator) sectors(nsectors, zeroQuarters int) []byte {
	data := make([]byte, nsectors*SectorSize)
	for off := 0; off < len(data); off += SectorSize {
		stamp := g.rng.Uint64()
		if int(stamp>>62) < zeroQuarters {
			continue
		}
		for i := 0; i < SectorSize; i += 8 {
			binary.LittleEndian.PutUint64(data[off+i:], stamp)
		}
	}
	return data
}

func (g *generator) name(i int) string {
	if g.oneIn(3, g.limits.AnyNames) {
		return fmt.Sprintf([]string{"Платте %d.vhd", "ディスク%d.vhd", "é %d.vhd", "%d 𝄞.vhd"}[g.rng.IntN(4)], i)
	}
	return fmt.Sprintf([]string{"disk%d.vhd", "A disk with spaces %d.VHD", "%d.vhd"}[g.rng.IntN(3)], i)
}

// refer makes the child say who its parent is.
func (g *generator) refer(img, parent *Image, name string) {
	img.ParentID, img.ParentName = parent.ID, name
	img.Locators[0] = W2ru(`.\` + name)
	if g.rng.IntN(2) == 0 {
		img.ParentTime = parent.Time
	}
	if !g.limits.AnyLocators {
		return
	}
	absolute := `C:\Disks\` + name
	switch g.rng.IntN(8) {
	case 0:
		img.LikeWindows10(absolute, `.\`+name)
		return
	case 1:
		img.LikeWindows7(absolute, `.\`+name, parent.Time)
		return
	case 2:
		img.LikeVirtualPC(absolute, `.\`+name, name, parent.Time)
		return
	}
	img.Locators = [8]Locator{}
	slots := g.rng.Perm(8)
	all := []Locator{
		W2ru(`.\` + name), W2ku(absolute), Wi2r(name), Wi2k(absolute), MacX("/Disks/" + name), Mac(g.bytes(150)),
	}
	for i, loc := range all {
		if i > 0 && g.rng.IntN(2) == 0 {
			continue
		}
		loc.AfterBAT = g.rng.IntN(3) == 0
		loc.SpaceInSectors = g.rng.IntN(3) == 0
		loc.Area = g.upTo(8, 4096)
		img.Locators[slots[i]] = loc
	}
}

// form gives the image its outer form: where things lie, and what has become of the footers.
func (g *generator) form(img *Image) {
	if g.oneIn(3, g.limits.Reserved) {
		img.FooterReserved, img.HeaderReserved = g.bytes(427), g.bytes(256)
	}
	if g.oneIn(4, g.limits.SavedStates) {
		img.SavedState = 1
	}
	if g.oneIn(8, g.limits.ShortFooters) {
		img.Footer = Footer511
		img.FooterReserved = img.FooterReserved[:min(426, len(img.FooterReserved))]
	}
	if img.Type == Fixed {
		return
	}
	img.BATPadZero = g.rng.IntN(2) == 0
	if g.limits.Layouts {
		g.layout(img)
	}
	if g.oneIn(6, g.limits.CutBlocks && len(img.Blocks) > 0) {
		g.cut(img)
	}
	cut := len(img.Blocks) > 0 && img.Blocks[len(img.Blocks)-1].Cut > 0
	switch {
	case g.oneIn(8, g.limits.LostCopies):
		img.Copy = CopyLost
	case g.oneIn(8, g.limits.OtherCopies):
		img.Copy = CopyOther
	case g.oneIn(6, g.limits.LostFooters):
		if img.Footer = FooterCut; !cut { // where nothing tells that it is a footer, it would be the cut block's data
			img.Footer = []FooterForm{FooterZeroed, FooterXen, FooterCut}[g.rng.IntN(3)]
		}
	}
}

func (g *generator) layout(img *Image) {
	if img.BATOff == 0 { // else it is like others' images, and stays so
		g.moveTables(img)
	}
	if g.rng.IntN(3) == 0 {
		img.Slack = g.upTo(40, SectorSize)
		img.SlackByte = byte(g.rng.IntN(2) * 0x5A)
	}
	if g.rng.IntN(3) == 0 {
		img.EndAlign = 4096
	}
}

func (g *generator) moveTables(img *Image) {
	switch g.rng.IntN(4) {
	case 0:
		img.HeaderOff = SectorSize + g.upTo(20, SectorSize)
	case 1:
		img.HeaderOff = 2048 + img.batArea() + g.upTo(20, SectorSize)
	}
	if g.rng.IntN(3) == 0 {
		img.BATOff = roundUp(img.headerOff()+HeaderSize, 4096) + g.upTo(4, 4096)
	}
}

// cut leaves off the end of the last block's data, with the file ending there or with the footer behind it.
// Nothing that was placed by hand may stand behind that block.
func (g *generator) cut(img *Image) {
	if img.HeaderOff != 0 || img.BATOff != 0 {
		return
	}
	img.Slack, img.EndAlign = 0, 0
	last := &img.Blocks[len(img.Blocks)-1]
	last.Cut = g.rng.Int64N(img.BlockSize/SectorSize+1) * SectorSize
}
