package vhd_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// A file that grows would come to stand where the locator points, and next time
// its blocks would be taken for a path.
func TestAChildWhoseLocatorPointsBehindItsEndIsReadAndNotWritten(t *testing.T) {
	base := vhdtest.NewFixed(1<<20, nil)
	child := vhdtest.NewChild(base, "base.vhd")
	child.BlockSize = 4096
	file := child.Build(t)
	vhdtest.EditHeader(t, file, func(header []byte) {
		entry := header[576+2*24:]
		binary.BigEndian.PutUint32(entry, uint32(vhd.W2ku))
		binary.BigEndian.PutUint32(entry[4:], 512)
		binary.BigEndian.PutUint32(entry[8:], 20)
		binary.BigEndian.PutUint64(entry[16:], 1<<20)
	})
	mem := vhdtest.NewMemFS()
	require.NoError(t, mem.WriteFile("child.vhd", file))
	require.NoError(t, mem.WriteFile("base.vhd", base.Build(t)))

	disk, err := vhd.Open("child.vhd", &vhd.Options{FS: mem})
	require.NoError(t, err)
	require.NoError(t, disk.Close())
	_, err = vhd.Open("child.vhd", &vhd.Options{FS: mem, Writable: true})
	require.ErrorIs(t, err, vhd.ErrCorrupt)
	require.Equal(t, file, mustReadFile(t, mem, "child.vhd"))
}
