//go:build race

package vhd_test

// raceEnabled says that the race detector watches, which makes all slow.
const raceEnabled = true
