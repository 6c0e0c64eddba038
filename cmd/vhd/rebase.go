package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

// rebaseFlags are the flags of rebase.
type rebaseFlags struct {
	workFlags
	parent string
	tree   string
	unsafe bool
}

func rebaseCommand(a *app) *cobra.Command {
	var flags rebaseFlags
	cmd := &cobra.Command{
		Use:   "rebase {-b PARENT [-u] FILE | --tree DIR} [--dry-run] [--output human|json] [-p] [-q]",
		Short: "Give an image another parent, or tell it where its parent is now",
		Long: `Give FILE, a differencing image, another parent, or tell it where its parent is
now.

A parent with the identifier that FILE has recorded is its own, wherever it is now:
only the path changes, also when FILE does not find it any more. With another
parent, or a copy of the one that FILE finds still, it reads the same as before:
what differs is copied to it first. For that the former parent must be there; with
-u nothing is copied, and FILE reads as the new parent has it.

With --tree, all images in DIR, and in the folders in it, which do not find their
parents any more are told where these are in DIR. Images are known by their
identifiers. What can not be told for sure is left as it is, and the exit code is 1.`,
		Example: `  vhd rebase -b bases/win10.vhd alice.vhd
  vhd rebase --dry-run -b bases/win11.vhd alice.vhd
  vhd rebase --tree /srv/disks --dry-run`,
		Args: func(cmd *cobra.Command, args []string) error { return flags.check(cmd, args) },
		RunE: func(cmd *cobra.Command, args []string) error {
			if flags.tree != "" {
				return runRebaseTree(cmd, a, &flags)
			}
			return runRebase(cmd, a, &flags, args[0])
		},
		Aliases:               []string{"reconnect", "set-parent"},
		SuggestFor:            []string{"relink", "reparent", "set"},
		DisableFlagsInUseLine: true,
	}
	flags.add(cmd)
	cmd.Flags().StringVarP(&flags.parent, "backing", "b", "", "the `PARENT` to be")
	cmd.Flags().StringVar(&flags.tree, "tree", "", "mend all images in `DIR` that do not find their parents")
	cmd.Flags().BoolVarP(&flags.unsafe, "unsafe", "u", false, "copy nothing, whatever the new parent holds")
	addFormat(cmd)
	addBackingFormat(cmd)
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
	}
	return files("FILE")(cmd, args)
}

// rebased is what became of one image, or would, with the keys of vhd info.
type rebased struct {
	outcome
	Parent     string            `json:"backing-filename,omitempty"`
	ParentID   string            `json:"parent-unique-id,omitempty"`
	References []parentReference `json:"parent-references,omitempty"` // paths to the parent that it has then
	Bytes      int64             `json:"bytes"`                       // that were copied to it
	Error      string            `json:"error,omitempty"`
}

func runRebase(cmd *cobra.Command, a *app, flags *rebaseFlags, name string) error {
	opts := a.options()
	opts.Writable = !flags.dryRun
	d, err := vhd.Open(name, &opts)
	lost := isLostParent(err)
	if lost { // it may be about to be told where
		opts.NoParents = true
		d, err = vhd.Open(name, &opts)
	}
	if err != nil {
		return adviseFormat(name, err)
	}
	r := rebased{outcome: flags.outcomeOf(name), Parent: flags.parent}
	err = adviseChild(name, flags.parent, r.rebase(cmd.Context(), d, flags, cmd.ErrOrStderr()))
	if lost && errors.Is(err, vhd.ErrParentNotFound) && !isLostParent(err) {
		err = hintedError{err, "put its former parent back, or take -u if what it reads as may change"}
	}
	if err := errors.Join(err, d.Close()); err != nil {
		return adviseFormat(flags.parent, adviseRebase(name, flags.parent, err))
	}
	return flags.print(cmd.OutOrStdout(), r, r.lines()...)
}

// adviseRebase adds to the error of a parent that an image can't have what can be done.
func adviseRebase(name, parent string, err error) error {
	_, lost := errors.AsType[*vhd.ParentError](err)
	switch {
	case errors.Is(err, vhd.ErrChainLoop) && !lost:
		return hintedError{err, "the parent can be no child of " + name + ", and not " + name + " itself"}
	case errors.Is(err, fs.ErrInvalid):
		return hintedError{err, "only a differencing disk has one: vhd create -b " + quote(parent) + " NEW.vhd makes a new one"}
	}
	return err
}

