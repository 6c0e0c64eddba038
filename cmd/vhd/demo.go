package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

func demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo [DIR]",
		Short: "Make a base and two children, and show how they share it",
		Long: `Make a base image and two differencing children, write to the children, read
through them, and show what each file holds and that the base has not changed.

The files are made in DIR and stay there. Without DIR, they are made in a
temporary directory and removed.`,
		Example: "  vhd demo\n  vhd demo play",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageErrorf("%q is one argument too many", args[1])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runDemo(cmd.Context(), args, cmd.OutOrStdout())
		},
		ValidArgsFunction:     inOrder(aDirectory),
		DisableFlagsInUseLine: true,
	}
}

// demoDisk is one of the demo's images and what is written to it.
type demoDisk struct {
	file, parent string
	writes       []demoWrite
}

type demoWrite struct {
	off  int64
	text string
	size int // bytes: the text is repeated
}

const demoSize = 64 << 20

// The places at which the demo writes, and then reads.
const (
	demoStart  = 0
	demoMiddle = 8 << 20
	demoChange = 9 << 20
	demoEnd    = 40 << 20
)

// demoDisks are the base, and children that change parts of it: each at the
// start, each somewhere else as well.
var demoDisks = []demoDisk{
	{"base.vhd", "", []demoWrite{
		{demoStart, "This is the base. ", 1 << 20}, {demoMiddle, "All share this. ", 3 << 20}}},
	{"alice.vhd", "base.vhd", []demoWrite{
		{demoStart, "Alice was here. ", 4 << 10}, {demoEnd, "Alice's own. ", 64 << 10}}},
	{"bob.vhd", "base.vhd", []demoWrite{
		{demoStart, "Bob was here. ", 512}, {demoChange, "Bob's own. ", 1536}}},
}

func runDemo(ctx context.Context, args []string, stdout io.Writer) (err error) {
	dir, cleanUp, err := demoDir(args)
	if err != nil {
		return err
	}
	d := demo{dir: dir, out: stdout}
	if err = d.run(ctx); err == nil && len(args) > 0 {
		d.sayNext()
	}
	if err != nil || len(args) == 0 {
		err = errors.Join(err, d.remove(), cleanUp())
	}
	return err
}

// demoDir makes the directory of the demo. cleanUp removes it again, if it was
// not there before.
func demoDir(args []string) (dir string, cleanUp func() error, err error) {
	if len(args) == 0 {
		dir, err = os.MkdirTemp("", "vhd-demo-")
		return dir, func() error { return os.Remove(dir) }, err
	}
	dir = args[0]
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return "", nil, hintedError{fmt.Errorf("%s: it is no directory", dir), "give the demo a directory of its own, which need not be there yet: vhd demo DIR"}
	}
	for _, disk := range demoDisks {
		name := filepath.Join(dir, disk.file)
		if err := mustNotExist(name); err != nil {
			return "", nil, inFile(name, err)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		return dir, func() error { return nil }, nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", nil, inFile(dir, err)
	}
	return dir, func() error { return os.Remove(dir) }, nil
}

// demo is one run of the demo.
type demo struct {
	dir  string
	out  io.Writer
	made []string // the files, by their whole names
}

func (d *demo) run(ctx context.Context) error {
	fmt.Fprintf(d.out, "Making a base and two children of it in %s:\n\n", printable(d.dir))
	base := demoDisks[0]
	if err := d.create(ctx, base); err != nil {
		return err
	}
	before, err := d.sum(base.file)
	if err != nil {
		return err
	}
	for _, child := range demoDisks[1:] {
		if err := d.create(ctx, child); err != nil {
			return err
		}
	}
	for _, step := range []func(context.Context) error{d.showTree, d.showLayers, d.showContent} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return d.showUnchanged(base.file, before)
}

// create makes an image and writes what the demo has for it.
func (d *demo) create(ctx context.Context, disk demoDisk) (err error) {
	if err := orInterrupted(d.dir, ctx.Err(), "nothing was made"); err != nil {
		return err
	}
	opts := vhd.CreateOptions{Parent: d.path(disk.parent)}
	if disk.parent == "" {
		opts.Size = demoSize
	}
	image, err := vhd.Create(d.path(disk.file), opts)
	if err != nil {
		return err
	}
	d.made = append(d.made, d.path(disk.file))
	defer func() { err = errors.Join(err, image.Close()) }()
	for _, w := range disk.writes {
		if _, err := image.WriteAt(w.bytes(), w.off); err != nil {
			return err
		}
	}
	return nil
}

func (w demoWrite) bytes() []byte {
	return bytes.Repeat([]byte(w.text), w.size/len(w.text)+1)[:w.size]
}

func (d *demo) path(file string) string {
	if file == "" {
		return ""
	}
	return filepath.Join(d.dir, file)
}

