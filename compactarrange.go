package vhd

import "slices"

// arrangement is where everything is in the leaf's file, or will be.
type arrangement struct {
	disk       *Disk
	img        *Image
	offs       []int64 // of blocks, in order
	taken      []span  // by all else
	footerOff  int64
	anewFooter bool // it is written there anew, with 512 bytes
}

// trimmed is what trim makes of it.
func (a arrangement) trimmed() arrangement {
	if off := footerAt(a.img.behindAll(a.offs, a.taken)); off+a.img.slotSize() <= a.footerOff {
		a.footerOff = off
	}
	return a
}

// ended is what it is when the file ends behind all.
func (a arrangement) ended() arrangement {
	a.footerOff = min(a.footerOff, footerAt(a.img.behindAll(a.offs, a.taken)))
	return a
}

// isNoLongerBy says whether the file is not longer in the end for what comes home: the blocks
// that make room may leave gaps behind that are too small for any.
func (a arrangement) isNoLongerBy(h *homecoming) bool {
	return a.withHome(h).inFront().size() <= a.inFront().size()
}

// compacted is what Compact makes of it.
func (a arrangement) compacted() arrangement {
	for range 2 { // see bringHomeLate
		h, ok := a.img.planHome(a.offs, a.taken)
		switch {
		case !ok || h.roomFor(a.disk) != nil:
			return a.inFront()
		case a.isNoLongerBy(&h):
			return a.withHome(&h).inFront()
		}
		a = a.inFront().ended()
	}
	return a
}

// withHome is what it is when everything has come home.
func (a arrangement) withHome(h *homecoming) arrangement {
	m, slots, next := a.img, h.slots, a.img.behindAll(a.offs, a.taken)
	a.offs = slices.Clone(a.offs)
	for i, off := range a.offs {
		n := len(slots)
		switch {
		case !h.isInPlace(m, off):
		case n > 0:
			a.offs[i], slots = slots[n-1], slots[:n-1]
		default:
			a.offs[i] = m.slotAt(next)
			if a.offs[i]+m.blockBytes() > a.footerOff { // as allocate has it
				a.offs[i] = m.slotAt(max(next, a.footerOff))
				a.footerOff = footerAt(a.offs[i] + m.blockBytes())
			}
			next = a.offs[i] + m.blockBytes()
		}
	}
	slices.Sort(a.offs)
	a.taken, a.anewFooter = h.taken, true // whose footers lead to where the header is
	return a
}

// inFront is what it is when all blocks have moved as far to the front as they can.
func (a arrangement) inFront() arrangement {
	slots := a.img.slotsInFront(a.offs, a.taken)
	a.offs = slices.Clone(a.offs)
	for i, off := range slices.Backward(a.offs) {
		n := len(slots)
		if n == 0 || slots[n-1] > off {
			break
		}
		a.offs[i], slots = slots[n-1], slots[:n-1]
	}
	slices.Sort(a.offs)
	if s, ok := a.planSliding(); ok && a.roomToSlide(&s) == nil {
		a.offs = s.places
	}
	return a
}

// size is that of the file when it ends behind all that.
func (a arrangement) size() int64 {
	switch off := footerAt(a.img.behindAll(a.offs, a.taken)); {
	case off < a.footerOff:
		return off + footerSize
	case !a.anewFooter && a.footerOff == a.img.footerOff:
		return a.img.FileSize()
	}
	return a.footerOff + footerSize
}

func (a arrangement) planSliding() (s sliding, ok bool) { return a.img.planSliding(a.offs, a.taken) }

// roomToSlide is why there is no room for it, as far as that is known.
func (a arrangement) roomToSlide(s *sliding) error {
	return a.disk.opts.checkRoom(a.disk.fileName(a.disk.view().top()), s.end-a.footerOff)
}
