package vhd_test

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
	"github.com/stretchr/testify/require"
)

func TestAReadOnlyFileIsAFileThatCanBeReadAlone(t *testing.T) {
	f := vhd.ReadOnlyFile(bytes.NewReader([]byte("content")), 7)
	p := make([]byte, 3)
	n, err := f.ReadAt(p, 4)
	require.NoError(t, err)
	require.Equal(t, "ent", string(p[:n]))
	_, err = f.ReadAt(p, 5)
	require.ErrorIs(t, err, io.EOF)
	_, err = f.WriteAt(p, 0)
	require.ErrorIs(t, err, vhd.ErrReadOnly)
	require.ErrorIs(t, f.Truncate(0), vhd.ErrReadOnly)
	require.NoError(t, f.Sync())
	info, err := f.Stat()
	require.NoError(t, err)
	require.EqualValues(t, 7, info.Size())
	require.True(t, info.Mode().IsRegular())
	require.False(t, info.IsDir())
	require.NoError(t, f.Close(), "what is no io.Closer needs no closing")
}

func TestAReadOnlyFileClosesWhatItReads(t *testing.T) {
	c := &closeCounter{Reader: bytes.NewReader(nil)}
	require.NoError(t, vhd.ReadOnlyFile(c, 0).Close())
	require.Equal(t, 1, c.closed)
}

// rooted is a RootFS of the directory "in" of a tree, beside which is "out".
func rooted(t testing.TB) (*tree, vhd.FS) {
	t.Helper()
	tr := osTree(t)
	tr.put(t, "out/x.vhd", stampedParent(right))
	tr.put(t, "in/d/x.vhd", stampedParent(right))
	root, err := os.OpenRoot(tr.name("in"))
	require.NoError(t, err)
	t.Cleanup(func() { root.Close() })
	return tr, vhd.RootFS(root)
}

