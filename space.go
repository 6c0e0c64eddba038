package vhd

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
)

// space is where the blocks of a writable image may be put. Blocks take slots:
//
//	… block | slot | slot | slot | footer
//	         ^ next               ^ footerOff of the image
//
// When none is left the footer moves, many slots at a time.
type space struct {
	freeSlots  []int64 // given back by blocks, and by the file too
	next       int64   // behind all blocks and metadata: where the next slot may start
	fresh      int64   // from here on the file has never held anything, and reads as zeros
	nallocated int64   // blocks
	planned    int64   // blocks that are known to come: the next growth is for all of them
	reserved   int64   // from here on growing reserved what blocks may take; 0: nothing
	sliding    int64   // from here on a place that is released is given to nobody: gaps are being closed there; 0: nowhere
	junkEnd    int64   // where the file may end instead of behind its footer, after a growth that could not be undone
}

const (
	// blockAlignment is where Windows 8 and later put a block's data, so that a
	// disk with physical sectors of 4 KiB needs not read to write.
	blockAlignment = 4096

	// maxGrowth is how far the file grows at once, at the most. Every growth
	// costs an fsync, so it decides how fast new blocks are written.
	maxGrowth = 64 << 20
	// growthShare of the disk's size is the most that a small one grows by.
	growthShare = 16
)

// slotSize is what one block takes, with what aligns the next one.
func (m *Image) slotSize() int64 {
	return roundUp(m.blockBytes(), m.slotAlignment())
}

// slotAlignment is that of the data of a block. Blocks smaller than
// blockAlignment would only waste space by it.
func (m *Image) slotAlignment() int64 {
	if m.header.BlockSize < blockAlignment {
		return SectorSize
	}
	return blockAlignment
}

// slotAt is the first place from off on where a block can be put.
func (m *Image) slotAt(off int64) int64 {
	return roundUp(off+m.bitmapArea, m.slotAlignment()) - m.bitmapArea
}

// footerAt is the first place from off on where a footer can be put: as Windows
// 8 and later place it, 4096·k − 512, so that a block that takes its place is
// aligned.
func footerAt(off int64) int64 {
	return roundUp(off+footerSize, blockAlignment) - footerSize
}

// takeInventory reads the whole BAT and finds out where blocks may be put. It
// is the look that only writers take: blocks that overlap each other or
// metadata make the image ErrCorrupt.
func (m *Image) takeInventory() (space, error) {
	s, offs, taken, err := m.takeStock()
	if err == nil {
		s.freeSlots = m.slotsBetween(offs, taken)
	}
	return s, err
}

// takeStock is takeInventory without free slots. It also returns what they follow
// from: the offsets of all blocks, in order, and what else is taken.
func (m *Image) takeStock() (s space, offs []int64, taken []span, err error) {
	if offs, err = m.blockOffs(); err != nil {
		return space{}, nil, nil, err
	}
	if s, taken, err = m.stockOf(offs); err != nil {
		return space{}, nil, nil, err
	}
	for i := 1; i < len(offs); i++ {
		if offs[i] < offs[i-1]+m.blockBytes() {
			return space{}, nil, nil, m.overlap(offs[i])
		}
	}
	return s, offs, taken, nil
}

// spaceAround is where blocks may be put beside those at offs, in order, which may
// overlap.
func (m *Image) spaceAround(offs []int64) (space, error) {
	s, taken, err := m.stockOf(offs)
	if err == nil {
		s.freeSlots = m.slotsBetween(offs, taken)
	}
	return s, err
}

// stockOf is the same without free slots, and with what else is taken.
func (m *Image) stockOf(offs []int64) (s space, taken []span, err error) {
	if err := m.findBatmap(offs); err != nil {
		return space{}, nil, err
	}
	if taken, err = m.takenByOthers(offs); err != nil {
		return space{}, nil, err
	}
	return space{fresh: m.footerOff + footerSize, nallocated: int64(len(offs)), next: m.behindAll(offs, taken)}, taken, nil
}

// slotsBetween are the free places for blocks between those at offs, in order, and
// what else is taken.
func (m *Image) slotsBetween(offs []int64, taken []span) (slots []int64) {
	for from, to := range m.freeSpace(offs, taken) {
		if int64(len(offs)+len(slots)) >= m.nblocks {
			break // more are never needed
		}
		slots = m.appendSlots(slots, from, to)
	}
	return slots
}