// sum is the sha256 of a file.
func (d *demo) sum(file string) (string, error) {
	f, err := os.Open(d.path(file))
	if err != nil {
		return "", inFile(d.path(file), err)
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", inFile(d.path(file), err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// showTree draws who is whose child, and how large the files are.
func (d *demo) showTree(context.Context) error {
	last := len(demoDisks) - 1
	for i, disk := range demoDisks {
		info, err := os.Stat(d.path(disk.file))
		if err != nil {
			return inFile(d.path(disk.file), err)
		}
		branch, kind := "├── ", vhd.Differencing
		switch i {
		case 0:
			branch, kind = "", vhd.Dynamic
		case last:
			branch = "└── "
		}
		label := branch + disk.file
		label += strings.Repeat(" ", 14-utf8.RuneCountInString(label))
		fmt.Fprintf(d.out, "  %s %-12v  a disk of %s in a file of %s\n", label, kind, humanSize(demoSize), humanSize(info.Size()))
	}
	return nil
}

// showLayers tells how much of each disk comes from which file.
func (d *demo) showLayers(context.Context) error {
	fmt.Fprintf(d.out, "\nWhere each disk's bytes come from:\n\n")
	t := tabwriter.NewWriter(d.out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "  disk\tits own file\tits parent\tzeros\n")
	for _, disk := range demoDisks {
		own, parent, err := d.layersOf(disk.file)
		if err != nil {
			return err
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", disk.file, sectors(own), sectors(parent), humanSize(demoSize-own-parent))
	}
	return t.Flush()
}

func sectors(n int64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%s (%d sectors)", humanSize(n), n/vhd.SectorSize)
}

// layersOf is how many bytes of a disk its own file and its parent hold.
func (d *demo) layersOf(file string) (own, parent int64, err error) {
	image, err := vhd.Open(d.path(file), nil)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, image.Close()) }()
	for e, err := range image.Extents(0, image.Size()) {
		switch {
		case err != nil:
			return 0, 0, err
		case e.Depth == 0:
			own += e.Length
		case e.Depth == 1:
			parent += e.Length
		}
	}
	return own, parent, nil
}

// showContent reads the same places of all disks.
func (d *demo) showContent(ctx context.Context) error {
	fmt.Fprintf(d.out, "\nWhat each disk reads as:\n\n")
	t := tabwriter.NewWriter(d.out, 0, 0, 3, ' ', 0)
	places := []int64{demoStart, demoMiddle, demoChange, demoEnd}
	fmt.Fprint(t, "  disk")
	for _, off := range places {
		fmt.Fprintf(t, "\tat %s", humanSize(off))
	}
	fmt.Fprintln(t)
	for _, disk := range demoDisks {
		content, err := d.check(ctx, disk)
		if err != nil {
			return err
		}
		fmt.Fprintf(t, "  %s", disk.file)
		for _, off := range places {
			fmt.Fprintf(t, "\t%s", words(content[off:]))
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

// words is the sentence that stands somewhere.
func words(p []byte) string {
	if p[0] == 0 {
		return "(zeros)"
	}
	sentence, _, _ := bytes.Cut(p, []byte("."))
	return string(sentence)
}

// check reads a whole disk and makes sure that it is what was written to it and
// to its parent.
func (d *demo) check(ctx context.Context, disk demoDisk) ([]byte, error) {
	if err := orInterrupted(d.dir, ctx.Err(), "nothing was made"); err != nil {
		return nil, err
	}
	want := make([]byte, demoSize)
	for _, w := range slices.Concat(demoDisks[0].writes, disk.writes) {
		copy(want[w.off:], w.bytes())
	}
	image, err := vhd.Open(d.path(disk.file), nil)
	if err != nil {
		return nil, err
	}
	got := make([]byte, image.Size())
	_, err = image.ReadAt(got, 0)
	if err := errors.Join(err, image.Close()); err != nil {
		return nil, err
	}
	if !bytes.Equal(got, want) {
		return nil, fmt.Errorf("%s: it does not read as what was written", d.path(disk.file))
	}
	return got, nil
}

func (d *demo) showUnchanged(file, before string) error {
	after, err := d.sum(file)
	if err != nil {
		return err
	}
	if after != before {
		return fmt.Errorf("%s: it was changed: sha256 %s, before %s", d.path(file), after, before)
	}
	fmt.Fprintf(d.out, "\nThe base is unchanged: the sha256 of %s before its children and now is\n  %s\n", file, after)
	return nil
}

func (d *demo) sayNext() {
	alice := quote(d.path(demoDisks[1].file))
	fmt.Fprintf(d.out, "\nTry next:\n  vhd info --chain %s\n  vhd map %s\n  vhd export %s alice.raw\n  vhd create -b %s %s\n",
		alice, alice, alice, alice, quote(d.path("alice2.vhd")))
}

// remove removes what was made.
func (d *demo) remove() error {
	var err error
	for _, name := range d.made {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}
