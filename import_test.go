package vhd_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// patchy is content of data and zeros, in pieces of any length.
func patchy(seed uint64, size int) []byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	p := make([]byte, size)
	for at := 0; at < size; {
		n := 1 << rng.IntN(21)
		if rng.IntN(2) == 0 {
			for i := at; i < min(at+n, size); i++ {
				p[i] = byte(rng.IntN(255) + 1)
			}
		}
		at += n
	}
	return p
}

func TestWhatIsImportedIsWhatTheDiskReads(t *testing.T) {
	const size = 9<<20 + 512
	for seed := range uint64(3) {
		for _, blockSize := range []int64{512, 64 << 10, 2 << 20, 8 << 20} {
			if blockSize == 512 && seed > 0 {
				continue // slow
			}
			for _, before := range []string{"an empty disk", "a disk with content", "a child"} {
				t.Run(fmt.Sprintf("seed %d, blocks of %d, %s", seed, blockSize, before), func(t *testing.T) {
					fsys := vhdtest.NewMemFS()
					opts := vhd.CreateOptions{Options: vhd.Options{FS: fsys}, Size: size, BlockSize: blockSize}
					d, err := vhd.Create("base.vhd", opts)
					require.NoError(t, err)
					old := make([]byte, size)
					if before != "an empty disk" {
						old = patchy(seed+100, size)
						_, err = d.WriteAt(old, 0)
						require.NoError(t, err)
					}
					if before == "a child" {
						require.NoError(t, d.Close())
						opts.Parent = "base.vhd"
						d, err = vhd.Create("child.vhd", opts)
						require.NoError(t, err)
					}
					content := patchy(seed, size-700)
					require.NoError(t, d.Import(t.Context(), bytes.NewReader(content), int64(len(content)), vhd.ImportOptions{}))
					want := append(content, old[len(content):]...)
					require.True(t, bytes.Equal(want, contentOf(t, d)))
					require.NoError(t, d.Close())
				})
			}
		}
	}
}

// Zeros of a file, holes or not, take no space in the image, and neither do those
// that are between data in one block.
func TestImportedZerosTakeNoSpace(t *testing.T) {
	name := filepath.Join(t.TempDir(), "in")
	f, err := os.Create(name)
	require.NoError(t, err)
	const size = 1 << 30
	require.NoError(t, f.Truncate(size))
	for off, p := range map[int64][]byte{500 << 20: []byte("data"), 800 << 20: make([]byte, 5<<20)} {
		_, err = f.WriteAt(p, off)
		require.NoError(t, err)
	}
	_, err = f.Seek(77, io.SeekStart)
	require.NoError(t, err)
	rec := vhdtest.NewRecordFS(vhdtest.NewMemFS())
	d, err := vhd.Create("x.vhd", vhd.CreateOptions{Options: vhd.Options{FS: rec}, Size: size})
	require.NoError(t, err)
	rec.Reset()
	require.NoError(t, d.Import(t.Context(), f, size, vhd.ImportOptions{}))
	require.NoError(t, d.Sync())
	n, err := d.Chain()[0].AllocatedBlocks()
	require.NoError(t, err)
	require.Equal(t, 1, n)
	var written int64
	for _, op := range rec.Ops() {
		if op.Kind == vhdtest.OpWrite {
			written += op.N
		}
	}
	require.Less(t, written, int64(64<<10))
	at, err := f.Seek(0, io.SeekCurrent)
	require.NoError(t, err)
	require.EqualValues(t, 77, at)
	require.NoError(t, f.Close())
	require.NoError(t, d.Close())
}

func TestImportRefusesWhatDoesNotFit(t *testing.T) {
	fsys := vhdtest.NewMemFS()
	d, err := vhd.Create("x.vhd", vhd.CreateOptions{Options: vhd.Options{FS: fsys}, Size: 4 << 20})
	require.NoError(t, err)
	long := bytes.NewReader(bytes.Repeat([]byte("data"), 2<<20))
	require.ErrorIs(t, d.Import(t.Context(), long, 4<<20+1, vhd.ImportOptions{}), vhd.ErrOutOfRange)
	require.ErrorIs(t, d.Import(t.Context(), long, -1, vhd.ImportOptions{}), vhd.ErrOutOfRange)
	require.True(t, isZeros(contentOf(t, d)))
	require.ErrorIs(t, d.Import(t.Context(), bytes.NewReader([]byte("short")), 4<<20, vhd.ImportOptions{}), io.ErrUnexpectedEOF)
	broken := errors.New("broken")
	require.ErrorIs(t, d.Import(t.Context(), brokenReader{broken}, 4<<20, vhd.ImportOptions{}), broken)
	require.NoError(t, d.Close())
	require.Equal(t, vhd.ErrClosed, d.Import(t.Context(), long, 512, vhd.ImportOptions{}))
	d, err = vhd.Open("x.vhd", &vhd.Options{FS: fsys})
	require.NoError(t, err)
	require.ErrorIs(t, d.Import(t.Context(), long, 512, vhd.ImportOptions{}), vhd.ErrReadOnly)
	require.NoError(t, d.Close())
}

