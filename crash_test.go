package vhd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// The promise of the package's documentation, on a storage that loses power: it
// is stopped before every single change, inside calls and in the middle of
// recovering, and what was not synced persists in any subset.

// crashRun is one run of a program, and what is looked at along it.
type crashRun struct {
	world *world
	rng   *rand.Rand
	// choose says what to look at before a change of the storage.
	choose func(r *crashRun)

	step *step // at work, or done last

	// faulty says that the storage does worse than losing power: a footer may be
	// gone from the end.
	faulty bool

	closedWell bool // Close has returned nil

	points int // of a program, looked at
	states int // looked at, with those of recovering
	torn   int // of these, those where a write of several sectors was there in part

	failure error
}

func newCrashRun(leaf *leafFiles, seed uint64, choose func(*crashRun)) *crashRun {
	rng := rand.New(rand.NewPCG(seed, 0))
	r := &crashRun{world: newWorld(leaf, rng), rng: rng, choose: choose}
	r.world.onOp = r.before
	return r
}

// run runs a program and closes the leaf. It returns what broke a promise, or
// nil.
func (r *crashRun) run(p program) (failure error) {
	defer func() {
		if p := recover(); p != nil {
			failure = fmt.Errorf("panic: %v", p)
		}
	}()
	r.runStep(&step{op: openFirst})
	for i := range p {
		r.runStep(&p[i])
	}
	r.runStep(&step{op: closeAtTheEnd})
	return r.failure
}

var (
	openFirst     = &operation{name: "open", run: func(w *world, _ step) error { return w.open() }}
	closeAtTheEnd = &operation{name: "close", run: func(w *world, _ step) error { return w.close() }}
)

// runStep runs one step and looks at what is there after it.
func (r *crashRun) runStep(s *step) {
	if r.failure != nil {
		return
	}
	r.step = s
	err := r.world.run(s)
	if err == nil && s.op != closeAtTheEnd {
		err = r.world.readLive()
	}
	if err != nil {
		r.fail(fmt.Errorf("%v: %w", s, err))
	}
	r.closedWell = err == nil && s.op == closeAtTheEnd
	r.choose(r)
}

func (r *crashRun) fail(err error) {
	if r.failure == nil {
		r.failure = err
	}
}

// before is called before every change of the storage.
func (r *crashRun) before(op vhdtest.Op) {
	if r.failure != nil {
		return
	}
	r.choose(r)
	if r.failure != nil {
		r.failure = fmt.Errorf("crash before %v: %w", op, r.failure)
	}
}

// looking says how far to go into what is found after a crash.
type looking int

const (
	reading         looking = iota // it is only read
	recovering                     // and recovered, with crashes meanwhile
	recoveringAgain                // and these are recovered, with crashes meanwhile
)

// look looks at what a crash left: it must be readable without being changed,
// and writable after recovering by itself.
func (r *crashRun) look(state *vhdtest.MemFS, how looking) {
	r.states++
	if err := r.lookAt(state, how); err != nil {
		r.fail(err)
	}
}

func (r *crashRun) lookAt(state *vhdtest.MemFS, how looking) error {
	w := r.world
	seen, err := r.lookAtImage(state, w.leafIn(state), w.promise)
	if err != nil {
		return err
	}
	if err := r.lookAtSnapshot(state, seen); err != nil {
		return err
	}
	for _, n := range []*newborn{w.made, w.flat} {
		if err := r.lookAtNewborn(state, n); err != nil {
			return err
		}
	}
	if how > reading {
		if err := r.recover(state, seen, how); err != nil {
			return fmt.Errorf("recovering: %w", err)
		}
	}
	if parent, _ := state.ReadFile(baseName); !w.baseWritten && !bytes.Equal(parent, w.leaf.parent) {
		return errors.New("P3: the parent changed")
	}
	for name, want := range map[string][]byte{copyName: w.leaf.parent, otherName: w.leaf.other} {
		if file, _ := state.ReadFile(name); w.leaf.other != nil && !bytes.Equal(file, want) {
			return fmt.Errorf("P3: %s changed", name)
		}
	}
	for name, content := range w.below {
		if _, err := r.lookAtImage(state, name, content); err != nil {
			return fmt.Errorf("P3: the parent %s: %w", name, err)
		}
	}
	return nil
}

