package vhd

import (
	"bytes"
	"cmp"
	"fmt"
	"io/fs"
	"time"

	"github.com/google/uuid"
)

const (
	// MaxDynamicSize is the size of the largest dynamic or differencing disk
	// that is made, as Windows has it, bytes.
	MaxDynamicSize = 2040 << 30

	defaultBlockSize = 2 << 20

	// locatorUnit is what Windows 10 sets aside for a path and aligns it to.
	locatorUnit = 4096
)

// The creators that a new image can name in its footer, as the application that made it.
//
// Some programs choose by it which of the two sizes in a footer is the disk's. Plain
// qemu-img takes what cylinders, heads and sectors come to, which is up to a cylinder less, unless
// the creator is one that it knows to mean the other; from 127.5 GiB on both take the same.
const (
	CreatorVHD     = "gvhd" // this package
	CreatorWindows = "win " // Windows and Hyper-V; qemu-img reads the whole disk
	CreatorQemu    = "qem2" // qemu-img with force_size; it reads the whole disk
)

// The version goes with all of them: that of Windows and of qemu-img is another one.
const creatorVersion = 0x00010000

// isOurs says whether this package made the image, whatever creator it names.
func (f Footer) isOurs() bool {
	switch string(f.CreatorApplication[:]) {
	case CreatorVHD, CreatorWindows, CreatorQemu:
		return f.CreatorVersion == creatorVersion
	}
	return false
}

// creatorHost is the only one that readers expect beside the Mac.
var creatorHost = [4]byte{'W', 'i', '2', 'k'}

// newImage is all that there is to know of an image to be made.
type newImage struct {
	diskType  DiskType
	size      int64
	blockSize int64
	id        uuid.UUID
	time      time.Time
	creator   string
	parent    *newParent // of a differencing disk
}

// newParent is what a child records of its parent.
type newParent struct {
	id       uuid.UUID
	modified time.Time
	absolute string // path as Windows writes it; empty: not known
	relative string // to the child's directory; empty: there is none, on another drive, or it is not known
}

// encodedPath is a path as a locator points to it.
type encodedPath struct {
	code PlatformCode
	data []byte
}

// locator is one that points to the path at off, in space of whole units.
func (p encodedPath) locator(off, unit int64) Locator {
	return Locator{Code: p.code, DataSpace: uint32(roundUp(int64(len(p.data)), unit)), DataLength: int64(len(p.data)), DataOffset: off} //nolint:gosec // a path's length
}

// describeIn makes the header name the parent, and returns the paths that its
// locators are to point to. Windows 11 is reported to refuse a child without a
// relative path.
func (p *newParent) describeIn(h *DynamicHeader) ([]encodedPath, error) {
	h.ParentID, h.ParentTime, h.ParentName = p.id, time.Time{}, ParentName{}
	if _, err := encodeTime(p.modified); err == nil { // a clock gone wrong is no reason to fail
		h.ParentTime = p.modified
	}
	if name, err := NewParentName(cmp.Or(p.absolute, p.relative)); err == nil { // one that is too long stands in the locator alone
		h.ParentName = name
	}
	var paths []encodedPath
	if p.absolute != "" {
		data, err := W2ku.EncodePath(p.absolute)
		if err != nil && p.relative == "" {
			return nil, err // else the relative path is enough
		}
		if err == nil {
			paths = append(paths, encodedPath{W2ku, data})
		}
	}
	if p.relative != "" {
		data, err := W2ru.EncodePath(p.relative)
		if err != nil {
			return nil, err
		}
		paths = append(paths, encodedPath{W2ru, data})
	}
	return paths, nil
}

// fillIn puts what nobody has said in place of zeros.
func (n *newImage) fillIn() (err error) {
	if n.blockSize == 0 {
		n.blockSize = defaultBlockSize
	}
	n.creator = cmp.Or(n.creator, CreatorVHD)
	if n.time.IsZero() {
		n.time = time.Now() //nolint:forbidigo // the one place where an image gets its time
		if _, err := encodeTime(n.time); err != nil {
			n.time = time.Time{} // a clock gone wrong is no reason to fail
		}
	}
	if n.id == (uuid.UUID{}) {
		n.id, err = uuid.NewRandom()
	}
	return err
}

// check is why the image can't be made.
func (n *newImage) check() error {
	limit := int64(MaxDynamicSize)
	if n.diskType == Fixed {
		limit = 1<<63 - 1 - footerSize
	}
	switch {
	case n.diskType != Fixed && n.diskType != Dynamic && n.diskType != Differencing:
		return fmt.Errorf("%w: disk type %d", fs.ErrInvalid, uint32(n.diskType))
	case n.size <= 0 || n.size%SectorSize != 0:
		return fmt.Errorf("%w: a disk of %d bytes, want a positive multiple of 512", fs.ErrInvalid, n.size)
	case n.size > limit:
		return fmt.Errorf("%w: a %v disk of %d bytes, want at most %d", ErrUnsupported, n.diskType, n.size, limit)
	case n.blockSize < SectorSize || n.blockSize > MaxBlockSize || n.blockSize&(n.blockSize-1) != 0:
		return fmt.Errorf("%w: blocks of %d bytes, want a power of two from 512 to 268435456", fs.ErrInvalid, n.blockSize)
	case len(n.creator) != len(Footer{}.CreatorApplication):
		return fmt.Errorf("%w: the creator %q, want four bytes", fs.ErrInvalid, n.creator)
	}
	return nil
}

