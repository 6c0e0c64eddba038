package picture

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-vhd/vhd/cmd/vhd/internal/human"
)

// MaxCells is how many cells a drawing shows at most. Disks of 127 GiB, which Windows makes
// when nobody says how large, have hardly fewer blocks.
const MaxCells = 1 << 16

// Within the grid of cells all is counted in these, so that whole numbers do.
const (
	cellSide = 16
	cellGap  = 2
	cellFill = cellSide - cellGap
)

// density is how a grid of so many cells a row looks.
type density struct {
	perRow  int64
	stripe  int64   // the least that a part of a cell is wide
	outline float64 // of cells without colour
}

// densities go from that for the fewest cells to that for the most. Stripes and outlines
// can be seen on a screen in each. Of the most cells the outlines are a haze, above which a stripe
// is only seen if it is half a cell.
var densities = [...]density{{32, 2, .7}, {64, 3, 1}, {128, 5, 1}, {256, 7, .5}}

// What a drawing of a map measures, in pixels.
const (
	mapMargin = 16
	mapLabels = 84 // left of the grid
	mapTop    = 72
	mapWidth  = 1024 // of the grid
	mapLabel  = 24   // from a label to the next, at least
	mapFrame  = 6    // of paper around the grid
	fullWidth = mapMargin + mapLabels + mapWidth + mapFrame + mapMargin
)

// mapDrawing is a map that is being drawn.
type mapDrawing struct {
	*Map
	*svgWriter
	density
}

// WriteSVG writes the map as a file of SVG, with its legend.
func (m *Map) WriteSVG(out io.Writer) error {
	d := &mapDrawing{Map: m, density: m.density()}
	columns := newLegendColumns(m.legend())
	gridHeight := d.gridHeight()
	d.svgWriter = newSVG(out, "", fullWidth, mapTop+gridHeight+columns.height(), m.title(), m.description())
	fmt.Fprintln(d, `<rect class="page" width="100%" height="100%"/>`)
	d.text(mapMargin, 32, "head", shorten(m.Name, 100))
	d.text(mapMargin, 54, "soft", m.drawn())
	d.drawGrid(mapTop)
	columns.draw(d.svgWriter, mapTop+gridHeight, len(m.Layers))
	return d.close()
}

// writeGrid writes nothing but the grid, for pages that have all else as text. Its
// identifiers begin with id.
func (m *Map) writeGrid(out io.Writer, id string) error {
	d := &mapDrawing{Map: m, density: m.density()}
	const above = 2 * mapFrame
	d.svgWriter = newSVG(out, id, fullWidth, above+d.gridHeight()+above, m.title(), m.description())
	d.drawGrid(above)
	return d.close()
}

func (m *Map) title() string { return m.Name + ": which image holds what" }

// description tells in words what the drawing shows.
func (m *Map) description() string {
	var b strings.Builder
	b.WriteString(m.summary())
	for _, r := range m.legend() {
		fmt.Fprintf(&b, " %s: %s, %s.", r.Name, human.Size(r.Bytes), r.Share)
	}
	return b.String()
}

// density is that of the fewest cells a row with which the grid is not much higher than wide.
func (m *Map) density() density {
	for _, d := range densities {
		if m.Cells() <= 2*d.perRow*d.perRow {
			return d
		}
	}
	return densities[len(densities)-1]
}

func (d *mapDrawing) columns() int64    { return min(d.perRow, d.Cells()) }
func (d *mapDrawing) rows() int64       { return (d.Cells() + d.perRow - 1) / d.perRow }
func (d *mapDrawing) side() int64       { return mapWidth / d.perRow } // of a cell, pixels
func (d *mapDrawing) gridHeight() int64 { return d.rows() * d.side() }

// drawGrid draws all cells below top: first what is in them, a path for each layer, then the
// gaps between them, and above all, not to be seen, what tells of them.
func (d *mapDrawing) drawGrid(top int64) {
	d.drawPatterns()
	d.drawOffsets(top)
	fmt.Fprintf(d, `<rect class="paper" x="%d" y="%d" width="%d" height="%d" rx="4"/>`+"\n",
		mapMargin+mapLabels-mapFrame, top-mapFrame, d.columns()*d.side()+2*mapFrame, d.gridHeight()+2*mapFrame)
	fmt.Fprintf(d, `<g transform="translate(%d %d) scale(%v)">`+"\n", mapMargin+mapLabels, top, float64(d.side())/cellSide)
	for slot, path := range d.paths() {
		if len(path) > 0 {
			fmt.Fprintf(d, `<path fill="%s" d="%s"/>`+"\n", d.fill(slot), path)
		}
	}
	d.drawGaps()
	d.drawTips()
	fmt.Fprintln(d, "</g>")
}

// drawPatterns defines what cells are filled with that have no colour.
func (d *mapDrawing) drawPatterns() {
	const pattern = `<pattern id="%s%s" width="16" height="16" patternUnits="userSpaceOnUse"><path class="%[2]s" stroke-width="%[3]v" d="%[4]s"/></pattern>` + "\n"
	edge := d.outline / 2
	outline := fmt.Sprintf("M%v %vh%vv%vh-%vz", edge, edge, cellFill-d.outline, cellFill-d.outline, cellFill-d.outline)
	fmt.Fprintf(d, "<defs>\n"+pattern, d.id, patternHole, d.outline, outline)
	fmt.Fprintf(d, pattern+"</defs>\n", d.id, patternBad, d.outline, outline+"M0 0l14 14M0 14l14-14")
}

