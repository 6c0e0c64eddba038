package picture

import (
	"fmt"
	"html/template"
	"strings"
)

// treeHead is what the picture begins with. All names in it begin with vhd-tree, since it may
// stand in a page among others. Colours are those that colour-blind people tell apart, and
// none of them is the only sign of anything. They stand there twice, as in svgStyle.
const treeHead = `<style>
.vhd-tree{font-family:system-ui,"Segoe UI","Helvetica Neue",Arial,sans-serif}
.vhd-tree .page{fill:#fff}
.vhd-tree text{fill:#1f2328;font-size:11px}
.vhd-tree .title{font-size:16px;font-weight:600}
.vhd-tree .name{font:12px ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace}
.vhd-tree .dim{fill:#59636e}
.vhd-tree .box{fill:#f6f7f9;stroke:#bcc3cc}
.vhd-tree .absent .box{fill:none;stroke:#59636e;stroke-dasharray:5 4}
.vhd-tree .broken .box{stroke:#b3261e;stroke-dasharray:5 4;stroke-width:1.5}
.vhd-tree .broken .note{fill:#b3261e}
.vhd-tree .fixed{fill:#6b7280}
.vhd-tree .dynamic{fill:#0072b2}
.vhd-tree .differencing{fill:#e69f00}
.vhd-tree .track{fill:#bcc3cc;opacity:.5}
.vhd-tree .edge{fill:none;stroke:#7d8691;stroke-width:1.5}
.vhd-tree .cut{fill:none;stroke:#b3261e;stroke-width:1.5;stroke-dasharray:4 4}
.vhd-tree .cross{fill:none;stroke:#b3261e;stroke-width:2.5}
.vhd-tree .doubt{fill:none;stroke:#9a6700;stroke-width:1.5;stroke-dasharray:8 3}
.vhd-tree .mark{fill:none;stroke:#9a6700;stroke-width:2.5}
.vhd-tree .doubtful .note{fill:#9a6700}
.vhd-tree .tip{fill:#7d8691}
@media(prefers-color-scheme:dark){
.vhd-tree .page{fill:#16191d}
.vhd-tree text{fill:#e6edf3}
.vhd-tree .dim{fill:#9198a1}
.vhd-tree .box{fill:#1f2329;stroke:#454d58}
.vhd-tree .absent .box{stroke:#9198a1}
.vhd-tree .broken .box{stroke:#ff8a80}
.vhd-tree .broken .note{fill:#ff8a80}
.vhd-tree .fixed{fill:#9aa0a6}
.vhd-tree .dynamic{fill:#56b4e9}
.vhd-tree .track{fill:#454d58}
.vhd-tree .edge{stroke:#8b949f}
.vhd-tree .cut,.vhd-tree .cross{stroke:#ff8a80}
.vhd-tree .doubt,.vhd-tree .mark{stroke:#d29922}
.vhd-tree .doubtful .note{fill:#d29922}
.vhd-tree .tip{fill:#8b949f}
}
</style>
<defs>
<clipPath id="vhd-tree-box"><rect width="%d" height="999"/></clipPath>
<marker id="vhd-tree-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" markerUnits="userSpaceOnUse" orient="auto"><path class="tip" d="M0 0L8 4L0 8z"/></marker>
</defs>
`

// The margins of the picture, and what stands above the boxes, in pixels.
const (
	treeMargin   = 20
	treeHeading  = 50  // the title and the summary
	treeLegend   = 54  // below them
	treeMarkGap  = 8   // between an edge and its mark
	treeMinWidth = 780 // what the legend needs
)

// SVG draws the picture. What stands in it is escaped, and may come from anywhere.
func (t Tree) SVG() []byte { return t.draw(treeMargin, treeHeading) }

// Figure is the picture as a part of a page that has its title and its summary already, and
// margins.
func (t Tree) Figure() template.HTML { return template.HTML(t.draw(0, 0)) }

