package vhdtest

import (
	"bytes"
	"encoding/binary"
)

// Where the two structures keep their checksums.
const (
	footerChecksumOff = 64
	headerChecksumOff = 36
)

// checksum is the one's complement of the sum of all bytes but the checksum's own four at off.
func checksum(b []byte, off int) uint32 {
	var sum uint32
	for i, c := range b {
		if i < off || i >= off+4 {
			sum += uint32(c)
		}
	}
	return ^sum
}

// MendFooter sets the checksum of the 512 or 511 bytes of a footer.
func MendFooter(t TB, footer []byte) {
	t.Helper()
	if len(footer) != FooterSize && len(footer) != FooterSize-1 {
		t.Fatalf("vhdtest: a footer of %d bytes", len(footer))
	}
	binary.BigEndian.PutUint32(footer[footerChecksumOff:], checksum(footer, footerChecksumOff))
}

// MendHeader sets the checksum of the 1024 bytes of a dynamic header.
func MendHeader(t TB, header []byte) {
	t.Helper()
	if len(header) != HeaderSize {
		t.Fatalf("vhdtest: a dynamic header of %d bytes", len(header))
	}
	binary.BigEndian.PutUint32(header[headerChecksumOff:], checksum(header, headerChecksumOff))
}

// EndFooter is the footer at the end of an image, of 512 or 511 bytes, as a part of the image.
func EndFooter(t TB, image []byte) []byte {
	t.Helper()
	for _, n := range []int{FooterSize, FooterSize - 1} {
		if len(image) >= n && bytes.HasPrefix(image[len(image)-n:], []byte("conectix")) {
			return image[len(image)-n:]
		}
	}
	t.Fatalf("vhdtest: the image of %d bytes has no footer at its end", len(image))
	return nil
}

// Header is the dynamic header, where the image's copy at offset 0 or its end footer says that it is, as a
// part of the image.
func Header(t TB, image []byte) []byte {
	t.Helper()
	footer := image
	if !bytes.HasPrefix(image, []byte("conectix")) {
		footer = EndFooter(t, image)
	}
	off := binary.BigEndian.Uint64(footer[16:])
	if n := uint64(len(image)); off > n || n-off < HeaderSize {
		t.Fatalf("vhdtest: a header at offset %d of an image of %d bytes", off, n)
	}
	return image[off : off+HeaderSize]
}

// EditFooter changes the end footer of an image and sets its checksum anew; a dynamic disk's copy stays.
func EditFooter(t TB, image []byte, edit func(footer []byte)) {
	t.Helper()
	f := EndFooter(t, image)
	edit(f)
	MendFooter(t, f)
}

// EditCopy changes the footer's copy at offset 0 and sets its checksum anew.
func EditCopy(t TB, image []byte, edit func(footer []byte)) {
	t.Helper()
	edit(image[:FooterSize])
	MendFooter(t, image[:FooterSize])
}

// EditFooters changes the end footer and the copy alike.
func EditFooters(t TB, image []byte, edit func(footer []byte)) {
	t.Helper()
	EditFooter(t, image, edit)
	EditCopy(t, image, edit)
}

// EditHeader changes the dynamic header of an image and sets its checksum anew.
func EditHeader(t TB, image []byte, edit func(header []byte)) {
	t.Helper()
	h := Header(t, image)
	edit(h)
	MendHeader(t, h)
}

// EditEntry sets an entry of the image's BAT.
func EditEntry(t TB, image []byte, index int, entry uint32) {
	t.Helper()
	binary.BigEndian.PutUint32(entryBytes(t, image, index), entry)
}

// Entry is an entry of the image's BAT: the sector of a block's bitmap, or Unallocated.
func Entry(t TB, image []byte, index int) uint32 {
	t.Helper()
	return binary.BigEndian.Uint32(entryBytes(t, image, index))
}

func entryBytes(t TB, image []byte, index int) []byte {
	t.Helper()
	table := binary.BigEndian.Uint64(Header(t, image)[16:])
	off := table + 4*uint64(index)
	if n := uint64(len(image)); index < 0 || off > n || n-off < 4 {
		t.Fatalf("vhdtest: BAT entry %d of a table at %d in an image of %d bytes", index, table, n)
	}
	return image[off : off+4]
}
