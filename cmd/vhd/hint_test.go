package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd/internal/vhdtest"
)

func TestAMissingFile(t *testing.T) {
	enter(t)
	for _, verb := range []string{"info", "map"} {
		require.Equal(t, "vhd: x.vhd: no such file or directory\nhint: vhd ls . shows the images there\n", refuse(t, verb, "x.vhd"))
	}
}

func TestAFileOfAnotherFormatIsToldByItsName(t *testing.T) {
	enter(t)
	const toVHD = "\nhint: qemu-img convert -O vpc -o force_size=on x NEW.vhd makes a VHD of it\n"
	for _, c := range []struct{ start, want string }{
		{"vhdxfile", "a VHDX image, which vhd does not read" + toVHD},
		{"QFI\xfb", "a qcow2 image, which vhd does not read" + toVHD},
		{"KDMV", "a VMDK image, which vhd does not read" + toVHD},
		{"<<< Oracle VM", "a VDI image, which vhd does not read" + toVHD},
		{"PK\x03\x04", "a zip archive, which vhd does not read\nhint: unzip x takes out what is in it\n"},
		{"\x1f\x8b\x08", "a gzip file, which vhd does not read\nhint: gzip -dk x unpacks it\n"},
	} {
		content := make([]byte, 2048)
		copy(content, c.start)
		writeFile(t, "x", content)
		require.Equal(t, "vhd: x: it is "+c.want, refuse(t, "info", "x"))
	}
}

func TestAFileThatIsNoVHD(t *testing.T) {
	enter(t)
	for name, c := range map[string]struct{ start, want string }{
		"cut.vhd": {"conectix", "it starts as a VHD does, and has no sound end: it is damaged, or was cut off"},
		"lost.vhd": {"", "it was a VHD: its dynamic header is there, and both its footers are lost or damaged; " +
			"go back to a copy of it, and change nothing until then"},
		"x y.raw": {"", `if it is the raw content of a disk: vhd import ` + quote("x y.raw") + ` NEW.vhd makes an image of it`},
		"short":   {"conecti", "if it is the raw content of a disk: vhd import short NEW.vhd makes an image of it"},
	} {
		content := make([]byte, 2048)
		copy(content, c.start)
		if name == "lost.vhd" {
			copy(content[512:], "cxsparse")
		}
		if name == "short" {
			content = content[:100]
		}
		writeFile(t, name, content)
		stderr := refuse(t, "info", name)
		require.Regexp(t, `^vhd: `+name+`: footer.* at offset \d+: not a valid VHD: got .*, want .*\n`, stderr)
		require.Contains(t, stderr, "\nhint: "+c.want+"\n")
	}
	require.Equal(t, "vhd: .: it is a directory, and no image\nhint: vhd ls . shows the images in it\n", refuse(t, "info", "."))
}

// hintOfDamage is what is said of a damaged file.
func hintOfDamage(name string) string {
	return "the file is damaged: go back to a copy of it, if there is one, and change nothing until then; vhd check " + name + " tells more"
}

func TestADamagedImage(t *testing.T) {
	enter(t)
	image := testBase().Build(t)
	vhdtest.EditHeader(t, image, func(header []byte) { header[32] = 0xFF })
	writeFile(t, "bad.vhd", image)
	require.Equal(t, "vhd: bad.vhd: dynamic header: block size at offset 544: not a valid VHD: got 4280287232, "+
		"want a power of two from 512 to 268435456\nhint: "+hintOfDamage("bad.vhd")+"\n", refuse(t, "info", "bad.vhd"))
	image = testBase().Build(t)
	vhdtest.Header(t, image)[100]++
	writeFile(t, "bad.vhd", image)
	require.Contains(t, refuse(t, "info", "bad.vhd"), "checksum is wrong")
}

func TestALostParentIsToldWithEveryNameTried(t *testing.T) {
	enter(t)
	base := testBase()
	leaf := vhdtest.NewChild(base, "base.vhd")
	leaf.Locators[1] = vhdtest.W2ku(`C:\Disks\base.vhd`)
	leaf.Locators[2] = vhdtest.W2ku(`\\server\share\base.vhd`)
	writeFile(t, "dir/leaf.vhd", leaf.Build(t))
	want := `vhd: dir/leaf.vhd: parent not found
  dir/base.vhd (W2ru): no such file or directory
  dir/Disks/base.vhd (W2ku): no such file or directory
  \\server\share\base.vhd (W2ku): the path names another machine
  dir/share/base.vhd (W2ku): no such file or directory
  dir/server/share/base.vhd (W2ku): no such file or directory
hint: put the parent there: dir/base.vhd; or tell where it is now: vhd rebase -b PARENT dir/leaf.vhd; or let it be looked for in a folder and those in it: vhd rebase --tree DIR; vhd info dir/leaf.vhd shows its identifier
`
	for _, args := range [][]string{{"map"}, {"info", "--chain"}} {
		require.Equal(t, want, refuse(t, append(args, "dir/leaf.vhd")...))
	}
	require.Equal(t, want, refuse(t, "export", "dir/leaf.vhd", "x.raw"))
	require.Equal(t, want, refuse(t, "create", "-b", "dir/leaf.vhd", "x.vhd"))
}

