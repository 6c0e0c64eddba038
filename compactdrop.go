package vhd

import (
	"context"
	"errors"
	"iter"
)

// dropAll drops from the leaf what reads the same without it.
func (c *compaction) dropAll(ctx context.Context) error {
	for c.at < c.nsectors {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.disk.flushIfLarge(); err != nil {
			return err
		}
		if err := c.dropNext(); err != nil {
			return err
		}
		c.progress(min(c.looked, c.toLook))
	}
	return nil
}

// searchAtOnce is among how many blocks one is looked for that the leaf has,
// while others wait.
const searchAtOnce = 1 << 16

// dropNext looks at the next blocks that the leaf has: those of a window, or of a
// larger one the part that is in the window.
func (c *compaction) dropNext() error {
	d, w := c.disk, c.leaf
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.publishChanges()
	if err := c.goesOn(); err != nil {
		return err
	}
	spb := w.img.sectorsPerBlock
	end := min(c.at/spb+searchAtOnce, w.img.nblocks)
	block := d.view().firstBlock(w.number, c.at/spb, end)
	if c.at = max(c.at, block*spb); block == end {
		return nil
	}
	if w.hasParent() {
		return c.dropWindow()
	}
	return c.dropBlocks()
}

// dropBlocks drops blocks of a disk without a parent that are nothing but zeros.
// Their sectors are not dropped one by one: all of a block is there (W10).
func (c *compaction) dropBlocks() error {
	spb := c.leaf.img.sectorsPerBlock
	first := c.at / spb
	c.at = max((c.at/windowSectors+1)*windowSectors, c.at+spb)
	return c.eachBlock(first, c.at/spb, func(b *leafBlock) error {
		c.looked += spb * SectorSize
		zeros, err := c.isZeros(c.leaf.layer, b.index, b.off, b.bitmap)
		if zeros {
			c.leaf.free(b)
			c.disk.remap(b, 0, spb)
		}
		return err
	})
}

