package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

// repairFlags are the flags of repair.
type repairFlags struct {
	workFlags
	undo    string
	restore string
}

func repairCommand(a *app) *cobra.Command {
	var flags repairFlags
	cmd := &cobra.Command{
		Use:   "repair [--dry-run] [--undo FILE] [--restore FILE] [--output human|json] [-p] [-q] FILE",
		Short: "Mend an image where that needs no guessing, or take that back",
		Long: `Mend an image where that needs no guessing. Whatever could be read reads the same
afterwards; what could not be read still can't. Parents are left alone.

What is changed is kept in an undo file first: the image's name with ".undo" behind
it, or as --undo says. With --restore that is taken back, as long as the image was
not written to since.

The exit code is that of check for what remains: 0 if the image is not damaged any
more, 2 if it still is, 3 if nothing but space is lost, 1 if it could not be mended,
63 if it is of another format, or of a type or a version of VHD that vhd does not
know.`,
		Example: `  vhd repair --dry-run alice.vhd
  vhd repair alice.vhd
  vhd repair --restore alice.vhd.undo alice.vhd`,
		Args: files("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return runRepair(cmd, a, &flags, args[0]) },

		SuggestFor:            []string{"fix", "mend", "undo"},
		DisableFlagsInUseLine: true,
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&flags.undo, "undo", "", "keep in `FILE`, a new one, what is changed")
	cmd.Flags().StringVar(&flags.restore, "restore", "", "take back the repair that made the undo file `FILE`")
	cmd.MarkFlagsMutuallyExclusive("undo", "restore")
	_ = cmd.RegisterFlagCompletionFunc("restore", anUndoFile) // an error: there is no such flag
	return cmd
}

// repaired is what became of a repair: what check says of what remains, and what
// was done.
type repaired struct {
	checked
	DryRun  bool             `json:"dry-run"`
	Changed bool             `json:"changed"`
	Steps   []vhd.RepairStep `json:"steps"`
	Undo    string           `json:"undo,omitempty"` // name of the undo file
}

func runRepair(cmd *cobra.Command, a *app, flags *repairFlags, name string) error {
	if flags.restore != "" {
		return runRestore(cmd, a, flags, name)
	}
	r := repairOne(cmd.Context(), a, flags, name, cmd.ErrOrStderr())
	if r.err != nil {
		reportError(cmd.ErrOrStderr(), cmd, r.err)
	}
	if r.err == nil || flags.output == outputJSON {
		if err := flags.print(cmd.OutOrStdout(), r, r.lines()...); err != nil {
			return err
		}
	}
	if code := r.code(); code != exitOK {
		return exitCodeError{code}
	}
	return nil
}

func repairOne(ctx context.Context, a *app, flags *repairFlags, name string, stderr io.Writer) repaired {
	progress, end := flags.progressOf(stderr, "repair")
	defer end()
	r := repaired{checked: newChecked(name), DryRun: flags.dryRun, Steps: []vhd.RepairStep{}}
	report, err := vhd.Repair(ctx, name, vhd.RepairOptions{Options: a.options(), DryRun: flags.dryRun, Undo: flags.undo, Progress: progress})
	if report != nil {
		r.Undo, r.Steps = report.Undo, append(r.Steps, report.Steps...)
	}
	if err != nil {
		err = flags.orInterrupted(name, adviseTaken("an undo file", err), "what could be read still can, and repairing again does the rest")
		r.fail(adviseFormat(name, err))
		r.Changed = report != nil // it ended on its way
		if r.Changed && flags.undo != "" {
			r.err = hintedError{r.err, "give the next undo file another name, or leave out --undo: " + flags.undo + " keeps what was there first"}
		}
		return r
	}
	r.take(report)
	r.Changed = !r.DryRun && len(r.Steps) > 0
	return r
}

// lines are one for each step, how it is taken back, and what check says then.
func (r *repaired) lines() []string {
	if len(r.Steps) == 0 {
		return r.checked.lines()
	}
	lines := []string{r.Filename + ":"}
	for _, s := range r.Steps {
		lines = append(lines, fmt.Sprintf("  mend   %s at %d: %s [%s]", s.Structure, s.Offset, s.Message, s.Code))
	}
	next := fmt.Sprintf("To take that back: vhd repair --restore %s %s", quote(r.Undo), quote(r.Filename))
	if r.DryRun {
		next = "Nothing of that is done. What would remain:"
	}
	return append(append(lines, next), r.checked.lines()...)
}

// restored is what became of an image whose repair was taken back.
type restored struct {
	outcome
	Undo string `json:"undo"` // name of the undo file
}

// runRestore takes a repair back.
func runRestore(cmd *cobra.Command, a *app, flags *repairFlags, name string) error {
	progress, end := flags.progressOf(cmd.ErrOrStderr(), "repair")
	defer end()
	err := vhd.UndoRepair(cmd.Context(), name, vhd.RepairOptions{Options: a.options(), DryRun: flags.dryRun, Undo: flags.restore, Progress: progress})
	if format, ok := errors.AsType[*vhd.FormatError](err); ok && format.Part == "undo file" {
		err = hintedError{err, "it is damaged, or no undo file: that of a repair of " + name + " is called " + name + ".undo, or as --undo said"}
	}
	if errors.Is(err, fs.ErrNotExist) && !exists(flags.restore) {
		err = hintedError{err, "a repair of " + name + " that mends something leaves " + name + ".undo, or what --undo says"}
	}
	if err = adviseFormat(name, err); err != nil {
		return flags.orInterrupted(name, err, "taking the repair back again does the rest")
	}
	end()
	r := restored{outcome: flags.outcomeOf(name), Undo: flags.restore}
	line := fmt.Sprintf("%s: %s.", name, r.done("it is as it was before the repair", "it can be taken back to what it was before the repair"))
	return flags.print(cmd.OutOrStdout(), r, line)
}
