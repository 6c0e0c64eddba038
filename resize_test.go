package vhd_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

var allowLoss = vhd.ResizeOptions{AllowLoss: true}

// resizeTo makes a disk another size, and its model too.
func resizeTo(t testing.TB, disk *vhd.Disk, model *vhdtest.Model, size int64) {
	t.Helper()
	require.NoError(t, disk.Resize(t.Context(), size, allowLoss))
	model.Resize(size)
	require.Equal(t, size, disk.Size())
	requireSameBytes(t, model.Content(), readAll(t, disk, size), 0)
}

// writeBoth writes to a disk and to its model.
func writeBoth(t testing.TB, disk *vhd.Disk, model *vhdtest.Model, p []byte, off int64) {
	t.Helper()
	for _, w := range []interface {
		WriteAt(p []byte, off int64) (int, error)
	}{disk, model} {
		_, err := w.WriteAt(p, off)
		require.NoError(t, err)
	}
}

// ofAResize are the codes of what a resize may leave.
var ofAResize = []string{"original-size", "parent-size", "bitmap-past-disk", "free-blocks", "small-gaps", "block-unaligned"}

func TestDisksOfAnySizeGrowAndShrinkAsOthersReadThem(t *testing.T) {
	const mib = 1 << 20
	for _, diskType := range []vhd.DiskType{vhd.Fixed, vhd.Dynamic} {
		for _, blockSize := range []int64{512, 64 << 10, 2 * mib, 16 * mib} {
			if diskType == vhd.Fixed && blockSize != 512 {
				continue
			}
			t.Run(fmt.Sprintf("%v, blocks of %d", diskType, blockSize), func(t *testing.T) {
				name := filepath.Join(t.TempDir(), "disk.vhd")
				size := int64(300<<10 + 512)
				disk, err := vhd.Create(name, vhd.CreateOptions{Type: diskType, Size: size, BlockSize: blockSize})
				require.NoError(t, err)
				model := vhdtest.NewModel(size)
				for i, size := range []int64{301 << 10, 5*mib + 512, 3 * mib, 3*mib + 512, 512, 1024, 4*mib - 512, 7 * mib} {
					rng := rand.New(rand.NewPCG(uint64(i), 1))
					for range 5 {
						off := rng.Int64N(model.Size())
						writeBoth(t, disk, model, fill(byte(i+1), min(1+rng.Int64N(90<<10), model.Size()-off)), off)
					}
					resizeTo(t, disk, model, size)
				}
				require.NoError(t, disk.Close())
				requireFindings(t, name, vhd.CheckOptions{}, ofAResize...)
				requireFileReadsAs(t, name, model.Content())
				t.Run("7-Zip", func(t *testing.T) { requireSameBytes(t, model.Content(), vhdtest.SevenZip.Content(t, name), 0) })
				if blockSize == 512 { // it takes bitmaps for data
					return
				}
				t.Run("qemu", func(t *testing.T) { requireSameBytes(t, model.Content(), vhdtest.Qemu.Content(t, name), 0) })
			})
		}
	}
}

// A child may end before its parent does. When it grows, what the parent holds there
// must not come to light, and zeros have to be data (W8).
func TestAChildThatGrowsDoesNotShowItsParent(t *testing.T) {
	for _, blockSize := range []int64{512, 4096, 2 << 20} {
		t.Run(fmt.Sprintf("blocks of %d", blockSize), func(t *testing.T) {
			dir := t.TempDir()
			parent, child := filepath.Join(dir, "parent.vhd"), filepath.Join(dir, "child.vhd")
			const size = 3<<20 + 512
			below := fill(1, size)
			clear(below[2<<20:][:600<<10])
			base, err := vhd.Create(parent, vhd.CreateOptions{Size: size})
			require.NoError(t, err)
			_, err = base.WriteAt(below, 0)
			require.NoError(t, err)
			require.NoError(t, base.Close())
			disk, err := vhd.Create(child, vhd.CreateOptions{Parent: parent, Size: 70<<10 + 512, BlockSize: blockSize})
			require.NoError(t, err)
			model := vhdtest.NewModelOf(below)
			model.NewChild(disk.Size())
			writeBoth(t, disk, model, fill(2, 1000), 69<<10)
			resizeTo(t, disk, model, 80<<10+512)
			resizeTo(t, disk, model, size)
			require.NoError(t, disk.Close())
			requireFindings(t, child, vhd.CheckOptions{Chain: true}, ofAResize...)
			requireFileReadsAs(t, child, model.Content())
			t.Run("7-Zip", func(t *testing.T) { requireSameBytes(t, model.Content(), vhdtest.SevenZip.Content(t, child), 0) })

			disk, err = vhd.Open(child, &vhd.Options{Writable: true})
			require.NoError(t, err)
			resizeTo(t, disk, model, size+5<<20) // and longer than the parent
			require.NoError(t, disk.Close())
			info, err := os.Stat(child)
			require.NoError(t, err)
			require.Less(t, info.Size(), int64(9<<20), "what is behind the parent's end takes no space")
		})
	}
}

