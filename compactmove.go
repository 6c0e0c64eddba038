package vhd

import (
	"cmp"
	"context"
	"os"
	"slices"
)

// survey publishes what was dropped and finds out where blocks may be put. It
// returns all blocks, in the order of the file.
func (c *compaction) survey() (blocks []placedBlock, err error) {
	err = c.disk.alone(func() error {
		blocks, err = c.takeStock()
		return err
	})
	return blocks, err
}

func (c *compaction) takeStock() ([]placedBlock, error) {
	d, w := c.disk, c.leaf
	if err := c.goesOn(); err != nil {
		return nil, err
	}
	if err := d.flush(heldLock{}); err != nil {
		return nil, err
	}
	s, offs, taken, err := w.img.takeStock()
	if err != nil {
		return nil, err
	}
	s.freeSlots = w.img.slotsInFront(offs, taken)
	s.fresh, s.reserved, s.junkEnd = max(s.fresh, w.space.fresh), w.space.reserved, w.space.junkEnd
	w.space = s
	blocks, err := w.img.placedBlocks(w.img.mostBlocks())
	slices.Sort(blocks)
	return blocks, err
}

// slotsInFront are all places in front of the last block where one could be put,
// the last first.
func (m *Image) slotsInFront(offs []int64, taken []span) []int64 {
	aligned := m.areAligned(offs)
	var slots []int64
	for from, to := range m.freeSpace(offs, taken) {
		slots = m.appendPlaces(slots, from, to, aligned)
	}
	slices.Reverse(slots)
	return slots
}

// saveEvery is after how many moved bytes they are published, so that a crash does
// not undo all.
const saveEvery = 256 << 20

// moveAll moves the last block of the file into the first place that is free, and
// so on until none is free in front of a block.
func (c *compaction) moveAll(ctx context.Context, blocks []placedBlock) error {
	for _, b := range slices.Backward(blocks) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.save(); err != nil {
			return err
		}
		more, err := c.moveDown(b)
		if !more || err != nil {
			return err
		}
		c.tellMoved()
	}
	return nil
}

// save publishes what was moved, when it is much.
func (c *compaction) save() error {
	if c.unsaved < saveEvery {
		return c.disk.flushIfLarge()
	}
	c.unsaved = 0
	return c.disk.sync()
}

// moveDown moves a block to a place in front of where it is. It says whether there
// was one. A block that is somewhere else by now stays there.
func (c *compaction) moveDown(at placedBlock) (more bool, err error) {
	return c.moveTo(at, func(off int64) (int64, bool, error) {
		slot, ok := c.leaf.slotBefore(off)
		return slot, ok, nil
	})
}

// moveTo moves a block to the place that find has for one at an offset, and says whether
// there was one.
func (c *compaction) moveTo(at placedBlock, find func(off int64) (int64, bool, error)) (more bool, err error) {
	d, w := c.disk, c.leaf
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.publishChanges()
	if err := c.goesOn(); err != nil {
		return false, err
	}
	b, err := w.block(at.index())
	if err != nil || b.off != at.off() {
		return true, err
	}
	off, ok, err := find(b.off)
	if !ok || err != nil {
		return false, err
	}
	return true, c.moveBlock(b, off)
}

// moveBlock moves a block to off, which was allocated for it.
func (c *compaction) moveBlock(b *leafBlock, off int64) error {
	w := c.leaf
	if err := c.copyBlock(b, off); err != nil {
		w.release(off)
		return inFile(w.img.name, inPart("data", off, err))
	}
	w.move(b, off)
	for first, n := range presentRuns(b.bitmap, w.img.sectorsPerBlock) {
		c.disk.remap(b, first, n)
	}
	c.unsaved += w.img.header.BlockSize
	c.moved += w.img.header.BlockSize
	return nil
}

// tellMoved tells how much is done. Some blocks are moved twice.
func (c *compaction) tellMoved() { c.progress(c.toLook + min(c.moved, c.toLook)) }

// slotBefore takes a free place in front of off: the first in the file, unless
// others gave places back meanwhile.
func (w *leaf) slotBefore(off int64) (slot int64, ok bool) {
	slots := w.space.freeSlots
	if n := len(slots); n > 0 && slots[n-1] >= off {
		slices.SortFunc(slots, func(x, y int64) int { return cmp.Compare(y, x) })
	}
	n := len(slots)
	if n == 0 || slots[n-1] >= off {
		return 0, false
	}
	w.space.freeSlots = slots[:n-1]
	return slots[n-1], true
}

// copyBlock copies the data of a block to that of one at off, where nobody can
// reach it yet. Of a child that is the sectors that are there. Without a parent all
// are, for those who don't look at bitmaps, and what was in the new place is
// overwritten with zeros too.
func (c *compaction) copyBlock(b *leafBlock, off int64) error {
	w := c.leaf
	if !w.hasParent() {
		return c.copySectors(b, off, 0, w.img.sectorsPerBlock)
	}
	for first, n := range presentRuns(b.bitmap, w.img.sectorsPerBlock) {
		if err := c.copySectors(b, off, first, n); err != nil {
			return err
		}
	}
	return nil
}

// copySectors copies n sectors of a block to those of one at off. Holes stay such.
func (c *compaction) copySectors(b *leafBlock, off, first, n int64) error {
	w := c.leaf
	n *= SectorSize
	from, to := w.dataOff(b, first), off+w.img.bitmapArea+first*SectorSize
	at := from
	for data, end := range c.dataOf(w.layer, b.index*w.img.header.BlockSize+first*SectorSize, from, from+n) {
		if err := zeroRange(w.file, to+at-from, data-at); err != nil {
			return err
		}
		if err := c.copyData(to+data-from, data, end-data); err != nil {
			return err
		}
		at = end
	}
	return zeroRange(w.file, to+at-from, from+n-at)
}

// copyData copies n bytes of the leaf's file to another place in it.
func (c *compaction) copyData(to, from, n int64) error {
	f := c.leaf.file
	if own, ok := f.(*os.File); ok && n >= kernelCopyFrom {
		defer beginSync(own, to, n) // while the next block is copied
		moved := int64(copyInKernel(own, to, own, from, int(n)))
		to, from, n = to+moved, from+moved, n-moved
	}
	for n > 0 {
		p := c.buf[:min(n, int64(len(c.buf)))]
		if err := readFull(f, p, from); err != nil {
			return err
		}
		if _, err := writeFull(f, p, to); err != nil {
			return err
		}
		to, from, n = to+int64(len(p)), from+int64(len(p)), n-int64(len(p))
	}
	return nil
}

// punchAll punches holes where blocks of a child hold long runs of sectors that
// are not there. Blocks of which the file does not say so yet are left as they are.
func (c *compaction) punchAll(ctx context.Context, blocks []placedBlock) error {
	if !c.leaf.hasParent() {
		return nil
	}
	for _, b := range blocks {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.punchBlock(b.index()); err != nil {
			return err
		}
	}
	return nil
}

func (c *compaction) punchBlock(index int64) error {
	d, w := c.disk, c.leaf
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := c.goesOn(); err != nil {
		return err
	}
	b, err := w.block(index)
	if err == nil && b.off != 0 && !b.flushing && w.dirty[index] == nil {
		punchAbsent(w.file, w.dataOff(b, 0), b.bitmap, w.img.sectorsPerBlock)
	}
	return err
}
