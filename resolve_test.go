package vhd_test

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
	"github.com/stretchr/testify/require"
)

// The names of parents in the resolution tests, as Windows stores them.
const (
	elsewhere = `C:\Disks\base.vhd`
	nearby    = `.\base.vhd`
)

// resolution is a way to find a parent: the files of a tree, and the chain that d/child.vhd must become. The leaf
// reads as right past its first sector.
type resolution struct {
	name  string
	child *vhdtest.Image
	files map[string]byte // parents by name: their stamps
	junk  []string        // files that are no VHD
	dirs  []string
	opts  vhd.Options
	want  string // the parent's name
}

func (r resolution) run(t *testing.T, tr *tree) {
	t.Helper()
	for name, stamp := range r.files {
		tr.put(t, name, stampedParent(stamp))
	}
	for _, name := range r.junk {
		tr.write(t, name, []byte(strings.Repeat("no VHD ", 500)))
	}
	for _, name := range r.dirs {
		tr.mkdir(t, name)
	}
	tr.put(t, "d/child.vhd", r.child)
	d := tr.open(t, "d/child.vhd", r.opts)
	require.Equal(t, []string{tr.name("d/child.vhd"), tr.name(r.want)}, chainNames(d))
	require.EqualValues(t, 'C', stampOf(t, d, 0))
	require.EqualValues(t, right, stampOf(t, d, 1))
}

func runResolutions(t *testing.T, rs []resolution) {
	t.Helper()
	for _, r := range rs {
		t.Run(r.name, func(t *testing.T) {
			for _, tr := range eachTree(t) {
				t.Run(tr.kind, func(t *testing.T) { r.run(t, tr) })
			}
		})
	}
}

