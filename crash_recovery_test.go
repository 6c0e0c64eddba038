package vhd_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"testing"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
	"github.com/stretchr/testify/require"
)

// unfinishedImages are what other programs left, and a writer mends before
// anything else, or goes around.
var unfinishedImages = []struct {
	name  string
	spoil func(img *vhdtest.Image)
}{
	{"a last block that is cut off", func(img *vhdtest.Image) { img.Blocks[1].Cut = 2048 }},
	{"a last block cut off within a sector", func(img *vhdtest.Image) { img.Blocks[1].Cut = 2000 }},
	{"a last block cut off, and a footer of 511", func(img *vhdtest.Image) { img.Blocks[1].Cut, img.Footer = 2048, vhdtest.Footer511 }},
	{"a last block cut off, and a copy that is lost", func(img *vhdtest.Image) { img.Blocks[1].Cut, img.Copy = 2048, vhdtest.CopyLost }},
	{"an end footer overwritten as Xen does", func(img *vhdtest.Image) { img.Footer = vhdtest.FooterXen }},
	{"an end footer of zeros", func(img *vhdtest.Image) { img.Footer = vhdtest.FooterZeroed }},
	{"a copy that is lost", func(img *vhdtest.Image) { img.Copy = vhdtest.CopyLost }},
	{"a copy that differs", func(img *vhdtest.Image) { img.Copy = vhdtest.CopyOther }},
	{"slack that does not end at a sector", func(img *vhdtest.Image) { img.Slack = 100 }},
	{"slack that does not end at a sector, and 511", func(img *vhdtest.Image) { img.Slack, img.Footer = 100, vhdtest.Footer511 }},
	{"more entries than blocks", func(img *vhdtest.Image) { img.MaxEntries = 3000 }},
	{"Xen's batmap", func(img *vhdtest.Image) { img.BATOff, img.BATArea = 2048, 1536 }},
}

// unfinishedLeaves are disks of those.
func unfinishedLeaves(t testing.TB, order vhdtest.Order) []*leafFiles {
	t.Helper()
	leaves := make([]*leafFiles, len(unfinishedImages))
	for i, u := range unfinishedImages {
		img := vhdtest.NewDynamic(16<<10,
			vhdtest.Block{Index: 0, Data: bytes.Repeat([]byte{1}, 4096)},
			vhdtest.Block{Index: 2, Data: bytes.Repeat([]byte{2}, 4096)})
		img.BlockSize = 4096
		u.spoil(img)
		file := img.Build(t)
		if img.BATArea > 0 {
			file = withBatmap(t, *img)
		}
		kind := leafKind{
			name: fmt.Sprintf("%s, order %d", u.name, order), size: img.Size, blockSize: img.BlockSize, leaf: vhd.Dynamic,
			storage: vhdtest.CrashOptions{Order: order}, unfinished: true,
		}
		leaves[i] = &leafFiles{leafKind: kind, files: vhdtest.NewMemFS(), below: make([]byte, img.Size), content: img.Content(t, nil)}
		require.NoError(t, leaves[i].files.WriteFile(leafName, file))
	}
	return leaves
}

func TestP3CrashesWhileAnImageIsMendedLoseNothing(t *testing.T) {
	t.Parallel()
	for _, order := range everyOrder {
		for _, leaf := range unfinishedLeaves(t, order) {
			for seed := range uint64(20) {
				p := drawProgram(rand.New(rand.NewPCG(seed, 5)), 2, int(leaf.size), operations)
				if err := newCrashRun(leaf, seed, atRandom).run(p); err != nil {
					failShortest(t, leaf, seed, p, err)
				}
			}
		}
	}
}

func TestCreateAppearsWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	for _, link := range []bool{false, true} {
		for seed := range uint64(40) {
			rng := rand.New(rand.NewPCG(seed, 7))
			storage := vhdtest.NewCrashFS(vhdtest.NewMemFS(), vhdtest.CrashOptions{})
			made := false
			check := func() {
				state := storage.Crash(rng)
				disk, err := vhd.Open("new.vhd", &vhd.Options{FS: state, Writable: true})
				if !made && err != nil {
					require.ErrorIs(t, err, fs.ErrNotExist)
					return
				}
				require.NoError(t, err)
				require.NoError(t, disk.Close())
			}
			storage.OnOp = func(vhdtest.Op) { check() }
			opts := vhd.CreateOptions{Options: vhd.Options{FS: storage}, Size: 48 << 10}
			if link {
				opts.FS = storage.Linking()
			}
			disk, err := vhd.Create("new.vhd", opts)
			require.NoError(t, err)
			made = true
			check()
			require.NoError(t, disk.Close())
			check()
		}
	}
}
