package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

func compactCommand(a *app) *cobra.Command {
	var flags workFlags
	cmd := &cobra.Command{
		Use:   "compact [--dry-run] [--output human|json] [-p] [-q] FILE",
		Short: "Make an image's file as small as it can be",
		Long: `Make an image's file as small as it can be, without changing what it reads as. What
the parents hold too is dropped, and zeros where there is nothing below. Zeros over
a parent's data stay. The parents are not changed.

Space that the file system inside the disk has freed counts only if it is zeros:
let that system write zeros there before.

It can be interrupted at any time: what is done until then remains so.`,
		Example: `  vhd compact alice.vhd
  vhd compact --dry-run --output json alice.vhd`,
		Args: files("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := compactFile(cmd.Context(), a, &flags, args[0], cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return flags.print(cmd.OutOrStdout(), c, c.String())
		},
		Aliases:               []string{"optimize"},
		SuggestFor:            []string{"shrink", "trim", "optimise"},
		DisableFlagsInUseLine: true,
	}
	flags.add(cmd)
	return cmd
}

// compacted is what became of an image's file, or would.
type compacted struct {
	outcome
	Before int64 `json:"bytes-before"` // size of the file
	After  int64 `json:"bytes-after"`
}

func compactFile(ctx context.Context, a *app, flags *workFlags, name string, stderr io.Writer) (c compacted, err error) {
	opts := a.options()
	opts.Writable = !flags.dryRun
	d, err := vhd.Open(name, &opts)
	if err != nil {
		return c, adviseFormat(name, err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	leaf := d.Chain()[0]
	c = compacted{outcome: flags.outcomeOf(name), Before: leaf.FileSize()}
	progress, end := flags.progressOf(stderr, "compact")
	defer end()
	how := vhd.CompactOptions{Progress: progress}
	if flags.dryRun {
		c.After, err = d.CompactSize(ctx, how)
	} else {
		before := stateOf(ctx, d)
		err = d.Compact(ctx, how)
		after := stateOf(ctx, d)
		c.After, c.Changed = after.size, after != before
	}
	if errors.Is(err, vhd.ErrUnsupported) && leaf.Footer().Type == vhd.Fixed {
		err = hintedError{err, "vhd export -O dynamic " + quote(name) + " NEW.vhd makes an image without its zeros"}
	}
	return c, flags.orInterrupted(name, err, "it reads as before, and compacting again does the rest")
}

// fileState tells the leaf's file from what compacting makes of it.
type fileState struct {
	size, taken int64  // bytes: all, and without holes
	table       int64  // where the BAT is
	places      uint64 // a sum over where in the file all is that it has of the disk
}

func stateOf(ctx context.Context, d *vhd.Disk) fileState {
	leaf := d.Chain()[0]
	header, _ := leaf.Header()
	s := fileState{size: leaf.FileSize(), table: header.TableOffset}
	if info, err := os.Stat(leaf.Name()); err == nil {
		s.taken = usedBytes(info)
	}
	places := fnv.New64a()
	for e, err := range d.FileExtents(0, d.Size()) {
		if ctx.Err() != nil {
			break
		}
		if err == nil && e.Depth == 0 {
			_, _ = fmt.Fprintln(places, e.Offset, e.Length, e.FileOffset)
		}
	}
	s.places = places.Sum64()
	return s
}

// heldByLeaf is how many bytes of the disk the leaf has itself. What can't be told, since
// an image is damaged, does not count, and the end of ctx ends the count.
func heldByLeaf(ctx context.Context, d *vhd.Disk) (n int64) {
	for e, err := range d.Extents(0, d.Size()) {
		if ctx.Err() != nil {
			break
		}
		if err == nil && e.Depth == 0 {
			n += e.Length
		}
	}
	return n
}

// String is all in a sentence.
func (c compacted) String() string {
	left, gone := humanSize(c.After), humanSize(c.Before-c.After)
	if c.After >= c.Before {
		return fmt.Sprintf("%s: %s, and nothing to give back", c.Filename, left)
	}
	return fmt.Sprintf(c.done("%s: %s given back, %s left", "%s: %s would be given back, %s would be left"), c.Filename, gone, left)
}
