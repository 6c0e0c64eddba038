package vhdtest

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
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
