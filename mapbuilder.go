package vhd

import (
	"cmp"
	"errors"
	"math/bits"
	"slices"
	"sync"
	"time"
)

// mapBuilder asks the layers, from one down to the base, who serves the sectors
// of a window. It can be used again, and then has its memory already.
type mapBuilder struct {
	disk    *Disk
	first   int64     // sector of the disk that the window starts with
	open    sectorSet // sectors that no layer has answered for yet
	nopen   int       // how many they are
	size    int       // sectors of the window that are on the disk
	extents []mapExtent
	errs    []error
	retry   bool // a layer could not be read now: what its file holds is not known

	// Answers that are not looked at yet, top layer first. One is asked for alone,
	// for it may well settle all. But where bitmaps come from a disk, many take
	// little longer than one: then two are asked for together, then four and so on.
	asked    []layerAnswer
	together int
	slow     bool   // the last bitmap that was read alone came from a disk
	bitmaps  []byte // memory for them
}

const (
	maxTogether = 16 // bitmaps that are read at once
	slowRead    = 50 * time.Microsecond
	maxBitmap   = windowSectors / 8 // what a window needs of one, bytes
)

// layerAnswer says which sectors a layer has, of one block or of all it was asked
// for.
type layerAnswer struct {
	extent    mapExtent // them, if bitmap is nil; else those whose bits are set
	bitmap    []byte
	bitmapOff int64 // where in the layer's file bitmap is read from; 0: it is known
	err       error // why there is no answer
}

// build makes the map of a window from the layers from top on. cacheable is
// false if a layer could not be read: the next read tries again. A writable
// disk must hold its lock, shared or not.
func (b *mapBuilder) build(d *Disk, window int64, top int) (m *blockMap, cacheable bool) {
	b.disk, b.first = d, window*windowSectors
	b.size = int(min(windowSectors, d.size/SectorSize-b.first))
	b.extents, b.retry, b.together, b.slow = b.extents[:0], false, 1, false
	b.open, b.nopen = sectorSet{}, b.size
	b.open.add(0, b.size)
	for i := top; i < len(d.layers) && b.nopen > 0; i++ {
		b.ask(i)
	}
	b.hear()
	b.finish()
	m = newBlockMap(b.extents, b.errs)
	b.errs = nil
	return m, !b.retry
}

// ask asks layer i. Past the layer's end is zeros, whatever its own parents hold
// there.
func (b *mapBuilder) ask(i int) {
	l := &b.disk.layers[i]
	end := int(min(max(l.img.footer.CurrentSize/SectorSize-b.first, 0), int64(b.size)))
	if end < b.size {
		b.note(layerAnswer{extent: mapExtent{start: inWindow(end), end: inWindow(b.size), layer: hole}})
	}
	if l.table == nil {
		b.note(layerAnswer{extent: mapExtent{off: b.first * SectorSize, end: inWindow(end), layer: int32(i)}}) //nolint:gosec // a chain's length
		b.hear()
		return
	}
	spb := l.img.sectorsPerBlock
	endBlock := (b.first + int64(end) + spb - 1) / spb
	for block := b.first / spb; block < endBlock; block++ {
		if block = b.disk.firstBlock(i, block, endBlock); block == endBlock {
			return
		}
		sector := int(max(block*spb-b.first, 0))
		n := int(min((block+1)*spb-b.first, int64(end))) - sector
		if _, nopen := b.open.next(sector, sector+n); nopen > 0 {
			b.askBlock(i, block, sector, n)
		}
	}
}

// askBlock asks layer i about n sectors of one block.
func (b *mapBuilder) askBlock(i int, block int64, sector, n int) {
	l := &b.disk.layers[i]
	inBlock := b.first + int64(sector) - block*l.img.sectorsPerBlock
	a := layerAnswer{extent: mapExtent{start: inWindow(sector), end: inWindow(sector + n), layer: int32(i)}} //nolint:gosec // a chain's length
	off, live, err := b.disk.blockAt(i, block)
	switch {
	case err != nil:
		a.err = inFile(l.img.name, err)
	case off == 0:
		return
	case live != nil:
		a.bitmap = live[inBlock/8:]
	default:
		a.bitmap, a.bitmapOff = b.memory()[:(n+7)/8], off+inBlock/8
	}
	a.extent.off = off + l.img.bitmapArea + inBlock*SectorSize
	b.note(a)
}

// memory is for one more bitmap.
func (b *mapBuilder) memory() []byte {
	if b.bitmaps == nil {
		b.bitmaps = make([]byte, maxTogether*maxBitmap)
	}
	return b.bitmaps[len(b.asked)*maxBitmap:]
}

