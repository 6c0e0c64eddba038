package vhd

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
)

// toFile writes to a file, in which zeros are holes, and where order is of no
// matter.
func (p *exportPlan) toFile(ctx context.Context, t *fileTarget) (done int64, err error) {
	t.eager = p.sync
	if err := t.begin(p.size); err != nil {
		return 0, err
	}
	if p.layout != nil { // what the file was may have a footer there
		if err := t.zero(p.size-footerSize, footerSize); err != nil {
			return 0, err
		}
	}
	if p.hasBlocks() {
		done, err = p.blocksToFile(ctx, t)
	} else {
		done, err = p.contentToFile(ctx, t)
	}
	if err == nil {
		err = t.end(p.size)
	}
	return done, err
}

// contentToFile writes the content to a file, and of a fixed disk what comes behind
// it.
func (p *exportPlan) contentToFile(ctx context.Context, t *fileTarget) (int64, error) {
	b := bulk{size: p.content, piece: windowSize, progress: p.progress} // so that each block map is made once
	done, err := b.run(ctx, func(buf []byte, off, n int64) error {
		defer t.isComplete(off, n)
		return p.disk.exportPiece(t, buf, off, n)
	})
	if err != nil || p.layout == nil {
		return done, err
	}
	return p.footerToFile(t, p.content)
}

// footerToFile writes the footer, and zeros between it and what ends at end.
func (p *exportPlan) footerToFile(t *fileTarget, end int64) (int64, error) {
	off := p.layout.footerOff(p.nblocks)
	if err := t.zero(end, off-end); err != nil {
		return end, err
	}
	if _, err := writeFull(t.file, p.layout.footer, t.start+off); err != nil {
		return off, err
	}
	return p.size, nil
}

// blocksToFile writes a disk with blocks to a file. The footer's copy comes last: a
// file that has none, and no footer at its end, is no VHD, whatever ended the
// export. With the copy it would be opened, and read as zeros where nothing was
// written.
func (p *exportPlan) blocksToFile(ctx context.Context, t *fileTarget) (int64, error) {
	done, err := p.toStream(ctx, &tableStream{target: t}, p.emitTables)
	if err != nil {
		return done, err
	}
	b := bulk{size: p.content, piece: max(windowSize, p.image.blockSize), progress: p.progress}
	_, err = b.run(ctx, func(buf []byte, off, n int64) error { return p.blocksInToFile(t, buf, off, n) })
	if err != nil {
		return done, err
	}
	if done, err = p.footerToFile(t, p.layout.endOf(p.nblocks)); err != nil {
		return done, err
	}
	if _, err := writeFull(t.file, p.layout.footer, t.start); err != nil {
		return 0, err
	}
	return done, nil
}

