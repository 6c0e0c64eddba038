package vhd

import (
	"context"
	"errors"
	"fmt"
)

// CompactOptions say how an image is compacted.
type CompactOptions struct {
	// Progress, if it is set, is told now and then how many bytes are done: of the
	// blocks that the image has, each counted once when it is looked at and once
	// when it is in its place. It is called by the goroutine that called Compact,
	// and holds it up while it runs. It must not change the chain.
	Progress func(done, total int64)
}

// Compact makes the file of the disk's leaf as small as it can be without
// changing what the disk reads as. Sectors that read the same without the leaf are
// dropped from it: those that are the same in the images below, and zeros where
// nothing is below. Zeros over a parent's data stay. What can't be told, since an
// image below is damaged or was not opened, stays too. In a disk without a parent,
// only whole blocks of zeros are dropped. A table, or a path to the parent, that came to
// stand among the blocks goes to the front. Then blocks from the end of the file take
// the places that are free in front of them, and the file ends behind the last one.
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
// When Compact returns nil, what was written before is durable, as after Sync. An
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
	if err := c.run(ctx); !errors.Is(err, errLeafChanged) {
		return d.opError(err)
	}
	return nil
}

// errLeafChanged ends a compaction whose image is the leaf no more.
var errLeafChanged = errors.New("another image is the leaf by now")

// compaction is one under way.
type compaction struct {
	disk *Disk
	leaf *leaf
	opts CompactOptions
	comparison

	nsectors int64 // of the disk
	at       int64 // the sector that is looked at next
	looked   int64 // bytes of blocks that were looked at
	toLook   int64 // bytes of all blocks, when it began
	unsaved  int64 // bytes that were moved since the last sync
}

func (d *Disk) newCompaction(opts CompactOptions) (*compaction, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	v, w := d.view(), d.leaf()
	if err := d.canCompact(v); err != nil {
		return nil, err
	}
	return &compaction{
		disk: d, leaf: w, opts: opts, comparison: newComparison(),
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
	if d.opts.IgnoreParentIdentity { // else they were looked at, and only a merge that failed makes them others
		return v.strangeParent()
	}
	return nil
}

// strangeParent is why what is read below the leaf need not be what its own parents
// hold.
func (v *view) strangeParent() error {
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
	if err := c.disk.sync(); err != nil { // some file systems tell their holes only of what is on storage
		return err
	}
	if err := c.dropAll(ctx); err != nil {
		return err
	}
	if err := c.disk.alone(func() error { return c.bringHome(ctx) }); err != nil {
		return err
	}
	blocks, err := c.survey()
	if err != nil {
		return err
	}
	if err := c.moveAll(ctx, blocks); err != nil {
		return err
	}
	if err := c.disk.sync(); err != nil {
		return err
	}
	if err := c.punchAll(ctx, blocks); err != nil {
		return err
	}
	if err := c.disk.alone(c.end); err != nil {
		return err
	}
	c.progress(2 * c.toLook)
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
