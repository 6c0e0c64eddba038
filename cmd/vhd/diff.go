package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

// diffFlags are the flags of diff.
type diffFlags struct {
	workFlags
	from, to      string
	stored        bool
	format, other formatValue
}

func diffCommand(a *app) *cobra.Command {
	var flags diffFlags
	cmd := &cobra.Command{
		Use:   "diff [--from IMAGE] [--to IMAGE] [--stored] [-f FORMAT] [-F FORMAT] [--output human|json] [-p] FILE [OTHER]",
		Short: "Show where two disks differ, or what an image changed",
		Long: `Show where FILE and its parent differ, sector by sector: what FILE changed. With
--from and --to, show what changed from one image of its chain to another: IMAGE is
the name of one, as vhd info shows them, or its number: 0 is FILE, 1 its parent,
and so on. With OTHER, show where two disks differ; raw files will do.

With --stored, nothing is read, and all is shown that is not stored in the same
place by both: what the images have written, whether it is another content or not.

The exit code is 0 whether anything differs or not; vhd compare tells that.`,
		Example: `  vhd diff alice.vhd
  vhd diff --from base.vhd --stored --output json alice.vhd
  vhd diff alice.vhd bob.vhd`,
		Args: func(cmd *cobra.Command, args []string) error { return flags.check(cmd, args) },
		RunE: func(cmd *cobra.Command, args []string) error { return runDiff(cmd, a, &flags, args) },

		SuggestFor:            []string{"changes", "delta"},
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     inOrder(aFile, aFile),
	}
	cmd.Flags().StringVar(&flags.from, "from", "", "the `IMAGE` whose changed parts are shown (the parent of --to)")
	cmd.Flags().StringVar(&flags.to, "to", "0", "the `IMAGE` above it that changed them")
	cmd.Flags().BoolVar(&flags.stored, "stored", false, "read nothing, and show what is not stored in the same place")
	flags.addForm(cmd)
	flags.addProgress(cmd)
	addBothFormats(cmd, &flags.format, &flags.other, "FILE", "OTHER")
	return cmd
}

func (f *diffFlags) check(cmd *cobra.Command, args []string) error {
	levels := cmd.Flags().Changed("from") || cmd.Flags().Changed("to")
	switch {
	case len(args) == 1 && f.format.name == formatRaw:
		return usageErrorf("raw content has no parent: say with which OTHER to compare %s", args[0])
	case len(args) < 2:
		return files("FILE")(cmd, args)
	case levels:
		return usageErrorf("--from and --to are images of one chain: leave out %s, or these", args[1])
	}
	return files("FILE", "OTHER")(cmd, args)
}

func runDiff(cmd *cobra.Command, a *app, flags *diffFlags, args []string) (err error) {
	c, err := flags.open(cmd.Context(), a, args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	progress, end := flags.progressOf(cmd.ErrOrStderr(), "diff")
	defer end()
	c.progress = progress
	w := bufio.NewWriter(&clearingWriter{Writer: cmd.OutOrStdout(), clear: end})
	defer func() { err = errors.Join(err, inFile(standardOutput, w.Flush())) }()
	if flags.output == outputJSON {
		err = flags.printJSON(cmd.Context(), c, w)
	} else {
		err = flags.printTable(cmd.Context(), c, w)
	}
	return orInterrupted(args[0], err, fmt.Sprintf("what differs behind %d is not told", c.passed))
}

// open opens the two disks, the later one first.
func (f *diffFlags) open(ctx context.Context, a *app, args []string) (*comparison, error) {
	if len(args) == 2 {
		return openBoth(ctx, a, args[0], &f.format, args[1], &f.other)
	}
	d, err := a.open(args[0])
	if err != nil {
		return nil, err
	}
	names := chainNames(d)
	upper, lower, err := f.levels(d)
	if err := errors.Join(err, d.Close()); err != nil {
		return nil, err
	}
	vpc := &formatValue{name: formatName}
	return openBoth(ctx, a, names[upper], vpc, names[lower], vpc)
}

// levels are where the images are in the chain, whichever of them was said to be the
// later one.
func (f *diffFlags) levels(d *vhd.Disk) (upper, lower int, err error) {
	to, err := level(d, f.to)
	if err != nil {
		return 0, 0, inOption("--to", f.to, err)
	}
	from, names := to+1, chainNames(d)
	if f.from != "" {
		if from, err = level(d, f.from); err != nil {
			return 0, 0, inOption("--from", f.from, err)
		}
	}
	switch {
	case from == len(names):
		err := fmt.Errorf("%s: it has no parent from which it could differ", names[to])
		return 0, 0, hintedError{err, "to compare it with another disk: vhd diff " + quote(names[to]) + " OTHER"}
	case from == to:
		return 0, 0, usageErrorf("--from and --to are the same image, %s", names[to])
	}
	return min(from, to), max(from, to), nil
}

// printJSON writes an array with one entry a line.
func (f *diffFlags) printJSON(ctx context.Context, c *comparison, w io.Writer) error {
	separator := "["
	err := f.each(ctx, c, func(s span) error {
		line, err := json.Marshal(s)
		fmt.Fprintf(w, "%s%s", separator, line)
		separator = ",\n"
		return err
	})
	if separator == "[" {
		fmt.Fprint(w, separator)
	}
	fmt.Fprintln(w, "]")
	return err
}

// printTable writes a table as wide as the disk's size needs, and sums it up.
func (f *diffFlags) printTable(ctx context.Context, c *comparison, w io.Writer) error {
	width := max(len("length"), len(fmt.Sprint(c.size())))
	var nspans int
	var total int64
	err := f.each(ctx, c, func(s span) error {
		if nspans == 0 {
			fmt.Fprintf(w, "%*s  %*s\n", width, "start", width, "length")
		}
		nspans++
		total += s.Length
		fmt.Fprintf(w, "%*d  %*d\n", width, s.Start, width, s.Length)
		return nil
	})
	if err != nil {
		return err
	}
	if nspans > 0 {
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w, printable(f.summary(c, nspans, total)))
	return nil
}

// each calls show with all that is to be shown.
func (f *diffFlags) each(ctx context.Context, c *comparison, show func(s span) error) error {
	spans := joinSpans(c.differing(ctx))
	if f.stored {
		spans = c.storedApart(ctx)
	}
	for s, err := range spans {
		if err == nil {
			err = show(s)
		}
		if err != nil {
			return err
		}
		c.pass(s.end())
	}
	return nil
}

// summary is all in a sentence or two.
func (f *diffFlags) summary(c *comparison, nspans int, total int64) string {
	text := fmt.Sprintf("%s and %s hold the same.", c.a.name, c.b.name)
	switch {
	case nspans == 0 && f.stored:
		text = fmt.Sprintf("%s and %s have all from the same place.", c.a.name, c.b.name)
	case f.stored:
		text = fmt.Sprintf("Of %s, %s and %s have %s from different places, in %s.", humanSize(c.size()), c.a.name, c.b.name, humanSize(total), pieces(nspans))
	case nspans > 0:
		text = fmt.Sprintf("Of %s, %s and %s differ in %s, in %s.", humanSize(c.size()), c.a.name, c.b.name, humanSize(total), pieces(nspans))
	}
	if c.a.size != c.b.size {
		text += fmt.Sprintf(" The disks have %s and %s.", exactSize(c.a.size), exactSize(c.b.size))
	}
	return text
}

// pieces is how many, with the noun.
func pieces(n int) string {
	if n == 1 {
		return "1 piece"
	}
	return fmt.Sprintf("%d pieces", n)
}
