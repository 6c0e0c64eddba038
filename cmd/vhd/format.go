package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

// The formats by qemu-img's names. Others are not read.
const (
	formatName  = "vpc"
	formatAlias = "vhd" // what everybody else calls it
	formatRaw   = "raw"
)

// formatValue is the format of a file as a flag; empty: what the file looks like.
type formatValue struct {
	name    string
	withRaw bool // whether raw content will do
}

// words are all that it can be.
func (v *formatValue) words() []string {
	if v.withRaw {
		return []string{formatName, formatRaw}
	}
	return []string{formatName}
}

// Set implements pflag.Value.
func (v *formatValue) Set(s string) error {
	switch word := strings.ToLower(s); {
	case word == formatName || word == formatAlias:
		v.name = formatName
	case word == formatRaw && v.withRaw:
		v.name = formatRaw
	case word == formatRaw:
		return errors.New("want vpc, which is VHD; of raw content, vhd import makes an image")
	case v.withRaw:
		return errors.New("want vpc, which is VHD, or raw: no other format is read; qemu-img convert does that")
	default:
		return errors.New("want vpc, which is VHD: no other format is read; qemu-img convert does that")
	}
	return nil
}

// Type implements pflag.Value: it stands in the help.
func (v *formatValue) Type() string { return "FORMAT" }

func (v *formatValue) String() string { return v.name }

// The flags by which qemu-img is told a format.
const (
	formatFlag        = "format"         // -f
	backingFormatFlag = "backing-format" // -F
)

// addFormat lets a verb that takes VHD images and nothing else be told so, as qemu-img
// is.
func addFormat(cmd *cobra.Command) {
	cmd.Flags().VarP(&formatValue{}, formatFlag, "f", "as qemu-img has it: vpc, which is VHD, and nothing else")
}

// addBackingFormat is addFormat for a parent.
func addBackingFormat(cmd *cobra.Command) {
	cmd.Flags().VarP(&formatValue{}, backingFormatFlag, "F", "of the parent, as qemu-img has it: vpc")
}

// addRawToo adds -f of a verb that takes raw content too.
func (v *formatValue) addRawToo(cmd *cobra.Command) {
	v.withRaw = true
	cmd.Flags().VarP(v, formatFlag, "f", "of FILE: vpc, which is VHD, or raw (what it looks like)")
}

// mustBeNameOfVHD is what is wrong with the name of a new image: it ends as those of another format do.
func mustBeNameOfVHD(name string) error {
	switch ext := filepath.Ext(name); strings.ToLower(ext) {
	case ".vhdx", ".avhdx":
		return hintedError{fmt.Errorf("%s: VHDX is another format, and what vhd makes is a VHD", name),
			"call it " + quote(name[:len(name)-1]) + "; where the format is said, as in vhd create -f vpc and vhd convert -O vpc, any name will do"}
	}
	return nil
}

// namesOfImages are how files are called that hold no raw content.
var namesOfImages = []string{".vhd", ".avhd", ".vhdx", ".avhdx", ".qcow2", ".vmdk", ".vdi"}

// mustNotBeNameOfImage is what is wrong with the name of a raw file, of which nobody said that it
// is to be one: it is called as images are.
func mustNotBeNameOfImage(verb, name, out string) error {
	ext := strings.ToLower(filepath.Ext(out))
	if !slices.Contains(namesOfImages, ext) {
		return nil
	}
	copyAs := func(form, out string) string {
		return "vhd " + verb + " -O " + form + " " + quote(name) + " " + quote(out)
	}
	image := out
	if ext != ".vhd" && ext != ".avhd" { // which vhd does not make
		image = strings.TrimSuffix(out, filepath.Ext(out)) + ".vhd"
	}
	return hintedError{fmt.Errorf("%s: raw content would be called as an image is", out),
		"to make an image: " + copyAs("dynamic", image) + "; if raw content is meant: " + copyAs(formatRaw, out)}
}

// isRaw says whether a file is raw content: as was said or, where nothing was, if it
// looks like no image of any format.
func (v *formatValue) isRaw(name string) bool {
	return v.name == formatRaw || v.name == "" && looksRaw(name)
}

// looksRaw says whether nothing in a file says that it is an image.
func looksRaw(name string) bool {
	d, err := vhd.Open(name, &vhd.Options{NoParents: true, Lock: vhd.LockNone})
	if err == nil {
		_ = d.Close() // read-only
		return false
	}
	return lacksFooter(err) && mayBeRaw(name)
}

// addBothFormats adds -f and -F of a verb that takes two disks, by the names that its help has for them.
func addBothFormats(cmd *cobra.Command, a, b *formatValue, nameA, nameB string) {
	a.withRaw, b.withRaw = true, true
	cmd.Flags().VarP(a, formatFlag, "f", "of "+nameA+": vpc, which is VHD, or raw (what it looks like)")
	cmd.Flags().VarP(b, "other-format", "F", "of "+nameB+", likewise")
}
