package vhd_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
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

// smallFileSystem is a directory of a file system of its own, of 4 MiB, which tells holes.
func smallFileSystem(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4M"); err != nil {
		t.Skip("only root can mount: ", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, 0)) })
	return dir
}

func TestAnExportThatFindsNoRoomIsNotBegun(t *testing.T) {
	small := smallFileSystem(t)
	disk, err := vhd.Create("x.vhd", vhd.CreateOptions{Options: vhd.Options{FS: vhdtest.NewMemFS()}, Size: 64 << 20})
	require.NoError(t, err)
	_, err = disk.WriteAt(bytes.Repeat([]byte("x"), 8<<20), 16<<20)
	require.NoError(t, err)
	name := filepath.Join(small, "out")
	require.NoError(t, os.WriteFile(name, []byte("as it was"), 0o600))
	for _, opts := range []vhd.ExportOptions{{}, {Type: vhd.Fixed}, {Type: vhd.Dynamic}} {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		require.NoError(t, err)
		_, err = f.Seek(2, io.SeekStart)
		require.NoError(t, err)
		opts.Begin = func(int64) error { panic("it is not begun") }
		n, err := disk.Export(t.Context(), f, opts)
		require.ErrorIs(t, err, vhd.ErrNoSpace)
		require.ErrorContains(t, err, name)
		require.Zero(t, n)
		at, err := f.Seek(0, io.SeekCurrent)
		require.NoError(t, err)
		require.EqualValues(t, 2, at)
		require.NoError(t, f.Close())
		got, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, "as it was", string(got))
	}
	require.NoError(t, disk.Close())
}

// Only surely too little is too little: zeros take none, nor what is written over.
func TestAnExportThatFindsJustEnoughRoomIsMade(t *testing.T) {
	small := smallFileSystem(t)
	disk, err := vhd.Create("x.vhd", vhd.CreateOptions{Options: vhd.Options{FS: vhdtest.NewMemFS()}, Size: 64 << 20})
	require.NoError(t, err)
	_, err = disk.WriteAt(bytes.Repeat([]byte("x"), 3<<20), 16<<20)
	require.NoError(t, err)
	_, err = disk.WriteAt(append(make([]byte, 8<<20), 'x'), 32<<20) // zeros that are stored
	require.NoError(t, err)
	want := contentOf(t, disk)
	f, err := os.Create(filepath.Join(small, "out"))
	require.NoError(t, err)
	for range 2 {
		_, err = f.Seek(0, io.SeekStart)
		require.NoError(t, err)
		_, err = disk.Export(t.Context(), f, vhd.ExportOptions{})
		require.NoError(t, err)
	}
	require.NoError(t, f.Close())
	got, err := os.ReadFile(f.Name())
	require.NoError(t, err)
	requireSameBytes(t, want, got, 0)
	require.NoError(t, disk.Close())
}
