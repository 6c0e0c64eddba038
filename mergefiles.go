package vhd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/google/uuid"
)

// refuseOtherChildren looks for images that one of those which are about to change,
// or to go, is the parent of.
func (m *merge) refuseOtherChildren(ctx context.Context) error {
	if m.opts.Force {
		return nil
	}
	v := m.disk.view()
	ids := map[uuid.UUID]string{}
	for depth := v.depths[m.from]; depth <= v.depths[m.into]; depth++ {
		ids[v.at(depth).img.footer.ID] = v.at(depth).img.name
	}
	delete(ids, uuid.UUID{}) // which anything may have
	for _, dir := range m.disk.directories() {
		if err := m.refuseChildrenIn(ctx, dir, ids); err != nil {
			return err
		}
	}
	return nil
}

func (m *merge) refuseChildrenIn(ctx context.Context, dir string, ids map[uuid.UUID]string) error {
	f, err := newFolder(dir, &m.disk.opts, "/")
	if err != nil {
		return err
	}
	defer f.release()
	err = f.eachChild(ctx, m.disk.hasFile, func(k *kin) error {
		if parentAmong(ids, k) == "" {
			return nil
		}
		m.disk.depths.Lock() // once no snapshot is on its way any more: what it makes is no other child
		defer m.disk.depths.Unlock()
		again, err := f.child(k.abs, m.disk.hasFile)
		if err != nil || again == nil {
			return err
		}
		if parent := parentAmong(ids, again); parent != "" {
			return inFile(parent, fmt.Errorf("%w: %s", ErrOtherChildren, k.name))
		}
		return nil
	})
	if err == nil || ctx.Err() != nil || errors.Is(err, ErrOtherChildren) {
		return err
	}
	if file, ok := errors.AsType[*FileError](err); ok {
		return inFile(file.Name, &unseenChildError{file.Err})
	}
	return inFile(dir, &unseenChildError{err})
}

// parentAmong is which of some images is the parent of one; empty if none is.
func parentAmong(ids map[uuid.UUID]string, k *kin) string {
	for id, parent := range ids {
		if k.img.namesParent(id) {
			return parent
		}
	}
	return ""
}

// asParentOf is what the image called child is to record of a layer as its parent.
func (d *Disk) asParentOf(child string, l *layer) (*newParent, error) {
	return l.asParentOf(child, &d.opts)
}

// asParentOf is the same, with these options.
func (l *layer) asParentOf(child string, opts *Options) (*newParent, error) {
	info, err := l.file.Stat()
	if err != nil {
		return nil, err
	}
	return newParentOf(child, opts.nameOf(l.img, l.abs), l.img.footer.ID, info.ModTime(), opts)
}

// mergeToFile makes a new image of what Chain()[from] to Chain()[into] hold.
func (d *Disk) mergeToFile(ctx context.Context, v *view, from, into int, opts *MergeOptions) error {
	source, own, err := d.from(v, from)
	if err != nil {
		return err
	}
	export, err := d.exportLike(v, into, opts)
	if err != nil {
		return err
	}
	if export.Type == Differencing {
		export.base = &own.at(into + 1 - from).number
	}
	dir, err := d.placeOf(opts.Output, v.between(from, into+1)...)
	if err == nil && export.Type != Fixed { // which may be mostly holes
		var size int64
		if size, err = source.ExportSize(ctx, export); err == nil {
			err = d.opts.checkRoom(opts.Output, size)
		}
	}
	if err != nil || opts.DryRun {
		return inFile(opts.Output, err)
	}
	return inFile(opts.Output, dir.publish(func(f File) error {
		var w io.Writer = io.NewOffsetWriter(f, 0)
		if file, ok := f.(*os.File); ok {
			w = file
		}
		_, err := source.Export(ctx, w, export)
		return err
	}))
}

// exportLike is how the new image is exported: as Chain()[into] is.
func (d *Disk) exportLike(v *view, into int, opts *MergeOptions) (export ExportOptions, err error) {
	receiver := v.at(into).img
	export = ExportOptions{Type: receiver.footer.Type, Progress: opts.Progress}
	if export.Type != Fixed {
		export.BlockSize = receiver.header.BlockSize
	}
	if export.Type != Differencing {
		return export, nil
	}
	if into+1 == len(v.chain) {
		return export, inFile(receiver.name, v.parentErr)
	}
	if d.nameless { // what an export finds out is all that is known
		return export, nil
	}
	export.Name = opts.Output
	_, err = d.asParentOf(export.Name, v.at(into+1)) // outside Root, for one
	return export, err
}

// from is a disk of the images from Chain()[depth] on, as far as they are frozen: of
// the leaf it is the disk itself. It comes with its view, which that disk may have left
// behind.
func (d *Disk) from(v *view, depth int) (*Disk, *view, error) {
	if depth == 0 {
		return d, v, nil
	}
	opts := d.opts
	opts.Writable, opts.NoParents = false, v.parentErr != nil
	c := chain{opts: &opts}
	for ; depth < len(v.chain); depth++ {
		l := v.at(depth)
		c.links = append(c.links, &link{img: l.img, file: l.file, abs: l.abs})
	}
	disk, err := c.disk()
	if err != nil {
		return nil, nil, err
	}
	return disk, disk.view(), nil
}

// lookAt is a disk of the images from Chain()[depth] on, of the first of which it is known
// what its writer would know.
func (d *Disk) lookAt(v *view, depth int) (*Disk, error) {
	disk, own, err := d.from(v, depth)
	if err == nil && own.top().table != nil {
		own.leaf, err = newLeaf(own.top())
	}
	return disk, inFile(v.at(depth).img.name, err)
}
