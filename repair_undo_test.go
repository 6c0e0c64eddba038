package vhd_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"io/fs"
	"maps"
	"math"
	"path"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// undoable is an image that was repaired, and the options to undo that.
func undoable(t testing.TB, file []byte) (*vhdtest.MemFS, vhd.RepairOptions) {
	t.Helper()
	mem := putDisk(t, file)
	opts := repairOptions(mem)
	report, err := vhd.Repair(t.Context(), repaired, opts)
	require.NoError(t, err)
	require.NotEmpty(t, report.Steps)
	opts.Undo = report.Undo
	return mem, opts
}

// manyFlaws is an image of which much is mended: blocks move, a footer does, and something is cut off.
func manyFlaws(t testing.TB) []byte {
	t.Helper()
	return badlyDamaged[0].file(t)
}

// What was written since is not lost, where it is more than the content of blocks that were there.
func TestAnUndoIsRefusedAfterWrites(t *testing.T) {
	for name, change := range map[string]func(d *vhd.Disk) error{
		"a write to a block that was moved": func(d *vhd.Disk) error {
			_, err := d.WriteAt([]byte("new"), checkedBlock)
			return err
		},
		"a new block": func(d *vhd.Disk) error {
			_, err := d.WriteAt([]byte("new"), 3*checkedBlock)
			return err
		},
		"a block that is given back": func(d *vhd.Disk) error { return d.WriteZeroes(0, checkedBlock) },
	} {
		t.Run(name, func(t *testing.T) {
			mem, opts := undoable(t, manyFlaws(t))
			d, err := vhd.Open(repaired, &vhd.Options{FS: mem, Writable: true})
			require.NoError(t, err)
			require.NoError(t, change(d))
			require.NoError(t, d.Close())
			before := mustReadFile(t, mem, repaired)
			err = vhd.UndoRepair(t.Context(), repaired, opts)
			require.ErrorIs(t, err, fs.ErrInvalid)
			require.Contains(t, err.Error(), "not what the repair left")
			requireBytes(t, before, mustReadFile(t, mem, repaired))
		})
	}
}

func TestAnUndoLeavesTheContentOfOldBlocksAlone(t *testing.T) {
	mem, opts := undoable(t, manyFlaws(t))
	d, err := vhd.Open(repaired, &vhd.Options{FS: mem, Writable: true})
	require.NoError(t, err)
	_, err = d.WriteAt(fill(7, 512), 2*checkedBlock)
	require.NoError(t, err)
	require.NoError(t, d.Close())
	require.NoError(t, vhd.UndoRepair(t.Context(), repaired, opts))
	want := manyFlaws(t)
	copy(want[checkedFirst+512:], fill(7, 512))
	requireBytes(t, want, mustReadFile(t, mem, repaired))
}

func TestAnUndoIsRefusedForAnotherImage(t *testing.T) {
	mem, opts := undoable(t, manyFlaws(t))
	other := checkedDisk()
	other.ID[0]++
	for _, file := range [][]byte{other.Build(t), checkedChild().Build(t), fixedDisk(t), nil} {
		require.NoError(t, mem.WriteFile(repaired, file))
		require.ErrorIs(t, vhd.UndoRepair(t.Context(), repaired, opts), fs.ErrInvalid)
		requireBytes(t, file, mustReadFile(t, mem, repaired))
	}
	opts.Undo = ""
	require.ErrorIs(t, vhd.UndoRepair(t.Context(), repaired, opts), fs.ErrInvalid)
	opts.Undo = "none"
	require.ErrorIs(t, vhd.UndoRepair(t.Context(), repaired, opts), fs.ErrNotExist)
}

// requireUndoRefused says that an undo file that is damaged changes nothing.
func requireUndoRefused(t testing.TB, mem *vhdtest.MemFS, opts vhd.RepairOptions, undo []byte) {
	t.Helper()
	before := mustReadFile(t, mem, repaired)
	require.NoError(t, mem.WriteFile(opts.Undo, undo))
	err := vhd.UndoRepair(t.Context(), repaired, opts)
	require.ErrorIs(t, err, vhd.ErrFormat)
	require.Contains(t, err.Error(), opts.Undo)
	requireBytes(t, before, mustReadFile(t, mem, repaired))
}

func TestAnUndoFileThatIsDamagedIsRefused(t *testing.T) {
	mem, opts := undoable(t, manyFlaws(t))
	undo := mustReadFile(t, mem, opts.Undo)
	for at := 0; at < len(undo); at += 97 {
		flipped := bytes.Clone(undo)
		flipped[at] ^= 0x10
		requireUndoRefused(t, mem, opts, flipped)
	}
	for _, n := range []int{0, 1, 47, 48, 96, len(undo) - 1} {
		requireUndoRefused(t, mem, opts, undo[:n])
	}
}

