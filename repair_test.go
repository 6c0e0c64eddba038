package vhd_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

const repaired = "d/disk.vhd"

func repairOptions(fsys vhd.FS) vhd.RepairOptions {
	return vhd.RepairOptions{Options: vhd.Options{FS: fsys}}
}

// stepCodes are the codes of a report's steps, each once, in order.
func stepCodes(report *vhd.Report) []string {
	codes := []string{}
	for _, s := range report.Steps {
		codes = append(codes, s.Code)
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// sectorsOf is what each sector of an image alone reads as; nil where it can't be read. An image that does not open has
// none.
func sectorsOf(t testing.TB, fsys vhd.FS, name string) [][]byte {
	t.Helper()
	d, err := vhd.Open(name, &vhd.Options{FS: fsys, NoParents: true})
	if err != nil {
		return nil
	}
	defer func() { require.NoError(t, d.Close()) }()
	sectors := make([][]byte, min(d.Size()/vhd.SectorSize, 64<<10))
	for i := range sectors {
		p := make([]byte, vhd.SectorSize)
		if _, err := d.ReadAt(p, int64(i)*vhd.SectorSize); err == nil {
			sectors[i] = p
		}
	}
	return sectors
}

// requireSameSectors makes sure that what could be read reads the same, and that nothing was made up for what could not,
// unless none could.
func requireSameSectors(t testing.TB, before, after [][]byte) {
	t.Helper()
	if before == nil {
		return
	}
	require.Len(t, after, len(before))
	for i := range before {
		require.True(t, (before[i] == nil) == (after[i] == nil) && bytes.Equal(before[i], after[i]), "sector %d", i)
	}
}

// requireRepaired repairs d/disk.vhd and holds the repair to all that is promised of any. It returns the report, and
// leaves the image repaired.
func requireRepaired(t testing.TB, mem *vhdtest.MemFS) (*vhd.Report, error) {
	t.Helper()
	before, sectors := mustReadFile(t, mem, repaired), sectorsOf(t, mem, repaired)
	planned, planErr := requireNoChange(t, mem, true)
	report, err := vhd.Repair(t.Context(), repaired, repairOptions(mem))
	if planErr != nil {
		require.EqualError(t, err, planErr.Error())
		require.Nil(t, report)
		requireBytes(t, before, mustReadFile(t, mem, repaired))
		return nil, err
	}
	require.NoError(t, err)
	require.Equal(t, planned.Steps, report.Steps)
	require.Equal(t, planned.Findings, report.Findings)
	requireSameSectors(t, sectors, sectorsOf(t, mem, repaired))
	requireNothingMendable(t, mem, report)
	if len(report.Steps) == 0 {
		require.Empty(t, report.Undo)
		requireBytes(t, before, mustReadFile(t, mem, repaired))
		return report, nil
	}
	require.NotEmpty(t, report.Undo)
	requireUndone(t, mem, report.Undo, before)
	return report, nil
}

// requireBytes compares files without printing them.
func requireBytes(t testing.TB, want, got []byte) {
	t.Helper()
	require.True(t, bytes.Equal(want, got), "the files differ: %d and %d bytes", len(want), len(got))
}

// requireNoChange repairs and makes sure that nothing is changed, nor opened to be.
func requireNoChange(t testing.TB, mem *vhdtest.MemFS, dry bool) (*vhd.Report, error) {
	t.Helper()
	rec := vhdtest.NewRecordFS(mem)
	opts := repairOptions(rec)
	opts.DryRun = dry
	report, err := vhd.Repair(t.Context(), repaired, opts)
	for _, op := range rec.Ops() {
		require.False(t, op.Mutates(), "%v", op)
		require.False(t, dry && op.Kind == vhdtest.OpOpen && op.Flag != os.O_RDONLY, "%v", op)
		require.True(t, op.Name == repaired, "%v", op)
	}
	if err == nil {
		require.Empty(t, report.Undo)
	}
	return report, err
}

// requireNothingMendable makes sure that the report is right about what remains, and that a second repair has nothing to
// do.
func requireNothingMendable(t testing.TB, mem *vhdtest.MemFS, report *vhd.Report) {
	t.Helper()
	requireOrdered(t, report)
	found, err := checkIn(t, mem, vhd.CheckOptions{})
	require.NoError(t, err)
	require.Equal(t, allCodes(found), allCodes(report))
	again, err := requireNoChange(t, mem, false)
	require.NoError(t, err)
	require.Empty(t, again.Steps)
	require.Equal(t, report.Findings, again.Findings)
	d, err := vhd.Open(repaired, &vhd.Options{FS: mem.Clone(), NoParents: true, Writable: true})
	if err == nil {
		require.NoError(t, d.Close())
	}
	require.Equal(t, err == nil, len(errorsIn(report)) == 0, "%v: %+v", err, report.Findings)
}

// requireUndone takes a repair back in a copy of the files, twice.
func requireUndone(t testing.TB, mem *vhdtest.MemFS, undo string, want []byte) {
	t.Helper()
	mem = mem.Clone()
	opts := repairOptions(mem)
	opts.Undo = undo
	left := mustReadFile(t, mem, repaired)
	opts.DryRun = true
	require.NoError(t, vhd.UndoRepair(t.Context(), repaired, opts))
	requireBytes(t, left, mustReadFile(t, mem, repaired))
	opts.DryRun = false
	for range 2 {
		require.NoError(t, vhd.UndoRepair(t.Context(), repaired, opts))
		requireBytes(t, want, mustReadFile(t, mem, repaired))
	}
}

func putDisk(t testing.TB, file []byte) *vhdtest.MemFS {
	t.Helper()
	mem := vhdtest.NewMemFS()
	require.NoError(t, mem.WriteFile(repaired, file))
	return mem
}

func TestRepairMendsWhatWasPlanted(t *testing.T) {
	for _, f := range slices.Concat(plantedInFooters, plantedInHeaders, plantedInBlocks) {
		t.Run(f.code, func(t *testing.T) {
			report, err := requireRepaired(t, putDisk(t, f.file(t)))
			require.NoError(t, err)
			t.Logf("%v -> %v", stepCodes(report), allCodes(report))
			for _, s := range report.Steps {
				t.Log(s.Code, s.Offset, s.Message)
			}
		})
	}
}

func TestRepairOfHostileImages(t *testing.T) {
	for _, recipe := range vhdtest.HostileRecipes() {
		t.Run(recipe.Name, func(t *testing.T) {
			mem := putHostile(t, recipe.Make(t))
			report, err := requireRepaired(t, mem)
			if err != nil {
				t.Log(err)
				return
			}
			t.Logf("%v -> %v", stepCodes(report), allCodes(report))
		})
	}
}

var _ = context.Canceled
var _ = fs.ErrExist
