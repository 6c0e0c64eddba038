package vhd

import (
	"cmp"
	"context"
	"errors"
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

// recordedOf is what the image says of the parent that has an identifier, or of another one if it
// knows none like that.
func (k *kin) recordedOf(id uuid.UUID) recorded {
	at := slices.IndexFunc(k.parents, func(r recorded) bool { return r.id == id })
	return k.parents[max(at, 0)]
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

// eachChild calls do for the differencing disks in the folder, except what is to be
// skipped. Symbolic links are followed where links is set. A file that can't be read may be
// one, and ends it.
func (f *folder) eachChild(ctx context.Context, links bool, skip func(abs string, info fs.FileInfo) bool, do func(k *kin) error) error {
	entries, err := f.list(f.dir)
	if err != nil {
		return err
	}
	other := fs.ModeDir | fs.ModeNamedPipe | fs.ModeDevice | fs.ModeSocket
	if !links {
		other |= fs.ModeSymlink
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if e.Type()&other != 0 || strings.HasSuffix(e.Name(), tempSuffix) {
			continue
		}
		k, err := f.child(joinName(f.dir, []string{e.Name()}), skip)
		if err == nil && k != nil {
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
