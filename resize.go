package vhd

import "context"

// ResizeOptions say how a disk gets another size.
type ResizeOptions struct {
	// AllowLoss lets a disk be made smaller although what falls off does not read
	// as zeros. That content is lost.
	AllowLoss bool

	// DryRun does nothing but look whether the disk would get that size. The disk may
	// be open for reading only.
	DryRun bool

	// Progress, if it is set, is told now and then, and at the end, how many of the
	// bytes between the two sizes have been looked at, or made zeros. It holds up the
	// work while it runs, and must not use the disk, which waits for it.
	Progress func(done, total int64)
}

// Resize gives the disk another size: bytes, a positive multiple of SectorSize.
// What comes into being behind its old end reads as zeros, whatever the file has
// there from earlier and whatever a larger parent holds. Only the leaf changes. The
// sizes of parents and children may differ from it: a parent's content ends where
// the parent does, and a child that has this image as its parent keeps the size
// that it has.
//
// A disk is made smaller only if all that falls off reads as zeros, or with
// AllowLoss: the error matches ErrDataLoss, and says where there is data. Space
// that the file does not need any more is given back.
//
// The current size and the geometry change, and the size of the table of blocks;
// the original size stays, as that is the size when the disk was made. Nothing
// is written if the disk has that size already. After a crash the disk has the one
// size or the other, and once Resize has returned nil the new one.
//
// Other calls wait meanwhile. A read that has begun before gets zeros for what is
// behind the disk's end by then; a write there gets ErrOutOfRange, and an Export
// or Import that reaches it fails.
//
// When ctx ends, or with an error, the disk has the size that it had, unless the
// error matches ErrBroken, or is about a fixed disk that is smaller already, and
// whose file could not be cut off behind it. A size that is no positive multiple of
// SectorSize is [fs.ErrInvalid]; a disk that is not open for writing, ErrReadOnly. An
// image that belongs to a machine in saved state is ErrUnsupported, as is a dynamic or
// differencing disk of more than MaxDynamicSize. A differencing disk that was opened
// without its parents can't be made larger, since nobody knows what they hold:
// ErrParentNotFound. One whose parent has another identifier, as
// [Options].IgnoreParentIdentity allows, is only made smaller, and with AllowLoss, for the
// same reason: ErrParentMismatch. That the file system has too little room for a larger
// table, or for zeros over what the parents hold, where it can tell, is ErrNoSpace; a fixed
// disk takes none where files have holes.
func (d *Disk) Resize(ctx context.Context, size int64, opts ResizeOptions) error {
	end, err := d.beginChange(ctx)
	if err != nil {
		return err
	}
	defer end()
	if opts.DryRun {
		return d.opError(d.trySize(ctx, size, opts))
	}
	return d.opError(d.setSize(ctx, size, opts))
}
