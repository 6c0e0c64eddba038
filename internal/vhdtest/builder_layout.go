package vhdtest

import (
	"bytes"
	"encoding/binary"
	"maps"
	"math"
	"unicode/utf16"
)

// piece is a run of the file's bytes; what no piece covers is zeros.
type piece struct {
	off  int64
	data []byte
}

// layout is the file's pieces, later ones over earlier ones, and its size.
//
// What has an offset of its own gets it, whatever it overlaps: hostile images are made that way. The rest is
// placed in the order copy, header, locators, BAT, locators behind the BAT, blocks, and goes around what has
// an offset of its own.
func (img *Image) layout(t TB) ([]piece, int64) {
	t.Helper()
	if img.diskType() == Fixed {
		return img.layoutFixed(t)
	}
	img.checkSane(t)
	l := &layouter{cursor: FooterSize}
	l.reserveExplicit(img)

	locators := img.placeLocators(l, false)
	table := img.batArea()
	batOff := img.BATOff
	if batOff == 0 {
		batOff = l.next(table, 0, 0)
	}
	l.extend(batOff + table)
	maps.Copy(locators, img.placeLocators(l, true))
	blockOffs := img.placeBlocks(l)

	l.add(img.headerOff(), img.header(t, batOff, locators))
	for slot, off := range locators {
		l.add(off, img.Locators[slot].Data)
	}
	l.add(batOff, img.table(t, table, blockOffs))
	for i, b := range img.Blocks {
		l.add(blockOffs[i], b.bitmap(img))
		l.add(blockOffs[i]+img.bitmapArea(), b.stored(img))
	}
	if img.Copy != CopyLost {
		l.add(0, img.footerCopy(t))
	}
	img.addFooter(t, l)
	return l.pieces, l.end
}

func (img *Image) layoutFixed(t TB) ([]piece, int64) {
	t.Helper()
	if int64(len(img.Data)) > img.Size {
		t.Fatalf("vhdtest: %d bytes of data for a fixed disk of %d", len(img.Data), img.Size)
	}
	l := &layouter{}
	l.add(0, img.Data)
	l.extend(img.Size)
	img.addFooter(t, l)
	return l.pieces, l.end
}

func (img *Image) checkSane(t TB) {
	t.Helper()
	if bs := img.blockSize(); bs < SectorSize || bs&(bs-1) != 0 {
		t.Fatalf("vhdtest: a block size of %d can't be laid out: build a sound image and edit its header", bs)
	}
	seen := map[int]bool{}
	for _, b := range img.Blocks {
		switch {
		case seen[b.Index]:
			t.Fatalf("vhdtest: block %d stands in Blocks twice: use Entries to point where you want", b.Index)
		case b.Index < 0 || int64(b.Index) >= img.maxEntries():
			t.Fatalf("vhdtest: block %d of %d", b.Index, img.maxEntries())
		case int64(len(b.Bitmap)) > img.bitmapArea():
			t.Fatalf("vhdtest: block %d: a bitmap of %d bytes for an area of %d", b.Index, len(b.Bitmap), img.bitmapArea())
		case int64(len(b.Data)) > img.blockSize():
			t.Fatalf("vhdtest: block %d: %d bytes of data for a block of %d", b.Index, len(b.Data), img.blockSize())
		case b.Off%SectorSize != 0 || b.Gap%SectorSize != 0 || b.Align%SectorSize != 0:
			t.Fatalf("vhdtest: block %d: a BAT entry counts sectors: Off, Gap and Align are multiples of 512", b.Index)
		}
		seen[b.Index] = true
	}
}

// layouter hands out the file's space from front to back.
type layouter struct {
	cursor   int64
	explicit []span // what was placed by hand
	pieces   []piece
	end      int64 // of the farthest thing placed
}

type span struct{ off, end int64 }

func (l *layouter) reserveExplicit(img *Image) {
	l.explicit = append(l.explicit, span{img.headerOff(), img.headerOff() + HeaderSize})
	if img.BATOff != 0 {
		l.explicit = append(l.explicit, span{img.BATOff, img.BATOff + img.batArea()})
	}
	for _, loc := range img.Locators {
		if loc.Off != 0 {
			l.explicit = append(l.explicit, span{loc.Off, loc.Off + loc.area()})
		}
	}
	for _, b := range img.Blocks {
		if b.Off != 0 {
			l.explicit = append(l.explicit, span{b.Off, b.Off + img.bitmapArea() + img.blockSize()})
		}
	}
}

