package vhd_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// Disks that are written are made anew beside the images of fullChain, which are
// their parents, and taken away again.

const (
	randomWrites = 10_000
	syncEvery    = 1000 // writes, where they are synced on the way
)

// writable is a disk, or a file, that is written.
type writable interface {
	io.WriterAt
	io.Closer
	Sync() error
}

// leafName is the name of a file for one benchmark.
func (c *benchChain) leafName(name string) string { return filepath.Join(c.dir, name) }

func remove(b *testing.B, name string) {
	b.Helper()
	require.NoError(b, os.Remove(name))
}

// createLeaf makes an empty disk of the chain's size with so many parents.
func (c *benchChain) createLeaf(b *testing.B, name string, parents int) *vhd.Disk {
	b.Helper()
	opts := vhd.CreateOptions{Size: c.size}
	if parents > 0 {
		opts.Parent = c.names[parents-1]
	}
	disk, err := vhd.Create(c.leafName(name), opts)
	require.NoError(b, err)
	return disk
}

// createRawLeaf makes a file, as createLeaf makes a disk.
func (c *benchChain) createRawLeaf(b *testing.B, name string) *os.File {
	b.Helper()
	f, err := os.Create(c.leafName(name))
	require.NoError(b, err)
	require.NoError(b, f.Truncate(c.size))
	return f
}

// filling makes a racer that fills something new and syncs it. Then it is
// closed and taken away.
func (c *benchChain) filling(b *testing.B, create func(name string) writable, fill func(w writable)) *racer {
	b.Helper()
	return &racer{run: func() time.Duration {
		const name = "filled"
		w := create(name)
		took := timed(func() {
			fill(w)
			require.NoError(b, w.Sync())
		})
		require.NoError(b, w.Close())
		remove(b, c.leafName(name))
		return took
	}}
}

// fillingLeaf is filling of a disk with so many parents.
func (c *benchChain) fillingLeaf(b *testing.B, parents int, fill func(w writable)) *racer {
	b.Helper()
	return c.filling(b, func(name string) writable { return c.createLeaf(b, name, parents) }, fill)
}

func (c *benchChain) fillingRaw(b *testing.B, fill func(w writable)) *racer {
	b.Helper()
	return c.filling(b, func(name string) writable { return c.createRawLeaf(b, name) }, fill)
}

// distinctOffs are randomWrites offsets of pieces, no two the same.
func (c *benchChain) distinctOffs() []int64 {
	rng := rand.New(rand.NewPCG(11, 12))
	offs := make([]int64, 0, randomWrites)
	for _, piece := range rng.Perm(int(c.size / benchPiece))[:randomWrites] {
		offs = append(offs, int64(piece)*benchPiece)
	}
	return offs
}

// writePieces writes a piece at every offset, and syncs after every so many,
// if that is not 0.
func writePieces(b *testing.B, w writable, offs []int64, every int) {
	b.Helper()
	p := bytes.Repeat([]byte("piece"), benchPiece)[:benchPiece]
	for i, off := range offs {
		if _, err := w.WriteAt(p, off); err != nil {
			b.Fatal(err)
		}
		if every > 0 && (i+1)%every == 0 {
			require.NoError(b, w.Sync())
		}
	}
}

// BenchmarkOverwriteRandom4KiB writes over what is in the leaf, beside the same
// writes to a twin of its file, made in the same way and closed, and to a raw
// file where the same was written in the same order: how a file came to be
// decides its speed.
func BenchmarkOverwriteRandom4KiB(b *testing.B) {
	for _, parents := range []int{0, 1, benchDepth} {
		b.Run(fmt.Sprintf("depth %d", parents), func(b *testing.B) {
			c := fullChain
			c.make(b)
			offs := c.distinctOffs()
			twin := c.writtenLeaf(b, "twin.vhd", parents, offs)
			pieces := fileOffs(b, twin, offs)
			require.NoError(b, twin.Close())
			bare, err := os.OpenFile(c.leafName("twin.vhd"), os.O_RDWR, 0)
			require.NoError(b, err)
			defer bare.Close()
			raw := c.createRawLeaf(b, "raw-leaf")
			defer raw.Close()
			writePieces(b, raw, offs, 0)
			require.NoError(b, raw.Sync())
			require.NoError(b, c.writtenLeaf(b, "leaf.vhd", parents, offs).Close())
			disk, err := vhd.Open(c.leafName("leaf.vhd"), &vhd.Options{Writable: true})
			require.NoError(b, err)
			defer disk.Close()
			for _, name := range []string{"twin.vhd", "raw-leaf", "leaf.vhd"} {
				defer remove(b, c.leafName(name))
			}
			compareOverwrites(b, overwriting(b, disk, offs), overwriting(b, bare, pieces), overwriting(b, raw, offs))
		})
	}
}

