package vhd_test

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

func (c *chainMachine) sum(t *rapid.T, name string) [sha256.Size]byte {
	t.Helper()
	b, err := c.files.read(name)
	require.NoError(t, err)
	return sha256.Sum256(b)
}

// check reads somewhere, and looks at the extents there.
func (c *chainMachine) check(t *rapid.T) {
	off, n := c.span(t)
	c.read(t, off, n)
	c.checkExtents(t, off, n)
	c.checkFiles(t, open)
}

// closed and open are whether a disk is in use: if so its file may be prepared to grow.
const (
	closed = false
	open   = true
)

// checkFiles checks all files of the chain, which are sound at any time, whatever has not been synced. Nothing is found
// but what comes of what was done to them.
func (c *chainMachine) checkFiles(t *rapid.T, state bool) {
	t.Helper()
	opts := vhd.CheckOptions{Options: c.opts, Chain: true}
	opts.Writable, opts.Lock = false, vhd.LockNone
	report, err := vhd.Check(t.Context(), c.leaf().name, opts)
	require.NoError(t, err)
	found := map[string][]string{}
	for _, f := range report.Findings {
		found[f.Image] = append(found[f.Image], f.Code)
	}
	for depth, layer := 0, c.model; ; depth, layer = depth+1, layer.Parent() {
		image := c.images[len(c.images)-1-depth]
		codes := found[image.name]
		require.Subset(t, image.mayHave(state && depth == 0), codes, "%s: %+v", image.name, report.Findings)
		require.Equal(t, layer.Size() != image.madeSize, slices.Contains(codes, "original-size"), image.name)
		delete(found, image.name)
		if layer.Depth() == 0 {
			break
		}
		require.Equal(t, layer.Size() != layer.Parent().Size(), slices.Contains(codes, "parent-size"), image.name)
	}
	require.Empty(t, found, "findings about other files")
}

// mayHave are the codes of what a check may find.
func (i *modelImage) mayHave(open bool) []string {
	codes := []string{"original-size", "parent-size"}
	if i.holes || open {
		codes = append(codes, "free-blocks", "small-gaps")
	}
	if open {
		codes = append(codes, "slack")
	}
	if i.rearranged {
		codes = append(codes, "block-unaligned")
	}
	if i.clearData {
		codes = append(codes, "bitmap-clear-data")
	}
	if i.roomyTable {
		codes = append(codes, "table-large")
	}
	if i.shrunk {
		codes = append(codes, "bitmap-past-disk")
	}
	return codes
}

func (c *chainMachine) readAll(t *rapid.T) {
	c.read(t, 0, c.model.Size())
	c.checkExtents(t, 0, c.model.Size())
}

func (c *chainMachine) read(t *rapid.T, off, n int64) {
	t.Helper()
	want := make([]byte, n)
	_, err := c.model.ReadAt(want, off)
	require.NoError(t, err)
	got := bytes.Repeat([]byte{0xEE}, int(n))
	read, err := c.disk.ReadAt(got, off)
	require.NoError(t, err)
	require.Equal(t, int(n), read)
	requireSameBytes(t, want, got, off)
}

func (c *chainMachine) checkExtents(t *rapid.T, off, n int64) {
	t.Helper()
	at, before := off, vhd.Extent{Depth: -2}
	for e, err := range c.disk.Extents(off, n) {
		require.NoError(t, err)
		require.Equal(t, at, e.Offset, "extents abut")
		require.Positive(t, e.Length)
		require.NotEqual(t, before.Depth, e.Depth, "extents are as long as they can be: %v, %v", before, e)
		c.checkOwners(t, e)
		at, before = at+e.Length, e
	}
	require.Equal(t, off+n, at, "extents reach to the end")
}

func (c *chainMachine) checkOwners(t *rapid.T, e vhd.Extent) {
	t.Helper()
	base := c.model.Depth()
	for sector := e.Offset / vhd.SectorSize; sector*vhd.SectorSize < e.Offset+e.Length; sector++ {
		owner, certain := c.model.Owner(sector)
		switch {
		case owner == e.Depth || !certain || c.partlyZeroed[sector] > 0:
		case owner == vhdtest.NoOwner && e.Depth == base && c.sparseBase: // its whole block is
		default:
			require.Failf(t, "wrong depth", "sector %d is in %v, and in depth %d of the model", sector, e, owner)
		}
	}
}

// changedExtents compares what two images of the chain read as, and who of those between holds what.
func (c *chainMachine) changedExtents(t *rapid.T) {
	if c.model.Depth() == 0 {
		t.Skip("it has no parent")
	}
	upper, lower := c.drawLevels(t)
	above, below := c.model.At(upper), c.model.At(lower)
	requireChanges(t, c.disk, upper, lower, above.Content(), below.Content())
	told := make([]int, min(c.model.Size(), above.Size())/vhd.SectorSize)
	for sector := range told {
		told[sector] = unchanged
	}
	for e, err := range c.disk.ChangedExtents(upper, lower, 0, c.disk.Size()) {
		require.NoError(t, err)
		for sector := range e.Length / vhd.SectorSize {
			told[e.Offset/vhd.SectorSize+sector] = e.Depth
		}
	}
	for sector, depth := range told {
		may := c.mayBeChangedIn(int64(sector), upper, lower)
		require.Contains(t, may, depth, "sector %d, changed from %d to %d", sector, lower, upper)
	}
}

