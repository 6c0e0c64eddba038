package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// putLost writes lost.vhd, whose end footer is lost, and returns what it holds.
func putLost(t *testing.T) []byte {
	t.Helper()
	lost := soundDisk()
	lost.Footer = vhdtest.FooterZeroed
	lost.WriteFile(t, "lost.vhd")
	return readFile(t, "lost.vhd")
}

const lostSteps = `lost.vhd:
  mend   footer at 2104832: The footer is written at 2104832, from its copy at the file's start, and the file ends behind it. [footer-lost]
`

func TestRepairMendsAndTakesBack(t *testing.T) {
	enter(t)
	before := putLost(t)
	require.Equal(t, answer{exitCorrupt, "", ""}, command(t, "check", "-q", "lost.vhd"))

	require.Equal(t, lostSteps+"Nothing of that is done. What would remain:\nlost.vhd: no damage was found.\n", succeed(t, "repair", "--dry-run", "lost.vhd"))
	require.True(t, bytes.Equal(before, readFile(t, "lost.vhd")))
	require.Equal(t, []string{"lost.vhd"}, filesIn(t, "."))

	require.Equal(t, lostSteps+"To take that back: vhd repair --restore lost.vhd.undo lost.vhd\nlost.vhd: no damage was found.\n", succeed(t, "repair", "lost.vhd"))
	require.Equal(t, answer{exitOK, "", ""}, command(t, "check", "-q", "lost.vhd"))
	require.Equal(t, "lost.vhd: no damage was found.\n", succeed(t, "repair", "lost.vhd"), "there is nothing more to do")
	require.Equal(t, []string{"lost.vhd", "lost.vhd.undo"}, filesIn(t, "."))

	after := readFile(t, "lost.vhd")
	require.Equal(t, "lost.vhd: it can be taken back to what it was before the repair.\n", succeed(t, "repair", "--dry-run", "--restore", "lost.vhd.undo", "lost.vhd"))
	require.True(t, bytes.Equal(after, readFile(t, "lost.vhd")))
	require.Equal(t, "lost.vhd: it is as it was before the repair.\n", succeed(t, "repair", "--restore", "lost.vhd.undo", "lost.vhd"))
	require.True(t, bytes.Equal(before, readFile(t, "lost.vhd")))
}

func TestOthersReadWhatRepairMended(t *testing.T) {
	vhdtest.SevenZip.Need(t)
	enter(t)
	putLost(t)
	succeed(t, "repair", "-q", "lost.vhd")
	want := soundDisk().Content(t, nil)
	require.True(t, bytes.Equal(want, vhdtest.SevenZip.Content(t, "lost.vhd")))
}

// putRepairable writes what putChecked does, what putLost does, and gaps.vhd, of which space remains lost.
func putRepairable(t *testing.T) {
	t.Helper()
	putChecked(t)
	putLost(t)
	gaps := soundDisk()
	gaps.Blocks[0].Gap = 3 << 20
	gaps.Blocks = append(gaps.Blocks, vhdtest.Block{Index: 0, Align: 4096, Gap: 3 << 20})
	gaps.WriteFile(t, "gaps.vhd")
}

// The codes are those of check, for what remains.
func TestTheExitCodesOfRepair(t *testing.T) {
	enter(t)
	putRepairable(t)
	badlyLost := soundDisk()
	badlyLost.Copy = vhdtest.CopyLost
	file := badlyLost.Build(t)
	vhdtest.EditEntry(t, file, 0, 0)
	writeFile(t, "badly.vhd", file)
	for name, code := range map[string]int{
		"sound.vhd": 0, "odd.vhd": 0, "lost.vhd": 0, "leaky.vhd": 0, "none.vhd": 1, "text": 1, ".": 1, "bad.vhd": 2, "badly.vhd": 2, "gaps.vhd": 3, "unknown.vhd": 63, "other.qcow2": 63,
	} {
		require.Equal(t, code, command(t, "repair", "--dry-run", name).code, name)
		a := command(t, "repair", "-q", "--output", "json", name)
		require.Equal(t, answer{code, "", a.stderr}, a, name)
	}
	require.FileExists(t, "badly.vhd.undo", "what can be mended is")
	require.NoFileExists(t, "sound.vhd.undo")
	a := command(t, "repair")
	require.Equal(t, exitNotChecked, a.code, "2 is of an image")
	require.Contains(t, a.stderr, "vhd repair: FILE is missing\nusage: vhd repair ")
	require.Equal(t, exitNotChecked, command(t, "repair", "--undo", "a", "--restore", "b", "lost.vhd").code)
}

