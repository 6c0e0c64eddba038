package vhd_test

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// A tree whose images are all elsewhere in it, under other names.
func TestRebaseTreeFindsParentsByIdentifier(t *testing.T) {
	f := newLineage(t)
	sibling := f.create(t, "sibling.vhd", vhd.CreateOptions{Parent: f.name("base.vhd")}, f.base, rand.New(rand.NewPCG(3, 3)))
	require.NoError(t, os.MkdirAll(f.name("a/b"), 0o755))
	require.NoError(t, os.WriteFile(f.name("a/notes.txt"), []byte("something else"), 0o600))
	require.NoError(t, os.WriteFile(f.name("a/short"), nil, 0o600))
	require.NoError(t, os.Symlink("..", f.name("a/up"))) // not followed
	require.NoError(t, os.Rename(f.name("base.vhd"), f.name("a/b/root.vhd")))
	require.NoError(t, os.Rename(f.name("middle.vhd"), f.name("a/m.vhd")))

	want := []vhd.Rebased{
		{Name: f.name("leaf.vhd"), Parent: f.name("a/m.vhd")},
		{Name: f.name("sibling.vhd"), Parent: f.name("a/b/root.vhd")},
		{Name: f.name("a/m.vhd"), Parent: f.name("a/b/root.vhd")},
	}
	before := filesOf(t, f.dir+"/a/b")
	found, err := vhd.RebaseTree(t.Context(), f.dir, vhd.RebaseTreeOptions{DryRun: true})
	require.NoError(t, err)
	require.Equal(t, want, found)
	_, err = vhd.Open(f.name("leaf.vhd"), nil)
	require.ErrorIs(t, err, vhd.ErrParentNotFound)

	var told []int64
	found, err = vhd.RebaseTree(t.Context(), f.dir, vhd.RebaseTreeOptions{Progress: func(done, total int64) { told = append(told, done, total) }})
	require.NoError(t, err)
	require.Equal(t, want, found)
	require.Equal(t, []int64{1, 3, 2, 3, 3, 3}, told)
	require.Equal(t, before, filesOf(t, f.dir+"/a/b"), "a base changed")
	for name, want := range map[string][]byte{"leaf.vhd": f.leaf, "sibling.vhd": sibling, "a/m.vhd": f.middle} {
		if name != "a/m.vhd" { // its parent is below
			f.requireTreeReads(t, name, want)
		}
		requireFileReadsAs(t, f.name(name), want)
	}

	found, err = vhd.RebaseTree(t.Context(), f.dir, vhd.RebaseTreeOptions{})
	require.NoError(t, err)
	require.Empty(t, found, "what is found is left alone")
}

func (f *lineage) requireTreeReads(t testing.TB, name string, want []byte) {
	t.Helper()
	disk, err := vhd.Open(f.name(name), &vhd.Options{Root: f.dir})
	require.NoError(t, err)
	requireSameBytes(t, want, readAll(t, disk, disk.Size()), 0)
	require.NoError(t, disk.Close())
	requireFindings(t, f.name(name), withParents, "free-blocks")
}

