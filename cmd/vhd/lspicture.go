package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/go-vhd/vhd/cmd/vhd/internal/picture"
)

// picture is the trees as a picture shows them.
func (f *forest) picture() picture.Tree {
	title := f.dir
	if abs, err := filepath.Abs(title); err == nil && filepath.Clean(title) == "." {
		title = filepath.Base(abs)
	}
	tree := picture.Tree{Title: printable(title), Summary: printable(f.summary())}
	at := map[*node]int{}
	f.each(func(n *node, _ int, _ bool) {
		at[n] = len(tree.Images)
		image := n.pictured()
		image.Parent = -1
		if n.parent != nil {
			image.Parent = at[n.parent]
		}
		tree.Images = append(tree.Images, image)
	})
	return tree
}

// pictured is the box of one image, or of what stands for a parent.
func (n *node) pictured() picture.TreeImage {
	box := picture.TreeImage{Name: printable(n.name), Detail: n.detail(), Note: printable(n.note), Broken: n.broken, Cut: n.isOrphan(), Doubtful: n.hasChangedParent()}
	switch i := n.image; {
	case i == nil:
		box.Absent = true
	case i.Error != "":
		box.Bytes = i.FileSize
	default:
		box.Bytes, box.Type, box.Tooltip = i.FileSize, i.DiskType, i.tooltip()
	}
	if n.note != "" {
		box.Tooltip = strings.TrimPrefix(box.Tooltip+"\n"+box.Note, "\n")
	}
	return box
}

// detail is what is told of an image in a line of its own; none: empty.
func (n *node) detail() string {
	switch i := n.image; {
	case i == nil:
		return ""
	case i.Error != "":
		return "file " + humanSize(i.FileSize)
	default:
		return fmt.Sprintf("%s %s, file %s", i.DiskType, humanSize(i.VirtualSize), humanSize(i.FileSize))
	}
}

// tooltip is what there is no room for in a box.
func (l *listed) tooltip() string {
	lines := []string{
		l.DiskType + " disk of " + exactSize(l.VirtualSize),
		fmt.Sprintf("file of %s, %s on disk", exactSize(l.FileSize), humanSize(l.ActualSize)),
		"identifier: " + l.UniqueID,
	}
	if l.ParentID != "" {
		lines = append(lines, "parent's identifier: "+l.ParentID, "parent stored as: "+printable(l.BackingFilename))
	}
	return strings.Join(lines, "\n")
}
