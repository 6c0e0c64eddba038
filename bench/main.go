// Command bench compares package vhd with other software that reads and writes
// disks kept as chains of images, and prints the figures as Markdown. The script
// peers, beside it, installs that software and runs it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

type options struct {
	content

	dir      string // for the images
	programs string // those of readers/
	command  string // vhd
	depths   []int
	rounds   int
	places   int // for random reads
	writes   int // to a new child
}

func main() {
	o, err := parse(os.Args[1:])
	if err == nil {
		err = bench(o)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.dir, "dir", "", "an empty `folder` for the images, which stay there")
	flags.StringVar(&o.programs, "programs", "", "the `folder` of the programs built of readers/")
	flags.StringVar(&o.command, "vhd", "vhd", "the command vhd")
	flags.Int64Var(&o.size, "size", 4096, "`MiB` of disk")
	flags.Int64Var(&o.data, "data", 1024, "`MiB` of data in the base")
	flags.IntVar(&o.content.writes, "writes", 1000, "scattered 4 KiB writes in every child")
	depths := flags.String("depths", "0,1,8,64", "how many children the chains have")
	flags.IntVar(&o.rounds, "rounds", 5, "turns for each, of which the median counts")
	flags.IntVar(&o.places, "places", 1<<20, "random places to read from")
	flags.IntVar(&o.writes, "first-writes", 8000, "first writes to a new child")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.size, o.data = o.size*miB, o.data*miB
	for depth := range strings.SplitSeq(*depths, ",") {
		n, err := strconv.Atoi(depth)
		if err != nil || n < 0 {
			return o, fmt.Errorf("%q is no depth", depth)
		}
		o.depths = append(o.depths, n)
	}
	slices.Sort(o.depths) // the chains only grow
	var err error
	o.dir, err = filepath.Abs(o.dir)
	return o, errors.Join(err, o.check())
}

// bench measures at each depth in turn, since the chains grow from one to the
// next, and prints the tables when all are full.
func bench(o options) error {
	places, placesFile := o.content.places(o.places), filepath.Join(o.dir, "places")
	if err := writePlaces(placesFile, places); err != nil {
		return err
	}
	c := newChains(o.dir, o.content)
	reads := newReadBench(c, contenders(o.programs, places, placesFile), o.depths, o.places, o.rounds)
	writes := newFirstWrites(c, o.depths, o.writes, o.rounds)
	var opening, exporting *table
	for column, depth := range o.depths {
		progress("depth %d: making the images", depth)
		if err := c.growTo(depth); err != nil {
			return err
		}
		if err := reads.measure(column, false); err != nil {
			return err
		}
		writes.measure(column)
		if column == len(o.depths)-1 {
			opening = benchOpening(c, o.programs, placesFile, o.rounds)
			exporting = benchExport(c, o.command, o.rounds)
		}
		if err := reads.measure(column, true); err != nil { // behind all that needs the page cache
			return err
		}
	}
	for _, t := range []*table{reads.sequential, reads.random, opening, writes.table, exporting} {
		fmt.Print(t)
	}
	return nil
}

// progress tells a person what takes so long.
func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
