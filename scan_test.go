package vhd_test

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// parentsOf is whose child each image is, by name.
func parentsOf(found []vhd.Scanned) map[string]string {
	parents := map[string]string{}
	for _, s := range found {
		parents[s.Name] = s.Parent
	}
	return parents
}

func TestScanFindsTheParentsThatOpenWouldFind(t *testing.T) {
	f := newLineage(t)
	require.NoError(t, os.MkdirAll(f.name("deep/deeper"), 0o755))
	require.NoError(t, os.WriteFile(f.name("notes.txt"), []byte("no image"), 0o600))
	require.NoError(t, os.Symlink("base.vhd", f.name("link.vhd"))) // not followed
	fixed, err := vhd.Create(f.name("deep/fixed.vhd"), vhd.CreateOptions{Type: vhd.Fixed, Size: 1 << 20})
	require.NoError(t, err)
	require.NoError(t, fixed.Close())

	flat := map[string]string{f.name("base.vhd"): "", f.name("leaf.vhd"): f.name("middle.vhd"), f.name("middle.vhd"): f.name("base.vhd")}
	found, err := vhd.Scan(t.Context(), f.dir, vhd.ScanOptions{})
	require.NoError(t, err)
	require.Equal(t, flat, parentsOf(found))
	for _, s := range found {
		require.NoError(t, s.Err)
		require.NotNil(t, s.Image)
		require.Equal(t, s.Name, s.Image.Name())
	}

	var told []int64
	deep := vhd.ScanOptions{Recursive: true, Progress: func(done, total int64) { told = append(told, done, total) }}
	found, err = vhd.Scan(t.Context(), f.dir, deep)
	require.NoError(t, err)
	flat[f.name("deep/fixed.vhd")] = ""
	require.Equal(t, flat, parentsOf(found))
	require.Equal(t, vhd.Fixed, found[3].Image.Footer().Type, "folder by folder")
	require.Equal(t, []int64{1, 2, 2, 2}, told)
}

func TestScanTellsWhyAParentIsNotFoundAndWhereItMayBe(t *testing.T) {
	f := newLineage(t)
	require.NoError(t, os.MkdirAll(f.name("moved"), 0o755))
	require.NoError(t, os.Rename(f.name("base.vhd"), f.name("moved/root.vhd")))
	found, err := vhd.Scan(t.Context(), f.dir, vhd.ScanOptions{Recursive: true})
	require.NoError(t, err)
	require.Len(t, found, 3)
	lost := found[1]
	require.Equal(t, f.name("middle.vhd"), lost.Name)
	require.NotNil(t, lost.Image)
	require.Empty(t, lost.Parent)
	require.ErrorIs(t, lost.Err, vhd.ErrParentNotFound)
	require.ErrorContains(t, lost.Err, "base.vhd")
	require.Equal(t, []string{f.name("moved/root.vhd")}, lost.Elsewhere)
	require.Equal(t, f.name("middle.vhd"), found[0].Parent, "each image for itself")

	found, err = vhd.Scan(t.Context(), f.dir, vhd.ScanOptions{})
	require.NoError(t, err)
	require.Empty(t, found[1].Elsewhere, "nobody looked into the folder")
}

func TestScanNamesAParentAsItIsInTheList(t *testing.T) {
	tr := osTree(t)
	tr.mkdir(t, "children")
	tr.put(t, "base.vhd", stampedParent('B'))
	require.NoError(t, os.Symlink("../base.vhd", tr.name("children/link.vhd")))
	for child, path := range map[string]string{"above.vhd": `..\base.vhd`, "linked.vhd": `.\link.vhd`, "folded.vhd": `..\BASE.VHD`} {
		tr.put(t, "children/"+child, childNamed([16]byte{2, child[0]}, parentID, vhdtest.W2ru(path)))
	}
	t.Chdir(tr.top)
	found, err := vhd.Scan(t.Context(), ".", vhd.ScanOptions{Recursive: true})
	require.NoError(t, err)
	require.Equal(t, map[string]string{
		"./base.vhd": "", "./children/above.vhd": "./base.vhd", "./children/folded.vhd": "./base.vhd", "./children/linked.vhd": "./base.vhd",
	}, parentsOf(found))

	found, err = vhd.Scan(t.Context(), "children", vhd.ScanOptions{Options: vhd.Options{Root: "/"}})
	require.NoError(t, err)
	require.Equal(t, tr.name("base.vhd"), parentsOf(found)["children/above.vhd"], "outside the folder")
}

func TestScanNamesNoMoreThanSomeOfManyThatMayBeTheParent(t *testing.T) {
	tr := memTree("")
	for i := range 20 {
		tr.put(t, fmt.Sprintf("copy%02d.vhd", i), stampedParent('B'))
	}
	tr.put(t, "lost.vhd", childWith(vhdtest.W2ru(`.\gone.vhd`)))
	found, err := vhd.Scan(t.Context(), ".", vhd.ScanOptions{Options: vhd.Options{FS: tr.fs}})
	require.NoError(t, err)
	lost := found[20]
	require.Len(t, lost.Elsewhere, 16)
	require.Equal(t, "copy00.vhd", lost.Elsewhere[0])
}

// closedFS is an FS that has a folder which nobody may read.
type closedFS struct {
	vhd.FS
	closed string
}

