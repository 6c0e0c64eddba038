package vhdtest

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// Script is bytes, from a fuzzer most of all, that say what a test is to do. Where they end, all that is asked of
// them is 0, so that every sequence of bytes is a script, and a short one a simple one.
type Script struct{ rest []byte }

// NewScript reads what the bytes say.
func NewScript(b []byte) *Script { return &Script{b} }

// More says whether there is more to do.
func (s *Script) More() bool { return len(s.rest) > 0 }

// Byte is the next byte.
func (s *Script) Byte() byte {
	if len(s.rest) == 0 {
		return 0
	}
	b := s.rest[0]
	s.rest = s.rest[1:]
	return b
}

// Bit is true for an odd byte.
func (s *Script) Bit() bool { return s.Byte()%2 == 1 }

// OneIn is true for one byte in n, and never behind the script's end.
func (s *Script) OneIn(n int) bool { return int(s.Byte())%n == n-1 }

// UpTo is a number from 0 to n.
func (s *Script) UpTo(n int) int {
	if n < 256 {
		return int(s.Byte()) % (n + 1)
	}
	return int(s.Uint(3) % uint64(n+1))
}

// Uint is a number of nbytes bytes, big-endian.
func (s *Script) Uint(nbytes int) uint64 {
	var n uint64
	for range nbytes {
		n = n<<8 | uint64(s.Byte())
	}
	return n
}

// edges are the numbers at which sums and conversions go wrong.
var edges = []uint64{
	0, 1, 2, 3, 4, 511, 512, 513, 1024, 1536, 2048, 4096, 65535, 1 << 16, 1<<28 - 1, 1 << 28, 1 << 29, 1<<31 - 512, 1<<31 - 1, 1 << 31, 1<<31 + 512,
	1<<32 - 512, 1<<32 - 2, 1<<32 - 1, 1 << 32, 1<<41 - 512, 1 << 41, 1<<41 + 512, 1<<63 - 512, 1<<63 - 1, 1 << 63, 1<<63 + 512, 1<<64 - 1024, 1<<64 - 512, 1<<64 - 1,
}

// Number is a number at an edge, or near one, or any.
func (s *Script) Number() uint64 {
	switch kind := s.Byte(); kind % 4 {
	case 0:
		return edges[int(s.Byte())%len(edges)]
	case 1:
		return edges[int(s.Byte())%len(edges)] + uint64(int64(int8(s.Byte())))
	case 2:
		return s.Uint(2)
	}
	return s.Uint(1 + int(s.Byte())%8)
}

// Damage is an image after the edits of a recipe, up to most of them, which s begins with. Afterwards the checksums
// are mended, so that what was edited is looked at at all.
//
//	number of edits, then for each: kind, what it needs
func Damage(image []byte, s *Script, most int) []byte {
	d := damage{file: bytes.Clone(image), Script: s}
	for range s.UpTo(most) {
		d.edit()
	}
	Mend(d.file)
	return d.file
}

// damage is an image that is being damaged.
type damage struct {
	*Script
	file []byte
}

func (d *damage) edit() {
	switch d.Byte() % 12 {
	case 0:
		d.number(d.endFooter(), footerFields)
	case 1:
		d.number(d.footerCopy(), footerFields)
	case 2:
		footer := bytes.Clone(d.endFooter())
		d.number(footer, footerFields)
		copy(d.endFooter(), footer)
		copy(d.footerCopy(), footer)
	case 3, 4:
		d.number(d.header(), headerFields)
	case 5, 6:
		d.entry()
	case 7:
		d.bits()
	case 8:
		at := d.piece(int(d.Uint(3)), 8)
		putUint(at, d.Number())
	case 9:
		d.resize()
	case 10:
		copy(d.sector(), d.sector())
	case 11: // a guest may write what it likes
		copy(d.sector(), d.endFooter())
	}
}

// field is an integer of a structure.
type field struct{ off, n int }

var (
	footerFields = []field{{8, 4}, {16, 8}, {24, 4}, {40, 8}, {48, 8}, {56, 4}, {60, 4}, {84, 1}}
	headerFields = headerIntegers()
)

func headerIntegers() []field {
	fields := []field{{8, 8}, {16, 8}, {16, 8}, {28, 4}, {28, 4}, {32, 4}, {32, 4}, {56, 4}}
	for slot := range 8 {
		at := 576 + 24*slot
		fields = append(fields, field{at, 4}, field{at + 4, 4}, field{at + 8, 4}, field{at + 16, 8})
	}
	return fields
}

