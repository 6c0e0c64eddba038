package main

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd/internal/vhdtest"
)

func TestMergeFoldsAnImageIntoItsParent(t *testing.T) {
	enter(t)
	testChain(t)
	want := vhdtest.SevenZip.Content(t, "leaf.vhd")
	require.Equal(t, "leaf.vhd: would be folded into base.vhd, 1 KiB; the chain would be base.vhd\n", succeed(t, "merge", "--dry-run", "leaf.vhd"))
	require.FileExists(t, "leaf.vhd")
	require.Equal(t, "leaf.vhd: folded into base.vhd, 1 KiB; the chain is base.vhd\n", succeed(t, "merge", "leaf.vhd"))
	require.NoFileExists(t, "leaf.vhd")
	require.Equal(t, want, vhdtest.SevenZip.Content(t, "base.vhd"))
	require.Equal(t, "vhd: base.vhd: it has no parent that it could be folded into\nhint: name the child: what it holds goes to its parent\n", refuse(t, "merge", "base.vhd"))
}

func TestMergeTakesImagesByNameAndByNumber(t *testing.T) {
	enter(t)
	testChain(t)
	want := vhdtest.SevenZip.Content(t, "leaf.vhd")
	succeed(t, "snapshot", "leaf.vhd", "top.vhd")
	m := decode[merged](t, succeed(t, "merge", "--from", "leaf.vhd", "--into", "2", "--output", "json", "top.vhd"))
	require.Equal(t, merged{outcome: outcome{"top.vhd", "vpc", false, true}, Merged: []string{"leaf.vhd"}, Into: "base.vhd", Bytes: 1024, Chain: []string{"top.vhd", "base.vhd"}}, m)
	require.Equal(t, want, vhdtest.SevenZip.Content(t, "top.vhd"))
	require.Equal(t, "vhd: --from leaf.vhd: no image of the chain is called so\nhint: the chain is top.vhd, base.vhd; if an earlier merge was to fold it, that is done\n",
		refuse(t, "merge", "--from", "leaf.vhd", "top.vhd"))
	require.Empty(t, succeed(t, "merge", "-q", "-p", "top.vhd"))
}

func TestMergeWantsANumberWhereTwoImagesAreCalledTheSame(t *testing.T) {
	enter(t)
	base := testBase()
	writeFile(t, "a/x.vhd", base.Build(t))
	succeed(t, "create", "-b", "a/x.vhd", "x.vhd")
	require.Equal(t, "vhd: --into x.vhd: two images of the chain are called so\nhint: give the number of one: 0 is the first of x.vhd, a/x.vhd\n",
		refuse(t, "merge", "--into", "x.vhd", "x.vhd"))
	require.Equal(t, "vhd: --from 2: no image of the chain is called so\nhint: the chain is x.vhd, a/x.vhd\n", refuse(t, "merge", "--from", "2", "x.vhd"))
}

func TestMergeIntoANewFileKeepsTheOthers(t *testing.T) {
	enter(t)
	testChain(t)
	want := vhdtest.SevenZip.Content(t, "leaf.vhd")
	require.Equal(t, "leaf.vhd: folded into base.vhd as flat.vhd, 1 KiB\n", succeed(t, "merge", "--to", "flat.vhd", "leaf.vhd"))
	require.Equal(t, want, vhdtest.SevenZip.Content(t, "flat.vhd"))
	require.Equal(t, want, vhdtest.SevenZip.Content(t, "leaf.vhd"))
	for _, args := range [][]string{{"merge"}, {"merge", "--dry-run"}} {
		require.Equal(t, "vhd: flat.vhd: file already exists\nhint: "+hintExists+"\n", refuse(t, append(args, "--to", "flat.vhd", "leaf.vhd")...))
	}
}

func TestMergeRefusesWhatOthersStandOn(t *testing.T) {
	enter(t)
	testChain(t)
	succeed(t, "create", "-b", "base.vhd", "other.vhd")
	require.Contains(t, refuse(t, "merge", "leaf.vhd"), "other.vhd\nhint: with --to NEW.vhd a new image takes the result")
	require.Contains(t, refuse(t, "merge", "--dry-run", "leaf.vhd"), "other.vhd\nhint: with --to")
	succeed(t, "merge", "--force", "leaf.vhd")
	require.Contains(t, refuse(t, "export", "other.vhd", "raw"), "parent has another identifier")
}

func TestMergeSaysWhichFileItCanNotLookInto(t *testing.T) {
	if os.Geteuid() == 0 || runtime.GOOS == "windows" {
		t.Skip("may read all files")
	}
	enter(t)
	testChain(t)
	writeFile(t, "secret", []byte("x"))
	require.NoError(t, os.Chmod("secret", 0))
	require.Contains(t, refuse(t, "merge", "leaf.vhd"), "secret: can't tell whether there is another child: permission denied\n"+
		"hint: merge into an image above it, or say --force if that file is no child that anybody needs\n")
}

func TestMergeOfAnImageWithoutParentNamesItsChild(t *testing.T) {
	enter(t)
	testChain(t)
	hint := func(args ...string) string {
		_, hint, _ := strings.Cut(refuse(t, append([]string{"merge"}, args...)...), "it could be folded into\nhint: ")
		return hint
	}
	require.Equal(t, "name the child, of which the content goes to its parent: vhd merge leaf.vhd\n", hint("base.vhd"))
	require.Equal(t, "name the child, of which the content goes to its parent: vhd merge --from leaf.vhd leaf.vhd\n", hint("--from", "base.vhd", "leaf.vhd"))
	require.NoError(t, os.Remove("leaf.vhd"))
	require.Equal(t, "name the child: what it holds goes to its parent\n", hint("base.vhd"))
}
