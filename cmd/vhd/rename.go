package main

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

// renameFlags are the flags of rename.
type renameFlags struct {
	workFlags
	search []string
}

func renameCommand(a *app) *cobra.Command {
	var flags renameFlags
	cmd := &cobra.Command{
		Use:   "rename [--search DIR] [--dry-run] [--output human|json] [-p] [-q] OLD NEW",
		Short: "Move an image, and tell its children",
		Long: `Give the image OLD the name NEW, in the same directory or in another one of the
same file system, and tell its children of it. They are looked for in the two
directories, and in those named with --search.

Neither OLD nor its children may be in use. NEW never takes the place of another
file.`,
		Example: `  vhd rename base.vhd win10.vhd
  vhd mv base.vhd bases/win10.vhd --search alices --search bobs`,
		Aliases: []string{"mv", "move"},
		Args:    files("OLD", "NEW"),
		RunE:    func(cmd *cobra.Command, args []string) error { return runRename(cmd, a, &flags, args[0], args[1]) },

		DisableFlagsInUseLine: true,
	}
	flags.add(cmd)
	cmd.Flags().StringArrayVar(&flags.search, "search", nil, "look for children in `DIR` too; may be given again")
	return cmd
}

// renamed is what became of an image.
type renamed struct {
	outcome
	Former   string   `json:"former-filename"`
	Children []string `json:"children"`
}

func runRename(cmd *cobra.Command, a *app, flags *renameFlags, from, to string) error {
	opts := vhd.RenameOptions{Options: a.options(), DryRun: flags.dryRun}
	opts.Search = flags.search
	progress, end := flags.progressIn("references", cmd.ErrOrStderr(), "rename")
	defer end()
	opts.Progress = progress
	children, err := vhd.Rename(cmd.Context(), from, to, opts)
	end()
	if err = flags.orInterrupted(from, err, "it has its name still"); err != nil {
		return adviseNew(to, adviseFormat(from, adviseTaken("a renamed image", adviseOtherFileSystem(from, to, err))))
	}
	r := renamed{outcome: flags.outcomeOf(to), Former: from, Children: append([]string{}, children...)}
	return flags.print(cmd.OutOrStdout(), r, r.lines()...)
}

// adviseOtherFileSystem adds to the error of a rename that can't be one what does the same.
func adviseOtherFileSystem(from, to string, err error) error {
	if !errors.Is(err, syscall.EXDEV) {
		return err
	}
	return otherError(from, to+" is on another file system, where no rename leads",
		"mv "+quote(from)+" "+quote(to)+" moves it; then tell each child, and it if it has a parent: vhd rebase -b PARENT IMAGE", err)
}

// lines tell of the image, and of each child.
func (r *renamed) lines() []string {
	lines := []string{fmt.Sprintf(r.done("%s: it is %s now", "%s: it would be %s"), r.Former, r.Filename)}
	for _, child := range r.Children {
		lines = append(lines, "  its child "+child)
	}
	return lines
}
