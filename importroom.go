package vhd

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
)

// importRoom finds out whether there is room for what is imported. Of what is read no lock is
// held: it may come from anywhere, from the disk itself too.
type importRoom struct {
	disk *Disk
	from io.ReaderAt
	size int64
	need roomNeeded
	buf  []byte
}

// checkImport is why there is surely too little room for size bytes of r. Holes and zeros of it
// take none. Only if all else is too much it is read, to look for zeros, up to where it is clear.
func (d *Disk) checkImport(ctx context.Context, r io.ReaderAt, size int64) error {
	i := importRoom{disk: d, from: r, size: size}
	if _, ok := d.opts.files().(spacer); !ok || i.mayShare() || i.isPlenty() {
		return nil
	}
	err := i.check(ctx, i.addStored)
	if errors.Is(err, ErrNoSpace) {
		i.buf = make([]byte, bulkBuffer)
		err = i.check(ctx, i.addData)
	}
	return err
}

// mayShare says that nobody knows how little room the content takes in the leaf's file.
func (i *importRoom) mayShare() bool {
	f, ok := i.disk.view().top().file.(*os.File)
	_, isFile := i.from.(*os.File)
	return ok && (packsData(f) || isFile && sharesData(f))
}

// isPlenty says that there is room for all, whatever of it is zeros or there already: a block never takes
// more than twice what it holds.
func (i *importRoom) isPlenty() bool {
	unit := int64(holeUnit)
	if w := i.disk.leaf(); w != nil {
		unit = max(unit, w.img.header.BlockSize)
	}
	return i.size <= math.MaxInt64/4 && i.disk.opts.checkRoom(i.disk.fileName(i.disk.view().top()), 2*roundUp(i.size, unit)) == nil
}

// check adds piece by piece what is needed, until there is not room for it.
func (i *importRoom) check(ctx context.Context, add func(pieces []Extent, off, end int64) ([]Extent, error)) error {
	i.need = roomNeeded{disk: i.disk}
	var pieces []Extent
	for off := int64(0); off < i.size; off += windowSize {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		if pieces, err = add(pieces[:0], off, min(off+windowSize, i.size)); err != nil {
			return err
		}
		if err := i.needs(pieces); err != nil {
			return err
		}
	}
	return nil
}

// needs counts pieces, and is why there is not room for all until then.
func (i *importRoom) needs(pieces []Extent) error {
	i.disk.mu.RLock()
	defer i.disk.mu.RUnlock()
	if err := i.disk.usable(); err != nil {
		return err
	}
	for _, e := range pieces {
		i.need.add(e.Offset, e.Length)
	}
	return i.need.check()
}

// addStored adds what is no hole between off and end.
func (i *importRoom) addStored(pieces []Extent, off, end int64) ([]Extent, error) {
	for from, to := range dataOf(i.from, off, end) {
		pieces = append(pieces, Extent{Offset: from, Length: to - from})
	}
	return pieces, nil
}

// addData adds what is not zeros between off and end.
func (i *importRoom) addData(pieces []Extent, off, end int64) ([]Extent, error) {
	return appendData(pieces, i.from, off, end, i.disk.zeroUnit(), i.buf)
}

// appendData appends what of r is not zeros between off and end.
func appendData(pieces []Extent, r io.ReaderAt, off, end, unit int64, buf []byte) ([]Extent, error) {
	for from, to := range dataOf(r, off, end) {
		for from < to {
			p := buf[:min(int64(len(buf)), to-from)]
			if err := readContent(r, p, from); err != nil {
				return nil, err
			}
			for s := range stretches(p, int(unit)) {
				if !s.zeros {
					pieces = append(pieces, Extent{Offset: from + int64(s.from), Length: int64(s.to - s.from)})
				}
			}
			from += int64(len(p))
		}
	}
	return pieces, nil
}
