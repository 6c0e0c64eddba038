package vhd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"
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

// syncLayer makes durable what an image of the chain holds, which is open for reading.
func (d *Disk) syncLayer(l *layer) error {
	if d.nameless {
		return d.opts.syncFile(l.file, "")
	}
	return d.opts.syncFile(l.file, d.fileName(l))
}

// syncFile makes durable what was written to a file, by whomever, that is open for reading.
// Its name is empty if nobody knows it.
func (o *Options) syncFile(f File, name string) error {
	err := f.Sync()
	switch {
	case !isRefusal(err):
		return err
	case name == "":
		return nil // it is as durable as it can be made
	}
	return o.syncForWriting(f, name)
}

// syncForWriting syncs a file that is open for reading, which Windows refuses, by opening
// it for writing too. Where that can't be had, most often nobody else could write to it
// lately either.
func (o *Options) syncForWriting(reading File, name string) error {
	f, err := o.files().OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil //nolint:nilerr // it is as durable as it can be made
	}
	if isSameFile(reading, f) {
		err = f.Sync()
	}
	return joined(err, f.Close())
}

// isSameFile says whether two open files are one, as far as files can be told apart.
func isSameFile(f, other File) bool {
	info, err := f.Stat()
	if err != nil {
		return false
	}
	otherInfo, err := other.Stat()
	return err == nil && !areTwoFiles(info, otherInfo)
}

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

// directoryOf is where an image's file is: among the operating system's, the one that a
// symbolic link leads to.
func (d *Disk) directoryOf(l *layer) directory {
	name := d.fileName(l)
	if d.opts.FS != nil {
		return directory{fs: d.opts.FS, dir: path.Dir(name), name: name}
	}
	if real, err := filepath.EvalSymlinks(name); err == nil { // else it is there no more
		name = real
	}
	name = filepath.ToSlash(name)
	return directory{fs: osFS{}, dir: dirOf(name), name: name}
}

// directories are those that the images, and the links to them, are in.
func (d *Disk) directories() (dirs []string) {
	v := d.view()
	for depth := range v.chain {
		l := v.at(depth)
		dirs = append(dirs, d.directoryOf(l).dir)
		if d.opts.FS == nil {
			dirs = append(dirs, dirOf(filepath.ToSlash(d.fileName(l))))
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
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

// placeOf is where a new image called name comes into being that holds what layers do.
func (d *Disk) placeOf(name string, layers ...*layer) (directory, error) {
	dir, err := directoryOf(name, d.opts.FS)
	if err == nil {
		err = dir.isFree()
	}
	if err == nil {
		dir.perm, err = permOf(layers)
	}
	return dir, err
}

// permOf is who may read and write a file that holds what all of some images do: nobody who
// may not with each of them.
func permOf(layers []*layer) (fs.FileMode, error) {
	perm := fs.FileMode(0o666)
	for _, l := range layers {
		info, err := l.file.Stat()
		if err != nil {
			return 0, inFile(l.img.name, err)
		}
		perm &= info.Mode().Perm()
	}
	return perm | 0o600, nil // as its owner is who makes it
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
	if v.windows == nil {
		r.addHoles(max(off/holeUnit*holeUnit, r.behind), roundUp(off+n, holeUnit))
		return
	}
	m := v.top().img
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

// blocks is how many have to come for which the file has no place, between others or in
// front of its footer.
func (r *roomNeeded) blocks() int64 {
	v := r.disk.view()
	if r.absent == 0 || v.windows == nil {
		return 0
	}
	m, s := v.top().img, r.space(v)
	inFront := (m.footerOff - m.slotAt(s.next)) / m.slotSize()
	return max(r.absent-int64(len(s.freeSlots))-max(inFront, 0), 0)
}

// space is where the leaf's blocks may be put, as far as that can be told of a disk that is open for reading.
func (r *roomNeeded) space(v *view) space {
	if v.leaf != nil {
		return v.leaf.space
	}
	m := v.top().img
	s, err := m.takeInventory()
	if err != nil {
		return space{next: m.footerOff}
	}
	return s
}

// check is why there is no room for all of it.
func (r *roomNeeded) check() error {
	n := r.bytes
	if blocks := r.blocks(); blocks > 0 {
		n = blocks * r.disk.view().top().img.slotSize()
	}
	return r.disk.opts.checkRoom(r.disk.fileName(r.disk.view().top()), n)
}

// checkRoom is why n bytes more find no room where a file is.
func (o *Options) checkRoom(name string, n int64) error {
	s, ok := o.files().(spacer)
	if !ok || n <= 0 {
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

// setModified makes the file of an image in which the disk stays the same one that was
// written to last at a time, where that can be: without it, Check tells of more than there
// is.
func (d *Disk) setModified(l *layer, modified time.Time) {
	if d.nameless {
		return
	}
	dir := d.directoryOf(l)
	keepTime(dir.fs, dir.name, modified)
}

// keepLeafTime is what gives the leaf's file the time back that it has now, as well as can be, after
// changes of which its children see nothing: lest they be taken for worthless. The locks of syncs
// and of the disk are held, then as now.
func (d *Disk) keepLeafTime() (giveBack func() error, err error) {
	if err := d.flush(heldLock{}); err != nil { // what was written is what changes the time
		return nil, err
	}
	info, err := d.view().top().file.Stat()
	if err != nil {
		return nil, err
	}
	return func() error {
		if d.settle() != nil { // Close does it, later than the time is set, unless the disk is broken
			return d.syncs.err()
		}
		d.setModified(d.view().top(), info.ModTime())
		return nil
	}, nil
}

// removeFile closes and removes an image that nothing leads to any more, unless its
// name stands for another file by now.
func (d *Disk) removeFile(l *layer) error {
	own, err := l.file.Stat()
	if err = joined(err, closeFile(l.file)); err != nil {
		return err
	}
	dir := d.directoryOf(l)
	if err := dir.stillNames(own); errors.Is(err, fs.ErrNotExist) || errors.Is(err, errReplaced) {
		return nil
	}
	return dir.takeBack()
}

// stillNames is why the name does not stand for a file, of which own is known, any more.
func (d directory) stillNames(own fs.FileInfo) error {
	s, ok := d.fs.(statter)
	if !ok {
		return nil
	}
	now, err := s.Stat(d.name)
	if err == nil && areTwoFiles(own, now) {
		err = errReplaced
	}
	return err
}

// placeOfLeaf is where the leaf's file is, unless its name stands for another file by now.
func (d *Disk) placeOfLeaf() (directory, error) {
	l := d.view().top()
	dir := d.directoryOf(l)
	own, err := l.file.Stat()
	if err == nil {
		err = dir.stillNames(own)
	}
	return dir, inFile(l.img.name, err)
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
