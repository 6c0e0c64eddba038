package vhd_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

const keptBlock = 16 << 10

// strange is data of a locator that nobody understands.
func strange(n int) []byte {
	return bytes.Repeat([]byte("nobody knows what this is, so it stays as it is\n"), n/48+1)[:n]
}

// strangeDisk has two locators of unknown kinds, one where locators are and one at
// off, or behind the BAT if that is 0.
func strangeDisk(n int, off int64) *vhdtest.Image {
	img := vhdtest.NewDynamic(1<<20,
		vhdtest.Block{Index: 0, Data: fill(1, keptBlock)}, vhdtest.Block{Index: 3, Data: fill(2, keptBlock)}, vhdtest.Block{Index: 7})
	img.BlockSize = keptBlock
	addStrange(img, n, off)
	return img
}

func addStrange(img *vhdtest.Image, n int, off int64) {
	img.Locators[5] = vhdtest.Locator{Code: 0x5A5A5A5A, Data: strange(n), Reserved: 0xBEEF, Off: off, AfterBAT: off == 0}
	img.Locators[6] = vhdtest.Locator{Code: 0x51515151, Data: strange(100), Reserved: 0xCAFE}
	img.FooterReserved, img.HeaderReserved = strange(427), strange(256)
}

// requireStrange fails unless a file's reserved bytes, locators of unknown kinds, and
// what they point to, are as another's. It may be elsewhere.
func requireStrange(t testing.TB, want, got []byte) {
	t.Helper()
	before, after := vhdtest.Header(t, want), vhdtest.Header(t, got)
	require.Equal(t, before[60:64], after[60:64], "reserved bytes of the header")
	require.Equal(t, before[768:], after[768:], "reserved bytes of the header")
	for _, footer := range [][]byte{got[:512], got[len(got)-512:]} {
		require.Equal(t, vhdtest.EndFooter(t, want)[85:], footer[85:], "reserved bytes of a footer")
	}
	for slot := range 8 {
		require.Equal(t, before[576+24*slot:][12:16], after[576+24*slot:][12:16], "reserved bytes of locator %d", slot)
	}
	for slot := 5; slot < 7; slot++ {
		at := 576 + 24*slot
		require.Equal(t, before[at:at+16], after[at:at+16])
		n, off, now := int(binary.BigEndian.Uint32(before[at+8:])), int(binary.BigEndian.Uint64(before[at+16:])), int(binary.BigEndian.Uint64(after[at+16:]))
		require.GreaterOrEqual(t, len(got)-512, now+n, "locator %d is cut off", slot)
		require.True(t, bytes.Equal(want[off:off+n], got[now:now+n]), "the data of locator %d", slot)
	}
}

// keepingOperations are all that change a file in place.
var keepingOperations = map[string]func(ctx context.Context, d *vhd.Disk) error{
	"fill": func(_ context.Context, d *vhd.Disk) error {
		_, err := d.WriteAt(fill(9, d.Size()), 0)
		return err
	},
	"zero":    func(_ context.Context, d *vhd.Disk) error { return d.WriteZeroes(0, d.Size()) },
	"compact": func(ctx context.Context, d *vhd.Disk) error { return d.Compact(ctx, vhd.CompactOptions{}) },
	"grow":    func(ctx context.Context, d *vhd.Disk) error { return d.Resize(ctx, 1<<20+512, vhd.ResizeOptions{}) },
	"grow far": func(ctx context.Context, d *vhd.Disk) error {
		return d.Resize(ctx, 200<<20, vhd.ResizeOptions{})
	},
	"shrink": func(ctx context.Context, d *vhd.Disk) error {
		return d.Resize(ctx, 4*keptBlock, vhd.ResizeOptions{AllowLoss: true})
	},
	"zero, and fill": func(ctx context.Context, d *vhd.Disk) error {
		if err := d.WriteZeroes(0, d.Size()); err != nil {
			return err
		}
		if err := d.Compact(ctx, vhd.CompactOptions{}); err != nil {
			return err
		}
		_, err := d.WriteAt(fill(9, d.Size()), 0)
		return err
	},
}

func TestLocatorsOfUnknownKindsSurviveInADiskWithoutAParent(t *testing.T) {
	for _, n := range []int{640, 160 << 10} { // more than is read of one
		for _, off := range []int64{0, 400 << 10} {
			for name, op := range keepingOperations {
				raw := strangeDisk(n, off).Build(t)
				mem := inMemory(t, raw)
				disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: mem, Writable: true})
				require.NoError(t, err)
				require.NoError(t, op(t.Context(), disk), name)
				require.NoError(t, disk.Close())
				requireStrange(t, raw, fileOf(t, mem))
			}
		}
	}
}

