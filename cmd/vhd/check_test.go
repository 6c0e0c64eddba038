package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// soundDisk is a dynamic disk with which nothing is odd.
func soundDisk() *vhdtest.Image {
	return vhdtest.NewDynamic(testSize, vhdtest.Block{Index: 1, Data: bytes.Repeat([]byte("base"), 4096), Align: 4096})
}

// putChecked writes sound.vhd, odd.vhd, leaky.vhd, bad.vhd, unknown.vhd and text to the current directory.
func putChecked(t *testing.T) {
	t.Helper()
	soundDisk().WriteFile(t, "sound.vhd")
	odd := soundDisk()
	odd.SavedState = 1
	odd.WriteFile(t, "odd.vhd")
	leaky := soundDisk()
	leaky.Slack = 3 << 20
	leaky.WriteFile(t, "leaky.vhd")
	bad := odd.Build(t)
	vhdtest.EditEntry(t, bad, 0, 0)
	writeFile(t, "bad.vhd", bad)
	unknown := soundDisk().Build(t)
	vhdtest.EditFooters(t, unknown, func(f []byte) { f[63] = 6 })
	writeFile(t, "unknown.vhd", unknown)
	writeFile(t, "other.qcow2", append([]byte("QFI\xfb"), make([]byte, 1020)...))
	writeFile(t, "text", bytes.Repeat([]byte("no VHD\n"), 1000))
}

func TestCheckTellsOfFindingsAndSumsUp(t *testing.T) {
	enter(t)
	putChecked(t)
	require.Equal(t, "sound.vhd: no damage was found.\n", succeed(t, "check", "sound.vhd"))
	require.Equal(t, `odd.vhd:
  info   footer at 2101332: The disk belongs to a machine in saved state; it should not be written or resized before that has gone on. [saved-state]
odd.vhd: 1 note: no damage was found.
`, succeed(t, "check", "odd.vhd"))
	require.Equal(t, answer{exitLeaks, `leaky.vhd:
  leak   file at 2101248: Behind the last block are 3145728 bytes that nothing uses, in which a block or more would fit. [slack]
leaky.vhd: 1 leak: no damage was found, and space that nothing uses.
`, ""}, command(t, "check", "leaky.vhd"))
	require.Equal(t, answer{exitCorrupt, `bad.vhd:
  error  BAT at 1536: Block 0 is at sector 0, where it overlaps the footer's copy. [bat-metadata]
  info   footer at 2101332: The disk belongs to a machine in saved state; it should not be written or resized before that has gone on. [saved-state]
bad.vhd: 1 error, 1 note: it is damaged.
`, ""}, command(t, "check", "bad.vhd"))
}

// The codes are qemu-img's; of several images the gravest counts.
func TestTheExitCodesOfCheck(t *testing.T) {
	enter(t)
	putChecked(t)
	for _, c := range []struct {
		code  int
		names []string
	}{
		{0, []string{"sound.vhd"}},
		{0, []string{"sound.vhd", "odd.vhd"}},
		{1, []string{"none.vhd"}},
		{1, []string{"text"}},
		{1, []string{"."}},
		{2, []string{"bad.vhd"}},
		{3, []string{"leaky.vhd"}},
		{63, []string{"unknown.vhd"}},
		{63, []string{"other.qcow2"}},
		{3, []string{"sound.vhd", "leaky.vhd", "odd.vhd"}},
		{63, []string{"leaky.vhd", "unknown.vhd"}},
		{1, []string{"unknown.vhd", "text", "leaky.vhd"}},
		{2, []string{"text", "bad.vhd", "unknown.vhd", "leaky.vhd", "sound.vhd"}},
	} {
		require.Equal(t, c.code, command(t, append([]string{"check"}, c.names...)...).code, "%v", c.names)
		a := command(t, append([]string{"check", "-q", "--output", "json"}, c.names...)...)
		require.Equal(t, answer{c.code, "", a.stderr}, a, "quiet")
	}
	a := command(t, "check")
	require.Equal(t, exitNotChecked, a.code, "2 is of an image")
	require.Contains(t, a.stderr, "vhd check: FILE is missing\nusage: vhd check ")
	require.Equal(t, exitNotChecked, command(t, "check", "--nonsense", "sound.vhd").code)
	require.Equal(t, exitError, command(t, "--root", "none", "check", "sound.vhd").code)
}

