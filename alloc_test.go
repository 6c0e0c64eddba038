//go:build !race

package vhd_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
)

// chainOfDepth makes a chain of real files that has depth parents, of which
// every one holds something, and opens its leaf for writing.
func chainOfDepth(t testing.TB, depth int, size int64) *vhd.Disk {
	t.Helper()
	dir := t.TempDir()
	opts := vhd.CreateOptions{Size: size}
	for i := 0; ; i++ {
		disk, err := vhd.Create(filepath.Join(dir, fmt.Sprintf("%d.vhd", i)), opts)
		require.NoError(t, err)
		if i == 0 {
			_, err = disk.WriteAt(bytes.Repeat([]byte("base"), int(size)/4), 0)
			require.NoError(t, err)
		}
		_, err = disk.WriteAt(bytes.Repeat([]byte{byte(i)}, 8192), int64(i)*64<<10)
		require.NoError(t, err)
		if i == depth {
			t.Cleanup(func() { _ = disk.Close() })
			return disk
		}
		require.NoError(t, disk.Close())
		opts.Parent = filepath.Join(dir, fmt.Sprintf("%d.vhd", i))
	}
}

func TestReadsWithACachedMapAllocateNothing(t *testing.T) {
	for _, depth := range []int{0, 1, 8} {
		disk := chainOfDepth(t, depth, 4<<20)
		p := make([]byte, 4096)
		for name, off := range map[string]int64{"the base": 3 << 20, "the leaf": int64(depth) * 64 << 10, "unaligned": 4097, "two windows": 2<<20 - 100} {
			allocs := testing.AllocsPerRun(100, func() {
				if n, err := disk.ReadAt(p, off); n != len(p) || err != nil {
					t.Errorf("%d, %v", n, err)
				}
			})
			require.Zero(t, allocs, "depth %d, %s", depth, name)
		}
	}
}

func TestOverwritesOfPresentSectorsAllocateNothing(t *testing.T) {
	for _, depth := range []int{0, 1, 8} {
		disk := chainOfDepth(t, depth, 4<<20)
		p := make([]byte, 4096)
		off := int64(depth) * 64 << 10
		allocs := testing.AllocsPerRun(100, func() {
			if n, err := disk.WriteAt(p, off); n != len(p) || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		})
		require.Zero(t, allocs, "depth %d", depth)
	}
}
