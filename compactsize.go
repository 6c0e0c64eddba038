package vhd

import (
	"context"
	"errors"
	"slices"
)

// CompactSize is the size that Compact leaves of the leaf's file, in bytes, as it
// would find the disk now: what is the difference to FileSize can be given back. It
// changes nothing, and the disk may be open read-only. Of a disk that is open for
// writing, what was written is made durable first. Progress is told the bytes of
// blocks that were looked at.
//
// Errors are those of Compact, but for ErrReadOnly.
func (d *Disk) CompactSize(ctx context.Context, opts CompactOptions) (int64, error) {
	end, err := d.beginChange(ctx) // which a change on its way would have it see half of
	if err != nil {
		return 0, err
	}
	defer end()
	n, err := d.compactSize(ctx, &opts)
	for errors.Is(err, errLeafChanged) { // a Snapshot made it so
		n, err = d.compactSize(ctx, &opts)
	}
	return n, d.opError(err)
}

// compactSize is CompactSize of what is the leaf when it begins.
func (d *Disk) compactSize(ctx context.Context, opts *CompactOptions) (int64, error) {
	if err := d.Sync(); err != nil {
		return 0, err
	}
	p, err := d.planCompaction()
	if err != nil {
		return 0, err
	}
	all := int64(len(p.blocks)) * p.layer.img.header.BlockSize
	for i, b := range p.blocks {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if err := p.look(b); err != nil {
			return 0, err
		}
		if opts.Progress != nil {
			opts.Progress(int64(i+1)*p.layer.img.header.BlockSize, all)
		}
	}
	return p.size()
}

// compactPlan is what a compaction would do.
type compactPlan struct {
	disk   *Disk
	layer  *layer
	blocks []placedBlock // of the leaf, by index
	kept   []int64       // offsets of those that have to stay
	comparison

	found int64     // the window in which own was found; -1: none
	own   sectorSet // what the leaf needs to have there
}

func (d *Disk) planCompaction() (*compactPlan, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	v := d.view()
	if err := d.canCompact(v); err != nil {
		return nil, err
	}
	m := v.top().img
	blocks, err := m.placedBlocks(m.mostBlocks())
	return &compactPlan{disk: d, layer: v.top(), blocks: blocks, comparison: newComparison(nil), found: -1}, err
}

// look finds out whether a block has to stay.
func (p *compactPlan) look(b placedBlock) error {
	p.disk.mu.RLock()
	defer p.disk.mu.RUnlock()
	if err := p.goesOn(); err != nil {
		return err
	}
	keeps := p.needs
	if p.layer.img.footer.Type != Differencing {
		keeps = p.hasData
	}
	kept, err := keeps(b)
	if kept {
		p.kept = append(p.kept, b.off())
	}
	return err
}

// goesOn is why nothing more can be found out. The disk's lock is held.
func (p *compactPlan) goesOn() error {
	if p.disk.view().top().number != p.layer.number {
		return errLeafChanged
	}
	return nil
}

// hasData says whether a block of a disk without a parent is more than zeros.
func (p *compactPlan) hasData(b placedBlock) (bool, error) {
	bitmap := make([]byte, bitmapBytes(p.layer.img.sectorsPerBlock))
	if err := readFull(p.layer.data, bitmap, b.off()); err != nil {
		return false, inPart("sector bitmap", b.off(), err)
	}
	zeros, err := p.isZeros(p.layer, b.index(), b.off(), bitmap)
	return !zeros, err
}

// needs says whether a block of a differencing disk has sectors that read
// otherwise without it.
func (p *compactPlan) needs(b placedBlock) (bool, error) {
	first := b.index() * p.layer.img.sectorsPerBlock
	end := min(first+p.layer.img.sectorsPerBlock, p.disk.Size()/SectorSize)
	for first < end {
		window := first / windowSectors
		if err := p.compareWindow(window); err != nil {
			return false, err
		}
		last := min(end, (window+1)*windowSectors)
		if _, n := p.own.next(int(first-window*windowSectors), int(last-window*windowSectors)); n > 0 {
			return true, nil
		}
		first = last
	}
	return false, nil
}

// compareWindow finds out which sectors of a window the leaf needs to have.
func (p *compactPlan) compareWindow(window int64) error {
	if p.found == window {
		return nil
	}
	p.found, p.own = -1, sectorSet{}
	var same sectorSet
	err := p.compare(p.disk.view(), window, func(under mapExtent) error {
		same.add(int(under.start), int(under.end-under.start))
		return nil
	})
	if err != nil {
		return err
	}
	for _, e := range p.top.extents {
		if e.layer != hole {
			p.own.add(int(e.start), int(e.end-e.start))
		}
	}
	for i := range p.own {
		p.own[i] &^= same[i]
	}
	p.found = window
	return nil
}

// size is that of the file when all blocks that stay have moved as far to its front
// as they can.
func (p *compactPlan) size() (n int64, err error) {
	if p.disk.syncs != nil {
		err = p.disk.alone(func() error {
			n, err = p.sizeAlone()
			return err
		})
		return n, err
	}
	p.disk.mu.Lock()
	defer p.disk.mu.Unlock()
	if err := p.findBatmap(); err != nil {
		return 0, err
	}
	return p.sizeAlone()
}

// findBatmap does what a writer has done: so that a block that is dropped is not taken
// for Xen's batmap, all count.
func (p *compactPlan) findBatmap() error {
	offs, err := p.layer.img.blockOffs()
	if err != nil {
		return err
	}
	return p.layer.img.findBatmap(offs)
}

func (p *compactPlan) sizeAlone() (int64, error) {
	if err := p.goesOn(); err != nil {
		return 0, err
	}
	m := p.layer.img
	a := arrangement{disk: p.disk, img: m, offs: p.kept}
	slices.Sort(a.offs)
	var err error
	if a.footerOff, a.anewFooter, err = p.openedFooter(); err != nil {
		return 0, err
	}
	if a.taken, err = m.takenByOthers(a.offs); err != nil {
		return 0, err
	}
	return a.trimmed().compacted().size(), nil
}

// openedFooter is where the footer is once the image was opened for writing, which writes one
// that is lost, and makes whole a last block that is cut off: then it is anew.
func (p *compactPlan) openedFooter() (off int64, anew bool, err error) {
	m := p.layer.img
	offs := offsOf(p.blocks)
	slices.Sort(offs)
	taken, err := m.takenByOthers(offs)
	if next := m.behindAll(offs, taken); next > m.footerOff || m.footerOff == m.FileSize() {
		return footerAt(next), true, err
	}
	return m.footerOff, false, err
}
