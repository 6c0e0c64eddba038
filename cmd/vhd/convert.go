package main

import (
	"cmp"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

// convertFlags are the flags of convert.
type convertFlags struct {
	exportFlags
	format formatValue
}

func convertCommand(a *app) *cobra.Command {
	var c convertFlags
	cmd := &cobra.Command{
		Use:   "convert [-f FORMAT] [-O TYPE] [-o OPTION] [-B IMAGE] [--azure] [--creator NAME] [--dry-run] [--output human|json] [-p] [-q] FILE OUT",
		Short: "Copy a disk to another form, as qemu-img convert does",
		Long: `Copy a disk to another form: what an image and its parents read as to a raw file
or a new image, as vhd export does, or raw content to an image, as vhd import does.

The command lines of qemu-img convert are understood: -O vpc is a dynamic image,
and with -o subformat=fixed a fixed one. With -B, OUT is a differencing image on
top of IMAGE, which is one of FILE's chain: its name, or its number, where 1 is
FILE's parent. What only tunes qemu-img (-m, -S, -t, -T, -W and -C) is taken, and
changes nothing.

A new image names Windows as its maker, so that qemu-img sees all of the disk, and not
what cylinders, heads and sectors come to: --creator names another.

FILE is raw content if -f says so or, where -O asks for an image, if it looks like
no image of any format.`,
		Example: `  vhd convert -f vpc -O raw alice.vhd alice.raw
  vhd convert -f raw -O vpc alice.raw alice.vhd
  vhd convert -p -O vpc -o subformat=fixed alice.vhd flat.vhd
  vhd convert -O vpc -B base.vhd alice2.vhd alice.vhd`,
		Args: files("FILE", "OUT"),
		RunE: func(cmd *cobra.Command, args []string) error { return runConvert(cmd, a, &c, args[0], args[1]) },

		DisableFlagsInUseLine: true,
		ValidArgsFunction:     inOrder(aFile, aFile),
	}
	c.workFlags.add(cmd)
	c.formFlags.add(cmd)
	c.subformat.add(cmd)
	c.creator.add(cmd, creatorWindows)
	c.format.addRawToo(cmd)
	addBackingFormat(cmd)
	a.addForceShare(cmd)
	cmd.Flags().StringVarP(&c.backing, "backing", "B", "", "make a differencing image on top of `IMAGE`, one of FILE's chain")
	return cmd
}

func runConvert(cmd *cobra.Command, a *app, c *convertFlags, name, out string) error {
	opts, err := c.options()
	if err != nil {
		return err
	}
	toImage := opts.Type != 0 || opts.Azure
	if toImage {
		c.creator = cmp.Or(c.creator, creatorWindows)
	}
	if c.format.name == formatRaw || toImage && c.format.isRaw(name) {
		return c.importRaw(cmd, opts, name, out)
	}
	return runExport(cmd, a, &c.exportFlags, opts, name, out)
}

// options are what the flags ask for.
func (c *convertFlags) options() (vhd.ExportOptions, error) {
	if c.backing == "" {
		return c.formFlags.options()
	}
	switch c.form {
	case "", formVPC, formValue(vhd.Differencing.String()):
	default:
		return vhd.ExportOptions{}, usageErrorf("-B makes a differencing image: leave out -O %s, or -B", &c.form)
	}
	switch {
	case c.base != 0:
		return vhd.ExportOptions{}, usageErrorf("-B and --base both name the parent: leave out one")
	case c.azure || c.subformat.diskType != 0:
		return vhd.ExportOptions{}, usageErrorf("-B makes a differencing image: neither --azure nor -o subformat goes with it")
	}
	return vhd.ExportOptions{Type: vhd.Differencing, Base: 1}, nil // of which exportFile finds the level
}

// importRaw makes an image of raw content.
func (c *convertFlags) importRaw(cmd *cobra.Command, opts vhd.ExportOptions, name, out string) error {
	switch {
	case opts.Azure:
		return usageErrorf("%s is raw content, and --azure is for images: make one of it first", name)
	case opts.Type == 0:
		return usageErrorf("%s is raw content, and would stay so: add -O vpc, or -O fixed", name)
	case out == toStdout:
		return usageErrorf("%s is raw content, and an image of it does not go to standard output: name a file", name)
	}
	if err := c.mustBeNameOfForm(out); err != nil {
		return err
	}
	m := importFlags{c.workFlags, makeFlags{diskType: typeValue(opts.Type), creator: c.creator}}
	return runImport(cmd, &m, name, out)
}
