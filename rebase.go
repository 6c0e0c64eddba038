package vhd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/google/uuid"
)

// RebaseOptions say how a disk gets another parent.
type RebaseOptions struct {
	// Unsafe changes the reference and nothing else, whatever the new parent holds:
	// what the image does not hold itself reads as the new parent has it. The old
	// parent need not be there.
	Unsafe bool

	// Progress, if it is set, is told now and then how many bytes of the disk are
	// compared. It holds up the work while it runs, and must not change the chain.
	Progress func(done, total int64)
}

// Rebase makes the image called parent the parent of the disk's leaf, a differencing
// disk. What the disk reads as stays as it is, at every moment and whatever ends the
// work, unless opts.Unsafe is set.
//
// The image that has the identifier which the leaf has recorded is its parent, wherever it is
// now: only the path to it changes. That needs no former parent, so it mends a disk
// whose parent was moved, and which was opened with [Options].NoParents: from then
// on, what only a parent holds can be read.
//
// An image with another identifier is compared with what is below the leaf by now,
// and sectors that differ are first copied to the leaf, which grows by them. A
// parent of the parent, or a copy of the chain in one image, is such an image. Its
// size does not matter: past its end, it reads as zeros. An image with the same identifier is
// compared too if the disk has another file open as its parent: one of the two is a copy, and may have been
// written to. [Disk.PlanRebase] tells beforehand what there is to be copied.
//
// Where nothing is copied the leaf's file keeps the time of its last modification, where that can be: it
// holds what its own children know.
//
// The parent's name is as for [Create], and its parents are found as there. Others
// may use the disk meanwhile; writes wait while a piece of 2 MiB is compared. A
// [Disk.Snapshot] meanwhile ends it: the image that was the leaf is not written to any more,
// and the error matches [fs.ErrInvalid].
// Locators whose kind is unknown here stay as they are, those that name a path are
// written anew, elsewhere in the file if they are longer.
//
// After a failure the disk goes on with the former parent, unless the error matches
// [ErrBroken]; some sectors may have been copied. Without a former parent to compare
// with, another one is ErrParentNotFound. A parent that is the leaf, or stands on
// it, is ErrChainLoop; a disk that is no differencing one, [fs.ErrInvalid]; that the file system
// has too little room for what has to be copied, or for a path that fits nowhere in front of the blocks,
// where it can tell, ErrNoSpace: the latter shows when the copying is done. A disk that was opened
// by OpenChain, which does not know where its images are, and a header whose eight
// locators are all of unknown kinds are ErrUnsupported. Other errors about the parent are those of Open.
func (d *Disk) Rebase(parent string, opts RebaseOptions) error {
	return d.RebaseContext(context.Background(), parent, opts)
}

// RebaseContext is Rebase, which the end of ctx ends between two pieces, with ctx's
// error and the former parent.
func (d *Disk) RebaseContext(ctx context.Context, parent string, opts RebaseOptions) error {
	if err := d.writable(0, 0); err != nil {
		return err
	}
	end, err := d.beginChange(ctx)
	if err != nil {
		return err
	}
	defer end()
	r := rebase{disk: d, opts: opts, view: d.view()}
	if err := r.prepare(parent); err != nil {
		r.close()
		return d.opError(err)
	}
	if err = r.run(ctx); err != nil {
		r.close()
	}
	return d.opError(err)
}

// rebase is one under way.
type rebase struct {
	disk *Disk
	opts RebaseOptions
	view *view // the disk as it was when it began, but for what was written

	parents creation // the new ones
	below   *Disk    // that they make
	under   *view    // the same
	ref     *newParent
	shared  []int32 // the number, in view, of the layer that is the same file as the one with that number in under; or hole

	before, after mapBuilder
	buf, other    []byte
	copied        bool // something was
}

var errChainChanged = fmt.Errorf("%w: the chain was changed meanwhile", fs.ErrInvalid)

// prepare opens the new parents, and checks that they can be such.
func (r *rebase) prepare(parent string) error {
	v := r.view
	img := v.top().img
	switch {
	case r.disk.nameless:
		return fmt.Errorf("%w: a rebase of a disk of which nobody knows where its images are", ErrUnsupported)
	case img.footer.Type != Differencing:
		return fmt.Errorf("%w: a %v disk has no parent", fs.ErrInvalid, img.footer.Type)
	case parent == "":
		return fmt.Errorf("%w: a parent needs a name", fs.ErrInvalid)
	}
	if err := r.openParents(parent); err != nil {
		return err
	}
	header := img.header
	if _, _, err := r.ref.placeIn(&header); err != nil {
		return err
	}
	if !r.needsCopy() {
		return nil
	}
	if v.parentErr != nil {
		return fmt.Errorf("%w: the former parent is needed to compare %s with, which is another disk; an unsafe rebase goes without", ErrParentNotFound, parent)
	}
	return nil
}

