package main

import (
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd/internal/vhdtest"
)

func TestRebaseTellsAnImageWhereItsParentIs(t *testing.T) {
	enter(t)
	testChain(t)
	want := vhdtest.SevenZip.Content(t, "leaf.vhd")
	require.NoError(t, os.Rename("base.vhd", "moved.vhd"))
	require.Contains(t, refuse(t, "map", "leaf.vhd"), "\nhint: vhd rebase -b moved.vhd leaf.vhd\n")
	require.Equal(t, "leaf.vhd: its parent is moved.vhd now\n", succeed(t, "rebase", "-b", "moved.vhd", "leaf.vhd"))
	require.Equal(t, want, vhdtest.SevenZip.Content(t, "leaf.vhd"))
	require.Equal(t, `.\moved.vhd`, decode[imageInfo](t, succeed(t, "info", "--output", "json", "leaf.vhd")).BackingFilename)
}

func TestRebaseCopiesWhatDiffersUnlessItIsUnsafe(t *testing.T) {
	enter(t)
	testChain(t)
	want := vhdtest.SevenZip.Content(t, "leaf.vhd")
	succeed(t, "create", "-s", "4M", "empty.vhd")
	require.Equal(t, "leaf.vhd: its parent is empty.vhd now; 15 KiB that differ were copied to leaf.vhd\n", succeed(t, "rebase", "-p", "-b", "empty.vhd", "leaf.vhd"))
	require.Equal(t, want, vhdtest.SevenZip.Content(t, "leaf.vhd"))

	require.NoError(t, os.Remove("empty.vhd"))
	stderr := refuse(t, "rebase", "-b", "base.vhd", "leaf.vhd")
	require.Contains(t, stderr, "an unsafe rebase goes without\nhint: put its former parent back, or take -u")
	require.Empty(t, succeed(t, "rebase", "-q", "-u", "-b", "base.vhd", "leaf.vhd"))
	require.Equal(t, want, vhdtest.SevenZip.Content(t, "leaf.vhd")) // it has all that differs by now
}

func TestRebaseRefusesWhatItCanNotDo(t *testing.T) {
	enter(t)
	testChain(t)
	require.Contains(t, refuse(t, "rebase", "-b", "none.vhd", "leaf.vhd"), "none.vhd: no such file or directory")
	require.Contains(t, refuse(t, "rebase", "-b", "base.vhd", "none.vhd"), "none.vhd: no such file or directory")
	require.Contains(t, refuse(t, "rebase", "-b", "leaf.vhd", "leaf.vhd"), "chain of parents is a loop")
	require.Contains(t, refuse(t, "rebase", "-b", "leaf.vhd", "base.vhd"), "has no parent")
}

func TestRebaseOntoAChildDoesNotBlameIt(t *testing.T) {
	enter(t)
	testChain(t)
	succeed(t, "snapshot", "leaf.vhd", "child.vhd")
	succeed(t, "snapshot", "child.vhd", "grandchild.vhd")
	before := readFile(t, "leaf.vhd")
	for _, args := range [][]string{{}, {"-u"}, {"--dry-run"}} {
		for _, parent := range []string{"child.vhd", "grandchild.vhd"} {
			require.Equal(t, "vhd: "+parent+`: chain of parents would be a loop: leaf.vhd is among its parents
hint: the parent can be no child of leaf.vhd, and not leaf.vhd itself
`, refuse(t, slices.Concat([]string{"rebase"}, args, []string{"-b", parent, "leaf.vhd"})...))
		}
	}
	require.Equal(t, before, readFile(t, "leaf.vhd"))
}

func TestRebaseOfATreeFindsParentsInIt(t *testing.T) {
	enter(t)
	testChain(t)
	want := vhdtest.SevenZip.Content(t, "leaf.vhd")
	require.Equal(t, ".: every image finds its parent\n", succeed(t, "rebase", "--tree", "."))
	require.NoError(t, os.Mkdir("bases", 0o755))
	require.NoError(t, os.Rename("base.vhd", "bases/root.vhd"))
	require.Equal(t, "./leaf.vhd: its parent would be ./bases/root.vhd\n", succeed(t, "rebase", "--tree", ".", "--dry-run"))
	require.Contains(t, refuse(t, "map", "leaf.vhd"), "parent not found")
	require.Equal(t, []rebased{{outcome: outcome{"./leaf.vhd", "vpc", false, true}, Parent: "./bases/root.vhd"}},
		decode[[]rebased](t, succeed(t, "rebase", "--tree", ".", "--output", "json")))
	require.Equal(t, want, exported(t, "leaf.vhd"))

	require.NoError(t, os.Rename("bases/root.vhd", "bases/one.vhd"))
	writeFile(t, "bases/two.vhd", readFile(t, "bases/one.vhd"))
	a := command(t, "rebase", "--tree", ".")
	require.Equal(t, exitError, a.code)
	require.Empty(t, a.stdout)
	require.Contains(t, a.stderr, "2 images have its identifier, and nobody can tell which is meant: ./bases/one.vhd, ./bases/two.vhd\n"+
		"hint: vhd rebase -b bases/one.vhd ./leaf.vhd; bases/two.vhd could be its parent too\n")
	requireInterrupted(t, ".: interrupted: what was mended remains so, and the same again does the rest", "rebase", "--tree", ".")
}

// exported is the content of an image, as vhd export writes it.
func exported(t *testing.T, name string) []byte {
	t.Helper()
	succeed(t, "export", name, "out.raw")
	return readFile(t, "out.raw")
}
