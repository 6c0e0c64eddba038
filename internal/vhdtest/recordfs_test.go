package vhdtest_test

import (
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

// osFS is the operating system's files below a directory.
type osFS struct{ dir string }

func (o osFS) path(name string) string { return filepath.Join(o.dir, filepath.FromSlash(name)) }

func (o osFS) OpenFile(name string, flag int, perm fs.FileMode) (vhd.File, error) {
	f, err := os.OpenFile(o.path(name), flag, perm)
	if err != nil {
		return nil, err
	}
	return f, nil
}
func (o osFS) Rename(oldname, newname string) error {
	return os.Rename(o.path(oldname), o.path(newname))
}
func (o osFS) Remove(name string) error                   { return os.Remove(o.path(name)) }
func (o osFS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(o.path(name)) }
func (o osFS) SyncDir(string) error                       { return nil }

func TestEveryCallIsRecordedInOrder(t *testing.T) {
	r := vhdtest.NewRecordFS(vhdtest.NewMemFS().Linking())
	l := r.Linking()
	f, err := l.OpenFile("a", rw, 0o644)
	require.NoError(t, err)
	writeAt(t, f, []byte("text"), 7)
	readAt(t, f, 3, 8)
	require.NoError(t, f.Truncate(9))
	require.NoError(t, f.Sync())
	sizeOf(t, f)
	require.NoError(t, f.Close())
	require.NoError(t, l.Link("a", "b"))
	require.NoError(t, l.Rename("b", "c"))
	_, err = l.ReadDir(".")
	require.NoError(t, err)
	require.NoError(t, l.SyncDir("."))
	require.NoError(t, l.Remove("a"))

	require.Equal(t, []vhdtest.Op{
		{Kind: vhdtest.OpOpen, Name: "a", Flag: rw},
		{Kind: vhdtest.OpWrite, Name: "a", Off: 7, N: 4},
		{Kind: vhdtest.OpRead, Name: "a", Off: 8, N: 3},
		{Kind: vhdtest.OpTruncate, Name: "a", Off: 9},
		{Kind: vhdtest.OpSync, Name: "a"},
		{Kind: vhdtest.OpStat, Name: "a"},
		{Kind: vhdtest.OpClose, Name: "a"},
		{Kind: vhdtest.OpLink, Name: "a", To: "b"},
		{Kind: vhdtest.OpRename, Name: "b", To: "c"},
		{Kind: vhdtest.OpReadDir, Name: "."},
		{Kind: vhdtest.OpSyncDir, Name: "."},
		{Kind: vhdtest.OpRemove, Name: "a"},
	}, r.Ops())
	require.Equal(t, 12, r.Count())
	require.Equal(t, 2, r.Count(vhdtest.OpSync, vhdtest.OpSyncDir))
	r.Reset()
	require.Empty(t, r.Ops())
}

func TestAForbiddenCallIsRecordedAndNotMade(t *testing.T) {
	m := vhdtest.NewMemFS()
	r := vhdtest.NewRecordFS(m)
	forbidden := errors.New("no writing here")
	r.Forbid = func(op vhdtest.Op) error {
		if op.Mutates() {
			return forbidden
		}
		return nil
	}
	require.NoError(t, m.WriteFile("a", []byte("text")))
	_, err := r.OpenFile("b", rw, 0o644)
	require.ErrorIs(t, err, forbidden)
	f := openFile(t, r, "a", os.O_RDWR)
	_, err = f.WriteAt([]byte("x"), 0)
	require.ErrorIs(t, err, forbidden)
	require.Equal(t, "text", string(readAt(t, f, 4, 0)))
	require.Equal(t, 1, r.Count(vhdtest.OpWrite))
	_, err = m.Stat("b")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestARecordedFileHasWhatTheWrappedFileHas(t *testing.T) {
	for _, hidden := range []bool{false, true} {
		r := vhdtest.NewRecordFS(osFS{t.TempDir()})
		r.HideHandles = hidden
		f := openFile(t, r, "a", rw)
		conn, ok := f.(syscall.Conn)
		require.Equal(t, !hidden, ok)
		if ok {
			_, err := conn.SyscallConn()
			require.NoError(t, err)
			require.Equal(t, 1, r.Count(vhdtest.OpControl))
		}
	}
	f := openFile(t, vhdtest.NewRecordFS(vhdtest.NewMemFS()), "a", rw)
	_, ok := f.(syscall.Conn)
	require.False(t, ok, "a file in memory has no handle")
}

func TestLinkingNeedsAnFSThatLinks(t *testing.T) {
	r := vhdtest.NewRecordFS(vhdtest.NewMemFS())
	_, ok := vhd.FS(r).(vhdtest.Linker)
	require.False(t, ok)
	require.ErrorIs(t, r.Linking().Link("a", "b"), errors.ErrUnsupported)
}

func TestOpsSayWhatTheyAre(t *testing.T) {
	for want, op := range map[string]vhdtest.Op{
		"write a [512, 1024)": {Kind: vhdtest.OpWrite, Name: "a", Off: 512, N: 512},
		"truncate a 7":        {Kind: vhdtest.OpTruncate, Name: "a", Off: 7},
		"rename a b":          {Kind: vhdtest.OpRename, Name: "a", To: "b"},
		"open a 0x0":          {Kind: vhdtest.OpOpen, Name: "a"},
		"sync a":              {Kind: vhdtest.OpSync, Name: "a"},
	} {
		require.Equal(t, want, op.String())
	}
	require.Equal(t, "OpKind(99)", vhdtest.OpKind(99).String())
	require.False(t, vhdtest.Op{Kind: vhdtest.OpOpen}.Mutates())
	require.True(t, vhdtest.Op{Kind: vhdtest.OpOpen, Flag: os.O_CREATE}.Mutates())
}
