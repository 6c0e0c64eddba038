//go:build !linux

package vhd

import "os"

// reserve does nothing, and says so: a disk that is full shows when it is written.
func reserve(File, int64, int64) (bool, error) { return false, nil }

// punch does nothing, and says so: zeros are written.
func punch(File, int64, int64) bool { return false }

// mayPunch says that none can.
func mayPunch(File, int64) bool { return false }

// sharesData says that nobody knows.
func sharesData(*os.File) bool { return false }

// packsData says that nobody knows.
func packsData(*os.File) bool { return false }

// copyInKernel does nothing, and says so: data is read and written.
func copyInKernel(*os.File, int64, *os.File, int64, int) int { return 0 }

func beginSync(File, int64, int64) {}
