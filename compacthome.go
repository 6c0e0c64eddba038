package vhd

import (
	"cmp"
	"context"
	"slices"
)

// strayPart is the table, or what a locator points to, where it stands among the
// blocks: a growing disk and a longer path leave it there. A file can't end in front
// of it.
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
	movesBAT  bool
	batmap    int64  // how much is kept behind the BAT for Xen's batmap, or for none
	taken     []span // as it will be
}

// planHome finds a place for all that stands behind it and among the blocks, which are at
// offs, in order. There is none if ok is false, or nothing to be moved.
func (m *Image) planHome(offs []int64, taken []span) (h homecoming, ok bool) {
	for from, to := range gaps(taken, 0, m.footerOff) {
		h = homecoming{from: roundUp(from, SectorSize), parts: m.straysBehind(to, offs)}
		if len(h.parts) == 0 {
			break
		}
		h.end = h.from + h.arrange(m)
		// A file gets no shorter by less than a block.
		isAmong := len(offs) > 0 && offs[0] < to || h.end+m.blockBytes() <= to
		if isAmong && h.end <= to {
			h.arrive(m, taken)
			return h, true
		}
	}
	return homecoming{}, false
}

// arrange says where in the place everything goes, and how much space that needs.
func (h *homecoming) arrange(m *Image) (need int64) {
	need = dynHeaderSize // the place where the header stands meanwhile
	for i := range h.parts {
		p := &h.parts[i]
		p.to = h.from + need
		need += roundUp(p.end-p.off, SectorSize)
	}
	if h.movesBAT = h.parts[len(h.parts)-1].off == m.header.TableOffset; h.movesBAT {
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

// arrive notes where everything will be.
func (h *homecoming) arrive(m *Image, taken []span) {
	gone := map[int64]bool{}
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

// bringHome does it.
func (c *compaction) bringHome(ctx context.Context) error {
	d := c.disk
	if err := c.goesOn(); err != nil {
		return err
	}
	if err := d.settle(); err != nil {
		return err
	}
	_, offs, taken, err := c.leaf.img.takeStock()
	if err != nil {
		return err
	}
	h, ok := c.leaf.img.planHome(offs, taken)
	if !ok {
		return nil
	}
	if err := c.makeRoom(ctx, &h); err != nil {
		return err
	}
	if h.movesBAT {
		if err := d.clearBatmap(); err != nil { // one that can't be moved is none any more
			return err
		}
	}
	change, err := d.newHeaderChange()
	if err == nil {
		err = c.moveHome(change, &h)
	}
	c.leaf = d.leaf()
	return err
}

// makeRoom moves the blocks that are in the place to the end of the file.
func (c *compaction) makeRoom(ctx context.Context, h *homecoming) error {
	defer c.disk.publishChanges()
	var inPlace []int64
	err := c.leaf.img.eachBlock(func(block int64, e batEntry) error {
		if off := e.off(); off < h.end && off+c.leaf.img.blockBytes() > h.from {
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
			err = c.moveToEnd(block)
		}
	}
	return err
}

func (c *compaction) moveToEnd(block int64) error {
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
