package vhd_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
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
	require.Equal(t, []string{f.name("one.vhd"), f.name("two.vhd")}, found[0].Candidates)
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

func TestWhatIsInUseAndRightIsNeitherReportedNorDisturbed(t *testing.T) {
	f := newLineage(t)
	user, err := vhd.Open(f.name("leaf.vhd"), &vhd.Options{Writable: true})
	require.NoError(t, err)
	for _, dryRun := range []bool{true, false} {
		found, err := vhd.RebaseTree(t.Context(), f.dir, vhd.RebaseTreeOptions{DryRun: dryRun})
		require.NoError(t, err)
		require.Empty(t, found)
	}
	images, err := vhd.Scan(t.Context(), f.dir, vhd.ScanOptions{})
	require.NoError(t, err)
	require.Len(t, images, 3)
	for _, image := range images {
		require.NoError(t, image.Err)
	}
	require.Equal(t, f.name("middle.vhd"), images[1].Parent)
	require.NoError(t, user.Close())
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

// What Check says of a parent that was changed after its child was made, it says
// afterwards too.
func TestRebaseTreeHidesNoChangeOfAParent(t *testing.T) {
	dir := newOldLineage(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	base, err := vhd.Open(at("base.vhd"), &vhd.Options{Writable: true})
	require.NoError(t, err)
	_, err = base.WriteAt([]byte("changed"), 0)
	require.NoError(t, err)
	require.NoError(t, base.Close())
	changed := func() []vhd.Finding {
		report, err := vhd.Check(t.Context(), at("middle.vhd"), vhd.CheckOptions{Chain: true})
		require.NoError(t, err)
		return report.Findings
	}
	before := changed()
	require.Len(t, before, 1)
	require.Equal(t, "parent-time", before[0].Code)
	require.NoError(t, os.Rename(at("base.vhd"), at("root.vhd")))
	_, err = vhd.RebaseTree(t.Context(), dir, vhd.RebaseTreeOptions{})
	require.NoError(t, err)
	require.Equal(t, before, changed())
}

// newOldLineage is images of which each was made days after its parent.
func newOldLineage(t testing.TB) (dir string) {
	t.Helper()
	dir = t.TempDir()
	parent := ""
	for i, name := range []string{"base.vhd", "middle.vhd", "leaf.vhd", "tip.vhd"} {
		opts := vhd.CreateOptions{Parent: parent}
		if parent == "" {
			opts.Size = tinySize
		}
		parent = filepath.Join(dir, name)
		disk, err := vhd.Create(parent, opts)
		require.NoError(t, err)
		require.NoError(t, disk.Close())
		made := time.Date(2020, 1, 1+10*i, 0, 0, 0, 0, time.UTC)
		require.NoError(t, os.Chtimes(parent, made, made))
	}
	requireFindings(t, parent, withParents)
	return dir
}

// An image of which only references change keeps its time, which its children know.
func TestReferencesThatAreWrittenAnewMakeNoChildWorthless(t *testing.T) {
	for name, opts := range map[string]vhd.Options{"by name": {}, "in a root": {FS: nil}} {
		t.Run(name, func(t *testing.T) {
			dir := newOldLineage(t)
			at := func(name string) string { return filepath.Join(dir, name) }
			whole := func() {
				t.Helper()
				for _, name := range []string{"tip.vhd", "leaf.vhd"} {
					report, err := vhd.Check(t.Context(), at(name), vhd.CheckOptions{Options: vhd.Options{Root: dir}, Chain: true})
					require.NoError(t, err)
					require.Empty(t, report.Findings)
				}
			}
			if name == "in a root" {
				root, err := os.OpenRoot(dir)
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, root.Close()) })
				opts = vhd.Options{FS: vhd.RootFS(root), Root: "/"}
			}
			named := func(name string) string {
				if opts.FS != nil {
					return name
				}
				return at(name)
			}
			rename := func(from, to string) {
				t.Helper()
				o := opts
				if o.FS == nil {
					o.Root = dir
				}
				_, err := vhd.Rename(t.Context(), named(from), named(to), vhd.RenameOptions{Options: o})
				require.NoError(t, err)
				whole()
			}
			rename("base.vhd", "root.vhd")
			require.NoError(t, os.Mkdir(at("deeper"), 0o755))
			rename("middle.vhd", "deeper/middle.vhd") // whose own reference changes

			require.NoError(t, os.Rename(at("root.vhd"), at("deeper/base.vhd")))
			require.NoError(t, os.Rename(at("deeper/middle.vhd"), at("zmiddle.vhd"))) // which comes behind its child
			found, err := vhd.RebaseTree(t.Context(), named("."), vhd.RebaseTreeOptions{Options: opts})
			require.NoError(t, err)
			require.Len(t, found, 2)
			whole()
		})
	}
}

