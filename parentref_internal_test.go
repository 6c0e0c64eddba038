package vhd

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAStoredPathIsTakenApart(t *testing.T) {
	tests := []struct {
		origin, stored string
		relative       bool
		drive, path    string // path: the components, joined
	}{
		{"W2ru", `.\x.vhd`, true, "", "x.vhd"},
		{"W2ru", `x.vhd`, true, "", "x.vhd"},
		{"W2ru", `..\d\x.vhd`, true, "", "../d/x.vhd"},
		{"W2ru", `..\..\d/e\x.vhd`, true, "", "../../d/e/x.vhd"},
		{"W2ru", `.\a\.\b\..\x.vhd`, true, "", "a/x.vhd"},
		{"W2ru", `a\..\..\x.vhd`, true, "", "../x.vhd"},
		{"W2ru", `.hidden`, true, "", ".hidden"},
		{"W2ru", `...\x.vhd`, true, "", ".../x.vhd"},
		{"W2ku", `C:\d\x.vhd`, false, "C:", "d/x.vhd"},
		{"W2ku", `c:/d/x.vhd`, false, "c:", "d/x.vhd"},
		{"W2ku", `C:\..\..\x.vhd`, false, "C:", "x.vhd"},
		{"W2ku", `\d\x.vhd`, false, "", "d/x.vhd"},
		{"W2ku", `/d/../../x.vhd`, false, "", "x.vhd"},
		{"W2ku", `C:\d\\x.vhd`, false, "C:", "d/x.vhd"},
		{"W2ku", `C:\d\x.vhd\`, false, "C:", "d/x.vhd"},
		{"header", `x y.vhd`, true, "", "x y.vhd"},
		{"header", `a%20b.vhd`, true, "", "a%20b.vhd"},
		{"MacX", `file://localhost/d/a%20b.vhd`, false, "", "d/a b.vhd"},
		{"MacX", `file:///d/a%2520b.vhd`, false, "", "d/a%20b.vhd"},
		{"MacX", `file://localhost/a+b.vhd`, false, "", "a+b.vhd"},
		{"MacX", `file:///%D0%96.vhd`, false, "", "Ж.vhd"},
		{"MacX", `file:///d/%2e%2e/x.vhd`, false, "", "x.vhd"},
		{"MacX", `file:///d%2Fx.vhd`, false, "", "d/x.vhd"},
		{"MacX", `file:x.vhd`, true, "", "x.vhd"},
		{"MacX", `file://../d/x.vhd`, true, "", "../d/x.vhd"},
		{"MacX", `file:///100% of x%2`, false, "", "100% of x%2"},
		{"MacX", `file:///%2e%2e%2f100%`, false, "", "%2e%2e%2f100%"},
		{"MacX", `file:///C:/d/x.vhd`, false, "C:", "d/x.vhd"},
		{"MacX", `file:///C%3A%5Cd%5Cx.vhd`, false, "C:", "d/x.vhd"},
		{"MacX", `file:///d%5cx.vhd`, false, "", "d/x.vhd"},
	}
	for _, tt := range tests {
		t.Run(tt.origin+" "+tt.stored, func(t *testing.T) {
			p := parseStoredPath(tt.origin, tt.stored)
			require.NoError(t, p.err)
			require.False(t, p.foreign)
			require.Equal(t, tt.relative, p.relative)
			require.Equal(t, tt.drive, p.drive)
			require.Equal(t, tt.path, strings.Join(p.components, "/"))
		})
	}
}

func TestAStoredPathOfAnotherMachineIsForeign(t *testing.T) {
	for _, stored := range []string{
		`\\server\share\d\x.vhd`, `//server/share/d/x.vhd`, `\\?\C:\d\x.vhd`, `\\?\UNC\server\share\d\x.vhd`,
		`\\.\C:\d\x.vhd`, `\??\C:\d\x.vhd`, `\/server/share/d/x.vhd`, `/\server\share\d\x.vhd`, `\\\server\share\d\x.vhd`,
	} {
		p := parseStoredPath("W2ku", stored)
		if p.err != nil {
			continue // refusing it is as good
		}
		require.True(t, p.foreign, stored)
		for _, name := range p.candidates("/dir", false) {
			require.True(t, strings.HasPrefix(name, "/dir/"), "%s: %s", stored, name)
		}
		for _, name := range p.candidates("C:/dir", true) {
			require.True(t, strings.HasPrefix(name, "C:/dir/"), "%s: %s", stored, name)
		}
	}
}

func TestAStoredPathThatMustNotBeFollowedIsRefused(t *testing.T) {
	tests := []struct{ name, origin, stored string }{
		{"empty", "W2ru", ``},
		{"dot", "W2ru", `.`},
		{"dot and slash", "W2ru", `.\`},
		{"directory above", "W2ru", `..`},
		{"ends in the directory above", "W2ru", `d\..\..`},
		{"root", "W2ku", `\`},
		{"drive's root", "W2ku", `C:\`},
		{"drive", "W2ku", `C:`},
		{"relative to a drive", "W2ku", `C:x.vhd`},
		{"relative to a drive, above", "W2ku", `C:..\x.vhd`},
		{"stream", "W2ru", `.\x.vhd:s`},
		{"stream with a type", "W2ru", `x.vhd::$DATA`},
		{"stream of a directory", "W2ru", `d:s\x.vhd`},
		{"stream behind a drive", "W2ku", `C:\x.vhd:s`},
		{"drive within a path", "W2ru", `d\C:\x.vhd`},
		{"zero", "header", "x\x00.vhd"},
		{"coded zero", "MacX", "file:///x%00.vhd"},
		{"CON", "W2ru", `CON`},
		{"con with an extension", "W2ru", `con.vhd`},
		{"NUL in a directory", "W2ru", `.\d\NUL`},
		{"device as a directory", "W2ru", `aux\x.vhd`},
		{"PRN with spaces", "W2ru", `PRN  .vhd`},
		{"PRN with a space at its end", "W2ru", `PRN `},
		{"COM1", "W2ku", `C:\COM1`},
		{"lpt9 with extensions", "W2ku", `C:\lpt9.a.b`},
		{"COM with a superscript", "W2ru", `COM².vhd`},
		{"CONIN$", "W2ru", `CONIN$`},
		{"CONOUT$", "W2ru", `conout$`},
		{"too many components", "W2ru", strings.Repeat(`d\`, 10_000) + "x.vhd"},
		{"too many directories above", "W2ru", strings.Repeat(`..\`, 10_000) + "x.vhd"},
		{"no file URL", "MacX", "http://localhost/x.vhd"},
		{"no scheme", "MacX", "/d/x.vhd"},
		{"URL without a path", "MacX", "file://localhost"},
		{"URL relative to a drive", "MacX", "file:///C:x.vhd"},
		{"coded stream", "MacX", "file:///x.vhd%3as"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := parseStoredPath(tt.origin, tt.stored)
			require.Error(t, p.err)
			require.False(t, p.relative)
			require.Empty(t, p.components)
		})
	}
}

func TestNamesThatOnlyLookLikeDevicesAreFiles(t *testing.T) {
	for _, name := range []string{"CONSOLE.vhd", "COM.vhd", "COM10.vhd", "COMA", "LPT", "NULL", "x.NUL", "auxiliary", "COM1x.vhd"} {
		require.NoError(t, parseStoredPath("W2ru", name).err, name)
	}
}

func TestThousandsOfComponentsThatCancelOutAreAPath(t *testing.T) {
	p := parseStoredPath("W2ru", strings.Repeat(`d\..\`, 10_000)+"x.vhd")
	require.NoError(t, p.err)
	require.Equal(t, []string{"x.vhd"}, p.components)
}

func TestCandidatesOfAStoredPath(t *testing.T) {
	tests := []struct {
		stored, dir string
		hasDrives   bool
		want        []string
	}{
		{`.\x`, "/d/e", false, []string{"/d/e/x"}},
		{`..\f\x`, "/d/e", false, []string{"/d/f/x"}},
		{`..\..\..\..\x`, "/d/e", false, []string{"/x"}},
		{`.\x`, "/", false, []string{"/x"}},
		{`.\x`, "C:/d", true, []string{"C:/d/x"}},
		{`..\..\..\x`, "C:/d", true, []string{"C:/x"}},
		{`..\..\..\x`, "//server/share/d", true, []string{"//server/share/x"}},
		{`C:\a\x`, "/d", false, []string{"/d/x", "/d/a/x"}},
		{`\a\x`, "/d", false, []string{"/a/x", "/d/x", "/d/a/x"}},
		{`C:\a\x`, "D:/d", true, []string{"C:/a/x", "D:/d/x", "D:/d/a/x"}},
		{`\a\x`, "D:/d", true, []string{"D:/a/x", "D:/d/x", "D:/d/a/x"}},
		{`\\server\share\x`, "/d", false, []string{"/d/x", "/d/share/x", "/d/server/share/x"}},
		{`\\server\share\x`, "D:/d", true, []string{"D:/d/x", "D:/d/share/x", "D:/d/server/share/x"}},
		{`C:\1\2\3\4\5\x`, "/d", false, []string{"/d/x", "/d/5/x", "/d/4/5/x", "/d/3/4/5/x"}},
	}
	for _, tt := range tests {
		t.Run(tt.stored+" in "+tt.dir, func(t *testing.T) {
			p := parseStoredPath("W2ku", tt.stored)
			require.NoError(t, p.err)
			require.Equal(t, tt.want, p.candidates(tt.dir, tt.hasDrives))
		})
	}
}

func TestANameIsBelowADirectoryOnlyByWholeComponents(t *testing.T) {
	tests := []struct {
		dir, name, want string
		ok              bool
	}{
		{"/d", "/d/x", "x", true},
		{"/d", "/d/e/x", "e/x", true},
		{"/d", "/d", ".", true},
		{"/", "/x", "x", true},
		{"/", "/", ".", true},
		{"C:/", "C:/x", "x", true},
		{"/d", "/dd/x", "", false},
		{"/d", "/x", "", false},
		{"/d", "/", "", false},
		{"/d", "/d/../x", "", false},
		{"/d", "/d/..", "", false},
		{"/d", "/d//x", "", false},
		{"/d", "/d/", "", false},
		{"/d", "/d/./x", "", false},
		{"C:/d", "D:/d/x", "", false},
		{"/d", "//d/x", "", false},
		{"/d", "/d/\xfc/x\xed\xa0\x80", "\xfc/x\xed\xa0\x80", true}, // no UTF-8, and half of a surrogate pair
	}
	for _, tt := range tests {
		t.Run(tt.name+" below "+tt.dir, func(t *testing.T) {
			rest, ok := below(tt.dir, tt.name)
			require.Equal(t, tt.ok, ok)
			if ok {
				require.Equal(t, tt.want, rest)
			}
		})
	}
}

// TestTheRelativePathLeadsBack goes from each directory to each file and back.
func TestTheRelativePathLeadsBack(t *testing.T) {
	names := []string{"/x", "/d/x", "/d/e/x", "/d/e/f/x", "/dd/x", "/e/d/x", "/d/x/x"}
	for _, child := range names {
		dir := joinName(child, []string{".."})
		for _, parent := range names {
			way, ok := relativeTo(dir, parent)
			require.True(t, ok)
			require.True(t, strings.HasPrefix(way, "./") || strings.HasPrefix(way, "../"), way)
			p := parseStoredPath("W2ru", strings.ReplaceAll(way, "/", `\`))
			require.NoError(t, p.err)
			require.Equal(t, []string{parent}, p.candidates(dir, false))
		}
	}
	_, ok := relativeTo("C:/d", "D:/d/x")
	require.False(t, ok, "there is no way to another drive")
	_, ok = relativeTo("//server/share/d", "//server/other/d/x")
	require.False(t, ok, "nor to another share")
	way, ok := relativeTo("//server/share/d", "//server/share/x")
	require.True(t, ok)
	require.Equal(t, "../x", way)
}

func FuzzAStoredPathStaysInItsVolume(f *testing.F) {
	for _, seed := range []string{`.\x`, `..\..\x`, `C:\d\x`, `\\server\share\x`, `\\?\C:\x`, `/??/x`, `file://localhost/%2e%2e/x`, "x:s", "CON"} {
		f.Add("W2ru", seed)
		f.Add("MacX", seed)
	}
	f.Fuzz(func(t *testing.T, origin, stored string) {
		p := parseStoredPath(origin, stored)
		if p.err != nil {

			return
		}
		require.NotEmpty(t, p.components)
		for _, dir := range []string{"/", "/d/e", "D:/d/e", "//server/share/d"} {
			hasDrives := !strings.HasPrefix(dir, "/") || strings.HasPrefix(dir, "//")
			for _, name := range p.candidates(dir, hasDrives) {
				sameVolume := strings.HasPrefix(name, volumeOf(dir)+"/") || p.drive != "" && strings.HasPrefix(name, p.drive+"/")
				require.True(t, sameVolume, "%q in %s: %q", stored, dir, name)
				require.NotContains(t, strings.Split(name, "/"), "..")
				require.NotContains(t, name, "\x00")
				require.NotContains(t, name, `\`)
				require.NotContains(t, strings.TrimPrefix(strings.TrimPrefix(name, p.drive), volumeOf(dir)), ":")
			}
		}
	})
}

func TestNamesOnAShareKeepTheirTwoSlashes(t *testing.T) {
	for name, dir := range map[string]string{
		"/x.vhd":                      "/",
		"/d/e/x.vhd":                  "/d/e",
		"/":                           "/",
		"C:/x.vhd":                    "C:/",
		"C:/d/x.vhd":                  "C:/d",
		"//server/share/x.vhd":        "//server/share/",
		"//server/share/d/x.vhd":      "//server/share/d",
		"//server/share/d/kids/x.vhd": "//server/share/d/kids",
		"//server/share/":             "//server/share/",
	} {
		require.Equal(t, dir, dirOf(name), name)
		require.Equal(t, dirOf(dir) == dir, dir == volumeOf(name)+"/", "only a root is its own directory: %s", name)
	}
	dir := dirOf("//server/share/d/kids/x.vhd")
	p := parseStoredPath("W2ru", `..\base.vhd`)
	require.Equal(t, []string{"//server/share/d/base.vhd"}, p.candidates(dir, true))
	rest, ok := below("//server/share/d", "//server/share/d/base.vhd")
	require.True(t, ok)
	require.Equal(t, "base.vhd", rest)
	way, ok := relativeTo(dir, "//server/share/d/base.vhd")
	require.True(t, ok)
	require.Equal(t, "../base.vhd", way)
}
