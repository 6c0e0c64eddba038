package vhd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// ScanOptions say which images in a folder are looked at, and how.
type ScanOptions struct {
	// Options are as for Open, of each image. Root is the folder itself if it is
	// empty. Lock is of the parents, while they are looked at. Writable, NoParents and
	// MaxDepth are not used.
	Options

	// Recursive looks into the folders in the folder too.
	Recursive bool

	// Progress, if it is set, is told now and then how many of the differencing
	// disks that were found are looked at.
	Progress func(done, total int64)
}

// Scanned is an image that Scan found, or a file or a folder that it could not read.
type Scanned struct {
	Name   string // as Open takes it
	IsDir  bool   // it is a folder, of which nothing is known but Err
	Image  *Image // what its structures say, its file closed; nil: they can't be read, see Err
	Parent string // the file that Open takes for the parent of a differencing disk, by its Name if it is in the list; empty: there is none

	// Err is why there is no Image, or why a differencing disk has no Parent: mostly a
	// *ParentError. Of a disk that has its Parent, or needs none, it is nil.
	Err error

	// ParentChanged is that the file of the Parent was changed at another time than a
	// differencing disk recorded: if the disk in it was, the differencing disk is worthless.
	// It is what Check calls parent-time.
	ParentChanged bool

	// Elsewhere are the images of the folder, each file once, that have the identifier
	// which the disk recorded of its parent, if its Parent was not found: RebaseTree takes
	// the one, if it is one. Of more than 16, they are the first.
	Elsewhere []string
}

// Scan finds all images in the folder dir, and of each differencing disk the parent that
// Open would find. It opens no chain: whether a parent finds its own parent, its own entry
// says, and images may be each other's parents.
//
// The images are in the order of their names, folder by folder. Files that are no VHD are left
// out, unless their names end as those of images do (.vhd, .avhd, .vhdx, .avhdx), and so is what a
// Create left that was killed. Others may use the images. What can't
// be read is in the list. Symbolic links are not followed. More than 64 folders in one another, or 1048576 files, are ErrUnsupported.
// The end of ctx ends it between two images, with ctx's error.
func Scan(ctx context.Context, dir string, opts ScanOptions) ([]Scanned, error) {
	if dir == "" {
		return nil, fmt.Errorf("vhd: %w: a folder needs a name", fs.ErrInvalid)
	}
	s := scan{ctx: ctx, opts: opts, byName: map[string]int{}, byID: map[uuid.UUID][]int{}}
	if s.opts.Root == "" {
		s.opts.Root = dir
	}
	var err error
	if s.folder, err = newFolder(dir, &s.opts.Options, s.opts.Root); err != nil {
		return nil, inFile(dir, err)
	}
	defer s.folder.release()
	s.folder.keepLists()
	return s.found, inFile(dir, s.run())
}

// scan is one under way.
type scan struct {
	ctx    context.Context
	opts   ScanOptions
	folder *folder
	found  []Scanned
	files  []scannedFile  // those of found, in its order
	byName map[string]int // which of found, by absolute name
	byID   map[uuid.UUID][]int
}

// scannedFile is where an image was found.
type scannedFile struct {
	abs  string
	info fs.FileInfo
}

func (s *scan) run() error {
	if err := s.folder.eachFile(s.ctx, s.opts.Recursive, s.add, s.reportFolder); err != nil {
		return err
	}
	var children []int
	for i := range s.found {
		if img := s.found[i].Image; img != nil && img.footer.Type == Differencing {
			children = append(children, i)
		}
	}
	for done, child := range children {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		s.findParent(child)
		if s.opts.Progress != nil {
			s.opts.Progress(int64(done+1), int64(len(children)))
		}
	}
	return nil
}

// add adds a file if it is an image, or pretends to be one.
func (s *scan) add(abs string) {
	img, info, err := s.folder.inspect(abs)
	name := s.folder.display(abs)
	switch {
	case err == nil:
		s.byName[abs] = len(s.found)
		s.byID[img.footer.ID] = append(s.byID[img.footer.ID], len(s.found))
		s.put(Scanned{Name: name, Image: img}, scannedFile{abs, info})
	case !isNoImage(err) || hasImageName(abs):
		s.put(Scanned{Name: name, Err: inFile(name, err)}, scannedFile{})
	}
}

func (s *scan) reportFolder(abs string, err error) {
	name := s.folder.display(abs)
	s.put(Scanned{Name: name, IsDir: true, Err: inFile(name, err)}, scannedFile{})
}

func (s *scan) put(found Scanned, file scannedFile) {
	s.found, s.files = append(s.found, found), append(s.files, file)
}

// findParent finds the parent of a child, or those that it may be.
func (s *scan) findParent(i int) {
	child := &s.found[i]
	leaf := link{img: child.Image, info: s.files[i].info, abs: s.files[i].abs}
	c := chain{opts: &s.opts.Options, links: []*link{&leaf}, place: s.folder.place}
	parent, err := c.findParent(&leaf)
	if err != nil {
		child.Err, child.Elsewhere = err, s.elsewhere(i)
		return
	}
	_ = closeFile(parent.file) // it was only read
	child.Parent = s.nameOf(&parent)
	recorded := recordedOf(child.Image.recordedParents(), parent.img.footer.ID)
	child.ParentChanged = parent.isChangedSince(recorded.modified, &child.Image.footer)
}

// elsewhere are the images that may be the parent of a child.
func (s *scan) elsewhere(child int) (names []string) {
	recorded := s.found[child].Image.recordedParents()
	for _, i := range parentsAmong(s.byID, child, recorded, func(i int) fs.FileInfo { return s.files[i].info }) {
		names = append(names, s.found[i].Name)
	}
	return names
}

// nameOf is the name under which a parent was found: what the child calls it may be
// another name of the same file.
func (s *scan) nameOf(parent *link) string {
	if i, ok := s.byName[parent.abs]; ok {
		return s.found[i].Name
	}
	for _, i := range s.byID[parent.img.footer.ID] {
		if os.SameFile(s.files[i].info, parent.info) {
			return s.found[i].Name
		}
	}
	return parent.img.name
}

// isNoImage says whether err means that a file has no footer, not even a damaged one.
func isNoImage(err error) bool {
	format, ok := errors.AsType[*FormatError](err)
	return ok && format.Part == inFooter && (format.Field == "" || format.Field == "cookie")
}

// imageNames are how the names of images end, in lower case.
var imageNames = []string{".vhd", ".avhd", ".vhdx", ".avhdx"}

// hasImageName says whether a file is called as images are.
func hasImageName(name string) bool {
	return slices.Contains(imageNames, strings.ToLower(path.Ext(name)))
}
