package vhd_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// testdataLines is what the disks of testdata hold; see testdata/make.go.
func testdataLines() []byte {
	var b bytes.Buffer
	for i := range 4096 {
		fmt.Fprintf(&b, "%015d\n", i)
	}
	return b.Bytes()
}

func testdataChild() []byte {
	content := append(testdataLines(), make([]byte, 16<<10)...)
	copy(content[20000:], "the child's own")
	copy(content[70000:], "the child's own")
	return content
}

func TestTheImagesOfTestdataReadAsTheyWereMade(t *testing.T) {
	for name, want := range map[string][]byte{
		"qemu-fixed.vhd":   testdataLines(),
		"qemu-dynamic.vhd": make([]byte, 1<<20),
		"base.vhd":         testdataLines(),
		"child.vhd":        testdataChild(),
	} {
		t.Run(name, func(t *testing.T) {
			d, err := vhd.Open(filepath.Join("testdata", name), nil)
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, readAll(t, d, d.Size())))
			require.NoError(t, d.Close())
		})
	}
}

// What is made today is what was made when testdata was, but for the time of
// the parent's file.
func TestWhatIsMadeStaysTheSameByteForByte(t *testing.T) {
	fsys := vhdtest.NewMemFS()
	opts := vhd.CreateOptions{
		Options: vhd.Options{FS: fsys}, Size: 64 << 10, BlockSize: 16 << 10,
		ID: uuid.MustParse("00000000-0000-4000-8000-000000000001"), Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	base, err := vhd.Create("base.vhd", opts)
	require.NoError(t, err)
	_, err = base.WriteAt(testdataLines(), 0)
	require.NoError(t, err)
	require.NoError(t, base.Close())
	want, err := os.ReadFile(filepath.Join("testdata", "base.vhd"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, mustReadFile(t, fsys, "base.vhd")))

	child, err := os.ReadFile(filepath.Join("testdata", "child.vhd"))
	require.NoError(t, err)
	m, err := vhd.Inspect(bytes.NewReader(child), int64(len(child)))
	require.NoError(t, err)
	h, _ := m.Header()
	fsys.Now = func() time.Time { return h.ParentTime }
	require.NoError(t, fsys.Chtime("base.vhd", h.ParentTime))
	opts.Parent, opts.Size, opts.BlockSize = "base.vhd", 80<<10, 8<<10
	opts.ID = uuid.MustParse("00000000-0000-4000-8000-000000000002")
	d, err := vhd.Create("child.vhd", opts)
	require.NoError(t, err)
	for _, off := range []int64{20000, 70000} {
		_, err := d.WriteAt([]byte("the child's own"), off)
		require.NoError(t, err)
	}
	require.NoError(t, d.Close())
	require.True(t, bytes.Equal(child, mustReadFile(t, fsys, "child.vhd")))
}
