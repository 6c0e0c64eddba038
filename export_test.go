package vhd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// sinks are what content can be exported to, each with what it held before and
// how to read what it holds.
func sinks(t *testing.T) map[string]func(t *testing.T, export func(io.Writer)) []byte {
	t.Helper()
	inFile := func(flag int, before []byte, at int64) func(t *testing.T, export func(io.Writer)) []byte {
		return func(t *testing.T, export func(io.Writer)) []byte {
			t.Helper()
			name := filepath.Join(t.TempDir(), "out")
			require.NoError(t, os.WriteFile(name, before, 0o600))
			f, err := os.OpenFile(name, flag, 0)
			require.NoError(t, err)
			_, err = f.Seek(at, io.SeekStart)
			require.NoError(t, err)
			export(f)
			_, err = f.WriteString("behind")
			require.NoError(t, err)
			require.NoError(t, f.Close())
			got, err := os.ReadFile(name)
			require.NoError(t, err)
			require.True(t, bytes.Equal(before[:at], got[:at]))
			got = got[at:]
			require.Equal(t, "behind", string(got[len(got)-6:]))
			return got[:len(got)-6]
		}
	}
	dirt := bytes.Repeat([]byte("dirt"), 5<<20/4)
	return map[string]func(t *testing.T, export func(io.Writer)) []byte{
		"a stream": func(t *testing.T, export func(io.Writer)) []byte {
			t.Helper()
			var b bytes.Buffer
			export(&b)
			return b.Bytes()
		},
		"a new file":                      inFile(os.O_RDWR, nil, 0),
		"a file, from a position on":      inFile(os.O_WRONLY, dirt[:1001], 1001),
		"a file open for appending":       inFile(os.O_WRONLY|os.O_APPEND, nil, 0),
		"a file with other content in it": inFile(os.O_RDWR, dirt[:4096], 0),
	}
}

func TestWhatIsExportedIsTheContent(t *testing.T) {
	for seed := range uint64(12) {
		chain := vhdtest.RandomChain(seed, vhdtest.ChainOptions{Limits: vhdtest.Anything})
		name := chain.WriteDir(t, t.TempDir())[0]
		want := chain.Content(t)
		for sink, received := range sinks(t) {
			t.Run(fmt.Sprintf("seed %d to %s", seed, sink), func(t *testing.T) {
				d, err := vhd.Open(name, nil)
				require.NoError(t, err)
				last := int64(0)
				got := received(t, func(w io.Writer) {
					n, err := d.Export(t.Context(), w, vhd.ExportOptions{Progress: func(done, total int64) {
						require.Equal(t, d.Size(), total)
						require.GreaterOrEqual(t, done, last)
						last = done
					}})
					require.NoError(t, err)
					require.Equal(t, d.Size(), n)
				})
				require.True(t, bytes.Equal(want, got))
				require.Equal(t, d.Size(), last)
				require.NoError(t, d.Close())
			})
		}
	}
}

// What was in a file is gone where the disk has holes.
func TestAnExportOverALongerFileLeavesNothingOfIt(t *testing.T) {
	img := vhdtest.NewDynamic(8<<20, vhdtest.Block{Index: 1, Data: append(make([]byte, 1<<20), "data"...)})
	dir := t.TempDir()
	img.WriteFile(t, filepath.Join(dir, "x.vhd"))
	name := filepath.Join(dir, "out")
	require.NoError(t, os.WriteFile(name, bytes.Repeat([]byte("dirt"), 10<<20/4), 0o600))
	d, err := vhd.Open(filepath.Join(dir, "x.vhd"), nil)
	require.NoError(t, err)
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = d.Export(t.Context(), f, vhd.ExportOptions{})
	require.NoError(t, err)
	require.NoError(t, f.Close())
	got, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Len(t, got, 10<<20)
	require.True(t, bytes.Equal(img.Content(t, nil), got[:8<<20]))
	require.Equal(t, "dirt", string(got[8<<20:][:4]))
	require.NoError(t, d.Close())
}

