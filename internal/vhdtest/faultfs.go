package vhdtest

import (
	"io/fs"
	"os"
	"sync"
	"syscall"

	"github.com/go-vhd/vhd"
)

// Fault says which call fails, and how.
type Fault struct {
	At      int           // the number of the call that fails, of those that count; the first is 1
	Forever bool          // all that count and come after it fail too
	All     bool          // every call counts, not only those of which Op.Mutates is true
	Match   func(Op) bool // only calls for which this is true count; nil: no more is asked
	Err     error         // what is wrong; nil: syscall.EIO

	// Short makes a read or a write do its first half, up to the end of a
	// sector, before it fails. Without it a call that fails does nothing.
	Short bool

	// Silent keeps the error of a short write to itself, as no io.WriterAt may.
	Silent bool

	// Killed makes it a fault of who calls, and was killed: an fsync that fails takes
	// nothing away, as those of a device do.
	Killed bool
}

// FaultFS hands calls on to another FS until one is to fail. It is safe for
// concurrent use. Its files hide what a File can do beyond vhd.File.
//
// A test arms it with Fault{At: 1}, Fault{At: 2} and so on, until the
// scenario ends without [FaultFS.Fired].
type FaultFS struct {
	mu    sync.Mutex
	inner vhd.FS
	fault Fault // Err is nil: no fault
	count int
	fired int
}

var _ vhd.FS = (*FaultFS)(nil)

// NewFaultFS returns a FaultFS around an FS in which nothing fails yet.
func NewFaultFS(inner vhd.FS) *FaultFS { return &FaultFS{inner: inner} }

// Arm makes a call to come fail, and counts calls from here on.
func (f *FaultFS) Arm(fault Fault) {
	if fault.Err == nil {
		fault.Err = syscall.EIO
	}
	f.set(fault)
}

// Disarm makes all calls succeed. What Fired returns stays.
func (f *FaultFS) Disarm() {
	f.exchange(Fault{})
}

// SetInner has all calls to come go to another FS, as after a restart of the
// machine. Files that are open stay where they are.
func (f *FaultFS) SetInner(inner vhd.FS) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inner = inner
}

// Unharmed calls do, and meanwhile no call fails or counts.
func (f *FaultFS) Unharmed(do func()) {
	armed := f.exchange(Fault{})
	defer f.exchange(armed)
	do()
}

// exchange changes what is to fail and returns what was.
func (f *FaultFS) exchange(fault Fault) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.fault
	f.fault = fault
	return was
}

// under is the FS that calls go to.
func (f *FaultFS) under() vhd.FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.inner
}

func (f *FaultFS) set(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault, f.count, f.fired = fault, 0, 0
}

// Fired returns how many calls have failed since Arm.
func (f *FaultFS) Fired() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fired
}

// next counts a call, and returns the fault where it is the call's turn.
func (f *FaultFS) next(op Op) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault := f.fault
	if fault.Err == nil || !fault.All && !op.Mutates() || fault.Match != nil && !fault.Match(op) {
		return Fault{}, false
	}
	f.count++
	if f.count < fault.At || f.count > fault.At && !fault.Forever {
		return Fault{}, false
	}
	f.fired++
	return fault, true
}

// check is next for calls that fail without having done anything.
func (f *FaultFS) check(op Op) error {
	fault, ok := f.next(op)
	switch {
	case !ok:
		return nil
	case op.To != "":
		return &os.LinkError{Op: op.Kind.String(), Old: op.Name, New: op.To, Err: fault.Err}
	}
	return pathError(op, fault.Err)
}

func pathError(op Op, err error) error {
	return &fs.PathError{Op: op.Kind.String(), Path: op.Name, Err: err}
}

// OpenFile opens a file whose calls may fail too.
func (f *FaultFS) OpenFile(name string, flag int, perm fs.FileMode) (vhd.File, error) {
	if err := f.check(Op{Kind: OpOpen, Name: name, Flag: flag}); err != nil {
		return nil, err
	}
	file, err := f.under().OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultFile{fsys: f, inner: file, name: name}, nil
}

