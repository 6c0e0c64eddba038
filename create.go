package vhd

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// CreateOptions say what Create makes.
type CreateOptions struct {
	// Options are as for Open, of the new image and of its parents. The disk is
	// always open for writing. With an empty Root, Parent may be anywhere, and
	// its own parents are looked for in the directory that holds it; opening the
	// image again takes a Root that holds them all.
	Options

	Type      DiskType  // zero: Differencing if Parent is given, else Dynamic
	Size      int64     // bytes, a multiple of SectorSize; zero for a differencing disk: its parent's
	Parent    string    // name of the parent of a differencing disk
	BlockSize int64     // bytes, a power of two from 512 to 256 MiB; zero: 2 MiB
	ID        uuid.UUID // identifier; zero: a new one
	Time      time.Time // of creation; zero: now
	Creator   string    // what the footer names as the application that made it, four bytes such as CreatorWindows, else it is fs.ErrInvalid; empty: CreatorVHD

	// Perm is who may read and write the file, before the umask, of which the nine permission
	// bits count; zero: anybody, 0666. Where the content comes from a file that not everybody
	// may read, that file's. It is what the FS gets. Snapshot goes without: the new leaf is as
	// readable as the old one.
	Perm fs.FileMode
}

// Create makes an image and opens it for writing. It appears under its name
// whole, or not at all, whatever happens meanwhile. A file that has the name
// already is left alone: the error matches [fs.ErrExist].
//
// A new image takes no space for what was not written, but for a table of 4
// bytes a block, and reads as zeros, or as its parent does. A differencing disk records its parent's identifier, time
// of last modification, and both its path relative to the new image and its
// absolute path, as Windows does. It may be larger or smaller than its parent.
//
// Options that make no sense are [fs.ErrInvalid]. Dynamic and differencing disks
// have at most MaxDynamicSize bytes: a larger one is ErrUnsupported, as is a
// parent whose name can't be stored as a Windows path. That the file system has surely
// too little room, where it can tell, is ErrNoSpace. Errors about the parent are those of Open.
func Create(name string, opts CreateOptions) (*Disk, error) {
	opts.Writable = true
	c := creation{name: name, opts: &opts, chain: chain{opts: &opts.Options}}
	disk, err := c.create()
	if err != nil {
		c.chain.close()
		return nil, inFile(name, err)
	}
	return disk, nil
}

// creation is an image on its way into being.
type creation struct {
	name  string
	opts  *CreateOptions
	chain chain // its parents
	image newImage

	parentAbs string // the parent's name, absolute and slash-separated
}

func (c *creation) create() (*Disk, error) {
	if err := c.describe(); err != nil {
		return nil, err
	}
	dir, err := c.directory()
	if err != nil {
		return nil, err
	}
	if err := c.publish(dir); err != nil {
		return nil, err
	}
	disk, err := c.open()
	if err != nil && !errors.Is(err, ErrLocked) { // unless it is somebody else's by now
		err = joined(err, dir.takeBack())
	}
	return disk, err
}

// describe finds out all that there is to know of the image.
func (c *creation) describe() error {
	if c.name == "" {
		return fmt.Errorf("%w: an image needs a name", fs.ErrInvalid)
	}
	c.image = newImage{diskType: c.opts.Type, size: c.opts.Size, blockSize: c.opts.BlockSize, id: c.opts.ID, time: c.opts.Time, creator: c.opts.Creator}
	if err := c.fillIn(); err != nil {
		return err
	}
	return c.image.check()
}

// publish makes the image appear, unless its name is taken or there is surely no room for it.
func (c *creation) publish(dir directory) error {
	if err := c.checkRoom(); err != nil {
		return cmp.Or(dir.isFree(), err)
	}
	return dir.publish(c.image.write)
}

// checkRoom is why there is surely too little room for the new image.
func (c *creation) checkRoom() error {
	n, err := c.image.needs()
	if err != nil {
		return err
	}
	return c.opts.checkRoom(c.name, n)
}

