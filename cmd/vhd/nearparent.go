package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-vhd/vhd"
)

// maxLookedAt bounds how many files and folders are looked at for a lost parent outside its child's folder.
const maxLookedAt = 10000

// parentsNear are the images that have the identifier of a lost parent: in the child's folder, or else
// in those where it should be, or else in the folders below the child's.
func parentsNear(ctx context.Context, e *vhd.ParentError, root string) []string {
	if beside := parentsBeside(ctx, e.Child, root); len(beside) > 0 {
		return beside
	}
	s := parentSearch{ctx: ctx, root: root, lost: e, left: maxLookedAt}
	dir := filepath.Dir(e.Child)
	looked := []string{dir}
	for _, a := range e.Attempts {
		if in := filepath.Dir(a.Name); a.Name != "" && !slices.Contains(looked, in) {
			looked = append(looked, in)
			s.lookIn(in)
		}
	}
	below := []string{dir}
	for len(below) > 0 && len(s.found) == 0 {
		below = append(below[1:], s.lookIn(below[0])...)
	}
	return s.found
}

// parentSearch is the search for a lost parent in several folders.
type parentSearch struct {
	ctx   context.Context
	root  string
	lost  *vhd.ParentError
	left  int // how many files and folders may be looked at still
	found []string
}

// lookIn looks at the images in a folder, and returns the folders in it. Only what is called as images are is
// opened: where the folder is, the child says, and nobody knows who made that.
func (s *parentSearch) lookIn(dir string) (below []string) {
	if s.left <= 0 || !isInside(s.root, dir) {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }() // it was only read
	entries, _ := f.ReadDir(s.left)  // as many as can be read
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, entry := range entries {
		if s.left--; s.ctx.Err() != nil {
			return nil
		}
		name := filepath.Join(dir, entry.Name())
		switch {
		case entry.IsDir():
			below = append(below, name)
		case entry.Type().IsRegular() && isCalledImage(name) && s.isParent(name):
			s.found = append(s.found, name)
		}
	}
	return below
}

// isCalledImage says whether the name is one of an image.
func isCalledImage(name string) bool {
	ext := strings.ToLower(filepath.Ext(name))
	return ext == ".vhd" || ext == ".avhd"
}

// isParent says whether an image is the parent, by its identifier, and not found yet.
func (s *parentSearch) isParent(name string) bool {
	isIt := func(other string) bool { return isSameFile(other, name) }
	if isIt(s.lost.Child) || slices.ContainsFunc(s.found, isIt) {
		return false
	}
	d, err := vhd.Open(name, &vhd.Options{NoParents: true, Lock: vhd.LockNone})
	if err != nil {
		return false
	}
	defer func() { _ = d.Close() }() // it was only read
	return d.Chain()[0].Footer().ID == s.lost.ParentID
}

// isInside says whether a folder is in the one that confines parents, behind all symbolic links.
func isInside(root, dir string) bool {
	if root == anywhere {
		return true
	}
	root, rootErr := filepath.EvalSymlinks(root)
	dir, dirErr := filepath.EvalSymlinks(dir)
	abs, absErr := filepath.Abs(root)
	return rootErr == nil && dirErr == nil && absErr == nil && commonDir(root, dir) == abs
}
