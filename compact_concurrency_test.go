package vhd_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

func TestReadersAndWritersDoNotNoticeCompactions(t *testing.T) {
	rounds := 100
	if testing.Short() {
		rounds = 25
	}
	const sectors = stampStretch * stampWorkers * 16 // 3 MiB: two windows
	for _, c := range []struct {
		name  string
		block int64
		cache int64
		child bool
		real  bool // the operating system's files, which get holes
	}{
		{"blocks of 4 KiB", 4096, 0, false, false},
		{"child, blocks of 512 bytes", 512, 0, true, false},
		{"child, blocks of 4 KiB, a tiny cache", 4096, 1, true, false},
		{"child, blocks of 256 KiB", 256 << 10, 0, true, false},
		{"real files, blocks of 64 KiB", 64 << 10, 0, false, true},
		{"real files, child, blocks of 256 KiB", 256 << 10, 0, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			opts := vhd.CreateOptions{Options: vhd.Options{CacheSize: c.cache}, BlockSize: c.block, Size: sectors * vhd.SectorSize}
			if opts.FS = vhdtest.NewMemFS(); c.real {
				root, err := os.OpenRoot(t.TempDir())
				require.NoError(t, err)
				defer root.Close()
				opts.FS = vhd.RootFS(root)
			}
			if c.child {
				makeStampedParent(t, opts.FS, sectors)
				opts.Parent = "parent.vhd"
			}
			s := newStampTest(t, opts)
			s.compacts = true
			for i := range s.written {
				if c.child {
					s.written[i].Store(1)
				}
			}
			s.run(t, rounds)
			s.requireAll(t)
			require.NoError(t, s.disk.Compact(t.Context(), vhd.CompactOptions{}))
			s.requireAll(t)
			require.NoError(t, s.disk.Close())
			report, err := vhd.Check(t.Context(), "leaf.vhd", vhd.CheckOptions{Options: opts.Options})
			require.NoError(t, err)
			require.Empty(t, report.Findings)
			disk, err := vhd.Open("leaf.vhd", &opts.Options)
			require.NoError(t, err)
			s.disk = disk
			s.requireAll(t)
			require.NoError(t, disk.Close())
		})
	}
}

// A new image has no gaps that blocks have to slide over, so each round has one of others.
func TestReadersAndWritersDoNotNoticeThatGapsAreClosed(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	const users, perUser = 4, 4 * 4096
	for round := range rounds {
		file, content := apartDisk(t, users*perUser/4096, 4096, 4096)
		mem := inMemory(t, file)
		disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: mem, Writable: true})
		require.NoError(t, err)
		stop := make(chan struct{})
		var group sync.WaitGroup
		var errs [users + 1]error
		for user := range users {
			own := content[user*perUser:][:perUser]
			rng := rand.New(rand.NewPCG(uint64(round), uint64(user)))
			group.Go(func() { errs[user] = useOwnPart(disk, int64(user*perUser), own, rng, stop) })
		}
		errs[users] = disk.Compact(t.Context(), vhd.CompactOptions{})
		close(stop)
		group.Wait()
		require.NoError(t, errors.Join(errs[:]...))
		requireSameBytes(t, content, readAll(t, disk, disk.Size()), 0)
		require.NoError(t, disk.Close())
		require.Less(t, len(fileOf(t, mem)), len(file)*3/4)
		require.NoError(t, mustReadAs(mem, "disk.vhd", "", content))
	}
}