// fillIn puts what the caller left to us in place of zeros, and opens the
// parent.
func (c *creation) fillIn() error {
	n := &c.image
	switch {
	case n.diskType == 0 && c.opts.Parent != "":
		n.diskType = Differencing
	case n.diskType == 0:
		n.diskType = Dynamic
	}
	if n.diskType == Differencing && c.opts.Parent == "" {
		return fmt.Errorf("%w: a differencing disk needs a parent", fs.ErrInvalid)
	}
	if n.diskType != Differencing && c.opts.Parent != "" {
		return fmt.Errorf("%w: a %v disk has no parent", fs.ErrInvalid, n.diskType)
	}
	if err := n.fillIn(); err != nil || n.diskType != Differencing {
		return err
	}
	return c.openParent()
}

// openParent opens the parent and its parents, and notes what the child is to
// record.
func (c *creation) openParent() error {
	parents := &c.chain
	opts := c.opts.Options
	opts.Writable = false
	parents.opts = &opts
	leaf, err := parents.openLeaf(c.opts.Parent)
	if err != nil {
		return inFile(c.opts.Parent, err)
	}
	parents.links = append(parents.links, &leaf)
	if err := parents.openParents(c.opts.Parent); err != nil {
		return err
	}
	if err := parents.check(len(parents.links)); err != nil {
		return err
	}
	if c.image.size == 0 {
		c.image.size = leaf.img.footer.CurrentSize
	}
	c.image.parent, err = c.newParent(leaf.img.footer.ID, leaf.info.ModTime())
	leaf.abs = c.parentAbs
	return err
}

// newParent is what the new image is to record of its parent, which has that identifier,
// and was written to last at that time.
func (c *creation) newParent(id uuid.UUID, modified time.Time) (*newParent, error) {
	absolute, relative, err := c.parentPaths()
	if err != nil {
		return nil, err
	}
	return &newParent{id: id, modified: modified, absolute: absolute, relative: relative}, nil
}

// newParentOf is what the image called child is to record of the one called parent, which
// has that identifier, and was written to last at that time.
func newParentOf(child, parent string, id uuid.UUID, modified time.Time, opts *Options) (*newParent, error) {
	c := creation{name: child, opts: &CreateOptions{Options: *opts, Parent: parent}}
	return c.newParent(id, modified)
}

