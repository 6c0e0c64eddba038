package vhd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"sync/atomic"
)

const (
	// MaxBlockSize is the size of the largest blocks that are read and made, bytes.
	MaxBlockSize = 256 << 20

	// maxAddressable is the largest disk whose blocks the BAT, which counts in
	// sectors, could all name. What is made here stays below MaxDynamicSize.
	maxAddressable = 1 << 32 * SectorSize
	// maxLocatorData bounds the path that a locator may point to: Windows'
	// longest has 32,767 UTF-16 code units.
	maxLocatorData = 64 << 10
)

// Image is one VHD file: its structures, checked against the file. Its methods
// may be called beside those of the Disk that it belongs to, and, but for
// AllocatedBlocks, after that is closed.
type Image struct {
	name string
	file io.ReaderAt

	footer   Footer
	header   DynamicHeader // of a fixed disk: zero
	locators []locatorData
	twin     *twin  // the other header, when a change of the header was interrupted
	metadata []span // where no block may be
	batmap   []span // where Xen's map of full blocks is, if there is one; only writers look for it
	noBatmap bool   // they have looked, and there was none
	noneFull bool   // that map was cleared

	// Of a disk that has blocks; see "Block Allocation Table and Data Blocks".
	sectorsPerBlock int64
	bitmapArea      int64 // bytes in front of a block's data
	nblocks         int64 // entries of the BAT that the disk's size needs

	// These change while the disk grows and when it is closed, footerOff under
	// the exclusive lock of the Disk that writes.
	footerOff     int64 // of the end footer; the file's end when it is lost
	fileSize      atomic.Int64
	needsRecovery atomic.Bool

	lastOff atomic.Int64 // of the last block by its place in the file; 0: not looked for yet
}

// span is a piece of a file, in bytes.
type span struct {
	what     string
	off, end int64
}

func (s span) overlaps(off, end int64) bool { return off < s.end && end > s.off }

// locatorData is what one of the header's locators points to.
type locatorData struct {
	code PlatformCode
	data []byte
	err  error // why data could not be read
}

// path decodes what was read.
func (l locatorData) path() (string, error) {
	if l.err != nil {
		return "", l.err
	}
	return l.code.DecodePath(l.data)
}

// Inspect reads one file of size bytes, opens no other, and follows nothing: it
// is safe on an image that nobody trusts. Errors about what the file holds are
// of type *FormatError; others are r's.
//
// The Image reads r again when AllocatedBlocks is called, and only then.
func Inspect(r io.ReaderAt, size int64) (*Image, error) { return readImage("", r, size, new(scratch)) }

// Name is the name under which the image was opened; empty after Inspect.
func (m *Image) Name() string { return m.name }

// Footer is the footer that counts: the one at the file's end, or its copy at
// the start when that one is lost.
func (m *Image) Footer() Footer { return m.footer }

// Header is the dynamic header. ok is false for a fixed disk, which has none.
func (m *Image) Header() (h DynamicHeader, ok bool) { return m.header, m.footer.Type != Fixed }

// FileSize is the size of the file in bytes.
func (m *Image) FileSize() int64 { return m.fileSize.Load() }

// NeedsRecovery says that a writer left the file without finishing: the
// footer at the end or its copy at the start is lost, or the two differ. The
// image can be read all the same; opening it for writing mends it.
func (m *Image) NeedsRecovery() bool { return m.needsRecovery.Load() }

// AllocatedBlocks counts the blocks that the block allocation table places in
// the file: 0 for a fixed disk. It reads the whole table. What a writer has
// not made durable yet is not counted.
func (m *Image) AllocatedBlocks() (int, error) {
	n := 0
	err := m.eachBlock(func(int64, batEntry) error {
		n++
		return nil
	})
	return n, err
}

