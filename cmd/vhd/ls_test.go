package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// putImage writes an image whose identifier is its name, and makes the folders above it.
func putImage(t *testing.T, name string, img *vhdtest.Image) *vhdtest.Image {
	t.Helper()
	img.ID = idOf(name)
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	img.WriteFile(t, name)
	return img
}

// putChild is putImage of a child that refers to its parent by a path of Windows.
func putChild(t *testing.T, name string, parent *vhdtest.Image, path string) *vhdtest.Image {
	t.Helper()
	child := vhdtest.NewChild(parent, "")
	child.Locators[0] = vhdtest.W2ru(path)
	return putImage(t, name, child)
}

// putFamily writes a base, two children of which one is in another folder, and a grandchild.
func putFamily(t *testing.T) (base *vhdtest.Image) {
	t.Helper()
	base = putImage(t, "base.vhd", testBase())
	alice := putChild(t, "alice.vhd", base, `.\base.vhd`)
	putChild(t, "alice2.vhd", alice, `.\alice.vhd`)
	putChild(t, "more/bob.vhd", base, `..\base.vhd`)
	return base
}

// listing is what ls says, without what depends on the file system and the folder.
func listing(t *testing.T, args ...string) string {
	t.Helper()
	here, err := os.Getwd()
	require.NoError(t, err)
	out := strings.ReplaceAll(succeed(t, append([]string{"ls"}, args...)...), here, "HERE")
	return regexp.MustCompile(`take .* on disk`).ReplaceAllString(out, "take N on disk")
}

func TestLsDrawsWhoIsWhoseChild(t *testing.T) {
	t.Chdir(realDir(t))
	putFamily(t)
	putImage(t, "a template.vhd", vhdtest.NewFixed(1<<20, nil))
	writeFile(t, "notes.txt", []byte("no image"))
	require.Equal(t, `image               type          virtual size  file size
a template.vhd      fixed                1 MiB      1 MiB
base.vhd            dynamic              4 MiB      2 MiB
└── alice.vhd       differencing         4 MiB      3 KiB
    └── alice2.vhd  differencing         4 MiB      3 KiB

4 images in 2 trees; files of 3.01 MiB take N on disk.
`, listing(t))
	require.Equal(t, `image               type          virtual size  file size
a template.vhd      fixed                1 MiB      1 MiB
base.vhd            dynamic              4 MiB      2 MiB
├── alice.vhd       differencing         4 MiB      3 KiB
│   └── alice2.vhd  differencing         4 MiB      3 KiB
└── more/bob.vhd    differencing         4 MiB      3 KiB

5 images in 2 trees; files of 3.01 MiB take N on disk.
`, listing(t, "-R"))
	here, err := os.Getwd()
	require.NoError(t, err)
	for _, args := range [][]string{{"-R", "."}, {"-R", here}, {"--recursive", here + "/"}} {
		require.Equal(t, listing(t, "-R"), listing(t, args...))
	}
	require.Equal(t, succeed(t, "ls", "-R"), succeed(t, "tree", "-R"))

	require.Equal(t, succeed(t, "ls"), succeed(t, "ls", "--root", here), "all is in it")
	t.Chdir("more")
	out := regexp.MustCompile(" +").ReplaceAllString(strings.ReplaceAll(succeed(t, "ls"), here, "ABOVE"), " ")
	require.Contains(t, out, "\nABOVE/base.vhd outside this folder\n└── bob.vhd differencing 4 MiB 3 KiB\n\n1 image in 1 tree; ")
	require.Equal(t, "../none: no images\n", succeed(t, "ls", "-R", mkdir(t, "../none")))
	require.Equal(t, "../none: no images; -R looks into the folders in it too\n", succeed(t, "ls", "../none"))
}

func mkdir(t *testing.T, name string) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(name, 0o755))
	return name
}

