package vhd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// checkFiles checks d/disk.vhd among files, by name as seen from its directory, and makes sure that the check changes
// nothing, opens nothing to write, and asks for no other file unless the chain or the parent is to be checked.
func checkFiles(t testing.TB, files map[string][]byte, opts vhd.CheckOptions) (*vhd.Report, error) {
	t.Helper()
	mem := vhdtest.NewMemFS()
	for name, file := range files {
		require.NoError(t, mem.WriteFile(path.Join("d", name), file))
	}
	return checkIn(t, mem, opts)
}

func checkIn(t testing.TB, mem *vhdtest.MemFS, opts vhd.CheckOptions) (*vhd.Report, error) {
	t.Helper()
	const name = "d/disk.vhd"
	before := mustReadFile(t, mem, name)
	rec := vhdtest.NewRecordFS(mem)
	opts.FS = rec
	report, err := vhd.Check(t.Context(), name, opts)
	for _, op := range rec.Ops() {
		require.False(t, op.Mutates(), "%v", op)
		require.False(t, op.Kind == vhdtest.OpOpen && op.Flag != os.O_RDONLY, "%v", op)
		require.True(t, opts.Chain || opts.Parent || op.Name == name, "%v", op)
	}
	require.True(t, bytes.Equal(before, mustReadFile(t, mem, name)), "the file has changed")
	require.True(t, err != nil || report != nil)
	if report != nil {
		requireOrdered(t, report)
	}
	return report, err
}

// withParents are the options to check an image and all its parents, wherever they are.
var withParents = vhd.CheckOptions{Chain: true, Options: vhd.Options{Root: "/"}}

// requireFindings checks an image: nothing is found but findings of these codes.
func requireFindings(t testing.TB, name string, opts vhd.CheckOptions, codes ...string) {
	t.Helper()
	report, err := vhd.Check(context.Background(), name, opts)
	require.NoError(t, err)
	for _, f := range report.Findings {
		require.Contains(t, codes, f.Code, "%+v", f)
	}
}

// requireOrdered holds the findings to what is promised of all.
func requireOrdered(t testing.TB, report *vhd.Report) {
	t.Helper()
	require.NotNil(t, report.Findings)
	for i, f := range report.Findings {
		require.Regexp(t, `^[a-z0-9]+(-[a-z0-9]+)*$`, f.Code)
		require.Contains(t, []string{"file", "footer", "dynamic header", "parent locator", "BAT", "sector bitmap", "chain"}, f.Structure)
		require.NotEmpty(t, f.Image)
		require.GreaterOrEqual(t, f.Offset, int64(0))
		require.Regexp(t, `^[A-Z].*\.$`, f.Message)
		require.NotContains(t, f.Message, "%!")
		require.True(t, i == 0 || f.Severity <= report.Findings[i-1].Severity, "most severe first")
	}
}

// codesOf are the codes of the findings of a severity, each once.
func codesOf(report *vhd.Report, severity vhd.Severity) []string {
	codes := []string{}
	for _, f := range report.Findings {
		if f.Severity == severity && !slices.Contains(codes, f.Code) {
			codes = append(codes, f.Code)
		}
	}
	return codes
}

// errorsIn are the findings that speak of damage.
func errorsIn(report *vhd.Report) []vhd.Finding {
	return slices.DeleteFunc(slices.Clone(report.Findings), func(f vhd.Finding) bool { return f.Severity != vhd.SeverityError })
}

