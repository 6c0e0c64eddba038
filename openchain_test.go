package vhd_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
	"github.com/stretchr/testify/require"
)

// closeCounter is what can be read, and counts how often it was closed.
type closeCounter struct {
	*bytes.Reader
	closed int
	err    error
}

func (c *closeCounter) Close() error {
	c.closed++
	return c.err
}

// counted are the images as files that may only be read.
func counted(t testing.TB, imgs ...*vhdtest.Image) ([]*closeCounter, []vhd.File) {
	t.Helper()
	var counters []*closeCounter
	var files []vhd.File
	for _, img := range imgs {
		data := img.Build(t)
		c := &closeCounter{Reader: bytes.NewReader(data)}
		counters = append(counters, c)
		files = append(files, vhd.ReadOnlyFile(c, int64(len(data))))
	}
	return counters, files
}

// family is a leaf, its parent and the base; they refer to files that aren't
// there, since OpenChain must not look.
func family() (leaf, mid, base *vhdtest.Image) {
	midID := [16]byte{0xB}
	leaf = childNamed(childID, midID, vhdtest.W2ru(`.\mid.vhd`))
	mid = childNamed(midID, parentID, vhdtest.W2ru(nearby))
	mid.Blocks[0].Bitmap = vhdtest.Bitmap(chainSectors, func(sector int) bool { return sector == 1 })
	mid.Blocks[0].Data = bytes.Repeat([]byte{'M'}, 2*vhd.SectorSize)
	return leaf, mid, stampedParent(right)
}

func TestOpenChainReadsThroughFilesInOrderAndOwnsThem(t *testing.T) {
	leaf, mid, base := family()
	counters, files := counted(t, leaf, mid, base)
	d, err := vhd.OpenChain(nil, files...)
	require.NoError(t, err)
	require.Len(t, d.Chain(), 3)
	require.EqualValues(t, 'C', stampOf(t, d, 0))
	require.EqualValues(t, 'M', stampOf(t, d, 1))
	require.EqualValues(t, right, stampOf(t, d, 2))
	for _, c := range counters {
		require.Zero(t, c.closed)
	}
	require.NoError(t, d.Close())
	require.ErrorIs(t, d.Close(), vhd.ErrClosed)
	for _, c := range counters {
		require.Equal(t, 1, c.closed)
	}
}

func TestOpenChainClosesAllFilesThoughOneFails(t *testing.T) {
	leaf, mid, base := family()
	counters, files := counted(t, leaf, mid, base)
	counters[0].err = errors.New("it does not close")
	d, err := vhd.OpenChain(nil, files...)
	require.NoError(t, err)
	require.ErrorIs(t, d.Close(), counters[0].err)
	for _, c := range counters {
		require.Equal(t, 1, c.closed)
	}
}

