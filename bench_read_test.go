package vhd_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
)

// inTurns makes a racer of reads in one of the ways to do them.
func (r *benchReads) inTurns(nops int, read func(p []byte, i int)) *racer {
	p := make([]byte, r.n)
	return repeating(nops, func(i int) { read(p, i) })
}

// opsPerTurn is how many reads a turn has.
func (r *benchReads) opsPerTurn() int {
	p := make([]byte, r.n)
	return opsPerTurn(func(i int) { r.read(p, i) })
}

// compare reports how the reads compare with the bare preads and the raw file.
func (r *benchReads) compare() {
	nops := r.opsPerTurn()
	ours, bare, raw := r.inTurns(nops, r.read), r.inTurns(nops, r.readBare), r.inTurns(nops, r.readRaw)
	race(ours, bare, raw)
	ours.reportSpeed(r.b, nops, int64(r.n))
	r.b.ReportMetric(ours.of(bare), "of-preads")
	r.b.ReportMetric(ours.of(raw), "of-raw")
	r.b.ReportMetric(float64(r.npreads())/float64(r.nextents), "preads/extent")
	p, i := make([]byte, r.n), 0
	r.b.ReportMetric(testing.AllocsPerRun(1000, func() { r.read(p, i); i++ }), "allocs/read")
}

// forDepths runs a benchmark of reads for every chain with data and every depth.
func forDepths(b *testing.B, depths []int, offs func(*benchChain) []int64, n int, run func(*benchReads)) {
	b.Helper()
	for _, c := range []*benchChain{scatteredChain, fullChain} {
		for _, depth := range depths {
			b.Run(fmt.Sprintf("%s/depth %d", c.what, depth), func(b *testing.B) {
				run(c.reads(b, depth, offs(c), n))
			})
		}
	}
}

func BenchmarkReadRandom4KiB(b *testing.B) {
	forDepths(b, []int{0, 1, 8, benchDepth}, (*benchChain).randomOffs, benchPiece, (*benchReads).compare)
}

func BenchmarkReadSequential1MiB(b *testing.B) {
	forDepths(b, []int{0, 1, 8, benchDepth}, (*benchChain).sequentialOffs, benchStride, (*benchReads).compare)
}

// BenchmarkReadDepth64BesideDepth1 reads the same places of a child with many
// parents and of one with a single parent. What the bare preads lose is not ours
// to win: holes of the one are data in the other, and lie in many more files.
func BenchmarkReadDepth64BesideDepth1(b *testing.B) {
	for _, c := range []*benchChain{scatteredChain, fullChain} {
		b.Run(c.what, func(b *testing.B) {
			deep := c.reads(b, benchDepth, c.randomOffs(), benchPiece)
			flat := c.reads(b, 1, c.randomOffs(), benchPiece)
			nops := deep.opsPerTurn()
			ours, yardstick := deep.inTurns(nops, deep.read), flat.inTurns(nops, flat.read)
			bareDeep, bareFlat := deep.inTurns(nops, deep.readBare), flat.inTurns(nops, flat.readBare)
			race(ours, yardstick, bareDeep, bareFlat)
			ours.reportSpeed(b, nops, benchPiece)
			b.ReportMetric(ours.of(yardstick), "of-depth-1")
			b.ReportMetric(bareDeep.of(bareFlat), "preads-of-depth-1")
		})
	}
}

// BenchmarkReadTwoGoroutines has two goroutines read what one does, each as
// much, and tells how much faster they are together.
func BenchmarkReadTwoGoroutines(b *testing.B) {
	if runtime.GOMAXPROCS(0) < 2 {
		b.Skip("it takes two cores")
	}
	forDepths(b, []int{1, benchDepth}, (*benchChain).randomOffs, benchPiece, (*benchReads).compareTwo)
}

