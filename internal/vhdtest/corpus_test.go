package vhdtest

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheCorpusIsWhatItsManifestTells(t *testing.T) {
	set := Corpus(t)
	for _, img := range set.Images {
		t.Run(img.File, func(t *testing.T) {
			file, err := os.ReadFile(set.Path(img.File))
			require.NoError(t, err)
			require.Len(t, file, int(img.Size))
			require.Equal(t, img.SHA256, sum(file))
			require.Equal(t, img.Kind != "fixed", img.Dynamic != nil)
			require.Equal(t, img.UUID[:], EndFooter(t, file)[68:84])

			mended := append([]byte(nil), file...)
			EditFooter(t, mended, func([]byte) {})
			if img.Dynamic != nil {
				require.Positive(t, img.Dynamic.TableOffset)
				EditHeader(t, mended, func([]byte) {})
			}
			require.Equal(t, img.SHA256, sum(mended), "a sound checksum is mended to itself")
		})
	}
}

func TestReadersReadTheCorpusAsItsManifestTells(t *testing.T) {
	set := Corpus(t)
	readers := map[string]Reader{"qemu-img": Qemu, "7zz": SevenZip, "libvhdi": Libvhdi}
	for _, img := range set.Images {
		if img.VirtualSize > 64<<20 {
			continue // minutes, and nothing more to learn
		}
		for _, name := range img.ReadersAgree {
			if reader, ok := readers[name]; ok {
				t.Run(img.File+" by "+name, func(t *testing.T) {
					require.Equal(t, img.ContentSHA256, reader.Sum(t, set.Copy(t, img.File)...))
				})
			}
		}
	}
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
