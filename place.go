package vhd

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
)

// place is where the parents of a disk are looked for: an FS, and the gate in
// front of it. Names that come by here are absolute and slash-separated, with a
// drive or a share in front on Windows.
type place struct {
	fs        FS
	base      string                   // the directory that the FS's own names start from; empty: its names are absolute
	root      string                   // the directory outside which nothing is opened; empty: none
	shownRoot string                   // the same, as the caller wrote it, before symbolic links were resolved
	local     bool                     // it is the operating system's files
	self      string                   // the image from which all starts
	dir       string                   // that it is in
	display   func(name string) string // a name as the user would write it
	release   func()
	lists     map[string][]fs.DirEntry // of the directories that were read; nil: they are read each time
}

// newPlace is where the parents of the image called name are looked for. A
// symbolic link to an image stands for where the image is.
func newPlace(name string, opts *Options) (*place, error) {
	if opts.FS != nil {
		return newFSPlace(name, opts), nil
	}
	real, err := realPath(name)
	if err != nil {
		return nil, err
	}
	shownDir, _ := filepath.Split(name)
	p, err := newOSPlace(filepath.Dir(real), shownDir, opts.Root)
	if err == nil {
		p.self = filepath.ToSlash(real)
	}
	return p, err
}

// newPlaceFor is the same for an image that is yet to be made.
func newPlaceFor(name string, opts *Options) (*place, error) {
	if opts.FS != nil {
		return newFSPlace(name, opts), nil
	}
	self, err := realName(name)
	if err != nil {
		return nil, err
	}
	shownDir, _ := filepath.Split(name)
	return newOSPlace(filepath.Dir(self), shownDir, opts.Root)
}

// newOSPlace is the operating system's files below root; if that is empty,
// below dir, and if it is "/", everywhere. Names in dir, whose symbolic links
// are resolved, are shown as names in shownDir.
func newOSPlace(dir, shownDir, root string) (*place, error) {
	p := &place{
		fs: osFS{}, local: true, dir: filepath.ToSlash(dir), release: func() {},
		display: func(name string) string {
			rest, ok := below(filepath.ToSlash(dir), name)
			switch {
			case !ok:
				return filepath.FromSlash(name)
			case rest == "." && shownDir != "":
				return filepath.Clean(shownDir)
			}
			return shownDir + filepath.FromSlash(rest)
		},
	}
	if filepath.ToSlash(root) == "/" {
		return p, nil
	}
	rootDir, shownRoot := dir, shownDir
	var err error
	if root != "" {
		shownRoot = root
		if rootDir, err = realPath(root); err != nil {
			return nil, inFile(root, err)
		}
	}
	if shownRoot, err = filepath.Abs(shownRoot); err != nil {
		return nil, err
	}
	confined, err := os.OpenRoot(rootDir)
	if err != nil {
		return nil, inFile(rootDir, err)
	}
	p.fs, p.release = RootFS(confined), func() { _ = confined.Close() }
	p.root, p.shownRoot = filepath.ToSlash(rootDir), filepath.ToSlash(shownRoot)
	p.base = p.root
	return p, nil
}

// realPath is the name of something that exists, absolute and without symbolic
// links. What ".." means behind a link only the file system knows, so nothing is
// cleaned before.
func realPath(name string) (string, error) {
	if filepath.IsAbs(name) {
		return filepath.EvalSymlinks(name)
	}
	if runtime.GOOS == "windows" { // where each drive has a directory to start from
		abs, err := filepath.Abs(name)
		if err != nil {
			return "", err
		}
		return filepath.EvalSymlinks(abs)
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir + "/" + name)
}

// realName is a name in a directory that exists, absolute. What has the name
// may be a link, or nothing.
func realName(name string) (string, error) {
	dir, base := filepath.Split(name)
	if dir == "" {
		dir = "."
	}
	dir, err := realPath(dir)
	return filepath.Join(dir, base), err
}

// newFSPlace is an FS of the caller's. Whether its names start with a slash is
// up to the caller; here they all do.
func newFSPlace(name string, opts *Options) *place {
	self := path.Join("/", name)
	p := &place{fs: opts.FS, base: "/", self: self, dir: path.Dir(self), release: func() {}}
	if strings.HasPrefix(name, "/") {
		p.base = ""
	}
	p.display = func(name string) string { return p.own(name) }
	switch root := path.Join("/", opts.Root); {
	case opts.Root == "":
		p.root = p.dir
	case root != "/":
		p.root = root
	}
	return p
}

