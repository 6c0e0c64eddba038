// Package vhd reads, writes and makes Microsoft VHD disk images, differencing
// disks above all: one base image, many small children that share it. A child
// holds only what changed, and names its parent by identifier and path.
//
// One idea carries the package: a [Disk] is a chain of [Image]s, leaf first. An
// Image is one .vhd file. What is done to content is a method of Disk; what
// describes one file is a method of Image.
//
// [Open] opens a child and the parents that it needs. Sectors that the child
// does not hold are read from the nearest parent that does; writes stay in the
// child. [Create] makes images, [Disk.Snapshot] makes a child of an open disk and
// goes on in it, [Disk.Resize] makes a disk larger or smaller. [Disk.Rebase] gives a
// disk another parent, [RebaseTree] finds the parents of a tree that was moved, and
// [Rename] moves an image and tells its children. [Disk.Export] writes a disk anywhere in one pass: as raw bytes, as
// one image without parents, or as a child of any image below with what changed
// since. [Disk.Import] copies raw bytes in. [Disk.Merge] folds images of the chain
// into one below them, [Disk.Compact] drops from the leaf what reads the same
// without it. [Inspect] looks at one file and follows nothing, [Scan] at all images in a
// folder. [Check] tells of all
// that is wrong with an image, also with one that Open refuses; [Repair] mends what
// needs no guessing, and [UndoRepair] takes it back.
//
// # What is promised
//
// When a writable disk's program, machine or power ends at any moment:
//
//   - P1: What was written before [Disk.Sync] or [Disk.Close] returned nil is
//     durable and reads back.
//   - P2: A sector written since is wholly old or wholly new. No other sector
//     changes, ever.
//   - P3: The image opens: read-only without being changed, and writable after
//     recovering by itself. No parent is changed by a byte.
//   - P4: Writes of several sectors are not atomic together, as on any disk.
//
// This rests on assumptions about what is below: a write of 512 bytes is atomic
// and harms no neighbour; fsync is honest; what was not synced persists in any
// subset and order; space of a file that was never written reads as zeros. A
// device that garbles a sector is out of scope.
//
// # What is not trusted
//
// Every number and every path in a file. Structures are checked before they are
// used, nothing is allocated on their word alone, and parents are opened only
// inside the directory that holds the image, unless [Options].Root says
// otherwise.
//
// The terms and the layouts are those of the "Virtual Hard Disk Image Format
// Specification", version 1.0, October 2006.
package vhd

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// Disk is the content of a chain of images. It is safe for concurrent use. Like
// one of a file, a read that runs beside a write of the same bytes may get some
// of the old and some of the new.
type Disk struct {
	opts     Options // as it was opened with
	lower    bool    // it is a lowerWriter's
	nameless bool    // what its images are called says not where they are
	current  atomic.Pointer[view]
	cache    *cache
	syncs    *barrier // of a writable disk

	// mu is held shared by overwrites of sectors that the leaf has and by builders
	// of block maps, exclusively by all that changes who serves a sector.
	// Readers that find their block map don't take it.
	mu sync.RWMutex

	// reuses counts the times that space which was freed became free to be
	// taken: who reads through a map that is older than that reads again.
	reuses atomic.Uint64

	// changing is had by who changes the chain or moves blocks: one at a time.
	changing chan struct{}
	// depths is held by who puts an image on top or relies on where one is in the chain.
	depths sync.Mutex
	marks  atomic.Pointer[writeMarks] // who merges or compacts the leaf wants to know what is written; nil: nobody does

	down   atomic.Pointer[error] // what every call gets once the disk is closed or broken
	closed atomic.Bool
}

// Size is the size of the disk in bytes, a multiple of SectorSize.
func (d *Disk) Size() int64 { return d.view().size }

// Chain returns the disk's images, leaf first.
func (d *Disk) Chain() []*Image {
	v := d.view()
	chain := make([]*Image, len(v.chain))
	for depth := range chain {
		chain[depth] = v.at(depth).img
	}
	return chain
}

// ReadAt implements [io.ReaderAt]. Offset and length need not be whole sectors.
// At the end of the disk the error is io.EOF.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	size := d.Size()
	switch err := d.usable(); {
	case err != nil:
		return 0, err
	case off < 0:
		return 0, d.outOfRange(off, int64(len(p)))
	case len(p) == 0:
		return 0, nil
	case off >= size:
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > size-off {
		p, end = p[:size-off], io.EOF
	}
	n, err := d.read(p, off)
	if err != nil {
		return n, d.opError(err)
	}
	return n, end
}

