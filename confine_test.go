package vhd_test

import (
	"errors"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
	"github.com/stretchr/testify/require"
)

// hostilePath is a path that an image stores to get at what is outside. {top} is the directory that holds the
// root and what is outside of it, in the form of the path: with slashes, or with backslashes.
type hostilePath struct {
	name, stored string
	url          bool // for MacX alone
	refused      bool // nothing at all is asked of the FS
}

// The secret has the right identifier: whoever gets to it opens it.
var hostilePaths = []hostilePath{
	{name: "above", stored: `..\secret.vhd`},
	{name: "above, with slashes", stored: `../secret.vhd`},
	{name: "above, mixed", stored: `.\../secret.vhd`},
	{name: "two above", stored: `..\..\secret.vhd`},
	{name: "three above", stored: `..\..\..\secret.vhd`},
	{name: "far above", stored: strings.Repeat(`..\`, 200) + `secret.vhd`},
	{name: "down and up", stored: `.\e\..\..\..\secret.vhd`},
	{name: "down a directory that isn't there and up", stored: `gone\..\..\secret.vhd`},
	{name: "down a file and up", stored: `child.vhd\..\..\secret.vhd`},
	{name: "beside the root, beginning alike", stored: `..\..\root-2\secret.vhd`},
	{name: "doubled separators", stored: `..\\..\\\\secret.vhd`},
	{name: "dots between", stored: `.\.\..\.\..\.\secret.vhd`},
	{name: "another directory", stored: `..\..\outside\secret.vhd`},
	{name: "absolute", stored: `{top}\secret.vhd`},
	{name: "absolute with slashes", stored: `{top}/secret.vhd`},
	{name: "absolute, through the root", stored: `{top}\root\d\..\..\secret.vhd`},
	{name: "absolute, through the root and a directory that isn't there", stored: `{top}\root\d\gone\..\..\..\secret.vhd`},
	{name: "absolute, above the top", stored: `\..\..\..{top}\secret.vhd`},
	{name: "absolute behind a drive", stored: `C:{top}\secret.vhd`},
	{name: "absolute behind dots", stored: `{top}\.\root\..\secret.vhd`},
	{name: "of the system", stored: `/etc/passwd`},
	{name: "device of the system", stored: `/dev/zero`},
	{name: "descriptor of the process", stored: `/proc/self/fd/0`},
	{name: "descriptor of the process, above", stored: strings.Repeat(`../`, 40) + `dev/stdin`},
	{name: "server", stored: `\\server\share\secret.vhd`},
	{name: "server with slashes", stored: `//server/share/secret.vhd`},
	{name: "server, mixed", stored: `\/server\share\secret.vhd`},
	{name: "server behind three", stored: `\\\server\share\secret.vhd`},
	{name: "server that is the top", stored: `\\{top}\secret.vhd`},
	{name: "server and up", stored: `\\server\share\..\..\..\..\secret.vhd`},
	{name: "long form", stored: `\\?\C:\secret.vhd`},
	{name: "long form of a server", stored: `\\?\UNC\server\share\secret.vhd`},
	{name: "long form and up", stored: `\\?\C:\..\..\..\secret.vhd`},
	{name: "volume", stored: `\\?\Volume{00000000-0000-0000-0000-000000000000}\secret.vhd`},
	{name: "device form", stored: `\\.\C:\secret.vhd`},
	{name: "pipe", stored: `\\.\pipe\secret.vhd`},
	{name: "physical drive", stored: `\\.\PhysicalDrive0`},
	{name: "object form", stored: `\??\C:\secret.vhd`},
	{name: "object form with slashes", stored: `/??/C:/secret.vhd`},
	{name: "drive-relative", stored: `C:secret.vhd`, refused: true},
	{name: "drive-relative and up", stored: `C:..\..\secret.vhd`, refused: true},
	{name: "drive alone", stored: `C:`, refused: true},
	{name: "stream", stored: `.\base.vhd:secret`, refused: true},
	{name: "stream with a type", stored: `base.vhd::$DATA`, refused: true},
	{name: "stream of a directory", stored: `.:s\secret.vhd`, refused: true},
	{name: "stream behind a drive", stored: `C:\d\base.vhd:secret`, refused: true},
	{name: "CON", stored: `CON`, refused: true},
	{name: "NUL with an extension", stored: `.\NUL.vhd`, refused: true},
	{name: "COM1 in another directory", stored: `..\..\COM1`, refused: true},
	{name: "LPT1 as a directory", stored: `lpt1\secret.vhd`, refused: true},
	{name: "AUX with a space", stored: `AUX .vhd`, refused: true},
	{name: "directory itself", stored: `.`, refused: true},
	{name: "directory above", stored: `..`, refused: true},
	{name: "directory above, with an end", stored: `..\`, refused: true},
	{name: "the top", stored: `\`, refused: true},
	{name: "long", stored: strings.Repeat("x", 30_000) + ".vhd"},
	{name: "long and up", stored: strings.Repeat("x", 20_000) + `\..\..\secret.vhd`},
	{name: "10,000 components", stored: strings.Repeat(`x\`, 10_000) + "secret.vhd", refused: true},
	{name: "10,000 above", stored: strings.Repeat(`..\`, 10_000) + "secret.vhd", refused: true},
	{name: "line break", stored: "..\\\n..\\secret.vhd"},
	{name: "spaces behind the dots", stored: `.. \.. \secret.vhd`},
	{name: "more dots", stored: `...\....\secret.vhd`},
	{name: "full-width dots and slash", stored: "．．／secret.vhd"},
	{name: "percent-coded outside of a URL", stored: `%2e%2e%2fsecret.vhd`},
	{name: "URL outside of MacX", stored: `file:///secret.vhd`, refused: true},

	{name: "URL", stored: `file://localhost{top}/secret.vhd`, url: true},
	{name: "URL without a host", stored: `file://{top}/secret.vhd`, url: true},
	{name: "URL without slashes", stored: `{top}/secret.vhd`, url: true},
	{name: "URL of another host", stored: `file://host/secret.vhd`, url: true},
	{name: "URL of a host with a port", stored: `file://host:445/secret.vhd`, url: true},
	{name: "URL of a user", stored: `file://me@localhost{top}/secret.vhd`, url: true},
	{name: "URL of no host and three slashes", stored: `file:////server/share/secret.vhd`, url: true},
	{name: "URL above", stored: `file://localhost/../../secret.vhd`, url: true},
	{name: "relative URL above", stored: `file://../../secret.vhd`, url: true},
	{name: "relative URL, coded", stored: `file://./%2e%2e/%2e%2e/secret.vhd`, url: true},
	{name: "URL with coded dots", stored: `file://localhost{top}/root/d/%2e%2e/%2e%2e/secret.vhd`, url: true},
	{name: "URL with coded slashes", stored: `file://localhost{top}/root%2F..%2fsecret.vhd`, url: true},
	{name: "URL with coded backslashes", stored: `file://localhost{top}/root%5c..%5Csecret.vhd`, url: true},
	{name: "URL with a coded server", stored: `file:///%5c%5cserver%5cshare%5csecret.vhd`, url: true},
	{name: "URL coded twice", stored: `file://localhost/%252e%252e%252fsecret.vhd`, url: true},
	{name: "URL with a coded zero", stored: `file://localhost/secret.vhd%00.x`, url: true, refused: true},
	{name: "URL with a coded stream", stored: `file://localhost/base.vhd%3asecret`, url: true, refused: true},
	{name: "URL with a coded device", stored: `file://localhost/%4e%55%4c`, url: true, refused: true},
	{name: "URL with a broken code", stored: `file://localhost/%zz/%2e%2e/%2e%2e/secret.vhd`, url: true},
	{name: "URL of the web", stored: `http://localhost/secret.vhd`, url: true, refused: true},
	{name: "URL without a path", stored: `file://localhost`, url: true, refused: true},
	{name: "URL with a query", stored: `file://localhost/gone?/../../../secret.vhd`, url: true},
	{name: "URL with a drive", stored: `file:///C:{top}/secret.vhd`, url: true},
	{name: "URL relative to a drive", stored: `file:///C:../../secret.vhd`, url: true, refused: true},
	{name: "URL with a coded host", stored: `file://%2e%2e/%2e%2e/secret.vhd`, url: true},
	{name: "URL of dots alone", stored: `file://..`, url: true, refused: true},
	{name: "opaque URL", stored: `file:../../secret.vhd`, url: true},
	{name: "opaque URL of a server", stored: `file:\\server\share\secret.vhd`, url: true},
	{name: "no URL at all", stored: "file://\x7f\x01", url: true},
}

// children are images that store the path, in each field that has room for it.
func (h hostilePath) children(tr *tree) map[string]*vhdtest.Image {
	top := path.Clean("/" + strings.ReplaceAll(tr.name("."), `\`, "/"))
	if top == "/" {
		top = ""
	}
	if strings.Contains(h.stored, `{top}\`) || strings.Contains(h.stored, `\{top}`) {
		top = strings.ReplaceAll(top, "/", `\`)
	}
	stored := strings.ReplaceAll(h.stored, "{top}", top)
	if h.url {
		return map[string]*vhdtest.Image{"MacX": childWith(vhdtest.MacXRaw(stored))}
	}
	children := map[string]*vhdtest.Image{"W2ru": childWith(vhdtest.W2ru(stored)), "Wi2k": childWith(vhdtest.Wi2k(stored))}
	if len(stored) < 250 {
		children["header"] = childNaming(stored)
	}
	if len(stored)*2 <= 64<<10 {
		children["W2ku"] = childWith(vhdtest.W2ku(stored))
	}
	return children
}

// putSecrets puts disks with the parent's identifier wherever the paths may
// lead, outside of root.
func putSecrets(t testing.TB, tr *tree) {
	t.Helper()
	for _, name := range []string{"secret.vhd", "outside/secret.vhd", "root-2/secret.vhd"} {
		tr.put(t, name, stampedParent(stale))
	}
}

// withinRoot is an FS that lets nobody ask for anything outside of root.
func withinRoot(t testing.TB, inner vhd.FS, root string) *vhdtest.RecordFS {
	t.Helper()
	rec := vhdtest.NewRecordFS(inner)
	rec.Forbid = func(op vhdtest.Op) error {
		name := op.Name
		if clean := path.Clean(name); clean != name && clean != "/"+name || name != root && !strings.HasPrefix(name, root+"/") {
			t.Errorf("outside of %s was asked: %v", root, op)
			return errors.New("forbidden")
		}
		return nil
	}
	return rec
}

func TestNoStoredPathLeadsOutside(t *testing.T) {
	// Each way opens root/d/child.vhd. It returns the calls that it saw, if it did.
	ways := []struct {
		name string
		tree func(t testing.TB) *tree
		open func(t testing.TB, tr *tree) ([]vhdtest.Op, error)
		d    string // the image's directory
	}{
		{"files", osTree, func(_ testing.TB, tr *tree) ([]vhdtest.Op, error) {
			_, err := vhd.Open(tr.name("root/d/child.vhd"), nil)
			return nil, err
		}, ""},
		{"files below a root", osTree, func(_ testing.TB, tr *tree) ([]vhdtest.Op, error) {
			_, err := vhd.Open(tr.name("root/d/child.vhd"), &vhd.Options{Root: tr.name("root")})
			return nil, err
		}, ""},
		{"own FS", func(testing.TB) *tree { return memTree("") }, func(t testing.TB, tr *tree) ([]vhdtest.Op, error) {
			t.Helper()
			rec := withinRoot(t, tr.fs, "root/d")
			_, err := vhd.Open("root/d/child.vhd", &vhd.Options{FS: rec})
			return rec.Ops(), err
		}, "root/d"},
		{"own FS with slashes, below a root", func(testing.TB) *tree { return memTree("/") }, func(t testing.TB, tr *tree) ([]vhdtest.Op, error) {
			t.Helper()
			rec := withinRoot(t, tr.fs, "/root")
			_, err := vhd.Open("/root/d/child.vhd", &vhd.Options{FS: rec, Root: "/root"})
			return rec.Ops(), err
		}, "/root/d"},
		{"os.Root", osTree, func(t testing.TB, tr *tree) ([]vhdtest.Op, error) {
			t.Helper()
			root, err := os.OpenRoot(tr.name("root"))
			require.NoError(t, err)
			defer root.Close()
			rec := withinRoot(t, vhd.RootFS(root), "d")
			_, err = vhd.Open("d/child.vhd", &vhd.Options{FS: rec})
			return rec.Ops(), err
		}, "d"},
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			tr := way.tree(t)
			putSecrets(t, tr)
			for _, h := range hostilePaths {
				for origin, child := range h.children(tr) {
					tr.put(t, "root/d/child.vhd", child)
					ops, err := way.open(t, tr)
					require.Error(t, err, "%s in %s", h.name, origin)
					parentErr := parentError(t, err)
					require.NotEmpty(t, parentErr.Attempts, "%s in %s", h.name, origin)
					outside := errors.Is(err, vhd.ErrOutsideRoot) || errors.Is(err, vhd.ErrParentNotFound) || errors.Is(err, vhd.ErrChainLoop)
					require.True(t, outside, "%s in %s: %v", h.name, origin, err)
					for _, op := range ops {
						ofChild := op.Name == way.d+"/child.vhd"
						require.True(t, ofChild || !h.refused, "%s in %s: %v", h.name, origin, op)
						require.False(t, op.Mutates())
					}
				}
			}
		})
	}
}

// Whoever lets a program open images anywhere still has no path that names a
// device or a stream followed.
func TestWithoutConfinementDevicesAndStreamsAreRefusedAllTheSame(t *testing.T) {
	tr := memTree("")
	putSecrets(t, tr)
	for _, h := range hostilePaths {
		for origin, child := range h.children(tr) {
			if !h.refused {
				continue
			}
			tr.put(t, "root/d/child.vhd", child)
			rec := vhdtest.NewRecordFS(tr.fs)
			_, err := vhd.Open("root/d/child.vhd", &vhd.Options{FS: rec, Root: "/"})
			require.NotEmpty(t, parentError(t, err).Child)
			require.Equal(t, 1, rec.Count(vhdtest.OpOpen), "%s in %s", h.name, origin)
			require.Zero(t, rec.Count(vhdtest.OpReadDir), "%s in %s", h.name, origin)
		}
	}
}

func TestNoSearchFollowsAStoredPathOutside(t *testing.T) {
	for _, h := range hostilePaths {
		tr := memTree("")
		putSecrets(t, tr)
		tr.mkdir(t, "root/pool")
		for origin, child := range h.children(tr) {
			tr.put(t, "root/d/child.vhd", child)
			rec := withinRoot(t, tr.fs, "root")
			_, err := vhd.Open("root/d/child.vhd", &vhd.Options{FS: rec, Root: "root", Search: []string{"root/pool"}})
			require.Error(t, err, "%s in %s", h.name, origin)
		}
	}
}

func TestAPathOfAnotherMachineIsAskedForByItsLastPartsAlone(t *testing.T) {
	tr := memTree("")
	tr.put(t, "d/child.vhd", childWith(vhdtest.W2ku(`\\server\share\x\base.vhd`)))
	rec := vhdtest.NewRecordFS(tr.fs)
	_, err := vhd.Open("d/child.vhd", &vhd.Options{FS: rec, Root: "/"})
	require.ErrorIs(t, err, vhd.ErrOutsideRoot)
	for _, op := range rec.Ops() {
		if op.Kind == vhdtest.OpOpen {
			require.True(t, strings.HasPrefix(op.Name, "d/"), "%v", op)
		}
	}
}

// A wrong path costs a bounded number of questions, however it is made.
func TestAStoredPathCostsABoundedNumberOfQuestions(t *testing.T) {
	deep := strings.Repeat(`x\`, 255) + "gone.vhd"
	tr := memTree("")
	child := childWith(vhdtest.W2ru(deep), vhdtest.W2ku(`C:\`+deep), vhdtest.W2ru(deep+"1"), vhdtest.W2ku(`C:\`+deep+"1"),
		vhdtest.W2ru(deep+"2"), vhdtest.W2ku(`C:\`+deep+"2"), vhdtest.W2ru(deep+"3"), vhdtest.W2ku(`C:\`+deep+"3"))
	tr.put(t, "d/child.vhd", child)
	for i := range 30 { // directories with many spellings
		for j := range 30 {
			tr.mkdir(t, "e/"+spelling("xxxxx", i+1)+"/"+spelling("xxxxx", j+1))
		}
	}
	tr.put(t, "e/child.vhd", childWith(vhdtest.W2ru(strings.Repeat(`xxxxx\`, 255)+"gone.vhd")))
	for name, most := range map[string]int{"d/child.vhd": 4*300 + 4*50, "e/child.vhd": 400} {
		rec := vhdtest.NewRecordFS(tr.fs)
		_, err := vhd.Open(name, &vhd.Options{FS: rec})
		require.ErrorIs(t, err, vhd.ErrParentNotFound)
		require.Less(t, rec.Count(), most, name)
	}
}

// spelling is name with capitals where the bits of i are set.
func spelling(name string, i int) string {
	b := []byte(name)
	for at := range b {
		if i&(1<<at) != 0 {
			b[at] -= 'a' - 'A'
		}
	}
	return string(b)
}
