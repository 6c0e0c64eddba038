package vhd

import (
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/google/uuid"
)

// Options say how images are opened. The zero Options open for reading, and
// look for parents in the directory that holds the image and nowhere else.
type Options struct {
	// Writable opens the leaf for writing. Parents are always read-only.
	Writable bool

	// FS is where names are looked up; nil: the operating system's files.
	FS FS

	// Root is the directory outside which no parent is opened; empty: the one
	// that holds the image. "/" is any local path. Symbolic links in Root itself
	// are followed, once; in the operating system's files, those below it are
	// followed only as far as they stay inside. In an FS of the caller's Root is
	// a matter of names alone.
	Root string

	// Search lists further directories, inside Root, to look for a parent in:
	// first by its name, then by its identifier among all files there.
	Search []string

	// MapPath returns names to try first for a path as it is stored in an
	// image. They are names as Open takes them, and must be inside Root.
	MapPath func(stored string) []string

	// NoParents opens the leaf alone. Reading what only a parent holds is
	// ErrParentNotFound, never zeros.
	NoParents bool

	// IgnoreParentIdentity accepts a parent whose identifier is not the one
	// that its child recorded. What is read then may be nonsense.
	IgnoreParentIdentity bool

	// MaxDepth is the number of images in the longest chain opened; 0 or less:
	// DefaultMaxDepth.
	MaxDepth int

	// CacheSize is how many bytes of block maps and tables are kept in memory; 0
	// or less: 32 MiB. What finds and makes them comes on top: for a disk of 2 TiB
	// some 10 MiB, and with blocks smaller than 2 MiB more for every image. So does
	// what a writer has not synced yet: when that passes some
	// 32 MiB, it is synced.
	CacheSize int64

	// Lock says how the files are guarded against others.
	Lock LockMode
}

// DefaultMaxDepth is the number of images in the longest chain that is opened where Options
// do not say another.
const DefaultMaxDepth = 256

const defaultCacheSize = 32 << 20

// files is where the images are.
func (o *Options) files() FS {
	if o.FS != nil {
		return o.FS
	}
	return osFS{}
}

func (o *Options) maxDepth() int {
	if o.MaxDepth <= 0 {
		return DefaultMaxDepth
	}
	return min(o.MaxDepth, maxLayers)
}

// Open opens the image called name and the parents that it needs. A nil opts is
// the zero Options: read-only, and parents are looked for in the directory that
// holds the image, and nowhere else.
//
// What can't be parsed is a *FormatError, a parent that can't be opened a
// *ParentError. An image that another program has open for writing, or, when
// it is to be written, for reading, is ErrLocked.
//
// An image that a writer left unfinished (see [Image.NeedsRecovery]) is read as
// it is; opened for writing, it is mended first. An image to be written whose
// blocks overlap each other or metadata is ErrCorrupt.
func Open(name string, opts *Options) (*Disk, error) {
	o := optionsOf(opts)
	c := chain{opts: o}
	disk, err := c.open(name)
	if err != nil {
		c.close()
		return nil, inFile(name, err)
	}
	return disk, nil
}

// OpenChain opens a chain that the caller puts together, leaf first. Nothing
// else is opened, whatever the images say about their parents; with
// [Options].NoParents the chain may end early. Each parent's identifier is
// checked, unless [Options].IgnoreParentIdentity is set. FS, Root, Search and
// MapPath are not used.
//
// A file is named in errors, and by [Image.Name], as its Stat names it. The position
// of an *os.File is moved (see [File]). The Disk closes the files when it is closed;
// if OpenChain fails they stay open.
func OpenChain(opts *Options, files ...File) (*Disk, error) {
	c := chain{opts: optionsOf(opts)}
	disk, err := c.assemble(files)
	if err != nil {
		for _, l := range c.links {
			c.unlock(l.file)
		}
		return nil, err
	}
	disk.nameless = true
	return disk, nil
}

// assemble makes a disk of files that the caller opened.
func (c *chain) assemble(files []File) (*Disk, error) {
	if len(files) == 0 {
		return nil, fmt.Errorf("vhd: a chain of no files: %w", fs.ErrInvalid)
	}
	for i, f := range files {
		name := fmt.Sprintf("image %d", i)
		if info, err := f.Stat(); err == nil && info.Name() != "" {
			name = info.Name()
		}
		if err := c.add(name, f); err != nil {
			return nil, inFile(name, err)
		}
	}
	if last := c.last(); last.needsParent() && !c.opts.NoParents {
		return nil, inFile(last.img.name, ErrParentNotFound)
	}
	return c.disk()
}

