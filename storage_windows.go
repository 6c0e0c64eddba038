package vhd

import (
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// openNonblock is for FIFOs, which Windows' file systems don't have.
const openNonblock = 0

// absentErrors mean that a name stands for no file that could be opened: there
// is none, or it can't be that of one.
var absentErrors = []error{
	fs.ErrNotExist, fs.ErrInvalid, ErrOutsideRoot,
	windows.ERROR_INVALID_NAME, windows.ERROR_BAD_PATHNAME, windows.ERROR_DIRECTORY, windows.ERROR_FILENAME_EXCED_RANGE,
}

// syncDir closes a directory. Windows has no fsync for those, and writes them
// through its journal.
func syncDir(dir *os.File) error { return dir.Close() }
