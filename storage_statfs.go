//go:build linux || darwin

package vhd

import (
	"math"

	"golang.org/x/sys/unix"
)

// freeSpace is how many bytes this process may still write where a directory is.
func freeSpace(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	unit := uint64(s.Bsize) //nolint:gosec // positive, and of another type elsewhere
	if s.Bavail > math.MaxInt64/unit {
		return math.MaxInt64, nil
	}
	return int64(s.Bavail * unit), nil //nolint:gosec // just checked
}