func TestAStoredPathLeadsToTheParent(t *testing.T) {
	const base = "d/base.vhd"
	top := vhd.Options{Root: "."}
	tests := []struct {
		name  string
		child *vhdtest.Image
		at    string // where the parent is
		opts  vhd.Options
	}{
		{"W2ru with .", childWith(vhdtest.W2ru(nearby)), base, vhd.Options{}},
		{"W2ru without .", childWith(vhdtest.W2ru(`base.vhd`)), base, vhd.Options{}},
		{"W2ru in a directory below", childWith(vhdtest.W2ru(`.\p\q\base.vhd`)), "d/p/q/base.vhd", vhd.Options{}},
		{"W2ru in a directory beside", childWith(vhdtest.W2ru(`..\p\base.vhd`)), "p/base.vhd", top},
		{"W2ru in the directory above", childWith(vhdtest.W2ru(`..\base.vhd`)), "base.vhd", top},
		{"W2ru with mixed slashes", childWith(vhdtest.W2ru(`..\p/q\base.vhd`)), "p/q/base.vhd", top},
		{"W2ru with slashes", childWith(vhdtest.W2ru(`./base.vhd`)), base, vhd.Options{}},
		{"W2ru with doubled backslashes", childWith(vhdtest.W2ru(`.\\p\\base.vhd`)), "d/p/base.vhd", vhd.Options{}},
		{"W2ru down and up again", childWith(vhdtest.W2ru(`.\not there\..\base.vhd`)), base, vhd.Options{}},
		{"W2ru up and down again", childWith(vhdtest.W2ru(`..\d\base.vhd`)), base, vhd.Options{}},
		{"W2ru above the top", childWith(vhdtest.W2ru(`.\.\p\.\base.vhd`)), "d/p/base.vhd", vhd.Options{}},
		{"W2ru beyond ASCII", childWith(vhdtest.W2ru(".\\基盤 Ж é 𝄞.vhd")), "d/基盤 Ж é 𝄞.vhd", vhd.Options{}},
		{"Wi2r", childWith(vhdtest.Wi2r(`base.vhd`)), base, vhd.Options{}},
		{"Wi2r beyond ASCII", childWith(vhdtest.Wi2r(`Größe.vhd`)), "d/Größe.vhd", vhd.Options{}},
		{"W2ku of another machine", childWith(vhdtest.W2ku(elsewhere)), base, vhd.Options{}},
		{"W2ku by its last two", childWith(vhdtest.W2ku(elsewhere)), "d/Disks/base.vhd", vhd.Options{}},
		{"W2ku by its last three", childWith(vhdtest.W2ku(`c:\x\y\z\base.vhd`)), "d/y/z/base.vhd", vhd.Options{}},
		{"W2ku in a drive's root", childWith(vhdtest.W2ku(`Z:\base.vhd`)), base, vhd.Options{}},
		{"W2ku on a server, by its last", childWith(vhdtest.W2ku(`\\server\share\base.vhd`)), base, vhd.Options{}},
		{"W2ku in the long form, by its last", childWith(vhdtest.W2ku(`\\?\C:\Disks\base.vhd`)), base, vhd.Options{}},
		{"W2ku with slashes", childWith(vhdtest.W2ku(`C:/Disks/base.vhd`)), base, vhd.Options{}},
		{"Wi2k of another machine", childWith(vhdtest.Wi2k(elsewhere)), base, vhd.Options{}},
		{"MacX of another machine", childWith(vhdtest.MacX("/Users/me/base.vhd")), base, vhd.Options{}},
		{"MacX with coded characters", childWith(vhdtest.MacX("/Users/me/my 100% Ж #1?.vhd")), "d/my 100% Ж #1?.vhd", vhd.Options{}},
		{"MacX with a plus", childWith(vhdtest.MacXRaw("file://localhost/a+b.vhd")), "d/a+b.vhd", vhd.Options{}},
		{"MacX without a host", childWith(vhdtest.MacXRaw("file:///Users/me/base.vhd")), base, vhd.Options{}},
		{"MacX with the host in capitals", childWith(vhdtest.MacXRaw("FILE://LOCALHOST/Users/me/base.vhd")), base, vhd.Options{}},
		{"MacX with a zero behind it", childWith(vhdtest.MacXRaw("file:///Users/me/base.vhd\x00\x00")), base, vhd.Options{}},
		{"MacX with spaces as they are", childWith(vhdtest.MacXRaw("file:///Users/me/my disk.vhd")), "d/my disk.vhd", vhd.Options{}},
		{"MacX relative as Xen writes it", childWith(vhdtest.MacXRaw("file://./base.vhd")), base, vhd.Options{}},
		{"MacX relative without .", childWith(vhdtest.MacXRaw("file://base.vhd")), base, vhd.Options{}},
		{"MacX relative in a directory beside", childWith(vhdtest.MacXRaw("file://../p/base.vhd")), "p/base.vhd", top},
		{"MacX relative in a directory below", childWith(vhdtest.MacXRaw("file://./p/q/base.vhd")), "d/p/q/base.vhd", vhd.Options{}},
		{"MacX relative with a space", childWith(vhdtest.MacXRaw("file://my disk.vhd")), "d/my disk.vhd", vhd.Options{}},
		{"MacX relative with coded characters", childWith(vhdtest.MacX("my disk.vhd")), "d/my disk.vhd", vhd.Options{}},
		{"an alias of the Mac", childWith(vhdtest.Mac(macAlias("base.vhd"))), base, vhd.Options{}},
		{"the header's name", childNaming("base.vhd"), base, vhd.Options{}},
		{"the header's full path", childNaming(elsewhere), base, vhd.Options{}},
		{"the header's relative path", childNaming(`..\p\base.vhd`), "p/base.vhd", top},
		{"the header's name beyond ASCII", childNaming("ディスク é.vhd"), "d/ディスク é.vhd", vhd.Options{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, tr := range eachTree(t) {
				t.Run(tr.kind, func(t *testing.T) {
					resolution{child: tt.child, files: map[string]byte{tt.at: right}, opts: tt.opts, want: tt.at}.run(t, tr)
				})
			}
		})
	}
}

// macAlias is an alias record of version 2 that holds nothing but a file's name.
func macAlias(name string) []byte {
	record := make([]byte, 150, 154)
	binary.BigEndian.PutUint16(record[4:], 150)
	binary.BigEndian.PutUint16(record[6:], 2)
	record[50] = byte(len(name))
	copy(record[51:], name)
	return append(record, 0xFF, 0xFF, 0, 0)
}

