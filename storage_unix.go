//go:build unix

package vhd

import (
	"os"
	"syscall"
)

// openNonblock keeps the opening of a FIFO from waiting for its other end, and
// that of a terminal from making it ours.
const openNonblock = syscall.O_NONBLOCK | syscall.O_NOCTTY

// syncDir makes durable which names are in a directory, and closes it.
func syncDir(dir *os.File) error { return joined(dir.Sync(), dir.Close()) }