// lookAtSnapshot looks at a snapshot that is on its way: if it is there, it reads
// as the image below does.
func (r *crashRun) lookAtSnapshot(state *vhdtest.MemFS, seen []byte) error {
	name := r.world.snapping
	if _, err := state.Stat(name); name == "" || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	content, err := r.lookAtImage(state, name, r.world.promise)
	if err == nil && !bytes.Equal(content, seen) {
		err = errors.New("it does not read as what it is a snapshot of")
	}
	if err != nil {
		return fmt.Errorf("the snapshot on its way: %w", err)
	}
	return nil
}

// lookAtImage opens an image read-only, and returns what it reads as.
func (r *crashRun) lookAtImage(state *vhdtest.MemFS, name string, p *promise) (content []byte, err error) {
	before, err := state.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("P3: %w", err)
	}
	disk, err := vhd.Open(name, &vhd.Options{FS: state})
	if err != nil {
		return nil, fmt.Errorf("P3: read-only: %w", err)
	}
	if content, err = readWhole(disk); err != nil {
		return nil, fmt.Errorf("P3: read-only: %w", err)
	}
	torn, err := p.afterCrash(content)
	if err != nil {
		return nil, err
	}
	if torn {
		r.torn++
	}
	if len(p.sizes) == 1 && r.mustHaveFooter(name) && disk.Chain()[0].NeedsRecovery() {
		return nil, errors.New("a footer is not there, though appends persist in order, or the disk was closed well")
	}
	if err := disk.Close(); err != nil {
		return nil, err
	}
	if after, _ := state.ReadFile(name); !bytes.Equal(before, after) {
		return nil, errors.New("P3: opening read-only changed the file")
	}
	return content, nil
}

// mustHaveFooter says that no crash takes the end footer away: the disk was
// closed, or appends persist in order, nothing worse happens, and it was there in
// the beginning, or has been mended; and no step changes the two, one by one.
func (r *crashRun) mustHaveFooter(name string) bool {
	w := r.world
	if w.merging || w.step != nil && w.step.op.changesFooters {
		return r.closedWell && w.below[name] == nil && !w.merging
	}
	return r.closedWell || w.leaf.storage.Order != vhdtest.AnyOrder && !r.faulty && (!w.leaf.unfinished || w.disk != nil)
}

// lookAtNewborn looks at an image that a step makes: it is there whole, or not at all
// before that has returned.
func (r *crashRun) lookAtNewborn(state *vhdtest.MemFS, n *newborn) error {
	if n == nil {
		return nil
	}
	if _, err := state.Stat(n.name); errors.Is(err, fs.ErrNotExist) && !n.safely {
		return nil
	}
	if _, err := r.lookAtImage(state, n.name, n.reads); err != nil {
		return fmt.Errorf("the new image %s: %w", n.name, err)
	}
	return nil
}

// recover opens for writing what a crash left, which reads as seen, writes, and
// looks at crashes meanwhile.
func (r *crashRun) recover(state *vhdtest.MemFS, seen []byte, how looking) error {
	w := r.world
	defer func(closedWell bool) { r.closedWell = closedWell }(r.closedWell)
	r.closedWell = false // it is in use again
	storage := vhdtest.NewCrashFS(state, w.leaf.storage)
	storage.OnOp = func(vhdtest.Op) {
		if r.failure == nil && r.rng.IntN(4) == 0 {
			r.look(storage.Crash(r.rng), how-1)
		}
	}
	disk, err := vhd.Open(w.leafIn(state), &vhd.Options{FS: storage, Writable: true})
	if err != nil {
		return fmt.Errorf("P3: %w", err)
	}
	if disk.Chain()[0].NeedsRecovery() {
		return errors.New("P3: opened for writing, it still needs recovery")
	}
	content, err := readWhole(disk)
	if err != nil {
		return err
	}
	if !bytes.Equal(seen, content) {
		return errors.New("P3: it reads otherwise than before")
	}
	return r.goOn(storage, disk, content)
}

