package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

// snapshotFlags are the flags of snapshot.
type snapshotFlags struct {
	workFlags
	blockSize sizeValue
}

func snapshotCommand(a *app) *cobra.Command {
	var flags snapshotFlags
	cmd := &cobra.Command{
		Use:   "snapshot [--block-size SIZE] [--dry-run] [--output human|json] [-p] [-q] IMAGE NEW",
		Short: "Keep an image as it is, and go on in a new one",
		Long: `Make a differencing image NEW on top of IMAGE, which must not be written any
more from then on: what it holds now is the snapshot. A machine goes on with NEW.

What a crash left unfinished in IMAGE is mended first. NEW never takes the place
of another file.`,
		Example: `  vhd snapshot alice.vhd alice-tuesday.vhd`,
		Args:    files("IMAGE", "NEW"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkUnits(0, flags.blockSize, vhd.Differencing); err != nil {
				return err
			}
			s, err := snapshotFile(a, &flags, args[0], args[1])
			if err != nil {
				return err
			}
			return flags.print(cmd.OutOrStdout(), s, s.String())
		},
		Aliases:               []string{"checkpoint"},
		SuggestFor:            []string{"branch", "fork", "child"},
		DisableFlagsInUseLine: true,
	}
	flags.add(cmd) // with -p, as elsewhere: it takes no time, so there is nothing to be told
	cmd.Flags().Var(&flags.blockSize, "block-size", "what the new image grows by, a power of two (2M)")
	return cmd
}

// snapshotted is the new image, which always has a parent.
type snapshotted struct {
	outcome
	DiskType string   `json:"disk-type"`
	Size     int64    `json:"virtual-size"`
	Parent   string   `json:"backing-filename"`
	Chain    []string `json:"chain"`
}

func snapshotFile(a *app, flags *snapshotFlags, name, to string) (s snapshotted, err error) {
	opts := a.options()
	opts.Writable = !flags.dryRun
	d, err := vhd.Open(name, &opts)
	if err != nil {
		return s, adviseFormat(name, err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if err := mustBeNameOfVHD(to); err != nil {
		return s, err
	}
	chain := append([]string{to}, chainNames(d)...)
	create := vhd.CreateOptions{BlockSize: int64(flags.blockSize)}
	if flags.dryRun {
		err = d.PlanSnapshot(to, create)
	} else {
		err = d.Snapshot(to, create)
	}
	return snapshotted{flags.outcomeOf(to), vhd.Differencing.String(), d.Size(), name, chain}, adviseNew(to, adviseDeep(chain[1:], err))
}

// adviseDeep adds to the error of a chain that can have no image more what makes it shorter: the first and
// the last image stay.
func adviseDeep(chain []string, err error) error {
	if !errors.Is(err, vhd.ErrChainTooDeep) || len(chain) < 4 {
		return err
	}
	return hintedError{err, "fold some of them, which makes the chain shorter: vhd merge --from " + quote(chain[1]) +
		" --into " + quote(chain[len(chain)-2]) + " " + quote(chain[0])}
}

// String is all in a sentence.
func (s snapshotted) String() string {
	what := created{s.outcome, s.DiskType, s.Size, s.Parent}.what()
	return fmt.Sprintf(s.done("%s: %s, a chain of %d images", "%s: would be a %s, a chain of %d images"), s.Filename, what, len(s.Chain))
}
