package vhdtest

import (
	"bytes"
	"fmt"
	"slices"
)

// Model is a chain of disks in plain memory, to compare an engine with. It is not safe for concurrent use.
type Model struct {
	layers []*modelLayer // base first
}

// modelLayer is one disk: its own bytes, and what happened to each of its sectors.
type modelLayer struct {
	size   int64
	data   []byte
	states []sectorState
}

type sectorState byte

const (
	untouched sectorState = iota // the parent's, or zeros
	written                      // the layer's own
	zeroed                       // reads as zeros; whether the layer holds them or nothing is the engine's choice
)

// NoOwner is the depth of a sector that no layer was ever asked to hold.
const NoOwner = -1

// NewModel is a disk without a parent that reads as zeros. Sizes are bytes.
func NewModel(size int64) *Model {
	return &Model{layers: []*modelLayer{newLayer(size)}}
}

// NewModelOf is a disk without a parent that holds content, all of it.
func NewModelOf(content []byte) *Model {
	layer := newLayer(int64(len(content)))
	copy(layer.data, content)
	for sector := range layer.states {
		layer.states[sector] = written
	}
	return &Model{layers: []*modelLayer{layer}}
}

func newLayer(size int64) *modelLayer {
	nsectors := (size + SectorSize - 1) / SectorSize
	return &modelLayer{size, make([]byte, size), make([]sectorState, nsectors)}
}

// NewChild puts a new leaf of that size on top: all writes go there from now on.
func (m *Model) NewChild(size int64) { m.layers = append(m.layers, newLayer(size)) }

// Fork is a copy of the chain that shares nothing with it, to go on with a second child of the same parents.
func (m *Model) Fork() *Model {
	fork := &Model{}
	for _, l := range m.layers {
		fork.layers = append(fork.layers, &modelLayer{
			l.size, append([]byte(nil), l.data...), append([]sectorState(nil), l.states...),
		})
	}
	return fork
}

// Parent is the chain without its leaf. It shares the layers that are left.
func (m *Model) Parent() *Model { return m.At(1) }

// At is the chain from the layer of that depth on. It shares the layers.
func (m *Model) At(depth int) *Model { return &Model{slices.Clip(m.layers[:len(m.layers)-depth])} }

// Depth is how many parents the leaf has.
func (m *Model) Depth() int { return len(m.layers) - 1 }

// Size is the leaf's.
func (m *Model) Size() int64 { return m.leaf().size }

func (m *Model) leaf() *modelLayer { return m.layers[len(m.layers)-1] }

// WriteAt writes to the leaf. What lies outside the disk is an error, and nothing is written.
func (m *Model) WriteAt(p []byte, off int64) (int, error) {
	if err := m.checkRange(off, int64(len(p))); err != nil {
		return 0, err
	}
	for n := 0; n < len(p); {
		sector, within := (off+int64(n))/SectorSize, (off+int64(n))%SectorSize
		n += copy(m.own(sector)[within:], p[n:])
	}
	return len(p), nil
}

// WriteZeroes makes n bytes at off of the leaf read as zeros.
func (m *Model) WriteZeroes(off, n int64) error {
	if err := m.checkRange(off, n); err != nil {
		return err
	}
	for n > 0 {
		sector, within := off/SectorSize, off%SectorSize
		whole := within == 0 && n >= m.sectorLen(sector)
		run := m.own(sector)[within:]
		run = run[:min(n, int64(len(run)))]
		clear(run)
		if whole {
			m.leaf().states[sector] = zeroed
		}
		off, n = off+int64(len(run)), n-int64(len(run))
	}
	return nil
}

// Rebase puts the leaf on another chain. It gets what reads otherwise then.
func (m *Model) Rebase(onto *Model) {
	now := m.Content()
	leaf := m.leaf()
	m.layers = append(slices.Clone(onto.layers), leaf)
	for sector := range int64(len(leaf.states)) {
		if was := now[sector*SectorSize:][:m.sectorLen(sector)]; !bytes.Equal(was, m.merged(sector)) {
			copy(m.own(sector), was)
		}
	}
}

// RebaseUnsafely puts the leaf on another chain as it is: what it holds stays, and all else is that chain's. Which
// sectors it holds is up to the engine where they were zeroed, so it says.
func (m *Model) RebaseUnsafely(onto *Model, holds func(sector int64) bool) {
	leaf := m.leaf()
	for sector := range int64(len(leaf.states)) {
		if holds(sector) {
			m.own(sector)
		} else {
			leaf.states[sector] = untouched
		}
	}
	m.layers = append(slices.Clone(onto.layers), leaf)
}

// ReadAt reads the leaf over its parents.
func (m *Model) ReadAt(p []byte, off int64) (int, error) {
	if err := m.checkRange(off, int64(len(p))); err != nil {
		return 0, err
	}
	for n := 0; n < len(p); {
		sector, within := (off+int64(n))/SectorSize, (off+int64(n))%SectorSize
		n += copy(p[n:], m.merged(sector)[within:])
	}
	return len(p), nil
}

