package vhd_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// requireReadsAndWrites reads an image, opens it for writing too, and counts its blocks.
func requireReadsAndWrites(t testing.TB, img *vhdtest.Image, file []byte) {
	t.Helper()
	want := img.Content(t, nil)
	requireUntouched(t, file, func(d *vhd.Disk) {
		requireContent(t, want, contentOf(t, d))
		n, err := d.Chain()[0].AllocatedBlocks()
		require.NoError(t, err)
		require.Equal(t, len(img.Blocks), n)
	})
	mem := inMemory(t, file)
	rewritten(t, mem, func(d *vhd.Disk) {
		requireContent(t, want, contentOf(t, d))
		_, err := d.WriteAt(fill(0x33, 512), img.Size-512)
		require.NoError(t, err)
	})
	copy(want[img.Size-512:], fill(0x33, 512))
	requireContent(t, want, contentOf(t, openFile(t, fileOf(t, mem))))
}

func TestTheTablesPaddingMeansNothing(t *testing.T) {
	for _, zero := range []bool{false, true} {
		t.Run(fmt.Sprintf("padded with zeros: %v", zero), func(t *testing.T) {
			img := vhdtest.NewDynamic(20*4096, vhdtest.Block{Index: 19, Data: fill(1, 4096)})
			img.BlockSize, img.BATPadZero, img.BATArea = 4096, zero, 4096
			requireReadsAndWrites(t, img, img.Build(t))
		})
	}
}

func TestEntriesBeyondTheDisksSizeAreNotLookedAt(t *testing.T) {
	for name, garbage := range map[string]uint32{"unallocated": 0xFFFFFFFF, "the start of the file": 0, "past the end": 0x7FFFFFFF, "the table": 3} {
		t.Run(name, func(t *testing.T) {
			img := vhdtest.NewDynamic(4*4096+512, vhdtest.Block{Index: 1, Data: fill(1, 4096)})
			img.BlockSize, img.MaxEntries = 4096, 3000
			img.Entries = map[int]uint32{5: garbage, 127: garbage, 128: garbage, 2999: garbage}
			requireReadsAndWrites(t, img, img.Build(t))
		})
	}
}

func TestATableOfOneEntryTooFewIsRefused(t *testing.T) {
	img := vhdtest.NewDynamic(4*4096 + 512)
	img.BlockSize, img.MaxEntries = 4096, 4
	format := requireRefused(t, img.Build(t), vhd.ErrFormat)
	require.Equal(t, "dynamic header", format.Part)
	require.Equal(t, "max table entries", format.Field)
	require.Equal(t, int64(512+28), format.Offset)
}

func TestBlocksLieInAnyOrderWithGapsAndUnaligned(t *testing.T) {
	const nblocks, blockSize = 300, 8192
	for seed := range uint64(6) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 3))
			img := vhdtest.NewDynamic(nblocks * blockSize)
			img.BlockSize = blockSize
			for _, index := range rng.Perm(nblocks)[:200] {
				b := vhdtest.Block{Index: index, Data: fill(byte(index), blockSize)}
				if seed%2 == 0 {
					b.Gap = rng.Int64N(20) * 512
				}
				img.Blocks = append(img.Blocks, b)
			}
			img.Slack, img.SlackByte = rng.Int64N(100)*512, 0xEE
			requireReadsAndWrites(t, img, img.Build(t))
		})
	}
}

// Ten thousand entries are several pages of a table, however it is read.
func TestEveryEntryOfALongTableIsFollowed(t *testing.T) {
	const nblocks = 10000
	img := vhdtest.NewDynamic(nblocks * 512)
	img.BlockSize = 512
	for index := nblocks - 1; index >= 0; index -= 1 + index%3 {
		img.Blocks = append(img.Blocks, vhdtest.Block{Index: index, Data: bytes.Repeat([]byte{byte(index), byte(index >> 8)}, 256)})
	}
	requireReadsAndWrites(t, img, img.Build(t))
}

func TestBlocksFarIntoTheFileAndTheDiskAreRead(t *testing.T) {
	img := vhdtest.NewDynamic(2040<<30,
		vhdtest.Block{Index: 1044479, Data: fill(1, 2<<20)},
		vhdtest.Block{Index: 524288, Data: fill(2, 2<<20), Off: 1<<40 + 512},
		vhdtest.Block{Index: 2047, Data: fill(3, 2<<20), Off: 4<<30 - 512})
	name := filepath.Join(t.TempDir(), "large.vhd")
	img.WriteFile(t, name)
	d, err := vhd.Open(name, nil)
	require.NoError(t, err)
	defer d.Close()
	n, err := d.Chain()[0].AllocatedBlocks()
	require.NoError(t, err)
	require.Equal(t, 3, n)
	for _, b := range img.Blocks {
		p := make([]byte, 2<<20)
		_, err := d.ReadAt(p, int64(b.Index)<<21)
		require.NoError(t, err)
		requireContent(t, b.Data, p)
	}
	p := make([]byte, 1<<20)
	_, err = d.ReadAt(p, 1<<40-1<<20)
	require.NoError(t, err)
	requireContent(t, make([]byte, 1<<20), p)
}

// A guest that writes some of its sectors and not others writes what it likes into a bitmap, right behind the table.
func TestABitmapThatReadsLikeXensBatmapIsABitmap(t *testing.T) {
	base := vhdtest.NewFixed(2<<20, fill(1, 2<<20))
	child := vhdtest.NewChild(base, "base.vhd", vhdtest.Block{Index: 0, Data: fill(2, 2<<20), Bitmap: []byte("tdbatmap")})
	file := child.Build(t)
	require.Equal(t, "tdbatmap", string(file[int64(vhdtest.Entry(t, file, 0))*512:][:8]))
	want := child.Content(t, base.Data)

	mem := inMemory(t, file)
	require.NoError(t, mem.WriteFile("base.vhd", base.Build(t)))
	d, err := vhd.Open("disk.vhd", &vhd.Options{FS: mem, Writable: true})
	require.NoError(t, err)
	_, err = d.WriteAt(fill(3, 512), 1<<20)
	require.NoError(t, err)
	require.NoError(t, d.Close())
	copy(want[1<<20:], fill(3, 512))
	requireContent(t, want, contentOf(t, openAll(t, fileOf(t, mem), base.Build(t))))
}

// A disk that was shrunk leaves blocks behind its end. They are nobody's to read, and still have their place: two entries
// that name the same bytes make a file that others refuse.
func TestAWriterKeepsAwayFromBlocksBehindTheDisksEnd(t *testing.T) {
	img := vhdtest.NewDynamic(4*4096, vhdtest.Block{Index: 1, Data: fill(1, 4096)}, vhdtest.Block{Index: 6, Data: fill(2, 4096)})
	img.BlockSize, img.MaxEntries = 4096, 8
	file := img.Build(t)
	after := rewritten(t, inMemory(t, file), func(d *vhd.Disk) {
		for _, off := range []int64{0, 2 * 4096, 3 * 4096} {
			_, err := d.WriteAt(fill(9, 4096), off)
			require.NoError(t, err)
		}
	})
	off := int64(vhdtest.Entry(t, after, 6)) * 512
	require.Equal(t, int64(vhdtest.Entry(t, file, 6))*512, off)
	require.LessOrEqual(t, off+512+4096+512, int64(len(after)))
	requireContent(t, fill(2, 4096), after[off+512:][:4096])
}
