package vhd_test

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
	"github.com/stretchr/testify/require"
)

// needQemuIO skips the test where qemu-io isn't installed, or fails it where
// the readers are required.
func needQemuIO(t testing.TB) {
	t.Helper()
	_, err := exec.LookPath("qemu-io")
	switch {
	case err == nil:
	case os.Getenv("VHD_REQUIRE_READERS") == "1":
		require.FailNow(t, "qemu-io is needed (Debian: apt-get install qemu-utils)")
	default:
		t.Skip("qemu-io is not here (Debian: apt-get install qemu-utils)")
	}
}

// qemuHolds opens an image with qemu-io until the function that it returns is
// called.
func qemuHolds(t testing.TB, name string, args ...string) func() {
	t.Helper()
	cmd := exec.Command("qemu-io", append(args, "-f", "vpc", name)...)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	_, err = io.WriteString(stdin, "read 0 512\n") // its answer comes when the image is open
	require.NoError(t, err)
	lines := bufio.NewScanner(stdout)
	opened := false
	for !opened && lines.Scan() {
		opened = strings.Contains(lines.Text(), "read 512/512")
	}
	require.True(t, opened, "qemu-io did not open the image")
	return func() {
		t.Helper()
		require.NoError(t, stdin.Close())
		_, _ = io.Copy(io.Discard, stdout)
		require.NoError(t, cmd.Wait())
	}
}

// qemuReads says whether qemu-io gets at an image, and what it says.
func qemuReads(t testing.TB, name string, args ...string) (bool, string) {
	t.Helper()
	out, err := exec.Command("qemu-io", append(args, "-f", "vpc", "-c", "read 0 512", name)...).CombinedOutput()
	return err == nil && strings.Contains(string(out), "read 512/512"), string(out)
}

func lockedByQemu(t testing.TB) *tree {
	t.Helper()
	needQemuIO(t)
	tr := osTree(t)
	d, err := vhd.Create(tr.name("base.vhd"), vhd.CreateOptions{Size: 8 << 20})
	require.NoError(t, err)
	require.NoError(t, d.Close())
	d, err = vhd.Create(tr.name("child.vhd"), vhd.CreateOptions{Parent: tr.name("base.vhd")})
	require.NoError(t, err)
	require.NoError(t, d.Close())
	return tr
}

func TestQemuFirstIsSeen(t *testing.T) {
	tr := lockedByQemu(t)
	release := qemuHolds(t, tr.name("base.vhd"))
	require.ErrorIs(t, tr.fails(t, "base.vhd", vhd.Options{Writable: true}), vhd.ErrLocked)
	require.ErrorIs(t, tr.fails(t, "base.vhd", vhd.Options{}), vhd.ErrLocked)
	require.ErrorIs(t, tr.fails(t, "child.vhd", vhd.Options{}), vhd.ErrLocked)
	release()
	require.NoError(t, tr.open(t, "base.vhd", vhd.Options{Writable: true}).Close())

	release = qemuHolds(t, tr.name("base.vhd"), "-r")
	require.ErrorIs(t, tr.fails(t, "base.vhd", vhd.Options{Writable: true}), vhd.ErrLocked)
	require.NoError(t, tr.open(t, "base.vhd", vhd.Options{}).Close())
	require.NoError(t, tr.open(t, "child.vhd", vhd.Options{Writable: true}).Close())
	release()
}

func TestQemuSecondSeesUs(t *testing.T) {
	tr := lockedByQemu(t)
	refused := func(name string, args ...string) {
		t.Helper()
		ok, said := qemuReads(t, tr.name(name), args...)
		require.False(t, ok)
		require.Contains(t, said, "lock", "it is the lock that qemu speaks of")
	}
	allowed := func(name string, args ...string) {
		t.Helper()
		ok, said := qemuReads(t, tr.name(name), args...)
		require.True(t, ok, said)
	}
	d := tr.open(t, "base.vhd", vhd.Options{Writable: true})
	refused("base.vhd")
	refused("base.vhd", "-r")
	require.NoError(t, d.Close())
	allowed("base.vhd")

	d = tr.open(t, "child.vhd", vhd.Options{Writable: true})
	refused("base.vhd")
	allowed("base.vhd", "-r")
	refused("child.vhd", "-r")
	require.NoError(t, d.Close())
	allowed("base.vhd")
}

