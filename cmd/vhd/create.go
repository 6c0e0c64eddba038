package main

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

// makeFlags are the flags of what makes images.
type makeFlags struct {
	size      sizeValue
	diskType  typeValue
	parent    string
	blockSize sizeValue
	creator   creatorValue
}

// createFlags are the flags of create.
type createFlags struct {
	workFlags
	makeFlags
	subformat subformatValue
}

func createCommand(a *app) *cobra.Command {
	var m createFlags
	cmd := &cobra.Command{
		Use:   "create [-t TYPE] [-b PARENT] [--block-size SIZE] [--creator NAME] [--output human|json] [-q] FILE [SIZE]",
		Short: "Make an image",
		Long: `Make an image that reads as zeros or, with -b, as its parent does.

A dynamic image grows as it is written. A fixed one has its whole size from the
start. A differencing one holds what changes since its parent, whose size it has
unless SIZE says otherwise; the parent must not be written any more.

SIZE is a number of bytes, or one with K, M, G or T behind it.

` + creatorHelp + `, or as of
qemu-img -o force_size.`,
		Example: `  vhd create base.vhd 40G
  vhd create -b base.vhd alice.vhd`,
		Args: func(cmd *cobra.Command, args []string) error { return m.take(cmd, args) },
		RunE: func(cmd *cobra.Command, args []string) error { return runCreate(cmd, a, &m, args[0]) },

		Aliases:               []string{"new"},
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     inOrder(anImage),
	}
	m.addOutput(cmd)
	cmd.Flags().VarP(&m.size, "size", "s", "the same as SIZE behind FILE")
	cmd.Flags().VarP(&m.diskType, "type", "t", "fixed, dynamic or differencing (dynamic, with -b differencing)")
	cmd.Flags().StringVarP(&m.parent, "backing", "b", "", "make a differencing image on top of `PARENT`")
	cmd.Flags().Var(&m.blockSize, "block-size", "what an image grows by, a power of two (2M)")
	m.creator.add(cmd, creatorVHD)
	m.subformat.add(cmd)
	addFormat(cmd)
	addBackingFormat(cmd)
	return cmd
}

func runCreate(cmd *cobra.Command, a *app, m *createFlags, name string) error {
	if err := m.check(); err != nil {
		return err
	}
	if !cmd.Flags().Changed(formatFlag) {
		if err := mustBeNameOfVHD(name); err != nil {
			return err
		}
	}
	c, err := createFile(a, m, name)
	if err != nil {
		return err
	}
	return m.print(cmd.OutOrStdout(), c, c.String())
}

// take takes the arguments, and what -o says.
func (m *createFlags) take(cmd *cobra.Command, args []string) error {
	if finer := m.subformat.diskType; finer != 0 {
		if m.diskType != 0 && m.diskType != finer {
			return usageErrorf("-t %s and -o %s are two types: leave out one", &m.diskType, &m.subformat)
		}
		m.diskType = finer
	}
	if m.subformat.forceSize {
		m.creator = cmp.Or(m.creator, creatorWindows)
	}
	switch {
	case len(args) < 2:
		return files("FILE")(cmd, args)
	case len(args) > 2:
		return files("FILE", "SIZE")(cmd, args)
	case m.size != 0:
		return usageErrorf("the size is told twice, as -s %s and as %s: leave out one", &m.size, args[1])
	}
	if err := m.size.Set(args[1]); err != nil {
		if _, err := parseSize(args[0]); err == nil {
			return usageError{swapped("the size goes behind the file", args[0], args[1])}
		}
		return usageErrorf("SIZE is %q: %w", args[1], err)
	}
	return files("FILE")(cmd, args[:1])
}

// check is what is wrong with the flags together.
func (m *makeFlags) check() error {
	diskType := vhd.DiskType(m.diskType)
	switch {
	case m.parent != "" && diskType != 0 && diskType != vhd.Differencing:
		return usageErrorf("a %v image has no parent: leave out -t or -b", diskType)
	case m.parent == "" && diskType == vhd.Differencing:
		return usageErrorf("a differencing image needs a parent: -b PARENT")
	case m.parent == "" && m.size == 0:
		return usageErrorf("the size is missing, or 0: say it behind FILE, such as 40G")
	}
	return checkSize(m.size, m.blockSize, cmp.Or(diskType, vhd.Dynamic))
}

// options are what the flags ask for.
func (m *makeFlags) options() vhd.CreateOptions {
	return vhd.CreateOptions{
		Type: vhd.DiskType(m.diskType), Size: int64(m.size), Parent: m.parent, BlockSize: int64(m.blockSize),
		Creator: m.creator.application(),
	}
}

// tooLargeForBlocks is what is wrong with a disk of more than vhd.MaxDynamicSize in an image with blocks.
const tooLargeForBlocks = "a dynamic or differencing image has at most 2040G"

// checkSize is what is wrong with the size of a new image; of no type: of raw content.
func checkSize(size, blockSize sizeValue, diskType vhd.DiskType) error {
	if diskType != 0 && diskType != vhd.Fixed && size > vhd.MaxDynamicSize {
		return usageErrorf("%s: make it smaller, or fixed", tooLargeForBlocks)
	}
	return checkUnits(size, blockSize, diskType)
}

// checkUnits is what is wrong with sizes that an image can't have.
func checkUnits(size, blockSize sizeValue, diskType vhd.DiskType) error {
	switch b := blockSize; {
	case size%vhd.SectorSize != 0:
		return usageErrorf("the size of a disk is a multiple of 512 bytes: %d, or with a unit, such as %dG",
			(size/vhd.SectorSize+1)*vhd.SectorSize, min(size, 40))
	case b == 0:
	case diskType == vhd.Fixed:
		return usageErrorf("a fixed image has no blocks: leave out --block-size")
	case b < vhd.SectorSize || b > vhd.MaxBlockSize || b&(b-1) != 0:
		return usageErrorf("the block size is a power of two from 512 to 256M")
	}
	return nil
}

// created is a new image, with the keys of vhd info.
type created struct {
	outcome
	DiskType string `json:"disk-type"`
	Size     int64  `json:"virtual-size"`
	Parent   string `json:"backing-filename,omitempty"`
}

func createFile(a *app, m *createFlags, name string) (c created, err error) {
	opts := m.options()
	opts.Options = a.options()
	d, err := vhd.Create(name, opts)
	if err != nil {
		return c, adviseNew(name, adviseFormat(m.parent, adviseDeepParent(a, m.parent, err)))
	}
	chain := d.Chain()
	c = created{outcome: m.outcomeOf(name), DiskType: chain[0].Footer().Type.String(), Size: d.Size()}
	if len(chain) > 1 {
		c.Parent = chain[1].Name()
	}
	return c, d.Close()
}

// adviseDeepParent is adviseDeep of a new image's parent.
func adviseDeepParent(a *app, parent string, err error) error {
	if !errors.Is(err, vhd.ErrChainTooDeep) {
		return err
	}
	d, openErr := a.open(parent)
	if openErr != nil { // its own chain is too deep
		return err
	}
	defer func() { _ = d.Close() }() // read-only
	return adviseDeep(chainNames(d), err)
}

// String is all in a sentence.
func (c created) String() string { return c.Filename + ": " + c.what() }

// what is what the image is.
func (c created) what() string {
	what := fmt.Sprintf("%s disk of %s", c.DiskType, humanSize(c.Size))
	if c.Parent != "" {
		what += " on top of " + c.Parent
	}
	return what
}
