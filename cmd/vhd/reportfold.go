package main

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/go-vhd/vhd"
)

// fold is a run of images that a merge can fold into the last one, since nothing else in the
// folder is a child of any of them.
type fold struct {
	Filename string   `json:"filename"` // the topmost
	Into     string   `json:"into"`
	Images   []string `json:"images"`       // all, topmost first
	Before   int64    `json:"bytes-before"` // size of their files
	After    int64    `json:"bytes-after,omitempty"`
	Problem  string   `json:"problem,omitempty"` // why that can't be told
	Command  string   `json:"command,omitempty"`

	run   []*node
	inUse bool // another program is writing one of them
}

// GivenBack is what the merge would give back.
func (f *fold) GivenBack() int64 {
	if f.Problem != "" {
		return 0
	}
	return max(0, f.Before-f.After)
}

// foldable are all such runs, each as long as it can be. First are those below images that
// stay: the others take away leaves by which the first are found.
func (s *survey) foldable() (runs [][]*node) {
	for _, n := range s.images {
		if !n.goesIntoParent() || len(n.children) == 1 && n.children[0].goesIntoParent() {
			continue // it is in none, or not the topmost
		}
		run := []*node{n}
		for at := n; at.goesIntoParent(); at = at.parent {
			run = append(run, at.parent)
		}
		runs = append(runs, run)
	}
	slices.SortStableFunc(runs, func(a, b []*node) int { return cmp.Compare(len(b[0].children), len(a[0].children)) })
	return runs
}

// goesIntoParent says whether it can be folded into its parent: no other image in the folder
// needs what either is now, and no machine that would find its disk changed when it goes on.
func (n *node) goesIntoParent() bool {
	parent := n.parent
	if parent == nil || parent.image == nil || n.isOrphan() || parent.image.Error != "" {
		return false
	}
	return len(n.children) <= 1 && len(parent.children) == 1 && !n.image.SavedState && !parent.image.SavedState
}

// fold finds out what a merge of a run would give back.
func (s *survey) fold(ctx context.Context, run []*node) *fold {
	f := &fold{Filename: run[0].image.Filename, Into: run[len(run)-1].image.Filename, run: run}
	for _, n := range run {
		f.inUse = f.inUse || s.inUse[n]
		f.Images = append(f.Images, n.image.Filename)
		f.Before += n.image.FileSize
	}
	line, err := s.mergeLine(ctx, run)
	if err == nil {
		f.After, err = s.mergedSize(ctx, run)
	}
	if err != nil {
		f.Problem = problem(err)
		return f
	}
	f.Command = line
	return f
}

// mergeLine is the command that folds a run, which may be further down in the chain of a
// disk, or why it would be refused. Images have their names in it: their numbers change with
// other merges.
func (s *survey) mergeLine(ctx context.Context, run []*node) (line string, err error) {
	from, leaf := 0, run[0]
	for len(leaf.children) > 0 {
		from, leaf = from+1, leaf.children[0]
	}
	into := from + len(run) - 1
	d, err := vhd.Open(leaf.found.Name, &s.opts)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if err := d.Merge(ctx, from, into, vhd.MergeOptions{DryRun: true}); err != nil {
		return "", err
	}
	names := chainNames(d)
	line = "vhd merge "
	if from > 0 {
		line += "--from " + quote(names[from]) + " "
	}
	if into > from+1 {
		line += "--into " + quote(names[into]) + " "
	}
	return line + quote(leaf.image.Filename), nil
}

// mergedSize is the size of the file that receives: it grows by what all together need more
// than it alone, but for what goes into gaps that it has. Where the disks are of several
// sizes it is about that.
func (s *survey) mergedSize(ctx context.Context, run []*node) (int64, error) {
	into := run[len(run)-1]
	together, err := s.sizeOf(ctx, run)
	if err != nil {
		return 0, err
	}
	alone, err := s.sizeOf(ctx, run[len(run)-1:])
	const sector = vhd.SectorSize // old footers are a byte shorter, until something is written
	return (into.image.FileSize+sector-1)/sector*sector + together - alone, err
}

// sizeOf is the size of a new image that holds what those of a run do, of the kind of the
// last one.
func (s *survey) sizeOf(ctx context.Context, run []*node) (n int64, err error) {
	into := run[len(run)-1].found.Image
	d, err := vhd.Open(run[0].found.Name, &s.opts)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	opts := vhd.ExportOptions{Type: into.Footer().Type}
	if header, ok := into.Header(); ok {
		opts.BlockSize = header.BlockSize
	}
	if opts.Type == vhd.Differencing {
		opts.Base = len(run)
	}
	return d.ExportSize(ctx, opts)
}
