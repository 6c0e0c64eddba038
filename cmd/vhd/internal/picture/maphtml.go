package picture

import (
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"

	"github.com/go-vhd/vhd/cmd/vhd/internal/human"
)

// WriteHTML writes the map as a page.
func (m *Map) WriteHTML(w io.Writer) error {
	body, err := m.Section("")
	if err != nil {
		return err
	}
	return Page{Title: m.title(), Heading: m.Name, Body: body}.Write(w)
}

// Section is the map as a part of a page, whose identifiers begin with id.
func (m *Map) Section(id string) (template.HTML, error) {
	var grid, all strings.Builder // what either holds is escaped
	if err := m.writeGrid(&grid, id); err != nil {
		return "", err
	}
	err := sectionTemplate.Execute(&all, struct {
		*Map
		Summary string
		Grid    template.HTML
		Rows    []sectionRow
	}{m, m.drawn(), template.HTML(grid.String()), m.sectionRows()})
	return template.HTML(all.String()), err
}

// sectionRow is a row of the legend, as a page shows it. Programs find its numbers in data
// attributes.
type sectionRow struct {
	legendRow
	Key   string // the layer as data-layer has it
	Style template.CSS
	Holds string
	Bar   template.CSS
}

func (m *Map) sectionRows() []sectionRow {
	var rows []sectionRow
	for _, r := range m.legend() {
		row := sectionRow{legendRow: r, Key: strconv.Itoa(r.Layer), Holds: human.Size(r.Bytes)}
		row.Bar = template.CSS(fmt.Sprintf("width:%.2f%%", 100*float64(r.Bytes)/float64(max(m.Size, 1))))
		switch r.Layer {
		case Hole:
			row.Key = "hole"
		case Unreadable:
			row.Key = "unreadable"
		default:
			paper := LayerColour(r.Layer, len(m.Layers))
			row.Style = template.CSS("background:" + paper.Hex() + ";color:" + paper.Ink().Hex())
		}
		rows = append(rows, row)
	}
	return rows
}

// Sign is what stands in the cell of the layer's colour.
func (r sectionRow) Sign() string {
	switch r.Layer {
	case Hole:
		return ""
	case Unreadable:
		return "✕"
	}
	return r.Key
}

var sectionTemplate = template.Must(template.New("map").Parse(`<section>
<p>{{.Summary}}</p>
<figure>
{{.Grid}}</figure>
<table data-size="{{.Size}}" data-unit="{{.Unit}}">
<thead><tr><th>depth</th><th>image</th><th class="number">holds</th><th class="number">share</th><th></th><th class="number">file size</th></tr></thead>
<tbody>
{{range .Rows}}<tr data-layer="{{.Key}}" data-bytes="{{.Bytes}}"><td><span class="key{{if not .Style}} none{{end}}"{{with .Style}} style="{{.}}"{{end}}>{{.Sign}}&#8203;</span></td>
<td class="name">{{.Name}}</td><td class="number">{{.Holds}}</td><td class="number">{{.Share}}</td><td class="bar"><i style="{{.Bar}}"></i></td><td class="number">{{.FileSize}}</td></tr>
{{end}}</tbody>
</table>
</section>
`))
