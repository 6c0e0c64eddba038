package vhd_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// stampSector fills a sector with its number, the generation of its content and
// a checksum over all, so that a sector that is torn, or another's, shows.
func stampSector(p []byte, sector, generation uint64) {
	for i := 0; i < vhd.SectorSize-16; i += 16 {
		binary.LittleEndian.PutUint64(p[i:], sector)
		binary.LittleEndian.PutUint64(p[i+8:], generation)
	}
	clear(p[vhd.SectorSize-16:])
	binary.LittleEndian.PutUint32(p[vhd.SectorSize-4:], crc32.ChecksumIEEE(p[:vhd.SectorSize-4]))
}

// readStamp is the generation of a sector, 0 for zeros.
func readStamp(p []byte, sector uint64) (generation uint64, err error) {
	generation = binary.LittleEndian.Uint64(p[8:])
	if generation == 0 {
		for i, b := range p {
			if b != 0 {
				return 0, fmt.Errorf("sector %d: byte %d of zeros is %#x", sector, i, b)
			}
		}
		return 0, nil
	}
	var want [vhd.SectorSize]byte
	stampSector(want[:], sector, generation)
	if want != [vhd.SectorSize]byte(p) {
		return 0, fmt.Errorf("sector %d, generation %d, holds sector %d, or is torn", sector, generation, binary.LittleEndian.Uint64(p))
	}
	return generation, nil
}

// stampTest is a disk that many use at once. Stretches of sectors are owned by
// one worker each, in turn; all read everything.
type stampTest struct {
	disk    *vhd.Disk
	written []atomic.Uint64 // the last generation of each sector whose write has returned
	failed  atomic.Bool

	compacts bool // it is compacted meanwhile, and much of what is written is the parent's
}

const (
	stampWorkers = 16
	stampStretch = 24 // sectors: blocks are shared, and cut
)

func newStampTest(t testing.TB, opts vhd.CreateOptions) *stampTest {
	t.Helper()
	disk, err := vhd.Create("leaf.vhd", opts)
	require.NoError(t, err)
	return &stampTest{disk: disk, written: make([]atomic.Uint64, disk.Size()/vhd.SectorSize)}
}

func (s *stampTest) run(t *testing.T, rounds int) {
	t.Helper()
	var group sync.WaitGroup
	for worker := range stampWorkers {
		group.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(worker), 0))
			for round := 0; round < rounds && !s.failed.Load(); round++ {
				if err := s.step(rng, worker, uint64(round)+2); err != nil {
					s.failed.Store(true)
					t.Errorf("worker %d, round %d: %v", worker, round, err)
				}
			}
		})
	}
	group.Wait()
}

func (s *stampTest) step(rng *rand.Rand, worker int, generation uint64) error {
	switch step := rng.IntN(16); {
	case s.compacts && step < 2:
		return s.disk.Compact(context.Background(), vhd.CompactOptions{})
	case s.compacts && step < 6:
		return s.write(rng, worker, 1)
	default:
		return s.anyStep(rng, worker, generation, step)
	}
}

func (s *stampTest) anyStep(rng *rand.Rand, worker int, generation uint64, step int) error {
	switch step {
	case 0:
		return s.disk.Sync()
	case 1, 2:
		return s.zero(rng, worker)
	case 3, 4, 5, 6, 7, 8:
		return s.write(rng, worker, generation)
	}
	return s.read(rng)
}

// own is a stretch of sectors that the worker owns.
func (s *stampTest) own(rng *rand.Rand, worker int) (first, n int) {
	stretches := len(s.written) / stampStretch
	stretch := rng.IntN(stretches/stampWorkers)*stampWorkers + worker
	first = stretch*stampStretch + rng.IntN(stampStretch)
	return first, 1 + rng.IntN((stretch+1)*stampStretch-first)
}

func (s *stampTest) write(rng *rand.Rand, worker int, generation uint64) error {
	first, n := s.own(rng, worker)
	p := make([]byte, n*vhd.SectorSize)
	for i := range n {
		stampSector(p[i*vhd.SectorSize:][:vhd.SectorSize], uint64(first+i), generation)
	}
	if _, err := s.disk.WriteAt(p, int64(first)*vhd.SectorSize); err != nil {
		return err
	}
	return s.done(first, n, generation)
}

// zero frees blocks as often as it can: the stretches next to each other belong
// to others, so it takes blocks smaller than one.
func (s *stampTest) zero(rng *rand.Rand, worker int) error {
	stretch := rng.IntN(len(s.written)/stampStretch/stampWorkers)*stampWorkers + worker
	first := stretch * stampStretch
	if err := s.disk.WriteZeroes(int64(first)*vhd.SectorSize, stampStretch*vhd.SectorSize); err != nil {
		return err
	}
	return s.done(first, stampStretch, 0)
}