// Numbers in an undo file are as little trusted as those in an image, though its sum is right.
func TestAnUndoFileOfAbsurdNumbersIsRefused(t *testing.T) {
	mem, opts := undoable(t, manyFlaws(t))
	undo := mustReadFile(t, mem, opts.Undo)
	nversions := binary.BigEndian.Uint64(undo[40:])
	require.Positive(t, nversions)
	for _, edit := range []func(b []byte){
		func(b []byte) { b[0]++ },
		func(b []byte) { binary.BigEndian.PutUint64(b[24:], math.MaxInt64/8) },               // the least size
		func(b []byte) { binary.BigEndian.PutUint64(b[32:], 0) },                             // the most
		func(b []byte) { binary.BigEndian.PutUint64(b[40:], math.MaxInt64/8) },               // versions
		func(b []byte) { binary.BigEndian.PutUint64(b[40:], nversions-1) },                   //
		func(b []byte) { binary.BigEndian.PutUint64(b[48:], math.MaxUint64) },                // the first run's sector
		func(b []byte) { binary.BigEndian.PutUint32(b[56:], math.MaxUint32) },                // its length
		func(b []byte) { binary.BigEndian.PutUint32(b[56:], 128) },                           //
		func(b []byte) { binary.BigEndian.PutUint32(b[56:], 0) },                             //
		func(b []byte) { binary.BigEndian.PutUint64(b[len(b)-16*int(nversions):], 1<<53-1) }, // versions out of order
	} {
		edited := bytes.Clone(undo[:len(undo)-sha256.Size])
		edit(edited)
		sum := sha256.Sum256(edited)
		requireLittleMemory(t, func() { requireUndoRefused(t, mem, opts, append(edited, sum[:]...)) })
	}
}

// undoFile is an undo file of some runs of zeros, as sectors from and to, and no versions, whose sum is right.
func undoFile(before, least, most int64, runs ...[2]int64) []byte {
	file := []byte("vhd repair undo\n")
	for _, n := range []int64{before, least, most, 0} {
		file = binary.BigEndian.AppendUint64(file, uint64(n))
	}
	for _, run := range append(runs, [2]int64{}) {
		file = binary.BigEndian.AppendUint64(file, uint64(run[0]))
		file = binary.BigEndian.AppendUint32(file, uint32(run[1]-run[0]))
		file = binary.BigEndian.AppendUint32(file, 1)
	}
	sum := sha256.Sum256(file)
	return append(file, sum[:]...)
}

// An undo file that does not know the image is refused, though it says nothing that would be wrong.
func TestAnUndoFileThatKnowsNothingOfTheImageIsRefused(t *testing.T) {
	image := disk(asIs)(t)
	size := int64(len(image))
	for name, undo := range map[string][]byte{
		"nothing":                           undoFile(size, size, size),
		"a size of 8 TiB":                   undoFile(1<<43, 0, 1<<43),
		"a size of 8 TiB, whose end it has": undoFile(1<<43, 0, 1<<43, [2]int64{1<<34 - 1, 1 << 34}),
		"a size a sector larger":            undoFile(size+512, size, size+512),
		"a size a sector smaller":           undoFile(size-512, size-512, size),
		"a sector":                          undoFile(512, 0, size),
		"no size":                           undoFile(0, 0, 1<<60),
		"a greatest size of 8 TiB":          undoFile(size, size, 1<<43),
	} {
		t.Run(name, func(t *testing.T) {
			mem := putDisk(t, image)
			opts := repairOptions(mem)
			opts.Undo, opts.DryRun = "undo", true
			requireUndoRefused(t, mem, opts, undo)
			opts.DryRun = false
			requireUndoRefused(t, mem, opts, undo)
		})
	}
}

// Of what is always there, each part is asked for: the footer, its copy, the header and the BAT.
func TestAnUndoFileWithoutOneOfTheStructuresIsRefused(t *testing.T) {
	mem, opts := undoable(t, disk(func(img *vhdtest.Image) { img.Copy = vhdtest.CopyLost })(t))
	require.NoError(t, vhd.UndoRepair(t.Context(), repaired, opts))
	undo := mustReadFile(t, mem, opts.Undo)
	found := map[int64]bool{}
	for at := int64(48); ; {
		sector, n, zeros := int64(binary.BigEndian.Uint64(undo[at:])), int64(binary.BigEndian.Uint32(undo[at+8:])), binary.BigEndian.Uint32(undo[at+12:]) == 1
		if n == 0 {
			break
		}
		found[sector] = true
		end := at + 16
		if !zeros {
			end += n * 512
		}
		cut := append(bytes.Clone(undo[:at]), undo[end:len(undo)-sha256.Size]...)
		sum := sha256.Sum256(cut)
		requireUndoRefused(t, mem, opts, append(cut, sum[:]...))
		at = end
	}
	require.Subset(t, slices.Collect(maps.Keys(found)), []int64{0, 1, checkedTable / 512, checkedEnd / 512}, "the copy, the header, the BAT and the footer")
	requireUndoRefused(t, mem, opts, undo[:len(undo)-1])
	require.NoError(t, mem.WriteFile(opts.Undo, undo))
	require.NoError(t, vhd.UndoRepair(t.Context(), repaired, opts))
}

