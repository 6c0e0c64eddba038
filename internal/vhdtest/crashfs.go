package vhdtest

import (
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/go-vhd/vhd"
)

// CrashOptions says what storage a CrashFS is.
type CrashOptions struct {
	Order Order
	Space Space
}

// CrashFS is an FS in memory that knows of each change whether a crash could
// undo it.
//
// What is read is always what was written last. [CrashFS.Crash] tells what
// might be found if power failed now:
//   - File.Sync makes durable what was done to the file by writes and
//     Truncate before Sync was called. What is done while it runs is not.
//   - SyncDir makes durable the names that were made and removed in the
//     directory; of a rename between two it takes both. File.Sync makes no
//     name durable.
//   - All else is found or not, in the [Order] chosen: of a write each sector
//     by itself, and the growth of the file by itself. A write of a part of a
//     sector is one of the sector. A sector that was written twice is found
//     in any of its versions. A sector behind the end that is found is lost,
//     or the file reaches to the end of it.
//
// A directory is durable at once. A CrashFS is safe for concurrent use. Its
// states are drawn deterministically; they do not depend on time or on the
// order of maps.
type CrashFS struct {
	// OnOp is called before each call of which Op.Mutates is true, so that a
	// test can look at the crash that comes just before it. It may use the
	// CrashFS. It is called by as many goroutines as use the CrashFS, and to
	// be set before use.
	OnOp func(Op)

	opts  CrashOptions
	noise [][]byte

	mu      sync.Mutex // also held by all that changes live
	live    *MemFS
	nodes   map[*memNode]*crashNode
	names   map[string]*crashNode // that are durable
	changes []nameChange          // that are not
	number  int64                 // of changes ever
}

var _ vhd.FS = (*CrashFS)(nil)

// NewCrashFS returns a CrashFS that holds what base holds, all of it durable.
// A nil base is an empty one. Base is not changed later.
func NewCrashFS(base *MemFS, opts CrashOptions) *CrashFS {
	if base == nil {
		base = NewMemFS()
	}
	c := &CrashFS{opts: opts, live: base.Clone(), nodes: make(map[*memNode]*crashNode), names: make(map[string]*crashNode)}
	if opts.Space != SpaceZeros {
		c.noise = newNoise()
	}
	for name, live := range c.live.nodes {
		if live.mode.IsDir() {
			continue
		}
		if c.nodes[live] == nil {
			c.nodes[live] = newCrashNode(live, live.data.clone())
		}
		c.names[name] = c.nodes[live]
	}
	return c
}

// Crash returns what might be found after a crash now. The CrashFS goes on as
// if nothing had happened. To crash what recovers, hand the state to
// [NewCrashFS].
func (c *CrashFS) Crash(rng *rand.Rand) *MemFS { return c.CrashWith(randomPicks(rng)) }

// CrashWith is Crash with the chances taken by pick, which returns a number of
// [0, n). Where it always returns 0, nothing is found but what is durable.
// Where it always returns n-1, everything is, in zeroed space. See
// [EveryPick]. Of files that names leaves out only what is durable is found; no
// names are all.
func (c *CrashFS) CrashWith(pick func(n int) int, names ...string) *MemFS {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := &MemFS{Now: c.live.Now, nodes: make(map[string]*memNode, len(c.live.nodes))}
	for name, node := range c.live.nodes {
		if node.mode.IsDir() {
			found.nodes[name] = &memNode{mode: node.mode, modTime: node.modTime, data: newSparse()}
		}
	}
	nodes := c.crashNames(pick)
	made := make(map[*crashNode]*memNode, len(nodes))
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		node := nodes[name]
		if made[node] == nil {
			pick := pick
			if len(names) > 0 && !slices.Contains(names, strings.TrimPrefix(name, "/")) {
				pick = func(int) int { return 0 }
			}
			made[node] = &memNode{mode: node.live.mode, modTime: node.live.modTime, data: node.crash(c.opts, c.noise, pick)}
		}
		found.nodes[name] = made[node]
	}
	return found
}

func (c *CrashFS) crashNames(pick func(int) int) map[string]*crashNode {
	names := maps.Clone(c.names)
	if c.opts.Order != AnyOrder {
		for _, change := range c.changes[:pick(len(c.changes)+1)] {
			change.apply(names)
		}
		return names
	}
	for _, change := range c.changes {
		if pick(2) == 1 {
			change.apply(names)
		}
	}
	return names
}

// Live returns a copy of what the files hold now, durable or not: what is
// found when the process dies and the machine does not.
func (c *CrashFS) Live() *MemFS {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.live.Clone()
}

// Unsynced returns how many sectors, size changes and changes of names are
// not durable.
func (c *CrashFS) Unsynced() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.changes)
	for _, node := range c.nodes {
		n += len(node.effects)
	}
	return n
}

// MkdirAll makes a directory and those it lies in. They are durable at once.
func (c *CrashFS) MkdirAll(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.live.MkdirAll(name)
}

func (c *CrashFS) begin(op Op) {
	if c.OnOp != nil && op.Mutates() {
		c.OnOp(op)
	}
}

// find returns the file called name and the clean form of name, or nil.
func (c *CrashFS) find(name string) (*crashNode, string) {
	live, at, err := c.live.find(name)
	if err != nil || live == nil {
		return nil, at
	}
	return c.nodes[live], at
}

// change notes a change of names, after it was made.
func (c *CrashFS) change(node *crashNode, from, to string) {
	change := nameChange{node: node, from: from, to: to, number: c.number}
	c.number++
	for _, name := range []string{from, to} {
		if dir := path.Dir(name); name != "" && !slices.Contains(change.unsynced, dir) {
			change.unsynced = append(change.unsynced, dir)
		}
	}
	c.changes = append(c.changes, change)
}

