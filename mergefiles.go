package vhd

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

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
	entries, err := m.disk.opts.files().ReadDir(dir)
	if err != nil {
		return err
	}
	var s scratch
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if e.Type()&(fs.ModeDir|fs.ModeNamedPipe|fs.ModeDevice|fs.ModeSocket) != 0 || strings.HasSuffix(e.Name(), tempSuffix) {
			continue
		}
		name := path.Join(dir, e.Name())
		parent, err := m.disk.parentAmong(ids, name, &s)
		if err == nil && parent != "" {
			parent, err = m.disk.parentAmongLater(ids, name, &s)
		}
		if err != nil {
			return inFile(name, err) // it may be one
		}
		if parent != "" {
			return inFile(parent, fmt.Errorf("%w: %s", ErrOtherChildren, name))
		}
	}
	return nil
}

// parentAmongLater is parentAmong once no snapshot is on its way any more: what it makes
// is no other child.
func (d *Disk) parentAmongLater(ids map[uuid.UUID]string, name string, s *scratch) (parent string, err error) {
	d.depths.Lock()
	defer d.depths.Unlock()
	return d.parentAmong(ids, name, s)
}

// parentAmong is which of some images is the parent of one that is not in the chain;
// empty if none is, or it is no image.
func (d *Disk) parentAmong(ids map[uuid.UUID]string, name string, s *scratch) (parent string, err error) {
	f, err := d.opts.files().OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		if isAbsent(err) {
			err = nil
		}
		return "", err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || d.hasFile(name, info) {
		return "", err
	}
	img, err := readImage(name, f, info.Size(), s)
	if isFormatError(err) {
		return "", nil
	}
	if err != nil || img.footer.Type != Differencing {
		return "", err
	}
	for id, parent := range ids {
		if img.namesParent(id) {
			return parent, nil
		}
	}
	return "", nil
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
