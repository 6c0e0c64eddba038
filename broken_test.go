package vhd_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// What is not synced may take so much memory that a write syncs first. If that
// fails, the write is who is told.
func TestW11AWriteThatHasToSyncFirstTellsOfAFailedFsync(t *testing.T) {
	for name, write := range map[string]func(d *vhd.Disk) error{
		"write": func(d *vhd.Disk) error {
			_, err := d.WriteAt([]byte("one too many"), 0)
			return err
		},
		"zeroes": func(d *vhd.Disk) error { return d.WriteZeroes(0, vhd.SectorSize) },
	} {
		t.Run(name, func(t *testing.T) {
			const block = vhd.MaxBlockSize // its bitmap is of 64 KiB, and 511 of them are just above 32 MiB
			faults := vhdtest.NewFaultFS(vhdtest.NewMemFS())
			disk, err := vhd.Create(rigName, vhd.CreateOptions{Options: vhd.Options{FS: faults}, Size: 600 * block, BlockSize: block})
			require.NoError(t, err)
			for off := int64(0); off < 511*block; off += block {
				_, err := disk.WriteAt([]byte("new"), off)
				require.NoError(t, err)
			}
			faults.Arm(vhdtest.Fault{At: 1, Match: isSync})
			require.ErrorIs(t, write(disk), vhd.ErrBroken)
			require.Equal(t, 1, faults.Fired())
			require.ErrorIs(t, disk.Close(), vhd.ErrBroken)
		})
	}
}

// Who waits while another's fsync fails is told too.
func TestW11AllWhoUseADiskWhileItBreaksAreTold(t *testing.T) {
	for _, diskType := range []vhd.DiskType{vhd.Fixed, vhd.Dynamic} {
		t.Run(diskType.String(), func(t *testing.T) {
			faults := vhdtest.NewFaultFS(vhdtest.NewMemFS())
			disk, err := vhd.Create(rigName, vhd.CreateOptions{
				Options: vhd.Options{FS: faults}, Type: diskType, Size: 1 << 20, BlockSize: 64 << 10,
			})
			require.NoError(t, err)
			_, err = disk.WriteAt(make([]byte, 512<<10), 0)
			require.NoError(t, err)
			var underWay atomic.Int64
			faults.Arm(vhdtest.Fault{At: 1, Match: func(op vhdtest.Op) bool {
				if !isSync(op) || underWay.Load() < 100 {
					return false
				}
				for range 1000 { // others come, and have to wait
					runtime.Gosched()
				}
				return true
			}})
			useUntilBroken(t, disk, &underWay)
			require.ErrorIs(t, disk.Close(), vhd.ErrBroken)
		})
	}
}

// useUntilBroken uses a disk in all ways at once, until each is told that it is
// broken.
func useUntilBroken(t *testing.T, disk *vhd.Disk, underWay *atomic.Int64) {
	t.Helper()
	uses := []func() error{
		disk.Sync,
		func() error { // makes the file grow, and does nothing once
			if underWay.Load() < 100 {
				return nil
			}
			_, err := disk.WriteAt(make([]byte, 1<<20), 0)
			return err
		},
		func() error { return disk.WriteZeroes(0, 100_000) },
		func() error { _, err := disk.WriteAt([]byte("unaligned"), 700); return err },
		func() error { _, err := disk.WriteAt(make([]byte, 128<<10), 0); return err },
		func() error { _, err := disk.ReadAt(make([]byte, 128<<10), 0); return err },
	}
	told := make([]error, len(uses))
	var users sync.WaitGroup
	for i, use := range uses {
		users.Go(func() {
			for told[i] == nil {
				underWay.Add(1)
				told[i] = use()
			}
		})
	}
	users.Wait()
	for _, err := range told {
		require.ErrorIs(t, err, vhd.ErrBroken)
	}
}

// A Sync that waited for one that failed must not ask again: the second answer
// would be that all is well.
func TestW11ASyncThatWaitedForOneThatFailedDoesNotTryAgain(t *testing.T) {
	faults := vhdtest.NewFaultFS(vhdtest.NewMemFS())
	disk, err := vhd.Create(rigName, vhd.CreateOptions{Options: vhd.Options{FS: faults}, Size: 1 << 20})
	require.NoError(t, err)
	before := vhd.SyncsRequested(disk)
	second := make(chan error, 1)
	faults.Arm(vhdtest.Fault{At: 1, Match: func(op vhdtest.Op) bool {
		if !isSync(op) {
			return false
		}
		go func() { second <- disk.Sync() }()
		for vhd.SyncsRequested(disk) < before+2 {
			runtime.Gosched()
		}
		return true
	}})
	require.ErrorIs(t, disk.Sync(), vhd.ErrBroken)
	require.ErrorIs(t, <-second, vhd.ErrBroken)
	require.Equal(t, 1, faults.Fired())
	require.ErrorIs(t, disk.Close(), vhd.ErrBroken)
}
