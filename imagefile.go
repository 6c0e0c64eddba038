package vhd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
)

// What is known of the files of an open disk's images: under which names they are opened
// again, where they are, what room there is, and how one goes.

// nameOf is the name by which an image is opened again, as the caller wrote it or, where
// that may mean something else by now, the absolute one; empty: it is not known.
func (o *Options) nameOf(m *Image, abs string) string {
	if o.FS != nil || abs == "" {
		return m.name
	}
	return filepath.FromSlash(abs)
}

// fileName is that of an image of the chain.
func (d *Disk) fileName(l *layer) string { return d.opts.nameOf(l.img, l.abs) }

// absOf is the absolute name of an image of the chain.
func (d *Disk) absOf(l *layer) (string, error) {
	if l.abs != "" {
		return l.abs, nil
	}
	if d.opts.FS != nil {
		return absIn(d.opts.FS, l.img.name), nil
	}
	abs, err := realPath(l.img.name)
	return filepath.ToSlash(abs), err
}

// directoryOf is where an image's file is.
func (d *Disk) directoryOf(l *layer) directory {
	name := d.fileName(l)
	if d.opts.FS == nil {
		name = filepath.ToSlash(name)
		return directory{fs: osFS{}, dir: dirOf(name), name: name}
	}
	return directory{fs: d.opts.FS, dir: path.Dir(name), name: name}
}

// directories are those that the images are in.
func (d *Disk) directories() (dirs []string) {
	v := d.view()
	for depth := range v.chain {
		if dir := d.directoryOf(v.at(depth)).dir; !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// hasFile says whether a file is one of the chain's, by its absolute name or as one of the
// operating system's.
func (d *Disk) hasFile(abs string, info fs.FileInfo) bool {
	v := d.view()
	return slices.ContainsFunc(v.chain, func(number int32) bool {
		l := v.layers[number]
		if name, err := d.absOf(l); err == nil && name == abs {
			return true
		}
		own, err := l.file.Stat()
		return err == nil && os.SameFile(own, info)
	})
}

// roomNeeded is what the file of a disk's leaf takes more than it does, for what is to be
// written: pieces, each behind the one before.
type roomNeeded struct {
	disk   *Disk
	behind int64 // what was counted, of a disk without blocks
	bytes  int64
	block  int64 // the next one that was not counted
	absent int64 // blocks that have to come
}

// add counts n bytes at off, which may be behind the disk's end.
func (r *roomNeeded) add(off, n int64) {
	v := r.disk.view()
	if v.leaf == nil {
		r.addHoles(max(off/holeUnit*holeUnit, r.behind), roundUp(off+n, holeUnit))
		return
	}
	m := v.leaf.img
	for block := max(off/m.header.BlockSize, r.block); block*m.header.BlockSize < off+n; block++ {
		if block >= m.nblocks || v.firstBlock(v.chain[0], block, block+1) > block {
			r.absent++
		}
		r.block = block + 1
	}
}

// addHoles counts what is a hole in the file of a fixed disk, or behind its end.
func (r *roomNeeded) addHoles(from, to int64) {
	if r.behind = max(r.behind, to); from >= to {
		return
	}
	l := r.disk.view().top()
	r.bytes += to - from
	for data, end := range dataOf(l.data, from, min(to, l.img.footerOff)) {
		r.bytes -= end - data
	}
}

// blocks is how many have to come for which the file has no place.
func (r *roomNeeded) blocks() int64 {
	if w := r.disk.leaf(); w != nil {
		return max(r.absent-int64(len(w.space.freeSlots)), 0)
	}
	return 0
}

// check is why there is no room for all of it.
func (r *roomNeeded) check() error {
	n := r.bytes
	if w := r.disk.leaf(); w != nil {
		n = r.blocks() * w.img.slotSize()
	}
	return r.disk.checkRoom(r.disk.fileName(r.disk.view().top()), n)
}

// checkRoom is why n bytes more find no room where a file is.
func (d *Disk) checkRoom(name string, n int64) error {
	s, ok := d.opts.files().(spacer)
	if !ok || n == 0 {
		return nil
	}
	free, err := s.FreeSpace(name)
	if err != nil || free >= n {
		return nil //nolint:nilerr // who can't tell has no say
	}
	return inFile(name, fmt.Errorf("%w: %d bytes are needed, and %d are free", ErrNoSpace, n, free))
}

// areTwoFiles says that what is known of one file and of another is not of one and the
// same. Only files of the operating system's can be told apart.
func areTwoFiles(a, b fs.FileInfo) bool { return os.SameFile(a, a) && !os.SameFile(a, b) }

// errReplaced is of a name that stands for another file than before.
var errReplaced = fmt.Errorf("%w: it was replaced", ErrLocked)

// removeFile closes and removes an image that nothing leads to any more, unless its
// name stands for another file by now.
func (d *Disk) removeFile(l *layer) error {
	own, err := l.file.Stat()
	if err = joined(err, closeFile(l.file)); err != nil {
		return err
	}
	dir := d.directoryOf(l)
	if s, ok := dir.fs.(statter); ok {
		now, err := s.Stat(dir.name)
		if errors.Is(err, fs.ErrNotExist) || err == nil && areTwoFiles(own, now) {
			return nil
		}
	}
	return dir.takeBack()
}

// removeLeaf removes the file of the leaf, which another image is about to take the
// place of.
func (d *Disk) removeLeaf(dir directory) error {
	if err := dir.fs.Remove(dir.name); err != nil {
		return err
	}
	if err := dir.fs.SyncDir(dir.dir); err != nil {
		return d.breakDown(err) // it may come back, and hide what is written from now on
	}
	return nil
}
