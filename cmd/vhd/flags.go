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

var diskTypes = []vhd.DiskType{vhd.Fixed, vhd.Dynamic, vhd.Differencing}

// words are all that it can be.
func (v *typeValue) words() (words []string) {
	for _, t := range diskTypes {
		words = append(words, t.String())
	}
	return words
}

// Set implements pflag.Value.
func (v *typeValue) Set(s string) error {
	for _, t := range diskTypes {
		if strings.EqualFold(s, t.String()) {
			*v = typeValue(t)
			return nil
		}
	}
	return errors.New("want " + oneOf(v.words()))
}

// Type implements pflag.Value: it stands in the help.
func (v *typeValue) Type() string { return "TYPE" }

func (v *typeValue) String() string {
	if *v == 0 {
		return ""
	}
	return vhd.DiskType(*v).String()
}

// oneOf is two words or more as what a user can choose from.
func oneOf(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// The forms of output.
const (
	outputHuman = "human"
	outputJSON  = "json"
)

// outputValue is a form of output as a flag.
type outputValue string

// words are all that it can be.
func (v *outputValue) words() []string { return []string{outputHuman, outputJSON} }

// Set implements pflag.Value.
func (v *outputValue) Set(s string) error {
	if !slices.Contains(v.words(), s) {
		return errors.New("want " + oneOf(v.words()))
	}
	*v = outputValue(s)
	return nil
}

// Type implements pflag.Value: it stands in the help.
func (v *outputValue) Type() string { return "FORM" }

func (v *outputValue) String() string { return string(*v) }

const outputUsage = "human, or json for programs"

// workFlags are those that all operations share, and what obeys them. An operation that
// can't obey one of them does not have it.
type workFlags struct {
	output   outputValue
	quiet    bool
	dryRun   bool
	progress bool
}

// add adds all of them.
func (f *workFlags) add(cmd *cobra.Command) {
	f.addDryRun(cmd)
	f.addOutput(cmd)
	f.addProgress(cmd)
}

// addDryRun adds that of an operation that changes something.
func (f *workFlags) addDryRun(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "tell what would be done, and change nothing")
}

// addOutput adds those of an operation that tells what it did.
func (f *workFlags) addOutput(cmd *cobra.Command) {
	f.addForm(cmd)
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "print nothing but errors")
}

// addForm adds that of a verb of which the output is all that there is.
func (f *workFlags) addForm(cmd *cobra.Command) {
	f.output = outputHuman
	cmd.Flags().Var(&f.output, "output", outputUsage)
}

// addProgress adds that of an operation that takes a while.
func (f *workFlags) addProgress(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&f.progress, "progress", "p", false, "tell on a terminal how far it is, from the start")
}

// progressOf is what is told of how far the work is, in bytes, and takes that away in
// the end. What takes longer than a moment is told of on a terminal without asking.
func (f *workFlags) progressOf(stderr io.Writer, verb string) (at func(done, total int64), end func()) {
	return f.progressIn("", stderr, verb)
}

// progressIn is progressOf in other units than bytes.
func (f *workFlags) progressIn(units string, stderr io.Writer, verb string) (at func(done, total int64), end func()) {
	if f.quiet || !isTerminal(stderr) {
		return nil, func() {}
	}
	after := progressAfter
	if f.progress {
		after = 0
	}
	p := newProgress(stderr, verb, after)
	p.units = units
	return p.at, p.end
}

// standardOutput is what an error calls it.
const standardOutput = "standard output"

// print prints what was done: for programs as JSON, for people in lines.
func (f *workFlags) print(stdout io.Writer, result any, lines ...string) error {
	switch {
	case f.quiet:
		return nil
	case f.output == outputJSON:
		return inFile(standardOutput, printJSON(stdout, result))
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(stdout, printable(line)); err != nil {
			return inFile(standardOutput, err)
		}
	}
	return nil
}

// orInterrupted is err, or, if the user ended the work, how things stand and what is
// left to do.
func (f *workFlags) orInterrupted(name string, err error, left string) error {
	if f.dryRun {
		left = "nothing was changed"
	}
	return orInterrupted(name, err, left)
}

// outcome is what every operation that makes or changes images tells first in JSON.
// The keys are qemu-img's where it has one.
type outcome struct {
	Filename string `json:"filename"`
	Format   string `json:"format"`
	DryRun   bool   `json:"dry-run"`
	Changed  bool   `json:"changed"` // whether any file is not what it was
}

// outcomeOf is that of an operation that does something unless it is a dry run.
func (f *workFlags) outcomeOf(name string) outcome {
	return outcome{Filename: name, Format: formatName, DryRun: f.dryRun, Changed: !f.dryRun}
}

// done is the one or the other word, for what was done and for what would be.
func (o outcome) done(did, would string) string {
	if o.DryRun {
		return would
	}
	return did
}
