package vhd_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// Worked out by hand from the specification's appendix "CHS Calculation", at the edges of its branches, and taken
// from disks that qemu, VirtualBox and Windows made.
func TestTheGeometryIsThatOfTheSpecification(t *testing.T) {
	const sector = 512
	for name, test := range map[string]struct {
		size int64
		want vhd.Geometry
	}{
		"nothing":                        {0, vhd.Geometry{Cylinders: 0, Heads: 4, SectorsPerTrack: 17}},
		"less than a sector":             {511, vhd.Geometry{Cylinders: 0, Heads: 4, SectorsPerTrack: 17}},
		"one cylinder less a sector":     {67 * sector, vhd.Geometry{Cylinders: 0, Heads: 4, SectorsPerTrack: 17}},
		"one cylinder":                   {68 * sector, vhd.Geometry{Cylinders: 1, Heads: 4, SectorsPerTrack: 17}},
		"the last with four heads":       {(4*1024*17 - 1) * sector, vhd.Geometry{Cylinders: 1023, Heads: 4, SectorsPerTrack: 17}},
		"4096 tracks are 31 sectors":     {4 * 1024 * 17 * sector, vhd.Geometry{Cylinders: 140, Heads: 16, SectorsPerTrack: 31}},
		"4097 tracks are five heads":     {4097 * 17 * sector, vhd.Geometry{Cylinders: 819, Heads: 5, SectorsPerTrack: 17}},
		"the last with 17 sectors":       {(16*1024*17 - 1) * sector, vhd.Geometry{Cylinders: 1023, Heads: 16, SectorsPerTrack: 17}},
		"the first with 31 sectors":      {16 * 1024 * 17 * sector, vhd.Geometry{Cylinders: 561, Heads: 16, SectorsPerTrack: 31}},
		"the last with 31 sectors":       {(16*1024*31 - 1) * sector, vhd.Geometry{Cylinders: 1023, Heads: 16, SectorsPerTrack: 31}},
		"the first with 63 sectors":      {16 * 1024 * 31 * sector, vhd.Geometry{Cylinders: 503, Heads: 16, SectorsPerTrack: 63}},
		"the last with 63 sectors":       {(65535*16*63 - 1) * sector, vhd.Geometry{Cylinders: 65534, Heads: 16, SectorsPerTrack: 63}},
		"the first with 255 sectors":     {65535 * 16 * 63 * sector, vhd.Geometry{Cylinders: 16191, Heads: 16, SectorsPerTrack: 255}},
		"the last below the cap":         {(65535*16*255 - 1) * sector, vhd.Geometry{Cylinders: 65534, Heads: 16, SectorsPerTrack: 255}},
		"the cap":                        {65535 * 16 * 255 * sector, vhd.Geometry{Cylinders: 65535, Heads: 16, SectorsPerTrack: 255}},
		"above the cap":                  {2040 << 30, vhd.Geometry{Cylinders: 65535, Heads: 16, SectorsPerTrack: 255}},
		"the largest size":               {1<<63 - 1, vhd.Geometry{Cylinders: 65535, Heads: 16, SectorsPerTrack: 255}},
		"a negative size":                {-1, vhd.Geometry{Cylinders: 0, Heads: 4, SectorsPerTrack: 17}},
		"Windows 10, 4 MiB":              {4194304, vhd.Geometry{Cylinders: 120, Heads: 4, SectorsPerTrack: 17}},
		"Windows 8.1, 40 MiB":            {41943040, vhd.Geometry{Cylinders: 963, Heads: 5, SectorsPerTrack: 17}},
		"Windows 8.1, 1 GiB":             {1073741824, vhd.Geometry{Cylinders: 2080, Heads: 16, SectorsPerTrack: 63}},
		"Windows 7, 3 GiB":               {3 << 30, vhd.Geometry{Cylinders: 6241, Heads: 16, SectorsPerTrack: 63}},
		"Windows 7, 32 GiB":              {32 << 30, vhd.Geometry{Cylinders: 16448, Heads: 16, SectorsPerTrack: 255}},
		"VirtualBox, 20 GiB":             {20 << 30, vhd.Geometry{Cylinders: 41610, Heads: 16, SectorsPerTrack: 63}},
		"qemu, a disk of whole cylinder": {4212736, vhd.Geometry{Cylinders: 121, Heads: 4, SectorsPerTrack: 17}},
		"qemu, 1079296":                  {1079296, vhd.Geometry{Cylinders: 31, Heads: 4, SectorsPerTrack: 17}},
		"qemu, 41953280":                 {41953280, vhd.Geometry{Cylinders: 964, Heads: 5, SectorsPerTrack: 17}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, vhd.GeometryOf(test.size)) })
	}
}

func TestAGeometrysSizeIsItsProduct(t *testing.T) {
	require.Equal(t, int64(41909760), vhd.Geometry{Cylinders: 963, Heads: 5, SectorsPerTrack: 17}.Size())
	require.Equal(t, int64(255)*255*65535*512, vhd.Geometry{Cylinders: 65535, Heads: 255, SectorsPerTrack: 255}.Size())
	require.Zero(t, vhd.Geometry{}.Size())
}

func TestNoGeometryAddressesMoreThanTheDisk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(0, 1<<42).Draw(t, "size")
		got, want := vhd.GeometryOf(size), vhdtest.GeometryOf(size)
		require.Equal(t, vhd.Geometry{Cylinders: want.Cylinders, Heads: want.Heads, SectorsPerTrack: want.SectorsPerTrack}, got)
		require.LessOrEqual(t, got.Size(), size)
	})
}

func TestRealImagesHaveTheGeometryOfTheirSize(t *testing.T) {
	set := vhdtest.Corpus(t)
	for _, img := range set.Images {
		if img.File == "freebsd-mkimg/img-63x255-512-mbr.vhd" {
			continue // its geometry was given by hand
		}
		t.Run(img.File, func(t *testing.T) {
			g := vhd.GeometryOf(img.VirtualSize)
			chs := [3]int{int(g.Cylinders), int(g.Heads), int(g.SectorsPerTrack)}
			require.Equal(t, img.CHS, chs)
		})
	}
}
