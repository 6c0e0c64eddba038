package vhd

// resizeFixed moves the end of a fixed disk, which has one footer, of which there
// is always one that counts:
//
//  1. If the footer does not stand at the new end or behind it, it is put there, as it
//     is: the image has slack then. See [Image.readGrowing] for how.
//  2. What comes to the disk is made zeros: slack, and the old footer; fsync.
//  3. The footer gets the new size, in place; fsync.
//  4. If it stands behind the new end, it is written there; fsync; the file is cut
//     off behind it; fsync.
func (r *resizing) resizeFixed() error {
	d := r.disk
	m := d.view().top().img
	oldSize := m.FileSize()
	if m.footerOff < r.to || m.footerOff%SectorSize != 0 || oldSize-m.footerOff != footerSize { // or writing it is not atomic
		if err := r.extendFixed(max(r.to, roundUp(oldSize, SectorSize))); err != nil {
			return err
		}
	}
	if err := r.zeroFixed(min(r.to, oldSize)); err != nil {
		return err
	}
	if err := d.replaceFooter(r.footer()); err != nil {
		return err
	}
	d.reuses.Add(1) // who is reading what falls off reads again
	return r.cutFixed()
}

// extendFixed makes the file longer, with the footer at off, behind its end:
//
//  1. the file's size becomes one that tells where the footer is; fsync;
//  2. the footer is written at its new place; fsync;
//  3. the file is cut off behind it; fsync.
func (r *resizing) extendFixed(off int64) error {
	d := r.disk
	l := d.view().top()
	oldSize := l.img.FileSize()
	raw, err := l.img.footer.MarshalBinary()
	if err != nil {
		return err
	}
	steps := []func() error{
		func() error { return l.file.Truncate(growingSize(oldSize, off+footerSize)) },
		func() error {
			_, err := writeFull(l.file, raw, off)
			return inPart("footer", off, err)
		},
		func() error { return l.file.Truncate(off + footerSize) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return r.takeBackFixed(oldSize, err)
		}
		if err := d.syncs.fsync(); err != nil {
			return err
		}
	}
	l.img.footerOff = off
	l.img.fileSize.Store(off + footerSize)
	return nil
}

// takeBackFixed makes the file end again behind the footer, which is where it was.
func (r *resizing) takeBackFixed(oldSize int64, cause error) error {
	if err := r.disk.view().top().file.Truncate(oldSize); err != nil {
		return r.disk.breakDown(joined(cause, err)) // another footer may be at the end, or none
	}
	if err := r.disk.syncs.fsync(); err != nil {
		return err
	}
	return cause
}

// zeroFixed makes zeros of what is between the old end of the disk and end, behind
// which the file never held anything.
func (r *resizing) zeroFixed(end int64) error {
	if end <= r.from {
		return nil
	}
	if err := zeroRange(r.disk.view().top().file, r.from, end-r.from); err != nil {
		return inPart("data", r.from, err) // the file keeps its slack
	}
	return r.disk.syncs.fsync()
}

// cutFixed puts the footer at the end of the disk, which does not grow any more, and
// the file's end behind it.
func (r *resizing) cutFixed() error {
	d := r.disk
	l := d.view().top()
	if l.img.footerOff == r.to {
		return nil
	}
	raw, err := l.img.footer.MarshalBinary()
	if err != nil {
		return err
	}
	if _, err := writeFull(l.file, raw, r.to); err != nil { // the one at the end counts
		return inPart("footer", r.to, err)
	}
	if err := d.syncs.fsync(); err != nil {
		return err
	}
	if err := l.file.Truncate(r.to + footerSize); err != nil {
		return err
	}
	l.img.footerOff = r.to
	l.img.fileSize.Store(r.to + footerSize)
	return d.syncs.fsync()
}
