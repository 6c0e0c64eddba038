package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

func sumOf(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Open(name)
	require.NoError(t, err)
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	require.NoError(t, err)
	return h.Sum(nil)
}

// export exports an image to a new file and returns its bytes.
func export(t *testing.T, name string) []byte {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "out.raw")
	require.Empty(t, succeed(t, "export", "-q", name, raw))
	return readFile(t, raw)
}

func TestExportCopiesAChain(t *testing.T) {
	enter(t)
	leaf, base := testChain(t)
	require.Equal(t, leaf.Content(t, base.Content(t, nil)), export(t, "leaf.vhd"))
	require.Equal(t, base.Content(t, nil), export(t, "base.vhd"))
}

func TestExportEqualsQemuForSingleImages(t *testing.T) {
	vhdtest.Qemu.Need(t)
	for seed := range uint64(10) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			chain := vhdtest.RandomChain(seed, vhdtest.ChainOptions{Images: 1, Limits: vhdtest.ForQemu})
			names := chain.WriteDir(t, t.TempDir())
			require.Equal(t, vhdtest.Qemu.Content(t, names[0]), export(t, names[0]))
		})
	}
}

func TestExportEqualsSevenZipForChains(t *testing.T) {
	vhdtest.SevenZip.Need(t)
	for seed := range uint64(10) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			chain := vhdtest.RandomChain(seed, vhdtest.ChainOptions{Limits: vhdtest.ForSevenZip})
			names := chain.WriteDir(t, t.TempDir())
			require.Equal(t, vhdtest.SevenZip.Content(t, names...), export(t, names[0]))
		})
	}
}

func TestExportEqualsTheModelForAnyChain(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			chain := vhdtest.RandomChain(seed, vhdtest.ChainOptions{Limits: vhdtest.Anything})
			names := chain.WriteDir(t, t.TempDir())
			require.True(t, bytes.Equal(chain.Content(t), export(t, names[0])))
		})
	}
}

func TestWhatIsZerosTakesNoSpaceInTheExport(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("what a file takes is not known here")
	}
	enter(t)
	zerosInData := vhdtest.Block{Index: 9, Data: append(make([]byte, 1<<20), "data"...)}
	vhdtest.NewDynamic(1<<30, zerosInData).WriteFile(t, "x.vhd")
	succeed(t, "export", "x.vhd", "x.raw")
	info, err := os.Stat("x.raw")
	require.NoError(t, err)
	require.EqualValues(t, 1<<30, info.Size())
	require.LessOrEqual(t, usedBytes(info), int64(64<<10))
}

func TestExportReplacesARawFile(t *testing.T) {
	enter(t)
	_, base := testChain(t)
	writeFile(t, "real/out.raw", bytes.Repeat([]byte("old"), 3<<20))
	require.NoError(t, os.Symlink(filepath.Join("real", "out.raw"), "link.raw"))
	succeed(t, "export", "base.vhd", "link.raw")
	require.Equal(t, base.Content(t, nil), readFile(t, "real/out.raw"))
	require.Equal(t, []string{"out.raw"}, filesIn(t, "real"))
}

func TestExportReplacesNoImage(t *testing.T) {
	enter(t)
	testChain(t)
	before := sumOf(t, "base.vhd")
	require.NoError(t, os.Link("base.vhd", "same.raw"))
	vhdtest.NewFixed(1<<20, nil).WriteFile(t, "other.raw")
	for name, want := range map[string]string{
		"base.vhd":  "vhd: base.vhd: it is one of the images that are to be copied\nhint: give the raw file another name\n",
		"leaf.vhd":  "vhd: leaf.vhd: it is one of the images that are to be copied\nhint: give the raw file another name\n",
		"same.raw":  "vhd: same.raw: it is one of the images that are to be copied\nhint: give the raw file another name\n",
		"other.raw": "vhd: other.raw: it is a VHD image, which a raw file would replace\nhint: choose another name: a raw file takes the place of no image\n",
		".":         "vhd: .: it is a directory\nhint: give the new file a name in it, such as NEW\n",
	} {
		require.Equal(t, want, refuse(t, "export", "leaf.vhd", name))
	}
	require.Equal(t, before, sumOf(t, "base.vhd"))
	require.Equal(t, []string{"base.vhd", "leaf.vhd", "other.raw", "same.raw"}, filesIn(t, "."))
}

