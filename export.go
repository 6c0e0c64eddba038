package vhd

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/google/uuid"
)

// ExportOptions say as what a disk is exported.
type ExportOptions struct {
	// Type is that of the VHD which is written. Zero: no VHD, but the disk's
	// content and nothing else.
	Type DiskType

	// Base is the index in Chain, from 1 on, of the image that a Differencing disk
	// is made a child of. It holds what changed since: see [Disk.ChangedExtents].
	Base int

	// Name is where the file of a Differencing disk will stand, as for Create, in a directory that
	// exists: from there the relative path to its parent leads. Empty: beside the parent. Of a disk that
	// OpenChain put together nobody knows where the parent is, and Name is not used.
	Name string

	// BlockSize is that of a Dynamic or Differencing disk: bytes, a power of two
	// from 512 to 256 MiB. Zero: as the leaf has it, or 2 MiB if that has no blocks.
	BlockSize int64

	// Azure makes a fixed disk as Azure takes it: of whole MiB, and at least 20,
	// where zeros are added to the content. Type is Fixed then, or zero, and an empty
	// Creator CreatorWindows, so that qemu-img takes the disk for as large as Azure does.
	Azure bool

	// Sync makes durable what was written before Export returns, by the method Sync
	// of w, which must have one, as *os.File does. Of a regular file, the operating
	// system is asked to begin with that while the rest is copied, where it can be.
	Sync bool

	ID   uuid.UUID // identifier of the VHD; zero: a new one
	Time time.Time // of the VHD's creation; zero: now

	Creator string // of the VHD, as for Create; without one it is fs.ErrInvalid

	// Begin, if it is set, is told how many bytes are about to be written, exactly, before
	// the first of them: the length that has to be announced. Its error ends the export.
	Begin func(size int64) error

	base *int32 // number of the layer that counts instead of Base, which a Snapshot changes; nil: none

	// Progress, if it is set, is told now and then how many bytes of the disk are
	// done, one call at a time, by whatever goroutine. It holds up the copy while it
	// runs.
	Progress func(done, total int64)
}

// Export writes the disk to w, from first to last, and returns how many bytes are
// written: its content, Size bytes, or as a whole VHD of the Type that opts ask
// for, as many as opts.Begin is told. To a stream
// nothing is written twice, and no temporary file is needed. The end of ctx ends it between two pieces, with ctx's error; w's
// errors are returned as they are.
//
// A fixed disk has all of the content, a dynamic one the blocks that an image of
// the chain has any sector of, but for those that are holes in its file. A
// differencing disk has the sectors that changed since Chain()[Base], zeros over
// that image's data among them, and records what a child does that Create makes: its
// identifier, the time of its last modification, its absolute path,
// and the relative one from opts.Name, or its name. Of images that OpenChain got, no absolute path
// is known, and the name may not be either. All have the disk's size, and the layout
// that Create gives images.
//
// What is written to the disk meanwhile may or may not show. Which blocks a VHD has
// is settled when Export begins: those that get their first data later are left
// out, and those that lose it are zeros. So its length is what it was going to
// be, and it is sound, but its content is that of no one moment.
//
// Options that make no sense are [fs.ErrInvalid]. A dynamic or differencing disk
// of more than MaxDynamicSize is ErrUnsupported, as is a parent whose name can't be
// stored as a Windows path. What can't be read, of a parent that was not opened
// for instance, is an error, and never zeros.
//
// To an *os.File that is a regular file, and not open for appending, it writes
// from the file's position on, and leaves the position behind what it wrote: zeros
// become holes, several pieces are under way at a time, and where the kernel can
// copy data from file to file, or share it, it is asked to, but for pieces of less
// than 2 MiB in a VHD that has blocks. What the file holds behind stays, and a VHD
// must not be followed by anything.
// If its file system says that there is surely too little room, nothing is written: ErrNoSpace.
// After an error, more than what is returned may be written, none of which makes a
// VHD, and the position stays.
func (d *Disk) Export(ctx context.Context, w io.Writer, opts ExportOptions) (int64, error) {
	if err := d.usable(); err != nil {
		return 0, err
	}
	syncer, ok := w.(interface{ Sync() error })
	if opts.Sync && !ok {
		return 0, d.explain(fmt.Errorf("%w: Sync for what has no method of that name", fs.ErrInvalid))
	}
	n, err := d.export(ctx, w, opts)
	if err == nil && opts.Sync {
		err = syncer.Sync()
	}
	if err != nil && d.closed.Load() { // not opError: w's errors are not the image's
		err = ErrClosed
	}
	return n, err
}

