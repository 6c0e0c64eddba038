package vhd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// mergeSize is no multiple of a block or a window.
const mergeSize = 5<<20 + 512

// mergeChain is a chain of five images, of block sizes that differ, in a directory of its own, with what the disk
// reads as. The base is of the type given.
type mergeChain struct {
	dir     string
	names   []string // leaf first
	content []byte
	reads   [][]byte // what each image reads as
}

func newMergeChain(t testing.TB, base vhd.DiskType, seed uint64) *mergeChain {
	t.Helper()
	c := &mergeChain{dir: t.TempDir(), content: make([]byte, mergeSize)}
	rng := rand.New(rand.NewPCG(seed, 5))
	blockSizes := []int64{512 << 10, 2 << 20, 4096, 16 << 20, 2 << 20}
	for n, blockSize := range blockSizes {
		name := filepath.Join(c.dir, fmt.Sprintf("image%d.vhd", n))
		opts := vhd.CreateOptions{Type: base, Size: mergeSize, BlockSize: blockSize}
		if n > 0 {
			opts = vhd.CreateOptions{Parent: c.names[0], BlockSize: blockSize}
		}
		disk, err := vhd.Create(name, opts)
		require.NoError(t, err)
		fillAtRandom(t, disk, c.content, rng)
		require.NoError(t, disk.Close())
		c.names = append([]string{name}, c.names...)
		c.reads = append([][]byte{bytes.Clone(c.content)}, c.reads...)
	}
	return c
}

func (c *mergeChain) open(t testing.TB) *vhd.Disk {
	t.Helper()
	disk, err := vhd.Open(c.names[0], &vhd.Options{Writable: true})
	require.NoError(t, err)
	t.Cleanup(func() { _ = disk.Close() }) // of a test that failed
	return disk
}

func namesOf(disk *vhd.Disk) (names []string) {
	for _, image := range disk.Chain() {
		names = append(names, image.Name())
	}
	return names
}

func TestMergedImagesLeaveTheDiskAsItWas(t *testing.T) {
	for _, base := range []vhd.DiskType{vhd.Dynamic, vhd.Fixed} {
		for from := range 4 {
			for into := from + 1; into < 5; into++ {
				t.Run(fmt.Sprintf("from %d into %d on a %v base", from, into, base), func(t *testing.T) {
					requireMerged(t, newMergeChain(t, base, uint64(from*5+into)), from, into)
				})
			}
		}
	}
}

func requireMerged(t *testing.T, c *mergeChain, from, into int) {
	t.Helper()
	disk := c.open(t)
	id := disk.Chain()[into].Footer().ID
	var last, total int64
	progress := func(done, all int64) {
		require.GreaterOrEqual(t, done, last)
		last, total = done, all
	}
	require.NoError(t, disk.Merge(t.Context(), from, into, vhd.MergeOptions{Progress: progress}))
	require.Equal(t, int64(mergeSize), last)
	require.Equal(t, int64(mergeSize), total)

	want := append(append([]string{}, c.names[:from]...), c.names[into:]...)
	require.Equal(t, want, namesOf(disk))
	require.NotEqual(t, id, disk.Chain()[from].Footer().ID, "other children must not take it for what it was")
	requireSameBytes(t, c.content, readAll(t, disk, disk.Size()), 0)
	for _, name := range c.names[from:into] {
		require.NoFileExists(t, name)
	}
	fillAtRandom(t, disk, c.content, rand.New(rand.NewPCG(9, 9)))
	requireSameBytes(t, c.content, readAll(t, disk, disk.Size()), 0)
	require.NoError(t, disk.Close())

	requireFileReadsAs(t, want[0], c.content)
	requireFindings(t, want[0], withParents)
	requireSameBytes(t, c.content, vhdtest.SevenZip.Content(t, want[0]), 0)
	if from > 0 { // the image that took it reads as the topmost one did
		requireFileReadsAs(t, c.names[into], c.reads[from])
	}
	for depth := into + 1; depth < len(c.names); depth++ {
		requireFileReadsAs(t, c.names[depth], c.reads[depth])
	}
}

