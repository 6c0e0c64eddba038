package vhd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"testing"
	"time"

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
		require.Equal(t, repaired, op.Name, "%v", op)
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

// mendedByPage are the codes that docs/check.md says are mended.
func mendedByPage(t testing.TB) []string {
	t.Helper()
	page, err := os.ReadFile("docs/check.md")
	require.NoError(t, err)
	var codes []string
	for _, row := range regexp.MustCompile("(?m)^\\| [^|]+ \\| (`[a-z0-9`, -]+) \\|$").FindAllSubmatch(page, -1) {
		for _, code := range regexp.MustCompile("`([a-z0-9-]+)`").FindAllSubmatch(row[1], -1) {
			codes = append(codes, string(code[1]))
		}
	}
	require.NotEmpty(t, codes)
	return codes
}

func TestRepairMendsWhatThePageSaysAndNothingElse(t *testing.T) {
	mended, seen := mendedByPage(t), map[string]bool{}
	for _, f := range slices.Concat(plantedInFooters, plantedInHeaders, plantedInBlocks) {
		t.Run(f.code, func(t *testing.T) {
			want := []string{}
			switch {
			case slices.Contains(f.also, "bat-beyond-disk"): // and it is these entries that overlap
				want = []string{"bat-beyond-disk"}
			case slices.Contains(mended, f.code) && !f.stays:
				want = []string{f.code}
			}
			report, err := requireRepaired(t, putDisk(t, f.file(t)))
			require.NoError(t, err)
			require.Equal(t, want, stepCodes(report))
			require.Equal(t, slices.Contains(mended, f.code) && !f.stays, !slices.Contains(allCodes(report), f.code))
			seen[f.code] = seen[f.code] || !f.stays
			for _, step := range report.Steps {
				require.Equal(t, repaired, step.Image)
				require.Equal(t, codesOfPage(t)[step.Code].Structure, step.Structure)
				require.Regexp(t, `^[A-Z].*\.$`, step.Message)
			}
		})
	}
	for _, code := range mended {
		require.True(t, seen[code], code)
	}
}

const blockOf256MiB = "a block of 256 MiB that the file's end cuts off"

// hostileSteps are the hostile images that a repair mends something of. Of all others it leaves every byte alone.
var hostileSteps = map[string][]string{
	"a dynamic disk cut inside its last block":                                      {"block-cut", "footer-lost"},
	"an end footer of zeros":                                                        {"footer-lost"},
	"an end footer overwritten as under a live Xen disk":                            {"footer-lost"},
	"an end footer cut off":                                                         {"footer-lost"},
	"an end footer with a wrong checksum":                                           {"footer-checksum"},
	"an end footer without its first sector's half":                                 {"footer-lost"},
	"a copy of zeros":                                                               {"copy-lost"},
	"a copy with a wrong checksum":                                                  {"copy-checksum"},
	"a copy that is older":                                                          {"footers-differ"},
	"a copy that tells of a smaller disk":                                           {"footers-differ"},
	"a copy that tells of a fixed disk":                                             {"footers-differ"},
	"a copy that tells of another header":                                           {"footers-differ"},
	"an end footer of 511 bytes and no copy":                                        {"copy-lost", "footer-511"},
	"a child whose end footer is lost":                                              {"footer-lost"},
	"two blocks at one place":                                                       {"bat-overlap"},
	"two blocks that overlap but for a sector":                                      {"bat-overlap"},
	"junk in the entries behind the disk's blocks":                                  {"bat-beyond-disk"},
	"a table of 200,000 entries, of which those behind the disk's blocks are zeros": {"bat-beyond-disk"},
	"a table of 200,000 entries, of which those behind the disk's blocks are past the end of the file": {"bat-beyond-disk"},
	"a table of 200,000 entries, of which those behind the disk's blocks are cut off":                  {"bat-beyond-disk"},
	blockOf256MiB:                                                               {"block-cut"},
	"a last block that the footer cuts off":                                     {"block-cut"},
	"a last block of nothing but its bitmap":                                    {"block-cut"},
	"a gap of 2.9 MB, of junk, in front of the footer":                          {"slack"},
	"a footer of 511 bytes":                                                     {"footer-511"},
	"a fixed disk with a footer of 511 bytes":                                   {"footer-511"},
	"a locator past the end, where blocks would come to stand, and a right one": {"locator-place"},
}