func TestARootFSSaysOfWhatIsOutsideThatItIs(t *testing.T) {
	tr, fsys := rooted(t)
	tr.symlink(t, "../out", "in/link")
	tr.symlink(t, "../out/x.vhd", "in/file")
	tr.symlink(t, tr.name("out"), "in/absolute")
	for _, name := range []string{"../out/x.vhd", "d/../../out/x.vhd", "link/x.vhd", "absolute/x.vhd", "/etc/passwd", tr.name("in/d/x.vhd")} {
		outside := []error{}
		add := func(err error) { outside = append(outside, err) }
		f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
		add(err)
		require.True(t, f == nil, "no typed nil") //nolint:testifylint // Nil would look inside
		_, err = fsys.OpenFile(name+"-new", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		add(err)
		add(fsys.Remove(name))
		add(fsys.Rename(name, "d/y.vhd"))
		add(fsys.Rename("d/x.vhd", name))
		add(fsys.SyncDir(filepath.ToSlash(filepath.Dir(name))))
		_, err = fsys.ReadDir(filepath.ToSlash(filepath.Dir(name)))
		add(err)
		add(fsys.(interface{ Link(o, n string) error }).Link("d/x.vhd", name))
		for i, err := range outside {
			require.ErrorIs(t, err, vhd.ErrOutsideRoot, "%s, call %d", name, i)
		}
	}
	_, err := fsys.OpenFile("file", os.O_RDONLY, 0)
	require.ErrorIs(t, err, vhd.ErrOutsideRoot)
	_, err = vhd.Open("../out/x.vhd", &vhd.Options{FS: fsys})
	require.ErrorIs(t, err, vhd.ErrOutsideRoot)
	entries, err := os.ReadDir(tr.name("out"))
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing came into being outside")
}

func TestARootFSKeepsErrorsOfOtherKinds(t *testing.T) {
	_, fsys := rooted(t)
	_, err := fsys.OpenFile("gone.vhd", os.O_RDONLY, 0)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NotErrorIs(t, err, vhd.ErrOutsideRoot)
	_, err = fsys.OpenFile("d/x.vhd", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	require.ErrorIs(t, err, fs.ErrExist)
	require.ErrorIs(t, fsys.Remove("gone.vhd"), fs.ErrNotExist)
	require.ErrorIs(t, fsys.Rename("gone.vhd", "d/y.vhd"), fs.ErrNotExist)
	_, err = fsys.ReadDir("gone")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorIs(t, fsys.SyncDir("gone"), fs.ErrNotExist)
}

func TestARootFSDoesWhatAnFSDoes(t *testing.T) {
	tr, fsys := rooted(t)
	disk, err := vhd.Create("d/new.vhd", vhd.CreateOptions{Options: vhd.Options{FS: fsys}, Size: 1 << 20})
	require.NoError(t, err)
	_, err = disk.WriteAt([]byte("hello"), 100)
	require.NoError(t, err)
	require.NoError(t, disk.Close())
	child, err := vhd.Create("child.vhd", vhd.CreateOptions{Options: vhd.Options{FS: fsys, Root: "/"}, Parent: "d/new.vhd"})
	require.NoError(t, err)
	require.NoError(t, child.Close())
	for _, open := range []func() (*vhd.Disk, error){
		func() (*vhd.Disk, error) { return vhd.Open("child.vhd", &vhd.Options{FS: fsys}) },
		func() (*vhd.Disk, error) { return vhd.Open(tr.name("in/child.vhd"), nil) },
	} {
		d, err := open()
		require.NoError(t, err)
		p := make([]byte, 5)
		_, err = d.ReadAt(p, 100)
		require.NoError(t, err)
		require.Equal(t, "hello", string(p))
		require.NoError(t, d.Close())
	}
	require.NoError(t, fsys.Rename("child.vhd", "d/child.vhd"))
	require.NoError(t, fsys.SyncDir("d"))
	entries, err := fsys.ReadDir("d")
	require.NoError(t, err)
	require.Len(t, entries, 3)
	require.NoError(t, fsys.Remove("d/child.vhd"))
}

func TestCreateReplacesNothing(t *testing.T) {
	tests := []struct {
		name string
		fs   func(m *vhdtest.MemFS) (vhd.FS, *vhdtest.RecordFS)
		link int
	}{
		{"where files can have two names", func(m *vhdtest.MemFS) (vhd.FS, *vhdtest.RecordFS) {
			rec := vhdtest.NewRecordFS(m.Linking())
			return rec.Linking(), rec
		}, 1},
		{"where they can't", func(m *vhdtest.MemFS) (vhd.FS, *vhdtest.RecordFS) {
			rec := vhdtest.NewRecordFS(m)
			return rec, rec
		}, 0},
		{"where linking is unsupported", func(m *vhdtest.MemFS) (vhd.FS, *vhdtest.RecordFS) {
			rec := vhdtest.NewRecordFS(m)
			return rec.Linking(), rec
		}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			mem := vhdtest.NewMemFS()
			fsys, rec := tt.fs(mem)
			opts := vhd.CreateOptions{Options: vhd.Options{FS: fsys}, Size: 1 << 20}
			d, err := vhd.Create("x.vhd", opts)
			require.NoError(t, err)
			require.NoError(t, d.Close())
			require.Equal(t, tt.link, rec.Count(vhdtest.OpLink))
			require.Positive(t, rec.Count(vhdtest.OpSyncDir))
			before, err := mem.ReadFile("x.vhd")
			require.NoError(t, err)

			_, err = vhd.Create("x.vhd", opts)
			require.ErrorIs(t, err, fs.ErrExist)
			after, err := mem.ReadFile("x.vhd")
			require.NoError(t, err)
			require.Equal(t, before, after)
			entries, err := mem.ReadDir("/")
			require.NoError(t, err)
			require.Len(t, entries, 1, "no other file is left behind")
		})
	}
}

// Somebody else makes the file while Create is at work.
func TestCreateLosesARaceRatherThanReplace(t *testing.T) {
	mem := vhdtest.NewMemFS()
	rec := vhdtest.NewRecordFS(mem.Linking())
	rec.Forbid = func(op vhdtest.Op) error {
		if op.Kind == vhdtest.OpLink {
			return mem.WriteFile(op.To, []byte("somebody else's"))
		}
		return nil
	}
	_, err := vhd.Create("d.vhd", vhd.CreateOptions{Options: vhd.Options{FS: rec.Linking()}, Size: 1 << 20})
	require.ErrorIs(t, err, fs.ErrExist)
	data, err := mem.ReadFile("d.vhd")
	require.NoError(t, err)
	require.Equal(t, "somebody else's", string(data))
	entries, err := mem.ReadDir("/")
	require.NoError(t, err)
	require.Len(t, entries, 1, "the file that lost is gone")
}

func TestAChildMadeAnywhereInATreeFindsItsParent(t *testing.T) {
	for _, where := range []struct{ parent, child, relative string }{
		{"base.vhd", "child.vhd", `.\base.vhd`},
		{"d/base.vhd", "child.vhd", `.\d\base.vhd`},
		{"base.vhd", "d/child.vhd", `..\base.vhd`},
		{"p/base.vhd", "d/e/child.vhd", `..\..\p\base.vhd`},
		{"p/Basis Ж.vhd", "d/child.vhd", `..\p\Basis Ж.vhd`},
	} {
		t.Run(where.parent+" and "+where.child, func(t *testing.T) {
			for _, tr := range eachTree(t) {
				t.Run(tr.kind, func(t *testing.T) {
					tr.put(t, where.parent, stampedParent(right))
					tr.mkdir(t, filepath.ToSlash(filepath.Dir(where.child)))
					opts := *tr.options(vhd.Options{Root: "."})
					d, err := vhd.Create(tr.name(where.child), vhd.CreateOptions{Options: opts, Parent: tr.name(where.parent)})
					require.NoError(t, err)
					require.EqualValues(t, right, stampOf(t, d, 3))
					require.NoError(t, d.Close())

					d = tr.open(t, where.child, vhd.Options{Root: "."})
					refs := d.Chain()[0].ParentRefs()
					require.Equal(t, vhd.ParentRef{Origin: "W2ru", Path: where.relative}, refs[0])
					require.Contains(t, refs, vhd.ParentRef{Origin: "W2ku", Path: tr.stored(where.parent)})
					require.EqualValues(t, right, stampOf(t, d, 3))
				})
			}
		})
	}
}
