package vhd

import (
	"encoding/binary"
	"errors"
	"strings"

	"github.com/google/uuid"
)

// checkHeader checks the dynamic header, and what it points to but for the
// blocks. ok is false if it leads to no table.
func (k *checkup) checkHeader() (ok bool, err error) {
	m, s := k.m, &k.chain.scratch
	if err := m.readHeader(s.start[footerSize:][:dynHeaderSize]); err != nil {
		if errors.Is(err, ErrUnsupported) || !isAboutStructure(err) {
			return false, err
		}
		k.addHeaderFlaw(err)
		if !errors.Is(err, ErrChecksum) {
			return false, nil
		}
		if ok, err := k.believeHeader(); !ok {
			return false, err
		}
	}
	k.parented = m.footer.Type == Differencing
	hasLayout := k.holds("block-size", m.checkBlockSize())
	k.holds("table-entries", m.checkTableEntries())
	hasTable := k.holds("table-place", m.checkTablePlace())
	k.checkHeaderFields()
	if hasTable {
		m.noteMetadata()
		k.checkTable(hasLayout)
	}
	if k.parented {
		m.readLocators(s.start[:s.nstart])
		err = k.checkLocators(hasTable)
	}
	return hasLayout && hasTable, err
}

// believeHeader decodes a header whose checksum is wrong. ok is false if it says what
// can't be, and then nothing of it is believed.
func (k *checkup) believeHeader() (ok bool, err error) {
	m := k.m
	raw := make([]byte, dynHeaderSize)
	if err := readFull(m.file, raw, m.footer.DataOffset); err != nil {
		return false, inPart(inHeader, m.footer.DataOffset, err)
	}
	binary.BigEndian.PutUint32(raw[headerChecksumOff:], checksum(raw, headerChecksumOff))
	if m.header.UnmarshalBinary(raw) == nil && m.checkHeader() == nil {
		return true, nil
	}
	m.header = DynamicHeader{}
	return false, nil
}

// holds says whether a rule of Open's holds, and notes what it says if not.
func (k *checkup) holds(code string, err error) bool {
	e, ok := errors.AsType[*FormatError](err)
	switch {
	case !ok:
	case e.Field == "max table entries":
		k.add(code, e.Offset, "The BAT has %v entries; it should have %v.", e.Got, e.Want)
	default:
		k.addFormat(code, e)
	}
	return err == nil
}

// addHeaderFlaw notes why there is no header.
func (k *checkup) addHeaderFlaw(err error) {
	e, ok := errors.AsType[*FormatError](err)
	switch {
	case !ok:
	case e.Part == inFooter:
		k.add("header-place", e.Offset, "The footer says that the dynamic header is at %v; it should be at a multiple of 512 from 512 on, and all of it in front of %d.", e.Got, k.m.footerOff)
	case e.Field == "checksum":
		k.add("header-checksum", e.Offset, "The dynamic header is damaged: its checksum is %v, and that of its bytes is %v.", e.Got, e.Want)
	default:
		k.add("header-lost", e.Offset, "The dynamic header is lost: where it should be stands something else, which begins with %v.", e.Got)
	}
}

// checkHeaderFields is about fields that are odd and do no harm.
func (k *checkup) checkHeaderFields() {
	m, h := k.m, &k.m.header
	off := m.footer.DataOffset
	if off != footerSize {
		k.add("header-moved", off, "The dynamic header is at %d, and not right behind the footer's copy, where some software expects it.", off)
	}
	if h.DataOffset != noOffset {
		k.add("header-data-offset", off+8, "The header's data offset, which is not used, is %#x and not all ones.", uint64(h.DataOffset)) //nolint:gosec // as the file has it
	}
	used := h.Reserved1
	for _, l := range h.Locators {
		if l.Code != 0 && k.parented {
			used |= l.Reserved
		}
	}
	if used != 0 || h.Reserved2 != [256]byte{} {
		k.add("header-reserved", off+60, "The reserved bytes of the dynamic header are not all zeros.")
	}
	if !k.parented && (h.ParentID != uuid.UUID{} || !h.ParentTime.IsZero() || h.ParentName != ParentName{} || h.Locators != [8]Locator{}) {
		k.add("parent-unused", off+40, "The header tells of a parent, and a dynamic disk has none.")
	}
}

