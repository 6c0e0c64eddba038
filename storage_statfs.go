//go:build linux || darwin

package vhd

import (
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// freeSpace is how many bytes this process may still write where a directory is.
func freeSpace(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return freeIn(&s), nil
}

// freeSpaceOf is freeSpace where an open file is.
func freeSpaceOf(f *os.File) (int64, error) {
	var s unix.Statfs_t
	if err := onDescriptor(f, func(fd uintptr) error { return unix.Fstatfs(int(fd), &s) }); err != nil {
		return 0, err
	}
	return freeIn(&s), nil
}

func freeIn(s *unix.Statfs_t) int64 {
	unit := uint64(s.Bsize) //nolint:gosec // positive, and of another type elsewhere
	if s.Bavail > math.MaxInt64/unit {
		return math.MaxInt64
	}
	return int64(s.Bavail * unit) //nolint:gosec // just checked
}