func TestRepairOfHostileImages(t *testing.T) {
	unseen := maps.Clone(hostileSteps)
	for _, recipe := range vhdtest.HostileRecipes() {
		delete(unseen, recipe.Name)
		t.Run(recipe.Name, func(t *testing.T) {
			image := recipe.Make(t)
			requireBoundedRepair(t, putHostile(t, image), 16<<20)
			report, err := requireRepaired(t, putHostile(t, image))
			want := hostileSteps[recipe.Name]
			if err != nil {
				require.Nil(t, want)
				requireRefusal(t, err)
				return
			}
			require.Equal(t, append([]string{}, want...), stepCodes(report))
			if want != nil {
				require.Empty(t, errorsIn(report))
			}
		})
	}
	require.Empty(t, unseen)
}

// requireBoundedRepair repairs with little memory and few calls, whatever the image says.
func requireBoundedRepair(t testing.TB, mem *vhdtest.MemFS, most uint64) {
	t.Helper()
	calls := vhdtest.NewRecordFS(mem)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _ = vhd.Repair(t.Context(), repaired, repairOptions(calls))
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, most)
	require.Less(t, calls.Count(), maxHostileCalls)
}

// Others say what a mended image holds: the model of the builder, and programs.
func TestOthersReadRepairedImagesAsTheirContent(t *testing.T) {
	for _, reader := range []vhdtest.Reader{vhdtest.SevenZip, vhdtest.Qemu, vhdtest.Libvhdi} {
		t.Run(reader.Name, func(t *testing.T) {
			reader.Need(t)
			n := 0
			for _, recipe := range vhdtest.HostileRecipes() {
				image := recipe.Make(t)
				if hostileSteps[recipe.Name] == nil || image.Child || image.Also != nil || recipe.Name == blockOf256MiB {
					continue // 7-Zip and libvhdi read no blocks of that size, and children that are alone
				}
				name := filepath.Join(t.TempDir(), "disk.vhd")
				require.NoError(t, os.WriteFile(name, image.Files[vhdtest.HostileLeaf], 0o600))
				report, err := vhd.Repair(t.Context(), name, vhd.RepairOptions{})
				require.NoError(t, err)
				if reader.Name == vhdtest.SevenZip.Name && slices.Contains(allCodes(report), "table-large") {
					continue // it reads none with a table of more entries than blocks
				}
				requireContent(t, image.Content, reader.Content(t, name)[:len(image.Content)])
				n++
			}
			require.Greater(t, n, 12)
		})
	}
}

func TestRepairFindsNothingToDoInRealImages(t *testing.T) {
	set := vhdtest.Corpus(t)
	for _, img := range set.Images {
		t.Run(img.File, func(t *testing.T) {
			report, err := vhd.Repair(t.Context(), set.Path(img.File), vhd.RepairOptions{DryRun: true})
			require.NoError(t, err)
			require.Empty(t, report.Steps)
			require.Empty(t, errorsIn(report))
		})
	}
}

