package vhd

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
)

// standing is how the new name stands to the image before it is renamed.
type standing int

const (
	freeName  standing = iota // no file has it
	otherName                 // the image has it beside the old one, as a Rename that was killed leaves it
	sameName                  // it is the old one for the file system, which tells no letter from its capital
)

// findStanding finds out how the new name stands to the image, which is open. That another
// file has it is an error.
func (r *renaming) findStanding() error {
	err := r.to.isFree()
	if !errors.Is(err, fs.ErrExist) || r.from.name == r.to.name {
		return err
	}
	if r.standing = r.standingOfTaken(); r.standing == freeName {
		return err
	}
	return nil
}

// standingOfTaken is freeName for a name that another file may have: one entry of a
// directory can show in several places, and the last name of a file is never removed.
func (r *renaming) standingOfTaken() standing {
	s, ok := r.from.fs.(statter)
	if !ok {
		return freeName
	}
	if !r.isStillAt(r.to.name) {
		return freeName
	}
	inOne := isSameDir(s, r.from.dir, r.to.dir)
	now, err := r.to.entry()
	if err == nil && now == nil && inOne {
		return sameName
	}
	former, formerErr := r.from.entry()
	areTwo := errors.Join(err, formerErr) == nil && isFile(now) && isFile(former)
	if areTwo && (!inOne || now.Name() != former.Name()) && linksOf(r.image.file) > 1 {
		return otherName
	}
	return freeName
}

// isStillAt says whether the image's file has a name: the old one may be its last.
func (r *renaming) isStillAt(name string) bool {
	s, ok := r.from.fs.(statter)
	if !ok {
		return false
	}
	info, err := s.Stat(name)
	return err == nil && os.SameFile(info, r.image.info)
}

func isFile(e fs.DirEntry) bool { return e != nil && e.Type().IsRegular() }

// isSameDir says whether two names are of one directory.
func isSameDir(s statter, a, b string) bool {
	one, err := s.Stat(a)
	if err != nil {
		return a == b
	}
	other, err := s.Stat(b)
	return a == b || err == nil && os.SameFile(one, other)
}

// entry is the directory's entry that has the name, in these letters; nil if there is none.
func (d directory) entry() (fs.DirEntry, error) {
	entries, err := d.fs.ReadDir(d.dir)
	i := slices.IndexFunc(entries, func(e fs.DirEntry) bool { return e.Name() == path.Base(d.name) })
	if err != nil || i < 0 {
		return nil, err
	}
	return entries[i], nil
}
