package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

// importFlags are the flags of import.
type importFlags struct {
	workFlags
	makeFlags
}

func importCommand() *cobra.Command {
	var m importFlags
	cmd := &cobra.Command{
		Use:   "import [-t TYPE] [--block-size SIZE] [--creator NAME] [--dry-run] [--output human|json] [-p] [-q] IN.raw FILE",
		Short: "Make an image of the raw content of a disk",
		Long: `Make an image of the raw content of a disk. Zeros take no space in it. If the
content does not end with a whole sector of 512 bytes, zeros are added.

` + creatorHelp + `.

FILE appears when it is whole.`,
		Example: "  vhd import alice.raw alice.vhd",
		Args:    files("IN.raw", "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := mustBeNameOfVHD(args[1]); err != nil {
				return err
			}
			return runImport(cmd, &m, args[0], args[1])
		},
		SuggestFor:            []string{"copy"},
		ValidArgsFunction:     inOrder(aFile, anImage),
		DisableFlagsInUseLine: true,
	}
	m.add(cmd)
	cmd.Flags().VarP(&m.diskType, "type", "t", "fixed or dynamic (dynamic)")
	cmd.Flags().Var(&m.blockSize, "block-size", "what the image grows by, a power of two (2M)")
	m.creator.add(cmd, creatorVHD)
	return cmd
}

func runImport(cmd *cobra.Command, m *importFlags, from, name string) error {
	diskType := vhd.DiskType(m.diskType)
	if diskType == vhd.Differencing {
		return usageErrorf("raw content becomes a fixed or a dynamic image")
	}
	if err := checkUnits(0, m.blockSize, diskType); err != nil {
		return err
	}
	c, err := importFile(cmd.Context(), m, from, name, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	return m.print(cmd.OutOrStdout(), c, c.String())
}

func importFile(ctx context.Context, m *importFlags, from, name string, stderr io.Writer) (c copied, err error) {
	if err := mustNotExist(name); err != nil {
		return c, adviseNew(name, inFile(name, err))
	}
	source, size, err := openRaw(from)
	if err != nil {
		return c, err
	}
	defer func() { _ = source.Close() }() // it was only read
	c = copied{outcome: m.outcomeOf(name), Source: from}
	opts := m.options()
	if opts.Perm, err = permOf(from); err != nil {
		return c, err
	}
	progress, end := m.progressOf(stderr, "import")
	defer end()
	if m.dryRun {
		err = c.plan(ctx, source, size, name, opts, progress)
		return c, adviseNew(name, m.orInterrupted(name, err, ""))
	}
	err = makeWhole(name, moveNew, func(temp string) error {
		if err := c.write(ctx, source, size, temp, opts, progress); err != nil {
			return renamedError{m.orInterrupted(name, err, "nothing was made"), temp, name}
		}
		return nil
	})
	return c, err
}

// renamedError speaks of a file by the name that the user knows.
type renamedError struct {
	error
	temp, name string
}

func (e renamedError) Error() string { return strings.ReplaceAll(e.error.Error(), e.temp, e.name) }
func (e renamedError) Unwrap() error { return e.error }

// openRaw opens what holds raw content, a file or a device, and tells its size. An image
// is not taken for such.
func openRaw(name string) (*os.File, int64, error) {
	f, size, err := openFile(name)
	if err != nil {
		return nil, 0, err
	}
	switch {
	case size == 0:
		err = fmt.Errorf("%s: it is empty", name)
	case isVHD(name):
		err = hintedError{fmt.Errorf("%s: it is a VHD image, not raw content", name),
			"make raw content of it first: vhd export " + quote(name) + " OUT.raw"}
	default:
		err = mustNotBeForeign(name)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, size, nil
}

// openFile opens a file or a device, whatever it holds, and tells its size.
func openFile(name string) (*os.File, int64, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, 0, adviseMissing(name, inFile(name, err))
	}
	if info.IsDir() {
		return nil, 0, directoryError(name, vhd.ErrUnsupported)
	}
	if mode := info.Mode(); !mode.IsRegular() && mode&fs.ModeDevice == 0 {
		return nil, 0, fmt.Errorf("%s: it is neither a file nor a disk", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, inFile(name, err)
	}
	size, err := f.Seek(0, io.SeekEnd) // a device's Stat does not tell
	if err != nil {
		return nil, 0, errors.Join(inFile(name, err), f.Close())
	}
	return f, size, nil
}

// plan finds out what write would make.
func (c *copied) plan(ctx context.Context, source *os.File, size int64, name string, opts vhd.CreateOptions, progress func(done, total int64)) (err error) {
	opts.Size = sectorsUp(size)
	c.Size, c.DiskType = opts.Size, cmp.Or(opts.Type, vhd.Dynamic).String()
	c.Bytes, err = vhd.PlanImport(ctx, name, opts, source, size, vhd.ImportOptions{Progress: progress})
	return inRaw(source.Name(), err)
}

// write makes an image of size bytes of raw content.
func (c *copied) write(ctx context.Context, source *os.File, size int64, name string, opts vhd.CreateOptions, progress func(done, total int64)) error {
	opts.Size = sectorsUp(size)
	d, err := vhd.Create(name, opts)
	if err != nil {
		return err
	}
	err = inRaw(source.Name(), d.Import(ctx, source, size, vhd.ImportOptions{Progress: progress}))
	image := d.Chain()[0]
	c.Size, c.DiskType = d.Size(), image.Footer().Type.String()
	err = errors.Join(err, d.Close())
	c.Bytes = image.FileSize()
	return err
}
