package vhd_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// virtualPCHeader is the dynamic header of a child that Virtual PC made.
func virtualPCHeader(t testing.TB) []byte {
	t.Helper()
	raw := unhex(t, "6378737061727365 ffffffffffffffff 0000000000000600 00010000 00000100 00200000 ffffe1c1"+
		"d49c5c80350a4a89898a5ad6d10f6578 1922077c 00000000"+
		"00640079006e0061006d00690063002e007600680064", 1024)
	copy(raw[576+4*24:], unhex(t, "57326b75 00000200 0000002a 00000000 0000000000001200"+
		"57327275 00000200 0000001a 00000000 0000000000001000"+
		"5769326b 00000200 00000015 00000000 0000000000000e00"+
		"57693272 00000200 0000000d 00000000 0000000000000c00", 96))
	return raw
}

func TestARealHeaderDecodesToWhatItsBytesSay(t *testing.T) {
	raw := virtualPCHeader(t)
	var got vhd.DynamicHeader
	require.NoError(t, got.UnmarshalBinary(raw))

	name, err := vhd.NewParentName("dynamic.vhd")
	require.NoError(t, err)
	want := vhd.DynamicHeader{
		DataOffset: -1, TableOffset: 1536, MaxTableEntries: 256, BlockSize: 2 << 20,
		ParentID:   uuid.MustParse("d49c5c80-350a-4a89-898a-5ad6d10f6578"),
		ParentTime: time.Date(2013, 5, 12, 7, 55, 40, 0, time.UTC), ParentName: name,
		Locators: [8]vhd.Locator{
			4: {Code: vhd.W2ku, DataSpace: 512, DataLength: 42, DataOffset: 4608},
			5: {Code: vhd.W2ru, DataSpace: 512, DataLength: 26, DataOffset: 4096},
			6: {Code: vhd.Wi2k, DataSpace: 512, DataLength: 21, DataOffset: 3584},
			7: {Code: vhd.Wi2r, DataSpace: 512, DataLength: 13, DataOffset: 3072},
		},
	}
	require.Equal(t, want, got)
	require.Equal(t, "dynamic.vhd", got.ParentName.String())

	encoded, err := want.MarshalBinary()
	require.NoError(t, err)
	require.Equal(t, raw, encoded)
}

func TestEveryFieldOfAHeaderIsWhereTheSpecificationPutsIt(t *testing.T) {
	raw := unhex(t, "6378737061727365 0102030405060708 1112131415161718 00010000 21222324 31323334 00000000"+
		"4142434445464748494a4b4c4d4e4f50 51525354 61626364 0070", 1024)
	raw[575] = 0x71
	for slot := range 8 {
		for i := range 24 {
			raw[576+24*slot+i] = byte(0x80 + i + 8*slot)
		}
	}
	raw[768], raw[1023] = 0x72, 0x73
	vhdtest.MendHeader(t, raw)

	var got vhd.DynamicHeader
	require.NoError(t, got.UnmarshalBinary(raw))
	require.Equal(t, int64(0x0102030405060708), got.DataOffset)
	require.Equal(t, int64(0x1112131415161718), got.TableOffset)
	require.Equal(t, uint32(0x21222324), got.MaxTableEntries)
	require.Equal(t, int64(0x31323334), got.BlockSize)
	require.Equal(t, uuid.MustParse("41424344-4546-4748-494a-4b4c4d4e4f50"), got.ParentID)
	require.Equal(t, time.Unix(946684800+0x51525354, 0).UTC(), got.ParentTime)
	require.Equal(t, uint32(0x61626364), got.Reserved1)
	require.Equal(t, []byte{0x00, 0x70, 0x00, 0x00}, got.ParentName[:4])
	require.Equal(t, byte(0x71), got.ParentName[511])
	require.Equal(t, "p", got.ParentName.String())
	require.Equal(t, byte(0x72), got.Reserved2[0])
	require.Equal(t, byte(0x73), got.Reserved2[255])
	require.Equal(t, vhd.PlatformCode(0x80818283), got.Locators[0].Code)
	require.Equal(t, uint32(0x84858687), got.Locators[0].DataSpace)
	require.Equal(t, int64(0x88898a8b), got.Locators[0].DataLength)
	require.Equal(t, uint32(0x8c8d8e8f), got.Locators[0].Reserved)
	require.Equal(t, int64(-0x6f6e6d6c6b6a6969), got.Locators[0].DataOffset) // 0x9091929394959697
	require.Equal(t, vhd.PlatformCode(0xB8B9BABB), got.Locators[7].Code)

	encoded, err := got.AppendBinary([]byte("in front"))
	require.NoError(t, err)
	require.Equal(t, append([]byte("in front"), raw...), encoded)
}

