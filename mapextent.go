package vhd

// mapExtent is a run of sectors of a window that lie one behind the other in one
// file.
type mapExtent struct {
	off   int64  // of the first sector in the file, bytes; an index into errs for failing
	start uint16 // first sector, counted in the window
	end   uint16 // behind the last sector
	layer int32  // number of the layer in the view, or hole, or failing
}

// What serves a sector when no layer does.
const (
	hole    = Hole
	failing = -2 // reading is an error
)

// inWindow is a number of sectors of one window.
func inWindow[T int | int64](nsectors T) uint16 {
	return uint16(nsectors)
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

// packedExtent is a mapExtent in one word, of which a block map may have
// thousands: from the top 18 bits of layer − failing, 13 of start, and 33 of the
// sector in the file, which a block that starts in front of 2 TiB does not pass.
// The end is the next one's start.
type packedExtent uint64

const (
	packedSectorBits = 33
	packedStartBits  = 13

	// maxLayers is how many a packedExtent can tell apart.
	maxLayers = 1<<(64-packedSectorBits-packedStartBits) + failing
)

func (e mapExtent) pack() packedExtent {
	sector := e.off
	if e.layer >= 0 {
		sector /= SectorSize
	}
	// Neither is negative; max says so to the linter.
	layer := uint64(e.layer - failing) //nolint:gosec // not negative
	return packedExtent((layer<<packedStartBits|uint64(e.start))<<packedSectorBits | uint64(max(sector, 0)))
}

func (p packedExtent) start() uint16 { return uint16(p >> packedSectorBits & (1<<packedStartBits - 1)) }

// unpack is the extent that p stands for, in front of next.
func (p packedExtent) unpack(next packedExtent) mapExtent {
	e := mapExtent{start: p.start(), end: next.start(), layer: int32(p>>(packedSectorBits+packedStartBits)) + failing}
	e.off = int64(p & (1<<packedSectorBits - 1))
	if e.layer >= 0 {
		e.off *= SectorSize
	}
	return e
}
