package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"html"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// putGrandchild is putChild of a child that holds something.
func putGrandchild(t *testing.T, name string, parent *vhdtest.Image, path string, blocks ...vhdtest.Block) *vhdtest.Image {
	t.Helper()
	child := vhdtest.NewChild(parent, "", blocks...)
	child.Locators[0] = vhdtest.W2ru(path)
	return putImage(t, name, child)
}

// putReported writes a folder with a chain, and with all that can be wrong with images.
func putReported(t *testing.T) {
	t.Helper()
	enter(t)
	base := putImage(t, "disks/base.vhd", testBase())
	alice := putGrandchild(t, "disks/alice.vhd", base, `.\base.vhd`, vhdtest.Block{Index: 0, Data: bytes.Repeat([]byte("alice"), 4096)})
	putGrandchild(t, "disks/alice2.vhd", alice, `.\alice.vhd`, vhdtest.Block{Index: 0, Data: bytes.Repeat([]byte("alice2"), 1024)})
	putChild(t, "disks/lost.vhd", &vhdtest.Image{Size: testSize, ID: idOf("gone")}, `.\gone.vhd`)
	putImage(t, "disks/fixed.vhd", vhdtest.NewFixed(1<<20, nil))
	leaky := soundDisk()
	leaky.Slack = 3 << 20
	putImage(t, "disks/leaky.vhd", leaky)
	bad := vhdtest.NewDynamic(testSize, vhdtest.Block{Index: 0}, vhdtest.Block{Index: 1})
	bad.ID = idOf("bad")
	image := bad.Build(t)
	vhdtest.EditEntry(t, image, 0, 0)
	writeFile(t, "disks/bad.vhd", image)
	writeFile(t, "disks/notes.vhd", []byte("no image"))
	writeFile(t, "disks/notes.txt", []byte("no image either"))
}

// reportOn is the page on a folder.
func reportOn(t *testing.T, dir string) string {
	t.Helper()
	page := succeed(t, "report", "-o", "-", dir)
	requireWellFormed(t, page)
	return page
}

// skeleton is a page without its drawings, and without its style.
func skeleton(page string) string {
	return regexp.MustCompile(`(?s)<style>.*?</style>`).ReplaceAllString(withoutDrawings(page), "<style/>")
}

// withoutDrawings is a page without its drawings, which have tests of their own, and without what
// depends on the file system.
func withoutDrawings(page string) string {
	for _, dull := range []struct{ pattern, with string }{
		{`(?s)<svg.*?</svg>`, "<svg/>"},
		{`data-actual-size="\d+"`, `data-actual-size="N"`},
		{`take .* on disk`, "take N on disk"},
		{`(<dt>on disk</dt><dd>)[^<]*`, "${1}N"},
		{`(<td class="number used">)[^<]*`, "${1}N"},
	} {
		page = regexp.MustCompile(dull.pattern).ReplaceAllString(page, dull.with)
	}
	return page
}

// The page of testdata was looked at in a browser.
func TestAReportIsAsItWas(t *testing.T) {
	want := string(readFile(t, filepath.Join("testdata", "report.html")))
	putReported(t)
	page := reportOn(t, "disks")
	require.Equal(t, want, skeleton(page))
	require.Equal(t, page, reportOn(t, "disks"), "the same bytes each time")
}

func TestAReportIsMadeInAFile(t *testing.T) {
	putReported(t)
	before := sums(t)
	require.Equal(t, `report.html: a report of 8 images in 5 trees, 1 orphan, 1 unreadable
findings: 2 errors, 1 leak, 4 notes
compacting would give back 3 MiB of file size
merging would give back 2 MiB of file size
`, succeed(t, "report", "disks"))
	require.Equal(t, reportOn(t, "disks"), string(readFile(t, "report.html")))
	require.Empty(t, succeed(t, "report", "-q", "-o", "disks/page.html", "disks/"))
	require.Equal(t, reportOn(t, "disks/"), string(readFile(t, "disks/page.html")))
	after := sums(t)
	for name, sum := range before {
		require.Equal(t, sum, after[name], name)
	}
	require.Len(t, after, len(before)+2)

	requireInterrupted(t, "report.html: interrupted: nothing was made", "report", "disks")
	requireInterrupted(t, "disks: interrupted: nothing was made", "report", "--output", "json", "disks")
	require.Equal(t, after, sums(t))
}

