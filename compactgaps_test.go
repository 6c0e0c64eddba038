package vhd_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// spreadOut is the file of an image with a gap of a block's data in front of each block: too small for one, since that
// has a bitmap too, of one sector here.
func spreadOut(file []byte) []byte {
	table := file[binary.BigEndian.Uint64(file[512+16:]):][:4*binary.BigEndian.Uint32(file[512+28:])]
	blockSize := int(binary.BigEndian.Uint32(file[512+32:]))
	var entries []int // of blocks, in the order of the file
	for at := 0; at < len(table); at += 4 {
		if binary.BigEndian.Uint32(table[at:]) != vhdtest.Unallocated {
			entries = append(entries, at)
		}
	}
	sectorOf := func(at int) int { return int(binary.BigEndian.Uint32(table[at:])) }
	slices.SortFunc(entries, func(a, b int) int { return sectorOf(a) - sectorOf(b) })
	spread := slices.Clone(file[:sectorOf(entries[0])*512])
	tableOff := int(binary.BigEndian.Uint64(file[512+16:]))
	for i, at := range entries {
		off := sectorOf(at)*512 + (i+1)*blockSize
		spread = append(spread, make([]byte, off-len(spread))...)
		spread = append(spread, file[sectorOf(at)*512:][:512+blockSize]...)
		binary.BigEndian.PutUint32(spread[tableOff+at:], uint32(off/512))
	}
	spread = append(spread, make([]byte, (4096-(len(spread)+512)%4096)%4096)...)
	return append(spread, file[len(file)-512:]...)
}

// apartDisk is a dynamic disk of so many blocks with such a gap in front of each.
func apartDisk(t testing.TB, nblocks int, blockSize, align int64) (file, content []byte) {
	t.Helper()
	img := vhdtest.NewDynamic(int64(nblocks) * blockSize)
	img.BlockSize, img.EndAlign = blockSize, align
	for i := range nblocks {
		img.Blocks = append(img.Blocks, vhdtest.Block{Index: (i * 11) % nblocks, Data: plain(byte(i%251+1), int(blockSize)), Align: align})
	}
	return spreadOut(img.Build(t)), img.Content(t, nil)
}

func leaksOf(t testing.TB, name string) []string {
	t.Helper()
	report, err := vhd.Check(t.Context(), name, vhd.CheckOptions{})
	require.NoError(t, err)
	return codesOf(report, vhd.SeverityLeak)
}

func TestCompactClosesGapsThatAreTooSmallForABlock(t *testing.T) {
	for _, c := range []struct {
		nblocks                int
		blockSize, align, slot int64
	}{
		{3, 4096, 4096, 8192}, {3, 64 << 10, 4096, 68 << 10}, {75, 64 << 10, 4096, 68 << 10},
		{5, 64 << 10, 0, 64<<10 + 512}, {75, 8192, 0, 8192 + 512}, {300, 512, 0, 1024}, {300, 2048, 512, 2560},
	} {
		t.Run(fmt.Sprintf("%d blocks of %d, aligned to %d", c.nblocks, c.blockSize, c.align), func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "x.vhd")
			file, content := apartDisk(t, c.nblocks, c.blockSize, c.align)
			require.NoError(t, os.WriteFile(name, file, 0o600))
			require.Equal(t, []string{"small-gaps"}, leaksOf(t, name))
			_, after := compact(t, name)
			front := int64(vhdtest.Entry(t, after, 0)) * 512
			for i := range c.nblocks {
				front = min(front, int64(vhdtest.Entry(t, after, i))*512)
			}
			require.LessOrEqual(t, front, int64(2048+4*c.nblocks+8192))
			require.LessOrEqual(t, int64(len(after)), front+int64(c.nblocks)*c.slot+4096)
			for i := range c.nblocks {
				off := int64(vhdtest.Entry(t, after, i)) * 512
				require.Zero(t, (off-front)%c.slot)
				require.True(t, c.align == 0 || (off+512)%c.align == 0, "the data of block %d is not aligned any more", i)
			}
			requireFileReadsAs(t, name, content)
			if c.blockSize >= 4096 { // others don't read smaller ones
				requireSameBytes(t, content, vhdtest.Qemu.Content(t, name), 0)
			}
			requireCompact(t, name)
		})
	}
}

func TestCompactOfAChildClosesSmallGapsAndKeepsItsHoles(t *testing.T) {
	base := compactDisk('p', 'q', 'r', 's')
	blocks := blocksOf('a', 'b', 'c', 'd')
	for i := range blocks {
		blocks[i].Gap, blocks[i].Bitmap = 60<<10, vhdtest.Bitmap(compactBlock/512, func(sector int) bool { return sector%3 > 0 })
	}
	leaf := compactChild(base, blocks...)
	name := writeChain(t, base, leaf)
	_, after := compact(t, name)
	require.LessOrEqual(t, len(after), 12<<10+4*compactSlot)
	require.Equal(t, leaf.Content(t, base.Content(t, nil)), vhdtest.SevenZip.Content(t, name))
	requireCompact(t, name)
}