// writtenLeaf makes a leaf that has pieces at offs.
func (c *benchChain) writtenLeaf(b *testing.B, name string, parents int, offs []int64) *vhd.Disk {
	b.Helper()
	disk := c.createLeaf(b, name, parents)
	writePieces(b, disk, offs, 0)
	require.NoError(b, disk.Sync())
	return disk
}

// fileOffs are where the leaf's file has the pieces at offs.
func fileOffs(b *testing.B, disk *vhd.Disk, offs []int64) []int64 {
	b.Helper()
	inFile := make([]int64, len(offs))
	for i, off := range offs {
		for e, err := range disk.FileExtents(off, benchPiece) {
			require.NoError(b, err)
			require.Zero(b, e.Depth)
			require.EqualValues(b, benchPiece, e.Length)
			inFile[i] = e.FileOffset
		}
	}
	return inFile
}

// overwriting writes the piece number i.
func overwriting(b *testing.B, w io.WriterAt, offs []int64) func(i int) {
	b.Helper()
	p := bytes.Repeat([]byte("again"), benchPiece)[:benchPiece]
	return func(i int) {
		if _, err := w.WriteAt(p, offs[i%len(offs)]); err != nil {
			b.Error(err)
		}
	}
}

func compareOverwrites(b *testing.B, ours, bare, raw func(i int)) {
	b.Helper()
	nops := max(opsPerTurn(ours), randomWrites) // the first pass makes the maps
	racers := []*racer{repeating(nops, ours), repeating(nops, bare), repeating(nops, raw)}
	race(racers...)
	racers[0].reportSpeed(b, nops, benchPiece)
	b.ReportMetric(racers[0].of(racers[1]), "of-pwrites")
	b.ReportMetric(racers[0].of(racers[2]), "of-raw")
	i := 0
	b.ReportMetric(testing.AllocsPerRun(1000, func() { ours(i); i++ }), "allocs/write")
}

// BenchmarkFirstWrites1MiB fills a new disk in large pieces.
func BenchmarkFirstWrites1MiB(b *testing.B) {
	for parents, what := range []string{"dynamic", "differencing"} {
		b.Run(what, func(b *testing.B) {
			c := fullChain
			c.make(b)
			p := bytes.Repeat([]byte("large"), benchStride)[:benchStride]
			fill := func(w writable) {
				for _, off := range c.sequentialOffs() {
					_, err := w.WriteAt(p, off)
					require.NoError(b, err)
				}
			}
			ours, raw := c.fillingLeaf(b, parents, fill), c.fillingRaw(b, fill)
			race(ours, raw)
			ours.reportSpeed(b, len(c.sequentialOffs()), benchStride)
			b.ReportMetric(ours.of(raw), "of-raw")
		})
	}
}

// BenchmarkFirstWritesDepth64BesideDepth1 writes small pieces to a new child
// with many parents, and to one with a single parent.
func BenchmarkFirstWritesDepth64BesideDepth1(b *testing.B) {
	c := fullChain
	c.make(b)
	fill := func(w writable) { writePieces(b, w, c.distinctOffs(), 0) }
	deep, flat := c.fillingLeaf(b, benchDepth, fill), c.fillingLeaf(b, 1, fill)
	race(deep, flat)
	deep.reportSpeed(b, randomWrites, benchPiece)
	b.ReportMetric(deep.of(flat), "of-depth-1")
}

// BenchmarkFirstWritesBesideQcow2 writes small pieces to a new child and syncs
// after every thousand, beside qemu-img bench with an overlay of the same base.
// qemu-img can only go through a disk in steps. These are so large that no two
// writes are to one cluster of the overlay.
func BenchmarkFirstWritesBesideQcow2(b *testing.B) {
	const step = 100_133 * benchPiece
	qemu, err := exec.LookPath("qemu-img")
	if err != nil {
		b.Skip("qemu-img is missing (Debian: apt-get install qemu-utils)")
	}
	c := fullChain
	c.make(b)
	steps := make([]int64, randomWrites)
	for i := range steps {
		steps[i] = int64(i) * step % c.size
	}
	write := func(offs []int64) *racer {
		return c.fillingLeaf(b, 1, func(w writable) { writePieces(b, w, offs, syncEvery) })
	}
	ours, random := write(steps), write(c.distinctOffs())
	qcow2 := &racer{run: func() time.Duration { return c.benchQcow2(b, qemu, step) }}
	race(ours, random, qcow2)
	ours.reportSpeed(b, randomWrites, benchPiece)
	b.ReportMetric(ours.of(qcow2), "of-qcow2")
	b.ReportMetric(random.of(qcow2), "random-of-qcow2")
}

