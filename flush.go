package vhd

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
)

// barrier is the one way to the file's fsync. After one that failed there is
// no other: the kernel may have dropped what it could not write, and would say
// that all is well (W11).
type barrier struct {
	file   File
	broken atomic.Pointer[error]
	onFail func(cause error) error

	fsyncMu sync.Mutex // one at a time, so that a failure is seen by who comes next

	// Syncs are one at a time, and share: who asks gets a number, and is
	// served by any that began later.
	syncMu    sync.Mutex
	requested atomic.Uint64
	served    uint64
}

// guard makes the barrier that of another file, where nothing waits to be made
// durable. The disk's lock is held exclusively, and syncMu.
func (b *barrier) guard(f File) {
	b.fsyncMu.Lock()
	defer b.fsyncMu.Unlock()
	b.file = f
}

// err is why the barrier can not be passed any more.
func (b *barrier) err() error {
	if err := b.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// fsync makes durable what was written to the file before.
func (b *barrier) fsync() error {
	b.fsyncMu.Lock()
	defer b.fsyncMu.Unlock()
	if err := b.err(); err != nil {
		return err
	}
	if err := b.file.Sync(); err != nil {
		return b.onFail(err)
	}
	return nil
}

// durability is whether what an image holds that nobody here writes to is known to be
// durable.
type durability struct {
	mu    sync.Mutex
	known bool
}

// syncBelow makes durable what the images below the leaf hold, which who drops sectors
// from it, since they are the same there, has to do before: a program that wrote to them,
// as a merge does, may have been killed, and what it wrote be in memory alone.
func (d *Disk) syncBelow() error {
	err := d.syncFrom(1)
	if err != nil && !d.closed.Load() {
		return d.breakDown(err) // what is read of it from now on may be what it was (W11)
	}
	return err
}

// syncFrom makes durable what Chain()[depth] and the images below it hold, each once.
func (d *Disk) syncFrom(depth int) error {
	for v := d.view(); depth < len(v.chain); depth++ {
		if err := d.makeDurable(v.at(depth)); err != nil {
			return err
		}
	}
	return nil
}

func (d *Disk) makeDurable(l *layer) error {
	l.durable.mu.Lock()
	defer l.durable.mu.Unlock()
	if l.durable.known {
		return nil
	}
	err := d.syncLayer(l)
	l.durable.known = err == nil
	return inFile(l.img.name, err)
}

// isRefusal says that a file can't be synced as it is open, for reading, and that nothing is
// known to be lost.
func isRefusal(err error) bool {
	return slices.ContainsFunc([]error{fs.ErrPermission, errors.ErrUnsupported, syscall.EINVAL, ErrReadOnly},
		func(refusal error) bool { return errors.Is(err, refusal) })
}

// sync makes durable what was written before, together with others who ask.
func (d *Disk) sync() error {
	b := d.syncs
	number := b.requested.Add(1)
	b.syncMu.Lock()
	defer b.syncMu.Unlock()
	if b.served >= number {
		return nil
	}
	serves := b.requested.Load()
	err := d.flush(&d.mu)
	if err == nil {
		b.served = serves
	}
	return err
}

// epoch is what the leaf knew at one moment that its file did not.
type epoch struct {
	blocks   []epochBlock // by index
	freed    []int64
	lessFull bool
}

// epochBlock is a block as it was when the epoch was taken: every bit that is
// set stands for data whose write had returned. Compared with what is published
// it is new or elsewhere (moved, off is set), gone (moved, off is 0), or has
// other sectors (not moved).
type epochBlock struct {
	block              *leafBlock
	off                int64
	moved              bool // the BAT has to change
	bitmap             []byte
	dirtyFrom, dirtyTo int64
}

// flush publishes the leaf's state in the order W4:
//
//  1. take the epoch;
//  2. write the bitmaps of new blocks, which nobody can reach yet (W5);
//  3. fsync: all data that the epoch's bits stand for is durable;
//  4. write BAT and bitmaps as they were published, changed by the epoch, and
//     never as they are by now;
//  5. fsync: published.
//
// Without anything new in the tables, one fsync does. mu is the disk's lock, or
// heldLock for who has it.
func (d *Disk) flush(mu sync.Locker) error {
	if d.leaf() == nil {
		return d.syncs.fsync()
	}
	e := d.takeEpoch(mu)
	if err := d.writeUnreachable(e); err != nil {
		d.returnEpoch(mu, e)
		return err
	}
	if err := d.syncs.fsync(); err != nil {
		return err
	}
	if len(e.blocks) > 0 {
		if err := d.writePublished(e); err != nil {
			return d.breakDown(err) // part of it may be on disk (W11)
		}
		if err := d.syncs.fsync(); err != nil {
			return err
		}
	}
	d.publishEpoch(mu, e)
	return nil
}

func (d *Disk) takeEpoch(mu sync.Locker) *epoch {
	mu.Lock()
	defer mu.Unlock()
	w := d.leaf()
	e := &epoch{freed: w.freed, lessFull: w.lessFull}
	for _, b := range w.dirty {
		e.blocks = append(e.blocks, epochBlock{
			block: b, off: b.off, moved: b.off != b.published, bitmap: slices.Clone(b.bitmap),
			dirtyFrom: b.dirtyFrom, dirtyTo: b.dirtyTo,
		})
		b.dirtyFrom, b.dirtyTo, b.flushing = 0, 0, true
	}
	slices.SortFunc(e.blocks, func(x, y epochBlock) int { return cmp.Compare(x.block.index, y.block.index) })
	clear(w.dirty)
	w.dirtyCost, w.freed, w.lessFull, w.nflushing = 0, nil, false, len(e.blocks)
	return e
}

// returnEpoch makes an epoch that did not get anywhere part of the next one.
func (d *Disk) returnEpoch(mu sync.Locker, e *epoch) {
	mu.Lock()
	defer mu.Unlock()
	w := d.leaf()
	for _, b := range e.blocks {
		b.block.flushing = false
		w.markDirty(b.block, b.dirtyFrom*bitsPerSector, (b.dirtyTo-b.dirtyFrom)*bitsPerSector)
	}
	w.freed, w.lessFull, w.nflushing = append(w.freed, e.freed...), w.lessFull || e.lessFull, 0
}

// publishEpoch notes that the file says what the epoch does. Blocks that it
// freed may be used again (W6): readers whose map is older have to look twice.
func (d *Disk) publishEpoch(mu sync.Locker, e *epoch) {
	mu.Lock()
	defer mu.Unlock()
	w := d.leaf()
	for _, b := range e.blocks {
		b.block.published = b.off
		b.block.flushing = false
		if b.moved {
			w.table.forget(b.block.index)
		}
	}
	w.nflushing = 0
	w.trimClean()
	if len(e.freed) == 0 {
		return
	}
	d.reuses.Add(1)
	for _, off := range e.freed {
		punch(w.file, off, w.img.blockBytes())
		w.release(off)
	}
}

// writeUnreachable writes the whole bitmap areas of new blocks. Nothing that
// stood there before can be taken for a bitmap. Nor does Xen's batmap call a block
// full that is not any more.
func (d *Disk) writeUnreachable(e *epoch) error {
	w := d.leaf()
	for _, b := range e.blocks {
		if !b.moved || b.off == 0 {
			continue
		}
		area := make([]byte, w.img.bitmapArea)
		copy(area, b.bitmap)
		if _, err := writeFull(w.file, area, b.off); err != nil {
			return inFile(w.img.name, inPart("sector bitmap", b.off, err))
		}
	}
	if e.lessFull {
		return d.clearBatmap()
	}
	return nil
}

// writePublished writes the bitmaps of blocks that the BAT knows already, and
// the BAT.
func (d *Disk) writePublished(e *epoch) error {
	w := d.leaf()
	var moved []epochBlock
	for _, b := range e.blocks {
		if b.moved {
			moved = append(moved, b)
			continue
		}
		if b.off == 0 { // came and went between two syncs
			continue
		}
		area := make([]byte, (b.dirtyTo-b.dirtyFrom)*SectorSize)
		copy(area, b.bitmap[b.dirtyFrom*SectorSize:])
		if _, err := writeFull(w.file, area, b.off+b.dirtyFrom*SectorSize); err != nil {
			return inPart("sector bitmap", b.off, err)
		}
	}
	for len(moved) > 0 {
		n, err := d.writeBATSectors(moved)
		if err != nil {
			return err
		}
		moved = moved[n:]
	}
	return nil
}

// writeBATSectors writes, as whole sectors (W12), a run of the BAT that has the
// first of blocks, and says how many it has.
func (d *Disk) writeBATSectors(blocks []epochBlock) (n int, err error) {
	const maxSectors = 128
	first := blocks[0].block.index / batEntriesPerSector
	end := first + 1
	for n < len(blocks) {
		sector := blocks[n].block.index / batEntriesPerSector
		if sector > end || sector >= first+maxSectors {
			break
		}
		end = sector + 1
		n++
	}
	raw := make([]byte, (end-first)*SectorSize)
	off := d.leaf().table.off + first*SectorSize
	if err := readFull(d.leaf().file, raw, off); err != nil {
		return 0, inPart("BAT", off, err)
	}
	for _, b := range blocks[:n] {
		entry := noBlock
		if b.off != 0 {
			entry = batEntryAt(b.off)
		}
		putBATEntry(raw, b.block.index-first*batEntriesPerSector, entry)
	}
	_, err = writeFull(d.leaf().file, raw, off)
	return n, inPart("BAT", off, err)
}

// alone lets do work while nobody else reads or writes tables, or syncs, unless the disk
// can't be used by now.
func (d *Disk) alone(do func() error) error {
	d.syncs.syncMu.Lock()
	defer d.syncs.syncMu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	return do()
}

// finish syncs a disk that is being closed, and gives back what was kept for
// growth.
func (d *Disk) finish() error {
	d.syncs.syncMu.Lock()
	defer d.syncs.syncMu.Unlock()
	d.mu.Lock() // once those who are writing are done; who comes later finds the disk closed
	defer d.mu.Unlock()
	if err := d.syncs.err(); err != nil {
		return err
	}
	return d.settle()
}

// settle makes the leaf's file what it is when nobody writes to it any more, for
// who holds the locks of syncs and of the disk.
func (d *Disk) settle() error {
	if err := d.flush(heldLock{}); err != nil || d.leaf() == nil {
		return err
	}
	d.giveBackReserved()
	return inFile(d.leaf().img.name, d.trim())
}

// heldLock stands for a lock that is held already.
type heldLock struct{}

func (heldLock) Lock()   {}
func (heldLock) Unlock() {}
