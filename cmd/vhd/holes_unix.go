//go:build linux || darwin || freebsd

package main

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// nextData is the next piece from off on of a file of size bytes that may hold
// anything but zeros. What is before start is a hole.
func nextData(f *os.File, off, size int64) (start, end int64) {
	start, err := f.Seek(off, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return size, size
	}
	if err != nil || start < off || start > size {
		return off, size // it can't tell
	}
	end, err = f.Seek(start, unix.SEEK_HOLE)
	if err != nil || end <= start || end > size {
		return start, size
	}
	return start, end
}
