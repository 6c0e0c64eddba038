package vhd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/google/uuid"
)

// RenameOptions say how an image is renamed.
type RenameOptions struct {
	// Options are as for Open, of the image and of its children. Search lists
	// further directories in which children are looked for. Writable, NoParents and
	// MapPath are not used.
	Options

	// DryRun finds the children, and changes nothing.
	DryRun bool

	// Progress, if it is set, is told how many references are changed, of all that there
	// are: of each child, and of the image if it has to be told of its own parent anew, there
	// are two, one for while it has both names and one for afterwards.
	Progress func(done, total int64)
}

// Rename gives an image another name, in the same directory or in another one of the
// same file system, and has its children refer to it by that. Another file that has the
// name already is left alone: the error matches [fs.ErrExist]. If it is a second name of the image, as
// a Rename leaves it that was killed, the old one is taken away. If the image is a
// differencing disk and goes to another directory, its own reference is changed too.
//
// The children are those in the directory that the image is in, in the one that it
// goes to, and in those of opts.Search, that find it as their parent when they are
// opened with opts. Rename returns their names, of a file that has several the first, also with an error. One
// that only a symbolic link there leads to is ErrUnsupported, and nothing is changed: name its own directory in
// opts.Search. Others lose
// their parent; see [Disk.Rebase] and [RebaseTree]. Who would not find its parent with opts
// afterwards, as that is outside Root, which is the directory of each image itself if it is empty, is
// ErrOutsideRoot, and nothing is changed.
//
// Nobody may use the image and its children meanwhile: ErrLocked. Whatever ends the
// work, the image is there under the one name or the other, or, where files can have
// two, under both, and the children find it; Rename with the same names then does the rest. After an error before the image has its
// new name all is as it was. An image that is a symbolic link, and a child on another
// volume of Windows, is ErrUnsupported; an empty name, [fs.ErrInvalid]. The end of ctx
// ends it before the image is renamed, with ctx's error.
//
// All children are open at once while it works.
func Rename(ctx context.Context, oldname, newname string, opts RenameOptions) (children []string, err error) {
	opts.MapPath = nil
	r := renaming{ctx: ctx, opts: opts, old: oldname, new: newname}
	err = r.run()
	for _, c := range r.children {
		children = append(children, c.name)
	}
	return children, inFile(oldname, joined(err, r.close()))
}

// renaming is one under way.
type renaming struct {
	ctx      context.Context
	opts     RenameOptions
	old, new string
	from, to directory
	standing standing
	image    link
	self     *referrer // the image, if it has to refer to its own parent anew
	children []*referrer
	linked   []*kin // children that symbolic links lead to
	nchanged int64  // references
}

// referrer is an image whose references change.
type referrer struct {
	name    string
	found   *kin
	parent  uuid.UUID // its identifier
	disk    *relinked
	changed bool

	// What it refers to: as it was, so that before and after the image is renamed
	// its parent is found, and in the end.
	former, both, latter *newParent
}

func (r *renaming) run() error {
	if err := r.enter(); err != nil {
		return err
	}
	if err := r.findChildren(); err != nil {
		return err
	}
	if err := r.plan(); err != nil || r.opts.DryRun {
		return err
	}
	if err := r.prepare(); err != nil {
		return err
	}
	if err := r.announce(); err != nil {
		return joined(err, r.takeBack())
	}
	if moved, err := r.move(); err != nil {
		if !moved {
			err = joined(err, r.takeBack())
		}
		return err
	}
	var err error
	for _, c := range r.all() { // each finds its parent already
		err = joined(err, r.settle(c))
		r.progress()
	}
	return err
}

// progress tells that one more reference is changed.
func (r *renaming) progress() {
	r.nchanged++
	if r.opts.Progress != nil {
		r.opts.Progress(r.nchanged, 2*int64(len(r.all())))
	}
}

// settle has an image refer to its parent as it is to in the end.
func (r *renaming) settle(c *referrer) error {
	if *c.latter == *c.both {
		return nil
	}
	if err := r.reopen(c, r.new); err != nil {
		return err
	}
	return c.disk.refer(c.latter)
}