func TestRebaseTreeReportsWhatItCanNotMend(t *testing.T) {
	f := newLineage(t)
	lonely := t.TempDir()
	require.NoError(t, os.Rename(f.name("base.vhd"), f.name("one.vhd")))
	raw, err := os.ReadFile(f.name("one.vhd"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(f.name("two.vhd"), raw, 0o600))
	before := filesOf(t, f.dir)
	found, err := vhd.RebaseTree(t.Context(), f.dir, vhd.RebaseTreeOptions{})
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, f.name("middle.vhd"), found[0].Name)
	require.Empty(t, found[0].Parent)
	require.ErrorIs(t, found[0].Err, vhd.ErrParentNotFound)
	require.ErrorContains(t, found[0].Err, f.name("one.vhd")+", "+f.name("two.vhd"))
	require.Equal(t, before, filesOf(t, f.dir))

	require.NoError(t, os.Rename(f.name("two.vhd"), filepath.Join(lonely, "two.vhd")))
	user, err := vhd.Open(f.name("middle.vhd"), &vhd.Options{NoParents: true})
	require.NoError(t, err)
	found, err = vhd.RebaseTree(t.Context(), f.dir, vhd.RebaseTreeOptions{})
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.ErrorIs(t, found[0].Err, vhd.ErrLocked)
	require.Equal(t, f.name("one.vhd"), found[0].Parent)
	require.NoError(t, user.Close())

	require.NoError(t, os.Remove(f.name("one.vhd")))
	found, err = vhd.RebaseTree(t.Context(), f.dir, vhd.RebaseTreeOptions{})
	require.NoError(t, err)
	require.Len(t, found, 1)
	var lost *vhd.ParentError
	require.ErrorAs(t, found[0].Err, &lost)

	_, err = vhd.RebaseTree(t.Context(), "", vhd.RebaseTreeOptions{})
	require.ErrorIs(t, err, fs.ErrInvalid)
	_, err = vhd.RebaseTree(t.Context(), f.name("nowhere"), vhd.RebaseTreeOptions{})
	require.ErrorIs(t, err, fs.ErrNotExist)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = vhd.RebaseTree(ctx, f.dir, vhd.RebaseTreeOptions{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestRebaseTreeGoesSoDeepAndNoDeeper(t *testing.T) {
	files := vhdtest.NewMemFS()
	dir := "d" + strings.Repeat("/d", 70)
	require.NoError(t, files.MkdirAll(dir))
	_, err := vhd.RebaseTree(t.Context(), "d", vhd.RebaseTreeOptions{Options: vhd.Options{FS: files}})
	require.ErrorIs(t, err, vhd.ErrUnsupported)
}

// movedTree is a tinyTree whose images are elsewhere than their children say.
func movedTree(t testing.TB) (tree *tinyTree, at map[string][]string) {
	t.Helper()
	tree = newTinyTree(t, [2]string{"a/base.vhd", ""}, [2]string{"a/one.vhd", "a/base.vhd"}, [2]string{"a/leaf.vhd", "a/one.vhd"}, [2]string{"a/two.vhd", "a/base.vhd"})
	require.NoError(t, tree.files.MkdirAll("b"))
	require.NoError(t, tree.files.Rename("a/base.vhd", "b/root.vhd"))
	require.NoError(t, tree.files.Rename("a/one.vhd", "b/one-moved.vhd"))
	return tree, map[string][]string{"a/base.vhd": {"b/root.vhd"}, "a/one.vhd": {"b/one-moved.vhd"}}
}

// As long as an image is not mended it opens without its parent, and otherwise
// with it.
func (tree *tinyTree) mustReadOrMend(state *vhdtest.MemFS, at map[string][]string) error {
	if _, err := vhd.RebaseTree(context.Background(), "/", vhd.RebaseTreeOptions{Options: vhd.Options{FS: state}}); err != nil {
		return err
	}
	return tree.mustRead(state, "/", at)
}

func TestEveryCrashOfRebaseTreeIsMendedByTheNextOne(t *testing.T) {
	tree, at := movedTree(t)
	crashEverywhere(t, tree.files, false, func(fsys vhd.FS) error {
		found, err := vhd.RebaseTree(t.Context(), "/", vhd.RebaseTreeOptions{Options: vhd.Options{FS: fsys}})
		if err == nil && len(found) != 3 {
			err = fmt.Errorf("%d are mended, not 3", len(found))
		}
		return err
	}, func(state *vhdtest.MemFS) error { return tree.mustReadOrMend(state, at) })
}

func TestEveryFaultOfRebaseTreeIsToldAndLosesNothing(t *testing.T) {
	tree, at := movedTree(t)
	failEverywhere(t, tree.files, false, func(fsys vhd.FS) error {
		found, err := vhd.RebaseTree(t.Context(), "/", vhd.RebaseTreeOptions{Options: vhd.Options{FS: fsys}})
		for _, r := range found {
			if r.Err != nil {
				err = r.Err
			}
		}
		return err
	}, func(state *vhdtest.MemFS) error { return tree.mustReadOrMend(state, at) })
}
