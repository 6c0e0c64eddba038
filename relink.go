package vhd

import (
	"time"

	"github.com/google/uuid"
)

// What RebaseTree and Rename have in common: references that are written anew while what
// they lead to stays the same.

// findParentOf finds the parent of the image called name, as Open does. Others may use both:
// it only looks.
func findParentOf(name string, opts Options) (link, error) {
	opts.Writable, opts.NoParents, opts.Lock = false, false, LockNone
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
	if err != nil {
		return parent, err
	}
	c.links = append(c.links, &parent)
	if leaf.img.twin != nil {
		err = parent.makeDurable(&opts)
	}
	return parent, err
}

// relinked is an image whose references are written anew, open without its parent.
type relinked struct {
	*Disk
	fs       FS
	name     string
	modified time.Time // before it was opened
}

// openAlone opens for writing an image that was found, without its parent, which has that
// identifier.
func (k *kin) openAlone(opts Options, parent uuid.UUID) (*relinked, error) {
	opts.Writable, opts.NoParents = true, true
	c := chain{opts: &opts}
	l, err := c.openLeaf(k.name)
	if err != nil {
		return nil, inFile(k.name, err)
	}
	c.links = append(c.links, &l)
	r := &relinked{fs: opts.files(), name: k.name, modified: l.info.ModTime()}
	if r.Disk, err = k.diskOf(&c, parent); err != nil {
		c.close()
		return nil, inFile(k.name, err)
	}
	return r, nil
}

// diskOf is the disk of an image alone, if that is still what was found.
func (k *kin) diskOf(c *chain, parent uuid.UUID) (*Disk, error) {
	l := c.last()
	if err := l.img.settleTwin(parent); err != nil {
		return nil, err
	}
	if areTwoFiles(l.info, k.info) || l.img.header.ParentID != k.recordedOf(parent).id {
		return nil, errReplaced
	}
	return c.disk()
}

// refer makes the image, whose parent stays the same, refer to it by other paths. The
// disk in it stays the same too, so its file keeps its time where that can be, lest its
// children be taken for worthless.
func (r *relinked) refer(p *newParent) error {
	err := r.explain(r.changeHeader(func(c *headerChange) error {
		if err := c.changeParent(p); err != nil {
			return err
		}
		return r.settle() // which Close would do, later than the time is set
	}))
	if err == nil {
		keepTime(r.fs, r.name, r.modified)
	}
	return err
}

// referable is why the image can't refer to a parent like p.
func (r *relinked) referable(p *newParent) error { return r.view().top().mayName(p) }

// mayName is why the image can't name a parent like p.
func (l *layer) mayName(p *newParent) error {
	header := l.img.header
	_, _, err := p.placeIn(&header)
	return inFile(l.img.name, err)
}
