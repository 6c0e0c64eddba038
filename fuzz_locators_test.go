package vhd_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// familyTree is an FS in which root/d/base.vhd and its copies inside root are the parent, and all outside of root has
// the parent's identifier too, with another stamp.
func familyTree(t testing.TB) *tree {
	t.Helper()
	tr := memTree("")
	putSecrets(t, tr)
	for _, name := range []string{"root/d/base.vhd", "root/d/e/base.vhd", "root/base.vhd", "root/pool/base.vhd"} {
		tr.put(t, name, stampedParent(right))
	}
	tr.mkdir(t, "root/D")
	return tr
}

// mostQuestions is how many calls opening a child with up to nine references to its parent may take: each leads to up to
// five names, each of which may be asked for in a few directories.
const mostQuestions = 9 * 5 * 12

// FuzzLocators opens a child with any entries in its header's eight slots, any bytes where they point to, and any name
// in its header.
func FuzzLocators(f *testing.F) {
	addLocators(f)
	files := familyTree(f)
	f.Fuzz(func(t *testing.T, slots, data, name []byte) {
		file := childWithSlots(t, slots, data, name)
		requireSameInspection(t, file, nil) // no locator is a reason to refuse an image
		refs := inspect(t, file).ParentRefs()
		require.LessOrEqual(t, len(refs), 9)
		for _, ref := range refs {
			require.NotEmpty(t, ref.Origin)
			require.True(t, ref.Origin == "Mac " || !strings.Contains(ref.Path, "\x00"), "%q", ref.Path)
			requireSamePathAgain(t, ref)
		}
		mem := files.mem.Clone()
		require.NoError(t, mem.WriteFile("root/d/child.vhd", file))
		carelessly := func(stored string) []string { return []string{stored, "root/d/" + stored} }
		for _, opts := range []vhd.Options{
			{},
			{Root: "root", Search: []string{"root/pool"}},
			{Root: "root", MapPath: carelessly},
		} {
			root := opts.Root
			if root == "" {
				root = "root/d"
			}
			opts.FS = mem
			requireSameAnswer(t, root, "root/d/child.vhd", opts)
		}
	})
}

// requireSamePathAgain encodes a path that was decoded. Some have no way back: what was no text, and aliases.
func requireSamePathAgain(t testing.TB, ref vhd.ParentRef) {
	t.Helper()
	for _, code := range []vhd.PlatformCode{vhd.W2ru, vhd.Wi2r, vhd.MacX} {
		raw, err := code.EncodePath(ref.Path)
		if err != nil || ref.Origin != code.String() {
			continue
		}
		again, err := code.DecodePath(raw)
		require.NoError(t, err)
		require.True(t, again == ref.Path || code == vhd.MacX && strings.HasPrefix(again, "file:"), "%q became %q", ref.Path, again)
	}
}

// requireSameAnswer opens a child twice: nothing outside of root is asked for, few questions are asked, and they and
// the answer are the same.
func requireSameAnswer(t testing.TB, root, name string, opts vhd.Options) {
	t.Helper()
	fsys := opts.FS
	var ops []vhdtest.Op
	var said string
	for range 2 {
		rec := withinRoot(t, fsys, root)
		opts.FS = rec
		d, err := vhd.Open(name, &opts)
		require.LessOrEqual(t, rec.Count(), mostQuestions)
		var answer string
		if err != nil {
			answer = err.Error()
			require.NotEmpty(t, parentError(t, err).Child)
			requireRefusal(t, err)
		} else {
			answer = strings.Join(chainNames(d), "\n")
			p := make([]byte, 1)
			if _, err := d.ReadAt(p, vhd.SectorSize); err != nil {
				require.ErrorIs(t, err, vhd.ErrCorrupt, "a locator may lie over a block")
			} else {
				require.EqualValues(t, right, p[0], answer)
			}
			require.NoError(t, d.Close())
		}
		if ops != nil {
			require.Equal(t, said, answer)
			require.Equal(t, ops, rec.Ops())
		}
		ops, said = rec.Ops(), answer
	}
}

