package vhd

import (
	"context"
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
	return f.eachChild(ctx, true, m.disk.hasFile, func(k *kin) error {
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
	info, err := l.file.Stat()
	if err != nil {
		return nil, err
	}
	return newParentOf(child, d.fileName(l), l.img.footer.ID, info.ModTime(), &d.opts)
}

// mergeToFile makes a new image of what Chain()[from] to Chain()[into] hold.
func (d *Disk) mergeToFile(ctx context.Context, v *view, from, into int, opts *MergeOptions) error {
	source, err := d.from(v, from)
	if err != nil {
		return err
	}
	receiver := v.at(into).img
	export := ExportOptions{Type: receiver.footer.Type, Progress: opts.Progress}
	if export.Type != Fixed {
		export.BlockSize = receiver.header.BlockSize
	}
	c := creation{name: opts.Output, opts: &CreateOptions{Options: d.opts}}
	if export.Type == Differencing {
		if into+1 == len(v.chain) {
			return inFile(receiver.name, v.parentErr)
		}
		export.Base = into + 1 - from
		if !d.nameless { // else what an export finds out is all that is known
			if export.parent, err = d.asParentOf(opts.Output, v.at(into+1)); err != nil {
				return err
			}
		}
	}
	dir, err := c.directory()
	if err == nil && export.Type != Fixed { // which may be mostly holes
		var size int64
		if size, err = source.ExportSize(ctx, export); err == nil {
			err = d.checkRoom(opts.Output, size)
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

// from is a disk of the images from Chain()[depth] on, as far as they are frozen: of
// the leaf it is the disk itself.
func (d *Disk) from(v *view, depth int) (*Disk, error) {
	if depth == 0 {
		return d, nil
	}
	opts := d.opts
	opts.Writable, opts.NoParents = false, v.parentErr != nil
	c := chain{opts: &opts}
	for ; depth < len(v.chain); depth++ {
		l := v.at(depth)
		c.links = append(c.links, &link{img: l.img, file: l.file, abs: l.abs})
	}
	return c.disk()
}
