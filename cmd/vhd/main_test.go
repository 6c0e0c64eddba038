package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd/internal/vhdtest"
)

// answer is what the command said.
type answer struct {
	code           int
	stdout, stderr string
}

// command runs the command with arguments.
func command(t *testing.T, args ...string) answer {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(args, strings.NewReader(""), &stdout, &stderr)
	return answer{code, stdout.String(), stderr.String()}
}

// interrupted runs the command as if Ctrl-C came at once.
func interrupted(t *testing.T, args ...string) answer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	code := runContext(ctx, args, strings.NewReader(""), &stdout, &stderr)
	return answer{code, stdout.String(), stderr.String()}
}

// succeed runs the command, which must say nothing on stderr, and returns what
// it says on stdout.
func succeed(t *testing.T, args ...string) string {
	t.Helper()
	a := command(t, args...)
	require.Equal(t, answer{exitOK, a.stdout, ""}, a)
	return a.stdout
}

// refuse runs the command, which must say nothing on stdout and end with an
// error, and returns what it says on stderr.
func refuse(t *testing.T, args ...string) string {
	t.Helper()
	a := command(t, args...)
	require.Equal(t, answer{exitError, "", a.stderr}, a)
	return a.stderr
}

// decode decodes the JSON that the command wrote.
func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	require.NoError(t, json.Unmarshal([]byte(text), &v), text)
	return v
}

// enter makes a new directory the current one, so that names in messages are
// always the same.
func enter(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
}

// filesIn are the names in a directory.
func filesIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

const (
	testSize  = 4 << 20
	blockSize = 2 << 20
)

// testBase is a dynamic disk of two blocks whose second one is there.
func testBase() *vhdtest.Image {
	base := vhdtest.NewDynamic(testSize, vhdtest.Block{Index: 1, Data: bytes.Repeat([]byte("base"), 4096)})
	base.Time = 0x21000000
	return base
}

// testChain writes base.vhd and its child leaf.vhd, which holds the first two
// sectors of the second block, to the current directory.
func testChain(t *testing.T) (leaf, base *vhdtest.Image) {
	t.Helper()
	base = testBase()
	leaf = vhdtest.NewChild(base, "base.vhd", vhdtest.Block{
		Index: 1, Data: bytes.Repeat([]byte("leaf"), 256), Bitmap: vhdtest.Bitmap(blockSize/512, func(s int) bool { return s < 2 }),
	})
	base.WriteFile(t, "base.vhd")
	leaf.WriteFile(t, "leaf.vhd")
	return leaf, base
}

func writeFile(t *testing.T, name string, content []byte) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	require.NoError(t, os.WriteFile(name, content, 0o644))
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(name)
	require.NoError(t, err)
	return content
}

