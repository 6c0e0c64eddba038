//go:build unix && !linux && !aix

package vhd

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// lockFile takes a lock on the whole file, as flock does: it belongs to the
// open file and ends with it.
func lockFile(f File, exclusive bool) error {
	how := unix.LOCK_SH | unix.LOCK_NB
	if exclusive {
		how = unix.LOCK_EX | unix.LOCK_NB
	}
	err := flock(f, how)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}

// shareLock makes a writer's lock that of a reader.
func shareLock(f File) error { return lockFile(f, false) }

// unlockFile gives the lock back.
func unlockFile(f File) { _ = flock(f, unix.LOCK_UN) }

func flock(f File, how int) error {
	err := onDescriptor(f, func(fd uintptr) error { return unix.Flock(int(fd), how) })
	if err == errors.ErrUnsupported { //nolint:errorlint // what an errno means is another matter
		return errCannotLock
	}
	if err != nil {
		return fmt.Errorf("the file can not be locked: %w", err)
	}
	return nil
}