func TestAMergeThatMakesNoSenseChangesNothing(t *testing.T) {
	c := newMergeChain(t, vhd.Dynamic, 1)
	disk := c.open(t)
	for _, levels := range [][2]int{{1, 1}, {2, 1}, {-1, 1}, {0, 5}} {
		require.ErrorIs(t, disk.Merge(t.Context(), levels[0], levels[1], vhd.MergeOptions{}), fs.ErrInvalid)
	}
	require.Equal(t, c.names, namesOf(disk))
	reader, err := vhd.Open(c.names[1], nil)
	require.NoError(t, err)
	require.ErrorIs(t, reader.Merge(t.Context(), 0, 1, vhd.MergeOptions{}), vhd.ErrReadOnly)
	require.ErrorIs(t, disk.Merge(t.Context(), 1, 2, vhd.MergeOptions{}), vhd.ErrLocked, "the image that receives is being read by others")
	require.NoError(t, reader.Close())
	requireSameBytes(t, c.content, readAll(t, disk, disk.Size()), 0)
	require.NoError(t, disk.Close())
	require.ErrorIs(t, disk.Merge(t.Context(), 0, 1, vhd.MergeOptions{}), vhd.ErrClosed)
}

func TestTwoChildrenOfOneParentAreNotMergedUnseen(t *testing.T) {
	c := newMergeChain(t, vhd.Dynamic, 1)
	other := filepath.Join(c.dir, "other.vhd")
	sibling, err := vhd.Create(other, vhd.CreateOptions{Parent: c.names[2]})
	require.NoError(t, err)
	require.NoError(t, sibling.Close())
	files := map[string][]byte{}
	for _, name := range append(c.names, other) {
		files[name], err = os.ReadFile(name)
		require.NoError(t, err)
	}
	disk := c.open(t)
	for _, levels := range [][2]int{{1, 2}, {2, 3}, {0, 4}} {
		err := disk.Merge(t.Context(), levels[0], levels[1], vhd.MergeOptions{})
		require.ErrorIs(t, err, vhd.ErrOtherChildren)
		require.ErrorContains(t, err, "other.vhd")
	}
	for name, want := range files {
		file, err := os.ReadFile(name)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, file), "%s was changed", name)
	}
	require.NoError(t, disk.Merge(t.Context(), 0, 1, vhd.MergeOptions{}), "which is no business of the sibling")
	require.NoError(t, disk.Merge(t.Context(), 0, 1, vhd.MergeOptions{Force: true}))
	requireSameBytes(t, c.content, readAll(t, disk, disk.Size()), 0)
	require.NoError(t, disk.Close())
	_, err = vhd.Open(other, nil)
	require.ErrorIs(t, err, vhd.ErrParentMismatch, "it must not read what it never saw")
}

func TestAMergeIntoANewFileLeavesTheChainAlone(t *testing.T) {
	for _, base := range []vhd.DiskType{vhd.Dynamic, vhd.Fixed} {
		for _, levels := range [][2]int{{0, 1}, {1, 3}, {2, 4}, {0, 4}} {
			t.Run(fmt.Sprintf("from %d into %d on a %v base", levels[0], levels[1], base), func(t *testing.T) {
				c := newMergeChain(t, base, 3)
				require.NoError(t, os.Mkdir(filepath.Join(c.dir, "out"), 0o777))
				disk := c.open(t)
				for _, dir := range []string{c.dir, filepath.Join(c.dir, "out")} {
					out := filepath.Join(dir, "merged.vhd")
					require.NoError(t, disk.Merge(t.Context(), levels[0], levels[1], vhd.MergeOptions{Output: out}))
					require.ErrorIs(t, disk.Merge(t.Context(), levels[0], levels[1], vhd.MergeOptions{Output: out}), fs.ErrExist)
					merged, err := vhd.Open(out, &vhd.Options{Root: c.dir})
					require.NoError(t, err)
					require.Len(t, merged.Chain(), 5-levels[1])
					require.Equal(t, disk.Chain()[levels[1]].Footer().Type, merged.Chain()[0].Footer().Type)
					requireSameBytes(t, c.reads[levels[0]], readAll(t, merged, merged.Size()), 0)
					require.NoError(t, merged.Close())
					if dir == c.dir { // 7-Zip looks for parents nowhere else
						requireSameBytes(t, c.reads[levels[0]], vhdtest.SevenZip.Content(t, out), 0)
					}
				}
				require.Equal(t, c.names, namesOf(disk))
				require.NoError(t, disk.Close())
				requireFileReadsAs(t, c.names[0], c.content)
			})
		}
	}
}