func TestADiskShrinksOnlyByZeros(t *testing.T) {
	for _, diskType := range []vhd.DiskType{vhd.Fixed, vhd.Dynamic} {
		t.Run(diskType.String(), func(t *testing.T) {
			mem := vhdtest.NewMemFS()
			disk, err := vhd.Create("disk.vhd", vhd.CreateOptions{Options: vhd.Options{FS: mem}, Type: diskType, Size: 5 << 20})
			require.NoError(t, err)
			_, err = disk.WriteAt([]byte{7}, 3<<20+5)
			require.NoError(t, err)
			require.NoError(t, disk.Sync())
			before := fileOf(t, mem)
			err = disk.Resize(t.Context(), 3<<20, vhd.ResizeOptions{})
			require.ErrorIs(t, err, vhd.ErrDataLoss)
			require.EqualError(t, err, "vhd: disk.vhd: data would be lost: the first byte that is not zero is at 3145733 of the disk, and the new size is 3145728")
			require.EqualValues(t, 5<<20, disk.Size())
			if diskType == vhd.Fixed {
				require.True(t, bytes.Equal(before, fileOf(t, mem)), "nothing was written")
			}
			require.NoError(t, disk.Resize(t.Context(), 3<<20+512, vhd.ResizeOptions{}), "zeros behind the data")
			_, err = disk.WriteAt([]byte{0}, 3<<20+5)
			require.NoError(t, err)
			require.NoError(t, disk.Resize(t.Context(), 1<<20, vhd.ResizeOptions{}), "zeros that are data")
			require.NoError(t, disk.Close())
			require.Less(t, len(fileOf(t, mem)), 3<<20, "the space was given back")
		})
	}
}

func TestADryRunOfAResizeSaysWhatWouldBecomeOfItAndChangesNothing(t *testing.T) {
	for _, diskType := range []vhd.DiskType{vhd.Fixed, vhd.Dynamic} {
		for _, writable := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, writable: %v", diskType, writable), func(t *testing.T) {
				mem := vhdtest.NewMemFS()
				opts := vhd.CreateOptions{Options: vhd.Options{FS: mem}, Type: diskType, Size: 5 << 20}
				require.NoError(t, createAndFill("disk.vhd", opts, func(d *vhd.Disk) error {
					_, err := d.WriteAt([]byte{7}, 3<<20+5)
					return err
				}))
				before := bytes.Clone(fileOf(t, mem))
				rec := vhdtest.NewRecordFS(mem)
				disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: rec, Writable: writable})
				require.NoError(t, err)
				try := func(size int64, opts vhd.ResizeOptions) error {
					opts.DryRun = true
					return disk.Resize(t.Context(), size, opts)
				}
				var last, total int64
				progress := func(d, n int64) { last, total = d, n }
				require.NoError(t, try(9<<20, vhd.ResizeOptions{Progress: progress}))
				require.Equal(t, []int64{4 << 20, 4 << 20}, []int64{last, total})
				require.NoError(t, try(3<<20+512, vhd.ResizeOptions{}), "zeros behind the data")
				require.ErrorIs(t, try(3<<20, vhd.ResizeOptions{}), vhd.ErrDataLoss)
				require.NoError(t, try(3<<20, vhd.ResizeOptions{AllowLoss: true}))
				require.ErrorIs(t, try(3<<20+1, vhd.ResizeOptions{}), fs.ErrInvalid)
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				require.ErrorIs(t, disk.Resize(ctx, 9<<20, vhd.ResizeOptions{DryRun: true}), context.Canceled)
				require.EqualValues(t, 5<<20, disk.Size())
				for _, op := range rec.Ops() {
					require.False(t, op.Mutates(), "%v", op)
				}
				require.NoError(t, disk.Close())
				require.True(t, bytes.Equal(before, fileOf(t, mem)))
			})
		}
	}
}

