package vhd_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// A disk that grew has its table behind its blocks, and a child whose parent moved to a longer path has that there. The
// file of a compacted one is as long as if they never had been, but for what is less than a block.
func TestCompactBringsHomeWhatStandsAmongTheBlocks(t *testing.T) {
	for _, blockSize := range []int64{512, 4 << 10, 64 << 10} {
		for _, kept := range []int{0, 1, 5} {
			t.Run(fmt.Sprintf("blocks of %d, %d stay", blockSize, kept), func(t *testing.T) {
				name, content := grownAndMoved(t, blockSize, 400, kept)
				_, after := compact(t, name)
				slot := 512 + blockSize
				if blockSize >= 4096 {
					slot = 4096 + blockSize
				}
				require.LessOrEqual(t, int64(len(after)), 12<<10+int64(kept+1)*slot)
				requireCompact(t, name)
				requireBlocks(t, after, blockSize, content)
				requireFileReadsAs(t, name, content)
			})
		}
	}
}

// requireBlocks fails unless the whole blocks of an image over zeros hold the content.
func requireBlocks(t testing.TB, raw []byte, blockSize int64, content []byte) {
	t.Helper()
	for block := range int64(len(content)) / blockSize {
		data := make([]byte, blockSize)
		if e := vhdtest.Entry(t, raw, int(block)); e != vhdtest.Unallocated {
			copy(data, raw[int64(e)*512+512:])
		}
		require.True(t, bytes.Equal(content[block*blockSize:(block+1)*blockSize], data), "block %d", block)
	}
}

// grownAndMoved is a child that has outgrown its table, with nblocks by now, and whose parent has moved to a path that
// does not fit, and blocks on both sides of that, of which so many are not zeros.
func grownAndMoved(t testing.TB, blockSize, nblocks int64, kept int) (name string, content []byte) {
	t.Helper()
	dir := t.TempDir()
	name, base := filepath.Join(dir, "leaf.vhd"), filepath.Join(dir, "base.vhd")
	require.NoError(t, createAndFill(base, vhd.CreateOptions{Size: 128 * blockSize, BlockSize: 4096}, func(*vhd.Disk) error { return nil }))
	disk, err := vhd.Create(name, vhd.CreateOptions{Options: vhd.Options{Root: dir}, Parent: base, BlockSize: blockSize})
	require.NoError(t, err)
	content = make([]byte, nblocks*blockSize)
	write := func(block int64) {
		p := content[block*blockSize : (block+1)*blockSize]
		copy(p, bytes.Repeat([]byte{byte(block + 1)}, len(p)))
		_, err := disk.WriteAt(p, block*blockSize)
		require.NoError(t, err)
	}
	for block := range int64(8) {
		write(block)
	}
	require.NoError(t, disk.Resize(t.Context(), nblocks*blockSize, vhd.ResizeOptions{}))
	deep := filepath.Join(dir, strings.Repeat("d", 200), strings.Repeat("e", 200), "base.vhd")
	require.NoError(t, os.MkdirAll(filepath.Dir(deep), 0o755))
	require.NoError(t, os.Rename(base, deep))
	require.NoError(t, disk.Rebase(deep, vhd.RebaseOptions{}))
	for block := range int64(8) {
		write(100 + block)
	}
	for i := int64(kept); i < 16; i++ {
		at := (i%8 + i/8*100) * blockSize
		clear(content[at : at+blockSize])
		require.NoError(t, disk.WriteZeroes(at, blockSize))
	}
	require.NoError(t, disk.Close())
	return name, content
}

// The block that makes room for the table goes behind the other one, and leaves a gap in which neither fits.
func TestWhatStandsAmongTheBlocksStaysWhereTheFileWouldBeLongerWithoutIt(t *testing.T) {
	img := vhdtest.NewDynamic(32<<10, vhdtest.Block{Index: 0, Data: plain('a', 16<<10), Off: 1536}, vhdtest.Block{Index: 1, Data: plain('b', 16<<10), Off: 18944})
	img.BlockSize, img.BATOff, img.EndAlign = 16<<10, 18432, 4096
	name := filepath.Join(t.TempDir(), "x.vhd")
	img.WriteFile(t, name)
	before, after := compact(t, name)
	require.Equal(t, before, after)
	requireCompact(t, name)
}

// What is free behind the last block takes the one that makes room, instead of the file growing.
func TestABlockThatMakesRoomGoesWhereADroppedOneWas(t *testing.T) {
	img := vhdtest.NewDynamic(6<<10, vhdtest.Block{Index: 0, Data: plain('a', 2048), Off: 3072},
		vhdtest.Block{Index: 1, Data: plain('b', 2048), Off: 6144}, vhdtest.Block{Index: 2, Data: make([]byte, 2048), Off: 8704})
	img.BlockSize, img.BATOff = 2048, 5632
	name := filepath.Join(t.TempDir(), "x.vhd")
	img.WriteFile(t, name)
	before, after := compact(t, name)
	require.Len(t, after, len(before), "a footer behind the two would end where this one does")
	requireCompact(t, name)
}

