package main

import (
	"cmp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

// addForceShare lets a verb that only reads be told not to care who writes, as qemu-img is.
func (a *app) addForceShare(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&a.forceShare, "force-share", "U", false, "as qemu-img has it: read also what another program is writing")
}

// lock is how images are guarded that a verb opens.
func (a *app) lock() vhd.LockMode {
	if a.forceShare {
		return vhd.LockNone
	}
	return vhd.LockRequired
}

// qemuFlag is a flag of qemu-img that does nothing here. Nobody is shown it who does not type it.
type qemuFlag struct {
	verbs   string // that have it, with spaces between them
	name    string // empty: qemu-img has the letter alone
	letter  string
	isAlone bool   // no value is behind it
	answer  string // what to do in its place; empty: it only tunes, and is taken
	taken   string // the value that it may have all the same
}

// qemuFlags are all those of the verbs that qemu-img has too, but for those that do the same here.
var qemuFlags = []qemuFlag{
	{verbs: "convert", letter: "m"},
	{verbs: "convert", letter: "W", isAlone: true},
	{verbs: "convert", letter: "C", isAlone: true},
	{verbs: "convert", letter: "S"},
	{verbs: "convert", name: "bitmaps", isAlone: true}, // of which a VHD has none
	{verbs: "convert merge rebase", letter: "t"},
	{verbs: "convert compare check rebase", letter: "T"},
	{verbs: "rebase snapshot", letter: "U", isAlone: true, answer: "what changes an image locks it: leave out -U"},
	{verbs: "check", name: "repair", letter: "r", answer: "a check changes nothing: vhd repair FILE mends what it can, and vhd compact FILE gives leaks back"},
	{verbs: "repair", letter: "r", answer: "a repair mends all that it can: leave out -r"},
	{verbs: "convert", name: "compress", letter: "c", isAlone: true, answer: "a VHD holds nothing compressed: leave out -c; vhd compact makes one as small as it can be"},
	{verbs: "convert", name: "no-create", letter: "n", isAlone: true, answer: "OUT is always a new file, or a raw one that is replaced: leave out -n"},
	{verbs: "convert", name: "target-is-zero", isAlone: true, answer: "OUT is always a new file, or a raw one that is replaced: leave out --target-is-zero"},
	{verbs: "convert", name: "target-image-opts", isAlone: true, answer: "OUT is the name of a file: leave out --target-image-opts"},
	{verbs: "convert", name: "salvage", isAlone: true, answer: "what can not be read ends it: leave out --salvage; vhd check FILE tells what is damaged"},
	{verbs: "convert merge", letter: "r", answer: "nothing limits its rate: leave out -r"},
	{verbs: "convert measure", letter: "l", answer: "a VHD has no snapshots in it: leave out -l"},
	{verbs: "create", letter: "u", isAlone: true, answer: "a child records what its parent is, which must be there: leave out -u"},
	{verbs: "merge", letter: "d", isAlone: true, answer: "a merge removes the images that it folds: with --to NEW they stay"},
	{verbs: "resize", name: "preallocation", taken: "off", answer: "an image takes its space as it is written: leave out --preallocation"},
	{verbs: "map", name: "start-offset", letter: "s", answer: "a map is of the whole disk: leave out --start-offset"},
	{verbs: "map", name: "max-length", letter: "l", answer: "a map is of the whole disk: leave out --max-length"},
	{verbs: "snapshot", letter: "l", isAlone: true, answer: snapshotIsImage},
	{verbs: "snapshot", letter: "a", answer: snapshotIsImage},
	{verbs: "snapshot", letter: "c", answer: snapshotIsImage},
	{verbs: "snapshot", letter: "d", answer: snapshotIsImage},
	{verbs: "check compare convert info map measure merge rebase resize snapshot", name: "image-opts", isAlone: true, answer: "FILE is the name of a file: leave out --image-opts"},
	{verbs: "check compare convert create info map measure merge rebase resize snapshot", name: "object", answer: "there are no objects: leave out --object"},
}

const snapshotIsImage = "a snapshot is an image of its own: vhd snapshot IMAGE NEW makes one, and vhd ls shows them"

// addQemuFlags adds to all verbs what qemu-img has besides.
func addQemuFlags(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		for _, f := range qemuFlags {
			if slices.Contains(strings.Fields(f.verbs), cmd.Name()) {
				f.add(cmd)
			}
		}
	}
}

func (f qemuFlag) add(cmd *cobra.Command) {
	flag := cmd.Flags().VarPF(f, cmp.Or(f.name, "qemu-"+f.letter), f.letter, "as qemu-img has it")
	flag.Hidden = true
	if f.isAlone {
		flag.NoOptDefVal = "on"
	}
}

// Set implements pflag.Value.
func (f qemuFlag) Set(value string) error {
	if f.answer == "" || f.taken != "" && value == f.taken {
		return nil
	}
	return elsewhereError{f.answer}
}

// Type implements pflag.Value.
func (f qemuFlag) Type() string { return "" }

func (f qemuFlag) String() string { return "" }

// elsewhereError is that the user typed a flag for what is done in another way here.
type elsewhereError struct{ how string }

func (e elsewhereError) Error() string { return e.how }
