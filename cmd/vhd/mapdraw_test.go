package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd/internal/vhdtest"
)

func TestMapShowsAChainInTheTerminal(t *testing.T) {
	enter(t)
	testChain(t)
	require.Equal(t, `leaf.vhd: a disk of 4 MiB. One cell is a block of 2 MiB.
A cell is two signs: what holds the most of it, and what holds the next most.

      0 B  ..10

     holds  share  file size  image
  0  1 KiB  <0.1%      2 MiB  leaf.vhd
  1  2 MiB  50.0%      2 MiB  base.vhd
  .  2 MiB  50.0%             zeros, in no image
`, succeed(t, "map", "leaf.vhd"))
}

func TestMapShowsWhatCanNotBeRead(t *testing.T) {
	enter(t)
	putUnreadable(t)
	a := command(t, "map", "bad.vhd")
	require.Equal(t, exitError, a.code)
	require.Contains(t, a.stdout, "      0 B  ??00\n")
	require.Contains(t, a.stdout, "\n  ?  2 MiB  50.0%             unreadable\n")
	require.Contains(t, a.stderr, "vhd: bad.vhd: BAT: entry 0")

	a = command(t, "map", "--html", "bad.html", "bad.vhd")
	require.Equal(t, exitError, a.code)
	require.Contains(t, a.stderr, "vhd: bad.vhd: BAT: entry 0")
	require.Contains(t, string(readFile(t, "bad.html")), `data-layer="unreadable" data-bytes="2097152"`)
}

// putUnreadable writes bad.vhd, of whose two blocks one can't be read.
func putUnreadable(t *testing.T) {
	t.Helper()
	image := vhdtest.NewDynamic(testSize, vhdtest.Block{Index: 0}, vhdtest.Block{Index: 1}).Build(t)
	vhdtest.EditEntry(t, image, 0, 0)
	writeFile(t, "bad.vhd", image)
}

func TestMapOfADiskWithoutSizeHasNoCells(t *testing.T) {
	enter(t)
	vhdtest.NewFixed(0, nil).WriteFile(t, "x.vhd")
	require.Equal(t, `x.vhd: a disk of 0 B. One cell is 2 MiB.

     holds  share  file size  image
  0    0 B     0%      512 B  x.vhd
  .    0 B     0%             zeros, in no image
`, succeed(t, "map", "x.vhd"))
	for _, form := range []string{"--svg", "--html"} {
		requireWellFormed(t, succeed(t, "map", form, "-", "x.vhd"))
	}
}

// The files of testdata were looked at in a browser. vhd map writes them anew.
func TestPicturesOfAChainAreAsTheyWere(t *testing.T) {
	want := map[string]string{}
	for _, form := range []string{"svg", "html"} {
		want[form] = string(readFile(t, filepath.Join("testdata", "leaf."+form)))
	}
	enter(t)
	testChain(t)
	require.Equal(t, "leaf.svg: a map of leaf.vhd\n", succeed(t, "map", "--svg", "leaf.svg", "leaf.vhd"))
	require.Equal(t, "leaf.html: a map of leaf.vhd\n", succeed(t, "map", "--html", "leaf.html", "leaf.vhd"))
	for form, text := range want {
		require.Equal(t, text, string(readFile(t, "leaf."+form)))
		require.Equal(t, text, succeed(t, "map", "--"+form, "-", "leaf.vhd"))
		require.Equal(t, text, succeed(t, "map", "--"+form, "-", "../"+filepath.Base(workingDir(t))+"/leaf.vhd"), "wherever the images are")
		requireWellFormed(t, text)
	}
	require.Equal(t, []string{"base.vhd", "leaf.html", "leaf.svg", "leaf.vhd"}, filesIn(t, "."))
}

// workingDir is the current directory.
func workingDir(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	return dir
}

// requireWellFormed parses a drawing, or a page that is written as XML would be but for what
// HTML leaves open.
func requireWellFormed(t *testing.T, text string) (elements map[string]int) {
	t.Helper()
	dec := xml.NewDecoder(strings.NewReader(text))
	dec.Strict, dec.AutoClose, dec.Entity = !strings.HasPrefix(text, "<!DOCTYPE html>"), []string{"meta"}, xml.HTMLEntity
	elements = map[string]int{}
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return elements
		}
		require.NoError(t, err)
		if start, ok := token.(xml.StartElement); ok {
			elements[start.Name.Local]++
		}
	}
}

const hostileName = "<img src=x onerror=alert(1)>\"'&\x1b[31m\u202e{{.}}.vhd"

func TestNamesDoNothingInPictures(t *testing.T) {
	if os.PathSeparator != '/' {
		t.Skip("no file can have such a name")
	}
	enter(t)
	testChain(t)
	require.NoError(t, os.Rename("leaf.vhd", hostileName))
	for _, form := range []string{"--svg", "--html"} {
		text := succeed(t, "map", form, "-", hostileName)
		elements := requireWellFormed(t, text)
		require.Zero(t, elements["img"]+elements["script"])
		require.NotContains(t, text, "\x1b")
		require.NotContains(t, text, "\u202e")
		require.Contains(t, text, "onerror=alert(1)", "all the same it is shown")
		require.Contains(t, text, "{{.}}")
	}
	shown := succeed(t, "map", hostileName)
	require.NotContains(t, shown, "\x1b")
	require.Contains(t, shown, `\u001b[31m\u202e{{.}}.vhd`)
}