func TestATileIsRedForWhatItCounts(t *testing.T) {
	enter(t)
	putImage(t, "disks/base.vhd", testBase())
	writeFile(t, "disks/notes.vhd", []byte("no image"))
	require.Contains(t, reportOn(t, "disks"), `<div><dt>without parent</dt><dd>0</dd><dd class="soft">and <span class="bad">1 unreadable</span></dd></div>`)
	require.NoError(t, os.Remove("disks/notes.vhd"))
	putChild(t, "disks/lost.vhd", &vhdtest.Image{Size: testSize, ID: idOf("gone")}, `.\gone.vhd`)
	require.Contains(t, reportOn(t, "disks"), `<div class="bad"><dt>without parent</dt><dd>1</dd><dd class="soft">and 0 unreadable</dd></div>`)
}

// tags are the data attributes of an element.
type tags map[string]string

// tagged are those of all elements of a page that have this one.
func tagged(page, key string) (all []tags) {
	for _, element := range regexp.MustCompile(`<\w+[^<>]* data-[^<>]*>`).FindAllString(page, -1) {
		found := tags{}
		for _, tag := range regexp.MustCompile(` data-([\w-]+)="([^"]*)"`).FindAllStringSubmatch(element, -1) {
			found[tag[1]] = html.UnescapeString(tag[2])
		}
		if _, ok := found[key]; ok {
			all = append(all, found)
		}
	}
	return all
}

// number is what a tag says.
func (f tags) number(t *testing.T, key string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(f[key], 10, 64)
	require.NoError(t, err, "%s of %v", key, f)
	return n
}

// requireTold compares a page with what the other verbs tell of each image.
func requireTold(t *testing.T, page string) {
	t.Helper()
	files := tagged(page, "virtual-size")
	findings := tagged(page, "code")
	require.NotEmpty(t, files)
	for _, file := range files {
		name := file["file"]
		findings = requireChecked(t, file, findings)
		if file["disk-type"] == "" {
			require.Equal(t, exitError, command(t, "info", name).code, name)
			continue
		}
		info := infoOf(t, name)
		data := &info.FormatSpecific.Data
		require.Equal(t, info.VirtualSize, file.number(t, "virtual-size"), name)
		require.Equal(t, info.ActualSize, file.number(t, "actual-size"), name)
		require.Equal(t, data.FileSize, file.number(t, "file-size"), name)
		require.Equal(t, data.DiskType, file["disk-type"], name)
		require.Equal(t, data.UniqueID, file["unique-id"], name)
		require.Equal(t, strconv.FormatBool(data.InUse), file["in-use"], name)
		if data.Blocks != nil {
			require.Equal(t, []int64{int64(data.Blocks.Allocated), data.Blocks.Total}, []int64{file.number(t, "allocated"), file.number(t, "total")}, name)
		}
		requireCompacted(t, file)
	}
	require.Empty(t, findings)
}

// requireChecked compares the findings in a page that are of a file with what vhd check --chain tells of it,
// and returns the others.
func requireChecked(t *testing.T, file tags, findings []tags) (others []tags) {
	t.Helper()
	c := decode[checked](t, command(t, "check", "--chain", "--output", "json", file["file"]).stdout)
	own := slices.DeleteFunc(c.Findings, func(f vhd.Finding) bool { return f.Image != file["file"] })
	require.Equal(t, []int64{countOf(own, vhd.SeverityError), countOf(own, vhd.SeverityLeak)},
		[]int64{file.number(t, "corruptions"), file.number(t, "leaks")}, file["file"])
	var want, got []tags
	for _, f := range own {
		want = append(want, tags{"image": f.Image, "code": f.Code, "severity": f.Severity.String(), "offset": strconv.FormatInt(f.Offset, 10)})
	}
	for _, f := range findings {
		if f["image"] == file["file"] {
			got = append(got, f)
		} else {
			others = append(others, f)
		}
	}
	require.Equal(t, want, got)
	return others
}

