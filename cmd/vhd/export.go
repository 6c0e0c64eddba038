package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

// exportFlags say as what an image is exported.
type exportFlags struct {
	workFlags
	formFlags
	creator creatorValue
	backing string // of a differencing image: which one of the chain becomes its parent; empty: as base says
}

func exportCommand(a *app) *cobra.Command {
	var e exportFlags
	cmd := &cobra.Command{
		Use:   "export [-O TYPE] [--base N] [--azure] [--creator NAME] [--dry-run] [--output human|json] [-p] [-q] FILE OUT",
		Short: "Copy what an image reads as to a raw file or a new image",
		Long: `Copy what an image and its parents read as to a raw file, which is the disk's
bytes and nothing else, or to a new image. What is zeros takes no space, where
the file system has holes.

A differencing image holds only what changed since the image that becomes its
parent. It records where that is, also from where OUT is: both can be moved
together.

` + creatorHelp + `, which goes
without saying for --azure, and for vhd convert.

OUT appears when it is whole. A raw file replaces one of that name, and never a
VHD image. A new image replaces nothing. - is standard output, which gets either
in one pass.

A raw file is not called as images are, x.vhd for one, unless -O raw says that
it is one.`,
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
			return runExport(cmd, a, &e, opts, args[0], args[1])
		},
		SuggestFor:            []string{"copy", "clone", "flatten"},
		ValidArgsFunction:     inOrder(anImage, aFile),
		DisableFlagsInUseLine: true,
	}
	e.workFlags.add(cmd)
	e.formFlags.add(cmd)
	e.creator.add(cmd, creatorVHD+", for Azure "+creatorWindows)
	return cmd
}

func runExport(cmd *cobra.Command, a *app, e *exportFlags, opts vhd.ExportOptions, name, out string) error {
	if opts.Creator = e.creator.application(); opts.Creator != "" && opts.Type == 0 && !opts.Azure {
		return usageErrorf("raw content names no creator: add -O, or leave out --creator")
	}
	if out == toStdout && !e.dryRun {
		return e.stream(cmd, a, opts, name)
	}
	c, err := exportFile(cmd, a, e, opts, name, out)
	if err != nil {
		return err
	}
	return e.print(cmd.OutOrStdout(), c, c.String())
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
		c.Format = formatRaw
	default:
		c.DiskType = opts.Type.String()
	}
	return c
}

// open opens the image that is to be copied, and finds the level of the parent to be.
func (e *exportFlags) open(a *app, name string, opts *vhd.ExportOptions) (*vhd.Disk, error) {
	d, err := a.open(name)
	if err != nil || opts.Type != vhd.Differencing {
		return d, err
	}
	if opts.Base, err = e.parentLevel(d, opts.Base); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// parentLevel is the index in the chain of the image that becomes the parent.
func (e *exportFlags) parentLevel(d *vhd.Disk, base int) (int, error) {
	flag, called := "-B", e.backing
	if called == "" {
		flag, called = "--base", strconv.Itoa(base)
	}
	if len(d.Chain()) == 1 {
		name := d.Chain()[0].Name()
		return 0, hintedError{fmt.Errorf("%s: it has no parent, which a differencing image needs", name),
			"a dynamic one needs none: -O dynamic"}
	}
	n, err := level(d, called)
	if err == nil && n == 0 {
		err = hintedError{errors.New("it is what is copied, and no parent of that"), "the chain is " + strings.Join(chainNames(d), ", ")}
	}
	if err != nil {
		return 0, inOption(flag, called, err)
	}
	return n, nil
}

// target is the file that is to be made, and how it gets its name.
func (e *exportFlags) target(verb string, d *vhd.Disk, c *copied) (target string, place func(temp, target string) error, err error) {
	out := c.Filename
	if c.DiskType != "" {
		return out, moveNew, cmp.Or(e.mustBeNameOfForm(out), inFile(out, mustNotExist(out)))
	}
	target, err = rawTarget(d, out)
	if err == nil && e.form == "" {
		err = mustNotBeNameOfImage(verb, c.Source, out)
	}
	return target, os.Rename, err
}

func exportFile(cmd *cobra.Command, a *app, e *exportFlags, opts vhd.ExportOptions, name, out string) (c copied, err error) {
	d, err := e.open(a, name, &opts)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	c = e.copyTo(out, name, d, opts)
	target, place, err := e.target(cmd.Name(), d, &c)
	if err != nil {
		return c, adviseNew(out, err)
	}
	progress, end := e.progressOf(cmd.ErrOrStderr(), "export")
	defer end()
	opts.Progress, opts.Name = progress, out
	ctx := cmd.Context()
	if e.dryRun {
		if err := mustBeDirectory(filepath.Dir(target)); err != nil {
			return c, adviseNew(out, inFile(out, err))
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

// stream writes what the image is exported as to standard output, from first to last. Nothing
// else is printed there.
func (e *exportFlags) stream(cmd *cobra.Command, a *app, opts vhd.ExportOptions, name string) (err error) {
	stdout := cmd.OutOrStdout()
	switch {
	case e.output == outputJSON:
		return usageErrorf("the content and JSON can not both go to standard output: name a file")
	case showsText(stdout):
		return hintedError{inFile(standardOutput, errors.New("it is a terminal, which can not show a disk")),
			"name a file, or the command that takes it: " + typed(wordsTyped(cmd)) + " | COMMAND"}
	}
	d, err := e.open(a, name, &opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	progress, end := e.progressOf(cmd.ErrOrStderr(), "export")
	defer end()
	opts.Progress = progress
	_, err = d.Export(cmd.Context(), stdout, opts)
	return e.orInterrupted(standardOutput, inRaw(standardOutput, err), "what was written is not all")
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
	for _, img := range d.Chain() {
		if isSameFile(img.Name(), out) {
			err := fmt.Errorf("%s: it is one of the images that are to be copied", out)
			return "", hintedError{err, "give the raw file another name"}
		}
	}
	return replaceable(out, "a raw file")
}

// isVHD says whether a file is a VHD image, whatever it is called, also a damaged one.
func isVHD(name string) bool {
	d, err := vhd.Open(name, &vhd.Options{NoParents: true, Lock: vhd.LockNone})
	switch {
	case err == nil:
		_ = d.Close() // read-only
		return true
	case lacksFooter(err):
		start, _ := startOf(name)
		return startsAsVHD(start) || hasHeader(start)
	}
	return true // something is wrong with it
}

// writeExport makes a file of what the disk is exported as, to which place gives its
// name in the end, and returns its size.
func writeExport(ctx context.Context, d *vhd.Disk, opts vhd.ExportOptions, target string, place func(temp, target string) error) (n int64, err error) {
	opts.Sync = true
	perm, err := permOf(chainNames(d)...)
	if err != nil {
		return 0, err
	}
	err = makeFile(target, perm, place, func(f *os.File) error {
		n, err = d.Export(ctx, f, opts)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}
