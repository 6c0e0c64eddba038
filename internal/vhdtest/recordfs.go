package vhdtest

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
	"syscall"

	"github.com/go-vhd/vhd"
)

// RecordFS hands every call on to another FS and remembers it, for tests that
// count calls or forbid some. It is safe for concurrent use.
type RecordFS struct {
	// Forbid is asked before each call. An error that it returns is the
	// call's answer, and the wrapped FS is not called. It may be nil, and is
	// to be set before use.
	Forbid func(Op) error

	// HideHandles keeps from the caller that a file is one of the operating
	// system, so that locks, reserved space and the like are not used. To be
	// set before use.
	HideHandles bool

	inner vhd.FS
	mu    sync.Mutex
	ops   []Op
}

var _ vhd.FS = (*RecordFS)(nil)

// NewRecordFS returns a RecordFS around an FS.
func NewRecordFS(inner vhd.FS) *RecordFS { return &RecordFS{inner: inner} }

// Ops returns the calls so far, also the forbidden ones, in the order in
// which they began.
func (r *RecordFS) Ops() []Op {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ops)
}

// Count returns how many calls so far were of one of the kinds given, or of
// any where none is given.
func (r *RecordFS) Count(kinds ...OpKind) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(kinds) == 0 {
		return len(r.ops)
	}
	n := 0
	for _, op := range r.ops {
		if slices.Contains(kinds, op.Kind) {
			n++
		}
	}
	return n
}

// Reset forgets the calls so far.
func (r *RecordFS) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = nil
}

func (r *RecordFS) record(op Op) error {
	r.mu.Lock()
	r.ops = append(r.ops, op)
	r.mu.Unlock()
	if r.Forbid == nil {
		return nil
	}
	return r.Forbid(op)
}

// OpenFile opens a file whose calls are recorded too.
func (r *RecordFS) OpenFile(name string, flag int, perm fs.FileMode) (vhd.File, error) {
	if err := r.record(Op{Kind: OpOpen, Name: name, Flag: flag}); err != nil {
		return nil, err
	}
	f, err := r.inner.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return r.wrap(f, name), nil
}

func (r *RecordFS) wrap(f vhd.File, name string) vhd.File {
	wrapped := recordFile{fsys: r, inner: f, name: name}
	if conn, ok := f.(syscall.Conn); ok && !r.HideHandles {
		return &recordConn{recordFile: wrapped, conn: conn}
	}
	return &wrapped
}

// Rename is FS.Rename.
func (r *RecordFS) Rename(oldname, newname string) error {
	if err := r.record(Op{Kind: OpRename, Name: oldname, To: newname}); err != nil {
		return err
	}
	return r.inner.Rename(oldname, newname)
}

// Remove is FS.Remove.
func (r *RecordFS) Remove(name string) error {
	if err := r.record(Op{Kind: OpRemove, Name: name}); err != nil {
		return err
	}
	return r.inner.Remove(name)
}

// ReadDir is FS.ReadDir.
func (r *RecordFS) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := r.record(Op{Kind: OpReadDir, Name: name}); err != nil {
		return nil, err
	}
	return r.inner.ReadDir(name)
}

// SyncDir is FS.SyncDir.
func (r *RecordFS) SyncDir(name string) error {
	if err := r.record(Op{Kind: OpSyncDir, Name: name}); err != nil {
		return err
	}
	return r.inner.SyncDir(name)
}

// Linking returns r as an FS that has a Link method. It needs a wrapped FS
// that has one.
func (r *RecordFS) Linking() Linker { return recordLinker{r} }

type recordLinker struct{ *RecordFS }

func (l recordLinker) Link(oldname, newname string) error {
	if err := l.record(Op{Kind: OpLink, Name: oldname, To: newname}); err != nil {
		return err
	}
	return link(l.inner, oldname, newname)
}

func link(fsys vhd.FS, oldname, newname string) error {
	l, ok := fsys.(Linker)
	if !ok {
		return &os.LinkError{Op: "link", Old: oldname, New: newname, Err: errors.ErrUnsupported}
	}
	return l.Link(oldname, newname)
}

// recordFile records the calls of a File, and has no methods but those.
type recordFile struct {
	fsys  *RecordFS
	inner vhd.File
	name  string
}

func (f *recordFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fsys.record(Op{Kind: OpRead, Name: f.name, Off: off, N: int64(len(p))}); err != nil {
		return 0, err
	}
	return f.inner.ReadAt(p, off)
}

func (f *recordFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.fsys.record(Op{Kind: OpWrite, Name: f.name, Off: off, N: int64(len(p))}); err != nil {
		return 0, err
	}
	return f.inner.WriteAt(p, off)
}

func (f *recordFile) Truncate(size int64) error {
	if err := f.fsys.record(Op{Kind: OpTruncate, Name: f.name, Off: size}); err != nil {
		return err
	}
	return f.inner.Truncate(size)
}

func (f *recordFile) Sync() error {
	if err := f.fsys.record(Op{Kind: OpSync, Name: f.name}); err != nil {
		return err
	}
	return f.inner.Sync()
}

func (f *recordFile) Stat() (fs.FileInfo, error) {
	if err := f.fsys.record(Op{Kind: OpStat, Name: f.name}); err != nil {
		return nil, err
	}
	return f.inner.Stat()
}

func (f *recordFile) Close() error {
	if err := f.fsys.record(Op{Kind: OpClose, Name: f.name}); err != nil {
		return err
	}
	return f.inner.Close()
}

// recordConn is a recordFile around a file of the operating system, which can
// be reached through it.
type recordConn struct {
	recordFile
	conn syscall.Conn
}

func (f *recordConn) SyscallConn() (syscall.RawConn, error) {
	if err := f.fsys.record(Op{Kind: OpControl, Name: f.name}); err != nil {
		return nil, err
	}
	return f.conn.SyscallConn()
}
