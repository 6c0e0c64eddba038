//go:build unix

package vhd_test

import (
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
	"github.com/stretchr/testify/require"
)

// irregularFiles make what is no regular file, under a name.
var irregularFiles = []struct {
	name    string
	make    func(t *testing.T, name string)
	outside bool // it is seen as that when confined
	opened  bool // it can be opened, and is then refused for what it is
}{
	{"FIFO", func(t *testing.T, name string) {
		t.Helper()
		require.NoError(t, syscall.Mkfifo(name, 0o644))
	}, false, true},
	{"directory", func(t *testing.T, name string) {
		t.Helper()
		require.NoError(t, os.Mkdir(name, 0o755))
	}, false, true},
	{"socket", func(t *testing.T, name string) {
		t.Helper()
		t.Chdir(t.TempDir()) // a socket's name must be short
		l, err := net.Listen("unix", "s")
		require.NoError(t, err)
		t.Cleanup(func() { l.Close() })
		require.NoError(t, os.Rename("s", name))
	}, false, false},
	{"link to /dev/zero", func(t *testing.T, name string) {
		t.Helper()
		require.NoError(t, os.Symlink("/dev/zero", name))
	}, true, true},
	{"link to itself", func(t *testing.T, name string) {
		t.Helper()
		require.NoError(t, os.Symlink("base.vhd", name))
	}, false, false},
	{"dangling link", func(t *testing.T, name string) {
		t.Helper()
		require.NoError(t, os.Symlink("nothing.vhd", name))
	}, false, false},
}

func TestAParentThatIsNoRegularFileIsAnErrorAtOnce(t *testing.T) {
	for _, tt := range irregularFiles {
		t.Run(tt.name, func(t *testing.T) {
			tr := osTree(t)
			tr.put(t, "d/child.vhd", childWith(vhdtest.W2ru(`.\base.vhd`)))
			tt.make(t, tr.name("d/base.vhd"))
			for _, opts := range []vhd.Options{{}, {Root: "."}, {Writable: true}, {Search: []string{"d"}}} {
				err := parentError(t, tr.fails(t, "d/child.vhd", opts))
				require.Equal(t, tr.name("d/base.vhd"), err.Attempts[0].Name)
				require.Error(t, err.Attempts[0].Err)
				if tt.outside {
					require.ErrorIs(t, err, vhd.ErrOutsideRoot)
				}
			}
			d, err := vhd.Open(tr.name("d/child.vhd"), &vhd.Options{Root: "/"})
			require.Nil(t, d)
			attempts := parentError(t, err).Attempts
			require.NotEmpty(t, attempts)
			if tt.opened {
				require.ErrorIs(t, attempts[0].Err, vhd.ErrUnsupported)
			}
		})
	}
}

func TestALeafThatIsNoRegularFileIsAnErrorAtOnce(t *testing.T) {
	for _, tt := range irregularFiles {
		t.Run(tt.name, func(t *testing.T) {
			tr := osTree(t)
			tt.make(t, tr.name("base.vhd"))
			require.Error(t, tr.fails(t, "base.vhd", vhd.Options{}))
			require.Error(t, tr.fails(t, "base.vhd", vhd.Options{Writable: true}))
		})
	}
}

// The right parent is there too, further down the list.
func TestAnIrregularCandidateIsPassedOver(t *testing.T) {
	for _, tt := range irregularFiles {
		t.Run(tt.name, func(t *testing.T) {
			tr := osTree(t)
			tr.put(t, "d/right.vhd", stampedParent(right))
			tr.put(t, "d/child.vhd", childWith(vhdtest.W2ru(`.\base.vhd`), vhdtest.W2ku(`C:\right.vhd`)))
			tt.make(t, tr.name("d/base.vhd"))
			require.EqualValues(t, right, stampOf(t, tr.open(t, "d/child.vhd", vhd.Options{}), 1))
		})
	}
}

func TestASearchByIdentifierPassesOverIrregularFiles(t *testing.T) {
	for _, tt := range irregularFiles {
		t.Run(tt.name, func(t *testing.T) {
			tr := osTree(t)
			tr.put(t, "d/zz.vhd", stampedParent(right))
			tr.put(t, "d/child.vhd", childWith(vhdtest.W2ru(`.\gone.vhd`)))
			tt.make(t, tr.name("d/base.vhd"))
			d := tr.open(t, "d/child.vhd", vhd.Options{Search: []string{"d"}})
			require.EqualValues(t, right, stampOf(t, d, 1))
		})
	}
}

func TestARootFSDoesNotWaitForAFIFO(t *testing.T) {
	tr := osTree(t)
	require.NoError(t, syscall.Mkfifo(tr.name("fifo.vhd"), 0o644))
	root, err := os.OpenRoot(tr.name("."))
	require.NoError(t, err)
	defer root.Close()
	for _, opts := range []vhd.Options{{}, {Writable: true}} {
		opts.FS = vhd.RootFS(root)
		_, err = vhd.Open("fifo.vhd", &opts)
		require.ErrorIs(t, err, vhd.ErrUnsupported)
	}
}

// Names of files are bytes to the operating system, and need not be UTF-8.
func TestNamesThatAreNoUTF8AreInsideTheRootToo(t *testing.T) {
	tr := osTree(t)
	dir := "d\xfc"
	if err := os.Mkdir(tr.name(dir), 0o755); err != nil {
		t.Skipf("the file system wants UTF-8: %v", err)
	}
	tr.put(t, dir+"/base.vhd", stampedParent(right))
	tr.put(t, dir+"/child.vhd", childWith(vhdtest.W2ru(nearby)))
	d, err := vhd.Open(tr.name(dir+"/child.vhd"), &vhd.Options{Root: tr.name("")})
	require.NoError(t, err)
	require.Len(t, d.Chain(), 2)
	require.NoError(t, d.Close())
}