func TestAMergeThatIsEndedLeavesTheDiskAsItWasAndCanBeDoneAgain(t *testing.T) {
	for _, levels := range [][2]int{{0, 4}, {1, 3}, {0, 1}} {
		t.Run(fmt.Sprintf("from %d into %d", levels[0], levels[1]), func(t *testing.T) {
			c := newMergeChain(t, vhd.Dynamic, 4)
			disk := c.open(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			enough := errors.New("enough")
			err := disk.Merge(ctx, levels[0], levels[1], vhd.MergeOptions{Progress: func(done, _ int64) {
				if done > 0 {
					cancel(enough)
				}
			}})
			require.ErrorIs(t, err, context.Canceled)
			require.Equal(t, c.names, namesOf(disk))
			requireSameBytes(t, c.content, readAll(t, disk, disk.Size()), 0)
			fillAtRandom(t, disk, c.content, rand.New(rand.NewPCG(9, 9)))
			require.NoError(t, disk.Sync())
			requireSameBytes(t, c.content, readAll(t, disk, disk.Size()), 0)
			require.NoError(t, disk.Close())
			requireFileReadsAs(t, c.names[0], c.content)
			requireMerged(t, c, levels[0], levels[1])
		})
	}
}

func TestTheReceivingImageGetsTheSizeOfTheTopmostOne(t *testing.T) {
	const mib = 1 << 20
	for _, base := range []vhd.DiskType{vhd.Dynamic, vhd.Fixed} {
		for _, sizes := range [][]int64{ // base first
			{4 * mib, 6 * mib}, {6 * mib, 4 * mib}, {4 * mib, 2 * mib, 6 * mib}, {6 * mib, 9 * mib, 3 * mib, 5*mib + 512}, {2 * mib, 2 * mib, 130 * mib},
		} {
			for from := range len(sizes) - 1 {
				for into := from + 1; into < len(sizes); into++ {
					t.Run(fmt.Sprintf("%v, sizes %v, from %d into %d", base, sizes, from, into), func(t *testing.T) {
						requireMergedSizes(t, base, sizes, from, into)
					})
				}
			}
		}
	}
}

func requireMergedSizes(t *testing.T, base vhd.DiskType, sizes []int64, from, into int) {
	t.Helper()
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(uint64(from), uint64(into)))
	var names []string
	var content []byte
	var reads [][]byte
	for n, size := range sizes {
		name := filepath.Join(dir, fmt.Sprintf("image%d.vhd", n))
		opts := vhd.CreateOptions{Type: base, Size: size, BlockSize: 64 << 10}
		if n > 0 {
			opts = vhd.CreateOptions{Parent: names[0], Size: size, BlockSize: 512 << 10}
		}
		disk, err := vhd.Create(name, opts)
		require.NoError(t, err)
		content = append(content[:min(int64(len(content)), size)], make([]byte, max(size-int64(len(content)), 0))...)
		fillAtRandom(t, disk, content, rng)
		require.NoError(t, disk.Close())
		names = append([]string{name}, names...)
		reads = append([][]byte{bytes.Clone(content)}, reads...)
	}
	size := sizes[len(sizes)-1-from]
	disk, err := vhd.Open(names[0], &vhd.Options{Writable: true})
	require.NoError(t, err)
	require.NoError(t, disk.Merge(t.Context(), from, into, vhd.MergeOptions{}))
	require.Equal(t, size, disk.Chain()[from].Footer().CurrentSize)
	requireSameBytes(t, content, readAll(t, disk, disk.Size()), 0)
	fillAtRandom(t, disk, content, rng)
	require.NoError(t, disk.Close())
	last := append(append([]string{}, names[:from]...), names[into:]...)[0]
	requireFileReadsAs(t, last, content)
	requireFindings(t, last, withParents, ofAResize...)
	if from > 0 { // also what is behind the end of all that is above it
		requireFileReadsAs(t, names[into], reads[from])
	}
}

