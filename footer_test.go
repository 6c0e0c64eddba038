package vhd_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// Footers of real files, up to the saved state. All of their reserved bytes are zeros.
const (
	virtualPCFooter = "636f6e6563746978 00000002 00010000 0000000000000200 192215f0 76706320 00010000 5769326b" +
		"0000000020000000 0000000020000000 0410103f 00000004 fffff023 40d56d369ab84fe4a31a121fe2bf15eb 00"
	disk2vhdFooter = "636f6e6563746978 00000002 00010000 0000000000000200 14dbf42d 64327600 00010000 5769326b" +
		"00000025433d6000 00000025433d6000 ffff10ff 00000003 ffffeae4 521fcd5339a4e54b92f2889948b7bc27 00"
	windows7Footer = "636f6e6563746978 00000002 00010000 ffffffffffffffff 15dcbd20 77696e20 00060001 5769326b" +
		"00000000c0000000 00000000c0000000 1861103f 00000002 ffffe566 3ae3a95edd1da349bd6d3cd7905ab670 00"
	virtualBoxFooter = "636f6e6563746978 00000002 00010000 0000000000000200 167b95f6 76626f78 00040001 5769326b" +
		"0000000500000000 0000000500000000 a28a103f 00000003 ffffeea0 d1aa4285601bfe448805147ad188b510 00"
)

// unhexExact is what the hexadecimal digits spell.
func unhexExact(t testing.TB, digits string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
	require.NoError(t, err)
	return b
}

// unhex is what the hexadecimal digits spell, and zeros up to n bytes.
func unhex(t testing.TB, digits string, n int) []byte {
	t.Helper()
	b := unhexExact(t, digits)
	require.LessOrEqual(t, len(b), n)
	return append(b, make([]byte, n-len(b))...)
}

func TestRealFootersDecodeToWhatTheirBytesSay(t *testing.T) {
	for name, test := range map[string]struct {
		digits string
		want   vhd.Footer
	}{
		"Virtual PC": {virtualPCFooter, vhd.Footer{
			Features: 2, DataOffset: 512, Time: time.Date(2013, 5, 12, 8, 57, 20, 0, time.UTC),
			CreatorApplication: [4]byte{'v', 'p', 'c', ' '}, CreatorVersion: 0x00010000, CreatorHost: [4]byte{'W', 'i', '2', 'k'},
			OriginalSize: 512 << 20, CurrentSize: 512 << 20, Geometry: vhd.Geometry{Cylinders: 1040, Heads: 16, SectorsPerTrack: 63},
			Type: vhd.Differencing, ID: uuid.MustParse("40d56d36-9ab8-4fe4-a31a-121fe2bf15eb"),
		}},
		"disk2vhd": {disk2vhdFooter, vhd.Footer{
			Features: 2, DataOffset: 512, Time: time.Date(2011, 2, 2, 10, 53, 33, 0, time.UTC),
			CreatorApplication: [4]byte{'d', '2', 'v', 0}, CreatorVersion: 0x00010000, CreatorHost: [4]byte{'W', 'i', '2', 'k'},
			OriginalSize: 160041885696, CurrentSize: 160041885696, Geometry: vhd.Geometry{Cylinders: 65535, Heads: 16, SectorsPerTrack: 255},
			Type: vhd.Dynamic, ID: uuid.MustParse("521fcd53-39a4-e54b-92f2-889948b7bc27"),
		}},
		"Windows 7": {windows7Footer, vhd.Footer{
			Features: 2, DataOffset: -1, Time: time.Date(2011, 8, 16, 5, 31, 12, 0, time.UTC),
			CreatorApplication: [4]byte{'w', 'i', 'n', ' '}, CreatorVersion: 0x00060001, CreatorHost: [4]byte{'W', 'i', '2', 'k'},
			OriginalSize: 3 << 30, CurrentSize: 3 << 30, Geometry: vhd.Geometry{Cylinders: 6241, Heads: 16, SectorsPerTrack: 63},
			Type: vhd.Fixed, ID: uuid.MustParse("3ae3a95e-dd1d-a349-bd6d-3cd7905ab670"),
		}},
		"VirtualBox": {virtualBoxFooter, vhd.Footer{
			Features: 2, DataOffset: 512, Time: time.Date(2011, 12, 14, 17, 14, 30, 0, time.UTC),
			CreatorApplication: [4]byte{'v', 'b', 'o', 'x'}, CreatorVersion: 0x00040001, CreatorHost: [4]byte{'W', 'i', '2', 'k'},
			OriginalSize: 20 << 30, CurrentSize: 20 << 30, Geometry: vhd.Geometry{Cylinders: 41610, Heads: 16, SectorsPerTrack: 63},
			Type: vhd.Dynamic, ID: uuid.MustParse("d1aa4285-601b-fe44-8805-147ad188b510"),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			raw := unhex(t, test.digits, 512)
			var got vhd.Footer
			require.NoError(t, got.UnmarshalBinary(raw))
			require.Equal(t, test.want, got)

			encoded, err := test.want.MarshalBinary()
			require.NoError(t, err)
			require.Equal(t, raw, encoded)
		})
	}
}

