package vhd

import (
	"context"
	"slices"
)

// shrink makes a disk with blocks smaller. The table of the new header ends with
// the disk, so that what was behind is free as soon as that one counts.
func (r *resizing) shrink() error {
	d := r.disk
	m := d.leaf().img
	nblocks := r.nblocks()
	var behind []int64
	err := m.eachEntry(nblocks, m.nblocks, func(block int64, e batEntry) error {
		off, err := m.blockOff(block, e)
		behind = append(behind, off)
		return err
	})
	if err == nil {
		err = r.showSmaller(nblocks)
	}
	if err != nil {
		return err
	}
	d.reuses.Add(1) // who reads what falls off reads again
	if err := r.tidy(); err != nil {
		return err
	}
	for _, off := range behind {
		if end := min(off+m.blockBytes(), d.leaf().img.footerOff); off < end {
			punch(d.leaf().file, off, end-off)
		}
	}
	return nil
}

// showSmaller makes the smaller size count.
func (r *resizing) showSmaller(nblocks int64) error {
	d := r.disk
	if nblocks == d.leaf().img.nblocks {
		return d.replaceFooter(r.footer())
	}
	c, err := d.newHeaderChange()
	if err != nil {
		return err
	}
	c.footer, c.header.MaxTableEntries = r.footer(), tableEntries(nblocks)
	if err := c.show(); err != nil {
		return err
	}
	if err := c.goHome(); err != nil {
		return err
	}
	if err := d.moveBatmapHeader(c.header.TableOffset + r.tableSize()); err != nil {
		return d.breakDown(err)
	}
	return d.reloadLeaf()
}

// tableEntries is a number of blocks as the header has it.
func tableEntries(nblocks int64) uint32 {
	return uint32(nblocks) //nolint:gosec // less than 2^32: 2 TiB have so many sectors
}

// growth makes a disk with blocks larger:
//
//  1. It gets a table for the new size, in which nothing is behind the old end:
//     what stood there could be anything. The old one becomes longer if it can;
//     else the new one has a place of its own, and the old one stays as it is.
//  2. In a disk of the new size, which nobody else sees, all behind the old end is
//     made zeros: bits and data of the last block, and what a larger parent holds.
//     The footer has the old size meanwhile, also where it moves.
//  3. All of that is durable before the new size counts.
type growth struct {
	*resizing
	header DynamicHeader
	change *headerChange // nil: the header stays as it is
	kept   []span        // until the new size counts, beside what the new header leads to
	after  *Disk         // the disk as it will be
}

func (r *resizing) grow(ctx context.Context) error {
	g := &growth{resizing: r, header: r.disk.leaf().img.header}
	if err := g.makeTable(ctx); err != nil {
		return g.leaveTable(err)
	}
	if err := g.lookAhead(); err != nil {
		return err
	}
	err := g.makeZeros(ctx)
	if err == nil {
		err = g.showLarger()
	}
	if err != nil {
		return g.undo(err)
	}
	r.disk.current.Store(g.after.view())
	r.disk.reuses.Add(1)
	return r.tidy()
}

// makeTable is step 1.
func (g *growth) makeTable(ctx context.Context) error {
	m, nblocks := g.disk.leaf().img, g.nblocks()
	if nblocks <= int64(m.header.MaxTableEntries) {
		return g.emptyTable(ctx)
	}
	c, err := g.disk.newHeaderChange()
	if err != nil {
		return err
	}
	g.change = c
	g.kept = slices.Concat([]span{{"the BAT", m.header.TableOffset, m.tableEnd()}, {"the dynamic header", c.away, c.away + dynHeaderSize}}, m.batmap)
	size := g.tableSize()
	stays := c.extend(m.tableEnd(), m.header.TableOffset+size)
	if !stays {
		if c.header.TableOffset, err = c.room(size + m.batmapFor(nblocks)); err != nil {
			return err
		}
	}
	c.footer, c.header.MaxTableEntries = g.footer(), tableEntries(nblocks)
	g.header = c.header
	if stays {
		return g.emptyTable(ctx)
	}
	return g.fillTable(ctx, c.header.TableOffset, 0)
}

// leaveTable gives back the space of a table that did not come into being.
func (g *growth) leaveTable(cause error) error {
	d := g.disk
	if d.syncs.err() != nil {
		return cause
	}
	if err := d.trim(); err != nil && d.syncs.err() != nil {
		return err
	}
	return cause
}

// tableSize is how many bytes the table for the new size has, with its padding.
func (r *resizing) tableSize() int64 { return roundUp(r.nblocks()*batEntrySize, SectorSize) }

// emptyTable makes the table, where it is, one in which nothing is behind the old
// end.
func (g *growth) emptyTable(ctx context.Context) error {
	m := g.disk.leaf().img
	return g.fillTable(ctx, m.header.TableOffset, m.nblocks*batEntrySize/SectorSize*SectorSize)
}

// fillTable writes the table for the new size to off, from a byte of it on. Where it
// is one of its own, or became longer, there is room for a batmap behind it.
func (g *growth) fillTable(ctx context.Context, off, from int64) error {
	if err := g.writeTable(ctx, off, from); err != nil {
		return err
	}
	if end := off + g.tableSize(); g.change != nil && end != g.disk.leaf().img.tableEnd() {
		if err := g.disk.moveBatmap(end, g.nblocks()); err != nil {
			return err
		}
	}
	return g.disk.syncs.fsync() // what the entries behind the end took is free now (W6)
}