// goOn writes a sector of a disk that was recovered, and closes it.
func (r *crashRun) goOn(storage *vhdtest.CrashFS, disk *vhd.Disk, content []byte) error {
	name := disk.Chain()[0].Name()
	before := r.world.promise
	defer func() { r.world.promise = before }()
	sector := r.rng.IntN(len(content) / vhd.SectorSize)
	fresh := stamp(sector, -1)
	r.world.promise = before.with(sector, fresh)
	if _, err := disk.WriteAt(fresh, int64(sector)*vhd.SectorSize); err != nil {
		return err
	}
	if err := disk.Close(); err != nil {
		return err
	}
	copy(sectorOfContent(content, sector), fresh)
	r.world.promise, r.closedWell = newPromise(content), true
	r.look(storage.Crash(r.rng), reading)
	if sector%8 != 0 { // now and then is enough
		return nil
	}
	storage.OnOp = nil
	return checkClosed(storage, name)
}

// checkClosed is what a check finds in the leaf once it was recovered and closed. Blocks may be left that nothing leads
// to; the file ends behind the last one.
func checkClosed(fsys vhd.FS, name string) error {
	report, err := vhd.Check(context.Background(), name, vhd.CheckOptions{Options: vhd.Options{FS: fsys}})
	if err != nil {
		return err
	}
	for _, f := range report.Findings {
		if f.Severity == vhd.SeverityError || f.Code == "slack" {
			return fmt.Errorf("%s: %s", f.Code, f.Message)
		}
	}
	return nil
}

// atRandom looks at one crash before every change, and at every third into crashes
// of recovering from crashes too. A program that changes very much is looked at
// now and then only.
func atRandom(r *crashRun) {
	const many = 200
	if r.points >= many && r.step.op != closeAtTheEnd && r.rng.IntN(16) != 0 {
		return
	}
	r.points++
	how := recovering
	if r.rng.IntN(3) == 0 {
		how = recoveringAgain
	}
	r.look(r.world.storage.Crash(r.rng), how)
}

var everyOrder = []vhdtest.Order{vhdtest.AnyOrder, vhdtest.AppendOrder, vhdtest.PrefixOrder}

// crashLeaves are the kinds of leaf that programs drawn at random run on: small,
// so that a few writes touch everything.
func crashLeaves() []leafKind {
	var leaves []leafKind
	add := func(kind string, blockSize int64, parent, leaf vhd.DiskType, order vhdtest.Order, space vhdtest.Space) {
		name := fmt.Sprintf("%s of %d byte blocks, order %d", kind, blockSize, order)
		size := int64(48 << 10)
		if blockSize == 512 {
			size = 80 << 10 // a BAT of two sectors
		}
		leaves = append(leaves, leafKind{
			name: name, size: size, blockSize: blockSize, parent: parent, leaf: leaf, storage: vhdtest.CrashOptions{Order: order, Space: space},
		})
	}
	for _, order := range everyOrder {
		for _, blockSize := range []int64{512, 4096, 16 << 10} {
			add("dynamic", blockSize, 0, vhd.Dynamic, order, vhdtest.SpaceZeros)
			add("child of dynamic", blockSize, vhd.Dynamic, vhd.Differencing, order, vhdtest.SpaceStale)
			add("child of dynamic, on clean space,", blockSize, vhd.Dynamic, vhd.Differencing, order, vhdtest.SpaceZeros)
			add("child of fixed, on clean space,", blockSize, vhd.Fixed, vhd.Differencing, order, vhdtest.SpaceZeros)
			add("child of fixed", blockSize, vhd.Fixed, vhd.Differencing, order, vhdtest.SpaceStale)
		}
	}
	add("fixed", 512, 0, vhd.Fixed, vhdtest.AnyOrder, vhdtest.SpaceZeros)
	for _, order := range everyOrder {
		for _, blockSize := range []int64{512, 4096} {
			add("dynamic with small gaps,", blockSize, 0, vhd.Dynamic, order, vhdtest.SpaceZeros)
			add("child with small gaps,", blockSize, vhd.Dynamic, vhd.Differencing, order, vhdtest.SpaceStale)
		}
	}
	for i := range leaves {
		leaves[i].apart = strings.Contains(leaves[i].name, "small gaps")
	}
	return leaves
}

