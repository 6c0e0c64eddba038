package vhd

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"

	"github.com/google/uuid"
)

// search is the search for the parent of one image: by every reference that
// the image holds, one name after the other, until a file turns out to be the
// parent.
type search struct {
	chain    *chain
	child    *link
	refs     iter.Seq[storedRef]
	tried    map[string]bool
	attempts []ParentAttempt
	found    *link
	damaged  []string // files that are there, and no images that can be read
	blocked  error    // the parent may have been there, and could not be used
}

// xenApplication is the creator application of Xen's blktap.
var xenApplication = [4]byte{'t', 'a', 'p', 0}

// originSearch is the origin of attempts that no reference led to.
const originSearch = "search"

// findParent finds, opens, checks and locks the parent of child.
func (c *chain) findParent(child *link) (link, error) {
	s := search{chain: c, child: child, refs: child.img.storedRefs()}
	if s.parentID() == (uuid.UUID{}) && child.img.footer.CreatorApplication == xenApplication {
		return link{}, s.fail()
	}
	for _, step := range searchSteps {
		if step(&s); s.found != nil {
			return *s.found, nil
		}
		if s.blocked != nil {
			break
		}
	}
	return link{}, s.fail()
}

// searchSteps are the ways to a parent, in the order tried.
var searchSteps = []func(*search){(*search).tryMapped, (*search).tryStored, (*search).trySearchByName, (*search).trySearchByID}

func (s *search) parentID() uuid.UUID { return s.child.img.header.ParentID }

// tryMapped tries the names that the caller has for stored paths.
func (s *search) tryMapped() {
	if s.chain.opts.MapPath == nil {
		return
	}
	for ref := range s.refs {
		if s.isOver() {
			return
		}
		if ref.err != nil {
			continue
		}
		for _, name := range s.chain.opts.MapPath(ref.Path) {
			abs, err := s.chain.place.absolute(name)
			if err != nil {
				s.note(ref.ParentRef, name, err)
				continue
			}
			s.try(ref.ParentRef, abs)
		}
	}
}

// tryStored tries what the stored paths may mean, seen from the child.
func (s *search) tryStored() {
	dir := dirOf(s.child.abs)
	for ref := range s.refs {
		p := ref.path
		if p.err != nil {
			s.note(ref.ParentRef, "", p.err)
			continue
		}
		if p.foreign {
			s.note(ref.ParentRef, "", fmt.Errorf("%w: the path names another machine", ErrOutsideRoot))
		}
		for _, name := range p.candidates(dir, s.chain.place.hasDrives()) {
			s.try(ref.ParentRef, name)
		}
		if s.isOver() {
			return // the other references are not worth decoding
		}
	}
}

// trySearchByName tries the names of the stored paths in the directories to
// search.
func (s *search) trySearchByName() {
	for _, dir := range s.searchDirs() {
		for ref := range s.refs {
			if ref.path.err == nil {
				s.try(ref.ParentRef, joinName(dir, []string{ref.path.base()}))
			}
		}
	}
}

// trySearchByID tries all files in the directories to search whose footer has
// the parent's identifier.
func (s *search) trySearchByID() {
	if s.parentID() == (uuid.UUID{}) {
		return
	}
	for _, dir := range s.searchDirs() {
		ref := ParentRef{originSearch, s.parentID().String()}
		entries, err := s.chain.place.readDir(dir)
		if err != nil {
			s.note(ref, s.chain.place.display(dir), err)
			continue
		}
		for _, e := range entries {
			name := joinName(dir, []string{e.Name()})
			if !s.isOver() && e.Type()&(fs.ModeDir|fs.ModeNamedPipe|fs.ModeDevice|fs.ModeSocket) == 0 && s.hasID(name) {
				s.try(ref, name)
			}
		}
		if !s.isOver() {
			s.note(ref, s.chain.place.display(dir), fmt.Errorf("%w: no image there has the identifier", ErrParentNotFound))
		}
	}
}

// searchDirs are the caller's directories to search, as absolute names.
func (s *search) searchDirs() []string {
	var dirs []string
	for _, dir := range s.chain.opts.Search {
		abs, err := s.chain.place.absolute(dir)
		if err != nil {
			s.note(ParentRef{originSearch, dir}, dir, err)
			continue
		}
		dirs = append(dirs, abs)
	}
	return dirs
}

// hasID says whether the footer of a file has the parent's identifier. It reads
// the end and the start, and checks nothing else.
func (s *search) hasID(name string) bool {
	f, err := s.chain.place.open(name)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	footer, err := footerOf(f, info.Size(), &s.chain.scratch)
	return err == nil && s.child.img.namesParent(footer.ID)
}

