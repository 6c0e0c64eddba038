package vhd

import (
	"cmp"
	"context"
	"math/bits"
	"os"
	"slices"
	"sync/atomic"
)

// plan finds out how many bytes are to be written, and whether there is room.
func (m *merge) plan(ctx context.Context) (n int64, err error) {
	p := mergePlan{merge: m, room: roomNeeded{disk: m.receiver.Disk}, changes: m.changes()}
	for window := int64(0); window*windowSize < m.size; window++ {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if err := p.add(window); err != nil {
			return 0, err
		}
	}
	m.blocks = p.room.blocks()
	return p.bytes, p.room.check()
}

// mergePlan is what a merge will write, window by window.
type mergePlan struct {
	*merge
	bytes   int64 // to be written
	room    roomNeeded
	changes *changes
	below   mapBuilder
	pieces  []mapExtent // of one window, for which the receiving image's file may have no room
}

// add adds what is written to one window.
func (p *mergePlan) add(window int64) error {
	p.changes.find(window)
	p.pieces = p.pieces[:0]
	for _, e := range p.changes.extents {
		if e.layer == failing {
			return p.changes.errs[e.off]
		}
		p.bytes += int64(e.end-e.start) * SectorSize
		if e.layer != hole || p.receiver.leaf() != nil { // in a fixed disk they take no space
			p.pieces = append(p.pieces, e)
		}
	}
	p.addGrowth(window)
	slices.SortFunc(p.pieces, func(x, y mapExtent) int { return cmp.Compare(x.start, y.start) })
	for _, e := range p.pieces {
		p.room.add(window*windowSize+int64(e.start)*SectorSize, int64(e.end-e.start)*SectorSize)
	}
	return nil
}

// addGrowth adds the zeros that hide what a larger parent of the receiving image has where
// that grows.
func (p *mergePlan) addGrowth(window int64) {
	v := p.receiver.view()
	grown := p.size/SectorSize - window*windowSectors
	from := max(v.size/SectorSize-window*windowSectors, 0)
	if from >= min(grown, windowSectors) || len(v.chain) == 1 {
		return
	}
	after := *v
	after.size = p.size
	m, _ := p.below.build(&after, window, 1)
	for i := m.find(int(from)); i < m.nextents(); i++ {
		if e := m.extent(i); e.layer != hole {
			p.pieces = append(p.pieces, e.cut(max(e.start, inWindow(from)), e.end))
		}
	}
}

// changes finds what the merged images hold.
func (m *merge) changes() *changes {
	return &changes{disk: m.disk, upper: m.from, lower: m.into, size: m.size}
}

// copy writes what the merged images hold to the receiving one.
func (m *merge) copy(ctx context.Context) error {
	if w := m.receiver.leaf(); w != nil {
		w.space.planned = m.blocks
	}
	b := bulk{size: m.size, piece: windowSize, progress: m.opts.Progress}
	var copied atomic.Int64
	_, err := b.run(ctx, func(buf []byte, off, n int64) error {
		if copied.Add(1)%beginSyncEvery == 0 { // so that Sync finds less to do
			beginSync(m.receiver.view().top().file, 0, m.receiver.Chain()[0].FileSize())
		}
		return m.copyWindow(buf, off, n)
	})
	if err != nil {
		return err
	}
	return ctx.Err()
}

// beginSyncEvery is after how many windows the kernel is asked to write what it was given.
const beginSyncEvery = 8

// copyWindow copies n bytes from off on, all of a window that is on the disk.
func (m *merge) copyWindow(buf []byte, off, n int64) error {
	c := m.changes()
	c.find(off / windowSize)
	return m.copyChanges(c, buf, off, n)
}

// copyWindowHeld is copyWindow for who holds the disk's lock.
func (m *merge) copyWindowHeld(buf []byte, off, n int64) error {
	c := m.changes()
	c.findLocked(off / windowSize)
	return m.copyChanges(c, buf, off, n)
}

func (m *merge) copyChanges(c *changes, buf []byte, off, n int64) (err error) {
	if err := m.disk.usable(); err != nil {
		return err
	}
	n = min(n, m.receiver.Size()-off) // as far as the topmost image goes
	for _, e := range c.extents {
		at := off + int64(e.start)*SectorSize
		length := min(int64(e.end)*SectorSize, n) - int64(e.start)*SectorSize
		switch {
		case length <= 0:
			return nil
		case e.layer == failing:
			err = c.errs[e.off]
		case e.layer == hole:
			err = m.receiver.WriteZeroes(at, length)
		default:
			err = m.copyData(m.disk.served(e.layer), e.off, buf, at, length)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copyData copies n bytes of a layer's file, at srcOff, to off. Zeros become such as
// take no space where that can be.
func (m *merge) copyData(l *layer, srcOff int64, buf []byte, off, n int64) error {
	src, _ := l.data.(*os.File)
	for n > 0 {
		p := buf[:min(int64(len(buf)), n)]
		if err := l.readData(p, srcOff); err != nil {
			return err
		}
		for s := range stretches(p, holeUnit) {
			at := off + int64(s.from)
			var err error
			if s.zeros {
				err = m.receiver.WriteZeroes(at, int64(s.to-s.from))
			} else {
				_, err = m.receiver.writeAt(content{p[s.from:s.to], src, srcOff + int64(s.from)}, at)
			}
			if err != nil {
				return err
			}
		}
		off, srcOff, n = off+int64(len(p)), srcOff+int64(len(p)), n-int64(len(p))
	}
	return nil
}

// writeMarks are the windows that a disk was written to.
type writeMarks struct {
	words []atomic.Uint64

	// keepZeros says that who asked needs zeros to be written, as it may have copied what
	// was there.
	keepZeros bool
}

func newWriteMarks(size int64) *writeMarks {
	nwindows := (size + windowSize - 1) / windowSize
	return &writeMarks{words: make([]atomic.Uint64, (nwindows+63)/64)}
}

// noteWrite marks the windows that n bytes at off are in, if anybody wants to know.
// They are written, and the disk's lock is held, shared or not.
func (d *Disk) noteWrite(off, n int64) {
	m := d.marks.Load()
	if m == nil || n <= 0 {
		return
	}
	for window := off / windowSize; window*windowSize < off+n; window++ {
		m.words[window/64].Or(1 << (window % 64))
	}
}

// count is how many windows are marked.
func (m *writeMarks) count() (n int) {
	for i := range m.words {
		n += bits.OnesCount64(m.words[i].Load())
	}
	return n
}

// has says whether any window is marked that n bytes at off are in.
func (m *writeMarks) has(off, n int64) bool {
	end := min(off+n, int64(len(m.words))*64*windowSize) // a block may reach behind the disk's end
	for window := off / windowSize; window*windowSize < end; window++ {
		if m.words[window/64].Load()&(1<<(window%64)) != 0 {
			return true
		}
	}
	return false
}

// needsZeros says whether zeros have to be written that would read as zeros without.
func (d *Disk) needsZeros() bool {
	m := d.marks.Load()
	return m != nil && m.keepZeros
}

// take takes the marks away, and returns which windows had them.
func (m *writeMarks) take() (windows []int64) {
	for i := range m.words {
		for word := m.words[i].Swap(0); word != 0; word &= word - 1 {
			windows = append(windows, int64(i)*64+int64(bits.TrailingZeros64(word)))
		}
	}
	return windows
}
