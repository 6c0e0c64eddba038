package vhd_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// mendable are images of which a repair mends something: those with one flaw, and some with many.
func mendable(t testing.TB) []damagedImage {
	t.Helper()
	var images []damagedImage
	for i, f := range slices.Concat(plantedInFooters, plantedInHeaders, plantedInBlocks) {
		file := f.file(t)
		opts := repairOptions(putDisk(t, file))
		opts.DryRun = true
		report, err := vhd.Repair(t.Context(), repaired, opts)
		require.NoError(t, err)
		if len(report.Steps) > 0 {
			images = append(images, damagedImage{fmt.Sprintf("%s, number %d", f.code, i), file})
		}
	}
	require.Greater(t, len(images), 20)
	for _, d := range badlyDamaged {
		images = append(images, damagedImage{d.name, d.file(t)})
	}
	return images
}

type damagedImage struct {
	name string
	file []byte
}

// badlyDamaged are images with several flaws.
var badlyDamaged = []struct {
	name  string
	file  func(t testing.TB) []byte
	steps []string
}{
	{
		"the end footer lost, the last block cut off, and another one at its place", altered(disk(func(img *vhdtest.Image) {
			img.Blocks[1].Cut, img.Footer = checkedBlock/2, vhdtest.FooterZeroed
		}), entry(1, checkedSecond/512)),
		[]string{"bat-overlap", "block-cut", "footer-lost"},
	},
	{
		"the last block cut off, and another one at its place, and a lost copy", altered(disk(func(img *vhdtest.Image) {
			img.Blocks[1].Cut, img.Copy = checkedBlock/2, vhdtest.CopyLost
		}), entry(3, checkedSecond/512)),
		[]string{"bat-overlap", "block-cut", "copy-lost"},
	},
	{
		"a last block cut off within a sector, a footer of 511, and entries behind the disk's end", disk(func(img *vhdtest.Image) {
			img.Blocks[1].Cut, img.Footer = 1000, vhdtest.Footer511
			img.MaxEntries, img.Entries = 8, map[int]uint32{5: 1 << 31, 7: checkedFirst / 512}
		}),
		[]string{"bat-beyond-disk", "block-cut", "footer-511"},
	},
	{
		"all four blocks at one place, and slack", altered(disk(func(img *vhdtest.Image) { img.Slack = 8 * checkedBlock }),
			entry(0, checkedFirst/512), entry(1, checkedFirst/512), entry(3, checkedFirst/512)),
		[]string{"bat-overlap", "slack"},
	},
	{
		"a locator behind the end, a copy lost, the last block cut off, and one over it", altered(child(func(img *vhdtest.Image) {
			img.Blocks[0].Cut, img.Copy = checkedBlock/4, vhdtest.CopyLost
		}), inHead(576+16, 8, 1<<30), entry(2, childFirst/512)),
		[]string{"bat-overlap", "block-cut", "copy-lost", "locator-place"},
	},
	{
		"a locator right behind the end", altered(child(asIs), inHead(576+16, 8, childEnd+512)),
		[]string{"locator-place"},
	},
	{
		"a locator behind the end, where the block that is moved comes to stand", altered(child(asIs), inHead(576+16, 8, childEnd+8192), entry(2, childFirst/512)),
		[]string{"bat-overlap", "locator-place"},
	},
	{
		"a stale batmap, and blocks that overlap", altered(xensDisk(0b11100000, ^uint32(0b11100000)), entry(3, checkedSecond/512-5)),
		[]string{"bat-overlap", "batmap-stale"},
	},
}

func TestRepairMendsSeveralFlawsAtOnce(t *testing.T) {
	for _, d := range badlyDamaged {
		t.Run(d.name, func(t *testing.T) {
			report, err := requireRepaired(t, putDisk(t, d.file(t)))
			require.NoError(t, err)
			require.Equal(t, d.steps, stepCodes(report))
			require.Empty(t, errorsIn(report))
		})
	}
}

// repairCrash is a repair that is stopped before each of its changes.
type repairCrash struct {
	image   damagedImage
	sectors [][]byte
	errors  []string // that a whole repair leaves
	rng     *rand.Rand
	states  int
}

func newRepairCrash(t testing.TB, image damagedImage, seed uint64) *repairCrash {
	t.Helper()
	mem := putDisk(t, image.file)
	c := &repairCrash{image: image, sectors: sectorsOf(t, mem, repaired), rng: rand.New(rand.NewPCG(seed, 13))}
	report, err := vhd.Repair(t.Context(), repaired, repairOptions(mem))
	require.NoError(t, err)
	c.errors = codesOf(report, vhd.SeverityError)
	return c
}