func TestAHeaderThatIsWrongIsAnErrorThatSaysWhere(t *testing.T) {
	for name, test := range map[string]struct {
		corrupt func(raw []byte)
		mend    bool
		field   string
		off     int64
		is      error
	}{
		"another cookie":        {func(raw []byte) { raw[0] = 'C' }, true, "cookie", 0, vhd.ErrFormat},
		"zeros":                 {func(raw []byte) { clear(raw) }, false, "cookie", 0, vhd.ErrFormat},
		"version 2":             {func(raw []byte) { raw[25] = 2 }, true, "version", 24, vhd.ErrUnsupported},
		"checksum one too high": {func(raw []byte) { raw[39]++ }, false, "checksum", 36, vhd.ErrChecksum},
	} {
		t.Run(name, func(t *testing.T) {
			raw := virtualPCHeader(t)
			test.corrupt(raw)
			if test.mend {
				vhdtest.MendHeader(t, raw)
			}
			var h vhd.DynamicHeader
			requireWrongField(t, h.UnmarshalBinary(raw), "dynamic header", test.field, test.off, test.is)
		})
	}
	for _, n := range []int{0, 8, 512, 1023, 1025} {
		var h vhd.DynamicHeader
		require.ErrorIs(t, h.UnmarshalBinary(make([]byte, n)), vhd.ErrFormat)
	}
}

func TestTheChecksumCoversEveryByteOfAHeader(t *testing.T) {
	for off := 8; off < 1024; off++ {
		raw := virtualPCHeader(t)
		raw[off] ^= 0x40
		var h vhd.DynamicHeader
		require.ErrorIs(t, h.UnmarshalBinary(raw), vhd.ErrChecksum, "offset %d", off)
	}
}

func TestAnyValidHeaderReencodesToItsBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfN(rapid.Byte(), 1024, 1024).Draw(t, "bytes")
		copy(raw, "cxsparse")
		copy(raw[24:], "\x00\x01\x00\x00")
		vhdtest.MendHeader(t, raw)
		var h vhd.DynamicHeader
		require.NoError(t, h.UnmarshalBinary(raw))
		encoded, err := h.MarshalBinary()
		require.NoError(t, err)
		require.Equal(t, raw, encoded)
	})
}

func TestWhatAHeaderCanNotStoreIsAnError(t *testing.T) {
	for name, h := range map[string]vhd.DynamicHeader{
		"a negative block size":       {BlockSize: -1},
		"a block size of 2^32":        {BlockSize: 1 << 32},
		"a parent time before 2000":   {ParentTime: time.Date(1999, 12, 31, 23, 59, 59, 0, time.UTC)},
		"a parent time after 2136":    {ParentTime: time.Date(2137, 1, 1, 0, 0, 0, 0, time.UTC)},
		"a locator of negative bytes": {Locators: [8]vhd.Locator{3: {DataLength: -1}}},
		"a locator of 2^32 bytes":     {Locators: [8]vhd.Locator{7: {DataLength: 1 << 32}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.MarshalBinary()
			require.ErrorIs(t, err, vhd.ErrUnsupported)
		})
	}
}

