package vhd

import (
	"errors"
	"fmt"

	"golang.org/x/sys/windows"
)

// lockOff is where the locked byte is. Windows keeps others from reading and
// writing what is locked, so it is far behind all data.
const lockOff = 1 << 62

// lockFile locks one byte far past the data, until the file is closed.
func lockFile(f File, exclusive bool) error {
	flags := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if exclusive {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	at := windows.Overlapped{OffsetHigh: lockOff >> 32}
	err := onDescriptor(f, func(fd uintptr) error {
		return windows.LockFileEx(windows.Handle(fd), flags, 0, 1, 0, &at)
	})
	switch {
	case err == nil:
		return nil
	case err == errors.ErrUnsupported: //nolint:errorlint // what an errno means is another matter
		return errCannotLock
	case errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING):
		return ErrLocked
	}
	return fmt.Errorf("the file can not be locked: %w", err)
}

// shareLock makes a writer's lock that of a reader. The handle has both for a
// moment, as Windows allows.
func shareLock(f File) error {
	if err := lockFile(f, false); err != nil {
		return err
	}
	at := windows.Overlapped{OffsetHigh: lockOff >> 32}
	return onDescriptor(f, func(fd uintptr) error { return windows.UnlockFileEx(windows.Handle(fd), 0, 1, 0, &at) })
}

// unlockFile does nothing: the lock ends with the handle, which no other
// process has.
func unlockFile(File) {}
