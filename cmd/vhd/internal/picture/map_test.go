package picture

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// extent is what a Map is told.
type extent struct {
	n     int64
	layer int
}

// mapOf is the map of a disk that consists of extents.
func mapOf(block int64, layers int, maxCells int64, extents ...extent) *Map {
	var size int64
	for _, e := range extents {
		size += e.n
	}
	m := NewMap("x.vhd", size, block, make([]Layer, layers), maxCells)
	for _, e := range extents {
		m.Add(e.n, e.layer)
	}
	return m
}

func TestCellsAreBlocksWithWhatServesThem(t *testing.T) {
	m := mapOf(10, 2, 100, extent{30, Hole}, extent{12, 1}, extent{3, 0}, extent{6, 1}, extent{1, Unreadable})
	require.EqualValues(t, 10, m.Unit)
	require.EqualValues(t, 6, m.Cells())
	require.Equal(t, []Run{
		{3, []Part{{Hole, 10}}}, {1, []Part{{1, 10}}}, {1, []Part{{0, 3}, {1, 7}}}, {1, []Part{{1, 1}, {Unreadable, 1}}},
	}, m.Runs)
	require.Equal(t, []Layer{{Bytes: 3}, {Bytes: 18}}, m.Layers)
	require.EqualValues(t, 30, m.Holes)
	require.EqualValues(t, 1, m.Unreadable)
}

func TestACellStandsForMoreBlocksWhereThereAreTooMany(t *testing.T) {
	for _, c := range []struct{ blocks, maxCells, perCell int64 }{
		{65536, 65536, 1}, {65537, 65536, 2}, {1044480, 65536, 16}, {5, 1, 8}, {0, 1, 1}, {1, 0, 1},
	} {
		m := NewMap("x.vhd", c.blocks*512, 512, nil, c.maxCells)
		require.Equal(t, c.perCell*512, m.Unit)
	}
	require.EqualValues(t, 2<<20, NewMap("fixed.vhd", 40<<30, 0, nil, 65536).Unit)
}

// The model is the disk, byte by byte.
func TestCellsAddUpToTheExtents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		block := rapid.Int64Range(1, 9).Draw(t, "block")
		layers := rapid.IntRange(1, 4).Draw(t, "layers")
		var disk []int
		var extents []extent
		for range rapid.IntRange(0, 30).Draw(t, "extents") {
			e := extent{rapid.Int64Range(1, 40).Draw(t, "n"), rapid.IntRange(Unreadable, layers-1).Draw(t, "layer")}
			extents = append(extents, e)
			for range e.n {
				disk = append(disk, e.layer)
			}
		}
		m := mapOf(block, layers, rapid.Int64Range(1, 100).Draw(t, "maxCells"), extents...)

		var cells []map[int]int64
		for i, layer := range disk {
			if int64(i)%m.Unit == 0 {
				cells = append(cells, map[int]int64{})
			}
			cells[len(cells)-1][layer]++
		}
		var got []map[int]int64
		for i, r := range m.Runs {
			require.True(t, i == 0 || !slices.Equal(m.Runs[i-1].Parts, r.Parts), "runs are as long as they can be")
			for range r.Cells {
				got = append(got, partsOf(r))
			}
		}
		require.Equal(t, cells, got)
		require.EqualValues(t, len(cells), m.Cells())

		sums := map[int]int64{}
		for _, layer := range disk {
			sums[layer]++
		}
		require.Equal(t, []int64{sums[Hole], sums[Unreadable]}, []int64{m.Holes, m.Unreadable})
		for depth, l := range m.Layers {
			require.Equal(t, sums[depth], l.Bytes)
		}
	})
}

func partsOf(r Run) map[int]int64 {
	parts := map[int]int64{}
	for _, p := range r.Parts {
		parts[p.Layer] = p.Bytes
	}
	return parts
}
