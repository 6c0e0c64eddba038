package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd/internal/vhdtest"
)

func TestTheDemoShowsHowChildrenShareABase(t *testing.T) {
	enter(t)
	out := succeed(t, "demo", "play")
	sum := regexp.MustCompile(`[0-9a-f]{64}`)
	require.Equal(t, `Making a base and two children of it in play:

  base.vhd       dynamic       a disk of 64 MiB in a file of 6.02 MiB
  ├── alice.vhd  differencing  a disk of 64 MiB in a file of 4.03 MiB
  └── bob.vhd    differencing  a disk of 64 MiB in a file of 4.03 MiB

Where each disk's bytes come from:

  disk        its own file            its parent              zeros
  base.vhd    6 MiB (12288 sectors)   -                       58 MiB
  alice.vhd   68 KiB (136 sectors)    6 MiB (12280 sectors)   57.9 MiB
  bob.vhd     2 KiB (4 sectors)       6 MiB (12284 sectors)   58 MiB

What each disk reads as:

  disk        at 0 B             at 8 MiB         at 9 MiB         at 40 MiB
  base.vhd    This is the base   All share this   All share this   (zeros)
  alice.vhd   Alice was here     All share this   All share this   Alice's own
  bob.vhd     Bob was here       All share this   Bob's own        (zeros)

The base is unchanged: the sha256 of base.vhd before its children and now is
  SUM

Try next:
  vhd info --chain play/alice.vhd
  vhd map play/alice.vhd
  vhd export play/alice.vhd alice.raw
  vhd create -b play/alice.vhd play/alice2.vhd
`, sum.ReplaceAllString(out, "SUM"))
	require.Equal(t, []string{"alice.vhd", "base.vhd", "bob.vhd"}, filesIn(t, "play"))

	_, next, _ := strings.Cut(out, "Try next:\n")
	for line := range strings.Lines(next) {
		succeed(t, strings.Fields(line)[1:]...)
	}
	content := vhdtest.SevenZip.Content(t, "play/bob.vhd")
	require.Equal(t, "Bob was here. ", string(content[:14]))
	require.Equal(t, "This is the base. ", string(content[18*512:][:18]))
}

func TestTheDemoLeavesNothingWithoutADirectory(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("TMP", os.Getenv("TMPDIR"))
	out := succeed(t, "demo")
	require.Contains(t, out, "The base is unchanged")
	require.NotContains(t, out, "Try next")
	require.Empty(t, filesIn(t, os.Getenv("TMPDIR")))
}

func TestTheDemoReplacesNothing(t *testing.T) {
	enter(t)
	writeFile(t, "play/bob.vhd", []byte("precious"))
	writeFile(t, "file", nil)
	require.Equal(t, "vhd: play/bob.vhd: file already exists\nhint: "+hintExists+"\n", refuse(t, "demo", "play"))
	require.Equal(t, "vhd: file: it is no directory\nhint: give the demo a directory of its own, which need not be there yet: vhd demo DIR\n", refuse(t, "demo", "file"))
	require.Equal(t, []string{"bob.vhd"}, filesIn(t, "play"))
	require.Equal(t, "precious", string(readFile(t, "play/bob.vhd")))
}

func TestADemoThatIsInterruptedLeavesNothing(t *testing.T) {
	enter(t)
	require.NoError(t, os.Mkdir("there", 0o755))
	for _, dir := range []string{"new", "there"} {
		a := interrupted(t, "demo", dir)
		require.Equal(t, exitInterrupted, a.code)
		require.Equal(t, "vhd: "+dir+": interrupted: nothing was made\nhint: to take it up again: vhd demo "+dir+"\n", a.stderr)
	}
	require.Equal(t, []string{"there"}, filesIn(t, "."))
	require.Empty(t, filesIn(t, "there"))
}
