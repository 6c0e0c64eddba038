package vhd_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// xensImage is a sound image of Xen's: its batmap, behind the BAT, calls blocks full.
func xensImage(t testing.TB, img *vhdtest.Image, full ...int) []byte {
	t.Helper()
	img.BATOff, img.BATArea = 4096, 2048
	img.App, img.AppVersion = "tap\x00", 0x00010003
	raw := img.Build(t)
	head := raw[batmapOff(4096, int(binary.BigEndian.Uint32(vhdtest.Header(t, raw)[28:]))):][:512]
	bits := raw[5632:6144]
	clear(head)
	clear(bits)
	copy(head, "tdbatmap")
	binary.BigEndian.PutUint64(head[8:], 5632)
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

// batmapOff is where blktap looks for a batmap: behind a table of so many entries.
func batmapOff(table, entries int) int { return table + (4*entries+511)/512*512 }

// xensView is what blktap makes of an image from a header of it.
type xensView struct {
	raw                       []byte
	table, entries, blockSize int
	head                      []byte // nil: no batmap
	bits                      []byte // nil: it is not valid
}

func seenByXen(raw, header []byte) xensView {
	v := xensView{
		raw: raw, table: int(binary.BigEndian.Uint64(header[16:])),
		entries: int(binary.BigEndian.Uint32(header[28:])), blockSize: int(binary.BigEndian.Uint32(header[32:])),
	}
	if at := batmapOff(v.table, v.entries); at+512 <= len(raw) && string(raw[at:at+8]) == "tdbatmap" {
		v.head = raw[at : at+512]
	}
	if v.head == nil || binary.BigEndian.Uint32(v.head[20:]) > 0x00010002 {
		return v
	}
	off, size := int(binary.BigEndian.Uint64(v.head[8:])), int(binary.BigEndian.Uint32(v.head[16:]))*512
	if size*8 < v.entries || off+size > len(raw) || checksumOfBits(raw[off:off+size]) != binary.BigEndian.Uint32(v.head[24:]) {
		return v
	}
	v.bits = raw[off : off+size]
	return v
}

// lie is a block that a valid batmap calls full and that is not; -1 if there is none.
func (v xensView) lie() int {
	ones := bytes.Repeat([]byte{0xFF}, v.blockSize/512/8)
	for block := range min(v.entries, len(v.bits)*8) {
		if v.bits[block/8]&(0x80>>(block%8)) == 0 {
			continue
		}
		entry := int(binary.BigEndian.Uint32(v.raw[v.table+4*block:]))
		if entry*512+len(ones) > len(v.raw) || !bytes.HasPrefix(v.raw[entry*512:], ones) {
			return block
		}
	}
	return -1
}

// requireBatmap fails unless blktap would find a batmap in an image, with a bit for
// each block, and what it says is so.
func requireBatmap(t testing.TB, raw []byte) {
	t.Helper()
	v := seenByXen(raw, vhdtest.Header(t, raw))
	require.NotNil(t, v.head, "no batmap")
	require.NotNil(t, v.bits, "a batmap that is not valid")
	require.Equal(t, "of a key", string(v.head[32:40]))
	require.Equal(t, -1, v.lie(), "that block is full, and is not")
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
	maps.Copy(operations, keepingOperations)
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

// workOnXensDisk is what is done to a disk of 256 blocks while power is lost: its table
// has two sectors, or one, or more than have room where it is.
func workOnXensDisk(ctx context.Context, fsys vhd.FS) error {
	disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: fsys, Writable: true})
	if err != nil {
		return err
	}
	const block = 4096
	for _, step := range []func() error{
		func() error { return disk.Resize(ctx, 256*block, vhd.ResizeOptions{}) },
		func() error { return disk.WriteZeroes(3*block, block) },
		disk.Sync,
		func() error { return disk.Compact(ctx, vhd.CompactOptions{}) },
		func() error { return disk.Resize(ctx, 100*block, vhd.ResizeOptions{AllowLoss: true}) },
		func() error { return disk.WriteZeroes(0, 8*block) },
		func() error { return disk.Resize(ctx, 700*block, vhd.ResizeOptions{}) },
		func() error { return disk.WriteZeroes(0, 100*block) },
	} {
		if err := step(); err != nil {
			return errors.Join(err, disk.Close())
		}
	}
	return disk.Close()
}

// mustNotLie says that whichever footer is gone by, no valid batmap calls a block full
// that is not.
func mustNotLie(state *vhdtest.MemFS) error {
	raw, err := state.ReadFile("disk.vhd")
	if err != nil {
		return err
	}
	for _, footer := range [][]byte{raw[:512], raw[max(0, len(raw)-512):]} {
		if !bytes.HasPrefix(footer, []byte("conectix")) {
			continue
		}
		header := raw[binary.BigEndian.Uint64(footer[16:]):][:1024]
		if block := seenByXen(raw, header).lie(); block >= 0 {
			return fmt.Errorf("the batmap calls block %d full", block)
		}
	}
	disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: state, Writable: true})
	if err != nil {
		return err
	}
	return disk.Close()
}

