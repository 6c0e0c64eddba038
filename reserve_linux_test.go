package vhd_test

import (
	"errors"
	"io/fs"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// fullDisk is what reserving space says.
type fullDisk struct {
	says  error // nil: that it worked
	asked int
}

// fullFS is a storage on it, whose files are the operating system's as far as
// one can see.
type fullFS struct {
	*vhdtest.MemFS
	disk *fullDisk
}

func (f fullFS) OpenFile(name string, flag int, perm fs.FileMode) (vhd.File, error) {
	file, err := f.MemFS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return fullFile{file, f.disk}, nil
}

type fullFile struct {
	vhd.File
	disk *fullDisk
}

func (f fullFile) SyscallConn() (syscall.RawConn, error) { return f.disk, nil }

// Control is what all that a vhd.File can't do goes through.
func (d *fullDisk) Control(func(uintptr)) error {
	d.asked++
	return d.says
}

func (*fullDisk) Read(func(uintptr) bool) error  { return errors.ErrUnsupported }
func (*fullDisk) Write(func(uintptr) bool) error { return errors.ErrUnsupported }

// A full disk shows when space is reserved, before anything is moved; that it
// can't be reserved is no reason to fail.
func TestW3SpaceIsReservedBeforeTheFooterMoves(t *testing.T) {
	for says, fails := range map[syscall.Errno]bool{
		syscall.ENOSPC: true, syscall.EDQUOT: true, syscall.EFBIG: true, syscall.EIO: true, syscall.EOPNOTSUPP: false, syscall.ENOSYS: false,
	} {
		t.Run(says.Error(), func(t *testing.T) {
			disk := fullDisk{}
			fsys := fullFS{vhdtest.NewMemFS(), &disk}
			opts := vhd.Options{FS: fsys, Lock: vhd.LockNone}
			d, err := vhd.Create(rigName, vhd.CreateOptions{Options: opts, Size: 1 << 20, BlockSize: 64 << 10})
			require.NoError(t, err)
			before := mustReadFile(t, fsys.MemFS, rigName)
			disk.says = says
			_, err = d.WriteAt([]byte("new"), 0)
			require.Positive(t, disk.asked)
			if fails {
				require.ErrorIs(t, err, says)
				require.Equal(t, before, mustReadFile(t, fsys.MemFS, rigName))
				disk.says = nil
				_, err = d.WriteAt([]byte("new"), 0)
			}
			require.NoError(t, err)
			require.NoError(t, d.Close())
		})
	}
}
