package vhd

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// FS is where images are looked up and come into being. Its names are
// slash-separated and its own: what ReadDir, OpenFile and Rename take for the
// same name must be the same file.
//
// Errors of names that don't exist must match [fs.ErrNotExist], those of names
// that exist already, with os.O_EXCL, [fs.ErrExist]. An FS that also has a
// method Link(oldname, newname string) error, like [os.Link], lets Create never
// replace a file even in a race; with FreeSpace(name string) (int64, error), which
// says how many bytes are free where a file is, Merge and others know beforehand that
// there are too few; with Chtimes(name string, atime, mtime time.Time) error, like
// [os.Chtimes], an image in which the disk stays the same keeps its time, where Rebase, RebaseTree,
// Rename, Merge and Repair change what it says of itself.
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
// operating system's. Export and Import also ask an *os.File where its holes are,
// which moves its position, and have the kernel copy between such files. A writer of
// an image whose table is larger than its disk asks for the holes too.
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

// statter is an FS that can say which file a name stands for.
type statter interface {
	Stat(name string) (fs.FileInfo, error)
}

// chtimer is an FS that can say when a file was last changed; a zero time stays as it is.
type chtimer interface {
	Chtimes(name string, atime, mtime time.Time) error
}

// keepTime gives a file the time back that it had, after changes that are none of the
// disk in it. Where that can't be, Check tells of more than there is.
func keepTime(fsys FS, name string, modified time.Time) {
	if t, ok := fsys.(chtimer); ok {
		_ = t.Chtimes(name, time.Time{}, modified)
	}
}

// spacer is an FS that can say how many bytes are free where a file is.
type spacer interface {
	FreeSpace(name string) (int64, error)
}

// isFull says that there was no space for what was to be written.
func isFull(err error) bool {
	return errors.Is(err, ErrNoSpace) || slices.ContainsFunc(fullErrors, func(full error) bool { return errors.Is(err, full) })
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

func (r rootFS) Stat(name string) (fs.FileInfo, error) {
	return r.root.Stat(filepath.FromSlash(name))
}

func (r rootFS) Chtimes(name string, atime, mtime time.Time) error {
	return r.explain(r.root.Chtimes(filepath.FromSlash(name), atime, mtime))
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
	if err == nil {
		return nil
	}
	_, outside := r.root.Lstat("..")
	if escape, ok := errors.AsType[*fs.PathError](outside); ok && errors.Is(err, escape.Err) {
		return ErrOutsideRoot
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

func (osFS) Stat(name string) (fs.FileInfo, error) { return os.Stat(filepath.FromSlash(name)) }

func (osFS) Chtimes(name string, atime, mtime time.Time) error {
	return os.Chtimes(filepath.FromSlash(name), atime, mtime)
}

func (osFS) ReadDir(name string) ([]fs.DirEntry, error) {
	return os.ReadDir(filepath.FromSlash(name))
}

func (osFS) FreeSpace(name string) (int64, error) {
	return freeSpace(filepath.Dir(filepath.FromSlash(name)))
}

func (osFS) SyncDir(name string) error {
	dir, err := os.Open(filepath.FromSlash(name))
	if err != nil {
		return err
	}
	return syncDir(dir)
}