func TestResizeSaysWhatItCanNotDo(t *testing.T) {
	open := func(t testing.TB, img *vhdtest.Image, opts vhd.Options) *vhd.Disk {
		t.Helper()
		opts.FS = inMemory(t, img.Build(t))
		disk, err := vhd.Open("disk.vhd", &opts)
		require.NoError(t, err)
		t.Cleanup(func() { _ = disk.Close() })
		return disk
	}
	parent := vhdtest.NewDynamic(8 << 20)
	saved := vhdtest.NewDynamic(4 << 20)
	saved.SavedState = 1
	writable := vhd.Options{Writable: true}
	for _, c := range []struct {
		name string
		img  *vhdtest.Image
		opts vhd.Options
		size int64
		want error
	}{
		{"read-only", vhdtest.NewDynamic(4 << 20), vhd.Options{}, 8 << 20, vhd.ErrReadOnly},
		{"saved state", saved, writable, 8 << 20, vhd.ErrUnsupported},
		{"nothing", vhdtest.NewDynamic(4 << 20), writable, 0, fs.ErrInvalid},
		{"less than nothing", vhdtest.NewDynamic(4 << 20), writable, -512, fs.ErrInvalid},
		{"half a sector", vhdtest.NewDynamic(4 << 20), writable, 4<<20 + 256, fs.ErrInvalid},
		{"more than Windows takes", vhdtest.NewDynamic(4 << 20), writable, vhd.MaxDynamicSize + 512, vhd.ErrUnsupported},
		{"a fixed disk that no file holds", vhdtest.NewFixed(4096, nil), writable, 1<<63 - 512, vhd.ErrUnsupported},
		{"a fixed disk whose footer no size would lead to", vhdtest.NewFixed(4096, nil), writable, 1 << 61, vhd.ErrUnsupported},
		{"a child without its parent", vhdtest.NewChild(parent, "p.vhd"), vhd.Options{Writable: true, NoParents: true}, 9 << 20, vhd.ErrParentNotFound},
		{"what falls off is not known", vhdtest.NewChild(parent, "p.vhd"), vhd.Options{Writable: true, NoParents: true}, 7 << 20, vhd.ErrParentNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := open(t, c.img, c.opts)
			require.ErrorIs(t, disk.Resize(t.Context(), c.size, vhd.ResizeOptions{}), c.want)
			require.Equal(t, c.img.Size, disk.Size())
		})
	}
	disk := open(t, vhdtest.NewDynamic(4<<20), writable)
	require.NoError(t, disk.Close())
	require.ErrorIs(t, disk.Resize(t.Context(), 8<<20, vhd.ResizeOptions{}), vhd.ErrClosed)
}

// What others made larger than Windows takes becomes smaller in steps too.
func TestADiskThatIsTooLargeShrinksToOneThatIsToo(t *testing.T) {
	img := vhdtest.NewDynamic(vhd.MaxDynamicSize + 2<<30)
	disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: inMemory(t, img.Build(t)), Writable: true})
	require.NoError(t, err)
	require.ErrorIs(t, disk.Resize(t.Context(), img.Size+512, vhd.ResizeOptions{}), vhd.ErrUnsupported)
	require.NoError(t, disk.Resize(t.Context(), img.Size-1<<30, vhd.ResizeOptions{}))
	require.NoError(t, disk.Resize(t.Context(), vhd.MaxDynamicSize, vhd.ResizeOptions{}))
	require.NoError(t, disk.Close())
}

func TestTheSameSizeWritesNothing(t *testing.T) {
	img := vhdtest.NewDynamic(4<<20, vhdtest.Block{Index: 1, Data: fill(1, 2<<20)})
	calls := vhdtest.NewRecordFS(inMemory(t, img.Build(t)))
	disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: calls, Writable: true})
	require.NoError(t, err)
	require.NoError(t, disk.Resize(t.Context(), 4<<20, vhd.ResizeOptions{}))
	require.Zero(t, calls.Count(vhdtest.OpWrite)+calls.Count(vhdtest.OpTruncate))
	require.NoError(t, disk.Close())
}

