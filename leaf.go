package vhd

// leaf is what a writer knows of the image that it writes: its blocks as they
// are by now, of which the file may still say less. All of it is guarded by the
// disk's lock, held exclusively to change it.
type leaf struct {
	*layer
	footer []byte // encoded, as it is written at both ends of the file
	space  space

	blocks        map[int64]*leafBlock // those that differ from the file, and some that don't
	dirty         map[int64]*leafBlock // those that differ
	dirtyCost     int64                // bytes of memory that dirty takes
	freed         []int64              // offsets of blocks that the live state has left (W6)
	changes       []mapExtent          // of one window's map, in order; publishChanges publishes them
	changedWindow int64
	shrunk        map[int64]bool // blocks that may have lost sectors since somebody asked; nil: nobody did
	lessFull      bool           // blocks may be full in Xen's batmap that lost sectors since
	nflushing     int            // blocks of an epoch on its way: what it holds is in neither dirty nor the file
}

// leafBlock is one block of the leaf as it is by now.
type leafBlock struct {
	index     int64
	off       int64  // of the bitmap in the file; 0: not allocated
	published int64  // the same, as the BAT on disk has it
	bitmap    []byte // the used bits; nil while the block is not allocated

	// The sectors of the bitmap that differ from the disk: from, to.
	dirtyFrom, dirtyTo int64
	flushing           bool // it is in an epoch on its way
}

const (
	bitsPerSector = SectorSize * 8

	// Of blocks that are as the file says, so much memory's worth are kept.
	maxCleanCost = 4 << 20
	// When the others take more memory than this, they are synced.
	maxDirtyCost = 32 << 20

	leafBlockOverhead = 200 // bytes, with its places in the maps
)

// newLeaf looks where the layer's blocks are, and where others may be put.
func newLeaf(l *layer) (*leaf, error) {
	s, err := l.img.takeInventory()
	if err != nil {
		return nil, err
	}
	if l.img.tableEnd() > l.img.footerOff {
		return nil, l.img.corruptTable()
	}
	return leafWith(l, s)
}

// leafWith is the leaf of a layer in which blocks may be put where s says.
func leafWith(l *layer, s space) (*leaf, error) {
	footer, err := l.img.footer.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return &leaf{layer: l, footer: footer, space: s, blocks: map[int64]*leafBlock{}, dirty: map[int64]*leafBlock{}}, nil
}

// hasParent says whether sectors that the leaf does not have may be elsewhere.
func (w *leaf) hasParent() bool { return w.img.footer.Type == Differencing }

// bits is the bitmap from a sector of the block on, a multiple of 8.
func (b *leafBlock) bits(inBlock int64) []byte {
	if b.off == 0 {
		return nil
	}
	return b.bitmap[inBlock/8:]
}

// block is a block as it is by now, read from the file if need be.
func (w *leaf) block(index int64) (*leafBlock, error) {
	if b := w.blocks[index]; b != nil {
		return b, nil
	}
	b := &leafBlock{index: index}
	e, err := w.table.entry(index)
	if err != nil {
		return nil, inFile(w.img.name, err)
	}
	if e != noBlock {
		off, err := w.img.blockOff(index, e)
		if err != nil {
			return nil, inFile(w.img.name, err)
		}
		b.off, b.published = off, off
		b.bitmap = make([]byte, bitmapBytes(w.img.sectorsPerBlock))
		if err := readFull(w.file, b.bitmap, off); err != nil {
			return nil, inFile(w.img.name, inPart("sector bitmap", off, err))
		}
	}
	w.trimClean()
	w.blocks[index] = b
	return b, nil
}

// has says whether a block is in the leaf by now, whatever the file says. That it
// is not does not mean that the file does not have it.
func (w *leaf) has(block int64) bool {
	b := w.blocks[block]
	return b != nil && b.off != 0
}

// dataOff is where a sector of the block is in the file.
func (w *leaf) dataOff(b *leafBlock, inBlock int64) int64 {
	return b.off + w.img.bitmapArea + inBlock*SectorSize
}

// place puts a block that is not allocated at off. In a child none of its
// sectors is there yet; without a parent all are, and are zeros (W10).
func (w *leaf) place(b *leafBlock, off int64) {
	b.off = off
	b.bitmap = make([]byte, bitmapBytes(w.img.sectorsPerBlock))
	if !w.hasParent() {
		setBits(b.bitmap, 0, w.img.sectorsPerBlock)
	}
	w.space.nallocated++
	w.markDirty(b, 0, w.img.sectorsPerBlock)
}

// set notes that n sectors of the block are there. Their data has been written
// (W2). It says whether that is news.
func (w *leaf) set(b *leafBlock, inBlock, n int64) bool {
	if allSet(b.bitmap, inBlock, n) {
		return false
	}
	setBits(b.bitmap, inBlock, n)
	w.markDirty(b, inBlock, n)
	return true
}

// clear notes that n sectors of the block are not there any more, since they read
// the same without. Until the file says so too, what it has of them may be
// written over, as with sectors that are there (W1).
func (w *leaf) clear(b *leafBlock, inBlock, n int64) {
	clearBits(b.bitmap, inBlock, n)
	w.lessFull = true
	w.markShrunk(b, inBlock, n)
}

// move notes that the block is at off now, where all of its sectors that are there
// were copied to. Nobody gets its former space before the file says so too (W6).
func (w *leaf) move(b *leafBlock, off int64) {
	w.freed = append(w.freed, b.off)
	b.off = off
	w.markShrunk(b, 0, w.img.sectorsPerBlock)
}

// free takes the block's space away. Nobody gets it before the file says so
// too (W6).
func (w *leaf) free(b *leafBlock) {
	w.freed = append(w.freed, b.off)
	b.off, b.bitmap, b.dirtyFrom, b.dirtyTo = 0, nil, 0, 0
	w.lessFull = true
	w.space.nallocated--
	w.markShrunk(b, 0, 0)
}

// markShrunk is markDirty, of a block that may have lost sectors.
func (w *leaf) markShrunk(b *leafBlock, inBlock, n int64) {
	if w.shrunk != nil {
		w.shrunk[b.index] = true
	}
	w.markDirty(b, inBlock, n)
}

// markDirty notes that the block, and the bits of n of its sectors, differ from the
// file.
func (w *leaf) markDirty(b *leafBlock, inBlock, n int64) {
	from, to := inBlock/bitsPerSector, (inBlock+n+bitsPerSector-1)/bitsPerSector
	if b.dirtyFrom < b.dirtyTo {
		from, to = min(from, b.dirtyFrom), max(to, b.dirtyTo)
	}
	b.dirtyFrom, b.dirtyTo = from, to
	if w.dirty[b.index] == nil {
		w.dirty[b.index] = b
		w.dirtyCost += w.blockCost()
	}
}

// trimClean forgets blocks that are as the file says, if there are many.
func (w *leaf) trimClean() {
	most := maxCleanCost/w.blockCost() + int64(len(w.dirty)+w.nflushing)
	for index, b := range w.blocks {
		if int64(len(w.blocks)) <= most {
			return
		}
		if w.dirty[index] == nil && !b.flushing {
			delete(w.blocks, index)
		}
	}
}

// blockCost is the memory that one block takes, bytes.
func (w *leaf) blockCost() int64 { return leafBlockOverhead + bitmapBytes(w.img.sectorsPerBlock) }
