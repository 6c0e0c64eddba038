package vhd_test

import (
	"bytes"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
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

func TestRebaseToAParentThatWasMovedMendsALostOne(t *testing.T) {
	f := newLineage(t)
	require.NoError(t, os.Rename(f.name("middle.vhd"), f.name("moved.vhd")))
	_, err := vhd.Open(f.name("leaf.vhd"), nil)
	require.ErrorIs(t, err, vhd.ErrParentNotFound)

	disk := f.open(t, vhd.Options{NoParents: true})
	_, err = disk.ReadAt(make([]byte, lineageSize), 0)
	require.ErrorIs(t, err, vhd.ErrParentNotFound)
	blocks, err := disk.Chain()[0].AllocatedBlocks()
	require.NoError(t, err)
	var told []int64
	require.NoError(t, disk.Rebase(f.name("moved.vhd"), vhd.RebaseOptions{Progress: func(done, total int64) { told = append(told, done, total) }}))
	require.Equal(t, []int64{lineageSize, lineageSize}, told)
	require.Len(t, disk.Chain(), 3)
	requireSameBytes(t, f.leaf, readAll(t, disk, lineageSize), 0)
	after, err := disk.Chain()[0].AllocatedBlocks()
	require.NoError(t, err)
	require.Equal(t, blocks, after, "nothing is copied")
	require.NoError(t, disk.Close())
	f.requireLeaf(t, f.leaf)

	refs := imageOf(t, f.name("leaf.vhd")).ParentRefs()
	require.Contains(t, refs, vhd.ParentRef{Origin: "W2ru", Path: `.\moved.vhd`})
	require.Contains(t, refs, vhd.ParentRef{Origin: "W2ku", Path: strings.ReplaceAll(f.name("moved.vhd"), "/", `\`)})
	require.Contains(t, refs, vhd.ParentRef{Origin: "header", Path: strings.ReplaceAll(f.name("moved.vhd"), "/", `\`)})
	require.Len(t, refs, 3)
}

func imageOf(t testing.TB, name string) *vhd.Image {
	t.Helper()
	file, err := os.ReadFile(name)
	require.NoError(t, err)
	img, err := vhd.Inspect(bytes.NewReader(file), int64(len(file)))
	require.NoError(t, err)
	return img
}

// What differs is copied to the leaf, whatever the other parent is, and nothing
// else.
func TestRebaseToAnotherParentKeepsWhatTheDiskReadsAs(t *testing.T) {
	for _, c := range []struct {
		name   string
		parent func(t *testing.T, f *lineage) []byte // makes parent.vhd
		copied bool
		codes  []string
	}{
		{"its grandparent", func(t *testing.T, f *lineage) []byte {
			t.Helper()
			require.NoError(t, os.Link(f.name("base.vhd"), f.name("parent.vhd")))
			return f.base
		}, true, nil},
		{"the chain in one image", func(t *testing.T, f *lineage) []byte {
			t.Helper()
			f.export(t, "middle.vhd", "parent.vhd", vhd.ExportOptions{Type: vhd.Dynamic, BlockSize: 1 << 20})
			return f.middle
		}, false, nil},
		{"the chain as a fixed disk", func(t *testing.T, f *lineage) []byte {
			t.Helper()
			f.export(t, "middle.vhd", "parent.vhd", vhd.ExportOptions{Type: vhd.Fixed})
			return f.middle
		}, false, nil},
		{"an image with other content", func(t *testing.T, f *lineage) []byte {
			t.Helper()
			return f.create(t, "parent.vhd", vhd.CreateOptions{Size: lineageSize, BlockSize: 4096}, nil, rand.New(rand.NewPCG(7, 7)))
		}, true, nil},
		{"an empty image", func(t *testing.T, f *lineage) []byte {
			t.Helper()
			disk, err := vhd.Create(f.name("parent.vhd"), vhd.CreateOptions{Size: lineageSize})
			require.NoError(t, err)
			require.NoError(t, disk.Close())
			return make([]byte, lineageSize)
		}, true, nil},
		{"a smaller image", func(t *testing.T, f *lineage) []byte {
			t.Helper()
			return f.create(t, "parent.vhd", vhd.CreateOptions{Size: 3<<20 + 512}, nil, rand.New(rand.NewPCG(8, 8)))
		}, true, []string{"parent-size"}},
		{"a larger image", func(t *testing.T, f *lineage) []byte {
			t.Helper()
			return f.create(t, "parent.vhd", vhd.CreateOptions{Size: 13 << 20}, nil, rand.New(rand.NewPCG(9, 9)))
		}, true, []string{"parent-size"}},
		{"a child of a sibling", func(t *testing.T, f *lineage) []byte {
			t.Helper()
			sibling := f.create(t, "sibling.vhd", vhd.CreateOptions{Parent: f.name("base.vhd"), BlockSize: 16 << 10}, f.base, rand.New(rand.NewPCG(1, 9)))
			return f.create(t, "parent.vhd", vhd.CreateOptions{Parent: f.name("sibling.vhd")}, sibling, rand.New(rand.NewPCG(2, 9)))
		}, true, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newLineage(t)
			below := c.parent(t, f)
			before, err := os.ReadFile(f.name("parent.vhd"))
			require.NoError(t, err)
			disk := f.open(t, vhd.Options{})
			blocks, err := disk.Chain()[0].AllocatedBlocks()
			require.NoError(t, err)
			last := int64(-1)
			require.NoError(t, disk.Rebase(f.name("parent.vhd"), vhd.RebaseOptions{Progress: func(done, total int64) {
				require.Equal(t, int64(lineageSize), total)
				require.Greater(t, done, last)
				last = done
			}}))
			require.Equal(t, int64(lineageSize), last)
			requireSameBytes(t, f.leaf, readAll(t, disk, lineageSize), 0)
			requireCopied(t, disk, below, f.leaf, c.copied, blocks)
			fillAtRandom(t, disk, f.leaf, rand.New(rand.NewPCG(5, 5)))
			requireSameBytes(t, f.leaf, readAll(t, disk, lineageSize), 0)
			require.NoError(t, disk.Close())
			if f.requireOurs(t, f.leaf, c.codes...); c.name != "a smaller image" { // where 7-Zip reads nothing
				f.requireLeaf(t, f.leaf, c.codes...)
			}
			after, err := os.ReadFile(f.name("parent.vhd"))
			require.NoError(t, err)
			require.True(t, bytes.Equal(before, after), "the parent is changed")
		})
	}
}

// requireCopied says that a leaf has sectors that differ from below, and, if nothing
// had to be copied, no more blocks than before.
func requireCopied(t testing.TB, disk *vhd.Disk, below, content []byte, copied bool, before int) {
	t.Helper()
	after, err := disk.Chain()[0].AllocatedBlocks()
	require.NoError(t, err)
	if !copied {
		require.Equal(t, before, after, "something was copied")
	}
	for e, err := range disk.Extents(0, disk.Size()) {
		require.NoError(t, err)
		if e.Depth == 0 {
			continue
		}
		want := make([]byte, e.Length)
		if e.Offset < int64(len(below)) {
			copy(want, below[e.Offset:])
		}
		requireSameBytes(t, want, content[e.Offset:e.Offset+e.Length], e.Offset)
	}
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

func TestAnUnsafeRebaseChangesTheReferenceAlone(t *testing.T) {
	f := newLineage(t)
	other := f.create(t, "other.vhd", vhd.CreateOptions{Size: lineageSize}, nil, rand.New(rand.NewPCG(7, 7)))
	require.NoError(t, os.Remove(f.name("middle.vhd")))
	disk := f.open(t, vhd.Options{NoParents: true})
	want := bytes.Clone(other)
	for e, err := range disk.Extents(0, lineageSize) {
		if err == nil && e.Depth == 0 {
			copy(want[e.Offset:], f.leaf[e.Offset:e.Offset+e.Length])
		}
	}
	err := disk.Rebase(f.name("other.vhd"), vhd.RebaseOptions{})
	require.ErrorIs(t, err, vhd.ErrParentNotFound)
	require.ErrorContains(t, err, "unsafe")
	_, err = disk.ReadAt(make([]byte, lineageSize), 0)
	require.ErrorIs(t, err, vhd.ErrParentNotFound)
	require.NoError(t, disk.Rebase(f.name("other.vhd"), vhd.RebaseOptions{Unsafe: true}))
	requireSameBytes(t, want, readAll(t, disk, lineageSize), 0)
	require.NoError(t, disk.Close())
	f.requireLeaf(t, want)
}

func TestRebaseRefusesWhatCanNotBe(t *testing.T) {
	f := newLineage(t)
	f.create(t, "child.vhd", vhd.CreateOptions{Parent: f.name("leaf.vhd")}, f.leaf, rand.New(rand.NewPCG(7, 7)))
	copyOfLeaf, err := os.ReadFile(f.name("leaf.vhd"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(f.name("copy.vhd"), copyOfLeaf, 0o600))
	require.NoError(t, os.WriteFile(f.name("other"), []byte("something else"), 0o600))
	require.NoError(t, os.Symlink("leaf.vhd", f.name("link.vhd")))
	disk := f.open(t, vhd.Options{MaxDepth: 4})
	four := f.create(t, "four.vhd", vhd.CreateOptions{Parent: f.name("middle.vhd")}, f.middle, rand.New(rand.NewPCG(8, 7)))
	f.create(t, "five.vhd", vhd.CreateOptions{Parent: f.name("four.vhd")}, four, rand.New(rand.NewPCG(9, 7)))
	for _, c := range []struct {
		parent string
		want   error
	}{
		{"leaf.vhd", vhd.ErrChainLoop},
		{"link.vhd", vhd.ErrChainLoop},
		{"child.vhd", vhd.ErrChainLoop},
		{"copy.vhd", vhd.ErrChainLoop},
		{"five.vhd", vhd.ErrChainTooDeep},
		{"nowhere.vhd", fs.ErrNotExist},
		{"other", vhd.ErrFormat},
	} {
		require.ErrorIs(t, disk.Rebase(f.name(c.parent), vhd.RebaseOptions{}), c.want, c.parent)
		require.ErrorIs(t, disk.Rebase(f.name(c.parent), vhd.RebaseOptions{Unsafe: true}), c.want, c.parent)
	}
	require.ErrorIs(t, disk.Rebase("", vhd.RebaseOptions{}), fs.ErrInvalid)
	requireSameBytes(t, f.leaf, readAll(t, disk, lineageSize), 0)
	require.NoError(t, disk.Close())
	require.ErrorIs(t, disk.Rebase(f.name("base.vhd"), vhd.RebaseOptions{}), vhd.ErrClosed)
	after, err := os.ReadFile(f.name("leaf.vhd"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(copyOfLeaf, after), "it is changed")

	base, err := vhd.Open(f.name("base.vhd"), &vhd.Options{Writable: true})
	require.NoError(t, err)
	require.ErrorIs(t, base.Rebase(f.name("middle.vhd"), vhd.RebaseOptions{}), fs.ErrInvalid)
	require.NoError(t, base.Close())
	readOnly, err := vhd.Open(f.name("leaf.vhd"), nil)
	require.NoError(t, err)
	require.ErrorIs(t, readOnly.Rebase(f.name("base.vhd"), vhd.RebaseOptions{}), vhd.ErrReadOnly)
	require.NoError(t, readOnly.Close())
	locked, err := vhd.Open(f.name("base.vhd"), &vhd.Options{Writable: true})
	require.NoError(t, err)
	alone := f.open(t, vhd.Options{NoParents: true})
	require.ErrorIs(t, alone.Rebase(f.name("base.vhd"), vhd.RebaseOptions{Unsafe: true}), vhd.ErrLocked)
	require.NoError(t, locked.Close())
	require.NoError(t, alone.Close())
}

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

// Readers and writers of sectors of their own notice nothing when the disk gets one
// other parent after the other.
func TestReadersAndWritersGoOnBesideARebase(t *testing.T) {
	f := newLineage(t)
	f.create(t, "other.vhd", vhd.CreateOptions{Size: lineageSize / 2 / 512 * 512, BlockSize: 4096}, nil, rand.New(rand.NewPCG(7, 7)))
	f.export(t, "middle.vhd", "flat.vhd", vhd.ExportOptions{Type: vhd.Fixed})
	disk := f.open(t, vhd.Options{CacheSize: 64 << 10})
	const workers = 3
	share := int64(lineageSize / 4 / 512 * 512)
	stop := make(chan struct{})
	var group sync.WaitGroup
	contents := make([][]byte, workers)
	for worker := range workers {
		contents[worker] = f.leaf[int64(worker)*share:][:share]
		group.Go(func() { writeOwnShare(t, disk, contents[worker], int64(worker)*share, stop) })
	}
	group.Go(func() { zeroOwnShare(t, disk, f.leaf[workers*share:], workers*share, stop) })
	group.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				var stream bytes.Buffer
				_, err := disk.Export(t.Context(), &stream, vhd.ExportOptions{})
				assertNoError(t, err)
			}
		}
	})
	for _, parent := range []string{"flat.vhd", "base.vhd", "other.vhd", "middle.vhd", "other.vhd", "flat.vhd"} {
		assertNoError(t, disk.Rebase(f.name(parent), vhd.RebaseOptions{}))
	}
	close(stop)
	group.Wait()
	requireSameBytes(t, f.leaf, readAll(t, disk, lineageSize), 0)
	require.NoError(t, disk.Close())
	f.requireLeaf(t, f.leaf)
}

// zeroOwnShare writes to blocks of a part of the disk, and zeroes them, so that
// they are given back where nothing is below.
func zeroOwnShare(t testing.TB, disk *vhd.Disk, content []byte, at int64, stop <-chan struct{}) {
	t.Helper()
	rng := rand.New(rand.NewPCG(6, 6))
	for {
		select {
		case <-stop:
			return
		default:
		}
		off := rng.Int64N(int64(len(content)))
		n := min(int64(300<<10), int64(len(content))-off)
		if rng.IntN(2) == 0 {
			_, err := disk.WriteAt(bytes.Repeat([]byte{1}, int(n)), at+off)
			assertNoError(t, err)
			copy(content[off:], bytes.Repeat([]byte{1}, int(n)))
		} else {
			assertNoError(t, disk.WriteZeroes(at+off, n))
			clear(content[off : off+n])
		}
	}
}

func TestRebaseOfADiskOfFilesThatNobodyNamedIsUnsupported(t *testing.T) {
	f := newLineage(t)
	var files []vhd.File
	for _, name := range []string{"leaf.vhd", "middle.vhd", "base.vhd"} {
		file, err := os.OpenFile(f.name(name), os.O_RDWR, 0)
		require.NoError(t, err)
		files = append(files, file)
	}
	disk, err := vhd.OpenChain(&vhd.Options{Writable: true}, files...)
	require.NoError(t, err)
	require.ErrorIs(t, disk.Rebase(f.name("base.vhd"), vhd.RebaseOptions{}), vhd.ErrUnsupported)
	require.NoError(t, disk.Close())
}

// An all-zero identifier says nothing: the content is compared.
func TestAParentWithoutAnIdentifierIsComparedWithTheFormerOne(t *testing.T) {
	f := newLineage(t)
	for _, name := range []string{"middle.vhd", "base.vhd"} {
		raw, err := os.ReadFile(f.name(name))
		require.NoError(t, err)
		vhdtest.EditFooters(t, raw, func(footer []byte) { clear(footer[68:84]) })
		if name == "middle.vhd" {
			vhdtest.EditHeader(t, raw, func(h []byte) { clear(h[40:56]) })
		}
		require.NoError(t, os.WriteFile(f.name(name), raw, 0o600))
	}
	raw, err := os.ReadFile(f.name("leaf.vhd"))
	require.NoError(t, err)
	vhdtest.EditHeader(t, raw, func(h []byte) { clear(h[40:56]) })
	require.NoError(t, os.WriteFile(f.name("leaf.vhd"), raw, 0o600))

	disk := f.open(t, vhd.Options{})
	require.NoError(t, disk.Rebase(f.name("base.vhd"), vhd.RebaseOptions{}))
	requireSameBytes(t, f.leaf, readAll(t, disk, lineageSize), 0)
	require.NoError(t, disk.Close())
	require.Equal(t, uuid.UUID{}, imageOf(t, f.name("base.vhd")).Footer().ID)
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

// Images that hold the same count for nothing, wherever they hold it.
func TestARebaseWithNoSpaceLeftIsNotBegun(t *testing.T) {
	mem := vhdtest.NewMemFS()
	write := func(parts ...[]byte) func(d *vhd.Disk) error {
		return func(d *vhd.Disk) error {
			for i, p := range parts {
				if _, err := d.WriteAt(p, int64(i)<<20); err != nil {
					return err
				}
			}
			return nil
		}
	}
	same, one, other := fill(5, 200<<10), fill(7, 100<<10), fill(9, 100<<10)
	base := vhd.CreateOptions{Options: vhd.Options{FS: mem}, Size: 8 << 20, BlockSize: 64 << 10}
	require.NoError(t, createAndFill("old.vhd", base, write(same, one)))
	require.NoError(t, createAndFill("new.vhd", base, write(same, other)))
	require.NoError(t, createAndFill("leaf.vhd", vhd.CreateOptions{Options: vhd.Options{FS: mem}, Parent: "old.vhd", BlockSize: 64 << 10}, func(d *vhd.Disk) error {
		_, err := d.WriteAt([]byte("its own"), 4<<20)
		return err
	}))
	before, err := mem.ReadFile("leaf.vhd")
	require.NoError(t, err)
	const need = 2 * (64<<10 + 4096) // blocks with what aligns the next one
	open := func(free int64) *vhd.Disk {
		disk, err := vhd.Open("leaf.vhd", &vhd.Options{FS: scarceFS{mem, free}, Writable: true})
		require.NoError(t, err)
		return disk
	}
	disk := open(need - 1)
	want, err := readWhole(disk)
	require.NoError(t, err)
	require.ErrorIs(t, disk.Rebase("new.vhd", vhd.RebaseOptions{}), vhd.ErrNoSpace)
	require.NoError(t, disk.Close())
	after, err := mem.ReadFile("leaf.vhd")
	require.NoError(t, err)
	require.True(t, bytes.Equal(before, after), "the leaf was changed")
	disk = open(need)
	require.NoError(t, disk.Rebase("new.vhd", vhd.RebaseOptions{}))
	got, err := readWhole(disk)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
	require.NoError(t, disk.Close())
}