// reopen opens the image again, which is called name by now, if it has been closed to be
// renamed.
func (r *renaming) reopen(c *referrer, name string) error {
	if !errors.Is(c.disk.usable(), ErrClosed) {
		if c == r.self {
			c.disk.name = name // by which it gets its time back
		}
		return nil
	}
	c.found.name = name
	again, err := c.found.openAlone(r.opts.Options, c.parent)
	if err == nil {
		c.disk = again
	}
	return inFile(name, err)
}

// enter finds out where the image is and goes, and locks it.
func (r *renaming) enter() (err error) {
	if r.old == "" || r.new == "" {
		return fmt.Errorf("%w: an image needs a name", fs.ErrInvalid)
	}
	if r.opts.FS == nil {
		if info, err := os.Lstat(r.old); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return fmt.Errorf("%w: it is a symbolic link to an image", ErrUnsupported)
		}
	}
	if r.from, err = r.directoryOf(r.old); err != nil {
		return err
	}
	if r.to, err = r.directoryOf(r.new); err != nil {
		return inFile(r.new, err)
	}
	if err := r.lockImage(); err != nil {
		return err
	}
	return inFile(r.new, r.findStanding())
}

func (r *renaming) directoryOf(name string) (directory, error) {
	c := creation{name: name, opts: &CreateOptions{Options: r.opts.Options}}
	return c.directory()
}