// childWithSlots is a child whose header has the bytes given, and whose locators' data stands at offset 2048.
func childWithSlots(t testing.TB, slots, data, name []byte) []byte {
	t.Helper()
	child := childWith(vhdtest.Locator{Code: vhdtest.CodeW2ru, Data: data[:min(len(data), 66<<10)]}.At(2048))
	child.BATOff = 1536
	file := child.Build(t)
	vhdtest.EditHeader(t, file, func(h []byte) {
		clear(h[576:768])
		copy(h[576:768], slots)
		copy(h[64:576], name)
	})
	return file
}

// addLocators adds what the header of a child has, and the data behind it, for paths of all kinds.
func addLocators(f *testing.F) {
	f.Helper()
	add := func(child *vhdtest.Image) {
		child.BATOff = 1536
		at := int64(2048)
		for slot := range child.Locators {
			if child.Locators[slot].Code != 0 {
				child.Locators[slot].Off = at
				at += int64(len(child.Locators[slot].Data)+511) / 512 * 512
			}
		}
		file := child.Build(f)
		h := vhdtest.Header(f, file)
		f.Add(h[576:768], file[2048:at], h[64:576])
	}
	add(childNaming("base.vhd"))
	add(childWith(vhdtest.W2ru(`.\base.vhd`), vhdtest.W2ku(`C:\root\d\base.vhd`), vhdtest.Wi2r("base.vhd"), vhdtest.Wi2k(`C:\d\base.vhd`),
		vhdtest.MacX("/root/d/base.vhd"), vhdtest.Mac(aliasRecord("base.vhd")), vhdtest.W2ru(`..\base.vhd`), vhdtest.W2ru(`E\BASE.VHD`)))
	add(childWith(vhdtest.Mac(aliasRecord("x", "\x00\x12\x00\x08base.vhd"))))
	for i, h := range hostilePaths {
		if h.url {
			add(childWith(vhdtest.MacXRaw(h.stored)))
		} else if i%8 == 0 && len(h.stored) < 200 {
			add(childWith(vhdtest.W2ru(h.stored), vhdtest.W2ku(h.stored)))
		}
	}
	for _, n := range hostileNumbers {
		file := smallHostileImage(f, "differencing")
		slots := vhdtest.Header(f, file)[576:768]
		for i, field := range []integerField{{"", 4, 4}, {"", 8, 4}, {"", 16, 8}} {
			field.put(slots[i*24:], n)
		}
		f.Add(slots, []byte("b\x00a\x00s\x00e\x00"), []byte("\x00x"))
	}
}

// FuzzStoredPath opens a child that stores a path in each way in which paths are confined. Wherever it leads, it is
// inside; and what is asked for is never a device, a stream or another machine's, confined or not.
func FuzzStoredPath(f *testing.F) {
	for i, h := range hostilePaths { // which a test looks at all of
		if len(h.stored) > 1000 || i%3 == 0 {
			continue
		}
		origin := byte(0)
		if h.url {
			origin = 4
		}
		f.Add(origin, strings.ReplaceAll(h.stored, "{top}", ""))
		f.Add(onDisk+origin, strings.ReplaceAll(h.stored, "{top}", "/root"))
	}
	for origin := range byte(7) {
		for _, stored := range []string{`.\base.vhd`, `..\D\E\BASE.VHD`, "file://./base.vhd", `..\..\secret.vhd`, "/secret.vhd"} {
			f.Add(origin, stored)
			f.Add(onDisk+origin, stored)
		}
	}
	ways, diskWays := pathWays(f), diskPathWays(f)
	f.Fuzz(func(t *testing.T, origin byte, stored string) {
		child := childStoring(origin, stored)
		if child == nil {
			return
		}
		file := child.Build(t)
		for _, way := range ways {
			way(t, file)
		}
		if origin >= onDisk {
			diskWays(t, file)
		}
	})
}

// onDisk is added to an origin for which the operating system's files are looked at too, which are slow.
const onDisk = 126

// childStoring stores a path in the field that origin means, or is nil if that has no room for it.
func childStoring(origin byte, stored string) *vhdtest.Image {
	if len(stored) > 30_000 {
		return nil
	}
	switch origin % 7 {
	case 0:
		return childWith(vhdtest.W2ru(stored))
	case 1:
		return childWith(vhdtest.W2ku(stored))
	case 2:
		return childWith(vhdtest.Wi2r(stored))
	case 3:
		return childWith(vhdtest.Wi2k(stored))
	case 4:
		return childWith(vhdtest.MacXRaw(stored))
	case 5:
		return childWith(vhdtest.Mac(aliasRecord(stored[:min(len(stored), 60)])))
	}
	if len(utf16.Encode([]rune(stored))) > 256 {
		return nil
	}
	return childNaming(stored)
}

