package main

import (
	"bytes"
	"context"
	"errors"
	"iter"

	"github.com/go-vhd/vhd"
)

// span is a piece of a disk, bytes.
type span struct {
	Start  int64 `json:"start"`
	Length int64 `json:"length"`
}

// end is the first byte behind it.
func (s span) end() int64 { return s.Start + s.Length }

// joinSpans makes one of spans that abut. They come in order.
func joinSpans(pieces iter.Seq2[span, error]) iter.Seq2[span, error] {
	return func(yield func(span, error) bool) {
		var last span
		for s, err := range pieces {
			if err == nil && last.Length > 0 && last.end() == s.Start {
				last.Length += s.Length
				continue
			}
			if last.Length > 0 && !yield(last, nil) {
				return
			}
			if last = s; err != nil {
				yield(s, err)
				return
			}
		}
		if last.Length > 0 {
			yield(last, nil)
		}
	}
}

// comparison is of two contents, as far as the longer one goes: behind the end of the
// shorter one are zeros.
type comparison struct {
	a, b     *content
	progress func(done, total int64) // may be nil

	compared int64 // bytes of each that had to be read
	passed   int64 // all in front of it has been told of
}

// openBoth opens two files as the formats that they have, or that were said.
func openBoth(ctx context.Context, a *app, name string, format *formatValue, other string, otherFormat *formatValue) (*comparison, error) {
	mine, err := openContent(ctx, a, name, format)
	if err != nil {
		return nil, err
	}
	theirs, err := openContent(ctx, a, other, otherFormat)
	if err != nil {
		return nil, errors.Join(err, mine.Close())
	}
	return &comparison{a: mine, b: theirs}, nil
}

// close closes both.
func (c *comparison) close() error { return errors.Join(c.a.Close(), c.b.Close()) }

// comparedAtOnce is how much of each is read at once, bytes.
const comparedAtOnce = 1 << 20

// size is how far they go, in whole sectors.
func (c *comparison) size() int64 { return sectorsUp(max(c.a.size, c.b.size)) }

// pass notes that all in front of off has been told of.
func (c *comparison) pass(off int64) {
	if c.passed = off; c.progress != nil {
		c.progress(off, c.size())
	}
}

// storedApart yields what is not stored in the same place by both. All else is known to
// be the same in both: zeros that neither has, and what one file holds for both.
func (c *comparison) storedApart(ctx context.Context) iter.Seq2[span, error] {
	return func(yield func(span, error) bool) {
		a, stopA := c.a.cursor()
		defer stopA()
		b, stopB := c.b.cursor()
		defer stopB()
		from, size := int64(0), c.size() // what is between from and off is stored apart
		for off := int64(0); off < size; {
			endA, errA := a.at(off)
			endB, errB := b.at(off)
			err := ctx.Err() // which both may return, too
			if err == nil {
				err = errors.Join(errA, errB)
			}
			if err != nil {
				yield(span{}, err)
				return
			}
			end := min(endA, endB, size)
			if a.isStoredWith(b) {
				if from < off && !yield(span{from, off - from}, nil) {
					return
				}
				from = end
				c.pass(end)
			}
			off = end
		}
		if from < size {
			yield(span{from, size - from}, nil)
		}
	}
}

// differing yields the sectors that differ, in pieces as they are found. Nothing is read
// but what is stored apart.
func (c *comparison) differing(ctx context.Context) iter.Seq2[span, error] {
	return func(yield func(span, error) bool) {
		for s, err := range c.storedApart(ctx) {
			if err != nil {
				yield(s, err)
				return
			}
			for found, err := range c.differingIn(ctx, s) {
				if !yield(found, err) || err != nil {
					return
				}
			}
		}
	}
}

// differingIn is differing for what is stored apart.
func (c *comparison) differingIn(ctx context.Context, s span) iter.Seq2[span, error] {
	return func(yield func(span, error) bool) {
		size := min(comparedAtOnce, s.Length)
		p, q := make([]byte, size), make([]byte, size)
		for off := s.Start; off < s.end(); off += size {
			c.pass(off)
			n := min(size, s.end()-off)
			err := ctx.Err()
			if err == nil {
				err = c.read(p[:n], q[:n], off)
			}
			if err != nil {
				yield(span{}, err)
				return
			}
			for from, to := range differingSectors(p[:n], q[:n]) {
				if !yield(span{off + int64(from), int64(to - from)}, nil) {
					return
				}
			}
		}
		c.pass(s.end())
	}
}

// read reads the same piece of both.
func (c *comparison) read(p, q []byte, off int64) error {
	c.compared += int64(len(p))
	other := make(chan error, 1)
	go func() { other <- c.b.read(q, off) }()
	return errors.Join(c.a.read(p, off), <-other)
}

// differingSectors yields the sectors, from and to, bytes, that are not the same in p and
// in q. Both have as many.
func differingSectors(p, q []byte) iter.Seq2[int, int] {
	return func(yield func(from, to int) bool) {
		if bytes.Equal(p, q) {
			return
		}
		from := -1
		for at := 0; at < len(p); at += vhd.SectorSize {
			same := bytes.Equal(p[at:at+vhd.SectorSize], q[at:at+vhd.SectorSize])
			switch {
			case !same && from < 0:
				from = at
			case same && from >= 0:
				if !yield(from, at) {
					return
				}
				from = -1
			}
		}
		if from >= 0 {
			yield(from, len(p))
		}
	}
}

// firstByte is the first one of a sector at off that differs.
func (c *comparison) firstByte(off int64) (int64, error) {
	var p, q [vhd.SectorSize]byte
	err := errors.Join(c.a.read(p[:], off), c.b.read(q[:], off))
	for i := range p {
		if p[i] != q[i] {
			return off + int64(i), err
		}
	}
	return off, err
}
