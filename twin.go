package vhd

import (
	"fmt"

	"github.com/google/uuid"
)

// A twin is what the footer's copy leads to while the end footer leads to another
// header of the same disk: somebody was changing what the image says of its
// parent, see [headerChange]. The two may name different identifiers of the one
// parent, which is getting a new one meanwhile. The right one is that which the
// parent has: before who settles on it writes that to the file, the parent is made
// durable, as it must not forget its identifier afterwards.
type twin struct {
	footer  Footer // the copy
	header  DynamicHeader
	settled bool // the parent was seen
	adopted bool // and it is what the copy's header says
}

// readTwin reads the other header, if there is one. What is not well-formed, or
// would mean other blocks, is none.
func (m *Image) readTwin(s *scratch) error {
	var t twin
	if !m.NeedsRecovery() || m.footerOff == m.FileSize() || t.footer.UnmarshalBinary(s.start[:footerSize]) != nil {
		return nil //nolint:nilerr // what is not well-formed is none
	}
	f := t.footer
	off := f.DataOffset
	f.DataOffset = m.footer.DataOffset
	if f != m.footer || off == m.footer.DataOffset || off < footerSize || off > m.footerOff-dynHeaderSize {
		return nil
	}
	raw := make([]byte, dynHeaderSize)
	if err := readFull(m.file, raw, off); err != nil {
		return inPart("dynamic header", off, err)
	}
	h := &t.header
	if h.UnmarshalBinary(raw) != nil || h.BlockSize != m.header.BlockSize || h.TableOffset != m.header.TableOffset || h.MaxTableEntries != m.header.MaxTableEntries {
		return nil //nolint:nilerr // what is not well-formed is none
	}
	if h.ParentID != m.header.ParentID {
		m.twin = &t
	}
	return nil
}

// namesParent says whether the image's parent may be the one with that identifier.
func (m *Image) namesParent(id uuid.UUID) bool {
	return m.header.ParentID == id || m.twin != nil && m.twin.header.ParentID == id
}

// settleTwin makes the header count that names the parent, which has that
// identifier.
func (m *Image) settleTwin(id uuid.UUID) error {
	t := m.twin
	if t == nil || t.settled {
		return nil
	}
	t.settled = true
	if t.header.ParentID != id {
		return nil
	}
	t.adopted = true
	m.footer, m.header = t.footer, t.header
	m.noteMetadata()
	start := make([]byte, min(m.FileSize(), footerSize))
	if err := readFull(m.file, start, 0); err != nil {
		return inFile(m.name, err)
	}
	m.readLocators(start)
	return nil
}

// checkTwin is why the image can't be mended: without the parent nobody knows
// which of two headers is right.
func (m *Image) checkTwin() error {
	if m.twin == nil || m.twin.settled {
		return nil
	}
	return fmt.Errorf("%w: a change of the parent was interrupted, and only with the parent it can be brought to an end", ErrParentNotFound)
}
