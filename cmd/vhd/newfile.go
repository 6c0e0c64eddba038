package main

import (
	"cmp"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// unfinishedName is the name, in the same directory, of what will be called
// name when it is whole.
func unfinishedName(name string) string {
	dir, base := filepath.Split(name) // not cleaned: what ".." means behind a link only the file system knows
	return dir + "." + base + "." + rand.Text()[:8] + ".tmp"
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

// mayBeMade is why no new file can have the name, as far as that shows beforehand.
func mayBeMade(name string) error {
	dir, _ := filepath.Split(name)
	err := mustBeDirectory(cmp.Or(dir, "."))
	if err == nil {
		err = mustNotExist(name)
	}
	return inFile(name, err)
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
