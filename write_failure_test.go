package vhd_test

import (
	"bytes"
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// faultRig is a child on storage that fails when it is told to. Its first block
// is present and synced; its parent's bytes are all 'p'.
type faultRig struct {
	faults *vhdtest.FaultFS
	mem    *vhdtest.MemFS
	disk   *vhd.Disk
	want   []byte
}

const faultBlock = 64 << 10

func newFaultRig(t testing.TB, child bool) *faultRig {
	t.Helper()
	var r *rig
	want := make([]byte, 1<<20)
	if child {
		r = newChildRig(t, vhd.CreateOptions{})
		want = bytes.Repeat([]byte("p"), 1<<20)
	} else {
		r = newRig(t, vhd.CreateOptions{})
	}
	r.write(t, bytes.Repeat([]byte("1"), faultBlock), 0)
	copy(want, bytes.Repeat([]byte("1"), faultBlock))
	require.NoError(t, r.disk.Close())
	f := &faultRig{mem: r.mem, want: want, faults: vhdtest.NewFaultFS(r.mem)}
	f.open(t)
	t.Cleanup(func() { _ = f.disk.Close() })
	return f
}

func (f *faultRig) open(t testing.TB) {
	t.Helper()
	f.faults.Disarm()
	disk, err := vhd.Open(rigName, &vhd.Options{FS: f.faults, Writable: true})
	require.NoError(t, err)
	f.disk = disk
}

// write writes what has to succeed.
func (f *faultRig) write(t testing.TB, p []byte, off int64) {
	t.Helper()
	_, err := f.disk.WriteAt(p, off)
	require.NoError(t, err)
	copy(f.want[off:], p)
}

func (f *faultRig) requireContent(t testing.TB) {
	t.Helper()
	requireSameBytes(t, f.want, readAll(t, f.disk, f.disk.Size()), 0)
}

func isSync(op vhdtest.Op) bool { return op.Kind == vhdtest.OpSync }

func isGrowth(op vhdtest.Op) bool {
	return op.Kind == vhdtest.OpWrite || op.Kind == vhdtest.OpTruncate
}

func TestW11AFailedFsyncBreaksTheDisk(t *testing.T) {
	for nth := 1; nth <= 2; nth++ {
		t.Run(fmt.Sprintf("fsync %d of a Sync", nth), func(t *testing.T) {
			f := newFaultRig(t, true)
			_, err := f.disk.WriteAt([]byte("new"), 3*faultBlock)
			require.NoError(t, err)
			f.faults.Arm(vhdtest.Fault{At: nth, Match: isSync})
			err = f.disk.Sync()
			require.ErrorIs(t, err, vhd.ErrBroken)
			require.ErrorIs(t, err, syscall.EIO)
			require.Equal(t, 1, f.faults.Fired())
			f.requireBroken(t)

			f.open(t)
			got := readAll(t, f.disk, f.disk.Size())
			copy(f.want[3*faultBlock:], got[3*faultBlock:][:3]) // it may have come through
			requireSameBytes(t, f.want, got, 0)
			f.write(t, []byte("again"), 3*faultBlock)
			require.NoError(t, f.disk.Sync())
			f.requireContent(t)
		})
	}
}

// requireBroken says that nothing works any more, and closes the disk.
func (f *faultRig) requireBroken(t testing.TB) {
	t.Helper()
	before := mustReadFile(t, f.mem, rigName)
	requireDown(t, f.disk, vhd.ErrBroken)
	require.ErrorIs(t, f.disk.Close(), vhd.ErrBroken)
	requireDown(t, f.disk, vhd.ErrClosed)
	require.Equal(t, before, mustReadFile(t, f.mem, rigName), "a broken disk writes nothing, not even when it is closed")
}

func TestW11AFailedFsyncOfAGrowthBreaksTheDisk(t *testing.T) {
	f := newFaultRig(t, true)
	f.faults.Arm(vhdtest.Fault{At: 1, Match: isSync})
	_, err := f.disk.WriteAt([]byte("new"), 3*faultBlock)
	require.ErrorIs(t, err, vhd.ErrBroken)
	f.requireBroken(t)
	f.open(t)
	f.requireContent(t)
}

func TestW11AFailedFsyncOfAFixedDiskBreaksIt(t *testing.T) {
	f := newFaultRig(t, true)
	require.NoError(t, f.disk.Close())
	disk, err := vhd.Create("fixed.vhd", vhd.CreateOptions{Options: vhd.Options{FS: f.faults}, Type: vhd.Fixed, Size: 1 << 20})
	require.NoError(t, err)
	f.faults.Arm(vhdtest.Fault{At: 1, Match: isSync})
	require.ErrorIs(t, disk.Sync(), vhd.ErrBroken)
	requireDown(t, disk, vhd.ErrBroken)
	require.ErrorIs(t, disk.Close(), vhd.ErrBroken)
}

// What a Sync writes behind its first fsync may be on disk in part.
func TestW11AFailedWriteOfTheTablesBreaksTheDisk(t *testing.T) {
	f := newFaultRig(t, true)
	h, _ := f.disk.Chain()[0].Header()
	_, err := f.disk.WriteAt([]byte("new"), 3*faultBlock)
	require.NoError(t, err)
	f.faults.Arm(vhdtest.Fault{At: 1, Match: func(op vhdtest.Op) bool {
		return op.Kind == vhdtest.OpWrite && op.Off >= h.TableOffset && op.Off < h.TableOffset+512
	}})
	require.ErrorIs(t, f.disk.Sync(), vhd.ErrBroken)
	f.requireBroken(t)
}

// What a Sync writes before its first fsync nobody can reach.
func TestASyncThatFailsBeforeItsFirstFsyncCanBeTriedAgain(t *testing.T) {
	f := newFaultRig(t, true)
	f.write(t, []byte("new"), 3*faultBlock)
	f.faults.Arm(vhdtest.Fault{At: 1, Err: syscall.ENOSPC, Match: func(op vhdtest.Op) bool { return op.Kind == vhdtest.OpWrite }})
	err := f.disk.Sync()
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NotErrorIs(t, err, vhd.ErrBroken)
	f.requireContent(t)
	f.write(t, []byte("more"), 3*faultBlock+700)
	require.NoError(t, f.disk.Sync())
	require.NoError(t, f.disk.Close())
	f.open(t)
	f.requireContent(t)
}

// A disk full at any step of a growth, for this once or for good, loses
// nothing that was there before.
func TestAGrowthThatFailsLosesNothing(t *testing.T) {
	for _, c := range []struct {
		name  string
		child bool
		fault vhdtest.Fault
	}{
		{"child, one call", true, vhdtest.Fault{}},
		{"child, a part of a call", true, vhdtest.Fault{Short: true}},
		{"child, all calls", true, vhdtest.Fault{Forever: true}},
		{"no parent, one call", false, vhdtest.Fault{}},
		{"no parent, a part of a call", false, vhdtest.Fault{Short: true}},
		{"no parent, all calls", false, vhdtest.Fault{Forever: true, Short: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for at := 1; ; at++ {
				f := newFaultRig(t, c.child)
				fault := c.fault
				fault.At, fault.Err, fault.Match = at, syscall.ENOSPC, isGrowth
				f.faults.Arm(fault)
				p := bytes.Repeat([]byte("n"), 700)
				n, err := f.disk.WriteAt(p, 3*faultBlock+100)
				f.faults.Disarm()
				copy(f.want[3*faultBlock+100:], p[:n])
				if f.faults.Fired() == 0 {
					require.NoError(t, err)
					require.Greater(t, at, 3)
					return
				}
				f.goOnAfterGrowth(t, err)
			}
		})
	}
}

// goOnAfterGrowth uses the disk after a growth that failed with err, or that
// went on in another way.
func (f *faultRig) goOnAfterGrowth(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.NotErrorIs(t, err, vhd.ErrBroken)
	}
	f.requireContent(t)
	f.write(t, []byte("overwritten"), 999)
	require.NoError(t, f.disk.Sync())
	onDisk := vhdtest.NewMemFS()
	for _, name := range []string{rigName, "parent.vhd"} { // as if the process died here
		if raw, err := f.mem.ReadFile(name); err == nil {
			require.NoError(t, onDisk.WriteFile(name, raw))
		}
	}
	after, err := vhd.Open(rigName, &vhd.Options{FS: onDisk, Writable: true})
	require.NoError(t, err)
	requireSameBytes(t, f.want, readAll(t, after, after.Size()), 0)
	require.NoError(t, after.Close())

	f.write(t, []byte("first"), 5*faultBlock)
	f.write(t, []byte("second"), 3*faultBlock+4000)
	for block := int64(6); block < 12; block++ { // footers move again
		f.write(t, []byte{byte(block)}, block*faultBlock+5000)
	}
	f.requireContent(t)
	require.NoError(t, f.disk.Close())
	f.open(t)
	require.False(t, f.disk.Chain()[0].NeedsRecovery())
	f.requireContent(t)
	require.NoError(t, f.disk.Close())
}

