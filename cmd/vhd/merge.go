package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

// mergeFlags are the flags of merge.
type mergeFlags struct {
	workFlags
	from, into string
	to         string
	force      bool
}

func mergeCommand(a *app) *cobra.Command {
	var flags mergeFlags
	cmd := &cobra.Command{
		Use:     "merge [--from IMAGE] [--into IMAGE] [--to NEW] [--force] [--dry-run] [--output human|json] [-p] [-q] FILE",
		Aliases: []string{"commit", "coalesce"},
		Short:   "Fold images of a chain into one below them",
		Long: `Fold images of FILE's chain into one below them, which then holds what all of them
did, and remove their files. What FILE reads as stays the same. Without --from and
--into, FILE itself is folded into its parent, which takes its place.

IMAGE is the name of one of the images, as vhd info shows them, or its number: 0 is
FILE, 1 its parent, and so on.

The image that receives and those between get new identifiers, so that other
children of theirs are refused instead of reading nonsense. If there are any in the
directories of the images nothing is done, unless --force says that they are of no
use any more.

It can be interrupted at any time: FILE reads as before, and merging again does the
rest. Until then do not open the images below it: they are mixed. Say by name
which images are meant: once they have left the chain, their numbers stand for
others. With --to a new image takes the result, and the chain stays as it is.`,
		Example: `  vhd merge alice-tuesday.vhd
  vhd merge --from 1 --into 3 alice.vhd
  vhd merge --to flat.vhd --into base.vhd alice.vhd`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 && flags.into == "" {
				return usageErrorf("the image that receives is named with --into: --into %s %s", args[1], args[0])
			}
			return files("FILE")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := mergeFile(cmd.Context(), a, &flags, args[0], cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return flags.print(cmd.OutOrStdout(), m, m.String())
		},
		SuggestFor:            []string{"collapse"},
		DisableFlagsInUseLine: true,
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&flags.from, "from", "0", "the topmost `IMAGE` that is folded")
	cmd.Flags().StringVar(&flags.into, "into", "", "the `IMAGE` that receives (the one below --from)")
	cmd.Flags().StringVarP(&flags.into, "backing", "b", "", "the `IMAGE` that receives, as qemu-img commit has it: the same as --into")
	cmd.Flags().StringVar(&flags.to, "to", "", "let `NEW`, a new image, take the result")
	cmd.Flags().BoolVar(&flags.force, "force", false, "although other images have one of these as their parent")
	addFormat(cmd)
	for name, complete := range map[string]cobra.CompletionFunc{"from": a.inChain(0, 1), "into": a.inChain(1, 0), "backing": a.inChain(1, 0)} {
		_ = cmd.RegisterFlagCompletionFunc(name, complete) // an error: there is no such flag
	}
	return cmd
}

// merged is what a merge did, or would do.
type merged struct {
	outcome
	Merged []string `json:"merged"` // images, topmost first
	Into   string   `json:"into"`
	To     string   `json:"to,omitempty"`
	Bytes  int64    `json:"bytes"` // that they hold, each sector once
	Chain  []string `json:"chain"` // by now, or as it would be
}

