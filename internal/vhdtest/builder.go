// Package vhdtest holds what the module's tests share. Its builder, readers, corpus and model know nothing of
// the engine under test: they are written from the specification alone, so that they can contradict it.
package vhdtest

import (
	"crypto/sha256"
	"encoding/binary"
	"os"
)

// TB is the part of testing.TB that the builder needs; *testing.T, *testing.B, *testing.F and *rapid.T have it.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Sizes of the specification's structures, in bytes.
const (
	SectorSize = 512
	FooterSize = 512
	HeaderSize = 1024

	defaultBlockSize = 2 << 20
	maxInMemory      = 1 << 30 // what Build and ContentRange make at most
)

// Unallocated is the BAT entry of a block that is not in the file.
const Unallocated uint32 = 0xFFFFFFFF

// Type is the footer's disk type.
type Type uint32

// The specification's disk types.
const (
	Fixed        Type = 2
	Dynamic      Type = 3
	Differencing Type = 4
)

// FooterForm is what stands at the end of the file.
type FooterForm int

// The forms of an end footer.
const (
	FooterWhole  FooterForm = iota
	Footer511               // the 511 bytes that were written before Virtual PC 2004
	FooterZeroed            // 512 zero bytes
	FooterXen               // 512 bytes of 0xC7, as under a disk that Xen has open
	FooterCut               // nothing: the file ends where the footer would begin
)

// CopyForm is what stands at offset 0 of a dynamic or differencing disk.
type CopyForm int

// The forms of the footer's copy.
const (
	CopySame  CopyForm = iota
	CopyLost           // 512 zero bytes
	CopyOther          // sound, but a second older than the end footer and with another saved state
)

// Geometry is the footer's cylinders, heads and sectors per track.
type Geometry struct {
	Cylinders              uint16
	Heads, SectorsPerTrack uint8
}

// Image describes one .vhd file. The zero value of every field is the ordinary thing, so that a test says
// only what it is about. All offsets and lengths are bytes.
type Image struct {
	Type         Type // zero: Dynamic
	Size         int64
	OriginalSize int64 // zero: Size
	ID           [16]byte
	Time         uint32 // seconds since 2000-01-01 00:00 UTC

	Features       uint32    // zero: 2, the bit that is always set
	App            string    // creator application, four bytes; empty: "win "
	AppVersion     uint32    // zero: 0x000A0000
	Host           string    // creator host, four bytes; empty: "Wi2k"
	Geometry       *Geometry // nil: what the specification's appendix computes from Size
	SavedState     byte
	FooterReserved []byte // up to 427 bytes at offset 85 of the footer
	Footer         FooterForm
	Copy           CopyForm

	// Data is a fixed disk's content; what is missing at its end is zeros.
	Data []byte

	HeaderOff      int64  // zero: 512
	HeaderReserved []byte // up to 256 bytes at offset 768 of the dynamic header
	BATOff         int64  // zero: behind the header and the locators that stand before the BAT
	MaxEntries     int64  // zero: what Size needs
	BATArea        int64  // what the table is padded to; zero: whole sectors
	BATPadZero     bool   // the table is padded with 0x00 and not with 0xFF
	BlockSize      int64  // zero: 2 MiB
	Blocks         []Block
	Entries        map[int]uint32 // BAT entries that are not what Blocks says; Content doesn't know them
	Slack          int64          // between the last block and the footer
	SlackByte      byte           // what the slack is filled with
	EndAlign       int64          // the file's size is made a multiple of this by more slack; Windows 8 does 4096

	ParentID   [16]byte
	ParentTime uint32 // seconds since 2000-01-01 00:00 UTC
	ParentName string // in the header, in UTF-16BE
	Locators   [8]Locator
}

// Block is one allocated block. They stand in the file in the order of Image.Blocks.
type Block struct {
	Index  int    // which entry of the BAT
	Off    int64  // of the bitmap, a multiple of 512; zero: behind the block before
	Gap    int64  // bytes left before the bitmap, when Off is zero
	Align  int64  // the data, not the bitmap, begins at a multiple of this, when Off is zero
	Bitmap []byte // most significant bit first, see Bitmap; nil: every sector is here
	Data   []byte // from the block's first byte on; what is missing at the end is zeros
	Cut    int64  // bytes that the file lacks at the end of the block's data; only sound for the last one
}