// note keeps an answer for hear, which it calls when there are enough.
func (b *mapBuilder) note(a layerAnswer) {
	if b.asked = append(b.asked, a); len(b.asked) < b.together {
		return
	}
	b.hear()
	if b.slow {
		b.together = min(2*b.together, maxTogether)
	}
}

// hear takes what was asked, in order.
func (b *mapBuilder) hear() {
	b.readBitmaps()
	for i := range b.asked {
		b.takeAnswer(&b.asked[i])
	}
	b.asked = b.asked[:0]
}

// readBitmaps reads those that are not known: one by one, and from the first that
// took long on, at once.
func (b *mapBuilder) readBitmaps() {
	var readers sync.WaitGroup
	for i := range b.asked {
		a := &b.asked[i]
		switch {
		case a.bitmapOff == 0:
		case b.slow && len(b.asked) > 1:
			readers.Go(func() { a.read(b.disk) })
		default:
			start := time.Now() //nolint:forbidigo // only time tells whether it was in memory
			a.read(b.disk)
			b.slow = time.Since(start) > slowRead
		}
	}
	readers.Wait()
}

// read reads the bitmap.
func (a *layerAnswer) read(d *Disk) {
	l := &d.layers[a.extent.layer]
	a.err = inFile(l.img.name, inPart("sector bitmap", a.bitmapOff, readFull(l.data, a.bitmap, a.bitmapOff)))
}

// takeAnswer takes an answer for those of its sectors that are still open.
func (b *mapBuilder) takeAnswer(a *layerAnswer) {
	start, end := int(a.extent.start), int(a.extent.end)
	switch _, nopen := b.open.next(start, end); {
	case nopen == 0:
	case a.err != nil:
		b.retry = b.retry || !errors.Is(a.err, ErrCorrupt)
		b.fail(a.extent, a.err)
	case a.bitmap == nil:
		b.take(a.extent)
	default:
		b.takeBits(a)
	}
}

// takeBits takes those sectors whose bits are set, a word of 64 at a time. As in
// sectorSet.addBitmap, either they begin with a word or all are in one.
func (b *mapBuilder) takeBits(a *layerAnswer) {
	dataEnd := b.disk.layers[a.extent.layer].img.footerOff
	bitmap, end := a.bitmap, int(a.extent.end)
	for sector := int(a.extent.start); sector < end; {
		n := min(64-sector%64, end-sector)
		word := wordAt(bitmap) & onesAt(0, n) >> (sector % 64) & b.open[sector/64]
		for word != 0 {
			first := bits.LeadingZeros64(word)
			run := bits.LeadingZeros64(^(word << first))
			at := sector/64*64 + first
			b.takePresent(a.extent.cut(inWindow(at), inWindow(at+run)), dataEnd)
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

// finish answers for what no layer has, and puts the answers in order.
func (b *mapBuilder) finish() {
	rest := mapExtent{end: inWindow(b.size), layer: hole}
	if b.disk.parentErr != nil {
		b.fail(rest, b.disk.parentErr)
	}
	b.take(rest)
	slices.SortFunc(b.extents, func(x, y mapExtent) int { return cmp.Compare(x.start, y.start) })
	joined := b.extents[:0]
	for _, e := range b.extents {
		joined = appendExtent(joined, e)
	}
	b.extents = joined
}

// firstBlock is the first block from block on and before end that layer i may
// have; end if there is none. It is what makes large disks of small blocks
// bearable.
func (d *Disk) firstBlock(i int, block, end int64) int64 {
	t := d.layers[i].table
	if i > 0 || d.leaf == nil || len(d.leaf.blocks) == 0 {
		return t.firstBlock(block, end)
	}
	for ; block < end && !d.leaf.has(block); block++ {
		if e, err := t.entry(block); err != nil || e != noBlock {
			break
		}
	}
	return block
}

// blockAt is where layer i has a block: the offset of its bitmap, 0 if it does
// not have it, and the bitmap itself if that is known without reading.
func (d *Disk) blockAt(i int, block int64) (off int64, live []byte, err error) {
	l := &d.layers[i]
	if i == 0 && d.leaf != nil {
		if lb := d.leaf.blocks[block]; lb != nil {
			return lb.off, lb.bitmap, nil
		}
	}
	e, err := l.table.entry(block)
	if err != nil || e == noBlock {
		return 0, nil, err
	}
	off, err = l.img.blockOff(block, e)
	return off, nil, err
}
