//go:build !unix && !windows

package vhd

import (
	"io/fs"
	"os"
)

// openNonblock is for FIFOs, which are no matter here.
const openNonblock = 0

// removesOpenFiles says whether a file that is open can be removed.
const removesOpenFiles = false

// absentErrors mean that a name stands for no file that could be opened.
var absentErrors = []error{fs.ErrNotExist, fs.ErrInvalid, ErrOutsideRoot}

// fullErrors mean that there is no space for what was to be written.
var fullErrors = []error{}

// syncDir closes a directory, which is all that can be done.
func syncDir(dir *os.File) error { return dir.Close() }

// linksOf is not known here.
func linksOf(File) uint64 { return 0 }
