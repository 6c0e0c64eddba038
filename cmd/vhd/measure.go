package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

// measureFlags are the flags of measure.
type measureFlags struct {
	workFlags
	formFlags
	size sizeValue
}

func measureCommand(a *app) *cobra.Command {
	var flags measureFlags
	cmd := &cobra.Command{
		Use:   "measure [-O TYPE] [-o OPTION] [--base N] [--azure] [--output human|json] [-p] {FILE | --size SIZE}",
		Short: "Tell how much space a copy of a disk would take",
		Long: `Tell how much space the file would take that vhd export makes of FILE with the same
flags: now, and at most, when all of the disk holds something.

Of a raw file or a fixed image, that is what of the disk any image holds, since the
rest becomes holes, where the file system has such; zeros among it take none either,
but no data is read. Without holes, it takes all of the second number. Of a dynamic
or differencing image, it is the size of its file.

With --size, tell it of an empty disk of that size.`,
		Example: `  vhd measure -O dynamic alice.vhd
  vhd measure --azure --output json alice.vhd
  vhd measure -O fixed --size 40G`,
		Args: func(cmd *cobra.Command, args []string) error { return flags.check(cmd, args) },
		RunE: func(cmd *cobra.Command, args []string) error {
			opts, err := flags.options()
			if err != nil {
				return err
			}
			progress, end := flags.progressOf(cmd.ErrOrStderr(), "measure")
			opts.Progress = progress
			m, err := flags.measure(cmd.Context(), a, opts, args)
			end()
			if err != nil {
				return err
			}
			return flags.print(cmd.OutOrStdout(), m, m.lines()...)
		},
		SuggestFor:            []string{"size", "du", "estimate"},
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     inOrder(anImage),
	}
	flags.formFlags.add(cmd)
	flags.subformat.add(cmd)
	flags.addForm(cmd)
	flags.addProgress(cmd)
	addFormat(cmd)
	a.addForceShare(cmd)
	cmd.Flags().Var(&flags.size, "size", "of an empty disk: bytes, or with K, M, G or T behind the number")
	return cmd
}

const maxMeasured = 1 << 60 // bytes

func (f *measureFlags) check(cmd *cobra.Command, args []string) error {
	diskType, err := f.diskType()
	switch {
	case f.size == 0:
		return files("FILE")(cmd, args)
	case len(args) > 0:
		return usageErrorf("--size is of a disk that there is not: leave out %s, or --size", args[0])
	case err != nil:
		return err
	case diskType == vhd.Differencing:
		return usageErrorf("an empty disk has no parent: name a FILE, or leave out -O differencing")
	}
	if f.size > maxMeasured {
		return usageErrorf("no disk is that large: --size is at most 1E")
	}
	return checkSize(f.size, 0, diskType)
}

// measured is what a copy would take, bytes, with the keys of qemu-img measure.
type measured struct {
	Required       int64 `json:"required"`
	FullyAllocated int64 `json:"fully-allocated"`
}

func (f *measureFlags) measure(ctx context.Context, a *app, opts vhd.ExportOptions, args []string) (m measured, err error) {
	if f.size != 0 {
		return measureEmpty(int64(f.size), opts)
	}
	d, err := a.open(args[0])
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if _, m.FullyAllocated, err = d.ExportBounds(opts); err != nil {
		return m, err
	}
	if hasBlocks(opts) {
		m.Required, err = d.ExportSize(ctx, opts)
	} else {
		m.Required, err = heldByAny(ctx, d, opts.Progress)
		m.Required += footerOf(opts)
	}
	return m, orInterrupted(args[0], err, "it was not measured to the end")
}

// hasBlocks says whether the copy is of a type that grows.
func hasBlocks(opts vhd.ExportOptions) bool {
	return opts.Type == vhd.Dynamic || opts.Type == vhd.Differencing
}

// footerOf is the size of the footer behind the content of a copy without blocks.
func footerOf(opts vhd.ExportOptions) int64 {
	if opts.Type == vhd.Fixed || opts.Azure {
		return vhd.SectorSize
	}
	return 0
}

// heldByAny is how many bytes of the disk any image of its chain holds.
func heldByAny(ctx context.Context, d *vhd.Disk, progress func(done, total int64)) (n int64, err error) {
	for e, err := range extentsOf(ctx, d, progress) {
		if err != nil {
			return 0, err
		}
		if e.Depth != vhd.Hole {
			n += e.Length
		}
	}
	return n, nil
}

// measureEmpty measures a copy of a disk that holds nothing.
func measureEmpty(size int64, opts vhd.ExportOptions) (m measured, err error) {
	d, err := openEmpty(size)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	m.Required, m.FullyAllocated, err = d.ExportBounds(opts)
	if !hasBlocks(opts) {
		m.Required = footerOf(opts)
	}
	return m, err
}

// openEmpty opens a fixed disk of zeros that is in no file.
func openEmpty(size int64) (*vhd.Disk, error) {
	footer, err := vhd.Footer{DataOffset: -1, OriginalSize: size, CurrentSize: size, Type: vhd.Fixed}.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return vhd.OpenChain(nil, vhd.ReadOnlyFile(emptyImage{size, footer}, size+vhd.SectorSize))
}

// emptyImage is what the file would hold: zeros, and the footer behind them.
type emptyImage struct {
	size   int64
	footer []byte
}

func (e emptyImage) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if at := off - e.size; at > -int64(len(p)) {
		copy(p[max(-at, 0):], e.footer[max(at, 0):])
	}
	return len(p), nil
}

// lines are those of qemu-img.
func (m measured) lines() []string {
	return []string{
		"required size:         " + exactSize(m.Required),
		"fully allocated size:  " + exactSize(m.FullyAllocated),
	}
}
