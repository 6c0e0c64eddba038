package vhd_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
	"github.com/stretchr/testify/require"
)

// lockTree is a tree with a child and its parent, both of which can be written.
func lockTree(t testing.TB) *tree {
	t.Helper()
	tr := osTree(t)
	base := vhdtest.NewDynamic(chainSize)
	base.ID = parentID
	tr.put(t, "base.vhd", base)
	tr.put(t, "child.vhd", childWith(vhdtest.W2ru(nearby)))
	return tr
}

// Of two users of one image.
var lockPairs = []struct {
	name          string
	first, second vhd.Options
	refused       bool
}{
	{"writer and writer", vhd.Options{Writable: true}, vhd.Options{Writable: true}, true},
	{"writer and reader", vhd.Options{Writable: true}, vhd.Options{}, true},
	{"reader and writer", vhd.Options{}, vhd.Options{Writable: true}, true},
	{"reader and reader", vhd.Options{}, vhd.Options{}, false},
	{"writer and writer, best effort", vhd.Options{Writable: true}, vhd.Options{Writable: true, Lock: vhd.LockBestEffort}, true},
	{"best effort and reader", vhd.Options{Writable: true, Lock: vhd.LockBestEffort}, vhd.Options{}, true},
	{"writer and one who takes no locks", vhd.Options{Writable: true}, vhd.Options{Writable: true, Lock: vhd.LockNone}, false},
	{"one who takes no locks and a writer", vhd.Options{Writable: true, Lock: vhd.LockNone}, vhd.Options{Writable: true}, false},
}

func TestAWriterExcludesAllOthersAndReadersExcludeWriters(t *testing.T) {
	for _, tt := range lockPairs {
		t.Run(tt.name, func(t *testing.T) {
			tr := lockTree(t)
			first, err := vhd.Open(tr.name("child.vhd"), &tt.first)
			require.NoError(t, err)
			second, err := vhd.Open(tr.name("child.vhd"), &tt.second)
			if tt.refused {
				require.ErrorIs(t, err, vhd.ErrLocked)
				require.Contains(t, err.Error(), "child.vhd")
			} else {
				require.NoError(t, err)
				require.NoError(t, second.Close())
			}
			require.EqualValues(t, 'C', stampOf(t, first, 0), "who was first goes on")
			require.NoError(t, first.Close())

			again, err := vhd.Open(tr.name("child.vhd"), &tt.second)
			require.NoError(t, err, "the lock ends with Close")
			require.NoError(t, again.Close())
		})
	}
}

// TestLockHelper is no test: it is the other process of those below, which opens
// an image, says so, and closes it when it is told to.
func TestLockHelper(t *testing.T) {
	name := os.Getenv("VHD_TEST_OPEN")
	if name == "" {
		t.Skip("runs in a process of its own, started by other tests")
	}
	d, err := vhd.Open(name, &vhd.Options{Writable: os.Getenv("VHD_TEST_WRITABLE") == "1"})
	switch {
	case errors.Is(err, vhd.ErrLocked):
		fmt.Println("result: locked")
		return
	case err != nil:
		fmt.Println("result:", err)
		return
	}
	fmt.Println("result: open")
	_, _ = io.Copy(io.Discard, os.Stdin)
	require.NoError(t, d.Close())
}

// again is a process that runs one test of this program.
func again(t testing.TB, test string, env ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(append(os.Environ(), "GORACE=atexit_sleep_ms=0"), env...)
	return cmd
}

// needAgain skips the test where there can be no such process.
func needAgain(t testing.TB) {
	t.Helper()
	err := again(t, "NoTestAtAll").Run()
	if errors.Is(err, syscall.ENOEXEC) {
		t.Skip("this program can't start itself: it runs under an emulator that the system does not know of")
	}
	require.NoError(t, err)
}

// openElsewhere opens an image in another process. It returns what came of it,
// and what closes the image there.
func openElsewhere(t testing.TB, name string, writable bool) (result string, done func()) {
	t.Helper()
	cmd := again(t, "TestLockHelper", "VHD_TEST_OPEN="+name)
	if writable {
		cmd.Env = append(cmd.Env, "VHD_TEST_WRITABLE=1")
	}
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && result == "" {
		if rest, ok := strings.CutPrefix(lines.Text(), "result: "); ok {
			result = rest
			break
		}
	}
	return result, func() {
		t.Helper()
		require.NoError(t, stdin.Close())
		_, _ = io.Copy(io.Discard, stdout)
		require.NoError(t, cmd.Wait())
	}
}

