package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

// lsFlags are the flags of ls.
type lsFlags struct {
	workFlags
	recursive bool
	svg       string
}

func lsCommand(a *app) *cobra.Command {
	var flags lsFlags
	cmd := &cobra.Command{
		Use:   "ls [-R] [--svg OUT] [--output human|json] [-p] [DIR]",
		Short: "Draw who is whose child in a folder, and what is missing",
		Long: `Draw the images in the folder DIR, or in the current one, as trees: children below
their parents, with the sizes of the disks and of their files. Below each parent
that is not in the folder, or not to be found, stand its children too. What is
broken has a ✕ and the reason, and what may be, since its parent's file was changed,
an exclamation mark. Hints tell what mends it.

Images that other programs are using are looked at too. Of a parent, only that it
is there, and was not changed since, is made sure; vhd info --chain and vhd check
tell more.

Below the twelfth level a tree goes no further to the right: numbers tell the
levels then. On a terminal, what there is no room for stands below the names.

With --svg, draw the trees as a picture. OUT appears when it is whole, and replaces
a file of that name, but never a VHD image; - is standard output.

The exit code is 0 if the list is whole, even if images in it are broken: vhd check
is for that. It is 1 if there is a folder that can not be read.`,
		Example: `  vhd ls -R /srv/disks
  vhd ls --output json
  vhd ls -R --svg trees.svg /srv/disks`,
		Aliases: []string{"tree"},
		Args:    flags.check,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runLs(cmd, a, &flags, append(args, ".")[0])
		},
		SuggestFor:            []string{"list", "scan", "dir"},
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     inOrder(aDirectory),
	}
	cmd.Flags().BoolVarP(&flags.recursive, "recursive", "R", false, "look into the folders in DIR too")
	cmd.Flags().StringVar(&flags.svg, "svg", "", "draw a picture, and write it to the file `OUT`")
	flags.addForm(cmd)
	flags.addProgress(cmd)
	return cmd
}

func (f *lsFlags) check(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) > 1:
		return usageErrorf("%q is one argument too many", args[1])
	case len(args) == 1 && args[0] == "":
		return usageErrorf("DIR is empty")
	case !cmd.Flags().Changed("svg"):
		return nil
	case f.svg == "":
		return usageErrorf("OUT is empty")
	case f.output == outputJSON:
		return usageErrorf("--svg draws what --output json would tell: leave out one of them")
	}
	return nil
}

func runLs(cmd *cobra.Command, a *app, flags *lsFlags, dir string) error {
	if err := mustBeFolder(dir); err != nil {
		return err
	}
	progress, end := flags.progressIn("images", cmd.ErrOrStderr(), "ls")
	trees, unread, err := scanFolder(cmd.Context(), a, dir, flags.recursive, progress)
	end()
	if err != nil {
		return orInterrupted(dir, err, "not all images were looked at")
	}
	for _, err := range unread {
		reportError(cmd.ErrOrStderr(), cmd, err)
	}
	if len(trees.images) > 0 || len(unread) == 0 {
		err = flags.show(trees, a.root, cmd.OutOrStdout())
	}
	if err == nil && len(unread) > 0 {
		return exitCodeError{exitError}
	}
	return err
}

// scanFolder finds the trees of a folder, and why folders in it can't be read.
func scanFolder(ctx context.Context, a *app, dir string, recursive bool, progress func(done, total int64)) (trees *forest, unread []error, err error) {
	opts := vhd.ScanOptions{Options: a.options(), Recursive: recursive, Progress: progress}
	opts.Lock = vhd.LockNone // nobody is kept from using what is looked at
	found, err := vhd.Scan(ctx, dir, opts)
	if err != nil {
		return nil, nil, err
	}
	for i := range found {
		if found[i].IsDir {
			unread = append(unread, found[i].Err)
		}
	}
	return newForest(dir, recursive, found), unread, nil
}

// mustBeFolder is mustBeDirectory for a verb that many will try with an image.
func mustBeFolder(dir string) error {
	err := mustBeDirectory(dir)
	if err == nil {
		return nil
	}
	if info, statErr := os.Stat(dir); statErr == nil && info.Mode().IsRegular() {
		return hintedError{inFile(dir, err), "vhd info --chain " + quote(dir) + " tells of an image and its parents"}
	}
	return adviseMissing(dir, inFile(dir, err))
}

// show tells of the trees in the form that was asked for.
func (f *lsFlags) show(trees *forest, root string, stdout io.Writer) error {
	switch {
	case f.svg == toStdout:
		_, err := stdout.Write(trees.picture().SVG())
		return inFile(standardOutput, err)
	case f.svg != "":
		if err := writeWhole(f.svg, aPicture, trees.picture().SVG()); err != nil {
			return err
		}
		return f.print(stdout, nil, f.svg+": a picture of "+trees.count())
	case f.output == outputJSON:
		return f.print(stdout, trees.list())
	}
	lines := trees.lines(roomOf(stdout))
	if len(lines) > 0 {
		lines = append(lines, "")
	}
	lines = append(lines, trees.summary())
	for _, hint := range trees.hints(root, "ls") {
		lines = append(lines, "hint: "+hint)
	}
	return f.print(stdout, nil, lines...)
}
