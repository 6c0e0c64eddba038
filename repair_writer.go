package vhd

// repairWriter is a writer of an image on an overlay, which a repair has mend
// what it would not write to otherwise. It keeps the order of writes that all
// writers keep (W1 to W13).
type repairWriter struct {
	*repairing
	m    *Image
	disk *Disk
	offs []int64 // where the blocks are, in order

	codes        map[string]bool // of what was found
	moved        []placedBlock   // the blocks that are to get places of their own
	lostLocators []int           // slots

	// What the check has not told of where blocks overlap.
	blockCut, tableCut, slack bool
}

// writer opens the overlay for writing, as Open does but for refusing what is to
// be mended. offs are where the blocks are.
func (r *repairing) writer(m *Image, offs []int64) (*repairWriter, error) {
	c := &cache{limit: defaultCacheSize}
	l := newLayer(0, m, r.file, c)
	v := &view{size: m.footer.CurrentSize, layers: []*layer{l}}
	v.setChain([]int32{0})
	s, err := m.spaceAround(offs)
	if err != nil {
		return nil, err
	}
	s.freeSlots = nil // what is there stays out of the undo file
	if v.leaf, err = leafWith(l, s); err != nil {
		return nil, err
	}
	d := &Disk{cache: c}
	d.syncs = &barrier{file: r.file, onFail: d.breakDown}
	d.current.Store(v)
	w := &repairWriter{repairing: r, m: m, disk: d, offs: offs, tableCut: m.tableEnd() > m.footerOff, slack: m.hasSlack(s.next)}
	w.blockCut = len(offs) > 0 && m.isCutOff(offs[len(offs)-1])
	return w, nil
}

// mendFooters writes the footer that is lost, or differs, as the other has it.
func (w *repairWriter) mendFooters() error {
	if !w.m.NeedsRecovery() {
		return nil
	}
	if err := w.disk.recover(); err != nil {
		return err
	}
	w.stepsFor(w.codes, lostFooter, w.m.footerOff, "The footer is written at %d, from its copy at the file's start, and the file ends behind it.", w.m.footerOff)
	w.mendedCopy(w.m, w.codes)
	return nil
}

// completeLast makes whole what the footer cuts off: the last block, or the BAT.
func (w *repairWriter) completeLast() error {
	if w.disk.leaf().space.next > w.m.footerOff {
		if err := w.disk.completeLastBlock(); err != nil {
			return err
		}
	}
	if w.blockCut {
		w.step("block-cut", w.m.footerOff, "The last block gets the zeros that it lacks, and the footer is written behind it, at %d.", w.m.footerOff)
	}
	if w.tableCut {
		w.step("table-padding", w.m.footerOff, "The BAT gets the rest of its last sector, and the footer is written behind it, at %d.", w.m.footerOff)
	}
	return nil
}

// clearLocators clears the header's locators that lead behind the file's end,
// before blocks can come to stand there.
func (w *repairWriter) clearLocators() error {
	if len(w.lostLocators) == 0 {
		return nil
	}
	h := w.m.header
	for _, slot := range w.lostLocators {
		w.step("locator-place", w.m.locatorOff(slot),
			"Parent locator %d, whose path at %d is not in the file, is cleared.", slot, h.Locators[slot].DataOffset)
		h.Locators[slot] = Locator{Reserved: h.Locators[slot].Reserved}
	}
	return w.replaceHeader(h)
}

// replaceHeader puts another dynamic header in place of the image's.
func (w *repairWriter) replaceHeader(h DynamicHeader) error {
	c, err := w.disk.headerChangeBeside(w.offs, 0)
	if err != nil {
		return err
	}
	c.header = h
	if err := c.show(); err != nil {
		return err
	}
	if err := c.goHome(); err != nil {
		return err
	}
	w.m.footer, w.m.header = c.footer, c.header
	w.m.noteMetadata()
	w.disk.leaf().footer, err = w.m.footer.MarshalBinary()
	return err
}

// moveBlocks gives blocks that overlap others copies of their own, at the file's
// end. The BAT says so once they are durable (W4, W5).
func (w *repairWriter) moveBlocks() error {
	for _, b := range w.moved {
		if err := w.moveBlock(b); err != nil {
			return err
		}
	}
	return w.disk.flush(heldLock{})
}

func (w *repairWriter) moveBlock(b placedBlock) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	off, _, err := w.disk.allocate()
	if err != nil {
		return err
	}
	leaf := w.disk.leaf()
	block, err := leaf.block(b.index())
	if err != nil {
		return err
	}
	w.file.copyRange(off, b.off(), w.m.blockBytes())
	block.off = off
	leaf.markDirty(block, 0, w.m.sectorsPerBlock)
	w.step("bat-overlap", w.m.entryOff(b.index()), "Block %d gets a copy of its own, at sector %d.", b.index(), off/SectorSize)
	return nil
}

// clearBatmap makes Xen's batmap one that says nothing wrong, or none if it can't be
// one: the bitmaps say what it said.
func (w *repairWriter) clearBatmap() error {
	codes := []string{"batmap-wrong", "batmap-stale"}
	if len(w.m.batmap) == 0 || !hasAny(w.codes, codes) {
		return nil
	}
	off := w.m.batmap[0].off
	if err := w.disk.clearBatmap(); err != nil {
		return err
	}
	what := "Xen's batmap is made to call no block full"
	if w.m.batmap == nil {
		what = "The header of Xen's batmap is overwritten with zeros"
	}
	w.stepsFor(w.codes, codes, off, "%s: the sector bitmaps count.", what)
	return w.file.Sync()
}

// cutSlack cuts off what is behind the last block.
func (w *repairWriter) cutSlack() (err error) {
	if w.disk.leaf().space, err = w.m.takeInventory(); err != nil {
		return err
	}
	if err := w.disk.trim(); err != nil {
		return err
	}
	if w.slack {
		w.step("slack", w.m.footerOff, "The footer is written behind the last block, at %d, and the file ends there.", w.m.footerOff)
	}
	return nil
}
