package picture

import (
	"fmt"

	"github.com/go-vhd/vhd/cmd/vhd/internal/human"
)

// legendRow tells of a layer, or of what no layer serves.
type legendRow struct {
	Layer    int // its depth, or Hole, or Unreadable
	Name     string
	Bytes    int64
	Share    string // of the disk
	FileSize string // empty: it is no file
}

// legend has a row for each layer, and for what no layer serves.
func (m *Map) legend() []legendRow {
	var rows []legendRow
	for depth, l := range m.Layers {
		rows = append(rows, legendRow{depth, l.Name, l.Bytes, human.Share(l.Bytes, m.Size), human.Size(l.FileSize)})
	}
	if m.Unreadable > 0 {
		rows = append(rows, legendRow{Layer: Unreadable, Name: m.nameOf(Unreadable), Bytes: m.Unreadable, Share: human.Share(m.Unreadable, m.Size)})
	}
	return append(rows, legendRow{Layer: Hole, Name: m.nameOf(Hole), Bytes: m.Holes, Share: human.Share(m.Holes, m.Size)})
}

// nameOf is what a layer is called.
func (m *Map) nameOf(layer int) string {
	switch layer {
	case Hole:
		return "zeros, in no image"
	case Unreadable:
		return "unreadable"
	}
	return m.Layers[layer].Name
}

// summary says what a cell stands for.
func (m *Map) summary() string {
	cell := human.Size(m.Unit)
	switch {
	case m.Block == m.Unit:
		cell = "a block of " + cell
	case m.Block > 0:
		cell = fmt.Sprintf("%d blocks, %s", m.Unit/m.Block, cell)
	}
	return fmt.Sprintf("A disk of %s. One cell is %s.", human.Size(m.Size), cell)
}

// drawn is summary for a drawing.
func (m *Map) drawn() string {
	if !m.isMixed() {
		return m.summary()
	}
	return m.summary() + " Where several images serve a cell it is split; what is small is drawn large enough to be seen."
}