// requireCompacted compares what a page says of a file with what vhd compact would do.
func requireCompacted(t *testing.T, file tags) {
	t.Helper()
	a := command(t, "compact", "--dry-run", "--output", "json", file["file"])
	if a.code != exitOK {
		require.NotContains(t, file, "compacted-size", file["file"])
		return
	}
	require.Equal(t, decode[compacted](t, a.stdout).After, file.number(t, "compacted-size"), file["file"])
}

func TestImagesWithTheSameFindingsStandTogether(t *testing.T) {
	enter(t)
	for i := range 64 {
		putImage(t, fmt.Sprintf("disks/i%02d.vhd", i), testBase())
	}
	putImage(t, "disks/j.vhd", soundDisk())
	writeFile(t, "disks/notes.vhd", []byte("no image"))
	writeFile(t, "disks/notes2.vhd", []byte("no image"))
	page := reportOn(t, "disks")
	requireTold(t, page)
	findings := between(page, "<h2>Findings</h2>", "<h2>")
	require.Equal(t, 2, strings.Count(findings, "<table"))
	require.Contains(t, findings, "<summary>63 more images have the same findings</summary>")
	require.Equal(t, 2, strings.Count(findings, "It could not be checked"))
}

func TestAReportTellsWhatTheOtherVerbsDo(t *testing.T) {
	putReported(t)
	requireTold(t, reportOn(t, "disks"))
	for seed := range uint64(5) {
		t.Chdir(t.TempDir())
		vhdtest.RandomChain(seed, vhdtest.ChainOptions{Limits: vhdtest.Anything}).WriteDir(t, mkdir(t, "disks"))
		requireTold(t, reportOn(t, "disks"))
	}
}

// reported are the findings of a report on a folder, in the order of its images.
func reported(t *testing.T, dir string) []vhd.Finding {
	t.Helper()
	r := decode[folderReport](t, succeed(t, "report", "--output", "json", dir))
	var all []vhd.Finding
	for _, image := range r.Images {
		all = append(all, image.Findings...)
	}
	require.Equal(t, r.Corruptions, countOf(all, vhd.SeverityError))
	return all
}

// What a report finds in a folder is what a check finds of all its chains, each thing once.
func TestAReportFindsWhatChecksOfAllChainsFind(t *testing.T) {
	enter(t)
	base := putImage(t, "disks/base.vhd", testBase())
	middle := putGrandchild(t, "disks/middle.vhd", base, `.\base.vhd`)
	putGrandchild(t, "disks/alice.vhd", middle, `.\middle.vhd`)
	putGrandchild(t, "disks/bob.vhd", middle, `.\middle.vhd`)
	putChild(t, "disks/lost.vhd", base, `.\gone.vhd`)
	putChild(t, "disks/other.vhd", &vhdtest.Image{Size: testSize, ID: idOf("another")}, `.\base.vhd`)
	larger := vhdtest.NewChild(base, "base.vhd")
	larger.Size *= 2
	putImage(t, "disks/larger.vhd", larger)
	old := vhdtest.NewChild(base, "base.vhd")
	old.ParentTime = 60
	putImage(t, "disks/old.vhd", old)
	damaged := putImage(t, "disks/damaged.vhd", vhdtest.NewDynamic(testSize))
	putChild(t, "disks/worthless.vhd", damaged, `.\damaged.vhd`)
	raw := readFile(t, "disks/damaged.vhd")
	raw[600] ^= 1
	writeFile(t, "disks/damaged.vhd", raw)

	var want []vhd.Finding
	codes := map[string]bool{}
	for _, name := range []string{"alice", "bob", "lost", "other", "larger", "old", "worthless"} { // the leaves
		c := decode[checked](t, command(t, "check", "--chain", "--output", "json", "disks/"+name+".vhd").stdout)
		for _, f := range c.Findings {
			if codes[f.Code] = true; !slices.Contains(want, f) {
				want = append(want, f)
			}
		}
	}
	for _, code := range []string{"parent-not-found", "parent-mismatch", "parent-size", "parent-time", "parent-damaged"} {
		require.True(t, codes[code], code)
	}
	require.ElementsMatch(t, want, reported(t, "disks"))
}

