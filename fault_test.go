package vhd_test

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// Programs on storage whose k-th call fails, for every k: nobody is told that
// all is well, no byte is wrong, and what was durable is there again after a
// restart.

// faultKind is a way for a call to fail.
type faultKind struct {
	name  string
	fault vhdtest.Fault
	told  error // what the caller gets; nil: the fault's error, or EIO
	among error // likewise, of an image that is looked at among others
}

var faultKinds = []faultKind{
	{name: "a change, for once", fault: vhdtest.Fault{}},
	{name: "all changes from there on", fault: vhdtest.Fault{Forever: true}},
	{name: "a write in its middle", fault: vhdtest.Fault{Short: true, Match: isKind(vhdtest.OpWrite)}},
	{name: "a write in its middle, without a word", fault: vhdtest.Fault{Short: true, Silent: true, Match: isKind(vhdtest.OpWrite)}, told: io.ErrShortWrite},
	{name: "no space, in the middle of a write", fault: vhdtest.Fault{Short: true, Err: syscall.ENOSPC, Match: isKind(vhdtest.OpWrite)}},
	{name: "no space, for good", fault: vhdtest.Fault{Short: true, Forever: true, Err: syscall.ENOSPC, Match: isKind(vhdtest.OpWrite)}},
	{name: "no space, and no way back", fault: vhdtest.Fault{Forever: true, Err: syscall.ENOSPC, Match: isKind(vhdtest.OpWrite, vhdtest.OpTruncate)}},
	{name: "an fsync", fault: vhdtest.Fault{Match: isKind(vhdtest.OpSync)}},
	{name: "all fsyncs from there on", fault: vhdtest.Fault{Forever: true, Match: isKind(vhdtest.OpSync)}},
	{name: "a read", fault: vhdtest.Fault{All: true, Match: isKind(vhdtest.OpRead)}},
	{name: "a read in its middle", fault: vhdtest.Fault{All: true, Short: true, Match: isKind(vhdtest.OpRead)}},
	{name: "a read that finds the file's end", fault: vhdtest.Fault{All: true, Short: true, Err: io.EOF, Match: isKind(vhdtest.OpRead)}, told: vhd.ErrFormat, among: io.ErrUnexpectedEOF},
	{name: "all reads from there on", fault: vhdtest.Fault{All: true, Forever: true, Match: isKind(vhdtest.OpRead)}},
	{name: "any call", fault: vhdtest.Fault{All: true}},
	{name: "all calls from there on", fault: vhdtest.Fault{All: true, Forever: true}},
}

func isKind(kinds ...vhdtest.OpKind) func(vhdtest.Op) bool {
	return func(op vhdtest.Op) bool { return slices.Contains(kinds, op.Kind) }
}

// faultRun is one run of a program on storage that fails at one point.
type faultRun struct {
	world  *world
	faults *vhdtest.FaultFS
	kind   faultKind
	looks  *crashRun
	looked bool // after the first failure

	closedWell bool // Close has returned nil
}

func newFaultRun(leaf *leafFiles, seed uint64, kind faultKind, at int) *faultRun {
	rng := rand.New(rand.NewPCG(seed, 2))
	r := &faultRun{world: newWorld(leaf, rng), kind: kind}
	r.faults = vhdtest.NewFaultFS(r.world.storage)
	r.world.faults = r.faults
	r.looks = &crashRun{world: r.world, rng: rng, faulty: true}
	fault := kind.fault
	fault.At = at
	r.faults.Arm(fault)
	return r
}

var readItAll = &operation{name: "read", run: func(w *world, _ step) error { return w.readLive() }}

// run runs a program between an Open and a Close, each step followed by a read
// of all.
func (r *faultRun) run(p program) (failure error) {
	defer func() {
		if p := recover(); p != nil {
			failure = fmt.Errorf("panic: %v", p)
		}
	}()
	steps := program{{op: openFirst}}
	for _, s := range p {
		steps = append(steps, s, step{op: readItAll})
	}
	for _, s := range append(steps, step{op: closeAtTheEnd}) {
		if err := r.runStep(s); err != nil {
			return fmt.Errorf("%v: %w", s, err)
		}
	}
	r.looks.closedWell = r.closedWell
	return r.lookAround()
}

