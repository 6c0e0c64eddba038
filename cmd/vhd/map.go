package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/cmd/vhd/internal/picture"
)

// outputTable is a form that only a map has.
const outputTable = "table"

// mapForm is a form of output as a flag, with the table.
type mapForm outputValue

// Set implements pflag.Value.
func (v *mapForm) Set(s string) error {
	if s == outputTable {
		*v = outputTable
		return nil
	}
	if (*outputValue)(v).Set(s) != nil {
		return errors.New("want human, table or json")
	}
	return nil
}

// Type implements pflag.Value: it stands in the help.
func (v *mapForm) Type() string { return (*outputValue)(v).Type() }

func (v *mapForm) String() string { return string(*v) }

// mapFlags are the flags of map.
type mapFlags struct {
	workFlags
	output    mapForm
	svg, html string
}

func mapCommand(a *app) *cobra.Command {
	flags := mapFlags{output: outputHuman}
	cmd := &cobra.Command{
		Use:   "map [--output human|table|json] [--svg OUT] [--html OUT] [-p] FILE",
		Short: "Show which image of a chain holds what",
		Long: `Show which image of a chain holds what of a disk, in cells of the same size, each
with the image that holds the most of it. Depth 0 is FILE itself, 1 its parent,
and so on. Zeros are where no image holds anything.

With --output table or json, list every piece instead, and where it is in its
file.

With --svg or --html, draw a picture for a browser, with a cell for each block
as long as there are not more than 65536. It replaces a file of the name OUT,
but no image; - is standard output. The same chain makes the same picture.`,
		Example: `  vhd map alice.vhd
  vhd map --html alice.html alice.vhd
  vhd map --output json alice.vhd`,
		Args: flags.args,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := flags.check(cmd); err != nil {
				return err
			}
			return runMap(cmd, a, &flags, args[0])
		},
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().Var(&flags.output, "output", outputUsage)
	cmd.Flags().StringVar(&flags.svg, "svg", "", "draw a picture in the file `OUT`")
	cmd.Flags().StringVar(&flags.html, "html", "", "draw a page with the picture in the file `OUT`")
	flags.addProgress(cmd)
	addFormat(cmd)
	a.addForceShare(cmd)
	return cmd
}

// args is what is wrong with the arguments.
func (f *mapFlags) args(cmd *cobra.Command, args []string) error {
	for form, out := range map[string]string{"svg": f.svg, "html": f.html} {
		if len(args) == 0 && exists(out) && isVHD(out) {
			picture := strings.TrimSuffix(out, filepath.Ext(out)) + "." + form
			return usageErrorf("%s is taken for OUT, the picture that is made, and FILE is missing: %s", out, typed([]string{"map", "--" + form, picture, out}))
		}
	}
	return files("FILE")(cmd, args)
}

// check is what is wrong with the flags together.
func (f *mapFlags) check(cmd *cobra.Command) error {
	given := 0
	for _, name := range []string{"output", "svg", "html"} {
		flag := cmd.Flags().Lookup(name)
		if !flag.Changed {
			continue
		}
		if given++; given > 1 {
			return usageErrorf("--output, --svg and --html are different forms of one map: leave out all but one")
		}
		if flag.Value.String() == "" {
			return usageErrorf("OUT of --%s is empty", name)
		}
	}
	return nil
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

// mapping is a map under way.
type mapping struct {
	disk    *vhd.Disk
	name    string
	extents iter.Seq2[vhd.FileExtent, error] // of the whole disk, in pieces
	stdout  io.Writer
	end     func() // takes the progress away
}

func runMap(cmd *cobra.Command, a *app, flags *mapFlags, name string) (err error) {
	d, err := a.open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	progress, end := flags.progressOf(cmd.ErrOrStderr(), "map")
	defer end()
	m := mapping{d, name, extentsOf(cmd.Context(), d, progress), cmd.OutOrStdout(), end}
	switch {
	case flags.svg != "":
		return m.draw(flags.svg, (*picture.Map).WriteSVG)
	case flags.html != "":
		return m.draw(flags.html, (*picture.Map).WriteHTML)
	case flags.output == outputHuman:
		return m.show()
	case flags.output == outputJSON:
		return m.list(m.json)
	}
	return m.list(m.table)
}

// list lists all pieces, by write.
func (m *mapping) list(write func(w io.Writer) error) error {
	w := bufio.NewWriter(&clearingWriter{Writer: m.stdout, clear: m.end})
	err := orInterrupted(m.name, write(w), "what follows is not told")
	return errors.Join(err, inFile(standardOutput, w.Flush()))
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

// json writes an array with one entry a line. What can't be told is left
// out, and is the error at the end.
func (m *mapping) json(w io.Writer) error {
	var errs firstError
	chain := m.disk.Chain()
	separator := "["
	for e, err := range joinExtents(m.extents) {
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

// table writes a table as wide as the disk's size needs, and sums it up.
func (m *mapping) table(w io.Writer) error {
	var errs firstError
	d, chain := m.disk, m.disk.Chain()
	held := make([]int64, len(chain)) // bytes, by depth
	width := max(len("length"), len(fmt.Sprint(d.Size())))
	fmt.Fprintf(w, "%*s  %*s  depth  %*s  file\n", width, "start", width, "length", width, "offset")
	for e, err := range joinExtents(m.extents) {
		switch {
		case errs.note(err) && errs.isEnd():
			return errs.err
		case err != nil:
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

// joinExtents makes one of extents that go on in the same file, or in none, where a piece ended. In a piece the
// package has joined them. It would in the whole disk too, but nothing shows how far it is, and no Ctrl-C ends
// it, while it passes over a large hole.
func joinExtents(pieces iter.Seq2[vhd.FileExtent, error]) iter.Seq2[vhd.FileExtent, error] {
	return func(yield func(vhd.FileExtent, error) bool) {
		var last vhd.FileExtent
		for e, err := range pieces {
			if err == nil && goesOn(last, e) {
				last.Length += e.Length
				continue
			}
			if last.Length > 0 && !yield(last, nil) {
				return
			}
			if last = e; err != nil {
				if !yield(e, err) {
					return
				}
				last = vhd.FileExtent{}
			}
		}
		if last.Length > 0 {
			yield(last, nil)
		}
	}
}

// goesOn says whether next is stored right behind last.
func goesOn(last, next vhd.FileExtent) bool {
	if last.Length == 0 || last.Depth != next.Depth {
		return false
	}
	return next.Depth == vhd.Hole || next.FileOffset == last.FileOffset+last.Length
}

// firstError keeps the first of many errors, and that the user ended the work.
type firstError struct{ err error }

// note says whether err is one.
func (f *firstError) note(err error) bool {
	switch {
	case f.err == nil:
		f.err = err
	case errors.Is(err, context.Canceled):
		f.err = errors.Join(f.err, err)
	}
	return err != nil
}

// isEnd says whether the user ended the work.
func (f *firstError) isEnd() bool { return errors.Is(f.err, context.Canceled) }
