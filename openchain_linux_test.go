package vhd_test

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/go-vhd/vhd"
)

// lockOwn takes a lock of the caller's on all of a file, and returns what looks
// whether it is still there.
func lockOwn(t testing.TB, f *os.File) func() bool {
	t.Helper()
	lock := unix.Flock_t{Type: unix.F_RDLCK}
	require.NoError(t, unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock))
	return func() bool {
		t.Helper()
		other, err := os.OpenFile(f.Name(), os.O_RDWR, 0)
		require.NoError(t, err)
		defer other.Close()
		for at := int64(90); at < 220; at++ { // where the package's locks are, too
			lock := unix.Flock_t{Type: unix.F_WRLCK, Start: at, Len: 1}
			err := unix.FcntlFlock(other.Fd(), unix.F_OFD_SETLK, &lock)
			if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
				return false
			}
		}
		return true
	}
}

// Locks belong to the open file: giving back those of the package would take
// the caller's own away with them.
func TestOpenChainThatFailsLeavesTheCallersOwnLocks(t *testing.T) {
	tr := lockTree(t)
	tr.write(t, "junk.vhd", bytes.Repeat([]byte("junk"), 1024))
	for _, tt := range []struct {
		name  string
		opts  vhd.Options
		files []string
		own   []int // files whose locks must be as they were
	}{
		{"no VHD", vhd.Options{Lock: vhd.LockNone}, []string{"junk.vhd"}, []int{0}},
		{"no VHD, writable", vhd.Options{Lock: vhd.LockNone, Writable: true}, []string{"junk.vhd"}, []int{0}},
		{"the parent is missing", vhd.Options{Lock: vhd.LockNone}, []string{"child.vhd"}, []int{0}},
		{"the parent is none", vhd.Options{Lock: vhd.LockNone}, []string{"child.vhd", "child.vhd"}, []int{0, 1}},
		{"too deep", vhd.Options{Lock: vhd.LockNone, MaxDepth: 1}, []string{"child.vhd", "base.vhd"}, []int{0, 1}},
		{"too deep, with locks", vhd.Options{MaxDepth: 1}, []string{"child.vhd", "base.vhd"}, []int{1}},
		{"no VHD, with locks", vhd.Options{}, []string{"junk.vhd", "base.vhd"}, []int{1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var files []vhd.File
			var held []func() bool
			for i, name := range tt.files {
				f, err := os.OpenFile(tr.name(name), os.O_RDWR, 0)
				require.NoError(t, err)
				defer f.Close()
				files, held = append(files, f), append(held, lockOwn(t, f))
				require.True(t, held[i]())
			}
			_, err := vhd.OpenChain(&tt.opts, files...)
			require.Error(t, err)
			for _, i := range tt.own {
				require.True(t, held[i](), "file %d", i)
			}
		})
	}
}