func buildLeaves(t testing.TB, kinds []leafKind) []*leafFiles {
	t.Helper()
	leaves := make([]*leafFiles, len(kinds))
	for i, kind := range kinds {
		var err error
		leaves[i], err = kind.build()
		require.NoError(t, err)
	}
	return leaves
}

// wanted is how many of something a test does: what the variable says, or full,
// or short in short tests. The race detector gets few, for in one goroutine it has
// nothing to find.
func wanted(t testing.TB, variable string, full, short int) int {
	t.Helper()
	if text := os.Getenv(variable); text != "" {
		n, err := strconv.Atoi(text)
		require.NoError(t, err, variable)
		return n
	}
	switch {
	case raceEnabled:
		return max(1, short/5)
	case testing.Short():
		return short
	}
	return full
}

// statesWanted is how many states all tests at random look at together.
func statesWanted(t testing.TB) int {
	t.Helper()
	return wanted(t, "VHD_CRASH_STATES", 100_000, 20_000)
}

// runCrashes runs programs, drawn from seed on, on one kind of leaf after the
// other until that many states were looked at.
func runCrashes(t *testing.T, seed uint64, wanted int) (states, torn int) {
	t.Helper()
	leaves := buildLeaves(t, crashLeaves())
	programs, points := 0, 0
	for ; states < wanted; seed++ {
		leaf := leaves[int(seed)%len(leaves)]
		p := drawProgram(rand.New(rand.NewPCG(seed, 1)), 10, int(leaf.size), crashOperations())
		r := newCrashRun(leaf, seed, atRandom)
		if err := r.run(p); err != nil {
			failShortest(t, leaf, seed, p, err)
		}
		programs, points, states, torn = programs+1, points+r.points, states+r.states, torn+r.torn
	}
	t.Logf("%d programs, %d points, %d states after crashes", programs, points, states)
	return states, torn
}

// failShortest reports a program that breaks a promise, as short as it can be
// made.
func failShortest(t *testing.T, leaf *leafFiles, seed uint64, p program, failure error) {
	t.Helper()
	p, failure = shortest(p, failure, func(p program) error { return failsSoon(leaf, seed, p) })
	failProgram(t, leaf, seed, p, failure)
}

// failProgram reports a program that breaks a promise, and how to see it again.
func failProgram(t *testing.T, leaf *leafFiles, seed uint64, p program, failure error) {
	t.Helper()
	t.Fatalf("%s\n  leaf:    %s\n  program: %v\n  %v\nAgain: VHD_CRASH_SEED=%d VHD_CRASH_LEAF=%q VHD_CRASH_PROGRAM=%q go test -run TestACrashProgramOfYours .",
		promiseIsBroken, leaf.name, p, failure, seed, leaf.name, p)
}

// promiseIsBroken is what all failures of these tests begin with.
const promiseIsBroken = "a promise is broken after a loss of power:"

// shortest leaves out and makes smaller what a program that fails needs not to
// fail.
func shortest(p program, failure error, fails func(program) error) (program, error) {
	for more := true; more; {
		more = false
		for shorter := range p.shorter() {
			if err := fails(shorter); err != nil {
				p, failure, more = shorter, err, true
				break
			}
		}
	}
	return p, failure
}

