package vhd_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
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

// Nor does one that was written in many sessions: each block counts, the first
// one of a growth too.
func TestEverySessionGivesBackWhatItReserved(t *testing.T) {
	dir := t.TempDir()
	base, child := filepath.Join(dir, "base.vhd"), filepath.Join(dir, "child.vhd")
	const size, block = 64 << 20, 2 << 20
	d, err := vhd.Create(base, vhd.CreateOptions{Size: size})
	require.NoError(t, err)
	require.NoError(t, d.Close())
	d, err = vhd.Create(child, vhd.CreateOptions{Parent: base})
	require.NoError(t, err)
	require.NoError(t, d.Close())
	for session := range int64(5) {
		d, err := vhd.Open(child, &vhd.Options{Writable: true})
		require.NoError(t, err)
		_, err = d.WriteAt(bytes.Repeat([]byte("data"), 1024), session*3*block)
		require.NoError(t, err)
		require.NoError(t, d.Close())
		info, err := os.Stat(child)
		require.NoError(t, err)
		require.Less(t, info.Sys().(*syscall.Stat_t).Blocks*512, 64<<10+session*(32<<10), "after session %d", session)
	}
}

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

// A child takes, once it is closed, little more space than what was written to
// it, wherever that is: not 2 MiB for each block.
func TestAClosedChildTakesTheSpaceOfWhatItHolds(t *testing.T) {
	dir := t.TempDir()
	base, child := filepath.Join(dir, "base.vhd"), filepath.Join(dir, "child.vhd")
	const size, nblocks = 256 << 20, 100
	content := bytes.Repeat([]byte("data"), 4096/4)
	d, err := vhd.Create(base, vhd.CreateOptions{Size: size})
	require.NoError(t, err)
	require.NoError(t, d.Close())
	d, err = vhd.Create(child, vhd.CreateOptions{Parent: base})
	require.NoError(t, err)
	for block := range int64(nblocks) {
		_, err = d.WriteAt(content, block<<21+(block*20<<10)%(2<<20-4096))
		require.NoError(t, err)
	}
	require.NoError(t, d.Close())

	info, err := os.Stat(child)
	require.NoError(t, err)
	require.Greater(t, info.Size(), int64(nblocks<<21))
	taken := info.Sys().(*syscall.Stat_t).Blocks * 512
	require.Less(t, taken, int64(nblocks*(64<<10)+(1<<20)))

	d, err = vhd.Open(child, nil)
	require.NoError(t, err)
	for block := range int64(nblocks) {
		got := make([]byte, 2<<20)
		_, err = d.ReadAt(got, block<<21)
		require.NoError(t, err)
		want := make([]byte, 2<<20)
		copy(want[(block*20<<10)%(2<<20-4096):], content)
		require.True(t, bytes.Equal(want, got), "block %d", block)
	}
	require.NoError(t, d.Close())
}
