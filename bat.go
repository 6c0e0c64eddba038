package vhd

import "encoding/binary"

// The block allocation table (BAT) has one entry of 4 bytes for each block of
// the disk, and is padded to whole sectors. See "Block Allocation Table and
// Data Blocks" in the specification.
const (
	batEntrySize        = 4
	batEntriesPerSector = SectorSize / batEntrySize
)

// batEntry is one entry of the BAT as it stands on disk: the absolute sector
// of the block's bitmap, in front of its data, or noBlock.
type batEntry uint32

// noBlock stands in the BAT for a block that is not allocated.
const noBlock batEntry = 0xFFFFFFFF

// off is where the block's bitmap is in the file, in bytes.
func (e batEntry) off() int64 { return int64(e) * SectorSize }

// maxBlockOff is the highest offset in a file that an entry can name.
const maxBlockOff = (int64(noBlock) - 1) * SectorSize

// batEntryAt is the entry of a block whose bitmap is at off, a multiple of
// SectorSize and at most maxBlockOff.
func batEntryAt(off int64) batEntry {
	return batEntry(off / SectorSize) //nolint:gosec // bounded by maxBlockOff
}

// batEntryOf is entry i of a piece of the table.
func batEntryOf(table []byte, i int64) batEntry {
	return batEntry(binary.BigEndian.Uint32(table[i*batEntrySize:]))
}

// putBATEntry sets entry i of a piece of the table.
func putBATEntry(table []byte, i int64, e batEntry) {
	binary.BigEndian.PutUint32(table[i*batEntrySize:], uint32(e))
}

// placedBlock is a block and where it is: the sector of its bitmap in the upper
// half, its index in the lower one, so that they sort by place.
type placedBlock uint64

func placeBlock(block int64, e batEntry) placedBlock {
	return placedBlock(e)<<32 | placedBlock(block) //nolint:gosec // a table has less than 2^32 entries
}

// off is where the block's bitmap is in the file.
func (b placedBlock) off() int64 { return batEntry(b >> 32).off() }

func (b placedBlock) index() int64 { return int64(b & (1<<32 - 1)) }