// What can't be mended says why.
func TestARepairSaysWhyErrorsRemain(t *testing.T) {
	file := altered(disk(func(img *vhdtest.Image) { img.Footer = vhdtest.FooterZeroed }), entry(1, 1<<20))
	report, err := requireRepaired(t, putDisk(t, file(t)))
	require.NoError(t, err)
	require.Equal(t, []string{"footer-lost", "bat-past-end"}, allCodes(report))
	require.Contains(t, report.Findings[0].Message, "zeros. It is not mended as long as other errors remain")
	require.Contains(t, report.Findings[1].Message, ". It is not mended: what the block held is not there")

	file = altered(disk(func(img *vhdtest.Image) { img.Copy = vhdtest.CopyLost }), entry(1, 1<<20))
	report, err = requireRepaired(t, putDisk(t, file(t)))
	require.NoError(t, err)
	require.Equal(t, []string{"copy-lost"}, stepCodes(report), "that takes no space")
	require.Equal(t, []string{"bat-past-end"}, allCodes(report))

	report, err = requireRepaired(t, putDisk(t, altered(fixedDisk, flip(-300))(t)))
	require.NoError(t, err)
	require.Equal(t, []string{"footer-checksum"}, allCodes(report))
	require.Contains(t, report.Findings[0].Message, ". It is not mended: a fixed disk has no copy of its footer.")

	// Made whole, the last block would lie over a path, and could not be read any more.
	cut := child(func(img *vhdtest.Image) { img.Blocks[0].Cut = checkedBlock / 2 })
	file = altered(cut, inHead(576+16, 8, childEnd-checkedBlock/4))
	report, err = requireRepaired(t, putDisk(t, file(t)))
	require.NoError(t, err)
	require.Empty(t, report.Steps)
	require.Equal(t, []string{"locator-place", "block-cut"}, allCodes(report))
	require.Contains(t, report.Findings[0].Message, "It is not mended as long as")
}

// A guest can write what looks like the footer of a fixed disk that ends there, and the real one has no copy that would
// tell it from that: nothing is cut off.
func TestARepairCutsNothingOffAFixedDiskAtWhatAGuestWrote(t *testing.T) {
	const size, forgedSize = 1 << 20, 1<<20 - 32<<10
	for name, lose := range map[string]func(file []byte) []byte{
		"the footer's cookie": func(file []byte) []byte {
			file[size] = 'X'
			return file
		},
		"a footer of zeros": func(file []byte) []byte {
			clear(file[size:])
			return file
		},
		"no footer": func(file []byte) []byte { return file[:size] },
		"a bit of the footer": func(file []byte) []byte {
			file[size+100] ^= 1
			return file
		},
		"the footer, and more behind it": func(file []byte) []byte {
			file[size+100] ^= 1
			return append(file, make([]byte, 4096)...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := vhdtest.NewFixed(size, fill(7, size)).Build(t)
			forged := vhdtest.NewFixed(forgedSize, nil).Build(t)
			copy(file[forgedSize:], forged[forgedSize:])
			report, err := requireRepaired(t, putDisk(t, lose(file)))
			if err != nil {
				require.ErrorIs(t, err, vhd.ErrFormat)
				return
			}
			require.Empty(t, report.Steps)
			if report.Findings[0].Code != "footer-checksum" { // where a footer was, none is looked for
				require.Equal(t, "trailing-bytes", report.Findings[0].Code)
				require.Contains(t, report.Findings[0].Message, "a guest may have written")
			}
		})
	}
}

// That a fixed disk was growing its file's size says, in which no guest has a say.
func TestARepairCutsOffWhatAnInterruptedGrowingLeft(t *testing.T) {
	file := fixedDisk(t)
	report, err := requireRepaired(t, putDisk(t, append(bytes.Clone(file), make([]byte, 8*512+8)...)))
	require.NoError(t, err)
	require.Equal(t, []string{"trailing-bytes"}, stepCodes(report))
	require.Empty(t, report.Findings)
}

// A disk with blocks has a copy of its footer, which may also lie within them: a guest keeps a copy of its own image.
// The end is where the blocks end.
func TestARepairCutsNoBlockOffAtACopyOfTheFooter(t *testing.T) {
	file := disk(asIs)(t)
	end := len(file) - 512
	copy(file[end-8192:], file[end:])
	clear(file[end:])
	report, err := requireRepaired(t, putDisk(t, file))
	require.NoError(t, err)
	require.Empty(t, errorsIn(report))
	require.Equal(t, []string{"trailing-bytes"}, stepCodes(report))
	other := bytes.Clone(file)
	other[end-8192+84] = 1 // a footer, and not this image's
	report, err = requireRepaired(t, putDisk(t, other))
	require.NoError(t, err)
	require.Equal(t, []string{"footer-lost"}, stepCodes(report))
	report, err = requireRepaired(t, putDisk(t, altered(func(testing.TB) []byte { return file }, func(t testing.TB, file []byte) []byte {
		t.Helper()
		clear(file[:512]) // nor is one of a fixed disk believed, once that is lost too
		forged := vhdtest.NewFixed(int64(end-8192), nil).Build(t)
		copy(file[end-8192:], forged[end-8192:])
		return file
	})(t)))
	require.NoError(t, err)
	require.Empty(t, report.Steps)
}

