package vhd

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/windows"
)

// lockOff is where the locked byte is. Windows keeps others from reading and
// writing what is locked, so it is far behind all data.
const lockOff = 1 << 62

// lockFile locks one byte far past the data, until the file is closed.
func lockFile(f File, exclusive bool) error {
	conn, ok := f.(syscall.Conn)
	if !ok {
		return errCannotLock
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	flags := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if exclusive {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	at := windows.Overlapped{OffsetHigh: lockOff >> 32}
	ctlErr := raw.Control(func(fd uintptr) { err = windows.LockFileEx(windows.Handle(fd), flags, 0, 1, 0, &at) })
	if ctlErr != nil {
		return ctlErr
	}
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return ErrLocked
	}
	if err != nil {
		return fmt.Errorf("the file can not be locked: %w", err)
	}
	return nil
}

// unlockFile does nothing: the lock ends with the handle, which no other
// process has.
func unlockFile(File) {}
