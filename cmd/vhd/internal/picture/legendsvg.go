package picture

import (
	"fmt"

	"github.com/go-vhd/vhd/cmd/vhd/internal/human"
)

// What a legend in a drawing measures, in pixels.
const (
	legendLine = 20
	legendHead = 40 // above the first line
	legendFoot = 16
	legendHold = 134 // where what a layer holds ends
	legendPart = 206 // and its share
	legendName = 224 // where names begin
	legendSign = 7.3 // width of a character of a name

	legendLong = 12 // lines that one column has before there are two
	legendMost = 3  // columns
)

// legendColumns are a legend in columns of equal length.
type legendColumns struct {
	rows  []legendRow
	lines int // of a column
}

func newLegendColumns(rows []legendRow) legendColumns {
	columns := min((len(rows)+legendLong-1)/legendLong, legendMost)
	return legendColumns{rows, (len(rows) + columns - 1) / columns}
}

func (l legendColumns) height() int64 { return int64(legendHead + l.lines*legendLine + legendFoot) }

// draw draws the legend of a chain of so many layers below top.
func (l legendColumns) draw(w *svgWriter, top int64, layers int) {
	columns := (len(l.rows) + l.lines - 1) / l.lines
	width := (fullWidth - 2*mapMargin) / columns
	for column := range columns {
		rows := l.rows[column*l.lines : min((column+1)*l.lines, len(l.rows))]
		// What is too long ends with the column.
		fmt.Fprintf(w, `<svg x="%d" y="%d" width="%d" height="%d">`+"\n", mapMargin+column*width, top, width-mapMargin, l.height())
		w.text(legendHold, legendHead-12, "soft right", "holds")
		w.text(legendPart, legendHead-12, "soft right", "share")
		w.text(legendName, legendHead-12, "soft", "image")
		for i, r := range rows {
			r.draw(w, int64(legendHead+i*legendLine), layers, int(float64(width-mapMargin-legendName)/legendSign))
		}
		fmt.Fprintln(w, "</svg>")
	}
}

// draw draws a row whose name has at most nsigns.
func (r legendRow) draw(w *svgWriter, y int64, layers, nsigns int) {
	fmt.Fprintf(w, "<g><title>%s</title>\n", escape(r.tip()))
	switch r.Layer {
	case Hole, Unreadable:
		pattern := patternHole
		if r.Layer == Unreadable {
			pattern = patternBad
		}
		fmt.Fprintf(w, `<g transform="translate(0 %d)"><rect class="paper" width="14" height="14"/><rect width="14" height="14" fill="url(#%s%s)"/></g>`+"\n", y, w.id, pattern)
	default:
		fmt.Fprintf(w, `<rect class="swatch" x=".5" y="%d.5" width="13" height="13" fill="%s"/>`+"\n", y, LayerColour(r.Layer, layers).Hex())
		w.text(40, y+12, "soft right", fmt.Sprint(r.Layer))
	}
	w.text(legendHold, y+12, "right", human.Size(r.Bytes))
	w.text(legendPart, y+12, "right", r.Share)
	w.text(legendName, y+12, "mono", shorten(r.Name, nsigns))
	fmt.Fprintln(w, "</g>")
}

// tip tells what there is no room for.
func (r legendRow) tip() string {
	tip := fmt.Sprintf("%s: %d bytes", r.Name, r.Bytes)
	if r.FileSize != "" {
		tip += ", in a file of " + r.FileSize
	}
	return tip
}