// A table may be all wrong: so many copies are no repair any more.
func TestARepairCopiesABoundedNumberOfBlocks(t *testing.T) {
	const nblocks = 20000
	img := vhdtest.NewDynamic(nblocks*512, vhdtest.Block{Index: 0, Data: fill(1, 512)})
	img.BlockSize = 512
	for _, shared := range []int{4097, 4098, nblocks} {
		file := img.Build(t)
		for i := range shared {
			vhdtest.EditEntry(t, file, i, vhdtest.Entry(t, file, 0))
		}
		requireBoundedRepair(t, putDisk(t, file), 48<<20)
		report, err := requireRepaired(t, putDisk(t, file))
		require.NoError(t, err)
		require.Equal(t, shared > 4097, len(report.Steps) == 0)
		require.Equal(t, shared > 4097, len(errorsIn(report)) > 0)
		if shared == 4097 {
			require.Len(t, report.Steps, 17)
			require.Equal(t, "And 4080 more like these.", report.Steps[16].Message)
		}
	}
}

func TestTheUndoFileIsWhereTheCallerSaysOrBesideTheImage(t *testing.T) {
	lost := disk(func(img *vhdtest.Image) { img.Footer = vhdtest.FooterZeroed })(t)
	mem := putDisk(t, lost)
	for _, want := range []string{repaired + ".undo", repaired + ".undo2", repaired + ".undo3"} {
		require.NoError(t, mem.WriteFile(repaired, lost))
		report, err := vhd.Repair(t.Context(), repaired, repairOptions(mem))
		require.NoError(t, err)
		require.Equal(t, want, report.Undo)
		requireUndone(t, mem, report.Undo, lost)
	}
	require.NoError(t, mem.WriteFile(repaired, lost))
	opts := repairOptions(mem)
	opts.Undo = "elsewhere"
	report, err := vhd.Repair(t.Context(), repaired, opts)
	require.NoError(t, err)
	require.Equal(t, "elsewhere", report.Undo)

	require.NoError(t, mem.WriteFile(repaired, lost))
	_, err = vhd.Repair(t.Context(), repaired, opts)
	require.ErrorIs(t, err, fs.ErrExist)
	require.Contains(t, err.Error(), "vhd: elsewhere: no undo file")
	requireBytes(t, lost, mustReadFile(t, mem, repaired))
}

func TestARepairInFilesOfTheOperatingSystem(t *testing.T) {
	t.Chdir(t.TempDir())
	lost := disk(func(img *vhdtest.Image) { img.Footer = vhdtest.FooterZeroed })(t)
	require.NoError(t, os.Mkdir("real", 0o700))
	require.NoError(t, os.WriteFile("real/disk.vhd", lost, 0o600))
	report, err := vhd.Repair(t.Context(), "real/disk.vhd", vhd.RepairOptions{})
	require.NoError(t, err)
	require.Equal(t, "real/disk.vhd.undo", report.Undo)
	if runtime.GOOS != "windows" {
		info, err := os.Stat(report.Undo)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode(), "who may not read the image may not read what it held")
	}
	before, err := os.Stat("real/disk.vhd")
	require.NoError(t, err)
	_, err = vhd.Repair(t.Context(), "real/disk.vhd", vhd.RepairOptions{})
	require.NoError(t, err)
	after, err := os.Stat("real/disk.vhd")
	require.NoError(t, err)
	require.Equal(t, before.ModTime(), after.ModTime())
	require.NoError(t, vhd.UndoRepair(t.Context(), "real/disk.vhd", vhd.RepairOptions{Undo: report.Undo}))
	got, err := os.ReadFile("real/disk.vhd")
	require.NoError(t, err)
	requireBytes(t, lost, got)
}

