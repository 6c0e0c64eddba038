package vhd_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/go-vhd/vhd"
	"github.com/stretchr/testify/require"
)

// Every benchmark measures beside a yardstick, turn by turn in the same run and
// with all data in the page cache, and reports how its speed compares: 1.00 is
// the yardstick's, more is faster.

const (
	benchSize   = 256 << 20
	benchWrites = 200 // of 4 KiB in every child
)

// benchDisk is a chain of a base full of data and children with scattered
// writes, and a raw file with the same content.
type benchDisk struct {
	disk  *vhd.Disk
	raw   *os.File
	files []*os.File // of the chain, leaf first
}

func newBenchDisk(b *testing.B, baseType vhd.DiskType, depth int, writable bool) *benchDisk {
	b.Helper()
	dir := b.TempDir()
	raw, err := os.Create(filepath.Join(dir, "raw"))
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, raw.Close()) })

	name := filepath.Join(dir, "0.vhd")
	base, err := vhd.Create(name, vhd.CreateOptions{Type: baseType, Size: benchSize})
	require.NoError(b, err)
	rng := rand.New(rand.NewPCG(1, 2))
	writeBoth := func(disk *vhd.Disk, p []byte, off int64) {
		_, err := disk.WriteAt(p, off)
		require.NoError(b, err)
		_, err = raw.WriteAt(p, off)
		require.NoError(b, err)
	}
	chunk := bytes.Repeat([]byte("0123456789abcde\n"), 64<<10)
	for off := int64(0); off < benchSize; off += int64(len(chunk)) {
		writeBoth(base, chunk, off)
	}
	require.NoError(b, base.Close())
	names := []string{name}
	for level := 1; level <= depth; level++ {
		next := filepath.Join(dir, fmt.Sprintf("%d.vhd", level))
		child, err := vhd.Create(next, vhd.CreateOptions{Parent: name})
		require.NoError(b, err)
		for range benchWrites {
			writeBoth(child, chunk[:4096], rng.Int64N(benchSize/4096)*4096)
		}
		require.NoError(b, child.Close())
		name = next
		names = append(names, name)
	}
	d := &benchDisk{raw: raw}
	d.disk, err = vhd.Open(name, &vhd.Options{Writable: writable})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, d.disk.Close()) })
	for _, name := range slices.Backward(names) {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, f.Close()) })
		d.files = append(d.files, f)
	}
	return d
}

// pread is a read that the chain comes down to.
type pread struct {
	file *os.File
	n    int
	off  int64
}

// preads are the reads that n bytes at off come down to.
func (d *benchDisk) preads(b *testing.B, off, n int64) []pread {
	b.Helper()
	var reads []pread
	for e, err := range d.disk.FileExtents(off, n) {
		require.NoError(b, err)
		if e.Depth != vhd.Hole {
			reads = append(reads, pread{d.files[e.Depth], int(e.Length), e.FileOffset})
		}
	}
	return reads
}

// beside runs ours and yardstick in turns of about a tenth of a second's work,
// and reports the median of what ours reaches of the yardstick's speed.
func beside(b *testing.B, what string, bytesPerOp int64, ours, yardstick func(i int)) {
	b.Helper()
	const rounds, turn = 9, 50 * time.Millisecond
	nops := 1
	timed := func(do func(int)) time.Duration {
		start := time.Now()
		for i := range nops {
			do(i)
		}
		return time.Since(start)
	}
	for timed(yardstick) < turn {
		nops *= 2
	}
	timed(ours)
	var ratios []float64
	var total time.Duration
	b.ResetTimer()
	for range rounds {
		limit, got := timed(yardstick), timed(ours)
		total += got
		ratios = append(ratios, float64(limit)/float64(got))
	}
	b.StopTimer()
	slices.Sort(ratios)
	perOp := total / time.Duration(rounds*nops)
	b.ReportMetric(float64(perOp.Nanoseconds()), "ns/op")
	if bytesPerOp > 0 {
		b.ReportMetric(float64(bytesPerOp)/perOp.Seconds()/(1<<20), "MiB/s")
	}
	b.ReportMetric(ratios[rounds/2], what)
}

