package vhd

import (
	"cmp"
	"errors"
	"math/bits"
	"slices"
)

// mapBuilder asks the layers, from one down to the base, who serves the sectors
// of a window. It can be used again, and then has its memory already.
type mapBuilder struct {
	view    *view
	first   int64     // sector of the disk that the window starts with
	open    sectorSet // sectors that no layer has answered for yet
	nopen   int       // how many they are
	size    int       // sectors of the window that are on the disk
	extents []mapExtent
	errs    []error
	retry   bool // a layer could not be read now: what its file holds is not known

	bitmap [windowSectors / 8]byte // memory for what a window needs of one
}

// build makes the map of a window from the layers from Chain()[top] on. cacheable is
// false if a layer could not be read: the next read tries again. Of a
// writable disk the caller holds the lock, shared or not.
func (b *mapBuilder) build(v *view, window int64, top int) (m *blockMap, cacheable bool) {
	b.askLayers(v, window, top, len(v.chain))
	b.finish()
	m = newBlockMap(b.extents, b.errs)
	b.errs = nil
	return m, !b.retry
}

// askLayers asks the layers from Chain()[top] on, in front of Chain()[end], who
// serves a window's sectors. Those that they leave to the layers below stay open.
func (b *mapBuilder) askLayers(v *view, window int64, top, end int) {
	b.view, b.first = v, window*windowSectors
	b.size = int(min(windowSectors, max(v.size/SectorSize-b.first, 0)))
	b.extents, b.retry = b.extents[:0], false
	b.open, b.nopen = sectorSet{}, b.size
	b.open.add(0, b.size)
	for depth := top; depth < end && b.nopen > 0; depth++ {
		b.ask(v.chain[depth])
	}
}

// ask takes a layer's answer. Past the layer's end is zeros, whatever its own parents hold
// there.
func (b *mapBuilder) ask(number int32) {
	l := b.view.layers[number]
	end := int(min(max(l.img.footer.CurrentSize/SectorSize-b.first, 0), int64(b.size)))
	b.take(mapExtent{start: inWindow(end), end: inWindow(b.size), layer: hole})
	if end == 0 { // the window is behind the layer's end, and what block it would be in has no entry
		return
	}
	if l.table == nil {
		b.take(mapExtent{off: b.first * SectorSize, end: inWindow(end), layer: number})
		return
	}
	spb := l.img.sectorsPerBlock
	endBlock := (b.first + int64(end) + spb - 1) / spb
	for block := b.first / spb; block < endBlock; block++ {
		if block = b.view.firstBlock(number, block, endBlock); block == endBlock {
			return
		}
		sector := int(max(block*spb-b.first, 0))
		n := int(min((block+1)*spb-b.first, int64(end))) - sector
		if _, nopen := b.open.next(sector, sector+n); nopen > 0 {
			b.askBlock(number, block, sector, n)
		}
	}
}

// askBlock takes a layer's answer for n sectors of one block.
func (b *mapBuilder) askBlock(number int32, block int64, sector, n int) {
	l := b.view.layers[number]
	inBlock := b.first + int64(sector) - block*l.img.sectorsPerBlock
	e := mapExtent{start: inWindow(sector), end: inWindow(sector + n), layer: number}
	off, bitmap, err := b.view.blockAt(number, block, inBlock, b.bitmap[:(n+7)/8])
	switch {
	case err != nil:
		b.retry = b.retry || !errors.Is(err, ErrCorrupt)
		b.fail(e, inFile(l.img.name, err))
	case off != 0:
		e.off = off + l.img.bitmapArea + inBlock*SectorSize
		b.takeBits(e, bitmap, l.img.footerOff)
	}
}