// failingWriter takes some bytes.
type failingWriter struct {
	left int
	err  error
}

func (w *failingWriter) Write(p []byte) (int, error) {
	n := min(len(p), w.left)
	if w.left -= n; n < len(p) {
		return n, w.err
	}
	return n, nil
}

func TestAnExportThatCanNotBeWrittenSaysHowFarItCame(t *testing.T) {
	chain := vhdtest.RandomChain(3, vhdtest.ChainOptions{Limits: vhdtest.Anything})
	d, err := vhd.Open(chain.WriteDir(t, t.TempDir())[0], nil)
	require.NoError(t, err)
	full := errors.New("full")
	n, err := d.Export(t.Context(), &failingWriter{1000, full}, vhd.ExportOptions{})
	require.ErrorIs(t, err, full)
	require.EqualValues(t, 1000, n)
	n, err = d.Export(t.Context(), &failingWriter{left: 1000}, vhd.ExportOptions{})
	require.ErrorIs(t, err, io.ErrShortWrite)
	require.EqualValues(t, 1000, n)

	name := filepath.Join(t.TempDir(), "out")
	require.NoError(t, os.WriteFile(name, nil, 0o600))
	f, err := os.Open(name) // for reading
	require.NoError(t, err)
	_, err = d.Export(t.Context(), f, vhd.ExportOptions{})
	var path *fs.PathError
	require.ErrorAs(t, err, &path)
	require.Equal(t, name, path.Path)
	require.NoError(t, f.Close())

	require.NoError(t, d.Close())
	_, err = d.Export(t.Context(), io.Discard, vhd.ExportOptions{})
	require.Equal(t, vhd.ErrClosed, err)
}

func TestTheEndOfItsContextEndsACopy(t *testing.T) {
	d, err := vhd.Create("x.vhd", vhd.CreateOptions{Options: vhd.Options{FS: vhdtest.NewMemFS()}, Size: 64 << 20})
	require.NoError(t, err)
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	require.NoError(t, err)
	content := bytes.Repeat([]byte("data"), 16<<20)
	for name, do := range map[string]func(ctx context.Context, progress func(int64, int64)) error{
		"export to a stream": func(ctx context.Context, progress func(int64, int64)) error {
			_, err := d.Export(ctx, io.Discard, vhd.ExportOptions{Progress: progress})
			return err
		},
		"export to a file": func(ctx context.Context, progress func(int64, int64)) error {
			_, err := d.Export(ctx, out, vhd.ExportOptions{Progress: progress})
			return err
		},
		"import": func(ctx context.Context, progress func(int64, int64)) error {
			return d.Import(ctx, bytes.NewReader(content), d.Size(), vhd.ImportOptions{Progress: progress})
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			calls := 0
			err := do(ctx, func(int64, int64) {
				calls++
				cancel()
			})
			require.ErrorIs(t, err, context.Canceled)
			require.LessOrEqual(t, calls, 8)
			require.ErrorIs(t, do(ctx, nil), context.Canceled)
		})
	}
	require.NoError(t, out.Close())
	require.NoError(t, d.Close())
}

// An image that can't be read in one place fails there, by its own name.
func TestAnExportOfADamagedImageNamesTheImage(t *testing.T) {
	raw := vhdtest.NewDynamic(8<<20, vhdtest.Block{Index: 1, Data: []byte("data")}).Build(t)
	vhdtest.EditEntry(t, raw, 1, 1<<20)
	name := filepath.Join(t.TempDir(), "x.vhd")
	require.NoError(t, os.WriteFile(name, raw, 0o600))
	d, err := vhd.Open(name, nil)
	require.NoError(t, err)
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	require.NoError(t, err)
	for _, w := range []io.Writer{io.Discard, out} {
		n, err := d.Export(t.Context(), w, vhd.ExportOptions{})
		require.ErrorIs(t, err, vhd.ErrCorrupt)
		require.ErrorContains(t, err, name)
		require.EqualValues(t, 2<<20, n)
	}
	require.NoError(t, out.Close())
	require.NoError(t, d.Close())
}