// behindAll is where the last ends of blocks, at offs, and of what else is taken.
func (m *Image) behindAll(offs []int64, taken []span) int64 {
	behind := int64(0)
	for _, t := range taken {
		behind = max(behind, t.end)
	}
	if n := len(offs); n > 0 {
		behind = max(behind, offs[n-1]+m.blockBytes())
	}
	return behind
}

// freeSpace yields the pieces of the file, from to to, that nothing takes: from
// the end of what stands in front of the first block up to the last one.
func (m *Image) freeSpace(offs []int64, taken []span) iter.Seq2[int64, int64] {
	return func(yield func(from, to int64) bool) {
		behind := frontEnd(offs, taken) // what has been looked at
		for _, off := range offs {
			for len(taken) > 0 && taken[0].end <= behind {
				taken = taken[1:]
			}
			for from, to := range gaps(taken, behind, off) {
				if !yield(from, to) {
					return
				}
			}
			behind = off + m.blockBytes()
		}
	}
}

// frontEnd is where what stands in front of the first block ends.
func frontEnd(offs []int64, taken []span) (end int64) {
	for _, t := range taken {
		if len(offs) > 0 && t.end <= offs[0] {
			end = max(end, t.end)
		}
	}
	return end
}

// gaps yields the pieces between from and to around what is taken.
func gaps(taken []span, from, to int64) iter.Seq2[int64, int64] {
	return func(yield func(from, to int64) bool) {
		for _, t := range taken {
			if t.off >= to {
				break
			}
			if t.off > from && !yield(from, t.off) {
				return
			}
			from = max(from, t.end)
		}
		if from < to {
			yield(from, to)
		}
	}
}

// blockOffs are the offsets of all blocks, in order.
func (m *Image) blockOffs() ([]int64, error) {
	blocks, err := m.placedBlocks(m.mostBlocks())
	offs := offsOf(blocks)
	slices.Sort(offs)
	return offs, err
}

func offsOf(blocks []placedBlock) []int64 {
	offs := make([]int64, len(blocks))
	for i, b := range blocks {
		offs[i] = b.off()
	}
	return offs
}

// placedBlocks are all blocks with their places, in the order of the BAT, as it is on
// disk. A *FormatError says that one can't be where the BAT has it, or that they are more
// than most; those up to it come with the error.
func (m *Image) placedBlocks(most int64) (blocks []placedBlock, err error) {
	err = m.eachBlock(func(block int64, e batEntry) error {
		if int64(len(blocks)) >= most {
			return m.corruptEntry(block, e, "fewer blocks: they overlap")
		}
		_, err := m.blockOff(block, e)
		if err == nil {
			blocks = append(blocks, placeBlock(block, e))
		}
		return err
	})
	return blocks, err
}

// mostBlocks is how many blocks can be in the file without overlapping, and so
// how much memory a table may cost.
func (m *Image) mostBlocks() int64 { return m.FileSize()/(m.bitmapArea+SectorSize) + 1 }

func (m *Image) overlap(off int64) error {
	return &FormatError{Part: "BAT", Offset: m.header.TableOffset, Got: fmt.Sprintf("two blocks over the same bytes at sector %d", off/SectorSize),
		Want: "every block in a place of its own", Err: ErrCorrupt}
}

// takenByOthers is where no new block is put beside those at offs, in order:
// metadata, with what locators set aside, and blocks behind the disk's end, as a
// disk has that was made smaller.
func (m *Image) takenByOthers(offs []int64) ([]span, error) {
	return m.takenInWalk(m.walkEntries, offs)
}

// takenInWalk is takenByOthers by a walk that may end early: the table may be much
// larger than the disk needs.
func (m *Image) takenInWalk(walk entryWalk, offs []int64) ([]span, error) {
	taken := slices.Concat(m.metadata, m.batmap)
	for _, l := range m.header.Locators {
		if s, ok := m.setAside(l, offs); ok {
			taken = append(taken, s)
		}
	}
	most := m.mostBlocks()
	err := walk(m.nblocks, int64(m.header.MaxTableEntries), func(block int64, e batEntry) error {
		off := e.off()
		ok, err := m.mayHoldBlock(off)
		if err != nil || !ok {
			return err // nobody reads it, and many tables end with rubbish
		}
		if int64(len(taken)) > most {
			return m.corruptEntry(block, e, "fewer blocks: they overlap")
		}
		taken = append(taken, span{"a block behind the disk's end", off, off + m.blockBytes()})
		return nil
	}, func(int64, int64) {})
	slices.SortFunc(taken, func(x, y span) int { return cmp.Compare(x.off, y.off) })
	return taken, err
}

