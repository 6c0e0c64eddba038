package vhd_test

import (
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Every benchmark measures beside a yardstick, in turns in the same run and with
// all data in the page cache, and reports how its speed compares: 1.00 is the
// yardstick's, more is faster. So its figures mean the same on a machine that is
// slow or busy. Where the yardstick is another disk, the bare reads that each of
// the two comes down to are compared next to it, as what the kernel allows.
//
// All together take some minutes, 10 GB of disk where temporary files are, and as
// much memory for the page cache.

const (
	benchRounds = 5                       // at least, of which the median counts
	benchTime   = 1500 * time.Millisecond // that all rounds take, at least
	benchTurn   = 50 * time.Millisecond   // of what can be done again and again, at least
)

// racer is one of those that a benchmark compares.
type racer struct {
	// run takes one turn and says how long it took, without what it takes to get
	// ready for it.
	run  func() time.Duration
	took []time.Duration // of each round
}

// race lets all take turns. Every other round goes the other way around, so that
// nobody always comes first.
func race(racers ...*racer) {
	start := time.Now()
	for round := 0; round < benchRounds || time.Since(start) < benchTime; round++ {
		for i := range racers {
			if round%2 == 1 {
				i = len(racers) - 1 - i
			}
			racers[i].took = append(racers[i].took, racers[i].run())
		}
	}
}

// of is what r reaches of the yardstick's speed.
func (r *racer) of(yardstick *racer) float64 {
	ratios := make([]float64, len(r.took))
	for i, took := range r.took {
		ratios[i] = float64(yardstick.took[i]) / float64(took)
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}

// median is how long a turn of r took.
func (r *racer) median() time.Duration {
	return slices.Sorted(slices.Values(r.took))[len(r.took)/2]
}

// reportSpeed reports what one of nops operations of a turn takes, each of which
// moves that many bytes.
func (r *racer) reportSpeed(b *testing.B, nops int, bytesPerOp int64) {
	b.Helper()
	perOp := float64(r.median()) / float64(nops)
	b.ReportMetric(perOp, "ns/op")
	b.ReportMetric(float64(bytesPerOp)/perOp*float64(time.Second)/(1<<20), "MiB/s")
}

func timed(do func()) time.Duration {
	start := time.Now()
	do()
	return time.Since(start)
}

// timedWarm is timed for what fills n bytes of the page cache. Such memory as is free may
// belong to the host of a virtual machine by now, and then the first who takes it waits for
// all of it: so everybody finds as much that was used just before.
func timedWarm(n int, do func()) time.Duration {
	useMemory(n + n/2)
	debug.FreeOSMemory()
	return timed(do)
}

// useMemory uses n bytes for a moment.
//
//go:noinline
func useMemory(n int) {
	memory := make([]byte, n)
	for i := 0; i < len(memory); i += os.Getpagesize() {
		memory[i] = 1
	}
	runtime.KeepAlive(memory)
}

// copyAndSync copies a file with cp, byte by byte, and makes the copy durable.
func copyAndSync(b *testing.B, from, to string) {
	b.Helper()
	cp, err := exec.LookPath("cp")
	if err != nil {
		b.Skip("cp is missing")
	}
	if out, err := exec.Command(cp, "--reflink=never", from, to).CombinedOutput(); err != nil {
		b.Skipf("cp can't: %s", out)
	}
	f, err := os.OpenFile(to, os.O_RDWR, 0)
	require.NoError(b, err)
	require.NoError(b, f.Sync())
	require.NoError(b, f.Close())
}

// repeating makes a racer of what can be done again and again: do(0), do(1) and
// so on, nops of them a turn. Every turn goes on where the one before ended.
func repeating(nops int, do func(i int)) *racer {
	next := 0
	return &racer{run: func() time.Duration {
		return timed(func() {
			for range nops {
				do(next)
				next++
			}
		})
	}}
}

// opsPerTurn is how often do has to be done for a turn.
func opsPerTurn(do func(i int)) int {
	nops := 1
	for repeating(nops, do).run() < benchTurn {
		nops *= 2
	}
	return nops
}
