package vhd_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// newFamily is a chain of five images, of which each but the last has a child more.
func newFamily(t testing.TB) *tinyTree {
	t.Helper()
	return newTinyTree(t, [2]string{"base.vhd", ""}, [2]string{"low.vhd", "base.vhd"}, [2]string{"middle.vhd", "low.vhd"},
		[2]string{"upper.vhd", "middle.vhd"}, [2]string{"leaf.vhd", "upper.vhd"},
		[2]string{"base-child.vhd", "base.vhd"}, [2]string{"low-child.vhd", "low.vhd"}, [2]string{"middle-child.vhd", "middle.vhd"}, [2]string{"upper-child.vhd", "upper.vhd"})
}

// mustReadOrFail says that the leaf, or the image that takes its place, reads as it did, and that
// the other children do so too, or do not open. It counts those that do.
func (tree *tinyTree) mustReadOrFail(state *vhdtest.MemFS, heir string) (read int, err error) {
	if _, err := state.Stat("leaf.vhd"); err == nil {
		heir = "leaf.vhd"
	}
	if err := mustReadAs(state, heir, "", tree.content["leaf.vhd"]); err != nil {
		return 0, fmt.Errorf("%s: %w", heir, err)
	}
	for _, name := range []string{"base-child.vhd", "low-child.vhd", "middle-child.vhd", "upper-child.vhd"} {
		err := mustReadAs(state, name, "", tree.content[name])
		switch _, lost := errors.AsType[*vhd.ParentError](err); {
		case err == nil:
			read++
		case !lost:
			return read, fmt.Errorf("%s: %w", name, err)
		}
	}
	return read, nil
}

// familyMerges are merges of a family over more than one image.
var familyMerges = []struct{ from, into int }{{0, 4}, {1, 3}}

// familyMerge is how one is done, and what is looked for.
func familyMerge(t *testing.T, tree *tinyTree, from, into int) (work func(vhd.FS) error, look func(*vhdtest.MemFS) error, seen map[int]bool) {
	t.Helper()
	heir := []string{"leaf.vhd", "upper.vhd", "middle.vhd", "low.vhd", "base.vhd"}[into]
	seen = map[int]bool{}
	work = func(fsys vhd.FS) error {
		disk, err := vhd.Open("leaf.vhd", &vhd.Options{FS: fsys, Writable: true})
		if err != nil {
			return err
		}
		return errors.Join(disk.Merge(t.Context(), from, into, vhd.MergeOptions{Force: true}), disk.Close())
	}
	look = func(state *vhdtest.MemFS) error {
		n, err := tree.mustReadOrFail(state, heir)
		seen[n] = true
		return err
	}
	return work, look, seen
}

// What is merged comes to the lowest image, and those between show it: to no child but that above.
func TestEveryCrashOfAMergeHidesTheImagesBetweenFromTheirOtherChildren(t *testing.T) {
	for _, m := range familyMerges {
		t.Run(fmt.Sprintf("%d into %d", m.from, m.into), func(t *testing.T) {
			t.Parallel()
			tree := newFamily(t)
			work, look, seen := familyMerge(t, tree, m.from, m.into)
			crashEverywhere(t, tree.files, false, work, look)
			require.True(t, seen[4], "before it all read")
			require.Greater(t, len(seen), 2, "one after the other is lost: %v", seen)
		})
	}
}

func TestEveryFaultOfAMergeHidesTheImagesBetweenFromTheirOtherChildren(t *testing.T) {
	for _, m := range familyMerges {
		t.Run(fmt.Sprintf("%d into %d", m.from, m.into), func(t *testing.T) {
			t.Parallel()
			tree := newFamily(t)
			work, look, seen := familyMerge(t, tree, m.from, m.into)
			failEverywhere(t, tree.files, false, work, look)
			require.True(t, seen[4], "before it all read")
			require.Greater(t, len(seen), 2, "one after the other is lost: %v", seen)
		})
	}
}

// Only images that get another identifier have to be writable: that is found out before anything changes.
func TestAMergeThatCanNotWriteAnImageBetweenChangesNothing(t *testing.T) {
	for _, empty := range []bool{true, false} {
		mem := vhdtest.NewMemFS()
		opts := vhd.Options{FS: mem}
		content := newLine(t, opts, "base.vhd")
		for _, image := range [][2]string{{"low.vhd", "base.vhd"}, {"middle.vhd", "low.vhd"}, {"leaf.vhd", "middle.vhd"}} {
			require.NoError(t, createAndFill(image[0], vhd.CreateOptions{Options: opts, Parent: image[1]}, func(d *vhd.Disk) error {
				if empty {
					return nil
				}
				_, err := d.WriteAt(content[:512], 512)
				copy(content[512:], content[:512])
				return err
			}))
		}
		require.NoError(t, mem.Chmod("low.vhd", 0o400))
		disk := openLine(t, "leaf.vhd", opts)
		err := disk.Merge(t.Context(), 1, 3, vhd.MergeOptions{})
		if empty {
			require.NoError(t, err)
			require.Equal(t, []string{"leaf.vhd", "base.vhd"}, namesOf(disk))
		} else {
			require.ErrorIs(t, err, fs.ErrPermission)
			require.Equal(t, []string{"leaf.vhd", "middle.vhd", "low.vhd", "base.vhd"}, namesOf(disk))
			require.NoError(t, mem.Chmod("low.vhd", 0o600))
			require.NoError(t, disk.Merge(t.Context(), 1, 3, vhd.MergeOptions{}))
		}
		requireSameBytes(t, content, readAll(t, disk, lineSize), 0)
	}
}