func TestCheckFindsNothingInWhatIsMadeHere(t *testing.T) {
	for _, blockSize := range []int64{512, 4096, 64 << 10, 2 << 20} {
		for _, size := range []int64{512, 1 << 20, 5<<20 + 512, 5<<20 - 512} {
			mem := vhdtest.NewMemFS()
			require.NoError(t, mem.MkdirAll("d"))
			opts := vhd.CreateOptions{Options: vhd.Options{FS: mem}, Size: size, BlockSize: blockSize}
			for _, made := range []struct {
				name string
				opts vhd.CreateOptions
			}{
				{"d/fixed.vhd", vhd.CreateOptions{Options: opts.Options, Size: size, Type: vhd.Fixed}},
				{"d/dynamic.vhd", opts},
				{"d/child.vhd", vhd.CreateOptions{Options: opts.Options, BlockSize: blockSize, Parent: "d/dynamic.vhd"}},
				{"d/disk.vhd", vhd.CreateOptions{Options: opts.Options, BlockSize: blockSize, Parent: "d/child.vhd"}},
			} {
				d, err := vhd.Create(made.name, made.opts)
				require.NoError(t, err)
				requireNothing(t, mem, made.name+" as it was made", d)
				d, err = vhd.Open(made.name, &vhd.Options{FS: mem, Writable: true})
				require.NoError(t, err)
				for _, off := range []int64{0, size / 2, size - 300} {
					_, err := d.WriteAt([]byte("words"), min(off, size-5))
					require.NoError(t, err)
				}
				requireNothing(t, mem, made.name+" after writes", d)
			}
		}
	}
}

// requireNothing closes a disk and checks its chain.
func requireNothing(t testing.TB, mem *vhdtest.MemFS, what string, d *vhd.Disk) {
	t.Helper()
	name := d.Chain()[0].Name()
	require.NoError(t, d.Close())
	report, err := vhd.Check(t.Context(), name, vhd.CheckOptions{Options: vhd.Options{FS: mem}, Chain: true})
	require.NoError(t, err, what)
	require.Equal(t, &vhd.Report{Findings: []vhd.Finding{}}, report, what)
}

// A block that was given back is space that nothing uses until it is taken again.
func TestCheckTellsOfSpaceThatZeroesGaveBack(t *testing.T) {
	mem := vhdtest.NewMemFS()
	require.NoError(t, mem.MkdirAll("d"))
	d, err := vhd.Create("d/disk.vhd", vhd.CreateOptions{Options: vhd.Options{FS: mem}, Size: 1 << 20, BlockSize: 64 << 10})
	require.NoError(t, err)
	_, err = d.WriteAt(fill(1, 256<<10), 0)
	require.NoError(t, err)
	require.NoError(t, d.WriteZeroes(64<<10, 64<<10))
	require.NoError(t, d.Close())
	report, err := checkIn(t, mem, vhd.CheckOptions{})
	require.NoError(t, err)
	require.Len(t, report.Findings, 1)
	require.Equal(t, "free-blocks", report.Findings[0].Code)
	require.Equal(t, vhd.SeverityLeak, report.Findings[0].Severity)
}

// What can't be opened for writing has an error, or can't be checked at all, and what can has none. What a writer would
// mend has one: other software may refuse it.
func TestCheckAgreesWithWhatMustBecomeOfHostileImages(t *testing.T) {
	for _, recipe := range vhdtest.HostileRecipes() {
		t.Run(recipe.Name, func(t *testing.T) {
			image := recipe.Make(t)
			calls := vhdtest.NewRecordFS(putHostile(t, image))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			report, err := vhd.Check(t.Context(), "d/disk.vhd", vhd.CheckOptions{Options: vhd.Options{FS: calls}})
			chain, chainErr := vhd.Check(t.Context(), "d/disk.vhd", vhd.CheckOptions{Options: vhd.Options{FS: calls}, Chain: true})
			runtime.ReadMemStats(&after)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16<<20))
			require.Less(t, calls.Count(), maxHostileCalls)
			require.False(t, slices.ContainsFunc(calls.Ops(), vhdtest.Op.Mutates))
			requireJudged(t, image, report, err)
			requireChainJudged(t, image, chain, chainErr)
		})
	}
}

// requireJudged holds the check of a hostile image without its parents to what must come of it.
func requireJudged(t testing.TB, image *vhdtest.HostileImage, report *vhd.Report, err error) {
	t.Helper()
	isRefused := image.Refused != vhdtest.Sound && !image.Refused.OfChain()
	if err != nil {
		require.True(t, isRefused, "%v", err)
		require.True(t, errors.Is(err, vhd.ErrFormat) || errors.Is(err, vhd.ErrUnsupported), "%v", err)
		return
	}
	requireOrdered(t, report)
	require.NotEqual(t, vhdtest.Unsupported, image.Refused, "that is an error, not a finding")
	if isRefused || image.Unwritable != vhdtest.Sound || image.NeedsRecovery {
		require.NotEmpty(t, errorsIn(report))
	} else {
		require.Empty(t, errorsIn(report))
	}
}