const (
	patternHole = "hole"
	patternBad  = "bad"
)

// fill is what the parts of a layer are filled with; see Map.slot.
func (d *mapDrawing) fill(slot int) string {
	switch slot {
	case d.slot(Hole):
		return "url(#" + d.id + patternHole + ")"
	case d.slot(Unreadable):
		return "url(#" + d.id + patternBad + ")"
	}
	return LayerColour(slot, len(d.Layers)).Hex()
}

// drawOffsets tells left of the rows where they begin, of as many as there is room for.
func (d *mapDrawing) drawOffsets(top int64) {
	step := int64(1)
	for step*d.side() < mapLabel {
		step *= 2
	}
	for row := int64(0); row < d.rows(); row += step {
		d.text(mapMargin+mapLabels-mapFrame-8, top+row*d.side()+min(d.side(), 20)/2+5, "soft right", human.Offset(row*d.perRow*d.Unit))
	}
}

// paths are what the layers serve, by slot.
func (d *mapDrawing) paths() [][]byte {
	paths := make([][]byte, len(d.cell))
	cell := int64(0)
	for _, r := range d.Runs {
		if len(r.Parts) == 1 {
			slot := d.slot(r.Parts[0].Layer)
			for _, rect := range d.cover(cell, r.Cells) {
				paths[slot] = rect.appendTo(paths[slot])
			}
		} else {
			d.split(paths, cell, r)
		}
		cell += r.Cells
	}
	return paths
}

// cover is the area of n cells: what is left of a row, whole rows, and the begin of one.
func (d *mapDrawing) cover(cell, n int64) (rects []rectangle) {
	add := func(width, height int64) {
		rects = append(rects, rectangle{cell % d.perRow * cellSide, cell / d.perRow * cellSide, width * cellSide, height * cellSide})
		cell += width * height
		n -= width * height
	}
	if begun := cell % d.perRow; begun > 0 {
		add(min(d.perRow-begun, n), 1)
	}
	if whole := n / d.perRow; whole > 0 {
		add(d.perRow, whole)
	}
	if n > 0 {
		add(n, 1)
	}
	return rects
}

// split draws cells of several parts, beside each other.
func (d *mapDrawing) split(paths [][]byte, cell int64, r Run) {
	parts := d.widths(r.Parts)
	for ; r.Cells > 0; r.Cells-- {
		rect := rectangle{cell % d.perRow * cellSide, cell / d.perRow * cellSide, 0, cellSide}
		for _, p := range parts {
			rect.width = p.Bytes
			slot := d.slot(p.Layer)
			paths[slot] = rect.appendTo(paths[slot])
			rect.x += rect.width
		}
		cell++
	}
}

// widths are the parts of a cell with how wide they are drawn in place of their bytes. Each
// can be seen, as far as there is room: zeros that no image holds are left out, and then the
// smallest.
func (d density) widths(parts []Part) []Part {
	parts = slices.Clone(parts)
	most := int(cellFill / d.stripe)
	if last := len(parts) - 1; last >= most && parts[last].Layer == Hole {
		parts = parts[:last]
	}
	if len(parts) > most {
		slices.SortStableFunc(parts, func(a, b Part) int { return byBytes(b, a) })
		parts = slices.Clone(parts[:most])
		slices.SortFunc(parts, inOrder)
	}
	var all int64
	for _, p := range parts {
		all += p.Bytes
	}
	left := int64(cellFill)
	for i, p := range parts {
		parts[i].Bytes = max(p.Bytes*cellFill/all, d.stripe)
		left -= parts[i].Bytes
	}
	for left != 0 { // the widest make up for what was rounded
		widest := slices.IndexFunc(parts, func(p Part) bool { return p == slices.MaxFunc(parts, byBytes) })
		one := int64(cmp.Compare(left, 0))
		parts[widest].Bytes += one
		left -= one
	}
	return parts
}

func byBytes(a, b Part) int { return cmp.Compare(a.Bytes, b.Bytes) }

// inOrder is the order of a cell's parts.
func inOrder(a, b Part) int {
	if (a.Layer < 0) != (b.Layer < 0) {
		return cmp.Compare(b.Layer, a.Layer) // layers first
	}
	return cmp.Compare(a.Layer, b.Layer)
}

// drawGaps draws lines that part the cells.
func (d *mapDrawing) drawGaps() {
	var path []byte
	for column := range d.columns() {
		path = fmt.Appendf(path, "M%d 0v%d", column*cellSide+cellSide-cellGap/2, d.rows()*cellSide)
	}
	for row := range d.rows() {
		path = fmt.Appendf(path, "M0 %dh%d", row*cellSide+cellSide-cellGap/2, d.columns()*cellSide)
	}
	fmt.Fprintf(d, `<path class="gap" stroke-width="%d" d="%s"/>`+"\n", cellGap, path)
}