// scratch is where structures are read to before they are decoded. One serves
// all images of a chain, which are opened one after the other.
type scratch struct {
	end    [footerSize]byte
	start  [9 << 10]byte // the footer's copy, the header, and most often what the locators point to
	nstart int64         // how much of start is the file's; the rest is zeros
}

// readStart reads how the file starts. If not all of that can be read, the
// structures may be.
func (s *scratch) readStart(r io.ReaderAt, size int64) (err error) {
	for _, n := range [...]int64{int64(len(s.start)), footerSize + dynHeaderSize} {
		s.nstart = min(n, size)
		clear(s.start[s.nstart:])
		if err = readFull(r, s.start[:s.nstart], 0); err == nil {
			break
		}
	}
	return inPart("footer", 0, err)
}

// readImage reads and checks the structures of one file.
func readImage(name string, r io.ReaderAt, size int64, s *scratch) (*Image, error) {
	m := &Image{name: name, file: r}
	m.fileSize.Store(size)
	if err := m.readFooters(s); err != nil {
		return nil, err
	}
	if err := m.checkSize(); err != nil {
		return nil, err
	}
	if m.footer.Type == Fixed {
		return m, nil
	}
	if err := m.readHeader(s.start[footerSize:][:dynHeaderSize]); err != nil {
		return nil, err
	}
	if err := m.checkHeader(); err != nil {
		return nil, err
	}
	m.noteMetadata()
	if m.footer.Type == Differencing {
		m.readLocators(s.start[:s.nstart])
		return m, m.readTwin(s)
	}
	return m, nil
}

// footerOf reads the footer that counts of a file of size bytes.
func footerOf(r io.ReaderAt, size int64, s *scratch) (Footer, error) {
	m := Image{file: r}
	m.fileSize.Store(size)
	err := m.readFooters(s)
	return m.footer, err
}

// readFooters reads the footer at the end and, unless that is a fixed disk's,
// its copy at the start together with what follows it.
func (m *Image) readFooters(s *scratch) error {
	raw, err := m.readEnd(s.end[:])
	if err != nil {
		return err // only a footer that was read and is none may be taken for lost
	}
	end, endErr := m.decodeEnd(raw)
	if endErr == nil && m.footer.Type == Fixed {
		return nil // whatever a guest put at offset 0
	}
	if endErr != nil {
		if found, err := m.readGrowing(); found || err != nil {
			return err
		}
	}
	if err := s.readStart(m.file, m.FileSize()); err != nil {
		return err
	}
	start := s.start[:footerSize]
	if endErr == nil {
		m.needsRecovery.Store(!isCopyOf(start, end))
		return nil
	}
	var first Footer
	if first.UnmarshalBinary(start) != nil || first.Type != Dynamic && first.Type != Differencing {
		return endErr
	}
	m.footer, m.footerOff = first, m.FileSize()
	m.needsRecovery.Store(true)
	return nil
}

// isCopyOf says whether raw is a footer and the same as the one at the file's
// end, which may be a byte shorter.
func isCopyOf(raw, end []byte) bool {
	if string(raw[:len(end)]) != string(end) {
		return false
	}
	return len(raw) == len(end) || new(Footer).UnmarshalBinary(raw) == nil
}

// readEnd reads what may be the footer at the file's end.
func (m *Image) readEnd(raw []byte) ([]byte, error) {
	size := m.FileSize()
	if size < oldFooterSize {
		return nil, &FormatError{Part: "footer", Got: fmt.Sprintf("a file of %d bytes", size), Want: "at least a footer", Err: ErrFormat}
	}
	raw = raw[:min(size, footerSize)]
	off := size - int64(len(raw))
	return raw, inPart("footer", off, readFull(m.file, raw, off))
}

// decodeEnd decodes the footer at the file's end, of 512 or 511 bytes, and
// returns its bytes.
func (m *Image) decodeEnd(raw []byte) ([]byte, error) {
	off := m.FileSize() - int64(len(raw))
	err := m.footer.UnmarshalBinary(raw)
	if old := raw[len(raw)-oldFooterSize:]; err != nil && m.footer.UnmarshalBinary(old) == nil {
		raw, off, err = old, m.FileSize()-oldFooterSize, nil
	}
	m.footerOff = off
	return raw, atOffset(err, off)
}