// Nobody knows what the right parent holds behind the old end, or in what falls off.
func TestAChildOfAStrangeParentGetsAnotherSizeOnlyAtALoss(t *testing.T) {
	parent := vhdtest.NewDynamic(8<<20, vhdtest.Block{Index: 3, Data: fill(1, 2<<20)})
	child := vhdtest.NewChild(parent, baseName)
	child.Size = 4 << 20
	mem := inMemory(t, child.Build(t))
	strange := vhdtest.NewDynamic(4 << 20)
	strange.ID[5]++
	require.NoError(t, mem.WriteFile(baseName, strange.Build(t)))
	before := bytes.Clone(fileOf(t, mem))
	disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: mem, Writable: true, IgnoreParentIdentity: true})
	require.NoError(t, err)
	for _, size := range []int64{8 << 20, 2 << 20} {
		for _, dryRun := range []bool{true, false} {
			require.ErrorIs(t, disk.Resize(t.Context(), size, vhd.ResizeOptions{DryRun: dryRun}), vhd.ErrParentMismatch)
		}
	}
	require.ErrorIs(t, disk.Resize(t.Context(), 8<<20, allowLoss), vhd.ErrParentMismatch)
	require.NoError(t, disk.Resize(t.Context(), 4<<20, vhd.ResizeOptions{}), "the size that it has")
	require.True(t, bytes.Equal(before, fileOf(t, mem)), "nothing was written")
	require.NoError(t, disk.Resize(t.Context(), 2<<20, allowLoss))
	require.NoError(t, disk.Close())
}

// Other software left data there whose bits are clear, which those who ignore bitmaps read.
func TestWhatIsUnderClearBitsBehindTheEndOfADiskWithoutAParentBecomesZeros(t *testing.T) {
	const block = 64 << 10
	for _, size := range []int64{2 * block, block, block - 512, block/2 + 512} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "disk.vhd")
			img := vhdtest.NewDynamic(block/2, vhdtest.Block{Index: 0, Data: fill(7, block), Bitmap: vhdtest.Bitmap(128, func(sector int) bool { return sector < 64 })})
			img.BlockSize = block
			img.WriteFile(t, name)
			disk, err := vhd.Open(name, &vhd.Options{Writable: true})
			require.NoError(t, err)
			require.NoError(t, disk.Resize(t.Context(), size, vhd.ResizeOptions{}))
			require.NoError(t, disk.Close())
			want := make([]byte, size)
			copy(want, fill(7, block)[:block/2])
			requireFileReadsAs(t, name, want)
			requireSameBytes(t, want, vhdtest.Qemu.Content(t, name), 0)
		})
	}
}

// largerParent is a child of a parent that has 64 MiB of data where the child has
// ended.
func largerParent(t testing.TB, mem *vhdtest.MemFS) *vhd.Disk {
	t.Helper()
	opts := vhd.CreateOptions{Options: vhd.Options{FS: mem}, Type: vhd.Fixed, Size: 64 << 20}
	require.NoError(t, createAndFill(baseName, opts, func(d *vhd.Disk) error {
		_, err := d.WriteAt(fill(1, 64<<20), 0)
		return err
	}))
	disk, err := vhd.Create(leafName, vhd.CreateOptions{Options: vhd.Options{FS: mem}, Parent: baseName, Size: 1 << 20, BlockSize: 64 << 10})
	require.NoError(t, err)
	return disk
}

