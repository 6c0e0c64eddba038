package vhd_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// anyLayout is a dynamic disk of which nothing but the structures is as others write it: blocks in any order, apart, aligned
// or not, some of zeros; a table of any size in front of them, among them or behind; a footer of any form, also lost.
func anyLayout(rng *rand.Rand) *vhdtest.Image {
	blockSize := []int64{512, 2048, 4096, 16384}[rng.IntN(4)]
	nblocks := 2 + rng.IntN(24)
	img := vhdtest.NewDynamic(int64(nblocks) * blockSize)
	img.BlockSize, img.EndAlign, img.Slack = blockSize, []int64{0, 4096}[rng.IntN(2)], 512*rng.Int64N(40)
	align := []int64{0, 4096}[rng.IntN(2)]
	for _, i := range rng.Perm(nblocks) {
		if rng.IntN(5) > 0 {
			fill := []byte{0, byte('a' + i), byte('a' + i)}[rng.IntN(3)]
			gap := 512 * rng.Int64N([]int64{1, blockSize/512 + 1, 3*blockSize/512 + 1}[rng.IntN(3)])
			img.Blocks = append(img.Blocks, vhdtest.Block{Index: i, Data: plain(fill, int(blockSize)), Align: align, Gap: gap})
		}
	}
	if rng.IntN(4) == 0 {
		img.MaxEntries = int64(nblocks + rng.IntN(300))
	}
	if rng.IntN(3) == 0 {
		img.BATOff = 2048 + 512*rng.Int64N(int64(len(img.Blocks)+2)*(blockSize+1024)/512)
	}
	img.Footer = []vhdtest.FooterForm{vhdtest.FooterWhole, vhdtest.FooterWhole, vhdtest.Footer511, vhdtest.FooterCut, vhdtest.FooterZeroed}[rng.IntN(5)]
	return img
}

// However an image is laid out its compact size is what was foretold, by who may write to it and who may not, nothing in it
// reads otherwise, and there is nothing to be gained by doing it again.
func TestTheSizeOfAnyCompactImageIsForetold(t *testing.T) {
	moved := 0
	for seed := range uint64(wanted(t, "VHD_LAYOUTS", 1500, 300)) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			img := anyLayout(rand.New(rand.NewPCG(seed, 4)))
			file := img.Build(t)
			mem := inMemory(t, file)
			content := img.Content(t, nil)
			foretold := compactSizeOf(t, mem, false)
			require.Equal(t, foretold, compactSizeOf(t, mem, true))
			for range 2 {
				requireCompacted(t, mem, content, int(foretold))
			}
			moved += min(1, max(0, len(file)-int(foretold)))
		})
	}
	require.Positive(t, moved)
}

// compactSizeOf is what size the image would have, and a disk that is opened for writing may be mended first.
func compactSizeOf(t *testing.T, mem *vhdtest.MemFS, writable bool) int64 {
	t.Helper()
	disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: mem, Writable: writable})
	require.NoError(t, err)
	size, err := disk.CompactSize(t.Context(), vhd.CompactOptions{})
	require.NoError(t, errors.Join(err, disk.Close()))
	return size
}

// requireCompacted compacts an image, which reads as content, and requires that it has a size then.
func requireCompacted(t *testing.T, mem *vhdtest.MemFS, content []byte, size int) {
	t.Helper()
	disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: mem, Writable: true})
	require.NoError(t, err)
	require.NoError(t, disk.Compact(t.Context(), vhd.CompactOptions{}))
	requireSameBytes(t, content, readAll(t, disk, disk.Size()), 0)
	require.NoError(t, disk.Close())
	require.Len(t, fileOf(t, mem), size)
}
