package vhd

// startWriting makes the leaf ready to be written: its blocks are looked at,
// and what a crashed writer left is mended.
func (d *Disk) startWriting(v *view) error {
	l := v.top()
	d.syncs = &barrier{file: l.file, onFail: d.breakDown}
	if l.table == nil {
		return d.recoverFixed(l)
	}
	if err := l.img.checkLocators(); err != nil {
		return err
	}
	if err := l.img.checkTwin(); err != nil {
		return err
	}
	var err error
	if v.leaf, err = newLeaf(l); err != nil {
		return err
	}
	if l.img.NeedsRecovery() {
		err = d.recover()
	}
	if err == nil && d.leaf().space.next > l.img.footerOff {
		err = d.completeLastBlock()
	}
	return err
}

func (m *Image) corruptTable() error {
	return &FormatError{Part: "BAT", Offset: m.header.TableOffset, Got: "padding behind the file's end",
		Want: "a table of whole sectors", Err: ErrCorrupt}
}

// recoverFixed cuts off what an interrupted growing of a fixed disk put behind its
// footer.
func (d *Disk) recoverFixed(l *layer) error {
	if !l.img.NeedsRecovery() {
		return nil
	}
	end := l.img.footerOff + footerSize
	if err := l.file.Truncate(end); err != nil {
		return err
	}
	l.img.fileSize.Store(end)
	l.img.needsRecovery.Store(false)
	return d.syncs.fsync()
}

// recover mends what NeedsRecovery tells of. The footer that counts is written
// where it is missing, at the end first and then at the start, so that at every
// moment one of the two is whole (W7). Interrupted, it is done again.
func (d *Disk) recover() error {
	m := d.leaf().img
	if v := d.view(); m.twin != nil && len(v.chain) > 1 {
		if err := d.makeDurable(v.at(1)); err != nil {
			return err
		}
	}
	if m.footerOff == m.FileSize() { // the end footer is lost
		if err := d.endFileAt(footerAt(d.leaf().space.next)); err != nil {
			return err
		}
		d.leaf().space.fresh = m.footerOff + footerSize
	}
	if m.twin != nil && m.twin.adopted {
		if err := d.endFileAt(m.footerOff); err != nil {
			return err
		}
	}
	if err := d.writeCopy(); err != nil {
		return err
	}
	m.needsRecovery.Store(false)
	return nil
}

// writeCopy writes the footer's copy at the file's start.
func (d *Disk) writeCopy() error {
	if _, err := writeFull(d.leaf().file, d.leaf().footer, 0); err != nil {
		return inPart("footer", 0, err)
	}
	return d.syncs.fsync()
}

// completeLastBlock makes a last block that the file's end cuts off whole:
// behind what is there, it reads as zeros. The footer stands where zeros have
// to be, so it is cut off first, while the copy is whole.
func (d *Disk) completeLastBlock() error {
	m := d.leaf().img
	if err := d.writeCopy(); err != nil {
		return err
	}
	if err := d.leaf().file.Truncate(m.footerOff); err != nil {
		return err
	}
	if err := d.syncs.fsync(); err != nil {
		return err
	}
	return d.endFileAt(footerAt(d.leaf().space.next))
}