// Two images that name each other as their parent, as no tool makes them, would be a chain
// without an end.
func TestRebaseTreeMakesNoLoop(t *testing.T) {
	tree := newTinyTree(t, [2]string{"base.vhd", ""}, [2]string{"a.vhd", "base.vhd"}, [2]string{"b.vhd", "a.vhd"}, [2]string{"c.vhd", "b.vhd"})
	raw, err := tree.files.ReadFile("a.vhd")
	require.NoError(t, err)
	copy(raw[512+40:], []byte{4, 15: 0}) // c, which is below it
	vhdtest.MendHeader(t, raw[512:1536])
	require.NoError(t, tree.files.WriteFile("a.vhd", raw))
	require.NoError(t, tree.files.MkdirAll("x"))
	require.NoError(t, tree.files.Rename("a.vhd", "x/a.vhd"))
	require.NoError(t, tree.files.Rename("b.vhd", "x/b.vhd"))
	require.NoError(t, tree.files.Rename("c.vhd", "c2.vhd"))
	for _, dryRun := range []bool{true, false} {
		found, err := vhd.RebaseTree(t.Context(), "/", vhd.RebaseTreeOptions{Options: vhd.Options{FS: tree.files}, DryRun: dryRun})
		require.NoError(t, err)
		refused := map[string]bool{}
		for _, r := range found {
			if errors.Is(r.Err, vhd.ErrChainLoop) {
				refused[r.Name] = true
			}
		}
		require.True(t, refused["/x/a.vhd"], "%v", found)
	}
	found, err := vhd.RebaseTree(t.Context(), "/", vhd.RebaseTreeOptions{Options: vhd.Options{FS: tree.files}})
	require.NoError(t, err)
	for _, r := range found {
		require.ErrorIs(t, r.Err, vhd.ErrChainLoop, "mended again and again")
	}
}

// Which of two images of one identifier an image finds depends on where it is: any of them
// may be on the way.
func TestRebaseTreeMakesNoLoopByWayOfACopyOfAnIdentifier(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	id := func(b byte) uuid.UUID { return uuid.UUID{b, 15: 1} }
	create := func(name, parent string, opts vhd.CreateOptions) {
		t.Helper()
		if opts.Size = tinySize; parent != "" {
			opts.Parent, opts.Size = at(parent), 0
		}
		require.NoError(t, createAndFill(at(name), opts, func(*vhd.Disk) error { return nil }))
	}
	create("lost.vhd", "", vhd.CreateOptions{ID: id(2)})
	create("child.vhd", "lost.vhd", vhd.CreateOptions{ID: id(1)})
	create("q.vhd", "child.vhd", vhd.CreateOptions{ID: id(3)})
	require.NoError(t, os.Remove(at("lost.vhd")))
	require.NoError(t, os.Rename(at("q.vhd"), at("kept")))
	create("q.vhd", "", vhd.CreateOptions{ID: id(3)})
	create("p.vhd", "q.vhd", vhd.CreateOptions{ID: id(2)}) // as whose parent it finds the other q.vhd from now on
	require.NoError(t, os.Rename(at("q.vhd"), at("a.vhd")))
	require.NoError(t, os.Rename(at("kept"), at("q.vhd")))
	before := filesOf(t, dir)
	found, err := vhd.RebaseTree(t.Context(), dir, vhd.RebaseTreeOptions{})
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, at("child.vhd"), found[0].Name)
	require.ErrorIs(t, found[0].Err, vhd.ErrChainLoop)
	require.Equal(t, before, filesOf(t, dir))
}

