package vhd

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
)

// ExportOptions say how a disk is exported.
type ExportOptions struct {
	// Progress, if it is set, is told now and then how many bytes of the disk are
	// done, one call at a time, by whatever goroutine. It holds up the copy while it
	// runs.
	Progress func(done, total int64)
}

// Export writes the disk's content to w, Size bytes from first to last, and
// returns how many of them are written. What is written to the disk meanwhile
// may or may not show. The end of ctx ends it between two pieces, with ctx's
// error; w's errors are returned as they are.
//
// To an *os.File that is a regular file, and not open for appending, it writes
// from the file's position on, and leaves the position behind the content: zeros
// become holes, several pieces are under way at a time, and where the kernel can
// copy data from file to file, or share it, it is asked to. What the file holds
// behind the content stays. After an error, more than what is returned may be
// written, and the position stays. An image of the chain is refused. Export syncs
// nothing.
func (d *Disk) Export(ctx context.Context, w io.Writer, opts ExportOptions) (int64, error) {
	if err := d.usable(); err != nil {
		return 0, err
	}
	export := func() (int64, error) { return d.exportStream(ctx, w, opts) }
	if t := newFileTarget(w); t != nil {
		export = func() (int64, error) { return d.exportFile(ctx, t, opts) }
	}
	n, err := export()
	if err != nil && d.closed.Load() { // not opError: w's errors are not the image's
		err = ErrClosed
	}
	return n, err
}

// exportStream writes one piece while it reads the next.
func (d *Disk) exportStream(ctx context.Context, w io.Writer, opts ExportOptions) (done int64, err error) {
	ctx, stop := context.WithCancel(ctx)
	pieces, free := make(chan []byte), make(chan []byte, 2)
	var readErr error
	go func() {
		defer close(pieces)
		readErr = d.readPieces(ctx, pieces, free)
	}()
	defer func() { // the reader is at its end before the caller goes on
		stop()
		for range pieces { // nobody wants them any more
		}
	}()
	for p := range pieces {
		n, err := w.Write(p)
		if err == nil && n < len(p) {
			err = io.ErrShortWrite
		}
		if done += int64(n); err != nil {
			return done, err
		}
		free <- p[:cap(p)]
		if opts.Progress != nil {
			opts.Progress(done, d.Size())
		}
	}
	return done, readErr
}

// readPieces sends the disk's content in pieces, whose memory comes back by free.
func (d *Disk) readPieces(ctx context.Context, pieces chan<- []byte, free chan []byte) error {
	for range cap(free) {
		free <- make([]byte, bulkBuffer)
	}
	for off, size := int64(0), d.Size(); off < size; {
		var buf []byte
		select {
		case buf = <-free:
		case <-ctx.Done():
			return ctx.Err()
		}
		n, err := d.ReadAt(buf[:min(int64(len(buf)), size-off)], off)
		if err != nil {
			return err
		}
		select {
		case pieces <- buf[:n]:
		case <-ctx.Done():
			return ctx.Err()
		}
		off += int64(n)
	}
	return nil
}

// exportFile writes to a file, where order is of no matter.
func (d *Disk) exportFile(ctx context.Context, t *fileTarget, opts ExportOptions) (int64, error) {
	if err := d.notInChain(t.file); err != nil {
		return 0, err
	}
	size := d.Size()
	if err := t.begin(size); err != nil {
		return 0, err
	}
	b := bulk{size: size, piece: windowSize, progress: opts.Progress} // so that each block map is made once
	done, err := b.run(ctx, func(buf []byte, off, n int64) error { return d.exportPiece(t, buf, off, n) })
	if err == nil {
		err = t.end(size)
	}
	return done, err
}

// notInChain is why content can't be written to a file: it would be over itself.
func (d *Disk) notInChain(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	v := d.view()
	for depth := range v.chain {
		l := v.at(depth)
		if own, err := l.file.Stat(); err == nil && os.SameFile(own, info) {
			return inFile(l.img.name, fmt.Errorf("%w: it is exported to itself", ErrUnsupported))
		}
	}
	return nil
}

// exportPiece copies a piece to a file. Space of the leaf that was freed and
// taken again meanwhile may have brought another block's bytes: then it does so
// once more, over what it wrote.
func (d *Disk) exportPiece(t *fileTarget, buf []byte, off, n int64) error {
	target := *t
	for {
		before := d.reuses.Load()
		err := d.exportOnce(&target, buf, off, n)
		if d.reuses.Load() == before {
			return err
		}
		target.zerosFrom = max(target.zerosFrom, target.start+off+n)
	}
}