// number puts a number into a field, or anywhere.
func (d *damage) number(structure []byte, fields []field) {
	f := field{int(d.Uint(2)), 4}
	if f.off < 1<<15 {
		f = fields[f.off%len(fields)]
	}
	n := d.Number()
	if f.off+f.n <= len(structure) {
		putUint(structure[f.off:f.off+f.n], n)
	}
}

// entry makes a block stand elsewhere: at a sector of the file or behind it, where another one is, or anywhere.
func (d *damage) entry() {
	at := d.entryAt(d.UpTo(300))
	var sector uint32
	switch d.Byte() % 3 {
	case 0:
		sector = uint32(d.UpTo(len(d.file)/SectorSize + 2))
	case 1:
		if other := d.entryAt(d.UpTo(20)); other != nil {
			sector = binary.BigEndian.Uint32(other) + uint32(int8(d.Byte()))
		}
	case 2:
		sector = uint32(d.Number())
	}
	if at != nil {
		binary.BigEndian.PutUint32(at, sector)
	}
}

// bits turns bits of what stands at a block's start: its bitmap, most often.
func (d *damage) bits() {
	entry := d.entryAt(d.UpTo(20))
	if entry == nil || binary.BigEndian.Uint32(entry) > uint32(len(d.file)/SectorSize) {
		return
	}
	at := d.piece(int(binary.BigEndian.Uint32(entry))*SectorSize+d.UpTo(80), 1+d.UpTo(7))
	for i := range at {
		at[i] ^= d.Byte()
	}
}

// resize cuts the file off, or makes it longer.
func (d *damage) resize() {
	switch d.Byte() % 3 {
	case 0:
		d.file = d.file[:len(d.file)-d.UpTo(min(len(d.file), 1100))]
	case 1:
		d.file = d.file[:len(d.file)-d.UpTo(len(d.file)/SectorSize)*SectorSize]
	case 2:
		d.file = append(d.file, make([]byte, d.UpTo(4)*SectorSize+d.UpTo(1))...)
	}
}

// piece is up to n bytes of the file.
func (d *damage) piece(off, n int) []byte {
	if off < 0 || off >= len(d.file) {
		return nil
	}
	return d.file[off:min(off+n, len(d.file))]
}

func (d *damage) sector() []byte {
	return d.piece(d.UpTo(len(d.file)/SectorSize)*SectorSize, SectorSize)
}

func (d *damage) footerCopy() []byte { return d.piece(0, FooterSize) }
func (d *damage) endFooter() []byte  { return d.piece(max(len(d.file)-FooterSize, 0), FooterSize) }

func (d *damage) header() []byte { return headerOf(d.file, d.footerCopy()) }

func (d *damage) entryAt(index int) []byte {
	h := d.header()
	if h == nil {
		return nil
	}
	off := binary.BigEndian.Uint64(h[16:]) + 4*uint64(index)
	if off > uint64(len(d.file)) || uint64(len(d.file))-off < 4 {
		return nil
	}
	return d.file[off : off+4]
}

// headerOf is the header that a footer points to, if it is one.
func headerOf(file, footer []byte) []byte {
	if len(footer) < FooterSize-1 {
		return nil
	}
	off := binary.BigEndian.Uint64(footer[16:])
	if off > uint64(len(file)) || uint64(len(file))-off < HeaderSize {
		return nil
	}
	return file[off : off+HeaderSize]
}

// Mend sets the checksums of all footers and headers that an image has where one is looked for. What has no cookie
// is none.
func Mend(image []byte) {
	var footers [][]byte
	for _, n := range []int{FooterSize - 1, FooterSize} {
		if len(image) >= n {
			footers = append(footers, image[len(image)-n:])
		}
	}
	if len(image) >= FooterSize {
		footers = append(footers, image[:FooterSize])
	}
	footers = slices.DeleteFunc(footers, func(f []byte) bool { return !bytes.HasPrefix(f, []byte("conectix")) })
	for _, f := range footers { // headers first: one may lie over a footer
		if h := headerOf(image, f); h != nil && bytes.HasPrefix(h, []byte("cxsparse")) {
			binary.BigEndian.PutUint32(h[headerChecksumOff:], checksum(h, headerChecksumOff))
		}
	}
	for _, f := range footers {
		binary.BigEndian.PutUint32(f[footerChecksumOff:], checksum(f, footerChecksumOff))
	}
}