// openParents opens the new parents, and makes a disk of them.
func (r *rebase) openParents(parent string) error {
	d, leaf := r.disk, r.view.top()
	abs, err := d.absOf(leaf)
	if err != nil {
		return err
	}
	info, err := leaf.file.Stat()
	if err != nil {
		return err
	}
	opts := CreateOptions{Options: d.opts, Parent: parent}
	opts.NoParents = false
	r.parents = creation{name: d.opts.nameOf(leaf.img, abs), opts: &opts}
	r.parents.chain.above = &link{img: leaf.img, file: leaf.file, info: info, abs: abs}
	if err := r.parents.openParent(); err != nil {
		return err
	}
	r.ref = r.parents.image.parent
	links := r.parents.chain.links
	if id := leaf.img.footer.ID; !opts.IgnoreParentIdentity && id != (uuid.UUID{}) && slices.ContainsFunc(links, func(l *link) bool { return l.img.footer.ID == id }) {
		return inFile(parent, fmt.Errorf("%w: the image, or a copy of it, is among them", ErrChainLoop))
	}
	if len(r.view.layers)+len(links) > maxLayers {
		return fmt.Errorf("%w: %d images on one open disk", ErrUnsupported, len(r.view.layers))
	}
	if r.below, err = r.parents.chain.disk(); err != nil {
		return err
	}
	r.under = r.below.view()
	return r.findShared()
}

// findShared finds out which images the disk has open already: there, what is at
// the same place is the same.
func (r *rebase) findShared() error {
	r.shared = slices.Repeat([]int32{hole}, len(r.under.layers))
	for depth := 1; depth < len(r.view.chain); depth++ {
		old := r.view.at(depth)
		info, err := old.file.Stat()
		if err != nil {
			return inFile(old.img.name, err)
		}
		abs, err := r.disk.absOf(old)
		if err != nil {
			return inFile(old.img.name, err)
		}
		for number, l := range r.parents.chain.links {
			if l.is(abs, info) && !areTwoFiles(l.info, info) { // which have had one name
				r.shared[number] = old.number
			}
		}
	}
	return nil
}

// needsCopy says whether sectors that differ have to be copied: the new parent is
// not the one that there is.
func (r *rebase) needsCopy() bool { return !r.isSameParent() && !r.opts.Unsafe }

// isSameParent says that only the path to the parent changes: it is the file that is open as such, or, if
// none is, has the identifier that the leaf recorded.
func (r *rebase) isSameParent() bool {
	id := r.ref.id
	if id == (uuid.UUID{}) || r.view.top().img.header.ParentID != id {
		return false
	}
	if len(r.view.chain) == 1 {
		return true
	}
	former := r.view.at(1)
	return former.img.footer.ID == id && r.shared[0] == former.number // and none whose other identity was ignored
}

// run copies what differs, and names the new parent.
func (r *rebase) run(ctx context.Context) error {
	if err := r.disk.sync(); err != nil { // most of what there is to be made durable, while writes go on
		return err
	}
	if err := r.below.syncFrom(0); err != nil { // what is the same there is not copied
		return err
	}
	if r.needsCopy() {
		if err := r.watch(); err != nil {
			return err
		}
		defer r.unwatch()
		r.buf, r.other = make([]byte, bulkBuffer), make([]byte, bulkBuffer)
		if err := r.checkRoom(ctx); err != nil {
			return err
		}
		if err := r.copyAll(ctx); err != nil {
			return err
		}
		if err := r.disk.sync(); err != nil {
			return err
		}
	}
	if err := r.change(); err != nil {
		return err
	}
	r.progress(r.view.size)
	return nil
}

func (r *rebase) progress(done int64) {
	if r.opts.Progress != nil {
		r.opts.Progress(done, r.view.size)
	}
}

// goesOn is why nothing more can be done. The disk's lock is held.
func (r *rebase) goesOn() error {
	if err := r.disk.usable(); err != nil {
		return err
	}
	if v := r.disk.view(); v.leaf != r.view.leaf || v.size != r.view.size || !slices.Equal(v.chain, r.view.chain) {
		return errChainChanged
	}
	return nil
}

// watch has the leaf note which blocks may lose sectors behind our back.
func (r *rebase) watch() error {
	d := r.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := r.goesOn(); err != nil {
		return err
	}
	r.view.leaf.shrunk = map[int64]bool{}
	return nil
}

