package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// served is a reader in a process of its own, a program of readers/, which
// carries out what it is told line by line and measures the time itself.
type served struct {
	program  string
	names    []string
	cmd      *exec.Cmd
	requests io.WriteCloser
	answers  *bufio.Reader
	stderr   bytes.Buffer
}

// serve starts a program; placesFile is where it finds the places.
func serve(program, placesFile string, names []string) (*served, error) {
	r := &served{program: program, names: names}
	r.cmd = exec.Command(program, append([]string{"serve", placesFile}, names...)...)
	r.cmd.Stderr = &r.stderr
	var err error
	if r.requests, err = r.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	answers, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	r.answers = bufio.NewReader(answers)
	return r, r.cmd.Start()
}

func (r *served) ask(format string, args ...any) (time.Duration, error) {
	if _, err := fmt.Fprintf(r.requests, format+"\n", args...); err != nil {
		return 0, r.why(err)
	}
	answer, err := r.answers.ReadString('\n')
	if err != nil {
		return 0, r.why(err)
	}
	ns, err := strconv.ParseInt(strings.TrimSpace(answer), 10, 64)
	return time.Duration(ns), err
}

// why is what the program said before it ended.
func (r *served) why(err error) error {
	_ = r.cmd.Wait()
	return fmt.Errorf("%s: %w: %s", filepath.Base(r.program), err, bytes.TrimSpace(r.stderr.Bytes()))
}

func (r *served) whole() (time.Duration, error) { return r.ask("whole") }

func (r *served) random(from, n int) (time.Duration, error) { return r.ask("random %d %d", from, n) }

func (r *served) reopen() (time.Duration, error) { return r.ask("open") }

func (r *served) sum() (string, error) {
	return sumOfOutput(exec.Command(r.program, append([]string{"copy"}, r.names...)...))
}

func (r *served) Close() error {
	err := r.requests.Close()
	_ = r.cmd.Wait() // it has ended by itself, or told why before
	return err
}

// sumOfOutput is the sha256 of what a command writes to standard output.
func sumOfOutput(cmd *exec.Cmd) (string, error) {
	var sum string
	err := withOutput(cmd, func(out io.Reader) (err error) {
		sum, err = sumOf(out)
		return err
	})
	return sum, err
}

// withOutput runs a command with a reader of its standard output.
func withOutput(cmd *exec.Cmd, use func(io.Reader) error) error {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		return err
	}
	err = use(out)
	if ended := cmd.Wait(); ended != nil {
		err = errors.Join(err, fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), ended, bytes.TrimSpace(complaint.Bytes())))
	}
	return err
}

// writePlaces writes places as the programs of readers/ read them.
func writePlaces(name string, places []int64) error {
	var b bytes.Buffer
	if err := binary.Write(&b, binary.NativeEndian, places); err != nil {
		return err
	}
	return os.WriteFile(name, b.Bytes(), 0o644)
}
