package vhd_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// modelLevel is one image of a chain, with what it reads as.
type modelLevel struct {
	name    string
	content []byte
	touched map[int64]bool // sectors that the image was asked to hold
}

// drawLevels makes a chain of one to four images, leaf first, beside plain bytes.
func drawLevels(t *rapid.T, fsys *vhdtest.MemFS) []modelLevel {
	t.Helper()
	var levels []modelLevel
	for i := range rapid.IntRange(1, 4).Draw(t, "images") {
		opts := vhd.CreateOptions{Options: vhd.Options{FS: fsys}, Type: vhd.Dynamic, BlockSize: drawBlockSize(t)}
		opts.Size = drawDiskSize(t, opts.BlockSize)
		level := modelLevel{name: fmt.Sprintf("%d.vhd", i), content: make([]byte, opts.Size), touched: map[int64]bool{}}
		if i == 0 && rapid.IntRange(0, 4).Draw(t, "fixed") == 0 {
			opts.Type = vhd.Fixed
		}
		if i > 0 {
			opts.Type, opts.Parent = vhd.Differencing, levels[0].name
			copy(level.content, levels[0].content)
		}
		disk, err := vhd.Create(level.name, opts)
		require.NoError(t, err)
		level.fill(t, disk, opts.BlockSize)
		require.NoError(t, disk.Close())
		levels = append([]modelLevel{level}, levels...)
	}
	return levels
}

func (l *modelLevel) fill(t *rapid.T, disk *vhd.Disk, blockSize int64) {
	t.Helper()
	size := disk.Size()
	for i := range rapid.IntRange(0, 8).Draw(t, "writes") {
		unit := rapid.SampledFrom([]int64{1, 512, 4096, blockSize, 2 << 20}).Draw(t, "unit")
		off := rapid.Int64Range(0, (size-1)/unit).Draw(t, "off") * unit
		n := min(rapid.SampledFrom([]int64{1, 512, 700, 4096, 100 << 10, blockSize, 3 << 20}).Draw(t, "n"), size-off)
		p := make([]byte, n)
		if rapid.IntRange(0, 2).Draw(t, "zeros") == 0 {
			require.NoError(t, disk.WriteZeroes(off, n))
		} else {
			p = pattern(uint64(i)<<32|uint64(off)|1, n)
			_, err := disk.WriteAt(p, off)
			require.NoError(t, err)
		}
		copy(l.content[off:], p)
		for sector := off / 512; sector <= (off+n-1)/512; sector++ {
			l.touched[sector] = true
		}
	}
}

// mayChange says whether the images above base were asked to hold a sector, or one
// of them ends in front of it.
func mayChange(levels []modelLevel, base int, sector int64) bool {
	for _, l := range levels[:base] {
		if l.touched[sector] || sector*512 >= int64(len(l.content)) {
			return true
		}
	}
	return false
}

func TestAnyExportReadsAsThePlainBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fsys := vhdtest.NewMemFS()
		levels := drawLevels(t, fsys)
		disk, err := vhd.Open(levels[0].name, &vhd.Options{FS: fsys, CacheSize: rapid.SampledFrom([]int64{0, 1}).Draw(t, "cache")})
		require.NoError(t, err)
		defer disk.Close()
		require.True(t, bytes.Equal(levels[0].content, exportVHD(t, disk, vhd.ExportOptions{})))
		for _, diskType := range []vhd.DiskType{vhd.Fixed, vhd.Dynamic} {
			requireReadsAs(t, fsys, exportVHD(t, disk, vhd.ExportOptions{Type: diskType}), levels[0].content)
		}
		requireReadsAs(t, fsys, exportVHD(t, disk, vhd.ExportOptions{Type: vhd.Dynamic, BlockSize: drawExportBlock(t, disk)}), levels[0].content)
		for base := 1; base < len(levels); base++ {
			opts := vhd.ExportOptions{Type: vhd.Differencing, Base: base, BlockSize: drawExportBlock(t, disk)}
			requireReadsAs(t, fsys, exportVHD(t, disk, opts), levels[0].content)
			requireNoMore(t, fsys, func(sector int64) bool { return mayChange(levels, base, sector) })
		}
	})
}

func drawExportBlock(t *rapid.T, disk *vhd.Disk) int64 {
	if size := drawBlockSize(t); disk.Size() <= size*1000 {
		return size
	}
	return 0
}

// requireReads opens what was exported, for writing too, which looks at all of its
// tables.
func requireReadsAs(t *rapid.T, fsys *vhdtest.MemFS, image, want []byte) {
	t.Helper()
	require.NoError(t, fsys.WriteFile("out.vhd", image))
	for _, writable := range []bool{false, true} {
		disk, err := vhd.Open("out.vhd", &vhd.Options{FS: fsys, Writable: writable})
		require.NoError(t, err)
		got := make([]byte, disk.Size())
		_, err = disk.ReadAt(got, 0)
		require.NoError(t, err)
		requireSameBytes(t, want, got, 0)
		require.NoError(t, disk.Close())
	}
}

func requireNoMore(t *rapid.T, fsys *vhdtest.MemFS, may func(sector int64) bool) {
	t.Helper()
	disk, err := vhd.Open("out.vhd", &vhd.Options{FS: fsys})
	require.NoError(t, err)
	defer disk.Close()
	for e, err := range disk.Extents(0, disk.Size()) {
		require.NoError(t, err)
		for sector := e.Offset / 512; e.Depth == 0 && sector < (e.Offset+e.Length)/512; sector++ {
			require.True(t, may(sector), "sector %d is in the delta", sector)
		}
	}
}