// setAside is what a locator sets aside, as far as that can be true: it is in the
// file, and where neither blocks, at offs, nor structures are. It may be more than
// would be read of a path, and in a disk without a parent, where nobody reads it at
// all: what is not understood stays.
func (m *Image) setAside(l Locator, offs []int64) (span, bool) {
	if !l.hasData() {
		return span{}, false
	}
	for _, n := range [...]int64{max(l.Space(), l.DataLength), l.DataLength} {
		s := span{"a parent locator", l.DataOffset, l.DataOffset + n}
		if n <= m.footerOff-l.DataOffset && !m.isUsed(s, offs) {
			return s, true
		}
	}
	return span{}, false
}

// isUsed says whether structures, or blocks at offs, are in s.
func (m *Image) isUsed(s span, offs []int64) bool {
	if slices.ContainsFunc(m.structures(), func(other span) bool { return other.overlaps(s.off, s.end) }) {
		return true
	}
	at, _ := slices.BinarySearch(offs, s.off-m.blockBytes()+1)
	return at < len(offs) && offs[at] < s.end
}

// appendSlots appends the places for blocks from from to to, as many as the
// disk may need.
func (m *Image) appendSlots(slots []int64, from, to int64) []int64 {
	for off := m.slotAt(from); off+m.blockBytes() <= to && int64(len(slots)) < m.nblocks; off = m.slotAt(off + m.blockBytes()) {
		slots = append(slots, off)
	}
	return slots
}

// hasSlack says whether a block would fit between next, behind all that is
// taken, and the footer.
func (m *Image) hasSlack(next int64) bool { return footerAt(next)+m.slotSize() <= m.footerOff }

// allocate finds a place for a block. What it holds is not defined, but for
// fresh: that it reads as zeros behind the bitmap. The BAT is as it was, so
// nobody can reach the block yet.
func (d *Disk) allocate() (off int64, fresh bool, err error) {
	w := d.leaf()
	if n := len(w.space.freeSlots); n > 0 {
		off = w.space.freeSlots[n-1]
		w.space.freeSlots = w.space.freeSlots[:n-1]
		return off, false, nil
	}
	blockBytes := w.img.blockBytes()
	off = w.img.slotAt(w.space.next)
	full := off+blockBytes > w.img.footerOff
	if full {
		off = w.img.slotAt(max(w.space.next, w.img.footerOff))
	}
	if off > maxBlockOff {
		return 0, false, inFile(w.img.name, fmt.Errorf("%w: the file would pass 2 TiB", ErrUnsupported))
	}
	if full {
		if err := d.grow(off); err != nil {
			return 0, false, err
		}
	}
	w.space.next = off + blockBytes
	return off, off+w.img.bitmapArea >= w.space.fresh, nil
}

// release takes a place back that no BAT, live or on disk, speaks of.
func (w *leaf) release(off int64) {
	if w.space.sliding != 0 && off >= w.space.sliding {
		return // the next survey finds it
	}
	w.space.freeSlots = append(w.space.freeSlots, off)
}

// grow makes the file longer, for as many slots from off on as is good (W3).
// If the disk is too full for that, one will do.
func (d *Disk) grow(off int64) error {
	m := d.leaf().img
	unit := min(maxGrowth, m.footer.CurrentSize/growthShare) / m.slotSize()
	unit = max(1, min(unit, m.nblocks-d.leaf().space.nallocated), d.leaf().space.planned)
	unit = min(unit, (maxBlockOff-off)/m.slotSize()+1)
	d.leaf().space.planned = 0
	err := d.moveFooter(off, unit)
	if err != nil && unit > 1 && m.footerOff < off+m.blockBytes() && d.syncs.err() == nil {
		err = d.moveFooter(off, 1)
	}
	return err
}

// moveFooter puts the footer behind nslots slots from off on. A new block
// stands where the footer was, which must never be taken for its bitmap:
//
//  1. the footer is written at the new end, space being reserved where the file
//     can, so that a full disk shows while the old footer is whole;
//  2. fsync;
//  3. the old footer, and what is between it and the first block's data, is
//     overwritten with zeros.
//
// A failure before the fsync is undone by truncating back. Where even that
// fails the old footer still counts for this writer, and the copy at the start
// for whoever comes after a crash.
func (d *Disk) moveFooter(off, nslots int64) error {
	m := d.leaf().img
	return d.moveFooterBehind(off+(nslots-1)*m.slotSize()+m.blockBytes(), off+m.bitmapArea)
}

