package vhd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

func TestAnExportEndsWithItsContextAndLeavesNoGoroutine(t *testing.T) {
	for _, opts := range exportKinds {
		t.Run(fmt.Sprintf("%v since %d", opts.Type, opts.Base), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := newPatchyChain(t, vhdtest.NewMemFS())
				for enough := range 4 {
					ctx, cancel := context.WithCancel(t.Context())
					calls := 0
					opts.Progress = func(int64, int64) {
						if calls++; calls >= enough {
							cancel()
						}
					}
					if enough == 0 {
						cancel()
					}
					var b bytes.Buffer
					n, err := disk.Export(ctx, &b, opts)
					require.ErrorIs(t, err, context.Canceled)
					require.EqualValues(t, b.Len(), n)
					require.LessOrEqual(t, calls, enough+2)
					synctest.Wait()
					if opts.Type == vhd.Dynamic || opts.Type == vhd.Differencing {
						_, err = disk.ExportSize(ctx, opts)
						require.ErrorIs(t, err, context.Canceled)
					}
				}
				require.NoError(t, disk.Close())
			})
		})
	}
}

func TestTheLengthOfAnExportIsToldBeforeItsFirstByte(t *testing.T) {
	disk := newPatchyChain(t, vhdtest.NewMemFS())
	for _, opts := range exportKinds {
		for sink, received := range sinks(t) {
			t.Run(fmt.Sprintf("%v since %d to %s", opts.Type, opts.Base, sink), func(t *testing.T) {
				told, calls := int64(0), 0
				got := received(t, func(w io.Writer) {
					var file *os.File
					var before fs.FileInfo
					if f, ok := w.(*os.File); ok {
						info, err := f.Stat()
						require.NoError(t, err)
						file, before = f, info
					}
					opts.Begin = func(size int64) error {
						told, calls = size, calls+1
						if file != nil {
							now, err := file.Stat()
							require.NoError(t, err)
							require.Equal(t, before.Size(), now.Size())
						} else {
							require.Zero(t, w.(*bytes.Buffer).Len())
						}
						return nil
					}
					n, err := disk.Export(t.Context(), w, opts)
					require.NoError(t, err)
					require.Equal(t, n, told)
				})
				require.Equal(t, 1, calls)
				require.EqualValues(t, len(got), told)
			})
		}
	}
	require.NoError(t, disk.Close())
}

func TestWhoDoesNotWantAnExportOfThatLengthGetsNone(t *testing.T) {
	disk := newPatchyChain(t, vhdtest.NewMemFS())
	tooLarge := errors.New("too large")
	for _, opts := range exportKinds {
		opts.Begin = func(int64) error { return tooLarge }
		var b bytes.Buffer
		n, err := disk.Export(t.Context(), &b, opts)
		require.Equal(t, tooLarge, err)
		require.Zero(t, n)
		require.Zero(t, b.Len())
	}
	opts := vhd.ExportOptions{Type: 9, Begin: func(int64) error { panic("of what is refused, no length is told") }}
	_, err := disk.Export(t.Context(), io.Discard, opts)
	require.ErrorIs(t, err, fs.ErrInvalid)
	require.NoError(t, disk.Close())
}

// Progress is of the disk, whatever is written of it.
func TestProgressOfAnExportIsWhatIsDoneOfTheDisk(t *testing.T) {
	disk := newPatchyChain(t, vhdtest.NewMemFS())
	for _, opts := range exportKinds {
		var at []int64
		opts.Progress = func(done, total int64) {
			require.Equal(t, disk.Size(), total)
			at = append(at, done)
		}
		n, err := disk.Export(t.Context(), io.Discard, opts)
		require.NoError(t, err)
		require.IsIncreasing(t, at[:len(at)-1], "%v", opts.Type)
		require.Equal(t, disk.Size(), at[len(at)-1])
		require.Len(t, at, int((n+512<<10-1)/(512<<10)), "%v: once for each piece", opts.Type)
	}
	require.NoError(t, disk.Close())
}