// requireChainJudged is the same with its parents.
func requireChainJudged(t testing.TB, image *vhdtest.HostileImage, report *vhd.Report, err error) {
	t.Helper()
	switch {
	case err != nil:
		requireJudged(t, image, report, err)
	case image.Refused.OfChain():
		found := errorsIn(report)
		require.NotEmpty(t, found)
		require.True(t, slices.ContainsFunc(found, func(f vhd.Finding) bool { return f.Structure == "chain" }))
	case image.Refused == vhdtest.Sound && image.Unwritable == vhdtest.Sound && !image.NeedsRecovery && image.Lost == nil:
		require.Empty(t, errorsIn(report))
	default:
		require.NotEmpty(t, errorsIn(report))
	}
}

func TestCheckFindsNoDamageInTestdata(t *testing.T) {
	names, err := filepath.Glob(filepath.Join("testdata", "*.vhd"))
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		report, err := vhd.Check(t.Context(), name, vhd.CheckOptions{Chain: true})
		require.NoError(t, err)
		requireOrdered(t, report)
		require.Empty(t, errorsIn(report), name)
	}
}

func TestCheckFindsNoDamageInRealImages(t *testing.T) {
	set := vhdtest.Corpus(t)
	for _, img := range set.Images {
		t.Run(img.File, func(t *testing.T) {
			name := set.Path(img.File)
			before, err := os.Stat(name)
			require.NoError(t, err)
			report, err := vhd.Check(t.Context(), name, vhd.CheckOptions{Chain: true})
			require.NoError(t, err)
			requireOrdered(t, report)
			require.Empty(t, errorsIn(report))
			for _, f := range report.Findings {
				t.Logf("%v %s: %s", f.Severity, f.Code, f.Message)
			}
			after, err := os.Stat(name)
			require.NoError(t, err)
			require.Equal(t, before.ModTime(), after.ModTime())
			require.Equal(t, img.SHA256, fileSum(t, name), "the file is as it was")
		})
	}
}

// A table may have millions of wrong entries; a report has few, and says how many there are.
func TestCheckTellsOfManyWrongEntriesInFewFindings(t *testing.T) {
	const nblocks = 20000
	sound := vhdtest.NewDynamic(nblocks*512, vhdtest.Block{Index: 0})
	sound.BlockSize = 512
	for name, test := range map[string]struct {
		entry func(i int, first uint32) uint32
		code  string
		more  int64
	}{
		"all at one place":    {func(_ int, first uint32) uint32 { return first }, "bat-overlap", 19983},
		"all at sector 0":     {func(int, uint32) uint32 { return 0 }, "bat-metadata", 19984},
		"all past the end":    {func(i int, _ uint32) uint32 { return 1<<30 + uint32(i) }, "bat-past-end", 19984},
		"all past everything": {func(int, uint32) uint32 { return 1<<32 - 2 }, "bat-past-end", 19984},
	} {
		t.Run(name, func(t *testing.T) {
			file := sound.Build(t)
			first := vhdtest.Entry(t, file, 0)
			for i := range nblocks {
				vhdtest.EditEntry(t, file, i, test.entry(i, first))
			}
			var report *vhd.Report
			requireLittleMemory(t, func() {
				mem := vhdtest.NewMemFS()
				require.NoError(t, mem.WriteFile("disk.vhd", file))
				var err error
				report, err = vhd.Check(t.Context(), "disk.vhd", vhd.CheckOptions{Options: vhd.Options{FS: mem}})
				require.NoError(t, err)
			})
			require.Equal(t, []string{test.code}, codesOf(report, vhd.SeverityError))
			found := errorsIn(report)
			require.Len(t, found, 17)
			require.Equal(t, fmt.Sprintf("And %d more like these.", test.more), found[16].Message)
			require.Equal(t, test.more, found[16].Count)
			require.Zero(t, found[15].Count)
		})
	}
}

