package vhd

import (
	"context"
	"fmt"
	"io/fs"
)

// resizing is a change of a disk's size on its way. The size counts that stands
// in the footer at the file's end, so it changes with one write, and all that the
// new size needs is durable before:
//
//   - a disk that grows has a table that is large enough, without anything behind
//     the old end in it, and reads as zeros there;
//   - a disk that shrinks gives back what it does not need any more only when
//     the new size is durable.
//
// The locks of syncs and of the disk are held throughout.
type resizing struct {
	disk     *Disk
	from, to int64
	opts     ResizeOptions
}

// setSize makes the disk, and its leaf, that large.
func (d *Disk) setSize(ctx context.Context, size int64, opts ResizeOptions) error {
	if err := d.writable(0, 0); err != nil {
		return err
	}
	return d.alone(func() error {
		r := &resizing{disk: d, from: d.view().size, to: size, opts: opts}
		return r.begin(ctx)
	})
}

// trySize is why setSize would leave the disk as it is.
func (d *Disk) trySize(ctx context.Context, size int64, opts ResizeOptions) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if err := d.usable(); err != nil {
		return err
	}
	r := &resizing{disk: d, from: d.view().size, to: size, opts: opts}
	if err := r.check(); err != nil || r.to == r.from {
		return err
	}
	if err := r.checkLoss(ctx); err != nil {
		return err
	}
	if err := r.checkRoom(ctx); err != nil {
		return err
	}
	r.report(r.total())
	return nil
}

func (r *resizing) begin(ctx context.Context) error {
	if err := r.check(); err != nil || r.to == r.from {
		return err
	}
	if err := r.run(ctx); err != nil {
		return err
	}
	r.report(r.total())
	return nil
}

// check is why the disk can't get that size.
func (r *resizing) check() error {
	v := r.disk.view()
	f := v.top().img.footer
	limit := int64(MaxDynamicSize)
	if f.Type == Fixed {
		limit = maxGrown
	}
	switch {
	case r.to <= 0 || r.to%SectorSize != 0:
		return fmt.Errorf("%w: a disk of %d bytes, want a positive multiple of 512", fs.ErrInvalid, r.to)
	case r.to > limit && r.to > r.from: // others may have made it larger
		return fmt.Errorf("%w: a %v disk of %d bytes, want at most %d", ErrUnsupported, f.Type, r.to, limit)
	case f.SavedState != 0:
		return fmt.Errorf("%w: another size for an image that belongs to a machine in saved state", ErrUnsupported)
	case r.to > r.from && v.parentErr != nil:
		return v.parentErr
	case r.looksBelow():
		return r.disk.strangeParent(v)
	}
	return nil
}

// looksBelow says that what is done depends on what the parents hold: where zeros have to
// be data, or whether something is lost.
func (r *resizing) looksBelow() bool {
	return r.to > r.from || r.to < r.from && !r.opts.AllowLoss
}

func (r *resizing) run(ctx context.Context) error {
	d := r.disk
	if err := d.settle(); err != nil {
		return err
	}
	giveTimeBack, err := d.keepLeafTime()
	if err != nil {
		return err
	}
	if err := r.change(ctx); err != nil || r.opts.AllowLoss && r.to < r.from {
		return err
	}
	return giveTimeBack()
}

// change does it, or leaves the disk as it was.
func (r *resizing) change(ctx context.Context) error {
	d := r.disk
	if err := r.checkLoss(ctx); err != nil {
		return err
	}
	if err := r.checkRoom(ctx); err != nil {
		return err
	}
	if r.to > r.from {
		if err := d.syncBelow(); err != nil { // what is zeros there is not written
			return err
		}
	}
	if w := d.leaf(); w != nil && w.img.batmap != nil {
		if err := d.clearBatmap(); err != nil {
			return err
		}
		if err := d.syncs.fsync(); err != nil {
			return err
		}
	}
	switch {
	case d.leaf() == nil:
		return r.resizeFixed()
	case r.to > r.from:
		return r.grow(ctx)
	}
	return r.shrink()
}

// footer is the leaf's, with the new size.
func (r *resizing) footer() Footer {
	f := r.disk.view().top().img.footer
	f.CurrentSize, f.Geometry = r.to, GeometryOf(r.to)
	return f
}

// nblocks is how many blocks the new size needs.
func (r *resizing) nblocks() int64 {
	blockSize := r.disk.leaf().img.header.BlockSize
	return (r.to + blockSize - 1) / blockSize
}

// total is how many bytes are between the two sizes.
func (r *resizing) total() int64 { return max(r.to-r.from, r.from-r.to) }

func (r *resizing) report(done int64) {
	if r.opts.Progress != nil {
		r.opts.Progress(done, r.total())
	}
}

// tidy gives back what the new size, which is durable, does not need. What can't be
// given back now is when the disk is closed.
func (r *resizing) tidy() error {
	if err := r.disk.settle(); err != nil && r.disk.syncs.err() != nil {
		return err
	}
	return nil
}

// checkLoss looks for anything but zeros in what falls off, if that may not be lost.
func (r *resizing) checkLoss(ctx context.Context) error {
	if r.to > r.from || r.opts.AllowLoss {
		return ctx.Err()
	}
	v := r.disk.view()
	if v.windows == nil {
		return r.checkLossIn(ctx, v.top(), r.to, r.to, r.total())
	}
	var builder mapBuilder
	for off := r.to; off < r.from; {
		window := off / windowSize
		m, _ := builder.build(v, window, 0)
		for i := m.find(int(off-window*windowSize) / SectorSize); i < m.nextents() && off < r.from; i++ {
			e, err := m.piece(i, v, window*windowSize, off, r.from)
			if err == nil && e.Depth != Hole {
				err = r.checkLossIn(ctx, v.layers[e.layer], off, e.FileOffset, e.Length)
			}
			if err != nil {
				return err
			}
			off += e.Length
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		r.report(off - r.to)
	}
	return nil
}

// checkLossIn looks at n bytes at off of the disk, which a layer has at fileOff.
func (r *resizing) checkLossIn(ctx context.Context, l *layer, off, fileOff, n int64) error {
	buf := make([]byte, len(zeroBytes))
	for piece := fileOff; piece < fileOff+n; piece += windowSize {
		at, found, err := l.firstData(buf, dataOf(l.data, piece, min(piece+windowSize, fileOff+n)))
		if err != nil {
			return err
		}
		if found {
			return fmt.Errorf("%w: the first byte that is not zero is at %d of the disk, and the new size is %d", ErrDataLoss, off+at-fileOff, r.to)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}