func TestEveryCrashLeavesXensBatmapRightOrNotValid(t *testing.T) {
	for kind := range 4 {
		child, hasMore := kind%2 == 1, kind/2 == 1 // blocks behind its end, where it grows
		t.Run(fmt.Sprintf("child %v, more %v", child, hasMore), func(t *testing.T) {
			t.Parallel()
			base := vhdtest.NewDynamic(1<<20, vhdtest.Block{Index: 5, Data: fill(5, 4096)})
			img := vhdtest.NewDynamic(1 << 20)
			if child {
				img = vhdtest.NewChild(base, "base.vhd")
			}
			img.BlockSize, base.BlockSize = 4096, 4096
			if hasMore {
				img.Size, img.MaxEntries = 120*4096, 256
			}
			for _, index := range []int{0, 3, 5, 7, 99, 100, 130, 255} {
				img.Blocks = append(img.Blocks, vhdtest.Block{Index: index, Data: fill(byte(index), 4096)})
			}
			files := inMemory(t, xensImage(t, img, 0, 3, 5, 7, 99, 100, 130, 255))
			require.NoError(t, files.WriteFile("base.vhd", base.Build(t)))
			crashEverywhere(t, files, false, func(fsys vhd.FS) error { return workOnXensDisk(t.Context(), fsys) }, mustNotLie)
			require.NoError(t, workOnXensDisk(t.Context(), files))
			requireBatmap(t, fileOf(t, files))
		})
	}
}

// A disk that becomes larger takes space for zeros over what its parent has there. What
// its table and batmap leave is not taken before the new size counts.
func TestXensBatmapIsThereWhileADiskGrows(t *testing.T) {
	const block = 1024
	base := vhdtest.NewDynamic(8<<20, vhdtest.Block{Index: 7, Data: fill(7, 1<<20)})
	base.BlockSize = 1 << 20
	img := vhdtest.NewChild(base, "base.vhd", vhdtest.Block{Index: 0, Data: fill(1, block)})
	img.Size, img.BlockSize = 100*block, block
	mem := inMemory(t, xensImage(t, img, 0))
	require.NoError(t, mem.WriteFile("base.vhd", base.Build(t)))
	storage := vhdtest.NewCrashFS(mem, vhdtest.CrashOptions{})
	disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: storage, Writable: true})
	require.NoError(t, err)
	require.NoError(t, disk.Resize(t.Context(), 6<<20, vhd.ResizeOptions{}))
	_, err = disk.WriteAt(fill(2, 80*block), 0)
	require.NoError(t, err)
	require.NoError(t, disk.Sync())

	killed := func() {
		raw, err := storage.Live().ReadFile("disk.vhd")
		require.NoError(t, err)
		requireBatmap(t, raw)
	}
	storage.OnOp = func(op vhdtest.Op) {
		if op.Kind == vhdtest.OpSync {
			killed()
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = disk.Resize(ctx, 8<<20, vhd.ResizeOptions{Progress: func(done, _ int64) {
		if done > 3<<19 {
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	killed()
	require.NoError(t, disk.Resize(t.Context(), 8<<20, vhd.ResizeOptions{}))
	require.NoError(t, disk.Close())
	killed()
}

// A disk that outgrew its table has that, and the batmap behind it, among its blocks. Both come home.
func TestXensBatmapComesHomeWithItsTable(t *testing.T) {
	img := vhdtest.NewDynamic(1<<20, vhdtest.Block{Index: 0, Data: fill(1, keptBlock)}, vhdtest.Block{Index: 3, Data: fill(2, keptBlock)})
	img.BlockSize = keptBlock
	files := inMemory(t, xensImage(t, img, 0, 3))
	before := len(fileOf(t, files))
	disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: files, Writable: true})
	require.NoError(t, err)
	require.NoError(t, disk.Resize(t.Context(), 100<<20, vhd.ResizeOptions{}))
	_, err = disk.WriteAt(fill(3, 3*keptBlock), 50<<20)
	require.NoError(t, err)
	require.NoError(t, disk.WriteZeroes(50<<20, 2*keptBlock))
	require.NoError(t, disk.Close())
	away := seenByXen(fileOf(t, files), vhdtest.Header(t, fileOf(t, files)))
	require.GreaterOrEqual(t, away.table, before-512, "it is home")

	work := func(fsys vhd.FS) error {
		disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: fsys, Writable: true})
		if err != nil {
			return err
		}
		return errors.Join(disk.Compact(t.Context(), vhd.CompactOptions{}), disk.Close())
	}
	crashEverywhere(t, files, false, work, mustNotLie)
	disk, err = vhd.Open("disk.vhd", &vhd.Options{FS: files})
	require.NoError(t, err)
	size, err := disk.CompactSize(t.Context(), vhd.CompactOptions{})
	require.NoError(t, err)
	require.NoError(t, disk.Close())
	require.NoError(t, work(files))
	requireBatmap(t, fileOf(t, files))
	requireNoBatmapFinding(t, files)
	home := seenByXen(fileOf(t, files), vhdtest.Header(t, fileOf(t, files)))
	require.Less(t, home.table, away.table, "it stays away")
	require.Len(t, fileOf(t, files), int(size))
}