type brokenReader struct{ err error }

func (r brokenReader) ReadAt([]byte, int64) (int, error) { return 0, r.err }

func isZeros(p []byte) bool { return len(bytes.Trim(p, "\x00")) == 0 }

// Zeros over blocks of data give their space back, whatever pieces they come in.
func TestImportedZerosFreeBlocks(t *testing.T) {
	for _, blockSize := range []int64{64 << 10, 2 << 20, 16 << 20} {
		size := 4 * blockSize
		d, err := vhd.Create("x.vhd", vhd.CreateOptions{Options: vhd.Options{FS: vhdtest.NewMemFS()}, Size: size, BlockSize: blockSize})
		require.NoError(t, err)
		_, err = d.WriteAt(bytes.Repeat([]byte("data"), int(size/4)), 0)
		require.NoError(t, err)
		content := make([]byte, size)
		copy(content[blockSize+100:], "data")
		require.NoError(t, d.Import(t.Context(), bytes.NewReader(content), size, vhd.ImportOptions{}))
		require.True(t, bytes.Equal(content, contentOf(t, d)))
		require.NoError(t, d.Sync())
		n, err := d.Chain()[0].AllocatedBlocks()
		require.NoError(t, err)
		require.Equal(t, 1, n, "blocks of %d", blockSize)
		require.NoError(t, d.Close())
	}
}

// A view of a file is not the file: its holes are elsewhere.
func TestAViewOfAFileIsImportedAsItReads(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "in"))
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte("data"), 4<<20)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(8<<20))
	d, err := vhd.Create("x.vhd", vhd.CreateOptions{Options: vhd.Options{FS: vhdtest.NewMemFS()}, Size: 4 << 20})
	require.NoError(t, err)
	require.NoError(t, d.Import(t.Context(), fileView{f, 4 << 20}, 4<<20, vhd.ImportOptions{}))
	require.Equal(t, "data", string(contentOf(t, d)[:4]))
	require.NoError(t, d.Close())
}

// fileView is a file from an offset on.
type fileView struct {
	*os.File
	off int64
}

func (v fileView) ReadAt(p []byte, off int64) (int, error) { return v.File.ReadAt(p, v.off+off) }

// Behind the end of a file there are no holes.
func TestImportOfAFileThatIsTooShort(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "in"))
	require.NoError(t, err)
	defer f.Close()
	_, err = f.Write(bytes.Repeat([]byte("data"), 1<<18))
	require.NoError(t, err)
	for _, size := range []int64{1<<20 + 1, 3 << 20, 8 << 20} {
		d, err := vhd.Create("x.vhd", vhd.CreateOptions{Options: vhd.Options{FS: vhdtest.NewMemFS()}, Size: 8 << 20})
		require.NoError(t, err)
		require.ErrorIs(t, d.Import(t.Context(), f, size, vhd.ImportOptions{}), io.ErrUnexpectedEOF)
		require.NoError(t, d.Close())
	}
}

// What is zeros is written as such wherever any of it is something else, not only
// where a piece begins.
func TestZerosAreImportedOverWhatIsPartlyThere(t *testing.T) {
	const size = 4 << 20
	for _, child := range []bool{false, true} {
		opts := vhd.CreateOptions{Options: vhd.Options{FS: vhdtest.NewMemFS()}, Size: size, BlockSize: 64 << 10}
		d, err := vhd.Create("base.vhd", opts)
		require.NoError(t, err)
		_, err = d.WriteAt([]byte("secret"), 1<<20)
		require.NoError(t, err)
		if child {
			require.NoError(t, d.Close())
			opts.Parent = "base.vhd"
			d, err = vhd.Create("child.vhd", opts)
			require.NoError(t, err)
		}
		content := make([]byte, size)
		copy(content, "some data in front")
		require.NoError(t, d.Import(t.Context(), bytes.NewReader(content), size, vhd.ImportOptions{}))
		require.True(t, bytes.Equal(content, contentOf(t, d)), "child: %v", child)
		require.NoError(t, d.Close())
	}
}

