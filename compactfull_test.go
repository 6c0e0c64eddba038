package vhd_test

import (
	"bytes"
	"fmt"
	"math"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// spaceFS is an FS that says how many bytes are free.
type spaceFS struct {
	vhd.FS
	free int64
}

func (s spaceFS) FreeSpace(string) (int64, error) { return s.free, nil }

// fullAt makes all fail that would make a file longer than size.
func fullAt(size int64) vhdtest.Fault {
	return vhdtest.Fault{At: 1, Forever: true, Err: syscall.ENOSPC, Match: func(op vhdtest.Op) bool {
		return op.Kind == vhdtest.OpWrite && op.Off+op.N > size || op.Kind == vhdtest.OpTruncate && op.Off > size
	}}
}

// grownDisk is a dynamic disk that has outgrown its table, with blocks in front of that and one behind, of which those
// from kept to 128 are zeros.
func grownDisk(t testing.TB, fsys vhd.FS, kept int64) (content []byte) {
	t.Helper()
	const block = 4 << 10
	disk, err := vhd.Create("disk.vhd", vhd.CreateOptions{Options: vhd.Options{FS: fsys}, Size: 128 * block, BlockSize: block})
	require.NoError(t, err)
	for i := range int64(128) {
		content = append(content, plain(byte(i+1), block)...)
	}
	_, err = disk.WriteAt(content, 0)
	require.NoError(t, err)
	content = append(content, make([]byte, 5000*block)...)
	require.NoError(t, disk.Resize(t.Context(), int64(len(content)), vhd.ResizeOptions{}))
	copy(content[300*block:], plain(7, block))
	_, err = disk.WriteAt(plain(7, block), 300*block)
	require.NoError(t, err)
	clear(content[kept*block : 128*block])
	_, err = disk.WriteAt(content[kept*block:128*block], kept*block)
	require.NoError(t, err)
	require.NoError(t, disk.Close())
	return content
}

// Who is out of space compacts: all that gives some back is done before anything that takes some, and what takes more than
// there is is left out.
func TestCompactOnAFullDiskGivesBackAllThatItCan(t *testing.T) {
	for _, c := range []struct {
		kept   int64
		tells  bool // the file system says that it is full
		factor float64
	}{{20, false, 0.5}, {20, true, 0.5}, {128, false, 1}, {128, true, 1}} {
		t.Run(fmt.Sprintf("%d blocks stay, the file system tells: %v", c.kept, c.tells), func(t *testing.T) {
			mem := vhdtest.NewMemFS()
			content := grownDisk(t, mem, c.kept)
			before := int64(len(fileOf(t, mem)))
			faults := vhdtest.NewFaultFS(mem)
			faults.Arm(fullAt(before))
			free := int64(math.MaxInt64)
			if c.tells {
				free = 0
			}
			disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: spaceFS{faults, free}, Writable: true})
			require.NoError(t, err)
			foretold, err := disk.CompactSize(t.Context(), vhd.CompactOptions{})
			require.NoError(t, err)
			err = disk.Compact(t.Context(), vhd.CompactOptions{})
			switch {
			case faults.Fired() > 0: // for more than there is
				require.ErrorIs(t, err, syscall.ENOSPC)
			case c.tells && c.kept == 128:
				require.ErrorIs(t, err, vhd.ErrNoSpace)
			default:
				require.NoError(t, err)
				require.True(t, c.tells || c.kept == 20)
			}
			requireSameBytes(t, content, readAll(t, disk, disk.Size()), 0)
			require.NoError(t, disk.Close())
			after := int64(len(fileOf(t, mem)))
			require.LessOrEqual(t, float64(after), c.factor*float64(before))
			if c.tells || c.kept == 20 {
				require.Equal(t, foretold, after)
			}
			faults.Disarm()
			disk, err = vhd.Open("disk.vhd", &vhd.Options{FS: mem})
			require.NoError(t, err)
			require.True(t, bytes.Equal(content, readAll(t, disk, disk.Size())))
			require.NoError(t, disk.Close())
			requireFindings(t, "disk.vhd", vhd.CheckOptions{Options: vhd.Options{FS: mem}}, ofAResize...)
		})
	}
}