func TestAnotherProcessIsRefusedAsThisOneIs(t *testing.T) {
	needAgain(t)
	for _, tt := range lockPairs {
		if tt.first.Lock != vhd.LockRequired || tt.second.Lock != vhd.LockRequired {
			continue
		}
		want := map[bool]string{true: "locked", false: "open"}[tt.refused]
		t.Run(tt.name+", there second", func(t *testing.T) {
			tr := lockTree(t)
			d := tr.open(t, "child.vhd", tt.first)
			result, done := openElsewhere(t, tr.name("child.vhd"), tt.second.Writable)
			done()
			require.Equal(t, want, result)
			require.NoError(t, d.Close())
		})
		t.Run(tt.name+", there first", func(t *testing.T) {
			tr := lockTree(t)
			result, done := openElsewhere(t, tr.name("child.vhd"), tt.first.Writable)
			require.Equal(t, "open", result)
			d, err := vhd.Open(tr.name("child.vhd"), &tt.second)
			if tt.refused {
				require.ErrorIs(t, err, vhd.ErrLocked)
			} else {
				require.NoError(t, err)
				require.NoError(t, d.Close())
			}
			done()
			tr.open(t, "child.vhd", vhd.Options{Writable: true})
		})
	}
}

func TestAnotherNameOfALockedImageIsLockedToo(t *testing.T) {
	for _, link := range []struct {
		name string
		make func(oldname, newname string) error
	}{{"hard link", os.Link}, {"symbolic link", os.Symlink}} {
		t.Run(link.name, func(t *testing.T) {
			tr := lockTree(t)
			if err := link.make(tr.name("child.vhd"), tr.name("other.vhd")); err != nil {
				t.Skipf("no links here: %v", err)
			}
			d := tr.open(t, "child.vhd", vhd.Options{Writable: true})
			for _, opts := range []vhd.Options{{}, {Writable: true}} {
				require.ErrorIs(t, tr.fails(t, "other.vhd", opts), vhd.ErrLocked)
			}
			require.NoError(t, d.Close())
			tr.open(t, "other.vhd", vhd.Options{Writable: true})
			require.ErrorIs(t, tr.fails(t, "child.vhd", vhd.Options{}), vhd.ErrLocked)
		})
	}
}

// All ways to one image. Each opens child.vhd for writing.
var waysToAnImage = []struct {
	name string
	open func(t *testing.T, tr *tree) (*vhd.Disk, error)
}{
	{"its name", func(_ *testing.T, tr *tree) (*vhd.Disk, error) {
		return vhd.Open(tr.name("child.vhd"), &vhd.Options{Writable: true})
	}},
	{"another spelling", func(t *testing.T, tr *tree) (*vhd.Disk, error) {
		t.Helper()
		tr.mkdir(t, "sub")
		return vhd.Open(tr.name("sub")+"/.././child.vhd", &vhd.Options{Writable: true})
	}},
	{"a relative name", func(t *testing.T, tr *tree) (*vhd.Disk, error) {
		t.Helper()
		t.Chdir(tr.name("."))
		return vhd.Open("child.vhd", &vhd.Options{Writable: true})
	}},
	{"a hard link", func(t *testing.T, tr *tree) (*vhd.Disk, error) {
		t.Helper()
		return vhd.Open(hardLink(t, tr, "child.vhd"), &vhd.Options{Writable: true})
	}},
	{"an os.Root", func(t *testing.T, tr *tree) (*vhd.Disk, error) {
		t.Helper()
		root, err := os.OpenRoot(tr.name("."))
		require.NoError(t, err)
		t.Cleanup(func() { root.Close() })
		return vhd.Open("child.vhd", &vhd.Options{Writable: true, FS: vhd.RootFS(root)})
	}},
	{"an open file", func(t *testing.T, tr *tree) (*vhd.Disk, error) {
		t.Helper()
		f, err := os.OpenFile(tr.name("child.vhd"), os.O_RDWR, 0)
		require.NoError(t, err)
		t.Cleanup(func() { f.Close() })
		return vhd.OpenChain(&vhd.Options{Writable: true, NoParents: true}, f)
	}},
}

// hardLink is another name of a file.
func hardLink(t testing.TB, tr *tree, rel string) string {
	t.Helper()
	name := tr.name("link to " + rel)
	if err := os.Link(tr.name(rel), name); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Skipf("no links here: %v", err)
	}
	return name
}

