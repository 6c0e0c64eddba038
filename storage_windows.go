package vhd

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"

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

// fullErrors mean that there is no space for what was to be written.
var fullErrors = []error{windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL, windows.ERROR_DISK_QUOTA_EXCEEDED}

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

// freeSpaceOf is freeSpace where an open file is.
func freeSpaceOf(f *os.File) (int64, error) {
	path := make([]uint16, windows.MAX_LONG_PATH)
	n, err := windows.GetFinalPathNameByHandle(windows.Handle(f.Fd()), &path[0], uint32(len(path)), 0)
	if err != nil || int(n) >= len(path) {
		return 0, errors.Join(errors.ErrUnsupported, err)
	}
	return freeSpace(filepath.Dir(windows.UTF16ToString(path[:n])))
}

// linksOf is how many names an open file has; 0: that is not known.
func linksOf(f File) uint64 {
	var info windows.ByHandleFileInformation
	if err := onDescriptor(f, func(fd uintptr) error { return windows.GetFileInformationByHandle(windows.Handle(fd), &info) }); err != nil {
		return 0
	}
	return uint64(info.NumberOfLinks)
}
