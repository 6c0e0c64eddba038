package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

// resizeFlags are the flags of resize.
type resizeFlags struct {
	workFlags
	shrink    bool
	allowLoss bool
	force     bool
}

func resizeCommand(a *app) *cobra.Command {
	var flags resizeFlags
	cmd := &cobra.Command{
		Use:   "resize [--shrink] [--allow-loss] [--force] [--dry-run] [--output human|json] [-p] [-q] FILE [+|-]SIZE",
		Short: "Make the disk in an image larger or smaller",
		Long: `Make the disk in an image larger or smaller. SIZE is its new size, or, with + or -
in front, by how much it changes. What is new reads as zeros. Partitions and file
systems on the disk stay as they are: shrink them before, or let them grow after.

A disk becomes smaller only with --shrink, and only if all that falls off reads
as zeros; with --allow-loss, whatever it holds. What falls off a parent falls off its
children too: if there are any in FILE's directory nothing is done, unless --force says
that they are of no use any more. Flags stand in front of FILE.`,
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
			if at := slices.IndexFunc(args, isNoSize); at > 0 {
				return usageError{flagBehind(cmd, args, args[at])}
			}
			if len(args) > 2 {
				return usageErrorf("%q is one argument too many", args[2])
			}
			if _, err := newSize(args[1], 0); err != nil {
				if _, err := newSize(args[0], 0); err == nil {
					return usageError{swapped("SIZE goes behind FILE", args[0], args[1])}
				}
				return usageErrorf("SIZE is %q: %w", args[1], err)
			}
			return files("FILE")(cmd, args[:1])
		},
		SuggestFor:            []string{"grow", "expand", "shrink"},
		ValidArgsFunction:     inOrder(anImage),
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().SetInterspersed(false) // a SIZE may begin with -
	flags.add(cmd)
	cmd.Flags().BoolVar(&flags.shrink, "shrink", false, "let the disk become smaller")
	cmd.Flags().BoolVar(&flags.allowLoss, "allow-loss", false, "with --shrink, lose what falls off and is not zeros")
	cmd.Flags().BoolVar(&flags.force, "force", false, "with --allow-loss, although other images have FILE as their parent")
	addFormat(cmd)
	return cmd
}

// isNoSize says whether an argument is a flag, and no size with a sign.
func isNoSize(arg string) bool {
	return strings.HasPrefix(arg, "--") || len(arg) > 1 && arg[0] == '-' && arg[1] > '9'
}

// flagBehind is that a flag stands behind FILE, where it would be a SIZE.
func flagBehind(cmd *cobra.Command, args []string, flag string) error {
	err := fmt.Errorf("flags stand in front of FILE, and %s does not", flag)
	at := slices.IndexFunc(args[1:], func(arg string) bool {
		_, err := newSize(arg, 0)
		return err == nil
	})
	if at < 0 {
		return err
	}
	file, size := args[0], args[1+at]
	flags := slices.DeleteFunc(slices.Delete(slices.Clone(args[1:]), at, at+1), func(arg string) bool { return arg == "--" })
	words := wordsTyped(cmd)
	return mistake{error: err, line: slices.Concat(words[:len(words)-len(args)], flags, []string{file, size})}
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
	if err := mustBeSizeOf(d.Chain()[0], r.Size); err != nil {
		return r, err
	}
	if r.Size < r.OldSize && !flags.shrink {
		return r, hintedError{fmt.Errorf("%s: the disk would become smaller, from %s to %s", name, exactSize(r.OldSize), exactSize(r.Size)),
			hintSmaller(name, arg)}
	}
	r.Changed = r.Changed && r.Size != r.OldSize
	if r.Size < r.OldSize && flags.allowLoss && !flags.force {
		if err := r.refuseChildren(ctx, a, arg); err != nil {
			return r, flags.orInterrupted(name, err, "the disk is as it was")
		}
	}
	progress, end := flags.progressOf(stderr, "resize")
	defer end()
	err = d.Resize(ctx, r.Size, vhd.ResizeOptions{AllowLoss: flags.allowLoss, DryRun: flags.dryRun, Progress: progress})
	if errors.Is(err, vhd.ErrDataLoss) {
		err = hintedError{err, r.hintLoss(ctx, a, arg)}
	}
	return r, flags.orInterrupted(name, err, "the disk is as it was")
}

// hintSmaller is what can be done where the disk would become smaller: of a few bytes, the unit may be missing.
func hintSmaller(name, arg string) string {
	smaller := "vhd resize --shrink " + quote(name) + " " + arg
	n, err := strconv.ParseUint(arg, 10, 64)
	if err != nil || n >= 1<<20 {
		return "if that is meant: " + smaller
	}
	meant := arg + "G"
	if n > vhd.MaxDynamicSize>>30 {
		meant = arg + "M"
	}
	return "is " + meant + " meant? vhd resize " + quote(name) + " " + meant + "; if it is bytes: " + smaller
}

// mustBeSizeOf is what is wrong with a size that the disk in an image can't have.
func mustBeSizeOf(image *vhd.Image, size int64) error {
	footer := image.Footer()
	switch {
	case size <= 0:
		return hintedError{fmt.Errorf("%s: of %s nothing would be left", image.Name(), exactSize(footer.CurrentSize)),
			"a disk has 512 bytes at least; without - in front, SIZE is what it is to have"}
	case footer.Type != vhd.Fixed && size > vhd.MaxDynamicSize:
		return hintedError{fmt.Errorf("%s: %s", image.Name(), tooLargeForBlocks),
			"a fixed image of it can become larger: vhd export -O fixed " + quote(image.Name()) + " NEW.vhd"}
	}
	return nil
}

// refuseChildren is what is wrong with a smaller disk through which other images read.
func (r *resized) refuseChildren(ctx context.Context, a *app, arg string) error {
	children, err := childrenBeside(ctx, a, r.Filename)
	if err != nil || len(children) == 0 {
		return err
	}
	return hintedError{otherChildrenError(r.Filename, children), r.hintChildren(children, arg)}
}

// hintLoss is what can be done where more than zeros would fall off.
func (r *resized) hintLoss(ctx context.Context, a *app, arg string) string {
	if children, err := childrenBeside(ctx, a, r.Filename); err == nil && len(children) > 0 {
		return someOf(children) + " would lose it too: " + r.hintChildren(children, arg)
	}
	return "shrink the partitions on the disk first, or, if that data may be lost: " + r.losing("--allow-loss", arg)
}

// hintChildren is what can be done where children would lose what falls off.
func (r *resized) hintChildren(children []string, arg string) string {
	return "vhd export -O dynamic " + quote(children[0]) + " NEW.vhd makes an image that needs no parent; if these are of no use any more: " +
		r.losing("--allow-loss --force", arg)
}

// losing is the command that loses what falls off.
func (r *resized) losing(flags, arg string) string {
	return "vhd resize --shrink " + flags + " " + quote(r.Filename) + " " + arg
}

// String is all in a sentence.
func (r resized) String() string {
	if r.Size == r.OldSize {
		return fmt.Sprintf("%s: the disk has %s already", r.Filename, exactSize(r.Size))
	}
	return fmt.Sprintf(r.done("%s: the disk has %s now, and had %s", "%s: the disk would have %s, and has %s"), r.Filename, exactSize(r.Size), exactSize(r.OldSize))
}
