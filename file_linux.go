package vhd

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// reserve makes sure that n bytes of the file from off on can be written
// without the file system running full. Where that can't be had it does
// nothing, and ok is false. The file's size stays: a longer one would end without
// a footer. What a killed writer reserved behind the file's end is given back when
// the file grows or shrinks next.
func reserve(f File, off, n int64) (ok bool, err error) {
	err = fallocate(f, unix.FALLOC_FL_KEEP_SIZE, off, n)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG) || errors.Is(err, unix.EIO) {
		return false, err
	}
	return err == nil, nil
}

// punch makes n bytes of the file from off on a hole, which reads as zeros. It
// says whether the file can do that.
func punch(f File, off, n int64) bool {
	return fallocate(f, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n) == nil
}

// mayPunch says whether holes can be made in a file, as far as can be told, by making one
// behind its end. One that is open for reading has to be believed.
func mayPunch(f File, end int64) bool {
	err := fallocate(f, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, roundUp(end, holeUnit), holeUnit)
	return err == nil || errors.Is(err, unix.EBADF)
}

func fallocate(f File, mode uint32, off, n int64) error {
	return onDescriptor(f, func(fd uintptr) error {
		for {
			if err := unix.Fallocate(int(fd), mode, off, n); !errors.Is(err, unix.EINTR) {
				return err
			}
		}
	})
}

// beginSync makes the kernel begin to write n bytes of a file to storage, so that
// less is left to do for an fsync. An error comes up there.
func beginSync(f File, off, n int64) {
	_ = onDescriptor(f, func(fd uintptr) error {
		return unix.SyncFileRange(int(fd), off, n, unix.SYNC_FILE_RANGE_WRITE)
	})
}

// sharesData says that the file system can make files share data, or have a server copy
// it. Elsewhere the kernel copies page by page, and to write what is in memory already is
// faster.
func sharesData(f *os.File) bool {
	switch fileSystemOf(f) {
	case unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.OCFS2_SUPER_MAGIC, unix.NFS_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC:
		return true
	}
	return false
}

// packsData says that the file system may compress what it is given.
func packsData(f *os.File) bool {
	const zfs, bcachefs = 0x2fc12fc1, 0xca451a4e
	switch fileSystemOf(f) {
	case unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, zfs, bcachefs:
		return true
	}
	return false
}

// fileSystemOf is the magic number of the file system that a file is in; 0: it is not known.
func fileSystemOf(f *os.File) uint32 {
	var s unix.Statfs_t
	if err := onDescriptor(f, func(fd uintptr) error { return unix.Fstatfs(int(fd), &s) }); err != nil {
		return 0
	}
	return uint32(s.Type) //nolint:gosec // of another width on each machine
}

// copyInKernel copies n bytes from one file to another, and says how many: fewer
// where the kernel can't, or something is wrong. File systems that can make both
// files share the data.
func copyInKernel(dst *os.File, dstOff int64, src *os.File, srcOff int64, n int) (moved int) {
	_ = onDescriptor(dst, func(dstFd uintptr) error {
		return onDescriptor(src, func(srcFd uintptr) error {
			for moved < n {
				m, err := unix.CopyFileRange(int(srcFd), &srcOff, int(dstFd), &dstOff, n-moved, 0)
				if err != nil || m <= 0 {
					return err
				}
				moved += m
			}
			return nil
		})
	})
	return moved
}
