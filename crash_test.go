package vhd_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
	"github.com/stretchr/testify/require"
)

// The promise of the package's documentation, on a storage that loses power: it
// is stopped before every single write, change of size and fsync, inside calls
// and in the middle of recovering, and what was not synced persists in any
// subset.

// crashDisk is the disk that the crash tests use, small so that a few writes
// touch everything.
const (
	crashDiskSize = 48 << 10
	crashSectors  = crashDiskSize / vhd.SectorSize

	// crashStates of a program are looked at whatever it does, then fewer.
	crashStates = 1000
)

// crashLeaf is a kind of leaf and the storage that it must survive on.
type crashLeaf struct {
	name      string
	blockSize int64
	parent    vhd.DiskType // 0: none
	leaf      vhd.DiskType
	options   vhdtest.CrashOptions
}

func crashLeaves() []crashLeaf {
	var leaves []crashLeaf
	for _, order := range []vhdtest.Order{vhdtest.AnyOrder, vhdtest.AppendOrder, vhdtest.PrefixOrder} {
		for _, blockSize := range []int64{512, 4096, 16 << 10} {
			zeros := vhdtest.CrashOptions{Order: order, Space: vhdtest.SpaceZeros}
			stale := vhdtest.CrashOptions{Order: order, Space: vhdtest.SpaceStale}
			name := func(kind string) string { return fmt.Sprintf("%s of %d byte blocks, order %d", kind, blockSize, order) }
			leaves = append(leaves,
				crashLeaf{name("dynamic"), blockSize, 0, vhd.Dynamic, zeros},
				crashLeaf{name("child of dynamic"), blockSize, vhd.Dynamic, vhd.Differencing, stale},
				crashLeaf{name("child of fixed"), blockSize, vhd.Fixed, vhd.Differencing, stale})
		}
	}
	return append(leaves, crashLeaf{name: "fixed", blockSize: 512, leaf: vhd.Fixed})
}

// prepare makes the leaf, and its parent with content.
func (l crashLeaf) prepare(t *testing.T) (base *vhdtest.MemFS, content []byte) {
	t.Helper()
	base = vhdtest.NewMemFS()
	content = make([]byte, crashDiskSize)
	opts := vhd.CreateOptions{Options: vhd.Options{FS: base}, Type: l.leaf, Size: crashDiskSize, BlockSize: l.blockSize}
	if l.parent != 0 {
		parent, err := vhd.Create("base.vhd", vhd.CreateOptions{Options: opts.Options, Type: l.parent, Size: crashDiskSize, BlockSize: 8192})
		require.NoError(t, err)
		for sector := 0; sector < crashSectors; sector += 3 {
			copy(content[sector*vhd.SectorSize:], stamp(sector, 0))
			_, err = parent.WriteAt(stamp(sector, 0), int64(sector)*vhd.SectorSize)
			require.NoError(t, err)
		}
		require.NoError(t, parent.Close())
		opts.Parent = "base.vhd"
	}
	leaf, err := vhd.Create("leaf.vhd", opts)
	require.NoError(t, err)
	require.NoError(t, leaf.Close())
	return base, content
}

// stamp is what version n of a sector holds.
func stamp(sector, version int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "%07d.%07d ", sector, version), vhd.SectorSize/16)
}

// sectorStates knows of each sector what may be read after a crash.
type sectorStates struct {
	now     []byte
	allowed [][][]byte // by sector: what was synced, and every version since
}

func newSectorStates(content []byte) *sectorStates {
	s := &sectorStates{now: slices.Clone(content), allowed: make([][][]byte, crashSectors)}
	s.synced(content)
	return s
}

// writing notes that p is being written.
func (s *sectorStates) writing(p []byte, off int) {
	copy(s.now[off:], p)
	for sector := off / vhd.SectorSize; sector*vhd.SectorSize < off+len(p); sector++ {
		s.allowed[sector] = append(s.allowed[sector], slices.Clone(s.sector(sector)))
	}
}

func (s *sectorStates) sector(sector int) []byte {
	return s.now[sector*vhd.SectorSize:][:vhd.SectorSize]
}

// synced notes that what content holds is durable.
func (s *sectorStates) synced(content []byte) {
	for sector := range s.allowed {
		at := content[sector*vhd.SectorSize:][:vhd.SectorSize]
		last := slices.IndexFunc(s.allowed[sector], func(v []byte) bool { return bytes.Equal(v, at) })
		if last < 0 {
			s.allowed[sector] = [][]byte{slices.Clone(at)}
			continue
		}
		s.allowed[sector] = s.allowed[sector][last:]
	}
}

