package vhd_test

import (
	"bytes"
	"io/fs"
	"slices"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-vhd/vhd"
)

func (c *chainMachine) newChild(t *rapid.T) {
	if c.model.Depth() >= maxModelDepth {
		t.Skip("deep enough")
	}
	c.close(t)
	opts := vhd.CreateOptions{Options: c.opts, Parent: c.leaf().name, BlockSize: drawBlockSize(t)}
	opts.Writable = false // Create's disk is writable all the same
	size := c.model.Size()
	if rapid.Bool().Draw(t, "other size") || opts.BlockSize < 4096 && size > opts.BlockSize*400 {
		size = drawDiskSize(t, opts.BlockSize)
		opts.Size = size
	}
	t.Logf("child: %d bytes in blocks of %d", size, opts.BlockSize)
	c.freeze(t)
	c.create(t, opts)
	c.model.NewChild(size)
	require.Equal(t, size, c.disk.Size())
	require.Len(t, c.disk.Chain(), c.model.Depth()+1)
}

// freeze notes what the leaf's file is: it becomes a parent.
func (c *chainMachine) freeze(t *rapid.T) {
	t.Helper()
	c.leaf().sum = c.sum(t, c.leaf().name)
}

// snapshot puts a child of the same size on top while the disk is open.
func (c *chainMachine) snapshot(t *rapid.T) {
	if c.model.Depth() >= maxModelDepth {
		t.Skip("deep enough")
	}
	blockSize := drawBlockSize(t)
	if c.model.Size() > blockSize*400 && blockSize < 4096 {
		blockSize = 4096
	}
	name := c.nextName()
	require.NoError(t, c.disk.Snapshot(name, vhd.CreateOptions{BlockSize: blockSize}))
	c.freeze(t)
	c.add(name, blockSize)
	c.model.NewChild(c.model.Size())
	require.Len(t, c.disk.Chain(), c.model.Depth()+1)
}

// resize gives the leaf another size, at random or near the one it has, and loses
// what falls off if it must.
func (c *chainMachine) resize(t *rapid.T) {
	old := c.model.Size()
	size := drawDiskSize(t, c.leaf().blockSize)
	if rapid.Bool().Draw(t, "nearly the same") {
		size = max(old+rapid.Int64Range(-9, 9).Draw(t, "more sectors")*vhd.SectorSize, vhd.SectorSize)
	}
	t.Logf("resize %d to %d", old, size)
	loses := false
	if size < old {
		loses = !isZeros(c.model.Content()[size:])
	}
	err := c.disk.Resize(t.Context(), size, vhd.ResizeOptions{})
	if loses {
		require.ErrorIs(t, err, vhd.ErrDataLoss)
		require.Equal(t, old, c.disk.Size())
		err = c.disk.Resize(t.Context(), size, vhd.ResizeOptions{AllowLoss: true})
	}
	require.NoError(t, err)
	c.model.Resize(size)
	leaf := c.leaf()
	leaf.holes, leaf.rearranged, leaf.shrunk = true, true, leaf.shrunk || size < old
	require.Equal(t, size, c.disk.Size())
	footer := c.disk.Chain()[0].Footer()
	require.Equal(t, size, footer.CurrentSize)
	require.Equal(t, vhd.GeometryOf(size), footer.Geometry)
	if header, ok := c.disk.Chain()[0].Header(); ok && !leaf.roomyTable {
		require.EqualValues(t, 512, footer.DataOffset)
		require.EqualValues(t, (size+header.BlockSize-1)/header.BlockSize, header.MaxTableEntries)
	}
}

