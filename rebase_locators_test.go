package vhd_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// A longer path than there is room for goes elsewhere, and comes back.
func TestAPathThatNoLongerFitsItsLocatorGoesElsewhere(t *testing.T) {
	for _, withBlocks := range []bool{false, true} {
		f := &lineage{dir: t.TempDir()}
		rng := rand.New(rand.NewPCG(4, 4))
		f.base = f.create(t, "base.vhd", vhd.CreateOptions{Size: lineageSize}, nil, rng)
		var disk *vhd.Disk
		f.leaf = f.base
		if withBlocks {
			f.leaf = f.create(t, "leaf.vhd", vhd.CreateOptions{Parent: f.name("base.vhd")}, f.base, rng)
		} else {
			disk, err := vhd.Create(f.name("leaf.vhd"), vhd.CreateOptions{Parent: f.name("base.vhd")})
			require.NoError(t, err)
			require.NoError(t, disk.Close())
		}
		short, err := os.Stat(f.name("leaf.vhd"))
		require.NoError(t, err)
		at := f.name("base.vhd")
		for round := range 12 {
			dir := f.dir
			if round%2 == 0 {
				for range 1 + round {
					dir = filepath.Join(dir, strings.Repeat("d", 100))
				}
			}
			require.NoError(t, os.MkdirAll(dir, 0o755))
			to := filepath.Join(dir, "base.vhd")
			if to != at {
				require.NoError(t, os.Rename(at, to))
			}
			at = to
			disk = f.open(t, vhd.Options{NoParents: true})
			require.NoError(t, disk.Rebase(at, vhd.RebaseOptions{}))
			requireSameBytes(t, f.leaf, readAll(t, disk, lineageSize), 0)
			require.NoError(t, disk.Close())
			if f.requireOurs(t, f.leaf); dir == f.dir {
				f.requireLeaf(t, f.leaf)
			}
			header, _ := imageOf(t, f.name("leaf.vhd")).Header()
			require.Equal(t, vhd.W2ku, header.Locators[0].Code)
			require.Equal(t, vhd.W2ru, header.Locators[1].Code)
		}
		end, err := os.Stat(f.name("leaf.vhd"))
		require.NoError(t, err)
		require.Less(t, end.Size(), short.Size()+64<<10, "space of former paths is used again")
	}
}

func TestTheLocatorsThatNobodyUnderstandsStayAsTheyAre(t *testing.T) {
	f := newLineage(t)
	raw, err := os.ReadFile(f.name("leaf.vhd"))
	require.NoError(t, err)
	unknown := bytes.Repeat([]byte("unknown "), 64)
	at := len(raw) - 512
	raw = append(raw[:at:at], append(bytes.Clone(unknown), raw[at:]...)...)
	vhdtest.EditHeader(t, raw, func(h []byte) {
		entry := h[576+24*2:]
		copy(entry, "XyZ!")
		entry[6], entry[10] = 2, 2 // 512 bytes
		copy(entry[12:], "rsvd")
		entry[23], entry[22], entry[21], entry[20] = byte(at), byte(at>>8), byte(at>>16), byte(at>>24)
		copy(h[576+12:], "kept") // of the one for W2ku
		copy(h[60:], "res1")
		copy(h[768:], "reserved at the end")
	})
	require.NoError(t, os.WriteFile(f.name("leaf.vhd"), raw, 0o600))
	before, _ := imageOf(t, f.name("leaf.vhd")).Header()
	disk := f.open(t, vhd.Options{})
	require.NoError(t, disk.Rebase(f.name("base.vhd"), vhd.RebaseOptions{}))
	require.NoError(t, disk.Close())
	requireFileReadsAs(t, f.name("leaf.vhd"), f.leaf)
	raw, err = os.ReadFile(f.name("leaf.vhd"))
	require.NoError(t, err)
	after, _ := imageOf(t, f.name("leaf.vhd")).Header()
	require.Equal(t, before.Locators[2], after.Locators[2])
	require.Equal(t, before.Locators[0].Reserved, after.Locators[0].Reserved)
	require.Equal(t, unknown, raw[at:at+512])
	h := vhdtest.Header(t, raw)
	require.Equal(t, "res1", string(h[60:64]))
	require.Equal(t, "reserved at the end", string(h[768:768+19]))
}

