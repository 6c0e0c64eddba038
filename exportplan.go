package vhd

import (
	"cmp"
	"context"
	"fmt"
	"iter"
)

// exportPlan is what an export writes. Before the first byte all is known of it
// but the content, and of a differencing disk which sectors its blocks have.
type exportPlan struct {
	disk     *Disk
	progress func(done, total int64)
	sync     bool
	content  int64 // bytes of the disk
	size     int64 // of all that is written

	// Of a whole VHD.
	layout  *imageLayout // nil: it is none
	image   newImage
	base    int32    // number of the layer that is a differencing disk's parent
	blocks  blockSet // that are written
	nblocks int64    // they are so many
}

// What Azure asks of a disk, bytes.
const (
	azureUnit = 1 << 20
	azureMin  = 20 << 20
	azureMax  = int64(1<<63-1-footerSize) / azureUnit * azureUnit // beyond, there is no whole unit any more
)

// planExport plans an export, and tells progress, if it is set, how far that is.
func (d *Disk) planExport(ctx context.Context, opts ExportOptions, progress func(done, total int64)) (*exportPlan, error) {
	p, err := d.planNoBlocks(opts)
	if err == nil && p.hasBlocks() {
		err = p.findBlocks(ctx, progress)
	}
	if err != nil {
		return nil, err
	}
	p.size = p.sizeWith(p.nblocks)
	return p, nil
}

// planNoBlocks plans all but which blocks are written.
func (d *Disk) planNoBlocks(opts ExportOptions) (*exportPlan, error) {
	v := d.view()
	if opts.base != nil {
		opts.Base = v.depths[*opts.base]
	}
	if err := opts.check(len(v.chain)); err != nil {
		return nil, d.explain(err)
	}
	p := &exportPlan{disk: d, progress: opts.Progress, sync: opts.Sync, content: v.size}
	if opts.Type == 0 && !opts.Azure {
		return p, nil
	}
	if err := p.describe(v, opts); err != nil {
		return nil, d.explain(err)
	}
	return p, nil
}

// sizeWith is how many bytes are written if so many blocks are.
func (p *exportPlan) sizeWith(nblocks int64) int64 {
	if p.layout == nil {
		return p.content
	}
	return p.layout.footerOff(nblocks) + footerSize
}

// describe says what image is written.
func (p *exportPlan) describe(v *view, opts ExportOptions) (err error) {
	leaf := v.top().img
	n := newImage{diskType: cmp.Or(opts.Type, Fixed), size: p.content, blockSize: opts.BlockSize, id: opts.ID, time: opts.Time, creator: opts.Creator}
	n.blockSize = cmp.Or(n.blockSize, leaf.header.BlockSize) // which a fixed disk does not have
	if opts.Azure {
		if n.size > azureMax {
			return fmt.Errorf("%w: a disk of %d bytes for Azure, want at most %d", ErrUnsupported, n.size, azureMax)
		}
		n.size = max(roundUp(n.size, azureUnit), azureMin)
		n.creator = cmp.Or(n.creator, CreatorWindows)
	}
	if n.diskType == Differencing {
		base := v.at(opts.Base)
		p.base = base.number
		if n.parent, err = p.disk.asParentAt(opts.Name, base); err != nil {
			return err
		}
	}
	if err := n.fillIn(); err != nil {
		return err
	}
	if err := n.check(); err != nil {
		return err
	}
	p.image = n
	p.layout, err = p.image.layout()
	return err
}

// asParentAt is what a child called name records of a layer, wherever Root would let it find it; empty: one
// beside it.
func (d *Disk) asParentAt(name string, l *layer) (*newParent, error) {
	if name == "" || d.nameless {
		return l.asParent()
	}
	opts := d.opts
	opts.Root = ""
	return l.asParentOf(name, &opts)
}

// hasBlocks says whether it is a dynamic or a differencing disk.
func (p *exportPlan) hasBlocks() bool { return p.layout != nil && p.image.diskType != Fixed }

// planPiece is what is planned between two looks at the context, bytes of the
// disk.
const planPiece = 32 * windowSize

// findBlocks finds out which blocks are written.
func (p *exportPlan) findBlocks(ctx context.Context, progress func(done, total int64)) error {
	p.blocks = newBlockSet(int64(p.image.tableEntries()))
	for off := int64(0); off < p.content; off += planPiece {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(planPiece, p.content-off)
		if err := p.findBlocksIn(off, n); err != nil {
			return err
		}
		if progress != nil {
			progress(off+n, p.content)
		}
	}
	if p.nblocks = p.blocks.count(); p.nblocks > 0 && p.layout.blockOff(p.nblocks-1) > maxBlockOff {
		return p.disk.explain(fmt.Errorf("%w: the file would pass 2 TiB", ErrUnsupported))
	}
	return nil
}

func (p *exportPlan) findBlocksIn(off, n int64) error {
	extents, err := p.extentsIn(off, n)
	for _, e := range extents {
		p.addBlocks(e)
	}
	return err
}

// extentsIn are what is written of n bytes of the disk from off on: of a differencing disk what
// changed, with zeros that come over the parent's data as a [Hole]; else what is stored.
func (p *exportPlan) extentsIn(off, n int64) (extents []Extent, err error) {
	if p.image.diskType == Differencing {
		for e, err := range p.disk.changedSince(p.base, off, n) {
			if err != nil {
				return nil, err
			}
			extents = append(extents, e)
		}
		return extents, nil
	}
	stored, err := p.disk.settledExtents(off, n)
	for _, e := range stored {
		if e.Depth != Hole {
			extents = append(extents, e.Extent)
		}
	}
	return extents, err
}

// addBlocks adds the blocks that e is in.
func (p *exportPlan) addBlocks(e Extent) {
	size := p.image.blockSize
	p.blocks.add(e.Offset/size, (e.Offset+e.Length+size-1)/size)
}

// blockSet is a set of a disk's blocks. Where there are none of it for long, it
// takes next to no space.
type blockSet struct {
	pages  []*sectorSet // each of as many blocks as a window has sectors; nil: none of them
	before []int64      // how many are in front of each page; see count
}

func newBlockSet(nblocks int64) blockSet {
	npages := (nblocks + windowSectors - 1) / windowSectors
	return blockSet{make([]*sectorSet, npages), make([]int64, npages)}
}

// add adds the blocks from first on, in front of end.
func (s blockSet) add(first, end int64) {
	for first < end {
		page, at := first/windowSectors, first%windowSectors
		n := min(end-first, windowSectors-at)
		if s.pages[page] == nil {
			s.pages[page] = new(sectorSet)
		}
		s.pages[page].add(int(at), int(n))
		first += n
	}
}

// count counts all, after the last was added.
func (s blockSet) count() (n int64) {
	for i, page := range s.pages {
		if s.before[i] = n; page != nil {
			n += int64(page.count(windowSectors))
		}
	}
	return n
}

// rank is how many are in front of a block that is one of them.
func (s blockSet) rank(block int64) int64 {
	page := block / windowSectors
	return s.before[page] + int64(s.pages[page].count(int(block%windowSectors)))
}

// within yields those from first on, in front of end, in order.
func (s blockSet) within(first, end int64) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for first < end {
			start := first / windowSectors * windowSectors
			from, to := int(first-start), int(min(windowSectors, end-start))
			first = start + int64(to)
			page := s.pages[start/windowSectors]
			if page == nil {
				continue
			}
			for at, n := page.next(from, to); n > 0; at, n = page.next(at+n, to) {
				for i := range n {
					if !yield(start + int64(at+i)) {
						return
					}
				}
			}
		}
	}
}
