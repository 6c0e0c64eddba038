package vhd_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// highestBlock is the last place in a file that an entry of the table can name.
const highestBlock = (int64(vhdtest.Unallocated) - 1) * vhd.SectorSize

// tableAt is an FS with an empty disk whose table is at off, so that its blocks
// come behind.
func tableAt(t testing.TB, off, block, nblocks int64) *vhdtest.MemFS {
	t.Helper()
	img := vhdtest.NewDynamic(nblocks * block)
	img.BlockSize = block
	raw := img.Build(t)
	vhdtest.EditHeader(t, raw, func(header []byte) { binary.BigEndian.PutUint64(header[16:], uint64(off)) })
	mem := vhdtest.NewMemFS()
	putApart(t, mem, raw, vhd.SectorSize+vhdtest.HeaderSize, off)
	return mem
}

// fillUp writes to block after block until one finds no place, and returns how
// many did, and what the disk reads as.
func fillUp(t testing.TB, mem *vhdtest.MemFS, block, nblocks int64) (n int64, want []byte) {
	t.Helper()
	want = make([]byte, nblocks*block)
	disk, err := vhd.Open(rigName, &vhd.Options{FS: mem, Writable: true})
	require.NoError(t, err)
	for ; n < nblocks; n++ {
		p := bytes.Repeat([]byte{byte(n) + 1}, int(block)-100)
		if _, err := disk.WriteAt(p, n*block+50); err != nil {
			require.ErrorIs(t, err, vhd.ErrUnsupported)
			break
		}
		copy(want[n*block+50:], p)
	}
	for index := n; index < nblocks; index++ { // it stays so
		_, err := disk.WriteAt([]byte{1}, index*block)
		require.ErrorIs(t, err, vhd.ErrUnsupported)
	}
	requireSameBytes(t, want, readAll(t, disk, disk.Size()), 0)
	require.NoError(t, disk.Sync())
	require.NoError(t, disk.Close())
	return n, want
}

// Entries of the table count sectors in 32 bits, of which the last stands for
// no block.
func TestABlockNearTwoTiBIsWrittenAndReadBackOrRefused(t *testing.T) {
	for _, c := range []struct{ block, nblocks, step int64 }{
		{512, 40, 512}, {1024, 40, 512}, {4096, 24, 512}, {64 << 10, 4, 4096}, {2 << 20, 3, 512 << 10},
	} {
		t.Run(fmt.Sprintf("blocks of %d", c.block), func(t *testing.T) {
			seen := map[int64]bool{}
			for off := highestBlock - c.nblocks*(c.block+2048); off <= highestBlock+3*4096; off += c.step {
				mem := tableAt(t, off, c.block, c.nblocks)
				n, want := fillUp(t, mem, c.block, c.nblocks)
				seen[n] = true
				for _, writable := range []bool{false, true} {
					disk, err := vhd.Open(rigName, &vhd.Options{FS: mem, Writable: writable})
					require.NoError(t, err)
					require.False(t, disk.Chain()[0].NeedsRecovery())
					requireSameBytes(t, want, readAll(t, disk, disk.Size()), 0)
					allocated, err := disk.Chain()[0].AllocatedBlocks()
					require.NoError(t, err)
					require.EqualValues(t, n, allocated)
					require.NoError(t, disk.Close())
				}
			}
			require.Greater(t, len(seen), 2, "some found more room than others")
		})
	}
}

// The block at the last place of all is one like others.
func TestTheHighestPlaceOfAllHoldsABlock(t *testing.T) {
	const block = 512
	mem := tableAt(t, highestBlock-vhd.SectorSize, block, 3)
	n, _ := fillUp(t, mem, block, 3)
	require.EqualValues(t, 1, n)
	disk, err := vhd.Open(rigName, &vhd.Options{FS: mem})
	require.NoError(t, err)
	for e, err := range disk.FileExtents(0, 1) {
		require.NoError(t, err)
		require.Equal(t, highestBlock+vhd.SectorSize, e.FileOffset)
	}
	require.NoError(t, disk.Close())
}