// scarceFS is files where next to no space is left, and which says so.
type scarceFS struct {
	vhd.FS
	free int64
}

func (f scarceFS) FreeSpace(string) (int64, error) { return f.free, nil }

// openScarce opens leaf.vhd for writing where so many bytes are free.
func openScarce(t testing.TB, mem *vhdtest.MemFS, free int64) *vhd.Disk {
	t.Helper()
	disk, err := vhd.Open("leaf.vhd", &vhd.Options{FS: scarceFS{mem, free}, Writable: true})
	require.NoError(t, err)
	return disk
}

func TestAMergeWithNoSpaceLeftIsNotBegun(t *testing.T) {
	mem := vhdtest.NewMemFS()
	require.NoError(t, createAndFill("base.vhd", vhd.CreateOptions{Options: vhd.Options{FS: mem}, Size: 8 << 20, BlockSize: 64 << 10}, func(d *vhd.Disk) error {
		return nil
	}))
	require.NoError(t, createAndFill("leaf.vhd", vhd.CreateOptions{Options: vhd.Options{FS: mem}, Parent: "base.vhd"}, func(d *vhd.Disk) error {
		_, err := d.WriteAt(fill(7, 1<<20), 100)
		return err
	}))
	before, err := mem.ReadFile("base.vhd")
	require.NoError(t, err)
	const need = 17 * (64<<10 + 4096) // blocks with what aligns the next one
	disk := openScarce(t, mem, need-1)
	require.ErrorIs(t, disk.Merge(t.Context(), 0, 1, vhd.MergeOptions{}), vhd.ErrNoSpace)
	require.NoError(t, disk.Close())
	after, err := mem.ReadFile("base.vhd")
	require.NoError(t, err)
	require.True(t, bytes.Equal(before, after), "the base was changed")
	disk = openScarce(t, mem, need)
	require.NoError(t, disk.Merge(t.Context(), 0, 1, vhd.MergeOptions{}))
	require.NoError(t, disk.Close())
}

func TestAMergeIntoAFixedDiskThatTakesMoreThanThereIsIsNotBegun(t *testing.T) {
	mem := vhdtest.NewMemFS()
	require.NoError(t, createAndFill("base.vhd", vhd.CreateOptions{Options: vhd.Options{FS: mem}, Type: vhd.Fixed, Size: 1 << 20}, func(*vhd.Disk) error {
		return nil
	}))
	const data = 100 << 10
	require.NoError(t, createAndFill("leaf.vhd", vhd.CreateOptions{Options: vhd.Options{FS: mem}, Parent: "base.vhd", Size: 4 << 20}, func(d *vhd.Disk) error {
		_, err := d.WriteAt(fill(7, 64<<10), 0) // has its place
		if err == nil {
			_, err = d.WriteAt(fill(8, data), 3<<20)
		}
		return err
	}))
	before, err := mem.ReadFile("base.vhd")
	require.NoError(t, err)
	disk := openScarce(t, mem, data-1)
	require.ErrorIs(t, disk.Merge(t.Context(), 0, 1, vhd.MergeOptions{}), vhd.ErrNoSpace)
	require.NoError(t, disk.Close())
	after, err := mem.ReadFile("base.vhd")
	require.NoError(t, err)
	require.True(t, bytes.Equal(before, after), "the base was changed")
	disk = openScarce(t, mem, data)
	require.NoError(t, disk.Merge(t.Context(), 0, 1, vhd.MergeOptions{}))
	require.NoError(t, disk.Close())
}

// A merge that failed may not have seen what became of the headers that it changed.
func TestADiskWhoseMergeFailedIsCompactedAndMergedAfterwards(t *testing.T) {
	for _, fault := range []vhdtest.Fault{
		{All: true}, {All: true, Forever: true}, {},
		{All: true, Match: isKind(vhdtest.OpRead)}, {All: true, Forever: true, Match: isKind(vhdtest.OpRead)},
	} {
		for _, levels := range [][2]int{{1, 2}, {2, 3}, {1, 3}} {
			t.Run(fmt.Sprintf("%d into %d, forever %v, all %v, reads %v", levels[0], levels[1], fault.Forever, fault.All, fault.Match != nil), func(t *testing.T) {
				for fault.At = 1; failMerge(t, fault, levels[0], levels[1]); fault.At++ {
				}
				require.Greater(t, fault.At, 10)
			})
		}
	}
}

