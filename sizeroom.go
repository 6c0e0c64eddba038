package vhd

import (
	"context"
	"fmt"
)

// checkRoom is why there is no room for the larger disk, as far as that is known before
// anything is written. A fixed disk takes none where files have holes, and elsewhere the
// file system tells when the file grows.
func (r *resizing) checkRoom(ctx context.Context) error {
	l := r.disk.view().top()
	if r.to <= r.from || l.table == nil {
		return nil
	}
	nblocks, err := r.blocksOfZeros(ctx)
	if err != nil {
		return err
	}
	table, err := r.tableNeeds()
	if err != nil {
		return err
	}
	return r.disk.opts.checkRoom(r.disk.fileName(l), nblocks*l.zeroBlockNeeds()+table)
}

// zeroBlockNeeds is how many bytes a new block of zeros that are data takes, at the least: of
// its data none, where it can be a hole.
func (l *layer) zeroBlockNeeds() int64 {
	if l.img.header.BlockSize >= punchFrom && mayPunch(l.file, l.img.FileSize()) {
		return l.img.bitmapArea
	}
	return l.img.slotSize()
}

// tableNeeds is how many bytes the file grows by, at the least, for the table of the larger
// disk: none if it might find a place in front of the blocks.
func (r *resizing) tableNeeds() (int64, error) {
	m := r.disk.view().top().img
	nblocks := (r.to + m.header.BlockSize - 1) / m.header.BlockSize
	if nblocks <= int64(m.header.MaxTableEntries) {
		return 0, nil
	}
	offs, err := m.blockOffs()
	if err != nil {
		return 0, err
	}
	front := m.footerOff
	if len(offs) > 0 {
		front = offs[0]
	}
	if n := roundUp(nblocks*batEntrySize, SectorSize); n > front {
		return n, nil
	}
	return 0, nil
}

// blocksOfZeros is how many blocks come to the leaf for zeros that are data, since the
// parent holds something there, and find no place that is free.
func (r *resizing) blocksOfZeros(ctx context.Context) (int64, error) {
	larger := *r.disk.view()
	if len(larger.chain) < 2 {
		return 0, nil
	}
	larger.size = r.to
	blockSize := larger.top().img.header.BlockSize
	nblocks, counted := int64(0), r.firstAbsent(&larger) // blocks, and in front of which all are
	var builder mapBuilder
	end := min(r.to, larger.at(1).img.footer.CurrentSize)
	for off := r.from; off < end; off = (off/windowSize + 1) * windowSize {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		window := off / windowSize
		m, _ := builder.build(&larger, window, 1)
		for i := m.find(int(off%windowSize) / SectorSize); i < m.nextents(); i++ {
			e := m.extent(i)
			if e.layer == hole {
				continue
			}
			first := max(off, window*windowSize+int64(e.start)*SectorSize) / blockSize
			last := (window*windowSize + int64(e.end)*SectorSize - 1) / blockSize
			nblocks += max(0, last+1-max(first, counted))
			counted = max(counted, last+1)
		}
	}
	if w := r.disk.leaf(); w != nil {
		nblocks = max(0, nblocks-int64(len(w.space.freeSlots)))
	}
	return nblocks, nil
}

// firstAbsent is the first block behind the old end that the leaf does not have: the one that
// the end is in may be there.
func (r *resizing) firstAbsent(v *view) int64 {
	blockSize := v.top().img.header.BlockSize
	last := (r.from - 1) / blockSize
	if v.firstBlock(v.chain[0], last, last+1) == last {
		last++
	}
	return last
}

// reserve makes sure, where the file can tell, that there is space for the zeros before any
// is taken.
func (g *growth) reserve(ctx context.Context) error {
	w := g.after.leaf()
	needs := w.zeroBlockNeeds()
	if needs < w.img.slotSize() {
		return nil
	}
	nblocks, err := g.blocksOfZeros(ctx)
	if err != nil || nblocks == 0 {
		return err
	}
	size := w.img.FileSize()
	ok, err := reserve(w.file, size, nblocks*needs)
	if ok && w.space.reserved == 0 {
		w.space.reserved = size
	}
	if isFull(err) {
		err = fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return inPart("data", size, err)
}
