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

// between are the layers from Chain()[from] on, in front of Chain()[to].
func (v *view) between(from, to int) (layers []*layer) {
	for depth := from; depth < to; depth++ {
		layers = append(layers, v.at(depth))
	}
	return layers
}

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

// replaceLayer puts a layer in place of the one that has its number. Where its blocks
// are has not changed, for what is read from it. The disk's lock is held exclusively.
func (d *Disk) replaceLayer(l *layer) {
	v := d.view()
	d.current.Store(v.with(l, v.size))
}

// rereadLayer makes the disk see the structures of an image below the leaf as its
// file has them by now. If it can't be read, who changes the chain next tries again.
func (d *Disk) rereadLayer(number int32) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rereadFrom(d.view().depths[number])
}

// rereadFrom is rereadLayer of Chain()[depth], and of those above it of which two headers
// were found: which one counts is what the one below says. The disk's lock is held.
func (d *Disk) rereadFrom(depth int) error {
	for ; depth > 0; depth-- {
		v := d.view()
		before := v.at(depth)
		l, err := before.reread(int(before.number), d.cache)
		if err == nil && depth+1 < len(v.chain) {
			err = l.img.settleTwin(v.at(depth + 1).img.footer.ID)
		}
		if err != nil {
			stale := *before
			stale.stale = true
			d.replaceLayer(&stale)
			return inFile(before.img.name, err)
		}
		d.replaceLayer(l)
		if above := v.at(depth - 1); above.img.twin == nil && !above.stale {
			return nil
		}
	}
	return nil
}

// rereadStale reads again the images that could not be read when they had been changed,
// from below, as what is right of one may depend on that below it.
func (d *Disk) rereadStale() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for depth := len(d.view().chain) - 1; depth > 0; depth-- {
		if d.view().at(depth).stale {
			if err := d.rereadFrom(depth); err != nil {
				return err
			}
		}
	}
	return nil
}

// reread is the layer as its file has it by now, as a disk's number-th.
func (l *layer) reread(number int, c *cache) (*layer, error) {
	info, err := l.file.Stat()
	if err != nil {
		return nil, err
	}
	img, err := readImage(l.img.name, l.file, info.Size(), new(scratch))
	if err != nil {
		return nil, err
	}
	img.rememberBatmap(l.img)
	again := newLayer(number, img, l.file, c)
	again.abs = l.abs
	return again, nil
}

// replaceLayers puts one layer, which gets a new number, in place of those from
// Chain()[from] to Chain()[into], and returns these, but for the last. w is of a disk
// with blocks what the writer knows of the leaf. Reads that began before are done
// again. The disk's lock is held exclusively.
func (d *Disk) replaceLayers(from, into int, l *layer, w *leaf) (gone []*layer) {
	before := d.view()
	after := *before
	after.layers = append(slices.Clone(before.layers), l)
	gone = before.between(from, into)
	after.setChain(slices.Concat(before.chain[:from], []int32{l.number}, before.chain[into+1:]))
	after.leaf, after.windows = w, nil
	if after.top().table != nil {
		after.windows = newWindowTable(after.size)
	}
	d.current.Store(&after)
	d.reuses.Add(1)
	return gone
}

// view is the disk as it is by now. It can change unless the disk's lock is held.
func (d *Disk) view() *view { return d.current.Load() }

// leaf is the leaf of a writable disk with blocks, else nil.
func (d *Disk) leaf() *leaf { return d.view().leaf }