var benchCompleted = regexp.MustCompile(`Run completed in ([0-9.]+) seconds`)

// benchQcow2 makes an overlay of what the chain's last child reads as, and
// writes to it. What qemu-img needs to begin is not counted.
func (c *benchChain) benchQcow2(b *testing.B, qemu string, step int64) time.Duration {
	b.Helper()
	overlay := c.leafName("overlay.qcow2")
	out, err := exec.Command(qemu, "create", "-f", "qcow2", "-b", c.raw, "-F", "raw", overlay).CombinedOutput()
	require.NoError(b, err, "%s", out)
	defer remove(b, overlay)
	out, err = exec.Command(qemu, "bench", "-f", "qcow2", "-t", "writeback", "-w", "-d", "1", "-c", strconv.Itoa(randomWrites),
		"-s", strconv.Itoa(benchPiece), "-S", strconv.FormatInt(step, 10), "--flush-interval", strconv.Itoa(syncEvery), overlay).CombinedOutput()
	require.NoError(b, err, "%s", out)
	seconds := benchCompleted.FindSubmatch(out)
	require.NotNil(b, seconds, "%s", out)
	took, err := time.ParseDuration(string(seconds[1]) + "s")
	require.NoError(b, err)
	return took
}

// BenchmarkWriteZeroes zeroes disks that are full of data, beside a raw file to
// which zeros are written: where blocks can be given back, and in a child, which
// has to hold the zeros.
func BenchmarkWriteZeroes(b *testing.B) {
	for _, disk := range []zeroedDisk{{4 << 20, vhd.SectorSize}, {256 << 20, benchBlock}} {
		for parents, what := range []string{"dynamic", "differencing"} {
			b.Run(fmt.Sprintf("blocks of %d/%s", disk.block, what), func(b *testing.B) {
				b.Run("default cache", func(b *testing.B) { compareZeroing(b, disk, parents, 0) })
				b.Run("no cache", func(b *testing.B) { compareZeroing(b, disk, parents, 1) })
			})
		}
	}
}

// zeroedDisk is a disk whose blocks are all there, and are zeroed.
type zeroedDisk struct{ size, block int64 }

func compareZeroing(b *testing.B, z zeroedDisk, parents int, cacheSize int64) {
	b.Helper()
	dir := b.TempDir()
	ours := &racer{run: func() time.Duration { return z.zero(b, dir, parents, cacheSize) }}
	raw := &racer{run: func() time.Duration { return z.writeZeros(b, dir) }}
	race(ours, raw)
	ours.reportSpeed(b, 1, z.size)
	b.ReportMetric(ours.of(raw), "of-raw")
}

// zero zeroes the disk, or a child of it.
func (z zeroedDisk) zero(b *testing.B, dir string, parents int, cacheSize int64) time.Duration {
	b.Helper()
	base := vhdtest.NewDynamic(z.size)
	base.BlockSize = z.block
	for i := range int(z.size / z.block) {
		base.Blocks = append(base.Blocks, vhdtest.Block{Index: i, Data: []byte("x")})
	}
	name := filepath.Join(dir, "base.vhd")
	base.WriteFile(b, name)
	defer remove(b, name)
	if parents > 0 {
		child := vhdtest.NewChild(base, "base.vhd")
		child.BlockSize = z.block
		name = filepath.Join(dir, "child.vhd")
		child.WriteFile(b, name)
		defer remove(b, name)
	}
	disk, err := vhd.Open(name, &vhd.Options{Writable: true, CacheSize: cacheSize})
	require.NoError(b, err)
	defer disk.Close()
	return timed(func() {
		require.NoError(b, disk.WriteZeroes(0, z.size))
		require.NoError(b, disk.Sync())
	})
}

// writeZeros writes as many zeros to a new raw file.
func (z zeroedDisk) writeZeros(b *testing.B, dir string) time.Duration {
	b.Helper()
	f, err := os.Create(filepath.Join(dir, "raw"))
	require.NoError(b, err)
	defer f.Close()
	zeros := make([]byte, benchStride)
	return timed(func() {
		for off := int64(0); off < z.size; off += benchStride {
			_, err := f.WriteAt(zeros, off)
			require.NoError(b, err)
		}
		require.NoError(b, f.Sync())
	})
}
