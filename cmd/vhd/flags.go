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
