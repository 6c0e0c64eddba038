package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

// The exit codes of check, which are those of qemu-img check.
const (
	exitNotChecked  = 1
	exitCorrupt     = 2
	exitLeaks       = 3
	exitUnsupported = 63
)

// checkFlags are the flags of check.
type checkFlags struct {
	workFlags
	chain bool
}

func checkCommand(a *app) *cobra.Command {
	var flags checkFlags
	cmd := &cobra.Command{
		Use:   "check [--chain] [--output human|json] [-p] [-q] FILE...",
		Short: "Look for damage in images, and for space that is lost",
		Long: `Look for damage in images, and for space that is lost. Nothing is changed, and no
other file is opened.

With --chain, check the parents too, which must be there, and how each image
goes with its parent.

The exit code is 0 if no image is damaged, 2 if one is, 3 if one has nothing but
space that is lost, 1 if one can not be checked, 63 if one is of a kind that vhd
does not know. Of several, the first of 2, 1, 63 and 3 counts.`,
		Example: `  vhd check alice.vhd
  vhd check --chain --output json alice.vhd`,
		Args: someFiles("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return runCheck(cmd, a, &flags, args) },

		DisableFlagsInUseLine: true,
	}
	flags.addOutput(cmd)
	flags.addProgress(cmd)
	cmd.Flags().BoolVar(&flags.chain, "chain", false, "check the parents too")
	return cmd
}

// checked is what became of the check of one image, with the keys of qemu-img
// check and what it found.
type checked struct {
	Filename    string        `json:"filename"`
	Format      string        `json:"format"`
	CheckErrors int           `json:"check-errors"` // 1: it could not be checked
	Corruptions int           `json:"corruptions"`
	Leaks       int           `json:"leaks"`
	Error       string        `json:"error,omitempty"` // why it could not be checked
	Findings    []vhd.Finding `json:"findings"`

	err error
}

func runCheck(cmd *cobra.Command, a *app, flags *checkFlags, names []string) error {
	all := []checked{}
	for _, name := range names {
		c := checkOne(cmd.Context(), a, flags, name, cmd.ErrOrStderr())
		if c.err != nil {
			reportError(cmd.ErrOrStderr(), cmd, c.err)
		}
		if flags.output == outputHuman && c.err == nil { // a line as soon as it is known
			if err := flags.print(cmd.OutOrStdout(), c, c.lines()...); err != nil {
				return err
			}
		}
		all = append(all, c)
		if cmd.Context().Err() != nil {
			break
		}
	}
	if err := flags.print(cmd.OutOrStdout(), all); err != nil {
		return err
	}
	if code := gravest(all); code != exitOK {
		return exitCodeError{code}
	}
	return nil
}

func checkOne(ctx context.Context, a *app, flags *checkFlags, name string, stderr io.Writer) checked {
	progress, end := flags.progressOf(stderr, "check")
	defer end()
	c := newChecked(name)
	report, err := vhd.Check(ctx, name, vhd.CheckOptions{Options: a.options(), Chain: flags.chain, Progress: progress})
	if err != nil {
		c.fail(adviseFormat(name, flags.orInterrupted(name, err, "it was not checked to the end")))
		return c
	}
	c.take(report)
	return c
}

func newChecked(name string) checked {
	return checked{Filename: name, Format: formatName, Findings: []vhd.Finding{}}
}

// fail says that the image could not be checked, and why.
func (c *checked) fail(err error) { c.err, c.CheckErrors, c.Error = err, 1, bare(err.Error()) }

// take takes what was found.
func (c *checked) take(report *vhd.Report) {
	c.Findings = report.Findings
	c.Corruptions, c.Leaks = c.count(vhd.SeverityError), c.count(vhd.SeverityLeak)
}

func (c *checked) count(severity vhd.Severity) int {
	n := 0
	for _, f := range c.Findings {
		if f.Severity == severity {
			n++
		}
	}
	return n
}

// code is the exit code that the image asks for.
func (c *checked) code() int {
	_, isImage := errors.AsType[*vhd.FormatError](c.err)
	switch {
	case c.Corruptions > 0:
		return exitCorrupt
	case isImage && errors.Is(c.err, vhd.ErrUnsupported):
		return exitUnsupported
	case c.err != nil:
		return exitNotChecked
	case c.Leaks > 0:
		return exitLeaks
	}
	return exitOK
}

// gravest is the exit code for all images.
func gravest(all []checked) int {
	for _, code := range []int{exitCorrupt, exitNotChecked, exitUnsupported, exitLeaks} {
		for i := range all {
			if all[i].code() == code {
				return code
			}
		}
	}
	return exitOK
}

// lines are one for each finding, by image, and one that sums up.
func (c *checked) lines() (lines []string) {
	var images []string
	of := map[string][]vhd.Finding{}
	for _, f := range c.Findings {
		if of[f.Image] == nil {
			images = append(images, f.Image)
		}
		of[f.Image] = append(of[f.Image], f)
	}
	for _, image := range images {
		lines = append(lines, image+":")
		for _, f := range of[image] {
			lines = append(lines, fmt.Sprintf("  %-5v  %s at %d: %s [%s]", f.Severity, f.Structure, f.Offset, f.Message, f.Code))
		}
	}
	return append(lines, c.summary())
}

// summary is all in a sentence.
func (c *checked) summary() string {
	var counts []string
	for _, s := range []struct {
		n         int
		one, many string
	}{{c.Corruptions, "error", "errors"}, {c.Leaks, "leak", "leaks"}, {c.count(vhd.SeverityInfo), "note", "notes"}} {
		switch {
		case s.n == 1:
			counts = append(counts, "1 "+s.one)
		case s.n > 1:
			counts = append(counts, fmt.Sprintf("%d %s", s.n, s.many))
		}
	}
	verdict := "no damage was found"
	switch c.code() {
	case exitCorrupt:
		verdict = "it is damaged"
	case exitLeaks:
		verdict = "no damage was found, and space that nothing uses"
	}
	if len(counts) == 0 {
		return fmt.Sprintf("%s: %s.", c.Filename, verdict)
	}
	return fmt.Sprintf("%s: %s: %s.", c.Filename, strings.Join(counts, ", "), verdict)
}
