//go:build !race

package vhd_test

const raceEnabled = false
