package vhd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

func TestRenameTakesTheChildrenWithIt(t *testing.T) {
	f := newLineage(t)
	sibling := f.create(t, "sibling.vhd", vhd.CreateOptions{Parent: f.name("base.vhd")}, f.base, rand.New(rand.NewPCG(3, 3)))
	require.NoError(t, os.Chmod(f.name("base.vhd"), 0o444)) // as bases are kept
	children, err := vhd.Rename(t.Context(), f.name("base.vhd"), f.name("root.vhd"), vhd.RenameOptions{DryRun: true})
	require.NoError(t, err)
	require.Equal(t, []string{f.name("middle.vhd"), f.name("sibling.vhd")}, children)
	require.NoFileExists(t, f.name("root.vhd"))

	children, err = vhd.Rename(t.Context(), f.name("base.vhd"), f.name("root.vhd"), vhd.RenameOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{f.name("middle.vhd"), f.name("sibling.vhd")}, children)
	require.NoFileExists(t, f.name("base.vhd"))
	for _, child := range children {
		refs := imageOf(t, child).ParentRefs()
		absolute := strings.ReplaceAll(f.name("root.vhd"), "/", `\`)
		require.ElementsMatch(t, []vhd.ParentRef{{Origin: "W2ru", Path: `.\root.vhd`}, {Origin: "W2ku", Path: absolute}, {Origin: "header", Path: absolute}}, refs)
	}
	requireFileReadsAs(t, f.name("sibling.vhd"), sibling)
	requireFileReadsAs(t, f.name("middle.vhd"), f.middle)
	requireFindings(t, f.name("sibling.vhd"), withParents, "free-blocks")
	requireFileReadsAs(t, f.name("leaf.vhd"), f.leaf)
	requireSameBytes(t, f.leaf, vhdtest.SevenZip.Content(t, f.name("leaf.vhd")), 0)
}

// An image that goes to another directory finds its own parent from there, and is
// found by its children, those in directories to search too.
func TestRenameToAnotherDirectoryChangesTheImagesOwnReferenceToo(t *testing.T) {
	f := newLineage(t)
	require.NoError(t, os.Mkdir(f.name("deeper"), 0o755))
	require.NoError(t, os.Mkdir(f.name("children"), 0o755))
	far := f.create(t, "children/far.vhd", vhd.CreateOptions{Parent: f.name("middle.vhd")}, f.middle, rand.New(rand.NewPCG(3, 3)))
	children, err := vhd.Rename(t.Context(), f.name("middle.vhd"), f.name("deeper/moved.vhd"), vhd.RenameOptions{Options: vhd.Options{
		Root: f.dir, Search: []string{f.name("children")},
	}})
	require.NoError(t, err)
	require.Equal(t, []string{f.name("leaf.vhd"), f.name("children/far.vhd")}, children)
	for name, want := range map[string][]byte{"leaf.vhd": f.leaf, "deeper/moved.vhd": f.middle, "children/far.vhd": far} {
		disk, err := vhd.Open(f.name(name), &vhd.Options{Root: f.dir})
		require.NoError(t, err)
		requireSameBytes(t, want, readAll(t, disk, lineageSize), 0)
		require.NoError(t, disk.Close())
		requireFindings(t, f.name(name), withParents, "free-blocks")
	}
	require.Contains(t, imageOf(t, f.name("deeper/moved.vhd")).ParentRefs(), vhd.ParentRef{Origin: "W2ru", Path: `..\base.vhd`})
	require.Contains(t, imageOf(t, f.name("children/far.vhd")).ParentRefs(), vhd.ParentRef{Origin: "W2ru", Path: `..\deeper\moved.vhd`})
}

func TestRenameTellsOfEachReference(t *testing.T) {
	tree := newTinyTree(t, [2]string{"a/base.vhd", ""}, [2]string{"a/one.vhd", "a/base.vhd"}, [2]string{"a/leaf.vhd", "a/one.vhd"}, [2]string{"b/leaf.vhd", "a/one.vhd"})
	var told []int64
	opts := vhd.RenameOptions{Options: vhd.Options{FS: tree.files, Root: "/"}, Progress: func(done, total int64) { told = append(told, done, total) }}
	_, err := vhd.Rename(t.Context(), "a/one.vhd", "b/moved.vhd", opts)
	require.NoError(t, err)
	require.Equal(t, []int64{1, 6, 2, 6, 3, 6, 4, 6, 5, 6, 6, 6}, told)
}

func TestAChildOfSeveralNamesIsToldOnce(t *testing.T) {
	f := newLineage(t)
	require.NoError(t, os.Link(f.name("middle.vhd"), f.name("same.vhd")))
	children, err := vhd.Rename(t.Context(), f.name("base.vhd"), f.name("root.vhd"), vhd.RenameOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{f.name("middle.vhd")}, children)
	requireFileReadsAs(t, f.name("same.vhd"), f.middle)
	requireFileReadsAs(t, f.name("leaf.vhd"), f.leaf)
}

func TestAChildBehindASymbolicLinkIsNotForgotten(t *testing.T) {
	f := newLineage(t)
	require.NoError(t, os.Mkdir(f.name("far"), 0o755))
	far := f.create(t, "far/child.vhd", vhd.CreateOptions{Parent: f.name("base.vhd")}, f.base, rand.New(rand.NewPCG(3, 3)))
	require.NoError(t, os.Symlink("far/child.vhd", f.name("child.vhd")))
	before := filesOf(t, f.name("far"))
	opts := vhd.Options{Root: f.dir}
	_, err := vhd.Rename(t.Context(), f.name("base.vhd"), f.name("root.vhd"), vhd.RenameOptions{Options: opts})
	require.ErrorIs(t, err, vhd.ErrUnsupported)
	require.ErrorContains(t, err, f.name("child.vhd"))
	require.FileExists(t, f.name("base.vhd"))
	require.Equal(t, before, filesOf(t, f.name("far")))

	search := opts
	search.Search = []string{f.name("far")}
	children, err := vhd.Rename(t.Context(), f.name("base.vhd"), f.name("root.vhd"), vhd.RenameOptions{Options: search})
	require.NoError(t, err)
	require.Equal(t, []string{f.name("middle.vhd"), f.name("far/child.vhd")}, children)
	for _, name := range []string{"child.vhd", "far/child.vhd"} {
		disk, err := vhd.Open(f.name(name), &opts)
		require.NoError(t, err)
		requireSameBytes(t, far, readAll(t, disk, lineageSize), 0)
		require.NoError(t, disk.Close())
	}
}

// The old name was taken for one of two when the new one had gone to another file by then: the image had no name any more.
func TestARenameKeepsTheOldNameIfTheNewOneIsAnotherFilesMeanwhile(t *testing.T) {
	f := newLineage(t)
	require.NoError(t, os.Link(f.name("base.vhd"), f.name("root.vhd")))
	others := sync.OnceFunc(func() {
		require.NoError(t, os.Remove(f.name("root.vhd")))
		require.NoError(t, os.WriteFile(f.name("root.vhd"), []byte("another's"), 0o600))
	})
	opts := vhd.RenameOptions{Progress: func(_, _ int64) { others() }}
	_, err := vhd.Rename(t.Context(), f.name("base.vhd"), f.name("root.vhd"), opts)
	require.ErrorIs(t, err, fs.ErrExist)
	requireFileReadsAs(t, f.name("leaf.vhd"), f.leaf)
	requireFileReadsAs(t, f.name("base.vhd"), f.base)
}

// Killed at that moment, it leaves the image with both names.
func TestARenameThatWasKilledIsTakenUpAgain(t *testing.T) {
	for _, to := range []string{"root.vhd", "deeper/root.vhd"} {
		f := newLineage(t)
		require.NoError(t, os.Mkdir(f.name("deeper"), 0o755))
		require.NoError(t, os.Link(f.name("base.vhd"), f.name(to)))
		children, err := vhd.Rename(t.Context(), f.name("base.vhd"), f.name(to), vhd.RenameOptions{Options: vhd.Options{Root: f.dir}})
		require.NoError(t, err)
		require.Equal(t, []string{f.name("middle.vhd")}, children)
		require.NoFileExists(t, f.name("base.vhd"))
		disk, err := vhd.Open(f.name("leaf.vhd"), &vhd.Options{Root: f.dir})
		require.NoError(t, err)
		requireSameBytes(t, f.leaf, readAll(t, disk, lineageSize), 0)
		require.Equal(t, filepath.Base(to), filepath.Base(disk.Chain()[2].Name()))
		require.NoError(t, disk.Close())
	}
}

// What looks like a second name need not be one.
func TestTheOnlyNameOfAnImageIsNeverTakenAway(t *testing.T) {
	f := newLineage(t)
	require.NoError(t, os.Symlink(".", f.name("again")))
	require.NoError(t, os.Symlink("base.vhd", f.name("link.vhd")))
	require.NoError(t, os.Symlink(f.dir, f.name("whole")))
	for _, to := range []string{"base.vhd", "again/base.vhd", "whole/base.vhd", "link.vhd", "again/link.vhd"} {
		_, err := vhd.Rename(t.Context(), f.name("base.vhd"), f.name(to), vhd.RenameOptions{})
		require.ErrorIs(t, err, fs.ErrExist, to)
		requireFileReadsAs(t, f.name("leaf.vhd"), f.leaf)
	}
}

// foldingFS tells no letter from its capital, as file systems of Windows and macOS do.
type foldingFS struct{ vhd.FS }

// entry is the name that a file has, in its own letters.
func (f foldingFS) entry(name string) (entry string, ok bool) {
	entries, err := f.ReadDir(path.Dir(name))
	for _, e := range entries {
		if err == nil && strings.EqualFold(e.Name(), path.Base(name)) {
			return path.Join(path.Dir(name), e.Name()), true
		}
	}
	return name, false
}

func (f foldingFS) OpenFile(name string, flag int, perm fs.FileMode) (vhd.File, error) {
	name, _ = f.entry(name)
	return f.FS.OpenFile(name, flag, perm)
}

func (f foldingFS) Stat(name string) (fs.FileInfo, error) {
	name, _ = f.entry(name)
	return f.FS.(interface {
		Stat(name string) (fs.FileInfo, error)
	}).Stat(name)
}

func (f foldingFS) Remove(name string) error {
	name, _ = f.entry(name)
	return f.FS.Remove(name)
}

func (f foldingFS) Link(oldname, newname string) error {
	if _, ok := f.entry(newname); ok {
		return fs.ErrExist
	}
	oldname, _ = f.entry(oldname)
	return f.FS.(interface {
		Link(oldname, newname string) error
	}).Link(oldname, newname)
}

func (f foldingFS) Rename(oldname, newname string) error {
	oldname, _ = f.entry(oldname)
	return f.FS.Rename(oldname, newname)
}

func TestRenameToTheSameNameInOtherLetters(t *testing.T) {
	f := newLineage(t)
	root, err := os.OpenRoot(f.dir)
	require.NoError(t, err)
	defer root.Close()
	opts := vhd.Options{FS: foldingFS{vhd.RootFS(root)}}
	children, err := vhd.Rename(t.Context(), "base.vhd", "Base.VHD", vhd.RenameOptions{Options: opts})
	require.NoError(t, err)
	require.Equal(t, []string{"middle.vhd"}, children)
	require.Contains(t, filesOf(t, f.dir), "Base.VHD")
	require.NotContains(t, filesOf(t, f.dir), "base.vhd")
	disk, err := vhd.Open("leaf.vhd", &opts)
	require.NoError(t, err)
	require.Equal(t, "Base.VHD", disk.Chain()[2].Name())
	requireSameBytes(t, f.leaf, readAll(t, disk, lineageSize), 0)
	require.NoError(t, disk.Close())
	_, err = vhd.Rename(t.Context(), "base.vhd", "BASE.vhd", vhd.RenameOptions{Options: opts})
	require.NoError(t, err, "also by a name that no entry has")
	require.Contains(t, filesOf(t, f.dir), "BASE.vhd")
}

func TestRenameRefusesWhatItCanNotDo(t *testing.T) {
	f := newLineage(t)
	require.NoError(t, os.WriteFile(f.name("other"), []byte("precious"), 0o600))
	require.NoError(t, os.Symlink("base.vhd", f.name("link.vhd")))
	// A copy that the leaf does not use is not touched, nor is who uses it.
	rename := func(from, to string) error {
		_, err := vhd.Rename(t.Context(), f.name(from), f.name(to), vhd.RenameOptions{})
		return err
	}
	before := filesOf(t, f.dir)
	require.ErrorIs(t, rename("base.vhd", "other"), fs.ErrExist)
	require.ErrorIs(t, rename("base.vhd", "leaf.vhd"), fs.ErrExist)
	require.ErrorIs(t, rename("base.vhd", "base.vhd"), fs.ErrExist)
	require.ErrorIs(t, rename("nowhere.vhd", "new.vhd"), fs.ErrNotExist)
	require.ErrorIs(t, rename("base.vhd", "nowhere/new.vhd"), fs.ErrNotExist)
	require.ErrorIs(t, rename("other", "new.vhd"), vhd.ErrFormat)
	require.ErrorIs(t, rename("link.vhd", "new.vhd"), vhd.ErrUnsupported)
	require.ErrorIs(t, rename("base.vhd", "a:b.vhd"), vhd.ErrUnsupported)
	_, err := vhd.Rename(t.Context(), "", f.name("new.vhd"), vhd.RenameOptions{})
	require.ErrorIs(t, err, fs.ErrInvalid)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = vhd.Rename(ctx, f.name("base.vhd"), f.name("new.vhd"), vhd.RenameOptions{})
	require.ErrorIs(t, err, context.Canceled)
	for _, name := range []string{"leaf.vhd", "middle.vhd", "base.vhd"} { // all of them hold the base
		user, err := vhd.Open(f.name(name), nil)
		require.NoError(t, err)
		require.ErrorIs(t, rename("base.vhd", "new.vhd"), vhd.ErrLocked)
		require.NoError(t, user.Close())
	}
	child, err := vhd.Open(f.name("middle.vhd"), &vhd.Options{NoParents: true})
	require.NoError(t, err)
	require.ErrorIs(t, rename("base.vhd", "new.vhd"), vhd.ErrLocked)
	require.NoError(t, child.Close())
	require.Equal(t, before, filesOf(t, f.dir))
}

// filesOf are the files in a directory.
func filesOf(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		files[e.Name()] = string(raw)
	}
	return files
}

// Who uses another image with the same identifier is no child.
func TestRenameLeavesAloneWhoUsesACopy(t *testing.T) {
	f := newLineage(t)
	raw, err := os.ReadFile(f.name("base.vhd"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(f.name("copy.vhd"), raw, 0o600))
	children, err := vhd.Rename(t.Context(), f.name("copy.vhd"), f.name("moved.vhd"), vhd.RenameOptions{})
	require.NoError(t, err)
	require.Empty(t, children)
	requireFileReadsAs(t, f.name("leaf.vhd"), f.leaf)
}

// tinyTree is images in a file system in memory, and what each reads as.
type tinyTree struct {
	files   *vhdtest.MemFS
	content map[string][]byte
}

const tinySize = 8 * vhd.SectorSize

// newTinyTree makes images below one another, by name and parent.
func newTinyTree(t testing.TB, images ...[2]string) *tinyTree {
	t.Helper()
	tree := &tinyTree{vhdtest.NewMemFS(), map[string][]byte{}}
	for i, image := range images {
		name, parent := image[0], image[1]
		require.NoError(t, tree.files.MkdirAll(filepath.ToSlash(filepath.Dir(name))))
		opts := vhd.CreateOptions{Options: vhd.Options{FS: tree.files, Root: "/"}, Size: tinySize, BlockSize: 2048, Parent: parent, ID: uuid.UUID{byte(i + 1)}}
		content := make([]byte, tinySize)
		copy(content, tree.content[parent])
		disk, err := vhd.Create(name, opts)
		require.NoError(t, err)
		for _, sector := range []int{i, i + 3} {
			_, err = disk.WriteAt(stamp(sector%8, i), int64(sector%8)*vhd.SectorSize)
			require.NoError(t, err)
			copy(sectorOfContent(content, sector%8), stamp(sector%8, i))
		}
		require.NoError(t, disk.Close())
		tree.content[name] = content
	}
	return tree
}

// requireReads says that images, found under one of several names, read as they
// did, before and after they are opened for writing.
func (tree *tinyTree) mustRead(state *vhdtest.MemFS, root string, names map[string][]string) error {
	for image, want := range tree.content {
		err := fs.ErrNotExist
		for _, name := range append(names[image], image) {
			if _, statErr := state.Stat(name); statErr != nil {
				continue
			}
			if err = mustReadAs(state, name, root, want); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", image, err)
		}
	}
	return nil
}

func mustReadAs(state *vhdtest.MemFS, name, root string, want []byte) error {
	before, err := state.ReadFile(name)
	if err != nil {
		return err
	}
	for _, writable := range []bool{false, true} {
		disk, err := vhd.Open(name, &vhd.Options{FS: state, Root: root, Writable: writable})
		if err != nil {
			return err
		}
		content, err := readWhole(disk)
		if err == nil && !bytes.Equal(content, want) {
			err = errors.New("it reads otherwise")
		}
		if err := errors.Join(err, disk.Close()); err != nil {
			return err
		}
		if after, _ := state.ReadFile(name); !writable && !bytes.Equal(before, after) {
			return errors.New("reading changed it")
		}
	}
	return nil
}

// crashEverywhere runs work on storage that loses power before every change, in
// every order, and looks at what is found.
func crashEverywhere(t *testing.T, files *vhdtest.MemFS, linking bool, work func(vhd.FS) error, look func(*vhdtest.MemFS) error) {
	t.Helper()
	for _, order := range everyOrder {
		for _, space := range []vhdtest.Space{vhdtest.SpaceZeros, vhdtest.SpaceStale} {
			storage := vhdtest.NewCrashFS(files.Clone(), vhdtest.CrashOptions{Order: order, Space: space})
			rng := rand.New(rand.NewPCG(1, uint64(order)))
			points := 0
			storage.OnOp = func(op vhdtest.Op) {
				points++
				for range wanted(t, "VHD_CRASH_STEPS", 12, 4) {
					require.NoError(t, look(storage.Crash(rng)), "%s order %d, before %v", promiseIsBroken, order, op)
				}
				require.NoError(t, look(storage.Live()), "%s killed before %v", promiseIsBroken, op)
			}
			var fsys vhd.FS = storage
			if linking {
				fsys = storage.Linking()
			}
			require.NoError(t, work(fsys))
			require.NoError(t, look(storage.Crash(rng)), promiseIsBroken)
			require.Positive(t, points)
		}
	}
}

// renames are what is renamed in a tinyTree, and where it can be opened from.
var renames = []struct {
	name, from, to, root string
	images               [][2]string
}{
	{"a base", "base.vhd", "root.vhd", "", [][2]string{{"base.vhd", ""}, {"one.vhd", "base.vhd"}, {"two.vhd", "base.vhd"}, {"leaf.vhd", "one.vhd"}}},
	{"an image in the middle", "one.vhd", "moved.vhd", "", [][2]string{{"base.vhd", ""}, {"one.vhd", "base.vhd"}, {"leaf.vhd", "one.vhd"}}},
	{"to another directory", "a/one.vhd", "b/moved.vhd", "/", [][2]string{{"a/base.vhd", ""}, {"a/one.vhd", "a/base.vhd"}, {"a/leaf.vhd", "a/one.vhd"}, {"b/leaf.vhd", "a/one.vhd"}}},
	{"where no absolute path can be followed", "x:y/one.vhd", "x:y/moved.vhd", "/", [][2]string{{"x:y/base.vhd", ""}, {"x:y/one.vhd", "x:y/base.vhd"}, {"x:y/leaf.vhd", "x:y/one.vhd"}}},
	{"to a deeper directory where no absolute path can be followed", "aux/one.vhd", "aux/b/moved.vhd", "/", [][2]string{{"aux/base.vhd", ""}, {"aux/one.vhd", "aux/base.vhd"}, {"aux/leaf.vhd", "aux/one.vhd"}}},
}

func TestEveryCrashOfARenameLeavesAllThatOpens(t *testing.T) {
	for _, r := range renames {
		for _, linking := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, linking %v", r.name, linking), func(t *testing.T) {
				t.Parallel()
				tree := newTinyTree(t, r.images...)
				require.NoError(t, tree.files.MkdirAll(filepath.ToSlash(filepath.Dir(r.to))))
				crashEverywhere(t, tree.files, linking, func(fsys vhd.FS) error {
					_, err := vhd.Rename(t.Context(), r.from, r.to, vhd.RenameOptions{Options: vhd.Options{FS: fsys, Root: r.root}})
					return err
				}, func(state *vhdtest.MemFS) error {
					return tree.mustRead(state, r.root, map[string][]string{r.from: {r.to}})
				})
			})
		}
	}
}

func TestEveryFaultOfARenameIsToldAndLosesNothing(t *testing.T) {
	for _, r := range renames {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			tree := newTinyTree(t, r.images...)
			require.NoError(t, tree.files.MkdirAll(filepath.ToSlash(filepath.Dir(r.to))))
			for _, linking := range []bool{false, true} {
				failEverywhere(t, tree.files, linking, func(fsys vhd.FS) error {
					_, err := vhd.Rename(t.Context(), r.from, r.to, vhd.RenameOptions{Options: vhd.Options{FS: fsys, Root: r.root}})
					return err
				}, func(state *vhdtest.MemFS) error {
					return tree.mustRead(state, r.root, map[string][]string{r.from: {r.to}})
				})
			}
		})
	}
}

// A rename that fails before the image has its new name tells the children, which
// were told of it, that it was nothing. Who has to write to one that is broken has
// two references that lead to the image.
func TestARenameThatFailsIsTakenBack(t *testing.T) {
	for _, r := range renames {
		t.Run(r.name, func(t *testing.T) {
			takenBack := 0
			for _, kind := range []vhdtest.OpKind{vhdtest.OpRename, vhdtest.OpWrite} {
				for at := 1; ; at++ {
					tree := newTinyTree(t, r.images...)
					require.NoError(t, tree.files.MkdirAll(filepath.ToSlash(filepath.Dir(r.to))))
					before := tree.refs(t)
					faults := vhdtest.NewFaultFS(tree.files)
					faults.Arm(vhdtest.Fault{At: at, Match: isKind(kind)})
					_, err := vhd.Rename(t.Context(), r.from, r.to, vhd.RenameOptions{Options: vhd.Options{FS: faults, Root: r.root}})
					if faults.Fired() == 0 {
						break
					}
					require.ErrorIs(t, err, syscall.EIO)
					if _, err := tree.files.Stat(r.to); err == nil {
						continue // it came behind
					}
					if !errors.Is(err, vhd.ErrBroken) {
						takenBack++
						require.Equal(t, before, tree.refs(t), "%v, %d", kind, at)
					}
				}
			}
			require.Greater(t, takenBack, 2)
		})
	}
}

// refs are the references of all images that are where they were.
func (tree *tinyTree) refs(t testing.TB) map[string][]vhd.ParentRef {
	t.Helper()
	all := map[string][]vhd.ParentRef{}
	for name := range tree.content {
		if raw, err := tree.files.ReadFile(name); err == nil {
			img, err := vhd.Inspect(bytes.NewReader(raw), int64(len(raw)))
			require.NoError(t, err)
			all[name] = img.ParentRefs()
		}
	}
	return all
}

// failEverywhere runs work again and again, each time with another call that fails,
// and looks at what is there then, and after a loss of power.
func failEverywhere(t *testing.T, files *vhdtest.MemFS, linking bool, work func(vhd.FS) error, look func(*vhdtest.MemFS) error) {
	t.Helper()
	for _, kind := range faultKinds {
		for at := 1; ; at++ {
			storage := vhdtest.NewCrashFS(files.Clone(), vhdtest.CrashOptions{})
			faults := vhdtest.NewFaultFS(storage)
			var fsys vhd.FS = faults
			if linking {
				faults = vhdtest.NewFaultFS(storage.Linking())
				fsys = faults.Linking()
			}
			fault := kind.fault
			fault.At = at
			faults.Arm(fault)
			err := work(fsys)
			fired := faults.Fired() > 0
			if err != nil {
				require.True(t, fired, "%s, %d: %v", kind.name, at, err)
			} else if fired && (kind.isOf(vhdtest.OpSync) || kind.isOf(vhdtest.OpWrite)) {
				require.Fail(t, "nobody was told", "%s, %d", kind.name, at)
			}
			require.NoError(t, look(storage.Live()), "%s, %d: %v", kind.name, at, err)
			require.NoError(t, look(storage.Crash(rand.New(rand.NewPCG(uint64(at), 5)))), "%s, %d: %v", kind.name, at, err)
			if !fired {
				require.NoError(t, err)
				break
			}
		}
	}
}

// What an image refers to while it is renamed does not stay.
func TestRenameEndsWithBothPathsToTheParent(t *testing.T) {
	tree := newTinyTree(t, [2]string{"aux/base.vhd", ""}, [2]string{"aux/one.vhd", "aux/base.vhd"}, [2]string{"aux/leaf.vhd", "aux/one.vhd"})
	require.NoError(t, tree.files.MkdirAll("aux/b"))
	_, err := vhd.Rename(t.Context(), "aux/one.vhd", "aux/b/moved.vhd", vhd.RenameOptions{Options: vhd.Options{FS: tree.files, Root: "/"}})
	require.NoError(t, err)
	for name, want := range map[string][2]string{"aux/b/moved.vhd": {`..\base.vhd`, `\aux\base.vhd`}, "aux/leaf.vhd": {`.\b\moved.vhd`, `\aux\b\moved.vhd`}} {
		raw, err := tree.files.ReadFile(name)
		require.NoError(t, err)
		img, err := vhd.Inspect(bytes.NewReader(raw), int64(len(raw)))
		require.NoError(t, err)
		require.ElementsMatch(t, []vhd.ParentRef{{Origin: "W2ru", Path: want[0]}, {Origin: "W2ku", Path: want[1]}, {Origin: "header", Path: want[1]}}, img.ParentRefs())
	}
}

// Who could not be opened with the same options afterwards stops it, and says what to do.
func TestRenameLeadsNobodyOutOfTheRoot(t *testing.T) {
	f := newLineage(t)
	require.NoError(t, os.Mkdir(f.name("deeper"), 0o755))
	far := f.create(t, "deeper/far.vhd", vhd.CreateOptions{Parent: f.name("base.vhd")}, f.base, rand.New(rand.NewPCG(3, 3)))
	before := filesOf(t, f.dir+"/deeper")
	rename := func(from, to string, opts vhd.RenameOptions) error {
		_, err := vhd.Rename(t.Context(), f.name(from), f.name(to), opts)
		return err
	}
	requireOutside := func(err error) {
		t.Helper()
		require.ErrorIs(t, err, vhd.ErrOutsideRoot)
		require.ErrorContains(t, err, "Options.Root")
	}
	for _, dryRun := range []bool{true, false} {
		requireOutside(rename("base.vhd", "../base.vhd", vhd.RenameOptions{DryRun: dryRun}))                                                        // away from middle
		requireOutside(rename("leaf.vhd", "deeper/leaf.vhd", vhd.RenameOptions{DryRun: dryRun}))                                                    // away from its parent
		requireOutside(rename("base.vhd", "root.vhd", vhd.RenameOptions{DryRun: dryRun, Options: vhd.Options{Search: []string{f.name("deeper")}}})) // whose child is elsewhere
	}
	require.Equal(t, before, filesOf(t, f.dir+"/deeper"))
	require.FileExists(t, f.name("base.vhd"))

	require.NoError(t, rename("base.vhd", "deeper/base.vhd", vhd.RenameOptions{})) // which middle may open
	requireFileReadsAs(t, f.name("leaf.vhd"), f.leaf)
	f.requireTreeReads(t, "deeper/far.vhd", far)
}

// Who takes any image for its parent takes it under its new name too.
func TestRenameFindsChildrenThatTakeAnyParent(t *testing.T) {
	tree := newTinyTree(t, [2]string{"base.vhd", ""}, [2]string{"leaf.vhd", "base.vhd"}, [2]string{"other.vhd", ""}, [2]string{"its.vhd", "other.vhd"})
	raw, err := tree.files.ReadFile("other.vhd")
	require.NoError(t, err)
	require.NoError(t, tree.files.Remove("base.vhd"))
	require.NoError(t, tree.files.WriteFile("base.vhd", raw))
	opts := vhd.Options{FS: tree.files, IgnoreParentIdentity: true}
	children, err := vhd.Rename(t.Context(), "base.vhd", "root.vhd", vhd.RenameOptions{Options: opts})
	require.NoError(t, err)
	require.Equal(t, []string{"leaf.vhd"}, children)
	disk, err := vhd.Open("leaf.vhd", &opts)
	require.NoError(t, err)
	require.NoError(t, disk.Close())
	_, err = vhd.Open("leaf.vhd", &vhd.Options{FS: tree.files})
	require.ErrorIs(t, err, vhd.ErrParentMismatch, "it took the identifier")
}

// Where a path is one of a drive, and leads nowhere, an image is told twice where its parent is.
func TestAnImageThatIsRenamedKeepsItsTimeUnderItsNewName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "q:r")
	if os.MkdirAll(filepath.Join(dir, "sub"), 0o755) != nil {
		t.Skip("no such name here")
	}
	names := inDir(dir, "base.vhd", "middle.vhd", "sub/moved.vhd")
	newLine(t, vhd.Options{}, names[:2]...)
	past := time.Now().Add(-time.Hour).Truncate(time.Second)
	require.NoError(t, os.Chtimes(names[1], past, past))
	_, err := vhd.Rename(t.Context(), names[1], names[2], vhd.RenameOptions{Options: vhd.Options{Root: dir}})
	require.NoError(t, err)
	info, err := os.Stat(names[2])
	require.NoError(t, err)
	require.True(t, past.Equal(info.ModTime()), "%v", info.ModTime())
}
