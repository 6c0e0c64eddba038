package vhd

import (
	"context"
	"fmt"
	"io"
)

// checkRoom is why what is exported to a file surely finds no room there.
func (p *exportPlan) checkRoom(ctx context.Context, t *fileTarget) error {
	if sharesData(t.file) || packsData(t.file) { // nobody knows how little room data takes there
		return nil
	}
	free, err := freeSpaceOf(t.file)
	if err != nil || p.size <= free {
		return nil //nolint:nilerr // who can't tell has no say
	}
	taken, err := t.taken(p.size)
	if err != nil {
		return err
	}
	return inFile(t.file.Name(), p.checkFree(ctx, free+min(taken, p.size-free)))
}

// checkFree is why that many bytes are too few. Holes and zeros take none: for holes the
// images' files are asked, and only if what they store is too much it is read, to look for zeros, up to
// where it is clear.
func (p *exportPlan) checkFree(ctx context.Context, free int64) error {
	n, err := p.count(ctx, free, func(e Extent) (int64, error) { return e.Length, nil })
	if err == nil && n > free {
		buf := make([]byte, bulkBuffer)
		n, err = p.count(ctx, free, func(e Extent) (int64, error) { return p.disk.countData(buf, e.Offset, e.Length) })
	}
	if err == nil && n > free {
		err = fmt.Errorf("%w: %d bytes and more are needed, and %d are free", ErrNoSpace, n, free)
	}
	return err
}

// count adds up what of gives for the content that is written, until it is more than most.
func (p *exportPlan) count(ctx context.Context, most int64, of func(e Extent) (int64, error)) (n int64, err error) {
	for off := int64(0); off < p.content; off += planPiece {
		extents, err := p.extentsIn(off, min(planPiece, p.content-off))
		if err != nil {
			return n, err
		}
		for _, e := range extents {
			if err := ctx.Err(); err != nil {
				return n, err
			}
			if e.Depth == Hole {
				continue
			}
			more, err := of(e)
			if n += more; err != nil || n > most {
				return n, err
			}
		}
	}
	return n, nil
}

// countData counts what is not zeros of n bytes from off on.
func (d *Disk) countData(buf []byte, off, n int64) (data int64, err error) {
	for end := off + n; off < end; {
		p := buf[:min(int64(len(buf)), end-off)]
		if _, err := d.ReadAt(p, off); err != nil {
			return data, err
		}
		data += dataIn(p)
		off += int64(len(p))
	}
	return data, nil
}

// dataIn is how many bytes of p are not left out as zeros.
func dataIn(p []byte) (n int64) {
	for s := range stretches(p, holeUnit) {
		if !s.zeros {
			n += int64(s.to - s.from)
		}
	}
	return n
}

// taken is how many bytes of the file that are written over take room already.
func (t *fileTarget) taken(size int64) (n int64, err error) {
	for from, to := range dataOf(t.file, t.start, min(t.start+size, t.zerosFrom)) {
		n += to - from
	}
	_, err = t.file.Seek(t.start, io.SeekStart) // which asking for holes has moved
	return n, err
}