func TestNoWayToAnImageLeadsPastItsWriter(t *testing.T) {
	for _, first := range waysToAnImage {
		for _, second := range waysToAnImage {
			t.Run(first.name+", then "+second.name, func(t *testing.T) {
				tr := lockTree(t)
				d, err := first.open(t, tr)
				require.NoError(t, err)
				_, err = second.open(t, tr)
				require.ErrorIs(t, err, vhd.ErrLocked)
				require.NoError(t, d.Close())
				d, err = second.open(t, tr)
				require.NoError(t, err)
				require.NoError(t, d.Close())
			})
		}
	}
}

func TestAnotherProcessIsRefusedByAHardLinkToo(t *testing.T) {
	needAgain(t)
	tr := lockTree(t)
	link := hardLink(t, tr, "child.vhd")
	d := tr.open(t, "child.vhd", vhd.Options{Writable: true})
	result, done := openElsewhere(t, link, true)
	done()
	require.Equal(t, "locked", result)
	require.NoError(t, d.Close())

	result, done = openElsewhere(t, link, true)
	require.Equal(t, "open", result)
	require.ErrorIs(t, tr.fails(t, "child.vhd", vhd.Options{Writable: true}), vhd.ErrLocked)
	done()
}

// A chain of four, of which the third is written here and a process of its own
// tries all others.
func TestWhileAChildIsWrittenItsParentsMayBeReadElsewhereAndNotWritten(t *testing.T) {
	needAgain(t)
	tr := osTree(t)
	longChain(t, tr, 4)
	d := tr.open(t, "2.vhd", vhd.Options{Writable: true})
	for _, tt := range []struct {
		name     string
		writable bool
		want     string
	}{
		{tr.name("1.vhd"), false, "open"},
		{tr.name("0.vhd"), false, "open"},
		{tr.name("1.vhd"), true, "locked"},
		{tr.name("0.vhd"), true, "locked"},
		{hardLink(t, tr, "0.vhd"), true, "locked"},
		{tr.name("2.vhd"), false, "locked"},
		{tr.name("3.vhd"), false, "locked"}, // its parent is being written
		{tr.name("3.vhd"), true, "locked"},
	} {
		result, done := openElsewhere(t, tt.name, tt.writable)
		_, err := d.WriteAt([]byte("while it is open there"), 0)
		require.NoError(t, err)
		require.NoError(t, d.Sync())
		done()
		require.Equal(t, tt.want, result, "%s, writable %v", tt.name, tt.writable)
	}
	require.NoError(t, d.Close())
	for _, name := range []string{"0.vhd", "1.vhd", "2.vhd", "3.vhd"} {
		result, done := openElsewhere(t, tr.name(name), true)
		done()
		require.Equal(t, "open", result, name)
	}
}

func TestAParentIsNotWrittenWhileAChildIsOpen(t *testing.T) {
	for _, opts := range []vhd.Options{{}, {Writable: true}, {Root: "/"}} {
		tr := lockTree(t)
		child, err := vhd.Open(tr.name("child.vhd"), &opts)
		require.NoError(t, err)
		require.ErrorIs(t, tr.fails(t, "base.vhd", vhd.Options{Writable: true}), vhd.ErrLocked)
		require.Len(t, tr.open(t, "base.vhd", vhd.Options{}).Chain(), 1, "it may be read, also by other children")
		tr.put(t, "sibling.vhd", childNamed(wrongID, parentID, vhdtest.W2ru(nearby)))
		sibling, err := vhd.Open(tr.name("sibling.vhd"), &vhd.Options{Writable: true})
		require.NoError(t, err)
		require.NoError(t, sibling.Close())
		require.NoError(t, child.Close())
	}
}

func TestAParentThatIsWrittenIsLocked(t *testing.T) {
	tr := lockTree(t)
	base := tr.open(t, "base.vhd", vhd.Options{Writable: true})
	for _, opts := range []vhd.Options{{}, {Writable: true}, {Root: "."}, {Lock: vhd.LockBestEffort}, {Search: []string{"."}}} {
		err := tr.fails(t, "child.vhd", opts)
		require.ErrorIs(t, err, vhd.ErrLocked)
		require.ErrorIs(t, parentError(t, err).Attempts[0].Err, vhd.ErrLocked)
	}
	_, err := vhd.Create(tr.name("new.vhd"), vhd.CreateOptions{Parent: tr.name("base.vhd")})
	require.ErrorIs(t, err, vhd.ErrLocked)
	require.NoFileExists(t, tr.name("new.vhd"))
	require.Len(t, tr.open(t, "child.vhd", vhd.Options{Lock: vhd.LockNone}).Chain(), 2)
	require.NoError(t, base.Close())
	tr.open(t, "child.vhd", vhd.Options{})
}

