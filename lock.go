package vhd

import "errors"

// LockMode says how images are guarded against other programs, and against
// other uses in the same one. A writer excludes all others; readers, as all
// parents have, exclude writers.
//
// On Linux the locks are those of qemu, so that it and this package see each
// other. A File that is not one of the operating system's can't lock, and is the
// caller's to guard.
type LockMode int

const (
	// LockRequired makes opening fail if the image can't be locked.
	LockRequired LockMode = iota
	// LockBestEffort goes on without a lock where the file system has none. An
	// image that somebody else has locked is still ErrLocked.
	LockBestEffort
	// LockNone takes no locks and asks for none.
	LockNone
)

// errCannotLock is about a File that is not the operating system's.
var errCannotLock = errors.New("the file can not be locked")

// closeFile unlocks a file and closes it. Closing alone is not enough: a process
// that is just being started by another goroutine has the open file too, and
// with it the lock, until it runs its program.
func closeFile(f File) error {
	unlockFile(f)
	return f.Close()
}

// share makes a writer's lock one that readers share.
func (mode LockMode) share(f File) error {
	if mode == LockNone {
		return nil
	}
	err := shareLock(f)
	if errors.Is(err, errCannotLock) || mode == LockBestEffort && !errors.Is(err, ErrLocked) {
		return nil
	}
	return err
}

// lock locks f until it is closed with closeFile.
func (mode LockMode) lock(f File, exclusive bool) error {
	if mode == LockNone {
		return nil
	}
	err := lockFile(f, exclusive)
	if err != nil {
		unlockFile(f) // some of it may have been had
	}
	if errors.Is(err, errCannotLock) || mode == LockBestEffort && !errors.Is(err, ErrLocked) {
		return nil
	}
	return err
}
