package vhd

import "iter"

// Hole is the depth of an extent that no image of the chain holds, and that
// reads as zeros.
const Hole = -1

// Extent is a piece of a disk that one image of its chain holds.
type Extent struct {
	Offset, Length int64 // bytes
	Depth          int   // index into Chain of the image that holds the data, or Hole
}

// FileExtent is an Extent whose data lies in one piece in its image's file.
type FileExtent struct {
	Extent
	FileOffset int64 // of the data in the file of Chain()[Depth], bytes; 0 for a Hole
}

// Extents yields which image of the chain holds what of the n bytes from off
// on, as far as the disk goes. Extents are in order, abut, and are as long as
// they can be: two that follow each other differ in depth. Data that happens to
// be all zeros is data.
//
// What can't be told, since an image is damaged, could not be read, or was not
// opened, comes as an Extent of depth Hole with an error; what follows can be
// asked for all the same. A negative off or n is ErrOutOfRange. What is written
// meanwhile may or may not show; a Snapshot meanwhile makes the depths of what
// follows greater by one.
func (d *Disk) Extents(off, n int64) iter.Seq2[Extent, error] {
	return joinExtents(func(yield func(Extent, error) bool) {
		for e, err := range d.FileExtents(off, n) {
			if !yield(e.Extent, err) {
				return
			}
		}
	})
}

// joinExtents makes one extent of those that follow each other and don't differ in
// depth.
func joinExtents(pieces iter.Seq2[Extent, error]) iter.Seq2[Extent, error] {
	return joinRuns(pieces, func(last *Extent, next Extent) bool {
		goesOn := next.Depth == last.Depth && next.Offset == last.Offset+last.Length
		if goesOn {
			last.Length += next.Length
		}
		return goesOn
	})
}

// joinRuns makes one piece of those that follow each other and that join can make one.
func joinRuns[E any](pieces iter.Seq2[E, error], join func(last *E, next E) bool) iter.Seq2[E, error] {
	return func(yield func(E, error) bool) {
		var last E
		isOpen := false
		for e, err := range pieces {
			if isOpen && err == nil && join(&last, e) {
				continue
			}
			if isOpen && !yield(last, nil) {
				return
			}
			last, isOpen = e, err == nil
			if err != nil && !yield(e, err) {
				return
			}
		}
		if isOpen {
			yield(last, nil)
		}
	}
}

// FileExtents is Extents with each extent cut where its data does not go on in
// the same file at the next offset. So it tells where every byte is stored.
func (d *Disk) FileExtents(off, n int64) iter.Seq2[FileExtent, error] {
	return func(yield func(FileExtent, error) bool) {
		for e, err := range d.servedExtents(off, n) {
			if !yield(e.FileExtent, err) {
				return
			}
		}
	}
}

// servedExtent is a FileExtent that names its layer by number, which stays right
// when the chain changes.
type servedExtent struct {
	FileExtent
	layer int32
}

// servedExtents is FileExtents.
func (d *Disk) servedExtents(off, n int64) iter.Seq2[servedExtent, error] {
	if off < 0 || n < 0 {
		return func(yield func(servedExtent, error) bool) { yield(holeAt(0, 0), d.outOfRange(off, n)) }
	}
	return joinRuns(d.pieces(off, n), func(last *servedExtent, next servedExtent) bool {
		goesOn := last.layer == next.layer && last.continuedBy(next.FileExtent)
		if goesOn {
			last.Length += next.Length
		}
		return goesOn
	})
}

func holeAt(off, n int64) servedExtent {
	return servedExtent{FileExtent{Extent: Extent{off, n, Hole}}, hole}
}

// continuedBy says whether next is more of the same.
func (e FileExtent) continuedBy(next FileExtent) bool {
	if e.Length == 0 || e.Depth != next.Depth {
		return false
	}
	return e.Depth == Hole || e.FileOffset+e.Length == next.FileOffset
}

// pieces yields the extents of n bytes from off on, as far as the disk goes by then, as the
// block maps have them.
func (d *Disk) pieces(off, n int64) iter.Seq2[servedExtent, error] {
	return func(yield func(servedExtent, error) bool) {
		var b mapBuilder
		end := off + min(n, max(d.Size()-off, 0))
		for off < end {
			if err := d.usable(); err != nil {
				yield(holeAt(off, end-off), err)
				return
			}
			window := off / windowSize
			m, v := d.mapOnce(&b, window)
			if m == nil { // a fixed leaf
				yield(servedExtent{FileExtent{Extent{off, end - off, 0}, off}, v.top().number}, nil)
				return
			}
			for i := m.find(int(off-window*windowSize) / SectorSize); i < m.nextents() && off < end; i++ {
				e, err := m.piece(i, v, window*windowSize, off, end)
				if !yield(e, d.opError(err)) {
					return
				}
				off += e.Length
			}
		}
	}
}

// piece is what extent i of a map has from off on, up to end. The map's window
// is at windowOff, and v has all its layers.
func (m *blockMap) piece(i int, v *view, windowOff, off, end int64) (servedExtent, error) {
	e := m.extent(i)
	length := min(windowOff+int64(e.end)*SectorSize, end) - off
	switch e.layer {
	case hole:
		return holeAt(off, length), nil
	case failing:
		return holeAt(off, length), (*m.errs)[e.off]
	}
	fileOff := e.off + off - windowOff - int64(e.start)*SectorSize
	return servedExtent{FileExtent{Extent{off, length, v.depths[e.layer]}, fileOff}, e.layer}, nil
}

// mapOnce is the map of a window, for one who passes through the disk and won't
// come again: it is not kept. It comes with the view that it is of. Of a fixed
// leaf there is no map.
func (d *Disk) mapOnce(b *mapBuilder, window int64) (*blockMap, *view) {
	if d.syncs != nil {
		d.mu.RLock()
		defer d.mu.RUnlock()
	}
	v := d.view()
	if v.windows == nil {
		return nil, v
	}
	if m := v.windows.get(window); m != nil {
		return m, v
	}
	m, _ := b.build(v, window, 0)
	return m, v
}