// look looks at what a crash, or the end of the process, left.
func (c *repairCrash) look(t testing.TB, state *vhdtest.MemFS) {
	t.Helper()
	c.states++
	requireSameSectors(t, c.sectors, sectorsOf(t, state, repaired))
	if !slices.Equal(c.image.file, mustReadFile(t, state, repaired)) {
		requireUndone(t, state, repaired+".undo", c.image.file)
	}
	report, err := vhd.Repair(t.Context(), repaired, repairOptions(state))
	require.NoError(t, err)
	require.Equal(t, c.errors, codesOf(report, vhd.SeverityError))
	requireSameSectors(t, c.sectors, sectorsOf(t, state, repaired))
	again, err := requireNoChange(t, state, false)
	require.NoError(t, err)
	require.Empty(t, again.Steps)
}

func TestP3ARepairThatLosesPowerLosesNothingElse(t *testing.T) {
	states, nstates := 0, 4
	if testing.Short() {
		nstates = 1
	}
	for _, order := range everyOrder {
		for i, image := range mendable(t) {
			if testing.Short() && order != vhdtest.AnyOrder {
				continue
			}
			t.Run(fmt.Sprintf("order %d, %s", order, image.name), func(t *testing.T) {
				defer func() {
					if t.Failed() {
						t.Log(promiseIsBroken, image.name)
					}
				}()
				c := newRepairCrash(t, image, uint64(i))
				storage := vhdtest.NewCrashFS(putDisk(t, image.file), vhdtest.CrashOptions{Order: order})
				storage.OnOp = func(vhdtest.Op) {
					c.look(t, storage.Live())
					for range nstates {
						c.look(t, storage.Crash(c.rng))
					}
				}
				report, err := vhd.Repair(t.Context(), repaired, repairOptions(storage))
				require.NoError(t, err)
				storage.OnOp = nil
				require.Zero(t, storage.Unsynced(), "all of it is durable")
				c.look(t, storage.Crash(c.rng))
				c.requireUndoSurvives(t, storage.Live(), report.Undo, order)
				states += c.states
			})
		}
	}
	t.Logf("%d states", states)
}

// requireUndoSurvives stops an undo before each of its changes, and does it again.
func (c *repairCrash) requireUndoSurvives(t *testing.T, left *vhdtest.MemFS, undo string, order vhdtest.Order) {
	t.Helper()
	storage := vhdtest.NewCrashFS(left, vhdtest.CrashOptions{Order: order})
	storage.OnOp = func(vhdtest.Op) { requireUndone(t, storage.Crash(c.rng), undo, c.image.file) }
	opts := repairOptions(storage)
	opts.Undo = undo
	require.NoError(t, vhd.UndoRepair(t.Context(), repaired, opts))
	require.Zero(t, storage.Unsynced())
	requireBytes(t, c.image.file, mustReadFile(t, storage.Live(), repaired))
}

// Whatever call fails, the repair says so, nothing that could be read is lost, and another one does the rest.
func TestARepairTellsOfEveryFault(t *testing.T) {
	t.Parallel()
	for i, d := range badlyDamaged {
		if testing.Short() && i%4 != 0 {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			for _, kind := range faultKinds {
				c := newRepairCrash(t, damagedImage{d.name, d.file(t)}, uint64(i))
				for at := 1; c.failsAt(t, kind, at); at++ {
					require.Less(t, at, 2000)
				}
			}
		})
	}
}

// failsAt has a call fail, and says whether one did.
func (c *repairCrash) failsAt(t testing.TB, kind faultKind, at int) bool {
	t.Helper()
	storage := vhdtest.NewCrashFS(putDisk(t, c.image.file), vhdtest.CrashOptions{})
	faults := vhdtest.NewFaultFS(storage)
	fault := kind.fault
	fault.At = at
	faults.Arm(fault)
	_, err := vhd.Repair(t.Context(), repaired, repairOptions(faults))
	if faults.Fired() == 0 {
		require.NoError(t, err, "%s, number %d", kind.name, at)
		return false
	}
	if err != nil {
		require.True(t, kind.isToldBy(err), "%s, number %d: %v", kind.name, at, err)
	} else {
		require.False(t, kind.isOf(vhdtest.OpSync), "%s, number %d: an fsync failed, and nobody was told", kind.name, at)
	}
	c.look(t, storage.Live())
	c.look(t, storage.Crash(c.rng))
	return true
}