// failsSoon runs a program with some seeds.
func failsSoon(leaf *leafFiles, seed uint64, p program) error {
	for i := range uint64(5) {
		if err := newCrashRun(leaf, seed+i, atRandom).run(p); err != nil {
			return err
		}
	}
	return nil
}

// A failure tells the program, the leaf and the seed with which to see it again.
func TestACrashProgramOfYours(t *testing.T) {
	text := os.Getenv("VHD_CRASH_PROGRAM")
	if text == "" {
		t.Skip("runs what VHD_CRASH_PROGRAM, VHD_CRASH_LEAF and VHD_CRASH_SEED say")
	}
	p, err := parseProgram(text)
	require.NoError(t, err)
	seed, err := strconv.ParseUint(os.Getenv("VHD_CRASH_SEED"), 10, 64)
	require.NoError(t, err)
	leaf := leafCalled(t, os.Getenv("VHD_CRASH_LEAF"))
	failure := failsSoon(leaf, seed, p)
	if failure == nil && leaf.size <= 8*vhd.SectorSize {
		failure = newEveryCrash().run(leaf, p)
	}
	if failure != nil {
		failProgram(t, leaf, seed, p, failure)
	}
}

// leafCalled is the kind of leaf of any of these tests that has the name.
func leafCalled(t testing.TB, name string) *leafFiles {
	t.Helper()
	leaves := buildLeaves(t, slices.Concat(crashLeaves(), tinyLeaves()))
	for _, order := range everyOrder {
		leaves = append(leaves, unfinishedLeaves(t, order)...)
		leaves = append(leaves, resizedLeaves(t, order)...)
	}
	i := slices.IndexFunc(leaves, func(l *leafFiles) bool { return l.name == name })
	require.GreaterOrEqual(t, i, 0, "no leaf is called %q", name)
	return leaves[i]
}

func TestP1WhatWasSyncedIsDurable(t *testing.T) {
	t.Parallel()
	runCrashes(t, 1<<32, statesWanted(t)/4)
}

func TestP2SectorsInFlightAreOldOrNew(t *testing.T) {
	t.Parallel()
	runCrashes(t, 2<<32, statesWanted(t)/4)
}

func TestP3EveryCrashOpensAndRecovers(t *testing.T) {
	t.Parallel()
	runCrashes(t, 3<<32, statesWanted(t)/4)
}

// P4 promises nothing. That writes of several sectors are found done in part
// shows that the storage of these tests does what P1 to P3 are tested against.
func TestP4WritesOfSeveralSectorsAreNotAtomic(t *testing.T) {
	t.Parallel()
	_, torn := runCrashes(t, 4<<32, statesWanted(t)/4)
	require.Positive(t, torn)
}

func TestAProgramIsReadBackFromItsText(t *testing.T) {
	for seed := range uint64(200) {
		p := drawProgram(rand.New(rand.NewPCG(seed, 4)), 10, 48<<10, crashOperations())
		again, err := parseProgram(p.String())
		require.NoError(t, err)
		require.Equal(t, p.String(), again.String())
	}
	for _, text := range []string{"", "fly", "write x", "sync | write 0+512", "sync | 1 fly", "write 0+512x", "write 0+512 "} {
		_, err := parseProgram(text)
		require.Error(t, err, "%q", text)
	}
}

// A program that fails whenever it writes sector 3 is shown as that write alone.
func TestAProgramThatFailsIsShownAsShortAsCanBe(t *testing.T) {
	p, err := parseProgram("zero 0+4096; write 100+9000; sync | 1 write 512+512 | 2 zero 0+512; write 1024+1024; reopen")
	require.NoError(t, err)
	fails := func(p program) error {
		for _, s := range p {
			if s.op.name == "write" && s.off <= 3*512 && s.off+s.n >= 4*512 {
				return errors.New("sector 3")
			}
		}
		return nil
	}
	shortened, failure := shortest(p, fails(p), fails)
	require.EqualError(t, failure, "sector 3")
	require.Equal(t, "write 1024+1024", shortened.String())
}