// crashRun is one program on one leaf, and what is checked along it.
type crashRun struct {
	t       *testing.T
	leaf    crashLeaf
	rng     *rand.Rand
	states  *sectorStates
	parent  []byte // its file
	program []string
	syncing bool // Sync is at work, and lets others write
	closing bool // Close is at work
	count   int  // states looked at
	torn    int  // of these, in how many a write of several sectors was there in part
}

func (r *crashRun) failf(format string, args ...any) {
	r.t.Helper()
	r.t.Fatalf("%s: after %v: %s", r.leaf.name, r.program, fmt.Sprintf(format, args...))
}

// check looks at what a crash left: it must be readable without being changed,
// and writable after recovering by itself, crashes meanwhile included.
func (r *crashRun) check(state *vhdtest.MemFS, depth int) {
	r.t.Helper()
	r.count++
	before, err := state.ReadFile("leaf.vhd")
	if err != nil {
		r.failf("the leaf is lost: %v", err)
	}
	disk, err := vhd.Open("leaf.vhd", &vhd.Options{FS: state})
	if err != nil {
		r.failf("P3: read-only: %v", err)
	}
	r.compare(disk, "read-only")
	if depth == 2 && r.leaf.options.Order != vhdtest.AnyOrder && disk.Chain()[0].NeedsRecovery() {
		r.failf("the footer is not at the end, though appends persist in order")
	}
	if err := disk.Close(); err != nil {
		r.failf("close: %v", err)
	}
	if after, _ := state.ReadFile("leaf.vhd"); !bytes.Equal(before, after) {
		r.failf("P3: opening read-only changed the file")
	}
	if depth > 0 {
		r.recover(state, depth)
	}
	if parent, _ := state.ReadFile("base.vhd"); !bytes.Equal(parent, r.parent) {
		r.failf("P3: the parent changed")
	}
}

// recover opens for writing what a crash left, and crashes again meanwhile.
func (r *crashRun) recover(state *vhdtest.MemFS, depth int) {
	r.t.Helper()
	storage := vhdtest.NewCrashFS(state, r.leaf.options)
	storage.OnOp = func(vhdtest.Op) {
		if r.rng.IntN(4) == 0 {
			r.check(storage.Crash(r.rng), depth-1)
		}
	}
	disk, err := vhd.Open("leaf.vhd", &vhd.Options{FS: storage, Writable: true})
	if err != nil {
		r.failf("P3: writable: %v", err)
	}
	if disk.Chain()[0].NeedsRecovery() {
		r.failf("P3: opened for writing, it still needs recovery")
	}
	r.compare(disk, "recovered")
	sector := r.rng.IntN(crashSectors)
	allowed := r.states.allowed[sector]
	r.states.allowed[sector] = append(slices.Clone(allowed), stamp(sector, -1))
	if _, err := disk.WriteAt(stamp(sector, -1), int64(sector)*vhd.SectorSize); err != nil {
		r.failf("P3: write after recovering: %v", err)
	}
	if err := disk.Close(); err != nil {
		r.failf("P3: close after recovering: %v", err)
	}
	r.states.allowed[sector] = [][]byte{stamp(sector, -1)}
	r.check(storage.Crash(r.rng), 0)
	r.states.allowed[sector] = allowed
}

// compare reads the disk: every sector must be one of its allowed versions.
func (r *crashRun) compare(disk *vhd.Disk, when string) {
	r.t.Helper()
	content := make([]byte, crashDiskSize)
	if _, err := disk.ReadAt(content, 0); err != nil {
		r.failf("%s: read: %v", when, err)
	}
	var old, fresh bool
	for sector, versions := range r.states.allowed {
		got := content[sector*vhd.SectorSize:][:vhd.SectorSize]
		at := slices.IndexFunc(versions, func(v []byte) bool { return bytes.Equal(v, got) })
		if at < 0 {
			promise := "P2: neither old nor new"
			if len(versions) == 1 {
				promise = "P1: not what was synced"
			}
			r.failf("%s: sector %d: %s: %.20q…", when, sector, promise, got)
		}
		old = old || len(versions) > 1 && at == 0
		fresh = fresh || at > 0
	}
	if old && fresh {
		r.torn++
	}
}

// run runs a program of random operations, stopped before every change.
func (r *crashRun) run(nops int) {
	r.t.Helper()
	base, content := r.leaf.prepare(r.t)
	r.states = newSectorStates(content)
	r.parent, _ = base.ReadFile("base.vhd")
	storage := vhdtest.NewCrashFS(base, r.leaf.options)
	disk, err := vhd.Open("leaf.vhd", &vhd.Options{FS: storage, Writable: true})
	require.NoError(r.t, err)
	storage.OnOp = func(op vhdtest.Op) {
		if r.syncing && op.Kind != vhdtest.OpSync && r.rng.IntN(12) == 0 {
			r.syncing = false
			r.write(disk)
			r.syncing = true
		}
		if r.count < crashStates || r.closing || r.rng.IntN(16) == 0 {
			r.check(storage.Crash(r.rng), 2)
		}
	}
	for range nops {
		r.step(disk)
		r.check(storage.Crash(r.rng), 1)
	}
	r.program = append(r.program, "close")
	r.closing = true
	require.NoError(r.t, disk.Close())
	r.states.synced(r.states.now)
	r.check(storage.Crash(r.rng), 1)
}

