package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// TestMain lets the documents' commands call this binary as vhd.
func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"vhd": main}) }

// projectDir is where the documents are.
var projectDir = filepath.Join("..", "..")

// In a document with this sentence every heading begins a new directory. The commands of others
// all have one.
const eachAlone = "begins in an empty directory"

// notRun are the lines of documents for a shell that no test runs, and why.
var notRun = map[string]string{
	"go run ./cmd/vhd demo":                           "TestTheReadmeShowsWhatTheDemoPrints does",
	"make test":                                       "would begin itself",
	"go get github.com/go-vhd/vhd":                    "needs the network",
	"go install github.com/go-vhd/vhd/cmd/vhd@latest": "needs the network",
}

// block is what a document has between two fences.
type block struct {
	line     int // of its first line
	section  int // how many headings are above it
	language string
	lines    []string
}

// document is a text, and its blocks.
type document struct {
	name, text string
	blocks     []block
}

// documents are all that name what the command has.
func documents(t *testing.T) []document {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(projectDir, "docs", "*.md"))
	require.NoError(t, err)
	require.NotEmpty(t, names)
	names = append(names, filepath.Join(projectDir, "README.md"), filepath.Join(projectDir, "SECURITY.md"), filepath.Join(projectDir, "CONTRIBUTING.md"))
	var all []document
	for _, name := range names {
		text := string(readFile(t, name))
		all = append(all, document{filepath.Base(name), text, blocksOf(text)})
	}
	return all
}

func blocksOf(text string) (all []block) {
	section, open := 0, false
	for i, line := range strings.Split(text, "\n") {
		language, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && !open:
			open = true
			all = append(all, block{line: i + 2, section: section, language: language})
		case isFence:
			open = false
		case open:
			last := &all[len(all)-1]
			last.lines = append(last.lines, line)
		case strings.HasPrefix(line, "#"):
			section++
		}
	}
	return all
}

// step is a command of a document, and what it is said to print.
type step struct {
	line          int
	command, want string
}

func (b *block) steps() (all []step) {
	for i, line := range b.lines {
		if command, is := strings.CutPrefix(line, "$ "); is {
			all = append(all, step{line: b.line + i, command: command})
		} else if len(all) > 0 {
			all[len(all)-1].want += line + "\n"
		}
	}
	return all
}

// script is a document as a testscript. Every command has to end well: where a document shows one
// that does not, it shows with || or ; what a user does about that.
func (d *document) script() string {
	var script, files strings.Builder
	section := -1
	for _, b := range d.blocks {
		if b.language != "console" {
			continue
		}
		if section < 0 || b.section != section && strings.Contains(d.text, eachAlone) {
			section = b.section
			fmt.Fprintf(&script, "mkdir $WORK/%d\ncd $WORK/%[1]d\n", section)
		}
		for _, s := range b.steps() {
			command := strings.ReplaceAll("exec 2>&1; "+s.command, "'", "''")
			fmt.Fprintf(&script, "# %s, line %d\nexec sh -c '%s'\nprinted $WORK/want/%[2]d\n", d.name, s.line, command)
			fmt.Fprintf(&files, "-- want/%d --\n%s", s.line, s.want)
		}
	}
	return script.String() + files.String()
}

// printed is the command of scripts that compares what the one before has printed.
func printed(ts *testscript.TestScript, _ bool, args []string) {
	want, got := ts.ReadFile(args[0]), ts.ReadFile("stdout")
	if !isAsShown(got, want) {
		ts.Fatalf("it printed:\n%sand the document shows:\n%s", got, want)
	}
}

// isAsShown says whether output is what a document shows, where ... stands for anything in a
// line, and in a line of its own for any lines.
func isAsShown(output, shown string) bool {
	pattern := regexp.QuoteMeta(shown)
	pattern = regexp.MustCompile(`(?m)^\\\.\\\.\\\.\n`).ReplaceAllLiteralString(pattern, `(?:.*\n)*`)
	pattern = strings.ReplaceAll(pattern, `\.\.\.`, `.*`)
	return regexp.MustCompile(`^` + pattern + `$`).MatchString(output)
}

func TestDocumentsShowWhatTheirCommandsPrint(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("there is no shell here")
	}
	dir := t.TempDir()
	var scripts []string
	for _, d := range documents(t) {
		if script := d.script(); script != "" {
			name := filepath.Join(dir, strings.TrimSuffix(d.name, ".md")+".txtar")
			writeFile(t, name, []byte(script))
			scripts = append(scripts, name)
		}
	}
	require.Len(t, scripts, 3, "README, chains and recipes")
	testscript.Run(t, testscript.Params{
		Files: scripts,
		Cmds:  map[string]func(*testscript.TestScript, bool, []string){"printed": printed},
	})
}

