package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

// formValue is what a disk is copied out as, as a flag: one of formWords, or empty, which
// is raw content.
type formValue string

// formVPC is what qemu-img calls a VHD.
const formVPC = formatName

var formWords = []string{formatRaw, formVPC, vhd.Fixed.String(), vhd.Dynamic.String(), vhd.Differencing.String()}

// words are all that it can be.
func (v *formValue) words() []string { return formWords }

// Set implements pflag.Value.
func (v *formValue) Set(s string) error {
	word := strings.ToLower(s)
	if word == formatAlias {
		word = formVPC
	}
	if !slices.Contains(formWords, word) {
		return errors.New("want raw, fixed, dynamic or differencing, or vpc, which is dynamic")
	}
	*v = formValue(word)
	return nil
}

// Type implements pflag.Value: it stands in the help.
func (v *formValue) Type() string { return "TYPE" }

func (v *formValue) String() string { return string(*v) }

// diskType is that of a VHD, or 0.
func (v *formValue) diskType() vhd.DiskType {
	if *v == formVPC {
		return vhd.Dynamic
	}
	var t typeValue
	_ = t.Set(string(*v)) // raw is none
	return vhd.DiskType(t)
}

// formFlags say as what a disk is copied out.
type formFlags struct {
	form      formValue
	subformat subformatValue
	base      int
	azure     bool
}

func (f *formFlags) add(cmd *cobra.Command) {
	cmd.Flags().VarP(&f.form, "type", "O", "raw, fixed, dynamic or differencing (raw)")
	cmd.Flags().IntVar(&f.base, "base", 0, "parent of a differencing image: `N` levels above FILE (1)")
	cmd.Flags().BoolVar(&f.azure, "azure", false, "a fixed image of whole MiB, and at least 20 of them")
}

// options are what the flags ask for.
func (f *formFlags) options() (vhd.ExportOptions, error) {
	diskType, err := f.diskType()
	opts := vhd.ExportOptions{Type: diskType, Base: f.base, Azure: f.azure}
	switch {
	case err != nil:
		return opts, err
	case f.azure && f.form != "" && opts.Type != vhd.Fixed:
		return opts, usageErrorf("Azure takes fixed images: leave out -O or --azure")
	case f.base < 0:
		return opts, usageErrorf("--base counts from 1, which is the parent of FILE")
	case f.base != 0 && opts.Type != vhd.Differencing:
		return opts, usageErrorf("only a differencing image has a parent: add -O differencing, or leave out --base")
	case opts.Type == vhd.Differencing:
		opts.Base = max(opts.Base, 1)
	}
	return opts, nil
}

// mustBeNameOfForm is mustBeNameOfVHD, unless the format was said.
func (f *formFlags) mustBeNameOfForm(name string) error {
	if f.form == formVPC {
		return nil
	}
	return mustBeNameOfVHD(name)
}

// diskType is what -O and -o say together.
func (f *formFlags) diskType() (vhd.DiskType, error) {
	said, finer := f.form.diskType(), vhd.DiskType(f.subformat.diskType)
	switch {
	case finer == 0 || finer == said:
		return said, nil
	case f.form == formVPC:
		return finer, nil
	case said == 0:
		return 0, usageErrorf("raw content has no subformat: add -O vpc, or leave out -o")
	}
	return 0, usageErrorf("-O %s and -o subformat=%v are two types: leave out one", &f.form, finer)
}

// subformatValue is what qemu-img takes as -o for a VHD: options with commas between
// them.
type subformatValue struct {
	diskType  typeValue // fixed or dynamic; 0: not said
	forceSize bool
	said      []string
}

// words are all that one option can be.
func (v *subformatValue) words() []string {
	return []string{"subformat=fixed", "subformat=dynamic", "force_size"}
}

// Set implements pflag.Value.
func (v *subformatValue) Set(s string) error {
	for option := range strings.SplitSeq(s, ",") {
		if err := v.take(option); err != nil {
			return err
		}
	}
	v.said = append(v.said, s)
	return nil
}

// take takes one option. A disk always keeps its size to the byte; what force_size asks for
// is that qemu-img sees that.
func (v *subformatValue) take(option string) error {
	switch option {
	case "subformat=fixed":
		v.diskType = typeValue(vhd.Fixed)
	case "subformat=dynamic":
		v.diskType = typeValue(vhd.Dynamic)
	case "force_size", "force_size=on", "force_size=true":
		v.forceSize = true
	default:
		return fmt.Errorf("want subformat=fixed or subformat=dynamic, and not %s", option)
	}
	return nil
}

// Type implements pflag.Value: it stands in the help.
func (v *subformatValue) Type() string { return "OPTION" }

func (v *subformatValue) String() string { return strings.Join(v.said, ",") }

func (v *subformatValue) add(cmd *cobra.Command) {
	cmd.Flags().VarP(v, "options", "o", "as qemu-img has it: subformat=fixed or subformat=dynamic")
}