// slots places locators in slots of their own.
func slots(at map[int]vhdtest.Locator) *vhdtest.Image {
	img := childWith()
	for slot, loc := range at {
		img.Locators[slot] = loc
	}
	return img
}

func like(form func(img *vhdtest.Image)) *vhdtest.Image {
	img := childWith()
	form(img)
	return img
}

func TestEverySlotAndEveryProducersLayoutLeadsToTheParent(t *testing.T) {
	files := map[string]byte{"d/base.vhd": right}
	tooLong := vhdtest.W2ru(`.\other.vhd`)
	tooLong.Length = math.MaxUint32
	unknown := vhdtest.Locator{Code: 0x58585858, Data: []byte("what is this?")}
	runResolutions(t, []resolution{
		{name: "the last slot alone", child: slots(map[int]vhdtest.Locator{7: vhdtest.W2ru(nearby)}), files: files, want: "d/base.vhd"},
		{name: "empty slots between", child: slots(map[int]vhdtest.Locator{
			1: vhdtest.W2ku(`C:\gone\away.vhd`), 3: vhdtest.Wi2r(`gone.vhd`), 6: vhdtest.W2ru(nearby),
		}), files: files, want: "d/base.vhd"},
		{name: "eight slots, the last is right", child: childWith(
			vhdtest.W2ru(`.\1.vhd`), vhdtest.W2ru(`.\2.vhd`), vhdtest.W2ru(`.\3.vhd`), vhdtest.W2ru(`.\4.vhd`),
			vhdtest.W2ru(`.\5.vhd`), vhdtest.W2ru(`.\6.vhd`), vhdtest.W2ru(`.\7.vhd`), vhdtest.W2ru(nearby),
		), files: files, want: "d/base.vhd"},
		{name: "a locator that leads out of the file is passed over", child: childWith(tooLong, vhdtest.W2ku(elsewhere)), files: files, want: "d/base.vhd"},
		{name: "a locator of an unknown code is passed over", child: childWith(unknown, vhdtest.W2ku(elsewhere)), files: files, want: "d/base.vhd"},
		{name: "an alias that nobody can read is passed over", child: childWith(vhdtest.Mac([]byte("??")), vhdtest.W2ru(nearby)), files: files, want: "d/base.vhd"},
		{name: "a URL of another scheme is passed over", child: childWith(vhdtest.MacXRaw("http://localhost/base.vhd"), vhdtest.W2ru(nearby)), files: files, want: "d/base.vhd"},
		{name: "a locator behind the BAT", child: childWith(vhdtest.W2ru(nearby).Behind()), files: files, want: "d/base.vhd"},
		{name: "Windows 10", child: like(func(img *vhdtest.Image) { img.LikeWindows10(elsewhere, nearby) }), files: files, want: "d/base.vhd"},
		{name: "Windows 7", child: like(func(img *vhdtest.Image) { img.LikeWindows7(elsewhere, nearby, 1) }), files: files, want: "d/base.vhd"},
		{name: "Virtual PC", child: like(func(img *vhdtest.Image) { img.LikeVirtualPC(elsewhere, nearby, "base.vhd", 1) }), files: files, want: "d/base.vhd"},
		{name: "Virtual PC, and only the header is right", child: like(func(img *vhdtest.Image) {
			img.LikeVirtualPC(`C:\old.vhd`, `.\old.vhd`, "base.vhd", 1)
		}), files: files, want: "d/base.vhd"},
	})
}

