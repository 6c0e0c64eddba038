package vhdtest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// nseeds is how many random chains each reader is asked about.
func nseeds(t *testing.T) uint64 {
	t.Helper()
	if testing.Short() {
		return 5
	}
	return 40
}

func TestQemuReadsRandomImagesAsTheirContent(t *testing.T) {
	checkReader(t, Qemu, ChainOptions{Images: 1, Limits: ForQemu})
}

func TestSevenZipReadsRandomImagesAsTheirContent(t *testing.T) {
	checkReader(t, SevenZip, ChainOptions{Images: 1, Limits: ForSevenZip})
}

func TestSevenZipReadsRandomChainsAsTheirContent(t *testing.T) {
	checkReader(t, SevenZip, ChainOptions{Limits: ForSevenZip})
}

func TestLibvhdiReadsRandomChainsAsTheirContent(t *testing.T) {
	checkReader(t, Libvhdi, ChainOptions{Limits: ForLibvhdi, MaxSize: 6 << 20})
}

func checkReader(t *testing.T, reader Reader, opts ChainOptions) {
	t.Helper()
	reader.Need(t)
	for seed := range nseeds(t) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			c := RandomChain(seed, opts)
			got := reader.Content(t, c.WriteDir(t, t.TempDir())...)
			requireContent(t, c, got)
		})
	}
}

// requireContent names the first sector that differs: whole disks are too long to print.
func requireContent(t *testing.T, c *Chain, got []byte) {
	t.Helper()
	want := c.Content(t)
	require.Len(t, got, len(want))
	for off := 0; off < len(want); off += SectorSize {
		end := min(off+SectorSize, len(want))
		require.Equal(t, want[off:end], got[off:end], "sector %d", off/SectorSize)
	}
}

func TestARandomChainIsAFunctionOfItsSeed(t *testing.T) {
	for seed := range uint64(5) {
		opts := ChainOptions{MaxSize: 1 << 20, Limits: Anything}
		first := RandomChain(seed, opts).Files(t)
		again := RandomChain(seed, opts).Files(t)
		require.Equal(t, first, again)
	}
}

func TestContentRangeIsAPartOfContent(t *testing.T) {
	for seed := range uint64(20) {
		c := RandomChain(seed, ChainOptions{MaxSize: 256 << 10, Limits: Anything})
		want := c.Content(t)
		size := int64(len(want))
		for _, r := range [][2]int64{{0, size}, {size / 3, size / 2}, {size - 1, 1}, {size / 7, 1}, {size, 0}} {
			require.Equal(t, want[r[0]:r[0]+r[1]], ContentRange(t, c.Images, r[0], r[1]), "seed %d, %v", seed, r)
		}
	}
}
