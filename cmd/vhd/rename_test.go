package main

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd/internal/vhdtest"
)

func TestRenameTellsTheChildren(t *testing.T) {
	enter(t)
	testChain(t)
	want := vhdtest.SevenZip.Content(t, "leaf.vhd")
	require.Equal(t, "base.vhd: it would be root.vhd\n  its child leaf.vhd\n", succeed(t, "rename", "--dry-run", "base.vhd", "root.vhd"))
	require.FileExists(t, "base.vhd")
	require.Equal(t, "base.vhd: it is root.vhd now\n  its child leaf.vhd\n", succeed(t, "mv", "base.vhd", "root.vhd"))
	require.NoFileExists(t, "base.vhd")
	require.Equal(t, want, vhdtest.SevenZip.Content(t, "leaf.vhd"))

	got := decode[renamed](t, succeed(t, "rename", "--output", "json", "leaf.vhd", "alice.vhd"))
	require.Equal(t, renamed{outcome{"alice.vhd", "vpc", false, true}, "leaf.vhd", []string{}}, got)
	require.Empty(t, succeed(t, "rename", "-q", "alice.vhd", "leaf.vhd"))
	require.Equal(t, want, vhdtest.SevenZip.Content(t, "leaf.vhd"))
}

func TestRenameRefusesWhatItCanNotDo(t *testing.T) {
	enter(t)
	testChain(t)
	writeFile(t, "new.vhd", []byte("precious"))
	require.Equal(t, "vhd: new.vhd: file already exists\nhint: choose another name: a renamed image takes the place of no file\n", refuse(t, "rename", "base.vhd", "new.vhd"))
	require.Equal(t, "precious", string(readFile(t, "new.vhd")))
	require.Contains(t, refuse(t, "rename", "none.vhd", "other.vhd"), "none.vhd: no such file or directory")
	requireInterrupted(t, "base.vhd: interrupted: it has its name still", "rename", "base.vhd", "other.vhd")
	require.NoFileExists(t, "other.vhd")
}

func TestRenameToAnotherFileSystemTellsWhatDoesTheSame(t *testing.T) {
	err := &os.LinkError{Op: "rename", Old: "alice.vhd", New: "/other/alice.vhd", Err: syscall.EXDEV}
	require.EqualError(t, adviseOtherFileSystem("alice.vhd", "/other/alice.vhd", err), "alice.vhd: /other/alice.vhd is on another file system, where no rename leads")
	require.Equal(t, "mv alice.vhd /other/alice.vhd moves it; then tell each child, and it if it has a parent: vhd rebase -b PARENT IMAGE",
		hint(t.Context(), adviseOtherFileSystem("alice.vhd", "/other/alice.vhd", err), anywhere))
}