// A file that is something else is told of as that, and not as an undo file that is damaged.
func TestWhatIsNoUndoFileIsToldByItsCookie(t *testing.T) {
	mem := putDisk(t, disk(asIs)(t))
	opts := repairOptions(mem)
	for _, name := range []string{repaired, "text"} {
		require.NoError(t, mem.WriteFile("text", bytes.Repeat([]byte("text "), 100)))
		opts.Undo, opts.DryRun, opts.Lock = name, true, vhd.LockNone
		err := vhd.UndoRepair(t.Context(), repaired, opts)
		require.ErrorIs(t, err, vhd.ErrFormat)
		require.Contains(t, err.Error(), "cookie")
	}
}

// An image that is as it was before is not written to.
func TestAnUndoOfWhatWasUndoneWritesNothing(t *testing.T) {
	mem, opts := undoable(t, manyFlaws(t))
	require.NoError(t, vhd.UndoRepair(t.Context(), repaired, opts))
	storage := vhdtest.NewRecordFS(mem)
	opts.FS = storage
	require.NoError(t, vhd.UndoRepair(t.Context(), repaired, opts))
	for _, op := range storage.Ops() {
		require.True(t, op.Kind == vhdtest.OpSync || !op.Mutates(), "%v", op) // the undo before may have ended in front of its own
	}
}

// Storage that fails is told of, whichever call it is, and the undo can be done again.
func TestAnUndoTellsOfEveryFault(t *testing.T) {
	file := manyFlaws(t)
	for _, kind := range faultKinds {
		for at := 1; ; at++ {
			mem, opts := undoable(t, file)
			faults := vhdtest.NewFaultFS(mem)
			fault := kind.fault
			fault.At = at
			faults.Arm(fault)
			failing := opts
			failing.FS = faults
			err := vhd.UndoRepair(t.Context(), repaired, failing)
			if faults.Fired() == 0 {
				require.NoError(t, err)
				break
			}
			require.True(t, err == nil || kind.isToldBy(err), "%s, number %d: %v", kind.name, at, err)
			require.False(t, err == nil && kind.isOf(vhdtest.OpSync))
			require.NoError(t, vhd.UndoRepair(t.Context(), repaired, opts))
			requireBytes(t, file, mustReadFile(t, mem, repaired))
		}
	}
}

// A repair that touched nothing but the footer's copy is not taken back either once the BAT is another.
func TestAnUndoIsRefusedAfterTheTableChanged(t *testing.T) {
	mem, opts := undoable(t, disk(func(img *vhdtest.Image) { img.Copy = vhdtest.CopyLost })(t))
	require.NoError(t, vhd.UndoRepair(t.Context(), repaired, opts))
	opts.Undo = ""
	report, err := vhd.Repair(t.Context(), repaired, opts)
	require.NoError(t, err)
	d, err := vhd.Open(repaired, &vhd.Options{FS: mem, Writable: true})
	require.NoError(t, err)
	require.NoError(t, d.WriteZeroes(2*checkedBlock, checkedBlock))
	require.NoError(t, d.Close())
	opts.Undo = report.Undo
	require.ErrorIs(t, vhd.UndoRepair(t.Context(), repaired, opts), fs.ErrInvalid)
}

func TestARepairThatEndsBeforeItChangesAnythingLeavesNoUndoFile(t *testing.T) {
	file := manyFlaws(t)
	storage := vhdtest.NewCrashFS(putDisk(t, file), vhdtest.CrashOptions{})
	ctx, end := context.WithCancel(t.Context())
	storage.OnOp = func(op vhdtest.Op) {
		if op.Kind == vhdtest.OpSyncDir { // the undo file is there
			end()
		}
	}
	_, err := vhd.Repair(ctx, repaired, repairOptions(storage))
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []string{"disk.vhd"}, namesIn(t, storage, "d"))
	requireBytes(t, file, mustReadFile(t, storage.Live(), repaired))
}

// What ended on its way names the undo file, which takes back what was done by then.
func TestARepairThatEndsOnItsWayTellsOfTheUndoFile(t *testing.T) {
	file := manyFlaws(t)
	storage := vhdtest.NewCrashFS(putDisk(t, file), vhdtest.CrashOptions{})
	ctx, end := context.WithCancel(t.Context())
	storage.OnOp = func(op vhdtest.Op) {
		if op.Kind == vhdtest.OpWrite && op.Name == repaired {
			end()
		}
	}
	opts := repairOptions(storage)
	report, err := vhd.Repair(ctx, repaired, opts)
	require.ErrorIs(t, err, context.Canceled)
	require.NotNil(t, report)
	require.Contains(t, namesIn(t, storage, "d"), path.Base(report.Undo))
	require.False(t, bytes.Equal(file, mustReadFile(t, storage.Live(), repaired)), "nothing was done that could be taken back")
	opts.Undo = report.Undo
	require.NoError(t, vhd.UndoRepair(t.Context(), repaired, opts))
	requireBytes(t, file, mustReadFile(t, storage.Live(), repaired))
}
