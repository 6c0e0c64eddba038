package vhdtest

import (
	"bytes"
	"encoding/binary"
	"math"
)

// oddLayouts are images without a parent that are sound, and that some readers refuse or get wrong.
func oddLayouts() []HostileRecipe {
	return append(oddTables(),
		HostileRecipe{RowOddLayout, "a header behind the blocks", like(func(img *Image) { img.HeaderOff = 6 * mib })},
		HostileRecipe{RowOddLayout, "a table behind the blocks", like(func(img *Image) { img.BATOff = 6 * mib })},
		HostileRecipe{RowOddLayout, "a table in front of the header", like(func(img *Image) { img.BATOff, img.HeaderOff = 512, 2048 })},
		HostileRecipe{RowOddLayout, "blocks with gaps, in no order and unaligned", like(func(img *Image) {
			img.Blocks[0].Gap, img.Blocks[1].Gap = 3584, 7*SectorSize
		})},
		HostileRecipe{RowOddLayout, "a gap of 2.9 MB, of junk, in front of the footer", like(func(img *Image) { img.Slack, img.SlackByte = 2900<<10, 0x5A })},
		HostileRecipe{RowOddLayout, "a footer of 511 bytes", like(func(img *Image) { img.Footer = Footer511 })},
		HostileRecipe{RowOddLayout, "a fixed disk with a footer of 511 bytes", func(t TB) *HostileImage {
			img := plainFixed()
			img.Footer = Footer511
			return whole(t, img)
		}},
		HostileRecipe{RowOddLayout, "reserved bytes that are not zero", like(func(img *Image) {
			img.FooterReserved, img.HeaderReserved = bytes.Repeat([]byte{0xFF}, 427), bytes.Repeat([]byte{0xFF}, 256)
		})},
		HostileRecipe{RowOddLayout, "an original size that is smaller", like(func(img *Image) { img.OriginalSize = mib })},
		HostileRecipe{RowOddLayout, "an original size that is larger", like(func(img *Image) { img.OriginalSize = 1 << 40 })},
		HostileRecipe{RowOddLayout, "an original size of 2^63-1", like(func(img *Image) { img.OriginalSize = math.MaxInt64 })},
		HostileRecipe{RowOddLayout, "a geometry of zeros", like(func(img *Image) { img.Geometry = &Geometry{} })},
		HostileRecipe{RowOddLayout, "a geometry far beyond the disk", like(func(img *Image) { img.Geometry = &Geometry{65535, 255, 255} })},
		HostileRecipe{RowOddLayout, "a geometry of one sector, by Virtual PC", like(func(img *Image) { img.App, img.Geometry = "vpc ", &Geometry{1, 1, 1} })},
		HostileRecipe{RowOddLayout, "a saved state", like(func(img *Image) { img.SavedState = 1 })},
		HostileRecipe{RowOddLayout, "a saved state of 255", like(func(img *Image) { img.SavedState = 255 })},
		HostileRecipe{RowOddLayout, "all features, those unknown too", like(func(img *Image) { img.Features = math.MaxUint32 })},
		HostileRecipe{RowOddLayout, "a time of 2^32-1", like(func(img *Image) { img.Time = math.MaxUint32 })},
		HostileRecipe{RowOddLayout, "a creator of no letters", like(func(img *Image) { img.App, img.Host = "\x00\xFF\x00\xFF", "\x00\x00\x00\x00" })},
		HostileRecipe{RowOddLayout, "a header whose unused data offset is itself", headerField(8, 8, 512)},
		HostileRecipe{RowOddLayout, "a parent's name and time in a disk without parent", like(func(img *Image) {
			img.ParentName, img.ParentTime, img.ParentID = `C:\d\base.vhd`, 7, [16]byte{1}
		})},
		HostileRecipe{RowOddLayout, "locators of noise in a disk without parent", headerNoise},
		HostileRecipe{RowOddLayout, "a dynamic disk of no size", empty(&Image{Type: Dynamic})},
		HostileRecipe{RowOddLayout, "a fixed disk of no size", empty(&Image{Type: Fixed})},
		HostileRecipe{RowOddLayout, "a disk of one sector", func(t TB) *HostileImage {
			return whole(t, NewDynamic(SectorSize, Block{Index: 0, Data: stripes(1, SectorSize)}))
		}})
}

