package vhd

import (
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzCandidates holds the names that a stored path may mean, on Windows too, to more than
// FuzzAStoredPathStaysInItsVolume: they are few, each is one that the gate can judge, what another machine wrote stays
// below the child's directory, and a relative path leads to where a plain walk does.
func FuzzCandidates(f *testing.F) {
	for _, seed := range []string{
		`.\x`, `..\..\x`, `C:\d\x`, `\d\x`, `\\server\share\x`, `\\?\UNC\server\share\x`, `/??/C:/x`, `a/./b//../x`, "x:s", "NUL .x", `.. \x`,
		`file://localhost/%2e%2e/x`, `file:///C:/x`, `file://host/d/x`, `file://./x`,
	} {
		f.Add(false, seed)
		f.Add(true, seed)
	}
	f.Fuzz(func(t *testing.T, isURL bool, stored string) {
		origin := W2ru.String()
		if isURL {
			origin = MacX.String()
		}
		p := parseStoredPath(origin, stored)
		require.Equal(t, p, parseStoredPath(origin, stored))
		if p.err != nil {
			require.Equal(t, storedPath{err: p.err}, p, "what is refused leads nowhere")
			return
		}
		require.LessOrEqual(t, len(p.components), maxComponents)
		for _, dir := range []string{"/", "/d/e", "D:/", "D:/d/e", "//server/share/", "//server/share/d"} {
			requireCandidates(t, p, dir, strings.HasPrefix(dir, "//") || dir[0] == 'D')
		}
	})
}

func requireCandidates(t testing.TB, p storedPath, dir string, hasDrives bool) {
	t.Helper()
	names := p.candidates(dir, hasDrives)
	require.NotEmpty(t, names)
	require.LessOrEqual(t, len(names), 1+maxTail)
	for _, name := range names {
		rest := strings.TrimPrefix(name, volumeOf(name))
		require.Equal(t, path.Clean(rest), rest, "the gate compares text")
		require.Equal(t, p.base(), path.Base(name))
		for c := range strings.SplitSeq(rest, "/") {
			require.False(t, isDevice(c), "%q", name)
			require.NotContains(t, c, ":")
		}
		isBelow := strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+"/")
		require.True(t, isBelow || !p.foreign, "%q is another machine's and leads to %q", p.components, name)
	}
	if p.relative {
		require.Len(t, names, 1)
		require.Equal(t, volumeOf(dir)+path.Join(dir[len(volumeOf(dir)):], strings.Join(p.components, "/")), names[0])
	}
}