// After every crash the disk reads as before. A larger table comes home to where blocks are.
func TestEveryCrashOfAHomecomingLeavesTheDisk(t *testing.T) {
	for _, c := range []struct {
		nblocks int64
		kept    int
	}{{400, 1}, {400, 5}, {400, 11}, {2400, 11}} {
		t.Run(fmt.Sprintf("%d of %d blocks stay", c.kept, c.nblocks), func(t *testing.T) {
			t.Parallel()
			name, content := grownAndMoved(t, 512, c.nblocks, c.kept)
			files := vhdtest.NewMemFS()
			for _, at := range []string{"leaf.vhd", strings.Repeat("d", 200) + "/" + strings.Repeat("e", 200) + "/base.vhd"} {
				raw, err := os.ReadFile(filepath.Join(filepath.Dir(name), at))
				require.NoError(t, err)
				require.NoError(t, files.WriteFile(at, raw))
			}
			look := func(state *vhdtest.MemFS) error { return mustReadAs(state, "leaf.vhd", "", content) }
			work := func(fsys vhd.FS) error {
				disk, err := vhd.Open("leaf.vhd", &vhd.Options{FS: fsys, Writable: true})
				if err != nil {
					return err
				}
				return errors.Join(disk.Compact(t.Context(), vhd.CompactOptions{}), disk.Close())
			}
			whole := files.Clone()
			require.NoError(t, work(whole))
			home := tableOf(t, whole)
			require.Less(t, home, tableOf(t, files), "nothing came home")
			inPlace := int64(vhdtest.Entry(t, mustReadFile(t, files, "leaf.vhd"), 0))*512 < home+c.nblocks*4
			require.Equal(t, c.nblocks > 400, inPlace, "whether a block was there")
			crashEverywhere(t, files, false, work, look)
			if !inPlace { // blocks that have to go elsewhere make the file grow: what can't grow by much grows by less, untold
				failEverywhere(t, files, false, work, look)
			}
		})
	}
}

// A change of the header that was interrupted leaves it behind the blocks.
func TestCompactBringsTheHeaderHome(t *testing.T) {
	for _, kept := range []int{0, 1, 3} {
		for _, at := range []string{"home", "end", "end, with a block at home"} {
			t.Run(fmt.Sprintf("%d blocks stay, the header is at the %s", kept, at), func(t *testing.T) {
				img := compactDisk(make([]byte, 40)...)
				for i := range kept {
					img.Blocks[39-i].Data = plain('a', compactBlock)
				}
				img.BATOff = 2048
				if at != "home" {
					img.HeaderOff = 4096 + 42*compactSlot
				}
				if at == "end, with a block at home" {
					img.BATOff = 80 << 10
					img.Blocks[0].Off, img.Blocks[0].Align, img.Blocks[0].Data = 512, 0, plain('b', compactBlock)
					img.Blocks[1].Off = 96<<10 - 512
				}
				name := filepath.Join(t.TempDir(), "x.vhd")
				img.WriteFile(t, name)
				_, after := compact(t, name)
				require.EqualValues(t, 512, binary.BigEndian.Uint64(after[16:]))
				require.LessOrEqual(t, len(after), 16<<10+(kept+1)*compactSlot)
				requireFileReadsAs(t, name, img.Content(t, nil))
				requireCompact(t, name)
			})
		}
	}
}

func TestEveryCrashWhileTheHeaderComesHomeLeavesTheDisk(t *testing.T) {
	img := vhdtest.NewDynamic(8<<10, blockOf(0, 1), blockOf(1, 0), blockOf(2, 2), blockOf(3, 3))
	img.BlockSize, img.BATOff, img.HeaderOff = resizedBlock, 2048, 16<<10
	img.Blocks[0].Off = 2560
	files := inMemory(t, img.Build(t))
	require.NoError(t, files.Rename("disk.vhd", leafName))
	look := func(state *vhdtest.MemFS) error { return mustReadAs(state, leafName, "", img.Content(t, nil)) }
	work := func(fsys vhd.FS) error {
		disk, err := vhd.Open(leafName, &vhd.Options{FS: fsys, Writable: true})
		if err != nil {
			return err
		}
		return errors.Join(disk.Compact(t.Context(), vhd.CompactOptions{}), disk.Close())
	}
	crashEverywhere(t, files, false, work, look)
	failEverywhere(t, files, false, work, look)
	require.NoError(t, work(files))
	require.Less(t, len(mustReadFile(t, files, leafName)), 10<<10)
	require.EqualValues(t, 512, binary.BigEndian.Uint64(mustReadFile(t, files, leafName)[16:]))
}

// tableOf is where the BAT of leaf.vhd is.
func tableOf(t testing.TB, files *vhdtest.MemFS) int64 {
	t.Helper()
	return int64(binary.BigEndian.Uint64(vhdtest.Header(t, mustReadFile(t, files, "leaf.vhd"))[16:]))
}