func mergeFile(ctx context.Context, a *app, flags *mergeFlags, name string, stderr io.Writer) (m merged, err error) {
	opts := a.options()
	opts.Writable = !flags.dryRun && flags.to == ""
	d, err := vhd.Open(name, &opts)
	if err != nil {
		return m, adviseFormat(name, err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	from, into, err := flags.levels(ctx, a, d)
	if err != nil {
		return m, err
	}
	if flags.to != "" {
		if err := mustBeNameOfVHD(flags.to); err != nil {
			return m, err
		}
		if err := mustNotExist(flags.to); err != nil {
			return m, adviseNew(flags.to, inFile(flags.to, err))
		}
	}
	before := chainNames(d)
	m = merged{outcome: flags.outcomeOf(name), Merged: before[from:into], Into: before[into], To: flags.to, Chain: before}
	for e, err := range d.ChangedExtents(from, into, 0, d.Size()) {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return m, flags.orInterrupted(name, err, "nothing was changed")
		}
		m.Bytes += e.Length
	}
	progress, end := flags.progressOf(stderr, "merge")
	defer end()
	err = d.Merge(ctx, from, into, vhd.MergeOptions{Output: flags.to, Force: flags.force, DryRun: flags.dryRun, Progress: progress})
	if flags.to == "" {
		m.Chain = slices.Concat(before[:from], before[into:])
	}
	left := "it reads as before, and merging again does the rest"
	if flags.to != "" {
		left, err = "nothing was made", adviseNew(flags.to, err)
	}
	return m, adviseChildren(flags.orInterrupted(name, err, left))
}

// adviseChildren adds to the error of a merge that others would suffer from what can be
// done.
func adviseChildren(err error) error {
	if !errors.Is(err, vhd.ErrOtherChildren) {
		return err
	}
	return hintedError{err, "with --to NEW.vhd a new image takes the result, and all stay as they are; with --force that file is no child that anybody needs"}
}

// levels are where the images are in the chain.
func (f *mergeFlags) levels(ctx context.Context, a *app, d *vhd.Disk) (from, into int, err error) {
	if from, err = level(d, f.from); err != nil {
		return 0, 0, inOption("--from", f.from, adviseDone(d, f.from, err))
	}
	into = from + 1
	if f.into != "" {
		if into, err = level(d, f.into); err != nil {
			return 0, 0, inOption("--into", f.into, err)
		}
	}
	names := chainNames(d)
	switch {
	case into >= len(names):
		return 0, 0, hintedError{fmt.Errorf("%s: it has no parent that it could be folded into", names[from]), hintChild(ctx, a, names, from)}
	case into <= from:
		return 0, 0, usageErrorf("%s is not below %s", names[into], names[from])
	}
	return from, into, nil
}

// hintChild is the command that folds a child of the chain's last image into it, if one is known.
func hintChild(ctx context.Context, a *app, names []string, from int) string {
	const name = "name the child, of which the content goes to its parent"
	if from > 0 {
		return name + ": vhd merge --from " + quote(names[from-1]) + " " + quote(names[0])
	}
	children, err := childrenBeside(ctx, a, names[from])
	switch {
	case err != nil || len(children) == 0:
		return "name the child: what it holds goes to its parent"
	case len(children) == 1:
		return name + ": vhd merge " + quote(children[0])
	}
	needs := "needs"
	if len(children) > 2 {
		needs = "need"
	}
	return fmt.Sprintf("%s: vhd merge --to NEW.vhd %s makes an image of both, as %s %s %s as it is",
		name, quote(children[0]), someOf(children[1:]), needs, names[from])
}

var errNoSuchImage = errors.New("no image of the chain is called so")

// adviseDone adds to the error of a merge from an image that is not in the chain that it may
// have been folded already, where a name says which it is.
func adviseDone(d *vhd.Disk, called string, err error) error {
	if _, notNumber := strconv.Atoi(called); notNumber == nil || !errors.Is(err, errNoSuchImage) {
		return err
	}
	return hintedError{errNoSuchImage, "the chain is " + strings.Join(chainNames(d), ", ") + "; if an earlier merge was to fold it, that is done"}
}

// inOption says which flag, and what it says, err is about.
func inOption(flag, value string, err error) error { return fmt.Errorf("%s %s: %w", flag, value, err) }

// level is the index in the chain of the image that the user calls so.
func level(d *vhd.Disk, called string) (int, error) {
	names := chainNames(d)
	if n, err := strconv.Atoi(called); err == nil && n >= 0 && n < len(names) {
		return n, nil
	}
	found := -1
	for i, name := range names {
		same := name == called || filepath.Clean(name) == filepath.Clean(called) || filepath.Base(name) == called
		if same && found >= 0 {
			return 0, hintedError{errors.New("two images of the chain are called so"), "give the number of one: 0 is the first of " + strings.Join(names, ", ")}
		}
		if same {
			found = i
		}
	}
	if found < 0 {
		return 0, hintedError{errNoSuchImage, "the chain is " + strings.Join(names, ", ")}
	}
	return found, nil
}

func chainNames(d *vhd.Disk) (names []string) {
	for _, image := range d.Chain() {
		names = append(names, image.Name())
	}
	return names
}

// String is all in a sentence.
func (m merged) String() string {
	images := strings.Join(m.Merged, ", ")
	into := m.Into
	if m.To != "" {
		into += " as " + m.To
	}
	text := fmt.Sprintf(m.done("%s: folded into %s, %s", "%s: would be folded into %s, %s"), images, into, humanSize(m.Bytes))
	if m.To == "" {
		text += m.done("; the chain is ", "; the chain would be ") + strings.Join(m.Chain, ", ")
	}
	return text
}
