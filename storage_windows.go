package vhd

import "os"

// openNonblock is for FIFOs, which Windows' file systems don't have.
const openNonblock = 0

// syncDir closes a directory. Windows has no fsync for those, and writes them
// through its journal.
func syncDir(dir *os.File) error { return dir.Close() }
