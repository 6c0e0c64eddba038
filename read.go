package vhd

// blockMap is the map of a window, made if it must be. No lock is taken when
// it is there.
func (d *Disk) blockMap(window int64) *blockMap {
	if t := d.view().windows; t != nil { // else a Merge has just made a fixed disk the leaf
		if m := t.get(window); m != nil {
			m.touch()
			return m
		}
	}
	if d.syncs != nil {
		d.mu.RLock()
		defer d.mu.RUnlock()
	}
	return d.blockMapLocked(window)
}

// blockMapLocked is blockMap for who holds the disk's lock, shared or not. Who waited
// for it may find a fixed leaf, of which no maps are kept.
func (d *Disk) blockMapLocked(window int64) *blockMap {
	v := d.view()
	if v.windows == nil {
		m, _ := new(mapBuilder).build(v, window, 0)
		return m
	}
	builder := &v.windows.builders[window%int64(len(v.windows.builders))]
	builder.Lock()
	defer builder.Unlock()
	if m := v.windows.get(window); m != nil {
		return m
	}
	m, cacheable := builder.build(v, window, 0)
	if cacheable && window*windowSize < v.size { // who came here before a Resize gets zeros behind the disk's end
		d.publish(window, m)
	}
	return m
}

// mapOfSector is the map of a sector's window, for who holds the disk's lock.
func (d *Disk) mapOfSector(sector int64) *blockMap {
	if m := d.view().windows.get(sector / windowSectors); m != nil {
		m.touch()
		return m
	}
	return d.blockMapLocked(sector / windowSectors)
}

// publish makes m the map of a window, in place of the one that is there.
func (d *Disk) publish(window int64, m *blockMap) {
	m.slot = d.view().windows.slot(window)
	if old := m.slot.Swap(m); old != nil {
		d.cache.remove(old)
	}
	d.cache.add(m)
}

// read reads len(p) bytes at off, which are on the disk. Space of the leaf that
// was freed and taken again while they were read may have brought another
// block's bytes: then they are read once more, and nothing is freed meanwhile. So
// they are if the disk has become smaller than that.
func (d *Disk) read(p []byte, off int64) (int, error) {
	before := d.reuses.Load()
	n, err := d.readOnce(p, off)
	if d.reuses.Load() == before && off+int64(len(p)) <= d.Size() {
		return n, err
	}
	return d.readHeld(p, off)
}

// readHeld reads window by window, and holds the disk's lock for each. What a Resize
// has cut off meanwhile reads as zeros.
func (d *Disk) readHeld(p []byte, off int64) (int, error) {
	for done := 0; done < len(p); {
		at := off + int64(done)
		n := int(min(int64(len(p)-done), windowSize-at%windowSize))
		if m, err := d.readWindowHeld(p[done:done+n], at); err != nil {
			return done + m, err
		}
		done += n
	}
	return len(p), nil
}

func (d *Disk) readWindowHeld(p []byte, off int64) (int, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	v := d.view()
	there := min(max(v.size-off, 0), int64(len(p)))
	clear(p[there:])
	if v.windows == nil {
		return d.readOnce(p[:there], off)
	}
	return d.readLocked(p[:there], off)
}

func (d *Disk) readOnce(p []byte, off int64) (int, error) {
	t := transfer{disk: d, content: content{p: p}}
	if v := d.view(); v.windows == nil { // a fixed leaf, where everything has its place
		t.to, t.off, t.layer = len(p), off, v.chain[0]
		return t.finish()
	}
	for done := 0; done < len(p); {
		window := (off + int64(done)) / windowSize
		n, err := t.add(d.blockMap(window), done, int(off+int64(done)-window*windowSize))
		if err != nil {
			return n, err
		}
		done = n
	}
	return t.finish()
}

// transfer moves bytes between p and the files that serve them. Adjacent
// extents of one layer are one call, across windows too.
type transfer struct {
	content
	disk  *Disk
	write bool
	exact bool // a read over gaps failed: what is not asked for is not touched any more

	// What is next to be moved: p[from:to], to or from off in layer's file.
	from, to int
	off      int64
	layer    int32
}

