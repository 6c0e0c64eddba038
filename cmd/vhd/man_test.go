package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryCommandHasAPageOfTheManual(t *testing.T) {
	enter(t)
	t.Setenv("SOURCE_DATE_EPOCH", "86400")
	require.Empty(t, succeed(t, "man", "pages"))
	want := []string{"vhd.1"}
	for _, cmd := range newCommand().Commands() {
		want = append(want, "vhd-"+cmd.Name()+".1")
	}
	require.ElementsMatch(t, want, filesIn(t, "pages"))

	page := string(readFile(t, "pages/vhd-check.1"))
	for _, part := range []string{
		`.TH "VHD-CHECK" 1 "1970-01-02" vhd "User Commands"` + "\n",
		".SH NAME\nvhd\\-check \\- look for damage in images, and for space that is lost\n",
		".SH SYNOPSIS\n\\fBvhd check\\fR [\\-\\-chain] ",
		"\n\\fBvhd test\\fR ...\n",
		".SH DESCRIPTION\nLook for damage in images",
		".TP\n\\fB\\-p\\fR, \\fB\\-\\-progress\\fR \\fI\\fR\n",
		".TP\n\\fB\\-\\-output\\fR \\fIFORM\\fR\nhuman, or json for programs\n",
		".SH OPTIONS OF ALL COMMANDS\n.TP\n\\fB\\-\\-root\\fR \\fIDIR\\fR\n",
		".SH EXAMPLES\n.EX\n  vhd check alice.vhd\n",
		".SH SEE ALSO\n\\fBvhd\\fR(1),\n",
	} {
		require.Contains(t, page, part)
	}
	require.Contains(t, string(readFile(t, "pages/vhd.1")), ".SH COMMANDS\n.TP\n\\fBcheck\\fR\nLook for damage")
}

func TestTheManualIsTheSameForTheSameSource(t *testing.T) {
	enter(t)
	t.Setenv("SOURCE_DATE_EPOCH", "")
	succeed(t, "man", "one")
	succeed(t, "man", "two")
	for _, name := range filesIn(t, "one") {
		require.Equal(t, readFile(t, "one/"+name), readFile(t, "two/"+name))
		require.NotContains(t, string(readFile(t, "one/"+name)), ` 1 "20`, "no date, if nothing says one")
	}
	t.Setenv("SOURCE_DATE_EPOCH", "today")
	require.Equal(t, "vhd: SOURCE_DATE_EPOCH: it is no number of seconds: \"today\"\n", refuse(t, "man", "one"))
}

func TestProgramsThatShowManualsFindNothingWrong(t *testing.T) {
	lint := [][]string{{"mandoc", "-Tlint", "-Wwarning"}, {"groff", "-man", "-Tutf8", "-ww", "-z"}}
	enter(t)
	t.Setenv("SOURCE_DATE_EPOCH", "86400") // mandoc wants one
	succeed(t, "man", ".")
	pages, err := filepath.Glob("*.1")
	require.NoError(t, err)
	found := false
	for _, program := range lint {
		if _, err := exec.LookPath(program[0]); err != nil {
			continue
		}
		found = true
		said, err := exec.Command(program[0], append(program[1:], pages...)...).CombinedOutput()
		require.Empty(t, string(said))
		require.NoError(t, err)
	}
	if !found {
		t.Skip("there is neither mandoc nor groff here")
	}
}

func TestTextOfTheManualControlsNothing(t *testing.T) {
	require.Equal(t, "a\n\\&.SH b\n\\(aqc \\efB \\-d\n\\&.", roff("a\n.SH b\n'c \\fB -d\n."))
	var page manPage
	page.text("One.\nTwo.\n\n  as it\n  is\n\nThree.")
	require.Equal(t, "One.\nTwo.\n.PP\n.EX\n  as it\n  is\n.EE\n.PP\nThree.\n", page.String())
}
