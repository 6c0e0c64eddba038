package vhd

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"
)

// FS is where images are looked up and come into being. Its names are
// slash-separated and its own: what ReadDir, OpenFile and Rename take for the
// same name must be the same file.
//
// Errors of names that don't exist must match [fs.ErrNotExist], those of names
// that exist already, with os.O_EXCL, [fs.ErrExist]. An FS that also has a
// method Link(oldname, newname string) error, like [os.Link], lets Create never
// replace a file even in a race.
type FS interface {
	// OpenFile opens a file as [os.OpenFile] does. The package uses the flags
	// O_RDONLY, O_RDWR, and O_RDWR|O_CREATE|O_EXCL.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	Rename(oldname, newname string) error
	Remove(name string) error
	ReadDir(name string) ([]fs.DirEntry, error)
	// SyncDir makes durable which names are in the directory.
	SyncDir(name string) error
}

// File is an open file of an FS. *os.File is a File. ReadAt and WriteAt must
// be safe for concurrent use.
//
// Locks, reserving space and punching holes are used where the File has them:
// a File with the method SyscallConn of [syscall.Conn] is taken for one of the
// operating system's.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
	Sync() error // makes content and size durable
}

// linker is an FS that can give a file a second name.
type linker interface {
	Link(oldname, newname string) error
}

// ReadOnlyFile makes a File of size bytes for a parent, or a whole read-only
// chain, out of what can only be read. If r is an io.Closer, closing the File
// closes it.
func ReadOnlyFile(r io.ReaderAt, size int64) File { return &readOnlyFile{r, size} }

type readOnlyFile struct {
	io.ReaderAt
	size int64
}

func (f *readOnlyFile) WriteAt([]byte, int64) (int, error) { return 0, ErrReadOnly }
func (f *readOnlyFile) Truncate(int64) error               { return ErrReadOnly }
func (f *readOnlyFile) Sync() error                        { return nil }
func (f *readOnlyFile) Stat() (fs.FileInfo, error)         { return readOnlyInfo{f.size}, nil }

func (f *readOnlyFile) Close() error {
	if c, ok := f.ReaderAt.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// readOnlyInfo is what is known of a readOnlyFile.
type readOnlyInfo struct{ size int64 }

func (i readOnlyInfo) Name() string     { return "" }
func (i readOnlyInfo) Size() int64      { return i.size }
func (readOnlyInfo) Mode() fs.FileMode  { return 0o444 }
func (readOnlyInfo) ModTime() time.Time { return time.Time{} }
func (readOnlyInfo) IsDir() bool        { return false }
func (readOnlyInfo) Sys() any           { return nil }

// RootFS is an FS of the files below an [os.Root]. It does not close root.
// Names that lead outside, through symbolic links too, are ErrOutsideRoot.
func RootFS(root *os.Root) FS { return rootFS{root} }

type rootFS struct{ root *os.Root }

func (r rootFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := r.root.OpenFile(filepath.FromSlash(name), flag|openNonblock, perm)
	if err != nil {
		return nil, r.explain(err)
	}
	return f, nil
}

func (r rootFS) Rename(oldname, newname string) error {
	return r.explain(r.root.Rename(filepath.FromSlash(oldname), filepath.FromSlash(newname)))
}

func (r rootFS) Link(oldname, newname string) error {
	return r.explain(r.root.Link(filepath.FromSlash(oldname), filepath.FromSlash(newname)))
}

func (r rootFS) Remove(name string) error {
	return r.explain(r.root.Remove(filepath.FromSlash(name)))
}

func (r rootFS) ReadDir(name string) ([]fs.DirEntry, error) {
	dir, err := r.root.Open(filepath.FromSlash(name))
	if err != nil {
		return nil, r.explain(err)
	}
	defer func() { _ = dir.Close() }()
	return dir.ReadDir(-1)
}

func (r rootFS) SyncDir(name string) error {
	dir, err := r.root.Open(filepath.FromSlash(name))
	if err != nil {
		return r.explain(err)
	}
	return syncDir(dir)
}

// explain makes ErrOutsideRoot of os.Root's own word for that, which package os
// does not export: it is what the root says of its parent directory.
func (r rootFS) explain(err error) error {
	var got, escape *fs.PathError
	if !errors.As(err, &got) {
		return err
	}
	_, outside := r.root.Lstat("..")
	if errors.As(outside, &escape) && errors.Is(got.Err, escape.Err) {
		return &fs.PathError{Op: got.Op, Path: got.Path, Err: ErrOutsideRoot}
	}
	return err
}

// osFS is all local files, by absolute names.
type osFS struct{}

func (osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(filepath.FromSlash(name), flag|openNonblock, perm)
	if err != nil {
		return nil, err // a nil *os.File in a File would not be nil
	}
	return f, nil
}

func (osFS) Rename(oldname, newname string) error {
	return os.Rename(filepath.FromSlash(oldname), filepath.FromSlash(newname))
}

func (osFS) Link(oldname, newname string) error {
	return os.Link(filepath.FromSlash(oldname), filepath.FromSlash(newname))
}

func (osFS) Remove(name string) error { return os.Remove(filepath.FromSlash(name)) }

func (osFS) ReadDir(name string) ([]fs.DirEntry, error) {
	return os.ReadDir(filepath.FromSlash(name))
}

func (osFS) SyncDir(name string) error {
	dir, err := os.Open(filepath.FromSlash(name))
	if err != nil {
		return err
	}
	return syncDir(dir)
}

// place is an FS and how names that begin with a slash, as resolving a parent
// makes them, are written in it.
type place struct {
	fs        FS
	prefix    string // of absolute names, which is not part of the FS's: its root
	root      string // absolute: outside it no parent is opened; "/" is everywhere
	hasDrives bool
	release   func() error // closes what the place holds open
}

// open opens a file by its absolute name, if the root allows it, without
// waiting for the other end of a FIFO.
func (p *place) open(name string, flag int) (File, error) {
	own, err := p.own(name)
	if err != nil {
		return nil, err
	}
	return p.fs.OpenFile(own, flag, 0)
}

func (p *place) readDir(name string) ([]fs.DirEntry, error) {
	own, err := p.own(name)
	if err != nil {
		return nil, err
	}
	return p.fs.ReadDir(own)
}

// own is an absolute name as the FS has it. It is the gate in front of every
// parent: what is outside the root is not even asked for.
func (p *place) own(name string) (string, error) {
	if !isWithin(p.root, name) {
		return "", ErrOutsideRoot
	}
	if own, ok := cutDir(p.prefix, name); ok {
		return own, nil
	}
	return "", ErrOutsideRoot
}

// isWithin says whether an absolute name is below the directory root, or it.
func isWithin(root, name string) bool {
	if root == "/" {
		return true
	}
	_, ok := cutDir(root, name)
	return ok
}

// cutDir is an absolute name as seen from dir, if it is below that.
func cutDir(dir, name string) (string, bool) {
	switch {
	case dir == "":
		return name, true
	case name == dir:
		return ".", true
	case dir[len(dir)-1] != '/':
		dir += "/"
	}
	if len(name) > len(dir) && name[:len(dir)] == dir {
		return name[len(dir):], path.Clean(name) == name
	}
	return "", false
}