// Content is what the leaf reads as, whole.
func (m *Model) Content() []byte {
	content := make([]byte, m.Size())
	for sector := range int64(len(m.leaf().states)) {
		copy(content[sector*SectorSize:], m.merged(sector))
	}
	return content
}

// Below is what the leaf would read as if nothing had ever been written to it.
func (m *Model) Below() []byte {
	bare := &Model{append(slices.Clone(m.layers[:m.Depth()]), newLayer(m.Size()))}
	return bare.Content()
}

// Compact makes untouched what reads the same without the leaf: sectors of a leaf that has parents, whole blocks of
// one that has none.
func (m *Model) Compact(blockSize int64) {
	unit := int64(SectorSize)
	if m.Depth() == 0 {
		unit = blockSize
	}
	now, below := m.Content(), m.Below()
	for off := int64(0); off < m.Size(); off += unit {
		end := min(off+unit, m.Size())
		if !bytes.Equal(now[off:end], below[off:end]) {
			continue
		}
		for sector := off / SectorSize; sector*SectorSize < end; sector++ {
			m.leaf().states[sector] = untouched
		}
	}
}

// Owner is the depth, 0 for the leaf, of the layer that must serve the sector, or NoOwner where none needs
// to. It isn't certain for sectors that were zeroed, where the engine may choose. An engine that makes whole
// blocks of a disk without a parent present serves more from there than its Owner tells.
func (m *Model) Owner(sector int64) (depth int, certain bool) {
	for i := len(m.layers) - 1; i >= 0 && sector < int64(len(m.layers[i].states)); i-- {
		switch m.layers[i].states[sector] {
		case written:
			return len(m.layers) - 1 - i, true
		case zeroed:
			return NoOwner, false
		case untouched:
		}
	}
	return NoOwner, true
}

func (m *Model) checkRange(off, n int64) error {
	if off < 0 || n < 0 || off > m.Size() || n > m.Size()-off {
		return fmt.Errorf("vhdtest: %d bytes at %d are outside a disk of %d", n, off, m.Size())
	}
	return nil
}

// sectorLen is 512, but for the last sector of a disk whose size isn't a multiple of it.
func (m *Model) sectorLen(sector int64) int64 { return min(SectorSize, m.Size()-sector*SectorSize) }

// own makes the sector the leaf's, with what it reads as, and returns its bytes for writing.
func (m *Model) own(sector int64) []byte {
	leaf := m.leaf()
	own := leaf.data[sector*SectorSize:][:m.sectorLen(sector)]
	if leaf.states[sector] == untouched {
		copy(own, m.merged(sector))
	}
	leaf.states[sector] = written
	return own
}

// merged is what the sector reads as: of the topmost layer that was written, zeros if a layer between ends
// before it. A last sector that is shorter in a lower layer reads as zeros past that layer's end.
func (m *Model) merged(sector int64) []byte {
	start := sector * SectorSize
	out := make([]byte, m.sectorLen(sector))
	n := int64(len(out)) // how much of it every layer so far has
	for _, l := range slices.Backward(m.layers) {
		if n = min(n, l.size-start); n <= 0 {
			break
		}
		if l.states[sector] != untouched {
			copy(out[:n], l.data[start:])
			break
		}
	}
	return out
}

// Merge folds the layers of the depths from to into-1 into the one of depth into. Zeros count as zeroed in it: an engine
// may hold them or not.
func (m *Model) Merge(from, into int) {
	top, bottom := m.Depth()-from, m.Depth()-into
	folded := newLayer(m.layers[top].size)
	for sector := range folded.states {
		for _, l := range slices.Backward(m.layers[bottom : top+1]) {
			if sector >= len(l.states) {
				folded.states[sector] = zeroed
				break
			}
			if l.states[sector] == untouched {
				continue
			}
			folded.states[sector] = zeroed
			own := folded.data[sector*SectorSize:][:min(SectorSize, folded.size-int64(sector)*SectorSize)]
			if copy(own, l.data[sector*SectorSize:]); !bytes.Equal(own, make([]byte, len(own))) {
				folded.states[sector] = written
			}
			break
		}
	}
	m.layers = slices.Replace(m.layers, bottom, top+1, folded)
}

// Resize gives the leaf another size. What comes into being reads as zeros, whatever is below.
func (m *Model) Resize(size int64) {
	old := m.leaf()
	leaf := newLayer(size)
	copy(leaf.data, old.data)
	for sector := copy(leaf.states, old.states); sector < len(leaf.states); sector++ {
		leaf.states[sector] = zeroed
	}
	m.layers[len(m.layers)-1] = leaf
}