func TestCheckSaysWhyItCanNotCheck(t *testing.T) {
	enter(t)
	putChecked(t)
	a := command(t, "check", "none.vhd", "text", "sound.vhd")
	require.Equal(t, "sound.vhd: no damage was found.\n", a.stdout, "the others are checked all the same")
	require.Contains(t, a.stderr, "vhd: none.vhd: no such file or directory\nhint: vhd ls . shows the images there\n")
	require.Contains(t, a.stderr, "vhd: text: footer: cookie at offset 6488: not a valid VHD")
	require.Contains(t, a.stderr, "\nhint: if it is the raw content of a disk: ")

	d, err := vhd.Open("sound.vhd", &vhd.Options{Writable: true})
	require.NoError(t, err)
	defer d.Close()
	require.Equal(t, answer{exitNotChecked, "", "vhd: sound.vhd: image is in use\nhint: " + hintLocked + "\n"}, command(t, "check", "sound.vhd"))
}

func TestCheckOfAChainChecksTheParentsToo(t *testing.T) {
	enter(t)
	base := soundDisk()
	leaf := vhdtest.NewChild(base, "base.vhd")
	leaf.WriteFile(t, "leaf.vhd")
	require.Equal(t, "leaf.vhd: no damage was found.\n", succeed(t, "check", "leaf.vhd"))
	a := command(t, "check", "--chain", "leaf.vhd")
	require.Equal(t, exitCorrupt, a.code)
	require.Contains(t, a.stdout, "  error  chain at 552: The image's parent can not be opened: parent not found; tried \"base.vhd\" (W2ru: ")
	require.Contains(t, a.stdout, "\nleaf.vhd: 1 error: its parent is missing.\nhint: put the parent there: base.vhd; or tell where it is now: vhd rebase -b PARENT leaf.vhd; or ")
	require.Empty(t, a.stderr)

	base.SavedState = 1
	base.WriteFile(t, "base.vhd")
	require.Regexp(t, `^base.vhd:\n  info   footer at \d+: .* \[saved-state\]\nleaf.vhd: 1 note: no damage was found.\n$`, succeed(t, "check", "--chain", "leaf.vhd"))
}

func TestCheckOfAChainTellsWhatGivesAnImageItsParentBack(t *testing.T) {
	enter(t)
	base := soundDisk()
	mid := vhdtest.NewChild(base, "base.vhd")
	mid.WriteFile(t, "mid.vhd")
	vhdtest.NewChild(mid, "mid.vhd").WriteFile(t, "leaf.vhd")
	base.WriteFile(t, "moved.vhd")
	a := command(t, "check", "--chain", "leaf.vhd")
	require.Equal(t, exitCorrupt, a.code)
	require.Contains(t, a.stdout, "\nleaf.vhd: 1 error: the parent of mid.vhd is missing.\nhint: vhd rebase -b moved.vhd mid.vhd\n")
	require.NotContains(t, command(t, "check", "--chain", "--output", "json", "leaf.vhd").stdout, "hint")
	require.Equal(t, answer{exitCorrupt, "", ""}, command(t, "check", "--chain", "-q", "leaf.vhd"))

	other := soundDisk()
	other.ID[0]++
	other.WriteFile(t, "base.vhd")
	require.Contains(t, command(t, "check", "--chain", "mid.vhd").stdout, "\nmid.vhd: 1 error: its parent is missing.\nhint: vhd rebase -b moved.vhd mid.vhd\n")
	require.NoError(t, os.Remove("base.vhd"))

	sound := readFile(t, "mid.vhd")
	vhdtest.EditEntry(t, sound, 0, 0)
	writeFile(t, "bad.vhd", sound)
	require.Contains(t, command(t, "check", "--chain", "bad.vhd").stdout, "\nbad.vhd: 2 errors: it is damaged.\nhint: vhd rebase -b moved.vhd bad.vhd\n")
}

// What was found in an image is told though its parent can not be checked.
func TestCheckOfAChainTellsOfTheImageWhoseParentItCanNotCheck(t *testing.T) {
	enter(t)
	base := soundDisk()
	base.WriteFile(t, "base.vhd")
	odd := vhdtest.NewChild(base, "base.vhd")
	odd.SavedState = 1
	odd.WriteFile(t, "odd.vhd")
	bad := vhdtest.NewChild(base, "base.vhd", vhdtest.Block{Index: 0}).Build(t)
	vhdtest.EditEntry(t, bad, 0, 0)
	writeFile(t, "bad.vhd", bad)
	d, err := vhd.Open("base.vhd", &vhd.Options{Writable: true})
	require.NoError(t, err)
	defer d.Close()

	a := command(t, "check", "--chain", "odd.vhd")
	require.Equal(t, exitNotChecked, a.code)
	require.Contains(t, a.stdout, "[saved-state]\nodd.vhd: 1 note: not all could be checked.\n")
	require.Contains(t, a.stderr, "vhd: odd.vhd: its parent is in use\n")
	a = command(t, "check", "--chain", "bad.vhd")
	require.Equal(t, exitCorrupt, a.code)
	require.Contains(t, a.stdout, "[bat-metadata]\nbad.vhd: 1 error: it is damaged, and not all could be checked.\n")
	require.Contains(t, a.stderr, "vhd: bad.vhd: its parent is in use\n")
	a = command(t, "check", "--chain", "--output", "json", "bad.vhd")
	require.Equal(t, exitCorrupt, a.code)
	require.Contains(t, a.stdout, `"check-errors": 1`)
	require.Contains(t, a.stdout, `"code": "bat-metadata"`)
}