// A tree that was copied has its own copy of the parent, and the paths to the
// original are still good.
func TestACopiedTreeFindsItsOwnCopyAndNotTheOriginal(t *testing.T) {
	tests := []struct {
		name  string
		child func(original string) *vhdtest.Image
		own   string
	}{
		{"W2ku in front of W2ru", func(o string) *vhdtest.Image { return childWith(vhdtest.W2ku(o), vhdtest.W2ru(nearby)) }, "d/base.vhd"},
		{"W2ru without .", func(o string) *vhdtest.Image { return childWith(vhdtest.W2ku(o), vhdtest.W2ru("base.vhd")) }, "d/base.vhd"},
		{"Wi2r", func(o string) *vhdtest.Image { return childWith(vhdtest.W2ku(o), vhdtest.Wi2r("base.vhd")) }, "d/base.vhd"},
		{"the header's name", func(o string) *vhdtest.Image {
			return like(func(img *vhdtest.Image) { img.Locators[0], img.ParentName = vhdtest.W2ku(o), "base.vhd" })
		}, "d/base.vhd"},
		{"MacX that is relative", func(o string) *vhdtest.Image {
			return childWith(vhdtest.W2ku(o), vhdtest.MacXRaw("file://./base.vhd"))
		}, "d/base.vhd"},
		{"an absolute path under a relative one's code", func(o string) *vhdtest.Image {
			return like(func(img *vhdtest.Image) { img.Locators[0], img.ParentName = vhdtest.W2ru(o), "base.vhd" })
		}, "d/base.vhd"},
		{"a relative path under an absolute one's code", func(o string) *vhdtest.Image {
			return childWith(vhdtest.W2ku(o), vhdtest.W2ku("base.vhd"))
		}, "d/base.vhd"},
		{"Windows 10", func(o string) *vhdtest.Image {
			return like(func(img *vhdtest.Image) { img.LikeWindows10(o, nearby) })
		}, "d/base.vhd"},
		{"in a directory beside", func(o string) *vhdtest.Image {
			return childWith(vhdtest.W2ku(o), vhdtest.W2ru(`..\p\base.vhd`))
		}, "p/base.vhd"},
		{"in other case", func(o string) *vhdtest.Image { return childWith(vhdtest.W2ku(o), vhdtest.W2ru(nearby)) }, "d/BASE.VHD"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, tr := range eachTree(t) {
				t.Run(tr.kind, func(t *testing.T) {
					resolution{
						child: tt.child(tr.stored("original/base.vhd")), opts: vhd.Options{Root: "."}, want: tt.own,
						files: map[string]byte{"original/base.vhd": stale, tt.own: right},
					}.run(t, tr)
				})
			}
		})
	}
}

func TestAnAbsolutePathIsOfThisTree(t *testing.T) {
	for _, tr := range eachTree(t) {
		t.Run(tr.kind, func(t *testing.T) {
			for _, origin := range []func(string) vhdtest.Locator{vhdtest.W2ku, vhdtest.W2ru, vhdtest.Wi2k} {
				resolution{
					child: childWith(origin(tr.stored("far/away/base.vhd"))), opts: vhd.Options{Root: "."},
					files: map[string]byte{"far/away/base.vhd": right}, want: "far/away/base.vhd",
				}.run(t, tr)
			}
			name := "/" + strings.Trim(filepath.ToSlash(tr.name("far/away/base.vhd")), "/")
			resolution{child: childWith(vhdtest.MacX(name)), opts: vhd.Options{Root: "."}, want: "far/away/base.vhd"}.run(t, tr)
		})
	}
}

func TestAGrandparentIsSoughtFromItsChildsDirectory(t *testing.T) {
	for _, tr := range eachTree(t) {
		t.Run(tr.kind, func(t *testing.T) {
			midID := [16]byte{0xB}
			tr.put(t, "d/child.vhd", childNamed(childID, midID, vhdtest.W2ru(`..\p\mid.vhd`)))
			tr.put(t, "p/mid.vhd", childNamed(midID, parentID, vhdtest.W2ru(nearby)))
			tr.put(t, "p/base.vhd", stampedParent(right))
			tr.put(t, "d/base.vhd", stampedParent(stale))
			d := tr.open(t, "d/child.vhd", vhd.Options{Root: "."})
			require.Equal(t, []string{tr.name("d/child.vhd"), tr.name("p/mid.vhd"), tr.name("p/base.vhd")}, chainNames(d))
			require.EqualValues(t, right, stampOf(t, d, 1))
		})
	}
}

