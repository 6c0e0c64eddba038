package vhdtest_test

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// scenario makes a file in two writes and gives it its name.
func scenario(fsys vhd.FS) error {
	f, err := fsys.OpenFile("tmp", rw, 0o644)
	if err != nil {
		return err
	}
	_, err1 := f.WriteAt(fill('a', 1024), 0)
	_, err2 := f.WriteAt(fill('b', 1024), 1024)
	if err := errors.Join(err1, err2, f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(fsys.Rename("tmp", "a"), fsys.SyncDir("."))
}

func TestEveryCallFailsInItsTurn(t *testing.T) {
	var failed []string
	for k := 1; ; k++ {
		f := vhdtest.NewFaultFS(vhdtest.NewMemFS())
		f.Arm(vhdtest.Fault{At: k})
		err := scenario(f)
		if f.Fired() == 0 {
			require.NoError(t, err)
			break
		}
		require.ErrorIs(t, err, syscall.EIO)
		require.Equal(t, 1, f.Fired())
		failed = append(failed, err.Error())
	}
	require.Equal(t, []string{
		"open tmp: " + syscall.EIO.Error(),
		"write tmp: " + syscall.EIO.Error(),
		"write tmp: " + syscall.EIO.Error(),
		"sync tmp: " + syscall.EIO.Error(),
		"rename tmp a: " + syscall.EIO.Error(),
		"syncdir .: " + syscall.EIO.Error(),
	}, failed)
}

func TestAFaultFailsOnceOrForever(t *testing.T) {
	m := vhdtest.NewMemFS()
	fsys := vhdtest.NewFaultFS(m)
	f := openFile(t, fsys, "a", rw)
	fsys.Arm(vhdtest.Fault{At: 2, Err: syscall.ENOSPC})
	require.NoError(t, f.Truncate(1))
	require.ErrorIs(t, f.Truncate(2), syscall.ENOSPC)
	require.NoError(t, f.Truncate(3))

	fsys.Arm(vhdtest.Fault{At: 2, Forever: true, Err: syscall.ENOSPC})
	require.Zero(t, fsys.Fired())
	require.NoError(t, f.Truncate(4))
	require.ErrorIs(t, f.Truncate(5), syscall.ENOSPC)
	require.ErrorIs(t, f.Truncate(6), syscall.ENOSPC)
	require.Equal(t, 2, fsys.Fired())
	require.EqualValues(t, 4, sizeOf(t, f))

	fsys.Disarm()
	require.NoError(t, f.Truncate(7))
	require.Equal(t, 2, fsys.Fired())
}

func TestReadsCountOnlyWhenAllCallsDo(t *testing.T) {
	fsys := vhdtest.NewFaultFS(vhdtest.NewMemFS())
	f := openFile(t, fsys, "a", rw)
	writeAt(t, f, []byte("text"), 0)
	fsys.Arm(vhdtest.Fault{At: 1})
	readAt(t, f, 4, 0)
	sizeOf(t, f)
	require.Zero(t, fsys.Fired())

	fsys.Arm(vhdtest.Fault{At: 1, All: true, Forever: true})
	n, err := f.ReadAt(make([]byte, 4), 0)
	require.Zero(t, n)
	require.ErrorIs(t, err, syscall.EIO)
	_, err = f.Stat()
	require.ErrorIs(t, err, syscall.EIO)
	_, err = fsys.ReadDir(".")
	require.ErrorIs(t, err, syscall.EIO)
	require.ErrorIs(t, f.Close(), syscall.EIO)
	fsys.Disarm()
	require.ErrorIs(t, f.Close(), fs.ErrClosed, "a failed close closes")
}

func TestOnlyCallsThatMatchCount(t *testing.T) {
	fsys := vhdtest.NewFaultFS(vhdtest.NewMemFS())
	f := openFile(t, fsys, "a", rw)
	// A full disk: the file can not grow, and is written in place.
	fsys.Arm(vhdtest.Fault{At: 1, Forever: true, Err: syscall.ENOSPC, Match: func(op vhdtest.Op) bool {
		return op.Kind == vhdtest.OpWrite && op.Off+op.N > 1024
	}})
	writeAt(t, f, fill('a', 1024), 0)
	_, err := f.WriteAt(fill('a', 1024), 512)
	require.ErrorIs(t, err, syscall.ENOSPC)
	writeAt(t, f, fill('b', 512), 512)
}

func TestAShortCallDoesItsFirstHalf(t *testing.T) {
	fsys := vhdtest.NewFaultFS(vhdtest.NewMemFS())
	f := openFile(t, fsys, "a", rw)
	writeAt(t, f, fill('a', 1536), 0)
	fsys.Arm(vhdtest.Fault{At: 1, Short: true, Err: syscall.ENOSPC})
	n, err := f.WriteAt(fill('b', 1536), 0)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Equal(t, 512, n)
	require.Equal(t, append(fill('b', 512), fill('a', 1024)...), readAt(t, f, 1536, 0))

	fsys.Arm(vhdtest.Fault{At: 1, Short: true, All: true})
	b := make([]byte, 1024)
	n, err = f.ReadAt(b, 256)
	require.ErrorIs(t, err, syscall.EIO)
	require.Equal(t, 256, n, "the half ends where a sector does")
	require.Equal(t, fill('b', 256), b[:n])

	fsys.Arm(vhdtest.Fault{At: 1, Short: true})
	n, err = f.WriteAt(fill('c', 512), 0)
	require.ErrorIs(t, err, syscall.EIO)
	require.Zero(t, n, "a sector has no half")
}

func TestFaultsReachLinks(t *testing.T) {
	m := vhdtest.NewMemFS()
	fsys := vhdtest.NewFaultFS(m.Linking())
	require.NoError(t, m.WriteFile("a", nil))
	fsys.Arm(vhdtest.Fault{At: 1})
	var linkErr *os.LinkError
	require.ErrorAs(t, fsys.Linking().Link("a", "b"), &linkErr)
	require.ErrorIs(t, linkErr, syscall.EIO)
	require.NoError(t, fsys.Linking().Link("a", "b"))
}

func TestNothingFailsAndNothingCountsUnharmed(t *testing.T) {
	m := vhdtest.NewMemFS()
	fsys := vhdtest.NewFaultFS(m)
	f := openFile(t, fsys, "a", rw)
	fsys.Arm(vhdtest.Fault{At: 2})
	require.NoError(t, f.Truncate(1))
	fsys.Unharmed(func() {
		require.NoError(t, f.Truncate(2))
		require.NoError(t, f.Truncate(3))
	})
	require.ErrorIs(t, f.Truncate(4), syscall.EIO)
}

func TestAfterARestartCallsGoToAnotherStorage(t *testing.T) {
	before, after := vhdtest.NewMemFS(), vhdtest.NewMemFS()
	fsys := vhdtest.NewFaultFS(before)
	fsys.Arm(vhdtest.Fault{At: 2, All: true})
	require.NoError(t, scenarioOf(fsys, "old"))
	fsys.SetInner(after)
	require.ErrorIs(t, scenarioOf(fsys, "new"), syscall.EIO, "what is to fail stays")
	require.NoError(t, scenarioOf(fsys, "new"))
	_, err := before.Stat("old")
	require.NoError(t, err)
	_, err = after.Stat("new")
	require.NoError(t, err)
	_, err = before.Stat("new")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// scenarioOf makes a file in one call.
func scenarioOf(fsys vhd.FS, name string) error {
	_, err := fsys.OpenFile(name, rw, 0o644)
	return err
}