// checkSize checks the footer's type and size against the file.
func (m *Image) checkSize() error {
	f := m.footer
	wrong := func(field string, fieldOff int64, got, want any, err error) error {
		return &FormatError{Part: "footer", Field: field, Offset: m.footerFieldOff(fieldOff), Got: got, Want: want, Err: err}
	}
	switch f.Type {
	case Fixed:
		if f.CurrentSize > m.footerOff {
			return wrong("current size", 48, f.CurrentSize, fmt.Sprintf("at most %d, which the file holds", m.footerOff), ErrFormat)
		}
	case Dynamic, Differencing:
		if f.CurrentSize > maxAddressable {
			return wrong("current size", 48, f.CurrentSize, fmt.Sprintf("at most %d", int64(maxAddressable)), ErrUnsupported)
		}
	default:
		return wrong("disk type", 60, uint32(f.Type), "2, 3 or 4", ErrUnsupported)
	}
	if f.CurrentSize%SectorSize != 0 {
		return wrong("current size", 48, f.CurrentSize, "a multiple of 512", ErrFormat)
	}
	return nil
}

// footerFieldOff is where a field of the footer that counts is in the file.
func (m *Image) footerFieldOff(fieldOff int64) int64 {
	if m.footerOff == m.FileSize() { // the copy counts
		return fieldOff
	}
	return m.footerOff + fieldOff
}

// readHeader decodes the dynamic header. behindCopy is what follows the
// footer's copy, where it nearly always is.
func (m *Image) readHeader(behindCopy []byte) error {
	off := m.footer.DataOffset
	if off < footerSize || off%SectorSize != 0 || off > m.footerOff-dynHeaderSize {
		return &FormatError{Part: "footer", Field: "data offset", Offset: m.footerFieldOff(16), Got: off,
			Want: fmt.Sprintf("a multiple of 512, and a header in front of the file's end at %d", m.footerOff), Err: ErrFormat}
	}
	raw := behindCopy
	if off != footerSize {
		raw = make([]byte, dynHeaderSize)
		if err := readFull(m.file, raw, off); err != nil {
			return inPart("dynamic header", off, err)
		}
	}
	return atOffset(m.header.UnmarshalBinary(raw), off)
}

// checkHeader checks block size and table against the file and the disk's
// size, and derives how blocks are laid out.
func (m *Image) checkHeader() error {
	if err := m.checkBlockSize(); err != nil {
		return err
	}
	if err := m.checkTableEntries(); err != nil {
		return err
	}
	return m.checkTablePlace()
}

// checkBlockSize checks the size of blocks, and derives how they are laid out.
func (m *Image) checkBlockSize() error {
	h := &m.header
	if h.BlockSize < SectorSize || h.BlockSize > MaxBlockSize || bits.OnesCount64(uint64(h.BlockSize)) != 1 {
		return m.wrongHeader("block size", 32, h.BlockSize, "a power of two from 512 to 268435456")
	}
	m.sectorsPerBlock = h.BlockSize / SectorSize
	m.bitmapArea = bitmapArea(m.sectorsPerBlock)
	m.nblocks = (m.footer.CurrentSize + h.BlockSize - 1) / h.BlockSize
	return nil
}

// checkTableEntries checks that the BAT has an entry for each block of the disk.
func (m *Image) checkTableEntries() error {
	if int64(m.header.MaxTableEntries) < m.nblocks {
		return m.wrongHeader("max table entries", 28, m.header.MaxTableEntries, fmt.Sprintf("at least %d for the disk's size", m.nblocks))
	}
	return nil
}

