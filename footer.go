package vhd

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
)

// SectorSize is the unit in which a disk is addressed, and in which all
// structures of a VHD are laid out, in bytes.
const SectorSize = 512

const (
	footerSize    = 512
	oldFooterSize = 511 // written at a file's end by Virtual PC before 2004

	footerCookie  = "conectix"
	formatVersion = 0x00010000 // of the footer and of the dynamic header

	// The bits of Footer.Features: the second is always set.
	featureTemporary = 1 << 0
	featureReserved  = 1 << 1

	// noOffset stands, all ones on disk, in an offset that points nowhere: a
	// fixed disk's data offset, and every dynamic header's.
	noOffset = -1
)

// DiskType says how a VHD stores its content. See "Disk Type" in the
// specification's section "Hard Disk Footer Format".
type DiskType uint32

// The disk types in use. The specification deprecates all others.
const (
	Fixed        DiskType = 2 // every sector has its place in the file
	Dynamic      DiskType = 3 // blocks are allocated when they are written
	Differencing DiskType = 4 // holds what changed since its parent
)

func (t DiskType) String() string {
	switch t {
	case Fixed:
		return "fixed"
	case Dynamic:
		return "dynamic"
	case Differencing:
		return "differencing"
	}
	return fmt.Sprintf("disk type %d", uint32(t))
}

// Footer is the structure at the end of every VHD, of which dynamic and
// differencing disks keep a copy at the start. See "Hard Disk Footer Format"
// in the specification. On disk it has 512 bytes, integers big-endian:
//
//	offset size
//	     0    8  cookie "conectix"
//	     8    4  features
//	    12    4  file format version, 0x00010000
//	    16    8  data offset
//	    24    4  time stamp, seconds since 2000-01-01 00:00 UTC
//	    28    4  creator application
//	    32    4  creator version
//	    36    4  creator host OS
//	    40    8  original size
//	    48    8  current size
//	    56    4  disk geometry
//	    60    4  disk type
//	    64    4  checksum
//	    68   16  unique id
//	    84    1  saved state
//	    85  427  reserved
//
// Cookie, version and checksum are checked by UnmarshalBinary and produced by
// AppendBinary, so they are no fields.
type Footer struct {
	Features           uint32    // bit 0: temporary; bit 1 is always set
	DataOffset         int64     // of the dynamic header in the file, bytes; -1 in a fixed disk
	Time               time.Time // of creation, whole seconds, UTC, from 2000 to 2136; zero: unset
	CreatorApplication [4]byte   // such as "win ", "vpc ", "qemu", "tap\0"
	CreatorVersion     uint32    // major in the upper, minor in the lower half
	CreatorHost        [4]byte   // "Wi2k", "Mac ", or zeros
	OriginalSize       int64     // of the disk when it was made, bytes
	CurrentSize        int64     // of the disk, bytes
	Geometry           Geometry
	Type               DiskType
	ID                 uuid.UUID // in the byte order of the file, which differs between creators
	SavedState         uint8     // not 0: belongs to a machine in saved state
	Reserved           [427]byte // zeros on paper; kept as it is
}

// UnmarshalBinary decodes a footer of 512 bytes, or one of 511 bytes as
// Virtual PC wrote at the end of files before 2004. Errors are of type
// *FormatError and match ErrFormat, ErrChecksum or ErrUnsupported.
//
// It says that the footer is well-formed, not that it fits the file it is in.
func (f *Footer) UnmarshalBinary(b []byte) error {
	if len(b) != footerSize && len(b) != oldFooterSize {
		return &FormatError{Part: "footer", Got: fmt.Sprintf("%d bytes", len(b)), Want: "512 or 511", Err: ErrFormat}
	}
	if len(b) == oldFooterSize {
		b = append(b[:oldFooterSize:oldFooterSize], 0)
	}
	raw := (*[footerSize]byte)(b)
	if err := checkStructure("footer", raw[:], footerCookie, 12, 64); err != nil {
		return err
	}
	originalSize, currentSize := binary.BigEndian.Uint64(raw[40:48]), binary.BigEndian.Uint64(raw[48:56])
	if originalSize > math.MaxInt64 {
		return &FormatError{Part: "footer", Field: "original size", Offset: 40, Got: originalSize, Want: "less than 2^63", Err: ErrFormat}
	}
	if currentSize > math.MaxInt64 {
		return &FormatError{Part: "footer", Field: "current size", Offset: 48, Got: currentSize, Want: "less than 2^63", Err: ErrFormat}
	}
	*f = Footer{
		Features:           binary.BigEndian.Uint32(raw[8:12]),
		DataOffset:         int64(binary.BigEndian.Uint64(raw[16:24])), //nolint:gosec // all ones is -1, the rest is validated against the file
		Time:               decodeTime(binary.BigEndian.Uint32(raw[24:28])),
		CreatorApplication: [4]byte(raw[28:32]),
		CreatorVersion:     binary.BigEndian.Uint32(raw[32:36]),
		CreatorHost:        [4]byte(raw[36:40]),
		OriginalSize:       int64(originalSize),
		CurrentSize:        int64(currentSize),
		Geometry:           Geometry{binary.BigEndian.Uint16(raw[56:58]), raw[58], raw[59]},
		Type:               DiskType(binary.BigEndian.Uint32(raw[60:64])),
		ID:                 uuid.UUID(raw[68:84]),
		SavedState:         raw[84],
		Reserved:           [427]byte(raw[85:512]),
	}
	return nil
}

