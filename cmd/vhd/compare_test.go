package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// putTwins writes base.vhd, and alice.vhd and bob.vhd, children of it of which the first has two
// sectors that bob.vhd has not.
func putTwins(t *testing.T) {
	t.Helper()
	base := testBase()
	base.WriteFile(t, "base.vhd")
	own := vhdtest.Block{Index: 1, Data: bytes.Repeat([]byte("own!"), 256), Bitmap: vhdtest.Bitmap(blockSize/512, func(s int) bool { return s < 2 })}
	vhdtest.NewChild(base, "base.vhd", own).WriteFile(t, "alice.vhd")
	vhdtest.NewChild(base, "base.vhd").WriteFile(t, "bob.vhd")
}

func TestCompareTellsWhetherTwoDisksHoldTheSame(t *testing.T) {
	enter(t)
	putTwins(t)
	require.Equal(t, "alice.vhd and alice.vhd hold the same\n", succeed(t, "compare", "alice.vhd", "alice.vhd"))
	require.Equal(t, "base.vhd and bob.vhd hold the same\n", succeed(t, "compare", "base.vhd", "bob.vhd"))
	require.Equal(t, answer{exitDifferent, "alice.vhd and bob.vhd differ at offset 2097152\n", ""}, command(t, "compare", "-p", "alice.vhd", "bob.vhd"))
	require.Equal(t, answer{exitOK, "", ""}, command(t, "compare", "-q", "base.vhd", "bob.vhd"))
	require.Equal(t, answer{exitDifferent, "", ""}, command(t, "compare", "-q", "alice.vhd", "bob.vhd"))
}

// The base has 2 MiB, of which neither child takes its two sectors from it.
func TestCompareReadsNothingThatBothHaveFromOneFile(t *testing.T) {
	enter(t)
	putTwins(t)
	read := func(a, b string) int64 {
		return decode[compared](t, command(t, "compare", "--output", "json", a, b).stdout).Compared
	}
	require.Zero(t, read("base.vhd", "bob.vhd"))
	require.Zero(t, read("alice.vhd", "alice.vhd"))
	require.EqualValues(t, 1024, read("alice.vhd", "bob.vhd"))
	require.NoError(t, os.Link("base.vhd", "link.vhd"))
	require.Zero(t, read("link.vhd", "bob.vhd"), "a file is the same under another name")
	writeFile(t, "copy.vhd", readFile(t, "base.vhd"))
	require.EqualValues(t, blockSize, read("copy.vhd", "bob.vhd"), "a copy is another file")
	vhdtest.NewDynamic(testSize).WriteFile(t, "empty.vhd")
	require.Zero(t, read("empty.vhd", "empty.vhd"))
}

func TestCompareTakesRawFiles(t *testing.T) {
	enter(t)
	putTwins(t)
	succeed(t, "export", "-q", "alice.vhd", "alice.raw")
	for _, args := range [][]string{{}, {"-F", "raw"}, {"-f", "vpc", "-F", "raw"}, {"-f", "vhd"}} {
		require.Equal(t, "alice.vhd and alice.raw hold the same\n", succeed(t, append(append([]string{"compare"}, args...), "alice.vhd", "alice.raw")...))
	}
	require.Equal(t, exitDifferent, command(t, "compare", "alice.raw", "bob.vhd").code)
	require.Equal(t, exitDifferent, command(t, "compare", "-f", "raw", "alice.vhd", "alice.vhd").code, "the file, not the disk")
	a := command(t, "compare", "-f", "vpc", "alice.raw", "alice.vhd")
	require.Equal(t, exitNotCompared, a.code)
	require.Contains(t, a.stderr, "vhd: alice.raw: footer: cookie at offset 4193792: not a valid VHD")

	writeFile(t, "short.raw", append(readFile(t, "alice.raw"), "behind"...))
	require.Equal(t, answer{exitDifferent, "alice.vhd and short.raw differ at offset 4194304; the disks have 4 MiB (4194304 bytes) and 4 MiB (4194310 bytes)\n", ""},
		command(t, "compare", "alice.vhd", "short.raw"))
	writeFile(t, "none.raw", nil)
	vhdtest.NewDynamic(testSize).WriteFile(t, "empty.vhd")
	require.Contains(t, succeed(t, "compare", "none.raw", "empty.vhd"), "hold the same")
}

