package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
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

With --chain, check the parents too, and how each image goes with its parent. A
parent that is missing counts as damage does.

The exit code is 0 if no image is damaged, 2 if one is, 3 if one has nothing but
space that is lost, 1 if one can not be checked, 63 if one is of another format, such
as VHDX, or of a type or a version of VHD that vhd does not know. Of several, the
first of 2, 1, 63 and 3 counts. It is 130 if Ctrl-C ended it.

In JSON one image is an object, as of qemu-img check, and several are an array.`,
		Example: `  vhd check alice.vhd
  vhd check --chain --output json alice.vhd`,
		Args: someFiles("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return runCheck(cmd, a, &flags, args) },

		Aliases:               []string{"test"},
		SuggestFor:            []string{"verify", "validate", "fsck"},
		DisableFlagsInUseLine: true,
	}
	flags.addOutput(cmd)
	flags.addProgress(cmd)
	cmd.Flags().BoolVar(&flags.chain, "chain", false, "check the parents too")
	addFormat(cmd)
	a.addForceShare(cmd)
	return cmd
}

// checked is what became of the check of one image, with the keys of qemu-img
// check and what it found.
type checked struct {
	Filename    string        `json:"filename"`
	Format      string        `json:"format"`
	CheckErrors int           `json:"check-errors"` // 1: it could not be checked
	Corruptions int64         `json:"corruptions"`
	Leaks       int64         `json:"leaks"`
	Error       string        `json:"error,omitempty"` // why it could not be checked
	Findings    []vhd.Finding `json:"findings"`

	err        error
	lost       error // why an image of the chain has no parent
	isReported bool  // there are findings to tell of, or it is known that there are none
}

func runCheck(cmd *cobra.Command, a *app, flags *checkFlags, names []string) error {
	all := []checked{}
	for _, name := range names {
		c := checkOne(cmd.Context(), a, flags, name, cmd.ErrOrStderr())
		if c.err != nil {
			reportError(cmd.ErrOrStderr(), cmd, c.err)
		}
		if flags.output == outputHuman && c.isReported { // a line as soon as it is known
			if err := flags.print(cmd.OutOrStdout(), c, append(c.lines(), c.hintLost(cmd.Context(), a.root)...)...); err != nil {
				return err
			}
		}
		all = append(all, c)
		if cmd.Context().Err() != nil {
			break
		}
	}
	if err := flags.print(cmd.OutOrStdout(), oneOrAll(all, len(names))); err != nil {
		return err
	}
	if code := gravest(all); code != exitOK {
		return exitCodeError{code}
	}
	return nil
}

// oneOrAll is what JSON tells of the images that were named: of one alone an object, as
// qemu-img does.
func oneOrAll(all []checked, nnamed int) any {
	if nnamed == 1 {
		return all[0]
	}
	return all
}

func checkOne(ctx context.Context, a *app, flags *checkFlags, name string, stderr io.Writer) checked {
	progress, end := flags.progressOf(stderr, "check")
	defer end()
	c := newChecked(name)
	report, err := vhd.Check(ctx, name, vhd.CheckOptions{Options: a.options(), Chain: flags.chain, Progress: progress})
	if err != nil {
		c.fail(adviseFormat(name, flags.orInterrupted(name, err, "it was not checked to the end")))
	}
	if report != nil { // also if a parent could not be checked
		c.take(report)
		c.findOrphan(a)
	}
	return c
}

func newChecked(name string) checked {
	return checked{Filename: name, Format: formatName, Findings: []vhd.Finding{}}
}

// fail says that the image could not be checked, and why.
func (c *checked) fail(err error) { c.err, c.CheckErrors, c.Error = err, 1, bare(err.Error()) }

// take takes what was found.
func (c *checked) take(report *vhd.Report) {
	c.Findings, c.isReported = report.Findings, true
	c.Corruptions, c.Leaks = countOf(c.Findings, vhd.SeverityError), countOf(c.Findings, vhd.SeverityLeak)
}

// countOf is how many things of a severity were found. A finding may stand for many.
func countOf(findings []vhd.Finding, severity vhd.Severity) int64 {
	n := int64(0)
	for _, f := range findings {
		if f.Severity == severity {
			n += max(1, f.Count)
		}
	}
	return n
}

// code is the exit code that the image asks for.
func (c *checked) code() int {
	_, isImage := errors.AsType[*vhd.FormatError](c.err)
	switch {
	case isInterrupted(c.err):
		return exitInterrupted
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
	for _, code := range []int{exitInterrupted, exitCorrupt, exitNotChecked, exitUnsupported, exitLeaks} {
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
	counts := severityWords(c.Corruptions, c.Leaks, countOf(c.Findings, vhd.SeverityInfo))
	verdict := "no damage was found"
	switch {
	case c.Corruptions == 1 && c.orphan() != "":
		verdict = c.verdictLost()
	case c.Corruptions > 0 && c.err != nil:
		verdict = c.damaged() + " damaged, and not all could be checked"
	case c.Corruptions > 0:
		verdict = c.damaged() + " damaged"
	case c.err != nil:
		verdict = "not all could be checked"
	case c.Leaks > 0:
		verdict = "no damage was found, and space that nothing uses"
	}
	if counts == "" {
		return fmt.Sprintf("%s: %s.", c.Filename, verdict)
	}
	return fmt.Sprintf("%s: %s: %s.", c.Filename, counts, verdict)
}

// severityWords say how many findings there are of each severity; none: empty.
func severityWords(nerrors, nleaks, nnotes int64) string {
	var counts []string
	for _, s := range []struct {
		n         int64
		one, many string
	}{{nerrors, "error", "errors"}, {nleaks, "leak", "leaks"}, {nnotes, "note", "notes"}} {
		if s.n > 0 {
			counts = append(counts, counted(s.n, s.one, s.many))
		}
	}
	return strings.Join(counts, ", ")
}

// damaged are the images of the chain that are, as the beginning of a sentence.
func (c *checked) damaged() string {
	var names []string
	for _, f := range c.Findings {
		name := f.Image
		if name == c.Filename {
			name = "it"
		}
		if f.Severity == vhd.SeverityError && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	last := len(names) - 1
	if last == 0 {
		return names[0] + " is"
	}
	return strings.Join(names[:last], ", ") + " and " + names[last] + " are"
}
