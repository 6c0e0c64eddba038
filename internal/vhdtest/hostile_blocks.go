package vhdtest

import "bytes"

// strayBlocks are tables whose entries point where no block can be, or at blocks of others.
func strayBlocks() []HostileRecipe {
	var recipes []HostileRecipe
	for _, c := range []struct {
		name  string
		entry func(endSector uint32) uint32
	}{
		{"a block at sector 0, the footer's copy", func(uint32) uint32 { return 0 }},
		{"a block at sector 1, the header", func(uint32) uint32 { return 1 }},
		{"a block at the header's second sector", func(uint32) uint32 { return 2 }},
		{"a block at the table", func(uint32) uint32 { return 3 }},
		{"a block at the end footer", func(end uint32) uint32 { return end - 1 }},
		{"a block at the end of the file", func(end uint32) uint32 { return end }},
		{"a block past the end of the file", func(end uint32) uint32 { return end + 1000 }},
		{"a block at sector 2^23, where bytes pass 32 bits", func(uint32) uint32 { return 1 << 23 }},
		{"a block at sector 2^31-1", func(uint32) uint32 { return 1<<31 - 1 }},
		{"a block at sector 2^31", func(uint32) uint32 { return 1 << 31 }},
		{"a block at sector 2^32-2", func(uint32) uint32 { return 1<<32 - 2 }},
	} {
		recipes = append(recipes, HostileRecipe{RowBlocks, c.name, strayBlock(c.entry)})
	}
	return append(recipes,
		HostileRecipe{RowBlocks, "two blocks at one place", sharedBlock},
		HostileRecipe{RowBlocks, "two blocks that overlap but for a sector", overlappingBlock},
		HostileRecipe{RowBlocks, "a block that the end of the file cuts off, though it is not the last", cutBeforeLast},
		HostileRecipe{RowBlocks, "a block whose data ends in the header", blockIntoHeader},
		HostileRecipe{RowBlocks, "a block of a child in its parent locator", blockIntoLocator},
		HostileRecipe{RowBlocks, "a block of a parent past its end", strayBlockOfParent},
		HostileRecipe{RowBlocks, "all blocks at sector 0, as in a table of zeros", zeroTable})
}

// strayBlock is a plain disk whose block 2 is elsewhere, given the sector behind the file's end.
func strayBlock(entry func(endSector uint32) uint32) func(t TB) *HostileImage {
	return func(t TB) *HostileImage {
		t.Helper()
		h := whole(t, plain())
		file := h.Files[HostileLeaf]
		EditEntry(t, file, 2, entry(uint32(len(file)/SectorSize)))
		h.Lost, h.Unwritable = []Range{{4 * mib, hostileSize}}, Corrupt
		return h
	}
}

// sharedBlock has two entries for one block: what is read is what they say, and a write to one would change the
// other.
func sharedBlock(t TB) *HostileImage {
	t.Helper()
	h := whole(t, plain())
	file := h.Files[HostileLeaf]
	EditEntry(t, file, 1, Entry(t, file, 0))
	copy(h.Content[2*mib:4*mib], h.Content[:2*mib])
	h.Unwritable = Corrupt
	return h
}

// overlappingBlock has block 1 one sector behind the place of block 2. The bitmap of block 1 is then the first
// sector of block 2, all ones here.
func overlappingBlock(t TB) *HostileImage {
	t.Helper()
	img := plain()
	copy(img.Blocks[0].Data, bytes.Repeat([]byte{0xFF}, SectorSize))
	h := whole(t, img)
	file := h.Files[HostileLeaf]
	at := Entry(t, file, 2) + 1
	EditEntry(t, file, 1, at)
	copy(h.Content[2*mib:4*mib], file[(int(at)+1)*SectorSize:])
	h.Unwritable = Corrupt
	return h
}

// cutBeforeLast has a last block that lacks its second half, which is sound, and one that begins a sector in front of
// it.
func cutBeforeLast(t TB) *HostileImage {
	t.Helper()
	img := plain()
	img.Blocks[1].Cut = mib
	h := whole(t, img)
	file := h.Files[HostileLeaf]
	EditEntry(t, file, 2, Entry(t, file, 0)-1)
	h.Lost, h.Unwritable = []Range{{4 * mib, hostileSize}}, Corrupt
	return h
}

// blockIntoHeader has its header behind the blocks, and the last block one sector too near to it.
func blockIntoHeader(t TB) *HostileImage {
	t.Helper()
	img := plain()
	img.HeaderOff = 5 * mib
	h := whole(t, img)
	EditEntry(t, h.Files[HostileLeaf], 0, (5*mib-2*mib)/SectorSize)
	h.Lost, h.Unwritable = []Range{{0, 2 * mib}}, Corrupt
	return h
}

func blockIntoLocator(t TB) *HostileImage {
	t.Helper()
	h := wholeChain(t, plainChain())
	file := h.Files[HostileLeaf]
	at := bytes.Index(file, utf16LE(`.\base.vhd`))
	if at < 0 {
		t.Fatalf("vhdtest: the child has no locator")
	}
	EditEntry(t, file, 1, uint32(at/SectorSize))
	h.Lost, h.Unwritable = []Range{{2 * mib, 4 * mib}}, Corrupt
	return h
}

// strayBlockOfParent can be written: parents aren't.
func strayBlockOfParent(t TB) *HostileImage {
	t.Helper()
	h := wholeChain(t, plainChain())
	EditEntry(t, h.Files["base.vhd"], 2, 1<<30)
	h.Lost = []Range{{4 * mib, hostileSize}}
	return h
}

func zeroTable(t TB) *HostileImage {
	t.Helper()
	h := whole(t, plain())
	for block := range 3 {
		EditEntry(t, h.Files[HostileLeaf], block, 0)
	}
	h.Lost, h.Unwritable = []Range{{0, hostileSize}}, Corrupt
	return h
}
