//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd/internal/vhdtest"
)

// stuck is the command as a process of its own, which can't go on: what it writes at one go is more
// than a pipe takes, and nobody reads it.
type stuck struct {
	*exec.Cmd
	stdout io.ReadCloser
	says   *bufio.Scanner // on stderr
}

// getStuck starts the command and waits until it is at work.
func getStuck(t *testing.T, args ...string) *stuck {
	t.Helper()
	s := &stuck{Cmd: exec.Command("vhd", args...)}
	var err error
	s.stdout, err = s.StdoutPipe()
	require.NoError(t, err)
	stderr, err := s.StderrPipe()
	require.NoError(t, err)
	s.says = bufio.NewScanner(stderr)
	require.NoError(t, s.Start())
	t.Cleanup(func() { _ = s.Process.Kill() }) // nothing, if it has ended
	_, err = io.ReadFull(s.stdout, make([]byte, 1))
	require.NoError(t, err)
	return s
}

// requireSays requires the next lines on stderr.
func (s *stuck) requireSays(t *testing.T, lines ...string) {
	t.Helper()
	for _, line := range lines {
		require.True(t, s.says.Scan(), "it says nothing more, instead of %s", line)
		require.Equal(t, line, s.says.Text())
	}
}

// requireEnded requires that it says nothing more, and that it was interrupted.
func (s *stuck) requireEnded(t *testing.T) {
	t.Helper()
	require.False(t, s.says.Scan(), s.says.Text())
	_ = s.Wait() // the code says more
	require.Equal(t, exitInterrupted, s.ProcessState.ExitCode(), s.ProcessState)
}

const stopping = "vhd: stopping at a safe place; Ctrl-C again ends it at once"

func TestASecondInterruptEndsWhatDoesNotStop(t *testing.T) {
	enter(t)
	for i := range 400 {
		vhdtest.NewDynamic(testSize).WriteFile(t, fmt.Sprintf("%d.vhd", i))
	}
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		s := getStuck(t, "ls", "--output", "json")
		require.NoError(t, s.Process.Signal(sig))
		s.requireSays(t, stopping)
		require.NoError(t, s.Process.Signal(sig))
		s.requireSays(t, "vhd: ended at once: nothing was changed", "hint: to take it up again: vhd ls --output json")
		s.requireEnded(t)
	}
}

func TestWorkThatIsLateToStopIsWaitedFor(t *testing.T) {
	said, stderr := io.Pipe()
	var line string
	var killErr, readErr error
	code := interruptible(nil, stderr, func(ctx context.Context) int {
		killErr = syscall.Kill(os.Getpid(), syscall.SIGINT)
		<-ctx.Done()
		line, readErr = bufio.NewReader(said).ReadString('\n')
		return 7
	})
	require.NoError(t, errors.Join(killErr, readErr))
	require.Equal(t, stopping+"\n", line)
	require.Equal(t, 7, code)
}

// What is left by each verb, the table of the command says; here is what it makes of it.
func TestWhatIsLeftByAVerbThatWasEndedAtOnce(t *testing.T) {
	for _, c := range []struct {
		args   []string
		stands string
		next   string
	}{
		{[]string{"merge", "alice 2.vhd"}, "the disk reads as before, but not the images below it, and merging again does the rest", "to take it up again: vhd merge 'alice 2.vhd'"},
		{[]string{"commit", "x.vhd"}, "the disk reads as before, but not the images below it, and merging again does the rest", "to take it up again: vhd commit x.vhd"},
		{[]string{"--root", ".", "compact", "x.vhd"}, "the disk reads as before, and compacting again does the rest", "to take it up again: vhd --root . compact x.vhd"},
		{[]string{"merge", "--dry-run", "x.vhd"}, "nothing was changed", "to take it up again: vhd merge --dry-run x.vhd"},
		{[]string{"resize", "x.vhd", "+1G"}, "the disk has its old size still, or the new one", "vhd info tells which; if it is the old one: vhd resize x.vhd +1G"},
		{[]string{"check", "x.vhd"}, "nothing was changed", "to take it up again: vhd check x.vhd"},
		{[]string{"fly"}, "nothing was changed", "to take it up again: vhd fly"},
	} {
		require.Equal(t, []string{"vhd: ended at once: " + c.stands, "hint: " + c.next}, leftBy(c.args), c.args)
	}
}

// Verbs that change something, or make something, are those that have a dry run, and a few more.
func TestWhatIsLeftIsKnownOfAllVerbsThatChangeSomething(t *testing.T) {
	for _, cmd := range newCommand().Commands() {
		if cmd.Flag("dry-run") != nil {
			require.Contains(t, leftBehind, cmd.Name())
		}
	}
	for verb := range leftBehind {
		cmd, _, err := newCommand().Find([]string{verb})
		require.NoError(t, err)
		require.Equal(t, verb, cmd.Name())
	}
}
