package vhdtest

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-vhd/vhd"
)

// memFile is an open file of a MemFS. Reads and writes are atomic towards one
// another.
type memFile struct {
	fsys   *MemFS
	node   *memNode
	name   string // as it was opened
	flag   int
	closed atomic.Bool
}

var _ vhd.File = (*memFile)(nil)

func (f *memFile) readable() bool { return f.flag&(os.O_WRONLY|os.O_RDWR) != os.O_WRONLY }
func (f *memFile) writable() bool { return f.flag&(os.O_WRONLY|os.O_RDWR) != 0 }

func (f *memFile) fail(op string, err error) error {
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}

var errNegativeOffset = errors.New("negative offset")

// check says why a call that moves n bytes at off must fail.
func (f *memFile) check(allowed bool, off, n int64) error {
	switch mode := f.node.getMode(); {
	case f.closed.Load():
		return fs.ErrClosed
	case off < 0:
		return errNegativeOffset
	case !allowed:
		return syscall.EBADF
	case mode.IsDir():
		return syscall.EISDIR
	case !mode.IsRegular():
		return syscall.ESPIPE
	case n > math.MaxInt64-off:
		return syscall.EFBIG
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.check(f.readable(), off, 0); err != nil {
		return 0, f.fail("read", err)
	}
	f.node.mu.RLock()
	defer f.node.mu.RUnlock()
	if rest := max(0, f.node.data.size-off); rest < int64(len(p)) {
		f.node.data.readAt(p[:rest], off)
		return len(p[:rest]), io.EOF
	}
	f.node.data.readAt(p, off)
	return len(p), nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.check(f.writable(), off, int64(len(p))); err != nil {
		return 0, f.fail("write", err)
	}
	f.node.mu.Lock()
	defer f.node.mu.Unlock()
	f.node.data.writeAt(p, off)
	f.node.modTime = f.fsys.now()
	return len(p), nil
}

func (f *memFile) Truncate(size int64) error {
	err := f.check(f.writable(), 0, 0)
	if err == nil && size < 0 || errors.Is(err, syscall.EBADF) {
		err = fs.ErrInvalid // as ftruncate answers, where write says EBADF
	}
	if err != nil {
		return f.fail("truncate", err)
	}
	f.node.truncate(size, f.fsys.now())
	return nil
}

func (f *memFile) Stat() (fs.FileInfo, error) {
	if f.closed.Load() {
		return nil, f.fail("stat", fs.ErrClosed)
	}
	return f.node.info(f.name), nil
}

func (f *memFile) Sync() error {
	if f.closed.Load() {
		return f.fail("sync", fs.ErrClosed)
	}
	return nil
}

func (f *memFile) Close() error {
	if f.closed.Swap(true) {
		return f.fail("close", fs.ErrClosed)
	}
	return nil
}

func (n *memNode) getMode() fs.FileMode {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.mode
}

func (n *memNode) truncate(size int64, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.data.truncate(size)
	n.modTime = now
}

func (n *memNode) info(name string) memInfo {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return memInfo{name: path.Base(name), size: n.data.size, mode: n.mode, modTime: n.modTime, node: n}
}

// memInfo describes a file at the moment it was asked for.
type memInfo struct {
	name    string
	size    int64
	mode    fs.FileMode
	modTime time.Time
	node    *memNode
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) Mode() fs.FileMode  { return i.mode }
func (i memInfo) ModTime() time.Time { return i.modTime }
func (i memInfo) IsDir() bool        { return i.mode.IsDir() }

// Sys returns a value that is equal for two names of one file, and for no
// others.
func (i memInfo) Sys() any { return i.node }
