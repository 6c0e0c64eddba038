package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-vhd/vhd"
)

// forest is the images of a folder by who is whose child.
type forest struct {
	dir       string
	recursive bool    // the folders in it were looked into
	images    []*node // in the order in which they were found: by name, folder by folder
	roots     []*node
	byName    map[string]*node // the images
	parents   map[parentKey]*node
}

// node is an image, or stands for a parent that is not among the images.
type node struct {
	name     string // as seen from the folder
	image    *listed
	note     string // what is special about it, in a few words; empty: nothing
	broken   bool   // note tells what is wrong with it
	parent   *node
	children []*node

	found *vhd.Scanned
	order int // among the images
	walk  int // which walk came by here; 0: none
}

// parentKey is what tells one parent that is not among the images from another.
type parentKey struct{ name, id, note string }

// newForest puts together what was found in a folder.
func newForest(dir string, recursive bool, found []vhd.Scanned) *forest {
	f := &forest{dir: dir, recursive: recursive, byName: map[string]*node{}, parents: map[parentKey]*node{}}
	for i := range found {
		if !found[i].IsDir {
			f.add(&found[i])
		}
	}
	for _, n := range f.images {
		if n.found.Image != nil {
			f.attach(n)
		}
	}
	f.cutRings()
	f.nameChildren()
	f.findRoots()
	f.markTooDeep()
	return f
}

// add adds an image, or a file that can't be read.
func (f *forest) add(found *vhd.Scanned) {
	n := &node{name: f.shown(found.Name), image: f.describe(found), found: found, order: len(f.images)}
	f.images = append(f.images, n)
	f.byName[found.Name] = n
	n.note, n.broken = n.image.special(), found.Image == nil
}

// special is what is special about an image by itself, and how it goes with its parent.
func (l *listed) special() string {
	if l.Error != "" {
		return l.Error
	}
	var notes []string
	if l.NeedsRecovery {
		notes = append(notes, "needs recovery")
	}
	if l.SavedState {
		notes = append(notes, "saved state")
	}
	if l.ParentChanged {
		notes = append(notes, "its parent's file was changed since: if the disk in it was, this one is worthless")
	}
	return strings.Join(notes, ", ")
}

// hasChangedParent says whether its parent's file was changed since it recorded that.
func (n *node) hasChangedParent() bool { return n.image != nil && n.image.ParentChanged }

// mark is the sign in front of the note: of what is wrong, and, softer, of what may be.
func (n *node) mark() string {
	switch {
	case n.broken:
		return "✕ "
	case n.hasChangedParent():
		return "! "
	}
	return ""
}

// attach puts an image below its parent.
func (f *forest) attach(n *node) {
	found := n.found
	switch {
	case found.Parent != "":
		n.putBelow(f.parentNamed(found.Parent))
	case errors.Is(found.Err, vhd.ErrChainLoop): // it names itself
		n.note, n.broken = bare(vhd.ErrChainLoop.Error()), true
	case found.Err != nil:
		n.putBelow(f.missing(n))
	}
}

func (n *node) putBelow(parent *node) {
	n.parent = parent
	parent.children = append(parent.children, n)
}

// parentNamed is a parent that was found, among the images or not.
func (f *forest) parentNamed(name string) *node {
	if n := f.byName[name]; n != nil {
		return n
	}
	shown := f.shown(name)
	note := "behind a symbolic link"
	switch {
	case filepath.IsAbs(shown):
		note = "outside this folder"
	case !f.recursive && shown != filepath.Base(shown):
		note = "in a folder in this one, which -R shows"
	}
	return f.stand(parentKey{name: name, note: note}, shown, false)
}

// isOrphan says whether it is an image whose parent was not found, or can't be used.
func (n *node) isOrphan() bool { return n.parent != nil && n.found.Parent == "" }

// missing is an image that seems to be the parent and can't be read, or stands for one that
// was not found. Its children know that by its identifier, if it has one.
func (f *forest) missing(child *node) *node {
	if parent, ok := errors.AsType[*vhd.ParentError](child.found.Err); ok {
		for _, a := range parent.Attempts {
			if n := f.byName[a.Name]; n != nil && n.found.Image == nil {
				return n
			}
		}
	}
	name := cmp.Or(child.image.BackingFilename, "(no name that can be read)")
	key := parentKey{id: child.image.ParentID, note: f.whyMissing(child.found)}
	if header, _ := child.found.Image.Header(); header.ParentID == [16]byte{} {
		key.name = name
	}
	return f.stand(key, name, true)
}