// next takes n bytes behind the cursor. The byte at skew of them gets an offset that is a multiple of align;
// an align of zero asks for a sector's.
func (l *layouter) next(n, align, skew int64) int64 {
	if align == 0 {
		align, skew = SectorSize, 0
	}
	off := roundUp(l.cursor+skew, align) - skew
	for moved := true; moved; {
		moved = false
		for _, s := range l.explicit {
			if off < s.end && s.off < off+n {
				off, moved = roundUp(s.end+skew, align)-skew, true
			}
		}
	}
	l.cursor = off + n
	l.extend(l.cursor)
	return off
}

func (l *layouter) extend(end int64) { l.end = max(l.end, end) }

func (l *layouter) add(off int64, data []byte) {
	if len(data) == 0 {
		return
	}
	l.pieces = append(l.pieces, piece{off, data})
	l.extend(off + int64(len(data)))
}

// placeLocators places the locators that stand before or behind the BAT and returns their offsets by slot.
func (img *Image) placeLocators(l *layouter, behind bool) map[int]int64 {
	offs := map[int]int64{}
	for slot, loc := range img.Locators {
		switch {
		case loc.Code == 0 || loc.AfterBAT != behind:
		case loc.Off != 0:
			offs[slot] = loc.Off
			l.extend(loc.Off + loc.area())
		default:
			offs[slot] = l.next(loc.area(), 0, 0)
		}
	}
	return offs
}

func (img *Image) placeBlocks(l *layouter) []int64 {
	offs := make([]int64, len(img.Blocks))
	for i, b := range img.Blocks {
		n := img.bitmapArea() + img.blockSize() - b.Cut
		if offs[i] = b.Off; b.Off == 0 {
			l.cursor += b.Gap
			offs[i] = l.next(n, b.Align, img.bitmapArea())
		}
		l.extend(offs[i] + n)
	}
	return offs
}

// bitmap is the block's bitmap area. Without one of its own every sector is here, and the area's bits past the
// block's last sector are clear.
func (b *Block) bitmap(img *Image) []byte {
	bits := b.Bitmap
	if bits == nil {
		bits = Bitmap(img.SectorsPerBlock(), func(int) bool { return true })
	}
	area := make([]byte, img.bitmapArea())
	copy(area, bits)
	return area
}

// stored is the part of the block's data that is in the file.
func (b *Block) stored(img *Image) []byte {
	return b.Data[:min(int64(len(b.Data)), max(0, img.blockSize()-b.Cut))]
}

func (img *Image) table(t TB, n int64, blockOffs []int64) []byte {
	t.Helper()
	table := bytes.Repeat([]byte{0xFF}, int(n))
	if img.BATPadZero {
		clear(table[4*img.maxEntries():])
	}
	for i, b := range img.Blocks {
		binary.BigEndian.PutUint32(table[4*b.Index:], asUint32(t, "BAT entry", blockOffs[i]/SectorSize))
	}
	for index, entry := range img.Entries {
		if int64(4*index+4) > n {
			t.Fatalf("vhdtest: BAT entry %d is outside the table of %d bytes", index, n)
		}
		binary.BigEndian.PutUint32(table[4*index:], entry)
	}
	return table
}

// header is the dynamic header, with its checksum.
func (img *Image) header(t TB, batOff int64, locatorOffs map[int]int64) []byte {
	t.Helper()
	h := make([]byte, HeaderSize)
	copy(h, "cxsparse")
	binary.BigEndian.PutUint64(h[8:], math.MaxUint64)
	binary.BigEndian.PutUint64(h[16:], asUint64(t, "table offset", batOff))
	binary.BigEndian.PutUint32(h[24:], 0x00010000)
	binary.BigEndian.PutUint32(h[28:], asUint32(t, "max table entries", img.maxEntries()))
	binary.BigEndian.PutUint32(h[32:], asUint32(t, "block size", img.blockSize()))
	copy(h[40:], img.ParentID[:])
	binary.BigEndian.PutUint32(h[56:], img.ParentTime)
	putParentName(t, h[64:576], img.ParentName)
	for slot, loc := range img.Locators {
		if loc.Code != 0 {
			loc.put(t, h[576+24*slot:], locatorOffs[slot])
		}
	}
	putReserved(t, h[768:], img.HeaderReserved)
	MendHeader(t, h)
	return h
}

