//go:build linux || darwin || freebsd

package vhd

import "golang.org/x/sys/unix"

// How a file is asked where its holes are, and what it says when there is no
// data any more.
const (
	seekData = unix.SEEK_DATA
	seekHole = unix.SEEK_HOLE

	errNoData = unix.ENXIO
)
