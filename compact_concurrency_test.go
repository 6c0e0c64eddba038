package vhd_test

import (
	"fmt"
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

// Who reads through a map from before a sector was dropped must not get what is there then.
func TestAReaderNeverSeesWhatTookTheSpaceOfWhatWasDropped(t *testing.T) {
	rounds := 100
	if testing.Short() {
		rounds = 20
	}
	const sectors = 2048
	root, err := os.OpenRoot(t.TempDir())
	require.NoError(t, err)
	defer root.Close()
	opts := vhd.CreateOptions{Options: vhd.Options{FS: vhd.RootFS(root)}, Parent: "parent.vhd", BlockSize: 256 << 10}
	makeStampedParent(t, opts.FS, sectors)
	s := newStampTest(t, opts)
	end := make(chan struct{})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				if err := s.checkGenerations(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	p := make([]byte, sectors*vhd.SectorSize)
	for round := range rounds {
		for sector := range sectors {
			stampSector(p[sector*vhd.SectorSize:][:vhd.SectorSize], uint64(sector), uint64(1+(round+sector/256)%2))
		}
		_, err := s.disk.WriteAt(p, 0)
		require.NoError(t, err)
		require.NoError(t, s.disk.Compact(t.Context(), vhd.CompactOptions{}))
	}
	close(end)
	group.Wait()
	require.NoError(t, s.disk.Close())
}

// checkGenerations reads all, of which no sector may be zeros, or another.
func (s *stampTest) checkGenerations() error {
	p := make([]byte, len(s.written)*vhd.SectorSize)
	if _, err := s.disk.ReadAt(p, 0); err != nil {
		return err
	}
	for sector := range s.written {
		at := p[sector*vhd.SectorSize:][:vhd.SectorSize]
		generation, err := readStamp(at, uint64(sector))
		if err != nil {
			return err
		}
		if generation == 0 {
			return fmt.Errorf("sector %d reads as zeros", sector)
		}
	}
	return nil
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