func TestQemuAndWeMeetThroughHardLinks(t *testing.T) {
	tr := lockedByQemu(t)
	link := hardLink(t, tr, "base.vhd")
	release := qemuHolds(t, link)
	require.ErrorIs(t, tr.fails(t, "base.vhd", vhd.Options{Writable: true}), vhd.ErrLocked)
	release()

	d := tr.open(t, "base.vhd", vhd.Options{Writable: true})
	ok, said := qemuReads(t, link)
	require.False(t, ok)
	require.Contains(t, said, "lock")
	require.NoError(t, d.Close())
	ok, said = qemuReads(t, link)
	require.True(t, ok, said)
}

// descriptors is how many files the process has open.
func descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

func TestNoDescriptorIsLeftBehind(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // who forgets a file is not helped by the collector
	tr := lockTree(t)
	tr.put(t, "sub/orphan.vhd", childWith(vhdtest.W2ru(`.\gone.vhd`)))
	tr.put(t, "sub/mismatched.vhd", childWith(vhdtest.W2ru(`.\wrong.vhd`), vhdtest.W2ru(`.\junk.vhd`), vhdtest.W2ru(`..\base.vhd`)))
	tr.put(t, "sub/wrong.vhd", stampedParent(wrong))
	tr.write(t, "sub/junk.vhd", make([]byte, 4096))
	tr.put(t, "sub/looped.vhd", childWith(vhdtest.W2ru(`.\looped.vhd`)))
	tr.put(t, "sub/broken.vhd", like(func(img *vhdtest.Image) { img.Entries = map[int]uint32{0: 1} }))
	tests := []struct {
		name string
		opts vhd.Options
	}{
		{"sub/orphan.vhd", vhd.Options{}},
		{"sub/orphan.vhd", vhd.Options{Root: "/"}},
		{"sub/orphan.vhd", vhd.Options{Writable: true, Root: tr.name("."), Search: []string{tr.name("."), tr.name("sub"), tr.name("gone")}, MaxDepth: 1}},
		{"sub/mismatched.vhd", vhd.Options{Writable: true}},
		{"sub/looped.vhd", vhd.Options{Search: []string{tr.name("sub")}}},
		{"sub/broken.vhd", vhd.Options{Writable: true, NoParents: true}},
		{"sub/junk.vhd", vhd.Options{}},
		{"sub/gone.vhd", vhd.Options{}},
		{"sub", vhd.Options{}},
		{"child.vhd", vhd.Options{MaxDepth: 1}},
		{"child.vhd", vhd.Options{Root: tr.name("nowhere")}},
	}
	tryAll := func() {
		for _, tt := range tests {
			_, err := vhd.Open(tr.name(tt.name), &tt.opts)
			require.Error(t, err, "%s %+v", tt.name, tt.opts)
		}
		for _, opts := range []vhd.CreateOptions{
			{Parent: tr.name("sub/orphan.vhd")}, {Parent: tr.name("sub/junk.vhd")}, {Parent: tr.name("base.vhd"), BlockSize: 3},
			{Parent: tr.name("child.vhd"), Options: vhd.Options{MaxDepth: 2}}, {Size: -1}, {},
		} {
			_, err := vhd.Create(tr.name("new.vhd"), opts)
			require.Error(t, err)
		}
		for _, opts := range []vhd.Options{{}, {Writable: true}, {Root: "/"}} {
			require.NoError(t, tr.open(t, "child.vhd", opts).Close())
		}
	}
	tryAll() // the runtime opens what it needs for itself
	before := descriptors(t)
	tryAll()
	require.Equal(t, before, descriptors(t))
}

func TestAFileSystemWithoutLocksIsAnErrorUnlessAllowed(t *testing.T) {
	// A File that has a handle of the operating system's that can't be locked in
	// the way that is needed: it is open for writing alone.
	tr := lockTree(t)
	open := func() vhd.File {
		data, err := os.ReadFile(tr.name("base.vhd"))
		require.NoError(t, err)
		f, err := os.OpenFile(tr.name("base.vhd"), os.O_WRONLY, 0)
		require.NoError(t, err)
		t.Cleanup(func() { f.Close() })
		return readElsewhere{f, bytes.NewReader(data)}
	}
	_, err := vhd.OpenChain(nil, open())
	require.Error(t, err)
	require.NotErrorIs(t, err, vhd.ErrLocked)
	for _, mode := range []vhd.LockMode{vhd.LockBestEffort, vhd.LockNone} {
		d, err := vhd.OpenChain(&vhd.Options{Lock: mode}, open())
		require.NoError(t, err)
		require.NoError(t, d.Close())
	}
}

// readElsewhere is a file that is read from memory.
type readElsewhere struct {
	*os.File
	content *bytes.Reader
}

func (r readElsewhere) ReadAt(p []byte, off int64) (int, error) { return r.content.ReadAt(p, off) }
