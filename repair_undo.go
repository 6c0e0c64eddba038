package vhd

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"slices"
)

// An undo file holds what a repair overwrites or cuts off. Integers are
// big-endian:
//
//	offset size
//	     0   16  cookie "vhd repair undo\n"
//	    16    8  size of the image before
//	    24    8  the least that it has while it is repaired
//	    32    8  the most
//	    40    8  number of versions
//	    48       runs of sectors of the image, in order
//	             versions of sectors, in order
//	        32   SHA-256 of all before
//
// A run is its first sector (8), how many it has (4), 1 if all are zeros (4), and if
// not, the sectors as they were before. A run of no sectors is the last. A version
// is a sector's number (8) and the first 8 bytes of the SHA-256 of what it holds at
// some moment of the repair. By these an image is known that the repair left,
// finished or not. The last sector of an image may be one in part, and has zeros
// for the rest.
const (
	undoCookie      = "vhd repair undo\n"
	undoHeaderSize  = 48
	undoRunHead     = 16
	undoVersionSize = 16

	undoRunZeros = 1

	// maxUndoRun bounds the sectors of one run, and maxUndoVersions the versions:
	// more a repair never makes.
	maxUndoRun      = 128
	maxUndoVersions = 1 << 20

	// maxWitness bounds how much of the BAT is kept in an undo file although it is
	// not changed, so that an image is known that was written to since, bytes.
	maxWitness = 1 << 20
)

// undoVersion is what a sector of the image holds at a moment of the repair.
type undoVersion struct {
	sector int64
	sum    [8]byte
}

func newUndoVersion(sector int64, p []byte) undoVersion {
	sum := sha256.Sum256(p)
	return undoVersion{sector, [8]byte(sum[:])}
}

func (v undoVersion) compare(u undoVersion) int {
	return cmp.Or(cmp.Compare(v.sector, u.sector), slices.Compare(v.sum[:], u.sum[:]))
}

// undoing is what an undo file is made of.
type undoing struct {
	before      *overlay // the image as it was
	least, most int64    // sizes
	changed     []span   // whole sectors, in order, apart
	versions    []undoVersion
}

// undoOf is the undo file of what was done to an overlay.
func undoOf(o *overlay) (*undoing, error) {
	u := &undoing{before: newOverlay(o.base, o.was), least: o.was, most: o.was}
	for _, image := range []*overlay{u.before, o} {
		witnesses, err := witnessesIn(image, image.size)
		if err != nil {
			return nil, err
		}
		for _, w := range witnesses {
			u.touch(w.off, w.end)
		}
	}
	if err := u.follow(o.changes); err != nil {
		return nil, err
	}
	u.touch(u.least, o.was)
	u.join()
	return u, nil
}

// witnessesIn are the pieces of an image that an undo file holds even where they are
// not changed, as by them it is known. What has no footer has none.
func witnessesIn(r io.ReaderAt, size int64) ([]span, error) {
	m := &Image{file: r}
	m.fileSize.Store(size)
	var s scratch
	if err := m.readFooters(&s); err != nil {
		return nil, unlessAboutStructure(err)
	}
	witnesses := []span{{inFooter, m.footerOff, m.footerOff + footerSize}}
	if m.footer.Type == Fixed {
		return witnesses, nil
	}
	witnesses = append(witnesses, span{inFooter, 0, footerSize})
	if err := m.readHeader(s.start[footerSize:][:dynHeaderSize]); err != nil {
		return witnesses, unlessAboutStructure(err)
	}
	witnesses = append(witnesses, span{inHeader, m.footer.DataOffset, m.footer.DataOffset + dynHeaderSize})
	if m.checkTablePlace() == nil {
		off := m.header.TableOffset
		witnesses = append(witnesses, span{inBAT, off, min(m.tableEnd(), off+maxWitness)})
	}
	return witnesses, nil
}

// unlessAboutStructure is err if the file could not be read.
func unlessAboutStructure(err error) error {
	if isAboutStructure(err) {
		return nil
	}
	return err
}

// touch notes that an undo has to look at the bytes from off to end.
func (u *undoing) touch(off, end int64) {
	off, end = off/SectorSize*SectorSize, roundUp(min(end, u.before.was), SectorSize)
	if off < end {
		u.changed = append(u.changed, span{off: off, end: end})
	}
}

// join puts what was touched in order.
func (u *undoing) join() {
	slices.SortFunc(u.changed, func(a, b span) int { return cmp.Compare(a.off, b.off) })
	joined := u.changed[:0]
	for _, s := range u.changed {
		if n := len(joined); n > 0 && joined[n-1].end >= s.off {
			joined[n-1].end = max(joined[n-1].end, s.end)
			continue
		}
		joined = append(joined, s)
	}
	u.changed = joined
	slices.SortFunc(u.versions, undoVersion.compare)
	u.versions = slices.Compact(u.versions)
}

