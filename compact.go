package vhd

import (
	"context"
	"errors"
	"fmt"
)

// CompactOptions say how an image is compacted.
type CompactOptions struct {
	// Progress, if it is set, is told now and then how many bytes are done: of the
	// blocks that the image has, each counted once when it is looked at, and once
	// more as blocks are moved: those that stay count when all is done. It is called
	// by the goroutine that called Compact,
	// and holds it up while it runs. It must not change the chain.
	Progress func(done, total int64)
}

// Compact makes the file of the disk's leaf as small as it can be without
// changing what the disk reads as. Sectors that read the same without the leaf are
// dropped from it: those that are the same in the images below, and zeros where
// nothing is below. Zeros over a parent's data stay. What can't be told, since an
// image below is damaged or was not opened, stays too. In a disk without a parent,
// only whole blocks of zeros are dropped. A table, a header or a path to the parent that came to
// stand among the blocks goes to the front, unless the file would be longer for it, or the file
// system says that there is no space to make room there. Then blocks from the end of the file take
// the places that are free in front of them, and the file ends behind the last one.
// Where gaps are left that are too small for a block, and take a block's bytes or more
// together, the blocks behind them slide to the front. Meanwhile the file grows by as much
// as one in sixteen of its blocks takes, but by 64 MiB at the most, or by one block.
//
// Space that a file system inside the disk has freed is not known here: see
// [Disk.WriteZeroes]. Files of the operating system's get holes, where it can make
// some, under what the leaf does not have.
//
// Others may use the disk meanwhile. Writes, and reads of parts of the disk that
// were not read lately, wait while one block is looked at or moved, or 2 MiB of a
// larger one in a differencing disk. If something has to go to the front, they wait once for
// all blocks that are in its place: as much as the table and the paths take, rounded up to
// blocks. Where they write, the file may be larger in the
// end than it need be. A Snapshot ends it, without an error: the image that was the
// leaf is not written to any more.
//
// When Compact returns nil, what was written before is durable, as after Sync. The images
// below are synced before anything is dropped, since a program that was killed may have
// written to them. That there was no space for what goes to the front, or for sliding, is
// told when all the rest is done. An
// error and the end of ctx leave the disk as usable as it was, unless the error
// matches ErrBroken; what was dropped and moved until then remains so, and the rest
// is done by the next call. After a crash the image opens, and reads as it did.
//
// The specification forbids to compact an image that belongs to a machine in saved
// state, and a fixed disk has no blocks: ErrUnsupported. A disk that is not open for
// writing is ErrReadOnly. With a parent whose identifier is another, as
// [Options].IgnoreParentIdentity allows, nobody knows what the right one holds:
// ErrParentMismatch.
func (d *Disk) Compact(ctx context.Context, opts CompactOptions) error {
	if err := d.writable(0, 0); err != nil {
		return err
	}
	end, err := d.beginChange(ctx)
	if err != nil {
		return err
	}
	defer end()
	c, err := d.newCompaction(opts)
	if err != nil {
		return d.explain(err)
	}
	defer d.marks.Store(nil)
	err = c.run(ctx)
	switch {
	case errors.Is(err, errLeafChanged):
		return nil
	case err == nil || isFull(err) || ctx.Err() != nil: // after a failure it might make things worse
		err = joined(err, c.keepTime())
	}
	return d.opError(err)
}

// errLeafChanged ends a compaction whose image is the leaf no more.
var errLeafChanged = errors.New("another image is the leaf by now")

// compaction is one under way.
type compaction struct {
	disk *Disk
	leaf *leaf
	opts CompactOptions
	comparison

	nsectors int64        // of the disk
	at       int64        // the sector that is looked at next
	looked   int64        // bytes of blocks that were looked at
	toLook   int64        // bytes of all blocks, when it began
	moved    int64        // bytes of blocks that were moved
	unsaved  int64        // those since the last sync
	timeBack func() error // gives the file the time back that it had when it began; nil: not yet known
	waits    bool         // what would come to the front stays, as the file would be longer for it
	noSpace  error        // for what takes some before it gives some back
}

func (d *Disk) newCompaction(opts CompactOptions) (*compaction, error) {
	d.mu.Lock() // who writes is done, or will note it
	defer d.mu.Unlock()
	v, w := d.view(), d.leaf()
	if err := d.canCompact(v); err != nil {
		return nil, err
	}
	written := newWriteMarks(v.size)
	d.marks.Store(written)
	return &compaction{
		disk: d, leaf: w, opts: opts, comparison: newComparison(written),
		nsectors: v.size / SectorSize, toLook: w.space.nallocated * w.img.header.BlockSize,
	}, nil
}