func (r *benchReads) compareTwo() {
	nops := r.opsPerTurn()
	one, two := r.inTurns(nops, r.read), r.twice(nops, r.read)
	bareOne, bareTwo := r.inTurns(nops, r.readBare), r.twice(nops, r.readBare)
	race(one, two, bareOne, bareTwo)
	two.reportSpeed(r.b, 2*nops, benchPiece)
	r.b.ReportMetric(2*two.of(one), "of-one")
	r.b.ReportMetric(2*bareTwo.of(bareOne), "preads-of-one")
}

// twice makes a racer of two goroutines that do nops reads each, at different
// places.
func (r *benchReads) twice(nops int, read func(p []byte, i int)) *racer {
	goroutines := [2]*racer{
		r.inTurns(nops, read),
		r.inTurns(nops, func(p []byte, i int) { read(p, i+len(r.offs)/2) }),
	}
	return &racer{run: func() time.Duration {
		return timed(func() {
			var both sync.WaitGroup
			for _, g := range goroutines {
				both.Go(func() { g.run() })
			}
			both.Wait()
		})
	}}
}

// BenchmarkReadCold reads a chain right after it was opened, when no maps are
// there: how fast a child with many parents is beside one with a single parent.
// The bare preads are those that reads come down to with maps, so that the rest is
// what making the maps costs.
func BenchmarkReadCold(b *testing.B) {
	const nrandom = 100_000
	for _, c := range []*benchChain{scatteredChain, fullChain} {
		b.Run(c.what+"/whole disk", func(b *testing.B) { c.compareCold(b, c.sequentialOffs(), benchStride) })
		b.Run(c.what+"/random 4 KiB", func(b *testing.B) {
			offs := c.randomOffs()
			for len(offs) < nrandom {
				offs = append(offs, offs...)
			}
			c.compareCold(b, offs[:nrandom], benchPiece)
		})
	}
}

func (c *benchChain) compareCold(b *testing.B, offs []int64, n int) {
	b.Helper()
	deep, flat := c.reads(b, benchDepth, offs, n), c.reads(b, 1, offs, n)
	bareDeep, bareFlat := deep.inTurns(len(offs), deep.readBare), flat.inTurns(len(offs), flat.readBare)
	ours, yardstick := c.cold(b, benchDepth, offs, n), c.cold(b, 1, offs, n)
	race(ours, yardstick, bareDeep, bareFlat)
	ours.reportSpeed(b, len(offs), int64(n))
	b.ReportMetric(ours.of(yardstick), "of-depth-1")
	b.ReportMetric(bareDeep.of(bareFlat), "preads-of-depth-1")
	b.ReportMetric(ours.of(bareDeep), "of-preads")
}

// cold makes a racer that opens a chain and reads it.
func (c *benchChain) cold(b *testing.B, depth int, offs []int64, n int) *racer {
	b.Helper()
	p := make([]byte, n)
	return &racer{run: func() time.Duration {
		var disk *vhd.Disk
		took := timed(func() {
			var err error
			disk, err = vhd.Open(c.names[depth], nil)
			require.NoError(b, err)
			for _, off := range offs {
				if _, err := disk.ReadAt(p, off); err != nil {
					b.Error(err)
				}
			}
		})
		require.NoError(b, disk.Close())
		return took
	}}
}

// BenchmarkReadFragmented reads windows of which every other sector is the
// child's and the rest its parent's: there is nothing worse.
func BenchmarkReadFragmented(b *testing.B) {
	c := fragmentedChain
	c.make(b)
	before := liveBytes()
	disk := c.open(b, 1, nil)
	p := make([]byte, benchStride)
	for _, off := range c.sequentialOffs() {
		_, err := disk.ReadAt(p, off)
		require.NoError(b, err)
	}
	perMap := float64(liveBytes()-before) / float64(c.size/benchBlock)
	c.reads(b, 1, c.sequentialOffs(), benchStride).compare()
	b.ReportMetric(perMap, "B/map")
	runtime.KeepAlive(disk)
}
