package vhd

import "slices"

// checkBlocks looks at all entries of the BAT: whether each leads to a place for
// a block, and each to one of its own. What is kept in memory is bounded by how
// many blocks the file can hold.
func (k *checkup) checkBlocks() (ok bool, err error) {
	m := k.m
	if err := k.walkEntries(0, m.nblocks, k.place, k.placeZeros); err != nil {
		return false, err
	}
	m.lastOff.Store(max(k.lastOff, 1)) // as lastBlock has it
	k.keepSound()
	k.dropCutOff()
	k.checkAlignment()
	return true, k.checkBehindDisk()
}

// walkEntries is that of the image, which the end of the context ends.
func (k *checkup) walkEntries(first, end int64, f func(block int64, e batEntry) error, zeros func(block, n int64)) error {
	const piece = 1 << 20
	for ; first < end; first += piece {
		if err := k.ctx.Err(); err != nil {
			return err
		}
		if err := k.m.walkEntries(first, min(first+piece, end), f, zeros); err != nil {
			return err
		}
	}
	return nil
}

// placeZeros checks the places of n blocks by themselves, which are all at sector 0.
func (k *checkup) placeZeros(block, n int64) {
	told := min(n, maxFindings+1) // then the others are only counted
	for i := range told {
		k.placeInMetadata(block+i, 0, k.m.metadata[0])
	}
	k.of["bat-metadata"].more += n - told
}

// place checks the place of one block by itself.
func (k *checkup) place(block int64, e batEntry) error {
	m, off := k.m, e.off()
	if m.mayBeLast(off) {
		k.lastOff = max(k.lastOff, off)
	}
	if s, ok := m.metadataUnder(off); ok {
		k.placeInMetadata(block, e, s)
		return nil
	}
	if m.isPastEnd(off) {
		k.batWrong = true
		if !k.isMore("bat-past-end") {
			k.add("bat-past-end", k.m.entryOff(block), "Block %d is at sector %d, past the end of the file's content at sector %d.", block, uint32(e), m.footerOff/SectorSize)
		}
		return nil
	}
	if k.blocks = append(k.blocks, placeBlock(block, e)); int64(len(k.blocks)) > 2*k.mostApart() {
		k.keepApart()
	}
	return nil
}

// placeInMetadata notes that a block overlaps a structure.
func (k *checkup) placeInMetadata(block int64, e batEntry, s span) {
	k.batWrong = true
	if !k.isMore("bat-metadata") {
		k.add("bat-metadata", k.m.entryOff(block), "Block %d is at sector %d, where it overlaps %s.", block, uint32(e), s.what)
	}
}

// mostApart is how many blocks fit into the file, the last one cut off.
func (k *checkup) mostApart() int64 { return k.m.FileSize()/k.m.blockBytes() + 1 }

// keepSound sorts the blocks and keeps those that overlap no other.
func (k *checkup) keepSound() {
	slices.Sort(k.blocks)
	sound := k.blocks[:0]
	for i := 0; i < len(k.blocks); {
		run := i + 1
		for run < len(k.blocks) && k.overlap(k.blocks[run-1], k.blocks[run]) {
			run++
		}
		if run == i+1 {
			sound = append(sound, k.blocks[i])
		}
		i = run
	}
	k.blocks = sound
}

// keepApart does the same where there are more blocks than fit into the file,
// and of those that overlap keeps the first.
func (k *checkup) keepApart() {
	slices.Sort(k.blocks)
	apart := k.blocks[:1]
	for _, b := range k.blocks[1:] {
		if !k.overlap(apart[len(apart)-1], b) {
			apart = append(apart, b)
		}
	}
	k.blocks = apart
}

// overlap notes if two blocks overlap, of which b is not in front of a.
func (k *checkup) overlap(a, b placedBlock) bool {
	size := k.m.blockBytes()
	common := a.off() + size - b.off()
	if common <= 0 {
		return false
	}
	k.batWrong = true
	if !k.isMore("bat-overlap") {
		k.add("bat-overlap", k.m.entryOff(b.index()), "Blocks %d and %d overlap: they are at sectors %d and %d, and have %d bytes in common.",
			a.index(), b.index(), a.off()/SectorSize, b.off()/SectorSize, common)
	}
	return true
}

// dropCutOff finds blocks that the file's end cuts off, which only the last may
// be. They come last.
func (k *checkup) dropCutOff() {
	m := k.m
	at, _ := slices.BinarySearchFunc(k.blocks, m.footerOff, func(b placedBlock, end int64) int {
		if b.off()+m.blockBytes() > end {
			return 1
		}
		return -1
	})
	sound := k.blocks[:at]
	for _, b := range k.blocks[at:] {
		entryOff, lacking := k.m.entryOff(b.index()), b.off()+m.blockBytes()-m.footerOff
		if b.off() == k.lastOff {
			k.add("block-cut", entryOff, "Block %d, the last in the file, lacks %d bytes at its end, which read as zeros.", b.index(), lacking)
			sound = append(sound, b)
			continue
		}
		k.batWrong = true
		k.add("bat-cut", entryOff, "Block %d lacks %d bytes at its end, which the file's end cut off; it is not the last block.", b.index(), lacking)
	}
	k.blocks = sound
}

// checkAlignment counts the blocks whose data is not aligned as that of Windows 8
// and later.
func (k *checkup) checkAlignment() {
	m := k.m
	unaligned, first := 0, placedBlock(0)
	for _, b := range k.blocks {
		if (b.off()+m.bitmapArea)%m.slotAlignment() == 0 {
			continue
		}
		if unaligned++; unaligned == 1 {
			first = b
		}
	}
	if unaligned > 0 {
		k.add("block-unaligned", first.off()+m.bitmapArea, "The data of %d of %d blocks begins at no multiple of %d, block %d first, which is slow on disks with sectors of that size.",
			unaligned, len(k.blocks), m.slotAlignment(), first.index())
	}
}

// checkBehindDisk counts entries in use that the disk's size does not need.
func (k *checkup) checkBehindDisk() error {
	m := k.m
	n, first := int64(0), int64(0)
	count := func(block, more int64) {
		if n == 0 {
			first = block
		}
		n += more
	}
	err := k.walkEntries(m.nblocks, int64(m.header.MaxTableEntries), func(block int64, _ batEntry) error {
		count(block, 1)
		return nil
	}, count)
	if n > 0 {
		k.add("bat-beyond-disk", k.m.entryOff(first), "Entry %d of the BAT, behind the disk's end, is in use, and so are %d more behind it; nothing reads them.", first, n-1)
	}
	return err
}
