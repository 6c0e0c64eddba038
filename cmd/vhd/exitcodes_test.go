package main

import (
	"bytes"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd/internal/vhdtest"
)

// exitRows are the rows of docs/exit-codes.md: what each verb's codes mean.
func exitRows(t *testing.T) map[string]map[int]string {
	t.Helper()
	text := string(readFile(t, "../../docs/exit-codes.md"))
	_, header, _ := strings.Cut(text, "| verb |")
	header, _, _ = strings.Cut(header, "|\n")
	var codes []int
	for cell := range strings.SplitSeq(header, "|") {
		code, err := strconv.Atoi(strings.TrimSpace(cell))
		require.NoError(t, err)
		codes = append(codes, code)
	}
	rows := map[string]map[int]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `vhd (\\w+)` \\|(.*)\\|$").FindAllStringSubmatch(text, -1) {
		rows[row[1]] = map[int]string{}
		for i, cell := range strings.Split(row[2], "|") {
			if meaning := strings.TrimSpace(cell); meaning != "" {
				rows[row[1]][codes[i]] = meaning
			}
		}
	}
	return rows
}

func TestTheDocumentOfExitCodesHasEveryVerbAndWhatGoesWrong(t *testing.T) {
	rows := exitRows(t)
	enter(t)
	verbs(func(cmd *cobra.Command) {
		require.Contains(t, rows[cmd.Name()][command(t, cmd.Name(), "--nonsense").code], "not understood", cmd.Name())
		failed := command(t, "--root", "none", cmd.Name(), "a", "b")
		if strings.HasPrefix(failed.stderr, "vhd: ") { // else it takes another number of arguments
			require.Contains(t, rows[cmd.Name()][failed.code], "failed", cmd.Name())
		}
	})
	require.Len(t, rows, len(newCommand().Commands()))
}

// exits are lines that end with each code that the document has for a verb, in what putExits writes.
// What is not understood, and what completion can't do, need no lines of their own.
var exits = []struct {
	code int
	line string
}{
	{0, "info leaf.vhd"}, {1, "info none.vhd"},
	{0, "ls"}, {1, "ls none"},
	{0, "create new.vhd 1M"}, {1, "create leaf.vhd 1M"},
	{0, "snapshot leaf.vhd new2.vhd"}, {1, "snapshot leaf.vhd base.vhd"},
	{0, "merge --to new3.vhd leaf.vhd"}, {1, "merge base.vhd"},
	{0, "compact leaf.vhd"}, {1, "compact fixed.vhd"},
	{0, "resize leaf.vhd 8M"}, {1, "resize leaf.vhd 1M"},
	{0, "rebase -b base.vhd leaf.vhd"}, {1, "rebase -b none.vhd leaf.vhd"}, {0, "rebase --tree tree"}, {1, "rebase --tree ."},
	{0, "rename fixed.vhd moved.vhd"}, {1, "rename none.vhd x.vhd"},
	{0, "export leaf.vhd leaf.raw"}, {1, "export leaf.vhd base.vhd"},
	{0, "import leaf.raw new4.vhd"}, {1, "import none.raw x.vhd"},
	{0, "convert leaf.vhd x.raw"}, {1, "convert none.vhd x.raw"},
	{0, "compare base.vhd base.vhd"}, {1, "compare -s base.vhd leaf.vhd"}, {2, "compare base.vhd none.vhd"},
	{0, "diff leaf.vhd"}, {1, "diff base.vhd"},
	{0, "measure leaf.vhd"}, {1, "measure none.vhd"},
	{0, "map leaf.vhd"}, {1, "map bad.vhd"},
	{0, "report -q ."}, {1, "report none"},
	{0, "check sound.vhd"}, {1, "check none.vhd"}, {2, "check bad.vhd"}, {3, "check leaky.vhd"}, {63, "check unknown.vhd"},
	{0, "repair lost.vhd"}, {1, "repair none.vhd"}, {2, "repair bad.vhd"}, {3, "repair gaps.vhd"}, {63, "repair unknown.vhd"},
	{0, "demo"}, {1, "demo base.vhd"},
	{0, "completion bash"},
	{0, "man pages"}, {1, "man base.vhd"},
}

// putExits writes what exits work on to a new current directory.
func putExits(t *testing.T) {
	t.Helper()
	enter(t)
	putRepairable(t)
	testChain(t)
	vhdtest.NewFixed(1<<20, nil).WriteFile(t, "fixed.vhd")
	vhdtest.NewChild(soundDisk(), "gone.vhd").WriteFile(t, "orphan.vhd")
	mkdir(t, "tree")
}

func TestEveryCodeOfTheDocumentIsOneThatTheVerbEndsWith(t *testing.T) {
	rows := exitRows(t)
	ended := map[string]map[int]bool{}
	for verb := range rows {
		ended[verb] = map[int]bool{}
	}
	putExits(t)
	for _, e := range exits {
		words := strings.Fields(e.line)
		a := command(t, words...)
		require.Equal(t, e.code, a.code, "%s: %s", e.line, a.stderr)
		ended[words[0]][e.code] = true
	}
	var stderr bytes.Buffer
	ended["completion"][run([]string{"completion", "bash"}, strings.NewReader(""), fullFile{}, &stderr)] = true
	for verb, row := range rows {
		ended[verb][command(t, verb, "--nonsense").code] = true
		require.ElementsMatch(t, slices.Collect(maps.Keys(row)), slices.Collect(maps.Keys(ended[verb])), verb)
	}
}
