package vhd

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
)

const (
	dynHeaderSize   = 1024
	dynHeaderCookie = "cxsparse"

	locatorsOff       = 576 // of the locator entries in the header
	headerChecksumOff = 36
	parentNameBytes   = 512
)

// DynamicHeader is the second structure of dynamic and differencing disks.
// See "Dynamic Disk Header Format" in the specification. On disk it has 1024
// bytes, integers big-endian:
//
//	offset size
//	     0    8  cookie "cxsparse"
//	     8    8  data offset, all ones
//	    16    8  table offset
//	    24    4  header version, 0x00010000
//	    28    4  max table entries
//	    32    4  block size
//	    36    4  checksum
//	    40   16  parent unique id
//	    56    4  parent time stamp, seconds since 2000-01-01 00:00 UTC
//	    60    4  reserved
//	    64  512  parent unicode name, UTF-16BE
//	   576  192  parent locator entries, 8 of 24 bytes
//	   768  256  reserved
//
// Cookie, version and checksum are checked by UnmarshalBinary and produced by
// AppendBinary, so they are no fields.
type DynamicHeader struct {
	DataOffset      int64  // unused, -1
	TableOffset     int64  // of the block allocation table in the file, bytes
	MaxTableEntries uint32 // entries of the block allocation table
	BlockSize       int64  // bytes of data in a block, without its sector bitmap
	ParentID        uuid.UUID
	ParentTime      time.Time  // when the parent was last modified, whole seconds, UTC; zero: unset
	Reserved1       uint32     // zero on paper; kept as it is
	ParentName      ParentName // most often the parent's full path
	Locators        [8]Locator
	Reserved2       [256]byte // zeros on paper; kept as it is
}

// ParentName is the dynamic header's parent unicode name as it stands on disk:
// UTF-16BE, padded with zeros. What follows the first zero is kept.
type ParentName [parentNameBytes]byte

// NewParentName encodes name. It fails if name has more than 256 UTF-16 code
// units or contains a zero.
func NewParentName(name string) (ParentName, error) {
	var n ParentName
	b, err := encodeUTF16(name, binary.BigEndian)
	if err != nil {
		return n, err
	}
	if len(b) > len(n) {
		return n, fmt.Errorf("vhd: parent name of %d UTF-16 code units: %w, want at most %d", len(b)/2, ErrUnsupported, len(n)/2)
	}
	copy(n[:], b)
	return n, nil
}

// String decodes the name up to the first zero. Unpaired surrogates come out
// as the three bytes each that WTF-8 gives them, as in names of files that
// package os returns on Windows.
func (n ParentName) String() string { return decodeUTF16(n[:], binary.BigEndian) }

// UnmarshalBinary decodes a dynamic header of 1024 bytes. Errors are of type
// *FormatError and match ErrFormat, ErrChecksum or ErrUnsupported.
//
// It says that the header is well-formed, not that it fits the file it is in.
func (h *DynamicHeader) UnmarshalBinary(b []byte) error {
	if len(b) != dynHeaderSize {
		return &FormatError{Part: "dynamic header", Got: fmt.Sprintf("%d bytes", len(b)), Want: dynHeaderSize, Err: ErrFormat}
	}
	raw := (*[dynHeaderSize]byte)(b)
	if err := checkStructure("dynamic header", raw[:], dynHeaderCookie, 24, headerChecksumOff); err != nil {
		return err
	}
	*h = DynamicHeader{
		DataOffset:      int64(binary.BigEndian.Uint64(raw[8:16])),  //nolint:gosec // unused, all ones is -1
		TableOffset:     int64(binary.BigEndian.Uint64(raw[16:24])), //nolint:gosec // validated against the file
		MaxTableEntries: binary.BigEndian.Uint32(raw[28:32]),
		BlockSize:       int64(binary.BigEndian.Uint32(raw[32:36])),
		ParentID:        uuid.UUID(raw[40:56]),
		ParentTime:      decodeTime(binary.BigEndian.Uint32(raw[56:60])),
		Reserved1:       binary.BigEndian.Uint32(raw[60:64]),
		ParentName:      ParentName(raw[64:576]),
		Reserved2:       [256]byte(raw[768:1024]),
	}
	for i := range h.Locators {
		h.Locators[i] = decodeLocator((*[locatorSize]byte)(raw[locatorsOff+i*locatorSize:]))
	}
	return nil
}

// AppendBinary appends the header's 1024 bytes to b. It fails if a field can
// not be stored.
func (h DynamicHeader) AppendBinary(b []byte) ([]byte, error) {
	stamp, err := encodeTime(h.ParentTime)
	if err != nil {
		return b, err
	}
	if h.BlockSize < 0 || h.BlockSize > math.MaxUint32 {
		return b, &FormatError{Part: "dynamic header", Field: "block size", Offset: 32, Got: h.BlockSize, Want: "less than 2^32", Err: ErrUnsupported}
	}
	var raw [dynHeaderSize]byte
	copy(raw[0:8], dynHeaderCookie)
	binary.BigEndian.PutUint64(raw[8:16], uint64(h.DataOffset))   //nolint:gosec // -1 is all ones
	binary.BigEndian.PutUint64(raw[16:24], uint64(h.TableOffset)) //nolint:gosec // as it was decoded
	binary.BigEndian.PutUint32(raw[24:28], formatVersion)
	binary.BigEndian.PutUint32(raw[28:32], h.MaxTableEntries)
	binary.BigEndian.PutUint32(raw[32:36], uint32(h.BlockSize))
	copy(raw[40:56], h.ParentID[:])
	binary.BigEndian.PutUint32(raw[56:60], stamp)
	binary.BigEndian.PutUint32(raw[60:64], h.Reserved1)
	copy(raw[64:576], h.ParentName[:])
	for i, l := range h.Locators {
		if err := l.encode((*[locatorSize]byte)(raw[locatorsOff+i*locatorSize:])); err != nil {
			return b, atOffset(err, int64(locatorsOff+i*locatorSize))
		}
	}
	copy(raw[768:1024], h.Reserved2[:])
	binary.BigEndian.PutUint32(raw[headerChecksumOff:], checksum(raw[:], headerChecksumOff))
	return append(b, raw[:]...), nil
}

// MarshalBinary returns the header's 1024 bytes. See AppendBinary.
func (h DynamicHeader) MarshalBinary() ([]byte, error) { return h.AppendBinary(nil) }
