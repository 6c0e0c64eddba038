package picture

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// drawn is the map as a drawing.
func drawn(t require.TestingT, m *Map) string {
	var b strings.Builder
	require.NoError(t, m.WriteSVG(&b))
	return b.String()
}

func TestEveryPartOfACellCanBeSeen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var parts []Part
		for layer := range rapid.IntRange(1, 70).Draw(t, "layers") {
			parts = append(parts, Part{layer, rapid.Int64Range(1, 1<<40).Draw(t, "bytes")})
		}
		d := rapid.SampledFrom(densities[:]).Draw(t, "density")
		var all int64
		last := -1
		for _, p := range d.widths(parts) {
			require.GreaterOrEqual(t, p.Bytes, d.stripe)
			require.Greater(t, p.Layer, last, "they stay in order")
			last = p.Layer
			all += p.Bytes
		}
		require.EqualValues(t, cellFill, all)
	})
}

func TestOfTooManyPartsZerosAndTheSmallestAreLeftOut(t *testing.T) {
	parts := []Part{{0, 1}, {1, 50}, {2, 2}, {3, 60}, {Unreadable, 70}, {Hole, 80}}
	require.Equal(t, []Part{{3, 6}, {Unreadable, 8}}, densities[2].widths(parts))
	require.Equal(t, []Part{{0, 7}, {1, 7}}, densities[3].widths([]Part{{0, 512}, {1, 1}, {Hole, 1 << 25}}), "what little data there is can be seen")
	require.Equal(t, []Part{{0, 7}, {Hole, 7}}, densities[3].widths([]Part{{0, 512}, {Hole, 1 << 25}}))
	require.Equal(t, Part{0, 1}, parts[0], "what is given stays as it is")
}

// What is drawn of each cell is counted, whatever runs there are.
func TestACellIsDrawnOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := mapDrawing{density: density{perRow: rapid.Int64Range(1, 9).Draw(t, "perRow")}}
		times := map[int64]int{}
		cell := rapid.Int64Range(0, 30).Draw(t, "cell")
		n := rapid.Int64Range(1, 60).Draw(t, "n")
		for _, r := range d.cover(cell, n) {
			for y := r.y; y < r.y+r.height; y += cellSide {
				for x := r.x; x < r.x+r.width; x += cellSide {
					require.Less(t, x/cellSide, d.perRow)
					times[y/cellSide*d.perRow+x/cellSide]++
				}
			}
		}
		require.Len(t, times, int(n))
		for i := range n {
			require.Equal(t, 1, times[cell+i])
		}
	})
}

func TestTipsTellWhereAndWhoAndHowMuch(t *testing.T) {
	const block = 2 << 20
	extents := []extent{{3 * block, Hole}, {1024, 0}, {block - 1024, 1}, {1024, 0}, {block - 1024, 1}, {512, 0}}
	m := mapOf(block, 2, 100, extents...)
	m.Layers[0].Name, m.Layers[1].Name = "leaf.vhd", strings.Repeat("long", 20)+".vhd"
	var tips []string
	cell := int64(0)
	for _, r := range m.Runs {
		tips = append(tips, m.tip(cell, r))
		cell += r.Cells
	}
	require.Equal(t, []string{
		"0 B to 6 MiB, blocks 0 to 2\nzeros, in no image: 6 MiB",
		"6 MiB to 10 MiB, blocks 3 to 4\n0 leaf.vhd: 1 KiB in each\n1 longlonglonglonglong…onglonglonglong.vhd: 2 MiB in each",
		"10 MiB to 10486272 B, block 5\n0 leaf.vhd: 512 B",
	}, tips)

	var many []extent
	for layer := range 10 {
		many = append(many, extent{1, layer})
	}
	m = mapOf(16, 10, 100, many...)
	require.Contains(t, m.tip(0, m.Runs[0]), "\n7 : 1 B\nand 2 more")
}

func TestTheSameCellsOverManyRowsAreOneElement(t *testing.T) {
	const block = 2 << 20
	m := mapOf(block, 1, MaxCells, extent{MaxCells * block, Hole})
	require.Less(t, len(drawn(t, m)), 20000)
}

func TestALegendOfManyLayersHasColumns(t *testing.T) {
	for layers, want := range map[int]int{1: 1, 11: 1, 12: 2, 24: 3, 64: 3, 256: 3} {
		rows := mapOf(1, layers, 1).legend()
		columns := newLegendColumns(rows)
		require.Equal(t, want, (len(rows)+columns.lines-1)/columns.lines, layers)
		require.Equal(t, want, strings.Count(drawn(t, mapOf(1, layers, 1)), ">holds<"))
	}
}

// A letter of a legend is 13 pixels high, and as wide as that in no usual font.
func TestTheColumnsOfALegendDoNotTouch(t *testing.T) {
	const letter, between = 9, 8 // pixels
	require.GreaterOrEqual(t, legendHold-40, len("1023 GiB")*letter+between)
	require.GreaterOrEqual(t, legendPart-legendHold, len(">99.9%")*letter+between)
	require.GreaterOrEqual(t, legendName-legendPart, between)
	svg := drawn(t, mapOf(2<<20, 1, 100, extent{586 << 30, 0}, extent{1, Hole}))
	require.Contains(t, svg, fmt.Sprintf(`<text x="%d" y="52" class="right">586 GiB</text>`, legendHold))
	require.Contains(t, svg, fmt.Sprintf(`<text x="%d" y="52" class="right">&gt;99.9%%</text>`, legendPart))
}

func TestTheSameMapIsTheSameDrawing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var extents []extent
		for range rapid.IntRange(1, 50).Draw(t, "extents") {
			extents = append(extents, extent{rapid.Int64Range(1, 5000).Draw(t, "n"), rapid.IntRange(Unreadable, 9).Draw(t, "layer")})
		}
		once, again := mapOf(512, 10, MaxCells, extents...), mapOf(512, 10, MaxCells, extents...)
		require.Equal(t, drawn(t, once), drawn(t, again))
	})
}
