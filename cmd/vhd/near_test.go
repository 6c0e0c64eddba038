package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnUnknownVerbIsAnsweredWhateverItsFlags(t *testing.T) {
	enter(t)
	testChain(t)
	for _, c := range []struct{ line, says, hint string }{
		{"query -n s.vhd -v", `"query"; is it info?`, ""},
		{"scan -f x", `"scan"; is it ls?`, ""},
		{"set-vhd -b b2.vhd d1.vhd", `"set-vhd"; is it rebase?`, "vhd rebase -b b2.vhd d1.vhd; "},
		{"merg --help", `"merg"; is it merge?`, "vhd merge --help; "},
		{"--root . merg -h", `"merg"; is it merge?`, "vhd --root . merge -h; "},
		{"fly --high", `"fly"`, ""},
		{"mrege x.vhd", `"mrege"; is it merge?`, "vhd merge x.vhd; "},
		{"MAP x.vhd", `"MAP"; is it map?`, "vhd map x.vhd; "},
		{"Get-VHD x.vhd", `"Get-VHD"; is it info?`, "vhd info x.vhd; "},
		{"Get-VHD -Path x.vhd", `"Get-VHD"; is it info?`, ""},
		{"New-VHD x.vhd 1G", `"New-VHD"; is it create?`, "vhd create x.vhd 1G; "},
		{"Merge-VHD x.vhd", `"Merge-VHD"; is it merge?`, "vhd merge x.vhd; "},
		{"Resize-VHD x.vhd 1G", `"Resize-VHD"; is it resize?`, "vhd resize x.vhd 1G; "},
		{"Optimize-VHD x.vhd", `"Optimize-VHD"; is it compact?`, "vhd compact x.vhd; "},
		{"Convert-VHD x.vhd y.vhd", `"Convert-VHD"; is it convert?`, "vhd convert x.vhd y.vhd; "},
		{"Set-VHD x.vhd", `"Set-VHD"; is it rebase?`, "vhd rebase x.vhd; "},
		{"test-vhd x.vhd", `"test-vhd"; is it check?`, "vhd check x.vhd; "},
		{"Mount-VHD x.vhd", `"Mount-VHD"`, ""},
	} {
		want := "vhd: there is no command " + c.says + "\nusage: vhd COMMAND\nhint: " + c.hint + "vhd --help tells more\n"
		require.Equal(t, answer{exitUsage, "", want}, command(t, strings.Fields(c.line)...), c.line)
	}
	require.Contains(t, command(t, "leaf.vhd", "info", "--chain").stderr, "the command goes in front of the file: vhd info leaf.vhd --chain\n")
	require.Contains(t, command(t, "__complete", "inf").stdout, "info")
}

func TestAVerbBehindFlagsOfAllIsFound(t *testing.T) {
	enter(t)
	testChain(t)
	succeed(t, "--root", ".", "info", "leaf.vhd")
	succeed(t, "--root=.", "info", "leaf.vhd")
	succeed(t, "--help")
	succeed(t, "help", "info")
}

func TestAGuessIsNearWhatWasTyped(t *testing.T) {
	for _, c := range []struct {
		line, says, hint string
	}{
		{"info --foo c1.vhd", "vhd info: unknown flag: --foo", "vhd info --help tells more"},
		{"coalesce -n s1.vhd", "vhd merge: unknown shorthand flag: 'n' in -n", "vhd merge --help tells more"},
		{"map --htm x.html s1.vhd", "vhd map: unknown flag: --htm; is it --html?", "vhd map --html x.html s1.vhd; vhd map --help tells more"},
		{"flatten s.vhd", `vhd: there is no command "flatten"; is it export?`, "vhd export -O dynamic s.vhd NEW.vhd; vhd --help tells more"},
		{"flatten s.vhd flat.vhd", `vhd: there is no command "flatten"; is it export?`, "vhd export -O dynamic s.vhd flat.vhd; vhd --help tells more"},
		{"flatten -q s.vhd", `vhd: there is no command "flatten"; is it export?`, "vhd export -O dynamic -q s.vhd NEW.vhd; vhd --help tells more"},
		{"--root . flatten s.vhd", `vhd: there is no command "flatten"; is it export?`, "vhd --root . export -O dynamic s.vhd NEW.vhd; vhd --help tells more"},
		{"flatten", `vhd: there is no command "flatten"; is it export?`, "vhd export -O dynamic FILE NEW.vhd; vhd --help tells more"},
		{"flatten --nonsense s.vhd", `vhd: there is no command "flatten"; is it export?`, "vhd --help tells more"},
	} {
		lines := strings.Split(command(t, strings.Fields(c.line)...).stderr, "\n")
		require.Equal(t, c.says, lines[0])
		require.Equal(t, "hint: "+c.hint, lines[2])
	}
}