func TestNamesInOtherCaseAreFoundButTheExactOneFirst(t *testing.T) {
	if caseFolds(t) {
		t.Skip("the file system here folds case itself")
	}
	runResolutions(t, []resolution{
		{name: "file", child: childWith(vhdtest.W2ru(nearby)), files: map[string]byte{"d/BASE.VHD": right}, want: "d/BASE.VHD"},
		{name: "file beyond ASCII", child: childWith(vhdtest.W2ru(`.\äöж.vhd`)), files: map[string]byte{"d/ÄÖЖ.vhd": right}, want: "d/ÄÖЖ.vhd"},
		{name: "directory", child: childWith(vhdtest.W2ru(`.\disks\base.vhd`)), files: map[string]byte{"d/Disks/base.vhd": right}, want: "d/Disks/base.vhd"},
		{name: "file and directories", child: childWith(vhdtest.W2ru(`.\A\b\C.vhd`)), files: map[string]byte{"d/a/B/c.VHD": right}, want: "d/a/B/c.VHD"},
		{name: "directory beside", child: childWith(vhdtest.W2ru(`..\P\base.vhd`)), opts: vhd.Options{Root: "."},
			files: map[string]byte{"p/base.vhd": right}, want: "p/base.vhd"},
		{name: "the exact name first", child: childWith(vhdtest.W2ru(nearby)),
			files: map[string]byte{"d/BASE.VHD": stale, "d/base.vhd": right}, want: "d/base.vhd"},
		{name: "the exact name in the middle", child: childWith(vhdtest.W2ru(`.\Base.vhd`)),
			files: map[string]byte{"d/BASE.VHD": stale, "d/Base.vhd": right, "d/base.vhd": stale}, want: "d/Base.vhd"},
		{name: "one of several has the identifier", child: childWith(vhdtest.W2ru(nearby)),
			files: map[string]byte{"d/BASE.VHD": wrong, "d/Base.VHD": wrong, "d/base.VHD": right}, want: "d/base.VHD"},
		{name: "the exact one is another disk", child: childWith(vhdtest.W2ru(nearby)),
			files: map[string]byte{"d/base.vhd": wrong, "d/BASE.VHD": right}, want: "d/BASE.VHD"},
		{name: "the directory exists in two cases", child: childWith(vhdtest.W2ru(`.\disks\base.vhd`)), dirs: []string{"d/disks"},
			files: map[string]byte{"d/DISKS/base.vhd": right}, want: "d/DISKS/base.vhd"},
		{name: "a later part of another machine's path", child: childWith(vhdtest.W2ku(`C:\DISKS\BASE.VHD`)),
			files: map[string]byte{"d/disks/base.vhd": right}, want: "d/disks/base.vhd"},
	})
}

// caseFolds says whether the operating system's files have names in any case.
func caseFolds(t testing.TB) bool {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "x"), 0o755))
	_, err := os.Stat(filepath.Join(dir, "X"))
	return err == nil
}

func TestAWrongCandidateIsPassedOverForTheNext(t *testing.T) {
	runResolutions(t, []resolution{
		{name: "another identifier", child: childWith(vhdtest.W2ru(nearby), vhdtest.W2ku(elsewhere)),
			files: map[string]byte{"d/base.vhd": wrong, "d/Disks/base.vhd": right}, want: "d/Disks/base.vhd"},
		{name: "no VHD", child: childWith(vhdtest.W2ru(nearby), vhdtest.W2ku(elsewhere)),
			junk: []string{"d/base.vhd"}, files: map[string]byte{"d/Disks/base.vhd": right}, want: "d/Disks/base.vhd"},
		{name: "a directory", child: childWith(vhdtest.W2ru(nearby), vhdtest.W2ku(elsewhere)),
			dirs: []string{"d/base.vhd"}, files: map[string]byte{"d/Disks/base.vhd": right}, want: "d/Disks/base.vhd"},
		{name: "a file where a directory should be", child: childWith(vhdtest.W2ru(`.\p\base.vhd`), vhdtest.W2ku(elsewhere)),
			junk: []string{"d/p"}, files: map[string]byte{"d/base.vhd": right}, want: "d/base.vhd"},
		{name: "outside the root", child: childWith(vhdtest.W2ru(`..\p\base.vhd`), vhdtest.W2ku(elsewhere)),
			files: map[string]byte{"p/base.vhd": stale, "d/base.vhd": right}, want: "d/base.vhd"},
		{name: "the child itself", child: childWith(vhdtest.W2ru(`.\child.vhd`), vhdtest.W2ku(elsewhere)),
			files: map[string]byte{"d/base.vhd": right}, want: "d/base.vhd"},
	})
}

