package vhd_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// What the tests of confine_test.go see is what the package asks of an FS. Here
// the kernel is the witness: a process opens the same images in all the ways
// there are to real files, and strace notes what names it was asked for.

// needStrace skips the test where strace can't watch a program, or fails it where
// the programs of others are required.
func needStrace(t testing.TB) {
	t.Helper()
	out, err := exec.Command("strace", "-qq", "-o", os.DevNull, "true").CombinedOutput()
	if err == nil {
		return
	}
	why := fmt.Sprintf("strace can't watch programs here (Debian: apt-get install strace): %v %s", err, bytes.TrimSpace(out))
	require.NotEqual(t, "1", os.Getenv("VHD_REQUIRE_READERS"), why)
	t.Skip(why)
}

// strace runs a process, as again makes it, under strace, and returns the trace.
// All strings are in hexadecimal there, so that none can look like anything else.
func strace(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	args := []string{"-f", "-qq", "-y", "-xx", "-s", "65536", "-e", "trace=%file,%network", "-o", trace}
	traced := exec.Command("strace", append(args, cmd.Args...)...)
	traced.Env = cmd.Env
	out, err := traced.CombinedOutput()
	require.NoError(t, err, "%s", out)
	raw, err := os.ReadFile(trace)
	require.NoError(t, err)
	return string(raw)
}

// straceWays are the ways to an image in real files, root/d/child.vhd.
var straceWays = []struct {
	name string
	root string // outside of which nothing is to be looked at
	open func(tr *tree, below *os.Root) error
}{
	{"files", "root/d", func(tr *tree, _ *os.Root) error {
		_, err := vhd.Open(tr.name("root/d/child.vhd"), nil)
		return err
	}},
	{"files below a root", "root", func(tr *tree, _ *os.Root) error {
		_, err := vhd.Open(tr.name("root/d/child.vhd"), &vhd.Options{Root: tr.name("root")})
		return err
	}},
	{"os.Root", "root", func(_ *tree, below *os.Root) error {
		_, err := vhd.Open("d/child.vhd", &vhd.Options{FS: vhd.RootFS(below)})
		return err
	}},
}

// linkedOutside are names inside that are symbolic links to the outside.
var linkedOutside = map[string]string{
	"root/d/link.vhd":     "../../secret.vhd",
	"root/d/absolute.vhd": "{top}/secret.vhd",
	"root/d/again.vhd":    "./link.vhd",
	"root/d/dir":          "../../outside",
	"root/d/up":           "../..",
}

// straced are hostilePaths, and those that take real files.
func straced() []hostilePath {
	return append([]hostilePath{
		{name: "link", stored: `.\link.vhd`},
		{name: "absolute link", stored: `.\absolute.vhd`},
		{name: "link to a link", stored: `.\again.vhd`},
		{name: "behind a link", stored: `.\dir\secret.vhd`},
		{name: "behind a link up", stored: `.\up\secret.vhd`},
		{name: "behind a link up, in another case", stored: `.\UP\SECRET.VHD`},
		{name: "up behind a link", stored: `.\dir\..\secret.vhd`},
	}, hostilePaths...)
}

// harmless is what the others are compared with.
const harmless = "harmless"

// straceControls look outside, each in its own way. Whoever doesn't see that sees
// nothing.
var straceControls = []struct {
	name string
	look func(tr *tree, below *os.Root)
}{
	{"open", func(tr *tree, _ *os.Root) { _, _ = os.Open(tr.name("secret.vhd")) }},
	{"look at what isn't there", func(tr *tree, _ *os.Root) { _, _ = os.Lstat(tr.name("gone.vhd")) }},
	{"list a directory above", func(tr *tree, _ *os.Root) { _, _ = os.ReadDir(tr.name(".")) }},
	{"relative name", func(*tree, *os.Root) { _, _ = os.Stat("secret.vhd") }},
	{"name relative to a directory", func(tr *tree, _ *os.Root) {
		dir, _ := os.Open(tr.name("root/d"))
		_ = unix.Fstatat(int(dir.Fd()), "../../secret.vhd", &unix.Stat_t{}, 0)
	}},
	{"link", func(tr *tree, _ *os.Root) { _, _ = os.Stat(tr.name("root/d/link.vhd")) }},
	{"behind a link", func(tr *tree, _ *os.Root) { _, _ = os.Lstat(tr.name("root/d/dir/secret.vhd")) }},
	{"program", func(*tree, *os.Root) { _ = exec.Command("/bin/true").Run() }},
	{"network", func(*tree, *os.Root) { _, _ = net.Dial("unix", "nowhere") }},
	{"the package itself, if it may", func(tr *tree, _ *os.Root) {
		_, _ = vhd.Open(tr.name("root/d/child.vhd"), &vhd.Options{Root: "/"})
	}},
}