// A file may have holes in its table, which say sector 0 and cost nothing. All that they say is counted.
func TestCheckCountsTheEntriesInHolesOfATable(t *testing.T) {
	for name, test := range map[string]struct {
		size  int64
		sound int // entries, from the first on
		wrong string
		spare string
	}{
		"of a small disk": {16 << 20, 8, "", "Entry 8 of the BAT, behind the disk's end, is in use, and so are 999982 more behind it"},
		"of a large disk": {1 << 40, 0, "And 524272 more like these.", "Entry 524288 of the BAT, behind the disk's end, is in use, and so are 475702 more behind it"},
	} {
		t.Run(name, func(t *testing.T) {
			img := vhdtest.NewDynamic(test.size)
			img.MaxEntries = 1_000_000
			file := img.Build(t)
			clear(file[checkedTable+4*test.sound : checkedTable+4*1_000_000])
			for index := range 9 { // nine are in no use
				vhdtest.EditEntry(t, file, 900_000+index, vhdtest.Unallocated)
			}
			path := filepath.Join(t.TempDir(), "disk.vhd")
			f, err := os.Create(path)
			require.NoError(t, err)
			require.NoError(t, f.Truncate(int64(len(file))))
			for _, data := range [][2]int{{0, checkedTable + 4*8}, {checkedTable + 3_600_000, checkedTable + 3_601_000}, {len(file) - 512, len(file)}} {
				_, err := f.WriteAt(file[data[0]:data[1]], int64(data[0]))
				require.NoError(t, err)
			}
			require.NoError(t, f.Close())
			report, err := vhd.Check(t.Context(), path, vhd.CheckOptions{})
			require.NoError(t, err)
			found := errorsIn(report)
			if test.wrong != "" {
				require.Len(t, found, 17)
				require.Equal(t, test.wrong, found[16].Message)
				found = nil
			}
			require.Empty(t, found)
			at := slices.IndexFunc(report.Findings, func(f vhd.Finding) bool { return f.Code == "bat-beyond-disk" })
			require.Contains(t, report.Findings[at].Message, test.spare)
		})
	}
}

func TestCheckIsRefusedWhereItCanNotBeDone(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, file []byte) string {
		name = filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(name, file, 0o600))
		return name
	}
	sound := put("sound.vhd", checkedDisk().Build(t))
	unknown := checkedDisk().Build(t)
	vhdtest.EditFooters(t, unknown, func(f []byte) { f[63] = 6 })
	ended, end := context.WithCancel(t.Context())
	end()
	for name, test := range map[string]struct {
		ctx  context.Context
		file string
		opts vhd.CheckOptions
		want error
	}{
		"no such file":                {file: filepath.Join(dir, "none.vhd"), want: fs.ErrNotExist},
		"a directory":                 {file: dir, want: vhd.ErrUnsupported},
		"an empty file":               {file: put("empty", nil), want: vhd.ErrFormat},
		"text":                        {file: put("text", bytes.Repeat([]byte("no VHD\n"), 1000)), want: vhd.ErrFormat},
		"a disk of an unknown type":   {file: put("unknown.vhd", unknown), want: vhd.ErrUnsupported},
		"a check that writes":         {file: sound, opts: vhd.CheckOptions{Options: vhd.Options{Writable: true}}, want: fs.ErrInvalid},
		"a parent that is not opened": {file: sound, opts: vhd.CheckOptions{Options: vhd.Options{NoParents: true}, Parent: true}, want: fs.ErrInvalid},
		"a chain without its parents": {file: sound, opts: vhd.CheckOptions{Options: vhd.Options{NoParents: true}, Chain: true}, want: fs.ErrInvalid},
		"a context that has ended":    {ctx: ended, file: sound, want: context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			if test.ctx == nil {
				test.ctx = t.Context()
			}
			report, err := vhd.Check(test.ctx, test.file, test.opts)
			require.ErrorIs(t, err, test.want)
			require.Nil(t, report)
			require.Regexp(t, `^vhd: `, err.Error())
			require.Contains(t, err.Error(), test.file)
		})
	}
}

