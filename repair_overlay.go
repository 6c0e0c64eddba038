package vhd

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"slices"
)

// maxKept bounds what an overlay keeps in memory, bytes.
const maxKept = 64 << 20

// overlay is a File over another one, which it leaves alone: what is written to
// it is kept in memory, and noted in order, fsyncs too. A repair is made on it
// first. So it is known before anything changes what will, and the same can then
// be done to the file below.
type overlay struct {
	base io.ReaderAt
	was  int64 // the size of the base
	size int64
	seen int64 // bytes of the base; the file was no longer than this at some time, and what came behind it since is zeros

	patches []patch // in order, apart
	changes []change
	kept    int64 // bytes
}

// patch is a piece of an overlay that is not as the base has it.
type patch struct {
	off, end int64
	data     []byte // nil: the bytes of the base from src on
	src      int64  // below zero: zeros
}

// change is one that was made to an overlay.
type change struct {
	kind   changeKind
	off, n int64 // of a truncation, off is the new size
	data   []byte
	src    int64
}

type changeKind int

const (
	changeWrite changeKind = iota
	changeCopy             // of n bytes, from src to off
	changeSize
	changeSync
)

func newOverlay(base io.ReaderAt, size int64) *overlay {
	return &overlay{base: base, was: size, size: size, seen: size}
}

func (o *overlay) Close() error { return nil }

func (o *overlay) Stat() (fs.FileInfo, error) { return readOnlyInfo{o.size}, nil }

func (o *overlay) Sync() error {
	if n := len(o.changes); n > 0 && o.changes[n-1].kind != changeSync {
		o.changes = append(o.changes, change{kind: changeSync})
	}
	return nil
}

// WriteAt notes a write, unless it would change nothing.
func (o *overlay) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) <= o.size {
		is := make([]byte, len(p))
		if err := readFull(o, is, off); err != nil {
			return 0, err
		}
		if bytes.Equal(is, p) {
			return len(p), nil
		}
	}
	if o.kept += int64(len(p)); o.kept > maxKept {
		return 0, fmt.Errorf("%w: a repair that changes more than %d bytes", ErrUnsupported, maxKept)
	}
	c := change{kind: changeWrite, off: off, n: int64(len(p)), data: slices.Clone(p)}
	o.changes = append(o.changes, c)
	o.apply(c)
	return len(p), nil
}

func (o *overlay) Truncate(size int64) error {
	c := change{kind: changeSize, off: size}
	o.changes = append(o.changes, c)
	o.apply(c)
	return nil
}

// copyRange makes n bytes at off what those at src are. The two don't overlap.
func (o *overlay) copyRange(off, src, n int64) {
	c := change{kind: changeCopy, off: off, n: n, src: src}
	o.changes = append(o.changes, c)
	o.apply(c)
}

// apply has a change show.
func (o *overlay) apply(c change) {
	switch c.kind {
	case changeWrite:
		o.put(patch{off: c.off, end: c.off + c.n, data: c.data})
	case changeCopy:
		for _, p := range o.pieces(c.src, c.src+c.n) {
			o.put(p.movedBy(c.off - c.src))
		}
	case changeSize:
		o.patches = o.patches[:o.split(c.off)]
		o.size, o.seen = c.off, min(o.seen, c.off)
	case changeSync:
	}
}

// put puts a patch in place of what is there.
func (o *overlay) put(p patch) {
	from := o.split(p.off)
	to := o.split(p.end)
	o.patches = slices.Replace(o.patches, from, to, p)
	o.size = max(o.size, p.end)
}

// split makes at a place between patches, and is the index of the first behind
// it.
func (o *overlay) split(at int64) int {
	i, _ := slices.BinarySearchFunc(o.patches, at, func(p patch, at int64) int { return cmp.Compare(p.end, at+1) })
	if i < len(o.patches) && o.patches[i].off < at {
		whole := o.patches[i]
		o.patches = slices.Replace(o.patches, i, i+1, whole.cut(whole.off, at), whole.cut(at, whole.end))
		i++
	}
	return i
}

// pieces are the patches that make up the bytes from off to end, gaps filled.
func (o *overlay) pieces(off, end int64) []patch {
	var pieces []patch
	i, _ := slices.BinarySearchFunc(o.patches, off, func(p patch, at int64) int { return cmp.Compare(p.end, at+1) })
	for ; off < end; i++ {
		next := end
		if i < len(o.patches) {
			next = min(end, o.patches[i].off)
		}
		if here := min(next, max(off, o.seen)); off < here {
			pieces = append(pieces, patch{off: off, end: here, src: off})
			off = here
		}
		if off < next {
			pieces = append(pieces, patch{off: off, end: next, src: -1})
			off = next
		}
		if off < end {
			p := o.patches[i].cut(off, min(end, o.patches[i].end))
			pieces = append(pieces, p)
			off = p.end
		}
	}
	return pieces
}

// cut is the part of a patch from off to end.
func (p patch) cut(off, end int64) patch {
	cut := patch{off: off, end: end, src: p.src}
	switch {
	case p.data != nil:
		cut.data = p.data[off-p.off : end-p.off]
	case p.src >= 0:
		cut.src = p.src + off - p.off
	}
	return cut
}

func (p patch) movedBy(n int64) patch {
	p.off, p.end = p.off+n, p.end+n
	return p
}

func (o *overlay) ReadAt(p []byte, off int64) (int, error) {
	end := min(off+int64(len(p)), o.size)
	if off >= end {
		return 0, io.EOF
	}
	done := 0
	for _, piece := range o.pieces(off, end) {
		part := p[piece.off-off : piece.end-off]
		switch {
		case piece.data != nil:
			copy(part, piece.data)
		case piece.src < 0:
			clear(part)
		default:
			if err := readFull(o.base, part, piece.src); err != nil {
				return done, err
			}
		}
		done += len(part)
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

// total is how many bytes the changes write.
func (o *overlay) total() (n int64) {
	for _, c := range o.changes {
		n += c.n
	}
	return n
}

// grown is how many bytes were written behind where the base ends.
func (o *overlay) grown() (n int64) {
	for _, p := range o.patches {
		n += max(0, p.end-max(p.off, o.was))
	}
	return n
}

// changeTo makes a change to a file. Between pieces of it, goOn may end it.
func (c change) changeTo(f File, goOn func(n int64) error) error {
	switch c.kind {
	case changeWrite:
		if _, err := writeFull(f, c.data, c.off); err != nil {
			return inPart(inFileItself, c.off, err)
		}
		return goOn(c.n)
	case changeCopy:
		return c.copyIn(f, goOn)
	case changeSize:
		return inPart(inFileItself, c.off, f.Truncate(c.off))
	case changeSync:
		return f.Sync()
	}
	return nil
}

func (c change) copyIn(f File, goOn func(n int64) error) error {
	const atOnce = 1 << 20
	buf := make([]byte, min(c.n, atOnce))
	for done := int64(0); done < c.n; {
		p := buf[:min(c.n-done, atOnce)]
		if err := readFull(f, p, c.src+done); err != nil {
			return inPart(inFileItself, c.src+done, err)
		}
		if _, err := writeFull(f, p, c.off+done); err != nil {
			return inPart(inFileItself, c.off+done, err)
		}
		done += int64(len(p))
		if err := goOn(int64(len(p))); err != nil {
			return err
		}
	}
	return nil
}