func TestAnImageIsNotExportedToItself(t *testing.T) {
	chain := vhdtest.RandomChain(3, vhdtest.ChainOptions{Limits: vhdtest.Anything})
	for _, name := range chain.WriteDir(t, t.TempDir()) {
		before, err := os.ReadFile(name)
		require.NoError(t, err)
		d, err := vhd.Open(name, nil)
		require.NoError(t, err)
		for _, flag := range []int{os.O_RDWR, os.O_WRONLY | os.O_APPEND} {
			f, err := os.OpenFile(name, flag, 0)
			require.NoError(t, err)
			n, err := d.Export(t.Context(), f, vhd.ExportOptions{})
			require.ErrorIs(t, err, vhd.ErrUnsupported)
			require.Zero(t, n)
			require.NoError(t, f.Close())
		}
		require.NoError(t, d.Close())
		after, err := os.ReadFile(name)
		require.NoError(t, err)
		require.True(t, bytes.Equal(before, after))
	}
}

// hookedFS is a storage that calls hook before each read of data.
type hookedFS struct {
	*vhdtest.MemFS
	hook atomic.Pointer[func(off int64)]
}

func (f *hookedFS) OpenFile(name string, flag int, perm fs.FileMode) (vhd.File, error) {
	file, err := f.MemFS.OpenFile(name, flag, perm)
	return &hookedFile{file, f}, err
}

type hookedFile struct {
	vhd.File
	fs *hookedFS
}

func (f *hookedFile) ReadAt(p []byte, off int64) (int, error) {
	if hook := f.fs.hook.Load(); hook != nil {
		(*hook)(off)
	}
	return f.File.ReadAt(p, off)
}

// A block whose space another one takes while it is exported is exported again,
// also where it is a hole by then.
func TestAnExportNeverHasAnotherBlocksBytes(t *testing.T) {
	const block = 2 << 20
	fsys := &hookedFS{MemFS: vhdtest.NewMemFS()}
	d, err := vhd.Create("x.vhd", vhd.CreateOptions{Options: vhd.Options{FS: fsys, Lock: vhd.LockNone}, Size: 8 * block})
	require.NoError(t, err)
	old, next := bytes.Repeat([]byte("old!"), block/4), bytes.Repeat([]byte("next"), block/4)
	_, err = d.WriteAt(old, 0)
	require.NoError(t, err)
	require.NoError(t, d.Sync())
	var once sync.Once
	hook := func(off int64) {
		if off < block/2 { // structures, and the first part of the block
			return
		}
		once.Do(func() {
			fsys.hook.Store(nil)
			require.NoError(t, d.WriteZeroes(0, block))
			require.NoError(t, d.Sync())
			_, err := d.WriteAt(next, 4*block)
			require.NoError(t, err)
		})
	}
	fsys.hook.Store(&hook)
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	require.NoError(t, err)
	_, err = d.Export(t.Context(), out, vhd.ExportOptions{})
	require.NoError(t, err)
	require.Nil(t, fsys.hook.Load(), "or nothing was shown")
	require.NoError(t, out.Close())
	got, err := os.ReadFile(out.Name())
	require.NoError(t, err)
	require.True(t, isZeros(got[:block]))
	require.True(t, bytes.Equal(next, got[4*block:][:block]) || isZeros(got[4*block:][:block]))
	require.NoError(t, d.Close())
}

