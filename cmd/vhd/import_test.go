package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd/internal/vhdtest"
)

// rawContent is data with runs of zeros of all lengths in it. It does not end
// with a whole sector.
func rawContent() []byte {
	rng := rand.New(rand.NewPCG(8, 2))
	content := make([]byte, 9<<20+100)
	for off := 0; off < len(content); off += 512 << rng.IntN(13) {
		piece := content[off:min(len(content), off+512<<rng.IntN(8))]
		for i := range piece {
			piece[i] = byte(rng.Uint32())
		}
	}
	content[len(content)-1] = '!'
	return content
}

func padded(content []byte) []byte {
	return append(content, make([]byte, (512-len(content)%512)%512)...)
}

func TestOthersReadWhatImportMakes(t *testing.T) {
	vhdtest.Qemu.Need(t)
	enter(t)
	content := rawContent()
	writeFile(t, "in.raw", content)
	for name, flags := range map[string][]string{
		"dynamic.vhd": nil,
		"small.vhd":   {"-t", "dynamic", "--block-size", "64K"},
		"large.vhd":   {"--block-size", "256M"},
		"fixed.vhd":   {"-t", "fixed"},
	} {
		require.Regexp(t, "^"+name+": (dynamic|fixed) disk of 9 MiB in a file of .* MiB, with the content of in.raw\n$", succeed(t, append([]string{"import", "in.raw", name}, flags...)...))
		require.True(t, bytes.Equal(padded(content), vhdtest.Qemu.Content(t, name)), name)
	}
}

func TestWhatIsImportedIsExportedTheSame(t *testing.T) {
	enter(t)
	content := rawContent()
	writeFile(t, "in.raw", content)
	succeed(t, "import", "--block-size", "512", "in.raw", "x.vhd")
	require.True(t, bytes.Equal(padded(content), export(t, "x.vhd")))
}

func TestZerosTakeNoSpaceInAnImport(t *testing.T) {
	enter(t)
	f, err := os.Create("in.raw")
	require.NoError(t, err)
	require.NoError(t, f.Truncate(20<<30))
	_, err = f.WriteAt([]byte("data"), 7<<30)
	require.NoError(t, err)
	_, err = f.WriteAt(make([]byte, 3<<20), 9<<30)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	if testing.Short() || runtime.GOOS != "linux" {
		require.NoError(t, os.Truncate("in.raw", 7<<30+4))
	}
	succeed(t, "import", "in.raw", "x.vhd")
	info := decode[imageInfo](t, succeed(t, "info", "--output", "json", "x.vhd"))
	require.Equal(t, 1, info.FormatSpecific.Data.Blocks.Allocated)
}

func TestImportRefusesWhatIsNoRawContent(t *testing.T) {
	enter(t)
	testBase().WriteFile(t, "base.vhd")
	writeFile(t, "empty.raw", nil)
	writeFile(t, "in.raw", make([]byte, 512))
	for _, c := range []struct{ from, to, want string }{
		{"none.raw", "x.vhd", "vhd: none.raw: no such file or directory\nhint: vhd ls . shows the images there\n"},
		{"empty.raw", "x.vhd", "vhd: empty.raw: it is empty\n"},
		{".", "x.vhd", "vhd: .: it is a directory, and no image\nhint: vhd ls . shows the images in it\n"},
		{"base.vhd", "x.vhd", "vhd: base.vhd: it is a VHD image, not raw content\nhint: make raw content of it first: vhd export base.vhd OUT.raw\n"},
		{"in.raw", "base.vhd", "vhd: base.vhd: file already exists\nhint: " + hintExists + "\n"},
		{"in.raw", "in.raw", "vhd: in.raw: file already exists\nhint: " + hintExists + "\n"},
		{"in.raw", "none/x.vhd", "vhd: none/x.vhd: there is no directory none\nhint: mkdir -p none\n"},
	} {
		require.Equal(t, c.want, refuse(t, "import", c.from, c.to))
	}
	require.Equal(t, []string{"base.vhd", "empty.raw", "in.raw"}, filesIn(t, "."))
}

func TestAnImportThatIsInterruptedLeavesNothing(t *testing.T) {
	enter(t)
	writeFile(t, "in.raw", rawContent())
	requireInterrupted(t, "x.vhd: interrupted: nothing was made", "import", "in.raw", "x.vhd")
	require.Equal(t, []string{"in.raw"}, filesIn(t, "."))
}

// A dry run tells the size that the file will have, also as vhd convert, and makes nothing.
func TestADryRunOfAnImportTellsWhatAnImportWouldMake(t *testing.T) {
	enter(t)
	content := rawContent()
	copy(content[3<<20:], make([]byte, 5<<20))
	writeFile(t, "in.raw", content)
	for _, args := range [][]string{
		{"import"}, {"import", "--block-size", "512"}, {"import", "--block-size", "2K"}, {"import", "--block-size", "4K"},
		{"import", "--block-size", "64K"}, {"import", "--block-size", "256M"}, {"import", "-t", "fixed"}, {"convert", "-f", "raw", "-O", "dynamic"},
	} {
		args = append(args, "in.raw", "x.vhd", "--output", "json")
		would := decode[copied](t, succeed(t, append(args, "--dry-run", "-p")...))
		require.NoFileExists(t, "x.vhd")
		require.True(t, would.DryRun)
		require.False(t, would.Changed)
		did := decode[copied](t, succeed(t, args...))
		info, err := os.Stat("x.vhd")
		require.NoError(t, err)
		if args[2] == "512" || args[2] == "2K" { // of such the file has a few in the page behind its table
			require.InDelta(t, info.Size(), would.Bytes, 8<<10, args)
			would.Bytes = did.Bytes
		}
		would.outcome = did.outcome
		require.Equal(t, did, would)
		require.NoError(t, os.Remove("x.vhd"))
	}
	require.Regexp(t, "^x.vhd: would be dynamic disk of 9 MiB in a file of .* MiB, with the content of in.raw\n$", succeed(t, "import", "--dry-run", "in.raw", "x.vhd"))
	require.Contains(t, refuse(t, "import", "--dry-run", "in.raw", "none/x.vhd"), "none/x.vhd: there is no directory none\nhint: mkdir -p none\n")
	writeFile(t, "x.vhd", []byte("precious"))
	require.Equal(t, refuse(t, "import", "in.raw", "x.vhd"), refuse(t, "import", "--dry-run", "in.raw", "x.vhd"))
}
