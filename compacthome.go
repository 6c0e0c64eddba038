package vhd

import (
	"cmp"
	"context"
	"slices"
)

// strayPart is the table, or what a locator points to, where it stands among the
// blocks: a growing disk and a longer path leave it there. A file can't end in front
// of it. So may the header, where a change of it was interrupted.
type strayPart struct {
	span
	to  int64
	set func(h *DynamicHeader, off int64) // makes a header point to it
}

// homecoming is how what stands among the blocks comes to the front, as W13 has it:
// for a while both stand there.
type homecoming struct {
	from, end int64 // the place: blocks that are there go elsewhere before
	parts     []strayPart
	header    bool // the header comes home too, to where the place begins, or to 512
	movesBAT  bool
	batmap    int64  // how much is kept behind the BAT for Xen's batmap, or for none
	taken     []span // as it will be

	evicted int64   // blocks that are in the place
	slots   []int64 // where they go, the last first; those that find none there go to the end
}

// planHome finds a place for all that stands behind it and among the blocks, which are at
// offs, in order. There is none if ok is false, or nothing to be moved.
func (m *Image) planHome(offs []int64, taken []span) (h homecoming, ok bool) {
	for from, to := range gaps(taken, 0, m.footerOff) {
		h = homecoming{from: roundUp(from, SectorSize), parts: m.straysBehind(to, offs), header: m.footer.DataOffset >= to}
		if len(h.parts) == 0 && !h.header {
			break
		}
		h.end = h.from + h.arrange(m)
		// A file gets no shorter by less than a block.
		isAmong := len(offs) > 0 && offs[0] < to || h.end+m.blockBytes() <= to
		if isAmong && h.end <= to {
			h.evict(m, offs, taken)
			h.arrive(m, offs, taken)
			return h, true
		}
	}
	return homecoming{}, false
}

// arrange says where in the place everything goes, and how much space that needs.
func (h *homecoming) arrange(m *Image) (need int64) {
	need = dynHeaderSize // the place where the header stands meanwhile, or for good
	for i := range h.parts {
		p := &h.parts[i]
		p.to = h.from + need
		need += roundUp(p.end-p.off, SectorSize)
	}
	last := len(h.parts) - 1
	if h.movesBAT = last >= 0 && h.parts[last].off == m.header.TableOffset; h.movesBAT {
		h.batmap = m.batmapFor(int64(m.header.MaxTableEntries))
	}
	return need + h.batmap
}

// straysBehind is what stands behind off and apart from blocks, at offs, in the order of
// the file, but for the BAT, which is the last.
func (m *Image) straysBehind(off int64, offs []int64) (parts []strayPart) {
	for i, l := range m.header.Locators {
		if s, ok := m.setAside(l, offs); ok && s.off >= off {
			parts = append(parts, strayPart{span: s, set: func(h *DynamicHeader, off int64) { h.Locators[i].DataOffset = off }})
		}
	}
	slices.SortFunc(parts, func(x, y strayPart) int { return cmp.Compare(x.off, y.off) })
	if m.header.TableOffset >= off {
		parts = append(parts, strayPart{
			span: span{"the BAT", m.header.TableOffset, m.tableEnd()},
			set:  func(h *DynamicHeader, off int64) { h.TableOffset = off },
		})
	}
	return parts
}

// headerHome is where the header will be: at 512 if nothing else is there, as
// headerChange has it, or where the place begins.
func (h *homecoming) headerHome(m *Image, offs []int64, taken []span) int64 {
	const home, end = footerSize, footerSize + dynHeaderSize
	stays := func(off int64) bool { return off < end && !h.isInPlace(m, off) }
	if slices.ContainsFunc(taken, func(t span) bool { return t.overlaps(home, end) }) || slices.ContainsFunc(offs, stays) {
		return h.from
	}
	return home
}

// arrive notes where everything will be.
func (h *homecoming) arrive(m *Image, offs []int64, taken []span) {
	gone := map[int64]bool{}
	if h.header {
		gone[m.footer.DataOffset] = true
		home := h.headerHome(m, offs, taken)
		h.taken = append(h.taken, span{"the dynamic header", home, home + dynHeaderSize})
	}
	for i := range h.parts {
		p := &h.parts[i]
		gone[p.off] = true
		h.taken = append(h.taken, span{p.what, p.to, p.to + p.end - p.off})
	}
	if h.movesBAT { // and takes the batmap with it
		for _, s := range m.batmap {
			gone[s.off] = true
		}
		if m.batmap != nil {
			h.taken = append(h.taken, span{"Xen's batmap", h.end - h.batmap, h.end})
		}
	}
	for _, t := range taken {
		if !gone[t.off] {
			h.taken = append(h.taken, t)
		}
	}
	slices.SortFunc(h.taken, func(x, y span) int { return cmp.Compare(x.off, y.off) })
}

