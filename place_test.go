package vhd_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
	"github.com/stretchr/testify/require"
)

// symlink makes a symbolic link in the tree; target is as it is to be stored.
func (tr *tree) symlink(t testing.TB, target, rel string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(tr.name(rel)), 0o755))
	if err := os.Symlink(filepath.FromSlash(target), tr.name(rel)); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
}

func TestTheRootIsTheImagesDirectoryUnlessGiven(t *testing.T) {
	for _, tr := range eachTree(t) {
		t.Run(tr.kind, func(t *testing.T) {
			tr.put(t, "a/p/base.vhd", stampedParent(right))
			tr.put(t, "a/d/child.vhd", childWith(vhdtest.W2ru(`..\p\base.vhd`)))
			require.ErrorIs(t, tr.fails(t, "a/d/child.vhd", vhd.Options{}), vhd.ErrOutsideRoot)
			require.ErrorIs(t, tr.fails(t, "a/d/child.vhd", vhd.Options{Root: "a/d"}), vhd.ErrOutsideRoot)
			for _, root := range []string{"a", "."} {
				require.EqualValues(t, right, stampOf(t, tr.open(t, "a/d/child.vhd", vhd.Options{Root: root}), 1))
			}
			all, err := vhd.Open(tr.name("a/d/child.vhd"), &vhd.Options{FS: tr.fs, Root: "/"})
			require.NoError(t, err)
			require.NoError(t, all.Close())
		})
	}
}

func TestARootWhoseNameOnlyBeginsAlikeIsAnother(t *testing.T) {
	for _, tr := range eachTree(t) {
		t.Run(tr.kind, func(t *testing.T) {
			tr.put(t, "images-old/base.vhd", stampedParent(right))
			tr.put(t, "images/child.vhd", childWith(vhdtest.W2ru(`..\images-old\base.vhd`)))
			require.ErrorIs(t, tr.fails(t, "images/child.vhd", vhd.Options{Root: "images"}), vhd.ErrOutsideRoot)
		})
	}
}

func TestTheImageMayLieOutsideTheRootButItsParentsMayNot(t *testing.T) {
	for _, tr := range eachTree(t) {
		t.Run(tr.kind, func(t *testing.T) {
			tr.put(t, "pool/base.vhd", stampedParent(right))
			tr.put(t, "d/base.vhd", stampedParent(stale))
			tr.put(t, "d/child.vhd", childWith(vhdtest.W2ru(nearby), vhdtest.W2ru(`..\pool\base.vhd`)))
			d := tr.open(t, "d/child.vhd", vhd.Options{Root: "pool"})
			require.EqualValues(t, right, stampOf(t, d, 1))
		})
	}
}

func TestADiskWithoutAParentNeedsNoRoot(t *testing.T) {
	tr := osTree(t)
	tr.put(t, "base.vhd", stampedParent(right))
	tr.open(t, "base.vhd", vhd.Options{Root: "not there"})
	tr.put(t, "child.vhd", childWith(vhdtest.W2ru(nearby)))
	require.ErrorIs(t, tr.fails(t, "child.vhd", vhd.Options{Root: "not there"}), os.ErrNotExist)
}

func TestARootIsWrittenInAnyWay(t *testing.T) {
	tr := osTree(t)
	tr.put(t, "a/p/base.vhd", stampedParent(right))
	tr.put(t, "a/d/child.vhd", childWith(vhdtest.W2ru(`..\p\base.vhd`)))
	tr.symlink(t, "a", "link")
	tr.symlink(t, tr.name("a"), "absolute link")
	t.Chdir(tr.name("a/d"))
	for _, root := range []string{"..", "../", "../../a", ".././d/..", tr.name("a"), tr.name("link"), tr.name("absolute link"), "../../link", "/", "//", "/.", "/.."} {
		d, err := vhd.Open("child.vhd", &vhd.Options{Root: root})
		require.NoError(t, err, "root %q", root)
		require.EqualValues(t, right, stampOf(t, d, 1))
		require.NoError(t, d.Close())
	}
	for _, name := range []string{"child.vhd", "./child.vhd", "../d/child.vhd", tr.name("link/d/child.vhd"), tr.name("absolute link/d/child.vhd")} {
		d, err := vhd.Open(name, &vhd.Options{Root: tr.name("link")})
		require.NoError(t, err, "image %q", name)
		require.NoError(t, d.Close())
	}
}

