//go:build !linux

package vhd

// reserve does nothing, and says so: a disk that is full shows when it is written.
func reserve(File, int64, int64) (bool, error) { return false, nil }

// punch does nothing, and says so: zeros are written.
func punch(File, int64, int64) bool { return false }
