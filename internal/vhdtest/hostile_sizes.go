package vhdtest

import "slices"

// hostileSizes are numbers in footers and headers that contradict the specification, the file or each other.
func hostileSizes() []HostileRecipe {
	blockSize := func(n uint64) func(t TB) []byte { return inHeader(32, 4, n) }
	maxEntries := func(n uint64) func(t TB) []byte { return inHeader(28, 4, n) }
	tableOff := func(n uint64) func(t TB) []byte { return inHeader(16, 8, n) }
	dataOff := func(n uint64) func(t TB) []byte { return inFooters(16, 8, n) }
	currentSize := func(n uint64) func(t TB) []byte { return inFooters(48, 8, n) }
	originalSize := func(n uint64) func(t TB) []byte { return inFooters(40, 8, n) }
	fixedSize := func(n uint64) func(t TB) []byte { return fixedWith(48, 8, n) }
	return slices.Concat(
		eachWith(RowSizes, NotAVHD, blockSize, []numberCase{
			{name: "blocks of no bytes", n: 0},
			{name: "blocks of 1 byte", n: 1},
			{name: "blocks of 513 bytes", n: 513},
			{name: "blocks of 2^31-1 bytes", n: 1<<31 - 1},
			{name: "blocks of 2^32-1 bytes", n: 1<<32 - 1},
			{name: "blocks of three sectors", n: 3 * SectorSize, leftOpen: true},
			{name: "blocks of 2 GiB", n: 1 << 31, leftOpen: true},
		}),
		eachWith(RowSizes, NotAVHD, maxEntries, []numberCase{
			{name: "a table of no entries", n: 0},
			{name: "a table of one entry for three blocks", n: 1},
			{name: "a table of 2^31-1 entries", n: 1<<31 - 1},
			{name: "a table of 2^31 entries", n: 1 << 31},
			{name: "a table of 2^32-1 entries", n: 1<<32 - 1},
		}),
		eachWith(RowSizes, NotAVHD, tableOff, []numberCase{
			{name: "a table over the footer's copy", n: 0},
			{name: "a table over the header", n: 1024},
			{name: "a table past the end", n: 1 << 40},
			{name: "a table at 2^63", n: 1 << 63},
			{name: "a table at 2^64-1", n: 1<<64 - 1},
			{name: "a table at 2^64-512, whose end overflows", n: 1<<64 - 512},
			{name: "a table between sectors", n: 1540, leftOpen: true},
		}),
		eachWith(RowSizes, NotAVHD, dataOff, []numberCase{
			{name: "a header that is the footer's copy", n: 0},
			{name: "a header past the end", n: 1 << 40},
			{name: "a header at 2^63", n: 1 << 63},
			{name: "a dynamic disk that has no header, as a fixed one", n: 1<<64 - 1},
			{name: "a header at 2^64-512, whose end overflows", n: 1<<64 - 512},
			{name: "a header that is a block's data", n: 4096},
		}),
		eachWith(RowSizes, NotAVHD, currentSize, []numberCase{
			{name: "a disk larger than its table", n: 1 << 40},
			{name: "a disk of 2^63 bytes", n: 1 << 63},
			{name: "a disk of 2^64-512 bytes, which rounding up overflows", n: 1<<64 - 512},
			{name: "a disk of 2^63-512 bytes", n: 1<<63 - 512, why: Unsupported},
			{name: "a disk of more than 2^32 sectors", n: 1<<41 + 512, why: Unsupported},
			{name: "a disk of half sectors", n: hostileSize - 256, leftOpen: true},
		}),
		eachWith(RowSizes, NotAVHD, originalSize, []numberCase{
			{name: "a disk that had 2^64-1 bytes once", n: 1<<64 - 1, leftOpen: true},
		}),
		eachWith(RowSizes, NotAVHD, fixedSize, []numberCase{
			{name: "a fixed disk larger than its file", n: mib + 512},
			{name: "a fixed disk of 2^63-512 bytes", n: 1<<63 - 512},
			{name: "a fixed disk of 2^63 bytes", n: 1 << 63},
			{name: "a fixed disk of 2^64-1 bytes", n: 1<<64 - 1},
		}))
}