// TestStraceHelper is no test: it is the process that the one below watches. It
// begins and ends everything that is to be looked at with a question for a name
// that tells what it is.
func TestStraceHelper(t *testing.T) {
	top := os.Getenv("VHD_TEST_STRACED")
	if top == "" {
		t.Skip("runs in a process of its own, started by another test")
	}
	tr := &tree{top: top + "/"}
	below, err := os.OpenRoot(tr.name("root"))
	require.NoError(t, err)
	defer below.Close()
	mark := func(parts ...string) { _, _ = os.Lstat(tr.name("mark/" + strings.Join(parts, "|"))) }
	for _, control := range straceControls {
		tr.put(t, "root/d/child.vhd", childWith(vhdtest.W2ru(`..\..\secret.vhd`)))
		mark("begin", "control", control.name)
		control.look(tr, below)
		mark("end")
	}
	for i, h := range append([]hostilePath{{name: harmless, stored: `.\gone.vhd`}}, straced()...) {
		if testing.Short() && i%4 != 0 {
			continue
		}
		for origin, child := range h.children(tr) {
			tr.put(t, "root/d/child.vhd", child)
			for _, way := range straceWays {
				mark("begin", way.name, h.name, origin)
				err := way.open(tr, below)
				mark("end")
				require.NotEmpty(t, parentError(t, err).Attempts, "%s in %s", h.name, origin)
			}
		}
	}
}

// tracedCall is one system call that takes a name.
type tracedCall struct {
	name    string
	path    string // absolute; empty: it takes none, and is not to be made at all
	follows bool   // a symbolic link that has the name
	made    string // what the descriptor that it returned stands for
}

func (c tracedCall) String() string { return c.name + " " + c.path }

// tracedCase is what happened between two marks.
type tracedCase struct {
	what  []string // way, name and origin
	calls []tracedCall
}

var (
	tracedLine   = regexp.MustCompile(`^\d+ +(\w+)\((.*)`)
	tracedName   = regexp.MustCompile(`(?:(?:AT_FDCWD|\d+)<((?:\\x[0-9a-f]{2})*)>, )?"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?`)
	tracedResult = regexp.MustCompile(`\) += \d+<((?:\\x[0-9a-f]{2})*)>$`)
)

// parseTrace parses what strace wrote.
func parseTrace(t testing.TB, trace string) []tracedCase {
	t.Helper()
	var cases []tracedCase
	within := false
	for _, line := range wholeLines(trace) {
		call, ok := parseTraced(t, line)
		if !ok {
			continue
		}
		switch _, mark, isMark := strings.Cut(call.path, "/mark/"); {
		case isMark && mark == "end":
			within = false
		case isMark:
			what := strings.Split(mark, "|")
			require.Equal(t, "begin", what[0])
			cases, within = append(cases, tracedCase{what: what[1:]}), true
		case within:
			last := &cases[len(cases)-1]
			last.calls = append(last.calls, call)
		}
	}
	return cases
}

// wholeLines are the lines of a trace, where those of calls that another thread
// came between are put together.
func wholeLines(trace string) []string {
	var lines []string
	begun := map[string]string{} // by thread
	for line := range strings.SplitSeq(trace, "\n") {
		thread, rest, _ := strings.Cut(line, " ")
		if first, ok := strings.CutSuffix(line, "<unfinished ...>"); ok {
			begun[thread] = first
			continue
		}
		if _, last, ok := strings.Cut(rest, " resumed>"); ok && strings.HasPrefix(strings.TrimSpace(rest), "<...") {
			line = begun[thread] + last
		}
		lines = append(lines, line)
	}
	return lines
}

// parseTraced parses one line of a trace. Lines of signals are no calls, nor is
// one whose name is longer than the kernel takes, which looks at nothing then.
func parseTraced(t testing.TB, line string) (c tracedCall, ok bool) {
	t.Helper()
	m := tracedLine.FindStringSubmatch(line)
	if m == nil {
		return c, false
	}
	c.name = m[1]
	if made := tracedResult.FindStringSubmatch(line); made != nil {
		c.made = unquoteHex(t, made[1])
	}
	switch c.name {
	case "openat", "newfstatat", "fstatat64", "statx", "readlinkat", "faccessat", "faccessat2":
	default: // nothing else is of any use to who reads
		return c, true
	}
	name := tracedName.FindStringSubmatch(m[2])
	require.NotNil(t, name, line)
	if name[3] != "" {
		return c, false
	}
	c.path = unquoteHex(t, name[2])
	if !path.IsAbs(c.path) {
		c.path = unquoteHex(t, name[1]) + "/" + c.path
	}
	c.follows = c.name != "readlinkat" && !strings.Contains(m[2], "NOFOLLOW")
	return c, true
}