func TestCheckTakesTheLockOfAReader(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk.vhd")
	require.NoError(t, os.WriteFile(name, checkedDisk().Build(t), 0o600))
	reader, err := vhd.Open(name, nil)
	require.NoError(t, err)
	_, err = vhd.Check(t.Context(), name, vhd.CheckOptions{})
	require.NoError(t, err)
	require.NoError(t, reader.Close())

	writer, err := vhd.Open(name, &vhd.Options{Writable: true})
	require.NoError(t, err)
	_, err = vhd.Check(t.Context(), name, vhd.CheckOptions{})
	require.ErrorIs(t, err, vhd.ErrLocked)
	_, err = vhd.Check(t.Context(), name, vhd.CheckOptions{Options: vhd.Options{Lock: vhd.LockNone}})
	require.NoError(t, err)
	require.NoError(t, writer.Close(), "the check gave its lock back")
}

// A parent that is being written is not missing: nobody can say what is in it.
func TestACheckOfAChainEndsAtAParentThatIsLocked(t *testing.T) {
	dir := t.TempDir()
	base, leaf := filepath.Join(dir, "base.vhd"), filepath.Join(dir, "disk.vhd")
	require.NoError(t, os.WriteFile(base, checkedDisk().Build(t), 0o600))
	require.NoError(t, os.WriteFile(leaf, checkedChild().Build(t), 0o600))
	writer, err := vhd.Open(base, &vhd.Options{Writable: true})
	require.NoError(t, err)
	report, err := vhd.Check(t.Context(), leaf, vhd.CheckOptions{Chain: true})
	require.ErrorIs(t, err, vhd.ErrLocked)
	require.Contains(t, err.Error(), "base.vhd")
	require.Equal(t, &vhd.Report{Findings: []vhd.Finding{}}, report)
	_, err = vhd.Check(t.Context(), leaf, vhd.CheckOptions{})
	require.NoError(t, err, "alone")
	require.NoError(t, writer.Close())
	_, err = vhd.Check(t.Context(), leaf, vhd.CheckOptions{Chain: true})
	require.NoError(t, err)
}

// chainFiles are a disk, its base and one between them, each changed or not.
func chainFiles(t testing.TB, change map[string]func(t testing.TB, file []byte) []byte) map[string][]byte {
	t.Helper()
	mid := checkedChild()
	leaf := vhdtest.NewChild(mid, "mid.vhd")
	leaf.BlockSize = checkedBlock
	files := map[string][]byte{"base.vhd": checkedDisk().Build(t), "mid.vhd": mid.Build(t), "disk.vhd": leaf.Build(t)}
	for name, do := range change {
		files[name] = do(t, files[name])
	}
	return files
}

// imageCodes are the findings, each as the name of its file in d and its code.
func imageCodes(report *vhd.Report) []string {
	var told []string
	for _, f := range report.Findings {
		told = append(told, strings.TrimPrefix(f.Image, "d/")+" "+f.Code)
	}
	return told
}

// A parent that is damaged is told of as if it were checked by itself, and so are those below it.
func TestACheckOfAChainGoesOnBehindADamagedParent(t *testing.T) {
	savedState := inBoth(84, 1, 1)
	for name, test := range map[string]struct {
		mid  func(t testing.TB, file []byte) []byte
		want []string
	}{
		"blocks of another size": {inHead(32, 4, 3), []string{"disk.vhd parent-damaged", "mid.vhd block-size", "base.vhd saved-state"}},
		"no header": {func(_ testing.TB, file []byte) []byte {
			clear(file[512:1536])
			return file
		}, []string{"disk.vhd parent-damaged", "mid.vhd header-lost"}},
		"both footers": {func(t testing.TB, file []byte) []byte {
			t.Helper()
			return flip(200)(t, flip(-300)(t, file))
		}, []string{"disk.vhd parent-damaged", "mid.vhd footer-checksum", "mid.vhd copy-checksum"}},
		"another disk, which is damaged too": {func(t testing.TB, file []byte) []byte {
			t.Helper()
			return inHead(32, 4, 3)(t, inBoth(68, 1, 0)(t, file))
		}, []string{"disk.vhd parent-not-found"}},
		"text": {func(testing.TB, []byte) []byte { return bytes.Repeat([]byte("no VHD\n"), 1000) }, []string{"disk.vhd parent-not-found"}},
	} {
		t.Run(name, func(t *testing.T) {
			files := chainFiles(t, map[string]func(t testing.TB, file []byte) []byte{"base.vhd": savedState, "mid.vhd": test.mid})
			report, err := checkFiles(t, files, vhd.CheckOptions{Chain: true})
			require.NoError(t, err)
			require.Equal(t, test.want, imageCodes(report))
		})
	}
}

