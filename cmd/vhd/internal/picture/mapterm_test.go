package picture

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryLayerHasASignOfItsOwn(t *testing.T) {
	for _, layers := range []int{1, 62, 63, 100, 101, 256, 1000} {
		signs, seen := signsOf(layers), map[string]bool{}
		for layer := Unreadable; layer < layers; layer++ {
			sign := signs.of(layer)
			require.Len(t, sign, signs.width)
			require.False(t, seen[sign], "%q in a chain of %d", sign, layers)
			seen[sign] = true
		}
	}
	for layers, want := range map[int]string{10: "9?.", 36: "z?.", 62: "Z?.", 63: "62 ? .", 256: "255  ?  ."} {
		signs := signsOf(layers)
		require.Equal(t, want, signs.of(layers-1)+signs.of(Unreadable)+signs.of(Hole))
	}
}

func TestAMapOfManyLayersHasTheirDepthsInItsCells(t *testing.T) {
	var b strings.Builder
	m := mapOf(1<<20, 101, 100, extent{1 << 20, Hole}, extent{1 << 20, 7}, extent{3 << 18, 100}, extent{1 << 18, 0}, extent{1 << 20, Unreadable}, extent{1, 5}, extent{1<<20 - 1, Hole})
	require.NoError(t, m.WriteTerminal(&b, Terminal{Width: 80}))
	require.Contains(t, b.String(), "\nA cell is the depth of the image that holds the most of it.\n\n      0 B     .   7 100   ?   5\n\n")
	require.Contains(t, b.String(), "\n  100  768 KiB  ")
	require.Contains(t, b.String(), "\n    7    1 MiB  ")
	b.Reset()
	require.NoError(t, m.WriteTerminal(&b, Terminal{Width: 80, Colours: Colours256}))
	require.Contains(t, b.String(), "m   7\x1b[0;38;5;", "a cell is whole in its colour")
}

func TestACellShowsWhatHoldsMostAndNextMost(t *testing.T) {
	for _, c := range []struct {
		parts []Part
		want  [2]int
	}{
		{[]Part{{3, 5}}, [2]int{3, 3}},
		{[]Part{{0, 1}, {1, 5}}, [2]int{1, 0}},
		{[]Part{{0, 1}, {1, 5}, {2, 3}}, [2]int{1, 2}},
		{[]Part{{0, 5}, {1, 1}, {Hole, 3}}, [2]int{0, Hole}},
		{[]Part{{0, 2}, {1, 2}, {2, 2}}, [2]int{0, 1}},
	} {
		first, second := mostOf(c.parts)
		require.Equal(t, c.want, [2]int{first, second}, "%v", c.parts)
	}
}

func TestRowsFitTheTerminal(t *testing.T) {
	for width := 45; width < 300; width++ {
		terminal, layers := Terminal{Width: width}, 1+width
		var b strings.Builder
		require.NoError(t, mapOf(1<<20, layers, terminal.Cells(layers), extent{1 << 40, Hole}).WriteTerminal(&b, terminal))
		rows := strings.Split(strings.Split(b.String(), "\n\n")[1], "\n")
		require.LessOrEqual(t, len(rows), termRows)
		for _, row := range rows {
			require.LessOrEqual(t, len(row), width)
		}
	}
}
