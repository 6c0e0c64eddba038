package vhdtest_test

import (
	"bytes"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

const rw = os.O_RDWR | os.O_CREATE

func openFile(t testing.TB, fsys vhd.FS, name string, flag int) vhd.File {
	t.Helper()
	f, err := fsys.OpenFile(name, flag, 0o644)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func writeAt(t testing.TB, f vhd.File, data []byte, off int64) {
	t.Helper()
	n, err := f.WriteAt(data, off)
	require.NoError(t, err)
	require.Len(t, data, n)
}

func readAt(t testing.TB, f vhd.File, n, off int64) []byte {
	t.Helper()
	b := make([]byte, n)
	_, err := f.ReadAt(b, off)
	require.NoError(t, err)
	return b
}

func sizeOf(t testing.TB, f vhd.File) int64 {
	t.Helper()
	info, err := f.Stat()
	require.NoError(t, err)
	return info.Size()
}

func fill(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

func TestAMissingFileDoesNotExist(t *testing.T) {
	m := vhdtest.NewMemFS()
	for _, name := range []string{"a", "d/a", ""} {
		_, err := m.OpenFile(name, os.O_RDONLY, 0)
		require.ErrorIs(t, err, fs.ErrNotExist)
		var pathErr *fs.PathError
		require.ErrorAs(t, err, &pathErr)
		require.Equal(t, name, pathErr.Path)
	}
}

func TestAFileComesIntoBeingOnlyInADirectoryThatExists(t *testing.T) {
	m := vhdtest.NewMemFS()
	_, err := m.OpenFile("d/a", rw, 0o644)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, m.MkdirAll("d"))
	openFile(t, m, "d/a", rw)
	_, err = m.OpenFile("d/a/b", rw, 0o644)
	require.ErrorIs(t, err, syscall.ENOTDIR)
}

func TestAnExclusiveCreateFailsWhereTheNameIsTaken(t *testing.T) {
	m := vhdtest.NewMemFS()
	openFile(t, m, "a", rw|os.O_EXCL)
	_, err := m.OpenFile("a", rw|os.O_EXCL, 0o644)
	require.ErrorIs(t, err, fs.ErrExist)
}

func TestOpeningWithTruncationEmptiesTheFile(t *testing.T) {
	m := vhdtest.NewMemFS()
	require.NoError(t, m.WriteFile("a", fill('a', 5000)))
	f := openFile(t, m, "a", os.O_RDWR|os.O_TRUNC)
	require.Zero(t, sizeOf(t, f))
}

func TestAHandleAllowsWhatItWasOpenedFor(t *testing.T) {
	m := vhdtest.NewMemFS()
	require.NoError(t, m.WriteFile("a", []byte("text")))

	f := openFile(t, m, "a", os.O_RDONLY)
	_, err := f.WriteAt([]byte("x"), 0)
	require.ErrorIs(t, err, syscall.EBADF)
	require.ErrorIs(t, f.Truncate(0), fs.ErrInvalid)

	f = openFile(t, m, "a", os.O_WRONLY)
	_, err = f.ReadAt(make([]byte, 1), 0)
	require.ErrorIs(t, err, syscall.EBADF)

	require.NoError(t, m.Chmod("a", 0o444))
	_, err = m.OpenFile("a", os.O_RDWR, 0)
	require.ErrorIs(t, err, fs.ErrPermission)
	openFile(t, m, "a", os.O_RDONLY)
}

func TestAClosedFileIsClosed(t *testing.T) {
	f := openFile(t, vhdtest.NewMemFS(), "a", rw)
	require.NoError(t, f.Close())
	_, err := f.ReadAt(nil, 0)
	require.ErrorIs(t, err, fs.ErrClosed)
	_, err = f.WriteAt(nil, 0)
	require.ErrorIs(t, err, fs.ErrClosed)
	_, err = f.Stat()
	require.ErrorIs(t, err, fs.ErrClosed)
	require.ErrorIs(t, f.Truncate(0), fs.ErrClosed)
	require.ErrorIs(t, f.Sync(), fs.ErrClosed)
	require.ErrorIs(t, f.Close(), fs.ErrClosed)
}

func TestANegativeOffsetIsAnError(t *testing.T) {
	f := openFile(t, vhdtest.NewMemFS(), "a", rw)
	_, err := f.ReadAt(make([]byte, 1), -1)
	require.Error(t, err)
	_, err = f.WriteAt(make([]byte, 1), -1)
	require.Error(t, err)
	require.Error(t, f.Truncate(-1))
}

func TestAReadAcrossTheEndReturnsWhatThereIsAndABareEOF(t *testing.T) {
	f := openFile(t, vhdtest.NewMemFS(), "a", rw)
	writeAt(t, f, []byte("abc"), 0)
	b := make([]byte, 5)
	n, err := f.ReadAt(b, 1)
	require.Equal(t, io.EOF, err)
	require.Equal(t, "bc", string(b[:n]))
	n, err = f.ReadAt(b, 9)
	require.Equal(t, io.EOF, err)
	require.Zero(t, n)
}

func TestASparseFileOfTwoTebibytesTakesWhatWasWritten(t *testing.T) {
	const size int64 = 2 << 40
	m := vhdtest.NewMemFS()
	f := openFile(t, m, "big", rw)
	require.NoError(t, f.Truncate(size))
	writeAt(t, f, []byte("end"), size-3)
	require.Equal(t, size, sizeOf(t, f))
	require.Equal(t, make([]byte, 10000), readAt(t, f, 10000, 1<<40))
	require.Equal(t, "end", string(readAt(t, f, 3, size-3)))
	n, err := m.Allocated("big")
	require.NoError(t, err)
	require.EqualValues(t, 4096, n)
}

func TestWhatTruncateCutsOffReadsAsZerosWhenTheFileGrowsAgain(t *testing.T) {
	for _, size := range []int64{0, 1, 511, 512, 4095, 4096, 4097, 262143, 262144, 262145, 400000} {
		f := openFile(t, vhdtest.NewMemFS(), "a", rw)
		writeAt(t, f, fill('a', 600000), 0)
		require.NoError(t, f.Truncate(size))
		require.NoError(t, f.Truncate(600000))
		require.Equal(t, append(fill('a', int(size)), make([]byte, 600000-size)...), readAt(t, f, 600000, 0))
	}
}

func TestAnyWritesReadBackAsFromAnOperatingSystemsFile(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	onDisk, err := os.OpenFile(filepath.Join(t.TempDir(), "a"), rw, 0o644)
	require.NoError(t, err)
	t.Cleanup(func() { _ = onDisk.Close() })
	mem := openFile(t, vhdtest.NewMemFS(), "a", rw)
	for range 500 {
		off, n := rng.Int64N(300000), rng.IntN(9000)
		if rng.IntN(5) == 0 {
			require.NoError(t, onDisk.Truncate(off))
			require.NoError(t, mem.Truncate(off))
			continue
		}
		data := fill(byte(rng.Uint32()), n)
		writeAt(t, onDisk, data, off)
		writeAt(t, mem, data, off)
	}
	size := sizeOf(t, onDisk)
	require.Equal(t, size, sizeOf(t, mem))
	require.True(t, bytes.Equal(readAt(t, onDisk, size, 0), readAt(t, mem, size, 0)))
}

func TestRenameReplacesAFile(t *testing.T) {
	m := vhdtest.NewMemFS()
	require.NoError(t, m.WriteFile("a", []byte("a")))
	require.NoError(t, m.WriteFile("d/b", []byte("b")))
	require.NoError(t, m.Rename("a", "d/b"))
	b, err := m.ReadFile("d/b")
	require.NoError(t, err)
	require.Equal(t, "a", string(b))
	var linkErr *os.LinkError
	require.ErrorAs(t, m.Rename("a", "c"), &linkErr)
	require.ErrorIs(t, linkErr, fs.ErrNotExist)
	require.ErrorIs(t, m.Rename("d/b", "d"), fs.ErrExist)
}

func TestRenamingADirectoryMovesWhatItHolds(t *testing.T) {
	m := vhdtest.NewMemFS()
	require.NoError(t, m.WriteFile("d/e/a", []byte("a")))
	require.NoError(t, m.WriteFile("dd/b", []byte("b")))
	require.NoError(t, m.Rename("d", "moved"))
	_, err := m.ReadFile("moved/e/a")
	require.NoError(t, err)
	_, err = m.Stat("d")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = m.ReadFile("dd/b")
	require.NoError(t, err)
	require.ErrorIs(t, m.Rename("moved", "moved/e/below"), fs.ErrInvalid)
}

func TestARemovedFileLivesOnWhileItIsOpen(t *testing.T) {
	m := vhdtest.NewMemFS()
	f := openFile(t, m, "a", rw)
	require.NoError(t, m.Remove("a"))
	require.ErrorIs(t, m.Remove("a"), fs.ErrNotExist)
	writeAt(t, f, []byte("x"), 0)
	require.Equal(t, "x", string(readAt(t, f, 1, 0)))
}

func TestADirectoryThatHoldsSomethingIsNotRemoved(t *testing.T) {
	m := vhdtest.NewMemFS()
	require.NoError(t, m.WriteFile("d/a", nil))
	require.ErrorIs(t, m.Remove("d"), syscall.ENOTEMPTY)
	require.NoError(t, m.Remove("d/a"))
	require.NoError(t, m.Remove("d"))
}

func TestReadDirIsSortedAndKnowsKinds(t *testing.T) {
	m := vhdtest.NewMemFS()
	require.NoError(t, m.WriteFile("d/c", fill('c', 3)))
	require.NoError(t, m.MkdirAll("d/a/deep"))
	require.NoError(t, m.AddIrregular("d/b", fs.ModeNamedPipe|0o644))
	for _, dir := range []string{"d", "/d", "./d/", "x/../d"} {
		entries, err := m.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, entries, 3)
		require.Equal(t, "a", entries[0].Name())
		require.True(t, entries[0].IsDir())
		require.Equal(t, fs.ModeNamedPipe, entries[1].Type())
		info, err := entries[2].Info()
		require.NoError(t, err)
		require.EqualValues(t, 3, info.Size())
	}
	_, err := m.ReadDir("d/c")
	require.ErrorIs(t, err, syscall.ENOTDIR)
	_, err = m.ReadDir("e")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestSyncDirWantsADirectory(t *testing.T) {
	m := vhdtest.NewMemFS()
	require.NoError(t, m.WriteFile("d/a", nil))
	require.NoError(t, m.SyncDir("."))
	require.NoError(t, m.SyncDir("d"))
	require.ErrorIs(t, m.SyncDir("d/a"), syscall.ENOTDIR)
	require.ErrorIs(t, m.SyncDir("e"), fs.ErrNotExist)
}

func TestWhatIsNoRegularFileOpensAndCanNotBeRead(t *testing.T) {
	m := vhdtest.NewMemFS()
	require.NoError(t, m.MkdirAll("d"))
	require.NoError(t, m.AddIrregular("pipe", fs.ModeNamedPipe|0o644))
	for name, want := range map[string]error{"d": syscall.EISDIR, "pipe": syscall.ESPIPE} {
		f := openFile(t, m, name, os.O_RDONLY)
		info, err := f.Stat()
		require.NoError(t, err)
		require.False(t, info.Mode().IsRegular())
		_, err = f.ReadAt(make([]byte, 1), 0)
		require.ErrorIs(t, err, want)
	}
	_, err := m.OpenFile("d", os.O_RDWR, 0)
	require.ErrorIs(t, err, syscall.EISDIR)
	_, err = m.ReadFile("d")
	require.ErrorIs(t, err, syscall.EISDIR)
}

func TestLinkIsThereOnlyWhenAskedFor(t *testing.T) {
	m := vhdtest.NewMemFS()
	_, ok := vhd.FS(m).(vhdtest.Linker)
	require.False(t, ok)

	l := m.Linking()
	require.NoError(t, m.WriteFile("a", []byte("a")))
	require.NoError(t, l.Link("a", "b"))
	require.ErrorIs(t, l.Link("a", "b"), fs.ErrExist)
	require.ErrorIs(t, l.Link("none", "c"), fs.ErrNotExist)
	a, err := m.Stat("a")
	require.NoError(t, err)
	b, err := m.Stat("b")
	require.NoError(t, err)
	require.Equal(t, "b", b.Name())
	require.Same(t, a.Sys(), b.Sys(), "two names of one file")
}

func TestTimesAreThoseOfTheClock(t *testing.T) {
	m := vhdtest.NewMemFS()
	now := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	m.Now = func() time.Time { return now }
	f := openFile(t, m, "a", rw)
	now = now.Add(time.Hour)
	writeAt(t, f, []byte("x"), 0)
	info, err := f.Stat()
	require.NoError(t, err)
	require.Equal(t, now, info.ModTime())
	require.NoError(t, m.Chtime("a", now.Add(time.Minute)))
	info, err = m.Stat("a")
	require.NoError(t, err)
	require.Equal(t, now.Add(time.Minute), info.ModTime())
}

func TestACloneAndItsOriginalDoNotSeeEachOthersWrites(t *testing.T) {
	m := vhdtest.NewMemFS()
	require.NoError(t, m.WriteFile("a", fill('a', 10000)))
	c := m.Clone()
	require.NoError(t, m.Remove("a"))
	openFile(t, m, "new", rw)
	writeAt(t, openFile(t, c, "a", os.O_RDWR), []byte("x"), 5000)
	cc := c.Clone()
	writeAt(t, openFile(t, c, "a", os.O_RDWR), []byte("y"), 5000)

	b, err := cc.ReadFile("a")
	require.NoError(t, err)
	require.EqualValues(t, 'a', b[4999])
	require.EqualValues(t, 'x', b[5000])
	_, err = c.Stat("new")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestAMemFSIsSafeForConcurrentUse(t *testing.T) {
	m := vhdtest.NewMemFS()
	f := openFile(t, m, "a", rw)
	writeAt(t, f, fill(0, 8192), 0)
	var wg sync.WaitGroup
	for i := range byte(4) {
		wg.Go(func() {
			b := make([]byte, 8192)
			for range 100 {
				_, _ = f.WriteAt(fill(i, 8192), 0)
				_, _ = f.ReadAt(b, 0)
				if !bytes.Equal(b, fill(b[0], 8192)) {
					t.Error("a read saw half a write")
				}
				_, _ = m.Clone().ReadFile("a")
				_, _ = m.ReadDir(".")
			}
		})
	}
	wg.Wait()
}
