package vhd_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// growthRig is a disk that grows by several blocks at once, on storage that
// fails. One byte of a block is written at a time.
type growthRig struct {
	mem    *vhdtest.MemFS
	faults *vhdtest.FaultFS
	disk   *vhd.Disk
	block  int64

	want     []byte
	unsynced map[int64]bool // offsets of bytes that a crash may lose
}

func newGrowthRig(t testing.TB, block, nblocks int64) *growthRig {
	t.Helper()
	g := &growthRig{mem: vhdtest.NewMemFS(), block: block, want: make([]byte, nblocks*block), unsynced: map[int64]bool{}}
	g.faults = vhdtest.NewFaultFS(g.mem)
	disk, err := vhd.Create(rigName, vhd.CreateOptions{Options: vhd.Options{FS: g.faults}, Size: nblocks * block, BlockSize: block})
	require.NoError(t, err)
	g.disk = disk
	t.Cleanup(func() { _ = g.disk.Close() })
	require.Greater(t, nblocks/16, int64(1), "a growth is of a sixteenth of the disk")
	return g
}

// failAt makes the call number at fail that changes the leaf's file. Of a write
// that would make the file longer something got there all the same. With
// noUndo, Truncate fails from then on too.
func (g *growthRig) failAt(t testing.TB, at int, noUndo bool) {
	t.Helper()
	count := 0
	g.faults.Arm(vhdtest.Fault{At: 1, Forever: true, Err: syscall.ENOSPC, Match: func(op vhdtest.Op) bool {
		if op.Name != rigName || op.Kind != vhdtest.OpWrite && op.Kind != vhdtest.OpTruncate && op.Kind != vhdtest.OpSync {
			return false
		}
		if count++; count > at {
			return noUndo && op.Kind == vhdtest.OpTruncate
		}
		if count == at && op.Kind == vhdtest.OpWrite {
			g.tear(t, op)
		}
		return count == at
	}})
}

