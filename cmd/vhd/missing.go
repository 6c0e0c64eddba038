package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// adviseMissing adds to the error of a file, or of a folder, that there is not what may have been
// meant, or where to look.
func adviseMissing(name string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) || exists(name) {
		return err
	}
	dir := filepath.Dir(name)
	switch {
	case exists(name + ".vhd"):
		return hintedError{err, "is it " + quote(name+".vhd") + "?"}
	case !exists(dir):
		return hintedError{err, "there is no directory " + dir}
	}
	if like := namesLike(name); len(like) > 0 {
		return hintedError{err, "is it " + strings.Join(like, " or ") + "?"}
	}
	return hintedError{err, "vhd ls " + quote(dir) + " shows the images there"}
}

// maxLike is how many names may be like another: of more, nobody knows which is meant.
const maxLike = 3

// namesLike are the files and folders beside the one that is missing whose names are like its name,
// and begin the same: a short name is a few letters from any other.
func namesLike(name string) (like []string) {
	dir, base := filepath.Dir(name), filepath.Base(name)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var beside []string
	for _, entry := range entries {
		if other := entry.Name(); beginAlike(other, base) && !strings.Contains(other, " ") { // behind which wordsLike sees nothing
			beside = append(beside, other)
		}
	}
	for _, word := range wordsLike(base, beside) {
		like = append(like, quote(filepath.Join(dir, word)))
	}
	if len(like) > maxLike {
		return nil
	}
	return like
}

// beginAlike says whether two names begin with the same letter, be it small in one and large in the other.
func beginAlike(a, b string) bool {
	_, n := utf8.DecodeRuneInString(a)
	_, m := utf8.DecodeRuneInString(b)
	return strings.EqualFold(a[:n], b[:m])
}
