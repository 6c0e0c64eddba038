package vhd_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// sumOf is the sha256 of what the disk reads as.
func sumOf(t testing.TB, d *vhd.Disk) string {
	t.Helper()
	h := sha256.New()
	_, err := io.CopyBuffer(h, io.NewSectionReader(d, 0, d.Size()), make([]byte, 1<<20))
	require.NoError(t, err)
	return hex.EncodeToString(h.Sum(nil))
}

func fileSum(t testing.TB, name string) string {
	t.Helper()
	file, err := os.ReadFile(name)
	require.NoError(t, err)
	sum := sha256.Sum256(file)
	return hex.EncodeToString(sum[:])
}

// skipLarge leaves what takes seconds to hash to long runs.
func skipLarge(t testing.TB, img vhdtest.CorpusImage) {
	t.Helper()
	if testing.Short() && img.VirtualSize > 64<<20 {
		t.Skipf("%d bytes are for long runs", img.VirtualSize)
	}
}

func TestRealImagesReadAsOthersReadThem(t *testing.T) {
	set := vhdtest.Corpus(t)
	for _, img := range set.Images {
		t.Run(img.File, func(t *testing.T) {
			skipLarge(t, img)
			d, err := vhd.Open(set.Path(img.File), nil)
			require.NoError(t, err)
			defer d.Close()
			require.Equal(t, img.VirtualSize, d.Size())
			require.Equal(t, img.ContentSHA256, sumOf(t, d))
			require.Len(t, d.Chain(), len(set.Chain(t, img.File)))
			require.Equal(t, img.SHA256, fileSum(t, set.Path(img.File)), "the file is as it was")
		})
	}
}

func TestRealChainsReadTheSameAfterTheirFolderMoved(t *testing.T) {
	set := vhdtest.Corpus(t)
	for _, img := range set.Images {
		if img.Parent == "" {
			continue
		}
		t.Run(img.File, func(t *testing.T) {
			names := set.Copy(t, img.File)
			d, err := vhd.Open(names[0], nil)
			require.NoError(t, err)
			defer d.Close()
			require.Equal(t, img.ContentSHA256, sumOf(t, d))
			for i, m := range d.Chain() {
				require.Equal(t, names[i], m.Name(), "the copy's own parent")
			}
		})
	}
}

func TestInspectTellsWhatTheManifestDoes(t *testing.T) {
	set := vhdtest.Corpus(t)
	for _, img := range set.Images {
		t.Run(img.File, func(t *testing.T) {
			file, err := os.ReadFile(set.Path(img.File))
			require.NoError(t, err)
			m := inspect(t, file)
			require.Equal(t, img.Size, m.FileSize())
			require.Equal(t, img.UUID, m.Footer().ID)
			require.False(t, m.NeedsRecovery())
			require.Empty(t, m.Name())
			n, err := m.AllocatedBlocks()
			require.NoError(t, err)
			h, ok := m.Header()
			require.Equal(t, img.Dynamic != nil, ok)
			if ok {
				require.Equal(t, img.Dynamic.BlocksAllocated, n)
				require.Equal(t, img.Dynamic.BlockSize, h.BlockSize)
			}
			var paths []string
			for _, ref := range m.ParentRefs() {
				if ref.Origin != "header" {
					paths = append(paths, ref.Origin+" "+ref.Path)
				}
			}
			var want []string
			for _, l := range img.Locators {
				want = append(want, l.Code+" "+l.Text)
			}
			require.ElementsMatch(t, want, paths)
			if len(paths) > 0 {
				require.Equal(t, "W2ru", m.ParentRefs()[0].Origin)
			}
		})
	}
}

func TestRealImagesOpenForWritingWithoutBeingChanged(t *testing.T) {
	set := vhdtest.Corpus(t)
	for _, img := range set.Images {
		t.Run(img.File, func(t *testing.T) {
			names := set.Copy(t, img.File)
			d, err := vhd.Open(names[0], &vhd.Options{Writable: true})
			require.NoError(t, err)
			require.NoError(t, d.Close())
			for i, image := range set.Chain(t, img.File) {
				require.Equal(t, image.SHA256, fileSum(t, names[i]))
			}
		})
	}
}