func (n *newImage) footer() Footer {
	f := Footer{
		Features: featureReserved, DataOffset: noOffset, Time: n.time,
		CreatorApplication: [4]byte([]byte(n.creator)), CreatorVersion: creatorVersion, CreatorHost: creatorHost,
		OriginalSize: n.size, CurrentSize: n.size, Geometry: GeometryOf(n.size), Type: n.diskType, ID: n.id,
	}
	if n.diskType != Fixed {
		f.DataOffset = footerSize
	}
	return f
}

// imageLayout is where things stand in a new image, and those that hold no
// content:
//
//	fixed         data | footer
//	dynamic       copy | header                                | BAT | block … block | footer
//	differencing  copy | header | W2ku at 4096 | W2ru | BAT at 4096·k | block … block | footer
//
// The footer is at 4096·k − 512 where there are blocks, or could be, and one page
// behind the BAT is free, as Windows has it. The first block takes the place that
// the footer has without blocks, or the next one where its data is aligned.
type imageLayout struct {
	footer   []byte // and its copy
	emptyEnd int64  // where the footer is without blocks

	// Of a disk that has blocks.
	head     []byte // all in front of the BAT
	tableEnd int64  // of the BAT with its padding
	blocks   *Image // as whose the blocks are laid out
}

func (n *newImage) layout() (*imageLayout, error) {
	footer := n.footer()
	raw, err := footer.MarshalBinary()
	if err != nil {
		return nil, err
	}
	l := &imageLayout{footer: raw, emptyEnd: n.size}
	if n.diskType == Fixed {
		return l, nil
	}
	if l.head, err = n.head(raw); err != nil {
		return nil, err
	}
	l.tableEnd = n.tableEnd(int64(len(l.head)))
	l.blocks = &Image{header: DynamicHeader{BlockSize: n.blockSize}, bitmapArea: bitmapArea(n.blockSize / SectorSize)}
	l.emptyEnd = roundUp(l.tableEnd, blockAlignment) + footerAt(0)
	return l, nil
}

// blockOff is where the bitmap of a block is that has so many in front of it.
func (l *imageLayout) blockOff(nbefore int64) int64 {
	return l.blocks.slotAt(l.emptyEnd) + nbefore*l.blocks.slotSize()
}

// endOf is where so many blocks end, or what is in front of the first.
func (l *imageLayout) endOf(nblocks int64) int64 {
	if nblocks == 0 {
		return l.tableEnd
	}
	return l.blockOff(nblocks-1) + l.blocks.blockBytes()
}

// footerOff is where the footer is behind so many blocks.
func (l *imageLayout) footerOff(nblocks int64) int64 {
	if nblocks == 0 {
		return l.emptyEnd
	}
	return footerAt(l.endOf(nblocks))
}

// write writes the image to an empty file. What it makes has no blocks yet, and
// the data of a fixed disk is a hole.
func (n *newImage) write(f File) error {
	l, err := n.layout()
	if err != nil {
		return err
	}
	if n.diskType != Fixed {
		if _, err := writeFull(f, l.head, 0); err != nil {
			return err
		}
		if err := writeNoBlocks(f, int64(len(l.head)), l.tableEnd); err != nil {
			return err
		}
	}
	_, err = writeFull(f, l.footer, l.footerOff(0))
	return err
}

// needs is how many bytes of the file are surely written. The data of a fixed disk may be a hole.
func (n *newImage) needs() (int64, error) {
	l, err := n.layout()
	if err != nil || n.diskType == Fixed {
		return footerSize, err
	}
	return l.footerOff(0) + footerSize, nil
}

// head is all in front of the BAT.
func (n *newImage) head(copyOfFooter []byte) ([]byte, error) {
	h := DynamicHeader{DataOffset: noOffset, MaxTableEntries: n.tableEntries(), BlockSize: n.blockSize, TableOffset: footerSize + dynHeaderSize}
	var paths [][]byte
	if n.parent != nil {
		var err error
		if paths, err = n.refer(&h); err != nil {
			return nil, err
		}
	}
	header, err := h.MarshalBinary()
	if err != nil {
		return nil, err
	}
	head := make([]byte, h.TableOffset)
	copy(head, copyOfFooter)
	copy(head[footerSize:], header)
	for i, path := range paths {
		copy(head[h.Locators[i].DataOffset:], path)
	}
	return head, nil
}

// refer makes the header name the parent, and returns what its locators point
// to, and which the BAT comes behind.
func (n *newImage) refer(h *DynamicHeader) (paths [][]byte, err error) {
	encoded, err := n.parent.describeIn(h)
	if err != nil {
		return nil, err
	}
	off := int64(locatorUnit)
	for i, path := range encoded {
		h.Locators[i] = path.locator(off, locatorUnit)
		paths = append(paths, path.data)
		off += h.Locators[i].Space()
		h.TableOffset = off
	}
	return paths, nil
}

// tableEntries is the number of entries of the BAT.
func (n *newImage) tableEntries() uint32 {
	return uint32((n.size + n.blockSize - 1) / n.blockSize) //nolint:gosec // less than 2^32, see check
}

// tableEnd is where the padding of a BAT at off ends: a differencing disk's
// fills its page, as Windows 10 has it.
func (n *newImage) tableEnd(off int64) int64 {
	unit := int64(SectorSize)
	if n.parent != nil {
		unit = blockAlignment
	}
	return roundUp(off+int64(n.tableEntries())*batEntrySize, unit)
}

// writeNoBlocks writes a BAT without blocks, and its padding, from off to end.
func writeNoBlocks(f File, off, end int64) error {
	none := bytes.Repeat([]byte{0xFF}, int(min(64<<10, end-off)))
	for off < end {
		piece := min(end-off, int64(len(none)))
		if _, err := writeFull(f, none[:piece], off); err != nil {
			return err
		}
		off += piece
	}
	return nil
}
