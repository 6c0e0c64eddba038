package vhd_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// chainOfFour is images below one another.
var chainOfFour = [][2]string{{"base.vhd", ""}, {"one.vhd", "base.vhd"}, {"two.vhd", "one.vhd"}, {"leaf.vhd", "two.vhd"}}

// afterMerge looks at what a merge left that was interrupted.
type afterMerge struct {
	tree    *tinyTree
	mended  int // images of which a repair mended something
	settled int // of these, those of which the copy was right
	left    int // images of which one header is right, and only their parents tell which
}

// look repairs each image that is there, with its parent and without.
func (a *afterMerge) look(t testing.TB, state *vhdtest.MemFS) error {
	t.Helper()
	for _, image := range chainOfFour {
		if _, err := state.Stat(image[0]); err != nil {
			continue
		}
		for _, opts := range []vhd.Options{{Root: "/"}, {Root: "/", NoParents: true}} {
			if err := a.repair(t, state.Clone(), image[0], opts); err != nil {
				return fmt.Errorf("%s, NoParents %v: %w", image[0], opts.NoParents, err)
			}
		}
	}
	return nil
}

func (a *afterMerge) repair(t testing.TB, state *vhdtest.MemFS, name string, opts vhd.Options) error {
	t.Helper()
	opts.FS = state
	before := mustReadFile(t, state, name)
	onItsOwn, err := vhd.Open(name, &vhd.Options{FS: state.Clone(), NoParents: true, Writable: true})
	if err == nil {
		err = onItsOwn.Close()
	}
	needsParent := errors.Is(err, vhd.ErrParentNotFound)
	if err != nil && !needsParent {
		return err
	}
	report, err := vhd.Repair(t.Context(), name, vhd.RepairOptions{Options: opts})
	if err != nil {
		return err
	}
	if needsParent && opts.NoParents {
		a.left++
		require.Empty(t, report.Steps)
		require.Contains(t, codesOf(report, vhd.SeverityError), "footers-differ")
		require.Contains(t, report.Findings[0].Message, "only with the parent")
	} else {
		require.Empty(t, errorsIn(report))
	}
	if err := mustReadAs(state.Clone(), "leaf.vhd", "/", a.tree.content["leaf.vhd"]); err != nil {
		return fmt.Errorf("after %+v: %w", report.Steps, err)
	}
	left := mustReadFile(t, state, name)
	again, err := vhd.Repair(t.Context(), name, vhd.RepairOptions{Options: opts})
	if err != nil {
		return err
	}
	require.Empty(t, again.Steps)
	requireBytes(t, left, mustReadFile(t, state, name))
	if len(report.Steps) == 0 {
		requireBytes(t, before, left)
		return nil
	}
	a.mended++
	if needsParent && bytes.Equal(before[:512], left[:512]) {
		a.settled++
	}
	undo := vhd.RepairOptions{Options: opts, Undo: report.Undo}
	require.NoError(t, vhd.UndoRepair(t.Context(), name, undo))
	requireBytes(t, before, mustReadFile(t, state, name))
	return nil
}

// A merge gives the receiving image a new identifier, and the image above it has two headers meanwhile: a repair makes
// that one count which names the parent as it is, and without the parent none.
func TestARepairAfterAnyCrashOfAMergeKeepsTheParent(t *testing.T) {
	for _, images := range [][2]int{{1, 2}, {2, 3}, {1, 3}} {
		t.Run(fmt.Sprint(images), func(t *testing.T) {
			t.Parallel()
			a := afterMerge{tree: newTinyTree(t, chainOfFour...)}
			crashEverywhere(t, a.tree.files, false, func(fsys vhd.FS) error {
				d, err := vhd.Open("leaf.vhd", &vhd.Options{FS: fsys, Root: "/", Writable: true})
				if err != nil {
					return err
				}
				return errors.Join(d.Merge(t.Context(), images[0], images[1], vhd.MergeOptions{}), d.Close())
			}, func(state *vhdtest.MemFS) error { return a.look(t, state) })
			require.Positive(t, a.settled)
			require.Greater(t, a.mended, a.settled)
			require.Positive(t, a.left)
		})
	}
}

