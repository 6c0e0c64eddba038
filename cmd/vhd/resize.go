package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

// resizeFlags are the flags of resize.
type resizeFlags struct {
	output    outputValue
	shrink    bool
	allowLoss bool
	dryRun    bool
	progress  bool
	quiet     bool
}

func resizeCommand(a *app) *cobra.Command {
	flags := resizeFlags{output: outputHuman}
	cmd := &cobra.Command{
		Use:   "resize [--shrink] [--allow-loss] [--dry-run] [--output human|json] [-p] [-q] FILE [+|-]SIZE",
		Short: "Make the disk in an image larger or smaller",
		Long: `Make the disk in an image larger or smaller. SIZE is its new size, or, with + or -
in front, by how much it changes. What is new reads as zeros. Partitions and file
systems on the disk stay as they are: shrink them before, or let them grow after.

A disk becomes smaller only with --shrink, and only if all that falls off reads
as zeros; with --allow-loss, whatever it holds. Flags stand in front of FILE.`,
		Example: `  vhd resize alice.vhd 64G
  vhd resize alice.vhd +10G
  vhd resize --shrink alice.vhd -512M`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runResize(cmd.Context(), a, &flags, args[0], args[1], cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return usageErrorf("SIZE is missing")
			}
			if len(args) == 0 {
				return files("FILE")(cmd, args)
			}
			if len(args) > 2 {
				return usageErrorf("%q is one argument too many", args[2])
			}
			if _, err := newSize(args[1], 0); err != nil {
				return usageErrorf("SIZE is %q: %w", args[1], err)
			}
			return files("FILE")(cmd, args[:1])
		},
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().SetInterspersed(false) // a SIZE may begin with -
	cmd.Flags().Var(&flags.output, "output", outputUsage)
	cmd.Flags().BoolVar(&flags.shrink, "shrink", false, "let the disk become smaller")
	cmd.Flags().BoolVar(&flags.allowLoss, "allow-loss", false, "with --shrink, lose what falls off and is not zeros")
	cmd.Flags().BoolVar(&flags.dryRun, "dry-run", false, "tell what the size would be, and change nothing")
	cmd.Flags().BoolVarP(&flags.progress, "progress", "p", false, "tell on a terminal how far it is")
	cmd.Flags().BoolVarP(&flags.quiet, "quiet", "q", false, "say nothing when all is well")
	return cmd
}

// newSize is the size that the argument gives a disk, rounded up to sectors, of bytes;
// of one of a size not known, 0, whether it can be read.
func newSize(arg string, old int64) (int64, error) {
	number := strings.TrimLeft(arg, "+-")
	if len(arg)-len(number) > 1 {
		return 0, errSize
	}
	n, err := parseSize(number)
	if err != nil {
		return 0, err
	}
	if n > math.MaxInt64-old-vhd.SectorSize {
		return 0, errors.New("it is too large")
	}
	switch arg[0] {
	case '+':
		n = old + n
	case '-':
		n = old - n
	}
	return (n + vhd.SectorSize - 1) / vhd.SectorSize * vhd.SectorSize, nil
}

// resized is what became of an image.
type resized struct {
	Filename string `json:"filename"`
	Format   string `json:"format"`
	OldSize  int64  `json:"old-virtual-size"`
	Size     int64  `json:"virtual-size"`
	DryRun   bool   `json:"dry-run"`
}

func runResize(ctx context.Context, a *app, flags *resizeFlags, name, arg string, stdout, stderr io.Writer) error {
	opts := a.options()
	opts.Writable = !flags.dryRun
	d, err := vhd.Open(name, &opts)
	if err != nil {
		return adviseFormat(name, err)
	}
	r := resized{Filename: name, Format: formatName, OldSize: d.Size(), DryRun: flags.dryRun}
	err = r.resize(ctx, d, flags, arg, stderr)
	if err = errors.Join(err, d.Close()); err != nil {
		return err
	}
	switch {
	case flags.quiet:
		return nil
	case flags.output == outputJSON:
		return printJSON(stdout, r)
	}
	fmt.Fprintln(stdout, printable(r.String()))
	return nil
}

func (r *resized) String() string {
	done := "is"
	if r.DryRun {
		done = "would be"
	}
	if r.Size == r.OldSize {
		return fmt.Sprintf("%s: the disk has %s already", r.Filename, exactSize(r.Size))
	}
	return fmt.Sprintf("%s: the disk %s %s now, and was %s", r.Filename, done, exactSize(r.Size), exactSize(r.OldSize))
}

func (r *resized) resize(ctx context.Context, d *vhd.Disk, flags *resizeFlags, arg string, stderr io.Writer) (err error) {
	if r.Size, err = newSize(arg, r.OldSize); err != nil {
		return inFile(r.Filename, err)
	}
	if r.Size < r.OldSize && !flags.shrink {
		return hintedError{fmt.Errorf("%s: the disk would become smaller, from %s to %s", r.Filename, exactSize(r.OldSize), exactSize(r.Size)),
			"if that is meant: --shrink"}
	}
	if flags.dryRun {
		return nil
	}
	resizeOpts := vhd.ResizeOptions{AllowLoss: flags.allowLoss}
	if flags.progress {
		p := newProgress(stderr, "resize", 0)
		defer p.end()
		resizeOpts.Progress = func(done, total int64) {
			p.total = total
			p.at(done, total)
		}
	}
	err = d.Resize(ctx, r.Size, resizeOpts)
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: interrupted, the disk is as it was", r.Filename)
	case errors.Is(err, vhd.ErrDataLoss):
		return hintedError{err, "shrink the partitions on the disk first, or, if that data may be lost: --allow-loss"}
	}
	return err
}
