package vhd_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// xensImage is a sound image of Xen's: its batmap, behind the BAT, calls blocks full.
func xensImage(t testing.TB, img *vhdtest.Image, full ...int) []byte {
	t.Helper()
	img.BATOff, img.BATArea = 4096, 1536
	img.App, img.AppVersion = "tap\x00", 0x00010003
	raw := img.Build(t)
	head, bits := raw[4608:5120], raw[5120:5632]
	clear(head)
	clear(bits)
	copy(head, "tdbatmap")
	binary.BigEndian.PutUint64(head[8:], 5120)
	binary.BigEndian.PutUint32(head[16:], 1)
	binary.BigEndian.PutUint32(head[20:], 0x00010002)
	copy(head[32:], "of a key")
	for _, block := range full {
		bits[block/8] |= 0x80 >> (block % 8)
	}
	binary.BigEndian.PutUint32(head[24:], checksumOfBits(bits))
	requireBatmap(t, raw)
	return raw
}

func checksumOfBits(bits []byte) (sum uint32) {
	for _, b := range bits {
		sum += uint32(b)
	}
	return ^sum
}

// requireBatmap fails unless blktap would find a batmap in an image, with a bit for
// each block, and what it says is so.
func requireBatmap(t testing.TB, raw []byte) {
	t.Helper()
	h := vhdtest.Header(t, raw)
	table, entries, blockSize := int(binary.BigEndian.Uint64(h[16:])), int(binary.BigEndian.Uint32(h[28:])), int(binary.BigEndian.Uint32(h[32:]))
	head := raw[(table+4*entries+511)/512*512:][:512]
	require.Equal(t, "tdbatmap", string(head[:8]))
	require.LessOrEqual(t, binary.BigEndian.Uint32(head[20:]), uint32(0x00010002))
	require.Equal(t, "of a key", string(head[32:40]))
	off, size := int(binary.BigEndian.Uint64(head[8:])), int(binary.BigEndian.Uint32(head[16:]))*512
	require.GreaterOrEqual(t, size*8, entries)
	bits := raw[off : off+size]
	require.Equal(t, checksumOfBits(bits), binary.BigEndian.Uint32(head[24:]))
	for block := range entries {
		if bits[block/8]&(0x80>>(block%8)) == 0 {
			continue
		}
		entry := vhdtest.Entry(t, raw, block)
		require.NotEqual(t, vhdtest.Unallocated, entry, "block %d is full, and is not there", block)
		n := blockSize / 512 / 8
		require.Equal(t, bytes.Repeat([]byte{0xFF}, n), raw[int(entry)*512:][:n], "block %d is full, and is not", block)
	}
}

// requireNoBatmapFinding fails if a check finds anything about the batmap, or an error.
func requireNoBatmapFinding(t testing.TB, mem *vhdtest.MemFS) {
	t.Helper()
	report, err := vhd.Check(t.Context(), "disk.vhd", vhd.CheckOptions{Options: vhd.Options{FS: mem}})
	require.NoError(t, err)
	require.NotContains(t, allCodes(report), "batmap-wrong")
	require.NotContains(t, allCodes(report), "batmap-stale")
	require.Empty(t, errorsIn(report))
}

func TestXensBatmapIsRightAfterEveryOperation(t *testing.T) {
	operations := map[string]func(ctx context.Context, d *vhd.Disk) error{
		"grow by a little": func(ctx context.Context, d *vhd.Disk) error {
			return d.Resize(ctx, 1<<20+5*keptBlock, vhd.ResizeOptions{})
		},
		"grow, and shrink": func(ctx context.Context, d *vhd.Disk) error {
			for _, size := range []int64{200 << 20, 100 << 20, 1 << 20, 40 << 20} {
				if err := d.Resize(ctx, size, vhd.ResizeOptions{AllowLoss: true}); err != nil {
					return err
				}
				if err := d.WriteZeroes(0, keptBlock); err != nil {
					return err
				}
			}
			return nil
		},
	}
	for name, op := range keepingOperations {
		operations[name] = op
	}
	for name, op := range operations {
		for _, child := range []bool{false, true} {
			base := vhdtest.NewDynamic(1<<20, vhdtest.Block{Index: 0, Data: fill(1, keptBlock)})
			img := vhdtest.NewDynamic(1 << 20)
			if child {
				img = vhdtest.NewChild(base, "base.vhd")
			}
			img.BlockSize = keptBlock
			img.Blocks = []vhdtest.Block{{Index: 0, Data: fill(1, keptBlock)}, {Index: 3, Data: fill(2, keptBlock)}, {Index: 7}, {Index: 60, Data: fill(3, keptBlock)}}
			mem := inMemory(t, xensImage(t, img, 0, 3, 7, 60))
			require.NoError(t, mem.WriteFile("base.vhd", base.Build(t)))
			disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: mem, Writable: true})
			require.NoError(t, err)
			require.NoError(t, op(t.Context(), disk), name)
			require.NoError(t, disk.Close())
			t.Log(name, child)
			requireBatmap(t, fileOf(t, mem))
			requireNoBatmapFinding(t, mem)
		}
	}
}
