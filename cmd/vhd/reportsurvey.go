package main

import (
	"context"
	"errors"
	"html/template"

	"github.com/go-vhd/vhd"
)

// survey looks at all images of a folder, one after the other.
type survey struct {
	*forest
	opts     vhd.Options
	maxCells int64 // of a map

	reports []*imageReport
	inUse   map[*node]bool // another program is writing it
	folds   []*fold
	chains  []chainMap
	undrawn int // disks without a map, since there are too many

	progress    func(done, total int64) // or nil
	done, total int64                   // bytes of files
}

// chainMap tells of a disk, which a leaf and its parents make, what each of them holds.
type chainMap struct {
	Name    string
	Map     template.HTML // empty: see Problem
	Problem string
}

// The bounds of a page: what a browser shows without trouble. Where there are many disks,
// the map of each has fewer cells.
const (
	maxMaps     = 64
	maxMapCells = 4096  // of one map
	maxAllCells = 65536 // of all of them
)

func newSurvey(trees *forest, opts vhd.Options, progress func(done, total int64)) *survey {
	opts.Lock = vhd.LockNone // nobody is kept from using what is looked at
	s := &survey{forest: trees, opts: opts, reports: []*imageReport{}, inUse: map[*node]bool{}, folds: []*fold{}, progress: progress}
	ndisks := int64(0)
	for _, n := range trees.images {
		s.total += n.image.FileSize
		if n.isDisk() {
			ndisks++
		}
	}
	s.maxCells = min(maxMapCells, maxAllCells/max(1, min(ndisks, maxMaps)))
	return s
}

// isDisk says whether it is the leaf of a chain: what a machine uses.
func (n *node) isDisk() bool { return n.image.Error == "" && len(n.children) == 0 }

// run looks at all. Whatever is wrong with an image is told of it: the error is the end of
// ctx.
func (s *survey) run(ctx context.Context) error {
	for _, n := range s.images {
		r := &imageReport{listed: *n.image, node: n, parent: s.shown(n.found.Parent)}
		s.check(ctx, r)
		if n.image.Error == "" {
			s.open(ctx, r)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		s.reports = append(s.reports, r)
		s.done += n.image.FileSize
		s.at(0)
	}
	for _, run := range s.foldable() {
		f := s.fold(ctx, run)
		if err := ctx.Err(); err != nil {
			return err
		}
		s.folds = append(s.folds, f)
	}
	return nil
}

// at tells how far the image is that is looked at.
func (s *survey) at(done int64) {
	if s.progress != nil {
		s.progress(s.done+done, s.total)
	}
}

// check looks for damage, and how the image goes with its parent, which has its own turn.
func (s *survey) check(ctx context.Context, r *imageReport) {
	r.Findings = []vhd.Finding{}
	name := r.node.found.Name
	report, err := vhd.Check(ctx, name, vhd.CheckOptions{Options: s.opts, Parent: true})
	switch {
	case report == nil:
		r.CheckProblem = whyUnreadable(name, err)
		return
	case err != nil: // its parent could not be read
		r.CheckProblem = problem(err)
	}
	r.Findings = report.Findings
	for i := range r.Findings { // by the name that the images have in the report
		r.Findings[i].Image = s.typed(r.Findings[i].Image)
	}
}

// open looks at what only an open image tells, and the chain that it is the leaf of.
func (s *survey) open(ctx context.Context, r *imageReport) {
	name := r.node.found.Name
	r.InUse = isInUse(name)
	s.inUse[r.node] = r.InUse
	r.Blocks = s.blocks(name)
	d, err := vhd.Open(name, &s.opts)
	if err != nil {
		r.CompactProblem = problem(err)
		s.draw(ctx, r.node, nil, err)
		return
	}
	defer func() { _ = d.Close() }() // read-only
	s.compact(ctx, d, r)
	s.draw(ctx, r.node, d, nil)
}

// blocks are those of an image, whether its parent is to be had or not.
func (s *survey) blocks(name string) *blockInfo {
	opts := s.opts
	opts.NoParents = true
	d, err := vhd.Open(name, &opts)
	if err != nil {
		return nil
	}
	defer func() { _ = d.Close() }() // read-only
	info, err := describe(d.Chain()[0], false)
	if err != nil {
		return nil // a check tells of damage
	}
	return info.FormatSpecific.Data.Blocks
}

// compact finds out what compacting would leave of an image's file.
func (s *survey) compact(ctx context.Context, d *vhd.Disk, r *imageReport) {
	if r.DiskType == vhd.Fixed.String() {
		return
	}
	size, err := d.CompactSize(ctx, vhd.CompactOptions{Progress: func(done, _ int64) { s.at(min(done, r.FileSize)) }})
	if err != nil {
		r.CompactProblem = problem(err)
		return
	}
	r.CompactedSize = size
}

// draw draws a map of what is a disk. It could not be opened if there is an err.
func (s *survey) draw(ctx context.Context, n *node, d *vhd.Disk, err error) {
	switch {
	case !n.isDisk():
		return
	case len(s.chains) == maxMaps:
		s.undrawn++
		return
	}
	c := chainMap{Name: printable(n.name)}
	if err == nil {
		c.Map, err = s.mapOf(ctx, n, d)
	}
	if err != nil {
		c.Problem = problem(err)
	}
	s.chains = append(s.chains, c)
}

// mapOf is the map of a disk. With an error it is a map all the same, unless it is empty.
func (s *survey) mapOf(ctx context.Context, n *node, d *vhd.Disk) (template.HTML, error) {
	m := newMap(d, printable(n.name), s.maxCells, func(img *vhd.Image) string { return printable(s.shown(img.Name())) })
	unreadable, err := fillMap(m, extentsOf(ctx, d, nil))
	if err != nil {
		return "", err
	}
	section, err := m.Section(mapID(len(s.chains)))
	return section, errors.Join(err, unreadable)
}