// requireNothingToGain requires that a check tells of no space that is lost, and that a compaction changes nothing.
func requireNothingToGain(t *testing.T, img *vhdtest.Image) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "x.vhd")
	img.WriteFile(t, name)
	require.Empty(t, leaksOf(t, name))
	before, after := compact(t, name)
	require.Equal(t, before, after)
}

// What is less than a block is not worth moving all blocks, nor is the page that is free in front of the first one.
func TestCompactLeavesGapsThatTakeLessThanABlockTogether(t *testing.T) {
	img := compactDisk('a', 'b', 'c', 'd')
	for i := 1; i < 4; i++ {
		img.Blocks[i].Gap = 16 << 10
	}
	requireNothingToGain(t, img)
}

// Nobody moves a block behind the disk's end: what is free in front of it can be too little for a block for good.
func TestSmallGapsInFrontOfWhatStaysAreNeitherClosedNorTold(t *testing.T) {
	img := compactDisk('a', 'b', 'c', 'd', 'e')
	img.Size, img.MaxEntries = 3*compactBlock, 5
	for i := range img.Blocks {
		img.Blocks[i].Gap = 20 << 10
	}
	img.Blocks = []vhdtest.Block{img.Blocks[0], img.Blocks[3], img.Blocks[1], img.Blocks[4], img.Blocks[2]}
	requireNothingToGain(t, img)
}

// Blocks slide by way of the file's end. Where there is no room the gaps stay, and that is told.
func TestSmallGapsStayWhereThereIsNoRoomToCloseThem(t *testing.T) {
	for _, room := range []int64{0, 100} {
		for _, tells := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d bytes are free, the file system tells: %v", room, tells), func(t *testing.T) {
				file, content := apartDisk(t, 75, 64<<10, 4096)
				mem := inMemory(t, file)
				faults := vhdtest.NewFaultFS(mem)
				faults.Arm(fullAt(int64(len(file)) + room))
				free := int64(math.MaxInt64)
				if tells {
					free = room
				}
				disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: spaceFS{faults, free}, Writable: true})
				require.NoError(t, err)
				foretold, err := disk.CompactSize(t.Context(), vhd.CompactOptions{})
				require.NoError(t, err)
				err = disk.Compact(t.Context(), vhd.CompactOptions{})
				if tells {
					require.ErrorIs(t, err, vhd.ErrNoSpace)
					require.Zero(t, faults.Fired())
					require.Len(t, file, int(foretold))
				} else {
					require.ErrorIs(t, err, syscall.ENOSPC)
				}
				require.Equal(t, file, fileOf(t, mem), "it is what it was")
				requireSameBytes(t, content, readAll(t, disk, disk.Size()), 0)
				require.NoError(t, disk.Close())
				disk, err = vhd.Open("disk.vhd", &vhd.Options{FS: mem, Writable: true})
				require.NoError(t, err)
				require.NoError(t, disk.Compact(t.Context(), vhd.CompactOptions{}))
				requireSameBytes(t, content, readAll(t, disk, disk.Size()), 0)
				require.NoError(t, disk.Close())
				require.Less(t, len(fileOf(t, mem)), 75*68<<10+16<<10)
			})
		}
	}
}

// The file grows by one block in sixteen while gaps are closed, if there are so many, and by 64 MiB at the most.
func TestTheFileGrowsByLittleWhileGapsAreClosed(t *testing.T) {
	for nblocks, run := range map[int]int64{3: 1, 75: 4} {
		file, _ := apartDisk(t, nblocks, 64<<10, 4096)
		mem := inMemory(t, file)
		faults := vhdtest.NewFaultFS(mem)
		faults.Arm(fullAt(int64(len(file)) + run*68<<10))
		disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: faults, Writable: true})
		require.NoError(t, err)
		require.NoError(t, disk.Compact(t.Context(), vhd.CompactOptions{}))
		require.NoError(t, disk.Close())
		require.Zero(t, faults.Fired())
		require.Less(t, len(fileOf(t, mem)), nblocks*68<<10+16<<10)
	}
}

func TestEveryCrashWhileGapsAreClosedLeavesTheDisk(t *testing.T) {
	for _, nblocks := range []int{2, 3, 35} {
		t.Run(fmt.Sprintf("%d blocks", nblocks), func(t *testing.T) {
			t.Parallel()
			file, content := apartDisk(t, nblocks, 512, 0)
			files := inMemory(t, file)
			look := func(state *vhdtest.MemFS) error { return mustReadAs(state, "disk.vhd", "", content) }
			work := func(fsys vhd.FS) error {
				disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: fsys, Writable: true})
				if err != nil {
					return err
				}
				return errors.Join(disk.Compact(t.Context(), vhd.CompactOptions{}), disk.Close())
			}
			crashEverywhere(t, files, false, work, look)
			if nblocks < 32 { // else more than one block goes to the end at once: see TestEveryCrashOfAHomecomingLeavesTheDisk
				failEverywhere(t, files, false, work, look)
			}
			require.NoError(t, work(files))
			require.Less(t, len(fileOf(t, files)), 2048+nblocks*1024+8192)
		})
	}
}
