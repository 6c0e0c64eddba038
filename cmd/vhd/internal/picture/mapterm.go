package picture

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-vhd/vhd/cmd/vhd/internal/human"
)

// Colours are those that a terminal shows.
type Colours int

// The kinds of terminals.
const (
	NoColours  Colours = iota
	Colours256         // a cube of 216, and others
	TrueColour         // all
)

// Terminal is where a picture of signs is shown.
type Terminal struct {
	Width   int  // columns
	Folds   bool // text is to be no wider either
	Colours Colours
}

// What a picture in a terminal measures.
const (
	termRows  = 16 // at most
	termLabel = 11 // columns in front of a row: an offset, and space
	termStep  = 8  // cells: a row has a multiple, or as many as there is room for if those are fewer
)

// perRow is how many cells of a chain of so many layers stand in a row.
func (t Terminal) perRow(layers int) int64 {
	n := max((t.Width-termLabel)/signsOf(layers).cell(), 1)
	if n > termStep {
		n -= n % termStep
	}
	return int64(n)
}

// Cells is how many cells a map of a chain of so many layers may have to be shown.
func (t Terminal) Cells(layers int) int64 { return t.perRow(layers) * termRows }

// layerSigns stand for the layers by depth.
const layerSigns = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// signs are how layers are called in cells: by a sign, or, in a chain that has more layers than
// there are signs, by the number of their depth.
type signs struct{ width int } // columns: of a sign, or of the longest number

func signsOf(layers int) signs {
	if layers <= len(layerSigns) {
		return signs{1}
	}
	return signs{len(strconv.Itoa(layers - 1))}
}

// areNumbers says whether they are numbers.
func (s signs) areNumbers() bool { return s.width > 1 }

// cell is how wide a cell is: of two signs, or of a number with space in front of it.
func (s signs) cell() int { return 1 + s.width }

// of is what stands for a layer.
func (s signs) of(layer int) string {
	sign := strconv.Itoa(layer)
	switch {
	case layer == Hole:
		sign = "."
	case layer == Unreadable:
		sign = "?"
	case !s.areNumbers():
		sign = layerSigns[layer : layer+1]
	}
	return fmt.Sprintf("%*s", s.width, sign)
}

// explain says what a cell is.
func (s signs) explain() string {
	if s.areNumbers() {
		return "A cell is the depth of the image that holds the most of it."
	}
	return "A cell is two signs: what holds the most of it, and what holds the next most."
}

// WriteTerminal writes the map in signs, and in colours where there are some, with a legend.
func (m *Map) WriteTerminal(out io.Writer, t Terminal) error {
	layers := len(m.Layers)
	w := &termWriter{Writer: bufio.NewWriter(out), signs: signsOf(layers), colours: t.Colours, layers: layers, layer: Hole}
	t.writeText(w, "", m.Name+": "+lowerFirst(m.summary()))
	if m.Cells() > 0 {
		t.writeText(w, "", w.explain())
		fmt.Fprintln(w)
		m.writeRows(w, t.perRow(layers))
	}
	fmt.Fprintln(w)
	m.writeLegend(w, t)
	return w.Flush()
}

// fits says whether a line does.
func (t Terminal) fits(line string) bool { return !t.Folds || columnsOf([]rune(line)) <= t.Width }