// done notes what was written, and that it reads back for who wrote it.
func (s *stampTest) done(first, n int, generation uint64) error {
	p := make([]byte, n*vhd.SectorSize)
	if _, err := s.disk.ReadAt(p, int64(first)*vhd.SectorSize); err != nil {
		return err
	}
	for i := range n {
		s.written[first+i].Store(generation)
		got, err := readStamp(p[i*vhd.SectorSize:][:vhd.SectorSize], uint64(first+i))
		if err != nil {
			return err
		}
		if got != generation {
			return fmt.Errorf("sector %d: wrote generation %d and read %d", first+i, generation, got)
		}
	}
	return nil
}

func (s *stampTest) read(rng *rand.Rand) error {
	first := rng.IntN(len(s.written))
	n := min(1+rng.IntN(100), len(s.written)-first)
	return s.check(first, n)
}

func (s *stampTest) check(first, n int) error {
	p := make([]byte, n*vhd.SectorSize)
	if _, err := s.disk.ReadAt(p, int64(first)*vhd.SectorSize); err != nil {
		return err
	}
	for i := range n {
		if _, err := readStamp(p[i*vhd.SectorSize:][:vhd.SectorSize], uint64(first+i)); err != nil {
			return err
		}
	}
	return nil
}

// requireAll says that every sector is as it was written last.
func (s *stampTest) requireAll(t testing.TB) {
	t.Helper()
	p := readAll(t, s.disk, s.disk.Size())
	for sector := range s.written {
		got, err := readStamp(p[sector*vhd.SectorSize:][:vhd.SectorSize], uint64(sector))
		require.NoError(t, err)
		require.Equal(t, s.written[sector].Load(), got, "sector %d", sector)
	}
}

// makeStampedParent makes a parent whose every sector has generation 1.
func makeStampedParent(t testing.TB, fsys vhd.FS, sectors int) {
	t.Helper()
	disk, err := vhd.Create("parent.vhd", vhd.CreateOptions{
		Options: vhd.Options{FS: fsys}, Size: int64(sectors) * vhd.SectorSize, BlockSize: 8192,
	})
	require.NoError(t, err)
	p := make([]byte, sectors*vhd.SectorSize)
	for sector := range sectors {
		stampSector(p[sector*vhd.SectorSize:][:vhd.SectorSize], uint64(sector), 1)
	}
	_, err = disk.WriteAt(p, 0)
	require.NoError(t, err)
	require.NoError(t, disk.Close())
}

func TestManyGoroutinesSeeWholeSectorsOfTheRightPlace(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 60
	}
	const sectors = stampStretch * stampWorkers * 16 // 3 MiB: two windows
	for _, c := range []struct {
		name  string
		block int64
		cache int64
		child bool
	}{
		{"blocks of 1 KiB", 1024, 0, false},
		{"blocks of 4 KiB", 4096, 0, false},
		{"blocks of 4 KiB, a tiny cache", 4096, 1, false},
		{"child, blocks of 4 KiB", 4096, 0, true},
		{"child, blocks of 32 KiB, a tiny cache", 32 << 10, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := vhdtest.NewMemFS()
			opts := vhd.CreateOptions{Options: vhd.Options{FS: fsys, CacheSize: c.cache}, BlockSize: c.block, Size: sectors * vhd.SectorSize}
			if c.child {
				makeStampedParent(t, fsys, sectors)
				opts.Parent = "parent.vhd"
			}
			s := newStampTest(t, opts)
			for i := range s.written {
				if c.child {
					s.written[i].Store(1)
				}
			}
			s.run(t, rounds)
			s.requireAll(t)
			if !c.child {
				require.Positive(t, vhd.Reuses(s.disk), "freed space came into use again")
			}
			counted, held, entries := vhd.CachedBytes(s.disk)
			require.Equal(t, held, counted, "the cache counts right")
			if c.cache == 1 {
				require.LessOrEqual(t, entries, 1)
			}
			require.NoError(t, s.disk.Close())
			disk, err := vhd.Open("leaf.vhd", &opts.Options)
			require.NoError(t, err)
			s.disk = disk
			s.requireAll(t)
			require.NoError(t, disk.Close())
		})
	}
}

