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

// repairFlags are the flags of repair.
type repairFlags struct {
	output   outputValue
	dryRun   bool
	undo     string
	restore  string
	progress bool
	quiet    bool
}

func repairCommand(a *app) *cobra.Command {
	flags := repairFlags{output: outputHuman}
	cmd := &cobra.Command{
		Use:   "repair [--dry-run] [--undo FILE] [--restore FILE] [--output human|json] [-p] [-q] FILE",
		Short: "Mend an image where that needs no guessing, or take that back",
		Long: `Mend an image where that needs no guessing. Whatever could be read reads the same
afterwards; what could not be read still can't. Parents are left alone.

What is changed is kept in an undo file first: the image's name with ".undo" behind
it, or as --undo says. With --restore that is taken back, as long as the image was
not written to since.

--dry-run tells what would be done, and changes nothing.

The exit code is that of check for what remains: 0 if the image is not damaged any
more, 2 if it still is, 3 if nothing but space is lost, 1 if it could not be mended,
63 if it is of a kind that vhd does not know.`,
		Example: `  vhd repair --dry-run alice.vhd
  vhd repair alice.vhd
  vhd repair --restore alice.vhd.undo alice.vhd`,
		Args: files("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return runRepair(cmd, a, &flags, args[0]) },

		DisableFlagsInUseLine: true,
	}
	cmd.Flags().Var(&flags.output, "output", outputUsage)
	cmd.Flags().BoolVar(&flags.dryRun, "dry-run", false, "tell what would be done, and do nothing")
	cmd.Flags().StringVar(&flags.undo, "undo", "", "keep in `FILE`, a new one, what is changed")
	cmd.Flags().StringVar(&flags.restore, "restore", "", "take back the repair that made the undo file `FILE`")
	cmd.Flags().BoolVarP(&flags.progress, "progress", "p", false, "tell on a terminal how far it is")
	cmd.Flags().BoolVarP(&flags.quiet, "quiet", "q", false, "print nothing: the exit code tells")
	cmd.MarkFlagsMutuallyExclusive("undo", "restore")
	return cmd
}

// repaired is what became of a repair: what check says of what remains, and what
// was done.
type repaired struct {
	checked
	DryRun bool             `json:"dry-run"`
	Steps  []vhd.RepairStep `json:"steps"`
	Undo   string           `json:"undo,omitempty"` // name of the undo file
}

func runRepair(cmd *cobra.Command, a *app, flags *repairFlags, name string) error {
	if flags.restore != "" {
		return runRestore(cmd, a, flags, name)
	}
	r := repairOne(cmd.Context(), a, flags, name, cmd.ErrOrStderr())
	if r.err != nil {
		reportError(cmd.ErrOrStderr(), cmd, r.err)
	}
	switch {
	case flags.quiet:
	case flags.output == outputJSON:
		if err := printJSON(cmd.OutOrStdout(), r); err != nil {
			return err
		}
	case r.err == nil:
		r.printSteps(cmd.OutOrStdout())
		r.print(cmd.OutOrStdout())
	}
	if code := r.code(); code != exitOK {
		return exitCodeError{code}
	}
	return nil
}

func (f *repairFlags) options(a *app, stderr io.Writer) (vhd.RepairOptions, *progress) {
	opts := vhd.RepairOptions{Options: a.options(), DryRun: f.dryRun, Undo: f.undo}
	if !f.progress {
		return opts, nil
	}
	p := newProgress(stderr, "repair", 0)
	opts.Progress = func(done, total int64) {
		p.total = total
		p.at(done, total)
	}
	return opts, p
}

func repairOne(ctx context.Context, a *app, flags *repairFlags, name string, stderr io.Writer) repaired {
	opts, p := flags.options(a, stderr)
	if p != nil {
		defer p.end()
	}
	r := repaired{DryRun: flags.dryRun, Steps: []vhd.RepairStep{}, checked: checked{Filename: name, Format: formatName, Findings: []vhd.Finding{}}}
	report, err := vhd.Repair(ctx, name, opts)
	if err != nil {
		r.err, r.CheckErrors = adviseFormat(name, interruptedOr(err)), 1
		r.Error = bare(r.err.Error())
		return r
	}
	r.Findings, r.Undo = report.Findings, report.Undo
	r.Steps = append(r.Steps, report.Steps...)
	r.Corruptions, r.Leaks = r.count(vhd.SeverityError), r.count(vhd.SeverityLeak)
	return r
}

// interruptedOr is err, in other words if the user ended the work.
func interruptedOr(err error) error {
	if errors.Is(err, context.Canceled) {
		return errors.New(strings.Replace(err.Error(), context.Canceled.Error(), "interrupted", 1))
	}
	return err
}

// printSteps writes a line for each step, and how it is taken back.
func (r *repaired) printSteps(stdout io.Writer) {
	if len(r.Steps) == 0 {
		return
	}
	fmt.Fprintf(stdout, "%s:\n", printable(r.Filename))
	for _, s := range r.Steps {
		fmt.Fprintf(stdout, "  mend   %s at %d: %s [%s]\n", s.Structure, s.Offset, printable(s.Message), s.Code)
	}
	if r.DryRun {
		fmt.Fprintf(stdout, "Nothing of that is done. What would remain:\n")
		return
	}
	fmt.Fprintf(stdout, "To take that back: vhd repair --restore %s %s\n", quote(r.Undo), quote(r.Filename))
}

// runRestore takes a repair back.
func runRestore(cmd *cobra.Command, a *app, flags *repairFlags, name string) error {
	opts, p := flags.options(a, cmd.ErrOrStderr())
	if p != nil {
		defer p.end()
	}
	opts.Undo = flags.restore
	if err := vhd.UndoRepair(cmd.Context(), name, opts); err != nil {
		return interruptedOr(err)
	}
	if flags.quiet || flags.output == outputJSON {
		return nil
	}
	verdict := "it is as it was before the repair"
	if flags.dryRun {
		verdict = "it can be taken back to what it was before the repair"
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %s.\n", printable(name), verdict)
	return nil
}