func (r *rebase) unwatch() {
	r.disk.mu.Lock()
	defer r.disk.mu.Unlock()
	r.view.leaf.shrunk = nil
}

// checkRoom is why the sectors that are to be copied find no room, as far as can be told
// beforehand. What is elsewhere with the new parents may be the same there, and that is
// looked at only if there is not room for all of it.
func (r *rebase) checkRoom(ctx context.Context) error {
	if _, ok := r.disk.opts.files().(spacer); !ok {
		return nil
	}
	err := r.count(ctx, func(int64) {}, func(room *roomNeeded, window int64) error {
		return r.eachElsewhere(window, func(_, _ *blockMap, sector, n int64) error {
			room.add(sector*SectorSize, n*SectorSize)
			return nil
		})
	})
	if !errors.Is(err, ErrNoSpace) {
		return err
	}
	return r.count(ctx, func(int64) {}, func(room *roomNeeded, window int64) error {
		return r.eachDiffering(window, func(p []byte, sector int64) error {
			room.add(sector*SectorSize, int64(len(p)))
			return nil
		})
	})
}

// count has one count what each window needs, which is told before, and is why there is not room for that.
func (r *rebase) count(ctx context.Context, told func(done int64), one func(room *roomNeeded, window int64) error) error {
	room := roomNeeded{disk: r.disk}
	if err := r.eachWindow(ctx, told, func(window int64) error { return one(&room, window) }); err != nil {
		return err
	}
	r.disk.mu.RLock()
	defer r.disk.mu.RUnlock()
	return room.check()
}

// eachWindow calls do for all windows, with the disk's lock held, shared, and told
// before each, without it.
func (r *rebase) eachWindow(ctx context.Context, told func(done int64), do func(window int64) error) error {
	for window := int64(0); window*windowSize < r.view.size; window++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		told(window * windowSize)
		if err := r.inWindow(window, do); err != nil {
			return err
		}
	}
	return nil
}

func (r *rebase) inWindow(window int64, do func(window int64) error) error {
	r.disk.mu.RLock()
	defer r.disk.mu.RUnlock()
	if err := r.goesOn(); err != nil {
		return err
	}
	return do(window)
}

// copyAll copies to the leaf all sectors that read otherwise with the new parents. It
// goes through the disk once, and then, as often as is worth it, through what may
// have changed meanwhile.
func (r *rebase) copyAll(ctx context.Context) error {
	windows := (r.view.size + windowSize - 1) / windowSize
	for window := range windows {
		if err := r.copyNext(ctx, window); err != nil {
			return err
		}
		if window+1 < windows {
			r.progress((window + 1) * windowSize)
		}
	}
	const rounds, few = 4, 64
	for range rounds {
		again := r.takeShrunk()
		if len(again) <= few {
			return r.putBack(again)
		}
		for _, window := range again {
			if err := r.copyNext(ctx, window); err != nil {
				return err
			}
		}
	}
	return nil // the rest is done while everybody waits
}