// eachBlock calls f for the blocks from first to end that the leaf has.
func (c *compaction) eachBlock(first, end int64, f func(b *leafBlock) error) error {
	w := c.leaf
	end = min(end, w.img.nblocks)
	for block := first; block < end; block++ {
		if block = c.disk.view().firstBlock(w.number, block, end); block == end {
			break
		}
		b, err := w.block(block)
		if err == nil && b.off != 0 {
			err = f(b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// dropWindow drops the sectors of a differencing disk that the images below have
// too, of the window that is looked at, and the blocks that have none any more.
//
// Who reads through a map from before reads from where a dropped sector was, which
// may be a hole or another block before the read is at its end: it has to look
// twice, as with space that is taken again.
func (c *compaction) dropWindow() error {
	d, spb := c.disk, c.leaf.img.sectorsPerBlock
	window, first, dropped := c.at/windowSectors, c.at/spb, false
	err := c.compare(d.view(), window, func(under mapExtent) error {
		dropped = true
		return c.dropSectors(window, under)
	})
	if dropped {
		d.publishChanges()
		d.reuses.Add(1)
	}
	if err != nil {
		return err
	}
	c.at = (window + 1) * windowSectors
	return c.eachBlock(first, (c.at+spb-1)/spb, func(b *leafBlock) error {
		c.looked += min(spb, windowSectors) * SectorSize
		if !anySet(b.bitmap, 0, c.leaf.img.sectorsOnDisk(b.index)) {
			c.leaf.free(b)
		}
		return nil
	})
}

// dropSectors drops sectors of a window, which under serves from now on.
func (c *compaction) dropSectors(window int64, under mapExtent) error {
	d, w := c.disk, c.leaf
	for under.start < under.end {
		sector, spb := window*windowSectors+int64(under.start), w.img.sectorsPerBlock
		b, err := w.block(sector / spb)
		if err != nil {
			return err
		}
		n := min(int64(under.end-under.start), spb-sector%spb)
		w.clear(b, sector%spb, n)
		next := under.start + inWindow(n)
		d.noteChange(window, under.cut(under.start, next))
		under = under.cut(next, under.end)
	}
	return nil
}

// comparison finds what an image has and need not have. It can be used again, and
// then has its memory already.
type comparison struct {
	view       *view
	top, below mapBuilder
	buf, other []byte

	window  int64       // that is compared
	written *writeMarks // what was written since all was synced; nil: nothing that matters
}

func newComparison(written *writeMarks) comparison {
	return comparison{buf: make([]byte, bulkBuffer), other: make([]byte, bulkBuffer), written: written}
}

// dataOf yields the pieces of a layer's file, from off to end, that are no holes; what is
// there is at diskOff on the disk. Some file systems, such as APFS, call what is not yet on
// storage a hole, so nobody asks about what was written lately.
func (c *comparison) dataOf(l *layer, diskOff, off, end int64) iter.Seq2[int64, int64] {
	if c.written != nil && off < end && c.written.has(diskOff, end-off) {
		return func(yield func(from, to int64) bool) { yield(off, end) }
	}
	return dataOf(l.data, off, end)
}

// isZeros says whether a block of a disk without a parent, whose bitmap is at off,
// reads as zeros.
func (c *comparison) isZeros(l *layer, block, off int64, bitmap []byte) (bool, error) {
	off += l.img.bitmapArea
	for first, n := range presentRuns(bitmap, l.img.sectorsOnDisk(block)) {
		end := min(off+(first+n)*SectorSize, l.img.footerOff) // the last block may be cut off
		data := c.dataOf(l, block*l.img.header.BlockSize+first*SectorSize, off+first*SectorSize, end)
		if _, found, err := l.firstData(c.buf, data); found || err != nil {
			return false, err
		}
	}
	return true, nil
}

// compare calls same, in order, for what the leaf has of a window and reads the
// same without it, with what serves it then. What can't be read without the leaf
// is not the same. Of a writable disk the caller holds the lock.
func (c *comparison) compare(v *view, window int64, same func(under mapExtent) error) error {
	c.view, c.window = v, window
	c.top.errs = nil
	c.top.askLayers(v, window, 0, 1)
	c.top.sort()
	if len(c.top.errs) > 0 {
		return c.top.errs[0]
	}
	if len(c.top.extents) == 0 {
		return nil
	}
	below, cacheable := c.below.build(v, window, 1)
	if !cacheable {
		return below.passing()
	}
	for _, e := range c.top.extents {
		for e.layer != hole && e.start < e.end {
			under, n := below.from(window*windowSectors + int64(e.start))
			end := min(e.end, e.start+inWindow(n))
			if err := c.compareExtent(e.cut(e.start, end), under.cut(e.start, end), same); err != nil {
				return err
			}
			e = e.cut(end, e.end)
		}
	}
	return nil
}

// passing is the first error of a map that asking again may not have.
func (m *blockMap) passing() error {
	for _, err := range *m.errs {
		if !errors.Is(err, ErrCorrupt) {
			return err
		}
	}
	return nil
}

// compareExtent compares sectors that the leaf has, as e, with what serves them
// without it.
func (c *comparison) compareExtent(e, under mapExtent, same func(under mapExtent) error) error {
	each := func(start, end uint16) error {
		if start == end {
			return nil
		}
		return same(under.cut(start, end))
	}
	switch under.layer {
	case failing:
		return nil
	case hole:
		return c.findZeros(e, each)
	}
	return c.findEqual(e, under, each)
}

// findZeros calls each for the sectors of e that are zeros. What is a hole in the
// file is not read.
func (c *comparison) findZeros(e mapExtent, each func(start, end uint16) error) error {
	l := c.view.layers[e.layer]
	at := e.start
	sectorOf := func(off int64) uint16 { return e.start + inWindow((off-e.off)/SectorSize) }
	diskOff := c.window*windowSize + int64(e.start)*SectorSize
	for from, to := range c.dataOf(l, diskOff, e.off, e.off+int64(e.end-e.start)*SectorSize) {
		start := max(at, sectorOf(from))
		if err := each(at, start); err != nil {
			return err
		}
		at = sectorOf(roundUp(to-e.off, SectorSize) + e.off)
		if err := c.readZeros(l, e.cut(start, at), each); err != nil {
			return err
		}
	}
	return each(at, e.end)
}

// readZeros calls each for the sectors of e, which it reads, that are zeros.
func (c *comparison) readZeros(l *layer, e mapExtent, each func(start, end uint16) error) error {
	for ; e.start < e.end; e = e.cut(e.start+c.atOnce(e), e.end) {
		p := c.buf[:int64(c.atOnce(e))*SectorSize]
		if err := l.readData(p, e.off); err != nil {
			return err
		}
		for at := 0; at < len(p); at += len(zeroBytes) {
			for s := range stretches(p[at:min(at+len(zeroBytes), len(p))], SectorSize) {
				if !s.zeros {
					continue
				}
				if err := each(e.start+inWindow((at+s.from)/SectorSize), e.start+inWindow((at+s.to)/SectorSize)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// findEqual calls each for the sectors of e that are the same in under.
func (c *comparison) findEqual(e, under mapExtent, each func(start, end uint16) error) error {
	for e.start < e.end {
		n := c.atOnce(e)
		p, q := c.buf[:int64(n)*SectorSize], c.other[:int64(n)*SectorSize]
		if err := c.view.layers[e.layer].readData(p, e.off); err != nil {
			return err
		}
		if err := c.view.layers[under.layer].readData(q, under.off); err != nil {
			return err
		}
		for from, to := range runsOf(true, p, q) {
			if err := each(e.start+inWindow(from/SectorSize), e.start+inWindow(to/SectorSize)); err != nil {
				return err
			}
		}
		e, under = e.cut(e.start+n, e.end), under.cut(under.start+n, under.end)
	}
	return nil
}

// atOnce is how many sectors of e fit into a buffer.
func (c *comparison) atOnce(e mapExtent) uint16 {
	return inWindow(min(int64(e.end-e.start), int64(len(c.buf))/SectorSize))
}