// checkTablePlace checks that the BAT is in the file, and in a place of its own.
func (m *Image) checkTablePlace() error {
	h := &m.header
	tableBytes := int64(h.MaxTableEntries) * batEntrySize
	if h.TableOffset < footerSize || h.TableOffset%SectorSize != 0 || h.TableOffset > m.footerOff {
		return m.wrongHeader("table offset", 16, h.TableOffset, fmt.Sprintf("a multiple of 512 from 512 to %d", m.footerOff))
	}
	if tableBytes > m.footerOff-h.TableOffset {
		return m.wrongHeader("max table entries", 28, h.MaxTableEntries, fmt.Sprintf("at most %d, which the file holds", (m.footerOff-h.TableOffset)/batEntrySize))
	}
	if h.TableOffset < m.footer.DataOffset+dynHeaderSize && h.TableOffset+tableBytes > m.footer.DataOffset {
		return m.wrongHeader("table offset", 16, h.TableOffset, "a place that does not overlap the dynamic header")
	}
	return nil
}

func (m *Image) wrongHeader(field string, fieldOff int64, got, want any) error {
	return &FormatError{Part: "dynamic header", Field: field, Offset: m.footer.DataOffset + fieldOff, Got: got, Want: want, Err: ErrFormat}
}

// noteMetadata lists the pieces of the file that no block may overlap.
func (m *Image) noteMetadata() {
	h := &m.header
	m.metadata = append(make([]span, 0, nstructures+len(h.Locators)/2),
		span{"the footer's copy", 0, footerSize},
		span{"the dynamic header", m.footer.DataOffset, m.footer.DataOffset + dynHeaderSize},
		span{"the BAT", h.TableOffset, m.tableEnd()})
	if m.footer.Type != Differencing {
		return // what locators say there may be rubbish, and nobody reads what they point to
	}
	for _, l := range h.Locators {
		if m.holdsLocator(l) {
			m.metadata = append(m.metadata, span{"a parent locator", l.DataOffset, l.DataOffset + l.DataLength})
		}
	}
}

// nstructures is how many pieces there are of metadata that every such image has.
const nstructures = 3

// structures are those: the footer's copy, the dynamic header and the BAT.
func (m *Image) structures() []span { return m.metadata[:nstructures] }

// entryOff is where a block's entry of the BAT is.
func (m *Image) entryOff(block int64) int64 { return m.header.TableOffset + block*batEntrySize }

// tableEnd is the end of the BAT with its padding.
func (m *Image) tableEnd() int64 {
	return roundUp(m.header.TableOffset+int64(m.header.MaxTableEntries)*batEntrySize, SectorSize)
}

// locatorOff is where the header's locator in a slot is.
func (m *Image) locatorOff(slot int) int64 {
	return m.footer.DataOffset + locatorsOff + int64(slot)*locatorSize
}

// hasData says whether l points to something that could be in a file.
func (l Locator) hasData() bool {
	return l.Code != 0 && l.DataLength > 0 && l.DataOffset >= footerSize
}

// isBelievable says whether that is what a path could be.
func (l Locator) isBelievable() bool { return l.hasData() && l.DataLength <= maxLocatorData }

// holdsLocator says whether what l points to is in the file.
func (m *Image) holdsLocator(l Locator) bool {
	return l.isBelievable() && l.DataOffset <= m.FileSize()-l.DataLength
}

// checkLocators is the look that only writers take: where a locator points
// behind the file's end, blocks would come to stand, and be taken for a path.
func (m *Image) checkLocators() error {
	for i, l := range m.header.Locators {
		if m.footer.Type == Differencing && l.isBelievable() && !m.holdsLocator(l) {
			err := m.wrongLocator(i)
			err.Err = ErrCorrupt
			return err
		}
	}
	return nil
}