func (d *Disk) exportOnce(t *fileTarget, buf []byte, off, n int64) error {
	stored, err := d.storedExtents(off, n)
	if err != nil {
		return err
	}
	for end := off + n; off < end; {
		for stored[0].Offset+stored[0].Length <= off {
			stored = stored[1:]
		}
		size := min(int64(len(buf)), end-off)
		if hole := stored[0].Offset + stored[0].Length - off; stored[0].Depth == Hole && hole >= size {
			size = hole // however long: nothing is read
			err = t.zero(off, size)
		} else {
			err = d.exportData(t, buf[:size], stored, off)
		}
		if err != nil {
			return err
		}
		off += size
	}
	return nil
}

// askForHoles is the least of an extent that is worth asking its file for holes.
const askForHoles = 256 << 10

// storedExtents are the extents of n bytes from off on, without what is a hole in
// an image's own file.
func (d *Disk) storedExtents(off, n int64) ([]servedExtent, error) {
	var stored []servedExtent
	for e, err := range d.servedExtents(off, n) {
		if err != nil {
			return nil, err
		}
		if e.Depth == Hole || e.Length < askForHoles {
			stored = append(stored, e)
			continue
		}
		at, end := e.FileOffset, e.FileOffset+e.Length
		for from, to := range dataOf(d.served(e.layer).data, at, end) {
			stored = append(stored, e.holePart(at, from), e.part(from, to))
			at = to
		}
		stored = append(stored, e.holePart(at, end))
	}
	return slices.DeleteFunc(stored, func(e servedExtent) bool { return e.Length == 0 }), nil
}

// part is the part of e that stands from from to to in its image's file.
func (e servedExtent) part(from, to int64) servedExtent {
	return servedExtent{FileExtent{Extent{e.Offset + from - e.FileOffset, to - from, e.Depth}, from}, e.layer}
}

// holePart is the same part as a hole.
func (e servedExtent) holePart(from, to int64) servedExtent {
	return holeAt(e.Offset+from-e.FileOffset, to-from)
}

// exportData copies the bytes at off, which buf has room for. All are read, also
// those that the kernel copies then: only so are zeros found in them. Small
// extents are written together.
func (d *Disk) exportData(t *fileTarget, buf []byte, stored []servedExtent, off int64) error {
	if err := d.readStored(buf, stored, off); err != nil {
		return err
	}
	for r := range stretches(buf, holeUnit) {
		at, n := off+int64(r.from), int64(r.to-r.from)
		if r.zeros {
			if err := t.zero(at, n); err != nil {
				return err
			}
			continue
		}
		c := content{p: buf[r.from:r.to]}
		c.src, c.srcOff = d.sourceOf(stored, at, n)
		if _, err := c.writeTo(t.file, t.start+at); err != nil {
			return err
		}
	}
	return nil
}

// readStored reads what the extents have for p, which is at off.
func (d *Disk) readStored(p []byte, stored []servedExtent, off int64) error {
	for i := 0; len(p) > 0; i++ {
		e := stored[i]
		n := min(e.Offset+e.Length-off, int64(len(p)))
		if e.Depth == Hole {
			clear(p[:n])
		} else if err := d.served(e.layer).readData(p[:n], e.FileOffset+off-e.Offset); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// sourceOf is the file that has all of n bytes at off one behind the other, and
// where; nil if none has.
func (d *Disk) sourceOf(stored []servedExtent, off, n int64) (src *os.File, srcOff int64) {
	i, _ := slices.BinarySearchFunc(stored, off, func(e servedExtent, off int64) int { return cmp.Compare(e.Offset+e.Length-1, off) })
	e := stored[i]
	if e.Depth == Hole || e.Offset+e.Length < off+n {
		return nil, 0
	}
	src, _ = d.served(e.layer).data.(*os.File)
	return src, e.FileOffset + off - e.Offset
}

// fileTarget is a regular file that content is exported to.
type fileTarget struct {
	file      *os.File
	start     int64 // where the content begins
	zerosFrom int64 // from here on the file reads as zeros
}

// newFileTarget is w as one, or nil if it must be written from first to last.
func newFileTarget(w io.Writer) *fileTarget {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	start, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil
	}
	if _, err := f.WriteAt(nil, start); err != nil { // it is open for appending
		return nil
	}
	return &fileTarget{f, start, info.Size()}
}

// begin makes the file long enough.
func (t *fileTarget) begin(size int64) error {
	if t.start+size <= t.zerosFrom {
		return nil
	}
	makeSparse(t.file)
	return t.file.Truncate(t.start + size)
}

// end puts the file's position behind the content.
func (t *fileTarget) end(size int64) error {
	_, err := t.file.Seek(t.start+size, io.SeekStart)
	return err
}

// zero makes n bytes of the content zeros.
func (t *fileTarget) zero(off, n int64) error {
	return zeroRange(t.file, t.start+off, min(n, t.zerosFrom-t.start-off))
}