func TestLsShowsOrphansBelowWhatTheyStore(t *testing.T) {
	enter(t)
	base := putFamily(t)
	other := testBase()
	other.ID = [16]byte{1}
	putChild(t, "carol.vhd", other, `.\base.vhd`)
	putChild(t, "dave.vhd", other, `C:\Disks\gone.vhd`)
	putChild(t, "erin.vhd", other, `C:\Disks\gone.vhd`)
	putChild(t, "frank.vhd", &vhdtest.Image{Size: base.Size}, `.\raw`).App = "tap"
	require.Equal(t, `image               type          virtual size  file size
base.vhd            dynamic              4 MiB      2 MiB
└── alice.vhd       differencing         4 MiB      3 KiB
    └── alice2.vhd  differencing         4 MiB      3 KiB
.\base.vhd          ✕ missing: what is there has another identifier
└── carol.vhd       differencing         4 MiB      3 KiB
C:\Disks\gone.vhd   ✕ missing
├── dave.vhd        differencing         4 MiB      3 KiB
└── erin.vhd        differencing         4 MiB      3 KiB
.\raw               ✕ unsupported: the parent's identifier is all zeros, as Xen marks a parent that is no VHD: parent not found
└── frank.vhd       differencing         4 MiB      3 KiB

7 images in 4 trees, 4 orphans; files of 2.02 MiB take N on disk.
hint: carol.vhd: what was found is another disk than the parent, or was made anew: put the original there; vhd info carol.vhd shows its identifier
hint: dave.vhd and 1 more: put the parent there: ./gone.vhd; or tell where it is now: vhd rebase -b PARENT dave.vhd; or let it be looked for in a folder and those in it: vhd rebase --tree DIR; vhd info dave.vhd shows its identifier
hint: vhd ls -R . looks for parents in the folders in it too
`, listing(t))
}

func TestLsFindsParentsThatHaveMoved(t *testing.T) {
	enter(t)
	putFamily(t)
	mkdir(t, "old")
	require.NoError(t, os.Rename("alice.vhd", "old/alice first.vhd"))
	require.Equal(t, `image                    type          virtual size  file size
.\alice.vhd              ✕ missing; it seems to be old/alice first.vhd now
└── alice2.vhd           differencing         4 MiB      3 KiB
base.vhd                 dynamic              4 MiB      2 MiB
└── more/bob.vhd         differencing         4 MiB      3 KiB
.\base.vhd               ✕ missing; it seems to be base.vhd now
└── old/alice first.vhd  differencing         4 MiB      3 KiB

4 images in 3 trees, 2 orphans; files of 2.01 MiB take N on disk.
hint: the parents of 2 images seem to be here: vhd rebase --tree . tells them where
`, listing(t, "-R"))
	require.NoError(t, os.Rename("base.vhd", "old/root.vhd"))
	require.Equal(t, `image                    type          virtual size  file size
.\alice.vhd              ✕ missing; it seems to be old/alice first.vhd now
└── alice2.vhd           differencing         4 MiB      3 KiB
..\base.vhd              ✕ missing; it seems to be old/root.vhd now
├── more/bob.vhd         differencing         4 MiB      3 KiB
└── old/alice first.vhd  differencing         4 MiB      3 KiB
old/root.vhd             dynamic              4 MiB      2 MiB

4 images in 3 trees, 3 orphans; files of 2.01 MiB take N on disk.
hint: the parents of 3 images seem to be here: vhd rebase --tree . tells them where
`, listing(t, "-R"))
	require.Equal(t, `image           type          virtual size  file size
.\alice.vhd     ✕ missing
└── alice2.vhd  differencing         4 MiB      3 KiB

1 image in 1 tree, 1 orphan; files of 3 KiB take N on disk.
hint: alice2.vhd: put the parent there: ./alice.vhd; or tell where it is now: vhd rebase -b PARENT alice2.vhd; or let it be looked for in a folder and those in it: vhd rebase --tree DIR; vhd info alice2.vhd shows its identifier
hint: vhd ls -R . looks for parents in the folders in it too
`, listing(t))

	succeed(t, "rebase", "--tree", ".")
	require.NotContains(t, listing(t, "-R"), "hint: ")
	require.NoError(t, os.Rename("old/root.vhd", "old/root1.vhd"))
	writeFile(t, "old/root2.vhd", readFile(t, "old/root1.vhd"))
	require.Equal(t, `image                    type          virtual size  file size
..\old\root.vhd          ✕ missing; 2 images have its identifier
├── more/bob.vhd         differencing         4 MiB      8 KiB
└── old/alice first.vhd  differencing         4 MiB      8 KiB
    └── alice2.vhd       differencing         4 MiB      8 KiB
old/root1.vhd            dynamic              4 MiB      2 MiB
old/root2.vhd            dynamic              4 MiB      2 MiB

5 images in 3 trees, 2 orphans; files of 4.03 MiB take N on disk.
hint: more/bob.vhd and 1 more: its parent may be any of old/root1.vhd, old/root2.vhd: vhd rebase -b PARENT more/bob.vhd takes the one that you name
`, listing(t, "-R"))
}

