package vhd_test

import (
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
)

// BenchmarkOpen opens and closes a chain, beside doing so with as many raw files
// and reading twice of each.
func BenchmarkOpen(b *testing.B) {
	for _, c := range []*benchChain{scatteredChain, hugeChain} {
		b.Run(c.what, func(b *testing.B) {
			c.make(b)
			open := func(int) {
				disk, err := vhd.Open(c.names[benchDepth], nil)
				require.NoError(b, err)
				require.NoError(b, disk.Close())
			}
			nops := opsPerTurn(open)
			ours, files := repeating(nops, open), repeating(nops, func(int) { c.openFiles(b) })
			race(ours, files)
			b.ReportMetric(float64(ours.median())/float64(nops), "ns/op")
			b.ReportMetric(1/ours.of(files), "times-files")
			b.ReportMetric(allocatedBy(open), "B/open")
		})
	}
}

// openFiles opens, reads and closes the chain's files as if they were raw.
func (c *benchChain) openFiles(b *testing.B) {
	b.Helper()
	var p [vhd.SectorSize]byte
	for _, name := range c.names {
		f, err := os.Open(name)
		require.NoError(b, err)
		for off := range int64(2) {
			_, err = f.ReadAt(p[:], off*vhd.SectorSize)
			require.NoError(b, err)
		}
		require.NoError(b, f.Close())
	}
}

// allocatedBy is how many bytes do allocates.
func allocatedBy(do func(int)) float64 {
	const runs = 10
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range runs {
		do(i)
	}
	runtime.ReadMemStats(&after)
	return float64(after.TotalAlloc-before.TotalAlloc) / runs
}

// BenchmarkMemory reads at random places of the largest disk there is, so that
// nearly every read needs a map that is not there. What it takes in memory is
// to stay below the cache's size and what every disk takes: of-bound is at most
// 1.00.
func BenchmarkMemory(b *testing.B) {
	for _, bound := range []struct {
		what      string
		cacheSize int64
		nreads    int
	}{{"default cache", 32 << 20, 1_000_000}, {"cache of 1 MiB", 1 << 20, 100_000}} {
		b.Run(bound.what, func(b *testing.B) { measureMemory(b, bound.cacheSize, bound.nreads) })
	}
}

const memoryBound = 16 << 20 // beside the cache

func measureMemory(b *testing.B, cacheSize int64, nreads int) {
	b.Helper()
	hugeChain.make(b)
	defer debug.SetGCPercent(debug.SetGCPercent(100)) // as programs have it
	before := liveBytes()
	disk := hugeChain.open(b, benchDepth, &vhd.Options{CacheSize: cacheSize})
	rng := rand.New(rand.NewPCG(9, 10))
	var p [benchPiece]byte
	var peak int64
	start := time.Now()
	for i := range nreads {
		if _, err := disk.ReadAt(p[:], rng.Int64N(disk.Size()/benchPiece)*benchPiece); err != nil {
			b.Fatal(err)
		}
		if i%1000 == 0 {
			peak = max(peak, heapBytes())
		}
	}
	b.ReportMetric(float64(time.Since(start))/float64(nreads), "ns/op")
	kept := liveBytes() - before
	b.ReportMetric(float64(kept)/(1<<20), "MiB-kept")
	b.ReportMetric(float64(peak-before)/(1<<20), "MiB-peak")
	b.ReportMetric(float64(kept)/float64(cacheSize+memoryBound), "of-bound")
	runtime.KeepAlive(disk)
}

// heapBytes is what the heap takes by now, garbage too.
func heapBytes() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64() + sample[1].Value.Uint64())
}
