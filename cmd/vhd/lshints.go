package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/go-vhd/vhd"
)

// maxHints bounds how many remedies are told.
const maxHints = 6

// remedy is what mends one image or more.
type remedy struct {
	rank  int    // the lowest is told first
	kind  string // the same for all images to which the same has happened
	how   string // for the first of images
	first *node
	more  int
}

// hints are what mends the images: a line for each remedy, which names the first image that
// it is for. root is where parents were confined to, and verb is what the user can have look
// further.
func (f *forest) hints(root, verb string) []string {
	var remedies []*remedy
	byKind := map[string]*remedy{}
	for _, n := range f.images {
		r := f.remedyFor(n, root)
		if r.how == "" {
			continue
		}
		if known := byKind[r.kind]; known != nil {
			known.more++
			continue
		}
		byKind[r.kind] = &r
		remedies = append(remedies, &r)
	}
	slices.SortStableFunc(remedies, func(a, b *remedy) int { return cmp.Compare(a.rank, b.rank) })
	remedies, nlost, nmore := withFewLost(remedies)
	var hints []string
	for _, r := range remedies[:min(len(remedies), maxHints)] {
		hints = append(hints, f.hintOf(r))
	}
	if nmore > 0 {
		hints = append(hints, fmt.Sprintf("and %d more parents are lost", nmore))
	}
	if !f.recursive && nlost > 0 {
		hints = append(hints, "vhd "+verb+" -R "+quote(f.dir)+" looks for parents in the folders in it too")
	}
	return hints
}

// maxLostTold is of how many lost parents it is told where they should be.
const maxLostTold = 3

// withFewLost are the remedies without those of too many lost parents, of which it also tells how many there
// are, and how many were left out.
func withFewLost(remedies []*remedy) (few []*remedy, nlost, nmore int) {
	for _, r := range remedies {
		if r.rank == rankLost && r.first.isOrphan() {
			if nlost++; nlost > maxLostTold {
				nmore++
				continue
			}
		}
		few = append(few, r)
	}
	return few, nlost, nmore
}

// The ranks of remedies: what is nearly done comes first.
const (
	rankMoved = iota
	rankChoice
	rankLost
	rankRecovery
	rankChanged
)

// remedyFor is what mends one image; how is empty: it needs nothing, or nothing mends it.
func (f *forest) remedyFor(n *node, root string) remedy {
	name := quote(n.image.Filename)
	candidates := n.image.ParentCandidates
	switch {
	case f.isMoved(n):
		how := fmt.Sprintf("its parent seems to be %s: vhd rebase -b %s %s", candidates[0], quote(candidates[0]), name)
		return remedy{rankMoved, "moved", how, n, 0}
	case len(candidates) > 1:
		how := fmt.Sprintf("its parent may be any of %s: vhd rebase -b PARENT %s takes the one that you name", strings.Join(candidates, ", "), name)
		return remedy{rankChoice, "choice", how, n, 0}
	case n.isOrphan() && n.parent.image != nil: // which is to be mended
	case n.found.Image == nil && len(n.children) > 0 && lacksFooter(n.found.Err): // which might be anything, but for its children
		return remedy{rankLost, "unreadable parent", "images have it as their parent: " + hintUnreadableParent(n.image.Filename), n, 0}
	case n.found.Err != nil:
		kind, how := adviceFor(n, root)
		return remedy{rankLost, kind, how, n, 0}
	case n.image.NeedsRecovery:
		return remedy{rankRecovery, "recovery", "a writer did not finish, or the file was cut off: vhd repair --dry-run " + name + " tells what mends it", n, 0}
	case n.image.ParentChanged:
		return remedy{rankChanged, "changed", n.image.howChanged(), n, 0}
	}
	return remedy{}
}

// adviceFor is the kind of what keeps an image, or its parent, from being used, and how to mend it. It names
// the image as the user would.
func adviceFor(n *node, root string) (kind, how string) {
	name := n.image.Filename
	err := adviseFormat(name, n.found.Err)
	if hinted, ok := errors.AsType[hintedError](err); ok {
		return strings.ReplaceAll(hinted.hint, quote(name), ""), hinted.hint
	}
	if parent, ok := errors.AsType[*vhd.ParentError](err); ok {
		named := *parent
		named.Child = name
		err = &named
	}
	switch {
	case n.isOrphan():
		return n.parent.note + noWord + n.parent.name + noWord + n.image.ParentID, hintFrom(err, root, nowhereElse) // one for each parent
	case isDamage(err):
		return "damaged", hintDamaged(name)
	}
	return n.note, hintFrom(err, root, nowhereElse)
}

// howChanged is what helps an image whose parent was changed.
func (l *listed) howChanged() string {
	name := quote(l.Filename)
	return "vhd check --chain " + name + " tells when; if the disk in the parent is as it was (it was copied, or rebased, or a merge was killed, " +
		"which merging again completes): vhd rebase -b " + quote(l.FullBackingFilename) + " " + name + " records its time anew; " +
		"if it was written to, only a copy of what it was helps, put in its place"
}

// nowhereElse says that no other image may be the parent of one: of those in the folder it is
// known already.
func nowhereElse(*vhd.ParentError) []string { return nil }

// isMoved says whether one image, and no other, seems to be the parent of an orphan.
func (f *forest) isMoved(n *node) bool {
	err := n.found.Err
	isLost := errors.Is(err, fs.ErrNotExist) || errors.Is(err, vhd.ErrParentMismatch) || errors.Is(err, vhd.ErrOutsideRoot)
	if !isLost || errors.Is(err, vhd.ErrUnsupported) || len(n.found.Elsewhere) != 1 {
		return false
	}
	at := f.byName[n.found.Elsewhere[0]]
	for range vhd.DefaultMaxDepth {
		if at == nil {
			return true
		}
		if at == n {
			return false // it is below its own child
		}
		at = at.parent
	}
	return false
}

// hintOf is the line for a remedy.
func (f *forest) hintOf(r *remedy) string {
	switch {
	case r.more == 0:
		return r.first.image.Filename + ": " + r.how
	case r.rank == rankMoved:
		return fmt.Sprintf("the parents of %d images seem to be here: vhd rebase --tree %s tells them where", r.more+1, quote(f.dir))
	}
	return fmt.Sprintf("%s and %d more: %s", r.first.image.Filename, r.more, r.how)
}
