package vhd

import (
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// wantedParent is what a repair knows of the parent of an image with two headers
// (see twin), of which the parent tells which is right.
type wantedParent struct {
	id      uuid.UUID
	isFound bool
	why     string // an image with two headers is left alone; empty: it has but one, or the parent is found
}

// findTwinsParent finds the parent of an image with two headers, as Open does. It
// stays locked until the repair ends, as the identifier that it has must not
// become another one meanwhile. Other images' parents are not looked for.
func (r *repairing) findTwinsParent() error {
	leaf := r.chain.links[0]
	m, err := readImage(r.name, leaf.file, leaf.info.Size(), &r.chain.scratch)
	if isAboutStructure(err) {
		return nil // the check tells of it
	}
	if err != nil || m.twin == nil {
		return err
	}
	if r.opts.NoParents {
		r.parent.why = "it was not looked for"
		return nil
	}
	leaf.img = m
	if err := r.chain.enterPlace(r.name); err != nil {
		return err
	}
	defer r.chain.place.release()
	parent, err := r.chain.findParent(leaf)
	if err != nil {
		r.parent.why, err = whyNoParent(err)
		return err
	}
	r.chain.links = append(r.chain.links, &parent)
	if r.parent.id = parent.img.footer.ID; !m.namesParent(r.parent.id) {
		r.parent.why = fmt.Sprintf("%s has another identifier than either of its headers names", parent.img.name)
		return nil
	}
	r.parent.isFound = true
	if r.opts.DryRun {
		return nil
	}
	return parent.makeDurable(&r.opts.Options)
}

// whyNoParent is why no parent was found, in words. That it may be there and could
// not be read is an error.
func whyNoParent(err error) (string, error) {
	lost, ok := errors.AsType[*ParentError](err)
	if !ok {
		return "", err
	}
	for _, reason := range noParents {
		if errors.Is(lost.Err, reason.err) {
			return fmt.Sprintf("%s; tried %s", bare(lost.Err), listAttempts(lost.Attempts)), nil
		}
	}
	return "", err
}

// read reads the image as the overlay has it. Of two headers that one counts which
// names the parent; ok is false if that is not known, or there is no image to read.
func (r *repairing) read() (m *Image, ok bool, err error) {
	m, err = readImage(r.name, r.file, r.file.size, &r.chain.scratch)
	if isAboutStructure(err) {
		return nil, false, nil
	}
	if err == nil && r.parent.isFound {
		err = m.settleTwin(r.parent.id)
	}
	return m, err == nil && m.checkTwin() == nil, err
}

// explainTwin says of an image with two headers why it is left alone.
func (p *wantedParent) explainTwin(f *Finding) {
	if p.why != "" && f.Code == "footers-differ" {
		f.Message += " It is not mended: a change of the parent was interrupted, and only with the parent it can be brought to an end: " + p.why + "."
	}
}
