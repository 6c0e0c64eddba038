package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
)

// copier copies content and leaves out what is zeros: what it writes to reads
// as zeros from the start.
type copier struct {
	from     io.ReaderAt
	to       io.WriterAt
	unit     int64 // so many zeros, at a multiple of it, are left out
	progress *progress
	buf      []byte
}

const (
	copySize = 1 << 20
	pageSize = 4096 // what file systems have holes in multiples of
)

func newCopier(from io.ReaderAt, to io.WriterAt, p *progress) *copier {
	return &copier{from: from, to: to, unit: pageSize, progress: p, buf: make([]byte, copySize)}
}

// namedFile is a file whose errors say what the user calls it.
type namedFile struct {
	*os.File
	name string
}

func (f namedFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	return n, inFile(f.name, err)
}

func (f namedFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	return n, inFile(f.name, err)
}

// copyRange copies n bytes at off.
func (c *copier) copyRange(ctx context.Context, off, n int64) error {
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		// The pieces end at multiples of their size, and so of the unit.
		piece := c.buf[:min(n, copySize-off%copySize)]
		if got, err := c.from.ReadAt(piece, off); got < len(piece) {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if err := c.writeData(piece, off); err != nil {
			return err
		}
		off, n = off+int64(len(piece)), n-int64(len(piece))
		c.progress.at(off)
	}
	return nil
}

// writeData writes what is not zeros, in pieces as long as can be.
func (c *copier) writeData(p []byte, off int64) error {
	start := 0 // of data that is not written yet
	for at := 0; at < len(p); {
		end := min(len(p), at+int(c.unit-(off+int64(at))%c.unit))
		if isZero(p[at:end]) {
			if err := c.write(p[start:at], off+int64(start)); err != nil {
				return err
			}
			start = end
		}
		at = end
	}
	return c.write(p[start:], off+int64(start))
}

func (c *copier) write(p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	_, err := c.to.WriteAt(p, off)
	return err
}

// zeros is as long as the longest unit.
var zeros [pageSize]byte

func isZero(p []byte) bool { return bytes.Equal(p, zeros[:len(p)]) }