// shares are the bytes of a disk by what serves them, as a picture calls that.
type shares map[string]int64

// sharesInJSON adds up what vhd map lists.
func sharesInJSON(t *testing.T, name string) shares {
	t.Helper()
	sums := shares{"hole": 0}
	for _, e := range decode[[]mapEntry](t, succeed(t, "map", "--output", "json", name)) {
		key := strconv.Itoa(e.Depth)
		if e.Zero {
			key = "hole"
		}
		sums[key] += e.Length
	}
	return sums
}

// sharesInPage reads the legend of a page.
func sharesInPage(t *testing.T, page string) shares {
	t.Helper()
	sums := shares{}
	for _, row := range regexp.MustCompile(`<tr data-layer="(\w+)" data-bytes="(\d+)">`).FindAllStringSubmatch(page, -1) {
		n, err := strconv.ParseInt(row[2], 10, 64)
		require.NoError(t, err)
		if n > 0 || row[1] == "hole" { // what holds nothing is not listed in JSON
			sums[row[1]] = n
		}
	}
	return sums
}

func TestAPageHasTheSumsOfTheMapInJSON(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			names := vhdtest.RandomChain(seed, vhdtest.ChainOptions{Limits: vhdtest.Anything}).WriteDir(t, t.TempDir())
			page := succeed(t, "map", "--html", "-", names[0])
			require.Equal(t, sharesInJSON(t, names[0]), sharesInPage(t, page))
			requireWellFormed(t, page)
			requireWellFormed(t, succeed(t, "map", "--svg", "-", names[0]))
			succeed(t, "map", names[0])
		})
	}
}

func TestOthersReadAPageAsItIsMeant(t *testing.T) {
	vhdtest.Chromium.Need(t)
	enter(t)
	testChain(t)
	name := "leaf.vhd"
	if os.PathSeparator == '/' {
		require.NoError(t, os.Rename(name, hostileName))
		name = hostileName
	}
	succeed(t, "map", "--html", "map #1.html", name)
	dom := string(vhdtest.Chromium.Content(t, "map #1.html"))
	require.Equal(t, shares{"0": 1024, "1": testSize/2 - 1024, "hole": testSize / 2}, sharesInPage(t, dom))
	require.Equal(t, sharesInJSON(t, name), sharesInPage(t, dom))
	require.Equal(t, 2, strings.Count(dom, "<pattern "), "the picture is a part of the page")
	require.NotContains(t, dom, "<img")
	require.Contains(t, dom, "&lt;img src=x")
}

func TestAPictureReplacesNoImage(t *testing.T) {
	enter(t)
	testChain(t)
	before := sumOf(t, "base.vhd")
	require.NoError(t, os.Mkdir("dir", 0o755))
	for name, want := range map[string]string{
		"base.vhd":   "vhd: base.vhd: it is a VHD image, which a picture would replace\nhint: choose another name: a picture takes the place of no image\n",
		"leaf.vhd":   "vhd: leaf.vhd: it is a VHD image, which a picture would replace\nhint: choose another name: a picture takes the place of no image\n",
		"dir":        "vhd: dir: it is a directory\nhint: give the new file a name in it, such as dir/NEW\n",
		"none/x.svg": "vhd: none/x.svg: there is no directory none\nhint: mkdir -p none\n",
	} {
		require.Equal(t, want, refuse(t, "map", "--svg", name, "leaf.vhd"))
	}
	require.Equal(t, before, sumOf(t, "base.vhd"))
	require.Equal(t, []string{"base.vhd", "dir", "leaf.vhd"}, filesIn(t, "."))
}

func TestAPictureReplacesAFileBehindALink(t *testing.T) {
	enter(t)
	testChain(t)
	writeFile(t, "real/x.svg", []byte("old"))
	require.NoError(t, os.Symlink(filepath.Join("real", "x.svg"), "link.svg"))
	succeed(t, "map", "--svg", "link.svg", "leaf.vhd")
	require.Equal(t, succeed(t, "map", "--svg", "-", "leaf.vhd"), string(readFile(t, "real/x.svg")))
	require.Equal(t, []string{"x.svg"}, filesIn(t, "real"))
}

func TestAMapThatIsInterruptedLeavesNothing(t *testing.T) {
	enter(t)
	testChain(t)
	writeFile(t, "x.svg", []byte("old"))
	requireInterrupted(t, "x.svg: interrupted: nothing was made", "map", "--svg", "x.svg", "leaf.vhd")
	requireInterrupted(t, "leaf.vhd: interrupted: nothing was shown", "map", "leaf.vhd")
	require.Equal(t, "old", string(readFile(t, "x.svg")))
	require.Equal(t, []string{"base.vhd", "leaf.vhd", "x.svg"}, filesIn(t, "."))
}

func TestAMapThatCanNotBeWrittenIsAnError(t *testing.T) {
	enter(t)
	testChain(t)
	for _, form := range [][]string{{}, {"--output", "table"}, {"--output", "json"}, {"--svg", "-"}, {"--html", "-"}, {"--svg", "x.svg"}} {
		var stderr bytes.Buffer
		code := run(append(append([]string{"map"}, form...), "leaf.vhd"), strings.NewReader(""), fullFile{}, &stderr)
		require.Equal(t, answer{exitError, "", "vhd: standard output: write: it is full\n"}, answer{code, "", stderr.String()}, form)
	}
}
