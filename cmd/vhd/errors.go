package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

// usageError is a command line that can't be understood. Without an err the
// help was the answer.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usageErrorf(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// hintedError is an error whose fix only the one who returns it knows.
type hintedError struct {
	error
	hint string
}

func (e hintedError) Unwrap() error { return e.error }

// inFile says which file err is about.
func inFile(name string, err error) error {
	switch e := err.(type) { //nolint:errorlint // only the outermost layer is replaced
	case nil:
		return nil
	case *fs.PathError:
		if err = e.Err; !strings.HasPrefix(e.Op, "open") && !strings.HasSuffix(e.Op, "stat") { // which goes without saying
			err = fmt.Errorf("%s: %w", e.Op, e.Err)
		}
	case *os.LinkError:
		err = fmt.Errorf("%s: %w", e.Op, e.Err)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// orInterrupted is err, or, if the user ended the work on the file called name, how things stand and
// what is left to do.
func orInterrupted(name string, err error, left string) error {
	if !errors.Is(err, context.Canceled) {
		return err
	}
	if all, ok := err.(interface{ Unwrap() []error }); ok { // what went wrong besides is told too
		var told []error
		for _, one := range all.Unwrap() {
			told = append(told, orInterrupted(name, one, left))
		}
		return errors.Join(told...)
	}
	return interruptedError{name, left}
}

// interruptedError is that the user ended the work on a file: how things stand, and what is left to
// do.
type interruptedError struct{ name, left string }

func (e interruptedError) Error() string { return e.name + ": interrupted: " + e.left }

// takeUpAgain stands in front of the command line that goes on with what was interrupted.
const takeUpAgain = "to take it up again: "

// isInterrupted says whether err is one, or holds one.
func isInterrupted(err error) bool {
	_, is := errors.AsType[interruptedError](err)
	return is
}

// exitCodeError ends the command with a code, after all has been said.
type exitCodeError struct{ code int }

func (e exitCodeError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// report tells the user of an error and returns the exit code.
func report(stderr io.Writer, cmd *cobra.Command, err error) int {
	if exit, ok := errors.AsType[exitCodeError](err); ok {
		return exit.code
	}
	if usage, ok := errors.AsType[usageError](err); ok {
		if usage.err != nil {
			reportUsage(stderr, cmd, usage.err)
		}
		return cmp.Or(exitFailed[cmd.Name()], exitUsage)
	}
	reportError(stderr, cmd, err)
	if isInterrupted(err) {
		return exitInterrupted
	}
	return cmp.Or(exitFailed[cmd.Name()], exitError)
}

// exitFailed are the exit codes of verbs whose others speak of images: for all that
// keeps them from that, and a command line that can't be understood too.
var exitFailed = map[string]int{"check": exitNotChecked, "repair": exitNotChecked, "compare": exitNotCompared}

// reportError tells the user what is wrong, and what can be done.
func reportError(stderr io.Writer, cmd *cobra.Command, err error) {
	for _, line := range explain(err) {
		fmt.Fprintln(stderr, printable(line))
	}
	h := hint(cmd.Context(), err, cmd.Flag("root").Value.String())
	if h == "" && isInterrupted(err) {
		h = takeUpAgain + typed(wordsTyped(cmd))
	}
	if h != "" {
		fmt.Fprintln(stderr, printable("hint: "+h))
	}
}

func reportUsage(stderr io.Writer, cmd *cobra.Command, err error) {
	fmt.Fprintf(stderr, "%s: %s\n", cmd.CommandPath(), printable(err.Error()))
	use := cmd.UseLine()
	if !cmd.HasParent() {
		use = "vhd COMMAND"
	}
	help := cmd.CommandPath() + " --help tells more"
	if line := correctedLine(cmd, err); line != "" {
		help = printable(line) + "; " + help
	}
	fmt.Fprintf(stderr, "usage: %s\nhint: %s\n", use, help)
}

// explain is an error in lines: what is wrong, and for a lost parent every name
// under which it was looked for.
func explain(err error) []string {
	if parent, ok := errors.AsType[*vhd.ParentError](err); ok {
		return explainParent(parent)
	}
	var parts []string
	for line := range strings.SplitSeq(err.Error(), "\n") { // of errors.Join
		parts = append(parts, bare(line))
	}
	return []string{"vhd: " + strings.ReplaceAll(strings.Join(parts, "; "), ": vhd: ", ": ")}
}

func explainParent(e *vhd.ParentError) []string {
	lines := []string{fmt.Sprintf("vhd: %s: %s", e.Child, bare(telling(e).Error()))}
	for _, a := range e.Attempts {
		name := a.Name
		if name == "" {
			name = a.Ref.Path
		}
		lines = append(lines, fmt.Sprintf("  %s (%s): %s", name, a.Ref.Origin, reason(a.Err)))
	}
	return lines
}

// telling is the reason of the search's failure, without what stands with the
// attempts, and without advice for programmers.
func telling(e *vhd.ParentError) error {
	switch {
	case errors.Is(e.Err, vhd.ErrParentMismatch):
		return vhd.ErrParentMismatch
	case errors.Is(e.Err, vhd.ErrLocked):
		return errParentLocked
	case errors.Is(e.Err, vhd.ErrOutsideRoot) && firstOutside(e) != "":
		return vhd.ErrOutsideRoot
	case errors.Is(e.Err, vhd.ErrOutsideRoot): // a path that no root would allow
		return vhd.ErrParentNotFound
	}
	return e.Err
}

// errParentLocked is ErrLocked, where the image that is named is not the one.
var errParentLocked = errors.New("its parent is in use")

// firstOutside is the first name that was not tried since it is outside the
// root.
func firstOutside(e *vhd.ParentError) string {
	for _, a := range e.Attempts {
		if a.Name != "" && errors.Is(a.Err, vhd.ErrOutsideRoot) {
			return a.Name
		}
	}
	return ""
}

// reason is an error in the place of one whose name stands in front of it.
func reason(err error) string {
	if path, ok := err.(*fs.PathError); ok { //nolint:errorlint // the name of the outermost layer is left out
		return path.Err.Error()
	}
	// Why a path is refused says more than that it is.
	return strings.TrimPrefix(bare(err.Error()), bare(vhd.ErrOutsideRoot.Error())+": ")
}

// bare is a message without the package's name in front.
func bare(message string) string { return strings.TrimPrefix(message, "vhd: ") }

// printable keeps what stands in a file from controlling the terminal.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// inRaw names the raw file, or the new image, in an error of that file's. An image's errors say by
// themselves what they are about.
func inRaw(name string, err error) error {
	if _, ok := err.(*fs.PathError); ok { //nolint:errorlint // only what the file itself returned
		return inFile(name, err)
	}
	return err
}