// merge folds images into one below them. A rebase may have left other children of theirs, which nobody opens any more.
func (c *chainMachine) merge(t *rapid.T) {
	if c.model.Depth() == 0 {
		t.Skip("it has no parent")
	}
	from, into := c.drawLevels(t)
	t.Logf("merge %d into %d", from, into)
	require.NoError(t, c.disk.Merge(t.Context(), from, into, vhd.MergeOptions{Force: true}))
	c.model.Merge(from, into)
	top, bottom := len(c.images)-1-from, len(c.images)-1-into
	for _, image := range c.images[bottom+1 : top+1] {
		_, err := c.files.read(image.name)
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
	c.foldPartlyZeroed(from, into)
	c.images[bottom].shrunk = true
	c.images = slices.Delete(c.images, bottom+1, top+1)
	for _, image := range c.images[bottom:min(bottom+2, len(c.images))] { // the one that received, and its child
		image.holes, image.rearranged = true, true
	}
	for _, image := range c.parents()[max(bottom-1, 0):] { // and one that it is a child of
		image.sum = c.sum(t, image.name)
	}
	require.Len(t, c.disk.Chain(), c.model.Depth()+1)
}

// foldPartlyZeroed notes that some images are one.
func (c *chainMachine) foldPartlyZeroed(from, into int) {
	for sector, leaf := range c.partlyZeroed {
		c.partlyZeroed[sector] = min(leaf, max(leaf-(into-from), len(c.images)-into))
	}
}

// boundPartlyZeroed notes that there may be fewer images: none is above the leaf.
func (c *chainMachine) boundPartlyZeroed() {
	for sector, leaf := range c.partlyZeroed {
		c.partlyZeroed[sector] = min(leaf, len(c.images))
	}
}

// mergeToFile makes a new image of some, which stay as they are, and maybe goes on with that.
func (c *chainMachine) mergeToFile(t *rapid.T) {
	if c.model.Depth() == 0 {
		t.Skip("it has no parent")
	}
	from, into := c.drawLevels(t)
	name := c.nextName()
	t.Logf("merge %d into %d: %s", from, into, name)
	leaf := c.sum(t, c.leaf().name)
	require.NoError(t, c.disk.Merge(t.Context(), from, into, vhd.MergeOptions{Output: name}))
	c.requireUnchanged(t, c.leaf())
	require.Equal(t, leaf, c.sum(t, c.leaf().name), "the leaf changed")

	merged, bottom := *c, len(c.images)-1-into
	merged.model = c.model.At(from).Fork()
	merged.model.Merge(0, into-from)
	receiver := c.images[bottom]
	merged.images = append(slices.Clone(c.images[:bottom]), &modelImage{
		name: name, diskType: receiver.diskType, blockSize: receiver.blockSize, madeSize: merged.model.Size(),
		holes: receiver.blockSize < 4096, // which find room in the page that is free behind a new BAT, and need not fill it
	})
	merged.reopenApart(t)
	if rapid.Bool().Draw(t, "go on with the old ones") {
		require.NoError(t, c.files.remove(name))
		return
	}
	c.close(t)
	c.foldPartlyZeroed(from, into)
	*c = merged
	c.boundPartlyZeroed()
	c.open(t)
}

// reopenApart reads a disk of which no other is open, and checks its files.
func (c *chainMachine) reopenApart(t *rapid.T) {
	t.Helper()
	c.open(t)
	c.readAll(t)
	c.close(t)
}

// compact makes the leaf as small as it can be: nothing is left that a check would find to be given back, and
// compacting again changes nothing.
func (c *chainMachine) compact(t *rapid.T) {
	err := c.disk.Compact(t.Context(), vhd.CompactOptions{})
	leaf := c.leaf()
	if leaf.diskType == vhd.Fixed {
		require.ErrorIs(t, err, vhd.ErrUnsupported)
		return
	}
	require.NoError(t, err)
	c.model.Compact(leaf.blockSize)
	leaf.holes = leaf.rearranged
	before := c.sum(t, leaf.name)
	require.NoError(t, c.disk.Compact(t.Context(), vhd.CompactOptions{}))
	require.Equal(t, before, c.sum(t, leaf.name), "compacted twice")
	c.checkFiles(t, closed)
}

// export exports the disk as it is by now, synced or not.
func (c *chainMachine) export(t *rapid.T) {
	opts := vhd.ExportOptions{Type: rapid.SampledFrom([]vhd.DiskType{0, vhd.Fixed, vhd.Dynamic, vhd.Differencing}).Draw(t, "type")}
	var parents []vhd.File
	if opts.Type == vhd.Differencing {
		if len(c.images) == 1 {
			t.Skip("it has no parent")
		}
		opts.Base = rapid.IntRange(1, len(c.images)-1).Draw(t, "base")
		for _, parent := range slices.Backward(c.images[:len(c.images)-opts.Base]) {
			file, err := c.files.read(parent.name)
			require.NoError(t, err)
			parents = append(parents, vhd.ReadOnlyFile(bytes.NewReader(file), int64(len(file))))
		}
	}
	image := exportVHD(t, c.disk, opts)
	if opts.Type == 0 {
		requireSameBytes(t, c.model.Content(), image, 0)
		return
	}
	files := append([]vhd.File{vhd.ReadOnlyFile(bytes.NewReader(image), int64(len(image)))}, parents...)
	disk, err := vhd.OpenChain(nil, files...)
	require.NoError(t, err)
	requireDiskReads(t, disk, c.model.Content())
	require.NoError(t, disk.Close())
}

// requireDiskReads makes sure of all that a disk reads as.
func requireDiskReads(t *rapid.T, disk *vhd.Disk, want []byte) {
	t.Helper()
	require.EqualValues(t, len(want), disk.Size())
	got := make([]byte, disk.Size())
	_, err := disk.ReadAt(got, 0)
	require.NoError(t, err)
	requireSameBytes(t, want, got, 0)
}

// importContent imports data and zeros over the front of the disk, or all of it.
func (c *chainMachine) importContent(t *rapid.T) {
	size := c.model.Size()
	if rapid.Bool().Draw(t, "a part") {
		size = c.place(t, "end")
	}
	content := c.drawContent(t, size)
	t.Logf("import %d", size)
	require.NoError(t, c.disk.Import(t.Context(), bytes.NewReader(content), size, vhd.ImportOptions{}))
	for off := int64(0); off < size; off += vhd.SectorSize {
		p := content[off:min(off+vhd.SectorSize, size)]
		if isZeros(p) { // the disk holds them or not
			c.zeroed(t, off, int64(len(p)))
			continue
		}
		c.wrote(t, p, off)
	}
}

// drawContent draws pieces of data and of zeros, that likely end near the edges of sectors, blocks and windows.
func (c *chainMachine) drawContent(t *rapid.T, size int64) []byte {
	t.Helper()
	content := make([]byte, size)
	for range rapid.IntRange(0, 4).Draw(t, "pieces") {
		off, n := c.span(t)
		c.writes++
		if off < size {
			copy(content[off:], pattern(c.writes, n))
		}
	}
	return content
}

// importAnew imports what the disk reads as into a new one.
func (c *chainMachine) importAnew(t *rapid.T) {
	content := c.model.Content()
	opts := vhd.CreateOptions{Options: c.opts, Type: vhd.Dynamic, BlockSize: drawBlockSize(t), Size: int64(len(content))}
	if rapid.IntRange(0, 3).Draw(t, "fixed") == 0 {
		opts.Type = vhd.Fixed
	}
	name := c.nextName()
	disk, err := vhd.Create(name, opts)
	require.NoError(t, err)
	require.NoError(t, disk.Import(t.Context(), bytes.NewReader(content), opts.Size, vhd.ImportOptions{}))
	requireDiskReads(t, disk, content)
	if opts.Type == vhd.Dynamic {
		requireNoBlocksOfZeros(t, disk, content, opts.BlockSize)
	}
	require.NoError(t, disk.Close())
	opts.Writable = false
	report, err := vhd.Check(t.Context(), name, vhd.CheckOptions{Options: opts.Options})
	require.NoError(t, err)
	require.Empty(t, report.Findings)
	disk, err = vhd.Open(name, &opts.Options)
	require.NoError(t, err)
	requireDiskReads(t, disk, content)
	require.NoError(t, disk.Close())
	require.NoError(t, c.files.remove(name))
}

// requireNoBlocksOfZeros makes sure that the disk has the blocks that have data in content, and no other.
func requireNoBlocksOfZeros(t *rapid.T, disk *vhd.Disk, content []byte, blockSize int64) {
	t.Helper()
	want := 0
	for block := range slices.Chunk(content, int(blockSize)) {
		if !isZeros(block) {
			want++
		}
	}
	require.NoError(t, disk.Sync())
	nblocks, err := disk.Chain()[0].AllocatedBlocks()
	require.NoError(t, err)
	require.Equal(t, want, nblocks)
}