func TestAParentThatIsThereAndCanNotBeReadIsNamed(t *testing.T) {
	for what, damage := range map[string]func() error{
		"cut off":     func() error { return os.Truncate("base.vhd", 100) },
		"zeros":       func() error { return os.WriteFile("base.vhd", make([]byte, 4096), 0o644) },
		"empty":       func() error { return os.Truncate("base.vhd", 0) },
		"a directory": func() error { return errors.Join(os.Remove("base.vhd"), os.Mkdir("base.vhd", 0o755)) },
	} {
		t.Run(what, func(t *testing.T) {
			enter(t)
			testChain(t)
			require.NoError(t, damage())
			const mends = "put a copy of the parent in its place, and change nothing until then; vhd check base.vhd tells more\n"
			require.Contains(t, refuse(t, "map", "leaf.vhd"), "\nhint: base.vhd is there, and no image that can be read: "+mends)
			checked := command(t, "check", "--chain", "leaf.vhd").stdout
			require.Contains(t, checked, "\nleaf.vhd: 1 error, 1 note: its parent can not be read.\nhint: base.vhd is there, and no image")
			if what != "a directory" {
				require.Contains(t, succeed(t, "ls"), "\nhint: base.vhd: images have it as their parent: "+mends)
			}
		})
	}
}

func TestAnotherDiskInThePlaceOfTheParent(t *testing.T) {
	enter(t)
	testChain(t)
	require.NoError(t, os.Remove("base.vhd"))
	succeed(t, "create", "-s", "4M", "base.vhd")
	stderr := refuse(t, "map", "leaf.vhd")
	require.Regexp(t, `^vhd: leaf.vhd: parent has another identifier
  base.vhd \(W2ru\): parent has another identifier: it is \S+, want \S+
hint: what was found is another disk than the parent, or was made anew: put the original there; vhd info leaf.vhd shows its identifier
$`, stderr)
}

func TestTheRootConfinesParents(t *testing.T) {
	t.Chdir(realDir(t))
	base := testBase()
	leaf := vhdtest.NewChild(base, "base.vhd")
	leaf.Locators[0] = vhdtest.W2ru(`..\bases\base.vhd`)
	leaf.ParentName = ""
	writeFile(t, "bases/base.vhd", base.Build(t))
	writeFile(t, "leaves/leaf.vhd", leaf.Build(t))

	succeed(t, "map", "leaves/leaf.vhd")
	here, err := os.Getwd()
	require.NoError(t, err)
	require.Equal(t, "vhd: leaves/leaf.vhd: parent is outside the root directory\n  "+
		filepath.Join(here, "bases", "base.vhd")+" (W2ru): parent is outside the root directory\n"+
		"hint: if you trust what leaves/leaf.vhd refers to: --root "+here+"\n", refuse(t, "map", "--root", "leaves", "leaves/leaf.vhd"))
	succeed(t, "map", "--root", here, "leaves/leaf.vhd")
	succeed(t, "map", "--root", "bases", "leaves/leaf.vhd")

	require.Equal(t, "vhd: --root none: no such file or directory\nhint: vhd ls . shows the images there\n", refuse(t, "map", "--root", "none", "leaves/leaf.vhd"))
	require.Equal(t, "vhd: --root leaves/leaf.vhd: it is no directory\nhint: name the directory that holds all the parents: --root leaves\n", refuse(t, "map", "--root", "leaves/leaf.vhd", "leaves/leaf.vhd"))
}

// realDir is a new directory without symbolic links in its name.
func realDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	return dir
}

func TestTheCommonDirectory(t *testing.T) {
	for _, c := range []struct{ dir, other, want string }{
		{"/a/b", "/a/c", "/a"}, {"/a/b", "/a/b/c", "/a/b"}, {"/a/b/c", "/a", "/a"}, {"/a", "/b", "/"}, {"/a/b", "/a/..b", "/a"},
	} {
		require.Equal(t, c.want, filepath.ToSlash(commonDir(filepath.FromSlash(c.dir), filepath.FromSlash(c.other))))
	}
}