// oddTables are odd blocks, bitmaps and tables.
func oddTables() []HostileRecipe {
	return []HostileRecipe{
		{RowOddLayout, "a table padded with zeros", like(func(img *Image) { img.BATPadZero = true })},
		{RowOddLayout, "a table of one entry more", like(func(img *Image) { img.MaxEntries = 4 })},
		{RowOddLayout, "a table of 10,000 entries for three blocks", like(func(img *Image) { img.MaxEntries = 10000 })},
		{RowOddLayout, "junk in the entries behind the disk's blocks", like(func(img *Image) {
			img.MaxEntries, img.Entries = 8, map[int]uint32{3: 0, 4: 1, 5: 1 << 31, 6: 5, 7: 1<<32 - 2}
		})},
		{RowOddLayout, "a table of 200,000 entries, of which those behind the disk's blocks are zeros", longTable(func(uint32) uint32 { return 0 })},
		{RowOddLayout, "a table of 200,000 entries, of which those behind the disk's blocks are past the end of the file", longTable(func(end uint32) uint32 { return end })},
		{RowOddLayout, "a table of 200,000 entries, of which those behind the disk's blocks are cut off", longTable(func(end uint32) uint32 { return end - 2 })},
		{RowOddLayout, "bits set behind the disk's end and the block's", bitsPastEnd},
		{RowOddLayout, "blocks of 512 KiB, whose bitmaps fill a quarter of their sectors", ofBlocks(512 << 10)},
		{RowOddLayout, "blocks of 512 bytes", ofBlocks(512)},
		{RowOddLayout, "blocks of 4 KiB", ofBlocks(4096)},
		{RowOddLayout, "blocks of 64 KiB", ofBlocks(64 << 10)},
		{RowOddLayout, "a block of 16 MiB, whose bitmap takes eight sectors", ofBlocks(16 << 20)},
		{RowOddLayout, "a block of 256 MiB that the file's end cuts off", func(t TB) *HostileImage {
			img := NewDynamic(mib, Block{Index: 0, Data: stripes(1, mib), Cut: 256*mib - mib})
			img.BlockSize = 256 * mib
			return whole(t, img)
		}},
		{RowOddLayout, "a last block that the footer cuts off", like(func(img *Image) { img.Blocks[1].Cut = mib })},
		{RowOddLayout, "a last block of nothing but its bitmap", like(func(img *Image) { img.Blocks[1].Cut = 2 * mib })},
		{RowOddLayout, "clear bits over zeros", like(func(img *Image) {
			img.Blocks[0].Bitmap = Bitmap(4096, func(sector int) bool { return sector%3 == 0 })
			for sector := range 4096 {
				if sector%3 != 0 {
					clear(img.Blocks[0].Data[sector*SectorSize:][:SectorSize])
				}
			}
		})},
		{RowOddLayout, "clear bits over data", clearOverData},
	}
}

// ofBlocks is a disk of a megabyte, of which block 0 and the last are there.
func ofBlocks(size int64) func(t TB) *HostileImage {
	return func(t TB) *HostileImage {
		t.Helper()
		img := NewDynamic(mib, Block{Index: 0, Data: stripes(1, min(size, mib))})
		img.BlockSize = size
		if last := int(mib/size) - 1; last > 0 {
			img.Blocks = append(img.Blocks, Block{Index: last, Data: stripes(2, size)})
		}
		return whole(t, img)
	}
}

// longTable is a plain disk whose table has many entries behind those of its blocks, given the sector behind the file's
// end. Nobody reads them, and they must cost next to nothing.
func longTable(entry func(endSector uint32) uint32) func(t TB) *HostileImage {
	return func(t TB) *HostileImage {
		t.Helper()
		img := plain()
		img.MaxEntries = 200_000
		h := whole(t, img)
		file := h.Files[HostileLeaf]
		for index := 3; index < int(img.MaxEntries); index++ {
			EditEntry(t, file, index, entry(uint32(len(file)/SectorSize)))
		}
		return h
	}
}

// bitsPastEnd has every bit of its bitmaps' sectors set, also where a block of 512 KiB has no sector.
func bitsPastEnd(t TB) *HostileImage {
	t.Helper()
	img := NewDynamic(mib+SectorSize, Block{Index: 2, Data: stripes(2, 512<<10)}, Block{Index: 0, Data: stripes(1, 512<<10)})
	img.BlockSize = 512 << 10
	for i := range img.Blocks {
		img.Blocks[i].Bitmap = bytes.Repeat([]byte{0xFF}, SectorSize)
	}
	return whole(t, img)
}

// clearOverData breaks the specification's rule that what is under a clear bit is zeros on disk. It says that such
// sectors were never written, and that readers may rely on the rule and not look.
func clearOverData(t TB) *HostileImage {
	t.Helper()
	img := plain()
	looked := *img
	h := whole(t, img)
	h.Also = h.Content
	looked.Blocks[0].Bitmap = Bitmap(4096, func(sector int) bool { return sector/8%2 == 0 })
	looked.Blocks[1].Bitmap = Bitmap(4096, func(sector int) bool { return sector < 8 })
	h.Content = looked.Content(t, nil)
	h.Files[HostileLeaf] = looked.Build(t)
	return h
}

// headerField is a plain disk whose header has n in a field that means nothing in it.
func headerField(off, size int, n uint64) func(t TB) *HostileImage {
	return func(t TB) *HostileImage {
		t.Helper()
		h := whole(t, plain())
		h.Files[HostileLeaf] = inHeader(off, size, n)(t)
		return h
	}
}

func headerNoise(t TB) *HostileImage {
	t.Helper()
	h := whole(t, plain())
	EditHeader(t, h.Files[HostileLeaf], func(header []byte) {
		for off := 576; off < 768; off += 4 {
			binary.BigEndian.PutUint32(header[off:], CodeW2ru+uint32(off))
		}
	})
	return h
}

func empty(img *Image) func(t TB) *HostileImage {
	return func(t TB) *HostileImage {
		t.Helper()
		return whole(t, img)
	}
}
