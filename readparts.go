package vhd

import (
	"runtime"
	"sync"
)

const (
	// minPartExtents is how many extents a goroutine must have to itself to be
	// worth its start.
	minPartExtents = 12

	maxReadParts = 4
)

// partsOf is in how many parts a read is done at once: more than one if it falls
// into so many extents that calls, and not bytes, are what it takes.
func (d *Disk) partsOf(p []byte, off int64) int {
	if len(p) < 2*minPartExtents*SectorSize || d.windows == nil {
		return 1
	}
	nextents := 0
	for end := off + int64(len(p)); off < end; {
		window := off / windowSize
		next := min((window+1)*windowSize, end)
		m := d.blockMap(window)
		nextents += m.find(int(next-1-window*windowSize)/SectorSize) - m.find(int(off-window*windowSize)/SectorSize)
		off = next
	}
	return max(1, min(nextents/minPartExtents, maxReadParts, runtime.GOMAXPROCS(0)))
}

// readPart is a part of a read that has a goroutine of its own. It is used again,
// so that a read allocates nothing.
type readPart struct {
	disk *Disk
	p    []byte
	off  int64
	n    int
	err  error
	done sync.WaitGroup
	do   func() // reads
}

// newPart is a part to be done.
func (d *Disk) newPart(p []byte, off int64) *readPart {
	part, _ := d.parts.Get().(*readPart)
	if part == nil {
		part = &readPart{disk: d}
		part.do = part.read
	}
	part.p, part.off = p, off
	part.done.Add(1)
	return part
}

func (r *readPart) read() {
	r.n, r.err = r.disk.readOnce(r.p, r.off)
	r.done.Done()
}

// readParts is readOnce in several parts at once.
func (d *Disk) readParts(p []byte, off int64, nparts int) (n int, err error) {
	size := len(p) / nparts / SectorSize * SectorSize
	var parts [maxReadParts - 1]*readPart
	for i := range nparts - 1 {
		start, end := (i+1)*size, (i+2)*size
		if i == nparts-2 {
			end = len(p)
		}
		parts[i] = d.newPart(p[start:end], off+int64(start))
		go parts[i].do()
	}
	n, err = d.readOnce(p[:size], off)
	for _, part := range parts[:nparts-1] {
		part.done.Wait()
		if err == nil {
			n, err = n+part.n, part.err
		}
		part.p, part.err = nil, nil
		d.parts.Put(part)
	}
	return n, err
}
