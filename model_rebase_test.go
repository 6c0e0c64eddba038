package vhd_test

import (
	"slices"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// modelParents are images that the leaf may get in place of those below it, base first.
type modelParents struct {
	images     []*modelImage
	model      *vhdtest.Model
	sparseBase bool
}

// rebase gives the leaf another parent, or the same one again. The disk reads as before.
func (c *chainMachine) rebase(t *rapid.T) {
	parents := c.drawParents(t)
	require.NoError(t, c.disk.Rebase(parents.name(), vhd.RebaseOptions{}))
	c.model.Rebase(parents.model)
	c.standOn(t, parents)
}

// rebaseUnsafe gives the leaf another parent as it is, with its former parents or without: what it does not hold is the
// new parent's.
func (c *chainMachine) rebaseUnsafe(t *rapid.T) {
	parents := c.drawParents(t)
	holds := c.heldByLeaf(t)
	if rapid.Bool().Draw(t, "without parents") {
		c.close(t)
		alone := c.opts
		alone.NoParents = true
		var err error
		c.disk, err = vhd.Open(c.leaf().name, &alone)
		require.NoError(t, err)
	}
	require.NoError(t, c.disk.Rebase(parents.name(), vhd.RebaseOptions{Unsafe: true}))
	c.model.RebaseUnsafely(parents.model, func(sector int64) bool { return holds[sector] })
	c.standOn(t, parents)
}

// heldByLeaf says of each sector whether the leaf holds it. Where the model knows, that is so.
func (c *chainMachine) heldByLeaf(t *rapid.T) []bool {
	t.Helper()
	size := c.model.Size()
	c.checkExtents(t, 0, size)
	held := make([]bool, size/vhd.SectorSize)
	for e, err := range c.disk.Extents(0, size) {
		require.NoError(t, err)
		for sector := range e.Length / vhd.SectorSize {
			held[e.Offset/vhd.SectorSize+sector] = e.Depth == 0
		}
	}
	return held
}

// name is that of the leaf's new parent.
func (p *modelParents) name() string { return p.images[len(p.images)-1].name }

// standOn notes that the leaf has other parents.
func (c *chainMachine) standOn(t *rapid.T, parents *modelParents) {
	t.Helper()
	leaf := c.leaf()
	c.images, c.sparseBase = append(slices.Clone(parents.images), leaf), parents.sparseBase
	c.boundPartlyZeroed()
	leaf.holes, leaf.rearranged, leaf.strayed = true, true, false
	require.Len(t, c.disk.Chain(), c.model.Depth()+1)
}

// drawParents draws an image of the chain, or makes one that was never in it, alone or a child of one that is.
func (c *chainMachine) drawParents(t *rapid.T) *modelParents {
	t.Helper()
	if c.model.Depth() == 0 {
		t.Skip("it has no parent")
	}
	depth := rapid.IntRange(1, c.model.Depth()).Draw(t, "depth")
	below := &modelParents{c.images[:len(c.images)-depth], c.model.At(depth), c.sparseBase}
	switch rapid.SampledFrom([]string{"in the chain", "alone", "a sibling"}).Draw(t, "parent") {
	case "alone":
		return c.makeForeign(t, nil)
	case "a sibling":
		if below.model.Depth()+2 <= maxModelDepth {
			return c.makeForeign(t, below)
		}
	}
	return below
}

// makeForeign makes an image that has nothing to do with the disk, but that some of it may be the same.
func (c *chainMachine) makeForeign(t *rapid.T, below *modelParents) *modelParents {
	t.Helper()
	opts := vhd.CreateOptions{Options: c.opts, BlockSize: drawBlockSize(t)}
	opts.Writable, opts.Size = false, drawDiskSize(t, opts.BlockSize)
	made := &modelParents{sparseBase: true}
	switch {
	case below != nil:
		*made, opts.Parent = *below, below.name()
		made.model = below.model.At(0)
		made.model.NewChild(opts.Size)
	case rapid.IntRange(0, 4).Draw(t, "fixed") == 0:
		opts.Type, made.sparseBase = vhd.Fixed, false
		made.model = vhdtest.NewModelOf(make([]byte, opts.Size))
	default:
		opts.Type, made.model = vhd.Dynamic, vhdtest.NewModel(opts.Size)
	}
	name := c.nextName()
	t.Logf("%s: %v of %d bytes in blocks of %d", name, opts.Type, opts.Size, opts.BlockSize)
	disk, err := vhd.Create(name, opts)
	require.NoError(t, err)
	c.fillForeign(t, disk, made.model)
	image := &modelImage{
		name: name, diskType: disk.Chain()[0].Footer().Type, blockSize: opts.BlockSize, madeSize: opts.Size,
	}
	require.NoError(t, disk.Close())
	image.sum = c.sum(t, name)
	made.images = append(slices.Clone(made.images), image)
	return made
}

// fillForeign writes what the disk of the machine has in the same place, and what it has not.
func (c *chainMachine) fillForeign(t *rapid.T, disk *vhd.Disk, model *vhdtest.Model) {
	t.Helper()
	size := min(model.Size(), c.model.Size())
	for range rapid.IntRange(0, 3).Draw(t, "pieces") {
		off, n := c.span(t)
		off = min(off, size)
		n = min(n, size-off)
		c.writes++
		p := pattern(c.writes, n)
		if rapid.Bool().Draw(t, "the same") {
			_, err := c.model.ReadAt(p, off)
			require.NoError(t, err)
		}
		_, err := disk.WriteAt(p, off)
		require.NoError(t, err)
		_, err = model.WriteAt(p, off)
		require.NoError(t, err)
	}
}
