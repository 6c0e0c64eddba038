package vhd_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// exportedID and exportedTime are those of the exports in tests, so that one is like
// the other.
var (
	exportedID   = uuid.MustParse("00112233-4455-6677-8899-aabbccddeeff")
	exportedTime = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
)

// secondsOf is a time as the format stores it.
func secondsOf(at time.Time) uint32 {
	return uint32(at.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) / time.Second)
}

// exportVHD is what a disk is exported as, of the length that was foretold.
func exportVHD(t require.TestingT, d *vhd.Disk, opts vhd.ExportOptions) []byte {
	if h, ok := t.(interface{ Helper() }); ok {
		h.Helper()
	}
	size, err := d.ExportSize(context.Background(), opts)
	require.NoError(t, err)
	var b bytes.Buffer
	n, err := d.Export(context.Background(), &b, opts)
	require.NoError(t, err)
	require.Equal(t, size, n)
	require.EqualValues(t, size, b.Len())
	if opts.Type != 0 || opts.Azure {
		img, err := vhd.Inspect(bytes.NewReader(b.Bytes()), size)
		require.NoError(t, err)
		require.False(t, img.NeedsRecovery())
	}
	return b.Bytes()
}

// asMade is an image that the builder makes with the identifier and time of the exports, and
// their creator unless it names another.
func asMade(img *vhdtest.Image) *vhdtest.Image {
	img.ID, img.Time = exportedID, secondsOf(exportedTime)
	img.App, img.AppVersion, img.Host, img.EndAlign = cmp.Or(img.App, "gvhd"), 0x00010000, "Wi2k", 4096
	if img.Type == vhdtest.Fixed {
		img.EndAlign = 0
	}
	return img
}

func sameOptions(diskType vhd.DiskType) vhd.ExportOptions {
	return vhd.ExportOptions{Type: diskType, ID: exportedID, Time: exportedTime}
}

// requireExported compares with the builder's bytes, which are the specification's.
func requireExported(t *testing.T, d *vhd.Disk, opts vhd.ExportOptions, want *vhdtest.Image) {
	t.Helper()
	requireSameBytes(t, asMade(want).Build(t), exportVHD(t, d, opts), 0)
}

func TestAnExportedFixedDiskIsTheContentAndAFooter(t *testing.T) {
	disk := newExtentChain(t, vhdtest.NewMemFS())
	content := contentOf(t, disk)
	requireExported(t, disk, sameOptions(vhd.Fixed), &vhdtest.Image{Type: vhdtest.Fixed, Size: disk.Size(), Data: content})

	got := exportVHD(t, disk, sameOptions(vhd.Fixed))
	footer, err := hex.DecodeString("636f6e6563746978" + "00000002" + "00010000" + "ffffffffffffffff" + "31143072" +
		"67766864" + "00010000" + "5769326b" + "0000000000400000" + "0000000000400000" + "0078" + "04" + "11" + "00000002")
	require.NoError(t, err)
	require.Equal(t, footer, got[4<<20:][:64], "fields as the specification has them")
}

// The blocks of what is exported stand in the order of the disk, where Windows puts
// them.
func TestAnExportedDynamicDiskHasTheBlocksThatAnyImageHas(t *testing.T) {
	disk := newExtentChain(t, vhdtest.NewMemFS())
	content := contentOf(t, disk)
	const block = extentBlock
	var blocks []vhdtest.Block
	for i, index := range []int{0, 1, 2, 3, 4, 5, 8} {
		blocks = append(blocks, vhdtest.Block{Index: index, Off: 8192 + 3584 + int64(i)*(block+4096), Data: content[index*block:][:block]})
	}
	requireExported(t, disk, sameOptions(vhd.Dynamic), &vhdtest.Image{Size: disk.Size(), BlockSize: block, Blocks: blocks})

	opts := sameOptions(vhd.Dynamic)
	opts.BlockSize = 2 << 20
	requireExported(t, disk, opts, &vhdtest.Image{Size: disk.Size(), Blocks: []vhdtest.Block{{Off: 7680, Data: content[:2<<20]}}})

	opts.BlockSize = 512
	blocks = nil
	for index := range 9 * block / 512 {
		if sector := index / (block / 512); sector < 6 || sector == 8 {
			blocks = append(blocks, vhdtest.Block{Index: index, Off: 36864 + 3584 + int64(len(blocks))*1024, Data: content[index*512:][:512]})
		}
	}
	requireExported(t, disk, opts, &vhdtest.Image{Size: disk.Size(), BlockSize: 512, Blocks: blocks})
}

