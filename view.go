package vhd

import "slices"

// view is the images that a disk consists of by now, and the block maps over
// them. What changes the chain puts another view in its place, with the disk's
// lock held exclusively; readers need no lock to find it.
//
// Layers have numbers, which block maps know them by. A number stays what it is
// for as long as the disk is open: a layer that comes on top gets the next one,
// and the maps of before stay right.
type view struct {
	size    int64
	layers  []*layer     // by number
	chain   []int32      // their numbers, leaf first
	depths  []int        // of layers by number: where they are in chain, or Hole
	windows *windowTable // nil for a fixed leaf

	leaf      *leaf // of a writable disk with blocks
	parentErr error // instead of what only a missing parent holds
}

// top is the layer of the leaf.
func (v *view) top() *layer { return v.layers[v.chain[0]] }

// at is the layer of Chain()[depth].
func (v *view) at(depth int) *layer { return v.layers[v.chain[depth]] }

// with is the view with another layer in place of the one that has its number, for a
// disk of size bytes.
func (v *view) with(l *layer, size int64) *view {
	after := *v
	after.layers = slices.Clone(v.layers)
	after.layers[l.number] = l
	if after.size = size; size != v.size && v.windows != nil {
		after.windows = newWindowTable(size)
	}
	return &after
}

// setChain makes the layers with these numbers the chain, leaf first.
func (v *view) setChain(numbers []int32) {
	v.chain, v.depths = numbers, make([]int, len(v.layers))
	for number := range v.depths {
		v.depths[number] = Hole
	}
	for depth, number := range numbers {
		v.depths[number] = depth
	}
}

// view is the disk as it is by now. It can change unless the disk's lock is held.
func (d *Disk) view() *view { return d.current.Load() }

// leaf is the leaf of a writable disk with blocks, else nil.
func (d *Disk) leaf() *leaf { return d.view().leaf }
