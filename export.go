package vhd

import (
	"context"
	"io"
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
			opts.Progress(done, d.size)
		}
	}
	return done, readErr
}

// readPieces sends the disk's content in pieces, whose memory comes back by free.
func (d *Disk) readPieces(ctx context.Context, pieces chan<- []byte, free chan []byte) error {
	for range cap(free) {
		free <- make([]byte, bulkBuffer)
	}
	for off := int64(0); off < d.size; {
		var buf []byte
		select {
		case buf = <-free:
		case <-ctx.Done():
			return ctx.Err()
		}
		n, err := d.ReadAt(buf[:min(int64(len(buf)), d.size-off)], off)
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