func (c closedFS) ReadDir(name string) ([]fs.DirEntry, error) {
	if name == c.closed {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return c.FS.ReadDir(name)
}

// As RebaseTree does: two names of one file are one image, of which it takes the first.
func TestScanNamesAFileThatMayBeTheParentOnce(t *testing.T) {
	f := newLineage(t)
	require.NoError(t, os.Rename(f.name("base.vhd"), f.name("one.vhd")))
	require.NoError(t, os.Link(f.name("one.vhd"), f.name("two.vhd")))
	found, err := vhd.Scan(t.Context(), f.dir, vhd.ScanOptions{})
	require.NoError(t, err)
	require.Equal(t, f.name("middle.vhd"), found[1].Name)
	require.Equal(t, []string{f.name("one.vhd")}, found[1].Elsewhere)
	mended, err := vhd.RebaseTree(t.Context(), f.dir, vhd.RebaseTreeOptions{})
	require.NoError(t, err)
	require.Equal(t, found[1].Elsewhere[0], mended[0].Parent)
}

func TestScanTellsOfAFolderThatItCanNotRead(t *testing.T) {
	tr := memTree("/")
	tr.mkdir(t, "closed")
	tr.mkdir(t, "open")
	tr.put(t, "open/base.vhd", stampedParent('B'))
	found, err := vhd.Scan(t.Context(), "/", vhd.ScanOptions{Options: vhd.Options{FS: closedFS{tr.fs, "/closed"}}, Recursive: true})
	require.NoError(t, err)
	require.Len(t, found, 2)
	require.Equal(t, vhd.Scanned{Name: "/closed", IsDir: true, Err: found[0].Err}, found[0])
	require.EqualError(t, found[0].Err, "vhd: /closed: permission denied")
	require.Equal(t, "/open/base.vhd", found[1].Name)
	require.False(t, found[1].IsDir)
}

func TestScanReportsImagesThatCanNotBeRead(t *testing.T) {
	f := newLineage(t)
	raw, err := os.ReadFile(f.name("base.vhd"))
	require.NoError(t, err)
	for name, content := range map[string][]byte{
		"cut.vhd":   raw[:700],       // no footer: the copy names a header that is not there
		"empty.VHD": nil,             // called as an image
		"other.bin": []byte("other"), // not so
	} {
		require.NoError(t, os.WriteFile(f.name(name), content, 0o600))
	}
	damaged := append([]byte{}, raw...)
	damaged[len(damaged)-512+70] ^= 1 // the identifier, which the checksum is of
	copy(damaged, make([]byte, 512))
	require.NoError(t, os.WriteFile(f.name("damaged.bin"), damaged, 0o600))

	found, err := vhd.Scan(t.Context(), f.dir, vhd.ScanOptions{})
	require.NoError(t, err)
	failed := map[string]bool{}
	for _, s := range found {
		if s.Image == nil {
			require.ErrorIs(t, s.Err, vhd.ErrFormat)
			require.ErrorContains(t, s.Err, s.Name)
			failed[s.Name] = true
		}
	}
	require.Equal(t, map[string]bool{f.name("cut.vhd"): true, f.name("empty.VHD"): true, f.name("damaged.bin"): true}, failed)
	require.Len(t, found, 6)
}

func TestScanOfImagesThatAreEachOthersParents(t *testing.T) {
	idA, idB := [16]byte{0xA}, [16]byte{0xB}
	for _, tr := range eachTree(t) {
		t.Run(tr.kind, func(t *testing.T) {
			tr.put(t, "a.vhd", childNamed(idA, idB, vhdtest.W2ru(`.\b.vhd`)))
			tr.put(t, "b.vhd", childNamed(idB, idA, vhdtest.W2ru(`.\a.vhd`)))
			dir := strings.TrimSuffix(tr.name("a.vhd"), "a.vhd")
			found, err := vhd.Scan(t.Context(), cmp.Or(dir, "."), vhd.ScanOptions{Options: vhd.Options{FS: tr.fs}})
			require.NoError(t, err)
			require.Equal(t, map[string]string{tr.name("a.vhd"): tr.name("b.vhd"), tr.name("b.vhd"): tr.name("a.vhd")}, parentsOf(found))
		})
	}
}

func TestScanGoesSoFarAndNoFurther(t *testing.T) {
	_, err := vhd.Scan(t.Context(), "", vhd.ScanOptions{})
	require.ErrorIs(t, err, fs.ErrInvalid)
	_, err = vhd.Scan(t.Context(), t.TempDir()+"/nowhere", vhd.ScanOptions{})
	require.ErrorIs(t, err, fs.ErrNotExist)
	f := newLineage(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = vhd.Scan(ctx, f.dir, vhd.ScanOptions{})
	require.ErrorIs(t, err, context.Canceled)

	// What is outside the root is not looked at.
	require.NoError(t, os.MkdirAll(f.name("inside"), 0o755))
	require.NoError(t, os.Rename(f.name("leaf.vhd"), f.name("inside/leaf.vhd")))
	found, err := vhd.Scan(t.Context(), f.name("inside"), vhd.ScanOptions{})
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.ErrorIs(t, found[0].Err, vhd.ErrOutsideRoot)
}