// A check goes on to where a chain has its fault, and a report tells of it at each image that has
// no chain.
func TestAReportFindsChainsWithoutAnEnd(t *testing.T) {
	enter(t)
	one, two := &vhdtest.Image{Size: testSize, ID: idOf("one.vhd")}, &vhdtest.Image{Size: testSize, ID: idOf("two.vhd")}
	putChild(t, "one.vhd", two, `.\two.vhd`)
	putChild(t, "two.vhd", one, `.\one.vhd`)
	above := vhdtest.NewChild(one, "one.vhd")
	putImage(t, "above.vhd", above)
	for _, name := range []string{"one.vhd", "two.vhd", "above.vhd"} {
		require.Contains(t, command(t, "check", "--chain", name).stdout, "[chain-loop]")
	}
	var told []string
	for _, f := range reported(t, ".") {
		require.Equal(t, "chain-loop", f.Code)
		told = append(told, f.Image)
	}
	require.Equal(t, []string{"above.vhd", "one.vhd", "two.vhd"}, told)
}

func TestAFindingHasTheNameOfItsImage(t *testing.T) {
	putReported(t)
	t.Chdir("disks")
	for _, dir := range []string{".", "./", "../disks", workingDir(t)} {
		n := 0
		for _, image := range decode[folderReport](t, succeed(t, "report", "--output", "json", dir)).Images {
			for _, f := range image.Findings {
				require.Equal(t, image.Filename, f.Image, dir)
				n++
			}
		}
		require.NotZero(t, n)
	}
}

func TestOthersReadAReportAsItIsMeant(t *testing.T) {
	vhdtest.Chromium.Need(t)
	putReported(t)
	if os.PathSeparator == '/' {
		require.NoError(t, os.Rename("disks/leaky.vhd", "disks/<img src=x onerror=alert(1)>\"'&{{.}}.vhd"))
	}
	succeed(t, "report", "-o", "a report.html", "disks")
	dom := string(vhdtest.Chromium.Content(t, "a report.html"))
	requireTold(t, dom)
	require.Equal(t, tagged(reportOn(t, "disks"), "trees"), tagged(dom, "trees"))
	require.NotContains(t, dom, "<img")
	require.Contains(t, dom, "&lt;img src=x")

	sum := tagged(dom, "trees")[0]
	r := decode[folderReport](t, succeed(t, "report", "--output", "json", "disks"))
	require.Equal(t, []int64{int64(len(r.Images)), int64(r.Orphans), r.FileSize, r.ActualSize, r.Compacting, r.Merging}, []int64{
		sum.number(t, "images"), sum.number(t, "orphans"), sum.number(t, "file-size"), sum.number(t, "actual-size"),
		sum.number(t, "bytes-compacting"), sum.number(t, "bytes-merging")})
	require.Equal(t, sharesInJSON(t, "disks/alice2.vhd"), sharesInPage(t, between(dom, "<summary>alice2.vhd</summary>", "</details>")))
}

// between is the text between two others.
func between(text, from, to string) string {
	_, text, _ = strings.Cut(text, from)
	text, _, _ = strings.Cut(text, to)
	return text
}

// mergesOf are the merges that a report on the current directory tells of.
func mergesOf(t *testing.T) []*fold {
	t.Helper()
	return decode[folderReport](t, succeed(t, "report", "--output", "json", ".")).Merges
}

