package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/go-vhd/vhd"
)

// adviseFormat adds to the error of an image that can't be opened what its
// file seems to be instead.
func adviseFormat(name string, err error) error {
	if _, isParent := errors.AsType[*vhd.ParentError](err); isParent {
		return err
	}
	switch {
	case lacksFooter(err):
		return adviseForeign(name, err)
	case err != nil && isDirectory(name):
		return directoryError(name, err)
	}
	return adviseMissing(name, err)
}

// directoryError is err, about a directory that was taken for an image.
func directoryError(name string, err error) error {
	return otherError(name, "it is a directory, and no image", "vhd ls "+quote(name)+" shows the images in it", err)
}

// lacksFooter says whether err is that the file itself, no parent of it, has no VHD's
// footer.
func lacksFooter(err error) bool {
	format, isFormat := errors.AsType[*vhd.FormatError](err)
	_, isParent := errors.AsType[*vhd.ParentError](err)
	return isFormat && !isParent && format.Part == "footer" && (format.Field == "cookie" || format.Field == "")
}

// otherError tells what a file is instead of what is wrong with it as an image.
func otherError(name, what, hint string, err error) error {
	return hintedError{toldError{name + ": " + what, err}, hint}
}

// toldError is an error in other words.
type toldError struct {
	words string
	err   error
}

func (e toldError) Error() string { return e.words }
func (e toldError) Unwrap() error { return e.err }

// foreign is a format of others, by how its files begin.
type foreign struct{ magic, what, command string }

var foreigns = []foreign{
	{"vhdxfile", "a VHDX image", toVHD}, {"QFI\xfb", "a qcow2 image", toVHD}, {"KDMV", "a VMDK image", toVHD},
	{"# Disk Descriptor", "a VMDK image", toVHD}, {"<<< ", "a VDI image", toVHD},
	{"PK\x03\x04", "a zip archive", "unzip %s takes out what is in it"}, {"\x1f\x8b", "a gzip file", "gzip -dk %s unpacks it"},
}

const toVHD = "qemu-img convert -O vpc -o force_size=on %s NEW.vhd makes a VHD of it"

// adviseForeign says what a file without a VHD's footer may be, and what to do then.
func adviseForeign(name string, err error) error {
	start, openErr := startOf(name)
	if openErr != nil {
		return err
	}
	if format, ok := foreignFormat(start); ok {
		return format.error(name, errors.Join(err, vhd.ErrUnsupported))
	}
	switch {
	case len(start) == 0:
		return otherError(name, "it is empty, and no image", "if it was copied or downloaded, do that again; vhd create makes a new image", err)
	case startsAsVHD(start):
		return hintedError{err, "it starts as a VHD does, and has no sound end: it is damaged, or was cut off"}
	case hasHeader(start):
		return hintedError{err, "it was a VHD: its dynamic header is there, and both its footers are lost or damaged; " +
			"go back to a copy of it, and change nothing until then"}
	}
	return hintedError{err, "if it is the raw content of a disk: vhd import " + quote(name) + " NEW.vhd makes an image of it"}
}

// error is what is said of a file of the format.
func (f *foreign) error(name string, err error) error {
	return otherError(name, "it is "+f.what+", which vhd does not read", fmt.Sprintf(f.command, quote(name)), err)
}

// mustNotBeForeign is what is wrong with taking a file for raw content that is of another format.
func mustNotBeForeign(name string) error {
	start, err := startOf(name)
	if err != nil {
		return inFile(name, err)
	}
	if format, ok := foreignFormat(start); ok {
		return format.error(name, vhd.ErrUnsupported)
	}
	return nil
}

// mayBeRaw says whether a file without a VHD's footer is of no format that is known.
func mayBeRaw(name string) bool {
	start, err := startOf(name)
	_, isForeign := foreignFormat(start)
	return err == nil && !isForeign && !startsAsVHD(start) && !hasHeader(start)
}

// startOf is what a file begins with.
func startOf(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var start [headerOff + 8]byte
	n, _ := f.Read(start[:])
	return start[:n], nil
}

// headerOff is where the dynamic header of nearly all images is.
const headerOff = 512

// hasHeader says whether a file that begins so has the dynamic header of a VHD.
func hasHeader(start []byte) bool {
	return bytes.HasPrefix(start[min(headerOff, len(start)):], []byte("cxsparse"))
}

func startsAsVHD(start []byte) bool { return bytes.HasPrefix(start, []byte("conectix")) }

// foreignFormat is the format of a file that begins so, if it is known.
func foreignFormat(start []byte) (foreign, bool) {
	at := slices.IndexFunc(foreigns, func(f foreign) bool { return bytes.HasPrefix(start, []byte(f.magic)) })
	if at < 0 {
		return foreign{}, false
	}
	return foreigns[at], true
}

// adviseNew adds to the error of a file that can't be made what is in the way.
func adviseNew(name string, err error) error {
	dir := filepath.Dir(name)
	switch {
	case errors.Is(err, fs.ErrExist) && isDirectory(name):
		return otherError(name, "it is a directory", "give the new file a name in it, such as "+quote(filepath.Join(name, "NEW")), err)
	case errors.Is(err, fs.ErrNotExist) && !exists(dir):
		return otherError(name, "there is no directory "+dir, "mkdir -p "+quote(dir), err)
	}
	return err
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

func isDirectory(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// isSameFile says whether two names are of one file.
func isSameFile(one, other string) bool {
	a, err := os.Stat(one)
	if err != nil {
		return false
	}
	b, err := os.Stat(other)
	return err == nil && os.SameFile(a, b)
}