// moveFooterBehind puts the footer behind end, and zeros where it was, up to zeroEnd.
func (d *Disk) moveFooterBehind(end, zeroEnd int64) error {
	m := d.leaf().img
	oldOff, oldSize := m.footerOff, m.FileSize()
	newOff := footerAt(end)
	if err := d.appendFooter(newOff, oldSize); err != nil {
		if d.leaf().file.Truncate(oldSize) != nil {
			d.leaf().space.junkEnd = max(d.leaf().space.junkEnd, newOff+footerSize)
			d.leaf().space.fresh = max(d.leaf().space.fresh, newOff+footerSize)
		}
		return inFile(m.name, err)
	}
	if err := d.syncs.fsync(); err != nil {
		return err
	}
	m.footerOff = newOff
	m.fileSize.Store(newOff + footerSize)
	if err := zeroRange(d.leaf().file, oldOff, zeroEnd-oldOff); err != nil {
		d.leaf().space.fresh = max(d.leaf().space.fresh, zeroEnd) // the old footer may still be there
		return inFile(m.name, err)
	}
	return nil
}

// appendFooter writes the footer at newOff, behind the file's end at oldSize.
func (d *Disk) appendFooter(newOff, oldSize int64) error {
	s := &d.leaf().space
	ok, err := reserve(d.leaf().file, oldSize, newOff+footerSize-oldSize)
	if err != nil {
		return inPart("footer", newOff, err)
	}
	if ok && s.reserved == 0 {
		s.reserved = oldSize
	}
	_, err = writeFull(d.leaf().file, d.leaf().footer, newOff)
	return inPart("footer", newOff, err)
}

// isRagged says that the file may not end behind its footer.
func (w *leaf) isRagged() bool { return w.space.junkEnd > w.img.footerOff+footerSize }

// trim cuts off what is behind the last block, if a block would fit there:
// what was kept for growth, by this writer or by one that crashed. The footer
// is written at its new place before the old one is cut off.
func (d *Disk) trim() error {
	m := d.leaf().img
	if !m.hasSlack(d.leaf().space.next) && len(d.leaf().space.freeSlots) == 0 && !d.leaf().isRagged() {
		return nil
	}
	s, err := m.takeInventory()
	if err != nil {
		return err
	}
	if !m.hasSlack(s.next) && !d.leaf().isRagged() {
		return nil
	}
	if err := d.endFileAt(min(footerAt(s.next), m.footerOff)); err != nil {
		return err
	}
	s.fresh = m.footerOff + footerSize
	d.leaf().space = s
	return nil
}

// giveBackReserved punches holes where blocks of a child got their whole space
// reserved and hold less. What is under clear bits never comes out of a read, so it
// may be gone, or still there, whenever this ends; and an error is none of the
// caller's.
func (d *Disk) giveBackReserved() {
	w := d.leaf()
	if w.space.reserved == 0 || !w.hasParent() {
		return
	}
	bitmap := make([]byte, bitmapBytes(w.img.sectorsPerBlock))
	_ = w.img.eachBlock(func(block int64, e batEntry) error {
		off, err := w.img.blockOff(block, e)
		if err != nil || off+w.img.blockBytes() <= w.space.reserved {
			return err
		}
		err = readFull(w.file, bitmap, off)
		if err == nil {
			punchAbsent(w.file, off+w.img.bitmapArea, bitmap, w.img.sectorsPerBlock)
		}
		return err
	})
}

// punchAbsent punches holes where a block's data, at off, has long runs of
// sectors whose bits are clear.
func punchAbsent(f File, off int64, bitmap []byte, sectorsPerBlock int64) {
	for first, n := range absentRuns(bitmap, sectorsPerBlock) {
		if n*SectorSize >= punchFrom {
			punch(f, off+first*SectorSize, n*SectorSize)
		}
	}
}

// endFileAt makes off, at or in front of the footer and behind all blocks, the
// place of the footer, and the file end behind it. After a failure the one that was
// there counts, and this one stands where blocks may be put.
func (d *Disk) endFileAt(off int64) error {
	m := d.leaf().img
	d.leaf().space.fresh = max(d.leaf().space.fresh, off+footerSize)
	if _, err := writeFull(d.leaf().file, d.leaf().footer, off); err != nil {
		return inPart("footer", off, err)
	}
	if err := d.syncs.fsync(); err != nil {
		return err
	}
	if err := d.leaf().file.Truncate(off + footerSize); err != nil {
		return err
	}
	m.footerOff = off
	m.fileSize.Store(off + footerSize)
	return d.syncs.fsync()
}
