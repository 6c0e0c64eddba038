package vhd

// writeZeroes makes n bytes at off, which are on the disk, read as zeros.
func (d *Disk) writeZeroes(off, n int64) error {
	if err := d.syncBelow(); err != nil { // what is zeros there is not written
		return err
	}
	for n > 0 {
		if err := d.flushIfLarge(); err != nil {
			return err
		}
		piece, err := d.zeroPiece(off, n)
		if err != nil {
			return err
		}
		off, n = off+piece, n-piece
	}
	return nil
}

// maxFixedPiece is how much of a fixed leaf is zeroed at once, since nobody else
// writes meanwhile.
const maxFixedPiece = 64 << 20

// zeroPiece zeroes as much of n bytes as one call does, and says how much: a piece
// of one block, or of one window with many.
func (d *Disk) zeroPiece(off, n int64) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.publishChanges()
	if err := d.writable(off, n); err != nil {
		return 0, err
	}
	w := d.leaf()
	if w == nil {
		l := d.view().top()
		n = min(n, maxFixedPiece)
		return n, inFile(l.img.name, zeroRange(l.file, off, n))
	}
	size := max(w.img.header.BlockSize, windowSize)
	n = min(n, size-off%size)
	defer d.noteWrite(off, n)
	return n, d.zeroInLeaf(off, n)
}

// zeroInLeaf zeroes a piece of a leaf with blocks.
func (d *Disk) zeroInLeaf(off, n int64) error {
	start, end := roundUp(off, SectorSize), (off+n)/SectorSize*SectorSize
	if start > end { // within one sector
		return d.zeroPart(off, n)
	}
	if err := d.zeroPart(off, start-off); err != nil {
		return err
	}
	z := zeroer{disk: d, window: -1}
	spb := d.leaf().img.sectorsPerBlock
	for sector := start / SectorSize; sector < end/SectorSize; {
		there := d.view().firstBlock(d.view().chain[0], sector/spb, (end/SectorSize+spb-1)/spb) * spb
		if e, n := z.serves(sector); e.layer == hole && there > sector {
			sector += min(n, there-sector) // it reads as zeros, and takes no space
			continue
		}
		next := min(sector/spb*spb+spb, end/SectorSize)
		if err := z.zeroSectors(sector, next); err != nil {
			return err
		}
		sector = next
	}
	return d.zeroPart(end, off+n-end)
}

// zeroPart zeroes a part of one sector.
func (d *Disk) zeroPart(off, n int64) error {
	if n == 0 {
		return nil
	}
	if e, _ := d.mapOfSector(off / SectorSize).from(off / SectorSize); e.layer == hole {
		b, err := d.leaf().block(off / SectorSize / d.leaf().img.sectorsPerBlock)
		if err != nil || !d.leaf().mayHide(b) {
			return err
		}
	}
	var zeros [SectorSize]byte
	_, err := d.writePart(zeros[:n], off)
	return err
}

// zeroer zeroes sectors, one behind the other. It remembers what serves the
// window where it is as it was when it came there: what it changes is behind it,
// or zeros.
type zeroer struct {
	disk   *Disk
	window int64
	all    *blockMap
	below  *blockMap // what the leaf's parents have there; nil: not asked yet

	builder mapBuilder
}

// serves is what serves a sector, and for how many.
func (z *zeroer) serves(sector int64) (e mapExtent, n int64) {
	z.enter(sector)
	return z.all.from(sector)
}

// servesBelow is the same without the leaf.
func (z *zeroer) servesBelow(sector int64) (e mapExtent, n int64) {
	z.enter(sector)
	if z.below == nil {
		z.below, _ = z.builder.build(z.disk.view(), z.window, 1)
	}
	return z.below.from(sector)
}

func (z *zeroer) enter(sector int64) {
	if window := sector / windowSectors; z.window != window {
		z.window, z.all, z.below = window, z.disk.mapOfSector(sector), nil
	}
}

// zeroSectors zeroes sectors of one block, from first to end on the disk.
func (z *zeroer) zeroSectors(first, end int64) error {
	d := z.disk
	spb := d.leaf().img.sectorsPerBlock
	b, err := d.leaf().block(first / spb)
	if err != nil {
		return err
	}
	whole := first%spb == 0 && (end%spb == 0 || end*SectorSize == d.view().size)
	if b.off != 0 && whole && !d.needsZeros() && z.nothingBelow(first, end) {
		d.leaf().free(b)
		d.remap(b, 0, spb)
		return nil
	}
	for first < end {
		e, n := z.serves(first)
		n = min(n, end-first)
		switch e.layer {
		case hole: // nothing below either, and it stays so
			if d.leaf().mayHide(b) {
				err = d.writeZerosAsData(b, first%spb, n)
			}
		case d.leaf().number:
			err = inFile(d.leaf().img.name, zeroRange(d.leaf().file, e.off, n*SectorSize))
		default:
			err = d.writeZerosAsData(b, first%spb, n) // W8
		}
		if err != nil {
			return err
		}
		first += n
	}
	return nil
}

// mayHide says whether something may be under clear bits of a block, which those who ignore
// bitmaps in a disk without a parent read (W10).
func (w *leaf) mayHide(b *leafBlock) bool { return b.off != 0 && !w.hasParent() }

// nothingBelow says whether sectors would read as zeros without the leaf.
func (z *zeroer) nothingBelow(first, end int64) bool {
	for first < end {
		e, n := z.servesBelow(first)
		if e.layer != hole {
			return false
		}
		first += n
	}
	return true
}

// writeZerosAsData makes zeros that are data of n sectors of a block, over what a parent
// holds, or what can't be read, or is hidden. They need not take space.
func (d *Disk) writeZerosAsData(b *leafBlock, inBlock, n int64) error {
	w := d.leaf()
	off := b.off
	if off == 0 {
		var err error
		if off, _, err = d.allocate(); err != nil {
			return err
		}
	}
	dataOff := off + w.img.bitmapArea + inBlock*SectorSize
	if err := zeroRange(w.file, dataOff, n*SectorSize); err != nil {
		if b.off == 0 {
			w.release(off)
		}
		return inFile(w.img.name, inPart("data", dataOff, err))
	}
	if b.off == 0 {
		w.place(b, off)
	}
	w.set(b, inBlock, n)
	d.remap(b, inBlock, n)
	return nil
}