func (m *Image) wrongLocator(i int) *FormatError {
	l := m.header.Locators[i]
	return &FormatError{Part: "parent locator", Field: "data offset", Offset: m.locatorOff(i) + 16,
		Got: fmt.Sprintf("%d bytes at %d", l.DataLength, l.DataOffset), Want: "at most 65536 bytes inside the file", Err: ErrFormat}
}

// readLocators reads what the header's locators point to. One that can't be
// read is no reason to refuse the image: another may be good. start is how the
// file starts.
func (m *Image) readLocators(start []byte) {
	m.locators = make([]locatorData, 0, len(m.header.Locators)/2) // most often there are two
	for i, l := range m.header.Locators {
		if l.Code == 0 {
			continue
		}
		read := locatorData{code: l.Code}
		switch end := l.DataOffset + l.DataLength; {
		case !m.holdsLocator(l):
			read.err = m.wrongLocator(i)
		case end <= int64(len(start)):
			read.data = bytes.Clone(start[l.DataOffset:end])
		default:
			read.data = make([]byte, l.DataLength)
			read.err = readFull(m.file, read.data, l.DataOffset)
		}
		m.locators = append(m.locators, read)
	}
}

// blockBytes is what a block takes in the file: its bitmap and its data.
func (m *Image) blockBytes() int64 { return m.bitmapArea + m.header.BlockSize }

// sectorsOnDisk is how many sectors of a block are in front of the disk's end.
func (m *Image) sectorsOnDisk(block int64) int64 {
	return min(m.sectorsPerBlock, m.footer.CurrentSize/SectorSize-block*m.sectorsPerBlock)
}

// blockOff checks a BAT entry and returns the offset of its block's bitmap. A
// block's bitmap must be in front of the footer, and nothing of the block in
// metadata.
func (m *Image) blockOff(block int64, e batEntry) (int64, error) {
	off := e.off()
	if s, ok := m.metadataUnder(off); ok {
		return 0, m.corruptEntry(block, e, "a block that does not overlap "+s.what)
	}
	if m.isPastEnd(off) {
		return 0, m.corruptEntry(block, e, fmt.Sprintf("a block in front of the file's end at sector %d", m.footerOff/SectorSize))
	}
	ok, err := m.isWholeOrLast(off)
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, m.corruptEntry(block, e, "a whole block: only the file's last may be cut off")
	}
	return off, nil
}

// mayHoldBlock says whether blockOff would let a block be at off. It has no words for
// why not, and so is for entries of which very many may be rubbish.
func (m *Image) mayHoldBlock(off int64) (bool, error) {
	if _, ok := m.metadataUnder(off); ok || m.isPastEnd(off) {
		return false, nil
	}
	return m.isWholeOrLast(off)
}

// isWholeOrLast says whether a block at off is whole, or may be cut off.
func (m *Image) isWholeOrLast(off int64) (bool, error) {
	if !m.isCutOff(off) {
		return true, nil
	}
	last, err := m.lastBlock()
	return off == last, err
}

// metadataUnder is what a block at off would overlap.
func (m *Image) metadataUnder(off int64) (span, bool) {
	for _, s := range m.metadata {
		if s.overlaps(off, off+m.blockBytes()) {
			return s, true
		}
	}
	return span{}, false
}

// isPastEnd says whether the file ends in front of the data of a block at off.
func (m *Image) isPastEnd(off int64) bool { return off+m.bitmapArea > m.footerOff }

// isCutOff says whether the file ends in front of the end of a block at off.
func (m *Image) isCutOff(off int64) bool { return off+m.blockBytes() > m.footerOff }

// mayBeLast says whether a block at off may be the file's last. Those behind the
// footer are rubbish. Without a footer they are what was cut off with it.
func (m *Image) mayBeLast(off int64) bool { return !m.isPastEnd(off) || m.footerOff == m.FileSize() }

func (m *Image) corruptEntry(block int64, e batEntry, want string) error {
	return &FormatError{Part: "BAT", Field: fmt.Sprintf("entry %d", block), Offset: m.entryOff(block),
		Got: fmt.Sprintf("sector %d", uint32(e)), Want: want, Err: ErrCorrupt}
}

