package vhd_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

func TestRebaseToAParentThatWasMovedMendsALostOne(t *testing.T) {
	f := newLineage(t)
	require.NoError(t, os.Rename(f.name("middle.vhd"), f.name("moved.vhd")))
	_, err := vhd.Open(f.name("leaf.vhd"), nil)
	require.ErrorIs(t, err, vhd.ErrParentNotFound)

	disk := f.open(t, vhd.Options{NoParents: true})
	_, err = disk.ReadAt(make([]byte, lineageSize), 0)
	require.ErrorIs(t, err, vhd.ErrParentNotFound)
	blocks, err := disk.Chain()[0].AllocatedBlocks()
	require.NoError(t, err)
	var told []int64
	require.NoError(t, disk.Rebase(f.name("moved.vhd"), vhd.RebaseOptions{Progress: func(done, total int64) { told = append(told, done, total) }}))
	require.Equal(t, []int64{lineageSize, lineageSize}, told)
	require.Len(t, disk.Chain(), 3)
	requireSameBytes(t, f.leaf, readAll(t, disk, lineageSize), 0)
	after, err := disk.Chain()[0].AllocatedBlocks()
	require.NoError(t, err)
	require.Equal(t, blocks, after, "nothing is copied")
	require.NoError(t, disk.Close())
	f.requireLeaf(t, f.leaf)

	refs := imageOf(t, f.name("leaf.vhd")).ParentRefs()
	require.Contains(t, refs, vhd.ParentRef{Origin: "W2ru", Path: `.\moved.vhd`})
	require.Contains(t, refs, vhd.ParentRef{Origin: "W2ku", Path: strings.ReplaceAll(f.name("moved.vhd"), "/", `\`)})
	require.Contains(t, refs, vhd.ParentRef{Origin: "header", Path: strings.ReplaceAll(f.name("moved.vhd"), "/", `\`)})
	require.Len(t, refs, 3)
}

func imageOf(t testing.TB, name string) *vhd.Image {
	t.Helper()
	file, err := os.ReadFile(name)
	require.NoError(t, err)
	img, err := vhd.Inspect(bytes.NewReader(file), int64(len(file)))
	require.NoError(t, err)
	return img
}

// Its own children know its time, and would be taken for worthless.
func TestAnImageOfWhichARebaseChangesThePathAloneKeepsItsTime(t *testing.T) {
	dir := newOldLineage(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, os.Rename(at("base.vhd"), at("moved.vhd")))
	for _, opts := range []vhd.RebaseOptions{{}, {Unsafe: true}} {
		disk, err := vhd.Open(at("middle.vhd"), &vhd.Options{Writable: true, NoParents: true})
		require.NoError(t, err)
		require.NoError(t, disk.Rebase(at("moved.vhd"), opts))
		require.NoError(t, disk.Close())
		requireFindings(t, at("tip.vhd"), withParents)
	}

	disk, err := vhd.Open(at("middle.vhd"), &vhd.Options{Writable: true})
	require.NoError(t, err)
	_, err = disk.WriteAt([]byte("x"), 0)
	require.NoError(t, err)
	require.NoError(t, disk.WriteZeroes(0, vhd.SectorSize)) // and this shows in the file only when it is synced
	require.NoError(t, disk.Rebase(at("moved.vhd"), vhd.RebaseOptions{}))
	require.NoError(t, disk.Close())
	requireFindings(t, at("leaf.vhd"), withParents, "parent-time")
}

// What differs is copied to the leaf, whatever the other parent is, and nothing else.
func TestRebaseToAnotherParentKeepsWhatTheDiskReadsAs(t *testing.T) {
	for _, c := range []struct {
		name   string
		parent func(t *testing.T, f *lineage) []byte // makes parent.vhd
		copied bool
		codes  []string
	}{
		{"its grandparent", func(t *testing.T, f *lineage) []byte {
			t.Helper()
			require.NoError(t, os.Link(f.name("base.vhd"), f.name("parent.vhd")))
			return f.base
		}, true, nil},
		{"the chain in one image", func(t *testing.T, f *lineage) []byte {
			t.Helper()
			f.export(t, "middle.vhd", "parent.vhd", vhd.ExportOptions{Type: vhd.Dynamic, BlockSize: 1 << 20})
			return f.middle
		}, false, nil},
		{"the chain as a fixed disk", func(t *testing.T, f *lineage) []byte {
			t.Helper()
			f.export(t, "middle.vhd", "parent.vhd", vhd.ExportOptions{Type: vhd.Fixed})
			return f.middle
		}, false, nil},
		{"an image with other content", func(t *testing.T, f *lineage) []byte {
			t.Helper()
			return f.create(t, "parent.vhd", vhd.CreateOptions{Size: lineageSize, BlockSize: 4096}, nil, rand.New(rand.NewPCG(7, 7)))
		}, true, nil},
		{"an empty image", func(t *testing.T, f *lineage) []byte {
			t.Helper()
			disk, err := vhd.Create(f.name("parent.vhd"), vhd.CreateOptions{Size: lineageSize})
			require.NoError(t, err)
			require.NoError(t, disk.Close())
			return make([]byte, lineageSize)
		}, true, nil},
		{"a smaller image", func(t *testing.T, f *lineage) []byte {
			t.Helper()
			return f.create(t, "parent.vhd", vhd.CreateOptions{Size: 3<<20 + 512}, nil, rand.New(rand.NewPCG(8, 8)))
		}, true, []string{"parent-size"}},
		{"a larger image", func(t *testing.T, f *lineage) []byte {
			t.Helper()
			return f.create(t, "parent.vhd", vhd.CreateOptions{Size: 13 << 20}, nil, rand.New(rand.NewPCG(9, 9)))
		}, true, []string{"parent-size"}},
		{"a child of a sibling", func(t *testing.T, f *lineage) []byte {
			t.Helper()
			sibling := f.create(t, "sibling.vhd", vhd.CreateOptions{Parent: f.name("base.vhd"), BlockSize: 16 << 10}, f.base, rand.New(rand.NewPCG(1, 9)))
			return f.create(t, "parent.vhd", vhd.CreateOptions{Parent: f.name("sibling.vhd")}, sibling, rand.New(rand.NewPCG(2, 9)))
		}, true, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newLineage(t)
			below := c.parent(t, f)
			before, err := os.ReadFile(f.name("parent.vhd"))
			require.NoError(t, err)
			disk := f.open(t, vhd.Options{})
			blocks, err := disk.Chain()[0].AllocatedBlocks()
			require.NoError(t, err)
			last := int64(-1)
			require.NoError(t, disk.Rebase(f.name("parent.vhd"), vhd.RebaseOptions{Progress: func(done, total int64) {
				require.Equal(t, int64(lineageSize), total)
				require.Greater(t, done, last)
				last = done
			}}))
			require.Equal(t, int64(lineageSize), last)
			requireSameBytes(t, f.leaf, readAll(t, disk, lineageSize), 0)
			requireCopied(t, disk, below, f.leaf, c.copied, blocks)
			fillAtRandom(t, disk, f.leaf, rand.New(rand.NewPCG(5, 5)))
			requireSameBytes(t, f.leaf, readAll(t, disk, lineageSize), 0)
			require.NoError(t, disk.Close())
			if f.requireOurs(t, f.leaf, c.codes...); c.name != "a smaller image" { // where 7-Zip reads nothing
				f.requireLeaf(t, f.leaf, c.codes...)
			}
			after, err := os.ReadFile(f.name("parent.vhd"))
			require.NoError(t, err)
			require.True(t, bytes.Equal(before, after), "the parent is changed")
		})
	}
}

// requireCopied says that a leaf has sectors that differ from below, and, if nothing
// had to be copied, no more blocks than before.
func requireCopied(t testing.TB, disk *vhd.Disk, below, content []byte, copied bool, before int) {
	t.Helper()
	after, err := disk.Chain()[0].AllocatedBlocks()
	require.NoError(t, err)
	if !copied {
		require.Equal(t, before, after, "something was copied")
	}
	for e, err := range disk.Extents(0, disk.Size()) {
		require.NoError(t, err)
		if e.Depth == 0 {
			continue
		}
		want := make([]byte, e.Length)
		if e.Offset < int64(len(below)) {
			copy(want, below[e.Offset:])
		}
		requireSameBytes(t, want, content[e.Offset:e.Offset+e.Length], e.Offset)
	}
}

// Both have the identifier, and only one has what the disk reads as.
func TestACopyOfTheParentThatWentAnotherWayIsCompared(t *testing.T) {
	for _, storage := range []string{"files", "files, in the parent's place", "memory"} {
		t.Run(storage, func(t *testing.T) {
			root, err := os.OpenRoot(t.TempDir())
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, root.Close()) })
			opts := vhd.Options{FS: vhd.RootFS(root)}
			if storage == "memory" {
				opts.FS = vhdtest.NewMemFS()
			}
			require.NoError(t, createAndFill("base.vhd", vhd.CreateOptions{Options: opts, Size: 8 << 20}, func(d *vhd.Disk) error {
				_, err := d.WriteAt(fill(5, 200<<10), 1<<20)
				return err
			}))
			copyIn(t, opts.FS, "base.vhd", "equal.vhd")
			copyIn(t, opts.FS, "base.vhd", "other.vhd")
			require.NoError(t, createAndFill("leaf.vhd", vhd.CreateOptions{Options: opts, Parent: "base.vhd"}, func(d *vhd.Disk) error {
				_, err := d.WriteAt([]byte("its own"), 4<<20)
				return err
			}))
			opts.Writable = true
			disk, err := vhd.Open("other.vhd", &opts)
			require.NoError(t, err)
			_, err = disk.WriteAt(fill(7, 4096), 1<<20)
			require.NoError(t, err)
			require.NoError(t, disk.Close())
			disk, err = vhd.Open("leaf.vhd", &opts)
			require.NoError(t, err)
			want := contentOf(t, disk)
			other := "other.vhd"
			if storage == "files, in the parent's place" { // the disk has what was there open
				require.NoError(t, opts.FS.Rename("other.vhd", "base.vhd"))
				other = "base.vhd"
			}
			for parent, copied := range map[string]int64{"equal.vhd": 0, other: 4096} {
				plan, err := disk.PlanRebase(t.Context(), parent, vhd.RebaseOptions{})
				require.NoError(t, err)
				require.Equal(t, copied, plan.Copied, parent)
			}
			require.NoError(t, disk.Rebase(other, vhd.RebaseOptions{}))
			requireSameBytes(t, want, contentOf(t, disk), 0)
			require.NoError(t, disk.Close())
			disk, err = vhd.Open("leaf.vhd", &opts)
			require.NoError(t, err)
			requireSameBytes(t, want, contentOf(t, disk), 0)
			require.NoError(t, disk.Close())
		})
	}
}

// copyIn copies a file.
func copyIn(t testing.TB, fsys vhd.FS, from, to string) {
	t.Helper()
	src, err := fsys.OpenFile(from, os.O_RDONLY, 0)
	require.NoError(t, err)
	info, err := src.Stat()
	require.NoError(t, err)
	raw := make([]byte, info.Size())
	_, err = src.ReadAt(raw, 0)
	require.NoError(t, err)
	require.NoError(t, src.Close())
	dst, err := fsys.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	require.NoError(t, err)
	_, err = dst.WriteAt(raw, 0)
	require.NoError(t, err)
	require.NoError(t, dst.Close())
}

func TestAnUnsafeRebaseChangesTheReferenceAlone(t *testing.T) {
	f := newLineage(t)
	other := f.create(t, "other.vhd", vhd.CreateOptions{Size: lineageSize}, nil, rand.New(rand.NewPCG(7, 7)))
	require.NoError(t, os.Remove(f.name("middle.vhd")))
	disk := f.open(t, vhd.Options{NoParents: true})
	want := bytes.Clone(other)
	for e, err := range disk.Extents(0, lineageSize) {
		if err == nil && e.Depth == 0 {
			copy(want[e.Offset:], f.leaf[e.Offset:e.Offset+e.Length])
		}
	}
	err := disk.Rebase(f.name("other.vhd"), vhd.RebaseOptions{})
	require.ErrorIs(t, err, vhd.ErrParentNotFound)
	require.ErrorContains(t, err, "unsafe")
	_, err = disk.ReadAt(make([]byte, lineageSize), 0)
	require.ErrorIs(t, err, vhd.ErrParentNotFound)
	require.NoError(t, disk.Rebase(f.name("other.vhd"), vhd.RebaseOptions{Unsafe: true}))
	requireSameBytes(t, want, readAll(t, disk, lineageSize), 0)
	require.NoError(t, disk.Close())
	f.requireLeaf(t, want)
}

// An all-zero identifier says nothing: the content is compared.
func TestAParentWithoutAnIdentifierIsComparedWithTheFormerOne(t *testing.T) {
	f := newLineage(t)
	for _, name := range []string{"middle.vhd", "base.vhd"} {
		raw, err := os.ReadFile(f.name(name))
		require.NoError(t, err)
		vhdtest.EditFooters(t, raw, func(footer []byte) { clear(footer[68:84]) })
		if name == "middle.vhd" {
			vhdtest.EditHeader(t, raw, func(h []byte) { clear(h[40:56]) })
		}
		require.NoError(t, os.WriteFile(f.name(name), raw, 0o600))
	}
	raw, err := os.ReadFile(f.name("leaf.vhd"))
	require.NoError(t, err)
	vhdtest.EditHeader(t, raw, func(h []byte) { clear(h[40:56]) })
	require.NoError(t, os.WriteFile(f.name("leaf.vhd"), raw, 0o600))

	disk := f.open(t, vhd.Options{})
	require.NoError(t, disk.Rebase(f.name("base.vhd"), vhd.RebaseOptions{}))
	requireSameBytes(t, f.leaf, readAll(t, disk, lineageSize), 0)
	require.NoError(t, disk.Close())
	require.Equal(t, uuid.UUID{}, imageOf(t, f.name("base.vhd")).Footer().ID)
}