func TestSearchAndMapPathMayGoThroughTheRootsOwnLink(t *testing.T) {
	tr := osTree(t)
	tr.put(t, "a/p/renamed.vhd", stampedParent(right))
	tr.put(t, "a/d/child.vhd", childWith(vhdtest.W2ru(`gone.vhd`)))
	tr.symlink(t, "a", "link")
	for _, search := range []string{"a/p", "link/p"} {
		d := tr.open(t, "a/d/child.vhd", vhd.Options{Root: "link", Search: []string{search}})
		require.EqualValues(t, right, stampOf(t, d, 1))
		d = tr.open(t, "a/d/child.vhd", vhd.Options{Root: "link", MapPath: func(string) []string {
			return []string{tr.name(search + "/renamed.vhd")}
		}})
		require.EqualValues(t, right, stampOf(t, d, 1))
	}
}

func TestTheRootSlashIsAnyLocalPath(t *testing.T) {
	tr := osTree(t)
	tr.put(t, "far/base.vhd", stampedParent(right))
	tr.symlink(t, tr.name("far"), "near")
	tr.put(t, "d/child.vhd", childWith(vhdtest.W2ru(`..\near\base.vhd`)))
	d, err := vhd.Open(tr.name("d/child.vhd"), &vhd.Options{Root: "/"})
	require.NoError(t, err, "absolute symbolic links too are followed")
	require.EqualValues(t, right, stampOf(t, d, 1))
	require.NoError(t, d.Close())

	tr.put(t, "e/child.vhd", childWith(vhdtest.W2ku(tr.stored("far/base.vhd"))))
	d, err = vhd.Open(tr.name("e/child.vhd"), &vhd.Options{Root: "/"})
	require.NoError(t, err)
	require.NoError(t, d.Close())
}

// Without confinement no local path is outside, and no option allows more.
func TestTheRootSlashConfinesNoLocalPath(t *testing.T) {
	tr := osTree(t)
	for _, stored := range []string{`C:\gone.vhd`, `..\gone.vhd`, `\gone\gone.vhd`, `\\server\share\gone.vhd`, `\\?\C:\gone.vhd`} {
		tr.put(t, "child.vhd", childWith(vhdtest.W2ku(stored)))
		_, err := vhd.Open(tr.name("child.vhd"), &vhd.Options{Root: "/"})
		require.NotContains(t, err.Error(), "Options.Root can allow", stored)
		if !strings.HasPrefix(stored, `\\`) {
			require.ErrorIs(t, err, vhd.ErrParentNotFound, stored)
		}
	}
}

func TestSymbolicLinksInsideTheRootAreFollowedWhileTheyStayInside(t *testing.T) {
	tests := []struct {
		name         string
		target, link string
		stored, root string
		ok           bool
	}{
		{"file beside", "real.vhd", "a/d/base.vhd", nearby, "", true},
		{"file below", "p/real.vhd", "a/d/base.vhd", nearby, "", true},
		{"file down and up", "p/../real.vhd", "a/d/base.vhd", nearby, "", true},
		{"directory", "p", "a/d/q", `.\q\real.vhd`, "", true},
		{"directory beside", "../../p", "a/d/q", `.\q\real.vhd`, ".", true},
		{"file outside", "../../p/real.vhd", "a/d/base.vhd", nearby, "", false},
		{"file outside of a higher root", "../../p/real.vhd", "a/d/base.vhd", nearby, "a", false},
		{"directory outside", "../../p", "a/d/q", `.\q\real.vhd`, "", false},
		{"directory above, and down again", "..", "a/d/q", `.\q\d\real.vhd`, "", false},
		{"absolute, outside", "{top}/p/real.vhd", "a/d/base.vhd", nearby, "", false},
		{"absolute, inside", "{top}/a/d/real.vhd", "a/d/base.vhd", nearby, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := osTree(t)
			for _, name := range []string{"p/real.vhd", "a/d/real.vhd", "a/d/p/real.vhd"} {
				tr.put(t, name, stampedParent(right))
			}
			target := tt.target
			if rest, ok := strings.CutPrefix(target, "{top}/"); ok {
				target = tr.name(rest)
			}
			tr.symlink(t, target, tt.link)
			tr.put(t, "a/d/child.vhd", childWith(vhdtest.W2ru(tt.stored)))
			opts := vhd.Options{Root: tt.root}
			if tt.ok {
				require.EqualValues(t, right, stampOf(t, tr.open(t, "a/d/child.vhd", opts), 1))
				return
			}
			require.ErrorIs(t, tr.fails(t, "a/d/child.vhd", opts), vhd.ErrOutsideRoot)
		})
	}
}

func TestOtherCaseOfALinkThatLeadsOutsideIsOutside(t *testing.T) {
	tr := osTree(t)
	tr.put(t, "p/base.vhd", stampedParent(right))
	tr.symlink(t, "../p", "d/Q")
	tr.put(t, "d/child.vhd", childWith(vhdtest.W2ru(`.\q\base.vhd`)))
	require.Error(t, tr.fails(t, "d/child.vhd", vhd.Options{}))
	tr.symlink(t, "../p/base.vhd", "d/BASE.vhd")
	tr.put(t, "d/child.vhd", childWith(vhdtest.W2ru(nearby)))
	require.ErrorIs(t, tr.fails(t, "d/child.vhd", vhd.Options{}), vhd.ErrOutsideRoot)
}

