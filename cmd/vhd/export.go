package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

// exportFlags say as what an image is exported.
type exportFlags struct {
	workFlags
	diskType exportValue
	base     int
	azure    bool
}

func exportCommand(a *app) *cobra.Command {
	var e exportFlags
	cmd := &cobra.Command{
		Use:     "export [-O TYPE] [--base N] [--azure] [--dry-run] [--output human|json] [-p] [-q] FILE OUT",
		Aliases: []string{"convert"},
		Short:   "Copy what an image reads as to a raw file or a new image",
		Long: `Copy what an image and its parents read as to a raw file, which is the disk's
bytes and nothing else, or to a new image. What is zeros takes no space, where
the file system has holes. vhd convert is the same command.

A differencing image holds only what changed since the image that becomes its
parent. That is looked for in the directory of OUT first, and then where it is.

OUT appears when it is whole. A raw file replaces one of that name, and never a
VHD image. A new image replaces nothing.`,
		Example: `  vhd export alice.vhd alice.raw
  vhd export -O dynamic alice.vhd flat.vhd
  vhd export -O differencing --base 2 alice.vhd changes.vhd
  vhd export --azure alice.vhd azure.vhd`,
		Args: files("FILE", "OUT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts, err := e.options()
			if err != nil {
				return err
			}
			c, err := exportFile(cmd.Context(), a, &e, opts, args[0], args[1], cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return e.print(cmd.OutOrStdout(), c, c.String())
		},
		SuggestFor:            []string{"copy"},
		DisableFlagsInUseLine: true,
	}
	e.add(cmd)
	cmd.Flags().VarP(&e.diskType, "type", "O", "raw, fixed, dynamic or differencing (raw)")
	cmd.Flags().IntVar(&e.base, "base", 0, "parent of a differencing image: `N` levels above FILE (1)")
	cmd.Flags().BoolVar(&e.azure, "azure", false, "a fixed image of whole MiB, and at least 20 of them")
	return cmd
}

// options are what the flags ask for.
func (e *exportFlags) options() (vhd.ExportOptions, error) {
	opts := vhd.ExportOptions{Type: vhd.DiskType(e.diskType), Base: e.base, Azure: e.azure}
	switch {
	case e.azure && opts.Type != 0 && opts.Type != vhd.Fixed:
		return opts, usageErrorf("Azure takes fixed images: leave out -O or --azure")
	case e.base < 0:
		return opts, usageErrorf("--base counts from 1, which is the parent of FILE")
	case e.base != 0 && opts.Type != vhd.Differencing:
		return opts, usageErrorf("only a differencing image has a parent: add -O differencing, or leave out --base")
	case opts.Type == vhd.Differencing:
		opts.Base = max(opts.Base, 1)
	}
	return opts, nil
}

// copied is what became of a copy of a disk, or would.
type copied struct {
	outcome
	Source   string `json:"source-filename"`
	DiskType string `json:"disk-type,omitempty"` // empty: raw content
	Size     int64  `json:"virtual-size"`
	Bytes    int64  `json:"bytes"` // size of the file, holes and all
}

func (e *exportFlags) copyTo(name, source string, d *vhd.Disk, opts vhd.ExportOptions) copied {
	c := copied{outcome: e.outcomeOf(name), Source: source, Size: d.Size()}
	switch {
	case opts.Azure:
		c.DiskType = vhd.Fixed.String()
	case opts.Type == 0:
		c.Format = "raw"
	default:
		c.DiskType = opts.Type.String()
	}
	return c
}

func exportFile(ctx context.Context, a *app, e *exportFlags, opts vhd.ExportOptions, name, out string, stderr io.Writer) (c copied, err error) {
	d, err := a.open(name)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	c = e.copyTo(out, name, d, opts)
	target, place := out, moveNew
	if c.DiskType == "" {
		target, err = rawTarget(d, out)
		place = os.Rename
	} else {
		err = inFile(out, mustNotExist(out))
	}
	if err != nil {
		return c, err
	}
	progress, end := e.progressOf(stderr, "export")
	defer end()
	opts.Progress = progress
	if e.dryRun {
		if err := mustBeDirectory(filepath.Dir(target)); err != nil {
			return c, inFile(out, err)
		}
		if c.Bytes, err = d.ExportSize(ctx, opts); err == nil {
			err = ctx.Err()
		}
	} else {
		c.Bytes, err = writeExport(ctx, d, opts, target, place)
	}
	if c.DiskType == vhd.Fixed.String() {
		c.Size = c.Bytes - vhd.SectorSize // Azure's are larger
	}
	return c, e.orInterrupted(out, err, "nothing was made")
}

// String is all in a sentence.
func (c copied) String() string {
	what := fmt.Sprintf("raw content of %s, %s", c.Source, humanSize(c.Size))
	if c.DiskType != "" {
		what = fmt.Sprintf("%s disk of %s in a file of %s, with the content of %s", c.DiskType, humanSize(c.Size), humanSize(c.Bytes), c.Source)
	}
	return fmt.Sprintf(c.done("%s: %s", "%s: would be %s"), c.Filename, what)
}

// rawTarget is the name of the raw file to be made or replaced, with symbolic links
// followed.
func rawTarget(d *vhd.Disk, out string) (string, error) {
	info, err := os.Stat(out)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return "", inFile(out, err)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s: it is no regular file, and only such can be replaced", out)
	}
	for _, img := range d.Chain() {
		if member, err := os.Stat(img.Name()); err == nil && os.SameFile(member, info) {
			err := fmt.Errorf("%s: it is one of the images that are to be copied", out)
			return "", hintedError{err, "give the raw file another name"}
		}
	}
	if isVHD(out) {
		return "", hintedError{fmt.Errorf("%s: it is a VHD image, which a raw file would replace", out), hintExists}
	}
	target, err := filepath.EvalSymlinks(out)
	return target, inFile(out, err)
}

// isVHD says whether a file is a VHD image, whatever it is called.
func isVHD(name string) bool {
	d, err := vhd.Open(name, &vhd.Options{NoParents: true, Lock: vhd.LockNone})
	if err != nil {
		return errors.Is(err, vhd.ErrCorrupt)
	}
	_ = d.Close() // read-only
	return true
}

// createLike makes the file temp, to take target's place: nobody may read it who
// may not read what is there.
func createLike(temp, target string) (*os.File, error) {
	const newFile = 0o666
	old, err := os.Stat(target)
	if err != nil {
		return os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, newFile)
	}
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, old.Mode().Perm()&newFile|0o200)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(old.Mode().Perm()); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(temp))
	}
	return f, nil
}

// writeExport makes a file of what the disk is exported as, to which place gives its
// name in the end, and returns its size.
func writeExport(ctx context.Context, d *vhd.Disk, opts vhd.ExportOptions, target string, place func(temp, target string) error) (n int64, err error) {
	temp := unfinishedName(target)
	f, err := createLike(temp, target)
	if err != nil {
		return 0, inFile(target, err)
	}
	opts.Sync = true
	n, err = d.Export(ctx, f, opts)
	err = errors.Join(inRaw(target, err), f.Close())
	if err == nil {
		err = inFile(target, place(temp, target))
	}
	if err != nil {
		return 0, errors.Join(err, os.Remove(temp))
	}
	syncDirOf(target)
	return n, nil
}
