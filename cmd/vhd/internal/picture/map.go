// Package picture draws chains of images: in a terminal, as SVG, and as pages of HTML. It
// knows no files. All that it is given is plain data, and the same data is always the same
// bytes. Names must not control a terminal; for pages all is escaped here.
package picture

import (
	"slices"
)

// What serves a part of a disk when no layer does.
const (
	Hole       = -1 // no image holds it: it reads as zeros
	Unreadable = -2
)

// Map tells which layer of a chain serves what of a disk, in cells that each stand for as
// many bytes.
type Map struct {
	Name  string // of the image
	Size  int64  // of the disk, bytes
	Block int64  // what the image grows by, bytes; 0: it has no blocks
	Unit  int64  // what a cell stands for, bytes; the last one may stand for less

	Layers     []Layer // the leaf first
	Holes      int64   // bytes that no layer holds
	Unreadable int64   // bytes of which nothing can be told

	Runs []Run // all cells, in order

	at    int64   // how much of the disk was told of
	cell  []int64 // what each layer serves of the cell that at lies in; see slot
	ncell int64   // their sum
}

// Layer is an image of a chain.
type Layer struct {
	Name     string
	FileSize int64 // bytes
	Bytes    int64 // what it serves
}

// Run is cells, one behind the other, that are alike.
type Run struct {
	Cells int64
	Parts []Part // of each of the cells
}

// Part is what one layer serves of a cell. A cell's layers stand in order of depth; Unreadable
// and Hole come last.
type Part struct {
	Layer int // its depth, or Hole, or Unreadable
	Bytes int64
}

// unitWithoutBlocks is what a cell of a disk without blocks stands for: a block of most others.
const unitWithoutBlocks = 2 << 20

// NewMap is the map of a disk of which nothing is known yet. A cell is a block, or, where
// that came to more than maxCells, a power of two of blocks.
func NewMap(name string, size, block int64, layers []Layer, maxCells int64) *Map {
	m := &Map{Name: name, Size: size, Block: block, Unit: block, Layers: slices.Clone(layers), cell: make([]int64, len(layers)+2)}
	if m.Unit == 0 {
		m.Unit = unitWithoutBlocks
	}
	for m.Cells() > max(maxCells, 1) {
		m.Unit *= 2
	}
	return m
}

// Cells is how many there are.
func (m *Map) Cells() int64 {
	n := m.Size / m.Unit
	if m.Size%m.Unit > 0 {
		n++
	}
	return n
}

// Add tells of the next n bytes of the disk. Layer is the depth of what serves them, or Hole,
// or Unreadable.
func (m *Map) Add(n int64, layer int) {
	m.count(n, layer)
	for n > 0 {
		if whole := n / m.Unit; whole > 0 && m.ncell == 0 {
			m.append(Run{whole, []Part{{layer, m.Unit}}})
			m.at += whole * m.Unit
			n -= whole * m.Unit
			continue
		}
		piece := min(n, m.Unit-m.ncell)
		m.cell[m.slot(layer)] += piece
		m.ncell += piece
		m.at += piece
		n -= piece
		if m.ncell == m.Unit || m.at == m.Size {
			m.append(Run{1, m.takeCell()})
		}
	}
}

// count adds to the sums.
func (m *Map) count(n int64, layer int) {
	switch layer {
	case Hole:
		m.Holes += n
	case Unreadable:
		m.Unreadable += n
	default:
		m.Layers[layer].Bytes += n
	}
}

// slot is the index of a layer in cell. What no layer serves comes behind all of them.
func (m *Map) slot(layer int) int {
	if layer < 0 {
		return len(m.cell) + layer
	}
	return layer
}

// takeCell is the cell that is complete. It makes way for the next.
func (m *Map) takeCell() []Part {
	var parts []Part
	for slot, n := range m.cell {
		if n == 0 {
			continue
		}
		layer := slot
		if slot >= len(m.Layers) {
			layer = slot - len(m.cell)
		}
		parts = append(parts, Part{layer, n})
	}
	clear(m.cell)
	m.ncell = 0
	return parts
}

// append adds a run, to the last one if its cells are the same.
func (m *Map) append(r Run) {
	if last := len(m.Runs) - 1; last >= 0 && slices.Equal(m.Runs[last].Parts, r.Parts) {
		m.Runs[last].Cells += r.Cells
		return
	}
	m.Runs = append(m.Runs, r)
}

// isMixed says whether any cell has several parts.
func (m *Map) isMixed() bool {
	return slices.ContainsFunc(m.Runs, func(r Run) bool { return len(r.Parts) > 1 })
}
