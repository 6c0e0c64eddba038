package vhd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/google/uuid"
)

// RebaseTreeOptions say how the images in a folder find their parents again.
type RebaseTreeOptions struct {
	// Options are as for Open, of each image. Root is the folder itself if it is
	// empty. Writable, NoParents, Search and MapPath are not used.
	Options

	// DryRun finds out what there is to be done, and changes nothing.
	DryRun bool

	// Progress, if it is set, is told now and then how many of the differencing
	// disks that were found are looked at.
	Progress func(done, total int64)
}

// Rebased is what became of an image whose references don't lead to its parent.
type Rebased struct {
	Name   string // of the image
	Parent string // the name under which its parent was found; empty: it was not
	Err    error  // why the image does not refer to it now; nil: it does, or would but for a dry run, which does not try whether it can be written

	// Candidates are the images of the folder of which each may be the parent, if several
	// have its identifier: nobody can tell which is meant. Of more than 16, they are the first.
	Candidates []string
}

// RebaseTree mends the references of all differencing disks in the folder dir and
// the folders in it, as after their parents, or all of them, were moved. Of a disk
// whose parent Open would find nothing is changed, even if others, who look in fewer
// places, would not find it: Rebase is for that. Of others, the parent is the one
// image in dir that has the identifier which they recorded. Where several have it, as
// copies do, nobody can tell which is meant: nothing is changed, and the image is
// reported, as is one whose parent is nowhere in dir, or which would have to be written and is in use.
//
// It returns all images whose references led nowhere, in the order of their names by folder,
// also together with an error, which means that not all was looked at. Symbolic links are
// not followed. What can't be read is reported, what is no VHD is not. More than 64
// folders in one another, or 1048576 files, are ErrUnsupported. The end of ctx
// ends it between two images, with ctx's error.
func RebaseTree(ctx context.Context, dir string, opts RebaseTreeOptions) ([]Rebased, error) {
	t := treeRebase{ctx: ctx, opts: opts, byID: map[uuid.UUID][]*kin{}}
	if dir == "" {
		return nil, fmt.Errorf("vhd: %w: a folder needs a name", fs.ErrInvalid)
	}
	t.opts.Search, t.opts.MapPath = nil, nil
	if t.opts.Root == "" {
		t.opts.Root = dir
	}
	var err error
	if t.folder, err = newFolder(dir, &t.opts.Options, t.opts.Root); err != nil {
		return nil, inFile(dir, err)
	}
	defer t.folder.release()
	return t.found, inFile(dir, t.run())
}

// treeRebase is one under way.
type treeRebase struct {
	ctx      context.Context
	opts     RebaseTreeOptions
	folder   *folder
	children []*kin
	byID     map[uuid.UUID][]*kin
	found    []Rebased
}

func (t *treeRebase) run() error {
	if err := t.folder.eachFile(t.ctx, true, t.add, t.report); err != nil {
		return err
	}
	for i, child := range t.children {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		t.mend(child)
		if t.opts.Progress != nil {
			t.opts.Progress(int64(i+1), int64(len(t.children)))
		}
	}
	return nil
}

func (t *treeRebase) add(abs string) {
	k, err := t.folder.look(abs, nil)
	if err != nil {
		t.report(abs, err)
	}
	if k == nil {
		return
	}
	t.byID[k.id] = append(t.byID[k.id], k)
	if k.isChild && err == nil {
		k.img = nil // there may be many
		t.children = append(t.children, k)
	}
}

func (t *treeRebase) report(abs string, err error) {
	name := t.folder.display(abs)
	t.found = append(t.found, Rebased{Name: name, Err: inFile(name, err)})
}

// mend has a child find its parent again, if it does not.
func (t *treeRebase) mend(child *kin) {
	_, err := findParentOf(child.name, t.opts.Options)
	if err == nil {
		return
	}
	r := Rebased{Name: child.name, Err: err}
	if isLost(err) {
		var parent *kin
		if parent, r.Candidates, r.Err = t.parentOf(child, err); parent != nil {
			r.Parent = parent.name
			r.Err = inFile(child.name, t.relink(child, parent))
		}
	}
	t.found = append(t.found, r)
}

// isLost says whether err means that a parent is not where it was looked for, and
// not that it may be there and can't be used.
func isLost(err error) bool {
	lost, ok := errors.AsType[*ParentError](err)
	if !ok || errors.Is(lost.Err, ErrUnsupported) {
		return false
	}
	for _, reason := range noParents {
		if errors.Is(lost.Err, reason.err) {
			return true
		}
	}
	return false
}

// parentOf is the one image that is the child's parent, or the names of several that may
// be. lost is why the child does not find it.
func (t *treeRebase) parentOf(child *kin, lost error) (parent *kin, candidates []string, err error) {
	parents := parentsAmong(t.byID, child, child.parents, func(k *kin) fs.FileInfo { return k.info })
	switch {
	case len(parents) == 0:
		return nil, nil, lost
	case len(parents) == 1 && t.isBelow(child, parents[0]):
		return nil, nil, inFile(child.name, fmt.Errorf("%w: its parent %s is below it", ErrChainLoop, parents[0].name))
	case len(parents) == 1:
		return parents[0], nil, nil
	}
	many := fmt.Sprint(len(parents))
	if len(parents) == maxParentsAmong {
		many += " or more"
	}
	for _, k := range parents {
		candidates = append(candidates, k.name)
	}
	return nil, candidates, inFile(child.name, fmt.Errorf("%w: %s images have its identifier, and nobody can tell which is meant: %s",
		ErrParentNotFound, many, strings.Join(candidates, ", ")))
}

// isFile says whether two images are one file.
func (k *kin) isFile(other *kin) bool { return k == other || os.SameFile(k.info, other.info) }

// isBelow says whether the child may be one of the image k and its parents, and theirs, by
// their identifiers: of several that have one, any may be found.
func (t *treeRebase) isBelow(child, k *kin) bool {
	seen := map[uuid.UUID]bool{k.id: true}
	for ids := []uuid.UUID{k.id}; len(ids) > 0; ids = ids[1:] {
		same := t.byID[ids[0]]
		if ids[0] == (uuid.UUID{}) && len(same) > 1 { // many may have none
			continue
		}
		if ids[0] == child.id {
			return true
		}
		for _, image := range same {
			for _, parent := range image.parents {
				if !seen[parent.id] {
					seen[parent.id] = true
					ids = append(ids, parent.id)
				}
			}
		}
	}
	return false
}

// relink makes a child refer to its parent by where that is now.
func (t *treeRebase) relink(child, parent *kin) error {
	opts := t.opts.Options
	opts.Writable = false
	c := chain{opts: &opts}
	defer func() { c.close() }()
	l, err := c.openLeaf(parent.name)
	if err != nil {
		return inFile(parent.name, err)
	}
	c.links = append(c.links, &l)
	if l.img.footer.ID != parent.id {
		return inFile(parent.name, errReplaced)
	}
	p, err := newParentOf(child.name, parent.name, parent.id, child.recordedOf(parent.id).modified, &t.opts.Options)
	if err != nil || t.opts.DryRun {
		return err
	}
	if len(child.parents) > 1 { // in two headers, see twin
		if err := l.makeDurable(&opts); err != nil {
			return err
		}
	}
	d, err := child.openAlone(t.opts.Options, parent.id)
	if err != nil {
		return err
	}
	return joined(d.refer(p), d.Close())
}
