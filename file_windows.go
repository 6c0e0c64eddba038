package vhd

import (
	"os"

	"golang.org/x/sys/windows"
)

// makeSparse lets a file have holes. A file system that has none keeps zeros
// instead.
func makeSparse(f *os.File) {
	var n uint32
	_ = windows.DeviceIoControl(windows.Handle(f.Fd()), windows.FSCTL_SET_SPARSE, nil, 0, nil, 0, &n, nil)
}