// Zeros over what the parent has are data; the storage here has no holes. So is a table.
func TestADiskThatHasNoRoomToGrowIsLeftAsItWas(t *testing.T) {
	for _, c := range []struct {
		name      string
		to        int64
		free      int64
		blockSize int64
		want      error
	}{
		{"zeros that don't fit", 64 << 20, 62 << 20, 64 << 10, vhd.ErrNoSpace},
		{"zeros that fit", 64 << 20, 70 << 20, 64 << 10, nil},
		{"a table that does not fit", 16 << 30, 90 << 20, 1 << 10, vhd.ErrNoSpace},
		{"a table that fits", 16 << 30, 190 << 20, 1 << 10, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			mem := vhdtest.NewMemFS()
			small := vhd.CreateOptions{Options: vhd.Options{FS: mem}, Size: 64 << 20}
			require.NoError(t, createAndFill(baseName, small, func(d *vhd.Disk) error {
				_, err := d.WriteAt(fill(1, 64<<20), 0)
				return err
			}))
			small.Parent, small.Size, small.BlockSize = baseName, 1<<20, c.blockSize
			require.NoError(t, createAndFill(leafName, small, func(d *vhd.Disk) error {
				_, err := d.WriteAt([]byte("x"), 0)
				return err
			}))
			before := bytes.Clone(mustReadFile(t, mem, leafName))
			for _, opts := range []vhd.ResizeOptions{{DryRun: true}, {}} {
				for _, writable := range []bool{false, true} {
					if !writable && !opts.DryRun {
						continue
					}
					disk, err := vhd.Open(leafName, &vhd.Options{FS: spaceFS{mem, c.free}, Writable: writable})
					require.NoError(t, err)
					err = disk.Resize(t.Context(), c.to, opts)
					require.NoError(t, disk.Close())
					if c.want == nil {
						require.NoError(t, err)
						continue
					}
					require.ErrorIs(t, err, c.want)
					require.True(t, bytes.Equal(before, mustReadFile(t, mem, leafName)))
				}
			}
		})
	}
}

func TestAContextThatEndsLeavesTheSizeAsItWas(t *testing.T) {
	mem := vhdtest.NewMemFS()
	disk := largerParent(t, mem)
	size := disk.Chain()[0].FileSize()
	for _, to := range []int64{2 << 20, 48 << 20, 4 << 30} { // in place, and with a table that moves
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		err := disk.Resize(ctx, to, vhd.ResizeOptions{Progress: func(done, total int64) {
			require.Equal(t, to-1<<20, total)
			if calls++; calls == 3 || done >= 1<<20 {
				cancel()
			}
		}})
		require.ErrorIs(t, err, context.Canceled)
		cancel()
		require.EqualValues(t, 1<<20, disk.Size())
		requireSameBytes(t, fill(1, 64<<20)[:1<<20], readAll(t, disk, 1<<20), 0)
		require.LessOrEqual(t, disk.Chain()[0].FileSize(), size+4096, "the space was given back")
	}
	var last, sum int64
	require.NoError(t, disk.Resize(t.Context(), 3<<20, vhd.ResizeOptions{Progress: func(done, total int64) { last, sum = done, total }}))
	require.Equal(t, [2]int64{2 << 20, 2 << 20}, [2]int64{last, sum})
	require.True(t, isZeros(readAll(t, disk, 3<<20)[1<<20:]))
	require.NoError(t, disk.Close())
	requireFindings(t, leafName, vhd.CheckOptions{Options: vhd.Options{FS: mem}}, ofAResize...)
}

// What stands in the file and is not the disk's stays byte for byte.
func TestAResizeKeepsWhatItDoesNotUnderstand(t *testing.T) {
	parent := vhdtest.NewFixed(1<<20, fill(1, 1<<20))
	for _, like := range []string{"Windows 10", "Windows 7", "Virtual PC"} {
		t.Run(like, func(t *testing.T) {
			img := vhdtest.NewChild(parent, "parent.vhd", vhdtest.Block{Index: 0, Data: fill(2, 4096)})
			img.BlockSize, img.FooterReserved, img.HeaderReserved = 4096, fill(7, 427), fill(8, 256)
			switch like {
			case "Windows 10":
				img.LikeWindows10(`C:\disks\parent.vhd`, `.\parent.vhd`)
			case "Windows 7":
				img.LikeWindows7(`C:\disks\parent.vhd`, `.\parent.vhd`, 1)
			default:
				img.LikeVirtualPC(`C:\disks\parent.vhd`, `.\parent.vhd`, "parent.vhd", 1)
			}
			img.Locators[7] = vhdtest.Locator{Code: 0x12345678, Data: []byte("nobody knows"), Reserved: 5}
			raw := img.Build(t)
			mem := inMemory(t, raw)
			require.NoError(t, mem.WriteFile("parent.vhd", parent.Build(t)))
			disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: mem, Writable: true})
			require.NoError(t, err)
			before := disk.Chain()[0]
			for _, size := range []int64{100 << 20, 512, 30 << 20, 1 << 20} {
				require.NoError(t, disk.Resize(t.Context(), size, allowLoss))
				footer, wantFooter := disk.Chain()[0].Footer(), before.Footer()
				wantFooter.CurrentSize, wantFooter.Geometry = size, vhd.GeometryOf(size)
				require.Equal(t, wantFooter, footer)
				header, _ := disk.Chain()[0].Header()
				want, _ := before.Header()
				want.TableOffset, want.MaxTableEntries = header.TableOffset, uint32((size+4095)/4096)
				require.Equal(t, want, header)
				for _, l := range want.Locators {
					require.Equal(t, raw[l.DataOffset:][:l.DataLength], fileOf(t, mem)[l.DataOffset:][:l.DataLength])
				}
			}
			require.NoError(t, disk.Close())
		})
	}
}