// With its end footer lost, an image of Windows comes back byte for byte. Only where there is nothing in front of the
// footer it may end earlier: Windows leaves a page free there. Xen's batmap stays.
func TestRealImagesWithoutTheirEndFooterAreMended(t *testing.T) {
	set := vhdtest.Corpus(t)
	for _, img := range set.Images {
		if img.Dynamic == nil {
			continue
		}
		t.Run(img.File, func(t *testing.T) {
			skipLarge(t, img)
			names := set.Copy(t, img.File)
			whole, err := os.ReadFile(names[0])
			require.NoError(t, err)
			require.NoError(t, os.Truncate(names[0], img.Size-512))

			d, err := vhd.Open(names[0], &vhd.Options{Writable: true})
			require.NoError(t, err)
			require.NoError(t, d.Close())
			mended, err := os.ReadFile(names[0])
			require.NoError(t, err)
			require.Equal(t, whole[:512], mended[len(mended)-512:])
			if img.Size%4096 == 0 && (img.Dynamic.BlocksAllocated > 0 || img.Parent != "") {
				requireContent(t, whole, mended)
			}
			if img.File == "go-vhd/xapi.vhd" {
				requireContent(t, whole[:3072], mended[:3072])
			}
			d, err = vhd.Open(names[0], nil)
			require.NoError(t, err)
			defer d.Close()
			require.Equal(t, img.ContentSHA256, sumOf(t, d))
		})
	}
}

// The child is one that Windows 10 made of a parent that Windows 8.1 made.
func TestAChildOfWindowsIsWrittenAndItsParentIsNot(t *testing.T) {
	set := vhdtest.Corpus(t)
	for _, file := range []string{"go-vhd/win8-child.vhd", "dfvfs/fat-differential.vhd"} {
		t.Run(file, func(t *testing.T) {
			chain := set.Chain(t, file)
			names := set.Copy(t, file)
			want := writeHere(t, names[0], []int64{0, 1, 511, 186 * 512, 2<<20 - 300, chain[0].VirtualSize - 700})

			require.Equal(t, chain[1].SHA256, fileSum(t, names[1]), "the parent")
			d, err := vhd.Open(names[0], nil)
			require.NoError(t, err)
			requireContent(t, want, contentOf(t, d))
			require.False(t, d.Chain()[0].NeedsRecovery())
			require.Equal(t, chain[0].UUID, d.Chain()[0].Footer().ID)
			require.NoError(t, d.Close())

			raw, err := os.ReadFile(names[0])
			require.NoError(t, err)
			require.Equal(t, raw[:512], raw[len(raw)-512:])
			require.Zero(t, len(raw)%4096, "Windows' alignment is kept")
			require.Zero(t, (vhdtest.Entry(t, raw, 0)+1)%8, "and the data's")
		})
	}
}

// writeHere writes a few hundred bytes at each offset and returns what the disk should read as.
func writeHere(t testing.TB, name string, offs []int64) []byte {
	t.Helper()
	d, err := vhd.Open(name, &vhd.Options{Writable: true})
	require.NoError(t, err)
	want := contentOf(t, d)
	for i, off := range offs {
		p := bytes.Repeat([]byte{byte(0x90 + i)}, 700)
		copy(want[off:], p)
		_, err := d.WriteAt(p, off)
		require.NoError(t, err)
	}
	requireContent(t, want, contentOf(t, d))
	require.NoError(t, d.Close())
	return want
}

func TestAWrittenChildOfWindowsReadsTheSameIn7Zip(t *testing.T) {
	set := vhdtest.Corpus(t)
	vhdtest.SevenZip.Need(t)
	for _, file := range []string{"go-vhd/win8-child.vhd", "dfvfs/fat-differential.vhd"} {
		t.Run(file, func(t *testing.T) {
			names := set.Copy(t, file)
			want := writeHere(t, names[0], []int64{3, 100 * 512, 3 << 20})
			requireContent(t, want, vhdtest.SevenZip.Content(t, names...))
		})
	}
}

// Both are found beside the child, whatever the directory it is opened from and however it is named.
func TestARealChainOpensByARelativeName(t *testing.T) {
	set := vhdtest.Corpus(t)
	img := set.Find(t, "dfvfs/fat-differential.vhd")
	names := set.Copy(t, img.File)
	t.Chdir(filepath.Dir(filepath.Dir(names[0])))
	for _, name := range []string{"dfvfs/fat-differential.vhd", "./dfvfs/../dfvfs/fat-differential.vhd"} {
		d, err := vhd.Open(filepath.FromSlash(name), nil)
		require.NoError(t, err)
		require.Equal(t, img.ContentSHA256, sumOf(t, d))
		require.NoError(t, d.Close())
	}
}
