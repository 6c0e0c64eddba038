package vhd

import "slices"

// gapsFound are the gaps in a file, in bytes: those in which blocks would fit, and
// what the others have beside the alignment of blocks.
type gapsFound struct {
	large, firstLarge, nblocks int64
	small, firstSmall          int64
}

// findGaps finds the gaps between blocks, at offs, in order, and what else is taken.
func (m *Image) findGaps(offs []int64, taken []span) (g gapsFound) {
	for from, to := range m.freeSpace(offs, taken) {
		if to != offs[0] || !m.isFreePage(from, to) {
			g.count(m, from, to)
		}
	}
	if len(offs) > 0 { // there may be more behind the last
		for from, to := range gaps(taken, offs[len(offs)-1]+m.blockBytes(), m.behindAll(offs, taken)) {
			g.count(m, from, to)
		}
	}
	return g
}

// count counts the gap from from to to.
func (g *gapsFound) count(m *Image, from, to int64) {
	slot := m.slotAt(from)
	aligned := max(slot, footerAt(from)) // where a footer stood while the file grew, the next block goes
	switch {
	case slot >= to:
	case slot+m.blockBytes() > to:
		if aligned >= to {
			return
		}
		if g.small == 0 {
			g.firstSmall = from
		}
		g.small += to - aligned
	default:
		if g.large == 0 {
			g.firstLarge = from
		}
		g.nblocks += 1 + (to-slot-m.blockBytes())/m.slotSize()
		g.large += to - from
	}
}

// isFreePage says whether what is free in front of the first block, at to, is so in
// a new image, which has its footer there while it has no blocks. A small block
// would fit in.
func (m *Image) isFreePage(from, to int64) bool {
	return to == m.slotAt(roundUp(from, blockAlignment)+footerAt(0))
}

// sliding is how gaps are closed in which no block fits, as other software leaves them, and
// a table that moved. The first blocks behind them go to the end of the file for a while,
// the next ones take the places that this leaves, and so on, a run at a time; at last those
// at the end come back:
//
//	A  B  C  D        with gaps
//	A     C  D  B     B, the first run, is at the end
//	A C      D  B
//	A C D       B
//	A C D B
//
// What a run takes was left by the one before, and is free once that is durable (W6).
type sliding struct {
	places []int64 // of all blocks in the end, in order
	run    int     // so many blocks move at a time
	end    int64   // where those end that are at the end of the file
}

// planSliding plans it for blocks at offs, in order. It is not worth its while, and ok is
// false, unless the gaps take a block's bytes or more, and so much is saved: none can be in
// front of what has to stay where it is.
func (m *Image) planSliding(offs []int64, taken []span) (s sliding, ok bool) {
	if m.findGaps(offs, taken).small < m.blockBytes() {
		return sliding{}, false
	}
	s.places = m.packed(offs, taken)
	for i, off := range offs { // a block behind the disk's end may be over one that counts
		if i == len(s.places) || s.places[i] > off {
			return sliding{}, false
		}
	}
	behind, slot := m.behindAll(offs, taken), m.slotSize()
	s.run = int(max(1, min(maxGrowth/slot, int64(len(offs)/growthShare))))
	last := m.slotAt(behind) + int64(s.run-1)*slot
	s.end = last + m.blockBytes()
	return s, behind-m.behindAll(s.places, taken) >= m.blockBytes() && last <= maxBlockOff
}

// packed are the places of blocks, at offs, in order, without gaps between them. They are
// as aligned as those; the free page in front of the first one stays.
func (m *Image) packed(offs []int64, taken []span) (places []int64) {
	front, aligned := frontEnd(offs, taken), m.areAligned(offs)
	if m.isFreePage(front, offs[0]) {
		front = offs[0]
	}
	for from, to := range gaps(taken, front, m.behindAll(offs, taken)) {
		places = m.appendPlaces(places, from, to, aligned)
	}
	return places[:min(len(places), len(offs))]
}

// areAligned says whether all blocks are, which are at offs.
func (m *Image) areAligned(offs []int64) bool {
	return !slices.ContainsFunc(offs, func(off int64) bool { return off != m.slotAt(off) })
}

// appendPlaces is appendSlots for blocks that are moved. In a file whose blocks are not
// all aligned none needs to be: so any gap that a block left takes one.
func (m *Image) appendPlaces(places []int64, from, to int64, aligned bool) []int64 {
	if aligned {
		return m.appendSlots(places, from, to)
	}
	for off := roundUp(from, SectorSize); off+m.blockBytes() <= to && int64(len(places)) < m.nblocks; off += m.blockBytes() {
		places = append(places, off)
	}
	return places
}
