package vhd

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

// MergeOptions say how images of a chain are merged.
type MergeOptions struct {
	// Output is the name of a new image that takes the result, and the chain stays as
	// it is. Empty: Chain()[into] takes it.
	Output string

	// Force merges although other images in the same directories have one of the
	// merged ones as their parent, or may have. They can't be opened any more then.
	Force bool

	// DryRun does nothing but look whether a merge would be begun. The disk may be
	// open for reading only. That others have an image open, or that it may not be written, does not show.
	DryRun bool

	// Progress, if it is set, is told now and then how many bytes of the disk are
	// done, one call at a time, by whatever goroutine. It holds up the merge while it
	// runs, and must not change the chain.
	Progress func(done, total int64)
}

// Merge folds the images Chain()[from] to Chain()[into-1] into Chain()[into], which
// is to hold what all of them did, and removes their files. Of each sector only the
// topmost copy is written. The depths in Chain of the images below become smaller by
// into - from. The disk reads as before, and others may read and write it
// meanwhile. If from is 0, Chain()[into] becomes the leaf, which is written to from
// then on, and the file of the former leaf goes. Where that has another name it does
// not open any more: ErrParentMismatch. Who writes waits while what was written last is
// copied, which is little unless more was written at a time than could be copied.
//
// Chain()[into] gets the size of Chain()[from]. Unless from is not 0 and nothing at all is to
// be written to it, it and the images between the two get new identifiers: what else is their
// child then fails to open instead of reading nonsense. So all from Chain()[from] on have to be
// writable then, and the image above it always.
// For such children, and those of Chain()[from], the
// directories that the images are in are searched first; if there are any, and
// Force is not set, nothing is changed, and the error matches ErrOtherChildren.
//
// When the program or the machine ends at any moment, the disk reads as before. Merging
// again then does the rest; as long as Chain()[from] is in the chain, that is all to be
// done. After it has left, files may be left that nothing leads to, and the image that has
// another parent since may need recovery, which Repair does. Such files don't open any
// more, ErrParentMismatch, and are in no other merge's way, unless it ended right when
// Chain()[from] left: then the next one takes the lowest of them for another child. The end
// of ctx ends it between two pieces, with ctx's error, and leaves valid images, as any
// other error does. What was written to Chain()[into] does not show in Chain()[from] and those
// above it; but who opens Chain()[into] itself, or an image between the two, reads a part of what
// is merged until it is done. If the files of merged
// images can't be removed, the merge is done all the same, and the error says so.
//
// With Output, a new image is made there, whole or not at all, that holds what the images
// Chain()[from] to Chain()[into] do: of the type and the block size of Chain()[into],
// and with its parent. Who may not read all of their files may not read the new one. If
// from is 0, what is written to the disk meanwhile may or may not show in it: as that of an
// Export, its content is that of no one moment.
//
// From must be less than into, and both be in the chain, else the error is
// [fs.ErrInvalid]. A disk that is not open for writing is ErrReadOnly. That others have an
// image open that must be written is ErrLocked, that the file system has too little room for what
// is to be written, where it can tell, ErrNoSpace. Of images that OpenChain got, only
// Output is possible: else it is ErrUnsupported, as are images with a saved state whose
// size has to change.
func (d *Disk) Merge(ctx context.Context, from, into int, opts MergeOptions) error {
	end, err := d.beginChange(ctx) // what a merge writes to images meanwhile must not show in a new one
	if err != nil {
		return err
	}
	defer end()
	v := d.view()
	if err := d.mayMerge(v, from, into, &opts); err != nil {
		return err
	}
	if opts.Output != "" {
		return d.opError(d.mergeToFile(ctx, v, from, into, &opts))
	}
	m := merge{disk: d, opts: &opts, from: v.chain[from], into: v.chain[into], size: v.at(from).img.footer.CurrentSize}
	return d.opError(m.run(ctx))
}

// mayMerge is why the images can't be merged.
func (d *Disk) mayMerge(v *view, from, into int, opts *MergeOptions) error {
	if err := d.usable(); err != nil {
		return err
	}
	if err := v.checkLevels(from, into); err != nil {
		return d.explain(err)
	}
	switch {
	case opts.Output != "":
		return nil
	case d.syncs == nil && !opts.DryRun:
		return d.explain(ErrReadOnly)
	case d.nameless:
		return d.explain(fmt.Errorf("%w: a merge of images of which nobody knows where they are", ErrUnsupported))
	case len(v.layers) >= maxLayers:
		return d.explain(fmt.Errorf("%w: %d images on one open disk", ErrUnsupported, len(v.layers)))
	}
	return nil
}

