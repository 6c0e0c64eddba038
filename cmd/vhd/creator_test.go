package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd/internal/vhdtest"
)

// The last of 20 MiB are beyond the last whole cylinder: 602 × 4 × 17 sectors are less.
const (
	oddSize     = 20 << 20
	inCylinders = 602 * 4 * 17 * 512
)

// plainQemu runs qemu-img as people do, and does not tell it which size counts.
func plainQemu(t *testing.T, args ...string) answer {
	t.Helper()
	vhdtest.Qemu.Need(t)
	var stdout, stderr bytes.Buffer
	cmd := exec.Command("qemu-img", args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
	}
	return answer{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// plainSize is what qemu-img takes for the size of the disk in an image. A fixed one it takes for raw content
// unless it is told the format, since nothing at the start of the file says what it is.
func plainSize(t *testing.T, name string) int64 {
	t.Helper()
	info := plainQemu(t, "info", "--output=json", "-f", "vpc", name)
	require.Equal(t, answer{0, info.stdout, ""}, info)
	return decode[imageInfo](t, info.stdout).VirtualSize
}

// putOddDisk writes raw content that does not end with zeros, and a chain that reads as it.
func putOddDisk(t *testing.T) {
	t.Helper()
	content := bytes.Repeat([]byte("to the last byte"), oddSize/16)
	writeFile(t, "disk.raw", content)
	succeed(t, "import", "-q", "disk.raw", "base.vhd")
	succeed(t, "create", "-q", "-b", "base.vhd", "child.vhd")
}

func TestPlainQemuSeesTheWholeDiskOfTheCreatorsThatItKnows(t *testing.T) {
	enter(t)
	putOddDisk(t)
	for _, line := range []string{
		"convert -O vpc child.vhd new.vhd",
		"convert -O vpc -o subformat=fixed child.vhd new.vhd",
		"convert -f raw -O vpc disk.raw new.vhd",
		"convert -f raw -O vpc -o subformat=fixed,force_size=on disk.raw new.vhd",
		"convert --azure child.vhd new.vhd",
		"convert -O vpc --creator qemu child.vhd new.vhd",
		"export --azure child.vhd new.vhd",
		"export -O dynamic --creator windows child.vhd new.vhd",
		"export -O fixed --creator qemu child.vhd new.vhd",
		"import --creator windows disk.raw new.vhd",
		"import -t fixed --creator qemu disk.raw new.vhd",
	} {
		succeed(t, strings.Fields(line)...)
		require.EqualValues(t, oddSize, plainSize(t, "new.vhd"), line)
		require.Equal(t, answer{0, "Images are identical.\n", ""}, plainQemu(t, "compare", "-f", "raw", "-F", "vpc", "disk.raw", "new.vhd"), line)
		require.NoError(t, os.Remove("new.vhd"))
	}
	for _, line := range []string{
		"create --creator windows empty.vhd 20M",
		"create -t fixed --creator qemu fixed.vhd 20M",
		"create -f vpc -o force_size habit.vhd 20M",
		"create -f vpc -o subformat=fixed,force_size=on fixed2.vhd 20M",
	} {
		args := strings.Fields(line)
		succeed(t, args...)
		require.EqualValues(t, oddSize, plainSize(t, args[len(args)-2]), line)
	}
}

// What documents say of an image that names nobody else.
func TestPlainQemuTakesTheGeometryForTheSizeOfWhatWeSign(t *testing.T) {
	enter(t)
	putOddDisk(t)
	require.EqualValues(t, inCylinders, plainSize(t, "base.vhd"))
	require.Equal(t, 1, plainQemu(t, "compare", "-f", "raw", "-F", "vpc", "disk.raw", "base.vhd").code)

	succeed(t, "convert", "-O", "vpc", "base.vhd", "whole.vhd")
	require.EqualValues(t, oddSize, plainSize(t, "whole.vhd"))
	succeed(t, "create", "own.vhd", "100M") // docs/recipes.md
	require.EqualValues(t, 104761344, plainSize(t, "own.vhd"))
	succeed(t, "create", "large.vhd", "128G") // where cylinders, heads and sectors are the largest that there are
	require.Equal(t, int64(128<<30), plainSize(t, "large.vhd"))
}

func TestAnImageNamesItsCreator(t *testing.T) {
	enter(t)
	writeFile(t, "in.raw", make([]byte, 1<<20))
	for _, c := range []struct{ line, want string }{
		{"create own.vhd 1M", "gvhd"},
		{"create --creator vhd same.vhd 1M", "gvhd"},
		{"create --creator windows windows.vhd 1M", "win"},
		{"create -b windows.vhd --creator qemu child.vhd", "qem2"},
		{"create -o force_size --creator qemu said.vhd 1M", "qem2"},
		{"import in.raw imported.vhd", "gvhd"},
		{"export -O dynamic own.vhd exported.vhd", "gvhd"},
		{"export --azure --creator vhd own.vhd azure.vhd", "gvhd"},
		{"convert -O vpc --creator vhd own.vhd converted.vhd", "gvhd"},
		{"convert -f raw -O vpc --creator vhd in.raw raw.vhd", "gvhd"},
		{"convert -B windows.vhd child.vhd delta.vhd", "win"},
	} {
		args := strings.Fields(c.line)
		succeed(t, args...)
		name := args[len(args)-1]
		if name == "1M" {
			name = args[len(args)-2]
		}
		require.Equal(t, c.want, infoOf(t, name).FormatSpecific.Data.CreatorApplication, c.line)
	}
}

func TestRawContentNamesNoCreator(t *testing.T) {
	enter(t)
	testChain(t)
	for _, verb := range []string{"export", "convert"} {
		a := command(t, verb, "--creator", "qemu", "leaf.vhd", "out.raw")
		require.Equal(t, exitUsage, a.code)
		require.Contains(t, a.stderr, "vhd "+verb+": raw content names no creator: add -O, or leave out --creator\n")
	}
	require.Contains(t, command(t, "create", "--creator", "vpc", "x.vhd", "1M").stderr, `invalid argument "vpc" for "--creator" flag: want vhd, windows or qemu`)
	require.Equal(t, []string{"base.vhd", "leaf.vhd"}, filesIn(t, "."))
}