// canCompact is why the leaf can't be compacted.
func (d *Disk) canCompact(v *view) error {
	switch m := v.top().img; {
	case m.footer.Type == Fixed:
		return fmt.Errorf("%w: a fixed disk has no blocks, and can't be compacted", ErrUnsupported)
	case m.footer.SavedState != 0:
		return fmt.Errorf("%w: it belongs to a machine in saved state, and must not be compacted", ErrUnsupported)
	}
	return d.strangeParent(v)
}

// strangeParent is why what is read below the leaf need not be what its own parents
// hold.
func (d *Disk) strangeParent(v *view) error {
	if !d.opts.IgnoreParentIdentity { // they were looked at, and only a merge that failed makes them others
		return nil
	}
	for depth := 1; depth < len(v.chain); depth++ {
		child, parent := v.at(depth-1).img, v.at(depth).img
		if want, got := child.header.ParentID, parent.footer.ID; got != want {
			return fmt.Errorf("%w: %s has %v, and %s records %v: what reads the same with it may read otherwise with the right one",
				ErrParentMismatch, parent.name, got, child.name, want)
		}
	}
	return nil
}

// run does all of it. What is dropped is published before its space is taken,
// and what is moved before that is given back (W6).
func (c *compaction) run(ctx context.Context) error {
	if err := c.disk.sync(); err != nil { // what is written from here on is noted
		return err
	}
	if err := c.noteTime(); err != nil {
		return err
	}
	if err := c.disk.syncBelow(); err != nil {
		return err
	}
	if err := c.dropAll(ctx); err != nil {
		return err
	}
	if err := c.keep(c.disk.alone(func() error { return c.bringHome(ctx) })); err != nil {
		return err
	}
	blocks, err := c.moveToFront(ctx)
	if err == nil && c.waits {
		blocks, err = c.bringHomeLate(ctx)
	}
	if err != nil {
		return err
	}
	if err := c.punchAll(ctx, blocks); err != nil {
		return err
	}
	if err := c.disk.alone(c.end); err != nil {
		return err
	}
	c.progress(2 * c.toLook)
	return c.noSpace
}

// noteTime notes when the file was written to last, for keepTime.
func (c *compaction) noteTime() error {
	return c.disk.alone(func() (err error) {
		c.timeBack, err = c.disk.keepLeafTime()
		return err
	})
}

// keepTime gives the file that time back, unless somebody has written to the disk meanwhile.
func (c *compaction) keepTime() error {
	if c.timeBack == nil {
		return nil
	}
	return c.disk.alone(func() error {
		if c.disk.leaf() != c.leaf || c.written.count() > 0 {
			return nil
		}
		return c.timeBack()
	})
}

// bringHomeLate asks once more whether to bring home what stands among the blocks, by the
// file as it is when nothing else can be done, and moves blocks again.
func (c *compaction) bringHomeLate(ctx context.Context) ([]placedBlock, error) {
	err := c.disk.alone(func() error {
		if err := c.end(); err != nil {
			return err
		}
		return c.bringHome(ctx)
	})
	if err := c.keep(err); err != nil {
		return nil, err
	}
	return c.moveToFront(ctx)
}

// moveToFront moves blocks as far to the front as they can go, and publishes that. It returns
// all of them.
func (c *compaction) moveToFront(ctx context.Context) ([]placedBlock, error) {
	blocks, err := c.survey()
	if err == nil {
		err = c.moveAll(ctx, blocks)
	}
	if err == nil {
		err = c.closeGaps(ctx)
	}
	return blocks, err
}

// keep keeps the first error that tells of no space until the rest is done, which gives some
// back. It returns any other.
func (c *compaction) keep(err error) error {
	if err == nil || !isFull(err) || c.disk.usable() != nil {
		return err
	}
	if c.noSpace == nil {
		c.noSpace = err
	}
	return nil
}

// progress tells how much is done. Blocks that came meanwhile don't count.
func (c *compaction) progress(done int64) {
	if c.opts.Progress != nil {
		c.opts.Progress(done, 2*c.toLook)
	}
}

// goesOn is why nothing more can be done. The disk's lock is held.
func (c *compaction) goesOn() error {
	if err := c.disk.usable(); err != nil {
		return err
	}
	if c.disk.leaf() != c.leaf {
		return errLeafChanged
	}
	return nil
}

// end cuts off what is behind the last block, however little it is, while nobody else is
// at work.
func (c *compaction) end() error {
	d, w := c.disk, c.leaf
	if err := c.goesOn(); err != nil {
		return err
	}
	if err := d.settle(); err != nil {
		return err
	}
	s, err := w.img.takeInventory()
	if err != nil || footerAt(s.next) >= w.img.footerOff {
		return err
	}
	if err := d.endFileAt(footerAt(s.next)); err != nil {
		return err
	}
	s.fresh = w.img.footerOff + footerSize
	w.space = s
	return nil
}