// writeTable writes the table for the new size to off, from a byte of it on.
func (g *growth) writeTable(ctx context.Context, off, from int64) error {
	w, size := g.disk.leaf(), g.tableSize()
	there := w.img.nblocks * batEntrySize
	buf := make([]byte, min(size-from, 64<<10))
	for at := from; at < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := buf[:min(size-at, int64(len(buf)))]
		n := min(max(there-at, 0), int64(len(p)))
		if err := readFull(w.file, p[:n], w.table.off+at); err != nil {
			return inPart("BAT", w.table.off+at, err)
		}
		for i := n / batEntrySize; i < int64(len(p))/batEntrySize; i++ {
			putBATEntry(p, i, noBlock)
		}
		if _, err := writeFull(w.file, p, off+at); err != nil {
			return inPart("BAT", off+at, err)
		}
		at += int64(len(p))
	}
	return nil
}

// lookAhead makes the disk as it will be. It shares the file and its barrier with
// the one that is; the locks that are held keep everybody else away.
func (g *growth) lookAhead() error {
	d := g.disk
	before := d.view()
	former := before.top()
	m := former.img
	img := &Image{name: m.name, file: m.file, footer: g.footer(), header: g.header, locators: m.locators, footerOff: m.footerOff}
	img.fileSize.Store(m.FileSize())
	img.noteMetadata()
	img.rememberBatmap(m)
	img.metadata = append(img.metadata, g.kept...)
	if err := img.checkBlockSize(); err != nil {
		return err
	}
	l := newLayer(int(former.number), img, former.file, d.cache)
	l.abs = former.abs
	after := before.with(l, g.to)
	var err error
	if after.leaf, err = newLeaf(l); err != nil {
		return err
	}
	after.leaf.footer = before.leaf.footer // with the old size
	after.leaf.space.fresh = max(after.leaf.space.fresh, before.leaf.space.fresh)
	g.after = &Disk{opts: d.opts, nameless: d.nameless, cache: d.cache, syncs: d.syncs}
	g.after.current.Store(after)
	return nil
}

// zerosEnd is behind what of the new disk may not read as zeros: the last block that
// the old one had, and its parent.
func (g *growth) zerosEnd() int64 {
	v := g.after.view()
	end := roundUp(g.from, v.leaf.img.header.BlockSize)
	if len(v.chain) > 1 {
		end = max(end, v.at(1).img.footer.CurrentSize)
	}
	return min(end, g.to)
}

// makeZeros is step 2.
func (g *growth) makeZeros(ctx context.Context) error {
	if err := g.reserve(ctx); err != nil {
		return err
	}
	end := g.zerosEnd()
	for off := g.from; off < end; {
		if err := g.goesOn(ctx); err != nil {
			return err
		}
		if g.after.leaf().dirtyCost > maxDirtyCost {
			if err := g.after.flush(&g.after.mu); err != nil {
				return err
			}
		}
		n, err := g.after.zeroPiece(off, end-off)
		if err != nil {
			return err
		}
		off += n
		g.report(off - g.from)
	}
	return g.goesOn(ctx)
}

// goesOn is why the work ends early.
func (g *growth) goesOn(ctx context.Context) error {
	if err := g.disk.usable(); err != nil {
		return err
	}
	return ctx.Err()
}

// showLarger is step 3, and makes the new size count.
func (g *growth) showLarger() error {
	if err := g.after.settle(); err != nil {
		return err
	}
	if g.change == nil {
		return g.after.replaceFooter(g.footer())
	}
	g.change.disk = g.after
	return g.change.apply()
}

// undo goes back to the disk as it was after a failure, or the end of the context. Nothing
// that was done shows there, but the file may end elsewhere.
func (g *growth) undo(cause error) error {
	d := g.disk
	if err := d.syncs.err(); err != nil { // it may be the disk as it was to be that broke
		d.down.CompareAndSwap(nil, &err)
		return cause
	}
	w, after := d.leaf(), g.after.leaf()
	w.img.footerOff = after.img.footerOff
	w.img.fileSize.Store(after.img.FileSize())
	w.space.junkEnd = max(w.space.junkEnd, after.space.junkEnd)
	w.space.fresh = max(w.space.fresh, after.space.fresh)
	clear(w.blocks) // of the last one the file may know more by now
	w.table.forget((g.from - 1) / w.img.header.BlockSize)
	if err := g.takeBack(); err != nil {
		return d.breakDown(joined(cause, err))
	}
	return cause
}

// takeBack gives back what the growth took.
func (g *growth) takeBack() error {
	d := g.disk
	w := d.leaf()
	if g.header.TableOffset == w.img.header.TableOffset {
		if err := g.emptyTable(context.Background()); err != nil && d.syncs.err() != nil { // whatever has ended by now
			return err
		}
	}
	s, err := w.img.takeInventory()
	if err != nil {
		return err
	}
	s.fresh, s.junkEnd = max(s.fresh, w.space.fresh), w.space.junkEnd
	w.space = s
	if err := d.trim(); err != nil && d.syncs.err() != nil {
		return err
	}
	return nil
}