func TestWhatADocumentShowsIsComparedWithWhatIsPrinted(t *testing.T) {
	for _, c := range []struct {
		output, shown string
		want          bool
	}{
		{"", "", true},
		{"one\n", "", false},
		{"", "one\n", false},
		{"one\n", "one\n", true},
		{"one\ntwo\n", "one\n", false},
		{"a (b) 5 KiB on disk\n", "a (b) ... on disk\n", true},
		{"a\nb\n", "a...b\n", false},
		{"one\ntwo\nthree\n", "...\n", true},
		{"one\ntwo\nthree\n", "one\n...\nthree\n", true},
		{"one\nthree\n", "one\n...\nthree\n", true},
		{"one\ntwo\n", "one\n...\nthree\n", false},
	} {
		require.Equal(t, c.want, isAsShown(c.output, c.shown), "%q as %q", c.output, c.shown)
	}
}

func TestEveryBlockOfADocumentIsRunOrIsKnownNotToBe(t *testing.T) {
	unused := map[string]bool{}
	for line := range notRun {
		unused[line] = true
	}
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			switch b.language {
			case "console":
				require.True(t, strings.HasPrefix(b.lines[0], "$ "), "%s, line %d", d.name, b.line)
			case "sh":
				for _, line := range b.lines {
					line, _, _ = strings.Cut(line, "  ") // and a comment
					require.Contains(t, notRun, line, "%s, line %d: write it as console, with $ in front, so that it is run", d.name, b.line)
					delete(unused, line)
				}
			default:
				require.Contains(t, []string{"", "go", "json"}, b.language, "%s, line %d", d.name, b.line)
			}
		}
	}
	require.Empty(t, unused, "no document has it any more")
}

// commandLines are all command lines of vhd that a document names, with placeholders or without,
// but for the output that it shows.
func (d *document) commandLines() (all []string) {
	for _, span := range regexp.MustCompile("`vhd ([^`]+)`").FindAllStringSubmatch(d.text, -1) {
		all = append(all, span[1])
	}
	inLine := regexp.MustCompile(`(?:^| |\./cmd/)vhd ([a-z-].*?)(?:  |$)`)
	for _, b := range d.blocks {
		for _, line := range b.lines {
			if b.language == "console" && !strings.HasPrefix(line, "$ ") {
				continue
			}
			for _, found := range inLine.FindAllStringSubmatch(line, -1) {
				all = append(all, found[1])
			}
		}
	}
	return all
}

// mustBeCommandLine requires that a command line names a verb and flags of it, if it names any.
func mustBeCommandLine(t *testing.T, line, document string) {
	t.Helper()
	line, _, _ = strings.Cut(line, ";")
	line, _, _ = strings.Cut(line, " || ")
	words := strings.FieldsFunc(line, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(`[]{}|\`, r) })
	words = slices.DeleteFunc(words, func(word string) bool { return word == "-" })
	root := newCommand()
	root.InitDefaultHelpCmd()
	root.InitDefaultVersionFlag()
	cmd := root
	if verb := words[0]; verb != "COMMAND" && !strings.HasPrefix(verb, "-") {
		var err error
		cmd, _, err = root.Find(words[:1])
		require.NoError(t, err)
		require.True(t, cmd.HasParent(), "%s: vhd %s: there is no such verb", document, line)
	}
	for _, word := range words {
		if strings.HasPrefix(word, "-") {
			require.True(t, hasFlag(cmd, word), "%s: vhd %s: there is no %s", document, line, word)
		}
	}
}

// hasFlag says whether a verb has a flag, or all of those whose letters stand together.
func hasFlag(cmd *cobra.Command, word string) bool {
	cmd.InitDefaultHelpFlag()
	if name, long := strings.CutPrefix(word, "--"); long {
		name, _, _ = strings.Cut(name, "=")
		return cmd.Flag(name) != nil
	}
	for _, letter := range word[1:] {
		if cmd.Flags().ShorthandLookup(string(letter)) == nil {
			return false
		}
	}
	return true
}

func TestDocumentsNameVerbsAndFlagsThatExist(t *testing.T) {
	found := 0
	for _, d := range documents(t) {
		for _, line := range d.commandLines() {
			mustBeCommandLine(t, line, d.name)
			found++
		}
	}
	require.Greater(t, found, 50)
}
