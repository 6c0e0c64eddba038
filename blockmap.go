package vhd

import (
	"io"
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
	extents []mapExtent // in order, they abut, and cover the window as far as the disk goes
	index   *mapIndex   // where in extents to look; nil if they are few
	cacheNode
	slot *atomic.Pointer[blockMap]
	errs *[]error // why sectors can't be read, for extents of layer failing; nil: none
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

// mapIndex has, for each chunk of a window, the first extent that is not in front
// of it. A look at it takes the place of most steps of a search, each of which
// would wait for memory.
type mapIndex [windowSectors / chunkSectors]uint16

const (
	chunkSectors = 64
	fewExtents   = 8 // they are as soon searched without an index
)

// What they take in memory, bytes.
const (
	mapExtentSize    = 16
	mapIndexSize     = windowSectors / chunkSectors * 2
	mapErrorSize     = 256
	blockMapOverhead = 96 // with its place in the cache
)

// inWindow is a number of sectors of one window.
func inWindow[T int | int64](nsectors T) uint16 {
	return uint16(nsectors)
}

// find is the index of the extent that holds a sector of the window, or of the
// one behind the last.
func (m *blockMap) find(sector int) int {
	lo, hi := 0, len(m.extents)
	if m.index != nil && sector < windowSectors {
		chunk := sector / chunkSectors
		lo = int(m.index[chunk])
		if chunk+1 < len(m.index) {
			hi = int(m.index[chunk+1])
		}
	}
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

// newMapIndex is the index of extents.
func newMapIndex(extents []mapExtent) *mapIndex {
	index, i := new(mapIndex), 0
	for chunk := range index {
		for i < len(extents) && int(extents[i].end) <= chunk*chunkSectors {
			i++
		}
		index[chunk] = inWindow(i)
	}
	return index
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
	var errs []error
	if m.errs != nil {
		errs = *m.errs
	}
	return newBlockMap(extents, errs)
}

// newBlockMap makes a map, and keeps extents.
func newBlockMap(extents []mapExtent, errs []error) *blockMap {
	m := &blockMap{extents: extents}
	m.cost = blockMapOverhead + int64(cap(extents))*mapExtentSize
	if len(extents) > fewExtents {
		m.index = newMapIndex(extents)
		m.cost += mapIndexSize
	}
	if len(errs) > 0 {
		m.errs = &errs
		m.cost += int64(len(errs)) * mapErrorSize
	}
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
	sparse[blockMap]

	// Makers of maps, by window, so that two readers don't make the same one.
	building [16]struct {
		sync.Mutex
		mapBuilder
	}
}

func newWindowTable(size int64) *windowTable {
	return &windowTable{sparse: newSparse[blockMap]((size + windowSize - 1) / windowSize)}
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
