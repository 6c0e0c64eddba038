package vhd_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// FuzzCheck checks whole files, as they are or with their checksums mended, and holds what is found to what Open says of
// them.
func FuzzCheck(f *testing.F) {
	addFiles(f)
	f.Fuzz(func(t *testing.T, file []byte, mended bool) {
		aloneInMemory(t, input(file, mended)).requireChecked(t)
	})
}

// requireChecked checks the image. What a writer takes as it is has no error, and what it refuses has one, or can't be
// checked at all.
func (s subject) requireChecked(t testing.TB) {
	t.Helper()
	opts := vhd.CheckOptions{Options: s.opts}
	opts.NoParents = false
	var report *vhd.Report
	var err error
	requireLittleMemory(t, func() { report, err = checkIn(t, s.mem, opts) })
	again, againErr := checkIn(t, s.mem, opts)
	require.Equal(t, report, again)
	if err != nil {
		require.EqualError(t, againErr, err.Error())
		requireRefusal(t, err)
	}
	recovers := false
	if d, err := vhd.Open(s.name, &vhd.Options{FS: s.mem, NoParents: true}); err == nil {
		recovers = d.Chain()[0].NeedsRecovery()
		require.NoError(t, d.Close())
	}
	d, openErr := vhd.Open(s.name, &vhd.Options{FS: s.mem, NoParents: true, Writable: true})
	switch {
	case openErr != nil:
		requireRefusal(t, openErr)
		require.True(t, err != nil || len(errorsIn(report)) > 0, "%v", openErr)
		return
	case recovers:
		require.NoError(t, err)
		require.NotEmpty(t, errorsIn(report))
	default:
		require.NoError(t, err)
		require.Empty(t, errorsIn(report))
	}
	require.NoError(t, d.Close())
	after, err := checkIn(t, s.mem, opts)
	require.NoError(t, err)
	require.Empty(t, errorsIn(after), "a writer has mended what was to be mended")
}

// What is broken in structures whose checksums are right is judged as Open judges it.
func TestCheckAgreesWithOpenAfterRandomDamage(t *testing.T) {
	images, n := soundSeeds(t), 3000
	if testing.Short() {
		n = 300
	}
	for seed := range n {
		rng := rand.New(rand.NewPCG(uint64(seed), 7))
		recipe := make([]byte, 60)
		for i := range recipe {
			recipe[i] = byte(rng.Uint32())
		}
		file := vhdtest.Damage(images[seed%len(images)], vhdtest.NewScript(recipe), 4)
		aloneInMemory(t, file).requireChecked(t)
	}
}

// A chain that opens, and of which nothing is to be mended, has no errors.
func TestCheckFindsNoDamageInRandomChains(t *testing.T) {
	n := uint64(60)
	if testing.Short() {
		n = 10
	}
	for seed := range n {
		chain := vhdtest.RandomChain(seed, vhdtest.ChainOptions{MaxSize: 1 << 20, Limits: vhdtest.Anything})
		mem := vhdtest.NewMemFS()
		for name, file := range chain.Files(t) {
			require.NoError(t, mem.WriteFile(name, file))
		}
		leaf := chain.Names[0]
		report, err := vhd.Check(t.Context(), leaf, vhd.CheckOptions{Options: vhd.Options{FS: mem}, Chain: true})
		require.NoError(t, err)
		requireOrdered(t, report)
		d, err := vhd.Open(leaf, &vhd.Options{FS: mem})
		require.NoError(t, err)
		unfinished := map[string]bool{}
		for _, img := range d.Chain() {
			unfinished[img.Name()] = img.NeedsRecovery()
		}
		require.NoError(t, d.Close())
		damaged := map[string]bool{}
		for _, f := range errorsIn(report) {
			damaged[f.Image] = true
		}
		for name, is := range unfinished {
			require.Equal(t, is, damaged[name], "seed %d, %s: %+v", seed, name, report.Findings)
		}
	}
}