// runStep runs a step. Whatever fails in it, the disk can be read as before, or
// it is broken and says so; then it goes on after a restart.
func (r *faultRun) runStep(s step) error {
	before := r.faults.Fired()
	stepErr := r.world.run(&s)
	fired := r.faults.Fired() > before
	var err error
	r.faults.Unharmed(func() {
		switch {
		case stepErr != nil && !fired && !r.kind.fault.Forever:
			err = fmt.Errorf("nothing failed: %w", stepErr)
		case stepErr != nil:
			err = r.goOnAfter(s, stepErr)
		case fired && r.kind.isOf(vhdtest.OpSync):
			err = errors.New("an fsync failed, and nobody was told")
		case s.op == closeAtTheEnd:
			r.closedWell = true
		default:
			err = r.world.readLive()
		}
	})
	return err
}

// isToldBy says whether an error tells of the fault.
func (k faultKind) isToldBy(err error) bool {
	if parent, ok := errors.AsType[*vhd.ParentError](err); ok && len(parent.Attempts) > 0 {
		return slices.ContainsFunc(parent.Attempts, func(a vhd.ParentAttempt) bool { return k.isToldBy(a.Err) })
	}
	return errors.Is(err, cmp.Or(k.told, k.fault.Err, error(syscall.EIO))) || k.among != nil && errors.Is(err, k.among)
}

func (k faultKind) isOf(kind vhdtest.OpKind) bool {
	return k.fault.Match != nil && k.fault.Match(vhdtest.Op{Kind: kind})
}

// goOnAfter goes on after a step that failed.
func (r *faultRun) goOnAfter(s step, stepErr error) error {
	w := r.world
	file, _ := errors.AsType[*vhd.FileError](stepErr)
	ofLeaf := file != nil && file.Name == w.leafName()
	switch {
	case ofLeaf && errors.Is(stepErr, vhd.ErrBroken) && r.kind.isToldBy(stepErr):
		if err := r.requireBroken(s); err != nil {
			return err
		}
		return w.losePower(step{})
	case !r.kind.isToldBy(stepErr):
		return fmt.Errorf("not what failed: %w", stepErr)
	case ofLeaf && r.kind.isOf(vhdtest.OpSync):
		return fmt.Errorf("an fsync failed, and the disk is not broken: %w", stepErr)
	}
	if !r.looked {
		r.looked = true
		if err := r.lookAround(); err != nil {
			return err
		}
	}
	if err := w.readLive(); !errors.Is(err, vhd.ErrClosed) {
		return err
	}
	if err := w.open(); err != nil {
		return fmt.Errorf("opened again: %w", err)
	}
	content, err := readWhole(w.disk)
	if err != nil {
		return err
	}
	return w.promise.reopened(content)
}

// requireBroken says that nothing can be done with a broken disk but to close it,
// once.
func (r *faultRun) requireBroken(s step) error {
	d := r.world.disk
	if d == nil { // it broke while it was opened
		return nil
	}
	want := vhd.ErrBroken
	if s.op == closeAtTheEnd || s.op.name == "reopen" {
		want = vhd.ErrClosed
	}
	_, readErr := d.ReadAt(make([]byte, 1), 0)
	_, writeErr := d.WriteAt([]byte{1}, 0)
	for _, err := range []error{readErr, writeErr, d.WriteZeroes(0, 1), d.Sync(), d.Close()} {
		if !errors.Is(err, want) {
			return fmt.Errorf("a broken disk says %w, not %w", err, want)
		}
	}
	return nil
}

// lookAround looks at what is found if the process ends here, and if the power
// does.
func (r *faultRun) lookAround() error {
	r.looks.look(r.world.storage.Live(), recovering)
	r.looks.look(r.world.storage.Crash(r.world.rng), recovering)
	return r.looks.failure
}

