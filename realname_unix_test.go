//go:build unix

package vhd_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
)

// Behind a symbolic link, ".." is the parent of where it leads, for the
// operating system and so for every name that is given here.
func TestNamesBehindSymbolicLinksAreThoseOfTheFileSystem(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	at := func(name string) string { return dir + "/" + name } // not cleaned
	require.NoError(t, os.MkdirAll(at("disk/vm/kids"), 0o700))
	require.NoError(t, os.Symlink("disk/vm/kids", at("kids")))
	make1 := func(name string, opts vhd.CreateOptions) {
		disk, err := vhd.Create(name, opts)
		require.NoError(t, err)
		require.NoError(t, disk.Close())
	}
	make1(at("disk/vm/base.vhd"), vhd.CreateOptions{Size: 1 << 20})

	t.Run("a name that is taken", func(t *testing.T) {
		_, err := vhd.Create(at("kids/../base.vhd"), vhd.CreateOptions{Size: 1 << 20})
		require.ErrorIs(t, err, os.ErrExist)
		require.NoFileExists(t, at("base.vhd"))
	})
	t.Run("a new name", func(t *testing.T) {
		make1(at("kids/../new.vhd"), vhd.CreateOptions{Size: 1 << 20})
		require.FileExists(t, at("disk/vm/new.vhd"))
	})
	t.Run("a child, from within the link", func(t *testing.T) {
		t.Chdir(at("kids"))
		make1("kid.vhd", vhd.CreateOptions{Parent: "../base.vhd"})
		for _, name := range []string{"kid.vhd", at("kids/kid.vhd"), at("kids/../kids/kid.vhd"), "../kids/kid.vhd"} {
			disk, err := vhd.Open(name, &vhd.Options{Root: ".."})
			require.NoError(t, err, name)
			require.Len(t, disk.Chain(), 2)
			require.Contains(t, disk.Chain()[0].ParentRefs(), vhd.ParentRef{Origin: "W2ru", Path: `..\base.vhd`})
			require.NoError(t, disk.Close())
		}
	})
}