// What is of a kind that nobody knows can't be checked, be it a parent or not.
func TestACheckOfAChainEndsAtAParentOfAnUnknownType(t *testing.T) {
	files := chainFiles(t, map[string]func(t testing.TB, file []byte) []byte{"mid.vhd": inBoth(60, 4, 5)})
	files["disk.vhd"] = inHead(28, 4, 3)(t, files["disk.vhd"])
	report, err := checkFiles(t, files, vhd.CheckOptions{Chain: true})
	require.ErrorIs(t, err, vhd.ErrUnsupported)
	require.Contains(t, err.Error(), "d/mid.vhd: footer: disk type")
	require.Equal(t, []string{"disk.vhd table-entries"}, imageCodes(report), "what was found by then is told")
}

// Every name that was tried counts, and a few are told.
func TestCheckTellsOfManyAttemptsInFewWords(t *testing.T) {
	img := checkedChild()
	for slot := range img.Locators {
		img.Locators[slot] = vhdtest.W2ku(fmt.Sprintf(`C:\%d\b\c\%d.vhd`, slot, slot))
	}
	report, err := checkFiles(t, map[string][]byte{"disk.vhd": img.Build(t)}, vhd.CheckOptions{Chain: true})
	require.NoError(t, err)
	require.Equal(t, []string{"parent-not-found"}, allCodes(report))
	require.Regexp(t, `, and 21 more\.$`, report.Findings[0].Message, "4 ends of each of 8 paths, and the header's name")

	long := strings.Repeat("é", 10000)
	for slot := range img.Locators {
		img.Locators[slot] = vhdtest.MacXRaw(long)
	}
	report, err = checkFiles(t, map[string][]byte{"disk.vhd": img.Build(t)}, vhd.CheckOptions{Chain: true})
	require.NoError(t, err)
	for _, f := range report.Findings {
		require.Less(t, len(f.Message), 5000)
		require.True(t, utf8.ValidString(f.Message))
	}
}

func TestCheckLeavesFilesAlone(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk.vhd")
	img := checkedDisk()
	img.Footer = vhdtest.FooterZeroed
	require.NoError(t, os.WriteFile(name, img.Build(t), 0o400))
	long := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	require.NoError(t, os.Chtimes(name, long, long))
	sum := fileSum(t, name)
	report, err := vhd.Check(t.Context(), name, vhd.CheckOptions{Chain: true})
	require.NoError(t, err)
	require.Equal(t, []string{"footer-lost"}, codesOf(report, vhd.SeverityError))
	info, err := os.Stat(name)
	require.NoError(t, err)
	require.True(t, long.Equal(info.ModTime()))
	require.Equal(t, sum, fileSum(t, name))
}

func TestCheckTellsHowFarItIs(t *testing.T) {
	base, child := checkedDisk(), checkedChild()
	files := map[string][]byte{"base.vhd": base.Build(t), "disk.vhd": child.Build(t)}
	var last, most int64
	_, err := checkFiles(t, files, vhd.CheckOptions{Chain: true, Progress: func(done, total int64) {
		require.GreaterOrEqual(t, done, last)
		require.GreaterOrEqual(t, total, done)
		last, most = done, total
	}})
	require.NoError(t, err)
	require.Equal(t, int64(len(files["base.vhd"])+len(files["disk.vhd"])), most)
	require.Equal(t, most, last)
}

func TestTheEndOfTheContextEndsACheck(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	mem := inMemory(t, checkedDisk().Build(t))
	_, err := vhd.Check(ctx, "disk.vhd", vhd.CheckOptions{Options: vhd.Options{FS: mem}, Progress: func(int64, int64) { end() }})
	require.ErrorIs(t, err, context.Canceled)
}

