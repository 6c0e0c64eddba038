package vhd_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/go-vhd/vhd"
)

// TestCopyHelper is no test: it is the process that the one below watches. It
// imports a file and exports it again.
func TestCopyHelper(t *testing.T) {
	dir := os.Getenv("VHD_TEST_COPY")
	if dir == "" {
		t.Skip("runs in a process of its own, started by another test")
	}
	in, err := os.Open(filepath.Join(dir, "in"))
	require.NoError(t, err)
	info, err := in.Stat()
	require.NoError(t, err)
	disk, err := vhd.Create(filepath.Join(dir, "x.vhd"), vhd.CreateOptions{Size: info.Size()})
	require.NoError(t, err)
	_, _ = os.Lstat("mark/begin")
	require.NoError(t, disk.Import(t.Context(), in, info.Size(), vhd.ImportOptions{}))
	require.NoError(t, in.Close())
	out, err := os.Create(filepath.Join(dir, "out"))
	require.NoError(t, err)
	_, err = disk.Export(t.Context(), out, vhd.ExportOptions{})
	_, _ = os.Lstat("mark/end")
	require.NoError(t, err)
	require.NoError(t, out.Close())
	require.NoError(t, disk.Close())
}

func TestWhatIsImportedAndExportedIsWrittenOnce(t *testing.T) {
	needAgain(t)
	needStrace(t)
	dir := t.TempDir()
	content := patchy(1, 16<<20)
	copy(content[3<<20:], bytes.Repeat([]byte("data"), 2<<20)) // from one block into another, and more than a buffer
	require.NoError(t, os.WriteFile(filepath.Join(dir, "in"), content, 0o600))
	moved := traceBytes(t, again(t, "TestCopyHelper", "VHD_TEST_COPY="+dir))
	// What is no zeros for 256 KiB, here the 8 MiB at least, is shared where files can share data.
	var fs unix.Statfs_t
	require.NoError(t, unix.Statfs(dir, &fs))
	if magic := uint32(fs.Type); magic == unix.XFS_SUPER_MAGIC || magic == unix.BTRFS_SUPER_MAGIC {
		require.GreaterOrEqual(t, moved["copy_file_range"], 2*(8<<20)-(512<<10), "%v", moved)
	}
	require.Less(t, moved["copy_file_range"]+moved["pwrite64"], 2*(16<<20), "%v", moved)
	got, err := os.ReadFile(filepath.Join(dir, "out"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, got))
}

var movedLine = regexp.MustCompile(`(copy_file_range|pwrite64)\(.* = (\d+)`)

// traceBytes runs a process and adds up what its calls say that they moved.
func traceBytes(t testing.TB, cmd *exec.Cmd) map[string]int {
	t.Helper()
	moved := map[string]int{}
	for _, line := range traceBetweenMarks(t, cmd) {
		if m := movedLine.FindStringSubmatch(line); m != nil {
			n, err := strconv.Atoi(m[2])
			require.NoError(t, err)
			moved[m[1]] += n
		}
	}
	return moved
}
