package vhdtest

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-vhd/vhd"
)

// MemFS is an FS in memory that behaves as an operating system's does, to the
// types of its errors.
//
// Names are slash-separated and relative to the top, so that "a/b" and "/a/b"
// are one file. Files are sparse, so that one of 2 TiB costs what was written
// to it. A MemFS is safe for concurrent use.
//
// It has no Link method: see [MemFS.Linking].
type MemFS struct {
	// Now tells the time for the modification times of files. Nil: every
	// file is of the first second of 2026. To be set before use.
	Now func() time.Time

	mu    sync.Mutex
	nodes map[string]*memNode // by clean name that begins with a slash
}

var _ vhd.FS = (*MemFS)(nil)

// Linker is an FS that can give a file a second name.
type Linker interface {
	vhd.FS
	// Link fails with fs.ErrExist where newname is taken.
	Link(oldname, newname string) error
}

// memNode is a file or a directory, whatever names it has.
type memNode struct {
	mu      sync.RWMutex
	mode    fs.FileMode
	modTime time.Time
	data    sparse
}

// NewMemFS returns an FS that holds an empty top directory.
func NewMemFS() *MemFS {
	m := &MemFS{nodes: make(map[string]*memNode)}
	m.nodes["/"] = m.newNode(fs.ModeDir | 0o755)
	return m
}

func (m *MemFS) newNode(mode fs.FileMode) *memNode {
	return &memNode{mode: mode, modTime: m.now(), data: newSparse()}
}

func (m *MemFS) now() time.Time {
	if m.Now == nil {
		return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return m.Now()
}

// clean returns the one form of a name that m.nodes knows.
func clean(name string) (string, error) {
	switch {
	case name == "":
		return "", fs.ErrNotExist
	case strings.ContainsRune(name, 0):
		return "", fs.ErrInvalid
	}
	return path.Clean("/" + name), nil
}

// find returns the node called name, and the clean form of name.
// The node is nil where only the last element is missing.
func (m *MemFS) find(name string) (*memNode, string, error) {
	name, err := clean(name)
	if err != nil {
		return nil, "", err
	}
	if node := m.nodes[name]; node != nil {
		return node, name, nil
	}
	missing := false
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		switch node := m.nodes[dir]; {
		case node == nil:
			missing = true
		case !node.mode.IsDir():
			return nil, "", syscall.ENOTDIR
		case missing:
			return nil, "", fs.ErrNotExist
		default:
			return nil, name, nil
		}
	}
}

// findExisting is find for calls that a missing file is an error for.
func (m *MemFS) findExisting(name string) (*memNode, string, error) {
	node, name, err := m.find(name)
	if err == nil && node == nil {
		err = fs.ErrNotExist
	}
	return node, name, err
}