// checkTable is about the table as a whole. hasLayout says that it is known how
// many entries it needs.
func (k *checkup) checkTable(hasLayout bool) {
	m, h := k.m, &k.m.header
	if m.tableEnd() > m.footerOff {
		k.add("table-padding", m.footerOff, "The last sector of the BAT is cut off: the table ends at %d, and what is in front of the footer at %d.", m.tableEnd(), m.footerOff)
	}
	entries := int64(h.MaxTableEntries)
	if hasLayout && entries > m.nblocks {
		k.add("table-large", m.footer.DataOffset+28, "The BAT has %d entries, and the disk has %d blocks.", entries, m.nblocks)
	}
	m.nblocks = min(m.nblocks, entries) // what there is can be looked at
}

// checkLocators is about the references to the parent.
func (k *checkup) checkLocators(hasTable bool) error {
	m, h := k.m, &k.m.header
	if h.ParentID == (uuid.UUID{}) {
		k.add("parent-id-zero", m.footer.DataOffset+40, "The parent's identifier is all zeros, so that any disk whose identifier is too would do.")
	}
	others := []span{
		{"the footer's copy", 0, footerSize},
		{"the dynamic header", m.footer.DataOffset, m.footer.DataOffset + dynHeaderSize},
	}
	if hasTable {
		others = append(others, span{"the BAT", h.TableOffset, m.tableEnd()})
	}
	read := m.locators
	for slot, l := range h.Locators {
		if l.Code == 0 {
			continue
		}
		if read[0].err != nil && !isFormatError(read[0].err) {
			return inPart(inLocator, l.DataOffset, read[0].err)
		}
		if k.checkLocator(slot, read[0], others) {
			others = append(others, span{"the path of another locator", l.DataOffset, l.DataOffset + l.DataLength})
		}
		read = read[1:]
	}
	for ref := range m.storedRefs() {
		if ref.path.err == nil {
			return nil
		}
	}
	k.add("parent-unnamed", m.footer.DataOffset+64, "Nothing that the image holds says where its parent is.")
	return nil
}

// checkLocator checks one locator, of which data was read. others are what it
// must not overlap. ok is false if it points to nothing.
func (k *checkup) checkLocator(slot int, data locatorData, others []span) (ok bool) {
	m, l := k.m, k.m.header.Locators[slot]
	off := m.locatorOff(slot)
	if !l.isBelievable() {
		k.add("locator-data", off+8, "Parent locator %d has a path of %d bytes at %#x; it should have 1 to %d bytes, behind the footer's copy.",
			slot, l.DataLength, uint64(l.DataOffset), maxLocatorData) //nolint:gosec // as the file has it
		return false
	}
	if !m.holdsLocator(l) {
		k.add("locator-place", off+16, "Parent locator %d has its path at %d, behind the file's end at %d, where blocks would come to stand.", slot, l.DataOffset, m.FileSize())
		return false
	}
	k.checkPath(slot, off, data)
	for _, s := range others {
		if s.overlaps(l.DataOffset, l.DataOffset+l.DataLength) {
			k.add("locator-overlap", l.DataOffset, "The path of parent locator %d, %d bytes at %d, overlaps %s.", slot, l.DataLength, l.DataOffset, s.what)
			break
		}
	}
	switch {
	case l.Space() < l.DataLength:
		k.add("locator-space", off+4, "Parent locator %d sets %d bytes aside for a path of %d.", slot, l.Space(), l.DataLength)
	case l.Space() > m.footerOff-l.DataOffset:
		k.add("locator-space", off+4, "Parent locator %d sets %d bytes aside at %d, more than there are in front of the footer.", slot, l.Space(), l.DataOffset)
	case l.DataSpace < SectorSize:
		k.add("locator-space", off+4, "Parent locator %d counts the space for its path in sectors, %d; the specification says so, and nearly all software counts bytes.", slot, l.DataSpace)
	}
	return true
}

// checkPath is about what a locator's data says.
func (k *checkup) checkPath(slot int, off int64, data locatorData) {
	switch data.code {
	case W2ru, W2ku, Wi2r, Wi2k, MacX, Mac:
	default:
		k.add("locator-code", off, "Parent locator %d is of an unknown kind, %#08x.", slot, uint32(data.code))
		return
	}
	if ref := newLocatorRef(data); ref.path.err != nil {
		k.add("locator-path", k.m.header.Locators[slot].DataOffset, "The path of parent locator %d, of kind %s, leads nowhere: %s.",
			slot, strings.TrimSpace(data.code.String()), shortened(strings.TrimPrefix(bare(ref.path.err), ErrOutsideRoot.Error()+": ")))
	}
}