func TestSearchStaysInsideTheRoot(t *testing.T) {
	t.Run("by links", func(t *testing.T) {
		tr := osTree(t)
		tr.put(t, "p/base.vhd", stampedParent(right))
		tr.put(t, "d/child.vhd", childWith(vhdtest.W2ru(`gone.vhd`)))
		tr.symlink(t, "../p", "d/pool")
		tr.symlink(t, "../p/base.vhd", "d/link.vhd")
		require.ErrorIs(t, tr.fails(t, "d/child.vhd", vhd.Options{Search: []string{"d/pool", "d"}}), vhd.ErrOutsideRoot)
	})
	t.Run("by names", func(t *testing.T) {
		for _, tr := range eachTree(t) {
			t.Run(tr.kind, func(t *testing.T) {
				tr.put(t, "p/base.vhd", stampedParent(right))
				tr.put(t, "d/child.vhd", childWith(vhdtest.W2ru(`gone.vhd`)))
				for _, dir := range []string{"p", "d/../p", "."} {
					require.ErrorIs(t, tr.fails(t, "d/child.vhd", vhd.Options{Search: []string{dir}}), vhd.ErrOutsideRoot, dir)
				}
			})
		}
	})
}

// What a link to the image is in is not where the image is.
func TestALinkToAnImageStandsForWhereTheImageIs(t *testing.T) {
	tr := osTree(t)
	tr.put(t, "d/base.vhd", stampedParent(right))
	tr.put(t, "d/child.vhd", childWith(vhdtest.W2ru(nearby)))
	tr.put(t, "other/base.vhd", stampedParent(stale))
	tr.symlink(t, "../d/child.vhd", "other/link.vhd")
	require.EqualValues(t, right, stampOf(t, tr.open(t, "other/link.vhd", vhd.Options{}), 1))
}

func TestAHardLinkOfAParentIsAParent(t *testing.T) {
	tr := osTree(t)
	tr.put(t, "p/base.vhd", stampedParent(right))
	tr.put(t, "d/child.vhd", childWith(vhdtest.W2ru(nearby)))
	if err := os.Link(tr.name("p/base.vhd"), tr.name("d/base.vhd")); err != nil {
		t.Skipf("no hard links here: %v", err)
	}
	require.EqualValues(t, right, stampOf(t, tr.open(t, "d/child.vhd", vhd.Options{}), 1))
}

func TestNamesOfAnOwnFSKeepTheirForm(t *testing.T) {
	for _, top := range []string{"", "/"} {
		tr := memTree(top)
		tr.put(t, "d/base.vhd", stampedParent(right))
		tr.put(t, "d/child.vhd", childWith(vhdtest.W2ku(`\d\base.vhd`)))
		tr.put(t, "top.vhd", childWith(vhdtest.W2ru(`.\d\base.vhd`)))
		for _, leaf := range []string{"d/child.vhd", "top.vhd"} {
			for _, root := range []string{"", "/", "d", "/d", "d/", "."} {
				if leaf == "top.vhd" && root == "d/" {
					continue
				}
				rec := vhdtest.NewRecordFS(tr.fs)
				d, err := vhd.Open(top+leaf, &vhd.Options{FS: rec, Root: root})
				require.NoError(t, err, "%s below %q", leaf, root)
				require.Equal(t, []string{top + leaf, top + "d/base.vhd"}, chainNames(d))
				for _, op := range rec.Ops() {
					require.Equal(t, top == "/", op.Name[0] == '/', "%v", op)
				}
				require.NoError(t, d.Close())
			}
		}
	}
}

func TestAnOwnFSNeverSeesTheOperatingSystemsNames(t *testing.T) {
	t.Chdir(t.TempDir())
	tr := memTree("")
	tr.put(t, "pool/x.vhd", stampedParent(right))
	tr.put(t, "d/child.vhd", childWith(vhdtest.W2ku(elsewhere)))
	rec := vhdtest.NewRecordFS(tr.fs)
	d, err := vhd.Open("d/child.vhd", &vhd.Options{FS: rec, Root: "/", Search: []string{"pool"}, MapPath: func(string) []string {
		return []string{"gone/x.vhd", "/gone/y.vhd"}
	}})
	require.NoError(t, err)
	require.NoError(t, d.Close())
	cwd, err := os.Getwd()
	require.NoError(t, err)
	for _, op := range rec.Ops() {
		require.NotContains(t, op.Name, filepath.ToSlash(cwd))
		require.NotContains(t, op.Name, `\`)
	}
}
