package vhd_test

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// liveBytes is the memory that is in use.
func liveBytes() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// An error says where it comes from, and takes more memory than what is sound.
// Here every block is one.
func TestTheCacheStaysSmallThoughAllThatItHoldsIsErrors(t *testing.T) {
	const size, cacheSize = 64 << 20, 1 << 20
	img := vhdtest.NewDynamic(size)
	img.BlockSize = 512
	raw := img.Build(t)
	table := len(raw) - vhdtest.FooterSize - 4*size/512
	clear(raw[table : table+4*size/512]) // all blocks are over the footer's copy
	disk := openAllWith(t, &vhd.Options{CacheSize: cacheSize}, raw)
	before := liveBytes()
	for off := int64(0); off < size; off += 64 << 10 {
		_, err := disk.ReadAt(make([]byte, 1), off)
		require.ErrorIs(t, err, vhd.ErrCorrupt)
	}
	require.Less(t, liveBytes()-before, int64(4*cacheSize))
	runtime.KeepAlive(disk)
}