// step does one operation.
func (r *crashRun) step(disk *vhd.Disk) {
	r.t.Helper()
	switch r.rng.IntN(8) {
	case 0, 1:
		r.program = append(r.program, "sync")
		before := slices.Clone(r.states.now)
		r.syncing = true
		require.NoError(r.t, disk.Sync())
		r.syncing = false
		r.states.synced(before)
	case 2, 3:
		off, n := r.piece(crashDiskSize)
		r.program = append(r.program, fmt.Sprintf("zero %d+%d", off, n))
		r.states.writing(make([]byte, n), off)
		require.NoError(r.t, disk.WriteZeroes(int64(off), int64(n)))
	default:
		r.write(disk)
	}
}

// write writes somewhere, also while another operation is at work.
func (r *crashRun) write(disk *vhd.Disk) {
	r.t.Helper()
	off, n := r.piece(12 << 10)
	r.program = append(r.program, fmt.Sprintf("write %d+%d", off, n))
	p := make([]byte, 0, crashDiskSize)
	for sector := range crashSectors {
		p = append(p, stamp(sector, len(r.program))...)
	}
	r.states.writing(p[off:off+n], off)
	_, err := disk.WriteAt(p[off:off+n], int64(off))
	require.NoError(r.t, err)
}

// piece is a piece of the disk of at most so many bytes: of any, of whole
// sectors, or of the largest blocks.
func (r *crashRun) piece(most int) (off, n int) {
	unit := []int{1, vhd.SectorSize, 16 << 10}[r.rng.IntN(3)]
	off = r.rng.IntN(crashDiskSize) / unit * unit
	n = max(r.rng.IntN(most)/unit, 1) * unit
	return off, min(n, crashDiskSize-off)
}

// runCrashes runs a program on every kind of leaf, and says of how many states.
// Short tests run some, and so does the race detector, which has nothing to find
// in one goroutine.
func runCrashes(t *testing.T, seed uint64) (count, torn int) {
	t.Helper()
	for i, leaf := range crashLeaves() {
		if (testing.Short() || raceEnabled) && (i+int(seed))%4 != 0 {
			continue
		}
		r := &crashRun{t: t, leaf: leaf, rng: rand.New(rand.NewPCG(seed, uint64(i)))}
		r.run(8)
		count, torn = count+r.count, torn+r.torn
	}
	t.Logf("%d states after crashes", count)
	return count, torn
}

func TestP1WhatWasSyncedIsDurable(t *testing.T) {
	t.Parallel()
	count, _ := runCrashes(t, 1)
	require.Greater(t, count, 1000)
}

func TestP2SectorsInFlightAreOldOrNew(t *testing.T) {
	t.Parallel()
	runCrashes(t, 2)
}

func TestP3EveryCrashOpensAndRecovers(t *testing.T) {
	t.Parallel()
	runCrashes(t, 3)
}

// P4 promises nothing. That writes of several sectors are found done in part
// shows that the storage of these tests does what P1 to P3 are tested against.
func TestP4WritesOfSeveralSectorsAreNotAtomic(t *testing.T) {
	t.Parallel()
	_, torn := runCrashes(t, 4)
	require.Positive(t, torn)
}

func TestCreateAppearsWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	for _, link := range []bool{false, true} {
		for seed := range uint64(40) {
			rng := rand.New(rand.NewPCG(seed, 7))
			storage := vhdtest.NewCrashFS(vhdtest.NewMemFS(), vhdtest.CrashOptions{})
			made := false
			check := func() {
				state := storage.Crash(rng)
				disk, err := vhd.Open("new.vhd", &vhd.Options{FS: state, Writable: true})
				if !made && err != nil {
					require.ErrorIs(t, err, fs.ErrNotExist)
					return
				}
				require.NoError(t, err)
				require.NoError(t, disk.Close())
			}
			storage.OnOp = func(vhdtest.Op) { check() }
			opts := vhd.CreateOptions{Options: vhd.Options{FS: storage}, Size: crashDiskSize}
			if link {
				opts.FS = storage.Linking()
			}
			disk, err := vhd.Create("new.vhd", opts)
			require.NoError(t, err)
			made = true
			check()
			require.NoError(t, disk.Close())
			check()
		}
	}
}
