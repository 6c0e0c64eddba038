package vhd

import (
	"fmt"
	"io/fs"
	"iter"
)

// ChangedExtents yields what of the n bytes from off on the image Chain()[upper]
// and its parents have stored otherwise than Chain()[lower] and its parents, where
// upper is less than lower: what one of the images from upper on, in front of
// lower, holds, with that image's depth. Where they read as zeros although lower
// or a parent of it holds data, since an image between ends before, there is an
// extent of depth [Hole]. All else reads the same from both. Whether data differs
// in content is not looked at.
//
// Extents are in order, and are as long as they can be: two that abut differ in
// depth. They end where the disk or Chain()[upper] does. What can't be told comes
// as in [Disk.Extents], as does an error about off and n; that upper and lower are
// not two indices in order is [fs.ErrInvalid].
func (d *Disk) ChangedExtents(upper, lower int, off, n int64) iter.Seq2[Extent, error] {
	return joinExtents(func(yield func(Extent, error) bool) {
		v := d.view()
		if err := v.checkLevels(upper, lower); err != nil {
			yield(Extent{Depth: Hole}, d.explain(err))
			return
		}
		if off < 0 || n < 0 {
			yield(Extent{Depth: Hole}, d.outOfRange(off, n))
			return
		}
		c := changes{disk: d, upper: v.chain[upper], lower: v.chain[lower]}
		end := min(v.size, v.at(upper).img.footer.CurrentSize)
		c.yieldAll(off, off+min(n, max(end-off, 0)), yield)
	})
}

// changedSince is ChangedExtents of the whole disk and the image that is the layer
// with that number, wherever it is in the chain by now.
func (d *Disk) changedSince(lower int32, off, n int64) iter.Seq2[Extent, error] {
	return joinExtents(func(yield func(Extent, error) bool) {
		c := changes{disk: d, upper: ofLeaf, lower: lower}
		c.yieldAll(off, off+min(n, max(d.Size()-off, 0)), yield)
	})
}

// checkLevels is why two images of the chain are not one above the other.
func (v *view) checkLevels(upper, lower int) error {
	depth := len(v.chain)
	if 0 <= upper && upper < lower && lower < depth {
		return nil
	}
	return fmt.Errorf("%w: images %d and %d of a chain of %d, want one above the other", fs.ErrInvalid, upper, lower, depth)
}

// changes finds, window by window, what the images from upper on have stored
// otherwise than those from lower on.
type changes struct {
	disk         *Disk
	upper, lower int32 // numbers of layers; upper may be ofLeaf
	size         int64 // bytes looked at; 0: the disk's size
	view         *view // as the last window was found in

	above, below mapBuilder
	extents      []mapExtent // of the last window: of layers, holes that are a change, failing ones; with gaps
	errs         []error     // for those that are failing
}

var errNotInChain = fmt.Errorf("%w: the image is not in the chain any more", fs.ErrInvalid)

// ofLeaf stands for whatever layer is the leaf.
const ofLeaf = -1

// yieldAll yields the changes from off on, up to end.
func (c *changes) yieldAll(off, end int64, yield func(Extent, error) bool) {
	for ; off < end; off = min((off/windowSize+1)*windowSize, end) {
		if err := c.disk.usable(); err != nil {
			yield(Extent{off, end - off, Hole}, err)
			return
		}
		if !c.yield(off, end, yield) {
			return
		}
	}
}

// yield yields the changes from off on, up to end, in the window that has off. It
// returns whether more are wanted.
func (c *changes) yield(off, end int64, yield func(Extent, error) bool) bool {
	window := off / windowSize
	c.find(window)
	for _, e := range c.extents {
		from := max(window*windowSize+int64(e.start)*SectorSize, off)
		to := min(window*windowSize+int64(e.end)*SectorSize, end)
		if from >= to {
			continue
		}
		x, err := Extent{from, to - from, Hole}, error(nil)
		switch e.layer {
		case hole:
		case failing:
			err = c.disk.opError(c.errs[e.off])
		default:
			x.Depth = c.view.depths[e.layer]
		}
		if !yield(x, err) {
			return false
		}
	}
	return true
}

// find finds the changes of a window.
func (c *changes) find(window int64) {
	if c.disk.syncs != nil {
		c.disk.mu.RLock()
		defer c.disk.mu.RUnlock()
	}
	c.findLocked(window)
}

// findLocked is find for who holds the disk's lock, shared or not.
func (c *changes) findLocked(window int64) {
	v := c.disk.view()
	upper, lower := 0, v.depths[c.lower]
	if c.upper != ofLeaf {
		upper = v.depths[c.upper]
	}
	c.view = v
	if upper < 0 || lower < 0 { // a Merge or a Rebase has taken them out of the chain
		c.extents = append(c.extents[:0], mapExtent{end: windowSectors, layer: failing})
		c.errs = []error{errNotInChain}
		return
	}
	if c.size != 0 {
		sized := *v
		sized.size = c.size
		v = &sized
	}
	c.above.askLayers(v, window, upper, lower)
	c.above.sort()
	c.extents, c.errs = c.extents[:0], c.above.errs
	c.above.errs = nil
	var below *blockMap
	for _, e := range c.above.extents {
		if e.layer != hole {
			c.extents = append(c.extents, e)
			continue
		}
		if below == nil {
			below, _ = c.below.build(v, window, lower)
		}
		c.addHoles(e, below)
	}
}

// addHoles adds that part of a hole which is none from lower on.
func (c *changes) addHoles(e mapExtent, below *blockMap) {
	for i := below.find(int(e.start)); e.start < e.end; i++ {
		served := below.extent(i)
		part := e.cut(e.start, min(served.end, e.end))
		e.start = part.end
		switch served.layer {
		case hole:
			continue
		case failing:
			part.layer, part.off = failing, int64(len(c.errs))
			c.errs = append(c.errs, (*below.errs)[served.off])
		}
		c.extents = append(c.extents, part)
	}
}