// add adds a file that the caller opened to the chain's end.
func (c *chain) add(name string, f File) error {
	if err := c.check(len(c.links)); err != nil {
		return err
	}
	isLeaf := len(c.links) == 0
	l, err := c.load(name, f, c.opts.Writable && isLeaf, c.read)
	if err != nil {
		return err
	}
	if !isLeaf {
		if err = c.fits(l); c.holdsFile(l.info) {
			err = ErrChainLoop
		}
	}
	if err != nil {
		c.unlock(f)
		return err
	}
	return c.append(&l)
}

// append adds an image to the chain's end, which is the parent of the last one.
func (c *chain) append(l *link) error {
	c.links = append(c.links, l)
	if len(c.links) == 1 {
		return nil
	}
	return c.links[len(c.links)-2].img.settleTwin(l.img.footer.ID)
}

func optionsOf(opts *Options) *Options {
	if opts == nil {
		return &Options{}
	}
	return opts
}

// chain is a chain of images while it is being opened.
type chain struct {
	opts  *Options
	links []*link // leaf first
	above *link   // the image that gets links[0] as its parent; nil: none
	place *place  // nil until a parent is looked for

	scratch scratch
}

// link is one image of a chain.
type link struct {
	img  *Image
	file File
	info fs.FileInfo
	abs  string // its absolute name in the place
}

// is says whether a file is the image's, by its absolute name in an FS of the
// caller's, or as one of the operating system's.
func (l *link) is(name string, info fs.FileInfo) bool {
	return l.abs == name || os.SameFile(l.info, info)
}

func (l *link) needsParent() bool { return l.img.footer.Type == Differencing }

// makeDurable makes durable what was written to the image, by whomever.
func (l *link) makeDurable(opts *Options) error {
	return inFile(l.img.name, opts.syncFile(l.file, opts.nameOf(l.img, l.abs)))
}

func (c *chain) last() *link { return c.links[len(c.links)-1] }

// open opens the leaf, and parent after parent until one needs none.
func (c *chain) open(name string) (*Disk, error) {
	leaf, err := c.openLeaf(name)
	if err != nil {
		return nil, err
	}
	c.links = append(c.links, &leaf)
	if err := c.openParents(name); err != nil {
		return nil, err
	}
	return c.disk()
}

// openParents opens the parents that the last image of the chain needs. name is
// the leaf's.
func (c *chain) openParents(name string) error {
	if !c.last().needsParent() || c.opts.NoParents {
		return nil
	}
	if err := c.enterPlace(name); err != nil {
		return err
	}
	defer c.place.release()
	for c.last().needsParent() {
		if err := c.check(len(c.links)); err != nil {
			return inFile(c.last().img.name, err)
		}
		parent, err := c.findParent(c.last())
		if err != nil {
			return err
		}
		if err := c.append(&parent); err != nil {
			return err
		}
	}
	return nil
}

// enterPlace finds out where parents of the image called name are looked for.
func (c *chain) enterPlace(name string) (err error) {
	if c.place, err = newPlace(name, c.opts); err == nil {
		c.links[0].abs = c.place.self
	}
	return err
}

// check is why a chain that has depth images can't have one more.
func (c *chain) check(depth int) error {
	if depth >= c.opts.maxDepth() {
		return fmt.Errorf("%w: more than %d images", ErrChainTooDeep, c.opts.maxDepth())
	}
	return nil
}

// openLeaf opens the image that the caller named.
func (c *chain) openLeaf(name string) (link, error) { return c.openFile(name, c.read) }

// openFile opens and locks the file that the caller named, and has it read.
func (c *chain) openFile(name string, read func(name string, f File) (link, error)) (link, error) {
	flag := os.O_RDONLY
	if c.opts.Writable {
		flag = os.O_RDWR
	}
	fsys := c.opts.files()
	f, err := fsys.OpenFile(name, flag, 0)
	if err != nil {
		return link{}, err
	}
	l, err := c.load(name, f, c.opts.Writable, read)
	if err == nil {
		_, err = c.isStill(fsys, name, &l)
	}
	if err != nil {
		return link{}, joined(err, closeFile(f))
	}
	return l, nil
}

// load locks a file and has its structures read. The file stays the caller's to
// close.
func (c *chain) load(name string, f File, exclusive bool, read func(name string, f File) (link, error)) (link, error) {
	info, err := f.Stat()
	if err != nil {
		return link{}, err
	}
	if !info.Mode().IsRegular() {
		return link{}, errNotRegular
	}
	if c.above != nil && c.above.is(c.absolute(name), info) {
		return link{}, ErrChainLoop // and not that we have locked it
	}
	if err := c.opts.Lock.lock(f, exclusive); err != nil {
		return link{}, err
	}
	l, err := read(name, f)
	if err != nil {
		c.unlock(f)
	}
	return l, err
}

// read reads the structures of a file that won't change any more.
func (c *chain) read(name string, f File) (link, error) {
	info, err := f.Stat()
	if err != nil {
		return link{}, err
	}
	img, err := readImage(name, f, info.Size(), &c.scratch)
	return link{img: img, file: f, info: info}, err
}