// useOwnPart writes sectors of a part of the disk, which holds content and which nobody else writes to, and reads it,
// until it is stopped.
func useOwnPart(disk *vhd.Disk, off int64, content []byte, rng *rand.Rand, stop chan struct{}) error {
	got := make([]byte, len(content))
	for n := 0; ; n++ {
		select {
		case <-stop:
			return nil
		default:
		}
		sector := rng.IntN(len(content) / vhd.SectorSize)
		p := stamp(sector, n)
		if rng.IntN(4) == 0 {
			p = make([]byte, vhd.SectorSize)
		}
		copy(sectorOfContent(content, sector), p)
		_, err := disk.WriteAt(p, off+int64(sector)*vhd.SectorSize)
		if rng.IntN(8) == 0 {
			err = errors.Join(err, disk.Sync())
		}
		_, readErr := disk.ReadAt(got, off)
		if err := errors.Join(err, readErr); err != nil {
			return err
		}
		if !bytes.Equal(content, got) {
			return fmt.Errorf("the part at %d reads otherwise than it was written", off)
		}
	}
}

// heldUpFS is a directory of the operating system's, of whose files each read can be held up.
type heldUpFS struct {
	swapFS
	onRead func()
}

func (s *heldUpFS) OpenFile(name string, flag int, perm fs.FileMode) (vhd.File, error) {
	f, err := s.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return heldUpFile{f.(*os.File), s}, nil
}

type heldUpFile struct {
	*os.File
	hooks *heldUpFS
}

func (f heldUpFile) ReadAt(p []byte, off int64) (int, error) {
	if hook := f.hooks.onRead; hook != nil {
		f.hooks.onRead = nil
		hook()
	}
	return f.File.ReadAt(p, off)
}

// Who reads through a map from before sectors were dropped must not get the hole that is there then.
func TestAReaderNeverSeesTheHoleWhereDroppedSectorsWere(t *testing.T) {
	base := compactDisk('p')
	mixed := plain('p', 256<<10)
	copy(mixed[128<<10:], "x")
	base.BlockSize, base.Size, base.Blocks[0].Data = 256<<10, 256<<10, plain('p', 256<<10)
	leaf := compactChild(base, vhdtest.Block{Index: 0, Data: mixed, Align: 4096})
	leaf.BlockSize = 256 << 10
	root, err := os.OpenRoot(filepath.Dir(writeChain(t, base, leaf)))
	require.NoError(t, err)
	defer root.Close()
	hooks := &heldUpFS{swapFS: swapFS{FS: vhd.RootFS(root)}}
	disk, err := vhd.Open("leaf.vhd", &vhd.Options{FS: hooks, Writable: true})
	require.NoError(t, err)
	requireSameBytes(t, mixed, readAll(t, disk, disk.Size()), 0) // so that the map is there, and no lock is taken
	compacted := false
	hooks.onRead = func() {
		require.NoError(t, disk.Compact(t.Context(), vhd.CompactOptions{}))
		compacted = true
	}
	requireSameBytes(t, mixed, readAll(t, disk, disk.Size()), 0)
	require.True(t, compacted)
	require.NoError(t, disk.Close())
}

func TestASnapshotEndsACompactionOfWhatItFreezes(t *testing.T) {
	base := compactDisk('p', 'q', 'p', 'q', 'p', 'q')
	leaf := compactChild(base, blocksOf('p', 'x', 'p', 'x', 'p', 'x')...)
	want := leaf.Content(t, base.Content(t, nil))
	for at := range 4 {
		name := writeChain(t, base, leaf)
		next := filepath.Join(filepath.Dir(name), "next.vhd")
		disk, err := vhd.Open(name, &vhd.Options{Writable: true})
		require.NoError(t, err)
		var frozen []byte
		calls := 0
		require.NoError(t, disk.Compact(t.Context(), vhd.CompactOptions{Progress: func(int64, int64) {
			if calls++; calls == at+1 {
				require.NoError(t, disk.Snapshot(next, vhd.CreateOptions{}))
				frozen, err = os.ReadFile(name)
				require.NoError(t, err)
			}
		}}))
		require.Greater(t, calls, at)
		requireSameBytes(t, want, readAll(t, disk, disk.Size()), 0)
		require.NoError(t, disk.Close())
		now, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, frozen, now)
		require.Equal(t, want, vhdtest.SevenZip.Content(t, next))
		compact(t, name)
		requireCompact(t, name)
	}
}
