package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// unfinishedName is the name, in the same directory, of what will be called
// name when it is whole. It ends as such names of the package do, and so is no image to it.
func unfinishedName(name string) string {
	dir, _ := filepath.Split(name) // not cleaned: what ".." means behind a link only the file system knows
	return dir + "." + rand.Text() + ".vhd-tmp"
}

// moveNew gives a file its name, which no other file has.
func moveNew(from, to string) error {
	err := os.Link(from, to)
	switch {
	case err == nil:
		return os.Remove(from)
	case errors.Is(err, fs.ErrExist):
		return err
	}
	if err := mustNotExist(to); err != nil { // no second names on this file system
		return err
	}
	return os.Rename(from, to)
}

// writeWhole makes a file of what is no image, or replaces one. It appears when it is whole.
func writeWhole(out, what string, content []byte) error {
	target, err := replaceable(out, what)
	if err != nil {
		return err
	}
	return makeFile(target, newFile, os.Rename, func(f *os.File) error {
		_, err := f.Write(content)
		return errors.Join(err, f.Sync())
	})
}

func mustNotExist(name string) error {
	_, err := os.Lstat(name)
	switch {
	case err == nil:
		return fs.ErrExist
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return err
}

// replaceable is the name of the file that out is or will be, with symbolic links
// followed. What takes its place, which by says, replaces no VHD image.
func replaceable(out, by string) (string, error) {
	info, err := os.Stat(out)
	if errors.Is(err, fs.ErrNotExist) {
		return out, adviseNew(out, inFile(out, mustBeDirectory(filepath.Dir(out))))
	}
	if err != nil {
		return "", inFile(out, err)
	}
	if info.IsDir() {
		return "", adviseNew(out, inFile(out, fs.ErrExist))
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s: it is no regular file, and only such can be replaced", out)
	}
	if _, err := startOf(out); err != nil { // who knows what it is
		return "", inFile(out, err)
	}
	if isVHD(out) {
		return "", hintedError{fmt.Errorf("%s: it is a VHD image, which %s would replace", out, by), chooseName + by + " takes the place of no image"}
	}
	target, err := filepath.EvalSymlinks(out)
	return target, inFile(out, err)
}

// adviseTaken adds to the error of a name that a file has already what should have it: no new image.
func adviseTaken(what string, err error) error {
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	return hintedError{err, chooseName + what + " takes the place of no file"}
}

// newFile is who may read and write a file that holds nothing of others, before the umask.
const newFile fs.FileMode = 0o666

// permOf is who may read and write a new file that holds what others do: nobody who may not with
// each of them.
func permOf(names ...string) (fs.FileMode, error) {
	perm := newFile
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return 0, inFile(name, err)
		}
		perm &= info.Mode().Perm()
	}
	return perm | 0o600, nil // as its owner is who makes it
}

// createLike makes the file temp, to take target's place: nobody may read it who may not read
// what is there. If nothing is there, it has perm.
func createLike(temp, target string, perm fs.FileMode) (*os.File, error) {
	old, err := os.Stat(target)
	if err != nil {
		return os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
	}
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, old.Mode().Perm()&newFile|0o200)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(old.Mode().Perm()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// makeFile makes a file of what fill writes, to which place gives its name when it is whole.
func makeFile(target string, perm fs.FileMode, place func(temp, target string) error, fill func(*os.File) error) error {
	return makeWhole(target, place, func(temp string) error {
		f, err := createLike(temp, target, perm)
		if err != nil {
			return inFile(target, err)
		}
		return errors.Join(inRaw(target, fill(f)), f.Close())
	})
}

// makeWhole makes a file by makeTemp, under another name, and has place give it its own when it is
// whole.
func makeWhole(target string, place func(temp, target string) error, makeTemp func(temp string) error) error {
	temp := unfinishedName(target)
	err := makeTemp(temp)
	if err == nil {
		err = inFile(target, place(temp, target))
	}
	if err == nil {
		syncDirOf(target)
		return nil
	}
	if removeErr := os.Remove(temp); !errors.Is(removeErr, fs.ErrNotExist) {
		err = errors.Join(err, removeErr)
	}
	return adviseNew(target, err)
}

// syncDirOf makes the names in a file's directory durable, where directories
// can be opened for that.
func syncDirOf(name string) {
	dirName, _ := filepath.Split(name)
	if dirName == "" {
		dirName = "."
	}
	dir, err := os.Open(dirName)
	if err != nil {
		return
	}
	_ = dir.Sync() // the content is durable; all that can be lost is the name
	_ = dir.Close()
}
