package main

import (
	"errors"
	"os"
	"strings"

	"github.com/go-vhd/vhd"
)

// listed is what ls tells of an image in JSON, with the keys of vhd info. Sizes are bytes.
type listed struct {
	Filename            string   `json:"filename"`
	Format              string   `json:"format,omitempty"`
	VirtualSize         int64    `json:"virtual-size"`
	ActualSize          int64    `json:"actual-size"` // what the file takes, without its holes
	FileSize            int64    `json:"file-size"`
	DiskType            string   `json:"disk-type,omitempty"`
	UniqueID            string   `json:"unique-id,omitempty"`
	SavedState          bool     `json:"saved-state"`
	NeedsRecovery       bool     `json:"needs-recovery"`
	BackingFilename     string   `json:"backing-filename,omitempty"`      // as the image has it
	FullBackingFilename string   `json:"full-backing-filename,omitempty"` // where it was found
	ParentID            string   `json:"parent-unique-id,omitempty"`
	ParentProblem       string   `json:"parent-problem,omitempty"`
	ParentChanged       bool     `json:"parent-changed,omitempty"`    // its file, since the child was made
	ParentCandidates    []string `json:"parent-candidates,omitempty"` // the images that have the identifier of a parent that was not found
	Children            []string `json:"children"`
	Error               string   `json:"error,omitempty"` // why the image can't be read
}

// describe tells what is known of an image, but for its children.
func (f *forest) describe(found *vhd.Scanned) *listed {
	l := &listed{Filename: f.typed(found.Name), Children: []string{}}
	if file, err := os.Stat(found.Name); err == nil { // else it has gone since
		l.FileSize, l.ActualSize = file.Size(), usedBytes(file)
	}
	if found.Image == nil {
		l.Error = whyUnreadable(found.Name, found.Err)
		return l
	}
	footer := found.Image.Footer()
	l.Format, l.FileSize, l.VirtualSize = formatName, found.Image.FileSize(), footer.CurrentSize
	l.DiskType, l.UniqueID = footer.Type.String(), footer.ID.String()
	l.SavedState = footer.SavedState != 0
	l.NeedsRecovery = found.Image.NeedsRecovery() && !isInUse(found.Name)
	if footer.Type == vhd.Differencing {
		f.describeParent(l, found)
	}
	return l
}

// describeParent adds what a differencing image says of its parent.
func (f *forest) describeParent(l *listed, found *vhd.Scanned) {
	header, _ := found.Image.Header()
	l.ParentID = header.ParentID.String()
	for _, ref := range found.Image.ParentRefs() {
		if l.BackingFilename == "" {
			l.BackingFilename = ref.Path
		}
	}
	for _, name := range found.Elsewhere {
		l.ParentCandidates = append(l.ParentCandidates, f.typed(name))
	}
	if found.Parent != "" {
		l.FullBackingFilename, l.ParentChanged = f.typed(found.Parent), found.ParentChanged
	}
	if parent, ok := errors.AsType[*vhd.ParentError](found.Err); ok {
		l.ParentProblem = bare(telling(parent).Error())
	} else if found.Err != nil {
		l.ParentProblem = reason(found.Err)
	}
}

// whyUnreadable is in a few words why the structures of a file can't be read.
func whyUnreadable(name string, err error) string {
	if told, ok := errors.AsType[toldError](adviseFormat(name, err)); ok {
		return strings.TrimPrefix(told.words, name+": ")
	}
	if format, ok := errors.AsType[*vhd.FormatError](err); ok {
		where := format.Part
		if format.Field != "" && format.Field != "checksum" { // of which the error tells
			where += ", " + format.Field
		}
		return bare(format.Err.Error()) + ": " + where
	}
	if file, ok := errors.AsType[*vhd.FileError](err); ok {
		err = file.Err
	}
	return reason(err)
}

// list is all images, in the order in which they were found.
func (f *forest) list() []*listed {
	all := []*listed{}
	for _, n := range f.images {
		all = append(all, n.image)
	}
	return all
}
