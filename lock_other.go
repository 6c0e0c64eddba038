//go:build (!unix && !windows) || aix

package vhd

// lockFile does nothing: there are no locks here.
func lockFile(File, bool) error { return errCannotLock }

func shareLock(File) error { return errCannotLock }

func unlockFile(File) {}
