package vhd_test

import (
	"bytes"
	"io/fs"
	"math/rand/v2"
	"testing"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
	"github.com/stretchr/testify/require"
)

// What other programs left, and a writer mends before anything else, reads the
// same at every moment of that, and after.
func TestP3CrashesWhileAnImageIsMendedLoseNothing(t *testing.T) {
	for name, spoil := range map[string]func(img *vhdtest.Image){
		"a last block that is cut off":                  func(img *vhdtest.Image) { img.Blocks[1].Cut = 2048 },
		"a last block cut off within a sector":          func(img *vhdtest.Image) { img.Blocks[1].Cut = 2000 },
		"a last block cut off, and a footer of 511":     func(img *vhdtest.Image) { img.Blocks[1].Cut, img.Footer = 2048, vhdtest.Footer511 },
		"an end footer overwritten as Xen does":         func(img *vhdtest.Image) { img.Footer = vhdtest.FooterXen },
		"an end footer of zeros":                        func(img *vhdtest.Image) { img.Footer = vhdtest.FooterZeroed },
		"a last block cut off, and a copy that is lost": func(img *vhdtest.Image) { img.Blocks[1].Cut, img.Copy = 2048, vhdtest.CopyLost },
		"a copy that is lost":                           func(img *vhdtest.Image) { img.Copy = vhdtest.CopyLost },
		"a copy that differs":                           func(img *vhdtest.Image) { img.Copy = vhdtest.CopyOther },
		"slack that does not end at a sector":           func(img *vhdtest.Image) { img.Slack = 100 },
		"slack that does not end at a sector, and 511":  func(img *vhdtest.Image) { img.Slack, img.Footer = 100, vhdtest.Footer511 },
	} {
		t.Run(name, func(t *testing.T) {
			img := vhdtest.NewDynamic(16<<10,
				vhdtest.Block{Index: 0, Data: bytes.Repeat([]byte{1}, 4096)},
				vhdtest.Block{Index: 2, Data: bytes.Repeat([]byte{2}, 4096)})
			img.BlockSize = 4096
			spoil(img)
			mend(t, img.Build(t), img.Content(t, nil))
		})
	}
}

// mend opens an image for writing and crashes before every change, many times.
func mend(t *testing.T, file, want []byte) {
	t.Helper()
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		base := vhdtest.NewMemFS()
		require.NoError(t, base.WriteFile("disk.vhd", file))
		storage := vhdtest.NewCrashFS(base, vhdtest.CrashOptions{Order: vhdtest.Order(seed % 3)})
		storage.OnOp = func(op vhdtest.Op) { requireContentAfterCrash(t, storage.Crash(rng), want, op) }
		disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: storage, Writable: true})
		require.NoError(t, err)
		require.False(t, disk.Chain()[0].NeedsRecovery())
		require.NoError(t, disk.Close())
		requireContentAfterCrash(t, storage.Crash(rng), want, vhdtest.Op{})
	}
}

func requireContentAfterCrash(t *testing.T, state *vhdtest.MemFS, want []byte, op vhdtest.Op) {
	t.Helper()
	for _, writable := range []bool{false, true} {
		disk, err := vhd.Open("disk.vhd", &vhd.Options{FS: state, Writable: writable})
		require.NoError(t, err, "%s writable %v, before %v", promiseIsBroken, writable, op)
		got := readAll(t, disk, disk.Size())
		require.True(t, bytes.Equal(want, got), "%s writable %v, before %v", promiseIsBroken, writable, op)
		require.NoError(t, disk.Close())
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
