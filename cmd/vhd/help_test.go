package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryVerbHasHelpWithAnExample(t *testing.T) {
	for _, cmd := range newCommand().Commands() {
		verb := cmd.Name()
		require.NotEmpty(t, cmd.Short, verb)
		require.NotEmpty(t, cmd.Long, verb)
		help := succeed(t, verb, "--help")
		require.Contains(t, help, "Usage:\n  vhd "+verb+" ")
		require.Contains(t, help, "Examples:\n  vhd "+verb)
		for line := range strings.SplitSeq(strings.Replace(help, cmd.UseLine(), "", 1), "\n") {
			require.LessOrEqual(t, len(line), 100, "a line of the help of %s: %s", verb, line)
		}
		require.Equal(t, help, succeed(t, "help", verb))
	}
}

// commandOf are the words of the first command in an example, without what a shell does.
func commandOf(example string) []string {
	for _, shells := range []string{" > ", " | ", " && "} {
		example, _, _ = strings.Cut(example, shells)
	}
	return strings.Fields(example)
}

func TestEveryExampleIsACommandLine(t *testing.T) {
	for _, cmd := range newCommand().Commands() {
		for line := range strings.SplitSeq(cmd.Example, "\n") {
			words := commandOf(line)
			require.Equal(t, "vhd", words[0], line)
			verb, args, err := newCommand().Find(words[1:])
			require.NoError(t, err, line)
			require.Equal(t, cmd.Name(), verb.Name(), line)
			require.NoError(t, verb.ParseFlags(args), line)
			require.NoError(t, verb.ValidateArgs(verb.Flags().Args()), line)
		}
	}
}

func TestVerbsHaveTheNamesThatOthersGiveThem(t *testing.T) {
	for _, c := range []struct{ verb, others string }{
		{"create", "new"}, {"snapshot", "checkpoint"}, {"merge", "commit, coalesce"}, {"compact", "optimize"},
		{"rebase", "reconnect, set-parent"}, {"check", "test"}, {"info", "get, inspect"}, {"rename", "mv, move"},
	} {
		help := succeed(t, c.verb, "--help")
		require.Contains(t, help, "\n\nOther names:\n  "+c.others+"\n\n")
		for other := range strings.SplitSeq(c.others, ", ") {
			require.Equal(t, help, succeed(t, other, "--help"))
		}
	}
	require.NotContains(t, succeed(t, "map", "--help"), "Other names")
}

func TestTheDocumentOfTheCommandNamesAllNamesOfAVerb(t *testing.T) {
	document := string(readFile(t, "../../docs/command.md"))
	for _, cmd := range newCommand().Commands() {
		_, row, _ := strings.Cut(document, "\n| `vhd "+cmd.Name()+" ")
		row, _, _ = strings.Cut(row, "\n")
		for _, name := range cmd.Aliases {
			require.Contains(t, row, "`vhd "+name+"`", cmd.Name())
		}
	}
}

func TestTheHelpSaysOfEveryFlagWhatItTakes(t *testing.T) {
	for _, cmd := range newCommand().Commands() {
		require.NotRegexp(t, `(?m)^ .*--\S+ (string|strings|stringArray|int) `, succeed(t, cmd.Name(), "--help"))
	}
}

func TestNoNameIsThatOfTwoVerbs(t *testing.T) {
	verbs := map[string]string{}
	for _, cmd := range newCommand().Commands() {
		for _, name := range append(cmd.Aliases, cmd.Name()) {
			require.Empty(t, verbs[name], "%s is %s too", name, cmd.Name())
			verbs[name] = cmd.Name()
		}
	}
}

// putExamples makes a new directory the current one, with what the examples of the help name.
func putExamples(t *testing.T) {
	t.Helper()
	enter(t)
	for _, dir := range []string{"bases", "srv/disks", "alices", "bobs"} {
		require.NoError(t, os.MkdirAll(dir, 0o755))
	}
	for _, line := range []string{
		"create base.vhd 1G", "create -b base.vhd office.vhd", "create -b office.vhd monday.vhd", "create -b monday.vhd alice.vhd",
		"create bob.vhd 1G", "create bases/win10.vhd 1G", "create bases/win11.vhd 1G", "create srv/disks/base.vhd 1G",
	} {
		succeed(t, append(strings.Fields(line), "-q")...)
	}
	writeFile(t, "backup.raw", make([]byte, 1<<20))
	writeFile(t, "alice.raw", make([]byte, 1<<20))
	require.NoError(t, os.Truncate("alice.vhd", sizeOf(t, "alice.vhd")-512))
	succeed(t, "repair", "-q", "alice.vhd") // which leaves alice.vhd.undo
	succeed(t, "snapshot", "-q", "alice.vhd", "alice-tuesday.vhd")
}

// inTheWay are files that examples make: what putExamples made of that name is called alice2.vhd then.
var inTheWay = map[string]string{
	"vhd create base.vhd 40G":                                       "base.vhd",
	"vhd create -b base.vhd alice.vhd":                              "alice.vhd",
	"vhd import alice.raw alice.vhd":                                "alice.vhd",
	"vhd convert -f raw -O vpc alice.raw alice.vhd":                 "alice.vhd",
	"vhd convert -O vpc -B base.vhd alice2.vhd alice.vhd":           "alice.vhd",
	"vhd snapshot alice.vhd alice-tuesday.vhd":                      "alice-tuesday.vhd",
	"vhd mv base.vhd bases/win10.vhd --search alices --search bobs": "bases/win10.vhd",
}

func TestEveryExampleDoesWhatItIsFor(t *testing.T) {
	for _, cmd := range newCommand().Commands() {
		for example := range strings.SplitSeq(cmd.Example, "\n") {
			example = strings.TrimSpace(example)
			t.Run(example, func(t *testing.T) {
				putExamples(t)
				if name := inTheWay[example]; name != "" {
					require.NoError(t, os.Rename(name, "alice2.vhd"))
				}
				here := strings.NewReplacer("/srv/", "srv/", "~/", "home/").Replace(example)
				succeed(t, commandOf(here)[1:]...)
			})
		}
	}
}
