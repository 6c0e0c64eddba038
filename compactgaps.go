package vhd

import (
	"context"
	"slices"
)

// closeGaps closes gaps that are too small for a block, and publishes what was moved. After
// a failure blocks are left at the end, and the places that they had are free.
func (c *compaction) closeGaps(ctx context.Context) error {
	s, blocks, err := c.beginSliding()
	if err != nil || len(blocks) == 0 {
		return err
	}
	if err := c.keep(c.slide(ctx, s, blocks)); err != nil {
		_, _ = c.survey() // so that others may have what is free
		return err
	}
	if blocks, err = c.survey(); err != nil {
		return err
	}
	if err := c.keep(c.moveAll(ctx, blocks)); err != nil {
		return err
	}
	return c.disk.sync()
}

// beginSliding publishes what was moved, and finds out which blocks have to slide, in the
// order of the file. Until the next survey nobody else gets what they leave.
func (c *compaction) beginSliding() (s sliding, blocks []placedBlock, err error) {
	err = c.disk.alone(func() error {
		all, err := c.takeStock()
		if err != nil {
			return err
		}
		w := c.leaf
		offs := offsOf(all)
		taken, err := w.img.takenByOthers(offs)
		if err != nil {
			return err
		}
		now := arrangement{disk: c.disk, img: w.img, offs: offs, taken: taken, footerOff: w.img.footerOff}
		var ok bool
		if s, ok = now.planSliding(); !ok {
			return nil
		}
		if err := now.roomToSlide(&s); err != nil {
			return c.keep(err)
		}
		blocks, s.places = apart(all, offs, s.places)
		w.space.freeSlots, w.space.sliding = nil, s.places[0]
		return nil
	})
	return s, blocks, err
}

// apart leaves out the blocks that are in one of the places, and those places.
func apart(blocks []placedBlock, offs, places []int64) ([]placedBlock, []int64) {
	isIn := func(sorted []int64, off int64) bool {
		_, found := slices.BinarySearch(sorted, off)
		return found
	}
	others := slices.DeleteFunc(slices.Clone(blocks), func(b placedBlock) bool { return isIn(places, b.off()) })
	return others, slices.DeleteFunc(places, func(off int64) bool { return isIn(offs, off) })
}

// slide moves blocks, in the order of the file, to the places: the first run to the end, and
// blocks[run+i] to places[i]. That ends in front of where blocks[i+1] was, so only blocks up to
// blocks[i] stood in it. They were moved a run before, and that is durable (W6): a sync
// comes once in every run.
func (c *compaction) slide(ctx context.Context, s sliding, blocks []placedBlock) error {
	run := min(s.run, len(blocks))
	away, err := c.moveToEnd(ctx, blocks[:run])
	if err != nil {
		return err
	}
	for i, b := range slices.Concat(blocks[run:], away) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if i%run == 0 { // what the run before left is free only then
			if err := c.disk.sync(); err != nil {
				return err
			}
		}
		if _, err := c.moveTo(b, func(int64) (int64, bool, error) { return s.places[i], true, nil }); err != nil {
			return err
		}
		c.tellMoved()
	}
	return nil
}

// moveToEnd moves blocks behind all others, and says where they are then.
func (c *compaction) moveToEnd(ctx context.Context, blocks []placedBlock) ([]placedBlock, error) {
	away := slices.Clone(blocks)
	for i, b := range blocks {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		_, err := c.moveTo(b, func(int64) (int64, bool, error) {
			c.leaf.space.planned = int64(len(blocks) - i)
			off, _, err := c.disk.allocate()
			away[i] = placeBlock(b.index(), batEntryAt(off))
			return off, err == nil, err
		})
		if err != nil {
			return nil, err
		}
	}
	return away, nil
}