// Rename is FS.Rename.
func (f *FaultFS) Rename(oldname, newname string) error {
	if err := f.check(Op{Kind: OpRename, Name: oldname, To: newname}); err != nil {
		return err
	}
	return f.under().Rename(oldname, newname)
}

// Remove is FS.Remove.
func (f *FaultFS) Remove(name string) error {
	if err := f.check(Op{Kind: OpRemove, Name: name}); err != nil {
		return err
	}
	return f.under().Remove(name)
}

// ReadDir is FS.ReadDir.
func (f *FaultFS) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := f.check(Op{Kind: OpReadDir, Name: name}); err != nil {
		return nil, err
	}
	return f.under().ReadDir(name)
}

// SyncDir is FS.SyncDir.
func (f *FaultFS) SyncDir(name string) error {
	if err := f.check(Op{Kind: OpSyncDir, Name: name}); err != nil {
		return err
	}
	return f.under().SyncDir(name)
}

// Linking returns f as an FS that has a Link method. It needs a wrapped FS
// that has one.
func (f *FaultFS) Linking() Linker { return faultLinker{f} }

type faultLinker struct{ *FaultFS }

func (l faultLinker) Link(oldname, newname string) error {
	if err := l.check(Op{Kind: OpLink, Name: oldname, To: newname}); err != nil {
		return err
	}
	return link(l.under(), oldname, newname)
}

type faultFile struct {
	fsys  *FaultFS
	inner vhd.File
	name  string
}

// half returns the part of p, at off, that a call which fails in its middle
// moves. It ends where a sector does.
func (f Fault) half(p []byte, off int64) []byte {
	end := (off + int64(len(p))/2) / sectorSize * sectorSize
	if !f.Short || end <= off {
		return nil
	}
	return p[:end-off]
}

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	op := Op{Kind: OpRead, Name: f.name, Off: off, N: int64(len(p))}
	fault, ok := f.fsys.next(op)
	if !ok {
		return f.inner.ReadAt(p, off)
	}
	return moveHalf(f.inner.ReadAt, fault, op, p)
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	op := Op{Kind: OpWrite, Name: f.name, Off: off, N: int64(len(p))}
	fault, ok := f.fsys.next(op)
	if !ok {
		return f.inner.WriteAt(p, off)
	}
	return moveHalf(f.inner.WriteAt, fault, op, p)
}

func moveHalf(move func([]byte, int64) (int, error), fault Fault, op Op, p []byte) (int, error) {
	half := fault.half(p, op.Off)
	if len(half) == 0 && !fault.Silent {
		return 0, pathError(op, fault.Err)
	}
	n, err := move(half, op.Off)
	if err != nil || fault.Silent {
		return n, err
	}
	return n, pathError(op, fault.Err)
}

func (f *faultFile) Truncate(size int64) error {
	if err := f.fsys.check(Op{Kind: OpTruncate, Name: f.name, Off: size}); err != nil {
		return err
	}
	return f.inner.Truncate(size)
}

// syncFailer is a File that models what a failed fsync leaves behind.
type syncFailer interface{ failSync() }

func (f *faultFile) Sync() error {
	op := Op{Kind: OpSync, Name: f.name}
	fault, ok := f.fsys.next(op)
	if !ok {
		return f.inner.Sync()
	}
	if s, ok := f.inner.(syncFailer); ok && !fault.Killed {
		s.failSync()
	}
	return pathError(op, fault.Err)
}

func (f *faultFile) Stat() (fs.FileInfo, error) {
	if err := f.fsys.check(Op{Kind: OpStat, Name: f.name}); err != nil {
		return nil, err
	}
	return f.inner.Stat()
}

// Close closes the file even where it is to fail, as close(2) does.
func (f *faultFile) Close() error {
	err := f.fsys.check(Op{Kind: OpClose, Name: f.name})
	if closeErr := f.inner.Close(); err == nil {
		return closeErr
	}
	return err
}