func TestEveryFieldOfAFooterIsWhereTheSpecificationPutsIt(t *testing.T) {
	raw := unhex(t, "636f6e6563746978 01020304 00010000 0506070809101112 13141516 21222324 25262728 31323334"+
		"4142434445464748 5152535455565758 6162 63 64 71727374 00000000 8182838485868788898a8b8c8d8e8f90 91 92", 512)
	raw[511] = 0x93
	vhdtest.MendFooter(t, raw)
	want := vhd.Footer{
		Features: 0x01020304, DataOffset: 0x0506070809101112, Time: time.Date(2000, 1, 1, 0, 0, 0x13141516, 0, time.UTC),
		CreatorApplication: [4]byte{0x21, 0x22, 0x23, 0x24}, CreatorVersion: 0x25262728, CreatorHost: [4]byte{0x31, 0x32, 0x33, 0x34},
		OriginalSize: 0x4142434445464748, CurrentSize: 0x5152535455565758,
		Geometry: vhd.Geometry{Cylinders: 0x6162, Heads: 0x63, SectorsPerTrack: 0x64}, Type: vhd.DiskType(0x71727374),
		ID: uuid.MustParse("81828384-8586-8788-898a-8b8c8d8e8f90"), SavedState: 0x91,
	}
	want.Reserved[0], want.Reserved[426] = 0x92, 0x93
	var got vhd.Footer
	require.NoError(t, got.UnmarshalBinary(raw))
	require.Equal(t, want, got)

	encoded, err := want.AppendBinary([]byte("in front"))
	require.NoError(t, err)
	require.Equal(t, append([]byte("in front"), raw...), encoded)
}

func TestAFooterOf511BytesIsOneThatLacksItsLastReservedByte(t *testing.T) {
	whole := unhex(t, virtualPCFooter, 512)
	var want, got vhd.Footer
	require.NoError(t, want.UnmarshalBinary(whole))
	require.NoError(t, got.UnmarshalBinary(whole[:511]))
	require.Equal(t, want, got)

	whole[511] = 1 // so the checksum of 512 bytes is not that of the first 511
	require.ErrorIs(t, got.UnmarshalBinary(whole), vhd.ErrChecksum)
	require.NoError(t, got.UnmarshalBinary(whole[:511]))
}

func TestAFooterOfAnotherLengthIsRefused(t *testing.T) {
	whole := append(unhex(t, virtualPCFooter, 512), make([]byte, 1024)...)
	for _, n := range []int{0, 1, 85, 510, 513, 1023, 1024, 1536} {
		var f vhd.Footer
		err := f.UnmarshalBinary(whole[:n])
		var format *vhd.FormatError
		require.ErrorAs(t, err, &format, "%d bytes", n)
		require.ErrorIs(t, err, vhd.ErrFormat)
		require.Equal(t, "footer", format.Part)
	}
}

func TestAFooterThatIsWrongIsAnErrorThatSaysWhere(t *testing.T) {
	for name, test := range map[string]struct {
		corrupt func(raw []byte)
		mend    bool
		field   string
		off     int64
		is      error
	}{
		"another cookie":          {func(raw []byte) { raw[7] = 'X' }, true, "cookie", 0, vhd.ErrFormat},
		"no footer at all":        {func(raw []byte) { clear(raw) }, false, "cookie", 0, vhd.ErrFormat},
		"version 2":               {func(raw []byte) { raw[13] = 2 }, true, "version", 12, vhd.ErrUnsupported},
		"version 1.1":             {func(raw []byte) { raw[15] = 1 }, true, "version", 12, vhd.ErrUnsupported},
		"checksum one too high":   {func(raw []byte) { raw[67]++ }, false, "checksum", 64, vhd.ErrChecksum},
		"checksum one too low":    {func(raw []byte) { raw[67]-- }, false, "checksum", 64, vhd.ErrChecksum},
		"original size of 2^63":   {func(raw []byte) { raw[40] = 0x80 }, true, "original size", 40, vhd.ErrFormat},
		"current size of 2^63":    {func(raw []byte) { raw[48] = 0x80 }, true, "current size", 48, vhd.ErrFormat},
		"current size of 2^64 -1": {func(raw []byte) { copy(raw[48:], bytes.Repeat([]byte{0xFF}, 8)) }, true, "current size", 48, vhd.ErrFormat},
	} {
		t.Run(name, func(t *testing.T) {
			raw := unhex(t, virtualPCFooter, 512)
			test.corrupt(raw)
			if test.mend {
				vhdtest.MendFooter(t, raw)
			}
			var f vhd.Footer
			requireWrongField(t, f.UnmarshalBinary(raw), "footer", test.field, test.off, test.is)
		})
	}
}

