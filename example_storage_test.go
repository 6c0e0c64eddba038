package vhd_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path"
	"sync"
	"time"

	"github.com/go-vhd/vhd"
)

// memory is an FS whose files are in memory, by name.
type memory struct {
	mu    sync.Mutex
	files map[string]*memoryFile
}

func (m *memory) OpenFile(name string, flag int, _ fs.FileMode) (vhd.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[name]
	switch {
	case f != nil && flag&os.O_EXCL != 0:
		return nil, fs.ErrExist
	case f == nil && flag&os.O_CREATE == 0:
		return nil, fs.ErrNotExist
	case f == nil:
		f = &memoryFile{name: name}
		m.files[name] = f
	}
	return f, nil
}

func (m *memory) Rename(oldname, newname string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[newname] = m.files[oldname]
	delete(m.files, oldname)
	return nil
}

func (m *memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, name)
	return nil
}

// ReadDir lists nothing, so a parent is found under its exact name only.
func (m *memory) ReadDir(string) ([]fs.DirEntry, error) { return nil, nil }
func (m *memory) SyncDir(string) error                  { return nil }

// memoryFile is a file of a memory, and what is known of it.
type memoryFile struct {
	name string
	mu   sync.RWMutex
	data []byte
}

func (f *memoryFile) ReadAt(p []byte, off int64) (int, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return bytes.NewReader(f.data).ReadAt(p, off)
}

func (f *memoryFile) WriteAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.resize(max(len(f.data), int(off)+len(p)))
	return copy(f.data[off:], p), nil
}

func (f *memoryFile) Truncate(size int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.resize(int(size))
	return nil
}

// resize makes the file shorter, or longer by zeros.
func (f *memoryFile) resize(size int) {
	f.data = append(f.data[:min(size, len(f.data))], make([]byte, max(size-len(f.data), 0))...)
}

func (f *memoryFile) Sync() error                { return nil }
func (f *memoryFile) Close() error               { return nil }
func (f *memoryFile) Stat() (fs.FileInfo, error) { return f, nil }

func (f *memoryFile) Size() int64 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return int64(len(f.data))
}

func (f *memoryFile) Name() string     { return path.Base(f.name) }
func (*memoryFile) Mode() fs.FileMode  { return 0o600 }
func (*memoryFile) ModTime() time.Time { return time.Time{} }
func (*memoryFile) IsDir() bool        { return false }
func (*memoryFile) Sys() any           { return nil }

// Images can be anywhere: here, in memory. For images that are only read,
// ReadOnlyFile and OpenChain need less.
func Example_ownStorage() {
	options := vhd.Options{FS: &memory{files: map[string]*memoryFile{}}}
	base, err := vhd.Create("disks/base.vhd", vhd.CreateOptions{Options: options, Size: 1 << 20, BlockSize: 4096})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := base.WriteAt([]byte("kept in memory"), 0); err != nil {
		log.Fatal(err)
	}
	if err := base.Close(); err != nil {
		log.Fatal(err)
	}

	child, err := vhd.Create("disks/child.vhd", vhd.CreateOptions{Options: options, Parent: "disks/base.vhd"})
	if err != nil {
		log.Fatal(err)
	}
	defer child.Close()
	p := make([]byte, 14)
	if _, err := child.ReadAt(p, 0); err != nil {
		log.Fatal(err)
	}
	for _, image := range child.Chain() {
		fmt.Println(image.Name())
	}
	fmt.Printf("%s\n", p)
	// Output:
	// disks/child.vhd
	// disks/base.vhd
	// kept in memory
}
