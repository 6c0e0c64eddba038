package vhd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// folder is where images are looked for.
type folder struct {
	*place
	scratch scratch
}

// newFolder is the directory that the caller calls name; empty: where names start. Nothing outside root is
// opened; empty: the directory itself.
func newFolder(name string, opts *Options, root string) (*folder, error) {
	if opts.FS != nil {
		return &folder{place: newFSPlace(path.Join(name, "image"), &Options{FS: opts.FS, Root: root})}, nil
	}
	real, err := realPath(cmp.Or(name, "."))
	if err != nil {
		return nil, err
	}
	shown := name
	if shown != "" && !os.IsPathSeparator(shown[len(shown)-1]) {
		shown += string(filepath.Separator)
	}
	p, err := newOSPlace(real, shown, root)
	return &folder{place: p}, err
}

// kin is an image that was found in a folder.
type kin struct {
	name    string // as Open takes it
	abs     string
	info    fs.FileInfo
	id      uuid.UUID
	isLink  bool // a symbolic link leads to it
	isChild bool
	parents []recorded // of a differencing disk
	img     *Image     // whose file is closed
}

// recorded is what a differencing disk says of its parent.
type recorded struct {
	id       uuid.UUID
	modified time.Time
}

// recordedParents is what the image says of its parent, twice if it has a twin.
func (m *Image) recordedParents() []recorded {
	all := []recorded{{m.header.ParentID, m.header.ParentTime}}
	if t := m.twin; t != nil {
		all = append(all, recorded{t.header.ParentID, t.header.ParentTime})
	}
	return all
}

// recordedOf is what is about the parent that has an identifier in all that an image says, or
// about another one if it knows none like that.
func recordedOf(all []recorded, id uuid.UUID) recorded {
	at := slices.IndexFunc(all, func(r recorded) bool { return r.id == id })
	return all[max(at, 0)]
}

func (k *kin) recordedOf(id uuid.UUID) recorded { return recordedOf(k.parents, id) }

// maxParentsAmong bounds how many images are taken for the parent of one: many may claim to
// be the parent of many.
const maxParentsAmong = 16

// parentsAmong are the images, each file once, that may be the parent of a child: those that
// have the identifier which it recorded. Of two that it recorded, see twin, both were right,
// and the first counts that any image has.
func parentsAmong[T comparable](byID map[uuid.UUID][]T, child T, ids []recorded, infoOf func(T) fs.FileInfo) (parents []T) {
	for _, recorded := range ids {
		for _, image := range byID[recorded.id] {
			isFile := func(other T) bool { return other == image || os.SameFile(infoOf(other), infoOf(image)) }
			if isFile(child) || slices.ContainsFunc(parents, isFile) { // it, or another name of it
				continue
			}
			if parents = append(parents, image); len(parents) == maxParentsAmong {
				return parents
			}
		}
		if len(parents) > 0 {
			return parents
		}
	}
	return nil
}

// look reads the structures of a file. It is nil if the file is no image, or to be skipped.
func (f *folder) look(abs string, skip func(abs string, info fs.FileInfo) bool) (*kin, error) {
	file, err := f.open(abs)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() || skip != nil && skip(abs, info) {
		return nil, err
	}
	whole := wholeFile{file, info.Size()}
	footer, err := footerOf(whole, info.Size(), &f.scratch)
	if isFormatError(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	k := &kin{name: f.display(abs), abs: abs, info: info, id: footer.ID, isChild: footer.Type == Differencing}
	if !k.isChild {
		return k, nil
	}
	if k.img, err = readImage(k.name, whole, info.Size(), &f.scratch); err == nil {
		k.parents = k.img.recordedParents()
	}
	return k, err
}

// inspect reads the structures of a file, which is closed then.
func (f *folder) inspect(abs string) (*Image, fs.FileInfo, error) {
	file, err := f.open(abs)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNotRegular
	}
	if err != nil {
		return nil, nil, err
	}
	img, err := readImage(f.display(abs), wholeFile{file, info.Size()}, info.Size(), &f.scratch)
	return img, info, err
}

// wholeFile is a file that is as long as it was. That it ends earlier says nothing of
// what it holds.
type wholeFile struct {
	io.ReaderAt
	size int64
}

func (f wholeFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.ReaderAt.ReadAt(p, off)
	if n < len(p) && off+int64(n) < f.size && errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// list is what is in a directory, by name.
func (f *folder) list(dir string) ([]fs.DirEntry, error) {
	entries, err := f.readDir(dir)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

// The bounds of a folder with all folders in it.
const (
	maxTreeDepth   = 64
	maxTreeEntries = 1 << 20
)

// eachFile calls do for the regular files in the folder, by name, and if deep is set then for those
// in the folders in it, level by level. What became no image is passed over. A folder that can't be read is reported and passed over.
func (f *folder) eachFile(ctx context.Context, deep bool, do func(abs string), report func(abs string, err error)) error {
	dirs, nentries := []string{f.dir}, 0
	for depth := 0; len(dirs) > 0; depth++ {
		if depth > maxTreeDepth {
			return fmt.Errorf("%w: more than %d folders in one another", ErrUnsupported, maxTreeDepth)
		}
		var deeper []string
		for _, dir := range dirs {
			entries, err := f.list(dir)
			if err != nil {
				report(dir, err)
				continue
			}
			if nentries += len(entries); nentries > maxTreeEntries {
				return fmt.Errorf("%w: more than %d files", ErrUnsupported, maxTreeEntries)
			}
			inside, err := f.eachFileIn(ctx, dir, entries, do)
			if err != nil {
				return err
			}
			deeper = append(deeper, inside...)
		}
		if dirs = deeper; !deep {
			return nil
		}
	}
	return nil
}

// eachFileIn calls do for the regular files among a folder's entries, and returns the folders.
func (f *folder) eachFileIn(ctx context.Context, dir string, entries []fs.DirEntry, do func(abs string)) (dirs []string, err error) {
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		abs := joinName(dir, []string{e.Name()})
		switch {
		case e.IsDir():
			dirs = append(dirs, abs)
		case e.Type().IsRegular() && !strings.HasSuffix(e.Name(), tempSuffix):
			do(abs)
		}
	}
	return dirs, nil
}

// eachChild calls do for the differencing disks in the folder, except what is to be
// skipped. Symbolic links are followed. A file that can't be read may be one, and ends it.
func (f *folder) eachChild(ctx context.Context, skip func(abs string, info fs.FileInfo) bool, do func(k *kin) error) error {
	entries, err := f.list(f.dir)
	if err != nil {
		return err
	}
	const other = fs.ModeDir | fs.ModeNamedPipe | fs.ModeDevice | fs.ModeSocket
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if e.Type()&other != 0 || strings.HasSuffix(e.Name(), tempSuffix) {
			continue
		}
		k, err := f.child(joinName(f.dir, []string{e.Name()}), skip)
		if err == nil && k != nil {
			k.isLink = e.Type()&fs.ModeSymlink != 0
			err = do(k)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// child is look at a file that may have gone, or hold anything. It is nil if the file is no
// differencing disk.
func (f *folder) child(abs string, skip func(abs string, info fs.FileInfo) bool) (*kin, error) {
	k, err := f.look(abs, skip)
	if isAbsent(err) || isFormatError(err) || err == nil && (k == nil || !k.isChild) {
		return nil, nil
	}
	return k, inFile(f.display(abs), err)
}
