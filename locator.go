package vhd

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/url"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

const locatorSize = 24

// PlatformCode says in which form a parent locator stores the parent's path.
// See "Parent Locator Entry" in the specification. 0 marks an empty entry.
type PlatformCode uint32

// The platform codes.
const (
	W2ru PlatformCode = 0x57327275 // Windows path relative to the child, UTF-16LE
	W2ku PlatformCode = 0x57326B75 // absolute Windows path, UTF-16LE
	Wi2r PlatformCode = 0x57693272 // relative Windows path, ANSI; deprecated
	Wi2k PlatformCode = 0x5769326B // absolute Windows path, ANSI; deprecated
	MacX PlatformCode = 0x4D616358 // UTF-8 file URL of RFC 2396
	Mac  PlatformCode = 0x4D616320 // Mac OS alias, a record of its own
)

// isPathCode says whether a locator of this platform code names a path.
func isPathCode(c PlatformCode) bool {
	switch c {
	case W2ru, W2ku, Wi2r, Wi2k, MacX, Mac:
		return true
	}
	return false
}

func (c PlatformCode) String() string {
	switch c { // without allocating: opening a chain asks for every locator
	case W2ru:
		return "W2ru"
	case W2ku:
		return "W2ku"
	case Wi2r:
		return "Wi2r"
	case Wi2k:
		return "Wi2k"
	case MacX:
		return "MacX"
	case Mac:
		return "Mac "
	case 0:
		return "none"
	}
	return fmt.Sprintf("platform code %#08x", uint32(c))
}

// Locator is one of the eight entries of a dynamic header that say where the
// parent of a differencing disk is. The path itself stands elsewhere in the
// file. On disk an entry has 24 bytes, integers big-endian:
//
//	offset size
//	     0    4  platform code
//	     4    4  platform data space
//	     8    4  platform data length
//	    12    4  reserved
//	    16    8  platform data offset
type Locator struct {
	Code       PlatformCode
	DataSpace  uint32 // set aside in the file: sectors on paper, bytes in most files; see Space
	DataLength int64  // of the path, bytes
	Reserved   uint32 // zero on paper; kept as it is
	DataOffset int64  // of the path in the file, bytes
}

// Space is the number of bytes that the entry sets aside at DataOffset. The
// specification counts them in sectors, and most programs store bytes: less
// than one sector's worth can only be a count of sectors.
func (l Locator) Space() int64 {
	if l.DataSpace < SectorSize {
		return int64(l.DataSpace) * SectorSize
	}
	return int64(l.DataSpace)
}

func decodeLocator(raw *[locatorSize]byte) Locator {
	return Locator{
		Code:       PlatformCode(binary.BigEndian.Uint32(raw[0:4])),
		DataSpace:  binary.BigEndian.Uint32(raw[4:8]),
		DataLength: int64(binary.BigEndian.Uint32(raw[8:12])),
		Reserved:   binary.BigEndian.Uint32(raw[12:16]),
		DataOffset: int64(binary.BigEndian.Uint64(raw[16:24])), //nolint:gosec // validated against the file
	}
}

func (l Locator) encode(raw *[locatorSize]byte) error {
	if l.DataLength < 0 || l.DataLength > math.MaxUint32 {
		return &FormatError{Part: "parent locator", Field: "data length", Offset: 8, Got: l.DataLength, Want: "less than 2^32", Err: ErrUnsupported}
	}
	binary.BigEndian.PutUint32(raw[0:4], uint32(l.Code))
	binary.BigEndian.PutUint32(raw[4:8], l.DataSpace)
	binary.BigEndian.PutUint32(raw[8:12], uint32(l.DataLength))
	binary.BigEndian.PutUint32(raw[12:16], l.Reserved)
	binary.BigEndian.PutUint64(raw[16:24], uint64(l.DataOffset)) //nolint:gosec // as it was decoded
	return nil
}

// DecodePath decodes the data that a locator of this platform code points to,
// up to the first zero: a path in Windows' or the Mac's way of writing, a file
// URL for MacX. ANSI is taken as Windows-1252. Of a Mac alias, which only the
// Mac can resolve, it returns the POSIX path if it holds one, else the file's
// name. Data of another code is an ErrUnsupported.
func (c PlatformCode) DecodePath(data []byte) (string, error) {
	switch c {
	case W2ru, W2ku:
		return decodeUTF16(data, binary.LittleEndian), nil
	case Wi2r, Wi2k:
		return decodeANSI(untilNUL(string(data))), nil
	case MacX:
		return untilNUL(string(data)), nil
	case Mac:
		return decodeAlias(data)
	}
	return "", fmt.Errorf("vhd: parent locator: %w: %v", ErrUnsupported, c)
}