// What is damaged, or of another format, is not taken for raw content.
func TestCompareSaysWhyItCanNotCompare(t *testing.T) {
	enter(t)
	putTwins(t)
	for name, start := range map[string]string{"x.qcow2": "QFI\xfb", "cut.vhd": "conectix"} {
		writeFile(t, name, append([]byte(start), make([]byte, 4096)...))
		a := command(t, "compare", "alice.vhd", name)
		require.Equal(t, answer{exitNotCompared, "", a.stderr}, a)
		require.Regexp(t, "^vhd: "+name+": (it is a qcow2 image, which|footer.*\nhint: it starts as a VHD does)", a.stderr)
	}
	require.Equal(t, answer{exitNotCompared, "", "vhd: none.vhd: no such file or directory\nhint: vhd ls . shows the images there\n"}, command(t, "compare", "none.vhd", "alice.vhd"))
	require.Equal(t, answer{exitNotCompared, "", "vhd: none.vhd: no such file or directory\nhint: vhd ls . shows the images there\n"}, command(t, "compare", "alice.vhd", "none.vhd"))
	require.Equal(t, exitNotCompared, command(t, "compare", "alice.vhd", ".").code)
	require.Equal(t, exitNotCompared, command(t, "compare", "-f", "raw", ".", "alice.vhd").code)
	require.Equal(t, exitNotCompared, command(t, "--root", "none", "compare", "alice.vhd", "bob.vhd").code)

	image := testBase().Build(t)
	vhdtest.EditEntry(t, image, 1, 1<<20)
	writeFile(t, "bad.vhd", image)
	for _, args := range [][]string{{"bad.vhd", "alice.vhd"}, {"alice.vhd", "bad.vhd"}} {
		a := command(t, append([]string{"compare"}, args...)...)
		require.Equal(t, exitNotCompared, a.code)
		require.Contains(t, a.stderr, "vhd: bad.vhd: BAT: entry 1 at offset 1540: corrupt")
	}

	d, err := vhd.Open("bob.vhd", &vhd.Options{Writable: true})
	require.NoError(t, err)
	defer d.Close()
	require.Equal(t, answer{exitNotCompared, "", "vhd: bob.vhd: image is in use\nhint: " + hintLocked + "\n"}, command(t, "compare", "alice.vhd", "bob.vhd"))
}

func TestCompareOfDisksOfDifferentSizes(t *testing.T) {
	enter(t)
	base := testBase()
	base.WriteFile(t, "base.vhd")
	larger := testBase()
	larger.Size = 6 << 20
	larger.WriteFile(t, "larger.vhd")
	sizes := "the disks have 4 MiB (4194304 bytes) and 6 MiB (6291456 bytes)"
	require.Equal(t, "base.vhd and larger.vhd hold the same: "+sizes+", and the rest of the larger one is zeros\n", succeed(t, "compare", "base.vhd", "larger.vhd"))
	require.Equal(t, answer{exitDifferent, "base.vhd and larger.vhd are not the same: " + sizes + "\n", ""}, command(t, "compare", "-s", "base.vhd", "larger.vhd"))
	larger.Blocks = append(larger.Blocks, vhdtest.Block{Index: 2, Data: []byte("\x00\x00more")})
	writeFile(t, "larger.vhd", larger.Build(t))
	require.Equal(t, answer{exitDifferent, "base.vhd and larger.vhd differ at offset 4194306; " + sizes + "\n", ""}, command(t, "compare", "base.vhd", "larger.vhd"))
	require.Equal(t, exitDifferent, command(t, "compare", "larger.vhd", "base.vhd").code)
}