func TestImportOfDataDoesNotAskTheParent(t *testing.T) {
	r := newChildRig(t, vhd.CreateOptions{Size: 12 << 20, BlockSize: 2 << 20})
	content := bytes.Repeat([]byte("c"), 12<<20)
	require.NoError(t, r.disk.Import(t.Context(), bytes.NewReader(content), 12<<20, vhd.ImportOptions{}))
	for _, op := range r.rec.Ops() {
		require.NotEqual(t, "parent.vhd", op.Name, "%v", op)
	}
	require.True(t, bytes.Equal(content, contentOf(t, r.disk)))
}

// meetingReader is a reader whose first reads wait for one another.
type meetingReader struct {
	io.ReaderAt
	meet func()
}

func (r meetingReader) ReadAt(p []byte, off int64) (int, error) {
	r.meet()
	return r.ReaderAt.ReadAt(p, off)
}

func TestSeveralPiecesAreImportedAtATime(t *testing.T) {
	if runtime.GOMAXPROCS(0) < 2 {
		t.Skip("on one processor there is one at a time")
	}
	var n atomic.Int32
	both := make(chan struct{})
	meet := func() {
		if n.Add(1) == 2 {
			close(both)
		}
		<-both
	}
	d, err := vhd.Create("x.vhd", vhd.CreateOptions{Options: vhd.Options{FS: vhdtest.NewMemFS()}, Size: 8 << 20})
	require.NoError(t, err)
	content := bytes.NewReader(make([]byte, 8<<20))
	require.NoError(t, d.Import(t.Context(), meetingReader{content, meet}, 8<<20, vhd.ImportOptions{}))
	require.NoError(t, d.Close())
}

func TestAnImportThatFindsNoRoomIsNotBegun(t *testing.T) {
	const size, block = 8 << 20, 64 << 10
	content := make([]byte, size)
	copy(content[1<<20:], fill(5, 100<<10)) // two blocks
	copy(content[5<<20:], "x")              // and one
	for _, c := range []struct {
		name string
		opts vhd.CreateOptions
		had  string // what a disk holds at 5 MiB
		need int64
	}{
		{"an empty disk", vhd.CreateOptions{BlockSize: block}, "", 3 * (block + 4096)},
		{"a disk that has one of the blocks", vhd.CreateOptions{BlockSize: block}, "old", 2 * (block + 4096)},
		{"a fixed disk", vhd.CreateOptions{Type: vhd.Fixed}, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			mem := vhdtest.NewMemFS()
			c.opts.FS, c.opts.Size = mem, size
			require.NoError(t, createAndFill("x.vhd", c.opts, func(d *vhd.Disk) error {
				_, err := d.WriteAt([]byte(c.had), 5<<20)
				return err
			}))
			before := mustReadFile(t, mem, "x.vhd")
			if c.need > 0 {
				disk, err := vhd.Open("x.vhd", &vhd.Options{FS: scarceFS{mem, c.need - 1}, Writable: true})
				require.NoError(t, err)
				err = disk.Import(t.Context(), bytes.NewReader(content), size, vhd.ImportOptions{Progress: func(int64, int64) { panic("it is not begun") }})
				require.ErrorIs(t, err, vhd.ErrNoSpace)
				require.ErrorContains(t, err, "x.vhd")
				require.NoError(t, disk.Close())
				requireSameBytes(t, before, mustReadFile(t, mem, "x.vhd"), 0)
			}
			disk, err := vhd.Open("x.vhd", &vhd.Options{FS: scarceFS{mem, c.need}, Writable: true})
			require.NoError(t, err)
			for range 2 { // what is there already needs no room, nor what the file has in front of its footer
				require.NoError(t, disk.Import(t.Context(), bytes.NewReader(content), size, vhd.ImportOptions{}))
			}
			requireSameBytes(t, content, contentOf(t, disk), 0)
			require.NoError(t, disk.Close())
		})
	}
}

