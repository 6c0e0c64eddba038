package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// What a shell is told: words, or which files it is to look for itself.
const (
	anyFiles    = ":0"
	nothingElse = ":4"
	imageFiles  = "vhd avhd :8"
	directories = ":16"
)

// completion is what a shell is told for the last word of a command line.
func completion(t *testing.T, line string) string {
	t.Helper()
	a := command(t, append([]string{cobra.ShellCompNoDescRequestCmd}, strings.Split(line, " ")...)...)
	require.Equal(t, exitOK, a.code, line)
	return a.stdout
}

func TestWhatTheLastWordIsCompletedTo(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"comp", "compact compare completion " + nothingElse},
		{"info ", imageFiles},
		{"info --output ", "human json " + nothingElse},
		{"info --output j", "human json " + nothingElse}, // of which the shell takes what begins so
		{"inspect --output=", "human json " + nothingElse},
		{"--root ", directories},
		{"info --root ", directories},
		{"create ", imageFiles},
		{"create -b ", imageFiles},
		{"create -s ", nothingElse},
		{"create -t ", "differencing dynamic fixed " + nothingElse},
		{"export -O ", "differencing dynamic fixed raw vpc " + nothingElse},
		{"convert ", anyFiles},
		{"convert alice.vhd ", anyFiles},
		{"convert alice.vhd alice.raw ", nothingElse},
		{"compare alice.vhd ", anyFiles},
		{"ls ", directories},
		{"create alice.vhd ", nothingElse},
		{"import ", anyFiles},
		{"import alice.raw ", imageFiles},
		{"resize alice.vhd ", nothingElse},
		{"merge --into ", imageFiles},
		{"rebase --tree ", directories},
		{"rename --search ", directories},
		{"repair --restore ", "undo :8"},
		{"repair --undo ", anyFiles},
		{"create -o ", "subformat=fixed subformat=dynamic force_size " + nothingElse},
		{"convert -o ", "subformat=fixed subformat=dynamic force_size " + nothingElse},
		{"check one.vhd two.vhd ", imageFiles},
		{"demo ", directories},
		{"man ", directories},
		{"completion ", "bash fish powershell zsh " + nothingElse},
		{"info --o", "--output " + nothingElse},
	} {
		require.ElementsMatch(t, strings.Fields(c.want), strings.Fields(completion(t, c.line)), c.line)
	}
}

func TestTheImagesOfAMergeAreThoseOfTheChain(t *testing.T) {
	enter(t)
	base := putImage(t, "base.vhd", testBase())
	middle := putChild(t, "middle.vhd", base, `.\base.vhd`)
	putChild(t, "leaf.vhd", middle, `.\middle.vhd`)
	putChild(t, "other.vhd", base, `.\base.vhd`)
	for line, want := range map[string]string{
		"merge leaf.vhd --into ":               "middle.vhd base.vhd " + nothingElse,
		"merge leaf.vhd --from l":              "leaf.vhd middle.vhd " + nothingElse,
		"merge --from middle.vhd leaf.vhd -b ": "middle.vhd base.vhd " + nothingElse,
		"merge gone.vhd --into ":               imageFiles,
	} {
		require.ElementsMatch(t, strings.Fields(want), strings.Fields(completion(t, line)), line)
	}
}

func TestHelpIsCompletedToCommands(t *testing.T) {
	require.Contains(t, completion(t, "help "), "\nresize\n")
	require.Equal(t, nothingElse+"\n", completion(t, "help resize "))
}

func TestEveryShellGetsItsScript(t *testing.T) {
	for _, c := range []struct{ shell, start string }{
		{"bash", "# bash completion V2 for vhd "}, {"zsh", "#compdef vhd\n"},
		{"fish", "# fish completion for vhd "}, {"powershell", "# powershell completion for vhd "},
	} {
		require.True(t, strings.HasPrefix(succeed(t, "completion", c.shell), c.start), c.shell)
	}
	a := command(t, "completion", "csh")
	require.Equal(t, answer{exitUsage, "", "vhd completion: the shell is bash, zsh, fish or powershell, and not \"csh\"\n" +
		"usage: vhd completion {bash|zsh|fish|powershell}\nhint: vhd completion --help tells more\n"}, a)
}

func TestTheShellsUnderstandTheirScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		t.Run(shell, func(t *testing.T) {
			program, err := exec.LookPath(shell)
			if err != nil {
				t.Skip(shell + " is not here")
			}
			enter(t)
			writeFile(t, "script", []byte(succeed(t, "completion", shell)))
			said, err := exec.Command(program, "-n", "script").CombinedOutput()
			require.NoError(t, err, "%s", said)
			require.Empty(t, string(said))
		})
	}
}

// vhdForShells makes a program of this test that answers as vhd, in a directory for the PATH.
func vhdForShells(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "vhd"), ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return dir
}

func TestBashCompletesTheNamesOfImages(t *testing.T) {
	const functions = "/usr/share/bash-completion/bash_completion"
	if _, err := os.Stat(functions); err != nil {
		t.Skip("bash-completion is not here")
	}
	dir := vhdForShells(t)
	enter(t)
	for _, name := range []string{"alice.vhd", "ALICE.AVHD", "notes.txt", "bases/base.vhd"} {
		writeFile(t, name, nil)
	}
	for _, c := range []struct{ line, want string }{
		{"vhd info ", "ALICE.AVHD alice.vhd bases"},
		{"vhd info no", ""},
		{"vhd demo ", "bases"},
		{"vhd create -t fi", "fixed"},
	} {
		cmd := exec.Command("bash", "-c", `
source `+functions+`; source <(vhd completion bash)
COMP_LINE=$1 COMP_POINT=${#1}; read -ra COMP_WORDS <<< "$1"; [[ $1 == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMP_TYPE=9; compopt() { :; }
__start_vhd vhd; printf '%s\n' "${COMPREPLY[@]}" | sort`, "bash", c.line)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "LC_ALL=C")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Equal(t, c.want, strings.Join(strings.Fields(string(out)), " "), c.line)
	}
}
