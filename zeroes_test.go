package vhd_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

func allocatedBlocks(t testing.TB, d *vhd.Disk) int {
	t.Helper()
	n, err := d.Chain()[0].AllocatedBlocks()
	require.NoError(t, err)
	return n
}

func TestWriteZeroesGivesSpaceBack(t *testing.T) {
	r := newRig(t, vhd.CreateOptions{})
	r.write(t, bytes.Repeat([]byte("x"), 1<<20), 0)
	require.NoError(t, r.disk.Sync())
	require.Equal(t, 16, allocatedBlocks(t, r.disk))

	require.NoError(t, r.disk.WriteZeroes(4<<16, 8<<16))
	require.NoError(t, r.disk.Sync())
	require.Equal(t, 8, allocatedBlocks(t, r.disk))

	require.NoError(t, r.disk.WriteZeroes(0, 1<<20))
	require.NoError(t, r.disk.Close())
	require.LessOrEqual(t, len(mustReadFile(t, r.mem, rigName)), 8192, "as it was when it was new")
	r.open(t)
	require.Zero(t, allocatedBlocks(t, r.disk))
	require.Equal(t, make([]byte, 1<<20), readAll(t, r.disk, 1<<20))
}

func TestSpaceGivenBackInTheMiddleIsUsedAgainByALaterWriter(t *testing.T) {
	r := newRig(t, vhd.CreateOptions{})
	want := bytes.Repeat([]byte("x"), 1<<20)
	r.write(t, want, 0)
	require.NoError(t, r.disk.WriteZeroes(0, 4<<16))
	clear(want[:4<<16])
	r.reopen(t)
	size := r.disk.Chain()[0].FileSize()
	for block := range int64(4) {
		r.write(t, []byte("again"), block<<16)
		copy(want[block<<16:], "again")
	}
	r.reopen(t)
	require.Equal(t, size, r.disk.Chain()[0].FileSize())
	requireSameBytes(t, want, readAll(t, r.disk, 1<<20), 0)
}

func TestWriteZeroesGivesARealFilesSpaceBack(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk.vhd")
	disk, err := vhd.Create(name, vhd.CreateOptions{Size: 64 << 20})
	require.NoError(t, err)
	p := bytes.Repeat([]byte("x"), 64<<20)
	_, err = disk.WriteAt(p, 0)
	require.NoError(t, err)
	require.NoError(t, disk.WriteZeroes(2<<20, 62<<20))
	require.NoError(t, disk.Close())
	info, err := os.Stat(name)
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(3<<20))
	disk, err = vhd.Open(name, nil)
	require.NoError(t, err)
	clear(p[2<<20:])
	requireSameBytes(t, p, readAll(t, disk, 64<<20), 0)
	require.NoError(t, disk.Close())
}

func TestWriteZeroesOfWhatIsZeroWritesNothing(t *testing.T) {
	r := newRig(t, vhd.CreateOptions{})
	require.NoError(t, r.disk.WriteZeroes(0, 1<<20))
	require.NoError(t, r.disk.WriteZeroes(777, 100<<10))
	require.Empty(t, r.changes())

	require.NoError(t, r.disk.Close())
	require.NoError(t, r.mem.Rename(rigName, "parent.vhd"))
	child := createRig(t, r.mem, r.rec, vhd.CreateOptions{Parent: "parent.vhd", Size: 2 << 20})
	require.NoError(t, child.disk.WriteZeroes(0, 2<<20))
	require.Equal(t, "[sync]", fmt.Sprint(child.changes()), "nothing below shows through, and the parent's zeros are durable")
	require.NoError(t, child.disk.WriteZeroes(0, 2<<20))
	require.Empty(t, child.changes(), "that is known by now")
}

// What bits deny is not there, but for those who ignore bitmaps (W10).
func TestW10WriteZeroesOverWhatClearBitsHide(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk.vhd")
	img := compactDisk('g', 'h')
	img.Blocks[0].Bitmap = make([]byte, compactBlock/512/8)
	img.WriteFile(t, name)
	disk, err := vhd.Open(name, &vhd.Options{Writable: true})
	require.NoError(t, err)
	require.NoError(t, disk.WriteZeroes(1000, 10_000))
	requireSameBytes(t, img.Content(t, nil), readAll(t, disk, disk.Size()), 0)
	require.NoError(t, disk.Close())
	require.True(t, isZeros(vhdtest.Qemu.Content(t, name)[1000:11_000]))
	requireFileReadsAs(t, name, img.Content(t, nil))
}

// Skipping zeros shows the parent's bytes again (W8).
func TestW8ZeroesOverAParentsDataStayZeroes(t *testing.T) {
	for name, span := range map[string][2]int64{
		"within a sector": {700, 40}, "sectors": {512, 4096}, "unaligned": {100, 70001},
		"a block": {1 << 16, 1 << 16}, "blocks": {2 << 16, 5 << 16}, "all": {0, 1 << 20},
	} {
		for _, written := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, child written %v", name, written), func(t *testing.T) {
				r := newChildRig(t, vhd.CreateOptions{})
				want := bytes.Repeat([]byte("p"), 1<<20)
				if written {
					r.write(t, bytes.Repeat([]byte("c"), 300<<10), 0)
					copy(want, bytes.Repeat([]byte("c"), 300<<10))
				}
				require.NoError(t, r.disk.WriteZeroes(span[0], span[1]))
				clear(want[span[0]:][:span[1]])
				requireSameBytes(t, want, readAll(t, r.disk, 1<<20), 0)
				r.reopen(t)
				requireSameBytes(t, want, readAll(t, r.disk, 1<<20), 0)
			})
		}
	}
}