func TestRepairTakesTheLockOfAWriter(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk.vhd")
	require.NoError(t, os.WriteFile(name, checkedDisk().Build(t), 0o600))
	reader, err := vhd.Open(name, nil)
	require.NoError(t, err)
	_, err = vhd.Repair(t.Context(), name, vhd.RepairOptions{})
	require.ErrorIs(t, err, vhd.ErrLocked)
	require.ErrorIs(t, vhd.UndoRepair(t.Context(), name, vhd.RepairOptions{Undo: "none"}), vhd.ErrLocked)
	_, err = vhd.Repair(t.Context(), name, vhd.RepairOptions{DryRun: true})
	require.NoError(t, err, "that is a reader too")
	require.NoError(t, reader.Close())
	_, err = vhd.Repair(t.Context(), name, vhd.RepairOptions{})
	require.NoError(t, err)
	writer, err := vhd.Open(name, &vhd.Options{Writable: true})
	require.NoError(t, err, "it gave its lock back")
	_, err = vhd.Repair(t.Context(), name, vhd.RepairOptions{DryRun: true})
	require.ErrorIs(t, err, vhd.ErrLocked)
	require.NoError(t, writer.Close())
}

func TestRepairTellsHowFarItIs(t *testing.T) {
	for _, image := range mendable(t) {
		var last, most int64
		opts := repairOptions(putDisk(t, image.file))
		opts.Progress = func(done, total int64) {
			require.GreaterOrEqual(t, done, last)
			require.GreaterOrEqual(t, total, done)
			last, most = done, total
		}
		report, err := vhd.Repair(t.Context(), repaired, opts)
		require.NoError(t, err)
		require.Equal(t, most, last, image.name)
		last, opts.Undo = 0, report.Undo
		require.NoError(t, vhd.UndoRepair(t.Context(), repaired, opts))
		require.Equal(t, most, last, image.name)
	}
}