// AppendBinary appends the footer's 512 bytes to b. It fails if Time can not
// be stored, or a size is negative.
func (f Footer) AppendBinary(b []byte) ([]byte, error) {
	stamp, err := encodeTime(f.Time)
	if err != nil {
		return b, err
	}
	if f.OriginalSize < 0 || f.CurrentSize < 0 {
		return b, &FormatError{Part: "footer", Field: "current size", Offset: 48, Got: min(f.OriginalSize, f.CurrentSize), Want: "no negative size", Err: ErrFormat}
	}
	var raw [footerSize]byte
	copy(raw[0:8], footerCookie)
	binary.BigEndian.PutUint32(raw[8:12], f.Features)
	binary.BigEndian.PutUint32(raw[12:16], formatVersion)
	binary.BigEndian.PutUint64(raw[16:24], uint64(f.DataOffset)) //nolint:gosec // -1 is all ones
	binary.BigEndian.PutUint32(raw[24:28], stamp)
	copy(raw[28:32], f.CreatorApplication[:])
	binary.BigEndian.PutUint32(raw[32:36], f.CreatorVersion)
	copy(raw[36:40], f.CreatorHost[:])
	binary.BigEndian.PutUint64(raw[40:48], uint64(f.OriginalSize))
	binary.BigEndian.PutUint64(raw[48:56], uint64(f.CurrentSize))
	binary.BigEndian.PutUint16(raw[56:58], f.Geometry.Cylinders)
	raw[58], raw[59] = f.Geometry.Heads, f.Geometry.SectorsPerTrack
	binary.BigEndian.PutUint32(raw[60:64], uint32(f.Type))
	copy(raw[68:84], f.ID[:])
	raw[84] = f.SavedState
	copy(raw[85:512], f.Reserved[:])
	binary.BigEndian.PutUint32(raw[64:68], checksum(raw[:], 64))
	return append(b, raw[:]...), nil
}

// MarshalBinary returns the footer's 512 bytes. See AppendBinary.
func (f Footer) MarshalBinary() ([]byte, error) { return f.AppendBinary(nil) }

// checkStructure checks what footer and dynamic header have in common: the
// cookie in front, the version and the checksum, whose offsets are given.
func checkStructure(part string, raw []byte, cookie string, versionOff, checksumOff int) error {
	if string(raw[:len(cookie)]) != cookie {
		return &FormatError{Part: part, Field: "cookie", Got: fmt.Sprintf("%q", raw[:len(cookie)]), Want: fmt.Sprintf("%q", cookie), Err: ErrFormat}
	}
	if got, want := binary.BigEndian.Uint32(raw[checksumOff:]), checksum(raw, checksumOff); got != want {
		return &FormatError{Part: part, Field: "checksum", Offset: int64(checksumOff), Got: fmt.Sprintf("%#08x", got), Want: fmt.Sprintf("%#08x", want), Err: ErrChecksum}
	}
	if got := binary.BigEndian.Uint32(raw[versionOff:]); got != formatVersion {
		return &FormatError{Part: part, Field: "version", Offset: int64(versionOff), Got: fmt.Sprintf("%#08x", got), Want: fmt.Sprintf("%#08x", formatVersion), Err: ErrUnsupported}
	}
	return nil
}

// checksum is the one's complement of the sum of all bytes of raw, the four of
// the checksum itself, at fieldOff, taken as zero.
func checksum(raw []byte, fieldOff int) uint32 {
	return ^(sumBytes(raw[:fieldOff]) + sumBytes(raw[fieldOff+4:]))
}

// sumBytes adds up bytes, eight at a time: in pairs first, so that sums of 16
// bits, of which four fit in a word, don't overflow for the 1024 bytes of the
// longest structure.
func sumBytes(b []byte) uint32 {
	const low = 0x00FF00FF00FF00FF
	var sums uint64
	for ; len(b) >= 8; b = b[8:] {
		word := binary.NativeEndian.Uint64(b)
		sums += word&low + word>>8&low
	}
	sum := uint32(sums&0xFFFF + sums>>16&0xFFFF + sums>>32&0xFFFF + sums>>48)
	for _, x := range b {
		sum += uint32(x)
	}
	return sum
}

// epoch2000 is the start of the format's time, 2000-01-01 00:00 UTC, in Unix time.
const epoch2000 = 946684800

// decodeTime is the time of a stamp. 0 means unset.
func decodeTime(stamp uint32) time.Time {
	if stamp == 0 {
		return time.Time{}
	}
	return time.Unix(epoch2000+int64(stamp), 0).UTC()
}

// encodeTime is the stamp of a time, cut to whole seconds. The zero time is 0.
func encodeTime(t time.Time) (uint32, error) {
	if t.IsZero() {
		return 0, nil
	}
	stamp := t.Unix() - epoch2000
	if stamp < 0 || stamp > math.MaxUint32 {
		return 0, fmt.Errorf("vhd: time %v can not be stored: %w, want 2000 to 2136", t, ErrUnsupported)
	}
	return uint32(stamp), nil
}

// atOffset moves a FormatError's offset from its structure's start to the
// file's, where the structure starts at off.
func atOffset(err error, off int64) error {
	if e, ok := err.(*FormatError); ok { //nolint:errorlint // just decoded, wrapped by nobody
		e.Offset += off
	}
	return err
}
