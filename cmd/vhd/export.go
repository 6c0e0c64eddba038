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

func exportCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "export FILE OUT.raw",
		Short: "Copy what an image reads as to a raw file",
		Long: `Copy what an image and its parents read as to a raw file: the disk's bytes, and
nothing else. What is zeros takes no space, where the file system has holes.

OUT.raw appears when it is whole, and replaces a raw file of that name. It never
replaces a VHD image.`,
		Example: "  vhd export alice.vhd alice.raw",
		Args:    files("FILE", "OUT.raw"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runExport(cmd.Context(), a, args[0], args[1], cmd.ErrOrStderr())
		},
		SuggestFor:            []string{"convert"},
		DisableFlagsInUseLine: true,
	}
}

func runExport(ctx context.Context, a *app, name, out string, stderr io.Writer) (err error) {
	d, err := a.open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	target, err := rawTarget(d, out)
	if err != nil {
		return err
	}
	p := newProgress(stderr, "export", d.Size())
	defer p.end()
	return writeRaw(ctx, d, target, p)
}

// rawTarget is the name of the file to be made or replaced, with symbolic links
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
	if err == nil {
		err = f.Chmod(old.Mode().Perm())
	}
	return f, err
}

// writeRaw makes a raw file of the disk's content.
func writeRaw(ctx context.Context, d *vhd.Disk, target string, p *progress) error {
	temp := unfinishedName(target)
	f, err := createLike(temp, target)
	if err != nil {
		return inFile(target, err)
	}
	_, err = d.Export(ctx, f, vhd.ExportOptions{Progress: p.at})
	err = inRaw(target, err)
	if errors.Is(err, context.Canceled) {
		err = inFile(target, err)
	}
	if err == nil {
		err = inFile(target, f.Sync())
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = inFile(target, os.Rename(temp, target))
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	syncDirOf(target)
	return nil
}
