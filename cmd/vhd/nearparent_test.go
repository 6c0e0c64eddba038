package main

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd/internal/vhdtest"
)

func TestALostParentIsFoundBelowTheChildsFolder(t *testing.T) {
	enter(t)
	testChain(t)
	require.NoError(t, os.MkdirAll("sub/deep", 0o755))
	require.NoError(t, os.Rename("base.vhd", "sub/base2.vhd"))
	require.NoError(t, os.Link("sub/base2.vhd", "sub/same.vhd")) // which is no other one
	require.Contains(t, refuse(t, "map", "leaf.vhd"), "\nhint: vhd rebase -b sub/base2.vhd leaf.vhd\n")
	require.NoError(t, os.Remove("sub/same.vhd"))
	require.NoError(t, os.Rename("sub/base2.vhd", "sub/deep/b.vhd"))
	require.Contains(t, command(t, "check", "--chain", "leaf.vhd").stdout, "\nhint: vhd rebase -b sub/deep/b.vhd leaf.vhd\n")
	require.NotContains(t, refuse(t, "map", "--root", "sub/deep", "leaf.vhd"), "PARENT")
	require.NotContains(t, refuse(t, "map", "--root", t.TempDir(), "leaf.vhd"), "sub/deep")
	succeed(t, "rebase", "-q", "-b", "sub/deep/b.vhd", "leaf.vhd")
	succeed(t, "map", "leaf.vhd")
}

func TestALostParentIsFoundWhereTheChildLooks(t *testing.T) {
	enter(t)
	base := testBase()
	leaf := vhdtest.NewChild(base, "base.vhd")
	leaf.Locators[0] = vhdtest.W2ru(`..\bases\base.vhd`)
	mkdir(t, "leaves")
	mkdir(t, "bases")
	leaf.WriteFile(t, "leaves/leaf.vhd")
	base.WriteFile(t, "bases/moved.vhd")
	require.Regexp(t, "\nhint: vhd rebase -b \\S*bases/moved.vhd leaves/leaf.vhd\n", refuse(t, "map", "leaves/leaf.vhd"))
}

func TestTheSearchForALostParentIsBounded(t *testing.T) {
	enter(t)
	testChain(t)
	mkdir(t, "a")
	mkdir(t, "z")
	require.NoError(t, os.Rename("base.vhd", "z/base.vhd"))
	for i := range maxLookedAt {
		require.NoError(t, os.WriteFile(fmt.Sprintf("a/%d", i), nil, 0o644))
	}
	require.Contains(t, refuse(t, "map", "leaf.vhd"), "\nhint: put the parent there: base.vhd; ")
}

func TestATreeThatHasNoParentIsNotToBeLookedThroughAgain(t *testing.T) {
	enter(t)
	testChain(t)
	require.NoError(t, os.Remove("base.vhd"))
	a := command(t, "rebase", "--tree", ".")
	require.Equal(t, exitError, a.code)
	require.Contains(t, a.stderr, "\nhint: put the parent there: ./base.vhd; or tell where it is now: vhd rebase -b PARENT ./leaf.vhd; vhd info ./leaf.vhd shows its identifier\n")
}

func TestLsTellsOfEachLostParent(t *testing.T) {
	enter(t)
	for i := range 5 {
		parent := fmt.Sprintf("p%d.vhd", i)
		succeed(t, "create", "-q", parent, "1G")
		succeed(t, "create", "-q", "-b", parent, fmt.Sprintf("a%d.vhd", i))
		succeed(t, "create", "-q", "-b", parent, fmt.Sprintf("b%d.vhd", i))
		if i > 1 {
			continue
		}
		require.NoError(t, os.Remove(parent))
	}
	out := succeed(t, "ls")
	require.Contains(t, out, "\nhint: a0.vhd and 1 more: put the parent there: ./p0.vhd; ")
	require.Contains(t, out, "\nhint: a1.vhd and 1 more: put the parent there: ./p1.vhd; ")
	require.NotContains(t, out, "more parents are lost")
	for i := range 3 {
		require.NoError(t, os.Remove(fmt.Sprintf("p%d.vhd", i+2)))
	}
	out = succeed(t, "ls")
	require.Contains(t, out, "\nhint: a2.vhd and 1 more: put the parent there: ./p2.vhd; ")
	require.NotContains(t, out, "hint: a3.vhd")
	require.Contains(t, out, "\nhint: and 2 more parents are lost\nhint: vhd ls -R . looks")
}
