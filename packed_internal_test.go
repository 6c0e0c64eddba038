package vhd

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// An extent comes out of its word as it went in, also the furthest that a BAT can
// name, of the last image that a chain can have.
func TestAPackedExtentIsWhatItWas(t *testing.T) {
	const furthest = maxBlockOff + MaxBlockSize // the end of its data, or more
	for _, e := range []mapExtent{
		{off: 0, start: 0, end: 1, layer: 0},
		{off: 512, start: 1, end: windowSectors, layer: 1},
		{off: furthest, start: windowSectors - 1, end: windowSectors, layer: maxLayers - 1},
		{off: furthest, start: 4000, end: 4001, layer: 0},
		{start: 0, end: windowSectors, layer: hole},
		{start: 4095, end: windowSectors, layer: hole},
		{off: 0, start: 7, end: 8, layer: failing},
		{off: windowSectors - 1, start: 7, end: 8, layer: failing},
	} {
		behind := mapExtent{start: e.end, end: e.end, layer: hole}
		require.Equal(t, e, e.pack().unpack(behind.pack()))
	}
}

// Whether a page of a BAT is kept as a list or as it is on disk, it says the same:
// what stands on disk.
func TestAPageOfABATSaysWhatItHolds(t *testing.T) {
	for _, n := range []int{1, 100, batEntriesPerPage} {
		for _, nblocks := range []int{0, 1, n / 2, fewBlocks - 1, fewBlocks, fewBlocks + 1, n} {
			if nblocks > n {
				continue
			}
			raw := bytes.Repeat([]byte{0xFF}, n*batEntrySize)
			for i := range nblocks {
				at := i * n / nblocks
				binary.BigEndian.PutUint32(raw[at*batEntrySize:], uint32(1000+i))
			}
			page := batPage{index: 3}
			page.keep(bytes.Clone(raw))
			require.Equal(t, nblocks > fewBlocks, page.entries != nil)
			first := int64(batEntriesPerPage)
			for at := int64(n) - 1; at >= 0; at-- {
				want := binary.BigEndian.Uint32(raw[at*batEntrySize:])
				if want != 0xFFFFFFFF {
					first = at
				}
				require.EqualValues(t, want, page.entry(3*batEntriesPerPage+at), "%d of %d blocks, entry %d", nblocks, n, at)
				require.Equal(t, first, page.first(at), "%d of %d blocks, from %d", nblocks, n, at)
			}
		}
	}
}

// No sum of bytes overflows, and what is not a multiple of eight is added too.
func TestTheSumOfBytesIsTheirs(t *testing.T) {
	for n := range dynHeaderSize + 1 {
		require.EqualValues(t, n*255, sumBytes(bytes.Repeat([]byte{0xFF}, n)))
	}
	require.EqualValues(t, 1+2+3+4+5+6+7+8+9+10, sumBytes([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}))
}