// newPatchyChain is a chain of three, of 8 MiB in blocks of 32 KiB, of which each
// image has a part of every other one.
func newPatchyChain(t testing.TB, fsys *vhdtest.MemFS) *vhd.Disk {
	t.Helper()
	const block = 32 << 10
	rng := rand.New(rand.NewPCG(1, 2))
	opts := vhd.CreateOptions{Options: vhd.Options{FS: fsys}, Size: 8 << 20, BlockSize: block}
	var disk *vhd.Disk
	for i, name := range []string{"base.vhd", "middle.vhd", "leaf.vhd"} {
		if disk != nil {
			require.NoError(t, disk.Close())
		}
		var err error
		disk, err = vhd.Create(name, opts)
		require.NoError(t, err)
		for off := int64(0); off < opts.Size; off += block {
			if rng.IntN(2) == 0 {
				_, err = disk.WriteAt(fill(byte(i), 512*(1+rng.Int64N(block/512))), off)
				require.NoError(t, err)
			}
		}
		opts.Parent = name
	}
	return disk
}

func TestAnExportThatCanNotBeWrittenEndsWithTheWritersError(t *testing.T) {
	disk := newExtentChain(t, vhdtest.NewMemFS())
	full := errors.New("full")
	for _, opts := range exportKinds {
		size, err := disk.ExportSize(t.Context(), opts)
		require.NoError(t, err)
		for _, k := range []int64{0, 1, 511, 512, 600, 1536, 1600, 4096, 7680, 8192, 12288, 20000, size / 2, size - 513, size - 512, size - 1} {
			for _, w := range []struct{ says, want error }{{full, full}, {nil, io.ErrShortWrite}} {
				synctest.Test(t, func(t *testing.T) {
					n, err := disk.Export(t.Context(), &failingWriter{int(k), w.says}, opts)
					require.Equal(t, w.want, err, "as it is")
					require.Equal(t, k, n)
				})
			}
		}
		n, err := disk.Export(t.Context(), &failingWriter{int(size), full}, opts)
		require.NoError(t, err)
		require.Equal(t, size, n)
	}
}

// closingWriter closes a disk when it is written to.
type closingWriter struct{ disk *vhd.Disk }

func (w closingWriter) Write(p []byte) (int, error) {
	_ = w.disk.Close()
	return len(p), nil
}

func TestAnExportOfADiskThatIsClosedMeanwhileEndsWithErrClosed(t *testing.T) {
	for _, opts := range exportKinds {
		synctest.Test(t, func(t *testing.T) {
			disk := newPatchyChain(t, vhdtest.NewMemFS())
			_, err := disk.Export(t.Context(), closingWriter{disk}, opts)
			require.Equal(t, vhd.ErrClosed, err)
		})
	}
}