func TestLocatorsOfUnknownKindsSurviveInAChild(t *testing.T) {
	for _, n := range []int{640, 160 << 10} {
		for _, off := range []int64{0, 400 << 10} {
			for name, op := range keepingOperations {
				base := vhdtest.NewDynamic(1<<20, vhdtest.Block{Index: 0, Data: fill(1, keptBlock)})
				child := vhdtest.NewChild(base, "base.vhd", vhdtest.Block{Index: 0, Data: fill(1, keptBlock)}, vhdtest.Block{Index: 3, Data: fill(2, keptBlock)})
				child.BlockSize = keptBlock
				addStrange(child, n, off)
				raw := child.Build(t)
				mem := inMemory(t, raw)
				require.NoError(t, mem.WriteFile("base.vhd", base.Build(t)))
				disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: mem, Writable: true})
				require.NoError(t, err)
				require.NoError(t, op(t.Context(), disk), name)
				require.NoError(t, disk.Close())
				requireStrange(t, raw, fileOf(t, mem))
			}
		}
	}
}

// strangeChain is leaf.vhd on middle.vhd on base.vhd, and other.vhd, which reads as the
// base does, all of them strange.
func strangeChain(t testing.TB, n int, off int64) *vhdtest.MemFS {
	t.Helper()
	base := strangeDisk(n, off)
	middle := vhdtest.NewChild(base, "base.vhd", vhdtest.Block{Index: 5, Data: fill(3, keptBlock)}, vhdtest.Block{Index: 7, Data: fill(4, keptBlock)})
	leaf := vhdtest.NewChild(middle, "middle.vhd", vhdtest.Block{Index: 5, Data: fill(5, keptBlock)}, vhdtest.Block{Index: 9, Data: fill(6, keptBlock)})
	other := strangeDisk(n, off)
	other.ID = [16]byte{77}
	mem := vhdtest.NewMemFS()
	for name, img := range map[string]*vhdtest.Image{"base.vhd": base, "middle.vhd": middle, "leaf.vhd": leaf, "other.vhd": other} {
		if img == middle || img == leaf {
			img.ID = [16]byte{byte(len(name))}
			img.BlockSize = keptBlock
			addStrange(img, n, off)
		}
	}
	leaf.ParentID = middle.ID
	for name, img := range map[string]*vhdtest.Image{"base.vhd": base, "middle.vhd": middle, "leaf.vhd": leaf, "other.vhd": other} {
		raw := img.Build(t)
		vhdtest.EditHeader(t, raw, func(h []byte) {
			copy(h[60:64], "kept")
			for slot := range byte(8) {
				copy(h[576+24*int(slot)+12:], []byte{'k', 'e', 'p', slot})
			}
		})
		require.NoError(t, mem.WriteFile(name, raw))
	}
	return mem
}

// keepingLife are operations on a strangeChain, with the files that have other names
// afterwards, or none.
var keepingLife = map[string]struct {
	run     func(ctx context.Context, d *vhd.Disk, opts vhd.Options) error
	renamed map[string]string
}{
	"snapshot": {run: func(_ context.Context, d *vhd.Disk, _ vhd.Options) error {
		return d.Snapshot("top.vhd", vhd.CreateOptions{})
	}},
	"merge of the leaf": {run: func(ctx context.Context, d *vhd.Disk, _ vhd.Options) error {
		return d.Merge(ctx, 0, 1, vhd.MergeOptions{})
	}, renamed: map[string]string{"leaf.vhd": ""}},
	"merge below the leaf": {run: func(ctx context.Context, d *vhd.Disk, _ vhd.Options) error {
		return d.Merge(ctx, 1, 2, vhd.MergeOptions{})
	}, renamed: map[string]string{"middle.vhd": ""}},
	"merge of all": {run: func(ctx context.Context, d *vhd.Disk, _ vhd.Options) error {
		return d.Merge(ctx, 0, 2, vhd.MergeOptions{})
	}, renamed: map[string]string{"leaf.vhd": "", "middle.vhd": ""}},
	"rebase": {run: func(_ context.Context, d *vhd.Disk, _ vhd.Options) error {
		return d.Rebase("other.vhd", vhd.RebaseOptions{})
	}},
	"rename of a parent": {run: func(ctx context.Context, d *vhd.Disk, opts vhd.Options) error {
		if err := d.Close(); err != nil {
			return err
		}
		_, err := vhd.Rename(ctx, "middle.vhd", "a much longer name than it had before.vhd", vhd.RenameOptions{Options: opts})
		return err
	}, renamed: map[string]string{"middle.vhd": "a much longer name than it had before.vhd"}},
	"rename of a child": {run: func(ctx context.Context, d *vhd.Disk, opts vhd.Options) error {
		if err := d.Close(); err != nil {
			return err
		}
		_, err := vhd.Rename(ctx, "leaf.vhd", "deeper/leaf.vhd", vhd.RenameOptions{Options: opts})
		return err
	}, renamed: map[string]string{"leaf.vhd": "deeper/leaf.vhd"}},
}

