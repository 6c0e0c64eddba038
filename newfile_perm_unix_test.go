//go:build unix

package vhd_test

import (
	"io/fs"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
)

func TestANewImageIsAsReadableAsItIsSaid(t *testing.T) {
	names := inDir(t.TempDir(), "new.vhd")
	disk, err := vhd.Create(names[0], vhd.CreateOptions{Size: 1 << 20, Perm: fs.ModeSetuid | 0o600})
	require.NoError(t, err)
	require.NoError(t, disk.Close())
	info, err := os.Stat(names[0])
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode())
}

func TestImagesMadeOfOthersAreNoMoreReadableThanThese(t *testing.T) {
	names := inDir(t.TempDir(), "base.vhd", "leaf.vhd", "snapshot.vhd", "merged.vhd")
	newLine(t, vhd.Options{}, names[:2]...)
	require.NoError(t, os.Chmod(names[0], 0o640))
	require.NoError(t, os.Chmod(names[1], 0o600))
	disk := openLine(t, names[1], vhd.Options{})
	require.NoError(t, disk.Snapshot(names[2], vhd.CreateOptions{}))
	require.NoError(t, disk.Merge(t.Context(), 0, 2, vhd.MergeOptions{Output: names[3]}))
	for _, name := range names[2:] {
		info, err := os.Stat(name)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode().Perm(), name)
	}
}
