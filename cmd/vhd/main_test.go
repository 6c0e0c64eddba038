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

// requireInterrupted runs the command as if Ctrl-C came at once: it must say how things stand, and
// what is to be typed then.
func requireInterrupted(t *testing.T, stands string, args ...string) {
	t.Helper()
	want := "vhd: " + stands + "\nhint: to take it up again: vhd " + strings.Join(args, " ") + "\n"
	require.Equal(t, answer{exitInterrupted, "", want}, interrupted(t, args...))
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
		{"map --output xml leaf.vhd", `vhd map: invalid argument "xml" for "--output" flag: want human, table or json`},
		{"map --svg x.svg --html x.html leaf.vhd", "vhd map: --output, --svg and --html are different forms of one map: leave out all but one"},
		{"map --output json --svg x.svg leaf.vhd", "vhd map: --output, --svg and --html are different forms of one map: leave out all but one"},
		{"map --svg= leaf.vhd", "vhd map: OUT of --svg is empty"},
		{"ls a b", `vhd ls: "b" is one argument too many`},
		{"ls --svg x.svg --output json", "vhd ls: --svg draws what --output json would tell: leave out one of them"},
		{"ls --svg= .", "vhd ls: OUT is empty"},
		{"list", `vhd: there is no command "list"; is it ls?`},
		{"create -s 1G dir/", `vhd create: FILE is "dir/", a directory`},
		{"export leaf.vhd", "vhd export: OUT is missing"},
		{"snapshot leaf.vhd", "vhd snapshot: NEW is missing"},
		{"snapshot --block-size 1000 leaf.vhd new.vhd", "vhd snapshot: the block size is a power of two from 512 to 256M"},
		{"convert leaf.vhd", "vhd convert: OUT is missing"},
		{"export -O qcow2 leaf.vhd x.vhd", `vhd export: invalid argument "qcow2" for "-O, --type" flag: want raw, fixed, dynamic or differencing, or vpc, which is dynamic`},
		{"export --base 1 leaf.vhd x.vhd", "vhd export: only a differencing image has a parent: add -O differencing, or leave out --base"},
		{"export -O dynamic --base 1 leaf.vhd x.vhd", "vhd export: only a differencing image has a parent: add -O differencing, or leave out --base"},
		{"export -O differencing --base -1 leaf.vhd x.vhd", "vhd export: --base counts from 1, which is the parent of FILE"},
		{"export -O dynamic --azure leaf.vhd x.vhd", "vhd export: Azure takes fixed images: leave out -O or --azure"},
		{"export -O raw --azure leaf.vhd x.vhd", "vhd export: Azure takes fixed images: leave out -O or --azure"},
		{"import in.raw", "vhd import: FILE is missing"},
		{"import -t differencing in.raw x.vhd", "vhd import: raw content becomes a fixed or a dynamic image"},
		{"import --block-size 3M in.raw x.vhd", "vhd import: the block size is a power of two from 512 to 256M"},
		{"demo a b", `vhd demo: "b" is one argument too many`},
		{"create x.vhd", "vhd create: the size is missing, or 0: say it behind FILE, such as 40G"},
		{"create 10G x.vhd", "vhd create: the size goes behind the file"},
		{"create y.vhd x.vhd", `vhd create: SIZE is "x.vhd": ` + errSize.Error()},
		{"create -s 10G x.vhd 10G", "vhd create: the size is told twice, as -s 10737418240 and as 10G: leave out one"},
		{"create x.vhd 10G y.vhd", `vhd create: "y.vhd" is one argument too many`},
		{"create -t dynamic -o subformat=fixed x.vhd 10G", "vhd create: -t dynamic and -o subformat=fixed are two types: leave out one"},
		{"create -o cluster_size=64K x.vhd 10G", `vhd create: invalid argument "cluster_size=64K" for "-o, --options" flag: ` +
			"want subformat=fixed or subformat=dynamic, and not cluster_size=64K"},
		{"create -f qcow2 x.vhd 10G", `vhd create: invalid argument "qcow2" for "-f, --format" flag: ` +
			"want vpc, which is VHD: no other format is read; qemu-img convert does that"},
		{"info -f raw in.raw", `vhd info: invalid argument "raw" for "-f, --format" flag: want vpc, which is VHD; of raw content, vhd import makes an image`},
		{"convert -f qcow2 leaf.vhd x.vhd", `vhd convert: invalid argument "qcow2" for "-f, --format" flag: ` +
			"want vpc, which is VHD, or raw: no other format is read; qemu-img convert does that"},
		{"convert -o subformat=fixed leaf.vhd x.vhd", "vhd convert: raw content has no subformat: add -O vpc, or leave out -o"},
		{"convert -O dynamic -o subformat=fixed leaf.vhd x.vhd", "vhd convert: -O dynamic and -o subformat=fixed are two types: leave out one"},
		{"convert -O fixed -B base.vhd leaf.vhd x.vhd", "vhd convert: -B makes a differencing image: leave out -O fixed, or -B"},
		{"convert --base 1 -B base.vhd leaf.vhd x.vhd", "vhd convert: -B and --base both name the parent: leave out one"},
		{"convert --azure -B base.vhd leaf.vhd x.vhd", "vhd convert: -B makes a differencing image: neither --azure nor -o subformat goes with it"},
		{"convert -f raw in.raw x.raw", "vhd convert: in.raw is raw content, and would stay so: add -O vpc, or -O fixed"},
		{"convert -f raw --azure in.raw x.raw", "vhd convert: in.raw is raw content, and --azure is for images: make one of it first"},
		{"convert -f raw -O differencing in.raw x.vhd", "vhd convert: raw content becomes a fixed or a dynamic image"},
		{"compare leaf.vhd", "vhd compare: B is missing"},
		{"compare leaf.vhd base.vhd x.vhd", `vhd compare: "x.vhd" is one argument too many`},
		{"diff", "vhd diff: FILE is missing"},
		{"diff --to 1 leaf.vhd base.vhd", "vhd diff: --from and --to are images of one chain: leave out base.vhd, or these"},
		{"diff -f raw in.raw", "vhd diff: raw content has no parent: say with which OTHER to compare in.raw"},
		{"diff --from 0 leaf.vhd", "vhd diff: --from and --to are the same image, leaf.vhd"},
		{"measure", "vhd measure: FILE is missing"},
		{"measure --size 1G leaf.vhd", "vhd measure: --size is of a disk that there is not: leave out leaf.vhd, or --size"},
		{"measure --size 1000", "vhd measure: the size of a disk is a multiple of 512 bytes: 1024, or with a unit, such as 40G"},
		{"measure --size 2E", "vhd measure: no disk is that large: --size is at most 1E"},
		{"measure -O differencing --size 1G", "vhd measure: an empty disk has no parent: name a FILE, or leave out -O differencing"},
		{"create -s", "vhd create: flag needs an argument: 's' in -s"},
		{"create -s 10Q x.vhd", `vhd create: invalid argument "10Q" for "-s, --size" flag: ` + errSize.Error()},
		{"create -s 1000 x.vhd", "vhd create: the size of a disk is a multiple of 512 bytes: 1024, or with a unit, such as 40G"},
		{"create -s 1G -t thick x.vhd", `vhd create: invalid argument "thick" for "-t, --type" flag: want fixed, dynamic or differencing`},
		{"create -s 1G -t differencing x.vhd", "vhd create: a differencing image needs a parent: -b PARENT"},
		{"create -b base.vhd -t fixed x.vhd", "vhd create: a fixed image has no parent: leave out -t or -b"},
		{"create -s 1G --block-size 1000 x.vhd", "vhd create: the block size is a power of two from 512 to 256M"},
		{"create -s 1G --block-size 2M -t fixed x.vhd", "vhd create: a fixed image has no blocks: leave out --block-size"},
		{"create -s 2041G x.vhd", "vhd create: a dynamic or differencing image has at most 2040G: make it smaller, or fixed"},
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

func TestTheVersionIsTold(t *testing.T) {
	require.Regexp(t, `^vhd \S+ go\S+\n$`, succeed(t, "--version"))
}
