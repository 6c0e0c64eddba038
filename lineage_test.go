package vhd_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// lineage is a chain in a directory: base.vhd, middle.vhd on it, and leaf.vhd on
// that, with what each reads as.
type lineage struct {
	dir                string
	base, middle, leaf []byte
}

func (f *lineage) name(name string) string { return filepath.Join(f.dir, name) }

// lineageSize is no multiple of a block's size, nor of a window's.
const lineageSize = 9<<20 + 512*3

// newLineage makes one, whose images have blocks of other sizes.
func newLineage(t testing.TB) *lineage {
	t.Helper()
	f := &lineage{dir: t.TempDir(), base: make([]byte, lineageSize)}
	rng := rand.New(rand.NewPCG(4, 4))
	f.base = f.create(t, "base.vhd", vhd.CreateOptions{Size: lineageSize, BlockSize: 512 << 10}, f.base, rng)
	f.middle = f.create(t, "middle.vhd", vhd.CreateOptions{Parent: f.name("base.vhd")}, f.base, rng)
	f.leaf = f.create(t, "leaf.vhd", vhd.CreateOptions{Parent: f.name("middle.vhd"), BlockSize: 64 << 10}, f.middle, rng)
	return f
}

// create makes an image, writes to it, and returns what it reads as.
func (f *lineage) create(t testing.TB, name string, opts vhd.CreateOptions, below []byte, rng *rand.Rand) []byte {
	t.Helper()
	disk, err := vhd.Create(f.name(name), opts)
	require.NoError(t, err)
	content := make([]byte, disk.Size())
	copy(content, below)
	fillAtRandom(t, disk, content, rng)
	require.NoError(t, disk.Close())
	return content
}

func (f *lineage) open(t testing.TB, opts vhd.Options) *vhd.Disk {
	t.Helper()
	opts.Writable = true
	disk, err := vhd.Open(f.name("leaf.vhd"), &opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = disk.Close() }) // of a test that failed
	return disk
}

// requireLeaf says what the leaf, opened anew, reads as, here and in 7-Zip, which
// follows no path to another directory, and that nothing is wrong with it.
func (f *lineage) requireLeaf(t testing.TB, want []byte, codes ...string) {
	t.Helper()
	f.requireOurs(t, want, codes...)
	requireSameBytes(t, want, vhdtest.SevenZip.Content(t, f.name("leaf.vhd")), 0)
}

// requireOurs is that without 7-Zip.
func (f *lineage) requireOurs(t testing.TB, want []byte, codes ...string) {
	t.Helper()
	requireFileReadsAs(t, f.name("leaf.vhd"), want)
	requireFindings(t, f.name("leaf.vhd"), vhd.CheckOptions{Chain: true}, append(codes, "free-blocks")...)
}

func (f *lineage) export(t testing.TB, from, to string, opts vhd.ExportOptions) {
	t.Helper()
	disk, err := vhd.Open(f.name(from), nil)
	require.NoError(t, err)
	file, err := os.Create(f.name(to))
	require.NoError(t, err)
	_, err = disk.Export(t.Context(), file, opts)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	require.NoError(t, disk.Close())
}
