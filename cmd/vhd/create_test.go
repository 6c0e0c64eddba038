package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

func TestCreateMakesEachType(t *testing.T) {
	enter(t)
	for _, c := range []struct {
		args []string
		says string
		want vhdInfo
		size int64
	}{
		{[]string{"-s", "40G", "dynamic.vhd"}, "dynamic.vhd: dynamic disk of 40 GiB\n", vhdInfo{DiskType: "dynamic"}, 40 << 30},
		{[]string{"-s", "1.5M", "-t", "fixed", "fixed.vhd"}, "fixed.vhd: fixed disk of 1.5 MiB\n", vhdInfo{DiskType: "fixed"}, 3 << 19},
		{[]string{"-b", "dynamic.vhd", "child.vhd"}, "child.vhd: differencing disk of 40 GiB on top of dynamic.vhd\n", vhdInfo{DiskType: "differencing"}, 40 << 30},
		{[]string{"-b", "fixed.vhd", "-s", "2M", "-t", "differencing", "larger.vhd"}, "larger.vhd: differencing disk of 2 MiB on top of fixed.vhd\n", vhdInfo{DiskType: "differencing"}, 2 << 20},
	} {
		require.Equal(t, c.says, succeed(t, append([]string{"create"}, c.args...)...))
		info := decode[imageInfo](t, succeed(t, "info", "--output", "json", c.args[len(c.args)-1]))
		require.Equal(t, c.size, info.VirtualSize)
		require.Equal(t, c.want.DiskType, info.FormatSpecific.Data.DiskType)
	}
}

func TestCreateTakesABlockSize(t *testing.T) {
	enter(t)
	succeed(t, "create", "-s", "10M", "--block-size", "512K", "x.vhd")
	info := decode[imageInfo](t, succeed(t, "info", "--output", "json", "x.vhd"))
	require.EqualValues(t, 512<<10, info.ClusterSize)
	require.EqualValues(t, 20, info.FormatSpecific.Data.Blocks.Total)
}

func TestOthersReadWhatCreateMakes(t *testing.T) {
	enter(t)
	succeed(t, "create", "-s", "3M", "x.vhd")
	require.Equal(t, make([]byte, 3<<20), vhdtest.Qemu.Content(t, "x.vhd"))
}

func TestCreateDoesNotReplaceAFile(t *testing.T) {
	enter(t)
	writeFile(t, "x.vhd", []byte("precious"))
	require.Equal(t, "vhd: x.vhd: file already exists\nhint: "+hintExists+"\n", refuse(t, "create", "-s", "1G", "x.vhd"))
	require.Equal(t, "precious", string(readFile(t, "x.vhd")))
}

func TestCreateNeedsAParentThatIsAVHD(t *testing.T) {
	enter(t)
	writeFile(t, "base.raw", make([]byte, 4096))
	require.Equal(t, "vhd: none.vhd: no such file or directory\nhint: vhd ls . shows the images there\n", refuse(t, "create", "-b", "none.vhd", "x.vhd"))
	require.Equal(t, `vhd: base.raw: footer: cookie at offset 3584: not a valid VHD: got "\x00\x00\x00\x00\x00\x00\x00\x00", want "conectix"
hint: if it is the raw content of a disk: vhd import base.raw NEW.vhd makes an image of it
`, refuse(t, "create", "-b", "base.raw", "x.vhd"))
	require.Equal(t, []string{"base.raw"}, filesIn(t, "."))
}

func TestCreateKeepsParentsInsideTheRoot(t *testing.T) {
	enter(t)
	testBase().WriteFile(t, "base.vhd")
	require.NoError(t, os.Mkdir("inside", 0o755))
	require.Equal(t, "vhd: base.vhd: parent is outside the root directory\nhint: "+hintOutside+"\n",
		refuse(t, "create", "--root", "inside", "-b", "base.vhd", "inside/x.vhd"))
	succeed(t, "create", "--root", ".", "-b", "base.vhd", "inside/x.vhd")
}

func TestCreateOnAParentThatIsBeingWritten(t *testing.T) {
	enter(t)
	testChain(t)
	d, err := vhd.Open("leaf.vhd", &vhd.Options{Writable: true})
	require.NoError(t, err)
	defer d.Close()
	require.Equal(t, "vhd: leaf.vhd: image is in use\nhint: "+hintLocked+"\n", refuse(t, "create", "-b", "leaf.vhd", "x.vhd"))
}
