package vhd_test

import (
	"hash/maphash"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// tinyLeaves are of eight sectors, in two blocks if there are blocks.
func tinyLeaves() []leafKind {
	tiny := func(name string, parent, leaf vhd.DiskType, order vhdtest.Order, space vhdtest.Space) leafKind {
		return leafKind{
			name: name, size: 8 * vhd.SectorSize, blockSize: 4 * vhd.SectorSize, parent: parent, leaf: leaf,
			storage: vhdtest.CrashOptions{Order: order, Space: space},
		}
	}
	apart := func(k leafKind) leafKind {
		k.apart = true
		return k
	}
	return []leafKind{
		tiny("fixed", 0, vhd.Fixed, vhdtest.AnyOrder, vhdtest.SpaceZeros),
		tiny("dynamic", 0, vhd.Dynamic, vhdtest.AnyOrder, vhdtest.SpaceZeros),
		tiny("dynamic, appends in order", 0, vhd.Dynamic, vhdtest.AppendOrder, vhdtest.SpaceZeros),
		tiny("child", vhd.Dynamic, vhd.Differencing, vhdtest.AnyOrder, vhdtest.SpaceZeros),
		tiny("child, garbage in new space", vhd.Dynamic, vhd.Differencing, vhdtest.AnyOrder, vhdtest.SpaceNoise),
		tiny("child, appends in order", vhd.Fixed, vhd.Differencing, vhdtest.AppendOrder, vhdtest.SpaceZeros),
		apart(tiny("dynamic with small gaps", 0, vhd.Dynamic, vhdtest.AnyOrder, vhdtest.SpaceZeros)),
		apart(tiny("child with small gaps", vhd.Dynamic, vhd.Differencing, vhdtest.AnyOrder, vhdtest.SpaceZeros)),
	}
}

// eachWorkload calls f with every sequence of so many of the short steps of all
// operations. The program is f's until it returns.
func eachWorkload(t testing.TB, length int, f func(p program)) {
	t.Helper()
	var steps program
	for _, op := range operations {
		if length > 2 && op.life && os.Getenv("VHD_CRASH_STEPS") == "" {
			continue
		}
		for _, text := range op.short {
			p, err := parseProgram(text)
			require.NoError(t, err)
			steps = append(steps, p...)
		}
	}
	p := make(program, length)
	var fill func(at int)
	fill = func(at int) {
		if at == length {
			f(p)
			return
		}
		for _, s := range steps {
			p[at] = s
			fill(at + 1)
		}
	}
	fill(0)
}

// everyCrash looks at every state that a crash can leave in a program's last
// step, in the Close that follows, and behind them. Those of the steps before are
// looked at in programs that end there. Crashes of recovering are drawn.
type everyCrash struct {
	seed      maphash.Seed
	recovered map[uint64]bool // by hash of the files: what is recovered from is in them alone
	read      map[uint64]bool // likewise, as long as the same may be read

	last    *step
	changes int // of the promise
	states  int // looked at
}

func newEveryCrash() *everyCrash {
	return &everyCrash{seed: maphash.MakeSeed(), recovered: map[uint64]bool{}, read: map[uint64]bool{}}
}

// run runs a program on the leaf, which is the same at every call.
func (e *everyCrash) run(leaf *leafFiles, p program) error {
	clear(e.read)
	e.last = &p[len(p)-1]
	r := newCrashRun(leaf, 1, e.choose)
	err := r.run(p)
	e.states += r.states
	return err
}

func (e *everyCrash) choose(r *crashRun) {
	if r.step != e.last && r.step.op != closeAtTheEnd {
		return
	}
	if changes := r.world.promise.changes; changes != e.changes {
		clear(e.read)
		e.changes = changes
	}
	for pick := range vhdtest.EveryPick() {
		state := r.world.storage.CrashWith(pick, crashingNames...)
		hash := e.hash(state)
		if e.read[hash] {
			continue
		}
		how := recovering
		if e.recovered[hash] {
			how = reading
		}
		e.read[hash], e.recovered[hash] = true, true
		if r.look(state, how); r.failure != nil {
			return
		}
	}
}

// crashingNames are of the files that short workloads change.
var crashingNames = []string{baseName, leafName, newName, flatName, "snapshot-1.vhd", "snapshot-2.vhd", "snapshot-3.vhd"}

func (e *everyCrash) hash(state *vhdtest.MemFS) uint64 {
	var h maphash.Hash
	h.SetSeed(e.seed)
	for _, name := range crashingNames {
		if file, err := state.ReadFile(name); err == nil {
			_, _ = h.WriteString(name)
			_, _ = h.Write(file)
		}
	}
	return h.Sum64()
}

// stepsWanted is of how many steps the workloads are at the most. What garbage is
// in new space makes many states of each, and so do gaps that are closed.
func stepsWanted(t testing.TB, leaf *leafFiles) int {
	t.Helper()
	full := 3
	if leaf.storage.Space != vhdtest.SpaceZeros || leaf.apart {
		full = 2
	}
	return wanted(t, "VHD_CRASH_STEPS", full, 2)
}

// oneWorkloadIn says how many of the workloads like p are tried, unless all are asked for: of those
// of three steps, one in sixteen, and of those of two with an operation of the life of a chain, which
// makes many changes, one in eight.
func oneWorkloadIn(p program) int {
	switch {
	case os.Getenv("VHD_CRASH_STEPS") != "":
		return 1
	case len(p) > 2:
		return 16
	case len(p) == 2 && slices.ContainsFunc(p, func(s step) bool { return s.op.life }):
		return 8
	}
	return 1
}

func TestEveryCrashOfEveryShortWorkloadKeepsThePromise(t *testing.T) {
	t.Parallel()
	for _, leaf := range buildLeaves(t, tinyLeaves()) {
		t.Run(leaf.name, func(t *testing.T) {
			t.Parallel()
			every := newEveryCrash()
			workloads, n := 0, 0
			for length := 1; length <= stepsWanted(t, leaf); length++ {
				eachWorkload(t, length, func(p program) {
					if n++; n%oneWorkloadIn(p) != 0 {
						return
					}
					if err := every.run(leaf, p); err != nil {
						failProgram(t, leaf, 1, p, err)
					}
					workloads++
				})
			}
			t.Logf("%d workloads, %d states after crashes, %d recovered from", workloads, every.states, len(every.recovered))
		})
	}
}