// merge is one on its way. Layers are named by their numbers: a Snapshot meanwhile
// changes depths.
//
// While it runs the receiving image is written as the leaf of a disk of its own.
// Nothing of that shows in the disk that is merged, as the images above still hold
// every sector that is written. Only then does the image above them change its
// parent.
type merge struct {
	disk       *Disk
	opts       *MergeOptions
	from, into int32
	size       int64 // of the topmost image that is merged, which may be larger than the disk
	receiver   *lowerWriter
	blocks     int64       // that come to the receiving image's file
	modified   time.Time   // when the receiving image was written to last, before
	mixed      bool        // images between may read as what never was
	writes     *writeMarks // if from is the leaf, what is written to it meanwhile
}

func (m *merge) run(ctx context.Context) error {
	if err := m.refuseOtherChildren(ctx); err != nil {
		return err
	}
	if m.opts.DryRun {
		return m.look(ctx)
	}
	if err := m.openReceiver(); err != nil {
		return err
	}
	err := m.fill(ctx)
	if err == nil && m.depthOf(m.from) == 0 {
		var done bool
		var merged []*layer
		if merged, done, err = m.handOver(ctx); done {
			return joined(err, m.remove(merged))
		}
	}
	if err == nil && m.writes != nil { // a snapshot has frozen the leaf meanwhile
		err = m.catchUp(ctx, m.copyWindow)
	}
	return m.leave(err)
}

// leave makes the receiving image, unless what came before it failed, the parent of the
// image above the merged ones, and removes their files.
func (m *merge) leave(err error) error {
	var merged []*layer
	var recorded time.Time
	if err == nil {
		err = m.receiver.finish()
	}
	if err == nil {
		merged, recorded, err = m.relink()
	}
	if merged != nil && m.disk.usable() == nil {
		err = joined(err, m.renewReceiver()) // which none of the merged images names then, wherever its file lives on
	}
	err = joined(err, m.closeReceiver())
	switch {
	case merged != nil:
		m.disk.setModified(m.disk.served(m.into), recorded)
	case !m.mixed: // the one image that can name it reads as before, and remembers this
		m.disk.setModified(m.disk.served(m.into), m.modified)
	}
	return joined(err, m.remove(merged))
}

// depthOf is where a layer is in the chain by now.
func (m *merge) depthOf(number int32) int { return m.disk.view().depths[number] }