// whyMissing is in a few words why a child has no parent.
func (f *forest) whyMissing(child *vhd.Scanned) string {
	parent, ok := errors.AsType[*vhd.ParentError](child.Err)
	if !ok {
		return reason(child.Err)
	}
	why := telling(parent)
	note := bare(why.Error())
	switch {
	case errors.Is(why, vhd.ErrParentMismatch):
		note = "missing: what is there has another identifier"
	case why == vhd.ErrParentNotFound: //nolint:errorlint // and nothing is said besides
		note = "missing"
	}
	switch n := len(child.Elsewhere); {
	case n == 1:
		note += "; it seems to be " + f.shown(child.Elsewhere[0]) + " now"
	case n > 1:
		note += fmt.Sprintf("; %d images have its identifier", n)
	}
	return note
}

// stand is what stands for a parent: one for all its children.
func (f *forest) stand(key parentKey, name string, broken bool) *node {
	n := f.parents[key]
	if n == nil {
		n = &node{name: name, note: key.note, broken: broken}
		f.parents[key] = n
	}
	return n
}

// cutRings makes trees of images that are each other's parents: the first one becomes the
// root.
func (f *forest) cutRings() {
	for i, n := range f.images {
		walk, at := i+1, n
		for at != nil && at.walk == 0 {
			at.walk, at = walk, at.parent
		}
		if at != nil && at.walk == walk {
			cutRing(at)
		}
	}
}

// cutRing cuts the ring in which n is.
func cutRing(n *node) {
	top := n
	for at := n.parent; at != n; at = at.parent {
		if at.order < top.order {
			top = at
		}
	}
	loop := bare(vhd.ErrChainLoop.Error())
	top.note, top.broken = loop+": "+top.parent.name+" is its parent too", true
	for at := top.parent; at != top; at = at.parent {
		at.image.ParentProblem = loop
	}
	top.image.ParentProblem = loop
	parent := top.parent
	parent.children = slices.DeleteFunc(parent.children, func(child *node) bool { return child == top })
	top.parent = nil
}

// nameChildren tells the images which are their children.
func (f *forest) nameChildren() {
	for _, n := range f.images {
		for _, child := range n.children {
			n.image.Children = append(n.image.Children, child.image.Filename)
		}
	}
}

// findRoots finds where trees begin, each where its first image is found.
func (f *forest) findRoots() {
	begun := map[*node]bool{}
	for _, n := range f.images {
		root := n
		if n.parent != nil {
			if root = n.parent; root.image != nil {
				continue
			}
		}
		if !begun[root] {
			begun[root] = true
			f.roots = append(f.roots, root)
		}
	}
}

// markTooDeep marks where chains become too long.
func (f *forest) markTooDeep() {
	f.each(func(n *node, depth int, _ bool) {
		if depth == vhd.DefaultMaxDepth {
			n.note, n.broken = bare(vhd.ErrChainTooDeep.Error()), true
		}
	})
}

// typed is a name as a user would type it.
func (f *forest) typed(name string) string {
	if filepath.Clean(f.dir) == "." {
		return f.shown(name)
	}
	return name
}

// shown is a name as seen from the folder.
func (f *forest) shown(name string) string {
	dir := f.dir
	if !os.IsPathSeparator(dir[len(dir)-1]) {
		dir += string(filepath.Separator)
	}
	return strings.TrimPrefix(name, dir)
}

// each calls do for all nodes, parents before their children. There is no recursion in
// it: a chain is as deep as whoever made the images likes.
func (f *forest) each(do func(n *node, depth int, isLast bool)) {
	type step struct {
		*node
		depth  int
		isLast bool
	}
	var ahead []step
	push := func(nodes []*node, depth int) {
		for i, n := range slices.Backward(nodes) {
			ahead = append(ahead, step{n, depth, i == len(nodes)-1})
		}
	}
	push(f.roots, 0)
	for len(ahead) > 0 {
		next := ahead[len(ahead)-1]
		ahead = ahead[:len(ahead)-1]
		do(next.node, next.depth, next.isLast)
		push(next.children, next.depth+1)
	}
}