// The right parent is there, and in use. An older copy of it must not take its
// place unseen.
func TestALockedParentIsNotReplacedByAStaleCopy(t *testing.T) {
	tr := lockTree(t)
	tr.put(t, "old/base.vhd", stampedParent(stale))
	tr.put(t, "child.vhd", childWith(vhdtest.W2ru(nearby), vhdtest.W2ku(`C:\old\base.vhd`)))
	tr.open(t, "base.vhd", vhd.Options{Writable: true})
	require.ErrorIs(t, tr.fails(t, "child.vhd", vhd.Options{}), vhd.ErrLocked)
}

func TestAFailedOpenLeavesNoLock(t *testing.T) {
	tests := []struct {
		name string
		make func(t *testing.T, tr *tree)
		opts vhd.Options
	}{
		{"the parent is missing", func(t *testing.T, tr *tree) {
			t.Helper()
			require.NoError(t, os.Remove(tr.name("base.vhd")))
		}, vhd.Options{}},
		{"the parent is another disk", func(t *testing.T, tr *tree) {
			t.Helper()
			tr.put(t, "base.vhd", stampedParent(wrong))
		}, vhd.Options{}},
		{"the grandparent is missing", func(t *testing.T, tr *tree) {
			t.Helper()
			tr.put(t, "base.vhd", childNamed(parentID, wrongID))
		}, vhd.Options{}},
		{"too deep", func(*testing.T, *tree) {}, vhd.Options{MaxDepth: 1}},
		{"blocks overlap", func(t *testing.T, tr *tree) {
			t.Helper()
			img := childWith(vhdtest.W2ru(nearby))
			img.Entries = map[int]uint32{0: 1}
			tr.put(t, "child.vhd", img)
		}, vhd.Options{Writable: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := lockTree(t)
			tt.make(t, tr)
			for _, writable := range []bool{tt.opts.Writable, true} {
				opts := tt.opts
				opts.Writable = writable
				err := tr.fails(t, "child.vhd", opts)
				require.NotErrorIs(t, err, vhd.ErrLocked)
			}
			if _, err := os.Stat(tr.name("base.vhd")); err == nil {
				d, err := vhd.Open(tr.name("base.vhd"), &vhd.Options{Writable: true, NoParents: true})
				if !errors.Is(err, vhd.ErrReadOnly) {
					require.NoError(t, err)
					require.NoError(t, d.Close())
				}
			}
			tr.put(t, "base.vhd", stampedParent(right))
			tr.put(t, "child.vhd", childWith(vhdtest.W2ru(nearby)))
			require.NoError(t, tr.open(t, "child.vhd", vhd.Options{Writable: true}).Close())
		})
	}
}

