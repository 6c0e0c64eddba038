package vhd

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/google/uuid"
)

// headerChange puts another dynamic header in place of the leaf's, with other
// things that it points to. A header that is torn would be an image lost, so at
// every moment each footer leads to a whole one (W13):
//
//  1. what the header points to, and the header, are written to free space;
//     fsync;
//  2. the end footer leads to the new header; fsync; its copy too; fsync;
//  3. the header is written where the old one was; fsync;
//  4. the end footer leads there; fsync; its copy too; fsync.
//
// The locks of syncs and of the disk are held throughout. A failure before step 2
// leaves the disk as it was; a later one breaks it.
type headerChange struct {
	disk   *Disk
	footer Footer        // to be
	header DynamicHeader // to be
	taken  []span        // in front of the first block, where nothing can be put
	front  int64         // where that ends
	behind int64         // all
	home   int64         // where the header stands in the end
	away   int64         // where it stands until then
}

// newHeaderChange begins a change: everything that was written is durable, and in
// its place.
func (d *Disk) newHeaderChange() (*headerChange, error) { return d.newHeaderChangeAt(0) }

// newHeaderChangeAt is newHeaderChange with a place, which is free, for the header while it
// is not at home; 0: one is looked for.
func (d *Disk) newHeaderChangeAt(off int64) (*headerChange, error) {
	if err := d.settle(); err != nil {
		return nil, err
	}
	offs, err := d.leaf().img.blockOffs()
	if err != nil {
		return nil, err
	}
	return d.headerChangeBeside(offs, off)
}

// headerChangeBeside begins a change where the blocks are at offs, in order.
func (d *Disk) headerChangeBeside(offs []int64, place int64) (c *headerChange, err error) {
	w := d.leaf()
	c = &headerChange{disk: d, footer: w.img.footer, header: w.img.header, front: w.img.footerOff, behind: w.space.next, home: footerSize}
	if c.taken, err = w.img.takenByOthers(offs); err != nil {
		return nil, err
	}
	if len(offs) > 0 {
		c.front = offs[0]
	}
	return c, c.findPlace(place)
}

// changeHeader takes the locks that a change of the leaf's header needs, and lets do
// make it.
func (d *Disk) changeHeader(do func(c *headerChange) error) error {
	return d.alone(func() error {
		c, err := d.newHeaderChange()
		if err != nil {
			return err
		}
		return do(c)
	})
}

// findPlace finds places for the header: a change that was interrupted may have
// left it elsewhere, from where it goes home at once.
func (c *headerChange) findPlace(place int64) (err error) {
	atHome := c.footer.DataOffset == c.home
	homeIsFree := c.home+dynHeaderSize <= c.front && !slices.ContainsFunc(c.taken, func(s span) bool { return s.overlaps(c.home, c.home+dynHeaderSize) })
	if !atHome && homeIsFree {
		c.away = c.home
		c.take(c.home, dynHeaderSize)
		return nil
	}
	if c.away = place; place != 0 {
		c.take(place, dynHeaderSize)
	} else {
		c.away, err = c.room(dynHeaderSize)
	}
	if !atHome {
		c.home = c.away
	}
	return err
}

// room finds n bytes for something that the header points to: between what is in
// front of the first block, or behind everything.
func (c *headerChange) room(n int64) (int64, error) {
	for from, to := range gaps(c.taken, 0, c.front) {
		if from = roundUp(from, SectorSize); from+n <= to {
			c.take(from, n)
			return from, nil
		}
	}
	w := c.disk.leaf()
	off := roundUp(c.behind, SectorSize)
	end := off + roundUp(n, SectorSize)
	if end > w.img.footerOff {
		off = roundUp(max(off, w.img.footerOff), SectorSize)
		end = off + roundUp(n, SectorSize)
		if err := c.checkGrowth(footerAt(end) + footerSize); err != nil {
			return 0, err
		}
		if err := c.disk.moveFooterBehind(end, end); err != nil {
			return 0, err
		}
	}
	c.behind = end
	w.space.fresh = max(w.space.fresh, end) // should the change not come to its end
	if c.front == w.img.footerOff || c.front > off {
		c.front = off
	}
	return off, nil
}

// checkGrowth is why there is no room for the file to end at end. A page that it has a part of
// is taken already.
func (c *headerChange) checkGrowth(end int64) error {
	w := c.disk.leaf()
	return c.disk.opts.checkRoom(c.disk.fileName(c.disk.view().top()), end-roundUp(w.img.FileSize(), holeUnit))
}

// extend makes what ends at off longer, up to end, if all up to one sector more is
// free.
func (c *headerChange) extend(off, end int64) bool {
	if off == end {
		return true
	}
	to := end + SectorSize
	if to > c.front || slices.ContainsFunc(c.taken, func(s span) bool { return s.overlaps(off, to) }) {
		return false
	}
	c.take(off, to-off)
	return true
}

// take notes that n bytes are taken.
func (c *headerChange) take(off, n int64) {
	at, _ := slices.BinarySearchFunc(c.taken, off, func(s span, off int64) int { return cmp.Compare(s.off, off) })
	c.taken = slices.Insert(c.taken, at, span{"what the header will point to", off, off + n})
	c.behind = max(c.behind, off+n)
}

// put writes p to a place of its own, of whole sectors.
func (c *headerChange) put(part string, p []byte) (off int64, err error) {
	sectors := make([]byte, roundUp(int64(len(p)), SectorSize))
	copy(sectors, p)
	if off, err = c.room(int64(len(sectors))); err != nil {
		return 0, err
	}
	_, err = writeFull(c.disk.leaf().file, sectors, off)
	return off, inPart(part, off, err)
}