// twoHeaders is a tree in which two.vhd has two headers: which is right its parent tells, whose identifier is the former
// one, or the new one.
func twoHeaders(t testing.TB, renewed bool) *tinyTree {
	t.Helper()
	tree := newTinyTree(t, chainOfFour...)
	storage := vhdtest.NewCrashFS(tree.files.Clone(), vhdtest.CrashOptions{})
	var state *vhdtest.MemFS
	storage.OnOp = func(vhdtest.Op) {
		if state != nil {
			return
		}
		live := storage.Live()
		two, one := mustReadFile(t, live, "two.vhd"), mustReadFile(t, live, "one.vhd")
		hasTwo := !bytes.Equal(two[:512], two[len(two)-512:])
		isNew := bytes.Equal(one[:512], one[len(one)-512:]) && !bytes.Equal(one[:512], mustReadFile(t, tree.files, "one.vhd")[:512])
		if hasTwo && isNew == renewed {
			state = live
		}
	}
	d, err := vhd.Open("leaf.vhd", &vhd.Options{FS: storage, Root: "/", Writable: true})
	require.NoError(t, err)
	require.NoError(t, d.Merge(t.Context(), 1, 2, vhd.MergeOptions{}))
	require.NoError(t, d.Close())
	require.NotNil(t, state)
	return &tinyTree{state, tree.content}
}

func TestWhichOfTwoHeadersIsRightIsNotGuessed(t *testing.T) {
	for name, hide := range map[string]func(t testing.TB, files *vhdtest.MemFS) vhd.Options{
		"the parent is elsewhere": func(t testing.TB, files *vhdtest.MemFS) vhd.Options {
			t.Helper()
			require.NoError(t, files.Rename("one.vhd", "elsewhere.vhd"))
			return vhd.Options{}
		},
		"the parent is another image": func(t testing.TB, files *vhdtest.MemFS) vhd.Options {
			t.Helper()
			require.NoError(t, files.WriteFile("one.vhd", mustReadFile(t, files, "base.vhd")))
			return vhd.Options{}
		},
		"another image is taken for the parent": func(t testing.TB, files *vhdtest.MemFS) vhd.Options {
			t.Helper()
			require.NoError(t, files.WriteFile("one.vhd", mustReadFile(t, files, "base.vhd")))
			return vhd.Options{IgnoreParentIdentity: true}
		},
		"the parent is outside the root": func(t testing.TB, files *vhdtest.MemFS) vhd.Options {
			t.Helper()
			require.NoError(t, files.MkdirAll("empty"))
			require.NoError(t, files.Rename("two.vhd", "empty/two.vhd"))
			return vhd.Options{Root: "empty"}
		},
		"the parent is not to be opened, and the footer has 511 bytes": func(t testing.TB, files *vhdtest.MemFS) vhd.Options {
			t.Helper()
			two := mustReadFile(t, files, "two.vhd")
			require.NoError(t, files.WriteFile("two.vhd", two[:len(two)-1]))
			return vhd.Options{NoParents: true}
		},
		"the parent is not to be opened": func(testing.TB, *vhdtest.MemFS) vhd.Options { return vhd.Options{NoParents: true} },
	} {
		for _, renewed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, renewed %v", name, renewed), func(t *testing.T) {
				files := twoHeaders(t, renewed).files
				opts := hide(t, files)
				image := "two.vhd"
				if opts.Root != "" {
					image = "empty/two.vhd"
				}
				before := mustReadFile(t, files, image)
				storage := vhdtest.NewRecordFS(files)
				opts.FS = storage
				report, err := vhd.Repair(t.Context(), image, vhd.RepairOptions{Options: opts})
				require.NoError(t, err)
				require.Empty(t, report.Steps)
				require.Empty(t, report.Undo)
				requireBytes(t, before, mustReadFile(t, files, image))
				require.Equal(t, "footers-differ", report.Findings[0].Code)
				require.Contains(t, report.Findings[0].Message, "It is not mended: a change of the parent was interrupted, and only with the parent")
				for _, op := range storage.Ops() {
					require.False(t, op.Mutates(), "%v", op)
					require.False(t, opts.NoParents && op.Name != image, "%v", op)
				}
				_, err = vhd.Open(image, &vhd.Options{FS: files, NoParents: true, Writable: true})
				require.ErrorIs(t, err, vhd.ErrParentNotFound)
				requireBytes(t, before, mustReadFile(t, files, image))
			})
		}
	}
}

// A parent that may be right and can't be read now is an error, and none that is elsewhere takes its place.
func TestARepairThatCanNotReadTheParentItNeedsSaysSo(t *testing.T) {
	files := twoHeaders(t, true).files
	before := mustReadFile(t, files, "two.vhd")
	_, err := vhd.Repair(t.Context(), "two.vhd", vhd.RepairOptions{Options: vhd.Options{FS: denying{files, "one.vhd"}}})
	require.ErrorIs(t, err, fs.ErrPermission)
	requireBytes(t, before, mustReadFile(t, files, "two.vhd"))
}

// denying is files of which one may not be opened.
type denying struct {
	*vhdtest.MemFS
	name string
}

func (f denying) OpenFile(name string, flag int, perm fs.FileMode) (vhd.File, error) {
	if name == f.name || name == "/"+f.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return f.MemFS.OpenFile(name, flag, perm)
}