func TestOnAFullDiskWhatIsAllocatedStaysWritable(t *testing.T) {
	f := newFaultRig(t, true)
	size := f.disk.Chain()[0].FileSize()
	f.faults.Arm(vhdtest.Fault{At: 1, Forever: true, Err: syscall.ENOSPC, Match: func(op vhdtest.Op) bool {
		return op.Kind == vhdtest.OpWrite && op.Off+op.N > size
	}})
	for range 3 {
		n, err := f.disk.WriteAt(bytes.Repeat([]byte("x"), 2*faultBlock), faultBlock/2)
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.Equal(t, faultBlock/2, n)
		copy(f.want[faultBlock/2:], bytes.Repeat([]byte("x"), n))
		f.write(t, []byte("still"), 100)
		f.requireContent(t)
		require.NoError(t, f.disk.Sync())
	}
	require.NoError(t, f.disk.Close())
	require.Equal(t, size, int64(len(mustReadFile(t, f.mem, rigName))))
	f.open(t)
	f.requireContent(t)
}

func TestAReadThatFailedIsTriedAgain(t *testing.T) {
	for at, failed := 1, 0; ; at++ {
		f := newFaultRig(t, true)
		require.NoError(t, f.disk.Close())
		disk, err := vhd.Open(rigName, &vhd.Options{FS: f.faults})
		require.NoError(t, err)
		f.disk = disk
		f.faults.Arm(vhdtest.Fault{At: at, All: true, Match: func(op vhdtest.Op) bool { return op.Kind == vhdtest.OpRead }})
		p := make([]byte, 1<<20)
		n, err := disk.ReadAt(p, 0)
		if f.faults.Fired() == 0 {
			require.NoError(t, err)
			require.Greater(t, failed, 3)
			return
		}
		if err != nil { // else what could not be read was not needed
			require.ErrorIs(t, err, syscall.EIO)
			failed++
		}
		requireSameBytes(t, f.want[:n], p[:n], 0)
		f.requireContent(t)
		require.NoError(t, disk.Close())
	}
}

