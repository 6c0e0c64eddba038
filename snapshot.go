package vhd

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// Snapshot makes a differencing disk called name on top of the disk's leaf. What
// the disk holds stays in the image that was the leaf, which is not written to
// any more; writes go to the new one from now on, and the depths in Chain grow by
// one. The new image appears under its name whole, or not at all, as with Create, and
// who may not read the leaf's file may not read the new one.
//
// Others may use the disk meanwhile. Writes, and reads of parts of the disk that
// were not read lately, wait while the last of what was written is made durable
// and the new image comes into being.
//
// Of opts, BlockSize, ID, Time and Creator are used. Type may be Differencing or zero;
// Size the disk's or zero; Parent must be empty, as what is below is the disk's
// leaf. FS, Root, Lock and all else that Options has are the disk's own.
//
// After a failure the disk goes on as it was, unless the error matches ErrBroken,
// and there is no new image. A file that has the name already is left alone: the
// error matches [fs.ErrExist]. A disk that is not open for writing has no snapshots:
// ErrReadOnly; nor has one with MaxDepth images: ErrChainTooDeep; nor one opened by
// OpenChain, which does not know where its images are, or larger than
// MaxDynamicSize, or whose leaf's name can't be stored as a Windows path:
// ErrUnsupported. That the file system has too little room for the new image, where it can
// tell, is ErrNoSpace.
func (d *Disk) Snapshot(name string, opts CreateOptions) error {
	if err := d.writable(0, 0); err != nil {
		return err
	}
	s := snapshot{creation: creation{name: name, opts: &opts}, disk: d}
	if err := s.prepare(); err != nil {
		return inFile(name, err)
	}
	if err := d.sync(); err != nil { // most of the work, while writes go on
		return d.opError(err)
	}
	return d.opError(s.take())
}

// PlanSnapshot is why [Disk.Snapshot] would not make the new image, as far as that shows
// beforehand. It changes nothing, and the disk may be open read-only.
func (d *Disk) PlanSnapshot(name string, opts CreateOptions) error {
	if err := d.usable(); err != nil {
		return err
	}
	s := snapshot{creation: creation{name: name, opts: &opts}, disk: d}
	err := s.prepare()
	if err == nil {
		_, err = s.place()
	}
	if err == nil {
		err = s.describeParent()
	}
	if err == nil {
		err = s.checkRoom()
	}
	return d.opError(inFile(name, err))
}

// snapshot is one on its way.
type snapshot struct {
	creation
	disk *Disk
}

// prepare checks what the caller asks for.
func (s *snapshot) prepare() error {
	switch {
	case s.name == "":
		return fmt.Errorf("%w: an image needs a name", fs.ErrInvalid)
	case s.disk.nameless:
		return fmt.Errorf("%w: a snapshot of a disk of which nobody knows where its images are", ErrUnsupported)
	case s.opts.Type != 0 && s.opts.Type != Differencing:
		return fmt.Errorf("%w: a snapshot is a differencing disk, not a %v one", fs.ErrInvalid, s.opts.Type)
	case s.opts.Parent != "":
		return fmt.Errorf("%w: a snapshot's parent is the disk's leaf", fs.ErrInvalid)
	}
	if err := s.fits(); err != nil {
		return err
	}
	s.opts.Options = s.disk.opts
	return s.shape()
}

// shape makes the new image one of the disk's size, as it is by now.
func (s *snapshot) shape() error {
	size := s.disk.view().size
	if s.opts.Size != 0 && s.opts.Size != size {
		return fmt.Errorf("%w: a snapshot of %d bytes of a disk of %d", fs.ErrInvalid, s.opts.Size, size)
	}
	s.image = newImage{diskType: Differencing, size: size, blockSize: s.opts.BlockSize, id: s.opts.ID, time: s.opts.Time, creator: s.opts.Creator}
	if err := s.image.fillIn(); err != nil {
		return err
	}
	return s.image.check()
}

// fits is why the chain can't have one image more.
func (s *snapshot) fits() error {
	v, most := s.disk.view(), s.disk.opts.maxDepth()
	switch {
	case len(v.chain) >= most:
		return fmt.Errorf("%w: more than %d images", ErrChainTooDeep, most)
	case len(v.layers) >= maxLayers:
		return fmt.Errorf("%w: %d images on one open disk", ErrUnsupported, len(v.layers))
	}
	return nil
}

// take freezes the disk, makes the new image and puts it on top.
func (s *snapshot) take() error {
	d := s.disk
	d.depths.Lock()
	defer d.depths.Unlock()
	return d.alone(s.takeAlone)
}

// takeAlone is take while nobody else is at work.
func (s *snapshot) takeAlone() error {
	d := s.disk
	if err := s.fits(); err != nil { // there may have been another snapshot meanwhile
		return inFile(s.name, err)
	}
	if err := s.shape(); err != nil { // or a Resize
		return inFile(s.name, err)
	}
	if err := d.settle(); err != nil {
		return err
	}
	dir, err := s.place()
	if err != nil {
		return inFile(s.name, err)
	}
	if err := s.describeParent(); err != nil {
		return err
	}
	if err := s.publish(dir); err != nil {
		return inFile(s.name, err)
	}
	made, err := s.openMade()
	if errors.Is(err, ErrLocked) { // it is somebody else's by now
		return inFile(s.name, err)
	}
	if err == nil {
		made.abs = dir.abs()
		err = s.putOnTop(made)
	}
	if err != nil {
		err = joined(err, dir.takeBack())
	}
	return inFile(s.name, err)
}

// place is where the new image comes into being.
func (s *snapshot) place() (directory, error) {
	return s.disk.placeOf(s.name, s.disk.view().top())
}

// describeParent notes what the new image records of the leaf, which is not
// written to any more.
func (s *snapshot) describeParent() error {
	leaf := s.disk.view().top()
	s.opts.Parent = leaf.img.name
	info, err := leaf.file.Stat()
	if err != nil {
		return err
	}
	s.image.parent, err = s.newParent(leaf.img.footer.ID, info.ModTime())
	return err
}

// putOnTop makes the new image the leaf.
func (s *snapshot) putOnTop(made link) error {
	d := s.disk
	before := d.view()
	l := newLayer(len(before.layers), made.img, made.file, d.cache)
	l.abs = made.abs
	former := *before.top()
	former.abs = s.parentAbs
	after := &view{size: before.size, windows: before.windows, parentErr: before.parentErr}
	after.layers = append(slices.Clone(before.layers), l)
	after.layers[former.number] = &former
	after.setChain(slices.Insert(slices.Clone(before.chain), 0, l.number))
	if after.windows == nil {
		after.windows = newWindowTable(after.size)
	}
	var err error
	if after.leaf, err = newLeaf(l); err == nil {
		err = s.shareLock(former.file)
	}
	if err != nil {
		return joined(err, closeFile(made.file))
	}
	d.syncs.guard(made.file)
	d.current.Store(after)
	return nil
}

// shareLock makes the lock of the former leaf that of a reader. If it can't, the
// disk has its writer's lock again, or is broken: somebody else may write.
func (s *snapshot) shareLock(f File) error {
	err := s.opts.Lock.share(f)
	if err == nil {
		return nil
	}
	if lockErr := s.opts.Lock.lock(f, true); lockErr != nil {
		return s.disk.breakDown(joined(err, lockErr))
	}
	return err
}