func TestMapPathComesFirst(t *testing.T) {
	for _, tr := range eachTree(t) {
		t.Run(tr.kind, func(t *testing.T) {
			var asked []string
			opts := vhd.Options{Root: ".", MapPath: func(stored string) []string {
				asked = append(asked, stored)
				return []string{tr.name("gone.vhd"), tr.name("p/mapped.vhd")}
			}}
			resolution{
				child: childWith(vhdtest.W2ku(elsewhere), vhdtest.W2ru(nearby)), opts: opts, want: "p/mapped.vhd",
				files: map[string]byte{"p/mapped.vhd": right, "d/base.vhd": stale},
			}.run(t, tr)
			require.Equal(t, nearby, asked[0], "paths come as they are stored, in the order of ParentRefs")
		})
	}
}

func TestMapPathGetsEveryStoredPathAndIsNotTheLastWord(t *testing.T) {
	for _, tr := range eachTree(t) {
		t.Run(tr.kind, func(t *testing.T) {
			var asked []string
			child := childWith(vhdtest.W2ku(`\\server\share\x.vhd`), vhdtest.W2ru(nearby), vhdtest.MacXRaw("file://localhost/a%20b.vhd"))
			child.ParentName = "NUL"
			opts := vhd.Options{Root: ".", MapPath: func(stored string) []string {
				asked = append(asked, stored)
				return []string{tr.name("p/mapped.vhd")}
			}}
			resolution{
				child: child, opts: opts, want: "d/base.vhd",
				files: map[string]byte{"p/mapped.vhd": wrong, "d/base.vhd": right},
			}.run(t, tr)
			require.ElementsMatch(t, []string{`\\server\share\x.vhd`, nearby, "file://localhost/a%20b.vhd", "NUL"}, asked)
		})
	}
}

func TestMapPathStaysInsideTheRoot(t *testing.T) {
	for _, tr := range eachTree(t) {
		t.Run(tr.kind, func(t *testing.T) {
			tr.put(t, "outside.vhd", stampedParent(right))
			tr.put(t, "d/child.vhd", childWith(vhdtest.W2ru(`gone.vhd`)))
			for _, name := range []string{"outside.vhd", "d/../outside.vhd"} {
				err := tr.fails(t, "d/child.vhd", vhd.Options{MapPath: func(string) []string { return []string{tr.name(name)} }})
				require.ErrorIs(t, err, vhd.ErrOutsideRoot)
			}
		})
	}
}

