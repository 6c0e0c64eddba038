//go:build unix

package vhd

import (
	"io/fs"
	"os"
	"syscall"
)

// openNonblock keeps the opening of a FIFO from waiting for its other end, and
// that of a terminal from making it ours.
const openNonblock = syscall.O_NONBLOCK | syscall.O_NOCTTY

// removesOpenFiles says whether a file that is open can be removed.
const removesOpenFiles = true

// absentErrors mean that a name stands for no file that could be opened: there
// is none, or it can't be that of one, or it is a socket's.
var absentErrors = []error{
	fs.ErrNotExist, fs.ErrInvalid, ErrOutsideRoot,
	syscall.ENOTDIR, syscall.ELOOP, syscall.ENAMETOOLONG, syscall.ENXIO, syscall.ENODEV, syscall.EISDIR,
}

// fullErrors mean that there is no space for what was to be written.
var fullErrors = []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG}

// syncDir makes durable which names are in a directory, and closes it.
func syncDir(dir *os.File) error { return joined(dir.Sync(), dir.Close()) }

// linksOf is how many names an open file has; 0: that is not known.
func linksOf(f File) uint64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return uint64(s.Nlink) //nolint:unconvert // of another type elsewhere
}
