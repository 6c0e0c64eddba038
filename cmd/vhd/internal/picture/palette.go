package picture

import "fmt"

// Colour is one that a screen shows, in sRGB.
type Colour struct{ R, G, B uint8 }

// viridis is matplotlib's colour map of that name (CC0, by Nathaniel Smith, Stéfan van der
// Walt and Eric Firing), at every eighth of it. It grows lighter all the way, evenly to the
// eye, so that those who see no colours tell them apart all the same.
var viridis = [...]Colour{
	{0x44, 0x01, 0x54}, {0x47, 0x2d, 0x7b}, {0x3b, 0x52, 0x8b}, {0x2c, 0x72, 0x8e}, {0x21, 0x91, 0x8c},
	{0x28, 0xae, 0x80}, {0x5e, 0xc9, 0x62}, {0xad, 0xdc, 0x30}, {0xfd, 0xe7, 0x25},
}

// What of viridis is used, in thousandths: all of it that stands out from Paper and from dark pages
// by as much as WCAG 2.1 asks of what is no text, 3 to 1.
const (
	deepest   = 350
	brightest = 990
	whole     = 1000
)

// Paper is what is below the layers of a picture, on light pages and on dark ones: on white,
// what is brightest, the leaf, would be seen least.
var Paper = Colour{0x0d, 0x11, 0x17}

// LayerColour is the colour of a layer of a chain of so many: the leaf, of depth 0, is the
// brightest, and what is deeper is darker. All is done in whole numbers, so that every
// machine comes to the same.
func LayerColour(depth, layers int) Colour {
	at := brightest
	if layers > 1 {
		at = deepest + (brightest-deepest)*(layers-1-depth)/(layers-1)
	}
	at *= len(viridis) - 1
	from, to, part := viridis[at/whole], viridis[at/whole+1], at%whole
	return Colour{between(from.R, to.R, part), between(from.G, to.G, part), between(from.B, to.B, part)}
}

func between(from, to uint8, part int) uint8 {
	return uint8((int(from)*(whole-part) + int(to)*part + whole/2) / whole) //nolint:gosec // not above the larger of them
}

// Hex is the colour as pages have it.
func (c Colour) Hex() string { return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B) }

// Ink is black or white, whichever can be read on the colour.
func (c Colour) Ink() Colour {
	const readable = 103 // where both can: of the colours of layers, see the test
	if (299*int(c.R)+587*int(c.G)+114*int(c.B))/1000 >= readable {
		return Colour{}
	}
	return Colour{255, 255, 255}
}

// indexed is the nearest of the 216 colours of a cube that terminals of 256 colours have.
func (c Colour) indexed() int {
	return 16 + 36*cubeStep(c.R) + 6*cubeStep(c.G) + cubeStep(c.B)
}

// cubeStep is the nearest of a cube's steps: 0, 95, 135, 175, 215, 255.
func cubeStep(v uint8) int {
	switch {
	case v < 48:
		return 0
	case v < 115:
		return 1
	}
	return (int(v) - 35) / 40
}