// copyNext copies the sectors of one window. Others may write in between.
func (r *rebase) copyNext(ctx context.Context, window int64) error {
	d := r.disk
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := d.flushIfLarge(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := r.goesOn(); err != nil {
		return err
	}
	return r.copyWindow(window)
}

// takeShrunk returns the windows of the blocks that may have lost sectors, in
// order, and forgets them.
func (r *rebase) takeShrunk() []int64 {
	r.disk.mu.Lock()
	defer r.disk.mu.Unlock()
	return r.windowsOfShrunk()
}

// windowsOfShrunk is takeShrunk for who holds the disk's lock.
func (r *rebase) windowsOfShrunk() []int64 {
	w := r.view.leaf
	var windows []int64
	size := w.img.header.BlockSize
	for block := range w.shrunk {
		first, end := block*size, min((block+1)*size, r.view.size)
		for window := first / windowSize; window*windowSize < end; window++ {
			windows = append(windows, window)
		}
	}
	clear(w.shrunk)
	slices.Sort(windows)
	return slices.Compact(windows)
}

// putBack leaves windows to the last round.
func (r *rebase) putBack(windows []int64) error {
	r.disk.mu.Lock()
	defer r.disk.mu.Unlock()
	if err := r.goesOn(); err != nil {
		return err
	}
	w := r.view.leaf
	for _, window := range windows {
		size := w.img.header.BlockSize
		end := min((window+1)*windowSize, r.view.size)
		for block := window * windowSize / size; block*size < end; block++ {
			w.shrunk[block] = true
		}
	}
	return nil
}

// copyWindow copies the sectors of a window that the leaf does not hold and that read
// otherwise with the new parents. The disk's lock is held.
func (r *rebase) copyWindow(window int64) error {
	defer r.disk.publishChanges()
	return r.eachDiffering(window, func(p []byte, sector int64) error {
		r.copied = true
		_, err := r.disk.writeWhole(content{p: p}, sector)
		return err
	})
}

// eachDiffering calls do for the sectors of a window that the leaf does not hold and that
// read otherwise with the new parents, with what they hold.
func (r *rebase) eachDiffering(window int64, do func(p []byte, sector int64) error) error {
	return r.eachElsewhere(window, func(before, after *blockMap, sector, n int64) error {
		p, q := r.buf[:n*SectorSize], r.other[:n*SectorSize]
		if err := r.disk.readMapped(before, p, sector); err != nil {
			return err
		}
		if err := r.below.readMapped(after, q, sector); err != nil {
			return err
		}
		for from, to := range runsOf(false, p, q) {
			if err := do(p[from:to], sector+int64(from/SectorSize)); err != nil {
				return err
			}
		}
		return nil
	})
}

// eachElsewhere calls do for the sectors of a window that the leaf does not hold and that
// come from elsewhere with the new parents, as many at once as the buffers take.
func (r *rebase) eachElsewhere(window int64, do func(before, after *blockMap, sector, n int64) error) error {
	v := r.disk.view()
	before, _ := r.before.build(v, window, 0)
	after, _ := r.after.build(r.under, window, 0)
	leaf := v.top().number
	first := window * windowSectors
	end := min(first+windowSectors, r.view.size/SectorSize)
	for sector := first; sector < end; {
		was, n := before.from(sector)
		is, m := after.from(sector)
		n = min(n, m, end-sector, bulkBuffer/SectorSize)
		if was.layer != leaf && !r.isSame(was, is) {
			if err := do(before, after, sector, n); err != nil {
				return err
			}
		}
		sector += n
	}
	return nil
}

// isSame says whether sectors are the same before and after, without a look at
// them.
func (r *rebase) isSame(was, is mapExtent) bool {
	switch {
	case was.layer == hole && is.layer == hole:
		return true
	case was.layer < 0 || is.layer < 0:
		return false
	}
	return r.shared[is.layer] == was.layer && was.off == is.off
}

// readMapped reads sectors of one window as a map has them.
func (d *Disk) readMapped(m *blockMap, p []byte, sector int64) error {
	t := transfer{disk: d, content: content{p: p}}
	if _, err := t.add(m, 0, int(sector%windowSectors)*SectorSize); err != nil {
		return err
	}
	_, err := t.finish()
	return err
}

// change names the new parent in the leaf, and puts the new chain in place of the
// old one. What was copied is durable before the header says so.
func (r *rebase) change() error { return r.disk.alone(r.changeAlone) }

func (r *rebase) changeAlone() error {
	if err := r.goesOn(); err != nil {
		return err
	}
	for _, window := range r.windowsOfShrunk() { // if sectors are copied at all
		if err := r.copyWindow(window); err != nil {
			return err
		}
	}
	giveTimeBack, err := r.keepTime()
	if err != nil {
		return err
	}
	c, err := r.disk.newHeaderChange()
	if err == nil {
		err = c.changeParent(r.ref)
	}
	if err != nil {
		return err
	}
	r.replaceChain()
	return giveTimeBack()
}

// keepTime is keepLeafTime, if nothing but what the leaf says of its parent is about to change.
func (r *rebase) keepTime() (giveBack func() error, err error) {
	if r.copied || r.opts.Unsafe && !r.isSameParent() {
		return func() error { return nil }, nil
	}
	return r.disk.keepLeafTime()
}

// replaceChain makes the disk read from the new parents. Who reads through a map from
// before, perhaps from a file that is closed by now, reads again.
func (r *rebase) replaceChain() {
	d := r.disk
	before := d.view()
	after := *before
	after.layers = slices.Clone(before.layers)
	numbers := []int32{before.chain[0]}
	for _, link := range r.parents.chain.links {
		l := newLayer(len(after.layers), link.img, link.file, d.cache)
		l.abs = link.abs
		l.hideFooter()
		after.layers, numbers = append(after.layers, l), append(numbers, l.number)
	}
	after.setChain(numbers)
	after.windows, after.parentErr = newWindowTable(after.size), nil
	d.current.Store(&after)
	d.reuses.Add(1)
	for depth := 1; depth < len(before.chain); depth++ {
		_ = closeFile(before.at(depth).file) // it was only read
	}
}

// close closes the new parents of a rebase that failed.
func (r *rebase) close() { r.parents.chain.close() }
