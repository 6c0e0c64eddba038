package vhd

import (
	"io"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
)

// A disk is divided into windows of windowSize bytes, whatever the blocks of
// its layers are. For each there is a block map, made when the window is first
// touched: the merged answer of all layers to the question who serves a
// sector. So a read that finds its map never walks the chain, and making one costs a
// bitmap of each layer that has the block.

const windowSize = windowSectors * SectorSize

// blockMap says which layer serves each sector of one window. It is immutable
// once published: a writer that changes the answer publishes another.
type blockMap struct {
	packed []packedExtent // in order, and abut; behind them one more, whose start is where the last ends
	cacheNode
	slot *atomic.Pointer[blockMap]
	errs *[]error // why sectors can't be read, for extents of layer failing; nil, as nearly always: none

	// index has, for each chunk of the window, the first extent that is not in
	// front of it. A look at it takes the place of most steps of a search, each of
	// which would wait for memory.
	index [windowSectors / chunkSectors]uint16
}

const chunkSectors = 128

// What they take in memory, bytes.
const (
	mapExtentSize    = 8
	mapErrorSize     = 320
	blockMapOverhead = 144 // with its place in the cache
)

// nextents is how many extents the map has.
func (m *blockMap) nextents() int { return len(m.packed) - 1 }

// extent is one of them, in order.
func (m *blockMap) extent(i int) mapExtent { return m.packed[i].unpack(m.packed[i+1]) }

// endOf is where an extent ends, in bytes of the window.
func (m *blockMap) endOf(i int) int { return int(m.packed[i+1].start()) * SectorSize }

// maxGap is how much is read for nothing, bytes, to read with one call more than
// one extent of a file: about what takes as long as a call does.
const maxGap = 8 << 10

// lastOverGaps is the last extent in front of byte end of the window that one read
// from extent i on gets too, without reading more than maxGap for nothing on
// the way to any of them.
func (m *blockMap) lastOverGaps(i, end int) (last int) {
	first := m.extent(i)
	last = i
	for j := i + 1; j < m.nextents() && m.endOf(j-1) < end; j++ {
		e := m.extent(j)
		switch {
		case e.layer == failing || m.endOf(j-1)-m.endOf(last) > maxGap:
			return last
		case e.layer == first.layer && e.off-first.off == int64(e.start-first.start)*SectorSize:
			last = j
		}
	}
	return last
}

// find is the index of the extent that holds a sector of the window.
func (m *blockMap) find(sector int) int {
	chunk := sector / chunkSectors
	lo, hi := int(m.index[chunk]), m.nextents()
	if chunk+1 < len(m.index) {
		hi = int(m.index[chunk+1])
	}
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if int(m.packed[mid+1].start()) <= sector {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// makeIndex makes the index of the extents.
func (m *blockMap) makeIndex() {
	i := 0
	for chunk := range m.index {
		for i < m.nextents() && int(m.packed[i+1].start()) <= chunk*chunkSectors {
			i++
		}
		m.index[chunk] = uint16(i) // a window has no more extents than sectors
	}
}

// from is what serves a sector of the disk, which is in the map's window, and
// for how many sectors. The extent starts with the sector.
func (m *blockMap) from(sector int64) (e mapExtent, n int64) {
	at := int(sector % windowSectors)
	e = m.extent(m.find(at))
	return e.cut(inWindow(at), e.end), int64(e.end) - int64(at)
}

func (m *blockMap) drop() { m.slot.CompareAndSwap(m, nil) }

// with is the map after changes, which are in order.
func (m *blockMap) with(changes []mapExtent) *blockMap {
	var few [64]mapExtent
	extents, i, at := few[:0], 0, uint16(0)
	keep := func(end uint16) { // what is in front of end as it was
		for ; at < end; at = extents[len(extents)-1].end {
			for m.packed[i+1].start() <= at {
				i++
			}
			e := m.extent(i)
			extents = appendExtent(extents, e.cut(at, min(e.end, end)))
		}
	}
	for _, e := range changes {
		keep(e.start)
		extents = appendExtent(extents, e)
		at = e.end
	}
	keep(m.packed[m.nextents()].start())
	var errs []error
	if m.errs != nil {
		errs = *m.errs
	}
	return newBlockMap(extents, errs)
}

// newBlockMap makes a map of extents that are in order and abut.
func newBlockMap(extents []mapExtent, errs []error) *blockMap {
	m := &blockMap{packed: slices.Grow([]packedExtent(nil), len(extents)+1)} // whose cap is what it takes in memory
	end := mapExtent{layer: hole}
	for _, e := range extents {
		m.packed = append(m.packed, e.pack())
		end.start = e.end
	}
	m.packed = append(m.packed, end.pack())
	m.makeIndex()
	m.cost = blockMapOverhead + int64(cap(m.packed))*mapExtentSize
	if len(errs) > 0 {
		m.errs = &errs
		m.cost += int64(len(errs)) * mapErrorSize
	}
	return m
}

// windowTable finds a window's block map without a lock.
type windowTable struct {
	sparse[blockMap]

	// Builders of maps, by window, so that two readers don't build the same one.
	builders [16]struct {
		sync.Mutex
		mapBuilder
	}
}

func newWindowTable(size int64) *windowTable {
	return &windowTable{sparse: newSparse[blockMap]((size + windowSize - 1) / windowSize)}
}

// layer is one image of a chain, and the file it is in.
type layer struct {
	number int32 // in the view
	img    *Image
	file   File
	data   io.ReaderAt // the file, as blocks are read from it
	table  *table      // nil for a fixed disk
	abs    string      // its absolute, slash-separated name; empty: not known

	durable *durability // of what the file holds, if nobody here writes to it

	// receiving says that a merge writes to the image. What it writes does not show
	// yet: the images above have all those sectors.
	receiving bool
	// stale says that the image was changed, and could not be read again: what is known
	// of it may be of before. What is served from it is as it was.
	stale bool
}

// newLayer is the layer of an image that comes to a disk as its number-th.
func newLayer(number int, img *Image, file File, c *cache) *layer {
	l := &layer{number: int32(number), img: img, file: file, data: file, durable: new(durability)} //nolint:gosec // at most maxLayers
	if img.footer.Type != Fixed {
		l.table = newTable(img, c)
	}
	return l
}

// readData reads data of the image's blocks, which is at off in the file.
func (l *layer) readData(p []byte, off int64) error {
	return inFile(l.img.name, inPart("data", off, readFull(l.data, p, off)))
}

// firstData finds the first byte of pieces of the layer's file, from and to, that is not
// zero. They are what is no hole, see dataOf; buf is to read them.
func (l *layer) firstData(buf []byte, pieces iter.Seq2[int64, int64]) (at int64, found bool, err error) {
	for from, to := range pieces {
		for from < to {
			p := buf[:min(to-from, int64(len(buf)), int64(len(zeroBytes)))]
			if err := l.readData(p, from); err != nil {
				return 0, false, err
			}
			if !isZero(p) {
				return from + int64(slices.IndexFunc(p, func(b byte) bool { return b != 0 })), true, nil
			}
			from += int64(len(p))
		}
	}
	return 0, false, nil
}

// hideFooter makes what is behind the data of an image read as zeros where its
// last sector is cut off within: there, the footer follows at once.
func (l *layer) hideFooter() {
	if l.table != nil && l.img.footerOff%SectorSize != 0 {
		l.data = &cutFile{l.file, l.img.footerOff}
	}
}