// failMerge says whether a call of a merge has failed.
func failMerge(t *testing.T, fault vhdtest.Fault, from, into int) bool {
	t.Helper()
	faults := vhdtest.NewFaultFS(vhdtest.NewMemFS())
	opts := vhd.Options{FS: faults, Writable: true}
	want := make([]byte, 12<<10)
	for n, parent := 0, ""; n < 4; n++ {
		name := fmt.Sprintf("%d.vhd", n)
		create := vhd.CreateOptions{Options: opts, Parent: parent, BlockSize: 4096}
		if n == 0 {
			create.Size = int64(len(want))
		}
		require.NoError(t, createAndFill(name, create, func(d *vhd.Disk) error {
			p := fill(byte(2*n), 3000)
			copy(want[n*2048:], p)
			_, err := d.WriteAt(p, int64(n)*2048)
			return err
		}))
		parent = name
	}
	disk, err := vhd.Open("3.vhd", &opts)
	require.NoError(t, err)
	depth := len(disk.Chain())
	faults.Arm(fault)
	err = disk.Merge(t.Context(), from, into, vhd.MergeOptions{})
	fired := faults.Fired() > 0
	faults.Disarm()
	if _, readErr := disk.ReadAt(make([]byte, 1), 0); errors.Is(readErr, vhd.ErrBroken) {
		_ = disk.Close()
		return fired
	}
	requireSameBytes(t, want, readAll(t, disk, disk.Size()), 0)
	require.NoError(t, disk.Compact(t.Context(), vhd.CompactOptions{}), "call %d failed: %v", fault.At, err)
	requireSameBytes(t, want, readAll(t, disk, disk.Size()), 0)
	if len(disk.Chain()) == depth {
		require.NoError(t, disk.Merge(t.Context(), from, into, vhd.MergeOptions{}), "call %d failed: %v", fault.At, err)
	}
	require.Len(t, disk.Chain(), depth-(into-from))
	requireSameBytes(t, want, readAll(t, disk, disk.Size()), 0)
	require.NoError(t, disk.Close())
	return fired
}

func TestAMergeBelowTheLeafDoesNotMakeTheImageAboveLookChanged(t *testing.T) {
	names := inDir(t.TempDir(), "base.vhd", "low.vhd", "middle.vhd", "high.vhd", "leaf.vhd")
	newLine(t, vhd.Options{}, names[:4]...)
	past := time.Now().Add(-time.Hour).Truncate(time.Second)
	require.NoError(t, os.Chtimes(names[3], past, past))
	require.NoError(t, createAndFill(names[4], vhd.CreateOptions{Parent: names[3]}, func(*vhd.Disk) error { return nil }))
	disk := openLine(t, names[4], vhd.Options{})
	require.NoError(t, disk.Merge(t.Context(), 2, 3, vhd.MergeOptions{}))
	require.NoError(t, disk.Close())
	info, err := os.Stat(names[3])
	require.NoError(t, err)
	require.True(t, past.Equal(info.ModTime()))
	requireFindings(t, names[4], withParents)
}

func TestAMergeOfNothingTellsThatItIsDone(t *testing.T) {
	mem := vhdtest.NewMemFS()
	newLine(t, vhd.Options{FS: mem}, "base.vhd")
	for _, names := range [][2]string{{"middle.vhd", "base.vhd"}, {"leaf.vhd", "middle.vhd"}} {
		require.NoError(t, createAndFill(names[0], vhd.CreateOptions{Options: vhd.Options{FS: mem}, Parent: names[1]}, func(*vhd.Disk) error { return nil }))
	}
	disk := openLine(t, "leaf.vhd", vhd.Options{FS: mem})
	for _, from := range []int{1, 0} {
		var calls [][2]int64
		require.NoError(t, disk.Merge(t.Context(), from, from+1, vhd.MergeOptions{Progress: func(done, total int64) { calls = append(calls, [2]int64{done, total}) }}))
		require.Equal(t, [][2]int64{{lineSize, lineSize}}, calls)
	}
}