func TestCheckInJSONHasTheKeysOfQemu(t *testing.T) {
	enter(t)
	putChecked(t)
	a := command(t, "check", "--output", "json", "bad.vhd", "none.vhd", "sound.vhd")
	require.Equal(t, exitCorrupt, a.code)
	require.JSONEq(t, `[
		{"filename": "bad.vhd", "format": "vpc", "check-errors": 0, "corruptions": 1, "leaks": 0, "findings": [
			{"code": "bat-metadata", "severity": "error", "image": "bad.vhd", "structure": "BAT", "offset": 1536,
				"message": "Block 0 is at sector 0, where it overlaps the footer's copy."},
			{"code": "saved-state", "severity": "info", "image": "bad.vhd", "structure": "footer", "offset": 2101332,
				"message": "The disk belongs to a machine in saved state; it should not be written or resized before that has gone on."}]},
		{"filename": "none.vhd", "format": "vpc", "check-errors": 1, "corruptions": 0, "leaks": 0, "findings": [],
			"error": "none.vhd: no such file or directory"},
		{"filename": "sound.vhd", "format": "vpc", "check-errors": 0, "corruptions": 0, "leaks": 0, "findings": []}
	]`, a.stdout)
}

// As qemu-img does it, an image alone is an object.
func TestCheckOfOneImageInJSONIsAnObject(t *testing.T) {
	enter(t)
	putChecked(t)
	require.JSONEq(t, `{"filename": "sound.vhd", "format": "vpc", "check-errors": 0, "corruptions": 0, "leaks": 0, "findings": []}`,
		succeed(t, "check", "--output", "json", "sound.vhd"))
}

func TestCheckOfAChainSaysWhichImagesAreDamaged(t *testing.T) {
	enter(t)
	base := soundDisk()
	mid := vhdtest.NewChild(base, "base.vhd", vhdtest.Block{Index: 0, Align: 4096})
	vhdtest.NewChild(mid, "mid.vhd").WriteFile(t, "leaf.vhd")
	mid.WriteFile(t, "mid.vhd")
	file := base.Build(t)
	vhdtest.EditEntry(t, file, 1, 0)
	writeFile(t, "base.vhd", file)
	require.Contains(t, command(t, "check", "--chain", "leaf.vhd").stdout, "\nleaf.vhd: 1 error: base.vhd is damaged.\n")
	file = mid.Build(t)
	vhdtest.EditEntry(t, file, 0, 0)
	writeFile(t, "mid.vhd", file)
	require.Contains(t, command(t, "check", "--chain", "leaf.vhd").stdout, "\nleaf.vhd: 2 errors: mid.vhd and base.vhd are damaged.\n")
	require.Contains(t, command(t, "check", "--chain", "mid.vhd").stdout, "\nmid.vhd: 2 errors: it and base.vhd are damaged.\n")
}

// One finding may stand for many.
func TestCheckCountsAllThatIsDamaged(t *testing.T) {
	enter(t)
	img := soundDisk()
	img.BlockSize, img.Blocks = 4096, nil
	file := img.Build(t)
	for i := range 500 {
		vhdtest.EditEntry(t, file, i, 0)
	}
	writeFile(t, "bad.vhd", file)
	require.Contains(t, command(t, "check", "--output", "json", "bad.vhd").stdout, `"corruptions": 500,`)
	require.Contains(t, command(t, "check", "bad.vhd").stdout, "bad.vhd: 500 errors: it is damaged.\n")
}

func TestCheckChangesNothing(t *testing.T) {
	enter(t)
	putChecked(t)
	for _, name := range filesIn(t, ".") {
		before, err := os.Stat(name)
		require.NoError(t, err)
		content := readFile(t, name)
		command(t, "check", "-p", "--chain", name)
		after, err := os.Stat(name)
		require.NoError(t, err)
		require.Equal(t, before.ModTime(), after.ModTime())
		require.True(t, bytes.Equal(content, readFile(t, name)))
	}
	require.Len(t, filesIn(t, "."), 7)
}

func TestACheckThatIsInterruptedSaysSo(t *testing.T) {
	enter(t)
	putChecked(t)
	requireInterrupted(t, "sound.vhd: interrupted: it was not checked to the end", "check", "sound.vhd", "bad.vhd")
}
