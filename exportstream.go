package vhd

import (
	"context"
	"io"
)

// exportedPiece is a piece of what is written.
type exportedPiece struct {
	p    []byte
	done int64 // bytes of the disk that are done once it is written
}

// toStream writes one piece while it reads the next, and all that emit puts.
func (p *exportPlan) toStream(ctx context.Context, w io.Writer, emit func(o *outflow) error) (written int64, err error) {
	ctx, stop := context.WithCancel(ctx)
	pieces := make(chan exportedPiece)
	o := outflow{ctx: ctx, pieces: pieces, free: make(chan []byte, 2)}
	var readErr error
	go func() {
		defer close(pieces)
		if readErr = emit(&o); readErr == nil {
			readErr = o.flush()
		}
	}()
	defer func() { // the reader is at its end before the caller goes on
		stop()
		for range pieces { // nobody wants them any more
		}
	}()
	for piece := range pieces {
		n, err := w.Write(piece.p)
		if err == nil && n < len(piece.p) {
			err = io.ErrShortWrite
		}
		if written += int64(n); err != nil {
			return written, err
		}
		o.free <- piece.p[:cap(piece.p)]
		if p.progress != nil {
			p.progress(piece.done, p.content)
		}
	}
	return written, readErr
}

// outflow takes what an export reads, in the order in which it is written, and
// sends it off in pieces, whose memory comes back by free. All that is put into it
// is whole sectors.
type outflow struct {
	ctx    context.Context
	pieces chan<- exportedPiece
	free   chan []byte

	buf     []byte // the piece that is being filled; nil: none
	n       int    // bytes of it are filled
	nbufs   int    // there are so many
	written int64  // bytes, with those in buf
	done    int64  // of the disk
}

// next is room for what comes next, of at most n bytes, all of which the caller
// fills.
func (o *outflow) next(n int64) ([]byte, error) {
	if o.n == len(o.buf) {
		if err := o.flush(); err != nil {
			return nil, err
		}
		if err := o.fetch(); err != nil {
			return nil, err
		}
	}
	room := o.buf[o.n:][:min(n, int64(len(o.buf)-o.n))]
	o.n += len(room)
	o.written += int64(len(room))
	return room, nil
}

// flush sends what is there.
func (o *outflow) flush() error {
	if o.n == 0 {
		return nil
	}
	select {
	case o.pieces <- exportedPiece{o.buf[:o.n], o.done}:
		o.buf, o.n = nil, 0
		return nil
	case <-o.ctx.Done():
		return o.ctx.Err()
	}
}

// fetch gets a buffer: there are two, one that is filled and one that is written.
func (o *outflow) fetch() error {
	if err := o.ctx.Err(); err != nil {
		return err
	}
	if o.nbufs < cap(o.free) {
		o.nbufs++
		o.buf = make([]byte, bulkBuffer)
		return nil
	}
	select {
	case o.buf = <-o.free:
		return nil
	case <-o.ctx.Done():
		return o.ctx.Err()
	}
}

func (o *outflow) put(b []byte) error {
	for len(b) > 0 {
		room, err := o.next(int64(len(b)))
		if err != nil {
			return err
		}
		b = b[copy(room, b):]
	}
	return nil
}

func (o *outflow) putZeros(n int64) error {
	for n > 0 {
		room, err := o.next(n)
		if err != nil {
			return err
		}
		clear(room)
		n -= int64(len(room))
	}
	return nil
}

// putZerosTo puts zeros up to a place in what is written.
func (o *outflow) putZerosTo(off int64) error { return o.putZeros(off - o.written) }

// putContent puts n bytes of a disk, from off on.
func (o *outflow) putContent(d *Disk, off, n int64) error {
	for n > 0 {
		room, err := o.next(n)
		if err != nil {
			return err
		}
		if _, err := d.ReadAt(room, off); err != nil {
			return err
		}
		off, n = off+int64(len(room)), n-int64(len(room))
		o.done = off
	}
	return nil
}
