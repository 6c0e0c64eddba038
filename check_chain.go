package vhd

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// checkParents finds the parents as Open does, and checks each, and how it goes
// with its child.
func (c *checking) checkParents(name string) error {
	if err := c.chain.enterPlace(name); err != nil {
		return err
	}
	defer c.chain.place.release()
	for c.chain.last().needsParent() {
		child := c.chain.last()
		k := checkup{checking: c, m: child.img}
		err := c.nextParent(&k)
		c.findings = k.appendTo(c.findings)
		if err != nil || c.chain.last() == child {
			return err
		}
		parent := linkWithout(c.chain.last())
		if _, err := c.checkImage(parent); err != nil {
			return err
		}
	}
	return nil
}

// linkWithout is the image of a link, of which nothing has been read yet.
func linkWithout(l *link) *Image {
	m := &Image{name: l.img.name, file: l.file}
	m.fileSize.Store(l.img.FileSize())
	return m
}

// nextParent finds the parent of the chain's last image, whose checkup is k, and
// adds it to the chain. If there is none it says why.
func (c *checking) nextParent(k *checkup) error {
	child := c.chain.last()
	if err := c.chain.check(len(c.chain.links)); errors.Is(err, ErrChainTooDeep) {
		k.add("chain-depth", k.parentOff(), "The chain has more than %d images; the rest of it was not looked at.", c.opts.maxDepth())
		return nil
	}
	parent, err := c.chain.findParent(child)
	if err != nil {
		return k.addNoParent(err)
	}
	c.chain.links = append(c.chain.links, &parent)
	k.compareWithParent(&parent)
	return nil
}

// parentOff is where an image says which its parent is.
func (k *checkup) parentOff() int64 { return k.m.footer.DataOffset + 40 }

// noParents are the reasons for which no parent was found, most telling first.
var noParents = []struct {
	err  error
	code string
}{
	{ErrChainLoop, "chain-loop"}, {ErrParentMismatch, "parent-mismatch"}, {ErrOutsideRoot, "parent-outside-root"}, {ErrParentNotFound, "parent-not-found"},
}

// maxAttempts bounds how many of the names that were tried are told.
const maxAttempts = 12

// addNoParent notes why no parent was found. Where it may be there and could not
// be read, the check can't be done.
func (k *checkup) addNoParent(err error) error {
	lost, ok := errors.AsType[*ParentError](err)
	if !ok {
		return err
	}
	for _, reason := range noParents {
		if !errors.Is(lost.Err, reason.err) {
			continue
		}
		why := reason.err // which the attempts tell more of
		if reason.code == "parent-not-found" {
			why = lost.Err
		}
		k.add(reason.code, k.parentOff(), "The image's parent can not be opened: %s; tried %s.", bare(why), listAttempts(lost.Attempts))
		return nil
	}
	return err
}

// listAttempts are the first attempts to find a parent, in words.
func listAttempts(attempts []ParentAttempt) string {
	if len(attempts) == 0 {
		return "nothing, as the image names none"
	}
	var words []string
	for _, a := range attempts[:min(len(attempts), maxAttempts)] {
		words = append(words, shortened(a.String()))
	}
	if more := len(attempts) - len(words); more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(words, ", ")
}

// shortened is words that hold a path out of a file, which may be long.
func shortened(words string) string {
	const most = 400
	if len(words) <= most {
		return words
	}
	return strings.ToValidUTF8(words[:most], "") + "…"
}

// compareWithParent is about what a child and its parent say of each other.
func (k *checkup) compareWithParent(parent *link) {
	h, child, f := &k.m.header, &k.m.footer, &parent.img.footer
	if h.ParentID != f.ID { // and it was asked for all the same
		k.add("parent-mismatch", k.parentOff(), "The parent that is recorded has the identifier %v, and %s has %v.", h.ParentID, parent.img.name, f.ID)
	}
	if child.CurrentSize != f.CurrentSize {
		k.add("parent-size", k.m.footerFieldOff(48), "The disk has %d bytes and its parent %s has %d: what the parent has behind that is not seen, and what it lacks reads as zeros.",
			child.CurrentSize, parent.img.name, f.CurrentSize)
	}
	modified := parent.info.ModTime()
	if h.ParentTime.IsZero() || modified.IsZero() || h.ParentTime.Equal(f.Time) || isAbout(h.ParentTime, modified) {
		return
	}
	k.add("parent-time", k.m.footer.DataOffset+56, "The child recorded that its parent was last changed at %s, and the parent's file was changed at %s: if the disk in it was, the child is worthless.",
		h.ParentTime.Format(time.RFC3339), modified.UTC().Format(time.RFC3339))
}

// isAbout says whether two times are the same but for what file systems round.
func isAbout(t, u time.Time) bool { return t.Sub(u).Abs() <= 2*time.Second }
