package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd/internal/vhdtest"
)

func diskSize(t *testing.T, name string) int64 {
	t.Helper()
	return decode[imageInfo](t, succeed(t, "info", "--output", "json", name)).VirtualSize
}

func TestResizeTakesASizeOrADifference(t *testing.T) {
	enter(t)
	testChain(t)
	want := vhdtest.SevenZip.Content(t, "base.vhd")
	require.Equal(t, "base.vhd: the disk has 5 MiB (5242880 bytes) now, and had 4 MiB (4194304 bytes)\n", succeed(t, "resize", "base.vhd", "+1M"))
	require.Equal(t, append(want, make([]byte, 1<<20)...), vhdtest.SevenZip.Content(t, "base.vhd"))
	require.Equal(t, "base.vhd: the disk has 5 MiB (5242880 bytes) already\n", succeed(t, "resize", "base.vhd", "5M"))
	require.Empty(t, succeed(t, "resize", "-q", "base.vhd", "10G"))
	require.Equal(t, int64(10<<30), diskSize(t, "base.vhd"))
	succeed(t, "resize", "-p", "--shrink", "base.vhd", "-10235M")
	require.EqualValues(t, 5<<20, diskSize(t, "base.vhd"))
	succeed(t, "resize", "base.vhd", "5242881")
	require.EqualValues(t, 5<<20+512, diskSize(t, "base.vhd"))
	require.Empty(t, succeed(t, "check", "-q", "--chain", "base.vhd"))
}

func TestResizeShrinksOnlyWhenToldTo(t *testing.T) {
	enter(t)
	testChain(t)
	before := readFile(t, "base.vhd")
	require.Equal(t, "vhd: base.vhd: the disk would become smaller, from 4 MiB (4194304 bytes) to 512 bytes\nhint: if that is meant: --shrink\n",
		refuse(t, "resize", "base.vhd", "512"))
	require.Regexp(t, `^vhd: base.vhd: data would be lost: the first byte that is not zero is at \d+ of the disk, and the new size is 512\nhint: .*--allow-loss\n$`,
		refuse(t, "resize", "--shrink", "base.vhd", "512"))
	require.Equal(t, before, readFile(t, "base.vhd"))
	require.Equal(t, refuse(t, "resize", "--shrink", "base.vhd", "512"), refuse(t, "resize", "--shrink", "--dry-run", "base.vhd", "512"))
	require.Equal(t, "base.vhd: the disk would have 512 bytes, and has 4 MiB (4194304 bytes)\n", succeed(t, "resize", "--shrink", "--allow-loss", "--dry-run", "base.vhd", "512"))
	require.Equal(t, before, readFile(t, "base.vhd"))
	succeed(t, "resize", "--shrink", "--allow-loss", "base.vhd", "512")
	require.EqualValues(t, 512, diskSize(t, "base.vhd"))
}

func TestResizeSpeaksJSON(t *testing.T) {
	enter(t)
	testChain(t)
	require.JSONEq(t, `{"filename": "base.vhd", "format": "vpc", "old-virtual-size": 4194304, "virtual-size": 8388608, "dry-run": false, "changed": true}`,
		succeed(t, "resize", "--output", "json", "base.vhd", "8M"))
}

func TestResizeRefusesWhatIsNoSize(t *testing.T) {
	enter(t)
	testChain(t)
	before := readFile(t, "base.vhd")
	for _, size := range []string{"", "+", "1X", "--1G", "+-1G", "1.0001", "9E9", "+8E"} {
		a := command(t, "resize", "base.vhd", size)
		require.Equal(t, exitUsage, a.code, "%q: %s", size, a.stderr)
	}
	for _, args := range [][]string{{}, {"base.vhd"}, {"base.vhd", "1G", "2G"}} {
		require.Equal(t, exitUsage, command(t, append([]string{"resize"}, args...)...).code)
	}
	for _, size := range []string{"-5M", "0", "3T", "+7E"} {
		require.NotEmpty(t, refuse(t, "resize", "--shrink", "base.vhd", size), size)
	}
	require.Equal(t, before, readFile(t, "base.vhd"))
}

func TestResizeSaysThatFlagsStandInFront(t *testing.T) {
	for _, args := range [][]string{{"8M", "--dry-run"}, {"--dry-run", "8M"}, {"8M", "-q"}, {"-p", "8M"}} {
		a := command(t, append([]string{"resize", "base.vhd"}, args...)...)
		require.Equal(t, exitUsage, a.code)
		require.Contains(t, a.stderr, "vhd resize: flags stand in front of FILE, and -", args)
	}
}

func TestResizeThatIsInterruptedLeavesTheDiskAsItWas(t *testing.T) {
	enter(t)
	testChain(t)
	require.Equal(t, answer{exitError, "", "vhd: base.vhd: interrupted: the disk is as it was\n"}, interrupted(t, "resize", "base.vhd", "8M"))
	require.EqualValues(t, 4<<20, diskSize(t, "base.vhd"))
}