// WriteAt implements [io.WriterAt]. Offset and length need not be whole sectors.
// A write that would pass the disk's end writes nothing and is ErrOutOfRange.
//
// What was written is durable after Sync. Until then, after a crash, each of
// its sectors is wholly old or wholly new.
func (d *Disk) WriteAt(p []byte, off int64) (int, error) { return d.writeAt(content{p: p}, off) }

// writeAt is WriteAt of what the kernel may copy.
func (d *Disk) writeAt(c content, off int64) (int, error) {
	if err := d.writable(off, int64(len(c.p))); err != nil {
		return 0, err
	}
	pageIn(c.p)
	n, err := d.write(c, off)
	return n, d.opError(err)
}

// WriteZeroes makes n bytes from off on read as zeros. It gives space back
// where nothing below shows through; over a parent's data, zeros are data like
// any other. A range that would pass the disk's end is ErrOutOfRange, and
// nothing is written. The first call on a child syncs the images below, so that zeros
// which are there are there to stay.
func (d *Disk) WriteZeroes(off, n int64) error {
	if err := d.writable(off, n); err != nil {
		return err
	}
	return d.opError(d.writeZeroes(off, n))
}

// Sync makes durable what was written before it was called. Calls that come
// while one is at work share the next. On a read-only disk it does nothing.
//
// If the operating system can't say that all is on stable storage, the error
// matches ErrBroken, as does every later one: what the file holds is not known
// any more. Close the disk and open it again to recover what was durable.
func (d *Disk) Sync() error {
	if err := d.usable(); err != nil {
		return err
	}
	if d.syncs == nil {
		return nil
	}
	return d.opError(d.sync())
}

// Close syncs a writable disk, gives back the space that it kept for growth,
// and closes all images. Calls still under way may get ErrClosed, as do all
// later ones.
func (d *Disk) Close() error {
	if d.closed.Swap(true) {
		return ErrClosed
	}
	closed := ErrClosed
	d.down.Store(&closed)
	var err error
	if d.syncs != nil {
		err = d.finish()
	}
	return joined(err, d.closeFiles())
}

func (d *Disk) closeFiles() error {
	var err error
	v := d.view()
	for depth := range v.chain {
		l := v.at(depth)
		err = joined(err, inFile(l.img.name, closeFile(l.file)))
	}
	return err
}

// usable is why no call can be served.
func (d *Disk) usable() error {
	if err := d.down.Load(); err != nil {
		return *err
	}
	return nil
}

// writable is why nothing can be written to n bytes at off.
func (d *Disk) writable(off, n int64) error {
	switch err := d.usable(); {
	case err != nil:
		return err
	case d.syncs == nil:
		return d.explain(ErrReadOnly)
	case off < 0 || n < 0 || n > d.Size()-off:
		return d.outOfRange(off, n)
	}
	return nil
}

func (d *Disk) outOfRange(off, n int64) error {
	return d.explain(fmt.Errorf("%w: %d bytes at offset %d of a disk of %d", ErrOutOfRange, n, off, d.Size()))
}

// explain names the leaf, for an error about the disk.
func (d *Disk) explain(err error) error { return inFile(d.view().top().img.name, err) }

// opError is what a call returns for err: a call that raced with Close says so,
// and not what the operating system thinks of a closed file.
func (d *Disk) opError(err error) error {
	if err != nil && d.closed.Load() {
		return ErrClosed
	}
	return d.explain(err)
}

// beginChange waits until nobody else changes the chain or moves blocks. Who does must
// call end.
func (d *Disk) beginChange(ctx context.Context) (end func(), err error) {
	if err := ctx.Err(); err != nil { // else select would draw lots
		return nil, d.explain(err)
	}
	select {
	case d.changing <- struct{}{}:
		end = func() { <-d.changing }
	case <-ctx.Done():
		return nil, d.explain(ctx.Err())
	}
	if err = d.usable(); err == nil { // by now
		err = d.explain(d.rereadStale())
	}
	if err != nil {
		end()
		return nil, err
	}
	return end, nil
}

// breakDown ends the use of the disk after a failure that left unknown what
// its file holds (W11).
func (d *Disk) breakDown(cause error) error {
	broken := ErrBroken
	if d.lower {
		broken = errLowerBroken
	}
	var err error = &FileError{d.view().top().img.name, &brokenError{broken, cause}}
	d.syncs.broken.Store(&err)
	d.down.CompareAndSwap(nil, &err)
	return err
}