// openReceiver opens the receiving image for writing.
func (m *merge) openReceiver() (err error) {
	d := m.disk
	d.depths.Lock()
	defer d.depths.Unlock()
	info, err := d.served(m.into).file.Stat()
	if err != nil {
		return inFile(d.served(m.into).img.name, err)
	}
	m.modified = info.ModTime()
	if m.receiver, err = d.openLower(m.depthOf(m.into)); err != nil {
		return err
	}
	if err := m.receive(); err != nil { // whose file may end elsewhere, if it needed recovery
		return joined(err, m.closeReceiver())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if m.depthOf(m.from) == 0 {
		m.writes = newWriteMarks(d.Size())
		m.writes.keepZeros = true
		d.marks.Store(m.writes)
	}
	return nil
}

// receive makes the disk read the receiving image as its file has it by now, and as one
// that is being written.
func (m *merge) receive() error {
	d := m.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	l, err := d.served(m.into).reread(int(m.into), d.cache)
	if err != nil {
		return err
	}
	l.receiving = true
	d.replaceLayer(l)
	return nil
}

// closeReceiver ends the writing of the receiving image, and makes the disk read it
// as it is by now.
func (m *merge) closeReceiver() error {
	m.disk.marks.Store(nil)
	return joined(m.receiver.close(), m.disk.rereadLayer(m.into))
}

// fill writes to the receiving image what it is to hold.
func (m *merge) fill(ctx context.Context) error {
	n, err := m.plan(ctx)
	if err != nil {
		return err
	}
	resized := m.size != m.receiver.Size()
	changes := n > 0 || resized || m.writes != nil // what is written to the leaf meanwhile comes too
	if err := m.check(changes); err != nil {
		return err
	}
	if changes {
		err = m.renewAll()
	}
	if err == nil && resized {
		err = m.resize(ctx)
	}
	if err == nil && n > 0 {
		err = m.copy(ctx)
	}
	if err == nil {
		err = m.receiver.Sync()
	}
	if err == nil && n == 0 && m.opts.Progress != nil { // else copy has told
		m.opts.Progress(m.size, m.size)
	}
	return err
}

// look is why the merge would not be begun, as far as that shows without opening an image
// for writing.
func (m *merge) look(ctx context.Context) error {
	v := m.disk.view()
	receiver, err := m.disk.lookAt(v, v.depths[m.into])
	if err != nil {
		return err
	}
	m.receiver = &lowerWriter{Disk: receiver, upper: m.disk, layer: v.layers[m.into]}
	if _, err := m.plan(ctx); err != nil {
		return err
	}
	return m.check(true)
}

// check is why the merge could not come to its end: better now than when all is copied. Changes
// says that the receiving image will read as something else.
func (m *merge) check(changes bool) error {
	d := m.disk
	r := &resizing{disk: m.receiver.Disk, from: m.receiver.Size(), to: m.size}
	if r.from != r.to {
		if err := r.check(); err != nil {
			return m.receiver.explain(err)
		}
	}
	d.depths.Lock()
	defer d.depths.Unlock()
	v := d.view()
	if depth := v.depths[m.from] - 1; depth >= 0 { // of the image that will name the receiving one
		p, err := d.asParentOf(d.fileName(v.at(depth)), v.layers[m.into])
		if err == nil {
			err = v.at(depth).mayName(p)
		}
		if err != nil {
			return err
		}
	}
	last := m.depthOf(m.from) - 1
	if changes {
		last = m.depthOf(m.into) - 1
	}
	return m.checkWritable(last)
}

// checkWritable is why the images can't be written that have to be, from the one above the merged ones
// down to a depth: others may have them open. The lock of depths is held.
func (m *merge) checkWritable(last int) error {
	if m.opts.DryRun {
		return nil
	}
	d := m.disk
	for depth := max(m.depthOf(m.from)-1, 1); depth <= last; depth++ {
		if err := d.changeLower(depth, func(*lowerWriter) error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

// renewAll gives new identifiers to the receiving image and to those between it and the
// topmost one that is merged. With what is written from now on they read as something else,
// but for who comes from that one: their other children are not to find them any more.
func (m *merge) renewAll() error {
	d := m.disk
	d.depths.Lock()
	defer d.depths.Unlock()
	for _, number := range m.between() {
		renew := func(w *lowerWriter) error { return m.renew(number, w) }
		if err := d.changeLower(m.depthOf(number), renew); err != nil {
			return err
		}
	}
	err := m.renew(m.into, m.receiver)
	m.mixed = err == nil && len(m.between()) > 0
	return err
}

// renewReceiver is the same for the receiving image alone.
func (m *merge) renewReceiver() error {
	m.disk.depths.Lock()
	defer m.disk.depths.Unlock()
	return m.renew(m.into, m.receiver)
}

// between are the images between the topmost one that is merged and the receiving one.
func (m *merge) between() []int32 {
	v := m.disk.view()
	return v.chain[v.depths[m.from]+1 : v.depths[m.into]]
}

// renew gives an image that is open for writing a new identifier. The image above it, which
// has to name it, has two headers meanwhile, of which one names the old and one the
// new one (see twin): so at no moment is it without a parent. The lock of depths is held.
func (m *merge) renew(number int32, w *lowerWriter) error {
	id, err := uuid.NewRandom()
	if err != nil {
		return err
	}
	return m.changeAbove(number, func(c *headerChange) error {
		c.header.ParentID = id
		if err := c.show(); err != nil {
			return err
		}
		if err := w.setID(id); err != nil {
			return c.disk.breakDown(err) // which of the two headers is right has to be found out
		}
		return c.finish()
	})
}

// changeAbove lets do change the header of the image right above a layer: of the leaf, or
// of one that is opened for writing meanwhile. The lock of depths is held.
func (m *merge) changeAbove(number int32, do func(c *headerChange) error) error {
	d := m.disk
	depth := m.depthOf(number) - 1
	if depth == 0 {
		return d.changeHeader(do)
	}
	return d.changeLower(depth, func(w *lowerWriter) error { return w.changeHeader(do) })
}

// resize gives the receiving image the size of the topmost one that is merged. What
// is cut off, or becomes zeros, does not show: that one ends there too. The BAT may be
// elsewhere then.
func (m *merge) resize(ctx context.Context) error {
	err := m.receiver.setSize(ctx, m.size, ResizeOptions{AllowLoss: true})
	if err != nil {
		return err
	}
	return m.receive()
}

// relink makes the receiving image, which is complete, the parent of the image
// above the merged ones, and takes these out of the chain: then it returns them, and when
// by that image the receiving one was written to last. Once the file says so, nothing
// stands in the way of that.
func (m *merge) relink() (merged []*layer, recorded time.Time, err error) {
	d := m.disk
	d.depths.Lock()
	defer d.depths.Unlock()
	v := d.view()
	receiver, err := v.layers[m.into].reread(len(v.layers), d.cache)
	if err != nil {
		return nil, recorded, inFile(v.layers[m.into].img.name, err)
	}
	child := v.at(m.depthOf(m.from) - 1)
	p, err := d.asParentOf(d.fileName(child), receiver)
	if err != nil {
		return nil, recorded, err
	}
	var done bool
	err = m.changeAbove(m.from, func(c *headerChange) error {
		err := c.changeParent(p)
		done = err == nil
		return err
	})
	if !done {
		return nil, recorded, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	v = d.view()
	merged = d.replaceLayers(v.depths[m.from], v.depths[m.into], receiver, v.leaf)
	m.into = receiver.number
	return merged, p.modified, err
}

// remove removes the files of images that have left the chain, which is what merging
// them ends with.
func (m *merge) remove(merged []*layer) error {
	var err error
	for _, l := range merged {
		err = joined(err, inFile(l.img.name, m.disk.removeFile(l)))
	}
	return err
}

// handOver makes the receiving image, which all but what was written last is in, the
// leaf. It returns the other images that were merged, and whether it is done: a
// snapshot may have frozen the leaf.
func (m *merge) handOver(ctx context.Context) (merged []*layer, done bool, err error) {
	for n := 0; n < maxCatchUps && m.writes.count() > fewWindows; n++ {
		if err := m.catchUp(ctx, m.copyWindow); err != nil {
			return nil, false, err
		}
	}
	return m.becomeLeaf(ctx)
}

const (
	// fewWindows are copied while all who write wait.
	fewWindows = 16
	// maxCatchUps is how often all that was written meanwhile is copied while others write.
	// If they write faster than that, all that is left then is copied while they wait.
	maxCatchUps = 8
)

// catchUp copies the windows that were written to meanwhile.
func (m *merge) catchUp(ctx context.Context, copyWindow func(buf []byte, off, n int64) error) error {
	buf := make([]byte, bulkBuffer)
	for _, window := range m.writes.take() {
		if err := ctx.Err(); err != nil {
			return err
		}
		off := window * windowSize
		if err := copyWindow(buf, off, min(windowSize, m.size-off)); err != nil {
			return err
		}
	}
	return nil
}

// becomeLeaf is the end of handOver, while nobody writes. Done says that the receiving
// image is the leaf.
func (m *merge) becomeLeaf(ctx context.Context) (merged []*layer, done bool, err error) {
	err = m.disk.alone(func() error {
		if m.depthOf(m.from) != 0 {
			return nil
		}
		l, w, err := m.prepareLeaf(ctx)
		if err == nil {
			merged, done, err = m.takeOver(l, w)
		}
		return err
	})
	return merged, done, err
}

// prepareLeaf makes the receiving image whole, and what the disk is to know of it as its
// leaf; w is of a disk with blocks what a writer knows.
func (m *merge) prepareLeaf(ctx context.Context) (l *layer, w *leaf, err error) {
	d := m.disk
	if err := d.flush(heldLock{}); err != nil {
		return nil, nil, err
	}
	if err := m.catchUp(ctx, m.copyWindowHeld); err != nil {
		return nil, nil, err
	}
	if err := m.receiver.finish(); err != nil {
		return nil, nil, err
	}
	v := d.view()
	if l, err = m.receiver.view().top().reread(len(v.layers), d.cache); err != nil {
		return nil, nil, err
	}
	l.abs = v.layers[m.into].abs
	if l.table != nil {
		w, err = newLeaf(l)
	}
	return l, w, err
}

// takeOver puts the receiving image in place of the leaf. The file of the former one is
// gone before anybody writes again: it would hide what is written then. Where it lives on
// by another name, and what else is left of the merged images, finds no parent any more,
// since that has one more identifier by then.
func (m *merge) takeOver(l *layer, w *leaf) (merged []*layer, done bool, err error) {
	d := m.disk
	v := d.view()
	leaf, err := d.placeOfLeaf()
	if err != nil {
		return nil, false, err
	}
	if removesOpenFiles {
		if err := d.removeLeaf(leaf); err != nil {
			return nil, false, err
		}
	}
	merged = d.replaceLayers(0, v.depths[m.into], l, w)
	d.syncs.guard(l.file)
	d.marks.Store(nil)
	former := v.layers[m.into].file // only read through, and unlocked since the receiver was opened
	err = joined(closeFile(v.top().file), former.Close())
	if !removesOpenFiles {
		if removeErr := d.removeLeaf(leaf); removeErr != nil {
			err = joined(err, d.breakDown(removeErr)) // it would hide what is written from now on
		}
	}
	if d.usable() == nil {
		err = joined(err, d.renewID())
	}
	return slices.Delete(merged, 0, 1), true, err
}