func TestABatmapCallsNoBlockFullAfterAResize(t *testing.T) {
	for _, size := range []int64{8 << 10, 20 << 10, 4 << 20} {
		img := vhdtest.NewDynamic(16<<10, vhdtest.Block{Index: 1, Data: fill(1, 4096)})
		img.BlockSize = 4096
		mem := inMemory(t, withBatmap(t, *img))
		disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: mem, Writable: true})
		require.NoError(t, err)
		require.NoError(t, disk.Resize(t.Context(), size, allowLoss))
		require.NoError(t, disk.Close())
		requireNoBatmapFinding(t, mem)
	}
}

func TestTheContextEndsTheWritingOfALongTable(t *testing.T) {
	mem := vhdtest.NewMemFS()
	faults := vhdtest.NewFaultFS(mem)
	disk, err := vhd.Create("disk.vhd", vhd.CreateOptions{Options: vhd.Options{FS: faults}, Size: 1 << 20, BlockSize: 512})
	require.NoError(t, err)
	before := disk.Chain()[0].FileSize()
	ctx, cancel := context.WithCancel(t.Context())
	written := int64(0)
	faults.Arm(vhdtest.Fault{At: 1 << 30, Match: func(op vhdtest.Op) bool {
		if op.Kind == vhdtest.OpWrite && ctx.Err() != nil {
			written += op.N
		}
		if op.Kind == vhdtest.OpWrite && op.Off > before+30<<20 { // the footer, in front of all else
			cancel()
		}
		return true
	}})
	require.ErrorIs(t, disk.Resize(ctx, 4<<30, vhd.ResizeOptions{}), context.Canceled) // whose table has 32 MiB
	require.Less(t, written, int64(34<<20), "where the table was to be are zeros, and no table")
	require.EqualValues(t, 1<<20, disk.Size())
	require.LessOrEqual(t, disk.Chain()[0].FileSize(), before+4096, "the space was given back")
	require.NoError(t, disk.Close())
	requireFindings(t, "disk.vhd", vhd.CheckOptions{Options: vhd.Options{FS: mem}})
}

// Real images, grown and shrunk back, read as before, and what was cut off is gone.
// requireZerosFrom reads a disk from off on, a piece at a time.
func requireZerosFrom(t testing.TB, disk *vhd.Disk, off int64) {
	t.Helper()
	p := make([]byte, 1<<20)
	for off < disk.Size() {
		n, err := disk.ReadAt(p[:min(int64(len(p)), disk.Size()-off)], off)
		require.NoError(t, err)
		require.True(t, isZeros(p[:n]), "not all is zeros behind %d", off)
		off += int64(n)
	}
}

func TestRealImagesGrowAndShrink(t *testing.T) {
	set := vhdtest.Corpus(t)
	for _, img := range set.Images {
		t.Run(img.File, func(t *testing.T) {
			skipLarge(t, img)
			name := set.Copy(t, img.File)[0]
			disk, err := vhd.Open(name, &vhd.Options{Writable: true})
			require.NoError(t, err)
			size := disk.Size()
			require.NoError(t, disk.Resize(t.Context(), 3*size+512, vhd.ResizeOptions{}))
			requireZerosFrom(t, disk, size)
			require.NoError(t, disk.Resize(t.Context(), size, vhd.ResizeOptions{}), "there are zeros")
			require.Equal(t, img.ContentSHA256, sumOf(t, disk))
			require.NoError(t, disk.Close())
			if disk, err = vhd.Open(name, nil); err == nil {
				require.Equal(t, img.ContentSHA256, sumOf(t, disk))
				require.NoError(t, disk.Close())
			}
			require.NoError(t, err)
		})
	}
}

