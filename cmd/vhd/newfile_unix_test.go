//go:build unix

package main

import (
	"io/fs"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func permIs(t *testing.T, name string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(name)
	require.NoError(t, err)
	return info.Mode().Perm()
}

func TestACopyIsNoMoreReadableThanWhatItIsOf(t *testing.T) {
	enter(t)
	testChain(t)
	require.NoError(t, os.Chmod("base.vhd", 0o600))
	require.NoError(t, os.Chmod("leaf.vhd", 0o640))
	succeed(t, "export", "leaf.vhd", "leaf.raw")
	succeed(t, "export", "-O", "dynamic", "leaf.vhd", "flat.vhd")
	succeed(t, "convert", "-O", "vpc", "-o", "subformat=fixed", "leaf.vhd", "fixed.vhd")
	succeed(t, "import", "leaf.raw", "again.vhd")
	for _, name := range []string{"leaf.raw", "flat.vhd", "fixed.vhd", "again.vhd"} {
		require.Equal(t, fs.FileMode(0o600), permIs(t, name), name)
	}
	require.NoError(t, os.Chmod("base.vhd", 0o444))
	succeed(t, "export", "base.vhd", "base.raw")
	perm := permIs(t, "base.raw")
	require.Equal(t, fs.FileMode(0o600), perm&0o600, "its owner can write it")
	require.Zero(t, perm&^0o644, "others can read it, if the umask lets them")
	require.NoError(t, os.Chmod("leaf.raw", 0o640))
	succeed(t, "export", "leaf.vhd", "leaf.raw")
	require.Equal(t, fs.FileMode(0o640), permIs(t, "leaf.raw"), "who was let read what is replaced still is")
}