// parentPaths are the parent's absolute path and the one relative to the new
// image, both as Windows writes them.
func (c *creation) parentPaths() (absolute, relative string, err error) {
	child, err := newPlaceFor(c.name, &c.opts.Options)
	if err != nil {
		return "", "", err
	}
	defer child.release()
	parent, err := child.locate(c.opts.Parent)
	if err != nil {
		return "", "", err
	}
	if c.opts.Root != "" {
		if err := child.allows(parent); err != nil {
			return "", "", inFile(c.opts.Parent, err)
		}
	}
	c.parentAbs = parent
	absolute = strings.ReplaceAll(parent, "/", `\`)
	way, ok := relativeTo(child.dir, parent)
	if !ok {
		return absolute, "", nil
	}
	relative = strings.ReplaceAll(way, "/", `\`)
	// A name with a colon, say, is fine here and can't be followed.
	if p := parseStoredPath(W2ru.String(), relative); p.err != nil || joinName(child.dir, p.components) != parent {
		return "", "", inFile(c.opts.Parent, errNotStorable)
	}
	return absolute, relative, nil
}

var errNotStorable = fmt.Errorf("%w: its name can not be stored as a Windows path", ErrUnsupported)

// asParent is what a child that stands beside the image records of it.
func (l *layer) asParent() (*newParent, error) {
	info, err := l.file.Stat()
	if err != nil {
		return nil, inFile(l.img.name, err)
	}
	p := &newParent{id: l.img.footer.ID, modified: info.ModTime(), absolute: strings.ReplaceAll(l.abs, "/", `\`)}
	name := cmp.Or(l.abs, info.Name())
	if name == "" {
		return p, nil // nobody knows it
	}
	name = path.Base(name)
	p.relative = `.\` + name
	if stored := parseStoredPath(W2ru.String(), p.relative); stored.err != nil || !slices.Equal(stored.components, []string{name}) {
		return nil, inFile(l.img.name, errNotStorable)
	}
	return p, nil
}

// relativeTo is the way from the directory dir to name, both absolute and
// slash-separated, as Windows begins it.
func relativeTo(dir, name string) (string, bool) {
	volume := volumeOf(dir)
	if volume != volumeOf(name) {
		return "", false
	}
	from := strings.FieldsFunc(dir[len(volume):], func(r rune) bool { return r == '/' })
	to := strings.FieldsFunc(name[len(volume):], func(r rune) bool { return r == '/' })
	same := 0
	for same < len(from) && same < len(to)-1 && from[same] == to[same] {
		same++
	}
	rest := strings.Join(to[same:], "/")
	if same == len(from) {
		return "./" + rest, true
	}
	return strings.Repeat("../", len(from)-same) + rest, true
}

// open opens the image that has come into being, on top of its parents.
func (c *creation) open() (*Disk, error) {
	l, err := c.openMade()
	if err != nil {
		return nil, err
	}
	leaf := chain{opts: &c.opts.Options, links: append([]*link{&l}, c.chain.links...)}
	disk, err := leaf.disk()
	if err != nil {
		return nil, joined(err, closeFile(l.file))
	}
	return disk, nil
}

// openMade opens the image that has come into being, and nothing below it.
func (c *creation) openMade() (link, error) {
	leaf := chain{opts: &c.opts.Options}
	l, err := leaf.openLeaf(c.name)
	if err == nil && l.img.footer.ID != c.image.id {
		err = joined(errReplaced, closeFile(l.file))
	}
	return l, err
}

// directory is where a file comes into being.
type directory struct {
	fs   FS
	dir  string
	name string
	perm fs.FileMode // before the umask; 0: anybody may read and write
}

func (c *creation) directory() (directory, error) {
	dir, err := directoryOf(c.name, c.opts.FS)
	dir.perm = c.opts.Perm.Perm()
	return dir, err
}

// directoryOf is where a file called name comes into being; a nil fsys is the
// operating system's files.
func directoryOf(name string, fsys FS) (directory, error) {
	if fsys != nil {
		return directory{fs: fsys, dir: path.Dir(name), name: name}, nil
	}
	real, err := realName(name)
	if err != nil {
		return directory{}, err
	}
	name = filepath.ToSlash(real)
	return directory{fs: osFS{}, dir: dirOf(name), name: name}, nil
}

// abs is the absolute name of the file.
func (d directory) abs() string { return absIn(d.fs, d.name) }

// tempSuffix ends the name of a file that is not an image yet. One whose making
// failed for good may be left.
const tempSuffix = ".vhd-tmp"

// publish makes a file with what write puts in it appear under its name. Until
// all is durable it has another, which is taken away if anything fails.
func (d directory) publish(write func(File) error) error {
	if err := d.isFree(); err != nil {
		return err
	}
	temp := strings.TrimSuffix(d.name, path.Base(d.name)) + "." + rand.Text() + tempSuffix
	if err := d.fill(temp, write); err != nil {
		return err
	}
	if err := d.rename(temp); err != nil {
		return joined(err, d.fs.Remove(temp))
	}
	if err := d.fs.SyncDir(d.dir); err != nil {
		return joined(err, d.fs.Remove(d.name))
	}
	return nil
}

// isFree is why the name can't be given to a file.
func (d directory) isFree() error {
	f, err := d.fs.OpenFile(d.name, os.O_RDONLY, 0)
	if err == nil {
		return joined(fs.ErrExist, f.Close())
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// takeBack takes away what publish made.
func (d directory) takeBack() error {
	if err := d.fs.Remove(d.name); err != nil {
		return err
	}
	return d.fs.SyncDir(d.dir)
}

// fill makes the file temp and makes what write puts in it durable.
func (d directory) fill(temp string, write func(File) error) error {
	f, err := d.fs.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, cmp.Or(d.perm, 0o666))
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = joined(err, f.Close()); err != nil {
		return joined(err, d.fs.Remove(temp))
	}
	return nil
}

// rename gives temp its name, which nobody has. Where files can have two names,
// nobody can have got it meanwhile either.
func (d directory) rename(temp string) error {
	if l, ok := d.fs.(linker); ok {
		err := l.Link(temp, d.name)
		if err == nil {
			if err = d.fs.Remove(temp); err != nil {
				return joined(err, d.fs.Remove(d.name))
			}
			return nil
		}
		if errors.Is(err, fs.ErrExist) {
			return fs.ErrExist
		}
	}
	if err := d.isFree(); err != nil {
		return err
	}
	return d.fs.Rename(temp, d.name)
}