// The file of a disk that was written to has room in front of its footer, which is
// taken before the file grows.
func TestAnImportTakesTheRoomThatTheFileHas(t *testing.T) {
	mem := vhdtest.NewMemFS()
	opts := vhd.CreateOptions{Options: vhd.Options{FS: scarceFS{mem, 16 << 10}}, Size: 64 << 20, BlockSize: 64 << 10}
	disk, err := vhd.Create("x.vhd", opts)
	require.NoError(t, err)
	_, err = disk.WriteAt([]byte("x"), 0)
	require.NoError(t, err)
	size := disk.Chain()[0].FileSize()
	content := fill(7, 1<<20)
	require.NoError(t, disk.Import(t.Context(), bytes.NewReader(content), 1<<20, vhd.ImportOptions{}))
	require.Equal(t, size, disk.Chain()[0].FileSize())
	require.NoError(t, disk.Close())
}

func TestAPlanOfAnImportSaysWhatAnImportWould(t *testing.T) {
	const size, block = 8 << 20, 64 << 10
	content := make([]byte, size)
	copy(content[1<<20:], fill(5, 100<<10)) // two blocks
	copy(content[5<<20:], "x")              // and one
	plan := func(free int64, opts vhd.CreateOptions, n int64) (int64, error) {
		mem := vhdtest.NewMemFS()
		require.NoError(t, mem.WriteFile("there.vhd", nil))
		opts.FS = scarceFS{mem, free}
		bytesOf, err := vhd.PlanImport(t.Context(), "x.vhd", opts, bytes.NewReader(content), n, vhd.ImportOptions{})
		_, there := vhd.PlanImport(t.Context(), "there.vhd", opts, panickingReader{}, 0, vhd.ImportOptions{})
		if err == nil {
			require.ErrorIs(t, there, fs.ErrExist)
		}
		_, statErr := mem.Stat("x.vhd")
		require.ErrorIs(t, statErr, fs.ErrNotExist)
		return bytesOf, err
	}
	for _, c := range []struct {
		opts vhd.CreateOptions
		n    int64
		free int64
		want error
	}{
		{vhd.CreateOptions{Size: size, BlockSize: block}, size, 1 << 20, nil},
		{vhd.CreateOptions{Size: size, BlockSize: block}, size, 3 * block, vhd.ErrNoSpace},
		{vhd.CreateOptions{Size: size, Type: vhd.Fixed}, size, 1 << 20, nil},
		{vhd.CreateOptions{Size: size, Type: vhd.Fixed}, size, 100 << 10, vhd.ErrNoSpace},
		{vhd.CreateOptions{Size: size}, 2 * size, 1 << 40, vhd.ErrOutOfRange},
		{vhd.CreateOptions{Size: 2 * size}, 2 * size, 1 << 40, io.ErrUnexpectedEOF},
		{vhd.CreateOptions{Size: size, Parent: "there.vhd"}, size, 1 << 40, fs.ErrInvalid},
		{vhd.CreateOptions{Size: 100}, 0, 1 << 40, fs.ErrInvalid},
	} {
		n, err := plan(c.free, c.opts, c.n)
		require.ErrorIs(t, err, c.want)
		if c.want == nil {
			require.NoError(t, err)
			mem := vhdtest.NewMemFS()
			c.opts.FS = mem
			require.NoError(t, createAndFill("x.vhd", c.opts, func(d *vhd.Disk) error {
				return d.Import(t.Context(), bytes.NewReader(content), size, vhd.ImportOptions{})
			}))
			require.EqualValues(t, len(mustReadFile(t, mem, "x.vhd")), n)
		}
	}
}

// panickingReader is not read.
type panickingReader struct{}

func (panickingReader) ReadAt([]byte, int64) (int, error) { panic("it is not read") }

func TestAPlanOfAnImportTellsHowFarItIsToTheEnd(t *testing.T) {
	const size = 5 << 20
	var told []int64
	create := vhd.CreateOptions{Options: vhd.Options{FS: vhdtest.NewMemFS()}, Size: size}
	_, err := vhd.PlanImport(t.Context(), "x.vhd", create, bytes.NewReader(make([]byte, size)), size, vhd.ImportOptions{Progress: func(done, total int64) {
		require.EqualValues(t, size, total)
		told = append(told, done)
	}})
	require.NoError(t, err)
	require.IsIncreasing(t, told)
	require.EqualValues(t, size, told[len(told)-1])
}