// A parent's zeros that it holds show through as zeros, but it holds them: to
// give the child's block back is right only where nobody below holds anything.
func TestAChildsBlockIsGivenBackWhereNothingBelowShowsThrough(t *testing.T) {
	r := newRig(t, vhd.CreateOptions{})
	r.write(t, bytes.Repeat([]byte("p"), 1<<16), 2<<16)
	require.NoError(t, r.disk.Close())
	require.NoError(t, r.mem.Rename(rigName, "parent.vhd"))
	child := createRig(t, r.mem, r.rec, vhd.CreateOptions{Parent: "parent.vhd", Size: 2<<20 - 512}) // past the parent's end, too
	child.write(t, bytes.Repeat([]byte("c"), 2<<20-512), 0)
	require.NoError(t, child.disk.Sync())
	require.Equal(t, 32, allocatedBlocks(t, child.disk))
	require.NoError(t, child.disk.WriteZeroes(0, 2<<20-512))
	require.NoError(t, child.disk.Sync())
	require.Equal(t, 1, allocatedBlocks(t, child.disk), "but for the one over the parent's")
	require.Equal(t, make([]byte, 2<<20-512), readAll(t, child.disk, 2<<20-512))
	child.reopen(t)
	require.Equal(t, make([]byte, 2<<20-512), readAll(t, child.disk, 2<<20-512))
}

// A block of the child that covers several of the parent's is given back only
// if none of them is there; two windows are looked at.
func TestALargeBlockIsKeptForASmallOneBelow(t *testing.T) {
	r := newRig(t, vhd.CreateOptions{Size: 16 << 20, BlockSize: 4096})
	r.write(t, []byte("p"), 8<<20-1)
	require.NoError(t, r.disk.Close())
	require.NoError(t, r.mem.Rename(rigName, "parent.vhd"))
	child := createRig(t, r.mem, r.rec, vhd.CreateOptions{Parent: "parent.vhd", Size: 16 << 20, BlockSize: 8 << 20})
	child.write(t, []byte("c"), 0)
	child.write(t, []byte("c"), 8<<20)
	require.NoError(t, child.disk.WriteZeroes(0, 16<<20))
	require.NoError(t, child.disk.Close())
	child.open(t)
	require.Equal(t, 1, allocatedBlocks(t, child.disk))
	require.Equal(t, make([]byte, 16<<20), readAll(t, child.disk, 16<<20))
}

func TestABlockThatIsFreedAndWrittenAgainBeforeASyncIsRight(t *testing.T) {
	r := newRig(t, vhd.CreateOptions{})
	r.write(t, bytes.Repeat([]byte("1"), 1<<16), 0)
	require.NoError(t, r.disk.Sync())
	want := make([]byte, 1<<20)
	for _, b := range []byte("abc") {
		require.NoError(t, r.disk.WriteZeroes(0, 1<<16))
		r.write(t, []byte{b}, int64(b))
		clear(want)
		want[b] = b
		requireSameBytes(t, want, readAll(t, r.disk, 1<<20), 0)
	}
	r.reopen(t)
	requireSameBytes(t, want, readAll(t, r.disk, 1<<20), 0)
	require.Equal(t, 1, allocatedBlocks(t, r.disk))
}

func TestZeroesInAFixedDiskAreWritten(t *testing.T) {
	r := newRig(t, vhd.CreateOptions{Type: vhd.Fixed})
	want := bytes.Repeat([]byte("x"), 1<<20)
	r.write(t, want, 0)
	require.NoError(t, r.disk.WriteZeroes(1000, 200<<10))
	clear(want[1000:][:200<<10])
	requireSameBytes(t, want, readAll(t, r.disk, 1<<20), 0)
	r.reopen(t)
	requireSameBytes(t, want, readAll(t, r.disk, 1<<20), 0)
	require.Equal(t, int64(1<<20+512), r.disk.Chain()[0].FileSize())
}

func TestSlackThatAKilledWriterLeftIsTrimmedAtTheNextClose(t *testing.T) {
	mem := vhdtest.NewMemFS()
	storage := vhdtest.NewCrashFS(mem, vhdtest.CrashOptions{})
	disk, err := vhd.Create(rigName, vhd.CreateOptions{Options: vhd.Options{FS: storage}, Size: 64 << 20, BlockSize: 64 << 10})
	require.NoError(t, err)
	_, err = disk.WriteAt([]byte("one block"), 0)
	require.NoError(t, err)
	require.NoError(t, disk.Sync())
	killed := storage.Live()
	require.NoError(t, disk.Close())

	r := &rig{mem: killed, rec: vhdtest.NewRecordFS(killed)}
	require.Greater(t, len(mustReadFile(t, killed, rigName)), 3<<20, "it kept space for growth")
	r.open(t)
	require.NoError(t, r.disk.Close())
	require.LessOrEqual(t, len(mustReadFile(t, killed, rigName)), 64<<10+16384)
	r.open(t)
	require.Equal(t, []byte("one block"), readAll(t, r.disk, 9))
}
