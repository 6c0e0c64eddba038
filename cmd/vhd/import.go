package main

import (
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

func importCommand() *cobra.Command {
	var m makeFlags
	cmd := &cobra.Command{
		Use:   "import [-t TYPE] [--block-size SIZE] IN.raw FILE",
		Short: "Make an image of the raw content of a disk",
		Long: `Make an image of the raw content of a disk. Zeros take no space in it. If the
content does not end with a whole sector of 512 bytes, zeros are added.

FILE appears when it is whole.`,
		Example: "  vhd import alice.raw alice.vhd",
		Args:    files("IN.raw", "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			diskType := vhd.DiskType(m.diskType)
			if diskType == vhd.Differencing {
				return usageErrorf("raw content becomes a fixed or a dynamic image")
			}
			if err := checkUnits(0, m.blockSize, diskType); err != nil {
				return err
			}
			return runImport(cmd.Context(), m, args[0], args[1], cmd.ErrOrStderr())
		},
		SuggestFor:            []string{"copy"},
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().VarP(&m.diskType, "type", "t", "fixed or dynamic (dynamic)")
	cmd.Flags().Var(&m.blockSize, "block-size", "what the image grows by, a power of two (2M)")
	return cmd
}

func runImport(ctx context.Context, m makeFlags, from, name string, stderr io.Writer) error {
	if err := mustNotExist(name); err != nil {
		return inFile(name, err)
	}
	source, size, err := openRaw(from)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }() // it was only read
	p := newProgress(stderr, "import", size)
	defer p.end()
	temp := unfinishedName(name)
	err = writeImage(ctx, m, source, size, temp, p)
	if err == nil {
		err = moveNew(temp, name)
	}
	if err == nil {
		syncDirOf(name)
		return nil
	}
	if removeErr := os.Remove(temp); !errors.Is(removeErr, fs.ErrNotExist) {
		err = errors.Join(err, removeErr)
	}
	return renamedError{err, temp, name}
}

// renamedError speaks of a file by the name that the user knows.
type renamedError struct {
	error
	temp, name string
}

func (e renamedError) Error() string { return strings.ReplaceAll(e.error.Error(), e.temp, e.name) }
func (e renamedError) Unwrap() error { return e.error }

// openRaw opens what holds raw content, a file or a device, and tells its size.
func openRaw(name string) (*os.File, int64, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, 0, inFile(name, err)
	}
	if mode := info.Mode(); !mode.IsRegular() && mode&fs.ModeDevice == 0 {
		return nil, 0, fmt.Errorf("%s: it is neither a file nor a disk", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, inFile(name, err)
	}
	size, err := f.Seek(0, io.SeekEnd) // a device's Stat does not tell
	switch {
	case err != nil:
		err = inFile(name, err)
	case size == 0:
		err = fmt.Errorf("%s: it is empty", name)
	case isVHD(name):
		err = hintedError{fmt.Errorf("%s: it is a VHD image, not raw content", name),
			"make raw content of it first: vhd export " + quote(name) + " OUT.raw"}
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, size, nil
}

// writeImage makes an image of size bytes of raw content.
func writeImage(ctx context.Context, m makeFlags, source *os.File, size int64, name string, p *progress) error {
	const sector = vhd.SectorSize
	d, err := vhd.Create(name, vhd.CreateOptions{
		Type: vhd.DiskType(m.diskType), Size: (size + sector - 1) / sector * sector, BlockSize: int64(m.blockSize),
	})
	if err != nil {
		return err
	}
	err = d.Import(ctx, source, size, vhd.ImportOptions{Progress: p.at})
	err = inRaw(source.Name(), err)
	if errors.Is(err, context.Canceled) {
		err = inFile(name, err)
	}
	return errors.Join(err, d.Close())
}