// tear leaves some of a write behind the file's end.
func (g *growthRig) tear(t testing.TB, op vhdtest.Op) {
	t.Helper()
	if op.Off < g.fileSize(t) {
		return
	}
	f, err := g.mem.OpenFile(rigName, os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("rubbish"), op.Off)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func (g *growthRig) fileSize(t testing.TB) int64 {
	t.Helper()
	info, err := g.mem.Stat(rigName)
	require.NoError(t, err)
	return info.Size()
}

// write writes to blocks from first to end, and a Sync after every eighth, until
// all is done or something fails.
func (g *growthRig) write(first, end int64) error {
	for index := first; index < end; index++ {
		off := index*g.block + index%g.block
		g.unsynced[off] = true
		if n, err := g.disk.WriteAt([]byte{1}, off); err != nil {
			if n == 0 && !errors.Is(err, vhd.ErrBroken) {
				delete(g.unsynced, off)
			}
			return err
		}
		g.want[off] = 1
		if index%8 != 7 {
			continue
		}
		if err := g.disk.Sync(); err != nil {
			return err
		}
		clear(g.unsynced)
	}
	return nil
}

// requireAfterCrash opens what is in the file by now: what was synced is there,
// and what was not is there or zero.
func (g *growthRig) requireAfterCrash(t testing.TB) {
	t.Helper()
	disk, err := vhd.Open(rigName, &vhd.Options{FS: g.mem.Clone(), Writable: true})
	require.NoError(t, err)
	defer disk.Close()
	g.requireDurable(t, readAll(t, disk, disk.Size()))
}

func (g *growthRig) requireDurable(t testing.TB, got []byte) {
	t.Helper()
	for off := range g.unsynced {
		require.LessOrEqual(t, got[off], byte(1))
		got[off] = g.want[off]
	}
	requireSameBytes(t, g.want, got, 0)
}

// goOn uses the disk after a call failed: the whole disk is written and read.
func (g *growthRig) goOn(t testing.TB, err error) {
	t.Helper()
	g.faults.Disarm()
	if errors.Is(err, vhd.ErrBroken) {
		require.ErrorIs(t, g.disk.Close(), vhd.ErrBroken)
		disk, err := vhd.Open(rigName, &vhd.Options{FS: g.faults, Writable: true})
		require.NoError(t, err)
		g.disk = disk
		got := readAll(t, disk, disk.Size())
		g.requireDurable(t, got)
		for off := range g.unsynced {
			g.want[off] = 0 // or not: it is written again
		}
	} else {
		requireSameBytes(t, g.want, readAll(t, g.disk, g.disk.Size()), 0)
	}
	g.requireAfterCrash(t)
	require.NoError(t, g.write(0, int64(len(g.want))/g.block))
	requireSameBytes(t, g.want, readAll(t, g.disk, g.disk.Size()), 0)
	require.Equal(t, g.fileSize(t), g.disk.Chain()[0].FileSize())
	g.requireAfterCrash(t)
	require.NoError(t, g.disk.Close())
	require.Equal(t, g.fileSize(t), g.disk.Chain()[0].FileSize())

	disk, err := vhd.Open(rigName, &vhd.Options{FS: g.mem})
	require.NoError(t, err)
	require.False(t, disk.Chain()[0].NeedsRecovery())
	requireSameBytes(t, g.want, readAll(t, disk, disk.Size()), 0)
	require.NoError(t, disk.Close())
}

// Whatever call fails while the disk grows, what is read is right, and the disk
// goes on, or is opened again, as if it had not happened.
func TestAGrowthByManyBlocksThatFailsLosesNothing(t *testing.T) {
	const firstBlocks = 12 // written while calls fail
	for _, c := range []struct{ block, nblocks int64 }{{512, 160}, {1024, 500}, {4096, 100}, {64 << 10, 40}} {
		for _, noUndo := range []bool{false, true} {
			t.Run(fmt.Sprintf("blocks of %d, truncate fails too %v", c.block, noUndo), func(t *testing.T) {
				failed, undosFailed := 0, 0
				for at := 1; ; at++ {
					g := newGrowthRig(t, c.block, c.nblocks)
					g.failAt(t, at, noUndo)
					err := g.write(0, firstBlocks)
					if err != nil {
						failed++
						require.ErrorIs(t, err, syscall.ENOSPC)
					}
					if !noUndo && !errors.Is(err, vhd.ErrBroken) {
						require.Equal(t, g.fileSize(t), g.disk.Chain()[0].FileSize(), "call %d failed", at)
					}
					fired := g.faults.Fired()
					undosFailed += max(fired-1, 0)
					g.goOn(t, err)
					if fired == 0 {
						require.Greater(t, failed, firstBlocks)
						require.Equal(t, noUndo, undosFailed > 0)
						return
					}
				}
			})
		}
	}
}

// What reserves space in a real file must not make it longer: a program that is
// killed before the footer is written would leave none at the end.
func TestAFileThatGrowsHasItsEndFooterAtEveryMoment(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer func() { _ = root.Close() }()
	moments := 0
	calls := vhdtest.NewRecordFS(vhd.RootFS(root))
	disk, err := vhd.Create(rigName, vhd.CreateOptions{Options: vhd.Options{FS: calls}, Size: 4 << 20, BlockSize: 32 << 10})
	require.NoError(t, err)
	calls.Forbid = func(op vhdtest.Op) error {
		if op.Mutates() {
			moments++
			file, err := root.ReadFile(rigName)
			require.NoError(t, err)
			img, err := vhd.Inspect(bytes.NewReader(file), int64(len(file)))
			require.NoError(t, err)
			require.False(t, img.NeedsRecovery(), "before %v", op)
		}
		return nil
	}
	for off := int64(0); off < disk.Size(); off += 1 << 18 {
		_, err := disk.WriteAt([]byte("new"), off)
		require.NoError(t, err)
	}
	require.NoError(t, disk.Close())
	require.Greater(t, moments, 30)
}
