//go:build !unix && !windows

package vhd

// lockFile does nothing: there are no locks here.
func lockFile(File, bool) error { return errCannotLock }

func unlockFile(File) {}