// adviseChild tells of a parent that has the image among its own parents. Nothing is wrong with that
// one, whose search for them came by an image that is in the chain already.
func adviseChild(name, parent string, err error) error {
	lost, ok := errors.AsType[*vhd.ParentError](err)
	if !ok || !slices.ContainsFunc(lost.Attempts, func(a vhd.ParentAttempt) bool {
		return errors.Is(a.Err, vhd.ErrChainLoop) && isSameFile(a.Name, name)
	}) {
		return err
	}
	return toldError{fmt.Sprintf("%s: chain of parents would be a loop: %s is among its parents", parent, name), vhd.ErrChainLoop}
}

// isLostParent says whether err is about a parent that is not where it was looked
// for.
func isLostParent(err error) bool {
	_, lost := errors.AsType[*vhd.ParentError](err)
	return lost && !errors.Is(err, vhd.ErrLocked)
}

func (r *rebased) rebase(ctx context.Context, d *vhd.Disk, flags *rebaseFlags, stderr io.Writer) error {
	progress, end := flags.progressOf(stderr, "rebase")
	defer end()
	opts := vhd.RebaseOptions{Unsafe: flags.unsafe, Progress: progress}
	looked := opts
	if !flags.dryRun { // what is to be copied, the rebase finds by itself
		looked = vhd.RebaseOptions{Unsafe: true}
	}
	plan, err := d.PlanRebase(ctx, flags.parent, looked)
	if err == nil && !flags.dryRun {
		before := heldByLeaf(ctx, d)
		err = d.RebaseContext(ctx, flags.parent, opts)
		plan.Copied = heldByLeaf(ctx, d) - before
	}
	r.ParentID, r.Bytes = plan.ParentID.String(), plan.Copied
	for _, ref := range plan.Refs {
		r.References = append(r.References, parentReference(ref))
	}
	return flags.orInterrupted(r.Filename, err, "it has its former parent still, and the same rebase again does the rest")
}

// lines tell of the parent, and in a dry run of all that would be written.
func (r *rebased) lines() []string {
	line := fmt.Sprintf(r.done("%s: its parent is %s now", "%s: its parent would be %s"), r.Filename, r.Parent)
	if r.Bytes > 0 {
		line += fmt.Sprintf(r.done("; %s that differ were copied to %s", "; %s that differ would be copied to %s"), humanSize(r.Bytes), r.Filename)
	}
	lines := []string{line}
	if !r.DryRun || r.ParentID == "" {
		return lines
	}
	for _, ref := range r.References {
		lines = append(lines, fmt.Sprintf("  stored as: %s (%s)", ref.Path, ref.Origin))
	}
	return append(lines, "  identifier: "+r.ParentID)
}

// adviseInTree adds to the error of an image whose parent was looked for in a whole tree what can be done: if
// several may be it, the command that takes one of them.
func adviseInTree(r *vhd.Rebased, root string) error {
	if len(r.Candidates) > 0 {
		return hintedError{r.Err, hintFound(r.Name, r.Candidates)}
	}
	if _, lost := errors.AsType[*vhd.ParentError](r.Err); !lost {
		return r.Err
	}
	return hintedError{r.Err, strings.Replace(hintFrom(r.Err, root, nowhereElse), orInATree, "", 1)}
}

func runRebaseTree(cmd *cobra.Command, a *app, flags *rebaseFlags) error {
	if err := mustBeDirectory(flags.tree); err != nil {
		return adviseMissing(flags.tree, inFile("--tree "+flags.tree, err))
	}
	progress, end := flags.progressIn("images", cmd.ErrOrStderr(), "rebase")
	defer end()
	opts := vhd.RebaseTreeOptions{Options: a.options(), DryRun: flags.dryRun, Progress: progress}
	if opts.Root == anywhere {
		opts.Root = "" // the tree: a copy of one is to find its own images, and not the original's
	}
	found, err := vhd.RebaseTree(cmd.Context(), flags.tree, opts)
	end()
	err = flags.orInterrupted(flags.tree, err, "what was mended remains so, and the same again does the rest")
	all, lines, failed := []rebased{}, []string{}, false
	for _, r := range found {
		one := rebased{outcome: flags.outcomeOf(r.Name), Parent: r.Parent}
		if r.Err != nil {
			failed, one.Changed, one.Error = true, false, bare(r.Err.Error())
			reportError(cmd.ErrOrStderr(), cmd, adviseInTree(&r, a.root))
		} else {
			lines = append(lines, one.lines()...)
		}
		all = append(all, one)
	}
	if len(all) == 0 {
		lines = append(lines, flags.tree+": every image finds its parent")
	}
	if err == nil || len(all) > 0 {
		err = errors.Join(err, flags.print(cmd.OutOrStdout(), all, lines...))
	}
	if err == nil && failed {
		return exitCodeError{exitError}
	}
	return err
}
