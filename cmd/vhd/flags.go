package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

// typeValue is a disk type as a flag. Its zero is none.
type typeValue vhd.DiskType

// Set implements pflag.Value.
func (v *typeValue) Set(s string) error {
	for _, t := range []vhd.DiskType{vhd.Fixed, vhd.Dynamic, vhd.Differencing} {
		if strings.EqualFold(s, t.String()) {
			*v = typeValue(t)
			return nil
		}
	}
	return errors.New("want fixed, dynamic or differencing")
}

// Type implements pflag.Value: it stands in the help.
func (v *typeValue) Type() string { return "TYPE" }

func (v *typeValue) String() string {
	if *v == 0 {
		return ""
	}
	return vhd.DiskType(*v).String()
}

// exportValue is what an image is exported as, as a flag. Its zero is raw
// content.
type exportValue vhd.DiskType

// Set implements pflag.Value.
func (v *exportValue) Set(s string) error {
	if strings.EqualFold(s, "raw") {
		*v = 0
		return nil
	}
	if (*typeValue)(v).Set(s) != nil {
		return errors.New("want raw, fixed, dynamic or differencing")
	}
	return nil
}

// Type implements pflag.Value: it stands in the help.
func (v *exportValue) Type() string { return "TYPE" }

func (v *exportValue) String() string { return (*typeValue)(v).String() }

// The forms of output.
const (
	outputHuman = "human"
	outputJSON  = "json"
)

// outputValue is a form of output as a flag.
type outputValue string

// Set implements pflag.Value.
func (v *outputValue) Set(s string) error {
	if !slices.Contains([]string{outputHuman, outputJSON}, s) {
		return errors.New("want human or json")
	}
	*v = outputValue(s)
	return nil
}

// Type implements pflag.Value: it stands in the help.
func (v *outputValue) Type() string { return "FORM" }

func (v *outputValue) String() string { return string(*v) }

const outputUsage = "human, or json for programs"

// workFlags are those of all that takes a while.
type workFlags struct {
	output   outputValue
	dryRun   bool
	progress bool
	quiet    bool
}

func (f *workFlags) add(cmd *cobra.Command) {
	f.output = outputHuman
	cmd.Flags().Var(&f.output, "output", outputUsage)
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "tell what would be done, and do nothing")
	cmd.Flags().BoolVarP(&f.progress, "progress", "p", false, "tell on a terminal how far it is")
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "print nothing")
}

// progressOf is what is told of how far the work is, and takes that away in the end.
func (f *workFlags) progressOf(stderr io.Writer, verb string) (at func(done, total int64), end func()) {
	if !f.progress || f.quiet {
		return nil, func() {}
	}
	p := newProgress(stderr, verb, 0)
	return func(done, total int64) {
		p.total = total
		p.at(done, total)
	}, p.end
}

// print prints what was done, as the flags say.
func (f *workFlags) print(stdout io.Writer, result fmt.Stringer) error {
	switch {
	case f.quiet:
	case f.output == outputJSON:
		return printJSON(stdout, result)
	default:
		fmt.Fprintln(stdout, printable(result.String()))
	}
	return nil
}
