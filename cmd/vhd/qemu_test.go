package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
)

func TestWhatAnotherProgramWritesIsReadWhereTheUserWantsThat(t *testing.T) {
	enter(t)
	testChain(t)
	d, err := vhd.Open("leaf.vhd", &vhd.Options{Writable: true})
	require.NoError(t, err)
	defer d.Close()
	for _, line := range [][]string{
		{"map", "leaf.vhd"}, {"check", "leaf.vhd"}, {"measure", "leaf.vhd"}, {"compare", "leaf.vhd", "leaf.vhd"}, {"convert", "leaf.vhd", "out.raw"},
	} {
		require.Contains(t, command(t, line...).stderr, "vhd: leaf.vhd: image is in use\n", line)
		succeed(t, append(line, "-U")...)
	}
	require.Equal(t, succeed(t, "info", "leaf.vhd"), succeed(t, "info", "-U", "leaf.vhd"))
	require.Contains(t, command(t, "resize", "-U", "leaf.vhd", "8M").stderr, "unknown shorthand flag", "what changes an image locks it")
}

// qemuSynopsis is what qemu-img 7.2 prints of the verbs that are here too.
const qemuSynopsis = `
check [--object objectdef] [--image-opts] [-q] [-f fmt] [--output=ofmt] [-r [leaks | all]] [-T src_cache] [-U] filename
commit [--object objectdef] [--image-opts] [-q] [-f fmt] [-t cache] [-b base] [-r rate_limit] [-d] [-p] filename
compare [--object objectdef] [--image-opts] [-f fmt] [-F fmt] [-T src_cache] [-p] [-q] [-s] [-U] filename1 filename2
convert [--object objectdef] [--image-opts] [--target-image-opts] [--target-is-zero] [--bitmaps] [-U] [-C] [-c] [-p] [-q] [-n] [-f fmt] [-t cache] [-T src_cache] [-O output_fmt] [-B backing_file [-F backing_fmt]] [-o options] [-l snapshot_param] [-S sparse_size] [-r rate_limit] [-m num_coroutines] [-W] [--salvage] filename [filename2 [...]] output_filename
create [--object objectdef] [-q] [-f fmt] [-b backing_file [-F backing_fmt]] [-u] [-o options] filename [size]
info [--object objectdef] [--image-opts] [-f fmt] [--output=ofmt] [--backing-chain] [-U] filename
map [--object objectdef] [--image-opts] [-f fmt] [--start-offset=offset] [--max-length=len] [--output=ofmt] [-U] filename
measure [--output=ofmt] [-O output_fmt] [-o options] [--size N | [--object objectdef] [--image-opts] [-f fmt] [-l snapshot_param] filename]
snapshot [--object objectdef] [--image-opts] [-U] [-q] [-l | -a snapshot | -c snapshot | -d snapshot] filename
rebase [--object objectdef] [--image-opts] [-U] [-q] [-f fmt] [-t cache] [-T src_cache] [-p] [-u] -b backing_file [-F backing_fmt] filename
resize [--object objectdef] [--image-opts] [-f fmt] [--preallocation=prealloc] [-q] [--shrink] filename [+ | -]size
`

func TestEveryFlagOfQemuIsTakenOrAnswered(t *testing.T) {
	nflags := 0
	for line := range strings.Lines(strings.TrimSpace(qemuSynopsis)) {
		verb, _, _ := strings.Cut(line, " ")
		cmd, _, err := newCommand().Find([]string{verb})
		require.NoError(t, err)
		for _, flag := range regexp.MustCompile(`[\[ ](--?\w[\w-]*)`).FindAllStringSubmatch(line, -1) {
			require.True(t, hasFlag(cmd, flag[1]), "%s %s", verb, flag[1])
			nflags++
		}
	}
	require.Equal(t, 103, nflags)
}

func TestFlagsThatTuneQemuAreTakenAndChangeNothing(t *testing.T) {
	for _, line := range []string{
		"convert -m 8 -W -C -t none -T directsync -S 4k --bitmaps leaf.vhd out.raw", "convert -pWO vpc -S 0 leaf.vhd out.vhd",
		"rebase -t none -T none -b base.vhd leaf.vhd", "compare -T none leaf.vhd leaf.vhd", "check -T none base.vhd",
		"commit -t none leaf.vhd", "resize --preallocation=off leaf.vhd 8M",
	} {
		enter(t)
		testChain(t)
		a := command(t, strings.Fields(line)...)
		require.Equal(t, answer{exitOK, a.stdout, ""}, a, line)
	}
}

func TestFlagsOfQemuThatCanNotBeObeyedAreAnswered(t *testing.T) {
	enter(t)
	testChain(t)
	for line, want := range map[string]string{
		"convert -l s1 leaf.vhd out.raw":                 "a VHD has no snapshots in it: leave out -l",
		"convert -r 10M leaf.vhd out.raw":                "nothing limits its rate: leave out -r",
		"convert --salvage leaf.vhd out.raw":             "what can not be read ends it",
		"create -u -b gone.vhd new.vhd":                  "a child records what its parent is, which must be there: leave out -u",
		"commit -d leaf.vhd":                             "a merge removes the images that it folds: with --to NEW they stay",
		"resize --preallocation=full leaf.vhd 8M":        "an image takes its space as it is written: leave out --preallocation",
		"info --image-opts driver=vpc":                   "FILE is the name of a file: leave out --image-opts",
		"map -s 1M leaf.vhd":                             "a map is of the whole disk: leave out --start-offset",
		"map --max-length=1M leaf.vhd":                   "a map is of the whole disk: leave out --max-length",
		"snapshot -l leaf.vhd":                           "a snapshot is an image of its own: vhd snapshot IMAGE NEW makes one, and vhd ls shows them",
		"snapshot -c s1 leaf.vhd":                        "a snapshot is an image of its own: vhd snapshot IMAGE NEW makes one, and vhd ls shows them",
		"repair -r all leaf.vhd":                         "a repair mends all that it can: leave out -r",
		"compare --object secret,id=x leaf.vhd leaf.vhd": "there are no objects: leave out --object",
	} {
		a := command(t, strings.Fields(line)...)
		require.Contains(t, a.stderr, ": "+want, line)
		require.Contains(t, a.stderr, "\nusage: vhd ", line)
	}
	require.Equal(t, []string{"base.vhd", "leaf.vhd"}, filesIn(t, "."))
}

func TestMergeTakesTheBaseAsQemuIsToldIt(t *testing.T) {
	enter(t)
	testChain(t)
	require.Equal(t, succeed(t, "merge", "--dry-run", "--into", "base.vhd", "leaf.vhd"), succeed(t, "commit", "--dry-run", "-b", "base.vhd", "leaf.vhd"))
}
