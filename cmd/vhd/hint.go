package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/go-vhd/vhd"
)

const (
	hintLocked  = "another program has it open, perhaps a virtual machine that is running: end that first"
	hintExists  = chooseName + "a new image takes the place of no file"
	chooseName  = "choose another name: "
	hintFull    = "make room there, or choose a place on another file system"
	hintOutside = "name a directory that holds all the parents with --root, or leave --root out"
)

// hint is what the user can do about an error, or empty. root is where parents
// were confined to.
func hint(ctx context.Context, err error, root string) string {
	return hintFrom(err, root, func(lost *vhd.ParentError) []string { return parentsNear(ctx, lost, root) })
}

// hintFrom is hint, where look finds the images that may be a lost parent.
func hintFrom(err error, root string, look func(lost *vhd.ParentError) []string) string {
	if hinted, ok := errors.AsType[hintedError](err); ok {
		return hinted.hint
	}
	if parent, ok := errors.AsType[*vhd.ParentError](err); ok {
		return hintParent(parent, root, look)
	}
	switch {
	case errors.Is(err, vhd.ErrLocked):
		return hintLocked
	case errors.Is(err, fs.ErrExist):
		return hintExists
	case errors.Is(err, vhd.ErrNoSpace), errors.Is(err, syscall.ENOSPC):
		return hintFull
	case errors.Is(err, vhd.ErrOutsideRoot):
		return hintOutside
	case isDamage(err):
		return hintDamaged(damagedFile(err))
	}
	return ""
}

// isDamage says whether what stands in an image is wrong.
func isDamage(err error) bool {
	return errors.Is(err, vhd.ErrCorrupt) || errors.Is(err, vhd.ErrFormat) || errors.Is(err, vhd.ErrChecksum)
}

// damagedFile is the name of the file that is damaged, as far as err knows it: it may be a parent of
// the one that the user named.
func damagedFile(err error) string {
	if file, ok := errors.AsType[*vhd.FileError](err); ok {
		return file.Name
	}
	return "FILE"
}

func hintDamaged(name string) string {
	return "the file is damaged: go back to a copy of it, if there is one, and change nothing until then; vhd check " + quote(name) + " tells more"
}

func hintParent(e *vhd.ParentError, root string, look func(lost *vhd.ParentError) []string) string {
	info, rebase := "vhd info "+quote(e.Child), "vhd rebase -b PARENT "+quote(e.Child)
	switch {
	case errors.Is(e, vhd.ErrLocked):
		return hintLocked
	case errors.Is(e, vhd.ErrChainLoop):
		return info + " shows what it refers to; if another image is its parent: " + rebase
	case errors.Is(e, vhd.ErrUnsupported):
		return ""
	}
	if found := look(e); len(found) > 0 {
		return hintFound(e.Child, found)
	}
	if errors.Is(e, vhd.ErrParentMismatch) {
		return "what was found is another disk than the parent, or was made anew: put the original there; " +
			info + " shows its identifier"
	}
	if outside := firstOutside(e); outside != "" && root != anywhere {
		return "if you trust what " + e.Child + " refers to: --root " + quote(commonDir(root, filepath.Dir(outside)))
	}
	if there := unreadableParent(e); there != "" {
		return quote(there) + " is there, and no image that can be read: " + hintUnreadableParent(there)
	}
	for _, a := range e.Attempts {
		if a.Name != "" && errors.Is(a.Err, fs.ErrNotExist) {
			return "put the parent there: " + quote(a.Name) + "; or tell where it is now: " + rebase +
				orInATree + "; " + info + " shows its identifier"
		}
	}
	return info + " shows what it refers to"
}

// orInATree is what else can be done about a lost parent, where that was not done already.
const orInATree = "; or let it be looked for in a folder and those in it: vhd rebase --tree DIR"

// unreadableParent is the first file that is where the parent should be, and is no image that can be
// read; empty: there is none.
func unreadableParent(e *vhd.ParentError) string {
	for _, a := range e.Attempts {
		_, isFormat := errors.AsType[*vhd.FormatError](a.Err)
		if a.Name != "" && (isFormat || errors.Is(a.Err, vhd.ErrUnsupported)) {
			return a.Name
		}
	}
	return ""
}

