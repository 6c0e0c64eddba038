package vhd_test

import (
	"fmt"
	"os"
	"runtime/debug"
	"testing"
)

// The tests make millions of small disks and keep none: with the usual share of
// garbage to what lives, most of their time would go into collecting it.
// Benchmarks share what they keep, which nobody but the last can take away.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	debug.SetMemoryLimit(2 << 30) // of the four GiB that a 32-bit program has
	code := m.Run()
	if err := removeBenchChains(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
