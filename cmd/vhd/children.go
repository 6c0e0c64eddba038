package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-vhd/vhd"
)

// childrenBeside are the images in the folder of an image, and in that of the file if its name is
// a link, which have it as their parent, or may have.
func childrenBeside(ctx context.Context, a *app, name string) (children []string, err error) {
	target, err := filepath.EvalSymlinks(name)
	if err != nil {
		return nil, inFile(name, err)
	}
	isIt := func(other string) bool { return isSameFile(other, name) }
	for _, dir := range slices.Compact([]string{filepath.Dir(name), filepath.Dir(target)}) {
		trees, _, err := scanFolder(ctx, a, dir, false, nil)
		if err != nil {
			return nil, err
		}
		for _, n := range trees.images {
			if isIt(n.found.Parent) || slices.ContainsFunc(n.found.Elsewhere, isIt) {
				children = append(children, n.image.Filename)
			}
		}
	}
	return children, nil
}

// maxChildrenNamed is how many children are named.
const maxChildrenNamed = 3

// someOf are the names of children in a sentence.
func someOf(children []string) string {
	named := strings.Join(children[:min(len(children), maxChildrenNamed)], ", ")
	if more := len(children) - maxChildrenNamed; more > 0 {
		named += fmt.Sprintf(" and %d more", more)
	}
	return named
}

// otherChildrenError is that an image must not change, since others have it as their parent.
func otherChildrenError(name string, children []string) error {
	return fmt.Errorf("%s: %w: %s", name, vhd.ErrOtherChildren, someOf(children))
}