func TestACommandLineThatCanNotBeUnderstood(t *testing.T) {
	enter(t)
	testChain(t)
	for _, c := range []struct{ line, want string }{
		{"fly", `vhd: there is no command "fly"`},
		{"infoo x.vhd", `vhd: there is no command "infoo"; is it info?`},
		{"copy x.vhd x.raw", `vhd: there is no command "copy"; is it export or import?`},
		{"--nonsense", "vhd: unknown flag: --nonsense"},
		{"info", "vhd info: FILE is missing"},
		{"info a.vhd b.vhd", `vhd info: "b.vhd" is one argument too many`},
		{"info --output xml leaf.vhd", `vhd info: invalid argument "xml" for "--output" flag: want human or json`},
		{"info --nonsense leaf.vhd", "vhd info: unknown flag: --nonsense"},
		{"map", "vhd map: FILE is missing"},
		{"create -s 1G dir/", `vhd create: FILE is "dir/", a directory`},
		{"export leaf.vhd", "vhd export: OUT is missing"},
		{"snapshot leaf.vhd", "vhd snapshot: NEW is missing"},
		{"snapshot --block-size 1000 leaf.vhd new.vhd", "vhd snapshot: the block size is a power of two from 512 to 256M"},
		{"convert leaf.vhd", "vhd export: OUT is missing"},
		{"export -O qcow2 leaf.vhd x.vhd", `vhd export: invalid argument "qcow2" for "-O, --type" flag: want raw, fixed, dynamic or differencing`},
		{"export --base 1 leaf.vhd x.vhd", "vhd export: only a differencing image has a parent: add -O differencing, or leave out --base"},
		{"export -O dynamic --base 1 leaf.vhd x.vhd", "vhd export: only a differencing image has a parent: add -O differencing, or leave out --base"},
		{"export -O differencing --base -1 leaf.vhd x.vhd", "vhd export: --base counts from 1, which is the parent of FILE"},
		{"export -O dynamic --azure leaf.vhd x.vhd", "vhd export: Azure takes fixed images: leave out -O or --azure"},
		{"import in.raw", "vhd import: FILE is missing"},
		{"import -t differencing in.raw x.vhd", "vhd import: raw content becomes a fixed or a dynamic image"},
		{"import --block-size 3M in.raw x.vhd", "vhd import: the block size is a power of two from 512 to 256M"},
		{"demo a b", `vhd demo: "b" is one argument too many`},
		{"create x.vhd", "vhd create: the size is missing, or 0: -s SIZE, such as -s 40G"},
		{"create x.vhd 10G", "vhd create: the size goes before the file: -s 10G x.vhd"},
		{"create -s", "vhd create: flag needs an argument: 's' in -s"},
		{"create -s 10Q x.vhd", `vhd create: invalid argument "10Q" for "-s, --size" flag: ` + errSize.Error()},
		{"create -s 1000 x.vhd", "vhd create: the size of a disk is a multiple of 512 bytes: -s 1024"},
		{"create -s 1G -t thick x.vhd", `vhd create: invalid argument "thick" for "-t, --type" flag: want fixed, dynamic or differencing`},
		{"create -s 1G -t differencing x.vhd", "vhd create: a differencing image needs a parent: -b PARENT"},
		{"create -b base.vhd -t fixed x.vhd", "vhd create: a fixed image has no parent: leave out -t or -b"},
		{"create -s 1G --block-size 1000 x.vhd", "vhd create: the block size is a power of two from 512 to 256M"},
		{"create -s 1G --block-size 2M -t fixed x.vhd", "vhd create: a fixed image has no blocks: leave out --block-size"},
		{"create -s 2041G x.vhd", "vhd create: a dynamic or differencing image has at most 2040G: make it smaller, or with -t fixed"},
	} {
		t.Run(c.line, func(t *testing.T) {
			a := command(t, strings.Fields(c.line)...)
			require.Equal(t, answer{exitUsage, "", a.stderr}, a)
			lines := strings.Split(a.stderr, "\n")
			require.Equal(t, c.want, lines[0])
			require.Len(t, lines, 4, "an error, a line of usage, a hint")
			require.Regexp(t, `^usage: vhd `, lines[1])
			require.Regexp(t, `^hint: vhd .*--help tells more$`, lines[2])
		})
	}
	require.Equal(t, []string{"base.vhd", "leaf.vhd"}, filesIn(t, "."))
}

func TestWithoutAVerbTheHelpIsShownAsAnError(t *testing.T) {
	a := command(t)
	require.Equal(t, answer{exitUsage, "", a.stderr}, a)
	require.Equal(t, succeed(t, "--help"), a.stderr)
	require.Contains(t, a.stderr, "\n  vhd COMMAND\n")
}

func TestEveryVerbHasHelpWithAnExample(t *testing.T) {
	for _, cmd := range newCommand().Commands() {
		verb := cmd.Name()
		help := succeed(t, verb, "--help")
		require.Contains(t, help, "Usage:\n  vhd "+verb+" ")
		require.Contains(t, help, "Examples:\n  vhd "+verb)
		for line := range strings.SplitSeq(strings.Replace(help, cmd.UseLine(), "", 1), "\n") {
			require.LessOrEqual(t, len(line), 100, "a line of the help of %s: %s", verb, line)
		}
	}
}

func TestTheVersionIsTold(t *testing.T) {
	require.Regexp(t, `^vhd \S+ go\S+\n$`, succeed(t, "--version"))
}