// pathWays are the ways to open a child: below its directory, below a root, with directories to search, and everywhere.
func pathWays(f *testing.F) []func(t testing.TB, child []byte) {
	f.Helper()
	files := familyTree(f)
	way := func(dir, name string, opts vhd.Options) func(t testing.TB, child []byte) {
		return func(t testing.TB, child []byte) {
			t.Helper()
			opts := opts
			mem := files.mem.Clone()
			require.NoError(t, mem.WriteFile(name, child))
			opts.FS = mem
			requireAskedInside(t, dir, name, opts)
		}
	}
	return []func(t testing.TB, child []byte){
		way("root/d", "root/d/child.vhd", vhd.Options{}),
		way("/root", "/root/d/child.vhd", vhd.Options{Root: "/root"}),
		way("root", "root/d/child.vhd", vhd.Options{Root: "root", Search: []string{"root/pool", "root/d/e", "outside"}}),
		way("", "/root/d/child.vhd", vhd.Options{Root: "/"}),
	}
}

// diskPathWays opens a child in an os.Root, below its directory, and below a root.
func diskPathWays(f *testing.F) func(t testing.TB, child []byte) {
	f.Helper()
	disk := osTree(f)
	putSecrets(f, disk)
	disk.put(f, "root/d/base.vhd", stampedParent(right))
	disk.put(f, "root/d/e/base.vhd", stampedParent(right))
	root, err := os.OpenRoot(disk.name("root"))
	require.NoError(f, err)
	f.Cleanup(func() { root.Close() })
	return func(t testing.TB, child []byte) {
		t.Helper()
		disk.write(t, "root/d/child.vhd", child)
		requireAskedInside(t, "d", "d/child.vhd", vhd.Options{FS: vhd.RootFS(root)})
		requireAskedInside(t, "", disk.name("root/d/child.vhd"), vhd.Options{})
		requireAskedInside(t, "", disk.name("root/d/child.vhd"), vhd.Options{Root: disk.name("root")})
	}
}

// requireAskedInside opens a child: what is asked for is inside dir, or, if that is empty, a plain name; what is found
// is the parent, and what is outside never, unless all is inside.
func requireAskedInside(t testing.TB, dir, name string, opts vhd.Options) {
	t.Helper()
	rec := vhdtest.NewRecordFS(opts.FS)
	switch {
	case opts.FS == nil:
	case dir != "":
		rec = withinRoot(t, opts.FS, dir)
		fallthrough
	default:
		opts.FS = rec
	}
	d, err := vhd.Open(name, &opts)
	if err != nil {
		require.Equal(t, "child.vhd", path.Base(filepath.ToSlash(parentError(t, err).Child)))
		requireRefusal(t, err)
	} else {
		stamp := stampOf(t, d, 1)
		require.True(t, stamp == right || stamp == stale && opts.Root == "/", "%q", chainNames(d))
		require.NoError(t, d.Close())
	}
	require.LessOrEqual(t, rec.Count(), mostQuestions)
	for _, op := range rec.Ops() {
		require.False(t, op.Mutates())
		requirePlainName(t, op.Name)
	}
}

// devices are the names that Windows takes for one, whatever their extension.
var devices = regexp.MustCompile(`(?i)^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\.|$)`)

// requirePlainName makes sure that a name means the same on every system: no device, stream, drive or machine.
func requirePlainName(t testing.TB, name string) {
	t.Helper()
	require.Equal(t, path.Clean(name), name)
	require.False(t, strings.ContainsAny(name, "\\:\x00"), "%q", name)
	for c := range strings.SplitSeq(strings.TrimPrefix(name, "/"), "/") {
		require.NotEqual(t, "..", c)
		require.False(t, devices.MatchString(c), "%q", name)
		require.False(t, strings.Contains(c, " ") && strings.Trim(c, ". ") == "", "%q", name)
	}
}