func TestOpenChainRefusesWhatIsNoChainAndLeavesTheFilesOpen(t *testing.T) {
	leaf, mid, base := family()
	junk := vhdtest.NewFixed(chainSize, nil)
	junk.Footer = vhdtest.FooterZeroed
	tests := []struct {
		name string
		imgs []*vhdtest.Image
		opts vhd.Options
		want error
	}{
		{"no files", nil, vhd.Options{}, fs.ErrInvalid},
		{"no files, and no parents wanted", nil, vhd.Options{NoParents: true}, fs.ErrInvalid},
		{"the base is missing", []*vhdtest.Image{leaf, mid}, vhd.Options{}, vhd.ErrParentNotFound},
		{"all parents are missing", []*vhdtest.Image{leaf}, vhd.Options{}, vhd.ErrParentNotFound},
		{"all parents are missing, identifiers ignored", []*vhdtest.Image{leaf}, vhd.Options{IgnoreParentIdentity: true}, vhd.ErrParentNotFound},
		{"one between is missing", []*vhdtest.Image{leaf, base}, vhd.Options{}, vhd.ErrParentMismatch},
		{"turned around", []*vhdtest.Image{base, mid, leaf}, vhd.Options{}, vhd.ErrParentMismatch},
		{"two exchanged", []*vhdtest.Image{mid, leaf, base}, vhd.Options{}, vhd.ErrParentMismatch},
		{"another base", []*vhdtest.Image{leaf, mid, stampedParent(wrong)}, vhd.Options{}, vhd.ErrParentMismatch},
		{"a file behind the base", []*vhdtest.Image{leaf, mid, base, base}, vhd.Options{}, vhd.ErrParentMismatch},
		{"a file behind a lone base", []*vhdtest.Image{base, base}, vhd.Options{}, vhd.ErrParentMismatch},
		{"a file behind the base, identifiers ignored", []*vhdtest.Image{leaf, mid, base, base}, vhd.Options{IgnoreParentIdentity: true}, vhd.ErrParentMismatch},
		{"too deep", []*vhdtest.Image{leaf, mid, base}, vhd.Options{MaxDepth: 2}, vhd.ErrChainTooDeep},
		{"the leaf is no VHD", []*vhdtest.Image{junk, base}, vhd.Options{}, vhd.ErrFormat},
		{"the base is no VHD", []*vhdtest.Image{leaf, mid, junk}, vhd.Options{}, vhd.ErrFormat},
		{"one twice", []*vhdtest.Image{childNamed(childID, childID), childNamed(childID, childID)}, vhd.Options{}, vhd.ErrChainLoop},
		{"a loop by identifier", []*vhdtest.Image{childNamed(childID, wrongID), childNamed(wrongID, childID), childNamed(childID, wrongID)},
			vhd.Options{}, vhd.ErrChainLoop},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			counters, files := counted(t, tt.imgs...)
			d, err := vhd.OpenChain(&tt.opts, files...)
			require.ErrorIs(t, err, tt.want)
			require.Nil(t, d)
			for _, c := range counters {
				require.Zero(t, c.closed)
			}
		})
	}
}

func TestOpenChainIgnoresIdentifiersWhenTold(t *testing.T) {
	leaf, mid, _ := family()
	_, files := counted(t, leaf, mid, stampedParent(wrong))
	d, err := vhd.OpenChain(&vhd.Options{IgnoreParentIdentity: true}, files...)
	require.NoError(t, err)
	require.EqualValues(t, wrong, stampOf(t, d, 2))
	require.NoError(t, d.Close())
}

func TestOpenChainMayEndEarlyWithNoParents(t *testing.T) {
	leaf, mid, _ := family()
	_, files := counted(t, leaf, mid)
	d, err := vhd.OpenChain(&vhd.Options{NoParents: true}, files...)
	require.NoError(t, err)
	require.Len(t, d.Chain(), 2)
	require.EqualValues(t, 'C', stampOf(t, d, 0))
	require.EqualValues(t, 'M', stampOf(t, d, 1))
	_, err = d.ReadAt(make([]byte, 1), 2*vhd.SectorSize)
	require.ErrorIs(t, err, vhd.ErrParentNotFound)
	require.NoError(t, d.Close())
}

func TestOpenChainLooksNothingUp(t *testing.T) {
	leaf, mid, base := family()
	_, files := counted(t, leaf, mid, base)
	rec := vhdtest.NewRecordFS(vhdtest.NewMemFS())
	d, err := vhd.OpenChain(&vhd.Options{
		FS: rec, Root: "nowhere", Search: []string{"x"},
		MapPath: func(string) []string { t.Error("MapPath was called"); return nil },
	}, files...)
	require.NoError(t, err)
	require.NoError(t, d.Close())
	require.Zero(t, rec.Count())
}

func TestOpenChainNamesFilesAsTheirStatDoes(t *testing.T) {
	leaf, mid, base := family()
	tr := memTree("")
	tr.put(t, "d/leaf.vhd", leaf)
	f, err := tr.fs.OpenFile("d/leaf.vhd", os.O_RDONLY, 0)
	require.NoError(t, err)
	_, rest := counted(t, mid, stampedParent(wrong))
	_, err = vhd.OpenChain(nil, append([]vhd.File{f}, rest...)...)
	require.ErrorIs(t, err, vhd.ErrParentMismatch)
	require.Contains(t, err.Error(), "image 2", "a file without a name is told by its place")

	_, rest = counted(t, mid, base)
	d, err := vhd.OpenChain(nil, append([]vhd.File{f}, rest...)...)
	require.NoError(t, err)
	require.Equal(t, "leaf.vhd", d.Chain()[0].Name())
	require.NoError(t, d.Close())
	_, err = f.Stat()
	require.ErrorIs(t, err, fs.ErrClosed)
}

