package vhd_test

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

func TestRebaseRefusesWhatCanNotBe(t *testing.T) {
	f := newLineage(t)
	f.create(t, "child.vhd", vhd.CreateOptions{Parent: f.name("leaf.vhd")}, f.leaf, rand.New(rand.NewPCG(7, 7)))
	copyOfLeaf, err := os.ReadFile(f.name("leaf.vhd"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(f.name("copy.vhd"), copyOfLeaf, 0o600))
	require.NoError(t, os.WriteFile(f.name("other"), []byte("something else"), 0o600))
	require.NoError(t, os.Symlink("leaf.vhd", f.name("link.vhd")))
	disk := f.open(t, vhd.Options{MaxDepth: 4})
	four := f.create(t, "four.vhd", vhd.CreateOptions{Parent: f.name("middle.vhd")}, f.middle, rand.New(rand.NewPCG(8, 7)))
	f.create(t, "five.vhd", vhd.CreateOptions{Parent: f.name("four.vhd")}, four, rand.New(rand.NewPCG(9, 7)))
	for _, c := range []struct {
		parent string
		want   error
	}{
		{"leaf.vhd", vhd.ErrChainLoop},
		{"link.vhd", vhd.ErrChainLoop},
		{"child.vhd", vhd.ErrChainLoop},
		{"copy.vhd", vhd.ErrChainLoop},
		{"five.vhd", vhd.ErrChainTooDeep},
		{"nowhere.vhd", fs.ErrNotExist},
		{"other", vhd.ErrFormat},
	} {
		require.ErrorIs(t, disk.Rebase(f.name(c.parent), vhd.RebaseOptions{}), c.want, c.parent)
		require.ErrorIs(t, disk.Rebase(f.name(c.parent), vhd.RebaseOptions{Unsafe: true}), c.want, c.parent)
	}
	require.ErrorIs(t, disk.Rebase("", vhd.RebaseOptions{}), fs.ErrInvalid)
	requireSameBytes(t, f.leaf, readAll(t, disk, lineageSize), 0)
	require.NoError(t, disk.Close())
	require.ErrorIs(t, disk.Rebase(f.name("base.vhd"), vhd.RebaseOptions{}), vhd.ErrClosed)
	after, err := os.ReadFile(f.name("leaf.vhd"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(copyOfLeaf, after), "it is changed")

	base, err := vhd.Open(f.name("base.vhd"), &vhd.Options{Writable: true})
	require.NoError(t, err)
	require.ErrorIs(t, base.Rebase(f.name("middle.vhd"), vhd.RebaseOptions{}), fs.ErrInvalid)
	require.NoError(t, base.Close())
	readOnly, err := vhd.Open(f.name("leaf.vhd"), nil)
	require.NoError(t, err)
	require.ErrorIs(t, readOnly.Rebase(f.name("base.vhd"), vhd.RebaseOptions{}), vhd.ErrReadOnly)
	require.NoError(t, readOnly.Close())
	locked, err := vhd.Open(f.name("base.vhd"), &vhd.Options{Writable: true})
	require.NoError(t, err)
	alone := f.open(t, vhd.Options{NoParents: true})
	require.ErrorIs(t, alone.Rebase(f.name("base.vhd"), vhd.RebaseOptions{Unsafe: true}), vhd.ErrLocked)
	require.NoError(t, locked.Close())
	require.NoError(t, alone.Close())
}

func TestRebaseOfADiskOfFilesThatNobodyNamedIsUnsupported(t *testing.T) {
	f := newLineage(t)
	var files []vhd.File
	for _, name := range []string{"leaf.vhd", "middle.vhd", "base.vhd"} {
		file, err := os.OpenFile(f.name(name), os.O_RDWR, 0)
		require.NoError(t, err)
		files = append(files, file)
	}
	disk, err := vhd.OpenChain(&vhd.Options{Writable: true}, files...)
	require.NoError(t, err)
	require.ErrorIs(t, disk.Rebase(f.name("base.vhd"), vhd.RebaseOptions{}), vhd.ErrUnsupported)
	require.NoError(t, disk.Close())
}

// Images that hold the same count for nothing, wherever they hold it.
func TestARebaseWithNoSpaceLeftIsNotBegun(t *testing.T) {
	mem := vhdtest.NewMemFS()
	write := func(parts ...[]byte) func(d *vhd.Disk) error {
		return func(d *vhd.Disk) error {
			for i, p := range parts {
				if _, err := d.WriteAt(p, int64(i)<<20); err != nil {
					return err
				}
			}
			return nil
		}
	}
	same, one, other := fill(5, 200<<10), fill(7, 100<<10), fill(9, 100<<10)
	base := vhd.CreateOptions{Options: vhd.Options{FS: mem}, Size: 8 << 20, BlockSize: 64 << 10}
	require.NoError(t, createAndFill("old.vhd", base, write(same, one)))
	require.NoError(t, createAndFill("new.vhd", base, write(same, other)))
	require.NoError(t, createAndFill("leaf.vhd", vhd.CreateOptions{Options: vhd.Options{FS: mem}, Parent: "old.vhd", BlockSize: 64 << 10}, func(d *vhd.Disk) error {
		_, err := d.WriteAt([]byte("its own"), 4<<20)
		return err
	}))
	before, err := mem.ReadFile("leaf.vhd")
	require.NoError(t, err)
	const need = 2 * (64<<10 + 4096) // blocks with what aligns the next one
	disk := openScarce(t, mem, need-1)
	want, err := readWhole(disk)
	require.NoError(t, err)
	require.ErrorIs(t, disk.Rebase("new.vhd", vhd.RebaseOptions{}), vhd.ErrNoSpace)
	require.NoError(t, disk.Close())
	for _, writable := range []bool{true, false} {
		for free, want := range map[int64]error{need - 1: vhd.ErrNoSpace, need: nil} {
			disk, err := vhd.Open("leaf.vhd", &vhd.Options{FS: scarceFS{mem, free}, Writable: writable})
			require.NoError(t, err)
			plan, err := disk.PlanRebase(t.Context(), "new.vhd", vhd.RebaseOptions{})
			require.ErrorIs(t, err, want)
			require.EqualValues(t, 100<<10, plan.Copied, "it is told all the same")
			require.NoError(t, disk.Close())
		}
	}
	after, err := mem.ReadFile("leaf.vhd")
	require.NoError(t, err)
	require.True(t, bytes.Equal(before, after), "the leaf was changed")
	disk = openScarce(t, mem, need)
	require.NoError(t, disk.Rebase("new.vhd", vhd.RebaseOptions{}))
	got, err := readWhole(disk)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
	require.NoError(t, disk.Close())
}

// A path that fits nowhere in front of the blocks takes room at the file's end.
func TestAReferenceThatFindsNoRoomIsNotChanged(t *testing.T) {
	dir := strings.Repeat(strings.Repeat("d", 100)+"/", 38) // more than a page
	far := dir + "base.vhd"
	line := func(t *testing.T) *vhdtest.MemFS {
		t.Helper()
		mem := vhdtest.NewMemFS()
		require.NoError(t, mem.MkdirAll(dir))
		newLine(t, vhd.Options{FS: mem}, "base.vhd", "leaf.vhd")
		return mem
	}
	rename := func(fsys vhd.FS) error {
		_, err := vhd.Rename(t.Context(), "base.vhd", far, vhd.RenameOptions{Options: vhd.Options{FS: fsys, Root: "/"}})
		return err
	}
	for _, c := range []struct {
		name   string
		change func(fsys vhd.FS) error
	}{
		{"Rename", rename},
		{"Rebase", func(fsys vhd.FS) error {
			if err := fsys.(scarceFS).Rename("base.vhd", far); err != nil {
				return err
			}
			disk, err := vhd.Open("leaf.vhd", &vhd.Options{FS: fsys, Root: "/", NoParents: true, Writable: true})
			if err != nil {
				return err
			}
			return errors.Join(disk.Rebase(far, vhd.RebaseOptions{}), disk.Close())
		}},
		{"RebaseTree", func(fsys vhd.FS) error {
			if err := fsys.(scarceFS).Rename("base.vhd", far); err != nil {
				return err
			}
			mended, err := vhd.RebaseTree(t.Context(), ".", vhd.RebaseTreeOptions{Options: vhd.Options{FS: fsys, Root: "/"}})
			if err == nil && len(mended) == 1 {
				err = mended[0].Err
			}
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.NoError(t, c.change(scarceFS{line(t), 1 << 20}))
			mem := line(t)
			before := referenceIn(t, mem, "leaf.vhd")
			err := c.change(scarceFS{mem, 1000})
			require.ErrorIs(t, err, vhd.ErrNoSpace)
			require.ErrorContains(t, err, "leaf.vhd")
			require.Equal(t, before, referenceIn(t, mem, "leaf.vhd"))
		})
	}
}

// referenceIn is what an image says of its parent, wherever in the file that stands.
func referenceIn(t testing.TB, fsys vhd.FS, name string) vhd.DynamicHeader {
	t.Helper()
	disk, err := vhd.Open(name, &vhd.Options{FS: fsys, NoParents: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, disk.Close()) }()
	header, _ := disk.Chain()[0].Header()
	for i := range header.Locators {
		header.Locators[i].DataOffset, header.Locators[i].DataSpace = 0, 0
	}
	return header
}