// blocksInToFile writes the blocks of a piece of the disk.
func (p *exportPlan) blocksInToFile(t *fileTarget, buf []byte, off, n int64) error {
	size := p.image.blockSize
	bitmaps := p.bitmaps()
	for block := range p.blocks.within(off/size, (off+n+size-1)/size) {
		bitmap, err := bitmaps.of(block)
		if err == nil {
			err = p.blockToFile(t, buf, block, bitmap)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// blockToFile writes a block, and zeros between it and the one in front.
func (p *exportPlan) blockToFile(t *fileTarget, buf []byte, block int64, bitmap []byte) error {
	nbefore := p.blocks.rank(block)
	at, end := p.layout.blockOff(nbefore), p.layout.endOf(nbefore)
	if err := t.zero(end, at-end); err != nil {
		return err
	}
	if _, err := writeFull(t.file, bitmap, t.start+at); err != nil {
		return err
	}
	done := block * p.image.blockSize
	data := *t
	data.start += at + int64(len(bitmap)) - done // where the disk would begin
	for off, n := range p.named(block, bitmap) {
		if err := data.zero(done, off-done); err != nil {
			return err
		}
		if err := p.runToFile(&data, buf, off, n); err != nil {
			return err
		}
		done = off + n
	}
	defer t.isComplete(at, p.layout.endOf(nbefore+1)-at)
	return data.zero(done, (block+1)*p.image.blockSize-done)
}

// runToFile copies n bytes of the disk that lie in one window.
func (p *exportPlan) runToFile(t *fileTarget, buf []byte, off, n int64) error {
	if n == windowSize {
		return p.disk.exportPiece(t, buf, off, n)
	}
	return p.disk.copyByReading(t, buf, off, n) // by block maps that are kept: there may be many runs in a window
}

// notInChain is why content can't be written to w: it would be over itself, or behind.
func (d *Disk) notInChain(w io.Writer) error {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	v := d.view()
	for depth := range v.chain {
		l := v.at(depth)
		if own, err := l.file.Stat(); err == nil && os.SameFile(own, info) {
			return inFile(l.img.name, fmt.Errorf("%w: it is exported to itself", ErrUnsupported))
		}
	}
	return nil
}

// exportPiece copies a piece of the content to a file. Space of the leaf that was freed and
// taken again meanwhile may have brought another block's bytes: then it is read as
// others read it, and written over that.
func (d *Disk) exportPiece(t *fileTarget, buf []byte, off, n int64) error {
	before := d.reuses.Load()
	err := d.exportOnce(t, buf, off, n)
	if d.reuses.Load() == before {
		return err
	}
	over := *t
	over.zerosFrom = max(over.zerosFrom, over.start+off+n)
	return d.copyByReading(&over, buf, off, n)
}

func (d *Disk) copyByReading(t *fileTarget, buf []byte, off, n int64) error {
	for end := off + n; off < end; {
		piece := buf[:min(int64(len(buf)), end-off)]
		if _, err := d.ReadAt(piece, off); err != nil {
			return err
		}
		if _, err := t.write(piece, off); err != nil {
			return err
		}
		off += int64(len(piece))
	}
	return nil
}

func (d *Disk) exportOnce(t *fileTarget, buf []byte, off, n int64) error {
	stored, err := d.storedExtents(off, n)
	if err != nil {
		return err
	}
	for end := off + n; off < end; {
		for stored[0].Offset+stored[0].Length <= off {
			stored = stored[1:]
		}
		size := min(int64(len(buf)), end-off)
		if hole := stored[0].Offset + stored[0].Length - off; stored[0].Depth == Hole && hole >= size {
			size = hole // however long: nothing is read
			err = t.zero(off, size)
		} else {
			err = d.exportData(t, buf[:size], stored, off)
		}
		if err != nil {
			return err
		}
		off += size
	}
	return nil
}

// askForHoles is the least of an extent that is worth asking its file for holes.
const askForHoles = 256 << 10

// storedExtents are the extents of n bytes from off on, without what is a hole in
// an image's own file. Space of the leaf that was freed meanwhile may be such a hole.
func (d *Disk) storedExtents(off, n int64) ([]servedExtent, error) {
	var stored []servedExtent
	for e, err := range d.servedExtents(off, n) {
		if err != nil {
			return nil, err
		}
		if e.Depth == Hole || e.Length < askForHoles {
			stored = append(stored, e)
			continue
		}
		at, end := e.FileOffset, e.FileOffset+e.Length
		for from, to := range dataOf(d.served(e.layer).data, at, end) {
			stored = append(stored, e.holePart(at, from), e.part(from, to))
			at = to
		}
		stored = append(stored, e.holePart(at, end))
	}
	return slices.DeleteFunc(stored, func(e servedExtent) bool { return e.Length == 0 }), nil
}

// settledExtents is storedExtents for who does not read what they name. Where space of
// the leaf was freed meanwhile, a hole may be where a block was: files are asked again. If
// that goes on, no file is asked, and holes pass for data.
func (d *Disk) settledExtents(off, n int64) ([]servedExtent, error) {
	const rounds = 8
	for range rounds {
		before := d.reuses.Load()
		stored, err := d.storedExtents(off, n)
		if d.reuses.Load() == before {
			return stored, err
		}
	}
	var served []servedExtent
	for e, err := range d.servedExtents(off, n) {
		if err != nil {
			return nil, err
		}
		served = append(served, e)
	}
	return served, nil
}

// part is the part of e that stands from from to to in its image's file.
func (e servedExtent) part(from, to int64) servedExtent {
	return servedExtent{FileExtent{Extent{e.Offset + from - e.FileOffset, to - from, e.Depth}, from}, e.layer}
}

// holePart is the same part as a hole.
func (e servedExtent) holePart(from, to int64) servedExtent {
	return holeAt(e.Offset+from-e.FileOffset, to-from)
}

// exportData copies the bytes at off, which buf has room for. All are read, also
// those that the kernel copies then: only so are zeros found in them. Small
// extents are written together.
func (d *Disk) exportData(t *fileTarget, buf []byte, stored []servedExtent, off int64) error {
	if err := d.readStored(buf, stored, off); err != nil {
		return err
	}
	for r := range stretches(buf, holeUnit) {
		at, n := off+int64(r.from), int64(r.to-r.from)
		if r.zeros {
			if err := t.zero(at, n); err != nil {
				return err
			}
			continue
		}
		c := content{p: buf[r.from:r.to]}
		c.src, c.srcOff = d.sourceOf(stored, at, n)
		if _, err := c.writeTo(t.file, t.start+at); err != nil {
			return err
		}
	}
	return nil
}

// readStored reads what the extents have for p, which is at off.
func (d *Disk) readStored(p []byte, stored []servedExtent, off int64) error {
	for i := 0; len(p) > 0; i++ {
		e := stored[i]
		n := min(e.Offset+e.Length-off, int64(len(p)))
		if e.Depth == Hole {
			clear(p[:n])
		} else if err := d.served(e.layer).readData(p[:n], e.FileOffset+off-e.Offset); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// sourceOf is the file that has all of n bytes at off one behind the other, and
// where; nil if none has.
func (d *Disk) sourceOf(stored []servedExtent, off, n int64) (src *os.File, srcOff int64) {
	i, _ := slices.BinarySearchFunc(stored, off, func(e servedExtent, off int64) int { return cmp.Compare(e.Offset+e.Length-1, off) })
	e := stored[i]
	if e.Depth == Hole || e.Offset+e.Length < off+n {
		return nil, 0
	}
	src, _ = d.served(e.layer).data.(*os.File)
	return src, e.FileOffset + off - e.Offset
}

// fileTarget is a regular file that is exported to.
type fileTarget struct {
	file      *os.File
	start     int64 // where what is exported begins
	zerosFrom int64 // from here on the file reads as zeros
	eager     bool  // it is to be durable soon
}

// newFileTarget is w as one, or nil if it must be written from first to last.
func newFileTarget(w io.Writer) *fileTarget {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	start, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil
	}
	if _, err := f.WriteAt(nil, start); err != nil { // it is open for appending
		return nil
	}
	return &fileTarget{file: f, start: start, zerosFrom: info.Size()}
}

// begin makes the file long enough.
func (t *fileTarget) begin(size int64) error {
	if t.start+size <= t.zerosFrom {
		return nil
	}
	makeSparse(t.file)
	return t.file.Truncate(t.start + size)
}

// end puts the file's position behind what was exported.
func (t *fileTarget) end(size int64) error {
	_, err := t.file.Seek(t.start+size, io.SeekStart)
	return err
}

// zero makes n bytes of what is exported zeros.
func (t *fileTarget) zero(off, n int64) error {
	return zeroRange(t.file, t.start+off, min(n, t.zerosFrom-t.start-off))
}

// isComplete notes that nothing more is written to n bytes.
func (t *fileTarget) isComplete(off, n int64) {
	if t.eager {
		beginSync(t.file, t.start+off, n)
	}
}

// write writes p at off, but for its zeros.
func (t *fileTarget) write(p []byte, off int64) (n int, err error) {
	for r := range stretches(p, holeUnit) {
		at := off + int64(r.from)
		if r.zeros {
			err = t.zero(at, int64(r.to-r.from))
		} else {
			_, err = writeFull(t.file, p[r.from:r.to], t.start+at)
		}
		if err != nil {
			return r.from, err
		}
	}
	return len(p), nil
}

// tableStream writes what is in front of the blocks, but for the footer's copy.
type tableStream struct {
	target *fileTarget
	off    int64
}

func (s *tableStream) Write(p []byte) (int, error) {
	if s.off == 0 {
		clear(p[:footerSize]) // the buffer is the export's own
	}
	n, err := s.target.write(p, s.off)
	s.off += int64(n)
	return n, err
}