// hintUnreadableParent is what can be done about a file that is no image, and is where children look for
// their parent: nothing that is made of it now would be the one.
func hintUnreadableParent(name string) string {
	return "put a copy of the parent in its place, and change nothing until then; vhd check " + quote(name) + " tells more"
}

// parentsBeside are the images in a child's directory that have the identifier of its parent.
func parentsBeside(ctx context.Context, child, root string) []string {
	all, err := vhd.Scan(ctx, filepath.Dir(child), vhd.ScanOptions{Options: vhd.Options{Root: root}})
	if err != nil {
		return nil
	}
	for _, image := range all {
		if filepath.Clean(image.Name) == filepath.Clean(child) {
			return image.Elsewhere
		}
	}
	return nil
}

// hintFound is the command that tells a child which image is its parent, if several are.
func hintFound(child string, found []string) string {
	var names []string
	for _, name := range found {
		names = append(names, quote(filepath.Clean(name)))
	}
	h := "vhd rebase -b " + names[0] + " " + quote(child)
	if others := names[1:]; len(others) > 0 {
		h += "; " + strings.Join(others, " and ") + " could be its parent too"
	}
	return h
}

// commonDir is the deepest directory that holds both.
func commonDir(dir, other string) string {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return anywhere
	}
	if other, err = filepath.Abs(other); err != nil {
		return anywhere
	}
	for {
		rel, err := filepath.Rel(dir, other)
		if err != nil {
			return anywhere // other drives
		}
		if rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// quote is a file's name as it can be typed: a shell takes nothing in it for
// anything else, and vhd does not take it for a flag. Names come from trees, and
// out of images, that nobody trusts.
func quote(name string) string {
	if strings.HasPrefix(name, "-") {
		name = "." + string(filepath.Separator) + name
	}
	return quoteWord(name)
}

// typed is the command line with these arguments as it can be typed again.
func typed(args []string) string {
	words := []string{"vhd"}
	for _, arg := range args {
		words = append(words, quoteWord(arg))
	}
	return strings.Join(words, " ")
}

// quoteWord keeps a shell from taking anything in a word for anything else.
func quoteWord(word string) string {
	if runtime.GOOS == "windows" {
		return quoteWindows(word)
	}
	return quotePOSIX(word)
}

// quotePOSIX is quoteWord for the shells of POSIX: between single quotes all stands
// for itself. What a terminal can't be shown is written out, as bash, zsh and ksh read it.
func quotePOSIX(word string) string {
	switch {
	case printable(word) != word:
		return "$'" + escaped(word) + "'"
	case isPlain(word, "/._-,:@+=") && !strings.HasPrefix(word, "="): // which zsh takes for a command's path
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// escaped is a word with the bytes written out that can not be shown, or mean something between the
// quotes.
func escaped(word string) string {
	var b strings.Builder
	for len(word) > 0 {
		_, size := utf8.DecodeRuneInString(word)
		letter := word[:size]
		word = word[size:]
		if printable(letter) == letter && letter != "'" && letter != `\` {
			b.WriteString(letter)
			continue
		}
		for _, c := range []byte(letter) {
			fmt.Fprintf(&b, `\%03o`, c)
		}
	}
	return b.String()
}

// noWordForIt stands for a name that can't be typed in a way that every shell of Windows understands.
const noWordForIt = "NAME"

// quoteWindows is quoteWord for Windows, where no name has a double quote. One that
// stands behind a backslash would be taken for a part of the word. What is $, ` or a curved quote
// to PowerShell, and % to cmd, also between quotes, no quoting keeps from both.
func quoteWindows(word string) string {
	switch {
	case strings.ContainsAny(word, "$`%\"“”„") || printable(word) != word:
		return noWordForIt
	case isPlain(word, `\/._-:`):
		return word
	}
	if strings.HasSuffix(word, `\`) {
		word += `\`
	}
	return `"` + word + `"`
}

// isPlain says whether a name is letters, digits and others that mean nothing to
// a shell.
func isPlain(name, others string) bool {
	special := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(others, r)
	}
	return name != "" && utf8.ValidString(name) && !strings.ContainsFunc(name, special)
}
