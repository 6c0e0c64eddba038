package vhd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
)

// What the tests of calls_test.go count is what the package asks of an FS. The
// kernel sees also what that costs with real files, and the locks.

// systemCallsPerImage is the most that opening an image of a chain may take,
// where locks are several.
const systemCallsPerImage = 12

// TestCountedOpenHelper is no test: it is the process whose system calls the one
// below counts, between two questions for names that nobody has.
func TestCountedOpenHelper(t *testing.T) {
	leaf := os.Getenv("VHD_TEST_COUNTED")
	if leaf == "" {
		t.Skip("runs in a process of its own, started by another test")
	}
	_, _ = os.Lstat("mark/begin")
	disk, err := vhd.Open(leaf, nil)
	_, _ = os.Lstat("mark/end")
	require.NoError(t, err)
	require.NoError(t, disk.Close())
}

func TestOpeningAChainOf64TakesFewSystemCalls(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has nothing to find here")
	}
	needAgain(t)
	needStrace(t)
	const nimages = 65
	tr := osTree(t)
	leaf := windowsChain(t, tr, nimages)
	calls := countSystemCalls(t, again(t, "TestCountedOpenHelper", "VHD_TEST_COUNTED="+tr.name(leaf), "GODEBUG=updatemaxprocs=0"))
	total := 0
	for _, n := range calls {
		total += n
	}
	t.Logf("%.1f an image: %v", float64(total)/nimages, calls)
	require.GreaterOrEqual(t, calls["openat"], nimages, "or nothing was seen")
	require.LessOrEqual(t, total, nimages*systemCallsPerImage, "%v", calls)
}

// countSystemCalls runs a process and counts what it asks of the kernel between
// its marks that has to do with files, by name. That Go tries to wait for every
// file that it opens is not of our doing.
func countSystemCalls(t testing.TB, cmd *exec.Cmd) map[string]int {
	t.Helper()
	calls := map[string]int{}
	for _, line := range traceBetweenMarks(t, cmd) {
		m := tracedLine.FindStringSubmatch(line)
		if m != nil && !strings.HasPrefix(m[1], "epoll") {
			calls[m[1]]++
		}
	}
	return calls
}

// traceBetweenMarks runs a process and returns what strace says that it asks of the
// kernel, about files, between two questions for names that nobody has.
func traceBetweenMarks(t testing.TB, cmd *exec.Cmd) []string {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	traced := exec.Command("strace", append([]string{"-f", "-qq", "-e", "trace=%file,%desc", "-o", trace}, cmd.Args...)...)
	traced.Env = cmd.Env
	out, err := traced.CombinedOutput()
	require.NoError(t, err, "%s", out)
	raw, err := os.ReadFile(trace)
	require.NoError(t, err)
	_, within, found := strings.Cut(string(raw), "mark/begin")
	require.True(t, found)
	within, _, found = strings.Cut(within, "mark/end")
	require.True(t, found)
	return wholeLines(within)
}
