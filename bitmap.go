package vhd

import (
	"encoding/binary"
	"iter"
	"math/bits"
)

// A sector bitmap stands in front of every block and has one bit for each of
// the block's sectors, the first in the most significant bit of the first
// byte. On disk it is padded to whole sectors. In a differencing disk a set bit
// means that the sector is in this file, a clear one that the parent is to be
// asked; in a dynamic disk a clear bit means zeros. See "Block Allocation Table
// and Data Blocks" in the specification.

// bitmapBytes is the number of bytes whose bits are used.
func bitmapBytes(sectorsPerBlock int64) int64 { return (sectorsPerBlock + 7) / 8 }

// bitmapArea is the number of bytes that the bitmap takes on disk.
func bitmapArea(sectorsPerBlock int64) int64 {
	return roundUp(bitmapBytes(sectorsPerBlock), SectorSize)
}

// roundUp is n rounded up to a multiple of unit.
func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }

// setBits sets n bits of bitmap from bit on.
func setBits(bitmap []byte, bit, n int64) {
	for ; n > 0 && bit%8 != 0; bit, n = bit+1, n-1 {
		bitmap[bit/8] |= 0x80 >> (bit % 8)
	}
	for ; n >= 8; bit, n = bit+8, n-8 {
		bitmap[bit/8] = 0xFF
	}
	for ; n > 0; bit, n = bit+1, n-1 {
		bitmap[bit/8] |= 0x80 >> (bit % 8)
	}
}

// clearBits clears n bits of bitmap from bit on.
func clearBits(bitmap []byte, bit, n int64) {
	for ; n > 0 && bit%8 != 0; bit, n = bit+1, n-1 {
		bitmap[bit/8] &^= 0x80 >> (bit % 8)
	}
	for ; n >= 8; bit, n = bit+8, n-8 {
		bitmap[bit/8] = 0
	}
	for ; n > 0; bit, n = bit+1, n-1 {
		bitmap[bit/8] &^= 0x80 >> (bit % 8)
	}
}

// allSet says whether n bits of bitmap are set, from bit on.
func allSet(bitmap []byte, bit, n int64) bool {
	for ; n > 0; bit, n = bit+1, n-1 {
		if bit%8 == 0 && n >= 8 {
			if bitmap[bit/8] != 0xFF {
				return false
			}
			bit, n = bit+7, n-7
			continue
		}
		if bitmap[bit/8]&(0x80>>(bit%8)) == 0 {
			return false
		}
	}
	return true
}

// anySet says whether any of the bits of bitmap from bit on and before end is
// set.
func anySet(bitmap []byte, bit, end int64) bool {
	for ; bit < end; bit++ {
		if bit%8 == 0 && end-bit >= 8 && bitmap[bit/8] == 0 {
			bit += 7
			continue
		}
		if bitmap[bit/8]&(0x80>>(bit%8)) != 0 {
			return true
		}
	}
	return false
}

// absentRuns yields the runs, of n sectors from first on, whose bits are clear
// among the first nsectors. A long one may come in pieces.
func absentRuns(bitmap []byte, nsectors int64) iter.Seq2[int64, int64] {
	return bitRuns(bitmap, nsectors, (*sectorSet).nextAbsent)
}

// presentRuns yields those whose bits are set.
func presentRuns(bitmap []byte, nsectors int64) iter.Seq2[int64, int64] {
	return bitRuns(bitmap, nsectors, (*sectorSet).next)
}

func bitRuns(bitmap []byte, nsectors int64, next func(s *sectorSet, first, end int) (start, n int)) iter.Seq2[int64, int64] {
	return func(yield func(first, n int64) bool) {
		for window := int64(0); window < nsectors; window += windowSectors {
			end := int(min(windowSectors, nsectors-window))
			var present sectorSet
			present.addBitmap(bitmap[window/8:], 0, end)
			for start, n := next(&present, 0, end); n > 0; start, n = next(&present, start+n, end) {
				if !yield(window+int64(start), int64(n)) {
					return
				}
			}
		}
	}
}

// windowSectors is the number of sectors of which a block map tells: the
// windows of a disk are all of this size, whatever its blocks are.
const windowSectors = 4096

// sectorSet is a set of a window's sectors, in the bit order of a sector
// bitmap so that whole words can be taken from one.
type sectorSet [windowSectors / 64]uint64

// add adds the n sectors from first on.
func (s *sectorSet) add(first, n int) {
	for n > 0 {
		run := min(64-first%64, n)
		s[first/64] |= onesAt(first%64, run)
		first, n = first+run, n-run
	}
}

// remove removes the n sectors from first on.
func (s *sectorSet) remove(first, n int) {
	for n > 0 {
		run := min(64-first%64, n)
		s[first/64] &^= onesAt(first%64, run)
		first, n = first+run, n-run
	}
}

// addBitmap adds, of the n sectors from first on, those whose bits are set in
// bitmap, which starts with first's. Either first is a multiple of 64 or all n
// fall in one word, as the sectors of a block do: n is a power of two, first a
// multiple of it, but for the last block of a disk, which may be shorter.
func (s *sectorSet) addBitmap(bitmap []byte, first, n int) {
	for n > 0 {
		run := min(64-first%64, n)
		word := wordAt(bitmap) & onesAt(0, run)
		s[first/64] |= word >> (first % 64)
		bitmap = bitmap[min(8, len(bitmap)):]
		first, n = first+run, n-run
	}
}

// next is the first run of sectors from first on that are in s, and before
// end. n is 0 when there is none.
func (s *sectorSet) next(first, end int) (start, n int) {
	start = s.scan(first, end, 0)
	return start, s.scan(start, end, ^uint64(0)) - start
}

// nextAbsent is the first run of sectors from first on that are not in s, and
// before end. n is 0 when there is none.
func (s *sectorSet) nextAbsent(first, end int) (start, n int) {
	start = s.scan(first, end, ^uint64(0))
	return start, s.scan(start, end, 0) - start
}

// count is how many of the sectors in front of end are in s.
func (s *sectorSet) count(end int) (n int) {
	for i := 0; i*64 < end; i++ {
		n += bits.OnesCount64(s[i] & onesAt(0, min(64, end-i*64)))
	}
	return n
}

// scan is the first sector from first on whose bit differs from skip's, or
// end.
func (s *sectorSet) scan(first, end int, skip uint64) int {
	for first < end {
		word := (s[first/64] ^ skip) << (first % 64)
		if word != 0 {
			return min(first+bits.LeadingZeros64(word), end)
		}
		first = (first/64 + 1) * 64
	}
	return end
}

// onesAt has n ones from bit on, counted from the most significant.
func onesAt(bit, n int) uint64 { return ^uint64(0) << (64 - n) >> bit }

// wordAt is the first 64 bits of bitmap, zeros behind its end.
func wordAt(bitmap []byte) uint64 {
	if len(bitmap) >= 8 {
		return binary.BigEndian.Uint64(bitmap)
	}
	var word [8]byte
	copy(word[:], bitmap)
	return binary.BigEndian.Uint64(word[:])
}