// It is no image, though its bytes are those of one.
func TestWhatACreateLeftThatWasKilledIsNoParent(t *testing.T) {
	f := newLineage(t)
	raw, err := os.ReadFile(f.name("base.vhd"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(f.name("moved.vhd.ABC.vhd-tmp"), raw, 0o600))
	images, err := vhd.Scan(t.Context(), f.dir, vhd.ScanOptions{})
	require.NoError(t, err)
	require.Len(t, images, 3)
	require.NoError(t, os.Rename(f.name("base.vhd"), f.name("moved.vhd")))
	found, err := vhd.RebaseTree(t.Context(), f.dir, vhd.RebaseTreeOptions{})
	require.NoError(t, err)
	require.Equal(t, []vhd.Rebased{{Name: f.name("middle.vhd"), Parent: f.name("moved.vhd")}}, found)
}

func TestRebaseTreeTakesTwoNamesOfOneFileForOneImage(t *testing.T) {
	f := newLineage(t)
	require.NoError(t, os.Rename(f.name("base.vhd"), f.name("one.vhd")))
	require.NoError(t, os.Link(f.name("one.vhd"), f.name("two.vhd")))
	found, err := vhd.RebaseTree(t.Context(), f.dir, vhd.RebaseTreeOptions{})
	require.NoError(t, err)
	require.Equal(t, []vhd.Rebased{{Name: f.name("middle.vhd"), Parent: f.name("one.vhd")}}, found)
	requireFileReadsAs(t, f.name("leaf.vhd"), f.leaf)
}

// A merge that was killed left a child of which nobody knows which of two identifiers its
// parent has. Where the parent is is another matter.
func TestRebaseTreeMendsWhatAKilledMergeLeft(t *testing.T) {
	tree := newTinyTree(t, [2]string{"base.vhd", ""}, [2]string{"one.vhd", "base.vhd"}, [2]string{"two.vhd", "one.vhd"}, [2]string{"leaf.vhd", "two.vhd"})
	storage := vhdtest.NewCrashFS(tree.files.Clone(), vhdtest.CrashOptions{})
	mended, left, refused := 0, 0, map[string]int{}
	storage.OnOp = func(op vhdtest.Op) {
		for _, ahead := range []string{"y", "a"} { // before its child, or behind
			state := storage.Live()
			require.NoError(t, state.MkdirAll(ahead))
			for _, name := range []string{"base.vhd", "one.vhd", "two.vhd"} {
				if _, err := state.Stat(name); err == nil {
					require.NoError(t, state.Rename(name, ahead+"/"+name))
				}
			}
			found, err := vhd.RebaseTree(t.Context(), "/", vhd.RebaseTreeOptions{Options: vhd.Options{FS: state}})
			require.NoError(t, err)
			for _, r := range found {
				switch {
				case errors.Is(r.Err, vhd.ErrParentMismatch) && r.Name == "/"+ahead+"/two.vhd": // the leaf, which reads right, does without it
					left++
				case r.Err != nil:
					refused[fmt.Sprintf("%v: %v", op, r.Err)]++
				case r.Name == "/leaf.vhd":
					mended++
				}
			}
			require.NoError(t, mustReadAs(state, "leaf.vhd", "/", tree.content["leaf.vhd"]), "%v: %v", op, found)
		}
	}
	disk, err := vhd.Open("leaf.vhd", &vhd.Options{FS: storage, Writable: true})
	require.NoError(t, err)
	require.NoError(t, disk.Merge(t.Context(), 1, 2, vhd.MergeOptions{}))
	require.NoError(t, disk.Close())
	require.Empty(t, refused)
	require.Positive(t, mended)
	require.Positive(t, left)
}

// watchedFS tells of every file that is about to be opened.
type watchedFS struct {
	vhd.FS
	onOpen func(name string, flag int)
}

func (h watchedFS) OpenFile(name string, flag int, perm fs.FileMode) (vhd.File, error) {
	h.onOpen(name, flag)
	return h.FS.OpenFile(name, flag, perm)
}

func TestAParentThatIsReplacedMeanwhileIsNotReferredTo(t *testing.T) {
	tree := newTinyTree(t, [2]string{"base.vhd", ""}, [2]string{"leaf.vhd", "base.vhd"}, [2]string{"other.vhd", ""})
	require.NoError(t, tree.files.MkdirAll("x"))
	require.NoError(t, tree.files.Rename("base.vhd", "x/base.vhd"))
	other, err := tree.files.ReadFile("other.vhd")
	require.NoError(t, err)
	before, err := tree.files.ReadFile("leaf.vhd")
	require.NoError(t, err)
	opened := 0
	fsys := watchedFS{tree.files, func(name string, _ int) {
		if name != "/x/base.vhd" {
			return
		}
		if opened++; opened == 2 { // once it was found
			require.NoError(t, tree.files.WriteFile(name, other))
		}
	}}
	found, err := vhd.RebaseTree(t.Context(), "/", vhd.RebaseTreeOptions{Options: vhd.Options{FS: fsys}})
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.ErrorIs(t, found[0].Err, vhd.ErrLocked)
	require.Equal(t, 2, opened)
	after, err := tree.files.ReadFile("leaf.vhd")
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// A child that another file took the place of is not written to, though it names the
// same parent.
func TestAChildThatIsReplacedMeanwhileIsNotWrittenTo(t *testing.T) {
	dir := newOldLineage(t)
	raw, err := os.ReadFile(filepath.Join(dir, "middle.vhd"))
	require.NoError(t, err)
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, root.Close()) })
	replaced := false
	fsys := watchedFS{vhd.RootFS(root), func(name string, flag int) {
		if name == "middle.vhd" && flag == os.O_RDWR && !replaced {
			replaced = true
			require.NoError(t, root.WriteFile("new", raw, 0o600))
			require.NoError(t, root.Rename("new", "middle.vhd"))
		}
	}}
	_, err = vhd.Rename(t.Context(), "base.vhd", "root.vhd", vhd.RenameOptions{Options: vhd.Options{FS: fsys}})
	require.ErrorIs(t, err, vhd.ErrLocked)
	require.True(t, replaced)
	require.FileExists(t, filepath.Join(dir, "base.vhd"))
	after, err := os.ReadFile(filepath.Join(dir, "middle.vhd"))
	require.NoError(t, err)
	require.Equal(t, raw, after)
}
