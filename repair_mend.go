package vhd

import (
	"errors"
	"slices"
)

const (
	// maxMoved bounds the blocks that are given places of their own, and
	// maxMovedBytes what they take: that many in one image are no accident.
	maxMoved      = 4096
	maxMovedBytes = 256 << 20

	// maxCleared bounds what of the BAT is written to clear entries that nobody reads,
	// bytes: whatever else is to be mended has to go into the same overlay.
	maxCleared = maxKept / 2
)

// lostFooter are the codes about an end footer that its copy can be put in place
// of, and wrongCopy those about a copy that the end footer can.
var (
	lostFooter = []string{"footer-lost", "trailing-bytes", "footer-checksum", "footer-version", "footer-size"}
	wrongCopy  = []string{"copy-lost", "copy-checksum", "copy-version", "copy-size", "footers-differ"}

	// wantEngine are those that are mended by the engine, as by a writer.
	wantEngine = slices.Concat(lostFooter, wrongCopy,
		[]string{"block-cut", "table-padding", "bat-overlap", "batmap-wrong", "batmap-stale", "locator-place", "slack"})
)

// notMended is why what remains does.
var notMended = map[string]string{
	"bat-metadata": notMadeUp, "bat-past-end": notMadeUp, "bat-cut": notMadeUp,
	"footer-lost": notPlaced, "trailing-bytes": notPlaced, "footer-checksum": notPlaced, "footer-version": notPlaced, "footer-size": notPlaced,
	"bat-overlap": notPlaced, "table-padding": notPlaced, "locator-place": notPlaced,
	"bat-beyond-disk": notCleared,
	"disk-type":       notKnown, "disk-size": notKnown, "header-place": notKnown, "header-lost": notKnown, "header-checksum": notKnown,
	"block-size": notKnown, "table-entries": notKnown, "table-place": notKnown,
}

const (
	notMadeUp  = "It is not mended: what the block held is not there, and anything in its place would be made up."
	notPlaced  = "It is not mended as long as other errors remain, or so many blocks overlap: nobody knows which space in the file is free."
	notVouched = "It is not mended: a fixed disk has no copy of its footer that would vouch for this one, and a guest may have written it, as a part of the disk."
	notCleared = "It is not mended as long as other errors remain, or so many entries are in use."
	notCopied  = "It is not mended: a fixed disk has no copy of its footer."
	notSized   = "It is not mended: both footers are damaged, and nothing else in the file says how large the disk is."
	notKnown   = "It is not mended: nothing in the file says what should be there."
)

// explained are findings that say why they remain.
func (r *repairing) explained(findings []Finding) []Finding {
	for i := range findings {
		r.parent.explainTwin(&findings[i])
		if why := r.whyNotMended(findings[i].Code); why != "" {
			findings[i].Message += " " + why
		}
	}
	return findings
}

// whyNotMended is why a finding of that code remains; empty: that goes without saying.
func (r *repairing) whyNotMended(code string) string {
	if r.image.footer == (Footer{}) {
		return notSized // and nothing else was looked at
	}
	if r.image.footer.Type == Fixed && slices.Contains(lostFooter, code) {
		if code == "trailing-bytes" {
			return notVouched
		}
		return notCopied
	}
	return notMended[code]
}

// mend mends what the findings on the overlay are about, of which codes are
// those.
func (r *repairing) mend(codes map[string]bool) error {
	if r.image.footer.Type == Fixed && r.image.NeedsRecovery() {
		return r.cutTrailing()
	}
	if codes["footer-511"] {
		if err := r.completeFooter(); err != nil {
			return err
		}
	}
	m, ok, err := r.read()
	if err != nil || !ok || m.footer.Type == Fixed {
		return err
	}
	if !hasAny(codes, wantEngine) && !codes["bat-beyond-disk"] {
		return nil
	}
	offs, moved, err := r.blocksToMove(m)
	if isAboutStructure(err) || err == nil && m.hidesPath(offs) {
		return r.mendCopy(m, codes)
	}
	if err != nil {
		return err
	}
	return r.mendRest(m, codes, offs, moved)
}

func hasAny(codes map[string]bool, of []string) bool {
	return slices.ContainsFunc(of, func(code string) bool { return codes[code] })
}

// step notes a step.
func (r *repairing) step(code string, off int64, format string, args ...any) {
	r.steps.add(r.name, code, off, format, args...)
}

// stepsFor notes a step for each of some codes that was found.
func (r *repairing) stepsFor(codes map[string]bool, of []string, off int64, format string, args ...any) {
	for _, code := range of {
		if codes[code] {
			r.step(code, off, format, args...)
		}
	}
}

// cutTrailing cuts off what an interrupted growing put behind a fixed disk's footer,
// as a writer does: the file's size tells of it, which no guest has a say in.
func (r *repairing) cutTrailing() error {
	end := r.image.footerOff + footerSize
	r.step("trailing-bytes", end, "The %d bytes behind the footer are cut off.", r.file.size-end)
	if err := r.file.Truncate(end); err != nil {
		return err
	}
	return r.file.Sync()
}

// completeFooter makes 512 bytes of a footer of 511. The last is a zero, and what
// is there stays what it is.
func (r *repairing) completeFooter() error {
	r.step("footer-511", r.file.size, "The footer gets its last byte, a zero.")
	if err := r.file.Truncate(r.file.size + 1); err != nil {
		return err
	}
	return r.file.Sync()
}

