package vhdtest

import "maps"

const (
	sectorSize     = 512
	pageSize       = 4096
	sectorsPerPage = pageSize / sectorSize
	pagesPerChunk  = 64
	chunkSize      = pagesPerChunk * pageSize
)

// sparse is the content of a file: a size, and the pages that were written.
//
// A clone costs one table entry for each 256 KiB in use: chunks and pages are
// shared until one side writes them. It is not safe for concurrent use, but
// clones of one another may be used concurrently.
type sparse struct {
	size   int64
	owner  *owner // chunks and pages of another owner are shared, and must not be written
	chunks map[int64]*chunk

	// settled is the offset below which space that was never written is known
	// to read as it does. What lies behind it may turn to garbage in a crash.
	settled int64
	garbage []garbage
}

// owner is a mark that is compared by its address.
type owner struct{ _ byte }

type chunk struct {
	owner *owner
	pages [pagesPerChunk]page
}

type page struct {
	owner   *owner
	data    *[pageSize]byte // nil: nothing was written
	written byte            // a bit for each sector that was written, the lowest for the first
}

// garbage is a region in which sectors that were never written hold one of
// the sectors of a pool.
type garbage struct {
	from, to int64
	shift    int64
	pool     [][]byte
}

func newSparse() sparse {
	return sparse{owner: new(owner), chunks: make(map[int64]*chunk)}
}

// clone returns a copy. Both sides get new marks, so that neither owns what
// they now share.
func (s *sparse) clone() sparse {
	c := *s
	s.owner = new(owner)
	c.owner = new(owner)
	c.chunks = maps.Clone(s.chunks)
	c.garbage = append([]garbage(nil), s.garbage...)
	return c
}

// page returns the page with the number given, for reading.
func (s *sparse) page(number int64) page {
	c := s.chunks[number/pagesPerChunk]
	if c == nil {
		return page{}
	}
	return c.pages[number%pagesPerChunk]
}

// ownPage returns the page with the number given, for writing.
func (s *sparse) ownPage(number int64) *page {
	c := s.chunks[number/pagesPerChunk]
	switch {
	case c == nil:
		c = &chunk{owner: s.owner}
		s.chunks[number/pagesPerChunk] = c
	case c.owner != s.owner:
		c = &chunk{owner: s.owner, pages: c.pages}
		s.chunks[number/pagesPerChunk] = c
	}
	p := &c.pages[number%pagesPerChunk]
	switch {
	case p.data == nil:
		p.data = new([pageSize]byte)
	case p.owner != s.owner:
		data := *p.data
		p.data = &data
	}
	p.owner = s.owner
	return p
}

// readAt fills b with what stands at off. Past the end stand zeros.
func (s *sparse) readAt(b []byte, off int64) {
	for rest, at := b, off; len(rest) > 0; {
		in := at % pageSize
		n := min(int64(len(rest)), pageSize-in)
		if p := s.page(at / pageSize); p.data != nil {
			copy(rest[:n], p.data[in:])
		} else {
			clear(rest[:n])
		}
		rest, at = rest[n:], at+n
	}
	for i := range s.garbage {
		s.readGarbage(&s.garbage[i], b, off)
	}
}

// readGarbage puts into b, which holds what stands at off, the garbage of the
// sectors that were never written.
func (s *sparse) readGarbage(g *garbage, b []byte, off int64) {
	from, to := max(off, g.from), min(off+int64(len(b)), g.to)
	for from < to {
		sector := from / sectorSize
		n := min(to, (sector+1)*sectorSize) - from
		if !s.isWritten(sector) {
			old := g.pool[(sector+g.shift)%int64(len(g.pool))]
			copy(b[from-off:][:n], old[from%sectorSize:])
		}
		from += n
	}
}

func (s *sparse) isWritten(sector int64) bool {
	return s.page(sector/sectorsPerPage).written>>(sector%sectorsPerPage)&1 != 0
}

// writeAt writes b at off, and makes the file longer where it has to.
func (s *sparse) writeAt(b []byte, off int64) {
	if len(b) == 0 {
		return
	}
	end := off + int64(len(b))
	s.keepGarbage(off / sectorSize)
	s.keepGarbage((end - 1) / sectorSize)
	for len(b) > 0 {
		in := off % pageSize
		p := s.ownPage(off / pageSize)
		n := int64(copy(p.data[in:], b))
		for sector := in / sectorSize; sector <= (in+n-1)/sectorSize; sector++ {
			p.written |= 1 << sector
		}
		b, off = b[n:], off+n
	}
	s.size = max(s.size, end)
}

// keepGarbage makes the garbage of a sector that was never written its
// content, since a part of the sector is about to be written.
func (s *sparse) keepGarbage(sector int64) {
	if len(s.garbage) == 0 || s.isWritten(sector) {
		return
	}
	var b [sectorSize]byte
	s.readAt(b[:], sector*sectorSize)
	p := s.ownPage(sector / sectorsPerPage)
	copy(p.data[sector%sectorsPerPage*sectorSize:], b[:])
}

// truncate changes the size. What is cut off is gone: the file reads as zeros
// there when it grows again.
func (s *sparse) truncate(size int64) {
	if size < s.size {
		s.cut(size)
	}
	s.size = size
}

func (s *sparse) cut(size int64) {
	s.settled = min(s.settled, size)
	s.cutGarbage(size)
	for number := range s.chunks {
		if number*chunkSize >= size {
			delete(s.chunks, number)
		}
	}
	first := size / pageSize
	if s.chunks[first/pagesPerChunk] == nil {
		return
	}
	if in := size % pageSize; in != 0 {
		if s.page(first).data != nil {
			s.cutPage(first, in)
		}
		first++
	}
	for number := first; number%pagesPerChunk != 0; number++ {
		if s.page(number).data != nil {
			*s.ownPage(number) = page{}
		}
	}
}

func (s *sparse) cutPage(number, in int64) {
	p := s.ownPage(number)
	clear(p.data[in:])
	sectors := (in + sectorSize - 1) / sectorSize
	p.written &= 1<<sectors - 1
}

func (s *sparse) cutGarbage(size int64) {
	var kept []garbage
	for _, g := range s.garbage {
		g.to = min(g.to, size)
		if g.from < g.to {
			kept = append(kept, g)
		}
	}
	s.garbage = kept
}

// settle makes what stands in the file now its content for good.
func (s *sparse) settle() { s.settled = s.size }

// spoil makes garbage of the space that was never written since settle.
func (s *sparse) spoil(pool [][]byte, shift int64) {
	if s.settled < s.size && len(pool) > 0 {
		s.garbage = append(s.garbage, garbage{from: s.settled, to: s.size, shift: shift, pool: pool})
	}
	s.settle()
}

// allocated returns how many bytes the pages in use take.
func (s *sparse) allocated() int64 {
	var n int64
	for _, c := range s.chunks {
		for i := range c.pages {
			if c.pages[i].data != nil {
				n += pageSize
			}
		}
	}
	return n
}
