package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

// rebaseFlags are the flags of rebase.
type rebaseFlags struct {
	parent   string
	tree     string
	unsafe   bool
	dryRun   bool
	output   outputValue
	progress bool
	quiet    bool
}

func rebaseCommand(a *app) *cobra.Command {
	flags := rebaseFlags{output: outputHuman}
	cmd := &cobra.Command{
		Use:   "rebase {-b PARENT [-u] FILE | --tree DIR [--dry-run]} [--output human|json] [-p] [-q]",
		Short: "Give an image another parent, or tell it where its parent is now",
		Long: `Give FILE, a differencing image, another parent, or tell it where its parent is
now.

A parent with the identifier that FILE has recorded is its own, wherever it is now:
only the path changes, also when FILE does not find it any more. With another
parent FILE reads the same as before: what differs is copied to it first. For that
the former parent must be there; with -u nothing is copied, and FILE reads as the
new parent has it.

With --tree, all images in DIR, and in the folders in it, which do not find their
parents any more are told where these are in DIR. Images are known by their
identifiers. What can not be told for sure is left as it is, and the exit code is 1.`,
		Example: `  vhd rebase -b bases/win10.vhd alice.vhd
  vhd rebase --tree /srv/disks --dry-run`,
		Args: func(cmd *cobra.Command, args []string) error { return flags.check(cmd, args) },
		RunE: func(cmd *cobra.Command, args []string) error {
			if flags.tree != "" {
				return runRebaseTree(cmd, a, &flags)
			}
			return runRebase(cmd, a, &flags, args[0])
		},
		SuggestFor:            []string{"relink", "reparent", "set-parent"},
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().StringVarP(&flags.parent, "backing", "b", "", "the `PARENT` to be")
	cmd.Flags().StringVar(&flags.tree, "tree", "", "mend all images in `DIR` that do not find their parents")
	cmd.Flags().BoolVarP(&flags.unsafe, "unsafe", "u", false, "copy nothing, whatever the new parent holds")
	cmd.Flags().BoolVar(&flags.dryRun, "dry-run", false, "with --tree: tell what would be done, and change nothing")
	cmd.Flags().Var(&flags.output, "output", outputUsage)
	cmd.Flags().BoolVarP(&flags.progress, "progress", "p", false, "tell on a terminal how far it is")
	cmd.Flags().BoolVarP(&flags.quiet, "quiet", "q", false, "print nothing but errors")
	return cmd
}

func (f *rebaseFlags) check(cmd *cobra.Command, args []string) error {
	switch {
	case f.tree == "" && f.parent == "":
		return usageErrorf("-b PARENT or --tree DIR is missing")
	case f.tree != "" && (f.parent != "" || f.unsafe):
		return usageErrorf("--tree finds the parents by itself: neither -b nor -u goes with it")
	case f.tree != "":
		return files()(cmd, args)
	case f.dryRun:
		return usageErrorf("--dry-run goes with --tree")
	}
	return files("FILE")(cmd, args)
}

// rebased is what became of one image, with the keys of qemu-img info.
type rebased struct {
	Filename string `json:"filename"`
	Parent   string `json:"backing-filename,omitempty"`
	Changed  bool   `json:"changed"`
	Error    string `json:"error,omitempty"`
}

func runRebase(cmd *cobra.Command, a *app, flags *rebaseFlags, name string) error {
	opts := a.options()
	opts.Writable = true
	d, err := vhd.Open(name, &opts)
	lost := isLostParent(err)
	if lost { // it may be about to be told where
		opts.NoParents = true
		d, err = vhd.Open(name, &opts)
	}
	if err != nil {
		return adviseFormat(name, err)
	}
	err = rebaseDisk(cmd.Context(), d, flags, cmd.ErrOrStderr())
	if lost && errors.Is(err, vhd.ErrParentNotFound) && !isLostParent(err) {
		err = hintedError{err, "put its former parent back, or take -u if what it reads as may change"}
	}
	if err := errors.Join(err, d.Close()); err != nil {
		return adviseFormat(flags.parent, err)
	}
	if flags.quiet {
		return nil
	}
	return printRebased(cmd.OutOrStdout(), flags, []rebased{{Filename: name, Parent: flags.parent, Changed: true}})
}

// isLostParent says whether err is about a parent that is not where it was looked
// for.
func isLostParent(err error) bool {
	_, lost := errors.AsType[*vhd.ParentError](err)
	return lost && !errors.Is(err, vhd.ErrLocked)
}

func rebaseDisk(ctx context.Context, d *vhd.Disk, flags *rebaseFlags, stderr io.Writer) error {
	opts := vhd.RebaseOptions{Unsafe: flags.unsafe}
	if flags.progress {
		p := newProgress(stderr, "rebase", d.Size())
		defer p.end()
		opts.Progress = p.at
	}
	return d.RebaseContext(ctx, flags.parent, opts)
}

func printRebased(stdout io.Writer, flags *rebaseFlags, all []rebased) error {
	if flags.output == outputJSON {
		return printJSON(stdout, all)
	}
	for _, r := range all {
		if r.Error != "" {
			continue // it is told on stderr
		}
		form := "%s: its parent is %s now"
		if flags.dryRun {
			form = "%s: its parent would be %s"
		}
		fmt.Fprintln(stdout, printable(fmt.Sprintf(form, r.Filename, r.Parent)))
	}
	if len(all) == 0 {
		fmt.Fprintln(stdout, printable(flags.tree+": every image finds its parent"))
	}
	return nil
}

func runRebaseTree(cmd *cobra.Command, a *app, flags *rebaseFlags) error {
	opts := vhd.RebaseTreeOptions{Options: a.options(), DryRun: flags.dryRun}
	if opts.Root == anywhere {
		opts.Root = "" // the tree: a copy of one is to find its own images, and not the original's
	}
	found, err := vhd.RebaseTree(cmd.Context(), flags.tree, opts)
	if errors.Is(err, context.Canceled) {
		err = fmt.Errorf("%s: interrupted", flags.tree)
	}
	all, failed := []rebased{}, false
	for _, r := range found {
		one := rebased{Filename: r.Name, Parent: r.Parent, Changed: r.Err == nil && !flags.dryRun}
		if r.Err != nil {
			failed, one.Error = true, bare(r.Err.Error())
			reportError(cmd.ErrOrStderr(), cmd, r.Err)
		}
		all = append(all, one)
	}
	if !flags.quiet && (err == nil || len(all) > 0) {
		err = errors.Join(err, printRebased(cmd.OutOrStdout(), flags, all))
	}
	if err == nil && failed {
		return exitCodeError{exitError}
	}
	return err
}