// What an image has lost since it was opened is no hole.
func TestAnExportOfAnImageThatWasCutOffFails(t *testing.T) {
	for _, diskType := range []vhd.DiskType{vhd.Fixed, vhd.Dynamic} {
		t.Run(diskType.String(), func(t *testing.T) {
			dir := t.TempDir()
			name := filepath.Join(dir, "x.vhd")
			d, err := vhd.Create(name, vhd.CreateOptions{Size: 8 << 20, Type: diskType})
			require.NoError(t, err)
			_, err = d.WriteAt(bytes.Repeat([]byte("data"), 2<<20), 0)
			require.NoError(t, err)
			require.NoError(t, d.Close())
			d, err = vhd.Open(name, nil)
			require.NoError(t, err)
			defer d.Close()
			require.NoError(t, os.Truncate(name, 3<<20))
			out, err := os.Create(filepath.Join(dir, "out"))
			require.NoError(t, err)
			defer out.Close()
			n, err := d.Export(t.Context(), out, vhd.ExportOptions{})
			require.ErrorIs(t, err, vhd.ErrFormat)
			require.LessOrEqual(t, n, int64(3<<20))
		})
	}
}

// A read is not begun anew for ever because space is freed beside it.
func TestALongReadEndsBesideOneThatFrees(t *testing.T) {
	const size, block = 32 << 20, 64 << 10
	fsys := &hookedFS{MemFS: vhdtest.NewMemFS()}
	d, err := vhd.Create("x.vhd", vhd.CreateOptions{Options: vhd.Options{FS: fsys, Lock: vhd.LockNone}, Size: size, BlockSize: block})
	require.NoError(t, err)
	content := bytes.Repeat([]byte("x"), size)
	_, err = d.WriteAt(content, 0)
	require.NoError(t, err)
	require.NoError(t, d.Sync())

	var calls, rounds atomic.Int64
	stop := make(chan struct{})
	end := sync.OnceFunc(func() { close(stop) })
	const most = 10 * size / block
	hook := func(int64) { // waits for one that frees, if that gets on
		if calls.Add(1) == most {
			end()
		}
		before := rounds.Load()
		for i := 0; i < 2000 && rounds.Load() == before; i++ {
			runtime.Gosched()
		}
	}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			assertNoError(t, d.WriteZeroes(0, block))
			assertNoError(t, d.Sync())
			_, err := d.WriteAt(content[:block], 0)
			assertNoError(t, err)
			rounds.Add(1)
		}
	})
	fsys.hook.Store(&hook)
	got := make([]byte, size-block)
	_, err = d.ReadAt(got, block)
	end()
	group.Wait()
	require.NoError(t, err)
	require.True(t, bytes.Equal(content[block:], got))
	require.Less(t, calls.Load(), int64(most))
	require.NoError(t, d.Close())
}

// syncedWriter notes what was written when it was synced.
type syncedWriter struct {
	bytes.Buffer
	synced []int
	err    error
}

func (w *syncedWriter) Sync() error {
	w.synced = append(w.synced, w.Len())
	return w.err
}

func TestAnExportIsSyncedWhenItIsWhole(t *testing.T) {
	d, err := vhd.Create("x.vhd", vhd.CreateOptions{Options: vhd.Options{FS: vhdtest.NewMemFS()}, Size: 3 << 20})
	require.NoError(t, err)
	defer d.Close()
	for _, diskType := range []vhd.DiskType{0, vhd.Fixed, vhd.Dynamic} {
		var w syncedWriter
		n, err := d.Export(t.Context(), &w, vhd.ExportOptions{Type: diskType, Sync: true})
		require.NoError(t, err)
		require.Equal(t, []int{int(n)}, w.synced)

		w = syncedWriter{err: errors.New("no")}
		_, err = d.Export(t.Context(), &w, vhd.ExportOptions{Type: diskType, Sync: true})
		require.Equal(t, w.err, err)

		w = syncedWriter{}
		_, err = d.Export(t.Context(), &w, vhd.ExportOptions{Type: diskType})
		require.NoError(t, err)
		require.Empty(t, w.synced)

		var plain bytes.Buffer
		_, err = d.Export(t.Context(), &plain, vhd.ExportOptions{Type: diskType, Sync: true})
		require.ErrorIs(t, err, fs.ErrInvalid)
		require.Zero(t, plain.Len())
	}
}
