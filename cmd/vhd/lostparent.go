package main

import (
	"context"
	"errors"
	"slices"

	"github.com/go-vhd/vhd"
)

// lostParentCodes are those of findings about an image that may be sound, and whose parent is not to be had.
var lostParentCodes = []string{"parent-not-found", "parent-mismatch", "parent-outside-root"}

// orphan is the image of the chain that has lost its parent; empty: none has.
func (c *checked) orphan() string {
	at := slices.IndexFunc(c.Findings, func(f vhd.Finding) bool { return slices.Contains(lostParentCodes, f.Code) })
	if at < 0 {
		return ""
	}
	return c.Findings[at].Image
}

// findOrphan finds out why an image of the chain has no parent, if one has none.
func (c *checked) findOrphan(a *app) {
	if c.orphan() == "" {
		return
	}
	d, err := a.open(c.orphan())
	if err == nil { // it has it again
		_ = d.Close() // read-only
	}
	c.lost = err
}

// verdictLost is what is wrong with an image that has nothing but lost its parent, as a part of a sentence.
func (c *checked) verdictLost() string {
	whose, what := "its parent", "is missing"
	if c.orphan() != c.Filename {
		whose = "the parent of " + c.orphan()
	}
	if parent, ok := errors.AsType[*vhd.ParentError](c.lost); ok && unreadableParent(parent) != "" {
		what = "can not be read"
	}
	return whose + " " + what
}

// hintLost is what gives a chain its parent back, as a line; none: nothing is known.
func (c *checked) hintLost(ctx context.Context, root string) []string {
	if c.lost == nil {
		return nil
	}
	if h := hint(ctx, c.lost, root); h != "" {
		return []string{"hint: " + h}
	}
	return nil
}
