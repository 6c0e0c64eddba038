package vhd

// writeZeroes makes n bytes at off, which are on the disk, read as zeros.
func (d *Disk) writeZeroes(off, n int64) error {
	if d.leaf == nil {
		return d.zeroFixed(off, n)
	}
	for n > 0 {
		if err := d.flushIfLarge(); err != nil {
			return err
		}
		size := d.leaf.img.header.BlockSize
		piece := min(n, size-off%size)
		if err := d.zeroPiece(off, piece); err != nil {
			return err
		}
		off, n = off+piece, n-piece
	}
	return nil
}

func (d *Disk) zeroFixed(off, n int64) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if err := d.usable(); err != nil {
		return err
	}
	return inFile(d.layers[0].img.name, zeroRange(d.layers[0].file, off, n))
}

// zeroPiece zeroes a piece of one block.
func (d *Disk) zeroPiece(off, n int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	start, end := roundUp(off, SectorSize), (off+n)/SectorSize*SectorSize
	if start > end { // within one sector
		return d.zeroPart(off, n)
	}
	if err := d.zeroPart(off, start-off); err != nil {
		return err
	}
	if err := d.zeroSectors(start/SectorSize, end/SectorSize); err != nil {
		return err
	}
	return d.zeroPart(end, off+n-end)
}

// zeroPart zeroes a part of one sector.
func (d *Disk) zeroPart(off, n int64) error {
	if n == 0 {
		return nil
	}
	if e, _ := d.whoServes(off/SectorSize, 0); e.layer == hole {
		return nil
	}
	var zeros [SectorSize]byte
	_, err := d.writePart(zeros[:n], off)
	return err
}

// zeroSectors zeroes sectors of one block, from first to end on the disk.
func (d *Disk) zeroSectors(first, end int64) error {
	if first == end {
		return nil
	}
	spb := d.leaf.img.sectorsPerBlock
	b, err := d.leaf.block(first / spb)
	if err != nil {
		return err
	}
	whole := first%spb == 0 && (end%spb == 0 || end*SectorSize == d.size)
	if b.off != 0 && whole && d.nothingBelow(first, end) {
		d.leaf.free(b)
		d.remap(b, 0, spb)
		return nil
	}
	for first < end {
		e, n := d.whoServes(first, 0)
		n = min(n, end-first)
		switch e.layer {
		case hole: // nothing below either, and it stays so
		case 0:
			err = inFile(d.leaf.img.name, zeroRange(d.leaf.file, e.off, n*SectorSize))
		default:
			err = d.writeZerosAsData(first, n) // W8
		}
		if err != nil {
			return err
		}
		first += n
	}
	return nil
}

// nothingBelow says whether sectors would read as zeros without the leaf.
func (d *Disk) nothingBelow(first, end int64) bool {
	for first < end {
		e, n := d.whoServes(first, 1)
		if e.layer != hole {
			return false
		}
		first += n
	}
	return true
}

// whoServes is what serves a sector in the layers from top on, and for how many
// sectors of its window. The extent starts with the sector.
func (d *Disk) whoServes(sector int64, top int) (e mapExtent, n int64) {
	window := sector / windowSectors
	m := d.windows.get(window)
	if top > 0 || m == nil {
		m, _ = d.buildMap(window, top)
	}
	at := int(sector % windowSectors)
	e = m.extents[m.find(at)]
	return e.cut(uint16(at), e.end), int64(e.end) - int64(at) //nolint:gosec // at most windowSectors
}

// writeZerosAsData writes zeros over what a parent holds, or what can't be read.
func (d *Disk) writeZerosAsData(first, n int64) error {
	zeros := zeroBytes[:]
	for n > 0 {
		piece := min(n, int64(len(zeros))/SectorSize)
		if _, err := d.writeWhole(zeros[:piece*SectorSize], first); err != nil {
			return err
		}
		first, n = first+piece, n-piece
	}
	return nil
}

// zeroBytes are written where the file can't be told to hold zeros.
var zeroBytes [64 << 10]byte

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

// punchFrom is the least worth a hole in a file.
const punchFrom = 64 << 10
