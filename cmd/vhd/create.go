package main

import (
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
}

// createFlags are the flags of create.
type createFlags struct {
	workFlags
	makeFlags
}

func createCommand(a *app) *cobra.Command {
	var m createFlags
	cmd := &cobra.Command{
		Use:   "create [-s SIZE] [-t TYPE] [-b PARENT] [--block-size SIZE] [--output human|json] [-q] FILE",
		Short: "Make an image",
		Long: `Make an image that reads as zeros or, with -b, as its parent does.

A dynamic image grows as it is written. A fixed one has its whole size from the
start. A differencing one holds what changes since its parent, whose size it has
unless -s says otherwise; the parent must not be written any more.`,
		Example: `  vhd create -s 40G base.vhd
  vhd create -b base.vhd alice.vhd`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 && m.size == 0 {
				if _, err := parseSize(args[1]); err == nil {
					return usageErrorf("the size goes before the file: -s %s %s", args[1], args[0])
				}
			}
			return files("FILE")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := m.check(); err != nil {
				return err
			}
			c, err := createFile(a, &m, args[0])
			if err != nil {
				return err
			}
			return m.print(cmd.OutOrStdout(), c, c.String())
		},
		SuggestFor:            []string{"new"},
		DisableFlagsInUseLine: true,
	}
	m.addOutput(cmd)
	cmd.Flags().VarP(&m.size, "size", "s", "of the disk: bytes, or with K, M, G or T behind the number")
	cmd.Flags().VarP(&m.diskType, "type", "t", "fixed, dynamic or differencing (dynamic, with -b differencing)")
	cmd.Flags().StringVarP(&m.parent, "backing", "b", "", "make a differencing image on top of `PARENT`")
	cmd.Flags().Var(&m.blockSize, "block-size", "what an image grows by, a power of two (2M)")
	return cmd
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
		return usageErrorf("the size is missing, or 0: -s SIZE, such as -s 40G")
	}
	if diskType != vhd.Fixed && m.size > vhd.MaxDynamicSize {
		return usageErrorf("a dynamic or differencing image has at most 2040G: make it smaller, or with -t fixed")
	}
	return checkUnits(m.size, m.blockSize, diskType)
}

// checkUnits is what is wrong with sizes that an image can't have.
func checkUnits(size, blockSize sizeValue, diskType vhd.DiskType) error {
	switch b := blockSize; {
	case size%vhd.SectorSize != 0:
		return usageErrorf("the size of a disk is a multiple of 512 bytes: -s %d", (size/vhd.SectorSize+1)*vhd.SectorSize)
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
	d, err := vhd.Create(name, vhd.CreateOptions{
		Options: a.options(), Type: vhd.DiskType(m.diskType), Size: int64(m.size), Parent: m.parent, BlockSize: int64(m.blockSize),
	})
	if err != nil {
		return c, adviseFormat(m.parent, err)
	}
	chain := d.Chain()
	c = created{outcome: m.outcomeOf(name), DiskType: chain[0].Footer().Type.String(), Size: d.Size()}
	if len(chain) > 1 {
		c.Parent = chain[1].Name()
	}
	return c, d.Close()
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