func TestSearchFindsByNameThenByIdentifier(t *testing.T) {
	gone := childWith(vhdtest.W2ku(`C:\gone\base.vhd`), vhdtest.W2ru(`.\gone\base.vhd`))
	pool := vhd.Options{Root: ".", Search: []string{"empty", "pool"}}
	runResolutions(t, []resolution{
		{name: "by name", child: gone, opts: pool, dirs: []string{"empty"},
			files: map[string]byte{"pool/base.vhd": right}, want: "pool/base.vhd"},
		{name: "by name in other case", child: gone, opts: pool, dirs: []string{"empty"},
			files: map[string]byte{"pool/Base.VHD": right}, want: "pool/Base.VHD"},
		{name: "by identifier", child: gone, opts: pool, dirs: []string{"empty", "pool/dir.vhd"}, junk: []string{"pool/junk.txt"},
			files: map[string]byte{"pool/a.vhd": wrong, "pool/renamed": right}, want: "pool/renamed"},
		{name: "by name before by identifier", child: gone, opts: pool, dirs: []string{"empty"},
			files: map[string]byte{"pool/a copy.vhd": stale, "pool/base.vhd": right}, want: "pool/base.vhd"},
		{name: "by name in a later directory before by identifier in an earlier", child: gone,
			opts:  vhd.Options{Root: ".", Search: []string{"first", "second"}},
			files: map[string]byte{"first/other.vhd": stale, "second/base.vhd": right}, want: "second/base.vhd"},
		{name: "in the order of the directories", child: gone, opts: vhd.Options{Root: ".", Search: []string{"second", "first"}},
			files: map[string]byte{"first/base.vhd": stale, "second/base.vhd": right}, want: "second/base.vhd"},
		{name: "by identifier where the name is another disk's", child: gone, opts: pool, dirs: []string{"empty"},
			files: map[string]byte{"pool/base.vhd": wrong, "pool/renamed.vhd": right}, want: "pool/renamed.vhd"},
		{name: "the stored path before the search", child: childWith(vhdtest.W2ru(nearby)), opts: pool, dirs: []string{"empty"},
			files: map[string]byte{"d/base.vhd": right, "pool/base.vhd": stale}, want: "d/base.vhd"},
		{name: "in the image's own directory", child: gone, opts: vhd.Options{Search: []string{"d"}},
			files: map[string]byte{"d/renamed.vhd": right}, want: "d/renamed.vhd"},
		{name: "a directory that isn't there is passed over", child: gone, opts: vhd.Options{Root: ".", Search: []string{"nowhere", "pool"}},
			files: map[string]byte{"pool/renamed.vhd": right}, want: "pool/renamed.vhd"},
	})
}

func TestSearchByIdentifierFindsAParentOfWhomNothingIsStored(t *testing.T) {
	for _, tr := range eachTree(t) {
		t.Run(tr.kind, func(t *testing.T) {
			resolution{child: childWith(), opts: vhd.Options{Search: []string{"d"}}, files: map[string]byte{"d/x.vhd": right}, want: "d/x.vhd"}.run(t, tr)
		})
	}
}

// A parent whose end footer was lost is found by its name; by its identifier it
// is too.
func TestSearchByIdentifierFindsAParentThatNeedsRecovery(t *testing.T) {
	for _, tr := range eachTree(t) {
		t.Run(tr.kind, func(t *testing.T) {
			base := vhdtest.NewDynamic(chainSize)
			base.ID, base.Footer = parentID, vhdtest.FooterZeroed
			tr.put(t, "d/x.vhd", base)
			tr.put(t, "d/child.vhd", childWith())
			require.Len(t, tr.open(t, "d/child.vhd", vhd.Options{Search: []string{"d"}}).Chain(), 2)
		})
	}
}

func TestAChainFoundBySearchGoesOnInItsOwnDirectory(t *testing.T) {
	for _, tr := range eachTree(t) {
		t.Run(tr.kind, func(t *testing.T) {
			midID := [16]byte{0xB}
			tr.put(t, "d/child.vhd", childNamed(childID, midID, vhdtest.W2ru(`gone.vhd`)))
			tr.put(t, "pool/mid.vhd", childNamed(midID, parentID, vhdtest.W2ru(nearby)))
			tr.put(t, "pool/base.vhd", stampedParent(right))
			d := tr.open(t, "d/child.vhd", vhd.Options{Root: ".", Search: []string{"pool"}})
			require.Equal(t, []string{tr.name("d/child.vhd"), tr.name("pool/mid.vhd"), tr.name("pool/base.vhd")}, chainNames(d))
		})
	}
}

