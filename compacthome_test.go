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

// tableOf is where the BAT of leaf.vhd is.
func tableOf(t testing.TB, files *vhdtest.MemFS) int64 {
	t.Helper()
	return int64(binary.BigEndian.Uint64(vhdtest.Header(t, mustReadFile(t, files, "leaf.vhd"))[16:]))
}