// lockImage opens the image, which need not be writable, and keeps all others out.
func (r *renaming) lockImage() error {
	c := chain{opts: &r.opts.Options}
	f, err := r.from.fs.OpenFile(r.from.name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	l, err := c.load(r.old, f, true, c.read)
	if err == nil {
		_, err = c.isStill(r.from.fs, r.from.name, &l)
	}
	if err != nil {
		return joined(err, closeFile(f))
	}
	l.abs = r.from.abs()
	r.image = l
	return nil
}

// findChildren finds the images that have this one as their parent.
func (r *renaming) findChildren() error {
	seen := map[string]bool{}
	oldDir, _ := filepath.Split(r.old)
	newDir, _ := filepath.Split(r.new)
	if r.opts.FS != nil {
		oldDir, newDir = path.Dir(r.old), path.Dir(r.new)
	}
	for _, dir := range append([]string{oldDir, newDir}, r.opts.Search...) {
		f, err := newFolder(dir, &r.opts.Options, "/")
		if err != nil {
			return inFile(cmp.Or(dir, "."), err)
		}
		if !seen[f.dir] {
			seen[f.dir] = true
			err = r.findChildrenIn(f)
		}
		f.release()
		if err != nil {
			return inFile(cmp.Or(dir, "."), err)
		}
	}
	for _, k := range r.linked {
		if !r.hasChild(k) {
			return inFile(k.name, fmt.Errorf("%w: it is a symbolic link to a child, whose own directory has to be searched", ErrUnsupported))
		}
	}
	return nil
}

// findChildrenIn finds those in one directory. A file that has several names is one child. Which path leads
// from a symbolic link's file to the image depends on where that is.
func (r *renaming) findChildrenIn(f *folder) error {
	return f.eachChild(r.ctx, r.isImage, func(k *kin) error {
		isChild, err := r.isChild(k)
		switch {
		case !isChild || r.hasChild(k):
		case k.isLink:
			r.linked = append(r.linked, k)
		default:
			r.children = append(r.children, &referrer{name: k.name, found: k, parent: r.image.img.footer.ID})
		}
		return err
	})
}

// hasChild says whether an image is one of the children that were found.
func (r *renaming) hasChild(k *kin) bool {
	return slices.ContainsFunc(r.children, func(c *referrer) bool { return c.found.isFile(k) })
}

// isImage says whether a file is the image that is renamed, by its absolute name or as one
// of the operating system's.
func (r *renaming) isImage(abs string, info fs.FileInfo) bool { return r.image.is(abs, info) }

// isChild says whether an image finds the one that is renamed as its parent, or
// names it and could not open it now, as outside Root.
func (r *renaming) isChild(k *kin) (bool, error) {
	if !r.opts.IgnoreParentIdentity && !k.img.namesParent(r.image.img.footer.ID) {
		return false, nil
	}
	opts := r.opts.Options
	opts.Search = nil
	parent, err := findParentOf(k.name, opts)
	switch {
	case err == nil:
		return r.isImage(parent.abs, parent.info), nil
	case !isLost(err) && k.img.namesParent(r.image.img.footer.ID):
		return false, err
	}
	for ref := range k.img.storedRefs() {
		if ref.path.err != nil {
			continue
		}
		if slices.Contains(ref.path.candidates(dirOf(k.abs), r.hasDrives()), r.image.abs) {
			return true, nil
		}
	}
	return false, nil
}

func (r *renaming) hasDrives() bool { return r.opts.FS == nil && runtime.GOOS == "windows" }

// plan decides what all refer to.
func (r *renaming) plan() error {
	if err := r.planSelf(); err != nil {
		return err
	}
	for _, c := range r.children {
		if err := r.planChild(c); err != nil {
			return inFile(c.name, err)
		}
	}
	return nil
}

// prepare opens the children, and whatever else has to be written, before anything is
// changed.
func (r *renaming) prepare() error {
	if r.self != nil { // which is open, but not to be written
		if err := r.releaseImage(); err != nil {
			return err
		}
	}
	for _, c := range r.all() {
		var err error
		if c.disk, err = c.found.openAlone(r.opts.Options, c.parent); err != nil {
			return err
		}
		for _, p := range []*newParent{c.both, c.latter} {
			if err := c.disk.referable(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// planSelf has the image refer to its own parent anew if the path to that changes. A
// parent that is not found will not be found afterwards either, unless it is damaged.
func (r *renaming) planSelf() error {
	img := r.image.img
	if img.footer.Type != Differencing || dirOf(r.from.abs()) == dirOf(r.to.abs()) {
		return nil
	}
	opts := r.opts.Options
	opts.Search = nil
	parent, err := findParentOf(r.old, opts)
	if isLost(err) && !isDamaged(err) {
		return nil
	}
	if err != nil {
		return err
	}
	name := r.opts.nameOf(parent.img, parent.abs)
	r.self = &referrer{name: r.old, parent: parent.img.footer.ID, found: &kin{name: r.old, info: r.image.info, parents: img.recordedParents()}}
	if err := r.self.plan(&r.opts.Options, [2]string{r.old, name}, [2]string{r.new, name}); err != nil {
		return err
	}
	return r.decideBoth(r.self, dirOf(r.from.abs()), parent.abs)
}

// isDamaged says whether a parent that is lost may be one of the files that were tried, if
// that could be read.
func isDamaged(err error) bool {
	lost, ok := errors.AsType[*ParentError](err)
	return ok && slices.ContainsFunc(lost.Attempts, func(a ParentAttempt) bool { return isFormatError(a.Err) })
}

func (r *renaming) planChild(c *referrer) error {
	if err := c.plan(&r.opts.Options, [2]string{c.name, r.old}, [2]string{c.name, r.new}); err != nil {
		return err
	}
	if c.latter.relative == "" {
		return fmt.Errorf("%w: it is on another volume", ErrUnsupported)
	}
	return r.decideBoth(c, dirOf(c.found.abs), r.image.abs)
}

// decideBoth decides what an image in dir, whose parent is called parent as yet, refers to
// meanwhile: by the relative path to where the parent will be from where the image will be,
// and by the absolute one to where it is. One that can't be followed gives its place to the
// relative one.
func (r *renaming) decideBoth(c *referrer, dir, parent string) error {
	both := *c.latter
	both.absolute = c.former.absolute
	if !r.leads(both.absolute, dir, parent) {
		both.absolute = c.former.relative
	}
	if !r.leads(both.absolute, dir, parent) {
		return fmt.Errorf("%w: no path that can be stored leads to its parent %s", ErrUnsupported, parent)
	}
	c.both = &both
	return nil
}

// leads says whether a path, once it is stored, leads an image in dir to the one called
// parent.
func (r *renaming) leads(path, dir, parent string) bool {
	data, err := W2ku.EncodePath(path)
	if err != nil || len(data) > maxLocatorData {
		return false
	}
	ref := newLocatorRef(locatorData{code: W2ku, data: data})
	return ref.path.err == nil && slices.Contains(ref.path.candidates(dir, r.hasDrives()), parent)
}

// plan decides what an image refers to, by its name and its parent's, before and after.
func (c *referrer) plan(opts *Options, before, after [2]string) (err error) {
	its := c.found.recordedOf(c.parent)
	if c.former, err = newParentOf(before[0], before[1], its.id, its.modified, opts); err != nil {
		return err
	}
	inRoot := *opts
	if inRoot.Root == "" { // outside which Open finds nothing
		if inRoot.Root = path.Dir(after[0]); opts.FS == nil {
			dir, _ := filepath.Split(after[0])
			inRoot.Root = cmp.Or(dir, ".")
		}
	}
	c.latter, err = newParentOf(after[0], after[1], its.id, its.modified, &inRoot)
	if errors.Is(err, ErrOutsideRoot) {
		return fmt.Errorf("%w of %s: Options.Root has to hold both", err, after[0])
	}
	return err
}

// announce has all refer to both names of the image.
func (r *renaming) announce() error {
	if r.self != nil {
		r.self.changed = true
		if err := r.self.disk.refer(r.self.both); err != nil {
			return err
		}
		r.progress()
	}
	for _, c := range r.children {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		c.changed = true
		if err := c.disk.refer(c.both); err != nil {
			return err
		}
		r.progress()
	}
	return r.ctx.Err()
}

// takeBack has all refer to the image as they did.
func (r *renaming) takeBack() error {
	var err error
	for _, c := range r.all() {
		if !c.changed {
			continue
		}
		reopened := r.reopen(c, c.found.name)
		if err = joined(err, reopened); reopened == nil && c.disk.usable() == nil {
			err = joined(err, c.disk.refer(c.former))
		}
	}
	return err
}

func (r *renaming) all() []*referrer {
	if r.self == nil {
		return r.children
	}
	return append([]*referrer{r.self}, r.children...)
}

// move gives the image its new name, durably. moved says whether it may have it, now or
// after a crash. Where files can have two names it has both for a moment, and
// never takes the place of another.
func (r *renaming) move() (moved bool, err error) {
	if runtime.GOOS == "windows" { // where what is open keeps its name
		if err := r.releaseImage(); err != nil {
			return false, err
		}
	}
	switch r.standing {
	case otherName:
		if !r.isStillAt(r.to.name) {
			return false, inFile(r.new, fs.ErrExist)
		}
		return r.dropOldName()
	case sameName:
		return r.moveEntry()
	case freeName: // it is made
	}
	fsys := r.from.fs
	if l, ok := fsys.(linker); ok {
		err := l.Link(r.from.name, r.to.name)
		if err == nil {
			return r.dropOldName()
		}
		if errors.Is(err, fs.ErrExist) {
			return false, inFile(r.new, fs.ErrExist)
		}
	}
	if err := r.to.isFree(); err != nil {
		return false, inFile(r.new, err)
	}
	return r.moveEntry()
}

// moveEntry has the file system do it at once.
func (r *renaming) moveEntry() (moved bool, err error) {
	fsys := r.from.fs
	if err := fsys.Rename(r.from.name, r.to.name); err != nil {
		return false, err
	}
	if err := fsys.SyncDir(r.to.dir); err != nil {
		return true, err
	}
	return true, fsys.SyncDir(r.from.dir)
}

// dropOldName takes the old name away, once the new one is durable.
func (r *renaming) dropOldName() (moved bool, err error) {
	fsys := r.from.fs
	if err = fsys.SyncDir(r.to.dir); err == nil {
		err = fsys.Remove(r.from.name)
	}
	if err != nil && r.standing == otherName { // as it was
		return true, err
	}
	if err != nil {
		undo := fsys.Remove(r.to.name)
		if undo == nil {
			undo = fsys.SyncDir(r.to.dir)
		}
		return undo != nil, joined(err, undo)
	}
	return true, fsys.SyncDir(r.from.dir)
}

// releaseImage closes the image.
func (r *renaming) releaseImage() error {
	if r.self != nil && r.self.disk != nil {
		if err := r.self.disk.usable(); err == nil {
			return r.self.disk.Close()
		}
		return nil
	}
	f := r.image.file
	if f == nil {
		return nil
	}
	r.image.file = nil
	return closeFile(f)
}

func (r *renaming) close() error {
	err := r.releaseImage()
	for _, c := range r.all() {
		if c.disk == nil || errors.Is(c.disk.usable(), ErrClosed) {
			continue
		}
		told := c.disk.syncs.err() != nil
		if closeErr := c.disk.Close(); !told {
			err = joined(err, closeErr)
		}
	}
	return err
}
