package main

import (
	"os"
	"path/filepath"
	"strings"
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
	require.Equal(t, "vhd: base.vhd: the disk would become smaller, from 4 MiB (4194304 bytes) to 512 bytes\nhint: is 512G meant? vhd resize base.vhd 512G; if it is bytes: vhd resize --shrink base.vhd 512\n",
		refuse(t, "resize", "base.vhd", "512"))
	require.Regexp(t, `^vhd: base.vhd: data would be lost: the first byte that is not zero is at \d+ of the disk, and the new size is 512\nhint: leaf.vhd would lose it too: .* vhd resize --shrink --allow-loss --force base.vhd 512\n$`,
		refuse(t, "resize", "--shrink", "base.vhd", "512"))
	require.Equal(t, before, readFile(t, "base.vhd"))
	require.Equal(t, refuse(t, "resize", "--shrink", "base.vhd", "512"), refuse(t, "resize", "--shrink", "--dry-run", "base.vhd", "512"))
	require.NoError(t, os.Remove("leaf.vhd"))
	require.Regexp(t, `\nhint: shrink the partitions on the disk first, or, if that data may be lost: vhd resize --shrink --allow-loss base.vhd 512\n$`,
		refuse(t, "resize", "--shrink", "base.vhd", "512"))
	require.Equal(t, "base.vhd: the disk would have 512 bytes, and has 4 MiB (4194304 bytes)\n", succeed(t, "resize", "--shrink", "--allow-loss", "--dry-run", "base.vhd", "512"))
	require.Equal(t, before, readFile(t, "base.vhd"))
	succeed(t, "resize", "--shrink", "--allow-loss", "base.vhd", "512")
	require.EqualValues(t, 512, diskSize(t, "base.vhd"))
}

func TestResizeTakesNothingFromChildrenUnlessForced(t *testing.T) {
	enter(t)
	testChain(t)
	before, want := readFile(t, "base.vhd"), vhdtest.SevenZip.Content(t, "leaf.vhd")
	for _, args := range [][]string{{}, {"--dry-run"}} {
		require.Equal(t, `vhd: base.vhd: another image has it as its parent: leaf.vhd
hint: vhd export -O dynamic leaf.vhd NEW.vhd makes an image that needs no parent; if these are of no use any more: vhd resize --shrink --allow-loss --force base.vhd 512
`, refuse(t, append(append([]string{"resize", "--shrink", "--allow-loss"}, args...), "base.vhd", "512")...))
	}
	require.Equal(t, before, readFile(t, "base.vhd"))
	require.Equal(t, want, vhdtest.SevenZip.Content(t, "leaf.vhd"))
	succeed(t, "resize", "--shrink", "--allow-loss", "--force", "base.vhd", "512")
	require.EqualValues(t, 512, diskSize(t, "base.vhd"))
}

func TestResizeKnowsChildrenByWhateverNameTheImageHas(t *testing.T) {
	enter(t)
	testChain(t)
	require.NoError(t, os.Mkdir("links", 0o755))
	if err := os.Symlink(filepath.FromSlash("../base.vhd"), filepath.FromSlash("links/current.vhd")); err != nil {
		t.Skip(err)
	}
	require.Contains(t, refuse(t, "resize", "--shrink", "--allow-loss", filepath.FromSlash("links/current.vhd"), "512"), ": another image has it as its parent: ")
	require.NoError(t, os.Rename("base.vhd", "moved.vhd")) // leaf.vhd has lost it, and can be told where it is
	require.Contains(t, refuse(t, "resize", "--shrink", "--allow-loss", "moved.vhd", "512"), "moved.vhd: another image has it as its parent: leaf.vhd\n")
}

func TestResizeNamesAFewOfManyChildren(t *testing.T) {
	require.Equal(t, "a, b, c", someOf([]string{"a", "b", "c"}))
	require.Equal(t, "a, b, c and 2 more", someOf([]string{"a", "b", "c", "d", "e"}))
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
	requireInterrupted(t, "base.vhd: interrupted: the disk is as it was", "resize", "base.vhd", "8M")
	require.EqualValues(t, 4<<20, diskSize(t, "base.vhd"))
}

func TestResizeAsksWhetherAUnitWasForgotten(t *testing.T) {
	enter(t)
	succeed(t, "create", "-q", "a b.vhd", "1G")
	for arg, want := range map[string]string{
		"10":      "is 10G meant? vhd resize 'a b.vhd' 10G; if it is bytes: vhd resize --shrink 'a b.vhd' 10",
		"20480":   "is 20480M meant? vhd resize 'a b.vhd' 20480M; if it is bytes: vhd resize --shrink 'a b.vhd' 20480",
		"1048576": "if that is meant: vhd resize --shrink 'a b.vhd' 1048576",
		"10K":     "if that is meant: vhd resize --shrink 'a b.vhd' 10K",
	} {
		_, hint, _ := strings.Cut(refuse(t, "resize", "a b.vhd", arg), "\nhint: ")
		require.Equal(t, strings.ReplaceAll(want, "'a b.vhd'", quote("a b.vhd"))+"\n", hint)
	}
	succeed(t, "create", "-q", "small.vhd", "512K")
	require.Contains(t, refuse(t, "resize", "small.vhd", "512"), "\nhint: is 512G meant?")
}