// Wherever the context ends, nothing is lost, and another repair does the rest.
func TestTheEndOfTheContextEndsARepair(t *testing.T) {
	for i, image := range mendable(t) {
		for calls := 0; ; calls++ {
			ctx, end := context.WithCancel(t.Context())
			left := calls
			mem := putDisk(t, image.file)
			opts := repairOptions(mem)
			opts.Progress = func(int64, int64) {
				if left--; left < 0 {
					end()
				}
			}
			_, err := vhd.Repair(ctx, repaired, opts)
			end()
			if left >= 0 {
				require.NoError(t, err)
				break
			}
			if err != nil {
				require.ErrorIs(t, err, context.Canceled)
			}
			newRepairCrash(t, image, uint64(i)).look(t, mem)
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	mem := putDisk(t, mendable(t)[0].file)
	_, err := vhd.Repair(ended, repaired, repairOptions(mem))
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []string{"disk.vhd"}, namesIn(t, mem, "d"))
}

func TestRepairStepsAreReadyForJSON(t *testing.T) {
	report := vhd.Report{Findings: []vhd.Finding{}, Undo: "a.vhd.undo", Steps: []vhd.RepairStep{
		{Code: "bat-overlap", Image: "a.vhd", Structure: "BAT", Offset: 1536, Message: "Words."},
	}}
	text, err := json.Marshal(report)
	require.NoError(t, err)
	require.JSONEq(t, `{"findings":[],"undo":"a.vhd.undo","steps":[{"code":"bat-overlap","image":"a.vhd","structure":"BAT","offset":1536,"message":"Words."}]}`, string(text))
	var again vhd.Report
	require.NoError(t, json.Unmarshal(text, &again))
	require.Equal(t, report, again)
}

// What a disk holds stays the same, and so does its file's time, by which its children know that.
func TestARepairOfAParentLeavesItsChildrenSound(t *testing.T) {
	dir := t.TempDir()
	base, leaf := filepath.Join(dir, "base.vhd"), filepath.Join(dir, "leaf.vhd")
	require.NoError(t, os.WriteFile(base, altered(disk(asIs), flip(200))(t), 0o600))
	made := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	require.NoError(t, os.Chtimes(base, made, made))
	d, err := vhd.Create(leaf, vhd.CreateOptions{Parent: base})
	require.NoError(t, err)
	require.NoError(t, d.Close())

	report, err := vhd.Repair(t.Context(), base, vhd.RepairOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{"copy-checksum"}, stepCodes(report))
	requireFindings(t, leaf, withParents)
	require.NoError(t, vhd.UndoRepair(t.Context(), base, vhd.RepairOptions{Undo: report.Undo}))
	requireFindings(t, leaf, withParents, "copy-checksum")
}

// Where the file system can tell that there is too little room for the undo file and what blocks take, nothing is begun.
func TestARepairThatFindsTooLittleRoomIsNotBegun(t *testing.T) {
	before := altered(disk(asIs), entry(1, checkedSecond/512))(t)
	mem := putDisk(t, before)
	report, err := vhd.Repair(t.Context(), repaired, repairOptions(mem))
	require.NoError(t, err)
	require.Equal(t, []string{"bat-overlap"}, stepCodes(report))
	undo, grown := int64(len(mustReadFile(t, mem, report.Undo))), int64(len(mustReadFile(t, mem, repaired))-len(before))
	require.Greater(t, grown, int64(checkedBlock))
	for _, test := range []struct {
		free  int64
		fails bool
	}{{0, true}, {undo - 1, true}, {grown, true}, {undo + checkedBlock, true}, {undo + grown, false}} {
		mem := putDisk(t, before)
		report, err := vhd.Repair(t.Context(), repaired, repairOptions(scarceFS{mem, test.free}))
		if !test.fails {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, vhd.ErrNoSpace)
		require.Contains(t, err.Error(), repaired)
		require.Nil(t, report)
		requireBytes(t, before, mustReadFile(t, mem, repaired))
		_, err = mem.Stat(repaired + ".undo")
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
}

// Wherever a repair ends, it tells of what is done by then, and of nothing else.
func TestARepairThatEndsOnItsWayTellsWhatIsDone(t *testing.T) {
	for _, image := range mendable(t) {
		whole, err := vhd.Repair(t.Context(), repaired, repairOptions(putDisk(t, image.file)))
		require.NoError(t, err)
		for at := 1; ; at++ {
			mem := putDisk(t, image.file)
			failing := vhdtest.NewFaultFS(mem)
			failing.Arm(vhdtest.Fault{At: at, Forever: true, Match: func(op vhdtest.Op) bool { return op.Name == repaired }})
			report, err := vhd.Repair(t.Context(), repaired, repairOptions(failing))
			if err == nil {
				require.Equal(t, whole.Steps, report.Steps)
				break
			}
			require.NotEmpty(t, report.Undo)
			require.Equal(t, []vhd.Finding{}, report.Findings, "nobody has looked")
			require.Less(t, len(report.Steps), len(whole.Steps), "%s, change %d", image.name, at)
			require.Equal(t, whole.Steps[:len(report.Steps)], append([]vhd.RepairStep{}, report.Steps...))
			left, err := checkIn(t, mem, vhd.CheckOptions{})
			require.NoError(t, err)
			for _, code := range stepCodes(report) {
				require.NotContains(t, allCodes(left), code, "%s, change %d", image.name, at)
			}
		}
	}
}

// A table of rubbish, which does no harm, keeps nothing else from being mended.
func TestARepairLeavesATableOfTooMuchRubbishAlone(t *testing.T) {
	img := checkedDisk()
	img.MaxEntries, img.Copy = 17<<20, vhdtest.CopyLost
	file := img.Build(t)
	clear(file[checkedTable+4*4:][:4*(17<<20-4)])
	mem := putDisk(t, file)
	report, err := vhd.Repair(t.Context(), repaired, repairOptions(mem))
	require.NoError(t, err)
	require.Equal(t, []string{"copy-lost"}, stepCodes(report))
	require.Equal(t, []string{"table-large", "bat-beyond-disk"}, allCodes(report))
	require.Contains(t, report.Findings[1].Message, "It is not mended as long as other errors remain, or so many entries are in use.")
	require.Less(t, len(mustReadFile(t, mem, report.Undo)), 2<<20)
}