func unquoteHex(t testing.TB, s string) string {
	t.Helper()
	raw, err := strconv.Unquote(`"` + s + `"`)
	require.NoError(t, err)
	return raw
}

// isOutside says whether the call has to do with anything that is not in the
// directory root.
func (c tracedCall) isOutside(root string) bool {
	if c.path == "" || !isBelow(root, path.Clean(c.path)) || strings.Contains(c.path+"/", "/../") {
		return true
	}
	dir, base := path.Split(path.Clean(c.path))
	real, err := filepath.EvalSymlinks(dir)
	if err == nil {
		dir = real
	}
	if real, err = filepath.EvalSymlinks(path.Join(dir, base)); err == nil && c.follows && !isBelow(root, real) {
		return true
	}
	return !isBelow(root, path.Join(dir, base)) || c.made != "" && !isBelow(root, c.made)
}

func isBelow(root, name string) bool { return name == root || strings.HasPrefix(name, root+"/") }

// outside are the calls that have to do with what is not in the directory root.
func (c tracedCase) outside(root string) []string {
	var outside []string
	for _, call := range c.calls {
		if call.isOutside(root) {
			outside = append(outside, call.String())
		}
	}
	return outside
}

// beyond are those of outside that are not questions for the directories on the
// way to root. Its links are followed, once.
func (c tracedCase) beyond(root string) []string {
	var beyond []string
	for _, call := range c.calls {
		onTheWay := strings.Contains(call.name, "stat") && !call.follows && isBelow(path.Clean(call.path), root)
		if call.isOutside(root) && !onTheWay {
			beyond = append(beyond, call.String())
		}
	}
	return beyond
}

// requireConfined fails unless a case looks at nothing outside but what a harmless
// one of the same way does: the directories on the way to root, in toRoot.
func (c tracedCase) requireConfined(t testing.TB, root string, toRoot *[]string) {
	t.Helper()
	require.NotEmpty(t, c.calls, "%q", c.what)
	if *toRoot == nil {
		require.Equal(t, harmless, c.what[1])
		require.Empty(t, c.beyond(root))
		*toRoot = append([]string{}, c.outside(root)...)
	}
	require.Equal(t, *toRoot, append([]string{}, c.outside(root)...), "%q: outside, no more is looked at than for a harmless path", c.what)
}

func TestTheKernelIsNotAskedForAnythingOutside(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has nothing to find here")
	}
	needAgain(t)
	needStrace(t)
	tr := osTree(t)
	putSecrets(t, tr)
	tr.mkdir(t, "root/d")
	for name, to := range linkedOutside {
		require.NoError(t, os.Symlink(strings.ReplaceAll(to, "{top}", tr.name(".")), tr.name(name)))
	}
	cmd := again(t, "TestStraceHelper", "VHD_TEST_STRACED="+tr.name("."), "GODEBUG=updatemaxprocs=0")
	if testing.Short() {
		cmd.Args = append(cmd.Args, "-test.short")
	}
	controls, opened, calls := 0, map[string]int{}, 0
	toRoot := make([][]string, len(straceWays))
	for _, c := range parseTrace(t, strace(t, cmd)) {
		isControl := c.what[0] == "control"
		for i, way := range straceWays {
			if isControl {
				require.NotEmpty(t, c.beyond(tr.name(way.root)), "%q must be seen in %v", c.what, c.calls)
			} else if way.name == c.what[0] {
				c.requireConfined(t, tr.name(way.root), &toRoot[i])
			}
		}
		if isControl {
			controls++
			continue
		}
		opened[c.what[1]]++
		calls += len(c.calls)
	}
	require.Equal(t, len(straceControls), controls)
	if !testing.Short() {
		require.Len(t, opened, len(straced())+1)
		require.Greater(t, len(opened), 40)
	}
	for name, n := range opened {
		require.Zero(t, n%len(straceWays), name)
	}
	t.Logf("%d paths in %d ways: %d system calls looked at", len(opened), len(straceWays), calls)
}