// Readers of a chain that nobody writes share its maps, which a tiny cache
// makes again and again.
func TestReadersOfAReadOnlyChainShareATinyCache(t *testing.T) {
	fsys := vhdtest.NewMemFS()
	const sectors = 10 << 20 / vhd.SectorSize
	makeStampedParent(t, fsys, sectors)
	child, err := vhd.Create("leaf.vhd", vhd.CreateOptions{Options: vhd.Options{FS: fsys}, Parent: "parent.vhd"})
	require.NoError(t, err)
	require.NoError(t, child.Close())
	for _, cacheSize := range []int64{1, 1000, 4000, 0} {
		disk, err := vhd.Open("leaf.vhd", &vhd.Options{FS: fsys, CacheSize: cacheSize})
		require.NoError(t, err)
		s := &stampTest{disk: disk, written: make([]atomic.Uint64, sectors)}
		var group sync.WaitGroup
		for worker := range stampWorkers {
			group.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(worker), 1))
				for range 30 {
					if err := s.read(rng); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		group.Wait()
		counted, held, entries := vhd.CachedBytes(disk)
		require.Equal(t, held, counted)
		if cacheSize > 0 && entries > 1 { // one is always kept
			require.LessOrEqual(t, counted, cacheSize)
		}
		require.NoError(t, disk.Close())
	}
}

func TestCallsThatRaceWithCloseWorkOrGetErrClosed(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	for round := range rounds {
		opts := vhd.CreateOptions{Options: vhd.Options{FS: vhdtest.NewMemFS()}, Size: 1 << 20, BlockSize: 4096}
		name := "leaf.vhd"
		if round%2 == 0 { // the operating system has its own words for a closed file
			opts.FS, name = nil, filepath.Join(t.TempDir(), "leaf.vhd")
		}
		disk, err := vhd.Create(name, opts)
		require.NoError(t, err)
		var group sync.WaitGroup
		var started sync.WaitGroup
		for worker := range 8 {
			started.Add(1)
			group.Go(func() {
				started.Done()
				raceWithClose(t, disk, worker)
			})
		}
		started.Wait()
		require.NoError(t, disk.Close())
		group.Wait()
		opts.Writable = true
		disk, err = vhd.Open(name, &opts.Options)
		require.NoError(t, err)
		require.False(t, disk.Chain()[0].NeedsRecovery())
		require.NoError(t, disk.Close())
	}
}

// raceWithClose uses the disk until it is closed.
func raceWithClose(t *testing.T, disk *vhd.Disk, worker int) {
	t.Helper()
	p := make([]byte, 3000)
	for i := int64(0); ; i++ {
		off := (i*7919 + int64(worker)*1000) % (1<<20 - 3000)
		var err error
		switch worker % 4 {
		case 0:
			_, err = disk.WriteAt(p, off)
		case 1:
			_, err = disk.ReadAt(p, off)
		case 2:
			err = disk.Sync()
		default:
			if worker == 7 {
				err = disk.Compact(t.Context(), vhd.CompactOptions{})
			} else if err = disk.WriteZeroes(off, 9000%(1<<20-off)); err == nil {
				for _, err = range disk.Extents(0, 1<<20) {
					if err != nil {
						break
					}
				}
			}
		}
		if err != nil {
			if !errors.Is(err, vhd.ErrClosed) || errors.Is(err, io.EOF) {
				t.Errorf("worker %d got %v", worker, err)
			}
			return
		}
	}
}

// What is read while its block is given away and its space taken by another
// block is what was there before or zeros, never the other's.
func TestAReaderNeverSeesWhatTookItsSpace(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 50
	}
	const block = 4096
	disk, err := vhd.Create("leaf.vhd", vhd.CreateOptions{Options: vhd.Options{FS: vhdtest.NewMemFS()}, Size: 64 * block, BlockSize: block})
	require.NoError(t, err)
	var done atomic.Bool
	var group sync.WaitGroup
	for range 6 {
		group.Go(func() {
			p := make([]byte, 64*block)
			for !done.Load() {
				if _, err := disk.ReadAt(p, 0); err != nil {
					t.Error(err)
					return
				}
				for sector := range uint64(64 * block / vhd.SectorSize) {
					if _, err := readStamp(p[sector*vhd.SectorSize:][:vhd.SectorSize], sector); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	p := make([]byte, block)
	for round := range rounds { // blocks come and go, in other places each time
		for at := range int64(64) {
			off := at * block
			if (at+int64(round))%3 == 0 {
				require.NoError(t, disk.WriteZeroes(off, block))
				continue
			}
			for sector := range uint64(block / vhd.SectorSize) {
				stampSector(p[sector*vhd.SectorSize:][:vhd.SectorSize], uint64(off)/vhd.SectorSize+sector, uint64(round)+1)
			}
			_, err := disk.WriteAt(p, off)
			require.NoError(t, err)
		}
		require.NoError(t, disk.Sync())
	}
	done.Store(true)
	group.Wait()
	require.Greater(t, vhd.Reuses(disk), uint64(rounds/2))
	require.NoError(t, disk.Close())
}