// benchReads compares reads of n bytes with the same of a raw file, and with the
// preads that they come down to, issued bare.
func benchReads(b *testing.B, d *benchDisk, offs []int64, n int64) {
	b.Helper()
	p := make([]byte, n)
	bare := make([][]pread, len(offs))
	for i, off := range offs {
		bare[i] = d.preads(b, off, n)
		_, err := d.disk.ReadAt(p, off)
		require.NoError(b, err)
	}
	ours := func(i int) {
		if _, err := d.disk.ReadAt(p, offs[i%len(offs)]); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("beside a raw file", func(b *testing.B) {
		beside(b, "of-raw", n, ours, func(i int) {
			if _, err := d.raw.ReadAt(p, offs[i%len(offs)]); err != nil {
				b.Fatal(err)
			}
		})
	})
	b.Run("beside the same preads", func(b *testing.B) {
		beside(b, "of-preads", n, ours, func(i int) {
			at := 0
			for _, r := range bare[i%len(offs)] {
				if _, err := r.file.ReadAt(p[at:at+r.n], r.off); err != nil {
					b.Fatal(err)
				}
				at += r.n
			}
		})
	})
}

func randomOffs(n int64) []int64 {
	rng := rand.New(rand.NewPCG(3, 4))
	offs := make([]int64, 1<<14)
	for i := range offs {
		offs[i] = rng.Int64N(benchSize/n) * n
	}
	return offs
}

func sequentialOffs(n int64) []int64 {
	var offs []int64
	for off := int64(0); off < benchSize; off += n {
		offs = append(offs, off)
	}
	return offs
}

var benchDepths = []int{0, 1, 8, 64}

func BenchmarkReadRandom4KiB(b *testing.B) {
	for _, depth := range benchDepths {
		b.Run(fmt.Sprintf("depth %d", depth), func(b *testing.B) {
			benchReads(b, newBenchDisk(b, vhd.Dynamic, depth, false), randomOffs(4096), 4096)
		})
	}
}

func BenchmarkReadSequential1MiB(b *testing.B) {
	for _, depth := range benchDepths {
		b.Run(fmt.Sprintf("depth %d", depth), func(b *testing.B) {
			benchReads(b, newBenchDisk(b, vhd.Dynamic, depth, false), sequentialOffs(1<<20), 1<<20)
		})
	}
}

// BenchmarkReadDepth64BesideDepth1 reads the same places of a chain of 64 and of
// a chain of one.
func BenchmarkReadDepth64BesideDepth1(b *testing.B) {
	deep, flat := newBenchDisk(b, vhd.Dynamic, 64, false), newBenchDisk(b, vhd.Dynamic, 1, false)
	offs, p := randomOffs(4096), make([]byte, 4096)
	read := func(d *benchDisk) func(int) {
		return func(i int) {
			if _, err := d.disk.ReadAt(p, offs[i%len(offs)]); err != nil {
				b.Fatal(err)
			}
		}
	}
	for i := range offs {
		read(deep)(i)
		read(flat)(i)
	}
	beside(b, "of-depth-1", 4096, read(deep), read(flat))
}

func BenchmarkOverwriteRandom4KiB(b *testing.B) {
	for _, depth := range []int{0, 1, 64} {
		b.Run(fmt.Sprintf("depth %d", depth), func(b *testing.B) {
			d := newBenchDisk(b, vhd.Dynamic, depth, true)
			raw := d.raw
			if depth > 0 { // the leaf was empty, and so must the raw file be: its history decides its speed
				var err error
				raw, err = os.Create(filepath.Join(b.TempDir(), "raw"))
				require.NoError(b, err)
				defer raw.Close()
			}
			offs, p := randomOffs(4096), make([]byte, 4096)
			overwrite := func(f io.WriterAt) func(int) {
				return func(i int) {
					if _, err := f.WriteAt(p, offs[i%len(offs)]); err != nil {
						b.Fatal(err)
					}
				}
			}
			for i := range offs {
				overwrite(d.disk)(i)
				overwrite(raw)(i)
			}
			require.NoError(b, d.disk.Sync())
			require.NoError(b, raw.Sync())
			beside(b, "of-raw", 4096, overwrite(d.disk), overwrite(raw))
		})
	}
}

// BenchmarkFirstWrites1MiB writes a whole new disk in pieces of 1 MiB and syncs.
func BenchmarkFirstWrites1MiB(b *testing.B) {
	for _, kind := range []vhd.DiskType{vhd.Dynamic, vhd.Differencing} {
		b.Run(kind.String(), func(b *testing.B) {
			dir := b.TempDir()
			p := bytes.Repeat([]byte("0123456789abcde\n"), 64<<10)
			base, err := vhd.Create(filepath.Join(dir, "base.vhd"), vhd.CreateOptions{Size: benchSize})
			require.NoError(b, err)
			require.NoError(b, base.Close())
			opts := vhd.CreateOptions{Size: benchSize}
			if kind == vhd.Differencing {
				opts.Parent = filepath.Join(dir, "base.vhd")
			}
			fill := func(f vhd.File) {
				for off := int64(0); off < benchSize; off += int64(len(p)) {
					if _, err := f.WriteAt(p, off); err != nil {
						b.Fatal(err)
					}
				}
				require.NoError(b, f.Sync())
			}
			var ratios []float64
			for range 5 {
				raw, err := os.Create(filepath.Join(dir, "raw"))
				require.NoError(b, err)
				start := time.Now()
				fill(raw)
				limit := time.Since(start)
				require.NoError(b, raw.Close())
				require.NoError(b, os.Remove(raw.Name()))

				disk, err := vhd.Create(filepath.Join(dir, "new.vhd"), opts)
				require.NoError(b, err)
				start = time.Now()
				fill(diskFile{disk})
				ratios = append(ratios, float64(limit)/float64(time.Since(start)))
				require.NoError(b, disk.Close())
				require.NoError(b, os.Remove(filepath.Join(dir, "new.vhd")))
			}
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], "of-raw")
		})
	}
}

// diskFile is a disk to be filled like a file.
type diskFile struct{ *vhd.Disk }

func (diskFile) Stat() (os.FileInfo, error) { return nil, os.ErrInvalid }
func (diskFile) Truncate(int64) error       { return os.ErrInvalid }

// BenchmarkOpen opens a chain of 64, beside opening as many files and two reads
// of each.
func BenchmarkOpen(b *testing.B) {
	d := newBenchDisk(b, vhd.Dynamic, 64, false)
	name := d.disk.Chain()[0].Name()
	var names []string
	for _, img := range d.disk.Chain() {
		names = append(names, img.Name())
	}
	open := func(int) {
		disk, err := vhd.Open(name, nil)
		require.NoError(b, err)
		require.NoError(b, disk.Close())
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	open(0)
	runtime.ReadMemStats(&after)
	defer b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc), "B/open")
	beside(b, "of-files", 0, open, func(int) {
		p := make([]byte, 512)
		for _, name := range names {
			f, err := os.Open(name)
			require.NoError(b, err)
			for range 2 {
				_, err = f.ReadAt(p, 0)
				require.NoError(b, err)
			}
			require.NoError(b, f.Close())
		}
	})
}
