package vhd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func readme(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	return string(text)
}

func TestTheReadmesProgramIsTheExample(t *testing.T) {
	example, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllStringSubmatch(readme(t), -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		require.Contains(t, strings.ReplaceAll(string(example), "\n\t", "\n"), "\n"+block[1]+"}\n", "the whole of a function")
	}
}

func TestTheDocumentOfTheCommandNamesVerbsAsTheirHelpDoes(t *testing.T) {
	document, err := os.ReadFile("docs/command.md")
	require.NoError(t, err)
	sources, err := filepath.Glob("cmd/vhd/*.go")
	require.NoError(t, err)
	var want []string
	for _, name := range sources {
		source, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, use := range regexp.MustCompile(`\bUse:\s+"(.+ .+)"`).FindAllSubmatch(source, -1) {
			want = append(want, "vhd "+string(use[1]))
		}
	}
	require.NotEmpty(t, want)
	var got []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(vhd .*?)` \\|").FindAllStringSubmatch(string(document), -1) {
		got = append(got, strings.ReplaceAll(row[1], `\|`, "|"))
	}
	require.ElementsMatch(t, want, got)
}

func TestTheReadmeShowsWhatTheDemoPrints(t *testing.T) {
	if testing.Short() {
		t.Skip("building the command is for long runs")
	}
	_, text, _ := strings.Cut(readme(t), "removes all again:\n\n```\n")
	shown, _, found := strings.Cut(text, "...\n```")
	require.True(t, found)
	printed, err := exec.Command("go", "run", "./cmd/vhd", "demo").CombinedOutput()
	require.NoError(t, err, "%s", printed)
	require.Contains(t, string(printed), shown)
}

func TestTheDocumentsLinkToFilesThatExist(t *testing.T) {
	documents, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	for _, document := range append(documents, "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md") {
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		for _, link := range regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`).FindAllSubmatch(text, -1) {
			if target := string(link[1]); !strings.Contains(target, "://") {
				require.FileExists(t, filepath.Join(filepath.Dir(document), target), document)
			}
		}
	}
}