// Storage that fails is no finding, whichever read it is that fails; some are tried again.
func TestACheckThatCanNotReadSaysSo(t *testing.T) {
	mem := vhdtest.NewMemFS()
	require.NoError(t, mem.WriteFile("base.vhd", checkedDisk().Build(t)))
	require.NoError(t, mem.WriteFile("disk.vhd", checkedChild().Build(t)))
	failing := vhdtest.NewFaultFS(mem)
	failed := 0
	for at := 1; ; at++ {
		failing.Arm(vhdtest.Fault{At: at, All: true, Match: func(op vhdtest.Op) bool { return op.Kind == vhdtest.OpRead }})
		report, err := vhd.Check(t.Context(), "disk.vhd", vhd.CheckOptions{Options: vhd.Options{FS: failing}, Chain: true})
		if err != nil {
			failed++
			require.ErrorIs(t, err, syscall.EIO, "read %d", at)
			continue
		}
		require.Empty(t, report.Findings)
		if failing.Fired() == 0 {
			break
		}
	}
	require.Greater(t, failed, 6)
}

func TestAReportIsReadyForJSON(t *testing.T) {
	report := vhd.Report{Findings: []vhd.Finding{
		{Code: "bat-overlap", Severity: vhd.SeverityError, Image: "a.vhd", Structure: "BAT", Offset: 1536, Message: "Words."},
		{Code: "bat-overlap", Severity: vhd.SeverityError, Image: "a.vhd", Structure: "BAT", Offset: 1540, Message: "More.", Count: 7},
	}}
	text, err := json.Marshal(report)
	require.NoError(t, err)
	require.JSONEq(t, `{"findings":[{"code":"bat-overlap","severity":"error","image":"a.vhd","structure":"BAT","offset":1536,"message":"Words."},
		{"code":"bat-overlap","severity":"error","image":"a.vhd","structure":"BAT","offset":1540,"message":"More.","count":7}]}`, string(text))
	var again vhd.Report
	require.NoError(t, json.Unmarshal(text, &again))
	require.Equal(t, report, again)

	empty, err := checkFiles(t, map[string][]byte{"disk.vhd": checkedDisk().Build(t)}, vhd.CheckOptions{})
	require.NoError(t, err)
	text, err = json.Marshal(empty)
	require.NoError(t, err)
	require.JSONEq(t, `{"findings":[]}`, string(text))
}

func TestSeveritiesHaveNames(t *testing.T) {
	for severity, name := range map[vhd.Severity]string{vhd.SeverityInfo: "info", vhd.SeverityLeak: "leak", vhd.SeverityError: "error"} {
		require.Equal(t, name, severity.String())
		text, err := severity.MarshalText()
		require.NoError(t, err)
		require.Equal(t, name, string(text))
		var again vhd.Severity
		require.NoError(t, again.UnmarshalText(text))
		require.Equal(t, severity, again)
	}
	require.Less(t, vhd.SeverityInfo, vhd.SeverityLeak)
	require.Less(t, vhd.SeverityLeak, vhd.SeverityError)
	for _, severity := range []vhd.Severity{-1, 3} {
		_, err := severity.MarshalText()
		require.ErrorIs(t, err, fs.ErrInvalid)
	}
	require.ErrorIs(t, new(vhd.Severity).UnmarshalText([]byte("grave")), fs.ErrInvalid)
}

// A new image has a page free in front of its first block, where small blocks would
// fit. That is nobody's loss, and other gaps are.
func TestCheckFindsNoLeakOfSmallBlocksInWhatIsExported(t *testing.T) {
	for _, blockSize := range []int64{512, 1024, 2048, 4096, 8192} {
		for _, size := range []int64{100 << 10, 1 << 20, 5 << 20} {
			disk, err := vhd.Create("new.vhd", vhd.CreateOptions{Options: vhd.Options{FS: vhdtest.NewMemFS()}, Size: size, BlockSize: blockSize})
			require.NoError(t, err)
			_, err = disk.WriteAt(fill(1, 60<<10), 0)
			require.NoError(t, err)
			report, err := checkFiles(t, map[string][]byte{"disk.vhd": exportVHD(t, disk, sameOptions(vhd.Dynamic))}, vhd.CheckOptions{})
			require.NoError(t, err)
			require.Empty(t, report.Findings, "%d bytes in blocks of %d", size, blockSize)
			require.NoError(t, disk.Close())
		}
	}
}