// deltaOf is a differencing disk as the builder makes one beside its parent, for
// tables of up to a page.
func deltaOf(parent string, parentID uuid.UUID, img *vhdtest.Image) *vhdtest.Image {
	img.Type, img.ParentID, img.ParentTime = vhdtest.Differencing, parentID, secondsOf(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	img.ParentName = `\` + parent
	img.Locators[0], img.Locators[1] = vhdtest.W2ku(`\`+parent).At(4096), vhdtest.W2ru(`.\`+parent).At(8192)
	img.Locators[0].Area, img.Locators[1].Area = 4096, 4096
	img.BATOff, img.BATArea = 12288, 4096
	return img
}

func TestAnExportedDeltaHasTheSectorsThatChangedSinceItsBase(t *testing.T) {
	disk := newExtentChain(t, vhdtest.NewMemFS())
	content := contentOf(t, disk)
	const first = 16384 + 3584
	chain := disk.Chain()
	for base, changed := range map[int][]int{1: {1, 3, 8}, 2: {1, 2, 3, 4, 5, 8}} {
		var blocks []vhdtest.Block
		for i, index := range changed {
			blocks = append(blocks, vhdtest.Block{Index: index, Off: first + int64(i)*(extentBlock+4096), Data: content[index*extentBlock:][:extentBlock]})
		}
		opts := sameOptions(vhd.Differencing)
		opts.Base = base
		img := deltaOf([]string{"", "middle.vhd", "base.vhd"}[base], chain[base].Footer().ID, &vhdtest.Image{Size: disk.Size(), BlockSize: extentBlock, Blocks: blocks})
		requireExported(t, disk, opts, img)

		opts.BlockSize = 1 << 20
		data := make([]byte, 1<<20)
		bits := vhdtest.Bitmap(2048, func(sector int) bool {
			if slices.Contains(changed, sector/8) {
				copy(data[sector*512:], content[sector*512:][:512])
				return true
			}
			return false
		})
		img.BlockSize, img.Blocks = 1<<20, []vhdtest.Block{{Off: first, Bitmap: bits, Data: data}}
		requireExported(t, disk, opts, img)

		opts.BlockSize = 1024
		img.BlockSize, img.Blocks, img.BATArea = 1024, nil, 16384
		for _, index := range changed {
			for i := range 4 {
				img.Blocks = append(img.Blocks, vhdtest.Block{
					Index: 4*index + i, Off: 28672 + 3584 + int64(len(img.Blocks))*1536, Data: content[index*extentBlock+i*1024:][:1024],
				})
			}
		}
		requireExported(t, disk, opts, img)
	}
}

// Behind the end of the disk the last block has zeros, and no sectors in a delta.
func TestTheLastBlockOfAnExportEndsWithTheDisk(t *testing.T) {
	fsys := vhdtest.NewMemFS()
	opts := vhd.CreateOptions{Options: vhd.Options{FS: fsys}, Size: 5 * 512, BlockSize: 4096}
	base, err := vhd.Create("base.vhd", opts)
	require.NoError(t, err)
	require.NoError(t, base.Close())
	opts.Parent, opts.Size = "base.vhd", 0
	disk, err := vhd.Create("leaf.vhd", opts)
	require.NoError(t, err)
	defer disk.Close()
	_, err = disk.WriteAt(bytes.Repeat([]byte{7}, 512), 4*512)
	require.NoError(t, err)
	data := append(make([]byte, 4*512), bytes.Repeat([]byte{7}, 512)...)
	export := sameOptions(vhd.Dynamic)
	requireExported(t, disk, export, &vhdtest.Image{Size: 5 * 512, BlockSize: 4096, Blocks: []vhdtest.Block{{Off: 7680, Data: data}}})
	export.Type, export.Base = vhd.Differencing, 1
	requireExported(t, disk, export, deltaOf("base.vhd", disk.Chain()[1].Footer().ID, &vhdtest.Image{
		Size: 5 * 512, BlockSize: 4096, Blocks: []vhdtest.Block{{Off: 16384 + 3584, Bitmap: []byte{0b00001000}, Data: data}},
	}))
}

func TestADeltaHasNoSectorThatDidNotChange(t *testing.T) {
	const block, second = 64 << 10, 4 << 20 // in another window
	fsys := vhdtest.NewMemFS()
	opts := vhd.CreateOptions{Options: vhd.Options{FS: fsys}, Size: 8 << 20, BlockSize: block}
	base, err := vhd.Create("base.vhd", opts)
	require.NoError(t, err)
	_, err = base.WriteAt(fill(1, opts.Size), 0)
	require.NoError(t, err)
	require.NoError(t, base.Close())
	opts.Parent = "base.vhd"
	disk, err := vhd.Create("leaf.vhd", opts)
	require.NoError(t, err)
	defer disk.Close()
	_, err = disk.WriteAt(fill(2, block), 0)
	require.NoError(t, err)
	_, err = disk.WriteAt(fill(3, 512), second+1024)
	require.NoError(t, err)
	export := sameOptions(vhd.Differencing)
	export.Base = 1
	const first = 16384 + 3584
	requireExported(t, disk, export, deltaOf("base.vhd", disk.Chain()[1].Footer().ID, &vhdtest.Image{
		Size: opts.Size, BlockSize: block, Blocks: []vhdtest.Block{
			{Off: first, Data: fill(2, block)},
			{Index: second / block, Off: first + block + 4096, Bitmap: []byte{0b00100000}, Data: append(make([]byte, 1024), fill(3, 512)...)},
		},
	}))
}

// What has no blocks is what Create makes.
func TestAnExportOfNothingIsANewImage(t *testing.T) {
	fsys := vhdtest.NewMemFS()
	fixed := vhd.CreateOptions{Options: vhd.Options{FS: fsys}, Size: 10 << 20, ID: uuid.UUID{1}, Time: exportedTime}
	base, err := vhd.Create("base.vhd", fixed)
	require.NoError(t, err)
	require.NoError(t, base.Close())
	fixed.ID, fixed.Parent = exportedID, "base.vhd"
	disk, err := vhd.Create("leaf.vhd", fixed)
	require.NoError(t, err)
	opts := sameOptions(vhd.Differencing)
	opts.Base = 1
	requireSameBytes(t, mustReadFile(t, fsys, "leaf.vhd"), exportVHD(t, disk, opts), 0)
	opts = sameOptions(vhd.Dynamic)
	opts.ID = uuid.UUID{1}
	requireSameBytes(t, mustReadFile(t, fsys, "base.vhd"), exportVHD(t, disk, opts), 0)
	require.NoError(t, disk.Close())
}

// TestOthersReadWhatIsExported has every reader that gets such an image right read
// exports, those of differencing disks beside their parents.
func TestOthersReadWhatIsExported(t *testing.T) {
	nimages := 40
	if testing.Short() {
		nimages = 6
	}
	for _, reader := range []vhdtest.Reader{vhdtest.Qemu, vhdtest.SevenZip, vhdtest.Libvhdi} {
		reader.Need(t)
	}
	asked := map[string]int{}
	for seed := range nimages {
		t.Run(fmt.Sprintf("image %d", seed), func(t *testing.T) {
			img := makeForeignImage(t, uint64(1000+seed))
			disk, err := vhd.Open(img.names[0], nil)
			require.NoError(t, err)
			for _, opts := range exportsOf(img) {
				name := filepath.Join(filepath.Dir(img.names[0]), "exportiert ä.vhd")
				exportToFile(t, disk, name, opts)
				for _, reader := range readersOf(img, opts) {
					asked[fmt.Sprint(reader.Name, " ", opts.Type)]++
					names := append([]string{name}, img.names[max(1, opts.Base):]...)
					if opts.Base == 0 {
						names = names[:1]
					}
					requireSameBytes(t, img.model.Content(), reader.Content(t, names...), 0)
				}
				require.NoError(t, os.Remove(name))
			}
			require.NoError(t, disk.Close())
		})
	}
	t.Logf("asked: %v", asked)
	for _, what := range []string{"qemu-img fixed", "qemu-img dynamic", "7zz fixed", "7zz dynamic", "7zz differencing", "libvhdi differencing"} {
		require.Positive(t, asked[what], what)
	}
}

func exportToFile(t testing.TB, disk *vhd.Disk, name string, opts vhd.ExportOptions) {
	t.Helper()
	f, err := os.Create(name)
	require.NoError(t, err)
	n, err := disk.Export(t.Context(), f, opts)
	require.NoError(t, err)
	size, err := f.Seek(0, io.SeekCurrent)
	require.NoError(t, err)
	require.Equal(t, n, size)
	require.NoError(t, f.Close())
}

// exportsOf are as what an image is exported.
func exportsOf(img *foreignImage) []vhd.ExportOptions {
	exports := []vhd.ExportOptions{{Type: vhd.Fixed}, {Type: vhd.Dynamic, BlockSize: 1 << 20}}
	if img.smallest < 1<<30 { // its leaf has blocks
		exports = append(exports, vhd.ExportOptions{Type: vhd.Dynamic})
	}
	for base := 1; base < len(img.names); base++ {
		exports = append(exports, vhd.ExportOptions{Type: vhd.Differencing, Base: base})
	}
	return exports
}

// readersOf are those that get an export of an image right.
func readersOf(img *foreignImage, opts vhd.ExportOptions) []vhdtest.Reader {
	switch {
	case opts.Type == vhd.Differencing:
		var readers []vhdtest.Reader
		for _, reader := range img.readers() {
			if reader.Name != vhdtest.Qemu.Name {
				readers = append(readers, reader)
			}
		}
		return readers
	case opts.Type == vhd.Fixed || opts.BlockSize == 1<<20:
		return []vhdtest.Reader{vhdtest.Qemu, vhdtest.SevenZip, vhdtest.Libvhdi}
	case img.smallest >= 4096:
		return []vhdtest.Reader{vhdtest.Qemu, vhdtest.SevenZip}
	}
	return []vhdtest.Reader{vhdtest.SevenZip}
}

// Chains as others make them, whose content is the builder's word.
func TestExportsOfForeignChainsReadAsTheChains(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			chain := vhdtest.RandomChain(seed, vhdtest.ChainOptions{Limits: vhdtest.Anything})
			dir := t.TempDir()
			disk, err := vhd.Open(chain.WriteDir(t, dir)[0], nil)
			require.NoError(t, err)
			name := filepath.Join(dir, "exported.vhd")
			exports := []vhd.ExportOptions{{Type: vhd.Fixed}, {Type: vhd.Dynamic}, {Type: vhd.Dynamic, BlockSize: 64 << 10}}
			for base := 1; base < len(chain.Images); base++ {
				exports = append(exports, vhd.ExportOptions{Type: vhd.Differencing, Base: base})
			}
			for _, opts := range exports {
				stream := exportVHD(t, disk, opts)
				exportToFile(t, disk, name, opts)
				info, err := os.Stat(name)
				require.NoError(t, err)
				require.EqualValues(t, len(stream), info.Size())
				again, err := vhd.Open(name, &vhd.Options{Writable: true})
				require.NoError(t, err)
				require.True(t, bytes.Equal(chain.Content(t), readAll(t, again, again.Size())), "%+v", opts)
				require.NoError(t, again.Close())
			}
			require.NoError(t, disk.Close())
		})
	}
}

func TestAnExportToAFileIsThatToAStream(t *testing.T) {
	disk := newExtentChain(t, vhdtest.NewMemFS())
	for _, opts := range []vhd.ExportOptions{
		sameOptions(vhd.Fixed), {Azure: true, ID: exportedID, Time: exportedTime}, sameOptions(vhd.Dynamic),
		{Type: vhd.Differencing, Base: 2, ID: exportedID, Time: exportedTime, BlockSize: 2 << 20},
	} {
		want := exportVHD(t, disk, opts)
		for sink, received := range sinks(t) {
			t.Run(fmt.Sprintf("%v to %s", opts.Type, sink), func(t *testing.T) {
				opts, last := opts, int64(0)
				opts.Progress = func(done, total int64) {
					require.Equal(t, disk.Size(), total)
					require.GreaterOrEqual(t, done, last)
					last = done
				}
				got := received(t, func(w io.Writer) {
					n, err := disk.Export(t.Context(), w, opts)
					require.NoError(t, err)
					require.EqualValues(t, len(want), n)
				})
				require.Equal(t, disk.Size(), last)
				requireSameBytes(t, want, got, 0)
			})
		}
	}
}

func TestAnExportOverAFileOfOtherContentLeavesNothingOfIt(t *testing.T) {
	disk := newPatchyChain(t, vhdtest.NewMemFS())
	for _, opts := range exportKinds[1:] {
		opts.ID, opts.Time = exportedID, exportedTime
		want := exportVHD(t, disk, opts)
		name := filepath.Join(t.TempDir(), "out")
		require.NoError(t, os.WriteFile(name, bytes.Repeat([]byte("dirt"), len(want)/4), 0o600))
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		require.NoError(t, err)
		_, err = disk.Export(t.Context(), f, opts)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		got, err := os.ReadFile(name)
		require.NoError(t, err)
		requireSameBytes(t, want, got, 0)
	}
	require.NoError(t, disk.Close())
}

// It would have its length already, and a copy of the footer is enough to be opened.
func TestAFileWhoseExportDidNotEndIsNoVHD(t *testing.T) {
	disk := newPatchyChain(t, vhdtest.NewMemFS())
	for _, opts := range exportKinds[1:] {
		for _, start := range []int64{0, 1000} {
			f, err := os.Create(filepath.Join(t.TempDir(), "out"))
			require.NoError(t, err)
			_, err = f.Seek(start, io.SeekStart)
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			opts.Progress = func(int64, int64) {
				info, err := f.Stat()
				require.NoError(t, err)
				_, err = vhd.Inspect(io.NewSectionReader(f, start, info.Size()-start), info.Size()-start)
				require.ErrorIs(t, err, vhd.ErrFormat, "%v", opts.Type)
				cancel()
			}
			_, err = disk.Export(ctx, f, opts)
			require.ErrorIs(t, err, context.Canceled)
			at, err := f.Seek(0, io.SeekCurrent)
			require.NoError(t, err)
			require.Equal(t, start, at)
			require.NoError(t, f.Close())
		}
	}
	require.NoError(t, disk.Close())
}

func TestADiskForAzureIsOfWholeMiBAndAtLeastTwenty(t *testing.T) {
	vhdtest.Qemu.Need(t)
	for _, c := range []struct{ size, want int64 }{
		{512, 20 << 20}, {19 << 20, 20 << 20}, {20 << 20, 20 << 20}, {20<<20 + 512, 21 << 20}, {21<<20 - 512, 21 << 20},
	} {
		disk, err := vhd.Create("x.vhd", vhd.CreateOptions{Options: vhd.Options{FS: vhdtest.NewMemFS()}, Size: c.size})
		require.NoError(t, err)
		_, err = disk.WriteAt([]byte{1, 2, 3}, c.size-3)
		require.NoError(t, err)
		content := append(contentOf(t, disk), make([]byte, c.want-c.size)...)
		for _, diskType := range []vhd.DiskType{0, vhd.Fixed} {
			opts := sameOptions(diskType)
			opts.Azure = true
			requireExported(t, disk, opts, &vhdtest.Image{Type: vhdtest.Fixed, Size: c.want, Data: content, App: "win "})
			opts.Creator = vhd.CreatorVHD
			requireExported(t, disk, opts, &vhdtest.Image{Type: vhdtest.Fixed, Size: c.want, Data: content})
		}
		name := filepath.Join(t.TempDir(), "azure.vhd")
		exportToFile(t, disk, name, vhd.ExportOptions{Azure: true})
		requireSameBytes(t, content, vhdtest.Qemu.Content(t, name), 0)
		require.NoError(t, disk.Close())
	}
}

func TestZerosOverAParentsDataAreInTheDelta(t *testing.T) {
	vhdtest.SevenZip.Need(t)
	dir := t.TempDir()
	base, err := vhd.Create(filepath.Join(dir, "base.vhd"), vhd.CreateOptions{Size: 8 << 20})
	require.NoError(t, err)
	want := bytes.Repeat([]byte("data"), 2<<20)
	_, err = base.WriteAt(want, 0)
	require.NoError(t, err)
	require.NoError(t, base.Close())
	disk, err := vhd.Create(filepath.Join(dir, "leaf.vhd"), vhd.CreateOptions{Parent: base.Chain()[0].Name()})
	require.NoError(t, err)
	_, err = disk.WriteAt(make([]byte, 8<<10), 1<<20)
	require.NoError(t, err)
	require.NoError(t, disk.WriteZeroes(3<<20, 3<<20))
	clear(want[1<<20:][:8<<10])
	clear(want[3<<20:][:3<<20])
	name := filepath.Join(dir, "delta.vhd")
	exportToFile(t, disk, name, vhd.ExportOptions{Type: vhd.Differencing, Base: 1})
	require.NoError(t, disk.Close())
	requireSameBytes(t, want, vhdtest.SevenZip.Content(t, name), 0)
}

// The base shows through nowhere where a smaller image between ends before it.
func TestADeltaHasZerosForWhatASmallerImageHides(t *testing.T) {
	vhdtest.SevenZip.Need(t)
	fsys := vhdtest.NewMemFS()
	disk := smallMiddle(t, fsys)
	want := bytes.Repeat([]byte{'b'}, 8*extentBlock)
	for block, letter := range map[int]byte{2: 'm', 4: 0, 5: 0, 6: 'l', 7: 0} {
		copy(want[block*extentBlock:], bytes.Repeat([]byte{letter}, extentBlock))
	}
	delta := exportVHD(t, disk, vhd.ExportOptions{Type: vhd.Differencing, Base: 2})
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "base.vhd"), mustReadFile(t, fsys, "base.vhd"), 0o600))
	name := filepath.Join(dir, "delta.vhd")
	require.NoError(t, os.WriteFile(name, delta, 0o600))
	requireSameBytes(t, want, vhdtest.SevenZip.Content(t, name), 0)

	img := inspect(t, delta)
	blocks, err := img.AllocatedBlocks()
	require.NoError(t, err)
	require.Equal(t, 4, blocks, "and nothing where the base has nothing either")
}

// Of files that the caller opened only the names are known, or not even those.
func TestADeltaOfFilesThatTheCallerOpenedNamesItsParentIfItCan(t *testing.T) {
	fsys := vhdtest.NewMemFS()
	require.NoError(t, newExtentChain(t, fsys).Close())
	var images [][]byte
	var named, nameless []vhd.File
	for _, name := range []string{"leaf.vhd", "middle.vhd", "base.vhd"} {
		f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
		require.NoError(t, err)
		images = append(images, mustReadFile(t, fsys, name))
		named = append(named, f)
		nameless = append(nameless, vhd.ReadOnlyFile(bytes.NewReader(images[len(images)-1]), int64(len(images[len(images)-1]))))
	}
	for _, c := range []struct {
		files []vhd.File
		want  []vhd.ParentRef
	}{
		{named, []vhd.ParentRef{{Origin: "W2ru", Path: `.\base.vhd`}, {Origin: "header", Path: `.\base.vhd`}}},
		{nameless, nil},
	} {
		disk, err := vhd.OpenChain(nil, c.files...)
		require.NoError(t, err)
		delta := exportVHD(t, disk, vhd.ExportOptions{Type: vhd.Differencing, Base: 2})
		require.Equal(t, c.want, inspect(t, delta).ParentRefs())
		requireSameBytes(t, contentOf(t, disk), contentOf(t, openAll(t, delta, images[2])), 0)
		require.NoError(t, disk.Close())
	}
}

func TestADeltaNamesItsParentFromWhereItWillStand(t *testing.T) {
	f := newLineage(t)
	require.NoError(t, os.Mkdir(f.name("out"), 0o755))
	absolute := strings.ReplaceAll(f.name("base.vhd"), "/", `\`)
	for _, root := range []string{"", f.dir} {
		disk, err := vhd.Open(f.name("leaf.vhd"), &vhd.Options{Root: root})
		require.NoError(t, err)
		for name, want := range map[string]string{"": `.\base.vhd`, "delta.vhd": `.\base.vhd`, "out/delta.vhd": `..\base.vhd`} {
			opts := vhd.ExportOptions{Type: vhd.Differencing, Base: 2}
			if name != "" {
				opts.Name = f.name(name)
			}
			refs := inspect(t, exportVHD(t, disk, opts)).ParentRefs()
			require.Contains(t, refs, vhd.ParentRef{Origin: "W2ru", Path: want})
			require.Contains(t, refs, vhd.ParentRef{Origin: "W2ku", Path: absolute})
		}
		elsewhere := filepath.Join(t.TempDir(), "delta.vhd") // and outside Root
		refs := inspect(t, exportVHD(t, disk, vhd.ExportOptions{Type: vhd.Differencing, Base: 2, Name: elsewhere})).ParentRefs()
		require.Contains(t, refs, vhd.ParentRef{Origin: "W2ku", Path: absolute})
		require.NoError(t, disk.Close())
	}

	disk, err := vhd.Open(f.name("leaf.vhd"), nil)
	require.NoError(t, err)
	_, err = disk.ExportSize(t.Context(), vhd.ExportOptions{Type: vhd.Differencing, Base: 1, Name: f.name("nowhere/delta.vhd")})
	require.ErrorIs(t, err, fs.ErrNotExist)
	exportToFile(t, disk, f.name("out/delta.vhd"), vhd.ExportOptions{Type: vhd.Differencing, Base: 2, Name: f.name("out/delta.vhd")})
	require.NoError(t, disk.Close())
	moved := f.dir + "-moved" // where the absolute path leads nowhere
	require.NoError(t, os.Rename(f.dir, moved))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(moved)) })
	disk, err = vhd.Open(filepath.Join(moved, "out", "delta.vhd"), &vhd.Options{Root: moved})
	require.NoError(t, err)
	requireSameBytes(t, f.leaf, readAll(t, disk, lineageSize), 0)
	require.NoError(t, disk.Close())
}

func TestADeltaOfAParentWhoseNameCanNotBeStoredIsRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no file has such a name here")
	}
	base := vhdtest.NewDynamic(1 << 20)
	dir := t.TempDir()
	base.WriteFile(t, filepath.Join(dir, "a:b.vhd"))
	child := vhdtest.NewChild(base, "other.vhd")
	child.WriteFile(t, filepath.Join(dir, "child.vhd"))
	disk, err := vhd.Open(filepath.Join(dir, "child.vhd"), &vhd.Options{Search: []string{dir}})
	require.NoError(t, err)
	_, err = disk.ExportSize(t.Context(), vhd.ExportOptions{Type: vhd.Differencing, Base: 1})
	require.ErrorIs(t, err, vhd.ErrUnsupported)
	require.ErrorContains(t, err, "a:b.vhd")
	require.NoError(t, disk.Close())
}

func TestExportOptionsThatMakeNoSense(t *testing.T) {
	disk := newExtentChain(t, vhdtest.NewMemFS())
	for _, c := range []struct {
		opts vhd.ExportOptions
		want error
	}{
		{vhd.ExportOptions{Type: 9}, fs.ErrInvalid},
		{vhd.ExportOptions{Type: vhd.Differencing}, fs.ErrInvalid},
		{vhd.ExportOptions{Type: vhd.Differencing, Base: -1}, fs.ErrInvalid},
		{vhd.ExportOptions{Type: vhd.Differencing, Base: 3}, fs.ErrInvalid},
		{vhd.ExportOptions{Base: 1}, fs.ErrInvalid},
		{vhd.ExportOptions{Type: vhd.Dynamic, Base: 1}, fs.ErrInvalid},
		{vhd.ExportOptions{BlockSize: 4096}, fs.ErrInvalid},
		{vhd.ExportOptions{Type: vhd.Fixed, BlockSize: 4096}, fs.ErrInvalid},
		{vhd.ExportOptions{Type: vhd.Dynamic, BlockSize: 4095}, fs.ErrInvalid},
		{vhd.ExportOptions{Type: vhd.Dynamic, BlockSize: 256}, fs.ErrInvalid},
		{vhd.ExportOptions{Type: vhd.Dynamic, BlockSize: 512 << 20}, fs.ErrInvalid},
		{vhd.ExportOptions{Type: vhd.Dynamic, BlockSize: -1}, fs.ErrInvalid},
		{vhd.ExportOptions{Type: vhd.Dynamic, Azure: true}, fs.ErrInvalid},
		{vhd.ExportOptions{Type: vhd.Differencing, Base: 1, Azure: true}, fs.ErrInvalid},
		{vhd.ExportOptions{ID: exportedID}, fs.ErrInvalid},
		{vhd.ExportOptions{Time: exportedTime}, fs.ErrInvalid},
		{vhd.ExportOptions{Creator: vhd.CreatorQemu}, fs.ErrInvalid},
		{vhd.ExportOptions{Type: vhd.Fixed, Creator: "qemu-img"}, fs.ErrInvalid},
		{vhd.ExportOptions{Type: vhd.Fixed, Time: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)}, vhd.ErrUnsupported},
	} {
		_, err := disk.ExportSize(t.Context(), c.opts)
		require.ErrorIs(t, err, c.want, "%+v", c.opts)
		require.ErrorContains(t, err, "leaf.vhd")
		_, _, err = disk.ExportBounds(c.opts)
		require.ErrorIs(t, err, c.want, "%+v", c.opts)
		var b bytes.Buffer
		n, err := disk.Export(t.Context(), &b, c.opts)
		require.ErrorIs(t, err, c.want, "%+v", c.opts)
		require.Zero(t, n)
		require.Zero(t, b.Len())
	}
	require.NoError(t, disk.Close())
	_, err := disk.ExportSize(t.Context(), vhd.ExportOptions{})
	require.Equal(t, vhd.ErrClosed, err)
	_, _, err = disk.ExportBounds(vhd.ExportOptions{})
	require.Equal(t, vhd.ErrClosed, err)
}
