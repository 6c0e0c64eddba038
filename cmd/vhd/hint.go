package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-vhd/vhd"
)

const (
	hintLocked  = "another program has it open, perhaps a virtual machine that is running: end that first"
	hintExists  = "choose another name, or remove that file first"
	hintDamaged = "the file is damaged: go back to a copy of it, if there is one, and change nothing until then"
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
	looked, outside := "", ""
	for _, a := range e.Attempts {
		switch {
		case a.Name == "":
		case errors.Is(a.Err, vhd.ErrOutsideRoot) && outside == "":
			outside = a.Name
		case errors.Is(a.Err, fs.ErrNotExist) && looked == "":
			looked = a.Name
		}
	}
	switch {
	case outside != "" && root != anywhere:
		return "if you trust what " + e.Child + " refers to: --root " + quote(commonDir(root, filepath.Dir(outside)))
	case looked != "":
		return "put the parent there: " + quote(looked) + "; " + info + " shows its identifier"
	}
	return info + " shows what it refers to"
}

// commonDir is the deepest directory that holds both.
func commonDir(dir, other string) string {
	dir, err := filepath.Abs(dir)
	if err != nil {
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

// quote is a file's name as it can be typed, if a shell would take it apart.
func quote(name string) string {
	if strings.ContainsAny(name, " \t'\"$&|;<>()*?[]#~!`{}") {
		return `"` + name + `"`
	}
	return name
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
	return hintedError{err, "this is no VHD, but " + guess(name)}
}

// guess says what a file without a VHD's footer may be.
func guess(name string) string {
	var start [64]byte
	f, err := os.Open(name)
	if err != nil {
		return "something else"
	}
	defer func() { _ = f.Close() }()
	n, _ := f.Read(start[:])
	for _, known := range []struct{ magic, what string }{
		{"vhdxfile", "a VHDX image, which vhd does not read; qemu-img convert does"},
		{"QFI\xfb", "a qcow2 image, which vhd does not read; qemu-img convert does"},
		{"KDMV", "a VMDK image, which vhd does not read; qemu-img convert does"},
		{"# Disk Descriptor", "a VMDK image, which vhd does not read; qemu-img convert does"},
		{"<<< ", "a VDI image, which vhd does not read; qemu-img convert does"},
		{"conectix", "its start is one's: the file is damaged or was cut off"},
	} {
		if bytes.HasPrefix(start[:n], []byte(known.magic)) {
			return known.what
		}
	}
	return "perhaps the raw content of a disk: vhd import " + quote(name) + " NEW.vhd makes one of it"
}
