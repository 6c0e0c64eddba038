package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
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
		"other.raw": "vhd: other.raw: it is a VHD image, which a raw file would replace\nhint: " + hintExists + "\n",
		".":         "vhd: .: it is no regular file, and only such can be replaced\n",
	} {
		require.Equal(t, want, refuse(t, "export", "leaf.vhd", name))
	}
	require.Equal(t, before, sumOf(t, "base.vhd"))
	require.Equal(t, []string{"base.vhd", "leaf.vhd", "other.raw", "same.raw"}, filesIn(t, "."))
}

func TestAnExportThatFailsLeavesNothing(t *testing.T) {
	enter(t)
	image := testBase().Build(t)
	vhdtest.EditEntry(t, image, 1, 1<<20)
	writeFile(t, "bad.vhd", image)
	require.Equal(t, "vhd: bad.vhd: BAT: entry 1 at offset 1540: corrupt: got sector 1048576, "+
		"want a block in front of the file's end at sector 4101\nhint: "+hintDamaged+"\n", refuse(t, "export", "bad.vhd", "out.raw"))
	require.Equal(t, []string{"bad.vhd"}, filesIn(t, "."))
	require.Equal(t, "vhd: none/out.raw: no such file or directory\n", refuse(t, "export", writeBase(t), "none/out.raw"))
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
	require.Equal(t, answer{exitError, "", "vhd: out.raw: interrupted: nothing was made\n"}, interrupted(t, "export", "leaf.vhd", "out.raw"))
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
	require.Equal(t, leaf.Content(t, base.Content(t, nil)), export(t, "other/delta.vhd"))
}

func TestANewImageReplacesNothing(t *testing.T) {
	enter(t)
	testChain(t)
	writeFile(t, "x.vhd", []byte("precious"))
	for _, name := range []string{"x.vhd", "leaf.vhd", "base.vhd"} {
		require.Equal(t, "vhd: "+name+": file already exists\nhint: "+hintExists+"\n", refuse(t, "export", "-O", "fixed", "leaf.vhd", name))
	}
	require.Equal(t, "precious", string(readFile(t, "x.vhd")))
	require.Equal(t, "vhd: leaf.vhd: invalid argument: base 2 in a chain of 2 images, want a parent from 1 to 1\n",
		refuse(t, "export", "-O", "differencing", "--base", "2", "leaf.vhd", "new.vhd"))
	require.Equal(t, "vhd: base.vhd: invalid argument: a differencing disk of one that has no parent\n",
		refuse(t, "export", "-O", "differencing", "base.vhd", "new.vhd"))
	require.Equal(t, answer{exitError, "", "vhd: new.vhd: interrupted: nothing was made\n"}, interrupted(t, "export", "-O", "dynamic", "leaf.vhd", "new.vhd"))
	require.Equal(t, []string{"base.vhd", "leaf.vhd", "x.vhd"}, filesIn(t, "."))
}
