package picture

import (
	"fmt"
	"strings"

	"github.com/go-vhd/vhd/cmd/vhd/internal/human"
)

// drawTips lays over the cells what tells of them.
func (d *mapDrawing) drawTips() {
	fmt.Fprintln(d, `<g class="tips">`)
	cell := int64(0)
	for _, r := range d.Runs {
		var path []byte
		for _, rect := range d.cover(cell, r.Cells) {
			path = rect.appendTo(path)
		}
		fmt.Fprintf(d, `<path d="%s"><title>%s</title></path>`+"\n", path, escape(d.tip(cell, r)))
		cell += r.Cells
	}
	fmt.Fprintln(d, "</g>")
}

// How much a tip tells.
const (
	tipParts = 8
	tipName  = 40 // characters
)

// tip tells of a run where it is and what serves it, in lines.
func (m *Map) tip(cell int64, r Run) string {
	start := cell * m.Unit
	end := min(start+r.Cells*m.Unit, m.Size)
	lines := []string{human.Offset(start) + " to " + human.Offset(end) + m.blocks(start, end)}
	each := ""
	if r.Cells > 1 && len(r.Parts) > 1 {
		each = " in each"
	}
	for i, p := range r.Parts {
		if i == tipParts {
			lines = append(lines, fmt.Sprintf("and %d more", len(r.Parts)-i))
			break
		}
		n := p.Bytes
		if each == "" {
			n = min(n*r.Cells, end-start)
		}
		lines = append(lines, fmt.Sprintf("%s: %s%s", m.tipName(p.Layer), human.Size(n), each))
	}
	return strings.Join(lines, "\n")
}

// blocks says which blocks lie from start to end.
func (m *Map) blocks(start, end int64) string {
	if m.Block == 0 {
		return ""
	}
	first, last := start/m.Block, (end-1)/m.Block
	if first == last {
		return fmt.Sprintf(", block %d", first)
	}
	return fmt.Sprintf(", blocks %d to %d", first, last)
}

// tipName is what a tip calls a layer: with its depth, which is in the legend.
func (m *Map) tipName(layer int) string {
	if layer < 0 {
		return m.nameOf(layer)
	}
	return fmt.Sprintf("%d %s", layer, shorten(m.Layers[layer].Name, tipName))
}