// The file of a fixed disk that grows has no footer at its end for a while. What a
// guest wrote to the start of the disk is not taken for one.
func TestAFixedDiskThatWasGrowingIsFoundAgain(t *testing.T) {
	for _, form := range []vhdtest.FooterForm{vhdtest.FooterWhole, vhdtest.Footer511} {
		for _, slack := range []int64{0, 100, 512, 5000} {
			forged := vhdtest.NewDynamic(1 << 20).Build(t)
			img := vhdtest.NewFixed(64<<10, append(forged, fill(1, 64<<10-int64(len(forged)))...))
			img.Footer, img.Slack = form, slack
			copy(img.Data[len(img.Data)-8:], "conectix")
			storage := vhdtest.NewCrashFS(inMemory(t, img.Build(t)), vhdtest.CrashOptions{})
			found := 0
			storage.OnOp = func(vhdtest.Op) {
				for _, pick := range []func(int) int{func(int) int { return 0 }, func(n int) int { return n - 1 }} {
					state := storage.CrashWith(pick)
					disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: state})
					require.NoError(t, err)
					requireSameBytes(t, img.Data, readAll(t, disk, 64<<10), 0)
					if disk.Chain()[0].NeedsRecovery() {
						found++
						report, err := vhd.Check(t.Context(), "disk.vhd", vhd.CheckOptions{Options: vhd.Options{FS: state}})
						require.NoError(t, err)
						require.Equal(t, "trailing-bytes", report.Findings[0].Code)
					}
					require.NoError(t, disk.Close())
					disk, err = vhd.Open("disk.vhd", &vhd.Options{FS: state, Writable: true})
					require.NoError(t, err)
					require.False(t, disk.Chain()[0].NeedsRecovery())
					require.NoError(t, disk.Close())
				}
			}
			disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: storage, Writable: true})
			require.NoError(t, err)
			require.NoError(t, disk.Resize(t.Context(), 200<<10, vhd.ResizeOptions{}))
			require.Positive(t, found)
			require.NoError(t, disk.Close())
		}
	}
}

// A read that is on its way when the disk is cut off in front of it gets zeros, not what
// its place in the file holds by then, or that there is none.
func TestAReadOfWhatFallsOffGetsZeros(t *testing.T) {
	const block = 64 << 10
	for _, diskType := range []vhd.DiskType{vhd.Fixed, vhd.Dynamic} {
		t.Run(diskType.String(), func(t *testing.T) {
			fsys := &hookedFS{MemFS: vhdtest.NewMemFS()}
			disk, err := vhd.Create("x.vhd", vhd.CreateOptions{
				Options: vhd.Options{FS: fsys, Lock: vhd.LockNone}, Type: diskType, Size: 8 * block, BlockSize: block,
			})
			require.NoError(t, err)
			_, err = disk.WriteAt(fill(1, block), 7*block)
			require.NoError(t, err)
			require.NoError(t, disk.Sync())
			got := readAll(t, disk, 8*block)[7*block:]
			requireSameBytes(t, fill(1, block), got, 0)
			hook := func(int64) {
				fsys.hook.Store(nil)
				require.NoError(t, disk.Resize(t.Context(), block, allowLoss))
				_, err := disk.WriteAt(fill(2, block), 0)
				require.NoError(t, err)
			}
			fsys.hook.Store(&hook)
			n, err := disk.ReadAt(got, 7*block)
			require.NoError(t, err)
			require.Equal(t, block, n)
			require.True(t, isZeros(got))
			require.NoError(t, disk.Close())
		})
	}
}