// shellWords are the words of a command line as a shell has them.
func shellWords(t *testing.T, line string) []string {
	t.Helper()
	if os.PathSeparator != '/' {
		return strings.Fields(line)
	}
	words := output(t, "sh", "-c", `printf '%s\n' `+line)
	return strings.Split(strings.TrimSuffix(words, "\n"), "\n")
}

// merge does what a report says, and returns the size of what is left of it.
func merge(t *testing.T, f *fold) int64 {
	t.Helper()
	succeed(t, shellWords(t, f.Command)[1:]...)
	for _, name := range f.Images[:len(f.Images)-1] {
		require.NoFileExists(t, name)
	}
	return sizeOf(t, f.Into)
}

func TestAReportTellsOfMergesInJSON(t *testing.T) {
	putReported(t)
	text := succeed(t, "report", "--output", "json", "disks")
	_, merges, _ := strings.Cut(text, `"merges": `)
	require.JSONEq(t, `[{"filename": "disks/alice2.vhd", "into": "disks/base.vhd", "images": ["disks/alice2.vhd", "disks/alice.vhd", "disks/base.vhd"],
		"bytes-before": 6301696, "bytes-after": 4201472, "command": "vhd merge --into disks/base.vhd disks/alice2.vhd"}]`, strings.TrimSuffix(merges, "}\n"))
}

func TestAMergeGivesBackWhatAReportSays(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			enter(t)
			w := writer{rand.New(rand.NewPCG(seed, 0))}
			w.create(t, "base.vhd", "")
			for i, parent := range []string{"base", "0", "1", "2", "3", "4", "5", "5", "1", "1"} { // 1 has three children, and 5 has two
				w.create(t, fmt.Sprintf("%d.vhd", i), parent+".vhd")
			}
			merges := mergesOf(t)
			require.Len(t, merges, 2)
			require.Equal(t, []string{"0.vhd", "base.vhd"}, merges[0].Images)
			require.Equal(t, "vhd merge --from ./0.vhd 6.vhd", merges[0].Command)
			require.Equal(t, []string{"4.vhd", "3.vhd", "2.vhd"}, merges[1].Images)
			require.Equal(t, "vhd merge --from ./4.vhd --into ./2.vhd 6.vhd", merges[1].Command)
			leaves := []string{"6.vhd", "7.vhd", "8.vhd", "9.vhd"}
			before := contents(t, leaves)
			for _, f := range merges {
				require.Equal(t, f.After, merge(t, f))
				require.Equal(t, before, contents(t, leaves))
			}
		})
	}
}

// contents are the sums of what disks read as.
func contents(t *testing.T, names []string) (all []string) {
	t.Helper()
	for _, name := range names {
		all = append(all, fmt.Sprintf("%x", sha256.Sum256(export(t, name))))
	}
	return all
}

// writer makes images that hold something.
type writer struct{ rng *rand.Rand }

func (w writer) create(t *testing.T, name, parent string) {
	t.Helper()
	opts := vhd.CreateOptions{Parent: parent}
	if parent == "" {
		opts.Size = 20 << 20
	}
	d, err := vhd.Create(name, opts)
	require.NoError(t, err)
	for range 4 {
		_, err := d.WriteAt(bytes.Repeat([]byte(name), 100), w.rng.Int64N(d.Size()-1000))
		require.NoError(t, err)
	}
	require.NoError(t, d.Close())
}

func TestAReportProposesNoMergeFromWhichOthersWouldSuffer(t *testing.T) {
	enter(t)
	base := putFamily(t) // more/bob.vhd is a child too, and -R would show it
	putChild(t, "lost.vhd", base, `.\gone.vhd`)
	merges := mergesOf(t)
	require.Len(t, merges, 1)
	require.Contains(t, merges[0].Problem, "another image has it as its parent: ")
	require.Contains(t, merges[0].Problem, "lost.vhd")
	require.Empty(t, merges[0].Command)
	require.Zero(t, decode[folderReport](t, succeed(t, "report", "--output", "json", ".")).Merging)
	require.Contains(t, reportOn(t, "."), "another image has it as its parent: ")
}

