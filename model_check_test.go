package vhd_test

import (
	"bytes"
	"crypto/sha256"
	"slices"

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
		codes = append(codes, "free-blocks")
	}
	if open {
		codes = append(codes, "slack")
	}
	if i.rearranged {
		codes = append(codes, "block-unaligned")
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