// mendCopy mends the footer's copy and nothing else, where it is not known which
// space is free; or the footer at the end, where it is the copy that counts.
func (r *repairing) mendCopy(m *Image, codes map[string]bool) error {
	if !m.NeedsRecovery() {
		return nil
	}
	footer, err := m.footer.MarshalBinary()
	if err != nil {
		return err
	}
	if _, err := r.file.WriteAt(footer, r.mendedCopy(m, codes)); err != nil {
		return err
	}
	return r.file.Sync()
}

// mendedCopy notes that of two footers that differ one is written as the other is,
// and returns where.
func (r *repairing) mendedCopy(m *Image, codes map[string]bool) (off int64) {
	if m.twin != nil && m.twin.adopted {
		r.stepsFor(codes, wrongCopy, m.footerOff, "The footer at the file's end is written as its copy at the file's start is, which leads to the header that names the parent.")
		return m.footerOff
	}
	r.stepsFor(codes, wrongCopy, 0, "The footer's copy at the file's start is written anew, from the footer at the end.")
	return 0
}

// blocksToMove are the places of all blocks, in order, and the blocks that need
// places of their own: of two that overlap, the one behind. A *FormatError says
// that they are too many, or that one can't be read.
func (r *repairing) blocksToMove(m *Image) (offs []int64, moved []placedBlock, err error) {
	blocks, err := m.placedBlocks(m.mostBlocks() + maxMoved)
	slices.Sort(blocks)
	end := int64(0)
	for _, b := range blocks {
		offs = append(offs, b.off())
		if b.off() < end {
			moved = append(moved, b)
			continue
		}
		end = b.off() + m.blockBytes()
	}
	if n := int64(len(moved)); err == nil && (n > maxMoved || n*m.blockBytes() > maxMovedBytes) {
		err = m.overlap(moved[0].off())
	}
	return offs, moved, err
}

// hidesPath says whether a locator leads behind the file's end into the part of
// the last block, at the last of offs, that is cut off there. Once the block is
// whole it would lie over a path.
func (m *Image) hidesPath(offs []int64) bool {
	if len(offs) == 0 {
		return false
	}
	last := offs[len(offs)-1]
	return slices.ContainsFunc(m.lostLocators(), func(slot int) bool {
		l := m.header.Locators[slot]
		return span{off: l.DataOffset, end: l.DataOffset + l.DataLength}.overlaps(last, last+m.blockBytes())
	})
}

// lostLocators are the slots of the header's locators that lead behind the file's
// end.
func (m *Image) lostLocators() []int {
	var slots []int
	for slot, l := range m.header.Locators {
		if m.footer.Type == Differencing && l.isBelievable() && !m.holdsLocator(l) {
			slots = append(slots, slot)
		}
	}
	return slots
}

// mendRest mends all that can be mended once it is known where the blocks are.
func (r *repairing) mendRest(m *Image, codes map[string]bool, offs []int64, moved []placedBlock) error {
	if codes["bat-beyond-disk"] {
		if err := r.clearBehindDisk(m); err != nil {
			return err
		}
		r.steps.end(len(r.file.changes))
	}
	if !hasAny(codes, wantEngine) {
		return nil
	}
	w, err := r.writer(m, offs)
	if err != nil {
		return err
	}
	w.codes, w.moved, w.lostLocators = codes, moved, m.lostLocators()
	for _, mend := range []func(*repairWriter) error{
		(*repairWriter).mendFooters, (*repairWriter).completeLast, (*repairWriter).clearLocators,
		(*repairWriter).moveBlocks, (*repairWriter).clearBatmap, (*repairWriter).cutSlack,
	} {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if err := mend(w); err != nil {
			return err
		}
		r.steps.end(len(r.file.changes))
	}
	return nil
}

// errManyCleared is about more entries than are cleared.
var errManyCleared = errors.New("too many entries to clear")

// clearBehindDisk clears the entries of the BAT that the disk's size does not
// need, unless they are too many.
func (r *repairing) clearBehindDisk(m *Image) error {
	n, first, cleared := 0, int64(0), int64(-1)
	var sectors []int64
	err := m.eachEntry(m.nblocks, int64(m.header.MaxTableEntries), func(block int64, _ batEntry) error {
		if n++; n == 1 {
			first = block
		}
		if sector := block / batEntriesPerSector; sector != cleared {
			cleared = sector
			sectors = append(sectors, sector)
		}
		if int64(len(sectors)) > maxCleared/SectorSize {
			return errManyCleared
		}
		return nil
	})
	if errors.Is(err, errManyCleared) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, sector := range sectors {
		if err := r.clearEntries(m, sector); err != nil {
			return err
		}
	}
	r.step("bat-beyond-disk", m.entryOff(first), "Entry %d of the BAT, behind the disk's end, is cleared, and so are %d more behind it.", first, n-1)
	return r.file.Sync()
}

// clearEntries clears the entries behind the disk's end in a sector of the BAT
// (W12). The padding behind the table's end may not be in the file.
func (r *repairing) clearEntries(m *Image, sector int64) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	first := sector * batEntriesPerSector
	raw := make([]byte, min(batEntriesPerSector, int64(m.header.MaxTableEntries)-first)*batEntrySize)
	off := m.header.TableOffset + sector*SectorSize
	if err := readFull(r.file, raw, off); err != nil {
		return inPart(inBAT, off, err)
	}
	for block := max(first, m.nblocks); (block-first)*batEntrySize < int64(len(raw)); block++ {
		putBATEntry(raw, block-first, noBlock)
	}
	_, err := r.file.WriteAt(raw, off)
	return err
}