func TestAnExportOfWhatCanNotBeReadIsAnError(t *testing.T) {
	fsys := vhdtest.NewMemFS()
	require.NoError(t, newExtentChain(t, fsys).Close())
	faults := vhdtest.NewFaultFS(fsys)
	export := func(w io.Writer, opts vhd.ExportOptions, at int) (fired int, err error) {
		disk, err := vhd.Open("leaf.vhd", &vhd.Options{FS: faults, Lock: vhd.LockNone})
		require.NoError(t, err)
		faults.Arm(vhdtest.Fault{At: at, Forever: true, All: true, Match: func(op vhdtest.Op) bool { return op.Kind == vhdtest.OpRead }})
		_, err = disk.Export(t.Context(), w, opts)
		fired = faults.Fired()
		faults.Disarm()
		require.NoError(t, disk.Close())
		return fired, err
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	require.NoError(t, err)
	defer out.Close()
	for _, opts := range exportKinds {
		if opts.Type != 0 { // then all exports are the same bytes
			opts.ID, opts.Time = uuid.UUID{1}, madeAt
		}
		var whole bytes.Buffer
		_, err = export(&whole, opts, 1<<30)
		require.NoError(t, err)
		for _, w := range []io.Writer{out, io.Discard} {
			for fired, at := 1, 1; fired > 0; at++ {
				require.NoError(t, out.Truncate(0))
				_, err = out.Seek(0, io.SeekStart)
				require.NoError(t, err)
				fired, err = export(w, opts, at)
				switch {
				case err == nil && w == out: // two at a time may read the same, of whom one is served by what the other got
					got, err := os.ReadFile(out.Name())
					require.NoError(t, err)
					require.True(t, bytes.Equal(whole.Bytes(), got), "read %d", at)
				case fired > 0:
					require.ErrorIs(t, err, syscall.EIO, "read %d", at)
					require.ErrorContains(t, err, ".vhd")
				}
			}
			require.NoError(t, err)
		}
	}
}

// What has blocks is known to be damaged before anything is written.
func TestAnExportOfADamagedChainIsAnErrorAndNeverZeros(t *testing.T) {
	base := vhdtest.NewDynamic(8<<20, vhdtest.Block{Index: 1, Data: []byte("data")})
	leaf := vhdtest.NewChild(base, "base.vhd", vhdtest.Block{Index: 2, Data: []byte("data")})
	dir := t.TempDir()
	base.WriteFile(t, filepath.Join(dir, "base.vhd"))
	raw := leaf.Build(t)
	vhdtest.EditEntry(t, raw, 2, 1<<20)
	name := filepath.Join(dir, "leaf.vhd")
	require.NoError(t, os.WriteFile(name, raw, 0o600))
	disk, err := vhd.Open(name, nil)
	require.NoError(t, err)
	for diskType, want := range map[vhd.DiskType]int64{vhd.Fixed: 4 << 20, vhd.Dynamic: 0, vhd.Differencing: 0} {
		opts := vhd.ExportOptions{Type: diskType}
		if diskType == vhd.Differencing {
			opts.Base = 1
		}
		n, err := disk.Export(t.Context(), io.Discard, opts)
		require.ErrorIs(t, err, vhd.ErrCorrupt)
		require.ErrorContains(t, err, name)
		require.Equal(t, want, n)
	}
	require.NoError(t, disk.Close())
}

func TestAnExportWithoutTheParentsIsAnError(t *testing.T) {
	fsys := vhdtest.NewMemFS()
	require.NoError(t, newExtentChain(t, fsys).Close())
	disk, err := vhd.Open("leaf.vhd", &vhd.Options{FS: fsys, NoParents: true})
	require.NoError(t, err)
	for _, opts := range exportKinds[:3] {
		_, err := disk.Export(t.Context(), io.Discard, opts)
		require.ErrorIs(t, err, vhd.ErrParentNotFound, "%v", opts.Type)
	}
	require.NoError(t, disk.Close())
}

// A delta says nothing of what its base does not have, so nobody asks for it.
func TestADeltaNeedsNoMoreThanItsBase(t *testing.T) {
	fsys := vhdtest.NewMemFS()
	disk := newExtentChain(t, fsys)
	want := exportVHD(t, disk, vhd.ExportOptions{Type: vhd.Differencing, Base: 1, ID: exportedID, Time: exportedTime})
	require.NoError(t, disk.Close())
	faults := vhdtest.NewFaultFS(fsys)
	disk, err := vhd.Open("leaf.vhd", &vhd.Options{FS: faults})
	require.NoError(t, err)
	faults.Arm(vhdtest.Fault{At: 1, Forever: true, All: true, Match: func(op vhdtest.Op) bool {
		return op.Kind == vhdtest.OpRead && strings.HasSuffix(op.Name, "base.vhd")
	}})
	size, err := disk.ExportSize(t.Context(), vhd.ExportOptions{Type: vhd.Differencing, Base: 1})
	require.NoError(t, err)
	require.EqualValues(t, len(want), size)
	require.NoError(t, disk.Close())
}

func TestAnImageIsNotExportedToItselfAsAVHDEither(t *testing.T) {
	dir := t.TempDir()
	vhdtest.NewFixed(1<<20, nil).WriteFile(t, filepath.Join(dir, "x.vhd"))
	disk, err := vhd.Open(filepath.Join(dir, "x.vhd"), nil)
	require.NoError(t, err)
	f, err := os.OpenFile(filepath.Join(dir, "x.vhd"), os.O_RDWR, 0)
	require.NoError(t, err)
	for _, opts := range exportKinds[:3] {
		_, err = disk.Export(t.Context(), f, opts)
		require.ErrorIs(t, err, vhd.ErrUnsupported)
	}
	require.NoError(t, f.Close())
	require.NoError(t, disk.Close())
}

// meddler writes to a disk, by sectors, between the pieces that are exported, and
// keeps what each sector ever was.
type meddler struct {
	bytes.Buffer
	disk     *vhd.Disk
	rng      *rand.Rand
	versions []map[string]bool
	err      error
}

func newMeddler(t testing.TB, disk *vhd.Disk, seed uint64) *meddler {
	t.Helper()
	m := &meddler{disk: disk, rng: rand.New(rand.NewPCG(seed, 1))}
	content := contentOf(t, disk)
	for sector := range len(content) / 512 {
		m.versions = append(m.versions, map[string]bool{string(content[sector*512:][:512]): true})
	}
	return m
}

func (m *meddler) Write(p []byte) (int, error) {
	m.meddle()
	return m.Buffer.Write(p)
}

func (m *meddler) meddle() {
	for range 20 {
		sector := m.rng.IntN(len(m.versions))
		n := min(1+m.rng.IntN(300), len(m.versions)-sector)
		data := make([]byte, n*512)
		if m.rng.IntN(3) > 0 {
			data = fill(byte(m.rng.IntN(256)), int64(n)*512)
		}
		for i := range n {
			m.versions[sector+i][string(data[i*512:][:512])] = true
		}
		var err error
		if data[0] == 0 {
			err = m.disk.WriteZeroes(int64(sector)*512, int64(n)*512)
		} else {
			_, err = m.disk.WriteAt(data, int64(sector)*512)
		}
		m.err = errors.Join(m.err, err)
	}
	m.err = errors.Join(m.err, m.disk.Sync())
}

// exportToFile exports to a file, and meddles with each piece.
func (m *meddler) exportToFile(t testing.TB, opts vhd.ExportOptions) (int64, error) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	require.NoError(t, err)
	opts.Progress = func(int64, int64) { m.meddle() }
	n, err := m.disk.Export(t.Context(), f, opts)
	require.NoError(t, f.Close())
	image, readErr := os.ReadFile(f.Name())
	require.NoError(t, readErr)
	m.Buffer.Write(image)
	return n, err
}

