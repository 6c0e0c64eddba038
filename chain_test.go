package vhd_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
	"github.com/stretchr/testify/require"
)

// The images of the tests about chains have eight sectors. Those of a parent hold
// its stamp, so that a test sees which of several candidates is read.
const (
	chainSectors = 8
	chainSize    = chainSectors * vhd.SectorSize
)

// The stamps of the parents.
const (
	right = 'R' // the parent that is to be found
	stale = 'S' // an image with the parent's identifier that is not to be preferred
	wrong = 'W' // an image with another identifier
)

var (
	parentID = [16]byte{0: 0xF0, 15: 1}
	wrongID  = [16]byte{0: 0xF0, 15: 2}
	childID  = [16]byte{0: 0xF0, 15: 3}
)

// stampedParent is a fixed disk whose every byte is its stamp.
func stampedParent(stamp byte) *vhdtest.Image {
	img := vhdtest.NewFixed(chainSize, bytes.Repeat([]byte{stamp}, chainSize))
	img.ID = parentID
	if stamp == wrong {
		img.ID = wrongID
	}
	return img
}

// childWith is a child of the stamped parents that has only its first sector, of
// bytes 'C', and whose locators are in the first slots.
func childWith(locators ...vhdtest.Locator) *vhdtest.Image {
	return childNamed(childID, parentID, locators...)
}

func childNamed(id, parent [16]byte, locators ...vhdtest.Locator) *vhdtest.Image {
	img := &vhdtest.Image{
		Type: vhdtest.Differencing, Size: chainSize, BlockSize: chainSize, ID: id, ParentID: parent,
		Blocks: []vhdtest.Block{{
			Bitmap: vhdtest.Bitmap(chainSectors, func(sector int) bool { return sector == 0 }),
			Data:   bytes.Repeat([]byte{'C'}, vhd.SectorSize),
		}},
	}
	copy(img.Locators[:], locators)
	return img
}

// childNaming is childWith the header's name alone.
func childNaming(name string) *vhdtest.Image {
	img := childWith()
	img.ParentName = name
	return img
}

// tree is where a test puts its images: a directory of the operating system's,
// or an FS in memory.
type tree struct {
	kind string
	mem  *vhdtest.MemFS // nil: the operating system
	fs   vhd.FS
	top  string // what all names begin with
}

func osTree(t testing.TB) *tree {
	t.Helper()
	top, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	return &tree{kind: "files", top: top + string(filepath.Separator)}
}

func memTree(top string) *tree {
	mem := vhdtest.NewMemFS()
	return &tree{kind: "own FS" + top, mem: mem, fs: mem, top: top}
}

// eachTree is the operating system's files and an FS of the caller's, whose names
// begin with a slash or don't.
func eachTree(t testing.TB) []*tree {
	t.Helper()
	return []*tree{osTree(t), memTree(""), memTree("/")}
}

// name is a name in the tree as Open takes it; "." is the tree's top.
func (tr *tree) name(rel string) string {
	switch {
	case tr.mem == nil:
		return filepath.Join(tr.top, filepath.FromSlash(rel))
	case rel == ".":
		return "/"
	}
	return tr.top + rel
}