func TestOpenChainWritesTheLeafAlone(t *testing.T) {
	leaf, mid, base := family()
	tr := memTree("")
	tr.put(t, "leaf.vhd", leaf)
	tr.put(t, "mid.vhd", mid)
	tr.put(t, "base.vhd", base)
	rec := vhdtest.NewRecordFS(tr.fs)
	var files []vhd.File
	for _, name := range []string{"leaf.vhd", "mid.vhd", "base.vhd"} {
		f, err := rec.OpenFile(name, os.O_RDWR, 0)
		require.NoError(t, err)
		files = append(files, f)
	}
	d, err := vhd.OpenChain(&vhd.Options{Writable: true}, files...)
	require.NoError(t, err)
	_, err = d.WriteAt(bytes.Repeat([]byte{'N'}, chainSize), 0)
	require.NoError(t, err)
	require.NoError(t, d.Close())
	for _, op := range rec.Ops() {
		require.True(t, op.Name == "leaf.vhd" || !op.Mutates(), "%v", op)
	}
	require.EqualValues(t, 'N', stampOf(t, tr.open(t, "leaf.vhd", vhd.Options{}), 5))
}

func TestOpenChainReadsWhatIsNotWritableAndSaysSo(t *testing.T) {
	_, files := counted(t, stampedParent(right))
	d, err := vhd.OpenChain(nil, files...)
	require.NoError(t, err)
	_, err = d.WriteAt(make([]byte, 1), 0)
	require.ErrorIs(t, err, vhd.ErrReadOnly)
	require.NoError(t, d.Close())

	_, files = counted(t, stampedParent(right))
	d, err = vhd.OpenChain(&vhd.Options{Writable: true}, files...)
	if err != nil {
		require.ErrorIs(t, err, vhd.ErrReadOnly)
		return
	}
	_, err = d.WriteAt(make([]byte, vhd.SectorSize), 0)
	require.ErrorIs(t, err, vhd.ErrReadOnly)
	d.Close()
}

func TestOpenChainRefusesAFileThatIsNone(t *testing.T) {
	f, err := os.Open(t.TempDir())
	require.NoError(t, err)
	defer f.Close()
	_, err = vhd.OpenChain(nil, f)
	require.ErrorIs(t, err, vhd.ErrUnsupported)
}

// The files stay open when it fails, so that closing them gives nothing back.
func TestOpenChainThatFailsGivesBackTheLocksThatItTook(t *testing.T) {
	tr := lockTree(t)
	tr.put(t, "wrong.vhd", stampedParent(wrong))
	for _, tt := range []struct {
		name   string
		files  []string
		opts   vhd.Options
		locked string // the image that somebody writes meanwhile
	}{
		{"the parent is another disk", []string{"child.vhd", "wrong.vhd"}, vhd.Options{}, ""},
		{"the parent is missing", []string{"child.vhd"}, vhd.Options{Writable: true}, ""},
		{"too deep", []string{"child.vhd", "base.vhd"}, vhd.Options{MaxDepth: 1}, ""},
		{"the leaf is locked", []string{"child.vhd", "base.vhd"}, vhd.Options{}, "child.vhd"},
		{"the leaf is locked, and was to be written", []string{"child.vhd", "base.vhd"}, vhd.Options{Writable: true}, "child.vhd"},
		{"the parent is locked", []string{"child.vhd", "base.vhd"}, vhd.Options{}, "base.vhd"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			writer := func(name string) *vhd.Disk {
				return tr.open(t, name, vhd.Options{Writable: true, NoParents: true})
			}
			var other *vhd.Disk
			if tt.locked != "" {
				other = writer(tt.locked)
			}
			var files []vhd.File
			for _, name := range tt.files {
				f, err := os.OpenFile(tr.name(name), os.O_RDWR, 0)
				require.NoError(t, err)
				defer f.Close()
				files = append(files, f)
			}
			_, err := vhd.OpenChain(&tt.opts, files...)
			require.Error(t, err)
			if other != nil {
				require.ErrorIs(t, err, vhd.ErrLocked)
				require.NoError(t, other.Close())
			}
			for _, name := range []string{"child.vhd", "base.vhd", "wrong.vhd"} {
				require.NoError(t, writer(name).Close())
			}
		})
	}
}