func TestLsDrawsARingOnce(t *testing.T) {
	enter(t)
	for _, c := range []struct{ name, parent string }{
		{"a.vhd", "c.vhd"}, {"b.vhd", "a.vhd"}, {"c.vhd", "b.vhd"}, {"beside.vhd", "b.vhd"}, {"self.vhd", "self.vhd"},
	} {
		putChild(t, c.name, &vhdtest.Image{Size: testSize, ID: idOf(c.parent)}, `.\`+c.parent)
	}
	require.Equal(t, `image               type          virtual size  file size
a.vhd               differencing         4 MiB      3 KiB  ✕ chain of parents is a loop: c.vhd is its parent too
└── b.vhd           differencing         4 MiB      3 KiB
    ├── beside.vhd  differencing         4 MiB      3 KiB
    └── c.vhd       differencing         4 MiB      3 KiB
self.vhd            differencing         4 MiB      3 KiB  ✕ chain of parents is a loop

5 images in 2 trees; files of 15 KiB take N on disk.
hint: self.vhd: vhd info self.vhd shows what it refers to; if another image is its parent: vhd rebase -b PARENT self.vhd
`, listing(t))
	for _, image := range decode[[]listed](t, succeed(t, "ls", "--output", "json")) {
		require.Equal(t, image.Filename != "beside.vhd", image.ParentProblem == "chain of parents is a loop", image.Filename)
	}
}

func idOf(name string) (id [16]byte) {
	copy(id[:], name)
	return id
}

func TestLsListsWhatCanNotBeRead(t *testing.T) {
	enter(t)
	putFamily(t)
	base := testBase()
	base.ID = [16]byte{1}
	whole := base.Build(t)
	writeFile(t, "cut.vhd", whole[:5000])
	vhdtest.Header(t, whole)[100]++
	writeFile(t, "damaged.vhd", whole)
	base.ID = [16]byte{2}
	putChild(t, "eve.vhd", base, `.\damaged.vhd`)
	writeFile(t, "empty.avhd", nil)
	writeFile(t, "new.vhdx", append([]byte("vhdxfile"), make([]byte, 4000)...))
	saved := testBase()
	saved.SavedState = 1
	putImage(t, "saved.vhd", saved)
	lost := testBase()
	lost.Footer = vhdtest.FooterZeroed
	putImage(t, "torn.vhd", lost)
	require.Equal(t, `image               type          virtual size  file size
base.vhd            dynamic              4 MiB      2 MiB
└── alice.vhd       differencing         4 MiB      3 KiB
    └── alice2.vhd  differencing         4 MiB      3 KiB
cut.vhd             dynamic              4 MiB   4.88 KiB  needs recovery
damaged.vhd         ✕ not a valid VHD: checksum is wrong: dynamic header
└── eve.vhd         differencing         4 MiB      3 KiB
empty.avhd          ✕ it is empty, and no image
new.vhdx            ✕ it is a VHDX image, which vhd does not read
saved.vhd           dynamic              4 MiB      2 MiB  saved state
torn.vhd            dynamic              4 MiB      2 MiB  needs recovery

10 images in 5 trees, 1 orphan, 3 unreadable; files of 8.03 MiB take N on disk.
hint: damaged.vhd: the file is damaged: go back to a copy of it, if there is one, and change nothing until then; vhd check damaged.vhd tells more
hint: empty.avhd: if it was copied or downloaded, do that again; vhd create makes a new image
hint: new.vhdx: qemu-img convert -O vpc -o force_size=on new.vhdx NEW.vhd makes a VHD of it
hint: cut.vhd and 1 more: a writer did not finish, or the file was cut off: vhd repair --dry-run cut.vhd tells what mends it
`, listing(t))
}

func TestLsTellsOnceWhatHappenedToManyImages(t *testing.T) {
	enter(t)
	base := testBase()
	for _, name := range []string{"a b.vhd", "c d.vhd", "e", "it's.vhd", "plain.vhd"} {
		image := base.Build(t)
		vhdtest.Header(t, image)[100]++
		writeFile(t, name, image)
	}
	for _, name := range []string{"self 1.vhd", "self2.vhd"} {
		putChild(t, name, &vhdtest.Image{Size: testSize, ID: idOf(name)}, `.\`+name)
	}
	_, hints, _ := strings.Cut(succeed(t, "ls"), "on disk.\n")
	self := quote("self 1.vhd")
	require.Equal(t, "hint: a b.vhd and 4 more: "+hintOfDamage(quote("a b.vhd"))+"\n"+
		"hint: self 1.vhd and 1 more: vhd info "+self+" shows what it refers to; if another image is its parent: vhd rebase -b PARENT "+self+"\n", hints)
}

func TestLsOfAnImageThatIsBeingWritten(t *testing.T) {
	enter(t)
	succeed(t, "create", "-q", "-s", "64M", "busy.vhd")
	d, err := vhd.Open("busy.vhd", &vhd.Options{Writable: true})
	require.NoError(t, err)
	defer d.Close()
	f, err := os.OpenFile("busy.vhd", os.O_WRONLY, 0)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteAt(make([]byte, 512), 0) // as if it were writing its footers
	require.NoError(t, err)
	require.NotContains(t, succeed(t, "ls"), "recovery")
	require.NoError(t, d.Close())
	require.Contains(t, succeed(t, "ls"), "needs recovery")
}

func TestLsOfAChainThatIsDeeperThanTheScreenIsWide(t *testing.T) {
	enter(t)
	parent := putImage(t, "000.vhd", testBase())
	for i := 1; i < 300; i++ {
		parent = putChild(t, numbered(i), parent, `.\`+numbered(i-1))
	}
	parent.ID = idOf(numbered(13))
	putChild(t, "side.vhd", parent, `.\`+numbered(13))
	lines := strings.Split(succeed(t, "ls"), "\n")
	indent := strings.Repeat("    ", 10)
	require.Equal(t, []string{
		indent + "└── 011.vhd           differencing         4 MiB      3 KiB",
		indent + "    └── 012.vhd       differencing         4 MiB      3 KiB",
		indent + "        └13─ 013.vhd  differencing         4 MiB      3 KiB",
		indent + "        ├14─ 014.vhd  differencing         4 MiB      3 KiB",
		indent + "        └15─ 015.vhd  differencing         4 MiB      3 KiB",
	}, lines[12:17])
	require.Equal(t, indent+"        └14─ side.vhd  differencing         4 MiB      3 KiB", lines[301])
	for _, line := range lines {
		require.LessOrEqual(t, len([]rune(line)), 140)
	}
	require.Regexp(t, `└256─ 256.vhd .* ✕ chain of parents is too deep$`, lines[257])
	require.Regexp(t, `└257─ 257.vhd .* KiB$`, lines[258])
	require.Empty(t, lines[302])
}

func numbered(i int) string {
	return string([]byte{'0' + byte(i/100), '0' + byte(i/10%10), '0' + byte(i%10)}) + ".vhd"
}

func TestLsTellsProgramsTheSame(t *testing.T) {
	enter(t)
	base := putFamily(t)
	putChild(t, "lost.vhd", base, `.\gone.vhd`)
	writeFile(t, "empty.vhd", nil)
	out := regexp.MustCompile(`"actual-size": \d+`).ReplaceAllString(succeed(t, "ls", "-R", "--output", "json"), `"actual-size": 1`)
	require.JSONEq(t, `[
		{"filename": "alice.vhd", "format": "vpc", "virtual-size": 4194304, "actual-size": 1, "file-size": 3072,
			"disk-type": "differencing", "unique-id": "616c6963-652e-7668-6400-000000000000", "saved-state": false, "needs-recovery": false,
			"backing-filename": ".\\base.vhd", "full-backing-filename": "base.vhd",
			"parent-unique-id": "62617365-2e76-6864-0000-000000000000", "children": ["alice2.vhd"]},
		{"filename": "alice2.vhd", "format": "vpc", "virtual-size": 4194304, "actual-size": 1, "file-size": 3072,
			"disk-type": "differencing", "unique-id": "616c6963-6532-2e76-6864-000000000000", "saved-state": false, "needs-recovery": false,
			"backing-filename": ".\\alice.vhd", "full-backing-filename": "alice.vhd",
			"parent-unique-id": "616c6963-652e-7668-6400-000000000000", "children": []},
		{"filename": "base.vhd", "format": "vpc", "virtual-size": 4194304, "actual-size": 1, "file-size": 2100224,
			"disk-type": "dynamic", "unique-id": "62617365-2e76-6864-0000-000000000000", "saved-state": false, "needs-recovery": false,
			"children": ["alice.vhd", "more/bob.vhd"]},
		{"filename": "empty.vhd", "virtual-size": 0, "actual-size": 1, "file-size": 0, "saved-state": false, "needs-recovery": false,
			"children": [], "error": "it is empty, and no image"},
		{"filename": "lost.vhd", "format": "vpc", "virtual-size": 4194304, "actual-size": 1, "file-size": 3072,
			"disk-type": "differencing", "unique-id": "6c6f7374-2e76-6864-0000-000000000000", "saved-state": false, "needs-recovery": false,
			"backing-filename": ".\\gone.vhd", "parent-unique-id": "62617365-2e76-6864-0000-000000000000",
			"parent-problem": "parent not found", "parent-candidates": ["base.vhd"], "children": []},
		{"filename": "more/bob.vhd", "format": "vpc", "virtual-size": 4194304, "actual-size": 1, "file-size": 3072,
			"disk-type": "differencing", "unique-id": "6d6f7265-2f62-6f62-2e76-686400000000", "saved-state": false, "needs-recovery": false,
			"backing-filename": "..\\base.vhd", "full-backing-filename": "base.vhd",
			"parent-unique-id": "62617365-2e76-6864-0000-000000000000", "children": []}
	]`, out)
	require.Equal(t, "[]\n", succeed(t, "ls", "--output", "json", mkdir(t, "none")))
}

// What ls says of an image, vhd info says too.
func TestLsAndInfoAgree(t *testing.T) {
	enter(t)
	putFamily(t)
	for _, image := range decode[[]listed](t, succeed(t, "ls", "-R", "--output", "json")) {
		info := decode[imageInfo](t, succeed(t, "info", "--output", "json", image.Filename))
		data := info.FormatSpecific.Data
		require.Equal(t, listed{
			Filename: info.Filename, Format: info.Format, VirtualSize: info.VirtualSize, ActualSize: info.ActualSize, FileSize: data.FileSize,
			DiskType: data.DiskType, UniqueID: data.UniqueID, BackingFilename: info.BackingFilename, ParentID: data.ParentID,
			FullBackingFilename: image.FullBackingFilename, Children: image.Children, // by names as seen from the folder
		}, image)
		if image.FullBackingFilename != "" {
			require.True(t, isSameFile(image.FullBackingFilename, info.FullBackingFilename))
		}
	}
}

func TestNamesInAFolderDoNotControlTheTerminalNorThePicture(t *testing.T) {
	enter(t)
	name := "\x1b[2J\nall is well\u202e.vhd"
	parent := putImage(t, name, testBase())
	putChild(t, "<script>alert('1')&amp;\"", parent, `.\`+name)
	putChild(t, "$(touch pwned).vhd", parent, `.\<script>`+"\x07"+`.vhd`)
	out := succeed(t, "ls")
	for _, r := range out {
		require.False(t, r < ' ' && r != '\n' || r == '\u202e', "%q", out)
	}
	shown := `\u001b[2J\u000aall is well\u202e.vhd`
	require.Contains(t, out, "\n"+shown+"  ")
	require.Contains(t, out, `
└── <script>alert('1')&amp;"  `)
	require.Contains(t, out, `\u0007.vhd`)
	require.Contains(t, out, "hint: $(touch pwned).vhd: its parent seems to be "+shown+": vhd rebase -b "+
		`$'\033[2J\012all is well\342\200\256.vhd'`+" '$(touch pwned).vhd'\n")

	svg := succeed(t, "ls", "--svg", "-")
	require.NotContains(t, svg, "<script")
	require.NotContains(t, svg, "\x1b")
	require.Contains(t, textIn(t, svg), "<script>alert('1')&amp;\"\n")
}

// textIn is all text in an XML document, which must be one.
func textIn(t *testing.T, document string) string {
	t.Helper()
	var text strings.Builder
	for dec := xml.NewDecoder(strings.NewReader(document)); ; {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return text.String()
		}
		require.NoError(t, err)
		if data, ok := token.(xml.CharData); ok {
			text.Write(data)
		}
	}
}

func TestLsDrawsAPicture(t *testing.T) {
	enter(t)
	base := putFamily(t)
	putChild(t, "lost.vhd", base, `.\gone.vhd`)
	writeFile(t, "empty.vhd", nil)
	picture := succeed(t, "ls", "-R", "--svg", "-")
	require.Equal(t, picture, succeed(t, "ls", "-R", "--svg", "-"), "the same bytes each time")
	text := textIn(t, picture)
	for _, want := range []string{
		"6 images in 2 trees, 1 orphan, 1 unreadable", "base.vhd", "dynamic 4 MiB, file 2 MiB", "alice2.vhd", "differencing 4 MiB, file 3 KiB",
		"more/bob.vhd", `.\gone.vhd`, "✕ missing; it seems to be base.vhd", "✕ it is empty, and no image",
		"identifier: 62617365-2e76-6864-0000-000000000000", "parent's identifier: 62617365-2e76-6864-0000-000000000000",
	} {
		require.Contains(t, text, want)
	}
	require.Equal(t, 1, strings.Count(picture, `class="cut"`), "one edge is broken")
	require.Equal(t, 3, strings.Count(picture, `class="edge"`))

	require.Equal(t, "trees.svg: a picture of 6 images in 2 trees, 1 orphan, 1 unreadable\n", succeed(t, "ls", "-R", "--svg", "trees.svg"))
	require.Equal(t, picture, string(readFile(t, "trees.svg")))
	writeFile(t, "old.svg", []byte("old"))
	succeed(t, "ls", "-R", "--svg", "old.svg")
	require.Equal(t, picture, string(readFile(t, "old.svg")))
	require.Equal(t, []string{"alice.vhd", "alice2.vhd", "base.vhd", "empty.vhd", "lost.vhd", "more", "old.svg", "trees.svg"}, filesIn(t, "."))
}

func TestAPictureOfTreesReplacesNoImage(t *testing.T) {
	enter(t)
	putFamily(t)
	before := readFile(t, "alice.vhd")
	require.Equal(t, "vhd: alice.vhd: it is a VHD image, which a picture would replace\nhint: choose another name: a picture takes the place of no image\n", refuse(t, "ls", "--svg", "alice.vhd"))
	require.Equal(t, "vhd: more: it is a directory\nhint: give the new file a name in it, such as more/NEW\n", refuse(t, "ls", "--svg", "more"))
	require.Equal(t, "vhd: none/x.svg: there is no directory none\nhint: mkdir -p none\n", refuse(t, "ls", "--svg", "none/x.svg"))
	require.Equal(t, before, readFile(t, "alice.vhd"))
	require.Equal(t, []string{"alice.vhd", "alice2.vhd", "base.vhd", "more"}, filesIn(t, "."))
}

func TestLsOfWhatIsNoFolder(t *testing.T) {
	enter(t)
	testChain(t)
	require.Equal(t, "vhd: none: no such file or directory\nhint: vhd ls . shows the images there\n", refuse(t, "ls", "none"))
	require.Equal(t, "vhd: leaf.vhd: it is no directory\nhint: vhd info --chain leaf.vhd tells of an image and its parents\n", refuse(t, "ls", "leaf.vhd"))
	requireInterrupted(t, ".: interrupted: not all images were looked at", "ls")
}

func TestLsSaysThatAFolderCanNotBeRead(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("nothing is closed to root")
	}
	enter(t)
	testChain(t)
	require.NoError(t, os.Mkdir("closed", 0))
	a := command(t, "ls", "-R")
	require.Equal(t, answer{exitError, a.stdout, "vhd: ./closed: permission denied\n"}, a)
	require.Contains(t, a.stdout, "2 images in 1 tree;")
	require.Equal(t, answer{exitError, "", "vhd: closed: permission denied\n"}, command(t, "ls", "closed"))
}

func TestLsObeysTheRoot(t *testing.T) {
	t.Chdir(realDir(t))
	base := putImage(t, "bases/base.vhd", testBase())
	putChild(t, "leaves/leaf.vhd", base, `..\bases\base.vhd`)
	out := listing(t, "--root", "leaves", "leaves")
	require.Contains(t, out, `..\bases\base.vhd  ✕ parent is outside the root directory`)
	require.Contains(t, out, "hint: leaves/leaf.vhd: if you trust what leaves/leaf.vhd refers to: --root HERE\n")
	a := command(t, "ls", "--root", "leaves", "bases")
	require.Equal(t, answer{exitError, "", a.stderr}, a)
	require.Contains(t, a.stderr, "bases: parent is outside the root directory\nhint: "+hintOutside+"\n")
}

// The thousand images of the benchmark: half of them children of one base, the others in
// chains of five.
func putThousand(b *testing.B) {
	b.Helper()
	create := func(name, parent string) {
		opts := vhd.CreateOptions{Parent: parent}
		if parent == "" {
			opts.Size = 1 << 30
		}
		d, err := vhd.Create(name, opts)
		require.NoError(b, err)
		require.NoError(b, d.Close())
	}
	create("base.vhd", "")
	for i := range 499 {
		create(fmt.Sprintf("child%03d.vhd", i), "base.vhd")
	}
	for i := range 100 {
		parent := ""
		for level := range 5 {
			name := fmt.Sprintf("chain%02d-%d.vhd", i, level)
			create(name, parent)
			parent = name
		}
	}
}

// BenchmarkLs lists a thousand images that find their parents, and then as many of which
// half have lost theirs.
func BenchmarkLs(b *testing.B) {
	b.Chdir(b.TempDir())
	putThousand(b)
	list := func(b *testing.B, args ...string) {
		b.Helper()
		for b.Loop() {
			var stdout, stderr bytes.Buffer
			require.Equal(b, exitOK, run(append([]string{"ls", "-R"}, args...), strings.NewReader(""), &stdout, &stderr), &stderr)
		}
		b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/op")
	}
	b.Run("sound", func(b *testing.B) { list(b) })
	b.Run("json", func(b *testing.B) { list(b, "--output", "json") })
	b.Run("svg", func(b *testing.B) { list(b, "--svg", "-") })
	require.NoError(b, os.Mkdir("moved", 0o755))
	require.NoError(b, os.Rename("base.vhd", "moved/base.vhd"))
	b.Run("lost", func(b *testing.B) { list(b) })
}

// A parent that was changed is no error, since a copy may have another time; but whoever looks is told.
func TestLsAndReportMarkParentsThatWereChanged(t *testing.T) {
	enter(t)
	succeed(t, "create", "-q", "base.vhd", "4M")
	succeed(t, "create", "-q", "-b", "base.vhd", "alice.vhd")
	succeed(t, "create", "-q", "-b", "alice.vhd", "alice2.vhd")
	require.NotContains(t, succeed(t, "ls"), "changed")
	require.NotContains(t, succeed(t, "ls", "--output", "json"), "parent-changed")

	later := time.Now().Add(time.Hour)
	require.NoError(t, os.Chtimes("base.vhd", later, later))
	const note = "its parent's file was changed since: if the disk in it was, this one is worthless"
	require.Regexp(t, `(?m)^└── alice\.vhd +differencing +4 MiB +20 KiB  ! `+note+`$`, succeed(t, "ls"))
	require.Equal(t, 1, strings.Count(succeed(t, "ls"), "worthless"))
	require.Contains(t, succeed(t, "ls"), "\n3 images in 1 tree, 1 with a changed parent; files of ")
	svg := succeed(t, "ls", "--svg", "-")
	require.Equal(t, 1, strings.Count(svg, `class="doubt"`))
	require.Equal(t, 1, strings.Count(svg, `class="edge"`))
	require.Contains(t, textIn(t, svg), "! its parent's file was changed")
	for _, image := range decode[[]listed](t, succeed(t, "ls", "--output", "json")) {
		require.Equal(t, image.Filename == "alice.vhd", image.ParentChanged, image.Filename)
	}
	checked := succeed(t, "check", "--chain", "alice2.vhd")
	require.Contains(t, checked, "alice.vhd:\n  info   chain at 568: The child recorded that its parent was last changed at ")
	require.Contains(t, checked, ": if the disk in it was, the child is worthless. [parent-time]\n")

	page := reportOn(t, ".")
	require.Contains(t, page, "alice.vhd<br><span class=\"remark doubtful\">! its parent&#39;s file was changed since")
	require.Contains(t, page, `<dd class="soft">1 with a changed one, 0 unreadable</dd>`)
	require.Equal(t, "1", tagged(page, "orphans")[0]["changed-parents"])
	require.Equal(t, "parent-time", tagged(page, "code")[0]["code"])
}

func TestTheHintForAChangedParentSaysHowToRecordItAnew(t *testing.T) {
	enter(t)
	succeed(t, "create", "-q", "my base.vhd", "4M")
	succeed(t, "create", "-q", "-b", "my base.vhd", "alice.vhd")
	later := time.Now().Add(time.Hour)
	require.NoError(t, os.Chtimes("my base.vhd", later, later))
	require.Contains(t, succeed(t, "ls"), "\nhint: alice.vhd: vhd check --chain alice.vhd tells when; if the disk in the parent is as it was "+
		"(it was copied, or rebased, or a merge was killed, which merging again completes): vhd rebase -b 'my base.vhd' alice.vhd records its time anew; "+
		"if it was written to, only a copy of what it was helps, put in its place\n")
	succeed(t, "rebase", "-q", "-b", "my base.vhd", "alice.vhd")
	require.NotContains(t, succeed(t, "ls"), "changed")
}
