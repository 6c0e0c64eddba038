package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// The exit codes of compare, which are those of qemu-img compare.
const (
	exitDifferent   = 1
	exitNotCompared = 2
)

// compareFlags are the flags of compare.
type compareFlags struct {
	workFlags
	format, other formatValue
	strict        bool
}

func compareCommand(a *app) *cobra.Command {
	var flags compareFlags
	cmd := &cobra.Command{
		Use:   "compare [-s] [-f FORMAT] [-F FORMAT] [--output human|json] [-p] [-q] A B",
		Short: "Tell whether two disks hold the same",
		Long: `Tell whether two disks hold the same: what each image reads as with its parents.
A raw file is one too. Of disks of different sizes, the rest of the larger one must
be zeros; with -s they are never the same.

What both have from one file, such as a base that they share, is not read, nor is
what no image holds: two children of one base are compared as fast as what they
changed can be read.

The exit code is 0 if they hold the same, 1 if they do not, and 2 if that could not
be found out.`,
		Example: `  vhd compare alice.vhd bob.vhd
  vhd compare -q alice.vhd backup.raw && echo the same`,
		Args: files("A", "B"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := compareFiles(cmd.Context(), a, &flags, args[0], args[1], cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if err := flags.print(cmd.OutOrStdout(), c, c.String()); err != nil {
				return err
			}
			if !c.Same {
				return exitCodeError{exitDifferent}
			}
			return nil
		},
		SuggestFor:            []string{"cmp", "equal", "same"},
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     inOrder(aFile, aFile),
	}
	flags.addOutput(cmd)
	flags.addProgress(cmd)
	addBothFormats(cmd, &flags.format, &flags.other, "A", "B")
	a.addForceShare(cmd)
	cmd.Flags().BoolVarP(&flags.strict, "strict", "s", false, "disks of different sizes are not the same, whatever they hold")
	return cmd
}

// compared is what came out.
type compared struct {
	Filename  string `json:"filename"`
	Other     string `json:"other-filename"`
	Size      int64  `json:"virtual-size"`
	OtherSize int64  `json:"other-virtual-size"`
	Same      bool   `json:"same"`
	Offset    *int64 `json:"offset,omitempty"` // of the first byte that differs; nil: the same, or not of the same size
	Compared  int64  `json:"bytes-compared"`   // of each, that had to be read
}

func compareFiles(ctx context.Context, a *app, flags *compareFlags, name, other string, stderr io.Writer) (c compared, err error) {
	both, err := openBoth(ctx, a, name, &flags.format, other, &flags.other)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, both.close()) }()
	c = compared{Filename: name, Other: other, Size: both.a.size, OtherSize: both.b.size}
	if flags.strict && c.Size != c.OtherSize {
		return c, nil
	}
	progress, end := flags.progressOf(stderr, "compare")
	defer end()
	both.progress = progress
	first, differ, err := both.firstDifference(ctx)
	if differ {
		c.Offset = &first
	}
	c.Same, c.Compared = !differ, both.compared
	return c, orInterrupted(name, err, fmt.Sprintf("up to %d it is the same as %s, and what follows was not compared", both.passed, other))
}

// firstDifference is the first byte that differs, if any does.
func (c *comparison) firstDifference(ctx context.Context) (first int64, differ bool, err error) {
	for s, err := range c.differing(ctx) {
		if err != nil {
			return 0, false, err
		}
		first, err = c.firstByte(s.Start)
		return first, true, err
	}
	return 0, false, nil
}

// String is all in a sentence.
func (c compared) String() string {
	sizes := ""
	if c.Size != c.OtherSize {
		sizes = fmt.Sprintf("the disks have %s and %s", exactSize(c.Size), exactSize(c.OtherSize))
	}
	switch {
	case c.Same && sizes != "":
		return fmt.Sprintf("%s and %s hold the same: %s, and the rest of the larger one is zeros", c.Filename, c.Other, sizes)
	case c.Same:
		return fmt.Sprintf("%s and %s hold the same", c.Filename, c.Other)
	case c.Offset == nil:
		return fmt.Sprintf("%s and %s are not the same: %s", c.Filename, c.Other, sizes)
	case sizes != "":
		return fmt.Sprintf("%s and %s differ at offset %d; %s", c.Filename, c.Other, *c.Offset, sizes)
	}
	return fmt.Sprintf("%s and %s differ at offset %d", c.Filename, c.Other, *c.Offset)
}