// draw draws the picture, with room for a heading if there is to be one.
func (t Tree) draw(margin, heading int) []byte {
	l := newTreeLayout(t.Images)
	d := treeDrawing{tree: &t, layout: l, margin: margin, names: shortNames(t.Images)}
	for i := range t.Images {
		d.largest = max(d.largest, t.Images[i].Bytes)
	}
	top := heading + treeLegend
	width, height := max(treeMinWidth, l.width)+2*margin, top+l.height+margin
	d.printf(`<svg xmlns="http://www.w3.org/2000/svg" class="vhd-tree" role="img" aria-label="%s" width="%d" height="%d" viewBox="0 0 %d %d">`+"\n",
		escape(t.Title+": "+t.Summary), width, height, width, height)
	d.printf(treeHead, treeBoxWidth-6)
	d.printf(`<rect class="page" width="%d" height="%d"/>`+"\n", width, height)
	if heading > 0 {
		d.heading(width - 2*margin)
	}
	d.legend(heading)
	d.printf(`<g transform="translate(%d %d)">`+"\n", margin, top)
	for i := range t.Images {
		d.edge(i)
	}
	for i := range t.Images {
		d.box(i)
	}
	d.printf("</g>\n</svg>\n")
	return []byte(d.out.String())
}

// treeDrawing is a picture under way.
type treeDrawing struct {
	tree    *Tree
	layout  *treeLayout
	margin  int
	names   []string // in the boxes
	largest int64    // bytes of the largest file
	out     strings.Builder
}

func (d *treeDrawing) printf(format string, args ...any) { fmt.Fprintf(&d.out, format, args...) }

// heading is the title and the summary.
func (d *treeDrawing) heading(width int) {
	d.printf(`<text class="title" x="%d" y="34">%s</text>`+"\n", d.margin, escape(shorten(d.tree.Title, width/10)))
	d.printf(`<text class="dim" x="%d" y="54">%s</text>`+"\n", d.margin, escape(shorten(d.tree.Summary, width/6)))
}

// legend says below top what signs and colours mean.
func (d *treeDrawing) legend(top int) {
	x := d.margin
	for _, kind := range []string{"fixed", "dynamic", "differencing"} {
		d.printf(`<rect class="%s" x="%d" y="%d" width="10" height="10"/><text class="dim" x="%d" y="%d">%s</text>`+"\n", kind, x, top+19, x+15, top+28, kind)
		x += 32 + 7*len(kind)
	}
	d.printf(`<g class="absent"><rect class="box" x="%d" y="%v" width="22" height="11"/></g><text class="dim" x="%d" y="%d">not in this folder</text>`+"\n",
		x, float64(top)+18.5, x+28, top+28)
	x += 136
	d.cross(x+5, top+24)
	d.printf(`<text class="dim" x="%d" y="%d">broken</text>`+"\n", x+15, top+28)
	x += 66
	d.mark(x+5, top+24)
	d.printf(`<text class="dim" x="%d" y="%d">parent changed</text>`+"\n", x+12, top+28)
	x += 110
	d.printf(`<rect class="track" x="%d" y="%[2]d" width="34" height="4"/><rect class="dim" x="%[1]d" y="%[2]d" width="15" height="4"/><text class="dim" x="%[3]d" y="%[4]d">file size beside the largest</text>`+"\n",
		x, top+22, x+40, top+28)
}

// edge is the line from a box's parent to it.
func (d *treeDrawing) edge(i int) {
	b := &d.layout.boxes[i]
	if b.parent < 0 {
		return
	}
	parent := &d.layout.boxes[b.parent]
	from, to, bottom := parent.x+treeAnchor, b.x+treeAnchor, parent.y+parent.height
	path := fmt.Sprintf("M%d %dV%d", from, bottom, b.y)
	switch {
	case b.y <= parent.y: // the next column of a folded chain
		path = fmt.Sprintf("M%d %dv%dH%dV%dH%dV%d", from, bottom, treeDrop/2, b.x-treeGap/2, b.y-treeDrop/2, to, b.y)
	case from != to:
		path = fmt.Sprintf("M%d %dV%dH%dV%d", from, bottom, b.y-treeDrop/2, to, b.y)
	}
	switch image := &d.tree.Images[i]; {
	case image.Cut:
		d.printf(`<path class="cut" d="%s"/>`+"\n", path)
		d.cross(to, b.y-treeDrop/2)
	case image.Doubtful:
		d.printf(`<path class="doubt" marker-end="url(#vhd-tree-tip)" d="%s"/>`+"\n", path)
		d.mark(to+treeMarkGap, b.y-treeDrop/4)
	default:
		d.printf(`<path class="edge" marker-end="url(#vhd-tree-tip)" d="%s"/>`+"\n", path)
	}
}