func (d *Disk) export(ctx context.Context, w io.Writer, opts ExportOptions) (int64, error) {
	p, err := d.planExport(ctx, opts, nil)
	if err != nil {
		return 0, err
	}
	if err := d.notInChain(w); err != nil {
		return 0, err
	}
	t := newFileTarget(w)
	if t != nil {
		if err := p.checkRoom(ctx, t); err != nil {
			return 0, err
		}
	}
	if opts.Begin != nil {
		if err := opts.Begin(p.size); err != nil {
			return 0, err
		}
	}
	if t != nil {
		return p.toFile(ctx, t)
	}
	return p.toStream(ctx, w, p.emit)
}

// ExportSize is how many bytes Export with these options would write now. It reads
// tables and sector bitmaps, and no data; opts.Progress is told how many bytes of the disk it
// has looked at. The errors are those of Export.
//
// An export that begins later may be of another length, if the disk is written to or its
// chain changes. Of a Dynamic disk it may be even if the disk is only read: file systems tell holes
// where nothing was written to space that was reserved, and may tell data once it was read. The
// length that an export has is what [ExportOptions].Begin is told.
func (d *Disk) ExportSize(ctx context.Context, opts ExportOptions) (int64, error) {
	if err := d.usable(); err != nil {
		return 0, err
	}
	p, err := d.planExport(ctx, opts, opts.Progress)
	if err != nil && d.closed.Load() {
		return 0, ErrClosed
	}
	if err != nil {
		return 0, err
	}
	return p.size, nil
}

// ExportBounds is how many bytes Export with these options writes at least, when a
// dynamic or differencing disk has no block, and at most, when it has all of them.
// What has no blocks is as long either way. It reads nothing. The errors are those of
// Export, but that nobody looks whether the blocks fit into a file.
func (d *Disk) ExportBounds(opts ExportOptions) (least, most int64, err error) {
	if err := d.usable(); err != nil {
		return 0, 0, err
	}
	p, err := d.planNoBlocks(opts)
	if err != nil && d.closed.Load() {
		return 0, 0, ErrClosed
	}
	if err != nil {
		return 0, 0, err
	}
	if !p.hasBlocks() {
		return p.sizeWith(0), p.sizeWith(0), nil
	}
	return p.sizeWith(0), p.sizeWith(int64(p.image.tableEntries())), nil
}

// check is what makes no sense for a chain of depth images.
func (o *ExportOptions) check(depth int) error {
	isVHD, hasBlocks := o.Type != 0 || o.Azure, o.Type == Dynamic || o.Type == Differencing
	switch {
	case o.Azure && o.Type != 0 && o.Type != Fixed:
		return fmt.Errorf("%w: a %v disk for Azure, which takes fixed ones", fs.ErrInvalid, o.Type)
	case o.Type == Differencing && depth == 1:
		return fmt.Errorf("%w: a differencing disk of one that has no parent", fs.ErrInvalid)
	case o.Type == Differencing && (o.Base < 1 || o.Base >= depth):
		return fmt.Errorf("%w: base %d in a chain of %d images, want a parent from 1 to %d", fs.ErrInvalid, o.Base, depth, depth-1)
	case o.Type != Differencing && o.Base != 0:
		return fmt.Errorf("%w: base %d of what is no differencing disk", fs.ErrInvalid, o.Base)
	case o.BlockSize != 0 && !hasBlocks:
		return fmt.Errorf("%w: blocks of %d bytes for what has none", fs.ErrInvalid, o.BlockSize)
	case (o.ID != uuid.UUID{} || !o.Time.IsZero() || o.Creator != "") && !isVHD:
		return fmt.Errorf("%w: an identifier, a time, or a creator for what is no VHD", fs.ErrInvalid)
	}
	return nil
}
