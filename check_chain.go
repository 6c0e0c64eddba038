package vhd

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// checkParents finds the parents as Open does, and checks each, and how it goes
// with its child.
func (c *checking) checkParents() error {
	for parented := true; parented; {
		k := checkup{checking: c, m: c.chain.last().img}
		parent, err := c.nextParent(&k)
		c.findings = k.appendTo(c.findings)
		if err != nil || parent == nil {
			return err
		}
		if parented, err = c.checkImage(parent); err != nil {
			return err
		}
	}
	return nil
}

// checkParent finds the leaf's parent as Open does, and checks how the two go together.
func (c *checking) checkParent() error {
	k := checkup{checking: c, m: c.chain.last().img}
	parent, err := c.nextParent(&k)
	if err == nil && parent != nil {
		err = c.followParents(&k)
	}
	c.findings = k.appendTo(c.findings)
	return err
}

// followParents goes on to the chain's end. Where an image has no parent that can be opened, that
// is about it; that there is no end is about each image of the chain, and so about k's.
func (c *checking) followParents(k *checkup) error {
	for c.chain.last().needsParent() {
		if err := c.ctx.Err(); err != nil || c.noteTooDeep(k) {
			return err
		}
		above := c.chain.last()
		parent, err := c.chain.findParent(above)
		if errors.Is(err, ErrChainLoop) {
			k.add("chain-loop", k.parentOff(), "The image's chain has no end: %s has a parent that is in it already.", shortened(above.img.name))
		}
		if err != nil {
			return nil //nolint:nilerr // its own check tells
		}
		c.chain.links = append(c.chain.links, &parent)
	}
	return nil
}

// noteTooDeep notes that the chain can't have one image more, and says whether that is so.
func (c *checking) noteTooDeep(k *checkup) bool {
	isTooDeep := errors.Is(c.chain.check(len(c.chain.links)), ErrChainTooDeep)
	if isTooDeep {
		k.add("chain-depth", k.parentOff(), "The chain has more than %d images; the rest of it was not looked at.", c.opts.maxDepth())
	}
	return isTooDeep
}

// linkWithout is the image of a link, of which nothing has been read yet.
func linkWithout(l *link) *Image {
	m := &Image{name: l.img.name, file: l.file}
	m.fileSize.Store(l.img.FileSize())
	return m
}

// nextParent finds the parent of the chain's last image, whose checkup is k, and
// adds it to the chain. It returns what is to be checked. If there is no parent it
// says why.
func (c *checking) nextParent(k *checkup) (*Image, error) {
	child := c.chain.last()
	if c.noteTooDeep(k) {
		return nil, nil
	}
	parent, err := c.chain.findParent(child)
	if err == nil {
		c.chain.links = append(c.chain.links, &parent)
		k.compareWithParent(&parent)
		return linkWithout(&parent), nil
	}
	lost, ok := errors.AsType[*ParentError](err)
	if !ok {
		return nil, err
	}
	damaged, err := c.damagedParent(k, lost.damaged)
	if err != nil || damaged != nil {
		return damaged, err
	}
	return nil, k.addNoParent(lost)
}

// damagedParent is the first of some files that are no images that can be read, and
// for all that its footers say is the parent of k's. It is added to the chain.
func (c *checking) damagedParent(k *checkup, names []string) (*Image, error) {
	for _, name := range names {
		l, err := c.openDamaged(name)
		if err != nil {
			return nil, err
		}
		why, err := c.whyDamaged(k.m, &l)
		if err != nil || why == nil {
			if err := joined(err, closeFile(l.file)); err != nil {
				return nil, inFile(l.img.name, err)
			}
			continue
		}
		c.chain.links = append(c.chain.links, &l)
		if errors.Is(why, ErrUnsupported) {
			return nil, inFile(l.img.name, why)
		}
		k.add("parent-damaged", k.parentOff(), "The image's parent %s is damaged: %s.", shortened(l.img.name), shortened(bare(why)))
		return l.img, nil
	}
	return nil, nil
}

// openDamaged opens and locks a file, of which nothing is believed yet.
func (c *checking) openDamaged(name string) (link, error) {
	shown := c.chain.place.display(name)
	f, err := c.chain.place.open(name)
	if err != nil {
		return link{}, inFile(shown, err)
	}
	l, err := c.chain.load(shown, f, false, c.linkTo)
	if err != nil {
		return link{}, inFile(shown, joined(err, closeFile(f)))
	}
	l.abs = name
	return l, nil
}

// whyDamaged is what is wrong with a file if it may be the parent of child: by the
// identifier in its footer, or if there are footers and both are damaged.
func (c *checking) whyDamaged(child *Image, l *link) (why, err error) {
	if _, why = readImage(l.img.name, l.file, l.info.Size(), &c.chain.scratch); !isAboutStructure(why) {
		return nil, why
	}
	k := checkup{checking: c, m: linkWithout(l)}
	isWhole, err := k.checkFooters()
	switch {
	case errors.Is(err, ErrUnsupported):
		return why, nil
	case isAboutStructure(err): // it never was an image
		return nil, nil
	case isWhole && !c.opts.IgnoreParentIdentity && !child.namesParent(k.m.footer.ID):
		return nil, nil
	}
	return why, err
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
	if parent.isChangedSince(h.ParentTime, child) {
		k.add("parent-time", k.m.footer.DataOffset+56, "The child recorded that its parent was last changed at %s, and the parent's file was changed at %s: if the disk in it was, the child is worthless.",
			h.ParentTime.Format(time.RFC3339), parent.info.ModTime().UTC().Format(time.RFC3339))
	}
}
