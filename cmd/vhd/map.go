package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

func mapCommand(a *app) *cobra.Command {
	output := outputValue(outputHuman)
	cmd := &cobra.Command{
		Use:   "map [--output human|json] FILE",
		Short: "Show which image of a chain holds what",
		Long: `Show which image of a chain holds what of a disk, and where in its file.

Depth 0 is FILE itself, 1 its parent, and so on. Zeros are where no image holds
anything.`,
		Example: `  vhd map alice.vhd
  vhd map --output json alice.vhd`,
		Args: files("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runMap(a, args[0], string(output), cmd.OutOrStdout())
		},
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().Var(&output, "output", outputUsage)
	return cmd
}

// mapEntry is a piece of a disk, with the keys of qemu-img map.
type mapEntry struct {
	Start    int64  `json:"start"`  // bytes
	Length   int64  `json:"length"` // bytes
	Depth    int    `json:"depth"`  // 0: the leaf; of zeros that no image holds: the last
	Present  bool   `json:"present"`
	Zero     bool   `json:"zero"`
	Data     bool   `json:"data"`
	Offset   *int64 `json:"offset,omitempty"` // in the file, bytes
	Filename string `json:"filename,omitempty"`
}

func runMap(a *app, name, output string, stdout io.Writer) (err error) {
	d, err := a.open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	w := bufio.NewWriter(stdout)
	defer func() { err = errors.Join(err, w.Flush()) }()
	if output == outputJSON {
		return mapJSON(d, w)
	}
	return mapTable(d, w)
}

// newMapEntry tells of an extent as qemu-img does. That zeros are present means
// that nothing below could show through: a chain ends with a disk that has no
// parent.
func newMapEntry(e vhd.FileExtent, chain []*vhd.Image) mapEntry {
	entry := mapEntry{Start: e.Offset, Length: e.Length, Depth: e.Depth, Present: true, Data: true}
	if e.Depth == vhd.Hole {
		entry.Depth, entry.Zero, entry.Data = len(chain)-1, true, false
		return entry
	}
	entry.Offset, entry.Filename = &e.FileOffset, chain[e.Depth].Name()
	return entry
}

// mapJSON writes an array with one entry a line. What can't be told is left
// out, and is the error at the end.
func mapJSON(d *vhd.Disk, w io.Writer) error {
	var errs firstError
	chain := d.Chain()
	separator := "["
	for e, err := range d.FileExtents(0, d.Size()) {
		if errs.note(err) {
			continue
		}
		line, err := json.Marshal(newMapEntry(e, chain))
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "%s%s", separator, line); err != nil {
			return err
		}
		separator = ",\n"
	}
	if separator == "[" {
		fmt.Fprint(w, separator)
	}
	fmt.Fprintln(w, "]")
	return errs.err
}

// mapTable writes a table as wide as the disk's size needs, and sums it up.
func mapTable(d *vhd.Disk, w io.Writer) error {
	var errs firstError
	chain := d.Chain()
	held := make([]int64, len(chain)) // bytes, by depth
	width := max(len("length"), len(fmt.Sprint(d.Size())))
	fmt.Fprintf(w, "%*s  %*s  depth  %*s  file\n", width, "start", width, "length", width, "offset")
	for e, err := range d.FileExtents(0, d.Size()) {
		switch {
		case errs.note(err):
			fmt.Fprintf(w, "%*d  %*d  %5s  %*s  unreadable\n", width, e.Offset, width, e.Length, "?", width, "?")
		case e.Depth == vhd.Hole:
			fmt.Fprintf(w, "%*d  %*d  %5s  %*s  zeros\n", width, e.Offset, width, e.Length, "-", width, "-")
		default:
			held[e.Depth] += e.Length
			fmt.Fprintf(w, "%*d  %*d  %5d  %*d  %s\n", width, e.Offset, width, e.Length, e.Depth, width, e.FileOffset, printable(chain[e.Depth].Name()))
		}
	}
	fmt.Fprintf(w, "\nOf %s, ", humanSize(d.Size()))
	rest := d.Size()
	for depth, img := range chain {
		rest -= held[depth]
		fmt.Fprintf(w, "%s holds %s, ", printable(img.Name()), humanSize(held[depth]))
	}
	fmt.Fprintf(w, "and %s is %s.\n", humanSize(rest), restWord(errs.err))
	return errs.err
}

func restWord(err error) string {
	if err != nil {
		return "zeros or unreadable"
	}
	return "zeros"
}

// firstError keeps the first of many errors.
type firstError struct{ err error }

// note says whether err is one.
func (f *firstError) note(err error) bool {
	if f.err == nil {
		f.err = err
	}
	return err != nil
}