// follow makes the changes once more, to see what sectors hold on the way.
func (u *undoing) follow(changes []change) error {
	way := newOverlay(u.before.base, u.before.was)
	for _, c := range changes {
		way.apply(c)
		u.least, u.most = min(u.least, way.size), max(u.most, way.size)
		var err error
		switch {
		case c.kind == changeSize && c.off%SectorSize != 0:
			err = u.see(way, c.off, c.off+1)
		case c.n > 0:
			u.touch(c.off, c.off+c.n)
			err = u.see(way, c.off, c.off+c.n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// see notes what the sectors from off to end hold.
func (u *undoing) see(way *overlay, off, end int64) error {
	return eachPiece(off, end, func(p []byte, off int64) error {
		if err := readPadded(way, p, off, way.size); err != nil {
			return err
		}
		for at := int64(0); at < int64(len(p)); at += SectorSize {
			u.versions = append(u.versions, newUndoVersion((off+at)/SectorSize, p[at:][:SectorSize]))
		}
		return nil
	})
}

// eachPiece calls f for the sectors that have bytes from off to end, a few at a
// time.
func eachPiece(off, end int64, f func(p []byte, off int64) error) error {
	off, end = off/SectorSize*SectorSize, roundUp(end, SectorSize)
	buf := make([]byte, max(0, min(end-off, maxUndoRun*SectorSize)))
	for ; off < end; off += int64(len(buf)) {
		if err := f(buf[:min(end-off, int64(len(buf)))], off); err != nil {
			return err
		}
	}
	return nil
}

// readPadded reads p at off of a file of size bytes, behind which are zeros.
func readPadded(r io.ReaderAt, p []byte, off, size int64) error {
	there := min(max(size-off, 0), int64(len(p)))
	clear(p[there:])
	return readFull(r, p[:there], off)
}

// size is that of the undo file.
func (u *undoing) size(ctx context.Context) (int64, error) {
	var n byteCounter
	err := u.write(ctx, &n)
	return int64(n), err
}

// byteCounter counts what is written to it.
type byteCounter int64

func (n *byteCounter) Write(p []byte) (int, error) {
	*n += byteCounter(len(p))
	return len(p), nil
}

// write writes the undo file.
func (u *undoing) write(ctx context.Context, w io.Writer) error {
	sum := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<20)
	raw := []byte(undoCookie)
	for _, n := range []int64{u.before.was, u.least, u.most, int64(len(u.versions))} {
		raw = binary.BigEndian.AppendUint64(raw, uint64(n)) //nolint:gosec // none is negative
	}
	_, _ = out.Write(raw) // an error comes again, at the end
	for _, s := range u.changed {
		if err := u.writeRuns(ctx, out, s); err != nil {
			return err
		}
	}
	_, _ = out.Write(make([]byte, undoRunHead))
	for _, v := range u.versions {
		raw = binary.BigEndian.AppendUint64(raw[:0], uint64(v.sector)) //nolint:gosec // not negative
		_, _ = out.Write(append(raw, v.sum[:]...))
	}
	if err := out.Flush(); err != nil {
		return err
	}
	_, _ = out.Write(sum.Sum(nil))
	return out.Flush()
}

// writeRuns writes what the image has in s.
func (u *undoing) writeRuns(ctx context.Context, out *bufio.Writer, s span) error {
	return eachPiece(s.off, s.end, func(p []byte, off int64) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := readPadded(u.before, p, off, u.before.was); err != nil {
			return err
		}
		for run := range stretches(p, SectorSize) {
			head := binary.BigEndian.AppendUint64(nil, uint64(off+int64(run.from))/SectorSize) //nolint:gosec // not negative
			head = binary.BigEndian.AppendUint32(head, uint32(run.to-run.from)/SectorSize)     //nolint:gosec // at most maxUndoRun
			if run.zeros {
				_, _ = out.Write(binary.BigEndian.AppendUint32(head, undoRunZeros))
				continue
			}
			_, _ = out.Write(binary.BigEndian.AppendUint32(head, 0))
			_, _ = out.Write(p[run.from:run.to])
		}
		return nil
	})
}

// fileWriter writes a file from its start on.
type fileWriter struct {
	f   File
	off int64
}

func (w *fileWriter) Write(p []byte) (int, error) {
	n, err := writeFull(w.f, p, w.off)
	w.off += int64(n)
	return n, err
}
