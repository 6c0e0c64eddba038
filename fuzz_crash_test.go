package vhd_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzCrashProgram runs a program as text, on one of the kinds of leaf, on
// storage that loses power before each of its changes, or whose calls fail.
func FuzzCrashProgram(f *testing.F) {
	for i, text := range []string{
		"write 512+1024; sync | 2 write 0+512; zero 0+4096; reopen",
		"grow; sync; write 700+1; sync | 1 write 1024+512; create",
		"zero 0+2048; write 0+512; sync | 0 zero 0+4096; write 4096+4096",
	} {
		f.Add(text, uint8(i), uint64(i))
	}
	rng := rand.New(rand.NewPCG(1, 6))
	for i := range uint64(20) {
		f.Add(drawProgram(rng, 6, 4096, operations).String(), uint8(i), i)
	}
	leaves := buildLeaves(f, append(tinyLeaves(), faultLeaves()...))
	f.Fuzz(func(t *testing.T, text string, kind uint8, seed uint64) {
		leaf := leaves[int(kind)%len(leaves)]
		p, err := parseProgram(text)
		if err != nil || !p.fits(leaf) {
			t.Skip("no program for this disk")
		}
		require.NoError(t, newCrashRun(leaf, seed, seldom).run(p), promiseIsBroken)
		fault := faultKinds[seed%uint64(len(faultKinds))]
		require.NoError(t, newFaultRun(leaf, seed, fault, 1+int(seed/16%64)).run(p), "%s %s", promiseIsBroken, fault.name)
	})
}

// seldom looks at few crashes: the fuzzer comes again.
func seldom(r *crashRun) {
	if r.states < 20 && r.rng.IntN(4) == 0 {
		r.look(r.world.storage.Crash(r.rng), recovering)
	}
}

// fits says whether a program is short, its pieces lie on the leaf's disk, and
// what happens beside its steps can.
func (p program) fits(leaf *leafFiles) bool {
	if len(p) > 12 {
		return false
	}
	for _, s := range p {
		if s.op.name == "crash" || !s.fits(leaf) || !s.letsIn() || len(s.beside) > 4 {
			return false
		}
		for _, b := range s.beside {
			if b.op.most == 0 || b.op.alone || !b.fits(leaf) {
				return false
			}
		}
	}
	return true
}

func (s step) fits(leaf *leafFiles) bool {
	if s.op.most == 0 {
		return s.n == 0
	}
	if s.op.alone {
		return s.off >= 0 && s.n > 0 && s.off <= int(leaf.size) && s.n <= int(leaf.size)
	}
	return s.off >= 0 && s.n > 0 && s.n <= int(leaf.size) && s.off <= int(leaf.size)-s.n
}