// The report of a dry run is that of the repair, and tells which of the footers was right.
func TestARepairSaysWhichOfTwoHeadersIsRight(t *testing.T) {
	for renewed, says := range map[bool]string{false: "as its copy at the file's start is", true: "from the footer at the end"} {
		files := twoHeaders(t, renewed).files
		opts := vhd.RepairOptions{Options: vhd.Options{FS: files}, DryRun: true}
		before := mustReadFile(t, files, "two.vhd")
		planned, err := vhd.Repair(t.Context(), "two.vhd", opts)
		require.NoError(t, err)
		requireBytes(t, before, mustReadFile(t, files, "two.vhd"))
		opts.DryRun = false
		report, err := vhd.Repair(t.Context(), "two.vhd", opts)
		require.NoError(t, err)
		require.Equal(t, planned.Steps, report.Steps)
		require.Equal(t, []string{"footers-differ"}, stepCodes(report))
		require.Contains(t, report.Steps[0].Message, says)
		require.Equal(t, renewed, report.Steps[0].Offset == 0)
	}
}

// Where blocks lie at no place that is free, the footers are mended all the same, and not the wrong way round.
func TestOfTwoHeadersTheRightOneStaysBesideDamage(t *testing.T) {
	for _, renewed := range []bool{false, true} {
		files := twoHeaders(t, renewed).files
		two := mustReadFile(t, files, "two.vhd")
		vhdtest.EditEntry(t, two, 1, 1<<20)
		require.NoError(t, files.WriteFile("two.vhd", two))
		report, err := vhd.Repair(t.Context(), "two.vhd", vhd.RepairOptions{Options: vhd.Options{FS: files}})
		require.NoError(t, err)
		require.Equal(t, []string{"footers-differ"}, stepCodes(report))
		require.Equal(t, []string{"bat-past-end"}, codesOf(report, vhd.SeverityError))
		want, end := bytes.Clone(two), len(two)-512
		if renewed {
			copy(want[:512], two[end:])
		} else {
			copy(want[end:], two[:512])
		}
		requireBytes(t, want, mustReadFile(t, files, "two.vhd"))
		d, err := vhd.Open("leaf.vhd", &vhd.Options{FS: files})
		require.NoError(t, err)
		require.NoError(t, d.Close())
	}
}

// Who settled on a header while the parent's identifier was in memory alone would leave, after a loss of power, a child that
// names an identifier which nobody has.
func TestTheParentIsDurableBeforeItsChildSettlesOnAHeader(t *testing.T) {
	for does, what := range map[string]func(fsys *vhdtest.RecordFS) error{
		"an opening": func(fsys *vhdtest.RecordFS) error {
			d, err := vhd.Open("two.vhd", &vhd.Options{FS: fsys, Writable: true})
			if err != nil {
				return err
			}
			return d.Close()
		},
		"a merge above": func(fsys *vhdtest.RecordFS) error {
			d, err := vhd.Open("leaf.vhd", &vhd.Options{FS: fsys, Writable: true})
			if err != nil {
				return err
			}
			return errors.Join(d.Merge(t.Context(), 0, 1, vhd.MergeOptions{}), d.Close())
		},
		"a repair": func(fsys *vhdtest.RecordFS) error {
			_, err := vhd.Repair(t.Context(), "two.vhd", vhd.RepairOptions{Options: vhd.Options{FS: fsys}})
			return err
		},
		"a renaming of the parent": func(fsys *vhdtest.RecordFS) error {
			_, err := vhd.Rename(t.Context(), "one.vhd", "renamed.vhd", vhd.RenameOptions{Options: vhd.Options{FS: fsys}})
			return err
		},
		"a search for the parent": func(fsys *vhdtest.RecordFS) error {
			if err := fsys.Rename("one.vhd", "moved.vhd"); err != nil {
				return err
			}
			_, err := vhd.RebaseTree(t.Context(), "/", vhd.RebaseTreeOptions{Options: vhd.Options{FS: fsys}})
			return err
		},
	} {
		for _, renewed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, renewed %v", does, renewed), func(t *testing.T) {
				storage := vhdtest.NewRecordFS(twoHeaders(t, renewed).files)
				require.NoError(t, what(storage))
				ops := storage.Ops()
				of := func(kinds []vhdtest.OpKind, names ...string) func(op vhdtest.Op) bool {
					return func(op vhdtest.Op) bool {
						return slices.Contains(kinds, op.Kind) && slices.Contains(names, strings.TrimPrefix(op.Name, "/"))
					}
				}
				synced := slices.IndexFunc(ops, of([]vhdtest.OpKind{vhdtest.OpSync}, "one.vhd", "moved.vhd"))
				changed := slices.IndexFunc(ops, of([]vhdtest.OpKind{vhdtest.OpWrite, vhdtest.OpTruncate}, "two.vhd"))
				require.GreaterOrEqual(t, synced, 0)
				require.Greater(t, changed, synced)
			})
		}
	}
}
