package vhd

// rewriteHeader puts another dynamic header in place of the image's, which is
// never changed where it is (W13): torn, it would be an image lost. It goes to
// free space, both footers point there, it is written to its place, and they
// point back.
func (w *repairWriter) rewriteHeader(h DynamicHeader) error {
	raw, err := h.MarshalBinary()
	if err != nil {
		return err
	}
	home := w.m.footer.DataOffset
	aside, err := w.spaceForHeader()
	if err != nil {
		return err
	}
	for _, off := range []int64{aside, home} {
		if _, err := writeFull(w.file, raw, off); err != nil {
			return inPart(inHeader, off, err)
		}
		if err := w.disk.syncs.fsync(); err != nil {
			return err
		}
		if err := w.pointFooters(off); err != nil {
			return err
		}
	}
	w.m.header = h
	w.m.noteMetadata()
	return nil
}

// spaceForHeader is free space behind all blocks. The file grows if there is none.
func (w *repairWriter) spaceForHeader() (int64, error) {
	off := roundUp(w.disk.leaf().space.next, SectorSize)
	if off+dynHeaderSize <= w.m.footerOff {
		return off, nil
	}
	off = max(off, roundUp(w.m.FileSize(), SectorSize))
	return off, w.disk.endFileAt(footerAt(off + dynHeaderSize))
}

// pointFooters makes both footers point to a header, the one at the end first
// (W7).
func (w *repairWriter) pointFooters(off int64) error {
	w.m.footer.DataOffset = off
	footer, err := w.m.footer.MarshalBinary()
	if err != nil {
		return err
	}
	w.disk.leaf().footer = footer
	if _, err := writeFull(w.file, footer, w.m.footerOff); err != nil {
		return inPart(inFooter, w.m.footerOff, err)
	}
	if err := w.disk.syncs.fsync(); err != nil {
		return err
	}
	return w.disk.writeCopy()
}