// lastBlock is the highest offset in the BAT. Only a block that is cut off asks
// for it, as few files have one.
func (m *Image) lastBlock() (int64, error) {
	if last := m.lastOff.Load(); last != 0 {
		return last, nil
	}
	var last int64
	err := m.eachBlock(func(_ int64, e batEntry) error {
		if m.mayBeLast(e.off()) {
			last = max(last, e.off())
		}
		return nil
	})
	if err == nil {
		m.lastOff.Store(max(last, 1)) // no block is at 1: there is none, and that is known
	}
	return last, err
}

// eachBlock calls f for every allocated block, in the order of the BAT, as it
// is on disk.
func (m *Image) eachBlock(f func(block int64, e batEntry) error) error {
	return m.eachEntry(0, m.nblocks, f)
}

// eachEntry calls f for the entries of the BAT, from first to end, that name a
// place.
func (m *Image) eachEntry(first, end int64, f func(block int64, e batEntry) error) error {
	return m.eachPieceOfTable(first, end, func(block int64, piece []byte) error {
		return eachEntryOf(piece, block, f)
	})
}

// entryWalk calls f for entries of the BAT, from first to end, that name a place, and
// zeros for long runs of entries that are zeros.
type entryWalk func(first, end int64, f func(block int64, e batEntry) error, zeros func(block, n int64)) error

// walkEntries is an entryWalk. Zeros name sector 0, where no block can be, and a file
// with holes may have 2^32 of them for nothing: holes are not read. It moves the
// file's position.
func (m *Image) walkEntries(first, end int64, f func(block int64, e batEntry) error, zeros func(block, n int64)) error {
	for off, to := range dataOf(m.file, m.entryOff(first), m.entryOff(end)) {
		from := max(first, (off-m.header.TableOffset)/batEntrySize)
		if first < from {
			zeros(first, from-first)
		}
		first = (to - m.header.TableOffset + batEntrySize - 1) / batEntrySize
		if err := m.walkData(from, first, f, zeros); err != nil {
			return err
		}
	}
	if first < end {
		zeros(first, end-first)
	}
	return nil
}

// walkData is walkEntries where there are no holes.
func (m *Image) walkData(first, end int64, f func(block int64, e batEntry) error, zeros func(block, n int64)) error {
	return m.eachPieceOfTable(first, end, func(block int64, piece []byte) error {
		if isZero(piece) {
			zeros(block, int64(len(piece))/batEntrySize)
			return nil
		}
		return eachEntryOf(piece, block, f)
	})
}

// eachEntryOf is eachEntry of a piece of the BAT, whose first entry is that of block.
func eachEntryOf(piece []byte, block int64, f func(block int64, e batEntry) error) error {
	for i := range int64(len(piece)) / batEntrySize {
		e := batEntryOf(piece, i)
		if e == noBlock {
			continue
		}
		if err := f(block+i, e); err != nil {
			return err
		}
	}
	return nil
}

// eachPieceOfTable calls f for pieces of the BAT, from entry first to end. The first
// entry of a piece is that of block.
func (m *Image) eachPieceOfTable(first, end int64, f func(block int64, piece []byte) error) error {
	const atOnce = 64 << 10 / batEntrySize
	buf := make([]byte, max(0, min(end-first, atOnce))*batEntrySize)
	for block := first; block < end; block += atOnce {
		piece := buf[:min(end-block, atOnce)*batEntrySize]
		err := readFull(m.file, piece, m.entryOff(block))
		if errors.Is(err, fs.ErrClosed) {
			return ErrClosed
		}
		if err != nil {
			return inFile(m.name, inPart("BAT", m.header.TableOffset, err))
		}
		if err := f(block, piece); err != nil {
			return err
		}
	}
	return nil
}
