package vhd_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// inMemory is an FS that holds one image, disk.vhd.
func inMemory(t testing.TB, file []byte) *vhdtest.MemFS {
	t.Helper()
	mem := vhdtest.NewMemFS()
	require.NoError(t, mem.WriteFile("disk.vhd", file))
	return mem
}

// inspect is Inspect of a file that must be sound.
func inspect(t testing.TB, file []byte) *vhd.Image {
	t.Helper()
	img, err := vhd.Inspect(bytes.NewReader(file), int64(len(file)))
	require.NoError(t, err)
	return img
}

// openFile opens an image without its parents, for reading. It must be sound.
func openFile(t testing.TB, file []byte) *vhd.Disk {
	t.Helper()
	d, err := vhd.Open("disk.vhd", &vhd.Options{FS: inMemory(t, file), NoParents: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

// openAll opens files as a chain, leaf first, for reading.
func openAll(t testing.TB, files ...[]byte) *vhd.Disk {
	t.Helper()
	return openAllWith(t, nil, files...)
}

func openAllWith(t testing.TB, opts *vhd.Options, files ...[]byte) *vhd.Disk {
	t.Helper()
	var chain []vhd.File
	for _, file := range files {
		chain = append(chain, vhd.ReadOnlyFile(bytes.NewReader(file), int64(len(file))))
	}
	d, err := vhd.OpenChain(opts, chain...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

// contentOf is all that the disk reads as, in one read.
func contentOf(t testing.TB, d *vhd.Disk) []byte {
	t.Helper()
	p := bytes.Repeat([]byte{0xA5}, int(d.Size()))
	n, err := d.ReadAt(p, 0)
	require.NoError(t, err)
	require.Len(t, p, n)
	return p
}

// requireContent compares without printing megabytes.
func requireContent(t testing.TB, want, got []byte) {
	t.Helper()
	if bytes.Equal(want, got) {
		return
	}
	if len(want) != len(got) {
		require.Failf(t, "content has another length", "want %d bytes, got %d", len(want), len(got))
	}
	for i := range want {
		if want[i] != got[i] {
			require.Failf(t, "content differs", "first at byte %d, sector %d: want %#02x, got %#02x", i, i/512, want[i], got[i])
		}
	}
}

// fill is n bytes that tell their sector and the seed.
func fill(seed byte, n int64) []byte {
	p := make([]byte, 0, n+511)
	for sector := 0; int64(len(p)) < n; sector++ {
		p = append(p, bytes.Repeat([]byte{byte(sector) ^ byte(sector>>8) ^ seed | 1}, 512)...)
	}
	return p[:n]
}

func TestImagesOfEveryBlockSizeAreRead(t *testing.T) {
	for size := int64(512); size <= 256<<20; size *= 2 {
		t.Run(fmt.Sprintf("%d", size), func(t *testing.T) {
			nsectors := int(size / 512)
			odd := vhdtest.Bitmap(nsectors, func(sector int) bool { return sector%3 == 0 || sector == nsectors-1 })
			data := fill(7, min(size, 1<<20))
			img := vhdtest.NewDynamic(size*3,
				vhdtest.Block{Index: 2, Data: data}, vhdtest.Block{Index: 0, Data: data, Bitmap: odd})
			img.BlockSize = size
			name := t.TempDir() + "/disk.vhd"
			img.WriteFile(t, name)
			d, err := vhd.Open(name, nil)
			require.NoError(t, err)
			defer d.Close()

			require.Equal(t, size*3, d.Size())
			n, err := d.Chain()[0].AllocatedBlocks()
			require.NoError(t, err)
			require.Equal(t, 2, n)
			h, ok := d.Chain()[0].Header()
			require.True(t, ok)
			require.Equal(t, size, h.BlockSize)
			for _, off := range []int64{0, size - 4096, size, 2*size - 512, 2 * size, 3*size - 70000} {
				off = max(off, 0)
				p := make([]byte, min(70000, 3*size-off))
				_, err := d.ReadAt(p, off)
				require.NoError(t, err)
				requireContent(t, vhdtest.ContentRange(t, []*vhdtest.Image{img}, off, int64(len(p))), p)
			}
		})
	}
}

func TestTheHeaderAndTheTableMayStandAnywhere(t *testing.T) {
	for name, edit := range map[string]func(img *vhdtest.Image){
		"as usual":                     func(*vhdtest.Image) {},
		"a header further on":          func(img *vhdtest.Image) { img.HeaderOff = 9 * 512 },
		"the table first":              func(img *vhdtest.Image) { img.BATOff, img.HeaderOff = 512, 2048 },
		"the table far behind":         func(img *vhdtest.Image) { img.BATOff = 64 << 10 },
		"the table behind all blocks":  func(img *vhdtest.Image) { img.BATOff = 4 << 20 },
		"the header behind all blocks": func(img *vhdtest.Image) { img.HeaderOff = 4<<20 + 512 },
		"the header last, then footer": func(img *vhdtest.Image) { img.HeaderOff, img.EndAlign = 5<<20, 0 },
		"slack before the footer":      func(img *vhdtest.Image) { img.Slack, img.SlackByte = 2900<<10, 0x5A },
		"footers that end pages":       func(img *vhdtest.Image) { img.EndAlign = 4096 },
		"a footer of 511 bytes":        func(img *vhdtest.Image) { img.Footer = vhdtest.Footer511 },
		"reserved bytes":               func(img *vhdtest.Image) { img.FooterReserved, img.HeaderReserved = fill(3, 427), fill(4, 256) },
		"a saved state":                func(img *vhdtest.Image) { img.SavedState = 1 },
		"a temporary disk":             func(img *vhdtest.Image) { img.Features = 3 },
		"no features at all":           func(img *vhdtest.Image) { img.Features = 0x80000000 },
		"another original size":        func(img *vhdtest.Image) { img.OriginalSize = 512 },
		"a geometry beyond its size": func(img *vhdtest.Image) {
			img.Geometry = &vhdtest.Geometry{Cylinders: 65535, Heads: 16, SectorsPerTrack: 255}
		},
		"no geometry":                 func(img *vhdtest.Image) { img.Geometry = &vhdtest.Geometry{} },
		"a creator that nobody knows": func(img *vhdtest.Image) { img.App, img.Host = "\x00\xff?!", "\x00\x00\x00\x00" },
		"a creator that qemu would ask": func(img *vhdtest.Image) {
			img.App, img.Geometry = "qemu", &vhdtest.Geometry{Cylinders: 1, Heads: 1, SectorsPerTrack: 1}
		},
	} {
		t.Run(name, func(t *testing.T) {
			img := vhdtest.NewDynamic(2<<20+512, vhdtest.Block{Index: 1, Data: fill(1, 1<<20)}, vhdtest.Block{Index: 2, Data: fill(2, 1<<20)})
			img.BlockSize = 1 << 20
			edit(img)
			file := img.Build(t)
			d := openFile(t, file)
			requireContent(t, img.Content(t, nil), contentOf(t, d))
			require.False(t, d.Chain()[0].NeedsRecovery())
			require.Equal(t, int64(len(file)), d.Chain()[0].FileSize())
			require.Equal(t, "disk.vhd", d.Chain()[0].Name())
			require.Equal(t, uuid.UUID(img.ID), d.Chain()[0].Footer().ID)

			want := img.Content(t, nil)
			mem := inMemory(t, file)
			rewritten(t, mem, func(d *vhd.Disk) {
				for _, off := range []int64{0, 1 << 20, 2 << 20} { // a new block, an old one, and the short last one
					copy(want[off:], fill(0x55, 512))
					_, err := d.WriteAt(fill(0x55, 512), off)
					require.NoError(t, err)
				}
			})
			after := openFile(t, fileOf(t, mem))
			requireContent(t, want, contentOf(t, after))
			require.False(t, after.Chain()[0].NeedsRecovery())
			require.Equal(t, d.Chain()[0].Footer().Reserved, after.Chain()[0].Footer().Reserved)
		})
	}
}

func TestAFixedDiskHasNoHeaderAndNoBlocks(t *testing.T) {
	img := vhdtest.NewFixed(3<<20+512, fill(9, 1<<20))
	for _, form := range []vhdtest.FooterForm{vhdtest.FooterWhole, vhdtest.Footer511} {
		img.Footer = form
		file := img.Build(t)
		d := openFile(t, file)
		requireContent(t, img.Content(t, nil), contentOf(t, d))
		m := d.Chain()[0]
		h, ok := m.Header()
		require.False(t, ok)
		require.Equal(t, vhd.DynamicHeader{}, h)
		n, err := m.AllocatedBlocks()
		require.NoError(t, err)
		require.Zero(t, n)
		require.Empty(t, m.ParentRefs())
		require.False(t, m.NeedsRecovery())
		require.Equal(t, int64(len(file)), m.FileSize())
		require.Equal(t, vhd.Fixed, m.Footer().Type)
	}
}

func TestAFixedDiskMayBeSmallerThanItsFile(t *testing.T) {
	file := vhdtest.NewFixed(1<<20, fill(1, 1<<20)).Build(t)
	vhdtest.EditFooter(t, file, func(f []byte) { binary.BigEndian.PutUint64(f[48:], 1<<19) })
	require.Equal(t, fill(1, 1<<20)[:1<<19], contentOf(t, openFile(t, file)))
}

func TestADiskWithoutParentReadsZerosUnderClearBits(t *testing.T) {
	odd := vhdtest.Bitmap(4096, func(sector int) bool { return sector%2 == 1 })
	img := vhdtest.NewDynamic(2<<20, vhdtest.Block{Index: 0, Data: fill(1, 2<<20), Bitmap: odd})
	want := fill(1, 2<<20)
	for sector := 0; sector < 4096; sector += 2 {
		clear(want[sector*512:][:512])
	}
	requireContent(t, want, contentOf(t, openFile(t, img.Build(t))))
}

func TestWhatLiesUnderClearBitsOfAChildIsNeverRead(t *testing.T) {
	base := vhdtest.NewFixed(2<<20, fill(1, 2<<20))
	child := vhdtest.NewChild(base, "base.vhd", vhdtest.Block{
		Index: 0, Data: fill(0x80, 2<<20), Bitmap: vhdtest.Bitmap(4096, func(sector int) bool { return sector%7 == 6 }),
	})
	want, own := fill(1, 2<<20), fill(0x80, 2<<20)
	for sector := 6; sector < 4096; sector += 7 {
		copy(want[sector*512:][:512], own[sector*512:])
	}
	requireContent(t, want, contentOf(t, openAll(t, child.Build(t), base.Build(t))))
}

// Windows sets bits of sectors that the disk does not have.
func TestBitsPastTheDisksEndMeanNothing(t *testing.T) {
	base := vhdtest.NewFixed(1536, fill(1, 1536))
	child := vhdtest.NewChild(base, "base.vhd", vhdtest.Block{Index: 0, Data: fill(2, 2<<20), Bitmap: bytes.Repeat([]byte{0xFF}, 512)})
	require.Equal(t, fill(2, 1536), contentOf(t, openAll(t, child.Build(t), base.Build(t))))

	small := vhdtest.NewDynamic(1536, vhdtest.Block{Index: 0, Data: fill(3, 4096), Bitmap: bytes.Repeat([]byte{0xFF}, 512)})
	small.BlockSize = 4096
	require.Equal(t, fill(3, 1536), contentOf(t, openFile(t, small.Build(t))))
}

func TestADiskOfNoSizeIsAtItsEnd(t *testing.T) {
	for name, img := range map[string]*vhdtest.Image{"fixed": vhdtest.NewFixed(0, nil), "dynamic": vhdtest.NewDynamic(0)} {
		t.Run(name, func(t *testing.T) {
			d := openFile(t, img.Build(t))
			require.Zero(t, d.Size())
			n, err := d.ReadAt(make([]byte, 1), 0)
			require.Zero(t, n)
			require.Equal(t, io.EOF, err)
		})
	}
}

func TestALastBlockThatTheFileCutsOffReadsAsZerosPastTheEnd(t *testing.T) {
	for name, test := range map[string]struct {
		cut    int64
		footer vhdtest.FooterForm
	}{
		"by a sector, before the footer":        {512, vhdtest.FooterWhole},
		"by half, before the footer":            {32 << 10, vhdtest.FooterWhole},
		"to one sector, before the footer":      {64<<10 - 512, vhdtest.FooterWhole},
		"before a footer of 511 bytes":          {4096, vhdtest.Footer511},
		"by a sector, without a footer":         {512, vhdtest.FooterCut},
		"to one sector, without a footer":       {64<<10 - 512, vhdtest.FooterCut},
		"within a sector, without a footer":     {1000, vhdtest.FooterCut},
		"within a sector, before the footer":    {1000, vhdtest.FooterWhole},
		"within the first, without a footer":    {64<<10 - 100, vhdtest.FooterCut},
		"of its last byte, without a footer":    {1, vhdtest.FooterCut},
		"to nothing but its bitmap, and footer": {64 << 10, vhdtest.FooterWhole},
	} {
		t.Run(name, func(t *testing.T) {
			img := vhdtest.NewDynamic(192<<10,
				vhdtest.Block{Index: 2, Data: fill(2, 64<<10)}, vhdtest.Block{Index: 0, Data: fill(1, 64<<10), Cut: test.cut})
			img.BlockSize, img.Footer = 64<<10, test.footer
			requireContent(t, img.Content(t, nil), contentOf(t, openFile(t, img.Build(t))))
		})
	}
}

func TestRandomChainsReadAsTheirContent(t *testing.T) {
	seeds, opts := uint64(300), vhdtest.ChainOptions{Limits: vhdtest.Anything}
	if testing.Short() {
		seeds = 60
	}
	for seed := range seeds {
		if opts.MaxSize = 128 << 10; seed%20 == 0 {
			opts.MaxSize = 5 << 20 // so that windows have neighbours
		}
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			chain := vhdtest.RandomChain(seed, opts)
			var files [][]byte
			for _, img := range chain.Images {
				files = append(files, img.Build(t))
			}
			opts := &vhd.Options{CacheSize: int64(seed % 3)} // so that nothing stays in it, in two of three
			for depth := range files {
				requireReads(t, rand.New(rand.NewPCG(seed, 1)), chain.ContentFrom(t, depth), openAllWith(t, opts, files[depth:]...))
			}
			requireImages(t, chain, files)
		})
	}
}

// requireReads reads at odd places first, so that maps are made in any order, and then all at once.
func requireReads(t testing.TB, rng *rand.Rand, want []byte, d *vhd.Disk) {
	t.Helper()
	require.Equal(t, int64(len(want)), d.Size())
	for range 8 {
		off := rng.IntN(len(want))
		p := make([]byte, 1+rng.IntN(9000))
		n, err := d.ReadAt(p, int64(off))
		rest := want[off:]
		if len(p) > len(rest) {
			require.Equal(t, io.EOF, err)
		} else {
			require.NoError(t, err)
		}
		requireContent(t, rest[:min(len(p), len(rest))], p[:n])
	}
	requireContent(t, want, contentOf(t, d))
}

// requireImages compares what is told of each image with what was built.
func requireImages(t testing.TB, chain *vhdtest.Chain, files [][]byte) {
	t.Helper()
	for i, img := range chain.Images {
		m := inspect(t, files[i])
		n, err := m.AllocatedBlocks()
		require.NoError(t, err)
		require.Equal(t, len(img.Blocks), n)
		require.Equal(t, int64(len(files[i])), m.FileSize())
		damaged := img.Footer != vhdtest.FooterWhole && img.Footer != vhdtest.Footer511 || img.Copy != vhdtest.CopySame
		require.Equal(t, damaged && img.Type != vhdtest.Fixed, m.NeedsRecovery())
		require.Equal(t, img.Size, m.Footer().CurrentSize)
		h, ok := m.Header()
		require.Equal(t, img.Type != vhdtest.Fixed, ok)
		if ok {
			require.Equal(t, img.BlockSize, h.BlockSize)
			require.Equal(t, uuid.UUID(img.ParentID), h.ParentID)
		}
	}
}