func TestWhatNobodyUnderstandsSurvivesWhatHappensToAChain(t *testing.T) {
	for _, n := range []int{640, 160 << 10} {
		for _, off := range []int64{0, 400 << 10} {
			for name, op := range keepingLife {
				mem := strangeChain(t, n, off)
				before := mem.Clone()
				require.NoError(t, mem.MkdirAll("deeper"))
				opts := vhd.Options{FS: mem, Root: "/"}
				writable := opts
				writable.Writable = true
				disk, err := vhd.Open("leaf.vhd", &writable)
				require.NoError(t, err)
				require.NoError(t, op.run(t.Context(), disk, opts), name)
				if err := disk.Close(); err != nil {
					require.ErrorIs(t, err, vhd.ErrClosed)
				}
				for _, file := range []string{"leaf.vhd", "middle.vhd", "base.vhd", "other.vhd"} {
					now, isRenamed := op.renamed[file]
					if !isRenamed {
						now = file
					}
					if now == "" {
						continue
					}
					want, err := before.ReadFile(file)
					require.NoError(t, err)
					got, err := mem.ReadFile(now)
					require.NoError(t, err)
					t.Log(name, file)
					requireStrange(t, want, got)
				}
			}
		}
	}
}

func TestWhatNobodyUnderstandsSurvivesARepair(t *testing.T) {
	for _, off := range []int64{0, 400 << 10} {
		for _, n := range []int{640, 160 << 10} {
			for name, spoil := range map[string]func(raw []byte){
				"a copy that is lost":   func(raw []byte) { clear(raw[:512]) },
				"a footer that is lost": func(raw []byte) { clear(raw[len(raw)-512:]) },
				"a path that is lost": func(raw []byte) {
					vhdtest.EditHeader(t, raw, func(h []byte) {
						for slot := range 5 { // all paths that there are
							if l := h[576+24*slot:]; l[0] == 'W' {
								binary.BigEndian.PutUint64(l[16:], uint64(len(raw))+1<<20)
								break
							}
						}
					})
				},
			} {
				for _, file := range []string{"leaf.vhd", "base.vhd"} {
					mem := strangeChain(t, n, off)
					raw, err := mem.ReadFile(file)
					require.NoError(t, err)
					spoiled := bytes.Clone(raw)
					spoil(spoiled)
					require.NoError(t, mem.WriteFile(file, spoiled))
					_, err = vhd.Repair(t.Context(), file, vhd.RepairOptions{Options: vhd.Options{FS: mem}})
					require.NoError(t, err)
					got, err := mem.ReadFile(file)
					require.NoError(t, err)
					if file == "leaf.vhd" || name != "a path that is lost" {
						require.NotEqual(t, spoiled, got, name)
					}
					requireStrange(t, raw, got)
				}
			}
		}
	}
}

// What locators of a disk without a parent say need not be true. Where it can't be,
// nothing comes of it.
func TestLocatorsOfNonsenseDoNoHarmToADiskWithoutAParent(t *testing.T) {
	plain := strangeDisk(1, 0)
	plain.Locators = [8]vhdtest.Locator{}
	want := plain.Content(t, nil)
	entry := vhdtest.Entry(t, plain.Build(t), 3)
	mem := inMemory(t, plain.Build(t))
	disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: mem, Writable: true})
	require.NoError(t, err)
	require.NoError(t, disk.Compact(t.Context(), vhd.CompactOptions{}))
	require.NoError(t, disk.Close())
	size := len(fileOf(t, mem))
	for name, place := range map[string][2]uint64{
		"over a block":               {uint64(entry)*512 + 100, 600},
		"over all blocks":            {uint64(len(plain.Build(t))) - 512 - 3*(512+keptBlock), 3 * (512 + keptBlock)},
		"over the footer's copy":     {0, 100},
		"over the header":            {1000, 100},
		"over the BAT":               {1536, 600},
		"over the footer":            {uint64(len(plain.Build(t))) - 600, 200},
		"behind the file's end":      {1 << 30, 600},
		"at the end of all numbers":  {math.MaxUint64 - 511, 1<<32 - 1},
		"behind all that is signed":  {1 << 63, 600},
		"without an end":             {2048, 1<<32 - 1},
		"everywhere, of no sense":    {512, 1 << 20},
		"of nothing":                 {4096, 0},
		"in one sector of the block": {uint64(entry) * 512, 1},
	} {
		raw := plain.Build(t)
		vhdtest.EditHeader(t, raw, func(h []byte) {
			for slot := range 8 {
				l := h[576+24*slot:]
				copy(l, "WTFL\xFF\xFF\xFF\xFF")
				binary.BigEndian.PutUint32(l[8:], uint32(place[1]))
				binary.BigEndian.PutUint64(l[16:], place[0])
			}
		})
		mem := inMemory(t, raw)
		disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: mem, Writable: true})
		require.NoError(t, err, name)
		requireSameBytes(t, want, readAll(t, disk, 1<<20), 0)
		require.NoError(t, disk.Compact(t.Context(), vhd.CompactOptions{}), name)
		require.Len(t, fileOf(t, mem), size, name)
		require.NoError(t, disk.WriteZeroes(0, 1<<20), name)
		_, err = disk.WriteAt(fill(5, 1<<20), 0)
		require.NoError(t, err, name)
		require.NoError(t, disk.Close())
		again, err := vhd.Open("disk.vhd", &vhd.Options{FS: mem, Writable: true})
		require.NoError(t, err, name)
		requireSameBytes(t, fill(5, 1<<20), readAll(t, again, 1<<20), 0)
		require.NoError(t, again.Close())
	}
}
