package vhd

import (
	"fmt"
	"os"
)

// What RebaseTree and Rename have in common: references that are written anew while what
// they lead to stays the same.

// findParentOf finds the parent of the image called name, as Open does.
func findParentOf(name string, opts Options) (link, error) {
	opts.Writable, opts.NoParents = false, false
	c := chain{opts: &opts}
	defer func() { c.close() }()
	leaf, err := c.openLeaf(name)
	if err != nil {
		return link{}, err
	}
	c.links = append(c.links, &leaf)
	if err := c.enterPlace(name); err != nil {
		return link{}, err
	}
	defer c.place.release()
	parent, err := c.findParent(&leaf)
	if err == nil {
		c.links = append(c.links, &parent)
	}
	return parent, err
}

// openAlone opens for writing an image that was found, without its parent.
func (k *kin) openAlone(opts Options) (*Disk, error) {
	opts.Writable, opts.NoParents = true, true
	d, err := Open(k.name, &opts)
	if err != nil {
		return nil, err
	}
	info, err := d.view().top().file.Stat()
	if isOS := err == nil && os.SameFile(info, info); isOS && !os.SameFile(info, k.info) || d.view().top().img.header.ParentID != k.parentID {
		err = fmt.Errorf("%w: it was replaced", ErrLocked)
	}
	if err != nil {
		return nil, inFile(k.name, joined(err, d.Close()))
	}
	return d, nil
}

// refer makes the leaf, whose parent stays the same, refer to it by other paths.
func (d *Disk) refer(p *newParent) error {
	return d.explain(d.changeHeader(func(c *headerChange) error { return c.changeParent(p) }))
}

// referable is why the leaf can't refer to a parent like p.
func (d *Disk) referable(p *newParent) error {
	header := d.view().top().img.header
	_, _, err := p.placeIn(&header)
	return d.explain(err)
}