// add moves what p has from done on in one window, where it starts at byte at.
// It returns up to where p is taken care of; with an error, up to where it is
// moved.
func (t *transfer) add(m *blockMap, done, at int) (int, error) {
	for i := m.find(at / SectorSize); done < len(t.p) && i < m.nextents(); i++ {
		e := m.extent(i)
		n := min(int(e.end)*SectorSize-at, len(t.p)-done)
		switch e.layer {
		case hole:
			clear(t.p[done : done+n])
		case failing:
			if moved, err := t.finish(); err != nil {
				return moved, err
			}
			return done, (*m.errs)[e.off]
		default:
			if last, ok := t.readOverGaps(m, i, done, at); ok {
				i, n = last, min(m.endOf(last)-at, len(t.p)-done)
			} else if moved, err := t.extend(e.layer, e.off+int64(at-int(e.start)*SectorSize), done, done+n); err != nil {
				return moved, err
			}
		}
		done, at = done+n, at+n
	}
	return done, nil
}

// readOverGaps reads what one layer has from extent i on with one call where others
// have only a little between, as small writes to a child leave it, and then that
// little over it. It returns the last extent that it read. ok is false if there
// is no such place or a read fails: then all is read piece by piece, for the rest
// of the transfer.
func (t *transfer) readOverGaps(m *blockMap, i, done, at int) (last int, ok bool) {
	if t.write || t.exact {
		return 0, false
	}
	last = m.lastOverGaps(i, at+len(t.p)-done)
	if last == i {
		return 0, false
	}
	if _, err := t.finish(); err != nil {
		return 0, false
	}
	p := t.p[done:min(done+m.endOf(last)-at, len(t.p))]
	t.exact = t.readSpan(m, i, last, p, at) != nil
	return last, !t.exact
}

// readSpan reads extents i to last into p, which starts at byte at of the window,
// within extent i.
func (t *transfer) readSpan(m *blockMap, i, last int, p []byte, at int) error {
	base := m.extent(i)
	base.off += int64(at - int(base.start)*SectorSize)
	if err := t.disk.served(base.layer).readData(p, base.off); err != nil {
		return err
	}
	for j := i + 1; j < last; j++ {
		e := m.extent(j)
		start := int(e.start)*SectorSize - at
		piece := p[start : m.endOf(j)-at]
		switch {
		case e.layer == hole:
			clear(piece)
		case e.layer != base.layer || e.off != base.off+int64(start): // else it is read already
			if err := t.disk.served(e.layer).readData(piece, e.off); err != nil {
				return err
			}
		}
	}
	return nil
}

// served is a layer by the number that a block map has for it. The view that is
// looked at is no older than the map, so it has the layer.
func (d *Disk) served(number int32) *layer { return d.view().layers[number] }

// extend adds p[from:to] to what is next to be moved, or moves that first.
func (t *transfer) extend(layer int32, off int64, from, to int) (int, error) {
	if t.layer == layer && t.to == from && t.to > t.from && t.off+int64(t.to-t.from) == off {
		t.to = to
		return to, nil
	}
	if moved, err := t.finish(); err != nil {
		return moved, err
	}
	t.from, t.to, t.off, t.layer = from, to, off, layer
	return to, nil
}

// finish moves what is left, and returns how much of p is moved.
func (t *transfer) finish() (int, error) {
	if t.from == t.to {
		return len(t.p), nil
	}
	l := t.disk.served(t.layer)
	if t.write {
		if n, err := t.cut(t.from, t.to).writeTo(l.file, t.off); err != nil {
			return t.from + n, inFile(l.img.name, inPart("data", t.off, err))
		}
		t.from = t.to
		return len(t.p), nil
	}
	piece := t.p[t.from:t.to]
	n, err := l.data.ReadAt(piece, t.off)
	if n < len(piece) {
		return t.from + n, inFile(l.img.name, inPart("data", t.off, shortRead(err, t.off, n, len(piece))))
	}
	t.from = t.to
	return len(t.p), nil
}
