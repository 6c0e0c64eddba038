package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

// compactFlags are the flags of compact.
type compactFlags struct {
	output   outputValue
	dryRun   bool
	progress bool
	quiet    bool
}

func compactCommand(a *app) *cobra.Command {
	flags := compactFlags{output: outputHuman}
	cmd := &cobra.Command{
		Use:   "compact [--dry-run] [--output human|json] [-p] [-q] FILE",
		Short: "Make an image's file as small as it can be",
		Long: `Make an image's file as small as it can be, without changing what it reads as. What
the parents hold too is dropped, and zeros where there is nothing below. Zeros over
a parent's data stay. The parents are not changed.

Space that the file system inside the disk has freed counts only if it is zeros:
let that system write zeros there before.

It can be interrupted at any time: what is done until then remains so.`,
		Example: `  vhd compact alice.vhd
  vhd compact --dry-run --output json alice.vhd`,
		Args: files("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runCompact(cmd.Context(), a, &flags, args[0], cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
		SuggestFor:            []string{"shrink", "trim"},
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().Var(&flags.output, "output", outputUsage)
	cmd.Flags().BoolVar(&flags.dryRun, "dry-run", false, "only tell what it would come to")
	cmd.Flags().BoolVarP(&flags.progress, "progress", "p", false, "tell on a terminal how far it is")
	cmd.Flags().BoolVarP(&flags.quiet, "quiet", "q", false, "print nothing")
	return cmd
}

// compacted is what became of an image's file, or would.
type compacted struct {
	Filename string `json:"filename"`
	Before   int64  `json:"bytes-before"`
	After    int64  `json:"bytes-after"`
	DryRun   bool   `json:"dry-run"`
}

func runCompact(ctx context.Context, a *app, flags *compactFlags, name string, stdout, stderr io.Writer) error {
	c, err := compactFile(ctx, a, flags, name, stderr)
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: interrupted", name)
	}
	if err != nil || flags.quiet {
		return err
	}
	if flags.output == outputJSON {
		return printJSON(stdout, c)
	}
	fmt.Fprintln(stdout, printable(c.String()))
	return nil
}

func compactFile(ctx context.Context, a *app, flags *compactFlags, name string, stderr io.Writer) (c compacted, err error) {
	opts := a.options()
	opts.Writable = !flags.dryRun
	d, err := vhd.Open(name, &opts)
	if err != nil {
		return c, adviseFormat(name, err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	leaf := d.Chain()[0]
	c = compacted{Filename: name, Before: leaf.FileSize(), DryRun: flags.dryRun}
	var how vhd.CompactOptions
	if flags.progress {
		p := newProgress(stderr, "compact", 0)
		defer p.end()
		how.Progress = func(done, total int64) {
			p.total = total
			p.at(done, total)
		}
	}
	if flags.dryRun {
		c.After, err = d.CompactSize(ctx, how)
		return c, err
	}
	err = d.Compact(ctx, how)
	c.After = leaf.FileSize()
	return c, err
}

// String is all in a sentence.
func (c compacted) String() string {
	left, gone := humanSize(c.After), humanSize(c.Before-c.After)
	switch {
	case c.After >= c.Before:
		return fmt.Sprintf("%s: %s, and nothing to give back", c.Filename, left)
	case c.DryRun:
		return fmt.Sprintf("%s: %s could be given back, and %s would be left", c.Filename, gone, left)
	}
	return fmt.Sprintf("%s: %s given back, %s left", c.Filename, gone, left)
}
