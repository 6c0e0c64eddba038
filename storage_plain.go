//go:build !unix && !windows

package vhd

import "os"

// openNonblock is for FIFOs, which are no matter here.
const openNonblock = 0

// syncDir closes a directory, which is all that can be done.
func syncDir(dir *os.File) error { return dir.Close() }
