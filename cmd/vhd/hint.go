package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-vhd/vhd"
)

const (
	hintLocked  = "another program has it open, perhaps a virtual machine that is running: end that first"
	hintExists  = "choose another name, or remove that file first"
	hintDamaged = "the file is damaged: go back to a copy of it, if there is one, and change nothing until then; vhd check tells more"
	hintOutside = "name a directory that holds all the parents with --root, or leave --root out"
)

// hint is what the user can do about an error, or empty. root is where parents
// were confined to.
func hint(err error, root string) string {
	if hinted, ok := errors.AsType[hintedError](err); ok {
		return hinted.hint
	}
	if parent, ok := errors.AsType[*vhd.ParentError](err); ok {
		return hintParent(parent, root)
	}
	switch {
	case errors.Is(err, vhd.ErrLocked):
		return hintLocked
	case errors.Is(err, fs.ErrExist):
		return hintExists
	case errors.Is(err, vhd.ErrOutsideRoot):
		return hintOutside
	case errors.Is(err, vhd.ErrCorrupt), errors.Is(err, vhd.ErrFormat), errors.Is(err, vhd.ErrChecksum):
		return hintDamaged
	}
	return ""
}

func hintParent(e *vhd.ParentError, root string) string {
	info := "vhd info " + quote(e.Child)
	switch {
	case errors.Is(e, vhd.ErrLocked):
		return hintLocked
	case errors.Is(e, vhd.ErrParentMismatch):
		return "what was found is another disk than the parent, or was made anew: put the original there; " +
			info + " shows its identifier"
	case errors.Is(e, vhd.ErrUnsupported), errors.Is(e, vhd.ErrChainLoop):
		return ""
	}
	if outside := firstOutside(e); outside != "" && root != anywhere {
		return "if you trust what " + e.Child + " refers to: --root " + quote(commonDir(root, filepath.Dir(outside)))
	}
	for _, a := range e.Attempts {
		if a.Name != "" && errors.Is(a.Err, fs.ErrNotExist) {
			return "put the parent there: " + quote(a.Name) + "; or tell where it is now: vhd rebase -b PARENT " + quote(e.Child) +
				"; " + info + " shows its identifier"
		}
	}
	return info + " shows what it refers to"
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
	if runtime.GOOS == "windows" {
		return quoteWindows(name)
	}
	return quotePOSIX(name)
}

// quotePOSIX is quote for the shells of POSIX: between single quotes all stands
// for itself.
func quotePOSIX(name string) string {
	if strings.HasPrefix(name, "-") {
		name = "./" + name
	}
	if isPlain(name, "/._-,:@+") {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}

// quoteWindows is quote for Windows, where no name has a double quote. One that
// stands behind a backslash would be taken for a part of the name.
func quoteWindows(name string) string {
	if strings.HasPrefix(name, "-") {
		name = `.\` + name
	}
	if isPlain(name, `\/._-:`) {
		return name
	}
	if strings.HasSuffix(name, `\`) {
		name += `\`
	}
	return `"` + name + `"`
}

// isPlain says whether a name is letters, digits and others that mean nothing to
// a shell.
func isPlain(name, others string) bool {
	special := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(others, r)
	}
	return name != "" && utf8.ValidString(name) && !strings.ContainsFunc(name, special)
}

// adviseFormat adds to the error of an image that can't be opened what its
// file seems to be instead.
func adviseFormat(name string, err error) error {
	format, isFormat := errors.AsType[*vhd.FormatError](err)
	if _, isParent := errors.AsType[*vhd.ParentError](err); !isFormat || isParent {
		return err
	}
	if noFooter := format.Part == "footer" && (format.Field == "cookie" || format.Field == ""); !noFooter {
		return err
	}
	return hintedError{err, guess(name)}
}

// guess says what a file without a VHD's footer may be, and what to do then.
func guess(name string) string {
	var start [64]byte
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	n, _ := f.Read(start[:])
	for _, known := range []struct{ magic, what string }{
		{"vhdxfile", "it is a VHDX image, which vhd does not read; qemu-img convert does"},
		{"QFI\xfb", "it is a qcow2 image, which vhd does not read; qemu-img convert does"},
		{"KDMV", "it is a VMDK image, which vhd does not read; qemu-img convert does"},
		{"# Disk Descriptor", "it is a VMDK image, which vhd does not read; qemu-img convert does"},
		{"<<< ", "it is a VDI image, which vhd does not read; qemu-img convert does"},
		{"conectix", "it starts as a VHD does, and has no sound end: it is damaged, or was cut off"},
	} {
		if bytes.HasPrefix(start[:n], []byte(known.magic)) {
			return known.what
		}
	}
	return "if it is the raw content of a disk: vhd import " + quote(name) + " NEW.vhd makes an image of it"
}