func TestAReportProposesNoMergeOfWhatAMachineInSavedStateHas(t *testing.T) {
	enter(t)
	base := putImage(t, "base.vhd", testBase())
	saved := vhdtest.NewChild(base, "base.vhd")
	saved.SavedState = 1
	putImage(t, "saved.vhd", saved)
	require.Empty(t, mergesOf(t))
	require.Contains(t, reportOn(t, "."), "saved.vhd<br><span class=\"remark soft\">saved state</span>")
}

func TestAMergeGivesBackWhatAReportSaysOfAnyImages(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			enter(t)
			vhdtest.RandomChain(seed, vhdtest.ChainOptions{Limits: vhdtest.Anything}).WriteDir(t, ".")
			for _, f := range mergesOf(t) {
				sizes := map[int64]bool{}
				for _, name := range f.Images {
					sizes[diskSize(t, name)] = true
				}
				left := merge(t, f)
				if len(sizes) == 1 {
					require.LessOrEqual(t, left, f.After)
				}
			}
		})
	}
}

func TestNamesDoNothingInAReport(t *testing.T) {
	if os.PathSeparator != '/' {
		t.Skip("no file can have such a name")
	}
	enter(t)
	testChain(t)
	require.NoError(t, os.Rename("leaf.vhd", hostileName))
	putChild(t, "$(touch pwned).vhd", &vhdtest.Image{Size: testSize, ID: idOf("gone")}, ".\\</title></style></svg><script>alert(1)</script>\x1b[2J\u202e.vhd")
	writeFile(t, "</details>\n<script>.vhd", []byte("no image"))
	page := reportOn(t, ".")
	elements := requireWellFormed(t, page)
	for _, name := range []string{"img", "script", "a", "link", "iframe", "object", "form"} {
		require.Zero(t, elements[name], name)
	}
	for _, r := range page {
		require.False(t, r < ' ' && r != '\n' || r == '\u202e', "%q", r)
	}
	require.NotRegexp(t, `https?://`, strings.ReplaceAll(page, "http://www.w3.org/2000/svg", ""))
	require.Contains(t, page, `content="default-src 'none'; style-src 'unsafe-inline'"`)
	require.Contains(t, page, "onerror=alert(1)", "all the same it is shown")
	require.Contains(t, page, "{{.}}")
}

// What is told is of no harm to whoever has the image, and may be over by now.
func TestAReportMarksImagesThatAreInUse(t *testing.T) {
	enter(t)
	testChain(t)
	d, err := vhd.Open("leaf.vhd", &vhd.Options{Writable: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Close()) }()
	page := reportOn(t, ".")
	require.Regexp(t, `data-file="leaf.vhd"[^>]* data-in-use="true"`, page)
	require.Regexp(t, `data-file="base.vhd"[^>]* data-in-use="false"`, page)
	require.Equal(t, 2, strings.Count(page, `<span class="remark soft">in use</span>`), "of the image, and of the merge")
	require.Equal(t, "true", tagged(page, "in-use")[1]["in-use"])
}

func TestAReportHasSoManyMapsAndNoMore(t *testing.T) {
	enter(t)
	for i := range maxMaps + 2 {
		putImage(t, fmt.Sprintf("%02d.vhd", i), vhdtest.NewDynamic(testSize))
	}
	page := reportOn(t, ".")
	require.Equal(t, maxMaps, strings.Count(page, "<details>"))
	require.Contains(t, succeed(t, "report", "."), "\nmaps: of the first 64 disks; vhd map --html draws those of the 2 others\n")
	require.Contains(t, succeed(t, "report", "--help"), fmt.Sprintf("of the first %d if\n", maxMaps))
	require.Contains(t, page, "<p>Of 2 more disks there is no map here: vhd map --html draws one.</p>")
	require.Len(t, tagged(page, "virtual-size"), maxMaps+2)
}

