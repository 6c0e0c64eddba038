package vhdtest

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
)

// CorpusSet is a directory of real images, made by other people's software.
type CorpusSet struct {
	Dir    string
	Images []CorpusImage
}

// CorpusImage is what the directory's manifest tells of an image. The sums are sha256 in hexadecimal.
type CorpusImage struct {
	File          string // slash-separated, in the corpus's directory
	Kind          string // "fixed", "dynamic" or "differencing"
	Parent        string // the parent's File, or empty
	SHA256        string // of the file
	Size          int64  // of the file
	VirtualSize   int64  `json:"virtual_size"`
	ContentSHA256 string `json:"content_sha256"` // of what the disk reads as, over its parents
	Producer      string
	ReadersAgree  []string `json:"readers_agree"`
	UUID          uuid.UUID
	Timestamp     time.Time
	CHS           [3]int // cylinders, heads, sectors per track
	Quirks        []string
	Dynamic       *CorpusDynamic // nil for a fixed disk
	Locators      []CorpusLocator
}

// CorpusDynamic is what the manifest tells of a dynamic or differencing disk.
type CorpusDynamic struct {
	TableOffset     HexInt `json:"table_offset"`
	MaxEntries      int64  `json:"max_entries"`
	BlockSize       int64  `json:"block_size"`
	BlocksAllocated int    `json:"blocks_allocated"`
	BATPad          string `json:"bat_pad"` // "ff", "00" or "none"
	Bitmaps         struct {
		AllOnes int `json:"all_ones"`
		AllZero int `json:"all_zero"`
		Partial int
	}
	Gaps              [][2]int64 // offset and length of what belongs to nothing
	SectorsSet        *int       `json:"sectors_set"` // bits set in bitmaps; nil where it wasn't counted
	SectorsSetNonzero *int       `json:"sectors_set_nonzero"`
}

// CorpusLocator is what the manifest tells of a locator in use.
type CorpusLocator struct {
	Slot     int    `json:"i"`
	Code     string // "W2ru" and so on
	Space    uint32 // as stored
	Length   uint32
	Reserved uint32
	Offset   int64
	Text     string // decoded
}

// HexInt is a number that the manifest writes as "0x600".
type HexInt int64

// UnmarshalText reads any base that Go's literals have.
func (n *HexInt) UnmarshalText(text []byte) error {
	v, err := strconv.ParseInt(string(text), 0, 64)
	*n = HexInt(v)
	return err
}

// Corpus is the set of real images in the directory that VHD_CORPUS names. Without it the test is skipped.
func Corpus(t testing.TB) *CorpusSet {
	t.Helper()
	dir := os.Getenv("VHD_CORPUS")
	if dir == "" {
		t.Skip("VHD_CORPUS does not name a directory of real images")
	}
	set := &CorpusSet{Dir: dir}
	manifest, err := os.ReadFile(filepath.Join(dir, "MANIFEST.json"))
	if err != nil {
		t.Fatalf("the corpus that VHD_CORPUS names: %v", err)
	}
	if err := json.Unmarshal(manifest, &set.Images); err != nil {
		t.Fatalf("the corpus that VHD_CORPUS names: %v", err)
	}
	if len(set.Images) == 0 {
		t.Fatalf("the corpus that VHD_CORPUS names holds no images")
	}
	return set
}

// Find is the image of that name.
func (s *CorpusSet) Find(t testing.TB, file string) CorpusImage {
	t.Helper()
	for _, img := range s.Images {
		if img.File == file {
			return img
		}
	}
	t.Fatalf("the corpus has no image %q", file)
	return CorpusImage{}
}

// Chain is the image of that name and its parents, leaf first.
func (s *CorpusSet) Chain(t testing.TB, file string) []CorpusImage {
	t.Helper()
	var chain []CorpusImage
	for file != "" {
		img := s.Find(t, file)
		if chain = append(chain, img); len(chain) > len(s.Images) {
			t.Fatalf("the corpus's manifest has a loop at %q", file)
		}
		file = img.Parent
	}
	return chain
}

// Path is where the image is.
func (s *CorpusSet) Path(file string) string {
	return filepath.Join(s.Dir, filepath.FromSlash(file))
}

// Copy copies an image and its parents to a temporary directory, as they lie to one another, and returns
// their new names, leaf first.
func (s *CorpusSet) Copy(t testing.TB, file string) []string {
	t.Helper()
	dir := t.TempDir()
	var names []string
	for _, img := range s.Chain(t, file) {
		name := filepath.Join(dir, filepath.FromSlash(img.File))
		if err := copyFile(name, s.Path(img.File)); err != nil {
			t.Fatalf("copy %s out of the corpus: %v", img.File, err)
		}
		names = append(names, name)
	}
	return names
}

// Fragment is one of the single footers and headers that the corpus keeps.
func (s *CorpusSet) Fragment(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.Dir, "fragments", name))
	if err != nil {
		t.Fatalf("the corpus's fragment: %v", err)
	}
	return b
}

func copyFile(to, from string) (err error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return closeAfter(err, src)
	}
	_, err = io.Copy(dst, src)
	return closeAfter(err, src, dst)
}

// closeAfter closes files and keeps the first error.
func closeAfter(err error, files ...*os.File) error {
	for _, f := range files {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("close: %w", cerr)
		}
	}
	return err
}
