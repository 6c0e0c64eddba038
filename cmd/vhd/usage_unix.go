//go:build unix

package main

import (
	"io/fs"
	"syscall"
)

// usedBytes is the space that a file takes, without its holes.
func usedBytes(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512 // whatever the file system's blocks are
	}
	return info.Size()
}
