package vhd

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// What RebaseTree and Rename have in common: images in folders, and references that
// are written anew while what they lead to stays the same.

// folder is where images are looked for.
type folder struct {
	*place
	scratch scratch
}

// newFolder is the directory that the caller calls name; empty: where names start. Nothing outside root is
// opened; empty: the directory itself.
func newFolder(name string, opts *Options, root string) (*folder, error) {
	if opts.FS != nil {
		return &folder{place: newFSPlace(path.Join(name, "image"), &Options{FS: opts.FS, Root: root})}, nil
	}
	real, err := realPath(cmp.Or(name, "."))
	if err != nil {
		return nil, err
	}
	shown := name
	if shown != "" && !os.IsPathSeparator(shown[len(shown)-1]) {
		shown += string(filepath.Separator)
	}
	p, err := newOSPlace(real, shown, root)
	return &folder{place: p}, err
}

// kin is an image that was found in a folder.
type kin struct {
	name     string // as Open takes it
	abs      string
	info     fs.FileInfo
	id       uuid.UUID
	isChild  bool
	parentID uuid.UUID // of a differencing disk
	img      *Image    // whose file is closed
}

// look reads the structures of a file. It is nil if the file is no image.
func (f *folder) look(abs string) (*kin, error) {
	file, err := f.open(abs)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, err
	}
	whole := wholeFile{file, info.Size()}
	footer, err := footerOf(whole, info.Size(), &f.scratch)
	if isFormatError(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	k := &kin{name: f.display(abs), abs: abs, info: info, id: footer.ID, isChild: footer.Type == Differencing}
	if !k.isChild {
		return k, nil
	}
	if k.img, err = readImage(k.name, whole, info.Size(), &f.scratch); err == nil {
		k.parentID = k.img.header.ParentID
	}
	return k, err
}

// wholeFile is a file that is as long as it was. That it ends earlier says nothing of
// what it holds.
type wholeFile struct {
	io.ReaderAt
	size int64
}

func (f wholeFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.ReaderAt.ReadAt(p, off)
	if n < len(p) && off+int64(n) < f.size && errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// list is what is in a directory, by name.
func (f *folder) list(dir string) ([]fs.DirEntry, error) {
	entries, err := f.readDir(dir)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

// is says whether a file is the image's, by its absolute name or as one of the
// operating system's.
func (k *kin) is(abs string, info fs.FileInfo) bool { return k.abs == abs || os.SameFile(k.info, info) }

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
	d.syncs.syncMu.Lock()
	defer d.syncs.syncMu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	return d.explain(d.changeParent(p))
}

// referable is why the leaf can't refer to a parent like p.
func (d *Disk) referable(p *newParent) error {
	header := d.view().top().img.header
	_, _, err := p.placeIn(&header)
	return d.explain(err)
}