func TestRepairInJSONHasTheKeysOfCheckAndItsSteps(t *testing.T) {
	enter(t)
	putLost(t)
	step := `{"code": "footer-lost", "image": "lost.vhd", "structure": "footer", "offset": 2104832,
		"message": "The footer is written at 2104832, from its copy at the file's start, and the file ends behind it."}`
	require.JSONEq(t, `{"filename": "lost.vhd", "format": "vpc", "check-errors": 0, "corruptions": 0, "leaks": 0, "findings": [],
		"dry-run": true, "changed": false, "steps": [`+step+`]}`, succeed(t, "repair", "--dry-run", "--output", "json", "lost.vhd"))
	require.JSONEq(t, `{"filename": "lost.vhd", "format": "vpc", "check-errors": 0, "corruptions": 0, "leaks": 0, "findings": [],
		"dry-run": false, "changed": true, "steps": [`+step+`], "undo": "here"}`, succeed(t, "repair", "--undo", "here", "--output", "json", "lost.vhd"))
	require.JSONEq(t, `{"filename": "lost.vhd", "format": "vpc", "check-errors": 0, "corruptions": 0, "leaks": 0, "findings": [],
		"dry-run": false, "changed": false, "steps": []}`, succeed(t, "repair", "--output", "json", "lost.vhd"))
}

func TestRepairSaysWhyItCanNot(t *testing.T) {
	enter(t)
	before := putLost(t)
	writeFile(t, "here", []byte("mine"))
	require.Equal(t, answer{exitNotChecked, "", "vhd: here: no undo file, and so no repair: file already exists\nhint: choose another name: an undo file takes the place of no file\n"},
		command(t, "repair", "--undo", "here", "lost.vhd"))
	require.True(t, bytes.Equal(before, readFile(t, "lost.vhd")))

	d, err := vhd.Open("lost.vhd", nil)
	require.NoError(t, err)
	require.Equal(t, answer{exitNotChecked, "", "vhd: lost.vhd: image is in use\nhint: " + hintLocked + "\n"}, command(t, "repair", "lost.vhd"))
	require.NoError(t, d.Close())

	a := command(t, "repair", "--restore", "here", "lost.vhd")
	require.Equal(t, exitError, a.code)
	require.Contains(t, a.stderr, "vhd: here: undo file at offset 0: not a valid VHD: got 4 bytes, want an undo file of a repair\n")

	succeed(t, "repair", "lost.vhd")
	require.NoError(t, os.Truncate("lost.vhd", 4096))
	a = command(t, "repair", "--restore", "lost.vhd.undo", "lost.vhd")
	require.Equal(t, exitError, a.code)
	require.Contains(t, a.stderr, "is not what the repair left: it was written to since, or is another image\n")
}

func TestARepairThatIsInterruptedSaysSo(t *testing.T) {
	enter(t)
	before := putLost(t)
	requireInterrupted(t, "lost.vhd: interrupted: what could be read still can, and repairing again does the rest", "repair", "lost.vhd")
	require.True(t, bytes.Equal(before, readFile(t, "lost.vhd")))
	require.Equal(t, []string{"lost.vhd"}, filesIn(t, "."))
}
