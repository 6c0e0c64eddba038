package vhd

import (
	"io/fs"
	"math"
	"os"

	"golang.org/x/sys/windows"
)

// openNonblock is for FIFOs, which Windows' file systems don't have.
const openNonblock = 0

// removesOpenFiles says whether a file that is open can be removed: not as package os
// opens files.
const removesOpenFiles = false

// absentErrors mean that a name stands for no file that could be opened: there
// is none, or it can't be that of one.
var absentErrors = []error{
	fs.ErrNotExist, fs.ErrInvalid, ErrOutsideRoot,
	windows.ERROR_INVALID_NAME, windows.ERROR_BAD_PATHNAME, windows.ERROR_DIRECTORY, windows.ERROR_FILENAME_EXCED_RANGE,
}

// syncDir closes a directory. Windows has no fsync for those, and writes them
// through its journal.
func syncDir(dir *os.File) error { return dir.Close() }

// freeSpace is how many bytes this process may still write where a directory is.
func freeSpace(dir string) (int64, error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var free, total, all uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, &total, &all); err != nil {
		return 0, err
	}
	return int64(min(free, math.MaxInt64)), nil //nolint:gosec // just bounded
}
