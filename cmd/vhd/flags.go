package main

import (
	"errors"
	"slices"
	"strings"

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
