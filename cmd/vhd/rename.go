package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

// renameFlags are the flags of rename.
type renameFlags struct {
	search []string
	dryRun bool
	output outputValue
	quiet  bool
}

func renameCommand(a *app) *cobra.Command {
	flags := renameFlags{output: outputHuman}
	cmd := &cobra.Command{
		Use:   "rename [--search DIR] [--dry-run] [--output human|json] [-q] OLD NEW",
		Short: "Move an image, and tell its children",
		Long: `Give the image OLD the name NEW, in the same directory or in another one of the
same file system, and tell its children of it. They are looked for in the two
directories, and in those named with --search.

Neither OLD nor its children may be in use. NEW never takes the place of another
file.`,
		Example: `  vhd rename base.vhd win10.vhd
  vhd mv base.vhd bases/win10.vhd --search alices --search bobs`,
		Aliases: []string{"mv"},
		Args:    files("OLD", "NEW"),
		RunE:    func(cmd *cobra.Command, args []string) error { return runRename(cmd, a, &flags, args[0], args[1]) },

		SuggestFor:            []string{"move"},
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().StringArrayVar(&flags.search, "search", nil, "look for children in `DIR` too; may be given again")
	cmd.Flags().BoolVar(&flags.dryRun, "dry-run", false, "tell what would be done, and change nothing")
	cmd.Flags().Var(&flags.output, "output", outputUsage)
	cmd.Flags().BoolVarP(&flags.quiet, "quiet", "q", false, "print nothing but errors")
	return cmd
}

// renamed is what became of an image.
type renamed struct {
	Filename string   `json:"filename"`
	Former   string   `json:"former-filename"`
	Changed  bool     `json:"changed"`
	Children []string `json:"children"`
}

func runRename(cmd *cobra.Command, a *app, flags *renameFlags, from, to string) error {
	opts := vhd.RenameOptions{Options: a.options(), DryRun: flags.dryRun}
	opts.Search = flags.search
	children, err := vhd.Rename(cmd.Context(), from, to, opts)
	if errors.Is(err, context.Canceled) {
		err = fmt.Errorf("%s: interrupted, it has its name still", from)
	}
	if err != nil || flags.quiet {
		return adviseFormat(from, err)
	}
	stdout := cmd.OutOrStdout()
	if flags.output == outputJSON {
		return printJSON(stdout, renamed{Filename: to, Former: from, Changed: !flags.dryRun, Children: append([]string{}, children...)})
	}
	form := "%s: it is %s now"
	if flags.dryRun {
		form = "%s: it would be %s"
	}
	fmt.Fprintln(stdout, printable(fmt.Sprintf(form, from, to)))
	for _, child := range children {
		fmt.Fprintln(stdout, printable("  its child "+child))
	}
	return nil
}
