package vhdtest

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var (
	_ TB = testing.TB(nil)
	_ TB = (*rapid.T)(nil)
)

func TestAFixedDiskIsItsDataAndAFooter(t *testing.T) {
	img := NewFixed(1024, []byte("data"))
	file := img.Build(t)
	require.Len(t, file, 1024+512)
	require.Equal(t, "data", string(file[:4]))

	footer := file[1024:]
	require.Equal(t, "conectix\x00\x00\x00\x02\x00\x01\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff", string(footer[:24]))
	require.Equal(t, uint64(1024), binary.BigEndian.Uint64(footer[48:]))
	require.Equal(t, uint32(2), binary.BigEndian.Uint32(footer[60:]))
}

func TestADynamicDiskHasItsStructuresWhereTheSpecificationPutsThem(t *testing.T) {
	img := NewDynamic(8192, Block{Index: 1, Data: []byte("one")}, Block{Index: 0, Data: []byte("zero"), Gap: 512})
	img.BlockSize = 4096
	file := img.Build(t)

	require.Equal(t, file[:512], file[len(file)-512:])
	require.Equal(t, "cxsparse", string(file[512:520]))
	require.Equal(t, uint64(1536), binary.BigEndian.Uint64(file[512+16:]))
	require.Equal(t, uint32(4), Entry(t, file, 1))
	require.Equal(t, uint32(4+1+8+1), Entry(t, file, 0))
	require.Equal(t, "\xff\xff\xff\xff", string(file[1536+8:1536+12]), "the BAT's padding")
	require.Equal(t, "\xff\x00", string(file[2048:2050]), "eight sectors are here, the rest of the bitmap is padding")
	require.Equal(t, "one", string(file[2560:2563]))
	require.Len(t, file, 2048+(512+4096)+512+(512+4096)+512)
}

// The specification's example of a geometry beyond the tables' first row, and its two limits.
func TestTheGeometryIsThatOfTheSpecificationsAppendix(t *testing.T) {
	for size, want := range map[int64]Geometry{
		4194304:                      {120, 4, 17},
		41943040:                     {963, 5, 17},
		1073741824:                   {2080, 16, 63},
		65535 * 16 * 63 * SectorSize: {16191, 16, 255},
		2040 << 30:                   {65535, 16, 255},
	} {
		require.Equal(t, want, GeometryOf(size), "%d bytes", size)
	}
}

func TestWhatHasItsOwnOffsetIsGoneAround(t *testing.T) {
	img := NewDynamic(4096, Block{Index: 0, Data: []byte("block")})
	img.BlockSize, img.HeaderOff, img.BATOff = 4096, 2048, 1024
	file := img.Build(t)
	require.Equal(t, "cxsparse", string(file[2048:2056]))
	require.Equal(t, uint32(6), Entry(t, file, 0), "behind the header")
	require.Len(t, file, 6*512+512+4096+512)
}

func TestTheFormsOfAFooter(t *testing.T) {
	for form, want := range map[FooterForm]struct {
		n     int
		first byte
	}{
		FooterWhole: {512, 'c'}, Footer511: {511, 'c'}, FooterZeroed: {512, 0}, FooterXen: {512, 0xC7}, FooterCut: {0, 0},
	} {
		img := NewDynamic(1 << 20)
		img.Footer = form
		file := img.Build(t)
		require.Len(t, file, 2048+want.n)
		if want.n > 0 {
			require.Equal(t, want.first, file[2048])
		}
	}
}

func TestAnEditedFooterHasItsChecksum(t *testing.T) {
	file := NewDynamic(1 << 20).Build(t)
	EditFooters(t, file, func(f []byte) { f[84] = 1 })
	saved := NewDynamic(1 << 20)
	saved.SavedState = 1
	require.Equal(t, saved.Build(t), file)

	EditHeader(t, file, func(h []byte) { h[768] = 7 })
	EditEntry(t, file, 0, 99)
	saved.HeaderReserved, saved.Entries = []byte{7}, map[int]uint32{0: 99}
	require.Equal(t, saved.Build(t), file)
}

func TestAFileOfAnySizeIsWrittenSparse(t *testing.T) {
	img := NewDynamic(2040<<30, Block{Index: 1000000, Data: []byte("far")})
	name := filepath.Join(t.TempDir(), "large.vhd")
	img.WriteFile(t, name)
	got := ContentRange(t, []*Image{img}, 1000000*2<<20, 3)
	require.Equal(t, "far", string(got))
	st, err := os.Stat(name)
	require.NoError(t, err)
	require.Equal(t, int64(1536+4*1044480+512+2<<20+512), st.Size())
}
