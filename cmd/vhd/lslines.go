package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-vhd/vhd/cmd/vhd/internal/human"
)

const (
	// maxDrawn is how many levels of a tree go to the right.
	maxDrawn = 12
	// maxAligned bounds how far to the right a long name moves the columns of all others.
	maxAligned = 60
)

// line is one of the listing.
type line struct {
	branch string // what is drawn in front of the name
	stem   string // what is drawn in front of what is told below it
	*node
}

// lines are the trees, with columns for what is told of the images. None is longer than a terminal
// has room for: what is too long stands below the name.
func (f *forest) lines(room int) []string {
	if len(f.images) == 0 {
		return nil
	}
	drawn := f.draw()
	width := 0
	for _, l := range drawn {
		if n := utf8.RuneCountInString(l.label()); n <= min(maxAligned, room-columnsWidth) {
			width = max(width, n)
		}
	}
	var all []string
	if width > 0 {
		all = append(all, fmt.Sprintf("%-*s  "+columnsFormat, width, "image", "type", "virtual size", "file size"))
	}
	for _, l := range drawn {
		all = append(all, l.text(width, room)...)
	}
	return all
}

// What is told of an image beside its name.
const (
	columnsFormat = "%-12s  %12s  %9s"
	columnsWidth  = 2 + 12 + 2 + 12 + 2 + 9
)

// draw draws the branches of the trees.
func (f *forest) draw() (lines []line) {
	var stems [maxDrawn + 1]string // what is in front of the children of each level
	f.each(func(n *node, depth int, isLast bool) {
		branch, stem := branchOf(depth, isLast, stems[max(0, min(depth-1, maxDrawn))])
		if depth <= maxDrawn {
			stems[depth] = stem
		}
		if len(n.children) > 0 || depth > maxDrawn && !isLast {
			stem += "│   "
		} else {
			stem += "    "
		}
		lines = append(lines, line{branch, stem, n})
	})
	return lines
}

// branchOf is what is drawn in front of a name, and the stem in front of those below it.
// above is the stem that the parent has for its children.
func branchOf(depth int, isLast bool, above string) (branch, stem string) {
	switch {
	case depth == 0:
		return "", ""
	case depth > maxDrawn && isLast:
		return fmt.Sprintf("%s└%d─ ", above, depth), above
	case depth > maxDrawn:
		return fmt.Sprintf("%s├%d─ ", above, depth), above
	case isLast:
		return above + "└── ", above + "    "
	}
	return above + "├── ", above + "│   "
}

func (l line) label() string { return l.branch + printable(l.name) }

// text is the line, in columns behind a label that wide, and below it what there is no room for.
func (l line) text(width, room int) []string {
	fits := func(text string) bool { return utf8.RuneCountInString(text) <= room }
	row, note := fmt.Sprintf("%-*s  %s", width, l.label(), l.columns()), printable(l.note)
	if whole := strings.TrimRight(row+l.mark()+note, " "); fits(whole) {
		return []string{whole}
	}
	notes := l.below(l.mark(), note, room)
	if row = strings.TrimRight(row, " "); fits(row) {
		return append([]string{row}, notes...)
	}
	return slices.Concat([]string{l.label()}, l.below("", l.detail(), room), notes)
}

// columns is what is told of an image that can be read.
func (l line) columns() string {
	if l.image == nil || l.image.Error != "" {
		return ""
	}
	return fmt.Sprintf(columnsFormat+"  ", l.image.DiskType, humanSize(l.image.VirtualSize), humanSize(l.image.FileSize))
}

// minWrapped is how wide text below a name may be, also where there is no room for it.
const minWrapped = 20

// below is text behind a mark, in lines that stand below the name.
func (l line) below(mark, text string, room int) (lines []string) {
	inFront := l.stem + mark
	for _, part := range human.Fold(text, max(minWrapped, room-utf8.RuneCountInString(inFront))) {
		lines = append(lines, inFront+part)
		inFront = l.stem + strings.Repeat(" ", utf8.RuneCountInString(mark))
	}
	return lines
}

// summary is all in a sentence.
func (f *forest) summary() string {
	if len(f.images) == 0 {
		if f.recursive {
			return f.dir + ": no images"
		}
		return f.dir + ": no images; -R looks into the folders in it too"
	}
	size, used := f.sizes()
	return fmt.Sprintf("%s; files of %s take %s on disk.", f.count(), humanSize(size), humanSize(used))
}

// sizes are how large all files are, and what they take.
func (f *forest) sizes() (size, used int64) {
	for _, n := range f.images {
		size, used = size+n.image.FileSize, used+n.image.ActualSize
	}
	return size, used
}

// forestCounts are how many there are.
type forestCounts struct{ trees, orphans, unreadable, changedParents int }

func (f *forest) counts() (c forestCounts) {
	for _, root := range f.roots {
		if root.image == nil || root.image.Error == "" || len(root.children) > 0 {
			c.trees++
		}
	}
	for _, n := range f.images {
		if n.isOrphan() {
			c.orphans++
		}
		if n.image.Error != "" {
			c.unreadable++
		}
		if n.hasChangedParent() {
			c.changedParents++
		}
	}
	return c
}

// count is how many images there are, and how they stand.
func (f *forest) count() string {
	c := f.counts()
	count := counted(len(f.images), "image", "images") + " in " + counted(c.trees, "tree", "trees")
	if c.orphans > 0 {
		count += ", " + counted(c.orphans, "orphan", "orphans")
	}
	if c.unreadable > 0 {
		count += fmt.Sprintf(", %d unreadable", c.unreadable)
	}
	if c.changedParents > 0 {
		count += fmt.Sprintf(", %d with a changed parent", c.changedParents)
	}
	return count
}

// counted is a number of things in words.
func counted[N int | int64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