func TestAFailedReadOfASectorToBeChangedWritesNothing(t *testing.T) {
	f := newFaultRig(t, true)
	f.faults.Arm(vhdtest.Fault{At: 1, All: true, Forever: true, Match: func(op vhdtest.Op) bool {
		return op.Kind == vhdtest.OpRead && op.Name != rigName
	}})
	_, err := f.disk.WriteAt([]byte("part of a sector"), 3*faultBlock+1)
	require.ErrorIs(t, err, syscall.EIO)
	f.faults.Disarm()
	f.requireContent(t)
	f.write(t, []byte("part of a sector"), 3*faultBlock+1)
	f.requireContent(t)
}

// A snapshot puts the footer behind the last block first, and cuts off what is behind it then. Where that fails blocks
// come to be where that footer stands.
func TestAFooterInFrontOfAnEndThatCouldNotBeCutOffIsNotReadAsData(t *testing.T) {
	const blockSize, size = 2048, 16 << 20
	for nblocks := int64(3); nblocks < 12; nblocks++ { // one or two find room without a growth
		faults := vhdtest.NewFaultFS(vhdtest.NewMemFS())
		disk, err := vhd.Create("base.vhd", vhd.CreateOptions{Options: vhd.Options{FS: faults}, Size: size, BlockSize: blockSize})
		require.NoError(t, err)
		want := make([]byte, size)
		write := func(block int64) {
			p := want[block*blockSize:][:vhd.SectorSize]
			copy(p, fill(byte(block), vhd.SectorSize))
			_, err := disk.WriteAt(p, block*blockSize)
			require.NoError(t, err)
		}
		for block := range nblocks {
			write(block)
		}
		require.NoError(t, disk.Sync())
		faults.Arm(vhdtest.Fault{At: 1, Match: isKind(vhdtest.OpTruncate)})
		require.Error(t, disk.Snapshot("snapshot.vhd", vhd.CreateOptions{}), "%d blocks", nblocks)
		require.Equal(t, 1, faults.Fired())
		faults.Disarm()
		for block := int64(100); block < 160; block++ {
			write(block)
		}
		requireSameBytes(t, want, readAll(t, disk, size), 0)
		require.NoError(t, disk.Close())
	}
}