func TestCheckFindsALeakOfSmallBlocks(t *testing.T) {
	for name, off := range map[string][2]int64{
		"a gap between blocks":      {7680, 7680 + 3*1536},
		"a gap before the new page": {7680 - 512, 7680 + 1024},
		"a gap behind the new page": {7680 + 512, 7680 + 2048},
	} {
		img := vhdtest.NewDynamic(100<<10, vhdtest.Block{Index: 0, Off: off[0]}, vhdtest.Block{Index: 1, Off: off[1]})
		img.BlockSize = 1024
		report, err := checkFiles(t, map[string][]byte{"disk.vhd": img.Build(t)}, vhd.CheckOptions{})
		require.NoError(t, err)
		require.Contains(t, allCodes(report), "free-blocks", name)
	}
}

// Less than a block is no loss, and neither is what aligns blocks, however many there are.
func TestCheckFindsNoLeakInGapsOfLessThanABlock(t *testing.T) {
	img := vhdtest.NewDynamic(64 * checkedBlock)
	img.BlockSize = checkedBlock
	for i := range 64 {
		img.Blocks = append(img.Blocks, vhdtest.Block{Index: i, Align: 4096})
	}
	img.Blocks[7].Gap, img.Blocks[20].Gap = 28672, 28672
	report, err := checkFiles(t, map[string][]byte{"disk.vhd": img.Build(t)}, vhd.CheckOptions{})
	require.NoError(t, err)
	require.Empty(t, report.Findings)
}

// A small disk grows by few blocks at a time, and each time the footer stands where Windows has it:
// blocks smaller than that have gaps between them, which are none of anybody's.
func TestWhatAlignsFootersWhileADiskGrowsIsNoLeak(t *testing.T) {
	mem := vhdtest.NewMemFS()
	disk, err := vhd.Create("small.vhd", vhd.CreateOptions{Options: vhd.Options{FS: mem}, Size: 56 << 10, BlockSize: 1 << 10})
	require.NoError(t, err)
	for off := int64(0); off < disk.Size(); off += 1 << 10 {
		_, err := disk.WriteAt([]byte("data"), off)
		require.NoError(t, err)
	}
	require.NoError(t, disk.Close())
	report, err := vhd.Check(t.Context(), "small.vhd", vhd.CheckOptions{Options: vhd.Options{FS: mem}})
	require.NoError(t, err)
	require.Empty(t, report.Findings)
}

// Small blocks are many, and not worth a read each: bitmaps that are near each other come in one.
func TestCheckReadsTheBitmapsOfSmallBlocksTogether(t *testing.T) {
	for blockSize, most := range map[int64]int{512: 60, 4096: 200, 32 << 10: 600} {
		img := vhdtest.NewDynamic(1000 * blockSize)
		img.BlockSize = blockSize
		for i := range 1000 {
			block := vhdtest.Block{Index: i, Align: 512, Data: []byte("data")}
			switch i {
			case 500:
				block.Gap = 300 << 10
			case 777:
				block.Bitmap = []byte{0}
			}
			img.Blocks = append(img.Blocks, block)
		}
		calls := vhdtest.NewRecordFS(inMemory(t, img.Build(t)))
		report, err := vhd.Check(t.Context(), "disk.vhd", vhd.CheckOptions{Options: vhd.Options{FS: calls}})
		require.NoError(t, err)
		require.Less(t, calls.Count(), most)
		at := slices.IndexFunc(report.Findings, func(f vhd.Finding) bool { return f.Code == "bitmap-clear-data" })
		require.Contains(t, report.Findings[at].Message, "Block 777 has data")
		require.NotContains(t, allCodes(report), "bitmap-padding")
	}
}
