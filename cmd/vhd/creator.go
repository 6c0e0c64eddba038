package main

import (
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

// creatorValue is what a new image names as the program that made it, as a flag: one of
// creators, or empty, which is what the verb does by itself.
type creatorValue string

// The creators by the names that users give them.
const (
	creatorVHD     = "vhd"
	creatorWindows = "windows"
	creatorQemu    = "qemu"
)

var creators = []struct{ name, application string }{
	{creatorVHD, vhd.CreatorVHD}, {creatorWindows, vhd.CreatorWindows}, {creatorQemu, vhd.CreatorQemu},
}

// creatorHelp is what the flag is good for. Its line goes on with what else does the same.
const creatorHelp = `qemu-img takes a disk of less than 127.5 GiB for up to a cylinder smaller than it is,
unless the image names Windows or qemu-img as its maker: --creator windows`

// words are all that it can be.
func (v *creatorValue) words() (words []string) {
	for _, c := range creators {
		words = append(words, c.name)
	}
	return words
}

// Set implements pflag.Value.
func (v *creatorValue) Set(s string) error {
	if !slices.Contains(v.words(), s) {
		return errors.New("want " + oneOf(v.words()))
	}
	*v = creatorValue(s)
	return nil
}

// Type implements pflag.Value: it stands in the help.
func (v *creatorValue) Type() string { return "NAME" }

func (v *creatorValue) String() string { return string(*v) }

// application is what stands in the image's footer; empty: the package chooses.
func (v *creatorValue) application() string {
	for _, c := range creators {
		if c.name == string(*v) {
			return c.application
		}
	}
	return ""
}

// add adds the flag to a verb that makes images. usual is what it names without being told.
func (v *creatorValue) add(cmd *cobra.Command, usual string) {
	cmd.Flags().Var(v, "creator", "maker that the image names: "+oneOf(v.words())+" ("+usual+")")
}
