package vhd_test

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/go-vhd/vhd"
)

// program is what a test does to a disk, one step after another. Its text tells
// all of it, and is read back by parseProgram:
//
//	write 512+1024; sync | 2 write 0+512; zero 0+4096; reopen
//
// Pieces are offset+length, in bytes. What stands behind a bar happens beside
// the step: just before it changes the storage for the third time.
type program []step

type step struct {
	op *operation
	piece
	beside []interjection
}

// piece is a piece of the disk, bytes.
type piece struct{ off, n int }

// interjection is what somebody else does while a step is at work.
type interjection struct {
	at int // the number of the change that it comes before, from 0 on
	step
}

func (p program) String() string {
	steps := make([]string, len(p))
	for i, s := range p {
		steps[i] = s.String()
	}
	return strings.Join(steps, "; ")
}

func (s step) String() string {
	var text strings.Builder
	text.WriteString(s.op.name)
	if s.n > 0 {
		fmt.Fprintf(&text, " %d+%d", s.off, s.n)
	}
	for _, b := range s.beside {
		fmt.Fprintf(&text, " | %d %v", b.at, b.step)
	}
	return text.String()
}

// parseProgram reads the text of a program.
func parseProgram(text string) (program, error) {
	var p program
	for text := range strings.SplitSeq(text, "; ") {
		parts := strings.Split(text, " | ")
		s, err := parseStep(parts[0])
		if err != nil {
			return nil, err
		}
		for _, part := range parts[1:] {
			at, rest, _ := strings.Cut(part, " ")
			b := interjection{}
			if b.at, err = strconv.Atoi(at); err != nil {
				return nil, err
			}
			if b.step, err = parseStep(rest); err != nil {
				return nil, err
			}
			s.beside = append(s.beside, b)
		}
		p = append(p, s)
	}
	return p, nil
}

func parseStep(text string) (step, error) {
	name, rest, _ := strings.Cut(text, " ")
	for _, op := range crashOperations() {
		if op.name != name {
			continue
		}
		s := step{op: op}
		if rest != "" {
			if _, err := fmt.Sscanf(rest, "%d+%d", &s.off, &s.n); err != nil {
				return step{}, fmt.Errorf("%q: %w", text, err)
			}
		}
		if s.String() != text {
			return step{}, fmt.Errorf("%q is no step", text)
		}
		return s, nil
	}
	return step{}, fmt.Errorf("%q is no operation", text)
}

// drawProgram draws a program of at most so many steps for a disk of size bytes.
// Pieces are often near the last one: what goes wrong does so in one block.
func drawProgram(rng *rand.Rand, most, size int, among []*operation) program {
	d := drawing{rng: rng, size: size, among: among}
	p := make(program, 1+rng.IntN(most))
	for i := range p {
		p[i] = d.step(d.operation(func(*operation) bool { return true }))
	}
	return p
}

type drawing struct {
	rng   *rand.Rand
	size  int
	among []*operation
	last  piece
}

// operation draws one of those that may be, by how often they are.
func (d *drawing) operation(may func(*operation) bool) *operation {
	total := 0
	for _, op := range d.among {
		if may(op) {
			total += op.often
		}
	}
	at := d.rng.IntN(total)
	for _, op := range d.among {
		if !may(op) {
			continue
		}
		if at -= op.often; at < 0 {
			return op
		}
	}
	return nil
}

func (d *drawing) step(op *operation) step {
	s := step{op: op}
	if op.most > 0 {
		s.piece = d.piece(op.most)
	}
	if op.alone { // its end is that of a disk, which may become larger
		s.piece = piece{d.rng.IntN(d.size), 1 + d.rng.IntN(d.size)}
	}
	if op.letsOthersIn == 0 {
		return s
	}
	for range d.rng.IntN(3) {
		other := d.operation(func(op *operation) bool { return op.most > 0 && !op.alone })
		s.beside = append(s.beside, interjection{at: d.rng.IntN(op.letsOthersIn + op.tells), step: d.step(other)})
	}
	return s
}

// piece draws a piece of at most so many bytes: of any, of whole sectors, or of
// the largest blocks. Small ones are as common as large ones.
func (d *drawing) piece(most int) piece {
	unit := []int{1, vhd.SectorSize, vhd.SectorSize, 16 << 10}[d.rng.IntN(4)]
	unit = min(unit, d.size)
	off := d.rng.IntN(d.size)
	if d.rng.IntN(2) == 0 {
		off = min(d.last.off+d.rng.IntN(4096), d.size-1)
	}
	off = off / unit * unit
	most = min(most, d.size, 1<<(9+d.rng.IntN(8)))
	n := max(d.rng.IntN(most)/unit, 1) * unit
	d.last = piece{off, min(n, d.size-off)}
	return d.last
}

// letsIn says whether all that is done beside the step can be.
func (s step) letsIn() bool {
	return !slices.ContainsFunc(s.beside, func(b interjection) bool { return b.at >= s.op.letsOthersIn+s.op.tells })
}

// shorter yields programs that do a little less, those that do much less first.
func (p program) shorter() iter.Seq[program] {
	return func(yield func(program) bool) {
		for n := len(p) - 1; n > 0; n /= 2 {
			for i := 0; i+n <= len(p); i++ {
				if !yield(slices.Concat(p[:i], p[i+n:])) {
					return
				}
			}
		}
		for i, s := range p {
			for smaller := range s.smaller() {
				q := slices.Clone(p)
				q[i] = smaller
				if !yield(q) {
					return
				}
			}
		}
	}
}

// smaller yields the step with less beside it, and with smaller pieces.
func (s step) smaller() iter.Seq[step] {
	return func(yield func(step) bool) {
		for i := range s.beside {
			less := s
			less.beside = slices.Concat(s.beside[:i], s.beside[i+1:])
			if !yield(less) {
				return
			}
		}
		for i, b := range s.beside {
			for piece := range b.piece.smaller() {
				less := s
				less.beside = slices.Clone(s.beside)
				less.beside[i].piece = piece
				if !yield(less) {
					return
				}
			}
		}
		for piece := range s.piece.smaller() {
			less := s
			less.piece = piece
			if !yield(less) {
				return
			}
		}
	}
}

// smaller yields simpler pieces: one sector, the first half, whole sectors, the
// disk's start.
func (p piece) smaller() iter.Seq[piece] {
	return func(yield func(piece) bool) {
		start := p.off / vhd.SectorSize * vhd.SectorSize
		for _, q := range []piece{{0, vhd.SectorSize}, {start, vhd.SectorSize}, {p.off, p.n / 2 / vhd.SectorSize * vhd.SectorSize}, {0, p.n}} {
			if q.n > 0 && q != p && (q.n < p.n || q.n == p.n && q.off < p.off) && !yield(q) {
				return
			}
		}
	}
}
