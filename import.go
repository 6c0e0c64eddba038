package vhd

import (
	"context"
	"errors"
	"io"
	"os"
)

// ImportOptions say how content is imported.
type ImportOptions struct {
	// Progress, if it is set, is told now and then how many bytes are done, one
	// call at a time, by whatever goroutine. It holds up the copy while it runs.
	Progress func(done, total int64)
}

// Import makes the first size bytes of the disk those of r. Blocks of nothing but
// zeros take no space, except over a parent's data. A size that is negative or more than Size is
// ErrOutOfRange, that the file system says that it has surely too little room for it, ErrNoSpace, and
// nothing is written. If r ends before, that is
// io.ErrUnexpectedEOF; other errors of r are returned as they are. Any later
// error, and the end of ctx, leave a part of the content imported.
//
// Holes of an *os.File are not read. Its position is moved meanwhile, and put
// back.
//
// What was imported is durable after Sync.
func (d *Disk) Import(ctx context.Context, r io.ReaderAt, size int64, opts ImportOptions) error {
	if err := d.writable(0, size); err != nil {
		return err
	}
	defer keepPosition(r)()
	if err := d.checkImport(ctx, r, size); err != nil {
		return err
	}
	b := bulk{size: size, piece: windowSize, progress: opts.Progress}
	if w := d.leaf(); w != nil {
		b.piece = max(b.piece, w.img.header.BlockSize) // so that a block of zeros is seen whole
	}
	_, err := b.run(ctx, func(buf []byte, off, n int64) error { return d.importPiece(r, buf, off, off+n) })
	return err
}

// keepPosition is what puts the position of a file back, which asking it for holes moves.
func keepPosition(r io.ReaderAt) (putBack func()) {
	if f, ok := r.(*os.File); ok {
		if at, err := f.Seek(0, io.SeekCurrent); err == nil {
			return func() { _, _ = f.Seek(at, io.SeekStart) }
		}
	}
	return func() {}
}

func (d *Disk) importPiece(r io.ReaderAt, buf []byte, off, end int64) error {
	zeros := pendingZeros{disk: d, pieceEnd: end}
	if w := d.leaf(); w == nil || !w.hasParent() { // later, one sector would make a block of it
		zeros.ask(off)
	}
	for from, to := range dataOf(r, off, end) {
		zeros.add(off, from)
		for off = from; off < to; {
			p := buf[:min(int64(len(buf)), to-off)]
			if err := readContent(r, p, off); err != nil {
				return err
			}
			if err := d.importData(newContent(r, p, off), off, &zeros); err != nil {
				return err
			}
			off += int64(len(p))
		}
	}
	zeros.add(off, end)
	return zeros.write()
}

// pendingZeros are zeros that are written once it is known how far they go.
type pendingZeros struct {
	disk     *Disk
	pieceEnd int64
	asked    bool
	blank    bool // all is zeros already, but for what was imported in front
	off, end int64
}

// ask finds out about what is from off on, before any of it is imported. Who
// imports no zeros over a parent's data needs not to know, and spares the parent.
func (z *pendingZeros) ask(off int64) {
	if !z.asked {
		z.asked, z.blank = true, z.disk.isBlank(off, z.pieceEnd)
	}
}

// add adds zeros behind those that are there, or the first.
func (z *pendingZeros) add(off, end int64) {
	if off < end {
		z.ask(off)
	}
	if z.off == z.end {
		z.off = off
	}
	z.end = end
}

func (z *pendingZeros) write() error {
	off, n := z.off, z.end-z.off
	z.off = z.end
	if z.blank || n == 0 {
		return nil
	}
	return z.disk.WriteZeroes(off, n)
}

// isBlank says whether what is between off and end reads as zeros and takes no
// space. Where that can't be told it is not.
func (d *Disk) isBlank(off, end int64) bool {
	if v := d.view(); v.windows == nil {
		from, _ := nextData(v.top().file, off, end)
		return from == end
	}
	for e, err := range d.Extents(off, end-off) {
		if err != nil || e.Depth != Hole {
			return false
		}
	}
	return true
}

// readContent is readFull for what is no image: if it ends, that is
// io.ErrUnexpectedEOF.
func readContent(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// newContent is what was read from r at off.
func newContent(r io.ReaderAt, p []byte, off int64) content {
	src, _ := r.(*os.File)
	return content{p, src, off}
}

// importData writes c at off, but for its zeros.
func (d *Disk) importData(c content, off int64, zeros *pendingZeros) error {
	for r := range stretches(c.p, int(d.zeroUnit())) {
		if r.zeros {
			zeros.add(off+int64(r.from), off+int64(r.to))
			continue
		}
		if err := zeros.write(); err != nil {
			return err
		}
		if _, err := d.writeAt(c.cut(r.from, r.to), off+int64(r.from)); err != nil {
			return err
		}
	}
	return nil
}

// zeroUnit is the least of zeros worth leaving out: less is no hole in the file,
// and no block.
func (d *Disk) zeroUnit() int64 {
	w := d.leaf()
	if w == nil {
		return holeUnit
	}
	return min(holeUnit, w.img.header.BlockSize)
}
