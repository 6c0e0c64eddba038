package vhd_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd/internal/vhdtest"
)

// mostSeed is the largest image that fuzzing starts from: the fuzzer is slow with large ones, and finds what is to be
// found in small ones as well.
const mostSeed = 64 << 10

// soundSeeds are small images of all kinds and forms, which can be read. The base comes first.
func soundSeeds(t testing.TB) [][]byte {
	t.Helper()
	base := vhdtest.NewFixed(16<<10, fill(0x40, 16<<10))
	short := vhdtest.NewFixed(1024, fill(1, 1024))
	short.Footer = vhdtest.Footer511
	every := func(n int) []byte { return vhdtest.Bitmap(8, func(sector int) bool { return sector%n != 1 }) }

	dynamic := vhdtest.NewDynamic(18<<10, vhdtest.Block{Index: 3, Data: fill(3, 4096)}, vhdtest.Block{Index: 0, Data: fill(5, 4096)})
	dynamic.BlockSize = 4096
	windows := *dynamic // as Windows 8 aligns it
	windows.EndAlign, windows.Blocks = 4096, []vhdtest.Block{{Index: 2, Data: fill(3, 4096), Align: 4096}}
	many := vhdtest.NewDynamic(40*512, vhdtest.Block{Index: 7}, vhdtest.Block{Index: 8, Gap: 512}, vhdtest.Block{Index: 39})
	many.BlockSize, many.HeaderOff, many.BATOff, many.MaxEntries = 512, 4096, 2048, 200
	cut := vhdtest.NewDynamic(8<<10, vhdtest.Block{Index: 0, Data: fill(9, 4096)}, vhdtest.Block{Index: 1, Data: fill(4, 4096), Cut: 1024})
	cut.BlockSize = 4096
	large := vhdtest.NewDynamic(5<<20 - 512)
	large.BlockSize, large.BATPadZero = 1<<20, true
	huge := vhdtest.NewDynamic(2040 << 30)
	huge.BlockSize = 256 << 20

	child := vhdtest.NewChild(base, "base.vhd", vhdtest.Block{Index: 1, Data: fill(7, 4096), Bitmap: every(3)}, vhdtest.Block{Index: 0, Bitmap: every(2)})
	child.BlockSize = 4096
	seven := *child
	seven.LikeWindows7(`C:\d\base.vhd`, `.\base.vhd`, 1)
	virtualPC := *child
	virtualPC.LikeVirtualPC(`C:\d\base.vhd`, `.\base.vhd`, "base.vhd", 1)

	images := []*vhdtest.Image{base, short, dynamic, &windows, many, cut, large, huge, child, &seven, &virtualPC}
	for _, damage := range damages {
		hurt := *dynamic
		hurt.Footer, hurt.Copy = damage.footer, damage.copies
		images = append(images, &hurt)
	}
	var seeds [][]byte
	for _, img := range images {
		seeds = append(seeds, img.Build(t))
	}
	seeds = append(seeds, withBatmap(t, *dynamic), withBatmap(t, *child), shrunk(t))
	return append(seeds, testdataSeeds(t)...)
}

// withBatmap is an image with Xen's map of full blocks behind its BAT.
func withBatmap(t testing.TB, img vhdtest.Image) []byte {
	t.Helper()
	img.BATOff, img.BATArea = 2048, 1536
	return addBatmap(img.Build(t))
}

// addBatmap puts Xen's batmap where withBatmap has it.
func addBatmap(file []byte) []byte {
	copy(file[2048+512:], "tdbatmap")
	binary.BigEndian.PutUint64(file[2048+512+8:], 2048+1024)
	binary.BigEndian.PutUint32(file[2048+512+16:], 1)
	return file
}

// shrunk is a disk that was made smaller, and kept its blocks.
func shrunk(t testing.TB) []byte {
	t.Helper()
	img := vhdtest.NewDynamic(16<<10, vhdtest.Block{Index: 9, Data: fill(9, 1024)}, vhdtest.Block{Index: 1}, vhdtest.Block{Index: 15, Gap: 2048})
	img.BlockSize = 1024
	file := img.Build(t)
	vhdtest.EditFooters(t, file, func(f []byte) { binary.BigEndian.PutUint64(f[48:], 3<<10) })
	return file
}

// testdataSeeds are the images that others and we made, as far as they are small.
func testdataSeeds(t testing.TB) [][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", "*.vhd"))
	require.NoError(t, err)
	require.NotEmpty(t, names)
	var seeds [][]byte
	for _, name := range names {
		file, err := os.ReadFile(name)
		require.NoError(t, err)
		if len(file) <= mostSeed {
			seeds = append(seeds, file)
		}
	}
	return seeds
}

// hostileSeeds are images with numbers at which sums and conversions go wrong.
func hostileSeeds(t testing.TB) [][]byte {
	t.Helper()
	var seeds [][]byte
	for _, kind := range []string{"dynamic", "differencing"} {
		sound := smallHostileImage(t, kind)
		for _, n := range hostileNumbers {
			for _, field := range []integerField{{"", 16, 8}, {"", 48, 8}} {
				file := bytes.Clone(sound)
				vhdtest.EditFooters(t, file, func(f []byte) { field.put(f, n) })
				seeds = append(seeds, file)
			}
			for _, field := range []integerField{{"", 16, 8}, {"", 28, 4}, {"", 32, 4}, {"", 576 + 8, 4}, {"", 576 + 16, 8}} {
				file := bytes.Clone(sound)
				vhdtest.EditHeader(t, file, func(h []byte) { field.put(h, n) })
				seeds = append(seeds, file)
			}
			file := bytes.Clone(sound)
			vhdtest.EditEntry(t, file, 0, uint32(n))
			seeds = append(seeds, file)
		}
	}
	seeds = append(seeds, nil, []byte("conectix"), make([]byte, 512), make([]byte, 511))
	return append(seeds, hostileSetSeeds(t)...)
}

// hostileSetSeeds are the images of the hostile set without most of their blocks, for the fuzzer alone: a test looks at
// them whole, and to make them takes long.
func hostileSetSeeds(t testing.TB) [][]byte {
	t.Helper()
	if fuzzing := flag.Lookup("test.fuzz"); fuzzing == nil || fuzzing.Value.String() == "" {
		return nil
	}
	const front, end = 4096, 1024
	var seeds [][]byte
	for _, recipe := range vhdtest.HostileRecipes() {
		file := recipe.Make(t).Files[vhdtest.HostileLeaf]
		if len(file) > mostSeed {
			file = slices.Concat(file[:front], file[len(file)-end:])
		}
		seeds = append(seeds, file)
	}
	return seeds
}

func smallHostileImage(t testing.TB, kind string) []byte {
	t.Helper()
	img := vhdtest.NewDynamic(8<<10, vhdtest.Block{Index: 1, Data: fill(3, 1024)})
	if kind == "differencing" {
		img = vhdtest.NewChild(img, "base.vhd", vhdtest.Block{Index: 1, Data: fill(3, 1024)})
	}
	img.BlockSize = 1024
	return img.Build(t)
}