// requireWrongField requires that err is is, and says which field of a structure
// is wrong, and how.
func requireWrongField(t testing.TB, err error, part, field string, off int64, is error) {
	t.Helper()
	var format *vhd.FormatError
	require.ErrorAs(t, err, &format)
	require.ErrorIs(t, err, is)
	require.Equal(t, part, format.Part)
	require.Equal(t, field, format.Field)
	require.Equal(t, off, format.Offset)
	require.NotNil(t, format.Got)
	require.NotNil(t, format.Want)
}

// One bit anywhere, but for the cookie, whose error comes first.
func TestTheChecksumCoversEveryByteOfAFooter(t *testing.T) {
	for off := 8; off < 512; off++ {
		raw := unhex(t, disk2vhdFooter, 512)
		raw[off] ^= 0x10
		var f vhd.Footer
		require.ErrorIs(t, f.UnmarshalBinary(raw), vhd.ErrChecksum, "offset %d", off)
	}
}

func TestSizesUpTo2To63AreDecoded(t *testing.T) {
	raw := unhex(t, windows7Footer, 512)
	for _, field := range [][]byte{raw[40:48], raw[48:56]} {
		binary.BigEndian.PutUint64(field, 1<<63-1)
	}
	vhdtest.MendFooter(t, raw)
	var f vhd.Footer
	require.NoError(t, f.UnmarshalBinary(raw))
	require.Equal(t, int64(1<<63-1), f.OriginalSize)
	require.Equal(t, int64(1<<63-1), f.CurrentSize)
}

func TestTimesAreSecondsSince2000(t *testing.T) {
	for stamp, want := range map[uint32]time.Time{
		0:          {}, // unset
		1:          time.Date(2000, 1, 1, 0, 0, 1, 0, time.UTC),
		1<<31 - 1:  time.Date(2068, 1, 19, 3, 14, 7, 0, time.UTC),
		1 << 31:    time.Date(2068, 1, 19, 3, 14, 8, 0, time.UTC),
		0xFFFFFFFF: time.Date(2136, 2, 7, 6, 28, 15, 0, time.UTC),
	} {
		raw := unhex(t, windows7Footer, 512)
		binary.BigEndian.PutUint32(raw[24:], stamp)
		vhdtest.MendFooter(t, raw)
		var f vhd.Footer
		require.NoError(t, f.UnmarshalBinary(raw))
		require.Equal(t, want, f.Time)
		encoded, err := f.MarshalBinary()
		require.NoError(t, err)
		require.Equal(t, raw, encoded)
	}
}

func TestATimeIsCutToSecondsInAnyZone(t *testing.T) {
	for name, test := range map[string]struct {
		at   time.Time
		want uint32
	}{
		"the first second":            {time.Date(2000, 1, 1, 0, 0, 0, 999999999, time.UTC), 0},
		"a zone ahead of UTC":         {time.Date(2000, 1, 1, 3, 0, 10, 0, time.FixedZone("", 3*3600)), 10},
		"the last second that it has": {time.Date(2136, 2, 7, 6, 28, 15, 999999999, time.UTC), 0xFFFFFFFF},
		"unset":                       {time.Time{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := vhd.Footer{Time: test.at}.MarshalBinary()
			require.NoError(t, err)
			require.Equal(t, test.want, binary.BigEndian.Uint32(raw[24:]))
		})
	}
	for _, at := range []time.Time{
		time.Date(1999, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(1999, 12, 31, 23, 59, 59, 999999999, time.UTC),
		time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2136, 2, 7, 6, 28, 16, 0, time.UTC), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		_, err := vhd.Footer{Time: at}.MarshalBinary()
		require.ErrorIs(t, err, vhd.ErrUnsupported, "%v", at)
	}
}