// try tries one name: as it is, and if that is not the parent, in other cases of
// its letters.
func (s *search) try(ref ParentRef, name string) {
	if s.isOver() || s.tried[name] {
		return
	}
	if err := s.tryExact(name); err != nil {
		s.noteName(ref, name, err)
		s.tryFolded(ref, name)
	}
}

func (s *search) tryFolded(ref ParentRef, name string) {
	if s.chain.place.allows(name) != nil {
		return
	}
	for _, folded := range s.chain.place.fold(dirOf(s.child.abs), name) {
		if s.isOver() || s.tried[folded] {
			continue
		}
		if err := s.tryExact(folded); err != nil {
			s.noteName(ref, folded, err)
		}
	}
}

// noteName notes a name that is not the parent's, which is not tried again.
func (s *search) noteName(ref ParentRef, name string, err error) {
	if s.tried == nil {
		s.tried = map[string]bool{}
	}
	s.tried[name] = true
	s.note(ref, s.chain.place.display(name), err)
}

func (s *search) note(ref ParentRef, name string, err error) {
	s.attempts = append(s.attempts, ParentAttempt{Ref: ref, Name: name, Err: err})
}

// tryExact opens a file and makes it the parent if it is.
func (s *search) tryExact(name string) error {
	f, err := s.chain.place.open(name)
	if err != nil {
		if !isAbsent(err) {
			s.blocked = err
		}
		return err
	}
	l, err := s.chain.loadParent(s.chain.place.display(name), name, f)
	if err != nil {
		if !isOtherFile(err) {
			s.blocked = err
		}
		if isFormatError(err) {
			s.damaged = append(s.damaged, name)
		}
		return joined(err, closeFile(f))
	}
	l.abs = name
	s.found = &l
	return nil
}

// isOver says that no further name is to be tried: the parent is found, or it
// may have been, and then an older copy must not take its place unseen.
func (s *search) isOver() bool { return s.found != nil || s.blocked != nil }

// isAbsent says whether err means that there is no file to open. One that may
// not be opened, or can't be for now, may be the parent.
func isAbsent(err error) bool {
	for _, absent := range absentErrors {
		if errors.Is(err, absent) {
			return true
		}
	}
	return false
}

// isOtherFile says whether err means that a file that could be opened is not
// the parent. A read that fails, or a lock, means nothing of the kind.
func isOtherFile(err error) bool {
	for _, other := range []error{ErrParentMismatch, ErrChainLoop, errNotRegular} {
		if errors.Is(err, other) {
			return true
		}
	}
	return isFormatError(err)
}

// fail is the error of a search that found nothing, with the most telling of
// the reasons.
func (s *search) fail() error {
	err := &ParentError{Child: s.child.img.name, ParentID: s.parentID(), Attempts: s.attempts, Err: ErrParentNotFound, damaged: s.damaged}
	if a, ok := s.mostTelling(); ok {
		err.Err = s.explain(a)
	}
	if s.parentID() == (uuid.UUID{}) {
		err.Err = fmt.Errorf("%w: the parent's identifier is all zeros, as Xen marks a parent that is no VHD: %w", ErrUnsupported, err.Err)
	}
	return err
}

// mostTelling is the attempt that says most of why there is no parent.
func (s *search) mostTelling() (ParentAttempt, bool) {
	stopped := func(a ParentAttempt) bool { return s.blocked != nil && errors.Is(a.Err, s.blocked) }
	is := func(err error) func(ParentAttempt) bool {
		return func(a ParentAttempt) bool { return errors.Is(a.Err, err) }
	}
	byRoot := func(a ParentAttempt) bool { return a.Name != "" && errors.Is(a.Err, ErrOutsideRoot) }
	for _, telling := range []func(ParentAttempt) bool{stopped, is(ErrChainLoop), is(ErrParentMismatch), byRoot, is(ErrOutsideRoot)} {
		if at := slices.IndexFunc(s.attempts, telling); at >= 0 {
			return s.attempts[at], true
		}
	}
	return ParentAttempt{}, false
}

// explain says of the most telling attempt what the caller has to know.
func (s *search) explain(a ParentAttempt) error {
	switch {
	case s.blocked != nil:
		return fmt.Errorf("its parent %s: %w", a.Name, a.Err)
	case errors.Is(a.Err, ErrOutsideRoot) && a.Name == "": // nothing allows such a path
		return fmt.Errorf("%w: %w", ErrParentNotFound, a.Err)
	case errors.Is(a.Err, ErrOutsideRoot):
		return fmt.Errorf("%w %s, which Options.Root can change", ErrOutsideRoot, s.chain.place.display(s.chain.place.root))
	}
	return a.Err
}