func TestACompareThatIsInterruptedSaysHowFarItCame(t *testing.T) {
	enter(t)
	putTwins(t)
	requireInterrupted(t, "alice.vhd: interrupted: up to 0 it is the same as bob.vhd, and what follows was not compared", "compare", "alice.vhd", "bob.vhd")
}

// forQemu names an image with its size as qemu-img should take it, which is not what the geometry says.
func forQemu(name string) string {
	return "driver=vpc,force_size_calc=current_size,file.filename=" + strings.ReplaceAll(name, ",", ",,")
}

// qemuCompare is what qemu-img compare says.
func qemuCompare(t *testing.T, args ...string) answer {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command("qemu-img", append([]string{"compare", "--image-opts"}, args...)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
	}
	return answer{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

func TestCompareFindsWhatQemuFinds(t *testing.T) {
	vhdtest.Qemu.Need(t)
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			enter(t)
			chain := vhdtest.RandomChain(seed, vhdtest.ChainOptions{Images: 1, Limits: vhdtest.ForQemu})
			names := append(chain.WriteDir(t, "."), "flat.vhd", "changed.vhd")
			succeed(t, "export", "-q", "-O", "dynamic", names[0], "flat.vhd")
			succeed(t, "export", "-q", "-O", "fixed", names[0], "changed.vhd")
			changed := readFile(t, "changed.vhd")
			changed[rand.New(rand.NewPCG(seed, 1)).Int64N(diskSize(t, "changed.vhd"))] ^= 0x55
			writeFile(t, "changed.vhd", changed)
			for _, other := range names {
				ours := command(t, "compare", names[0], other)
				theirs := qemuCompare(t, forQemu(names[0]), forQemu(other))
				require.Equal(t, theirs.code, ours.code, other)
				if ours.code == exitDifferent {
					var off int64
					_, err := fmt.Sscanf(ours.stdout[strings.Index(ours.stdout, "at offset"):], "at offset %d", &off)
					require.NoError(t, err)
					require.Equal(t, fmt.Sprintf("Content mismatch at offset %d!\n", off/512*512), theirs.stdout)
				}
			}
		})
	}
}

// The codes are qemu-img's, but that it has 1 for a command line that it does not understand.
func TestTheExitCodesOfCompareAreQemus(t *testing.T) {
	vhdtest.Qemu.Need(t)
	enter(t)
	base := testBase()
	base.WriteFile(t, "base.vhd")
	base.Size = 6 << 20
	base.WriteFile(t, "larger.vhd")
	for _, args := range [][]string{{"base.vhd", "base.vhd"}, {"base.vhd", "larger.vhd"}, {"-s", "base.vhd", "larger.vhd"}, {"base.vhd", "none.vhd"}, {"none.vhd", "base.vhd"}} {
		theirs := []string{}
		for _, arg := range args {
			if arg != "-s" {
				arg = forQemu(arg)
			}
			theirs = append(theirs, arg)
		}
		require.Equal(t, qemuCompare(t, theirs...).code, command(t, append([]string{"compare"}, args...)...).code, args)
	}
}

func TestAComparisonThatIsInterruptedKnowsHowFarItCame(t *testing.T) {
	enter(t)
	writeFile(t, "a.raw", make([]byte, 4*comparedAtOnce))
	writeFile(t, "b.raw", make([]byte, 4*comparedAtOnce))
	ctx, cancel := context.WithCancel(t.Context())
	c, err := openBoth(ctx, &app{}, "a.raw", &formatValue{}, "b.raw", &formatValue{})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.close()) }()
	c.progress = func(done, total int64) {
		require.EqualValues(t, 4*comparedAtOnce, total)
		if done == 2*comparedAtOnce {
			cancel()
		}
	}
	_, _, err = c.firstDifference(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.EqualValues(t, 2*comparedAtOnce, c.passed)
	require.EqualValues(t, 2*comparedAtOnce, c.compared)
}