// NewFixed describes a fixed disk.
func NewFixed(size int64, data []byte) *Image {
	return &Image{Type: Fixed, Size: size, Data: data, ID: makeID("fixed", size, [16]byte{})}
}

// NewDynamic describes a dynamic disk.
func NewDynamic(size int64, blocks ...Block) *Image {
	return &Image{Type: Dynamic, Size: size, Blocks: blocks, ID: makeID("dynamic", size, [16]byte{})}
}

// NewChild describes a differencing disk of its parent's size, that refers to it by a relative path and the
// header's name. Two children of one parent get the same ID unless parentName or a later change tells them apart.
func NewChild(parent *Image, parentName string, blocks ...Block) *Image {
	img := &Image{
		Type: Differencing, Size: parent.Size, Blocks: blocks,
		ID: makeID("child of "+parentName, parent.Size, parent.ID), ParentID: parent.ID, ParentName: parentName,
	}
	img.Locators[0] = W2ru(`.\` + parentName)
	return img
}

// makeID is a function of its arguments, so that an image's bytes are the same in every run.
func makeID(kind string, size int64, parent [16]byte) [16]byte {
	b := binary.AppendVarint([]byte(kind), size)
	sum := sha256.Sum256(append(b, parent[:]...))
	return [16]byte(sum[:16])
}

// Bitmap is the sector bitmap, unpadded, of a block of nsectors sectors in which those are present for which
// present says so.
func Bitmap(nsectors int, present func(sector int) bool) []byte {
	bits := make([]byte, (nsectors+7)/8)
	for sector := range nsectors {
		if present(sector) {
			bits[sector/8] |= 0x80 >> (sector % 8)
		}
	}
	return bits
}

// Build returns the whole file. It is for images of up to 1 GiB; WriteFile writes larger ones.
func (img *Image) Build(t TB) []byte {
	t.Helper()
	pieces, size := img.layout(t)
	if size > maxInMemory {
		t.Fatalf("vhdtest: an image of %d bytes is too large for Build: use WriteFile", size)
	}
	file := make([]byte, size)
	for _, p := range pieces {
		copy(file[p.off:], p.data)
	}
	return file
}

// WriteFile writes the image to a new file and leaves out what is zeros, so that an image of any size takes
// no more space than what is in it.
func (img *Image) WriteFile(t TB, name string) {
	t.Helper()
	pieces, size := img.layout(t)
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		t.Fatalf("vhdtest: %v", err)
	}
	err = writePieces(f, pieces, size)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		t.Fatalf("vhdtest: write %s: %v", name, err)
	}
}

func writePieces(f *os.File, pieces []piece, size int64) error {
	if err := f.Truncate(size); err != nil {
		return err
	}
	for _, p := range pieces {
		if _, err := f.WriteAt(p.data, p.off); err != nil {
			return err
		}
	}
	return nil
}

func (img *Image) diskType() Type {
	if img.Type == 0 {
		return Dynamic
	}
	return img.Type
}

func (img *Image) blockSize() int64 {
	if img.BlockSize == 0 {
		return defaultBlockSize
	}
	return img.BlockSize
}

// SectorsPerBlock is how many sectors a block has, and so how many bits of its bitmap mean something.
func (img *Image) SectorsPerBlock() int { return int(img.blockSize() / SectorSize) }

func (img *Image) bitmapArea() int64 {
	return roundUp((img.blockSize()/SectorSize+7)/8, SectorSize)
}

func (img *Image) headerOff() int64 {
	if img.HeaderOff == 0 {
		return FooterSize
	}
	return img.HeaderOff
}

func (img *Image) maxEntries() int64 {
	if img.MaxEntries != 0 {
		return img.MaxEntries
	}
	return (img.Size + img.blockSize() - 1) / img.blockSize()
}

// batArea is the table and its padding.
func (img *Image) batArea() int64 {
	return max(img.BATArea, roundUp(4*img.maxEntries(), SectorSize))
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }
