package picture

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// luminance is the relative luminance of WCAG 2.1.
func luminance(c Colour) float64 {
	linear := func(v uint8) float64 {
		f := float64(v) / 255
		if f <= 0.04045 {
			return f / 12.92
		}
		return math.Pow((f+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c.R) + 0.7152*linear(c.G) + 0.0722*linear(c.B)
}

// contrast is the contrast ratio of WCAG 2.1.
func contrast(a, b Colour) float64 {
	la, lb := luminance(a), luminance(b)
	return (max(la, lb) + 0.05) / (min(la, lb) + 0.05)
}

func TestDeeperLayersAreDarkerForAllEyes(t *testing.T) {
	for layers := 2; layers <= 256; layers++ {
		for depth := 1; depth < layers; depth++ {
			this, above := luminance(LayerColour(depth, layers)), luminance(LayerColour(depth-1, layers))
			if layers > 100 { // whole numbers of red, green and blue are too few for so many
				above += 0.001
			}
			require.Less(t, this, above, "%d of %d", depth, layers)
		}
	}
}

func TestFewLayersAreFarApart(t *testing.T) {
	for layers := 2; layers <= 4; layers++ {
		for depth := 1; depth < layers; depth++ {
			require.Greater(t, contrast(LayerColour(depth, layers), LayerColour(depth-1, layers)), 1.5, "%d of %d", depth, layers)
		}
	}
}

func TestEveryLayerStandsOutFromThePaperAndFromDarkPages(t *testing.T) {
	darkPage := Colour{0x16, 0x19, 0x1d} // of svgStyle
	require.Contains(t, svgStyle, darkPage.Hex())
	for layers := 1; layers <= 256; layers++ {
		for depth := range layers {
			for _, ground := range []Colour{Paper, darkPage} {
				require.GreaterOrEqual(t, contrast(LayerColour(depth, layers), ground), 3.0, "%d of %d", depth, layers)
			}
		}
	}
	require.GreaterOrEqual(t, contrast(LayerColour(1, 2), Colour{255, 255, 255}), 3.0, "the lowest, on white")
	require.GreaterOrEqual(t, contrast(Paper, Colour{255, 255, 255}), 3.0, "which is around all others there")
}

func TestInkCanBeReadOnEveryLayer(t *testing.T) {
	for layers := 1; layers <= 256; layers++ {
		for depth := range layers {
			c := LayerColour(depth, layers)
			require.Greater(t, contrast(c, c.Ink()), 4.5, "%d of %d: %s", depth, layers, c.Hex())
		}
	}
}

func TestALeafAloneAndALeafOnABase(t *testing.T) {
	require.Equal(t, "#f7e626", LayerColour(0, 1).Hex())
	require.Equal(t, "#f7e626", LayerColour(0, 2).Hex())
	require.Equal(t, "#2f6c8d", LayerColour(1, 2).Hex())
}

func TestOf256ColoursTheNearestIsTaken(t *testing.T) {
	require.Equal(t, 16, Colour{}.indexed())
	require.Equal(t, 231, Colour{255, 255, 255}.indexed())
	require.Equal(t, 16+36*1+6*2+3, Colour{95, 135, 175}.indexed())
	require.Equal(t, 16+36*1+6*3+5, Colour{114, 160, 250}.indexed())
}