// hostileNames are what a shell, or vhd, would take for something else.
var hostileNames = []string{
	"$(touch pwned).vhd", "`touch pwned`.vhd", "a;touch pwned", "a|b", "a&b", "a>b", "a<b", "$HOME", "${HOME}", "a\nb", "\n", "a\n", "\ttab",
	"it's", "'", "''", `'"'"'`, `a"b`, `"`, `a\b`, `a\`, `\'`, `\n`, "~", "~root", "*", "?", "[a]", "{a,b}", "a b", " ", " a ", "#a", "a#", "!!",
	"a=b", "=ls", "%s", "100%", "^a", "(a)", "", "-rf", "--root=/", "-", "--", "-a b", "-$(touch pwned)", "-'", "\x1b[31m", "\x7f", "\xff\xfe",
	"caf\u00e9.vhd", "\u202egpj.vhd", "\u00a0", "\u2028", "-\u00e9",
}

func TestAQuotedNameIsOneWordToAShell(t *testing.T) {
	enter(t)
	for _, shell := range []string{"sh", "bash"} {
		name, err := exec.LookPath(shell)
		if err != nil {
			t.Skipf("there is no %s here", shell)
		}
		for _, word := range append(hostileNames, "plain.vhd", "dir/plain-1_2.vhd", "/a/b:c@d+e,f") {
			quoted := quotePOSIX(word)
			require.Equal(t, quoted, printable(quoted), "it is shown as it is typed")
			cmd := exec.Command(name, "-c", "printf '<%s>' "+quoted)
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			require.NoError(t, err, "%q", word)
			require.Empty(t, filesIn(t, "."), "%q did something", word)
			if shell == "bash" || !strings.HasPrefix(quoted, "$") { // which not every sh knows
				require.Equal(t, "<"+word+">", string(out), "quoted: %s", quoted)
			}
		}
	}
}

func TestACommandInAHintIsRightForANameThatCanNotBeShown(t *testing.T) {
	if os.PathSeparator != '/' {
		t.Skip("no file can have such a name")
	}
	enter(t)
	writeFile(t, "a\x1b[31m\n'\xff.raw", make([]byte, 1024))
	require.Contains(t, refuse(t, "info", "a\x1b[31m\n'\xff.raw"), `: vhd import $'a\033[31m\012\047\377.raw' NEW.vhd makes an image of it`)
}

func TestWhatNoQuotingKeepsFromAShellOfWindowsIsNotTyped(t *testing.T) {
	for _, name := range []string{"a$(calc).vhd", "`calc`", "%PATH%", "a\u201d; calc", "\u202egpj.vhd", "\xff", `a"b`} {
		require.Equal(t, noWordForIt, quoteWindows(name))
	}
	require.Equal(t, `"a&b; c'd"`, quoteWindows("a&b; c'd"))
}

func TestAQuotedNameIsAsPlainAsItCanBe(t *testing.T) {
	for _, c := range []struct{ name, posix, windows string }{
		{"dir/leaf-1.vhd", "dir/leaf-1.vhd", "dir/leaf-1.vhd"},
		{"caf\u00e9.vhd", "caf\u00e9.vhd", "caf\u00e9.vhd"},
		{"x y.vhd", "'x y.vhd'", `"x y.vhd"`},
		{"it's.vhd", `'it'\''s.vhd'`, `"it's.vhd"`},
		{"-rf", "-rf", "-rf"},
		{"-r f", "'-r f'", `"-r f"`},
		{"--root=/a", "--root=/a", `"--root=/a"`},
		{"=ls", "'=ls'", `"=ls"`},
		{"a&b", "'a&b'", `"a&b"`},
		{`C:\Disks\a.vhd`, `'C:\Disks\a.vhd'`, `C:\Disks\a.vhd`},
		{`\\server\my share\`, `'\\server\my share\'`, `"\\server\my share\\"`},
		{"", "''", `""`},
	} {
		require.Equal(t, c.posix, quotePOSIX(c.name))
		require.Equal(t, c.windows, quoteWindows(c.name))
	}
}

func TestAQuotedNameIsNoFlag(t *testing.T) {
	for _, name := range []string{"-rf", "--root=x", "-"} {
		require.Equal(t, filepath.FromSlash("./")+name, strings.Trim(quote(name), `"`))
	}
	require.Equal(t, "vhd compact -q "+quote("a b.vhd"), typed([]string{"compact", "-q", "a b.vhd"}))
}
