package vhd

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// qemu locks single bytes of an image, all of them shared. A byte from 100 on
// says what the holder does with the image, one from 200 on what it does not
// let others do; whoever opens the image takes its bytes and then looks whether
// others hold the opposite ones. See qemu's file-posix.c.
const (
	lockReads      = 100
	lockWrites     = 101
	lockResizes    = 103
	lockNoReaders  = 200
	lockNoWriters  = 201
	lockNoResizers = 203
)

// What a writer and a reader lock, and what neither may find locked by others.
var (
	writerLocks   = []int64{lockWrites, lockResizes, lockNoWriters, lockNoResizers}
	readerLocks   = []int64{lockReads, lockNoWriters, lockNoResizers}
	readersOthers = []int64{lockWrites, lockResizes, lockNoReaders}
	writersOthers = writerLocks
)

// lockFile takes the locks of a writer or a reader. They belong to the open
// file: another descriptor of the same process does not share them, and they
// end with it.
func lockFile(f File, exclusive bool) error {
	mine, others := readerLocks, readersOthers
	if exclusive {
		mine, others = writerLocks, writersOthers
	}
	err := onDescriptor(f, func(fd uintptr) error {
		for _, at := range mine {
			if err := setLock(fd, at); err != nil {
				return err
			}
		}
		return findOthers(fd, others)
	})
	if errors.Is(err, errors.ErrUnsupported) && !isErrno(err) {
		return errCannotLock
	}
	return err
}

// shareLock makes a writer's locks those of a reader. At every moment others find
// it locked against writers.
func shareLock(f File) error {
	err := onDescriptor(f, func(fd uintptr) error {
		if err := setLock(fd, lockReads); err != nil {
			return err
		}
		if err := clearLocks(fd, lockWrites, 1); err != nil {
			return err
		}
		return clearLocks(fd, lockResizes, 1)
	})
	if errors.Is(err, errors.ErrUnsupported) && !isErrno(err) {
		return errCannotLock
	}
	return err
}

// unlockFile gives the locks back.
func unlockFile(f File) {
	_ = onDescriptor(f, func(fd uintptr) error { return clearLocks(fd, lockReads, lockNoResizers-lockReads+1) })
}

func clearLocks(fd uintptr, at, n int64) error {
	lock := unix.Flock_t{Type: unix.F_UNLCK, Whence: io.SeekStart, Start: at, Len: n}
	return unix.FcntlFlock(fd, unix.F_OFD_SETLK, &lock)
}

func isErrno(err error) bool {
	var errno unix.Errno
	return errors.As(err, &errno)
}

func setLock(fd uintptr, at int64) error {
	lock := unix.Flock_t{Type: unix.F_RDLCK, Whence: io.SeekStart, Start: at, Len: 1}
	err := unix.FcntlFlock(fd, unix.F_OFD_SETLK, &lock)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return ErrLocked
	}
	if err != nil {
		return fmt.Errorf("the file can not be locked: %w", err)
	}
	return nil
}

// findOthers looks for locks of others on any of the bytes, which are in order. One question about
// the whole range answers most often that there is none.
func findOthers(fd uintptr, bytes []int64) error {
	first, last := bytes[0], bytes[len(bytes)-1]
	if held, err := isHeld(fd, first, last-first+1); err != nil || !held {
		return err
	}
	for _, at := range bytes {
		if held, err := isHeld(fd, at, 1); err != nil {
			return err
		} else if held {
			return ErrLocked
		}
	}
	return nil
}

func isHeld(fd uintptr, at, n int64) (bool, error) {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: at, Len: n}
	if err := unix.FcntlFlock(fd, unix.F_OFD_GETLK, &lock); err != nil {
		return false, fmt.Errorf("the file can not be locked: %w", err)
	}
	return lock.Type != unix.F_UNLCK, nil
}