func TestTheParentNameIsBigEndianAndPaddedWithZeros(t *testing.T) {
	name, err := vhd.NewParentName("aé€𝄞")
	require.NoError(t, err)
	require.Equal(t, unhex(t, "0061 00e9 20ac d834 dd1e", 512), name[:])
	require.Equal(t, "aé€𝄞", name.String())

	empty, err := vhd.NewParentName("")
	require.NoError(t, err)
	require.Equal(t, vhd.ParentName{}, empty)
	require.Empty(t, empty.String())
}

func TestAParentNameHasUpTo256CodeUnitsAndNoZero(t *testing.T) {
	full, err := vhd.NewParentName(strings.Repeat("x", 256))
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("x", 256), full.String())
	_, err = vhd.NewParentName(strings.Repeat("𝄞", 128))
	require.NoError(t, err)

	for _, name := range []string{strings.Repeat("x", 257), strings.Repeat("𝄞", 128) + "x", "a\x00b", "\xff"} {
		_, err := vhd.NewParentName(name)
		require.ErrorIs(t, err, vhd.ErrUnsupported)
	}
}

func TestWhatFollowsTheFirstZeroOfAParentNameIsKeptAndNotRead(t *testing.T) {
	raw := virtualPCHeader(t)
	copy(raw[64:], unhex(t, "0061 0000 0062", 22))
	copy(raw[574:], "\xD8\x00")
	vhdtest.MendHeader(t, raw)
	var h vhd.DynamicHeader
	require.NoError(t, h.UnmarshalBinary(raw))
	require.Equal(t, "a", h.ParentName.String())
	encoded, err := h.MarshalBinary()
	require.NoError(t, err)
	require.Equal(t, raw, encoded)
}

func TestHeadersOfRealImagesHaveTheFieldsOfTheManifest(t *testing.T) {
	set := vhdtest.Corpus(t)
	for _, img := range set.Images {
		if img.Dynamic == nil {
			continue
		}
		t.Run(img.File, func(t *testing.T) {
			file, err := os.ReadFile(set.Path(img.File))
			require.NoError(t, err)
			off := binary.BigEndian.Uint64(file[16:])
			raw := file[off : off+1024]
			var h vhd.DynamicHeader
			require.NoError(t, h.UnmarshalBinary(raw))
			require.Equal(t, int64(-1), h.DataOffset)
			require.Equal(t, int64(img.Dynamic.TableOffset), h.TableOffset)
			require.Equal(t, img.Dynamic.MaxEntries, int64(h.MaxTableEntries))
			require.Equal(t, img.Dynamic.BlockSize, h.BlockSize)
			requireLocators(t, img, h, file)
			if img.Parent != "" {
				require.Equal(t, set.Find(t, img.Parent).UUID, h.ParentID)
				require.True(t, h.ParentTime.IsZero(), "Windows 10 records no time")
			}
			encoded, err := h.MarshalBinary()
			require.NoError(t, err)
			require.True(t, bytes.Equal(raw, encoded))
		})
	}
}

func requireLocators(t testing.TB, img vhdtest.CorpusImage, h vhd.DynamicHeader, file []byte) {
	t.Helper()
	var want [8]vhd.Locator
	for _, l := range img.Locators {
		code := map[string]vhd.PlatformCode{"W2ku": vhd.W2ku, "W2ru": vhd.W2ru}[l.Code]
		want[l.Slot] = vhd.Locator{Code: code, DataSpace: l.Space, DataLength: int64(l.Length), Reserved: l.Reserved, DataOffset: l.Offset}
		data := file[l.Offset : l.Offset+int64(l.Length)]
		path, err := code.DecodePath(data)
		require.NoError(t, err)
		require.Equal(t, l.Text, path)
		encoded, err := code.EncodePath(path)
		require.NoError(t, err)
		require.Equal(t, data, encoded)
	}
	require.Equal(t, want, h.Locators)
}