func TestRawContentIsNotCalledAsImagesAreUnlessToldTo(t *testing.T) {
	enter(t)
	testChain(t)
	for _, c := range []struct{ verb, out, image string }{
		{"export", "x.vhd", "x.vhd"}, {"convert", "x.VHD", "x.VHD"}, {"export", "x.avhd", "x.avhd"}, {"export", "x.avhdx", "x.vhd"},
		{"export", "x.vhdx", "x.vhd"}, {"convert", "x.qcow2", "x.vhd"}, {"convert", "x.vmdk", "x.vhd"}, {"export", "x.vdi", "x.vhd"},
	} {
		want := "vhd: " + c.out + ": raw content would be called as an image is\nhint: to make an image: vhd " + c.verb + " -O dynamic leaf.vhd " + c.image +
			"; if raw content is meant: vhd " + c.verb + " -O raw leaf.vhd " + c.out + "\n"
		require.Equal(t, want, refuse(t, c.verb, "leaf.vhd", c.out))
		require.Equal(t, want, refuse(t, c.verb, "--dry-run", "leaf.vhd", c.out))
	}
	require.Equal(t, []string{"base.vhd", "leaf.vhd"}, filesIn(t, "."))
	want := export(t, "leaf.vhd")
	succeed(t, "export", "-O", "raw", "leaf.vhd", "x.vhd")
	require.Equal(t, want, readFile(t, "x.vhd"))
}

func TestExportWritesToStandardOutput(t *testing.T) {
	enter(t)
	leaf, base := testChain(t)
	want := leaf.Content(t, base.Content(t, nil))
	for _, line := range []string{"export leaf.vhd -", "convert leaf.vhd -", "export -q -O raw leaf.vhd -"} {
		require.Equal(t, string(want), succeed(t, strings.Fields(line)...), line)
	}
	writeFile(t, "piped.vhd", []byte(succeed(t, "export", "-O", "dynamic", "leaf.vhd", "-")))
	require.Equal(t, want, vhdtest.SevenZip.Content(t, "piped.vhd"))
	require.Equal(t, "-: would be raw content of leaf.vhd, 4 MiB\n", succeed(t, "export", "--dry-run", "leaf.vhd", "-"))
	require.Equal(t, []string{"base.vhd", "leaf.vhd", "piped.vhd"}, filesIn(t, "."))
	requireInterrupted(t, "standard output: interrupted: what was written is not all", "export", "leaf.vhd", "-")

	a := command(t, "export", "--output", "json", "leaf.vhd", "-")
	require.Equal(t, exitUsage, a.code)
	require.Contains(t, a.stderr, "vhd export: the content and JSON can not both go to standard output: name a file\n")
	writeFile(t, "in.raw", want)
	require.Equal(t, exitUsage, command(t, "convert", "-f", "raw", "-O", "vpc", "in.raw", "-").code)
}

func TestAnExportToAFileOnStandardOutputHasHoles(t *testing.T) {
	enter(t)
	testChain(t)
	f, err := os.Create("out.raw")
	require.NoError(t, err)
	var stderr bytes.Buffer
	require.Equal(t, exitOK, run([]string{"export", "leaf.vhd", "-"}, strings.NewReader(""), f, &stderr), &stderr)
	require.NoError(t, f.Close())
	require.Equal(t, export(t, "leaf.vhd"), readFile(t, "out.raw"))
}