func TestAFixedDiskGrowsWhereItFits(t *testing.T) {
	mem := vhdtest.NewMemFS()
	faults := vhdtest.NewFaultFS(mem)
	disk, err := vhd.Create("disk.vhd", vhd.CreateOptions{Options: vhd.Options{FS: faults}, Type: vhd.Fixed, Size: 100 << 20})
	require.NoError(t, err)
	faults.Arm(fullAt(180 << 20))
	require.ErrorIs(t, disk.Resize(t.Context(), 181<<20, vhd.ResizeOptions{}), syscall.ENOSPC)
	require.EqualValues(t, 100<<20, disk.Size())
	require.NoError(t, disk.Resize(t.Context(), 165<<20, vhd.ResizeOptions{}))
	require.NoError(t, disk.Close())
	require.Len(t, fileOf(t, mem), 165<<20+512)
}

// Readers and writers go on while the disk gets other sizes: every sector that is
// read is zeros or a stamp of its own.
func TestADiskIsUsedWhileItsSizeChanges(t *testing.T) {
	for _, kind := range snapshotKinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			mem := vhdtest.NewMemFS()
			opts := kind.opts
			opts.FS = mem
			const size = 5<<20 + 512
			if opts.Parent != "" {
				require.NoError(t, createAndFill(opts.Parent, vhd.CreateOptions{Options: vhd.Options{FS: mem}, Size: size}, func(*vhd.Disk) error { return nil }))
			}
			disk, err := vhd.Create("disk.vhd", opts)
			require.NoError(t, err)
			ctx, stop := context.WithCancel(t.Context())
			var users sync.WaitGroup
			for user := range uint64(4) {
				users.Go(func() { useWhileResized(t, ctx, disk, rand.New(rand.NewPCG(user, 1)), user%2 == 0) })
			}
			rng := rand.New(rand.NewPCG(1, 2))
			for range 40 {
				require.NoError(t, disk.Resize(t.Context(), (1+rng.Int64N(12<<20))/512*512+512, allowLoss))
			}
			stop()
			users.Wait()
			require.NoError(t, disk.Close())
			requireFindings(t, "disk.vhd", vhd.CheckOptions{Options: vhd.Options{FS: mem}}, ofAResize...)
		})
	}
}

func useWhileResized(t *testing.T, ctx context.Context, disk *vhd.Disk, rng *rand.Rand, writes bool) {
	t.Helper()
	for ctx.Err() == nil {
		sector, n := rng.IntN(12<<20/512), 1+rng.IntN(300)
		p := stamps(sector*512, n*512, 1)
		if writes {
			if _, err := disk.WriteAt(p, int64(sector)*512); err != nil {
				require.ErrorIs(t, err, vhd.ErrOutOfRange)
			}
			continue
		}
		got := make([]byte, len(p))
		read, err := disk.ReadAt(got, int64(sector)*512)
		if err != nil {
			requireEOF(t, err)
		}
		for at := 0; at+512 <= read; at += 512 {
			if s := got[at:][:512]; !isZeros(s) && !bytes.Equal(s, p[at:][:512]) {
				require.Failf(t, "wrong bytes", "sector %d: %.20q", sector+at/512, s)
			}
		}
	}
}

// What a table has behind the disk's end is not brought to light, as rubbish or as
// what a larger disk held.
func TestEntriesBehindTheEndStayDead(t *testing.T) {
	img := vhdtest.NewDynamic(16<<10, vhdtest.Block{Index: 1, Data: fill(1, 4096)}, vhdtest.Block{Index: 5, Data: fill(9, 4096)})
	img.BlockSize, img.MaxEntries = 4096, 100
	raw := img.Build(t)
	for i := 6; i < 100; i++ {
		binary.BigEndian.PutUint32(raw[1536+4*i:], uint32(i)<<20)
	}
	mem := inMemory(t, raw)
	disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: mem, Writable: true})
	require.NoError(t, err)
	want := readAll(t, disk, 16<<10)
	for _, size := range []int64{24 << 10, 200 << 10, 4 << 20} {
		require.NoError(t, disk.Resize(t.Context(), size, vhd.ResizeOptions{}))
		requireSameBytes(t, slices.Concat(want, make([]byte, size-16<<10)), readAll(t, disk, size), 0)
	}
	require.NoError(t, disk.Close())
	requireFindings(t, "disk.vhd", vhd.CheckOptions{Options: vhd.Options{FS: mem}}, ofAResize...)
}