func TestAnExportOfADiskThatIsWrittenToIsSound(t *testing.T) {
	for seed := range uint64(8) {
		for _, opts := range exportKinds[1:] {
			toFile := seed%2 == 1
			t.Run(fmt.Sprintf("seed %d, %v since %d, to a file %v", seed, opts.Type, opts.Base, toFile), func(t *testing.T) {
				fsys := vhdtest.NewMemFS()
				disk := newPatchyChain(t, fsys)
				m := newMeddler(t, disk, seed)
				size, err := disk.ExportSize(t.Context(), opts)
				require.NoError(t, err)
				export := func() (int64, error) { return disk.Export(t.Context(), m, opts) }
				if toFile {
					export = func() (int64, error) { return m.exportToFile(t, opts) }
				}
				n, err := export()
				require.NoError(t, err)
				require.NoError(t, m.err)
				require.Equal(t, size, n)
				require.EqualValues(t, size, m.Len())
				require.False(t, inspect(t, m.Bytes()).NeedsRecovery())
				require.NoError(t, fsys.WriteFile("out.vhd", m.Bytes()))
				out, err := vhd.Open("out.vhd", &vhd.Options{FS: fsys, Writable: true})
				require.NoError(t, err)
				got := readAll(t, out, out.Size())
				for sector := range m.versions {
					data := got[sector*512:][:512]
					require.True(t, m.versions[sector][string(data)] || isZeros(data), "sector %d is what it never was", sector)
				}
				require.NoError(t, out.Close())
			})
		}
	}
}

// What an export needs to know of a disk of 2 TiB is less than its table.
func TestAnExportOfAHugeDiskTakesLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("it looks at a million windows")
	}
	fsys := vhdtest.NewMemFS()
	opts := vhd.CreateOptions{Options: vhd.Options{FS: fsys}, Size: vhd.MaxDynamicSize}
	for i, name := range []string{"base.vhd", "leaf.vhd"} {
		disk, err := vhd.Create(name, opts)
		require.NoError(t, err)
		for at := range int64(20) {
			_, err := disk.WriteAt([]byte{1}, at*100<<30+int64(i)<<30)
			require.NoError(t, err)
		}
		require.NoError(t, disk.Close())
		opts.Parent = name
	}
	for _, opts := range []vhd.ExportOptions{{Type: vhd.Dynamic}, {Type: vhd.Differencing, Base: 1}} {
		disk, err := vhd.Open("leaf.vhd", &vhd.Options{FS: fsys, CacheSize: 1 << 20})
		require.NoError(t, err)
		before := liveMemory()
		most, calls := uint64(0), 0
		opts.Progress = func(int64, int64) {
			if calls++; calls%16 == 1 {
				most = max(most, liveMemory())
			}
		}
		n, err := disk.Export(t.Context(), io.Discard, opts)
		require.NoError(t, err)
		require.Greater(t, n, int64(20*2<<20))
		require.Less(t, most-min(most, before), uint64(16<<20))
		require.NoError(t, disk.Close())
	}
}

func liveMemory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