func TestAnExportThatFailsLeavesNothing(t *testing.T) {
	enter(t)
	image := testBase().Build(t)
	vhdtest.EditEntry(t, image, 1, 1<<20)
	writeFile(t, "bad.vhd", image)
	require.Equal(t, "vhd: bad.vhd: BAT: entry 1 at offset 1540: corrupt: got sector 1048576, "+
		"want a block in front of the file's end at sector 4101\nhint: "+hintOfDamage("bad.vhd")+"\n", refuse(t, "export", "bad.vhd", "out.raw"))
	require.Equal(t, []string{"bad.vhd"}, filesIn(t, "."))
	require.Equal(t, "vhd: none/out.raw: there is no directory none\nhint: mkdir -p none\n", refuse(t, "export", writeBase(t), "none/out.raw"))
}

func writeBase(t *testing.T) string {
	t.Helper()
	testBase().WriteFile(t, "base.vhd")
	return "base.vhd"
}

func TestAnExportThatIsInterruptedLeavesNothing(t *testing.T) {
	enter(t)
	testChain(t)
	writeFile(t, "out.raw", []byte("old"))
	requireInterrupted(t, "out.raw: interrupted: nothing was made", "export", "leaf.vhd", "out.raw")
	require.Equal(t, []string{"base.vhd", "leaf.vhd", "out.raw"}, filesIn(t, "."))
	require.Equal(t, "old", string(readFile(t, "out.raw")))
}

func TestExportOfAnImageThatIsBeingWritten(t *testing.T) {
	enter(t)
	testChain(t)
	for name, want := range map[string]string{
		"leaf.vhd": "vhd: leaf.vhd: image is in use\n",
		"base.vhd": "vhd: leaf.vhd: its parent is in use\n  base.vhd (W2ru): image is in use\n",
	} {
		d, err := vhd.Open(name, &vhd.Options{Writable: true})
		require.NoError(t, err)
		require.Equal(t, want+"hint: "+hintLocked+"\n", refuse(t, "export", "leaf.vhd", "out.raw"))
		require.NoError(t, d.Close())
	}
}

func TestAnExportIsNoMoreReadableThanWhatItReplaces(t *testing.T) {
	enter(t)
	testBase().WriteFile(t, "base.vhd")
	for _, mode := range []os.FileMode{0o600, 0o640, 0o400} {
		require.NoError(t, os.WriteFile("out.raw", nil, 0o600))
		require.NoError(t, os.Chmod("out.raw", mode))
		succeed(t, "export", "base.vhd", "out.raw")
		info, err := os.Stat("out.raw")
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm())
		require.NoError(t, os.Remove("out.raw"))
	}
}

// infoOf is what the command says of an image.
func infoOf(t *testing.T, name string) imageInfo {
	t.Helper()
	return decode[imageInfo](t, succeed(t, "info", "--output", "json", name))
}

func TestExportMakesImagesOfEachType(t *testing.T) {
	vhdtest.Qemu.Need(t)
	vhdtest.SevenZip.Need(t)
	enter(t)
	leaf, base := testChain(t)
	content := leaf.Content(t, base.Content(t, nil))
	for _, c := range []struct {
		args     []string
		diskType string
		size     int64
		reader   vhdtest.Reader
	}{
		{[]string{"export", "-O", "fixed", "leaf.vhd", "fixed.vhd"}, "fixed", testSize, vhdtest.Qemu},
		{[]string{"export", "--azure", "leaf.vhd", "azure.vhd"}, "fixed", 20 << 20, vhdtest.Qemu},
		{[]string{"export", "--azure", "--type=Fixed", "leaf.vhd", "azure2.vhd"}, "fixed", 20 << 20, vhdtest.Qemu},
		{[]string{"convert", "-O", "dynamic", "leaf.vhd", "dynamic.vhd"}, "dynamic", testSize, vhdtest.Qemu},
		{[]string{"export", "--type", "differencing", "leaf.vhd", "delta.vhd"}, "differencing", testSize, vhdtest.SevenZip},
		{[]string{"convert", "-O", "differencing", "--base", "1", "leaf.vhd", "delta2.vhd"}, "differencing", testSize, vhdtest.SevenZip},
	} {
		says := succeed(t, c.args...)
		name := c.args[len(c.args)-1]
		info := infoOf(t, name)
		require.Equal(t, c.diskType, info.FormatSpecific.Data.DiskType)
		require.Equal(t, c.size, info.VirtualSize)
		require.Equal(t, fmt.Sprintf("%s: %s disk of %s in a file of %s, with the content of leaf.vhd\n",
			name, c.diskType, humanSize(c.size), humanSize(sizeOf(t, name))), says)
		want := append(bytes.Clone(content), make([]byte, c.size-testSize)...)
		require.True(t, bytes.Equal(want, c.reader.Content(t, name)), name)
	}
	require.Equal(t, "leaf.raw: raw content of leaf.vhd, 4 MiB\n", succeed(t, "convert", "-O", "raw", "leaf.vhd", "leaf.raw"))
	require.Equal(t, content, readFile(t, "leaf.raw"))
}

