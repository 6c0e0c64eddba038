package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

func snapshotCommand(a *app) *cobra.Command {
	var blockSize sizeValue
	cmd := &cobra.Command{
		Use:   "snapshot [--block-size SIZE] IMAGE NEW",
		Short: "Keep an image as it is, and go on in a new one",
		Long: `Make a differencing image NEW on top of IMAGE, which must not be written any
more from then on: what it holds now is the snapshot. A machine goes on with NEW.

What a crash left unfinished in IMAGE is mended first. NEW never takes the place
of another file.`,
		Example: `  vhd snapshot alice.vhd alice-tuesday.vhd`,
		Args:    files("IMAGE", "NEW"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkUnits(0, blockSize, vhd.Differencing); err != nil {
				return err
			}
			return runSnapshot(a, args[0], args[1], int64(blockSize), cmd.OutOrStdout())
		},
		SuggestFor:            []string{"checkpoint", "branch"},
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().Var(&blockSize, "block-size", "what the new image grows by, a power of two (2M)")
	return cmd
}

func runSnapshot(a *app, name, to string, blockSize int64, stdout io.Writer) error {
	opts := a.options()
	opts.Writable = true
	d, err := vhd.Open(name, &opts)
	if err != nil {
		return adviseFormat(name, err)
	}
	if err := d.Snapshot(to, vhd.CreateOptions{BlockSize: blockSize}); err != nil {
		return errors.Join(err, d.Close())
	}
	size, depth := d.Size(), len(d.Chain())
	if err := d.Close(); err != nil {
		return err
	}
	fmt.Fprintln(stdout, printable(fmt.Sprintf("%s: differencing disk of %s on top of %s, a chain of %d images", to, humanSize(size), name, depth)))
	return nil
}