// OpenFile is FS.OpenFile. A new name is durable after SyncDir.
func (c *CrashFS) OpenFile(name string, flag int, perm fs.FileMode) (vhd.File, error) {
	c.begin(Op{Kind: OpOpen, Name: name, Flag: flag})
	c.mu.Lock()
	defer c.mu.Unlock()
	before, at := c.find(name)
	var size int64
	if before != nil {
		size = before.live.data.size
	}
	f, err := c.live.open(name, flag, perm)
	if err != nil {
		return nil, err
	}
	if f.node.mode.IsDir() {
		return f, nil
	}
	if before == nil {
		before = newCrashNode(f.node, newSparse())
		c.nodes[f.node] = before
		c.change(before, "", at)
	}
	if flag&os.O_TRUNC != 0 {
		before.truncated(size)
	}
	return &crashFile{memFile: f, fsys: c, state: before}, nil
}

// Rename is FS.Rename. Directories are not renamed.
func (c *CrashFS) Rename(oldname, newname string) error {
	c.begin(Op{Kind: OpRename, Name: oldname, To: newname})
	c.mu.Lock()
	defer c.mu.Unlock()
	node, from := c.find(oldname)
	replaced, to := c.find(newname)
	if node == nil && from != "" && c.live.nodes[from] != nil {
		return &os.LinkError{Op: "rename", Old: oldname, New: newname, Err: errors.ErrUnsupported}
	}
	if err := c.live.Rename(oldname, newname); err != nil {
		return err
	}
	if replaced != node {
		c.change(node, from, to)
	}
	return nil
}

// Remove is FS.Remove.
func (c *CrashFS) Remove(name string) error {
	c.begin(Op{Kind: OpRemove, Name: name})
	c.mu.Lock()
	defer c.mu.Unlock()
	node, at := c.find(name)
	if err := c.live.Remove(name); err != nil {
		return err
	}
	if node != nil {
		c.change(node, at, "")
	}
	return nil
}

// ReadDir is FS.ReadDir.
func (c *CrashFS) ReadDir(name string) ([]fs.DirEntry, error) { return c.live.ReadDir(name) }

// SyncDir makes durable which files are in the directory.
func (c *CrashFS) SyncDir(name string) error {
	c.mu.Lock()
	end := c.number
	c.mu.Unlock()
	c.begin(Op{Kind: OpSyncDir, Name: name})
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.live.SyncDir(name); err != nil {
		return err
	}
	dir, err := clean(name)
	if err != nil {
		return err
	}
	c.persistNames(dir, end)
	return nil
}

// persistNames makes durable the changes in dir that have a number below end.
func (c *CrashFS) persistNames(dir string, end int64) {
	var left []nameChange
	for _, change := range c.changes {
		if change.number < end {
			change.unsynced = slices.DeleteFunc(change.unsynced, func(d string) bool { return d == dir })
		}
		if len(change.unsynced) > 0 {
			left = append(left, change)
			continue
		}
		change.apply(c.names)
	}
	c.changes = left
}

// Linking returns c as an FS that has a Link method.
func (c *CrashFS) Linking() Linker { return crashLinker{c} }

type crashLinker struct{ *CrashFS }

func (l crashLinker) Link(oldname, newname string) error {
	l.begin(Op{Kind: OpLink, Name: oldname, To: newname})
	l.mu.Lock()
	defer l.mu.Unlock()
	node, _ := l.find(oldname)
	if err := l.live.Linking().Link(oldname, newname); err != nil {
		return err
	}
	_, to := l.find(newname)
	l.change(node, "", to)
	return nil
}

// crashFile is a file of the live FS whose changes are noted.
type crashFile struct {
	*memFile
	fsys  *CrashFS
	state *crashNode
}

var (
	_ vhd.File   = (*crashFile)(nil)
	_ syncFailer = (*crashFile)(nil)
)

func (f *crashFile) WriteAt(p []byte, off int64) (int, error) {
	f.fsys.begin(Op{Kind: OpWrite, Name: f.name, Off: off, N: int64(len(p))})
	f.fsys.mu.Lock()
	defer f.fsys.mu.Unlock()
	if len(p) == 0 || f.check(f.writable(), off, int64(len(p))) != nil {
		return f.memFile.WriteAt(p, off)
	}
	size := f.node.data.size
	was := f.node.data.sectors(off, int64(len(p)))
	n, err := f.memFile.WriteAt(p, off)
	if err != nil {
		return n, err
	}
	f.state.wrote(was, size)
	return n, nil
}

func (f *crashFile) Truncate(size int64) error {
	f.fsys.begin(Op{Kind: OpTruncate, Name: f.name, Off: size})
	f.fsys.mu.Lock()
	defer f.fsys.mu.Unlock()
	before := f.node.data.size
	if err := f.memFile.Truncate(size); err != nil {
		return err
	}
	f.state.truncated(before)
	return nil
}

func (f *crashFile) Sync() error {
	f.fsys.mu.Lock()
	end := f.state.next()
	f.fsys.mu.Unlock()
	f.fsys.begin(Op{Kind: OpSync, Name: f.name})
	f.fsys.mu.Lock()
	defer f.fsys.mu.Unlock()
	if err := f.memFile.Sync(); err != nil {
		return err
	}
	f.state.persist(end)
	return nil
}

// failSync lets a FaultFS around the CrashFS have a Sync fail as they do.
func (f *crashFile) failSync() {
	f.fsys.mu.Lock()
	defer f.fsys.mu.Unlock()
	f.state.failSync()
}
