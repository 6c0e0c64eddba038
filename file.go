package vhd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"syscall"
)

// readFull reads len(p) bytes at off.
func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	return shortRead(err, off, n, len(p))
}

// shortRead is the error of a read that got n of the want bytes at off. A file
// that ends there is a *FormatError: it was longer when it was opened.
func shortRead(err error, off int64, n, want int) error {
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return &FormatError{Part: "file", Offset: off + int64(n), Got: "its end", Want: fmt.Sprintf("%d more bytes", want-n), Err: ErrFormat}
}

// writeFull is f.WriteAt, which must not write less without an error.
func writeFull(f File, p []byte, off int64) (int, error) {
	n, err := f.WriteAt(p, off)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}

// content is what is written: bytes, and where they stand in a file too, if they
// do, so that both files can share them.
type content struct {
	p      []byte
	src    *os.File // nil: nowhere
	srcOff int64    // of p
}

// cut is the part of c from from to to.
func (c content) cut(from, to int) content {
	return content{c.p[from:to], c.src, c.srcOff + int64(from)}
}

// kernelCopyFrom is the least that the kernel is asked to copy.
const kernelCopyFrom = 256 << 10

// writeTo writes c to f at off.
func (c content) writeTo(f File, off int64) (int, error) {
	moved := 0
	if dst, ok := f.(*os.File); ok && c.src != nil && len(c.p) >= kernelCopyFrom && sharesData(dst) {
		moved = copyInKernel(dst, off, c.src, c.srcOff, len(c.p))
	}
	n, err := writeFull(f, c.p[moved:], off+int64(moved))
	return moved + n, err
}

// zeroBytes are written where the file can't be told to hold zeros. A slice of
// this size begins where a page of memory does, see [pageIn].
var zeroBytes = make([]byte, 64<<10)

// pageIn reads from every page of p, so that all of it is in memory when it is
// written. A kernel that has to fetch a page halfway into a sector notices there
// that the process was killed, and leaves half a sector written.
//
//go:noinline
func pageIn(p []byte) (last byte) {
	for at := 0; at < len(p); at += pageSize {
		last |= p[at]
	}
	if len(p) > 0 {
		last |= p[len(p)-1]
	}
	return last
}

const pageSize = 4096 // the smallest there is

// zeroRange makes n bytes of a file read as zeros.
func zeroRange(f File, off, n int64) error {
	if n >= punchFrom && punch(f, off, n) {
		return nil
	}
	for n > 0 {
		piece := min(n, int64(len(zeroBytes)))
		if _, err := writeFull(f, zeroBytes[:piece], off); err != nil {
			return err
		}
		off, n = off+piece, n-piece
	}
	return nil
}

const (
	punchFrom = 64 << 10 // the least worth making a hole of in a file
	holeUnit  = 4096     // what file systems have holes in multiples of
)

// stretch is a piece of a buffer, zeros or not.
type stretch struct {
	from, to int
	zeros    bool
}

// stretches takes p, which begins at a multiple of unit, apart into zeros, whole units
// of them, and data.
func stretches(p []byte, unit int) iter.Seq[stretch] {
	return func(yield func(stretch) bool) {
		var r stretch
		for at := 0; at < len(p); at = r.to {
			end := min(at+unit, len(p))
			zeros := isZero(p[at:end])
			if zeros != r.zeros && r.to > r.from {
				if !yield(r) {
					return
				}
				r.from = at
			}
			r.to, r.zeros = end, zeros
		}
		if len(p) > 0 {
			yield(r)
		}
	}
}

// runsOf yields the sectors, from and to, bytes, that are the same in p and in q, or those
// that are not. Both have as many.
func runsOf(same bool, p, q []byte) iter.Seq2[int, int] {
	return func(yield func(from, to int) bool) {
		from := 0
		for at := 0; at < len(p); at += SectorSize {
			if bytes.Equal(p[at:at+SectorSize], q[at:at+SectorSize]) == same {
				continue
			}
			if from < at && !yield(from, at) {
				return
			}
			from = at + SectorSize
		}
		if from < len(p) {
			yield(from, len(p))
		}
	}
}

func isZero(p []byte) bool { return bytes.Equal(p, zeroBytes[:len(p)]) }

// dataOf yields the pieces of a file between off and end that may hold anything
// but zeros: all of it where holes can't be told, and what is behind the file's
// end, for who reads it to find out. It moves the file's position.
func dataOf(r io.ReaderAt, off, end int64) iter.Seq2[int64, int64] {
	return func(yield func(from, to int64) bool) {
		for off < end {
			from, to := nextData(r, off, end)
			if from < to && !yield(from, to) {
				return
			}
			off = to
		}
	}
}

// nextData is the first of them. What is in front of from is a hole.
func nextData(r io.ReaderAt, off, end int64) (from, to int64) {
	f, ok := r.(*os.File) // of a type around one, ReadAt may return something else
	if !ok || seekData == seekHole {
		return off, end
	}
	from, err := f.Seek(off, seekData)
	if errors.Is(err, errNoData) {
		return behindFile(f, off, end), end
	}
	if err != nil || from < off {
		return off, end // it can't tell
	}
	if from >= end {
		return end, end
	}
	to, err = f.Seek(from, seekHole)
	if err != nil || to <= from {
		return from, end
	}
	return from, min(to, end)
}

// behindFile is where what is behind the file's end begins, between off and end.
func behindFile(f *os.File, off, end int64) int64 {
	info, err := f.Stat()
	if err != nil {
		return off
	}
	return min(max(off, info.Size()), end)
}

// cutFile is a file whose bytes from end on read as zeros.
type cutFile struct {
	file io.ReaderAt
	end  int64
}

func (f *cutFile) ReadAt(p []byte, off int64) (int, error) {
	there := min(max(f.end-off, 0), int64(len(p)))
	n, err := f.file.ReadAt(p[:there], off)
	if int64(n) < there {
		return n, err
	}
	clear(p[there:])
	return len(p), nil
}

// onDescriptor calls do with the descriptor, or handle, of a file of the
// operating system's. Of another it is errors.ErrUnsupported.
func onDescriptor(f File, do func(fd uintptr) error) error {
	conn, ok := f.(syscall.Conn)
	if !ok {
		return errors.ErrUnsupported
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	if ctlErr := raw.Control(func(fd uintptr) { err = do(fd) }); ctlErr != nil {
		return ctlErr
	}
	return err
}