// writeText writes text in as many lines as it needs, each with something in front of it.
func (t Terminal) writeText(w io.Writer, inFront, text string) {
	lines := []string{text}
	if !t.fits(inFront + text) {
		lines = human.Fold(text, t.Width-columnsOf([]rune(inFront)))
	}
	for _, line := range lines {
		fmt.Fprintf(w, "%s%s\n", inFront, line)
	}
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

// writeRows writes all cells, with the offset in front of each row.
func (m *Map) writeRows(w *termWriter, perRow int64) {
	var i int64
	for _, r := range m.Runs {
		first, second := mostOf(r.Parts)
		for range r.Cells {
			if i%perRow == 0 {
				w.endRow(i > 0)
				fmt.Fprintf(w, "%*s  ", termLabel-2, human.Offset(i*m.Unit))
			}
			w.cell(first, second)
			i++
		}
	}
	w.endRow(true)
}

// mostOf are the layers that serve most and second most of a cell, or the only one twice.
func mostOf(parts []Part) (first, second int) {
	most, next := parts[0], Part{Layer: parts[0].Layer}
	for _, p := range parts[1:] {
		switch {
		case p.Bytes > most.Bytes:
			most, next = p, most
		case p.Bytes > next.Bytes:
			next = p
		}
	}
	return most.Layer, next.Layer
}

// writeLegend writes a table whose last column are the names, which may be of any length. Where
// there is no room for one of its rows, what is told of each layer stands below its name.
func (m *Map) writeLegend(w *termWriter, t Terminal) {
	rows := m.legend()
	lines := legendLines(rows)
	inFront := strings.Repeat(" ", 2+w.width+2) // a sign, and space
	isTable := !slices.ContainsFunc(lines, func(line string) bool { return !t.fits(inFront + line) })
	if isTable {
		fmt.Fprintln(w, inFront+lines[0])
	}
	for i, r := range rows {
		fmt.Fprint(w, "  ")
		w.colour(r.Layer)
		fmt.Fprint(w, w.of(r.Layer))
		w.plain()
		if isTable {
			fmt.Fprintf(w, "  %s\n", lines[i+1])
			continue
		}
		fmt.Fprintf(w, "  %s\n", r.Name)
		t.writeText(w, inFront, r.below())
	}
}

// legendLines are the lines of the table, the first of which is its head, without the signs.
func legendLines(rows []legendRow) (lines []string) {
	table := [][4]string{{"holds", "share", "file size", "image"}}
	for _, r := range rows {
		table = append(table, [...]string{human.Size(r.Bytes), r.Share, r.FileSize, r.Name})
	}
	var width [3]int
	for _, cells := range table {
		for i := range width {
			width[i] = max(width[i], utf8.RuneCountInString(cells[i]))
		}
	}
	for _, c := range table {
		lines = append(lines, fmt.Sprintf("%*s  %*s  %*s  %s", width[0], c[0], width[1], c[1], width[2], c[2], c[3]))
	}
	return lines
}

// below is what is told of a layer below its name.
func (r legendRow) below() string {
	text := fmt.Sprintf("%s, %s", human.Size(r.Bytes), r.Share)
	if r.FileSize != "" {
		text += ", file " + r.FileSize
	}
	return text
}

// termWriter writes signs in the colours of their layers.
type termWriter struct {
	*bufio.Writer
	signs
	colours Colours
	layers  int // of the chain
	layer   int // whose colours are on; Hole has none
}

// cell writes a cell, of which the first layer holds the most.
func (w *termWriter) cell(first, second int) {
	if w.areNumbers() {
		if first == Hole { // where any image holds something, that is what is shown
			first = second
		}
		w.colour(first)
		fmt.Fprint(w, " ", w.of(first))
		return
	}
	w.colour(first)
	fmt.Fprint(w, w.of(first))
	w.colour(second)
	fmt.Fprint(w, w.of(second))
}

// colour puts on the colours of a layer.
func (w *termWriter) colour(layer int) {
	if layer != w.layer {
		w.layer = layer
		fmt.Fprint(w, w.style(layer))
	}
}

// plain takes colours away.
func (w *termWriter) plain() { w.colour(Hole) }

func (w *termWriter) endRow(begun bool) {
	w.plain()
	if begun {
		fmt.Fprintln(w)
	}
}

// style is the control sequence for the colours of a layer.
func (w *termWriter) style(layer int) string {
	switch {
	case w.colours == NoColours:
		return ""
	case layer == Hole:
		return "\x1b[0m"
	case layer == Unreadable:
		return "\x1b[0;7m" // the terminal's own, reversed
	}
	paper := LayerColour(layer, w.layers)
	ink := paper.Ink()
	if w.colours == Colours256 {
		return fmt.Sprintf("\x1b[0;38;5;%d;48;5;%dm", ink.indexed(), paper.indexed())
	}
	return fmt.Sprintf("\x1b[0;38;2;%d;%d;%d;48;2;%d;%d;%dm", ink.R, ink.G, ink.B, paper.R, paper.G, paper.B)
}
