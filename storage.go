package vhd

import (
	"io"
	"io/fs"
)

// FS is where names are looked up and files come into being.
//
// Names are slash-separated.
type FS interface {
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	Rename(oldname, newname string) error
	Remove(name string) error
	ReadDir(name string) ([]fs.DirEntry, error)
	SyncDir(name string) error
}

// File is one open file. *os.File is a File.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
	Sync() error
}
