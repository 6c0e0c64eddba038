package vhdtest

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
)

// The platform codes of the specification.
const (
	CodeW2ru uint32 = 0x57327275
	CodeW2ku uint32 = 0x57326B75
	CodeWi2r uint32 = 0x57693272
	CodeWi2k uint32 = 0x5769326B
	CodeMac  uint32 = 0x4D616320
	CodeMacX uint32 = 0x4D616358
)

// Locator is one of the header's eight entries and the data that it points to. One without a code is empty.
type Locator struct {
	Code     uint32
	Data     []byte
	Length   uint32 // as stored; zero: the length of Data
	Space    uint32 // as stored; zero: Data's length in whole sectors, in bytes
	Reserved uint32
	Off      int64 // zero: at the next place
	AfterBAT bool  // that next place is behind the BAT
	Area     int64 // bytes set apart for Data; zero: whole sectors

	// SpaceInSectors stores the space in sectors, as the specification has it and hardly anyone does.
	SpaceInSectors bool
}

// W2ru is a relative path, `.\x.vhd`, in UTF-16LE.
func W2ru(path string) Locator { return Locator{Code: CodeW2ru, Data: utf16LE(path)} }

// W2ku is an absolute path, `C:\d\x.vhd`, in UTF-16LE.
func W2ku(path string) Locator { return Locator{Code: CodeW2ku, Data: utf16LE(path)} }

// Wi2r is a relative path in the ANSI code page: here Latin-1, and ? for what it lacks.
func Wi2r(path string) Locator { return Locator{Code: CodeWi2r, Data: latin1(path)} }

// Wi2k is an absolute path in the ANSI code page: here Latin-1, and ? for what it lacks.
func Wi2k(path string) Locator { return Locator{Code: CodeWi2k, Data: latin1(path)} }

// MacX is a file URL of a path with slashes, percent-coded: an absolute one gets file://localhost before it, a
// relative one file://.
func MacX(path string) Locator {
	host := ""
	if strings.HasPrefix(path, "/") {
		host = "localhost"
	}
	return Locator{Code: CodeMacX, Data: []byte("file://" + host + percentCode(path))}
}

// MacXRaw is whatever URL the caller gives.
func MacXRaw(url string) Locator { return Locator{Code: CodeMacX, Data: []byte(url)} }

// Mac is an alias blob.
func Mac(blob []byte) Locator { return Locator{Code: CodeMac, Data: blob} }

// At puts the locator's data at an offset.
func (loc Locator) At(off int64) Locator {
	loc.Off = off
	return loc
}

// Behind puts the locator's data behind the BAT.
func (loc Locator) Behind() Locator {
	loc.AfterBAT = true
	return loc
}

func (loc Locator) area() int64 {
	return max(loc.Area, roundUp(int64(len(loc.Data)), SectorSize), SectorSize)
}

// put writes the entry.
//
//	0 code · 4 data space · 8 data length · 12 reserved · 16 data offset u64
func (loc Locator) put(t TB, entry []byte, off int64) {
	t.Helper()
	space := asUint32(t, "locator space", loc.area())
	if loc.SpaceInSectors {
		space /= SectorSize
	}
	binary.BigEndian.PutUint32(entry[0:], loc.Code)
	binary.BigEndian.PutUint32(entry[4:], orElse(loc.Space, space))
	binary.BigEndian.PutUint32(entry[8:], orElse(loc.Length, asUint32(t, "locator length", int64(len(loc.Data)))))
	binary.BigEndian.PutUint32(entry[12:], loc.Reserved)
	binary.BigEndian.PutUint64(entry[16:], asUint64(t, "locator offset", off))
}

func utf16LE(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

func latin1(s string) []byte {
	var b []byte
	for _, r := range s {
		if r > 0xFF {
			r = '?'
		}
		b = append(b, byte(r))
	}
	return b
}

// percentCode leaves RFC 2396's unreserved characters and the slash as they are.
func percentCode(path string) string {
	const plain = "-_.!~*'()/"
	var b strings.Builder
	for _, c := range []byte(path) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte(plain, c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