// absolute is the name of a file or directory that the caller named. No file
// system is asked: the name may have been made from one that stands in a file.
func (p *place) absolute(name string) (string, error) {
	if !p.local {
		return path.Join("/", name), nil
	}
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	abs = filepath.ToSlash(abs)
	if rest, ok := below(p.shownRoot, abs); ok && p.root != "" {
		return joinName(p.root, strings.Split(rest, "/")), nil
	}
	return abs, nil
}

// absIn is the absolute name of what an FS calls name. The operating system's files have
// absolute names everywhere here.
func absIn(fsys FS, name string) string {
	if fsys == (osFS{}) {
		return name
	}
	return path.Join("/", name)
}

// locate is the name of a file that the caller named, and trusts.
func (p *place) locate(name string) (string, error) {
	if !p.local {
		return path.Join("/", name), nil
	}
	real, err := realName(name)
	return filepath.ToSlash(real), err
}

// hasDrives says whether absolute names here start with a drive.
func (p *place) hasDrives() bool { return p.local && runtime.GOOS == "windows" }

// own is an absolute name as the FS writes it.
func (p *place) own(name string) string {
	if p.base == "" {
		return name
	}
	own, _ := below(p.base, name)
	return own
}

// allows is the gate: what is outside the root is not even asked for.
func (p *place) allows(name string) error {
	if p.root == "" {
		return nil
	}
	if _, ok := below(p.root, name); !ok {
		return ErrOutsideRoot
	}
	return nil
}

// open opens a file for reading.
func (p *place) open(name string) (File, error) {
	if err := p.allows(name); err != nil {
		return nil, err
	}
	return p.fs.OpenFile(p.own(name), os.O_RDONLY, 0)
}

func (p *place) readDir(name string) ([]fs.DirEntry, error) {
	if err := p.allows(name); err != nil {
		return nil, err
	}
	if entries, ok := p.lists[name]; ok {
		return entries, nil
	}
	entries, err := p.fs.ReadDir(p.own(name))
	if err == nil && p.lists != nil {
		if len(p.lists) == maxLists {
			clear(p.lists)
		}
		p.lists[name] = entries
	}
	return entries, err
}

// maxLists bounds how many directories' entries are kept.
const maxLists = 64

// keepLists is for who looks for many parents at once: directories are read once, and not
// for each name that none of them has.
func (p *place) keepLists() { p.lists = map[string][]fs.DirEntry{} }

// below is an absolute name as seen from the directory dir, if it is there. Names
// need not be UTF-8.
func below(dir, name string) (string, bool) {
	if name == dir {
		return ".", true
	}
	rest, ok := strings.CutPrefix(name, dir)
	if !strings.HasSuffix(dir, "/") {
		ok = ok && strings.HasPrefix(rest, "/")
		rest = strings.TrimPrefix(rest, "/")
	}
	return rest, ok && isClean(rest)
}

// isClean says whether a name goes down all the way.
func isClean(name string) bool {
	for c := range strings.SplitSeq(name, "/") {
		if c == "" || c == "." || c == ".." {
			return false
		}
	}
	return true
}

// maxFolded bounds how many spellings of one name are tried.
const maxFolded = 16

// fold finds files whose names differ from name in the case of letters only,
// from where name and the directory dir part.
func (p *place) fold(dir, name string) []string {
	for _, ok := below(dir, name); !ok && dir != dirOf(dir); _, ok = below(dir, name) {
		dir = dirOf(dir)
	}
	if _, ok := below(p.root, dir); !ok && p.root != "" {
		dir = p.root
	}
	rest, ok := below(dir, name)
	if !ok {
		return nil
	}
	names := []string{dir}
	for want := range strings.SplitSeq(rest, "/") {
		var deeper []string
		for _, at := range names {
			if entries, err := p.readDir(at); err == nil {
				deeper = append(deeper, matching(at, entries, want)...)
			}
		}
		names = deeper[:min(len(deeper), maxFolded)]
	}
	return names
}

// matching are the entries of a directory that are called want, in any case.
func matching(dir string, entries []fs.DirEntry, want string) []string {
	var names []string
	for _, e := range entries {
		if strings.EqualFold(e.Name(), want) && len(names) < maxFolded {
			names = append(names, joinName(dir, []string{e.Name()}))
		}
	}
	return names
}
