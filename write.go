package vhd

// write writes c, which is on the disk, at off, and says how much of it.
func (d *Disk) write(c content, off int64) (int, error) {
	for done := 0; done < len(c.p); {
		at := off + int64(done)
		n := int(min(int64(len(c.p)-done), windowSize-at%windowSize))
		m, err := d.writePiece(c.cut(done, done+n), at)
		if err != nil {
			return done + m, err
		}
		done += n
	}
	return len(c.p), nil
}

// writePiece writes c to one window.
func (d *Disk) writePiece(c content, off int64) (int, error) {
	if n, written, err := d.overwrite(c, off); written {
		return n, err
	}
	if err := d.flushIfLarge(); err != nil {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.publishChanges()
	if err := d.writable(off, int64(len(c.p))); err != nil { // again: a Resize may have come between
		return 0, err
	}
	defer d.noteWrite(off, int64(len(c.p)))
	if d.leaf() == nil {
		return d.writeFixed(c, off)
	}
	return d.writeSectors(c, off)
}

// writeFixed writes to a fixed leaf, where every sector has its place.
func (d *Disk) writeFixed(c content, off int64) (int, error) {
	t := transfer{disk: d, content: c, write: true, to: len(c.p), off: off, layer: d.view().top().number}
	return t.finish()
}

// overwrite writes whole sectors that the leaf has already, in place (W1).
// written is false if it can't tell that they are, and then wrote nothing.
func (d *Disk) overwrite(c content, off int64) (n int, written bool, err error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if err := d.writable(off, int64(len(c.p))); err != nil {
		return 0, true, err
	}
	v := d.view()
	if v.windows == nil {
		n, err = d.writeFixed(c, off)
		d.noteWrite(off, int64(len(c.p)))
		return n, true, err
	}
	if (off|int64(len(c.p)))%SectorSize != 0 {
		return 0, false, nil
	}
	window := off / windowSize
	m := v.windows.get(window)
	at := int(off - window*windowSize)
	if m == nil || !m.isServedBy(v.top().number, at/SectorSize, (at+len(c.p))/SectorSize) {
		return 0, false, nil
	}
	m.touch()
	t := transfer{disk: d, content: c, write: true}
	if n, err = t.add(m, 0, at); err == nil {
		n, err = t.finish()
	}
	d.noteWrite(off, int64(len(c.p)))
	return n, true, err
}

// isServedBy says whether one layer serves all sectors of the window from start
// to end.
func (m *blockMap) isServedBy(number int32, start, end int) bool {
	for i := m.find(start); i < m.nextents() && int(m.packed[i].start()) < end; i++ {
		if m.extent(i).layer != number {
			return false
		}
	}
	return true
}

// flushIfLarge syncs when what a sync would publish takes much memory.
func (d *Disk) flushIfLarge() error {
	d.mu.RLock()
	w := d.leaf()
	large := w != nil && w.dirtyCost > maxDirtyCost
	d.mu.RUnlock()
	if large {
		return d.sync()
	}
	return nil
}

// writeSectors writes c at off, and says how much of it. Sectors that c has only
// a part of are read, changed and written whole (W9). The disk's lock is held
// exclusively.
func (d *Disk) writeSectors(c content, off int64) (done int, err error) {
	for done < len(c.p) && err == nil {
		at := off + int64(done)
		inSector := at % SectorSize
		n := len(c.p) - done
		if inSector != 0 || n < SectorSize {
			n = int(min(int64(n), SectorSize-inSector))
			n, err = d.writePart(c.p[done:done+n], at)
		} else {
			n -= n % SectorSize
			n, err = d.writeWhole(c.cut(done, done+n), at/SectorSize)
		}
		done += n
	}
	return done, err
}

// writePart writes a part of one sector.
func (d *Disk) writePart(p []byte, off int64) (int, error) {
	var buf [SectorSize]byte
	sector := off / SectorSize
	if _, err := d.readLocked(buf[:], sector*SectorSize); err != nil {
		return 0, err
	}
	copy(buf[off%SectorSize:], p)
	if _, err := d.writeWhole(content{p: buf[:]}, sector); err != nil {
		return 0, err
	}
	return len(p), nil
}

// readLocked reads within one window, for who holds the disk's lock.
func (d *Disk) readLocked(p []byte, off int64) (int, error) {
	t := transfer{disk: d, content: content{p: p}}
	if n, err := t.add(d.mapOfSector(off/SectorSize), 0, int(off%windowSize)); err != nil {
		return n, err
	}
	return t.finish()
}

// writeWhole writes whole sectors of one window, and says how many bytes.
func (d *Disk) writeWhole(c content, sector int64) (done int, err error) {
	spb := d.leaf().img.sectorsPerBlock
	window := sector / windowSectors
	news := false
	for done < len(c.p) {
		inBlock := sector % spb
		n := min(int64(len(c.p)-done)/SectorSize, spb-inBlock)
		isNew, err := d.writeBlock(c.cut(done, done+int(n)*SectorSize), sector/spb, inBlock)
		if err != nil {
			return done, err
		}
		news = news || isNew
		done, sector = done+int(n)*SectorSize, sector+n
	}
	if !news && d.view().windows.get(window) == nil {
		d.blockMapLocked(window) // for the next overwrite
	}
	return done, nil
}

// writeBlock writes sectors of one block and notes that they are there, in this
// order (W2). It says whether that is news.
func (d *Disk) writeBlock(c content, index, inBlock int64) (news bool, err error) {
	w := d.leaf()
	b, err := w.block(index)
	if err != nil {
		return false, err
	}
	n := int64(len(c.p)) / SectorSize
	if b.off == 0 {
		return true, d.writeNewBlock(c, b, inBlock)
	}
	if _, err := c.writeTo(w.file, w.dataOff(b, inBlock)); err != nil {
		return false, inFile(w.img.name, inPart("data", w.dataOff(b, inBlock), err))
	}
	if !w.set(b, inBlock, n) {
		return false, nil
	}
	d.remap(b, inBlock, n)
	return true, nil
}

// writeNewBlock writes the first sectors of a block that gets its place now
// (W3).
func (d *Disk) writeNewBlock(c content, b *leafBlock, inBlock int64) error {
	w := d.leaf()
	off, fresh, err := d.allocate()
	if err != nil {
		return err
	}
	dataOff := off + w.img.bitmapArea
	if !w.hasParent() && !fresh { // W10
		err = zeroRange(w.file, dataOff, w.img.header.BlockSize)
	}
	if err == nil {
		_, err = c.writeTo(w.file, dataOff+inBlock*SectorSize)
	}
	if err != nil {
		w.release(off)
		return inFile(w.img.name, inPart("data", dataOff, err))
	}
	w.place(b, off)
	w.set(b, inBlock, int64(len(c.p))/SectorSize)
	if w.hasParent() {
		d.remap(b, inBlock, int64(len(c.p))/SectorSize)
	} else {
		d.remap(b, 0, w.img.sectorsPerBlock)
	}
	return nil
}

// remap notes that n sectors of a block are in the leaf now, or, if the block has
// no place, are holes. Block maps say so once publishChanges is called, which
// whoever holds the disk's lock does before giving it back. Maps that were never
// made need nothing.
func (d *Disk) remap(b *leafBlock, inBlock, n int64) {
	w := d.leaf()
	first := b.index*w.img.sectorsPerBlock + inBlock
	end := min(first+n, d.view().size/SectorSize)
	for first < end {
		window := first / windowSectors
		next := min((window+1)*windowSectors, end)
		start := first - window*windowSectors
		e := mapExtent{start: inWindow(start), end: inWindow(start + next - first), layer: hole}
		if b.off != 0 {
			e.layer, e.off = w.number, w.dataOff(b, first-b.index*w.img.sectorsPerBlock)
		}
		d.noteChange(window, e)
		first = next
	}
}

// noteChange notes a change of a window's map. Changes that come in order, as
// nearly all do, make one new map together.
func (d *Disk) noteChange(window int64, e mapExtent) {
	w := d.leaf()
	if n := len(w.changes); n > 0 && (w.changedWindow != window || e.start < w.changes[n-1].end) {
		d.publishChanges()
	}
	w.changedWindow, w.changes = window, appendExtent(w.changes, e)
}

// publishChanges publishes a map with the changes noted.
func (d *Disk) publishChanges() {
	w := d.leaf()
	if w == nil || len(w.changes) == 0 {
		return
	}
	if m := d.view().windows.get(w.changedWindow); m != nil {
		d.publish(w.changedWindow, m.with(w.changes))
	}
	w.changes = w.changes[:0]
}
