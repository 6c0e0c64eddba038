package vhd_test

import (
	"os"
	"runtime/debug"
	"testing"
)

// The tests make millions of small disks and keep none: with the usual share of
// garbage to what lives, most of their time would go into collecting it.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	os.Exit(m.Run())
}
