package main

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/go-vhd/vhd"
)

// tryOut is why the disk would not get the new size.
func (r *resized) tryOut(ctx context.Context, d *vhd.Disk, allowLoss bool, progress func(done, total int64)) error {
	footer := d.Chain()[0].Footer()
	switch {
	case r.Size <= 0:
		return fmt.Errorf("%w: a disk of %d bytes, want a positive multiple of 512", fs.ErrInvalid, r.Size)
	case footer.Type != vhd.Fixed && r.Size > vhd.MaxDynamicSize:
		return fmt.Errorf("%w: a %v disk of %d bytes, want at most %d", vhd.ErrUnsupported, footer.Type, r.Size, int64(vhd.MaxDynamicSize))
	case footer.SavedState != 0:
		return fmt.Errorf("%w: another size for an image that belongs to a machine in saved state", vhd.ErrUnsupported)
	case r.Size >= r.OldSize || allowLoss:
		return ctx.Err()
	}
	for e, err := range d.Extents(r.Size, r.OldSize-r.Size) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && e.Depth != vhd.Hole {
			err = r.wouldLose(ctx, d, e)
		}
		if err != nil {
			return err
		}
		if progress != nil {
			progress(e.Offset+e.Length-r.Size, r.OldSize-r.Size)
		}
	}
	return nil
}

// wouldLose is where there is data, in a piece of the disk that would fall off.
func (r *resized) wouldLose(ctx context.Context, d *vhd.Disk, e vhd.Extent) error {
	buf := make([]byte, min(e.Length, 1<<20))
	for off := e.Offset; off < e.Offset+e.Length; off += int64(len(buf)) {
		p := buf[:min(int64(len(buf)), e.Offset+e.Length-off)]
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := d.ReadAt(p, off); err != nil {
			return err
		}
		for i, b := range p {
			if b != 0 {
				return fmt.Errorf("%w: the first byte that is not zero is at %d of the disk, and the new size is %d", vhd.ErrDataLoss, off+int64(i), r.Size)
			}
		}
	}
	return nil
}