func TestAReportOfARing(t *testing.T) {
	enter(t)
	for _, c := range []struct{ name, parent string }{
		{"a.vhd", "c.vhd"}, {"b.vhd", "a.vhd"}, {"c.vhd", "b.vhd"}, {"beside.vhd", "b.vhd"}, {"self.vhd", "self.vhd"},
	} {
		putChild(t, c.name, &vhdtest.Image{Size: testSize, ID: idOf(c.parent)}, `.\`+c.parent)
	}
	page := reportOn(t, ".")
	require.Contains(t, page, "✕ chain of parents is a loop: c.vhd is its parent too")
	require.Len(t, tagged(page, "virtual-size"), 5)
	for _, f := range mergesOf(t) {
		require.Contains(t, f.Problem, "chain of parents is a loop")
	}
}

func TestAReportOfAFolderWithoutImages(t *testing.T) {
	enter(t)
	mkdir(t, "none")
	page := reportOn(t, "none")
	require.Contains(t, page, "<p>none: no images; -R looks into the folders in it too</p>")
	require.NotContains(t, page, "<svg")
}

func TestAReportSaysThatAFolderCanNotBeRead(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("nothing is closed to root")
	}
	enter(t)
	testChain(t)
	require.NoError(t, os.Mkdir("closed", 0))
	a := command(t, "report", "-R", "-o", "-", ".")
	require.Equal(t, answer{exitError, a.stdout, "vhd: ./closed: permission denied\n"}, a)
	require.Contains(t, a.stdout, `<p class="bad">✕ ./closed: permission denied</p>`)
	require.Len(t, tagged(a.stdout, "virtual-size"), 2)
}

func TestAReportReplacesNoImage(t *testing.T) {
	enter(t)
	testChain(t)
	mkdir(t, "dir")
	before := sums(t)
	for out, want := range map[string]string{
		"leaf.vhd":   "vhd: leaf.vhd: it is a VHD image, which a report would replace\nhint: choose another name: a report takes the place of no image\n",
		"dir":        "vhd: dir: it is a directory\nhint: give the new file a name in it, such as dir/NEW\n",
		"none/x.htm": "vhd: none/x.htm: there is no directory none\nhint: mkdir -p none\n",
	} {
		require.Equal(t, want, refuse(t, "report", "-o", out, "."))
	}
	require.Equal(t, "vhd: none: no such file or directory\nhint: vhd ls . shows the images there\n", refuse(t, "report", "none"))
	require.Equal(t, "vhd: leaf.vhd: it is no directory\nhint: vhd info --chain leaf.vhd tells of an image and its parents\n", refuse(t, "report", "leaf.vhd"))
	require.Equal(t, before, sums(t))
}

func TestAReportThatCanNotBeWrittenIsAnError(t *testing.T) {
	enter(t)
	testChain(t)
	for _, form := range [][]string{{"-o", "-"}, {"--output", "json"}, {"-o", "x.html"}} {
		var stderr bytes.Buffer
		code := run(append(append([]string{"report"}, form...), "."), strings.NewReader(""), fullFile{}, &stderr)
		require.Equal(t, answer{exitError, "", "vhd: standard output: write: it is full\n"}, answer{code, "", stderr.String()}, form)
	}
}

func TestAReportThatCanNotBeUnderstood(t *testing.T) {
	enter(t)
	for line, want := range map[string]string{
		"report":                      "DIR is missing",
		"report a b":                  `"b" is one argument too many`,
		"report --out= .":             "OUT is empty",
		"report -o - --output json .": "the page and JSON can not both go to standard output: give OUT another name",
	} {
		a := command(t, strings.Fields(line)...)
		require.Equal(t, exitUsage, a.code, line)
		require.Contains(t, a.stderr, "vhd report: "+want+"\nusage: ", line)
	}
}