// OpenFile opens a file as os.OpenFile does. A file comes into being only in
// a directory that exists.
func (m *MemFS) OpenFile(name string, flag int, perm fs.FileMode) (vhd.File, error) {
	f, err := m.open(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (m *MemFS) open(name string, flag int, perm fs.FileMode) (*memFile, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	node, err := m.openNode(name, flag, perm)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	f := &memFile{fsys: m, node: node, name: name, flag: flag}
	if flag&os.O_TRUNC != 0 && f.writable() {
		node.truncate(0, m.now())
	}
	return f, nil
}

func (m *MemFS) openNode(name string, flag int, perm fs.FileMode) (*memNode, error) {
	node, at, err := m.find(name)
	switch {
	case err != nil:
		return nil, err
	case node == nil && flag&os.O_CREATE == 0:
		return nil, fs.ErrNotExist
	case node == nil:
		node = m.newNode(perm.Perm())
		m.nodes[at] = node
		return node, nil
	case flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
		return nil, fs.ErrExist
	}
	return node, node.permit(flag)
}

// permit says whether the file may be opened with these flags.
func (n *memNode) permit(flag int) error {
	access := flag & (os.O_RDONLY | os.O_WRONLY | os.O_RDWR)
	n.mu.RLock()
	defer n.mu.RUnlock()
	switch {
	case n.mode.IsDir() && (access != os.O_RDONLY || flag&os.O_CREATE != 0):
		return syscall.EISDIR
	case access != os.O_WRONLY && n.mode.Perm()&0o400 == 0,
		access != os.O_RDONLY && n.mode.Perm()&0o200 == 0:
		return fs.ErrPermission
	}
	return nil
}

// Rename gives a file or directory another name, and replaces a file that has
// it.
func (m *MemFS) Rename(oldname, newname string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.rename(oldname, newname); err != nil {
		return &os.LinkError{Op: "rename", Old: oldname, New: newname, Err: err}
	}
	return nil
}

func (m *MemFS) rename(oldname, newname string) error {
	node, from, err := m.findExisting(oldname)
	if err != nil {
		return err
	}
	replaced, to, err := m.find(newname)
	switch {
	case err != nil:
		return err
	case replaced == node:
		return nil
	case replaced != nil && replaced.mode.IsDir():
		return fs.ErrExist
	case replaced != nil && node.mode.IsDir():
		return syscall.ENOTDIR
	case strings.HasPrefix(to, from+"/"), from == "/":
		return fs.ErrInvalid
	}
	m.move(from, to)
	return nil
}

func (m *MemFS) move(from, to string) {
	for _, name := range slices.Collect(maps.Keys(m.nodes)) {
		if name == from || strings.HasPrefix(name, from+"/") {
			m.nodes[to+name[len(from):]] = m.nodes[name]
			delete(m.nodes, name)
		}
	}
}

// Remove removes a name. A file without a name lives on while it is open.
func (m *MemFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.remove(name); err != nil {
		return &fs.PathError{Op: "remove", Path: name, Err: err}
	}
	return nil
}

func (m *MemFS) remove(name string) error {
	node, at, err := m.findExisting(name)
	switch {
	case err != nil:
		return err
	case at == "/":
		return fs.ErrInvalid
	case node.mode.IsDir() && len(m.children(at)) > 0:
		return syscall.ENOTEMPTY
	}
	delete(m.nodes, at)
	return nil
}

// children returns the clean names of what a directory holds.
func (m *MemFS) children(dir string) []string {
	var names []string
	for name := range m.nodes {
		if name != "/" && path.Dir(name) == dir {
			names = append(names, name)
		}
	}
	return names
}

// ReadDir lists a directory, sorted by name.
func (m *MemFS) ReadDir(name string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, err := m.findDir(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	names := m.children(dir)
	entries := make([]fs.DirEntry, 0, len(names))
	for _, child := range names {
		entries = append(entries, fs.FileInfoToDirEntry(m.nodes[child].info(child)))
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return entries, nil
}

func (m *MemFS) findDir(name string) (string, error) {
	node, at, err := m.findExisting(name)
	if err == nil && !node.mode.IsDir() {
		err = syscall.ENOTDIR
	}
	return at, err
}

// SyncDir checks that the directory is one. Nothing in memory is durable.
func (m *MemFS) SyncDir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.findDir(name); err != nil {
		return &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return nil
}

// Linking returns m as an FS that has a Link method, for tests of what is
// done where the FS can do more.
func (m *MemFS) Linking() Linker { return memLinker{m} }

type memLinker struct{ *MemFS }

func (l memLinker) Link(oldname, newname string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.link(oldname, newname); err != nil {
		return &os.LinkError{Op: "link", Old: oldname, New: newname, Err: err}
	}
	return nil
}

func (m *MemFS) link(oldname, newname string) error {
	node, _, err := m.findExisting(oldname)
	if err != nil {
		return err
	}
	taken, to, err := m.find(newname)
	switch {
	case err != nil:
		return err
	case taken != nil:
		return fs.ErrExist
	case node.mode.IsDir():
		return fs.ErrPermission
	}
	m.nodes[to] = node
	return nil
}

// MkdirAll makes a directory and those it lies in.
func (m *MemFS) MkdirAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.mkdirAll(name); err != nil {
		return &fs.PathError{Op: "mkdir", Path: name, Err: err}
	}
	return nil
}

func (m *MemFS) mkdirAll(name string) error {
	name, err := clean(name)
	if err != nil {
		return err
	}
	for dir := name; ; dir = path.Dir(dir) {
		node := m.nodes[dir]
		if node == nil {
			m.nodes[dir] = m.newNode(fs.ModeDir | 0o755)
			continue
		}
		if !node.mode.IsDir() {
			return syscall.ENOTDIR
		}
		if dir == "/" {
			return nil
		}
	}
}

// AddIrregular makes a file that is neither a file nor a directory, such as
// one of mode fs.ModeNamedPipe|0o644. Opening it never blocks, and reading it
// fails.
func (m *MemFS) AddIrregular(name string, mode fs.FileMode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	node, at, err := m.find(name)
	if err == nil && node != nil {
		err = fs.ErrExist
	}
	if err != nil {
		return &fs.PathError{Op: "mknod", Path: name, Err: err}
	}
	m.nodes[at] = m.newNode(mode)
	return nil
}

// WriteFile makes a file that holds data, and the directories it lies in, or
// replaces the content of the file that is there.
func (m *MemFS) WriteFile(name string, data []byte) error {
	if err := m.MkdirAll(path.Dir(name)); err != nil {
		return err
	}
	f, err := m.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	return errors.Join(err, f.Close())
}

// ReadFile returns what a file holds.
func (m *MemFS) ReadFile(name string) ([]byte, error) {
	node, err := m.get("open", name)
	if err != nil {
		return nil, err
	}
	node.mu.RLock()
	defer node.mu.RUnlock()
	if node.mode.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: syscall.EISDIR}
	}
	data := make([]byte, node.data.size)
	node.data.readAt(data, 0)
	return data, nil
}

// Stat describes a file.
func (m *MemFS) Stat(name string) (fs.FileInfo, error) {
	node, err := m.get("stat", name)
	if err != nil {
		return nil, err
	}
	return node.info(name), nil
}

// Allocated returns how many bytes a file takes in memory, in whole pages of
// 4 KiB.
func (m *MemFS) Allocated(name string) (int64, error) {
	node, err := m.get("stat", name)
	if err != nil {
		return 0, err
	}
	node.mu.RLock()
	defer node.mu.RUnlock()
	return node.data.allocated(), nil
}

// Chmod changes the permission bits of a file.
func (m *MemFS) Chmod(name string, perm fs.FileMode) error {
	node, err := m.get("chmod", name)
	if err != nil {
		return err
	}
	node.mu.Lock()
	defer node.mu.Unlock()
	node.mode = node.mode&^fs.ModePerm | perm.Perm()
	return nil
}

// Chtime changes the time at which a file was modified.
func (m *MemFS) Chtime(name string, t time.Time) error {
	node, err := m.get("chtimes", name)
	if err != nil {
		return err
	}
	node.mu.Lock()
	defer node.mu.Unlock()
	node.modTime = t
	return nil
}

func (m *MemFS) get(op, name string) (*memNode, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	node, _, err := m.findExisting(name)
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return node, nil
}

// Clone returns a copy. It shares memory until one side writes, so that it
// costs little whatever the files hold. Files that are open stay with m.
func (m *MemFS) Clone() *MemFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &MemFS{Now: m.Now, nodes: make(map[string]*memNode, len(m.nodes))}
	cloned := make(map[*memNode]*memNode, len(m.nodes))
	for name, node := range m.nodes {
		if cloned[node] == nil {
			cloned[node] = node.clone()
		}
		c.nodes[name] = cloned[node]
	}
	return c
}

func (n *memNode) clone() *memNode {
	n.mu.Lock()
	defer n.mu.Unlock()
	return &memNode{mode: n.mode, modTime: n.modTime, data: n.data.clone()}
}