func (d *treeDrawing) cross(x, y int) {
	d.printf(`<path class="cross" d="M%d %dl8 8m0 -8l-8 8"/>`+"\n", x-4, y-4)
}

// mark is an exclamation mark, so low that it fits between a box and the edges to those beside it.
func (d *treeDrawing) mark(x, y int) {
	d.printf(`<path class="mark" d="M%d %dv4m0 1.5v2"/>`+"\n", x, y-3)
}

// box is an image.
func (d *treeDrawing) box(i int) {
	b, image := &d.layout.boxes[i], &d.tree.Images[i]
	class := "image"
	if image.Absent {
		class += " absent"
	}
	if image.Broken {
		class += " broken"
	}
	if image.Doubtful {
		class += " doubtful"
	}
	d.printf(`<g class="%s" transform="translate(%d %d)"><title>%s</title><rect class="box" x=".5" y=".5" width="%d" height="%d" rx="4"/>`,
		class, b.x, b.y, escape(image.Name+"\n"+image.Tooltip), treeBoxWidth-1, b.height-1)
	if image.Type != "" {
		d.printf(`<rect class="%s" x="1" y="1" width="5" height="%d"/>`, escape(image.Type), b.height-2)
	}
	d.printf(`<g clip-path="url(#vhd-tree-box)">`)
	y := treeLineHeight + 2
	for nth, line := range inLines(d.names[i]) {
		y = (1+nth)*treeLineHeight + 2
		d.printf(`<text class="name" x="%d" y="%d">%s</text>`, treeInset, y, escape(line))
	}
	if image.Detail != "" {
		y += treeLineHeight
		d.printf(`<text class="dim" x="%d" y="%d">%s</text>`, treeInset, y, escape(shorten(image.Detail, treeLineColumns)))
	}
	if image.hasBar() {
		d.bar(image, y+6)
		y += treeBarHeight
	}
	for _, line := range image.noteLines() {
		y += treeLineHeight
		d.printf(`<text class="note" x="%d" y="%d">%s</text>`, treeInset, y, escape(line))
	}
	d.printf("</g></g>\n")
}

// bar shows how large a file is beside the largest one.
func (d *treeDrawing) bar(image *TreeImage, y int) {
	const width = treeBoxWidth - 2*treeInset
	n := int(float64(image.Bytes) / float64(max(d.largest, 1)) * width)
	if n == 0 && image.Bytes > 0 {
		n = 1
	}
	class := image.Type
	if class == "" {
		class = "dim"
	}
	d.printf(`<rect class="track" x="%d" y="%d" width="%d" height="4"/><rect class="%s" x="%d" y="%d" width="%d" height="4"/>`,
		treeInset, y, width, escape(class), treeInset, y, n)
}

// What fits into a box.
const (
	treeInset       = 13 // of text, pixels
	treeLineColumns = 36 // letters of other lines
	treeNoteLines   = 3
)

// noteLines are the note in lines, with a sign in front that is no colour.
func (image *TreeImage) noteLines() []string {
	words := strings.Fields(image.Note)
	if len(words) == 0 {
		return nil
	}
	switch {
	case image.Broken:
		words = append([]string{"✕"}, words...)
	case image.Doubtful:
		words = append([]string{"!"}, words...)
	}
	lines := []string{words[0]}
	for _, word := range words[1:] {
		last := &lines[len(lines)-1]
		if joined := *last + " " + word; len(lines) == treeNoteLines || columnsOf([]rune(joined)) <= treeLineColumns {
			*last = joined
			continue
		}
		lines = append(lines, word)
	}
	for i := range lines {
		lines[i] = shorten(lines[i], treeLineColumns)
	}
	return lines
}