func TestOpeningAsksNoMoreThanItMust(t *testing.T) {
	tr := memTree("")
	tr.put(t, "d/child.vhd", like(func(img *vhdtest.Image) { img.LikeWindows10(elsewhere, nearby) }))
	tr.put(t, "d/base.vhd", stampedParent(right))
	rec := vhdtest.NewRecordFS(tr.fs)
	d, err := vhd.Open("d/child.vhd", &vhd.Options{FS: rec})
	require.NoError(t, err)
	require.Equal(t, 2, rec.Count(vhdtest.OpOpen))
	require.Zero(t, rec.Count(vhdtest.OpReadDir))
	require.Zero(t, rec.Count(vhdtest.OpClose))
	// Of the child the footer, its copy with the header and a path, and another path; of the parent the footer.
	require.LessOrEqual(t, rec.Count(vhdtest.OpRead), 4, "%v", rec.Ops())
	var bytesRead int64
	for _, op := range rec.Ops() {
		require.False(t, op.Mutates(), "%v", op)
		bytesRead += op.N
	}
	require.LessOrEqual(t, bytesRead, int64(12<<10))
	require.NoError(t, d.Close())
	require.Equal(t, 2, rec.Count(vhdtest.OpClose))
}

func TestAFailedOpenClosesWhatItOpened(t *testing.T) {
	tr := memTree("")
	tr.put(t, "d/child.vhd", childWith(vhdtest.W2ru(nearby), vhdtest.W2ru(`junk.vhd`), vhdtest.W2ru(`mid.vhd`)))
	tr.put(t, "d/base.vhd", stampedParent(wrong))
	tr.put(t, "d/mid.vhd", childNamed(parentID, [16]byte{0xE}, vhdtest.W2ru("gone.vhd")))
	tr.write(t, "d/junk.vhd", make([]byte, 5000))
	for _, opts := range []vhd.Options{{}, {Writable: true}, {Search: []string{"d"}}, {MaxDepth: 1}, {MaxDepth: 2}} {
		rec := vhdtest.NewRecordFS(tr.fs)
		opts.FS = rec
		_, err := vhd.Open("d/child.vhd", &opts)
		require.Error(t, err)
		require.Equal(t, countOpened(t, tr, rec.Ops()), rec.Count(vhdtest.OpClose), "%v", rec.Ops())
	}
}

// countOpened is how many of the files that were to be opened are there.
func countOpened(t testing.TB, tr *tree, ops []vhdtest.Op) int {
	t.Helper()
	n := 0
	for _, op := range ops {
		if op.Kind == vhdtest.OpOpen {
			if _, err := tr.mem.Stat(op.Name); err == nil {
				n++
			}
		}
	}
	return n
}

// Of a file that can't be read nobody knows that it is another disk.
func TestAParentThatCannotBeReadIsNotReplacedByAStaleCopy(t *testing.T) {
	tr := memTree("")
	tr.put(t, "d/base.vhd", stampedParent(right))
	tr.put(t, "d/Disks/base.vhd", stampedParent(stale))
	tr.put(t, "d/child.vhd", childWith(vhdtest.W2ru(nearby), vhdtest.W2ku(elsewhere)))
	rec := vhdtest.NewRecordFS(tr.fs)
	rec.Forbid = func(op vhdtest.Op) error {
		if op.Kind == vhdtest.OpRead && op.Name == "d/base.vhd" {
			return syscall.EIO
		}
		return nil
	}
	d, err := vhd.Open("d/child.vhd", &vhd.Options{FS: rec})
	if err == nil {
		require.Equal(t, []string{"d/child.vhd", "d/base.vhd"}, chainNames(d))
	}
	require.ErrorIs(t, err, syscall.EIO)
}

// A parent that may not be opened may be the right one all the same.
func TestAParentThatMayNotBeOpenedIsNotReplacedByAStaleCopy(t *testing.T) {
	for _, failure := range []error{syscall.EACCES, syscall.EIO, syscall.EMFILE} {
		tr := memTree("")
		tr.put(t, "d/base.vhd", stampedParent(right))
		tr.put(t, "d/Disks/base.vhd", stampedParent(stale))
		tr.put(t, "d/child.vhd", childWith(vhdtest.W2ru(nearby), vhdtest.W2ku(elsewhere)))
		rec := vhdtest.NewRecordFS(tr.fs)
		rec.Forbid = func(op vhdtest.Op) error {
			if op.Kind == vhdtest.OpOpen && op.Name == "d/base.vhd" {
				return failure
			}
			return nil
		}
		_, err := vhd.Open("d/child.vhd", &vhd.Options{FS: rec})
		require.ErrorIs(t, err, failure)
	}
}
