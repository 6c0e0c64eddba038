package vhd

import (
	"cmp"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
)

// A disk is divided into windows of windowSize bytes, whatever the blocks of
// its layers are. For each there is a block map, made when the window is first
// touched: the merged answer of all layers to the question who serves a
// sector. So a read never walks the chain, and 64 parents cost what one does.

const windowSize = windowSectors * SectorSize

// blockMap says which layer serves each sector of one window. It is immutable
// once published: a writer that changes the answer publishes another.
type blockMap struct {
	cacheNode
	slot    *atomic.Pointer[blockMap]
	extents []mapExtent // in order, they abut, and cover the window as far as the disk goes
	errs    []error     // why sectors can't be read, for extents of layer failing
}

// mapExtent is a run of sectors that lie one behind the other in one file.
type mapExtent struct {
	off   int64  // of the first sector in the file, bytes; an index into errs for failing
	start uint16 // first sector, counted in the window
	end   uint16 // behind the last sector
	layer int32  // index into Disk.layers, or hole, or failing
}

// What serves a sector when no layer does.
const (
	hole    = Hole
	failing = -2 // reading is an error
)

// What they take in memory, bytes.
const (
	mapExtentSize    = 16
	mapErrorSize     = 256
	blockMapOverhead = 128 // with its place in the cache
)

// inWindow is a number of sectors of one window.
func inWindow[T int | int64](nsectors T) uint16 {
	return uint16(nsectors)
}