func putParentName(t TB, field []byte, name string) {
	t.Helper()
	units := utf16.Encode([]rune(name))
	if 2*len(units) > len(field) {
		t.Fatalf("vhdtest: a parent name of %d UTF-16 units", len(units))
	}
	for i, u := range units {
		binary.BigEndian.PutUint16(field[2*i:], u)
	}
}

func putReserved(t TB, field, data []byte) {
	t.Helper()
	if len(data) > len(field) {
		t.Fatalf("vhdtest: %d reserved bytes for a field of %d", len(data), len(field))
	}
	copy(field, data)
}

// footer is the 512 bytes of a sound footer.
func (img *Image) footer(t TB) []byte {
	t.Helper()
	f := make([]byte, FooterSize)
	copy(f, "conectix")
	binary.BigEndian.PutUint32(f[8:], orElse(img.Features, 2))
	binary.BigEndian.PutUint32(f[12:], 0x00010000)
	dataOff := uint64(math.MaxUint64)
	if img.diskType() != Fixed {
		dataOff = asUint64(t, "data offset", img.headerOff())
	}
	binary.BigEndian.PutUint64(f[16:], dataOff)
	binary.BigEndian.PutUint32(f[24:], img.Time)
	copy(f[28:32], orElse(img.App, "win "))
	binary.BigEndian.PutUint32(f[32:], orElse(img.AppVersion, 0x000A0000))
	copy(f[36:40], orElse(img.Host, "Wi2k"))
	binary.BigEndian.PutUint64(f[40:], asUint64(t, "original size", orElse(img.OriginalSize, img.Size)))
	binary.BigEndian.PutUint64(f[48:], asUint64(t, "current size", img.Size))
	g := GeometryOf(img.Size)
	if img.Geometry != nil {
		g = *img.Geometry
	}
	binary.BigEndian.PutUint16(f[56:], g.Cylinders)
	f[58], f[59] = g.Heads, g.SectorsPerTrack
	binary.BigEndian.PutUint32(f[60:], uint32(img.diskType()))
	copy(f[68:], img.ID[:])
	f[84] = img.SavedState
	putReserved(t, f[85:], img.FooterReserved)
	MendFooter(t, f)
	return f
}

func (img *Image) footerCopy(t TB) []byte {
	t.Helper()
	other := *img
	if img.Copy == CopyOther {
		other.Time--
		other.SavedState ^= 1
	}
	return other.footer(t)
}

func (img *Image) addFooter(t TB, l *layouter) {
	t.Helper()
	off := l.end + img.Slack
	if img.EndAlign != 0 {
		off = roundUp(off+FooterSize, img.EndAlign) - FooterSize
	}
	if img.SlackByte != 0 && off > l.end {
		l.add(l.end, bytes.Repeat([]byte{img.SlackByte}, int(off-l.end)))
	}
	l.extend(off)
	switch img.Footer {
	case FooterWhole:
		l.add(off, img.footer(t))
	case Footer511:
		l.add(off, img.footer(t)[:FooterSize-1])
	case FooterZeroed:
		l.add(off, make([]byte, FooterSize))
	case FooterXen:
		l.add(off, bytes.Repeat([]byte{0xC7}, FooterSize))
	case FooterCut:
	default:
		t.Fatalf("vhdtest: footer form %d", img.Footer)
	}
}

// GeometryOf is the computation of the specification's appendix.
func GeometryOf(size int64) Geometry {
	nsectors := min(size/SectorSize, 65535*16*255)
	if nsectors >= 65535*16*63 {
		return Geometry{uint16(nsectors / 255 / 16), 16, 255}
	}
	sectors, cylTimesHeads := int64(17), nsectors/17
	heads := max(4, (cylTimesHeads+1023)/1024)
	if cylTimesHeads >= heads*1024 || heads > 16 {
		sectors, heads, cylTimesHeads = 31, 16, nsectors/31
	}
	if cylTimesHeads >= heads*1024 {
		sectors, heads, cylTimesHeads = 63, 16, nsectors/63
	}
	return Geometry{uint16(cylTimesHeads / heads), uint8(heads), uint8(sectors)}
}

func orElse[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func asUint32(t TB, what string, n int64) uint32 {
	t.Helper()
	if n < 0 || n > math.MaxUint32 {
		t.Fatalf("vhdtest: %s %d doesn't fit 32 bits", what, n)
	}
	return uint32(n)
}

func asUint64(t TB, what string, n int64) uint64 {
	t.Helper()
	if n < 0 {
		t.Fatalf("vhdtest: %s %d is negative", what, n)
	}
	return uint64(n)
}
