package main

import (
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
		require.Equal(t, "vhd: x.vhd: no such file or directory\n", refuse(t, verb, "x.vhd"))
	}
}

func TestAFileThatIsNoVHD(t *testing.T) {
	enter(t)
	for name, c := range map[string]struct{ start, want string }{
		"x.vhdx":  {"vhdxfile", "it is a VHDX image, which vhd does not read; qemu-img convert does"},
		"x.qcow2": {"QFI\xfb", "it is a qcow2 image, which vhd does not read; qemu-img convert does"},
		"x.vmdk":  {"KDMV", "it is a VMDK image, which vhd does not read; qemu-img convert does"},
		"x.vdi":   {"<<< Oracle VM", "it is a VDI image, which vhd does not read; qemu-img convert does"},
		"cut.vhd": {"conectix", "it starts as a VHD does, and has no sound end: it is damaged, or was cut off"},
		"x y.raw": {"", `if it is the raw content of a disk: vhd import ` + quote("x y.raw") + ` NEW.vhd makes an image of it`},
		"short":   {"conecti", "if it is the raw content of a disk: vhd import short NEW.vhd makes an image of it"},
	} {
		content := make([]byte, 2048)
		copy(content, c.start)
		if name == "short" {
			content = content[:100]
		}
		writeFile(t, name, content)
		stderr := refuse(t, "info", name)
		require.Regexp(t, `^vhd: `+name+`: footer.* at offset \d+: not a valid VHD: got .*, want .*\n`, stderr)
		require.Contains(t, stderr, "\nhint: "+c.want+"\n")
	}
	require.Equal(t, "vhd: .: unsupported: it is not a regular file\n", refuse(t, "info", "."))
}

func TestADamagedImage(t *testing.T) {
	enter(t)
	image := testBase().Build(t)
	vhdtest.EditHeader(t, image, func(header []byte) { header[32] = 0xFF })
	writeFile(t, "bad.vhd", image)
	require.Equal(t, "vhd: bad.vhd: dynamic header: block size at offset 544: not a valid VHD: got 4280287232, "+
		"want a power of two from 512 to 268435456\nhint: "+hintDamaged+"\n", refuse(t, "info", "bad.vhd"))
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
hint: put the parent there: dir/base.vhd; or tell where it is now: vhd rebase -b PARENT dir/leaf.vhd; vhd info dir/leaf.vhd shows its identifier
`
	for _, args := range [][]string{{"map"}, {"info", "--chain"}} {
		require.Equal(t, want, refuse(t, append(args, "dir/leaf.vhd")...))
	}
	require.Equal(t, want, refuse(t, "export", "dir/leaf.vhd", "x.raw"))
	require.Equal(t, want, refuse(t, "create", "-b", "dir/leaf.vhd", "x.vhd"))
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

	require.Equal(t, "vhd: --root none: no such file or directory\n", refuse(t, "map", "--root", "none", "leaves/leaf.vhd"))
	require.Equal(t, "vhd: --root leaves/leaf.vhd: it is no directory\n", refuse(t, "map", "--root", "leaves/leaf.vhd", "leaves/leaf.vhd"))
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
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no shell here")
	}
	enter(t)
	for _, name := range append(hostileNames, "plain.vhd", "dir/plain-1_2.vhd", "/a/b:c@d+e,f") {
		want := name
		if strings.HasPrefix(name, "-") {
			want = "./" + name
		}
		cmd := exec.Command(sh, "-c", "printf '<%s>' "+quotePOSIX(name))
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		require.NoError(t, err, "%q", name)
		require.Equal(t, "<"+want+">", string(out), "quoted: %s", quotePOSIX(name))
		require.Empty(t, filesIn(t, "."), "%q did something", name)
	}
}

func TestAQuotedNameIsAsPlainAsItCanBe(t *testing.T) {
	for _, c := range []struct{ name, posix, windows string }{
		{"dir/leaf-1.vhd", "dir/leaf-1.vhd", "dir/leaf-1.vhd"},
		{"caf\u00e9.vhd", "caf\u00e9.vhd", "caf\u00e9.vhd"},
		{"x y.vhd", "'x y.vhd'", `"x y.vhd"`},
		{"it's.vhd", `'it'\''s.vhd'`, `"it's.vhd"`},
		{"-rf", "./-rf", `.\-rf`},
		{"-r f", "'./-r f'", `".\-r f"`},
		{"a&b", "'a&b'", `"a&b"`},
		{`C:\Disks\a.vhd`, `'C:\Disks\a.vhd'`, `C:\Disks\a.vhd`},
		{`\\server\my share\`, `'\\server\my share\'`, `"\\server\my share\\"`},
		{"", "''", `""`},
	} {
		require.Equal(t, c.posix, quotePOSIX(c.name))
		require.Equal(t, c.windows, quoteWindows(c.name))
	}
}