func TestWhatIsRefusedIsNotChanged(t *testing.T) {
	tr := lockTree(t)
	tr.open(t, "child.vhd", vhd.Options{Writable: true})
	before, err := os.ReadFile(tr.name("child.vhd"))
	require.NoError(t, err)
	require.ErrorIs(t, tr.fails(t, "child.vhd", vhd.Options{Writable: true}), vhd.ErrLocked)
	_, err = vhd.Create(tr.name("child.vhd"), vhd.CreateOptions{Size: 1 << 20})
	require.ErrorIs(t, err, fs.ErrExist)
	after, err := os.ReadFile(tr.name("child.vhd"))
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func TestANewImageIsLocked(t *testing.T) {
	tr := lockTree(t)
	d, err := vhd.Create(tr.name("new.vhd"), vhd.CreateOptions{Parent: tr.name("base.vhd")})
	require.NoError(t, err)
	require.ErrorIs(t, tr.fails(t, "new.vhd", vhd.Options{}), vhd.ErrLocked)
	require.ErrorIs(t, tr.fails(t, "base.vhd", vhd.Options{Writable: true}), vhd.ErrLocked)
	require.NoError(t, d.Close())
	tr.open(t, "new.vhd", vhd.Options{Writable: true})
}

func TestAnOwnFSIsGuardedByItsOwner(t *testing.T) {
	tr := memTree("")
	tr.put(t, "base.vhd", stampedParent(right))
	tr.open(t, "base.vhd", vhd.Options{Writable: true})
	tr.open(t, "base.vhd", vhd.Options{Writable: true})
}

// swapFS is the operating system's files, of which one is replaced whenever it
// has been opened.
type swapFS struct {
	vhd.FS
	name string
	swap func()
}

func (s swapFS) OpenFile(name string, flag int, perm fs.FileMode) (vhd.File, error) {
	f, err := s.FS.OpenFile(name, flag, perm)
	if err == nil && filepath.Base(name) == s.name {
		s.swap()
	}
	return f, err
}

func (s swapFS) Stat(name string) (fs.FileInfo, error) {
	return s.FS.(interface {
		Stat(name string) (fs.FileInfo, error)
	}).Stat(name)
}

func TestAnImageThatIsReplacedWhileItIsOpenedIsNotTakenForTheOther(t *testing.T) {
	for _, which := range []string{"child.vhd", "base.vhd"} {
		t.Run(which, func(t *testing.T) {
			tr := lockTree(t)
			root, err := os.OpenRoot(tr.name("."))
			require.NoError(t, err)
			defer root.Close()
			data, err := os.ReadFile(tr.name(which))
			require.NoError(t, err)
			fsys := swapFS{vhd.RootFS(root), which, func() {
				tr.write(t, "new.vhd", data)
				require.NoError(t, os.Rename(tr.name("new.vhd"), tr.name(which)))
			}}
			_, err = vhd.Open("child.vhd", &vhd.Options{FS: fsys})
			require.ErrorIs(t, err, vhd.ErrLocked)
			_, err = vhd.Open("child.vhd", &vhd.Options{FS: fsys, Lock: vhd.LockNone})
			require.NoError(t, err)
		})
	}
}

// hookFS is the operating system's files, of which one calls hook behind its
// read or Stat number at, counted from 1.
type hookFS struct {
	swapFS
	at   int
	hook func()
}

func (h *hookFS) OpenFile(name string, flag int, perm fs.FileMode) (vhd.File, error) {
	f, err := h.FS.OpenFile(name, flag, perm)
	if err != nil || filepath.Base(name) != h.name {
		return f, err
	}
	return &hookFile{f.(*os.File), h}, nil
}

func (h *hookFS) count() {
	if h.at--; h.at == 0 {
		h.hook()
	}
}

type hookFile struct {
	*os.File
	fsys *hookFS
}

func (f *hookFile) ReadAt(p []byte, off int64) (int, error) {
	defer f.fsys.count()
	return f.File.ReadAt(p, off)
}

func (f *hookFile) Stat() (fs.FileInfo, error) {
	defer f.fsys.count()
	return f.File.Stat()
}

// A writer is busy until some moment while the image, or a child of it, is being
// opened: what was known of the file before it was locked is not believed.
func TestWhatAWriterDidUntilItsLockEndedIsSeen(t *testing.T) {
	const size, block, off = 1 << 20, 4096, 640 << 10
	for _, leaf := range []string{"base.vhd", "child.vhd"} {
		for _, writable := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, writable %v", leaf, writable), func(t *testing.T) {
				opened := 0
				for at := 1; ; at++ {
					tr := osTree(t)
					root, err := os.OpenRoot(tr.name("."))
					require.NoError(t, err)
					defer root.Close()
					writer, err := vhd.Create(tr.name("base.vhd"), vhd.CreateOptions{Size: size, BlockSize: block})
					require.NoError(t, err)
					child, err := vhd.Create(tr.name("child.vhd"), vhd.CreateOptions{
						Options: vhd.Options{Lock: vhd.LockNone}, Parent: tr.name("base.vhd"),
					})
					require.NoError(t, err)
					require.NoError(t, child.Close())
					_, err = writer.WriteAt([]byte("first"), 0)
					require.NoError(t, err)
					fsys := &hookFS{swapFS: swapFS{FS: vhd.RootFS(root), name: "base.vhd"}, at: at, hook: func() {
						_, err := writer.WriteAt(bytes.Repeat([]byte("more"), 110*block/4), off-100*block)
						require.NoError(t, err)
						require.NoError(t, writer.Close()) // cuts off what the file grew by too much
					}}
					disk, err := vhd.Open(leaf, &vhd.Options{FS: fsys, Writable: writable})
					if fsys.at > 0 { // it was never called
						require.ErrorIs(t, err, vhd.ErrLocked)
						require.NoError(t, writer.Close())
						require.Positive(t, opened)
						return
					}
					if err != nil {
						require.ErrorIs(t, err, vhd.ErrLocked)
						continue
					}
					opened++
					for _, img := range disk.Chain() {
						require.False(t, img.NeedsRecovery())
					}
					p := make([]byte, 8)
					_, err = disk.ReadAt(p, off)
					require.NoError(t, err)
					require.Equal(t, "moremore", string(p))
					require.NoError(t, disk.Close())
				}
			})
		}
	}
}