// faultLeaves are kinds of leaf on which a program makes few calls.
func faultLeaves() []leafKind {
	var leaves []leafKind
	for _, blockSize := range []int64{512, 2048, 4096} {
		for _, parent := range []vhd.DiskType{0, vhd.Fixed, vhd.Dynamic} {
			k := leafKind{name: fmt.Sprintf("dynamic of %d byte blocks", blockSize), size: 12 << 10, blockSize: blockSize, leaf: vhd.Dynamic}
			if parent != 0 {
				k.name, k.parent, k.leaf = fmt.Sprintf("child, of %d byte blocks, of a %v disk", blockSize, parent), parent, vhd.Differencing
			}
			leaves = append(leaves, k)
		}
	}
	uncached, apart := leaves[0], leaves[3]
	uncached.name, uncached.cacheSize = "dynamic, nothing is cached", 1
	apart.name, apart.apart = "dynamic of 2048 byte blocks, with small gaps", true
	return append(leaves, uncached, apart, leafKind{name: "fixed", size: 12 << 10, blockSize: 512, leaf: vhd.Fixed})
}

func TestEveryFaultIsToldAndLosesNothing(t *testing.T) {
	t.Parallel()
	points := map[string]int{}
	total := 0
	leaves := append(buildLeaves(t, faultLeaves()), unfinishedLeaves(t, vhdtest.AnyOrder)...)
	short, err := parseProgram("zero 0+4096; write 4096+512; sync")
	require.NoError(t, err)
	for seed := 0; total < wanted(t, "VHD_FAULT_POINTS", 20_000, 5_500); seed++ {
		leaf := leaves[seed%len(leaves)]
		p := short
		if seed >= len(leaves) {
			p = drawProgram(rand.New(rand.NewPCG(uint64(seed), 3)), 4, int(leaf.size), operations)
		}
		for _, kind := range faultKinds {
			n := failEveryCall(t, leaf, uint64(seed), p, kind)
			points[kind.name] += n
			total += n
		}
	}
	for _, kind := range faultKinds {
		require.Positive(t, points[kind.name], kind.name)
	}
	t.Logf("%d points: %v", total, points)
}

// failEveryCall runs a program again and again, each time with another call that
// fails, until none is left, and returns how many there were.
func failEveryCall(t *testing.T, leaf *leafFiles, seed uint64, p program, kind faultKind) int {
	t.Helper()
	for at := 1; ; at++ {
		r := newFaultRun(leaf, seed, kind, at)
		if err := r.run(p); err != nil {
			t.Fatalf("%s\n  leaf:    %s\n  program: %v\n  fault:   %s, number %d\n  seed:    %d\n  %v",
				promiseIsBroken, leaf.name, p, kind.name, at, seed, err)
		}
		if r.faults.Fired() == 0 {
			return at - 1
		}
	}
}

// A growth that moved the footer and could not wipe the old one had its place
// taken for fresh space.
func TestW10AFooterThatCouldNotBeWipedIsNotReadAsData(t *testing.T) {
	p, err := parseProgram("write 3195+4855; grow")
	require.NoError(t, err)
	for _, leaf := range buildLeaves(t, faultLeaves()) {
		require.Positive(t, failEveryCall(t, leaf, 1, p, faultKinds[0]))
	}
}

// A Rebase gives the leaf its time back at its end, once all is durable that nobody else asked for: the fsync
// for that broke the disk, and the Rebase said that all was well.
func TestARebaseTellsThatItsLastFsyncFailed(t *testing.T) {
	p, err := parseProgram("write 7168+5120; revert 9794+2291; rebase | 0 zero 0+12288")
	require.NoError(t, err)
	for _, leaf := range buildLeaves(t, faultLeaves()) {
		if leaf.leaf == vhd.Differencing {
			require.Positive(t, failEveryCall(t, leaf, 31, p, faultKinds[0]))
		}
	}
}