// drawLevels draws two images, one above the other.
func (c *chainMachine) drawLevels(t *rapid.T) (upper, lower int) {
	t.Helper()
	upper = rapid.IntRange(0, c.model.Depth()-1).Draw(t, "upper")
	return upper, rapid.IntRange(upper+1, c.model.Depth()).Draw(t, "lower")
}

// unchanged stands for the depth of a sector that is in no changed extent.
const unchanged = -2

// mayBeChangedIn are the depths that a sector's change between two images may be told with.
func (c *chainMachine) mayBeChangedIn(sector int64, upper, lower int) []int {
	owner, certain := c.model.At(upper).Owner(sector)
	switch {
	case !certain || c.partlyZeroed[sector] > 0:
		return c.anyDepth(upper, lower)
	case owner != vhdtest.NoOwner && upper+owner < lower:
		return []int{upper + owner}
	case !c.endsBefore(sector, upper, lower):
		return []int{unchanged}
	}
	hidden, certain := c.model.At(lower).Owner(sector)
	switch {
	case !certain || hidden == vhdtest.NoOwner && c.sparseBase:
		return []int{unchanged, vhd.Hole}
	case hidden == vhdtest.NoOwner:
		return []int{unchanged}
	}
	return []int{vhd.Hole}
}

// anyDepth are all that a sector may be told with of which the engine chooses who holds it.
func (c *chainMachine) anyDepth(upper, lower int) []int {
	depths := []int{unchanged, vhd.Hole}
	for depth := upper; depth < lower; depth++ {
		depths = append(depths, depth)
	}
	return depths
}

// endsBefore says whether one of some images ends in front of a sector.
func (c *chainMachine) endsBefore(sector int64, upper, lower int) bool {
	for depth := upper; depth < lower; depth++ {
		if c.model.At(depth).Size() <= sector*vhd.SectorSize {
			return true
		}
	}
	return false
}

// TestOthersReadWhatIsLeftOfAnyChain has every reader that gets such a chain right read what any operations leave.
func TestOthersReadWhatIsLeftOfAnyChain(t *testing.T) {
	if testing.Short() {
		t.Skip("slow: programs are started")
	}
	for _, reader := range []vhdtest.Reader{vhdtest.Qemu, vhdtest.SevenZip, vhdtest.Libvhdi} {
		reader.Need(t)
	}
	runs, asked := 0, map[string]int{}
	top := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		c := newMemMachine(rt)
		c.run(rt)
		c.askOthers(rt, top, asked)
	})
	t.Logf("asked: %v", asked)
	for _, name := range []string{"qemu-img", "7zz", "7zz about a child", "libvhdi"} {
		require.True(t, asked[name] > 0 || runs < 100, name)
	}
}

// askOthers compares what others read in copies of the files with the model.
func (c *chainMachine) askOthers(t *rapid.T, top string, asked map[string]int) {
	t.Helper()
	dir := filepath.Join(top, "chain")
	defer func() { require.NoError(t, os.RemoveAll(dir)) }()
	var names []string
	for _, image := range slices.Backward(c.images) {
		file, err := c.files.read(image.name)
		require.NoError(t, err)
		names = append(names, filepath.Join(dir, filepath.FromSlash(image.name)))
		require.NoError(t, realFiles.mkdir(filepath.Dir(names[len(names)-1])))
		require.NoError(t, realFiles.write(names[len(names)-1], file))
	}
	for _, reader := range c.readers() {
		var got bytes.Buffer
		t.Logf("asked: %s", reader.Name)
		require.NoError(t, reader.Ask(t.Context(), &got, names...))
		requireSameBytes(t, c.model.Content(), got.Bytes(), 0)
		asked[reader.Name]++
		if len(names) > 1 {
			asked[reader.Name+" about a child"]++
		}
	}
}

// readers are those that get the chain right: see vhdtest.ForQemu, ForSevenZip and ForLibvhdi. 7-Zip looks for parents
// in the leaf's directory, by their paths from there. libvhdi takes the size that a disk was made with for the one that it has, and bits of a bitmap
// by whole bytes, of which only a disk without a parent is sure to have no others. 7-Zip refuses tables with more entries
// than blocks, and of data under clear bits none is sure to read zeros.
func (c *chainMachine) readers() []vhdtest.Reader {
	if slices.ContainsFunc(c.images, func(i *modelImage) bool { return i.clearData }) {
		return nil
	}
	roomy := slices.ContainsFunc(c.images, func(i *modelImage) bool { return i.roomyTable })
	smallest, larger, apart, resized := int64(1<<30), false, false, false
	for i, layer := len(c.images)-1, c.model; i >= 0; i-- {
		image := c.images[i]
		if image.diskType != vhd.Fixed {
			smallest = min(smallest, image.blockSize)
		}
		resized = resized || layer.Size() != image.madeSize
		apart = apart || path.Dir(image.name) != path.Dir(c.leaf().name) || image.strayed && i > 0
		if i > 0 {
			larger = larger || layer.Size() > layer.Parent().Size()
			layer = layer.Parent()
		}
	}
	var readers []vhdtest.Reader
	if len(c.images) == 1 && smallest >= 4096 {
		readers = append(readers, vhdtest.Qemu)
	}
	if !larger && !apart && !roomy {
		readers = append(readers, vhdtest.SevenZip)
	}
	if len(c.images) == 1 && smallest >= 1<<20 && !resized {
		readers = append(readers, vhdtest.Libvhdi)
	}
	return readers
}