// takeBits takes those sectors of e whose bits are set, a word of 64 at a time. As
// in sectorSet.addBitmap, either they begin with a word or all are in one. The
// layer's data ends at dataEnd.
func (b *mapBuilder) takeBits(e mapExtent, bitmap []byte, dataEnd int64) {
	end := int(e.end)
	for sector := int(e.start); sector < end; {
		n := min(64-sector%64, end-sector)
		word := wordAt(bitmap) & onesAt(0, n) >> (sector % 64) & b.open[sector/64]
		for word != 0 {
			first := bits.LeadingZeros64(word)
			run := bits.LeadingZeros64(^(word << first))
			at := sector/64*64 + first
			b.takePresent(e.cut(inWindow(at), inWindow(at+run)), dataEnd)
			word &^= onesAt(first, run)
		}
		bitmap = bitmap[min(8, len(bitmap)):]
		sector += n
	}
}

// takePresent takes sectors that layer e.layer has, and zeros where the block
// is cut off by the file's end.
func (b *mapBuilder) takePresent(e mapExtent, dataEnd int64) {
	there := roundUp(max(dataEnd-e.off, 0), SectorSize) / SectorSize
	cut := e.start + inWindow(min(there, int64(e.end-e.start)))
	b.take(e.cut(e.start, cut))
	b.take(mapExtent{start: cut, end: e.end, layer: hole})
}

// take makes e the answer for those of its sectors that are still open.
func (b *mapBuilder) take(e mapExtent) {
	end := int(e.end)
	for start, n := b.open.next(int(e.start), end); n > 0; start, n = b.open.next(start+n, end) {
		b.extents = appendExtent(b.extents, e.cut(inWindow(start), inWindow(start+n)))
		b.open.remove(start, n)
		b.nopen -= n
	}
}

// fail makes err the answer.
func (b *mapBuilder) fail(e mapExtent, err error) {
	b.errs = append(b.errs, err)
	e.layer, e.off = failing, int64(len(b.errs)-1)
	b.take(e)
}

// finish answers for what no layer has, and for what is behind the disk's end: a
// read that began before a Resize may still ask for that.
func (b *mapBuilder) finish() {
	rest := mapExtent{end: inWindow(b.size), layer: hole}
	if b.view.parentErr != nil {
		b.fail(rest, b.view.parentErr)
	}
	b.take(rest)
	if b.size < windowSectors {
		b.extents = append(b.extents, mapExtent{start: inWindow(b.size), end: windowSectors, layer: hole})
	}
	b.sort()
}

// sort puts the answers in order.
func (b *mapBuilder) sort() {
	slices.SortFunc(b.extents, func(x, y mapExtent) int { return cmp.Compare(x.start, y.start) })
	joined := b.extents[:0]
	for _, e := range b.extents {
		joined = appendExtent(joined, e)
	}
	b.extents = joined
}

// firstBlock is the first block from block on and before end that a layer may
// have; end if there is none. It is what makes large disks of small blocks
// bearable.
func (v *view) firstBlock(number int32, block, end int64) int64 {
	t := v.layers[number].table
	if v.leaf == nil || number != v.chain[0] || len(v.leaf.blocks) == 0 {
		return t.firstBlock(block, end)
	}
	for ; block < end && !v.leaf.has(block); block++ {
		if e, err := t.entry(block); err != nil || e != noBlock {
			break
		}
	}
	return block
}

// blockAt is where a layer has a block: the offset of its bitmap, 0 if it does
// not have it, and the bits of the sectors from inBlock on, read into buf.
func (v *view) blockAt(number int32, block, inBlock int64, buf []byte) (off int64, bitmap []byte, err error) {
	l := v.layers[number]
	if v.leaf != nil && number == v.chain[0] {
		if lb := v.leaf.blocks[block]; lb != nil {
			return lb.off, lb.bits(inBlock), nil
		}
	}
	e, err := l.table.entry(block)
	if err != nil || e == noBlock {
		return 0, nil, err
	}
	if l.receiving && l.img.isPastEnd(e.off()) {
		return 0, nil, nil
	}
	if off, err = l.img.blockOff(block, e); err != nil {
		return 0, nil, err
	}
	return off, buf, inPart("sector bitmap", off, readFull(l.data, buf, off+inBlock/8))
}
