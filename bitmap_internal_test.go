package vhd

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// naiveBits is a sector bitmap with one element for each bit.
func naiveBits(bitmap []byte) []bool {
	var bits []bool
	for _, b := range bitmap {
		for mask := 128; mask > 0; mask /= 2 {
			bits = append(bits, int(b)&mask != 0)
		}
	}
	return bits
}

// drawBitmap has runs as well as noise.
func drawBitmap(t *rapid.T, minBytes, maxBytes int) []byte {
	b := rapid.OneOf(rapid.Byte(), rapid.SampledFrom([]byte{0, 0xFF}))
	return rapid.SliceOfN(b, minBytes, maxBytes).Draw(t, "bitmap")
}

func TestTheFirstSectorIsTheMostSignificantBit(t *testing.T) {
	for bit, want := range map[int64][]byte{
		0: {0x80, 0, 0}, 1: {0x40, 0, 0}, 7: {0x01, 0, 0}, 8: {0, 0x80, 0}, 15: {0, 0x01, 0}, 23: {0, 0, 0x01},
	} {
		bitmap := make([]byte, 3)
		setBits(bitmap, bit, 1)
		require.Equal(t, want, bitmap)
		require.True(t, allSet(bitmap, bit, 1))
	}
	bitmap := make([]byte, 3)
	setBits(bitmap, 6, 11)
	require.Equal(t, []byte{0x03, 0xFF, 0x80}, bitmap)

	var s sectorSet
	s.addBitmap([]byte{0xA0, 0x01}, 64, 16)
	require.Equal(t, uint64(0xA001)<<48, s[1])
}

// 2 MiB blocks have 512 bytes of bitmap, and all smaller ones are padded to that.
func TestABitmapIsPaddedToWholeSectors(t *testing.T) {
	for blockSize, want := range map[int64]struct{ used, area int64 }{
		512: {1, 512}, 1024: {1, 512}, 4096: {1, 512}, 8192: {2, 512}, 512 << 10: {128, 512}, 2 << 20: {512, 512},
		4 << 20: {1024, 1024}, 16 << 20: {4096, 4096}, 256 << 20: {65536, 65536},
	} {
		require.Equal(t, want.used, bitmapBytes(blockSize/512), "blocks of %d", blockSize)
		require.Equal(t, want.area, bitmapArea(blockSize/512), "blocks of %d", blockSize)
	}
}

func TestBitmapsAreReadAndSetBitByBit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bitmap := drawBitmap(t, 1, 24)
		nbits := int64(len(bitmap)) * 8
		bit := rapid.Int64Range(0, nbits-1).Draw(t, "bit")
		n := rapid.Int64Range(0, nbits-bit).Draw(t, "n")
		naive := naiveBits(bitmap)

		all := true
		for i := bit; i < bit+n; i++ {
			all = all && naive[i]
		}
		require.Equal(t, all, allSet(bitmap, bit, n))

		setBits(bitmap, bit, n)
		for i := bit; i < bit+n; i++ {
			naive[i] = true
		}
		require.Equal(t, naive, naiveBits(bitmap))
	})
}

// A set of sectors against a slice of booleans.
func TestASetOfSectorsIsWhatWasAddedToIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s sectorSet
		naive := make([]bool, windowSectors)
		t.Repeat(map[string]func(*rapid.T){
			"add":    func(t *rapid.T) { setRange(t, naive, true, s.add) },
			"remove": func(t *rapid.T) { setRange(t, naive, false, s.remove) },
			"bitmap": func(t *rapid.T) {
				shift := rapid.IntRange(0, 12).Draw(t, "sectors per block, as a power of two")
				first := rapid.IntRange(0, windowSectors>>shift-1).Draw(t, "block") << shift
				n := rapid.IntRange(1, 1<<shift).Draw(t, "n")
				bitmap := drawBitmap(t, (n+7)/8, (n+7)/8)
				s.addBitmap(bitmap, first, n)
				for i, set := range naiveBits(bitmap)[:n] {
					naive[first+i] = naive[first+i] || set
				}
			},
			"": func(t *rapid.T) { requireRuns(t, naive, &s) },
		})
	})
}

func setRange(t *rapid.T, naive []bool, to bool, change func(first, n int)) {
	first := rapid.IntRange(0, windowSectors-1).Draw(t, "first")
	n := rapid.IntRange(0, windowSectors-first).Draw(t, "n")
	change(first, n)
	for i := first; i < first+n; i++ {
		naive[i] = to
	}
}

// requireRuns compares the runs that next finds.
func requireRuns(t *rapid.T, naive []bool, s *sectorSet) {
	from := rapid.IntRange(0, windowSectors).Draw(t, "from")
	end := rapid.IntRange(from, windowSectors).Draw(t, "end")
	for at := from; ; {
		first := at
		for first < end && !naive[first] {
			first++
		}
		n := 0
		for first+n < end && naive[first+n] {
			n++
		}
		gotFirst, gotN := s.next(at, end)
		require.Equal(t, []int{first, n}, []int{gotFirst, gotN})
		if n == 0 {
			return
		}
		at = first + n
	}
}
