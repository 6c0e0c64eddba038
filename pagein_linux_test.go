package vhd_test

import (
	"io/fs"
	"os"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/go-vhd/vhd"
)

// A process that is killed leaves sectors as whole as the kernel's copies of them
// are: a copy that must wait for a page in the middle of a sector ends there. So
// no sector may reach the kernel across the edge of a page that is not in memory.
func TestWritesReachTheKernelInMemory(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	require.NoError(t, err)
	defer root.Close()
	for _, diskType := range []vhd.DiskType{vhd.Fixed, vhd.Dynamic} {
		t.Run(diskType.String(), func(t *testing.T) {
			d, err := vhd.Create(diskType.String()+".vhd", vhd.CreateOptions{
				Options: vhd.Options{FS: residentFS{vhd.RootFS(root), t}}, Type: diskType, Size: 4 << 20, BlockSize: 1 << 20,
			})
			require.NoError(t, err)
			const n = 256 << 10
			never, err := unix.Mmap(-1, 0, n+8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
			require.NoError(t, err)
			defer func() { require.NoError(t, unix.Munmap(never)) }()
			require.False(t, resident(never[4096:]), "the buffer is in memory before it was touched: this shows nothing")

			_, err = d.WriteAt(never[100:][:n], 0)
			require.NoError(t, err)
			_, err = d.WriteAt(never[100:][:n], 1000)
			require.NoError(t, err)
			require.NoError(t, d.WriteZeroes(5000, 300<<10)) // less than what becomes a hole, in pieces
			require.NoError(t, d.WriteZeroes(1<<20, 40<<10))
			require.NoError(t, d.Close())
		})
	}
}

// residentFS fails a test when a sector is written that lies across the edge of a
// page that is not in memory.
type residentFS struct {
	vhd.FS
	t *testing.T
}

func (s residentFS) OpenFile(name string, flag int, perm fs.FileMode) (vhd.File, error) {
	f, err := s.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return residentFile{f.(*os.File), s.t}, nil
}

type residentFile struct {
	*os.File
	t *testing.T
}

func (f residentFile) WriteAt(p []byte, off int64) (int, error) {
	aligned := uintptr(unsafe.Pointer(unsafe.SliceData(p)))%vhd.SectorSize == 0
	assert.True(f.t, aligned || resident(p), "%d bytes at %d are not all in memory", len(p), off)
	return f.File.WriteAt(p, off)
}

// resident says whether all pages of p are.
func resident(p []byte) bool {
	page := uintptr(os.Getpagesize())
	start := uintptr(unsafe.Pointer(unsafe.SliceData(p))) &^ (page - 1)
	end := uintptr(unsafe.Pointer(unsafe.SliceData(p))) + uintptr(len(p))
	status := make([]byte, (end-start+page-1)/page)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, start, end-start, uintptr(unsafe.Pointer(unsafe.SliceData(status)))); errno != 0 {
		return false
	}
	for _, s := range status {
		if s&1 == 0 {
			return false
		}
	}
	return true
}