var errNoLocatorLeft = fmt.Errorf("%w: all eight parent locators are of unknown kinds", ErrUnsupported)

// nameParent makes the header name another parent, or the same one elsewhere.
// References of other kinds, which would lead to the former one, go; what nobody here
// understands stays.
func (c *headerChange) nameParent(p *newParent) error {
	paths, slots, err := p.placeIn(&c.header)
	if err != nil {
		return err
	}
	for i, path := range paths {
		off, err := c.put("parent locator", path.data)
		if err != nil {
			return err
		}
		l := &c.header.Locators[slots[i]]
		reserved := l.Reserved
		*l = path.locator(off, SectorSize)
		l.Reserved = reserved
	}
	return nil
}

// placeIn makes the header name the parent, clears the locators that name paths, and
// returns the paths that locators are to point to, and which of them: those that
// did before, or else the first ones that are empty.
func (p *newParent) placeIn(h *DynamicHeader) (paths []encodedPath, slots []int, err error) {
	if paths, err = p.describeIn(h); err != nil {
		return nil, nil, err
	}
	var former [len(h.Locators)]PlatformCode
	for i, l := range h.Locators {
		if former[i] = l.Code; isPathCode(l.Code) {
			h.Locators[i] = Locator{Reserved: l.Reserved}
		}
	}
	for _, path := range paths {
		slots = append(slots, slices.Index(former[:], path.code))
	}
	for i := range slots {
		for at := 0; slots[i] < 0 && at < len(former); at++ {
			if h.Locators[at].Code == 0 && !slices.Contains(slots, at) {
				slots[i] = at
			}
		}
		if slots[i] < 0 {
			return nil, nil, errNoLocatorLeft
		}
	}
	return paths, slots, nil
}

// changeParent makes the leaf name another parent, or the same one elsewhere. What
// the disk reads as is the caller's.
func (c *headerChange) changeParent(p *newParent) error {
	if err := c.nameParent(p); err != nil {
		return err
	}
	return c.apply()
}

// show makes the end footer lead to the new header. The copy at the start leads to
// the old one until finish.
func (c *headerChange) show() error {
	d := c.disk
	if err := c.writeHeader(c.away); err != nil {
		return err
	}
	if err := d.syncs.fsync(); err != nil {
		return err
	}
	return c.lead(c.away, d.leaf().img.footerOff)
}

// finish does the rest, and makes the disk see it.
func (c *headerChange) finish() error {
	if err := c.goHome(); err != nil {
		return err
	}
	return c.disk.reloadLeaf()
}

// goHome puts the header where it stands in the end.
func (c *headerChange) goHome() error {
	d := c.disk
	if err := c.lead(c.away, 0); err != nil {
		return err
	}
	if c.home != c.away {
		if err := c.writeHeader(c.home); err != nil {
			return d.breakDown(err)
		}
		if err := d.syncs.fsync(); err != nil {
			return err
		}
		for _, at := range []int64{d.leaf().img.footerOff, 0} {
			if err := c.lead(c.home, at); err != nil {
				return err
			}
		}
	}
	return nil
}

// apply is show and finish.
func (c *headerChange) apply() error {
	if err := c.show(); err != nil {
		return err
	}
	return c.finish()
}

func (c *headerChange) writeHeader(off int64) error {
	raw, err := c.header.MarshalBinary()
	if err == nil {
		_, err = writeFull(c.disk.leaf().file, raw, off)
	}
	return inPart("dynamic header", off, err)
}

// lead makes the footer at one end of the file, as it will be, lead to a header.
func (c *headerChange) lead(header, at int64) error {
	c.footer.DataOffset = header
	return c.disk.writeFooter(c.footer, at)
}

// writeFooter writes a footer at off, where one stands by now, and makes it
// durable.
func (d *Disk) writeFooter(f Footer, off int64) error {
	raw, err := f.MarshalBinary()
	if err != nil {
		return err
	}
	if _, err := writeFull(d.view().top().file, raw, off); err != nil {
		return d.breakDown(inPart("footer", off, err)) // which one is there is not known
	}
	return d.syncs.fsync()
}

// replaceFooter puts another footer in place of the leaf's, of which only what
// does not concern blocks differs: the end first, then the copy (W7). What was
// written is durable before, and the locks of syncs and of the disk are held.
func (d *Disk) replaceFooter(f Footer) error {
	m := d.view().top().img
	if err := d.writeFooter(f, m.footerOff); err != nil {
		return err
	}
	if f.Type != Fixed {
		if err := d.writeFooter(f, 0); err != nil {
			return err
		}
	}
	return d.reloadLeaf()
}

// renewID gives the leaf another identifier, as replaceFooter does.
func (d *Disk) renewID() error {
	id, err := uuid.NewRandom()
	if err != nil {
		return err
	}
	return d.replaceID(id)
}

func (d *Disk) replaceID(id uuid.UUID) error {
	f := d.view().top().img.footer
	f.ID = id
	return d.replaceFooter(f)
}

// reloadLeaf makes the disk see the leaf's structures as its file has them by now. All
// that was written to it is durable. Where data is has not changed, so block maps stay
// right unless the size has.
func (d *Disk) reloadLeaf() error {
	v, err := d.reloaded()
	if err != nil {
		return d.breakDown(err)
	}
	d.current.Store(v)
	return nil
}

func (d *Disk) reloaded() (*view, error) {
	before := d.view()
	l, err := before.top().reread(int(before.top().number), d.cache)
	if err != nil {
		return nil, err
	}
	after := before.with(l, l.img.footer.CurrentSize)
	if before.leaf != nil {
		after.leaf, err = newLeaf(l)
	}
	return after, err
}
