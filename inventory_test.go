package vhd_test

import (
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// A disk that was made smaller has entries behind its end. If none is in use in
// front of it, no block is the file's last, and that is found out once.
func TestEntriesBehindTheEndThatAreCutOffAreReadOnce(t *testing.T) {
	const nentries, block = 64 << 10, 4096
	img := vhdtest.NewDynamic(nentries / 2 * block)
	img.BlockSize, img.MaxEntries, img.Slack = block, nentries, block
	raw := img.Build(t)
	for index := nentries / 2; index < nentries; index++ { // all at one place, whose end the file lacks
		vhdtest.EditEntry(t, raw, index, uint32((len(raw)-1536)/vhd.SectorSize))
	}
	mem := inMemory(t, raw)
	calls := vhdtest.NewRecordFS(mem)
	disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: calls, Writable: true})
	require.NoError(t, err)
	require.Less(t, calls.Count(vhdtest.OpRead), 30)
	require.NoError(t, disk.Close())
}

// putApart makes a sparse file: what an image has from the byte cut on is at off.
func putApart(t testing.TB, mem *vhdtest.MemFS, image []byte, cut, off int64) {
	t.Helper()
	f, err := mem.OpenFile(rigName, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	require.NoError(t, err)
	for _, piece := range []struct {
		p   []byte
		off int64
	}{{image[:cut], 0}, {image[cut:], off}} {
		_, err = f.WriteAt(piece.p, piece.off)
		require.NoError(t, err)
	}
	require.NoError(t, f.Close())
}

// smallDiskInALargeFile is an FS with a disk of 2,048 blocks of 512 bytes, whose
// first is behind 16 GiB of nothing.
func smallDiskInALargeFile(t testing.TB) *vhdtest.MemFS {
	t.Helper()
	img := vhdtest.NewDynamic(1<<20, vhdtest.Block{Index: 0, Data: []byte("far away")})
	img.BlockSize = 512
	raw := img.Build(t)
	cut := int64(vhdtest.Entry(t, raw, 0)) * vhd.SectorSize
	vhdtest.EditEntry(t, raw, 0, 16<<30/vhd.SectorSize)
	mem := vhdtest.NewMemFS()
	putApart(t, mem, raw, cut, 16<<30)
	return mem
}

// Of a large hole in the file as many places are taken note of as the disk has
// blocks, and no more.
func TestFreeSpaceCostsNoMoreMemoryThanTheDiskNeeds(t *testing.T) {
	mem := smallDiskInALargeFile(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	disk, err := vhd.Open(rigName, &vhd.Options{FS: mem, Writable: true})
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16<<20))

	size := disk.Chain()[0].FileSize()
	want := fill(3, 1<<20)
	_, err = disk.WriteAt(want, 0)
	require.NoError(t, err)
	require.Equal(t, size, disk.Chain()[0].FileSize(), "all blocks found room in front")
	require.NoError(t, disk.Close())
	disk, err = vhd.Open(rigName, &vhd.Options{FS: mem})
	require.NoError(t, err)
	requireSameBytes(t, want, readAll(t, disk, 1<<20), 0)
	require.NoError(t, disk.Close())
}

// Blocks behind the disk's end may be what a larger disk held: nobody reads
// them, and new blocks go around them, however they lie.
func TestNewBlocksGoAroundThoseBehindTheEnd(t *testing.T) {
	// Over and over, slots of the file hold a block of the disk, one behind its
	// end, or none.
	for _, pattern := range []string{"db", "bd", "bd-", "-db", "d--b-", "dddbbb---", "b-", "b", "d-"} {
		t.Run(pattern, func(t *testing.T) {
			const nslots, slot, block = 9 * 1000, 1024, 512
			slots := strings.Repeat(pattern, nslots/len(pattern))
			nblocks, nbehind := strings.Count(slots, "d")+strings.Count(slots, "-")+50, strings.Count(slots, "b")
			img := vhdtest.NewDynamic(int64(nblocks) * block)
			img.BlockSize, img.MaxEntries, img.Slack, img.SlackByte = block, int64(nblocks+nbehind), nslots*slot, 0xFF
			raw := img.Build(t)
			first := len(raw) - vhdtest.FooterSize - nslots*slot
			inUse, behind := rand.New(rand.NewPCG(1, 2)).Perm(nblocks), nblocks
			var spared []int // offsets of the blocks behind the end
			for i, what := range slots {
				off := first + i*slot
				switch what {
				case 'd':
					vhdtest.EditEntry(t, raw, inUse[0], uint32(off/vhd.SectorSize))
					inUse = inUse[1:]
				case 'b':
					vhdtest.EditEntry(t, raw, behind, uint32(off/vhd.SectorSize))
					behind++
					spared = append(spared, off)
				}
			}
			mem := inMemory(t, raw)
			disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: mem, Writable: true})
			require.NoError(t, err)
			want := fill(2, disk.Size())
			_, err = disk.WriteAt(want, 0)
			require.NoError(t, err)
			require.NoError(t, disk.Close())

			after := fileOf(t, mem)
			for _, off := range spared {
				require.Equal(t, raw[off:off+slot], after[off:off+slot])
			}
			requireSameBytes(t, want, contentOf(t, openFile(t, after)), 0)
			if strings.Contains(pattern, "d") {
				require.LessOrEqual(t, len(after), len(raw)+(50+16)*slot+4096, "free slots were taken first")
			}
		})
	}
}