// find is the index of the extent that holds a sector of the window.
func (m *blockMap) find(sector int) int {
	lo, hi := 0, len(m.extents)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if int(m.extents[mid].end) <= sector {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// from is what serves a sector of the disk, which is in the map's window, and
// for how many sectors. The extent starts with the sector.
func (m *blockMap) from(sector int64) (e mapExtent, n int64) {
	at := int(sector % windowSectors)
	e = m.extents[m.find(at)]
	return e.cut(inWindow(at), e.end), int64(e.end) - int64(at)
}

func (m *blockMap) drop() { m.slot.CompareAndSwap(m, nil) }

// with is the map after sectors start to end came to be served by e's layer.
func (m *blockMap) with(e mapExtent) *blockMap {
	extents := make([]mapExtent, 0, len(m.extents)+2)
	i := 0
	for ; i < len(m.extents) && m.extents[i].start < e.start; i++ {
		extents = append(extents, m.extents[i].cut(m.extents[i].start, min(m.extents[i].end, e.start)))
	}
	extents = appendExtent(extents, e)
	for i = m.find(int(e.end)); i < len(m.extents); i++ {
		extents = appendExtent(extents, m.extents[i].cut(max(m.extents[i].start, e.end), m.extents[i].end))
	}
	return newBlockMap(extents, m.errs)
}

func newBlockMap(extents []mapExtent, errs []error) *blockMap {
	m := &blockMap{extents: extents, errs: errs}
	m.cost = blockMapOverhead + int64(cap(extents))*mapExtentSize + int64(len(errs))*mapErrorSize
	return m
}

// cut is the part of e from start to end.
func (e mapExtent) cut(start, end uint16) mapExtent {
	if e.layer >= 0 {
		e.off += int64(start-e.start) * SectorSize
	}
	e.start, e.end = start, end
	return e
}

// appendExtent appends e, joined to the last extent if it continues it.
func appendExtent(extents []mapExtent, e mapExtent) []mapExtent {
	if len(extents) > 0 && e.continues(extents[len(extents)-1]) {
		extents[len(extents)-1].end = e.end
		return extents
	}
	return append(extents, e)
}

// continues says whether e is the same run as the one before it.
func (e mapExtent) continues(before mapExtent) bool {
	if e.layer != before.layer || e.start != before.end {
		return false
	}
	return e.layer == hole || e.off == before.cut(before.end, before.end).off
}

// windowTable finds a window's block map without a lock.
type windowTable struct {
	pages    []atomic.Pointer[windowPage]
	building [16]sync.Mutex // by window, so that two readers don't build the same map
}

const windowsPerPage = 512

type windowPage [windowsPerPage]atomic.Pointer[blockMap]

func newWindowTable(size int64) *windowTable {
	nwindows := (size + windowSize - 1) / windowSize
	return &windowTable{pages: make([]atomic.Pointer[windowPage], (nwindows+windowsPerPage-1)/windowsPerPage)}
}

// get is the map of a window, or nil.
func (t *windowTable) get(window int64) *blockMap {
	page := t.pages[window/windowsPerPage].Load()
	if page == nil {
		return nil
	}
	return page[window%windowsPerPage].Load()
}

// slot is where the map of a window is published.
func (t *windowTable) slot(window int64) *atomic.Pointer[blockMap] {
	at := &t.pages[window/windowsPerPage]
	if at.Load() == nil {
		at.CompareAndSwap(nil, new(windowPage))
	}
	return &at.Load()[window%windowsPerPage]
}

// layer is one image of a chain, and the file it is in.
type layer struct {
	img   *Image
	file  File
	data  io.ReaderAt // the file, as blocks are read from it
	table *table      // nil for a fixed disk
}

// hideFooter makes what is behind the data of an image read as zeros where its
// last sector is cut off within: there, the footer follows at once.
func (l *layer) hideFooter() {
	if l.table != nil && l.img.footerOff%SectorSize != 0 {
		l.data = &cutFile{l.file, l.img.footerOff}
	}
}

// mapBuilder asks the layers, from one down to the base, who serves the sectors
// of a window.
type mapBuilder struct {
	disk    *Disk
	first   int64     // sector of the disk that the window starts with
	open    sectorSet // sectors that no layer has answered for yet
	nopen   int       // sectors of the window that are on the disk
	extents []mapExtent
	errs    []error
	retry   bool // a layer could not be read now: what its file holds is not known
}

// buildMap makes the map of a window from the layers from top on. cacheable is
// false if a layer could not be read: the next read tries again. A writable
// disk must hold its lock, shared or not.
func (d *Disk) buildMap(window int64, top int) (m *blockMap, cacheable bool) {
	b := mapBuilder{disk: d, first: window * windowSectors}
	b.nopen = int(min(windowSectors, d.size/SectorSize-b.first))
	b.open.add(0, b.nopen)
	for i := top; i < len(d.layers) && b.isOpen(); i++ {
		b.ask(i)
	}
	b.finish()
	return newBlockMap(slices.Clip(b.extents), b.errs), !b.retry
}

func (b *mapBuilder) isOpen() bool { return b.open.scan(0, b.nopen, 0) < b.nopen }

// ask takes layer i's answer. Past the layer's end is zeros, whatever its own
// parents hold there.
func (b *mapBuilder) ask(i int) {
	l := &b.disk.layers[i]
	end := int(min(max(l.img.footer.CurrentSize/SectorSize-b.first, 0), int64(b.nopen)))
	b.take(mapExtent{start: inWindow(end), end: inWindow(b.nopen), layer: hole})
	if l.table == nil {
		b.take(mapExtent{off: b.first * SectorSize, end: inWindow(end), layer: int32(i)}) //nolint:gosec // a chain's length
		return
	}
	for sector := 0; sector < end; {
		if n := b.disk.absentFrom(i, b.first+int64(sector)); n > 0 {
			sector += int(min(n, windowSectors))
			continue
		}
		inBlock := (b.first + int64(sector)) % l.img.sectorsPerBlock
		n := int(min(l.img.sectorsPerBlock-inBlock, int64(end-sector)))
		if _, nopen := b.open.next(sector, sector+n); nopen > 0 {
			b.askBlock(i, sector, n)
		}
		sector += n
	}
}

// askBlock takes layer i's answer for n sectors of one block.
func (b *mapBuilder) askBlock(i, sector, n int) {
	l := &b.disk.layers[i]
	block := (b.first + int64(sector)) / l.img.sectorsPerBlock
	inBlock := (b.first + int64(sector)) % l.img.sectorsPerBlock
	piece := mapExtent{start: inWindow(sector), end: inWindow(sector + n)}

	var buf [windowSectors / 8]byte
	off, bitmap, err := b.disk.blockAt(i, block, inBlock, buf[:(n+7)/8])
	switch {
	case err != nil:
		b.retry = b.retry || !errors.Is(err, ErrCorrupt)
		b.fail(piece, inFile(l.img.name, err))
		return
	case off == 0:
		return
	}
	var present sectorSet
	present.addBitmap(bitmap, sector, n)
	dataOff := off + l.img.bitmapArea + inBlock*SectorSize
	for start, run := present.next(sector, sector+n); run > 0; start, run = present.next(start+run, sector+n) {
		e := mapExtent{off: dataOff, start: piece.start, end: piece.end, layer: int32(i)} //nolint:gosec // a chain's length
		b.takePresent(e.cut(inWindow(start), inWindow(start+run)), l.img.footerOff)
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
		b.extents = append(b.extents, e.cut(inWindow(start), inWindow(start+n)))
		b.open.remove(start, n)
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
	rest := mapExtent{end: inWindow(b.nopen), layer: hole}
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

// absentFrom is for how many sectors, from one on, layer i says at once that it
// has none; 0: each block has to be asked for. It is what makes large disks of
// small blocks bearable.
func (d *Disk) absentFrom(i int, sector int64) int64 {
	l := &d.layers[i]
	block := sector / l.img.sectorsPerBlock
	n := l.table.absentFrom(block)
	if n == 0 || i == 0 && d.leaf != nil && d.leaf.hasAny(block, n) {
		return 0
	}
	return (block+n)*l.img.sectorsPerBlock - sector
}

// blockAt is where layer i has a block: the offset of its bitmap, 0 if it does
// not have it, and the bits of the sectors from inBlock on, read into buf.
func (d *Disk) blockAt(i int, block, inBlock int64, buf []byte) (off int64, bitmap []byte, err error) {
	l := &d.layers[i]
	if i == 0 && d.leaf != nil {
		if lb := d.leaf.blocks[block]; lb != nil {
			return lb.off, lb.bits(inBlock), nil
		}
	}
	e, err := l.table.entry(block)
	if err != nil || e == noBlock {
		return 0, nil, err
	}
	if off, err = l.img.blockOff(block, e); err != nil {
		return 0, nil, err
	}
	return off, buf, inPart("sector bitmap", off, readFull(l.data, buf, off+inBlock/8))
}
