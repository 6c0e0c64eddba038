package vhd

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// reserve makes sure that n bytes of the file from off on can be written
// without the file system running full. Where that can't be had it does
// nothing.
func reserve(f File, off, n int64) error {
	err := onDescriptor(f, func(fd int) error { return unix.Fallocate(fd, 0, off, n) })
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG) || errors.Is(err, unix.EIO) {
		return err
	}
	return nil
}

// punch makes n bytes of the file from off on a hole, which reads as zeros. It
// says whether the file can do that.
func punch(f File, off, n int64) bool {
	return onDescriptor(f, func(fd int) error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	}) == nil
}

// onDescriptor calls do with the descriptor of a file of the operating
// system's.
func onDescriptor(f File, do func(fd int) error) error {
	conn, ok := f.(syscall.Conn)
	if !ok {
		return errors.ErrUnsupported
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	ctlErr := raw.Control(func(fd uintptr) {
		for err = do(int(fd)); errors.Is(err, unix.EINTR); err = do(int(fd)) {
		}
	})
	if ctlErr != nil {
		return ctlErr
	}
	return err
}
