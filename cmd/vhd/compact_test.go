package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd/internal/vhdtest"
)

// putLoose writes base.vhd, and loose.vhd, a child of which two of three blocks of 2 MiB can be dropped.
func putLoose(t *testing.T) {
	t.Helper()
	base := vhdtest.NewDynamic(8<<20, vhdtest.Block{Index: 0, Data: bytes.Repeat([]byte("base"), 1<<19), Align: 4096})
	base.WriteFile(t, "base.vhd")
	leaf := vhdtest.NewChild(base, "base.vhd",
		vhdtest.Block{Index: 0, Data: bytes.Repeat([]byte("base"), 1<<19), Align: 4096},
		vhdtest.Block{Index: 1, Align: 4096},
		vhdtest.Block{Index: 2, Data: []byte("own"), Align: 4096})
	leaf.EndAlign = 4096
	leaf.WriteFile(t, "loose.vhd")
}

// looseSlot is what a block takes in the file: its bitmap, its data, and what aligns the next one.
const looseSlot = 2<<20 + 4096

func sizeOf(t *testing.T, name string) int64 {
	t.Helper()
	info, err := os.Stat(name)
	require.NoError(t, err)
	return info.Size()
}

func TestCompactMakesAnImageSmallerAndTellsHowMuch(t *testing.T) {
	enter(t)
	putLoose(t)
	parent, before := sumOf(t, "base.vhd"), sizeOf(t, "loose.vhd")
	want := vhdtest.SevenZip.Content(t, "loose.vhd")
	require.Equal(t, "loose.vhd: 4.01 MiB given back, 2.01 MiB left\n", succeed(t, "compact", "loose.vhd"))
	require.Equal(t, before-2*looseSlot, sizeOf(t, "loose.vhd"))
	require.Equal(t, want, vhdtest.SevenZip.Content(t, "loose.vhd"))
	require.Equal(t, parent, sumOf(t, "base.vhd"))
	require.Equal(t, "loose.vhd: 2.01 MiB, and nothing to give back\n", succeed(t, "compact", "loose.vhd"))
}

func TestADryRunOfCompactTellsWhatItWouldComeToAndChangesNothing(t *testing.T) {
	enter(t)
	putLoose(t)
	before := sizeOf(t, "loose.vhd")
	sum := sumOf(t, "loose.vhd")
	require.Equal(t, "loose.vhd: 4.01 MiB would be given back, 2.01 MiB would be left\n", succeed(t, "compact", "--dry-run", "loose.vhd"))
	require.NoError(t, os.Chmod("loose.vhd", 0o400))
	want := compacted{outcome{"loose.vhd", "vpc", true, false}, before, before - 2*looseSlot}
	require.Equal(t, want, decode[compacted](t, succeed(t, "compact", "--dry-run", "--output", "json", "-p", "loose.vhd")))
	require.Equal(t, sum, sumOf(t, "loose.vhd"))
	require.NoError(t, os.Chmod("loose.vhd", 0o600))
	want.DryRun, want.Changed = false, true
	require.Equal(t, want, decode[compacted](t, succeed(t, "compact", "--output", "json", "-p", "loose.vhd")))
}

// The file stays as large, as its one block has a sector that the parent has not.
func TestCompactHasChangedAnImageThatLosesSectorsAlone(t *testing.T) {
	enter(t)
	base := testBase()
	base.WriteFile(t, "base.vhd")
	data := append(bytes.Repeat([]byte("base"), 128), bytes.Repeat([]byte("leaf"), 128)...)
	leaf := vhdtest.NewChild(base, "base.vhd", vhdtest.Block{Index: 1, Data: data, Bitmap: vhdtest.Bitmap(blockSize/512, func(s int) bool { return s < 2 })})
	leaf.WriteFile(t, "leaf.vhd")
	before := sizeOf(t, "leaf.vhd")
	for _, changed := range []bool{true, false} {
		c := decode[compacted](t, succeed(t, "compact", "--output", "json", "leaf.vhd"))
		require.Equal(t, compacted{outcome{"leaf.vhd", "vpc", false, changed}, before, before}, c)
	}
}

// What is under clear bits is nobody's, and takes space until there is a hole.
func TestCompactHasChangedAnImageThatGetsHolesAlone(t *testing.T) {
	enter(t)
	base := vhdtest.NewDynamic(2 << 20)
	base.WriteFile(t, "base.vhd")
	leaf := vhdtest.NewChild(base, "base.vhd", vhdtest.Block{
		Index: 0, Data: bytes.Repeat([]byte("leaf"), 1<<19), Bitmap: vhdtest.Bitmap(4096, func(s int) bool { return s < 2 }), Align: 4096,
	})
	leaf.EndAlign = 4096
	leaf.WriteFile(t, "leaf.vhd")
	info, err := os.Stat("leaf.vhd")
	require.NoError(t, err)
	before, taken := info.Size(), usedBytes(info)
	c := decode[compacted](t, succeed(t, "compact", "--output", "json", "leaf.vhd"))
	info, err = os.Stat("leaf.vhd")
	require.NoError(t, err)
	require.Equal(t, compacted{outcome{"leaf.vhd", "vpc", false, usedBytes(info) < taken}, before, before}, c)
	c = decode[compacted](t, succeed(t, "compact", "--output", "json", "leaf.vhd"))
	require.False(t, c.Changed)
}

func TestCompactClosesSmallGapsAsItsDryRunTells(t *testing.T) {
	enter(t)
	img := vhdtest.NewDynamic(6 << 20)
	img.EndAlign = 4096
	for i := range 3 {
		img.Blocks = append(img.Blocks, vhdtest.Block{Index: i, Data: []byte("x"), Gap: 1 << 20, Align: 4096})
	}
	img.WriteFile(t, "gaps.vhd")
	require.Equal(t, "gaps.vhd: 3 MiB would be given back, 6.02 MiB would be left\n", succeed(t, "compact", "--dry-run", "gaps.vhd"))
	require.Equal(t, "gaps.vhd: 3 MiB given back, 6.02 MiB left\n", succeed(t, "compact", "gaps.vhd"))
	require.Equal(t, "gaps.vhd: 6.02 MiB, and nothing to give back\n", succeed(t, "compact", "gaps.vhd"))
}

func TestCompactCanBeQuiet(t *testing.T) {
	enter(t)
	putLoose(t)
	require.Empty(t, succeed(t, "compact", "-q", "loose.vhd"))
}

func TestCompactRefusesWhatItCanNotDo(t *testing.T) {
	enter(t)
	putChecked(t)
	vhdtest.NewFixed(1<<20, nil).WriteFile(t, "fixed.vhd")
	require.Contains(t, refuse(t, "compact", "odd.vhd"), "odd.vhd: unsupported: it belongs to a machine in saved state")
	require.Contains(t, refuse(t, "compact", "--dry-run", "fixed.vhd"), "fixed.vhd: unsupported: a fixed disk has no blocks")
	require.Contains(t, refuse(t, "compact", "none.vhd"), "none.vhd: no such file or directory")
	require.Contains(t, refuse(t, "compact", "text"), "text: ")
}
