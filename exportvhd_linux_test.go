package vhd_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
)

// A fixed disk says nothing of what it never held; its file may.
func TestHolesOfAFixedDiskTakeNoSpaceInADynamicOne(t *testing.T) {
	dir := t.TempDir()
	disk, err := vhd.Create(filepath.Join(dir, "fixed.vhd"), vhd.CreateOptions{Type: vhd.Fixed, Size: 1 << 30})
	require.NoError(t, err)
	_, err = disk.WriteAt([]byte("data"), 700<<20)
	require.NoError(t, err)
	require.NoError(t, disk.Sync())
	size, err := disk.ExportSize(t.Context(), vhd.ExportOptions{Type: vhd.Dynamic})
	require.NoError(t, err)
	if size > 1<<30 {
		t.Skip("this file system does not tell holes")
	}
	require.EqualValues(t, 7680+512+2<<20+4096, size, "one block")
	exportToFile(t, disk, filepath.Join(dir, "dynamic.vhd"), vhd.ExportOptions{Type: vhd.Dynamic})
	got, err := os.ReadFile(filepath.Join(dir, "dynamic.vhd"))
	require.NoError(t, err)
	require.Equal(t, "data", string(got[8192:][:4]))
	require.NoError(t, disk.Close())
}
