package picture

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// svgWriter writes a drawing. Errors come with Flush.
type svgWriter struct {
	*bufio.Writer
	id string // what identifiers begin with: no two drawings of a page have the same
}

// svgStyle is that of all drawings. It names the colours of what stands on the page twice,
// for light pages and for dark ones, without variables: not all that show drawings know these.
var svgStyle = `
.vhd text{font:13px system-ui,sans-serif;fill:#1f2328}
.vhd .head{font-size:18px;font-weight:600}
.vhd .soft{fill:#59636e}
.vhd .mono{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:12px}
.vhd .right{text-anchor:end}
.vhd .page{fill:#fff}
.vhd .paper{fill:` + Paper.Hex() + `}
.vhd .swatch{stroke:` + Paper.Hex() + `}
.vhd .gap{fill:none;stroke:` + Paper.Hex() + `}
.vhd .hole{fill:none;stroke:#59626d}
.vhd .bad{fill:none;stroke:#f0f3f6}
.vhd .tips{fill:none;pointer-events:all}
.vhd .tips :hover{stroke:#fff;stroke-width:3}
@media(prefers-color-scheme:dark){
.vhd text{fill:#e6edf3}
.vhd .soft{fill:#9198a1}
.vhd .page{fill:#16191d}
}
`

// newSVG begins a drawing. Title and description are for those who hear it.
func newSVG(out io.Writer, id string, width, height int64, title, description string) *svgWriter {
	w := &svgWriter{bufio.NewWriter(out), id}
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" class="vhd" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-labelledby="%st %sd">`+"\n",
		width, height, width, height, id, id)
	fmt.Fprintf(w, `<title id="%st">%s</title>`+"\n", id, escape(title))
	fmt.Fprintf(w, `<desc id="%sd">%s</desc>`+"\n", id, escape(description))
	fmt.Fprintf(w, "<style>%s</style>\n", svgStyle)
	return w
}

// close ends the drawing.
func (w *svgWriter) close() error {
	fmt.Fprintln(w, "</svg>")
	return w.Flush()
}

// text writes a line whose baseline is at y.
func (w *svgWriter) text(x, y int64, class, s string) {
	fmt.Fprintf(w, `<text x="%d" y="%d" class="%s">%s</text>`+"\n", x, y, class, escape(s))
}

// escape makes of any text what stands for it in SVG and in HTML.
func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}

// shorten is a text that is not wider than so many letters. What is left out is in the
// middle: names differ at their ends.
func shorten(s string, columns int) string {
	letters := []rune(s)
	if columnsOf(letters) <= columns {
		return s
	}
	short := "…"
	for head, tail := 0, len(letters); ; {
		if columnsOf(letters[:head]) <= columnsOf(letters[tail:]) {
			head++
		} else {
			tail--
		}
		if columnsOf(letters[:head])+columnsOf(letters[tail:])+1 > columns {
			return short
		}
		short = string(letters[:head]) + "…" + string(letters[tail:])
	}
}

// columnsOf is how wide letters are: those of East Asian scripts count twice.
func columnsOf(letters []rune) int {
	n := len(letters)
	for _, r := range letters {
		if r >= 0x1100 && r <= 0x115F || r >= 0x2E80 && r <= 0xD7A3 || r >= 0xF900 && r <= 0xFAFF || r >= 0xFE30 && r <= 0xFF60 || r >= 0x1F300 && r <= 0x3FFFF {
			n++
		}
	}
	return n
}

// rectangle is a part of a drawing.
type rectangle struct{ x, y, width, height int64 }

// appendTo adds the rectangle to the data of a path.
func (r rectangle) appendTo(path []byte) []byte {
	return fmt.Appendf(path, "M%d %dh%dv%dh-%dz", r.x, r.y, r.width, r.height, r.width)
}
