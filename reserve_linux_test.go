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

// fullFS is a storage whose files are the operating system's, as far as one can
// see, and have no space to reserve.
type fullFS struct {
	vhd.FS
	err *error // what reserving says; nil: it works
}

func (f fullFS) OpenFile(name string, flag int, perm fs.FileMode) (vhd.File, error) {
	file, err := f.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return fullFile{file, f.err}, nil
}

type fullFile struct {
	vhd.File
	err *error
}

func (f fullFile) SyscallConn() (syscall.RawConn, error) { return fullConn{f.err}, nil }

type fullConn struct{ err *error }

func (c fullConn) Control(func(uintptr)) error  { return *c.err }
func (fullConn) Read(func(uintptr) bool) error  { return errors.ErrUnsupported }
func (fullConn) Write(func(uintptr) bool) error { return errors.ErrUnsupported }

// A full disk shows when space is reserved, before anything is moved; that it
// can't be reserved is no reason to fail.
func TestW3SpaceIsReservedBeforeTheFooterMoves(t *testing.T) {
	for _, c := range []struct {
		err   error
		fails bool
	}{
		{syscall.ENOSPC, true},
		{syscall.EDQUOT, true},
		{syscall.EFBIG, true},
		{syscall.EIO, true},
		{syscall.EOPNOTSUPP, false},
		{syscall.ENOSYS, false},
		{nil, false},
	} {
		mem := vhdtest.NewMemFS()
		var says error
		opts := vhd.Options{FS: fullFS{mem, &says}, Lock: vhd.LockNone}
		disk, err := vhd.Create(rigName, vhd.CreateOptions{Options: opts, Size: 1 << 20, BlockSize: 64 << 10})
		require.NoError(t, err)
		before := mustReadFile(t, mem, rigName)
		says = c.err
		_, err = disk.WriteAt([]byte("new"), 0)
		if c.fails {
			require.ErrorIs(t, err, c.err)
			require.Equal(t, before, mustReadFile(t, mem, rigName))
			says = nil
			_, err = disk.WriteAt([]byte("new"), 0)
		}
		require.NoError(t, err)
		require.NoError(t, disk.Close())
	}
}