// A delta in another directory finds its parent where that is.
func TestAnExportedDeltaElsewhereFindsItsParent(t *testing.T) {
	enter(t)
	leaf, base := testChain(t)
	require.NoError(t, os.Mkdir("other", 0o755))
	succeed(t, "export", "-O", "differencing", "leaf.vhd", "other/delta.vhd")
	want := leaf.Content(t, base.Content(t, nil))
	require.Equal(t, want, export(t, "other/delta.vhd"))

	require.NoError(t, os.Mkdir("moved", 0o755)) // where the absolute path leads nowhere
	require.NoError(t, os.Rename("base.vhd", "moved/base.vhd"))
	require.NoError(t, os.Rename("other", "moved/other"))
	require.Equal(t, want, export(t, "moved/other/delta.vhd"))
}

func TestANewImageReplacesNothing(t *testing.T) {
	enter(t)
	testChain(t)
	writeFile(t, "x.vhd", []byte("precious"))
	for _, name := range []string{"x.vhd", "leaf.vhd", "base.vhd"} {
		require.Equal(t, "vhd: "+name+": file already exists\nhint: "+hintExists+"\n", refuse(t, "export", "-O", "fixed", "leaf.vhd", name))
	}
	require.Equal(t, "precious", string(readFile(t, "x.vhd")))
	require.Equal(t, "vhd: --base 2: no image of the chain is called so\nhint: the chain is leaf.vhd, base.vhd\n",
		refuse(t, "export", "-O", "differencing", "--base", "2", "leaf.vhd", "new.vhd"))
	require.Equal(t, "vhd: base.vhd: it has no parent, which a differencing image needs\nhint: a dynamic one needs none: -O dynamic\n",
		refuse(t, "export", "-O", "differencing", "base.vhd", "new.vhd"))
	requireInterrupted(t, "new.vhd: interrupted: nothing was made", "export", "-O", "dynamic", "leaf.vhd", "new.vhd")
	require.Equal(t, []string{"base.vhd", "leaf.vhd", "x.vhd"}, filesIn(t, "."))
}

// What is damaged may be all that is left of a disk.
func TestNothingReplacesADamagedImageOrTakesItForRawContent(t *testing.T) {
	enter(t)
	testChain(t)
	image := testBase().Build(t)
	clear(image[:512])
	clear(image[len(image)-512:])
	writeFile(t, "bad.vhd", image)
	writeFile(t, "x.qcow2", append([]byte("QFI\xfb"), make([]byte, 4096)...))
	require.Equal(t, "vhd: bad.vhd: it is a VHD image, which a raw file would replace\nhint: choose another name: a raw file takes the place of no image\n", refuse(t, "export", "leaf.vhd", "bad.vhd"))
	require.Contains(t, refuse(t, "map", "--svg", "bad.vhd", "leaf.vhd"), "vhd: bad.vhd: it is a VHD image, which a picture would replace\n")
	require.Contains(t, refuse(t, "import", "bad.vhd", "new.vhd"), "vhd: bad.vhd: it is a VHD image, not raw content\n")
	require.Contains(t, refuse(t, "import", "x.qcow2", "new.vhd"), "vhd: x.qcow2: it is a qcow2 image, which vhd does not read\n")
	require.Equal(t, image, readFile(t, "bad.vhd"))
	require.NoFileExists(t, "new.vhd")
}
