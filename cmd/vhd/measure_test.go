package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd/internal/vhdtest"
)

func TestMeasureTellsWhatAnExportTakes(t *testing.T) {
	enter(t)
	testChain(t)
	require.Equal(t, "required size:         2 MiB (2097152 bytes)\nfully allocated size:  4 MiB (4194304 bytes)\n", succeed(t, "measure", "leaf.vhd"))
	for _, c := range []struct {
		flags   []string
		want    measured
		sparse  bool // the file has holes, so that it takes what is required and is as large as the other number
		example string
	}{
		{[]string{"-O", "raw"}, measured{2 << 20, 4 << 20}, true, "x.raw"},
		{[]string{"-O", "fixed"}, measured{2<<20 + 512, 4<<20 + 512}, true, "fixed.vhd"},
		{[]string{"--azure"}, measured{2<<20 + 512, 20<<20 + 512}, true, "azure.vhd"},
		{[]string{"-O", "dynamic"}, measured{2109440, 4210688}, false, "dynamic.vhd"},
		{[]string{"-O", "differencing"}, measured{2121728, 4222976}, false, "delta.vhd"},
	} {
		require.Equal(t, c.want, decode[measured](t, succeed(t, append([]string{"measure", "--output", "json", "leaf.vhd"}, c.flags...)...)), c.flags)
		succeed(t, append([]string{"export", "-q", "leaf.vhd", c.example}, c.flags...)...)
		if c.sparse {
			require.Equal(t, c.want.FullyAllocated, sizeOf(t, c.example))
		} else {
			require.Equal(t, c.want.Required, sizeOf(t, c.example))
		}
	}
	require.Equal(t, decode[measured](t, succeed(t, "measure", "--output", "json", "-O", "fixed", "leaf.vhd")),
		decode[measured](t, succeed(t, "measure", "--output", "json", "-f", "vpc", "-O", "vpc", "-o", "subformat=fixed", "leaf.vhd")))
}

func TestMeasureOfAnEmptyDiskIsWhatCreateMakes(t *testing.T) {
	enter(t)
	const slot = 2<<20 + 4096 // a block with its bitmap
	require.Equal(t, measured{28672, 28672 + 5120*slot}, decode[measured](t, succeed(t, "measure", "--output", "json", "-O", "dynamic", "--size", "10G")))
	require.Equal(t, measured{512, 10<<30 + 512}, decode[measured](t, succeed(t, "measure", "--output", "json", "-O", "fixed", "--size", "10G")))
	succeed(t, "create", "-q", "empty.vhd", "10G")
	require.EqualValues(t, 28672, sizeOf(t, "empty.vhd"))
	require.Equal(t, measured{0, 10 << 30}, decode[measured](t, succeed(t, "measure", "--output", "json", "--size", "10G")))
	require.Equal(t, measured{512, 1<<60 + 512}, decode[measured](t, succeed(t, "measure", "--output", "json", "--azure", "--size", "1E")))
	require.Equal(t, measured{512, 3<<40 + 512}, decode[measured](t,
		succeed(t, "measure", "--output", "json", "-O", "vpc", "-o", "subformat=fixed", "--size", "3T")))
}

// Both say the same of how large a raw file can become. What it takes before, qemu-img does not know.
func TestMeasureHasTheKeysOfQemu(t *testing.T) {
	vhdtest.Qemu.Need(t)
	enter(t)
	testBase().WriteFile(t, "base.vhd")
	theirs := decode[map[string]any](t, output(t, "qemu-img", "measure", "--output=json", "-O", "raw", "--image-opts", forQemu("base.vhd")))
	ours := decode[map[string]any](t, succeed(t, "measure", "--output", "json", "-O", "raw", "base.vhd"))
	require.Contains(t, theirs, "required")
	for key, value := range theirs {
		require.IsType(t, value, ours[key], key)
	}
	require.Equal(t, theirs["fully-allocated"], ours["fully-allocated"])
}

func TestMeasureSaysWhyItCanNot(t *testing.T) {
	enter(t)
	testChain(t)
	require.Equal(t, "vhd: none.vhd: no such file or directory\nhint: vhd ls . shows the images there\n", refuse(t, "measure", "none.vhd"))
	require.Equal(t, "vhd: base.vhd: invalid argument: a differencing disk of one that has no parent\n", refuse(t, "measure", "-O", "differencing", "base.vhd"))
	image := testBase().Build(t)
	vhdtest.EditEntry(t, image, 1, 1<<20)
	writeFile(t, "bad.vhd", image)
	require.Contains(t, refuse(t, "measure", "bad.vhd"), "vhd: bad.vhd: BAT: entry 1 at offset 1540: corrupt")
	for _, form := range []string{"raw", "dynamic"} {
		requireInterrupted(t, "leaf.vhd: interrupted: it was not measured to the end", "measure", "-O", form, "leaf.vhd")
	}
}