// evict finds other places for blocks, at offs, that are in the place.
func (h *homecoming) evict(m *Image, offs []int64, taken []span) {
	for _, off := range offs {
		if h.isInPlace(m, off) {
			h.evicted++
		}
	}
	h.slots = slices.DeleteFunc(m.slotsInFront(offs, taken), func(off int64) bool { return h.isInPlace(m, off) })
}

// isInPlace says whether a block at off is in the place.
func (h *homecoming) isInPlace(m *Image, off int64) bool {
	return off < h.end && off+m.blockBytes() > h.from
}

// roomFor is why there is no room for it, as far as that is known.
func (h *homecoming) roomFor(d *Disk) error {
	l := d.view().top()
	return d.opts.checkRoom(d.fileName(l), max(0, h.evicted-int64(len(h.slots)))*l.img.slotSize())
}

// bringHome does it, unless the file would be longer for it as blocks are by now, which
// c.waits notes, or it is known that there is no space to make room for it, which it returns: then
// all stays where it is.
func (c *compaction) bringHome(ctx context.Context) error {
	d := c.disk
	if err := c.goesOn(); err != nil {
		return err
	}
	if err := d.settle(); err != nil {
		return err
	}
	s, offs, taken, err := c.leaf.img.takeStock()
	if err != nil {
		return err
	}
	m := c.leaf.img
	h, ok := m.planHome(offs, taken)
	if !ok {
		return nil
	}
	now := arrangement{disk: d, img: m, offs: offs, taken: taken, footerOff: m.footerOff}
	if c.waits = !now.isNoLongerBy(&h); c.waits {
		return nil
	}
	if err := h.roomFor(d); err != nil {
		return err
	}
	c.leaf.space.next, c.leaf.space.freeSlots = s.next, nil // what is free behind the last block is behind next
	return c.goHome(ctx, &h)
}

func (c *compaction) goHome(ctx context.Context, h *homecoming) error {
	d := c.disk
	if err := c.makeRoom(ctx, h); err != nil {
		return err
	}
	if h.movesBAT {
		if err := d.clearBatmap(); err != nil { // one that can't be moved is none any more
			return err
		}
	}
	change, err := d.newHeaderChangeAt(h.from)
	if err == nil {
		err = c.moveHome(change, h)
	}
	c.leaf = d.leaf()
	return err
}

// makeRoom moves the blocks that are in the place elsewhere.
func (c *compaction) makeRoom(ctx context.Context, h *homecoming) error {
	defer c.disk.publishChanges()
	var inPlace []int64
	err := c.leaf.img.eachBlock(func(block int64, e batEntry) error {
		if h.isInPlace(c.leaf.img, e.off()) {
			inPlace = append(inPlace, block)
		}
		return nil
	})
	for i, block := range inPlace {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			c.leaf.space.planned = int64(len(inPlace) - i)
			err = c.moveAway(block, h)
		}
	}
	return err
}

// moveAway moves a block to a free place, or to the end of the file.
func (c *compaction) moveAway(block int64, h *homecoming) error {
	d, w := c.disk, c.leaf
	if w.dirtyCost > maxDirtyCost {
		if err := d.flush(heldLock{}); err != nil {
			return err
		}
	}
	b, err := w.block(block)
	if err != nil {
		return err
	}
	w.space.freeSlots = nil // some are in the place; they are found again
	if n := len(h.slots); n > 0 {
		w.space.freeSlots, h.slots = h.slots[n-1:], h.slots[:n-1]
	}
	off, _, err := d.allocate()
	if err != nil {
		return err
	}
	return c.moveBlock(b, off)
}

// moveHome writes everything to its place, and makes the header point there.
func (c *compaction) moveHome(change *headerChange, h *homecoming) error {
	f := c.leaf.file
	for _, p := range h.parts {
		n := p.end - p.off
		change.take(p.to, roundUp(n, SectorSize))
		if err := zeroRange(f, p.to+n, roundUp(n, SectorSize)-n); err != nil {
			return inPart(p.what, p.to, err)
		}
		if err := c.copyData(p.to, p.off, n); err != nil {
			return inPart(p.what, p.to, err)
		}
		p.set(&change.header, p.to)
	}
	if h.movesBAT {
		if err := c.disk.moveBatmap(h.end-h.batmap, int64(c.leaf.img.header.MaxTableEntries)); err != nil {
			return err
		}
	}
	return change.apply()
}