// stored is a name in the tree as an image stores it: absolute, with backslashes.
func (tr *tree) stored(rel string) string {
	name := filepath.ToSlash(tr.name(rel))
	if tr.mem != nil && tr.top == "" {
		name = "/" + name
	}
	return string(bytes.ReplaceAll([]byte(name), []byte("/"), []byte(`\`)))
}

func (tr *tree) mkdir(t testing.TB, rel string) {
	t.Helper()
	if tr.mem != nil {
		require.NoError(t, tr.mem.MkdirAll(tr.name(rel)))
		return
	}
	require.NoError(t, os.MkdirAll(tr.name(rel), 0o755))
}

func (tr *tree) write(t testing.TB, rel string, data []byte) {
	t.Helper()
	if tr.mem != nil {
		require.NoError(t, tr.mem.WriteFile(tr.name(rel), data))
		return
	}
	require.NoError(t, os.MkdirAll(filepath.Dir(tr.name(rel)), 0o755))
	require.NoError(t, os.WriteFile(tr.name(rel), data, 0o644))
}

func (tr *tree) put(t testing.TB, rel string, img *vhdtest.Image) {
	t.Helper()
	tr.write(t, rel, img.Build(t))
}

// options are opts for this tree: Root and Search are names in it.
func (tr *tree) options(opts vhd.Options) *vhd.Options {
	opts.FS = tr.fs
	if opts.Root != "" {
		opts.Root = tr.name(opts.Root)
	}
	var search []string
	for _, dir := range opts.Search {
		search = append(search, tr.name(dir))
	}
	opts.Search = search
	return &opts
}

// open opens an image of the tree, to be closed with the test.
func (tr *tree) open(t testing.TB, rel string, opts vhd.Options) *vhd.Disk {
	t.Helper()
	d, err := vhd.Open(tr.name(rel), tr.options(opts))
	require.NoError(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

// fails opens an image of the tree, which must not succeed, and returns why.
func (tr *tree) fails(t testing.TB, rel string, opts vhd.Options) error {
	t.Helper()
	d, err := vhd.Open(tr.name(rel), tr.options(opts))
	if err == nil {
		names := chainNames(d)
		d.Close()
		require.FailNow(t, "a disk was opened", "%v", names)
	}
	require.Nil(t, d, "with an error comes no disk")
	return err
}

// parentError is the ParentError that err is.
func parentError(t testing.TB, err error) *vhd.ParentError {
	t.Helper()
	var parentErr *vhd.ParentError
	require.ErrorAs(t, err, &parentErr)
	return parentErr
}

// stampOf is the byte of which all of a sector consists.
func stampOf(t testing.TB, d *vhd.Disk, sector int64) byte {
	t.Helper()
	p := make([]byte, vhd.SectorSize)
	_, err := d.ReadAt(p, sector*vhd.SectorSize)
	require.NoError(t, err)
	require.Equal(t, bytes.Repeat(p[:1], vhd.SectorSize), p, "sector %d has more than one stamp", sector)
	return p[0]
}

func chainNames(d *vhd.Disk) []string {
	var names []string
	for _, img := range d.Chain() {
		names = append(names, img.Name())
	}
	return names
}

func TestNoParentsReadsOwnSectorsAndNeverInventsZeros(t *testing.T) {
	for _, tr := range eachTree(t) {
		t.Run(tr.kind, func(t *testing.T) {
			tr.put(t, "d/base.vhd", stampedParent(right))
			tr.put(t, "d/child.vhd", childWith(vhdtest.W2ru(`.\base.vhd`)))
			d := tr.open(t, "d/child.vhd", vhd.Options{NoParents: true})
			require.Len(t, d.Chain(), 1)
			require.EqualValues(t, chainSize, d.Size())
			require.EqualValues(t, 'C', stampOf(t, d, 0))

			p := bytes.Repeat([]byte{0xAA}, chainSize)
			_, err := d.ReadAt(p[:vhd.SectorSize], vhd.SectorSize)
			require.ErrorIs(t, err, vhd.ErrParentNotFound)
			require.ErrorIs(t, err, fs.ErrNotExist)

			n, err := d.ReadAt(p, 0)
			require.ErrorIs(t, err, vhd.ErrParentNotFound, "a read of both own and missing sectors")
			require.LessOrEqual(t, n, vhd.SectorSize)
			require.EqualValues(t, 'C', stampOf(t, d, 0), "a failed read spoils no later one")
		})
	}
}

func TestNoParentsDoesNotLookForThem(t *testing.T) {
	mem := memTree("")
	mem.put(t, "d/child.vhd", childWith(vhdtest.W2ru(`.\base.vhd`)))
	rec := vhdtest.NewRecordFS(mem.fs)
	d, err := vhd.Open("d/child.vhd", &vhd.Options{FS: rec, NoParents: true, Search: []string{"d"}})
	require.NoError(t, err)
	require.NoError(t, d.Close())
	require.Equal(t, 1, rec.Count(vhdtest.OpOpen))
	require.Zero(t, rec.Count(vhdtest.OpReadDir))
}

func TestNoParentsOfADiskWithoutAParentIsAnOrdinaryOpen(t *testing.T) {
	tr := memTree("")
	tr.put(t, "base.vhd", stampedParent(right))
	d := tr.open(t, "base.vhd", vhd.Options{NoParents: true})
	require.EqualValues(t, right, stampOf(t, d, 7))
}

func TestWritingWithNoParentsNeedsTheParentOnlyForPartsOfSectors(t *testing.T) {
	tr := memTree("")
	tr.put(t, "child.vhd", childWith(vhdtest.W2ru(`.\base.vhd`)))
	d := tr.open(t, "child.vhd", vhd.Options{NoParents: true, Writable: true})
	_, err := d.WriteAt(bytes.Repeat([]byte{'N'}, vhd.SectorSize), 2*vhd.SectorSize)
	require.NoError(t, err)
	_, err = d.WriteAt([]byte("a part"), 3*vhd.SectorSize+7)
	require.ErrorIs(t, err, vhd.ErrParentNotFound)
	require.EqualValues(t, 'N', stampOf(t, d, 2))
	_, err = d.ReadAt(make([]byte, 1), 3*vhd.SectorSize)
	require.ErrorIs(t, err, vhd.ErrParentNotFound, "a failed write makes no sector of zeros")
}

func TestAParentOfAnotherIdentifierIsRefusedUnlessIdentifiersAreIgnored(t *testing.T) {
	for _, tr := range eachTree(t) {
		t.Run(tr.kind, func(t *testing.T) {
			tr.put(t, "d/base.vhd", stampedParent(wrong))
			tr.put(t, "d/child.vhd", childWith(vhdtest.W2ru(`.\base.vhd`)))
			err := tr.fails(t, "d/child.vhd", vhd.Options{})
			require.ErrorIs(t, err, vhd.ErrParentMismatch)
			require.NotErrorIs(t, err, vhd.ErrParentNotFound)

			d := tr.open(t, "d/child.vhd", vhd.Options{IgnoreParentIdentity: true})
			require.EqualValues(t, wrong, stampOf(t, d, 1))
		})
	}
}

// longChain puts n images into the tree, "0.vhd" the base and each other one a
// child of the one before, and returns the leaf's name. Image i of them owns the
// sector i modulo chainSectors.
func longChain(t testing.TB, tr *tree, n int) string {
	t.Helper()
	base := stampedParent(0)
	tr.put(t, "0.vhd", base)
	id := base.ID
	for i := 1; i < n; i++ {
		img := childNamed([16]byte{0: 0xA0, 14: byte(i >> 8), 15: byte(i)}, id, vhdtest.W2ru(fmt.Sprintf(`.\%d.vhd`, i-1)))
		img.Blocks = []vhdtest.Block{{
			Bitmap: vhdtest.Bitmap(chainSectors, func(sector int) bool { return sector == i%chainSectors }),
			Data:   bytes.Repeat([]byte{byte(i)}, chainSize),
		}}
		tr.put(t, fmt.Sprintf("%d.vhd", i), img)
		id = img.ID
	}
	return fmt.Sprintf("%d.vhd", n-1)
}

func TestAChainOf200OpensAndReads(t *testing.T) {
	for _, tr := range eachTree(t) {
		t.Run(tr.kind, func(t *testing.T) {
			leaf := longChain(t, tr, 200)
			d := tr.open(t, leaf, vhd.Options{})
			require.Len(t, d.Chain(), 200)
			for sector := range int64(chainSectors) {
				require.EqualValues(t, 192+sector, stampOf(t, d, sector))
			}
		})
	}
}

func TestMaxDepthIsTheNumberOfImages(t *testing.T) {
	tr := memTree("")
	leaf := longChain(t, tr, 5)
	for _, depth := range []int{5, 6, 0} {
		d := tr.open(t, leaf, vhd.Options{MaxDepth: depth})
		require.Len(t, d.Chain(), 5)
	}
	for _, depth := range []int{1, 2, 4} {
		err := tr.fails(t, leaf, vhd.Options{MaxDepth: depth})
		require.ErrorIs(t, err, vhd.ErrChainTooDeep)
		require.NotErrorIs(t, err, vhd.ErrParentNotFound)
	}
	d := tr.open(t, "0.vhd", vhd.Options{MaxDepth: 1})
	require.Len(t, d.Chain(), 1)
}

func TestAChainOfMoreThan256IsTooDeepUnlessAllowed(t *testing.T) {
	tr := memTree("")
	leaf := longChain(t, tr, 257)
	require.ErrorIs(t, tr.fails(t, leaf, vhd.Options{}), vhd.ErrChainTooDeep)
	require.Len(t, tr.open(t, "255.vhd", vhd.Options{}).Chain(), 256)
	require.Len(t, tr.open(t, leaf, vhd.Options{MaxDepth: 257}).Chain(), 257)
}

func TestALoopIsAnErrorAtOnce(t *testing.T) {
	idA, idB := [16]byte{0xA}, [16]byte{0xB}
	toward := func(name string) vhdtest.Locator { return vhdtest.W2ru(`.\` + name) }
	tests := []struct {
		name  string
		files map[string]*vhdtest.Image
	}{
		{"by itself", map[string]*vhdtest.Image{"a.vhd": childNamed(idA, idA, toward("a.vhd"))}},
		{"by itself, wanting another identifier", map[string]*vhdtest.Image{"a.vhd": childNamed(idA, idB, toward("a.vhd"))}},
		{"by two", map[string]*vhdtest.Image{
			"a.vhd": childNamed(idA, idB, toward("b.vhd")), "b.vhd": childNamed(idB, idA, toward("a.vhd"))}},
		{"by identifier, through a copy of the leaf", map[string]*vhdtest.Image{
			"a.vhd": childNamed(idA, idB, toward("b.vhd")), "b.vhd": childNamed(idB, idA, toward("copy.vhd")),
			"copy.vhd": childNamed(idA, idB, toward("b.vhd"))}},
		{"above the leaf", map[string]*vhdtest.Image{
			"a.vhd": childNamed(childID, idA, toward("x.vhd")),
			"x.vhd": childNamed(idA, idB, toward("y.vhd")), "y.vhd": childNamed(idB, idA, toward("x.vhd"))}},
		{"by other case of its own name", map[string]*vhdtest.Image{"a.vhd": childNamed(idA, idB, toward("A.VHD"))}},
		{"by identifiers of zeros", map[string]*vhdtest.Image{"a.vhd": childNamed([16]byte{}, [16]byte{}, toward("a.vhd"))}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, tr := range eachTree(t) {
				t.Run(tr.kind, func(t *testing.T) {
					for name, img := range tt.files {
						tr.put(t, name, img)
					}
					require.ErrorIs(t, tr.fails(t, "a.vhd", vhd.Options{}), vhd.ErrChainLoop)
					if tr.mem == nil {
						require.ErrorIs(t, tr.fails(t, "a.vhd", vhd.Options{Root: "."}), vhd.ErrChainLoop)
					}
					// Two identifiers may not be told apart by who ignores them; files may.
					if tt.files["copy.vhd"] == nil {
						require.ErrorIs(t, tr.fails(t, "a.vhd", vhd.Options{IgnoreParentIdentity: true}), vhd.ErrChainLoop)
					}
				})
			}
		})
	}
}

func TestALoopThroughAnotherNameOfTheFileIsAnError(t *testing.T) {
	for _, link := range []struct {
		name string
		make func(oldname, newname string) error
	}{
		{"hard link", os.Link},
		{"symbolic link", func(oldname, newname string) error { return os.Symlink(filepath.Base(oldname), newname) }},
	} {
		for _, way := range []vhd.Options{{}, {Root: "."}, {IgnoreParentIdentity: true}} {
			t.Run(fmt.Sprintf("%s, root %q", link.name, way.Root), func(t *testing.T) {
				tr := osTree(t)
				tr.put(t, "a.vhd", childWith(vhdtest.W2ru(`.\b.vhd`)))
				if err := link.make(tr.name("a.vhd"), tr.name("b.vhd")); err != nil {
					t.Skipf("no links here: %v", err)
				}
				require.ErrorIs(t, tr.fails(t, "a.vhd", way), vhd.ErrChainLoop)
			})
		}
	}
}

// An image is opened by a symbolic link that is called as its parent is.
func TestALinkCalledLikeTheParentIsNoLoop(t *testing.T) {
	tr := osTree(t)
	tr.put(t, "d/base.vhd", stampedParent(right))
	tr.put(t, "d/child.vhd", childWith(vhdtest.W2ru(`.\base.vhd`)))
	if err := os.Symlink(filepath.Join("d", "child.vhd"), tr.name("base.vhd")); err != nil {
		t.Skipf("no links here: %v", err)
	}
	d := tr.open(t, "base.vhd", vhd.Options{})
	require.EqualValues(t, right, stampOf(t, d, 1))
}

func TestARawParentOfXenIsUnsupported(t *testing.T) {
	for _, tr := range eachTree(t) {
		t.Run(tr.kind, func(t *testing.T) {
			tr.write(t, "d/raw.img", bytes.Repeat([]byte{0x55}, chainSize))
			tr.write(t, "d/raw.vhd", stampedParent(right).Build(t))
			for _, to := range []string{`raw.img`, `raw.vhd`, `missing.img`} {
				xen := childNamed(childID, [16]byte{}, vhdtest.W2ru(`.\`+to), vhdtest.MacXRaw("file://./"+to))
				xen.App, xen.Host = "tap\x00", "\x00\x00\x00\x00"
				tr.put(t, "d/child.vhd", xen)
				err := tr.fails(t, "d/child.vhd", vhd.Options{})
				require.ErrorIs(t, err, vhd.ErrUnsupported, to)
				require.Contains(t, err.Error(), "Xen")
				require.NotEmpty(t, parentError(t, err).Child)
			}
		})
	}
}

func TestAParentWithAnIdentifierOfZerosIsFound(t *testing.T) {
	tr := memTree("")
	base := stampedParent(right)
	base.ID = [16]byte{}
	mid := childNamed([16]byte{}, [16]byte{}, vhdtest.W2ru(`.\base.vhd`))
	tr.put(t, "base.vhd", base)
	tr.put(t, "mid.vhd", mid)
	tr.put(t, "leaf.vhd", childNamed(childID, [16]byte{}, vhdtest.W2ru(`.\mid.vhd`)))
	d := tr.open(t, "leaf.vhd", vhd.Options{})
	require.Len(t, d.Chain(), 3)
	require.EqualValues(t, right, stampOf(t, d, 1))
}

func TestAParentIsNeverOpenedForWriting(t *testing.T) {
	mem := memTree("")
	mem.put(t, "base.vhd", stampedParent(right))
	mem.put(t, "child.vhd", childWith(vhdtest.W2ru(`.\base.vhd`)))
	before, err := mem.mem.ReadFile("base.vhd")
	require.NoError(t, err)
	rec := vhdtest.NewRecordFS(mem.fs)
	d, err := vhd.Open("child.vhd", &vhd.Options{FS: rec, Writable: true})
	require.NoError(t, err)
	_, err = d.WriteAt(bytes.Repeat([]byte{'N'}, chainSize), 0)
	require.NoError(t, err)
	require.NoError(t, d.Close())
	for _, op := range rec.Ops() {
		if op.Name == "base.vhd" {
			require.False(t, op.Mutates(), "%v", op)
			require.Zero(t, op.Flag&(os.O_WRONLY|os.O_RDWR), "%v", op)
		}
	}
	after, err := mem.mem.ReadFile("base.vhd")
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func TestTheLeafsOwnErrorsNameIt(t *testing.T) {
	for _, tr := range eachTree(t) {
		t.Run(tr.kind, func(t *testing.T) {
			err := tr.fails(t, "missing.vhd", vhd.Options{})
			require.ErrorIs(t, err, fs.ErrNotExist)
			require.NotErrorIs(t, err, vhd.ErrParentNotFound)
			require.Contains(t, err.Error(), "missing.vhd")

			tr.mkdir(t, "dir.vhd")
			err = tr.fails(t, "dir.vhd", vhd.Options{})
			require.ErrorIs(t, err, vhd.ErrUnsupported)
			require.Contains(t, err.Error(), "dir.vhd")

			tr.write(t, "junk.vhd", bytes.Repeat([]byte("junk"), 1000))
			err = tr.fails(t, "junk.vhd", vhd.Options{})
			require.ErrorIs(t, err, vhd.ErrFormat)
			require.Contains(t, err.Error(), "junk.vhd")
		})
	}
}