// absolute is the absolute name, in an FS of the caller's, of a file that the
// caller named; empty in the operating system's, which knows files by more than
// names.
func (c *chain) absolute(name string) string {
	if c.opts.FS == nil {
		return ""
	}
	return absIn(c.opts.FS, name)
}

// unlock gives back what load took.
func (c *chain) unlock(f File) {
	if c.opts.Lock != LockNone {
		unlockFile(f)
	}
}

var errNotRegular = fmt.Errorf("%w: it is not a regular file", ErrUnsupported)

// isStill makes sure that the name, once the file is locked, still stands for
// the file: who replaced it has another lock. It says what is known of the file
// now.
func (c *chain) isStill(fsys FS, name string, l *link) (fs.FileInfo, error) {
	s, ok := fsys.(statter)
	if !ok || c.opts.Lock == LockNone {
		return l.info, nil
	}
	now, err := s.Stat(name)
	if err == nil && areTwoFiles(l.info, now) {
		err = errReplaced
	}
	return now, err
}

// loadParent reads what may be the parent of the chain's last image, and locks
// it once it turns out to be.
func (c *chain) loadParent(shown, name string, f File) (link, error) {
	info, err := f.Stat()
	if err != nil {
		return link{}, err
	}
	if !info.Mode().IsRegular() {
		return link{}, errNotRegular
	}
	if c.holds(name, info) {
		return link{}, ErrChainLoop
	}
	img, err := readImage(shown, f, info.Size(), &c.scratch)
	if err != nil {
		return link{}, err
	}
	l := link{img: img, file: f, info: info}
	if err := c.fits(l); err != nil {
		return link{}, err
	}
	if err := c.opts.Lock.lock(f, false); err != nil {
		return link{}, err
	}
	now, err := c.isStill(c.place.fs, c.place.own(name), &l)
	if err != nil || now.Size() == info.Size() && now.ModTime().Equal(info.ModTime()) {
		return l, err
	}
	// It was written to before it was locked: what was read may be old.
	again, err := c.read(shown, f)
	if err == nil {
		err = c.fits(again)
	}
	return again, err
}

// holds says whether the chain has a file already, by its name or another one.
func (c *chain) holds(name string, info fs.FileInfo) bool {
	if c.above != nil && c.above.is(name, info) {
		return true
	}
	return slices.ContainsFunc(c.links, func(l *link) bool { return l.abs == name }) || c.holdsFile(info)
}

// holdsFile says whether the chain has a file of the operating system's.
func (c *chain) holdsFile(info fs.FileInfo) bool {
	return slices.ContainsFunc(c.links, func(l *link) bool { return os.SameFile(l.info, info) })
}

// fits is why an image is not the parent of the chain's last.
func (c *chain) fits(l link) error {
	child := c.last()
	if !child.needsParent() {
		return fmt.Errorf("%w: its child %s is a %v disk, which has no parent", ErrParentMismatch, child.img.name, child.img.footer.Type)
	}
	if c.opts.IgnoreParentIdentity {
		return nil
	}
	id := l.img.footer.ID
	if !child.img.namesParent(id) {
		return fmt.Errorf("%w: it is %v, want %v", ErrParentMismatch, id, child.img.header.ParentID)
	}
	if id != (uuid.UUID{}) && slices.ContainsFunc(c.links, func(l *link) bool { return l.img.footer.ID == id }) {
		return ErrChainLoop
	}
	return nil
}

// disk makes a Disk of the chain.
func (c *chain) disk() (*Disk, error) {
	cacheSize := c.opts.CacheSize
	if cacheSize <= 0 {
		cacheSize = defaultCacheSize
	}
	d := &Disk{opts: *c.opts, cache: &cache{limit: cacheSize}, changing: make(chan struct{}, 1)}
	v := &view{size: c.links[0].img.footer.CurrentSize}
	var numbers []int32
	for number, link := range c.links {
		l := newLayer(number, link.img, link.file, d.cache)
		l.abs = link.abs
		v.layers, numbers = append(v.layers, l), append(numbers, l.number)
	}
	v.setChain(numbers)
	if last := c.last(); last.needsParent() {
		v.parentErr = inFile(last.img.name, fmt.Errorf("%w: it was not looked for, see Options.NoParents", ErrParentNotFound))
	}
	if v.top().table != nil {
		v.windows = newWindowTable(v.size)
	}
	d.current.Store(v)
	if c.opts.Writable {
		if err := d.startWriting(v); err != nil {
			return nil, inFile(v.top().img.name, err)
		}
	}
	for depth := range v.chain {
		if v.leaf == nil || depth > 0 { // a writer has made its last block whole
			v.at(depth).hideFooter()
		}
	}
	return d, nil
}

func (c *chain) close() {
	for _, l := range c.links {
		_ = closeFile(l.file) // nothing was written that could be lost
	}
}
