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
	workFlags
	shrink    bool
	allowLoss bool
}

func resizeCommand(a *app) *cobra.Command {
	var flags resizeFlags
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
			r, err := resizeFile(cmd.Context(), a, &flags, args[0], args[1], cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return flags.print(cmd.OutOrStdout(), r, r.String())
		},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return usageErrorf("SIZE is missing")
			}
			if len(args) == 0 {
				return files("FILE")(cmd, args)
			}
			for _, arg := range args[1:] {
				if strings.HasPrefix(strings.TrimPrefix(arg, "-"), "-") || len(arg) > 1 && arg[0] == '-' && arg[1] > '9' {
					return usageErrorf("flags stand in front of FILE, and %s does not", arg)
				}
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
	flags.add(cmd)
	cmd.Flags().BoolVar(&flags.shrink, "shrink", false, "let the disk become smaller")
	cmd.Flags().BoolVar(&flags.allowLoss, "allow-loss", false, "with --shrink, lose what falls off and is not zeros")
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

// resized is what became of an image, or would.
type resized struct {
	outcome
	OldSize int64 `json:"old-virtual-size"`
	Size    int64 `json:"virtual-size"`
}

func resizeFile(ctx context.Context, a *app, flags *resizeFlags, name, arg string, stderr io.Writer) (r resized, err error) {
	opts := a.options()
	opts.Writable = !flags.dryRun
	d, err := vhd.Open(name, &opts)
	if err != nil {
		return r, adviseFormat(name, err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	r = resized{outcome: flags.outcomeOf(name), OldSize: d.Size()}
	if r.Size, err = newSize(arg, r.OldSize); err != nil {
		return r, inFile(name, err)
	}
	if r.Size < r.OldSize && !flags.shrink {
		return r, hintedError{fmt.Errorf("%s: the disk would become smaller, from %s to %s", name, exactSize(r.OldSize), exactSize(r.Size)),
			"if that is meant: --shrink"}
	}
	r.Changed = r.Changed && r.Size != r.OldSize
	progress, end := flags.progressOf(stderr, "resize")
	defer end()
	err = d.Resize(ctx, r.Size, vhd.ResizeOptions{AllowLoss: flags.allowLoss, DryRun: flags.dryRun, Progress: progress})
	if errors.Is(err, vhd.ErrDataLoss) {
		err = hintedError{err, "shrink the partitions on the disk first, or, if that data may be lost: --allow-loss"}
	}
	return r, flags.orInterrupted(name, err, "the disk is as it was")
}

// String is all in a sentence.
func (r resized) String() string {
	if r.Size == r.OldSize {
		return fmt.Sprintf("%s: the disk has %s already", r.Filename, exactSize(r.Size))
	}
	return fmt.Sprintf(r.done("%s: the disk has %s now, and had %s", "%s: the disk would have %s, and has %s"), r.Filename, exactSize(r.Size), exactSize(r.OldSize))
}
