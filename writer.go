package vhd

import (
	"errors"

	"github.com/google/uuid"
)

// lowerWriter writes an image of the chain that is not the leaf, as the leaf of a
// disk of its own, for those who change the chain. The disk from which it was taken
// goes on reading the image meanwhile: what is written must not show in it.
type lowerWriter struct {
	*Disk
	upper *Disk
	layer *layer // of upper
}

// errLowerBroken is ErrBroken of a lowerWriter. The disk from which it was taken is
// not broken.
var errLowerBroken = errors.New("what was written to it may be lost")

// openLower opens Chain()[depth] for writing. Who has it open for reading too, but for
// this disk, makes that ErrLocked.
func (d *Disk) openLower(depth int) (*lowerWriter, error) {
	v := d.view()
	l := v.at(depth)
	opts := d.opts
	opts.Writable, opts.NoParents = true, v.parentErr != nil
	mode := opts.Lock
	if mode != LockNone {
		unlockFile(l.file) // which would keep our own writer out
	}
	disk, err := v.writerOf(depth, &opts)
	if err != nil {
		if lockErr := mode.lock(l.file, false); lockErr != nil {
			err = d.breakDown(joined(err, lockErr)) // somebody may be writing to it
		}
		return nil, inFile(l.img.name, err)
	}
	disk.lower = true
	return &lowerWriter{disk, d, l}, nil
}

// changeLower opens Chain()[depth] for writing and lets do change its structures. The disk
// in it stays the same, so its file keeps its time, lest its children be taken for worthless.
func (d *Disk) changeLower(depth int, do func(w *lowerWriter) error) error {
	l := d.view().at(depth)
	info, err := l.file.Stat()
	if err != nil {
		return inFile(l.img.name, err)
	}
	w, err := d.openLower(depth)
	if err != nil {
		return err
	}
	err = joined(joined(do(w), w.close()), d.rereadLayer(l.number))
	d.setModified(l, info.ModTime())
	return err
}

// writerOf is a disk of the images from Chain()[depth] on, of which it writes the
// first.
func (v *view) writerOf(depth int, opts *Options) (*Disk, error) {
	c := chain{opts: opts}
	l := v.at(depth)
	leaf, err := c.openLeaf(opts.nameOf(l.img, l.abs))
	if err != nil {
		return nil, err
	}
	leaf.img.name, leaf.abs = l.img.name, l.abs
	if err := v.isSame(l, &leaf); err != nil {
		return nil, joined(err, closeFile(leaf.file))
	}
	c.links = append(c.links, &leaf)
	for below := depth + 1; below < len(v.chain) && err == nil; below++ {
		p := v.at(below)
		err = c.append(&link{img: p.img, file: p.file, abs: p.abs})
	}
	var disk *Disk
	if err == nil {
		disk, err = c.disk()
	}
	if err != nil {
		return nil, joined(err, closeFile(leaf.file))
	}
	return disk, nil
}

// isSame makes sure that what was opened again is the image that the layer is.
func (v *view) isSame(l *layer, again *link) error {
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	if again.img.footer.ID != l.img.footer.ID || areTwoFiles(info, again.info) {
		return errReplaced
	}
	return nil
}

// close makes durable what was written, and leaves the image to the readers: this
// disk again, and others.
func (w *lowerWriter) close() error {
	var err error
	if usable := w.usable(); usable == nil {
		err = w.finish()
	}
	closed := ErrClosed
	w.closed.Store(true)
	w.down.Store(&closed)
	mode := w.opts.Lock
	file := w.view().top().file
	err = joined(err, mode.share(file))
	if lockErr := mode.lock(w.layer.file, false); lockErr != nil && !errors.Is(lockErr, ErrClosed) {
		err = joined(err, w.upper.breakDown(lockErr))
	}
	return inFile(w.layer.img.name, joined(err, closeFile(file)))
}

// setID makes id the image's identifier.
func (w *lowerWriter) setID(id uuid.UUID) error {
	w.syncs.syncMu.Lock()
	defer w.syncs.syncMu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.flush(heldLock{}); err != nil {
		return err
	}
	return w.replaceID(id)
}