func TestAHeaderWithoutALocatorLeftIsRefused(t *testing.T) {
	f := newLineage(t)
	raw, err := os.ReadFile(f.name("leaf.vhd"))
	require.NoError(t, err)
	vhdtest.EditHeader(t, raw, func(h []byte) {
		for i := range 7 {
			copy(h[576+24*(i+1):], "XyZ!")
		}
		clear(h[576+24*7:][:24])
		copy(h[576+24*7:], "XyZ!")
		copy(h[576:], "XyZ!")
	})
	require.NoError(t, os.WriteFile(f.name("leaf.vhd"), raw, 0o600))
	disk := f.open(t, vhd.Options{}) // by the header's name
	require.ErrorIs(t, disk.Rebase(f.name("base.vhd"), vhd.RebaseOptions{}), vhd.ErrUnsupported)
	require.NoError(t, disk.Close())
	after, err := os.ReadFile(f.name("leaf.vhd"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(raw, after), "it is changed")
}

// Real children keep the slots of their locators, and what they read as, when their
// parent goes so far away that the path to it has no room where it was.
func TestRealChildrenAreRebased(t *testing.T) {
	set := vhdtest.Corpus(t)
	for _, img := range set.Images {
		if img.Parent == "" {
			continue
		}
		t.Run(img.File, func(t *testing.T) {
			skipLarge(t, img)
			names := set.Copy(t, img.File)
			before, _ := imageOf(t, names[0]).Header()
			dir := filepath.Dir(names[0])
			far := filepath.Join(dir, strings.Repeat("far/", 60), "away", filepath.Base(names[1]))
			require.NoError(t, os.MkdirAll(filepath.Dir(far), 0o755))
			if len(names) > 2 { // whose parents stay with it
				require.NoError(t, os.Rename(names[2], filepath.Join(filepath.Dir(far), filepath.Base(names[2]))))
			}
			require.NoError(t, os.Rename(names[1], far))
			opts := vhd.Options{Writable: true, NoParents: true, Root: dir}
			disk, err := vhd.Open(names[0], &opts)
			require.NoError(t, err)
			blocks, err := disk.Chain()[0].AllocatedBlocks()
			require.NoError(t, err)
			require.NoError(t, disk.Rebase(far, vhd.RebaseOptions{}))
			require.Equal(t, img.ContentSHA256, sumOf(t, disk))
			require.NoError(t, disk.Close())

			after, _ := imageOf(t, names[0]).Header()
			for i, l := range before.Locators {
				if l.Code == vhd.W2ku || l.Code == vhd.W2ru {
					require.Equal(t, l.Code, after.Locators[i].Code)
					require.Equal(t, l.Reserved, after.Locators[i].Reserved)
				}
			}
			empty, err := vhd.Create(filepath.Join(dir, "empty.vhd"), vhd.CreateOptions{Size: img.VirtualSize})
			require.NoError(t, err)
			require.NoError(t, empty.Close())
			opts.NoParents = false
			disk, err = vhd.Open(names[0], &opts)
			require.NoError(t, err)
			require.Equal(t, img.ContentSHA256, sumOf(t, disk))
			now, err := disk.Chain()[0].AllocatedBlocks()
			require.NoError(t, err)
			require.Equal(t, blocks, now)
			require.NoError(t, disk.Rebase(filepath.Join(dir, "empty.vhd"), vhd.RebaseOptions{}))
			require.Equal(t, img.ContentSHA256, sumOf(t, disk))
			require.NoError(t, disk.Close())
			requireFindings(t, names[0], withParents)
			require.Equal(t, img.ContentSHA256, vhdtest.SevenZip.Sum(t, names[0]))
		})
	}
}