func TestDiskTypesSayWhatTheyAre(t *testing.T) {
	require.Equal(t, []vhd.DiskType{2, 3, 4}, []vhd.DiskType{vhd.Fixed, vhd.Dynamic, vhd.Differencing})
	require.Equal(t, "fixed", vhd.Fixed.String())
	require.Equal(t, "dynamic", vhd.Dynamic.String())
	require.Equal(t, "differencing", vhd.Differencing.String())
	require.Equal(t, "disk type 77", vhd.DiskType(77).String())
}

// Whatever stands in fields and reserved bytes comes back, if only cookie, version, sizes and checksum are right.
func TestAnyValidFooterReencodesToItsBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfN(rapid.Byte(), 512, 512).Draw(t, "bytes")
		copy(raw, "conectix")
		copy(raw[12:], "\x00\x01\x00\x00")
		raw[40] &= 0x7F
		raw[48] &= 0x7F
		vhdtest.MendFooter(t, raw)
		var f vhd.Footer
		require.NoError(t, f.UnmarshalBinary(raw))
		encoded, err := f.MarshalBinary()
		require.NoError(t, err)
		require.Equal(t, raw, encoded)

		short := append(raw[:511:511], 0)
		vhdtest.MendFooter(t, short[:511])
		require.NoError(t, f.UnmarshalBinary(short[:511]))
		encoded, err = f.MarshalBinary()
		require.NoError(t, err)
		require.Equal(t, short, encoded)
	})
}

// corpusFooters is the footer at the end of a real image, and its copy where it has one.
func corpusFooters(t testing.TB, set *vhdtest.CorpusSet, img vhdtest.CorpusImage) [][]byte {
	t.Helper()
	file, err := os.ReadFile(set.Path(img.File))
	require.NoError(t, err)
	footers := [][]byte{file[len(file)-512:]}
	if img.Kind != "fixed" {
		footers = append(footers, file[:512])
	}
	return footers
}

func TestFootersOfRealImagesHaveTheFieldsOfTheManifest(t *testing.T) {
	set := vhdtest.Corpus(t)
	creators := map[string]string{
		"Windows 8.1 / Server 2012 R2 (6.3)": "win ", "Windows 10/11 (10.0)": "win ", "VirtualBox 4.3": "vbox",
		"XenServer 6.2 blktap/libvhd": "tap\x00", "FreeBSD mkimg": "*img",
	}
	for _, img := range set.Images {
		t.Run(img.File, func(t *testing.T) {
			for _, raw := range corpusFooters(t, set, img) {
				var f vhd.Footer
				require.NoError(t, f.UnmarshalBinary(raw))
				require.Equal(t, img.UUID, f.ID)
				require.Equal(t, img.Timestamp.UTC(), f.Time)
				require.Equal(t, img.VirtualSize, f.CurrentSize)
				require.Equal(t, img.Kind, f.Type.String())
				chs := [3]int{int(f.Geometry.Cylinders), int(f.Geometry.Heads), int(f.Geometry.SectorsPerTrack)}
				require.Equal(t, img.CHS, chs)
				if want, ok := creators[img.Producer]; ok {
					require.Equal(t, want, string(f.CreatorApplication[:]))
				} else {
					require.Equal(t, "qem", string(f.CreatorApplication[:3]), img.Producer)
				}
				encoded, err := f.MarshalBinary()
				require.NoError(t, err)
				require.Equal(t, raw, encoded)
			}
		})
	}
}

func TestFragmentsOfRealImagesReencodeToTheirBytes(t *testing.T) {
	set := vhdtest.Corpus(t)
	names, err := filepath.Glob(filepath.Join(set.Dir, "fragments", "*.bin"))
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			for raw := set.Fragment(t, filepath.Base(name)); len(raw) > 0; {
				var encoded []byte
				var err error
				if string(raw[:8]) == "cxsparse" {
					var h vhd.DynamicHeader
					require.NoError(t, h.UnmarshalBinary(raw[:1024]))
					encoded, err = h.MarshalBinary()
				} else {
					var f vhd.Footer
					if err := f.UnmarshalBinary(raw[:512]); strings.Contains(name, "Invalid") {
						require.ErrorIs(t, err, vhd.ErrChecksum)
						return
					}
					require.NoError(t, f.UnmarshalBinary(raw[:512]))
					encoded, err = f.MarshalBinary()
				}
				require.NoError(t, err)
				require.Equal(t, raw[:len(encoded)], encoded)
				raw = raw[len(encoded):]
			}
		})
	}
}
