package vhd

import "iter"

// emit puts all that is written into o.
func (p *exportPlan) emit(o *outflow) error {
	put := p.emitContent
	if p.hasBlocks() {
		put = p.emitBlocks
	}
	if err := put(o); err != nil {
		return err
	}
	if o.done = p.content; p.layout == nil {
		return nil
	}
	return p.emitFooter(o)
}

func (p *exportPlan) emitContent(o *outflow) error { return o.putContent(p.disk, 0, p.content) }

func (p *exportPlan) emitFooter(o *outflow) error {
	if err := o.putZerosTo(p.layout.footerOff(p.nblocks)); err != nil {
		return err
	}
	return o.put(p.layout.footer)
}

// emitBlocks puts all in front of the footer into o, but for the zeros behind the
// last block.
func (p *exportPlan) emitBlocks(o *outflow) error {
	if err := p.emitTables(o); err != nil {
		return err
	}
	bitmaps, nbefore := p.bitmaps(), int64(0)
	for block := range p.blocks.within(0, int64(p.image.tableEntries())) {
		if err := o.putZerosTo(p.layout.blockOff(nbefore)); err != nil {
			return err
		}
		bitmap, err := bitmaps.of(block)
		if err != nil {
			return err
		}
		if err := p.emitBlock(o, block, bitmap); err != nil {
			return err
		}
		nbefore++
	}
	return nil
}

// emitTables puts all in front of the blocks into o.
func (p *exportPlan) emitTables(o *outflow) error {
	if err := o.put(p.layout.head); err != nil {
		return err
	}
	return p.emitTable(o)
}

// emitTable puts the BAT into o: the blocks stand in the file one behind the other.
func (p *exportPlan) emitTable(o *outflow) error {
	first, nentries, nbefore := int64(0), int64(p.image.tableEntries()), int64(0)
	for o.written < p.layout.tableEnd {
		room, err := o.next(p.layout.tableEnd - o.written)
		if err != nil {
			return err
		}
		n := int64(len(room)) / batEntrySize
		for i := range n {
			putBATEntry(room, i, noBlock)
		}
		for block := range p.blocks.within(first, min(first+n, nentries)) {
			putBATEntry(room, block-first, batEntryAt(p.layout.blockOff(nbefore)))
			nbefore++
		}
		first += n
	}
	return nil
}

// emitBlock puts a block into o: its bitmap, what the disk has of the sectors that
// the bitmap names, and zeros for others.
func (p *exportPlan) emitBlock(o *outflow, block int64, bitmap []byte) error {
	if err := o.put(bitmap); err != nil {
		return err
	}
	first, start := block*p.image.blockSize, o.written
	for off, n := range p.named(block, bitmap) {
		if err := o.putZerosTo(start + off - first); err != nil {
			return err
		}
		if err := o.putContent(p.disk, off, n); err != nil {
			return err
		}
	}
	o.done = min(first+p.image.blockSize, p.content)
	return o.putZerosTo(start + p.image.blockSize)
}

// named yields what the bitmap names of a block, as far as the disk goes, in runs of
// up to a window: offset on the disk, and bytes.
func (p *exportPlan) named(block int64, bitmap []byte) iter.Seq2[int64, int64] {
	return func(yield func(off, n int64) bool) {
		start := block * p.image.blockSize
		nsectors := min(p.image.blockSize, p.content-start) / SectorSize
		for first := int64(0); first < nsectors; first += windowSectors {
			end := int(min(windowSectors, nsectors-first))
			var here sectorSet
			here.addBitmap(bitmap[first/8:], 0, end)
			for at, n := here.next(0, end); n > 0; at, n = here.next(at+n, end) {
				if !yield(start+(first+int64(at))*SectorSize, int64(n)*SectorSize) {
					return
				}
			}
		}
	}
}

// blockBitmaps are the sector bitmaps of blocks, which are asked for in order. In a
// dynamic disk all sectors of a block are here. In a differencing one those are
// that changed, by what the images say at that moment, right before the block is
// read.
type blockBitmaps struct {
	plan *exportPlan
	area []byte // of one block, as it is in the file

	changed []byte // a bit for each sector from from on, up to to
	from    int64  // bytes of the disk
	to      int64
}

func (p *exportPlan) bitmaps() *blockBitmaps {
	b := &blockBitmaps{plan: p, area: make([]byte, p.layout.blocks.bitmapArea)}
	if p.image.diskType == Dynamic {
		setBits(b.area, 0, p.image.blockSize/SectorSize)
	}
	return b
}

// of is the bitmap of a block, until the next one is asked for.
func (b *blockBitmaps) of(block int64) ([]byte, error) {
	if b.plan.image.diskType == Dynamic {
		return b.area, nil
	}
	size := b.plan.image.blockSize
	if block*size >= b.to {
		if err := b.ask(block * size); err != nil {
			return nil, err
		}
	}
	first, n := (block*size-b.from)/SectorSize, size/SectorSize
	copy(b.area, b.changed[first/8:][:bitmapBytes(n)])
	if n < 8 { // within a byte
		b.area[0] = b.area[0] << (first % 8) & (^byte(0) << (8 - n))
	}
	return b.area, nil
}

// ask asks what changed around off: in one window, or one block if that is
// larger.
func (b *blockBitmaps) ask(off int64) error {
	size := max(b.plan.image.blockSize, windowSize)
	off = off / size * size
	if b.changed == nil {
		b.changed = make([]byte, size/SectorSize/8)
	}
	clear(b.changed)
	for e, err := range b.plan.disk.changedSince(b.plan.base, off, size) {
		if err != nil {
			return err
		}
		setBits(b.changed, (e.Offset-off)/SectorSize, e.Length/SectorSize)
	}
	b.from, b.to = off, off+size
	return nil
}