// EncodePath encodes a path as DecodePath decodes it. For MacX, an absolute path
// with slashes becomes a file URL. A Mac alias can not be made from a path:
// ErrUnsupported.
func (c PlatformCode) EncodePath(path string) ([]byte, error) {
	if strings.ContainsRune(path, 0) {
		return nil, fmt.Errorf("vhd: path %q: %w: it contains a zero", path, ErrUnsupported)
	}
	switch c {
	case W2ru, W2ku:
		return encodeUTF16(path, binary.LittleEndian)
	case Wi2r, Wi2k:
		return encodeANSI(path)
	case MacX:
		if !strings.HasPrefix(path, "file:") {
			path = fileURL(path)
		}
		return []byte(path), nil
	case Mac:
	}
	return nil, fmt.Errorf("vhd: parent locator: %w: %v", ErrUnsupported, c)
}

// decodeANSI decodes Windows-1252. Like Windows, it takes the five bytes that
// mean nothing there for control characters of the same number.
func decodeANSI(s string) string {
	var text strings.Builder
	for i := range len(s) {
		r := charmap.Windows1252.DecodeByte(s[i])
		if r == utf8.RuneError {
			r = rune(s[i])
		}
		text.WriteRune(r)
	}
	return text.String()
}

// encodeANSI is the way back.
func encodeANSI(s string) ([]byte, error) {
	var data []byte
	for _, r := range s {
		b, ok := charmap.Windows1252.EncodeRune(r)
		if !ok && r >= 0x80 && r < 0xA0 {
			b, ok = byte(r), true
		}
		if !ok {
			return nil, fmt.Errorf("vhd: path %q as ANSI: %w", s, ErrUnsupported)
		}
		data = append(data, b)
	}
	return data, nil
}

// fileURL is the MacX form of a slash-separated path. A relative one has no
// place in RFC 2396; Xen writes file://./name.
func fileURL(path string) string {
	if !strings.HasPrefix(path, "/") {
		return "file://./" + (&url.URL{Path: strings.TrimPrefix(path, "./")}).EscapedPath()
	}
	return "file://localhost" + (&url.URL{Path: path}).EscapedPath()
}

// pathOfFileURL is the way back. A host other than this one makes it a path on
// another machine, of the form //host/path.
func pathOfFileURL(s string) (string, error) {
	const scheme = "file:"
	if len(s) < len(scheme) || !strings.EqualFold(s[:len(scheme)], scheme) {
		return "", fmt.Errorf("vhd: %q: %w: not a file URL", s, ErrFormat)
	}
	path := s[len(scheme):]
	if afterSlashes, ok := strings.CutPrefix(path, "//"); ok {
		host, rest, hasPath := strings.Cut(afterSlashes, "/")
		switch {
		case host == "" || strings.EqualFold(host, "localhost"):
			path = "/" + rest
		case host == "." || host == ".." || !hasPath:
			path = afterSlashes
		}
	}
	if decoded, err := url.PathUnescape(path); err == nil { // Xen does not encode
		path = decoded
	}
	if len(path) > 3 && path[0] == '/' && isLetter(path[1]) && path[2] == ':' && (path[3] == '/' || path[3] == '\\') {
		path = path[1:] // of a drive
	}
	return path, nil
}

func isLetter(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }

func untilNUL(s string) string {
	s, _, _ = strings.Cut(s, "\x00")
	return s
}

// decodeAlias finds the parent's path, or only its name, in a Mac OS alias
// record of version 2: the name is a Pascal string at offset 50, and behind
// the fixed part follow records of tag, length and value, 18 being the POSIX
// path on its volume.
func decodeAlias(data []byte) (string, error) {
	const nameOff, nameMax, tagsOff, posixPath, end = 50, 63, 150, 18, 0xFFFF
	if len(data) < tagsOff || int(data[nameOff]) > nameMax || data[nameOff] == 0 {
		return "", fmt.Errorf("vhd: parent locator: %w: not an alias record of version 2", ErrUnsupported)
	}
	for tags := data[tagsOff:]; len(tags) >= 4; {
		tag, n := binary.BigEndian.Uint16(tags), int(binary.BigEndian.Uint16(tags[2:]))
		tags = tags[4:]
		if tag == end || n > len(tags) {
			break
		}
		if tag == posixPath && n > 0 {
			return untilNUL(string(tags[:n])), nil
		}
		tags = tags[min(n+n%2, len(tags)):]
	}
	name := data[nameOff+1:][:data[nameOff]]
	return charmap.Macintosh.NewDecoder().String(string(name))
}
