package vhd

import "slices"

// checkBitmaps reads the sector bitmaps that there is something to say about, in
// the order of the file, and what is under clear bits of a disk without a parent.
func (k *checkup) checkBitmaps() (ok bool, err error) {
	m := k.m
	for i, b := range k.blocks {
		if !k.wantsBitmap(b.index()) {
			continue
		}
		if err := k.ctx.Err(); err != nil {
			return false, err
		}
		if err := k.checkBitmap(i); err != nil {
			return false, err
		}
		if i%64 == 0 {
			k.progress(k.before + b.off())
		}
	}
	if k.batmap.full > 0 {
		k.add("batmap-stale", m.batmap[1].off, "Xen's batmap is out of date: of the blocks that it calls full, %d are not; software that goes by it reads them wrong.", k.batmap.full)
	}
	return true, nil
}

// isShort says whether the disk ends inside a block.
func (k *checkup) isShort(block int64) bool { return k.m.sectorsOnDisk(block) < k.m.sectorsPerBlock }

func (k *checkup) wantsBitmap(block int64) bool {
	m := k.m
	return m.footer.Type == Dynamic || m.sectorsPerBlock < m.bitmapArea*8 || k.isShort(block) || k.isCalledFull(block)
}

// isCalledFull says whether Xen's batmap says that all of a block is present.
func (k *checkup) isCalledFull(block int64) bool {
	return k.batmap.bits != nil && anySet(k.batmap.bits, block, block+1)
}

// bitmapsRead is a piece of the file with the bitmaps of blocks that are near each
// other, and what is between these.
type bitmapsRead struct {
	off int64
	p   []byte
}

const (
	// smallBlocks are those of which bitmaps are read together: a block of less costs
	// no more to read than to leave out.
	smallBlocks = 64 << 10
	// maxBitmapsRead bounds what is read at once, bytes.
	maxBitmapsRead = 256 << 10
)

// bitmap is the sector bitmap of block i of those in the order of the file.
func (k *checkup) bitmap(i int) ([]byte, error) {
	m, off := k.m, k.blocks[i].off()
	if at := off - k.near.off; at >= 0 && at+m.bitmapArea <= int64(len(k.near.p)) {
		return k.near.p[at:][:m.bitmapArea], nil
	}
	end := off + m.bitmapArea
	if m.header.BlockSize < smallBlocks {
		for _, b := range k.blocks[i+1:] {
			if b.off()+m.bitmapArea > off+maxBitmapsRead {
				break
			}
			end = b.off() + m.bitmapArea
		}
	}
	k.near = bitmapsRead{off, slices.Grow(k.near.p[:0], int(end-off))[:end-off]}
	err := readFull(m.file, k.near.p, off)
	if err != nil {
		k.near.p = nil
	}
	return k.near.p[:min(m.bitmapArea, int64(len(k.near.p)))], inPart(inBitmap, off, err)
}

// checkBitmap checks the bitmap of block i of those in the order of the file.
func (k *checkup) checkBitmap(i int) error {
	m, b := k.m, k.blocks[i]
	off := b.off()
	bitmap, err := k.bitmap(i)
	if err != nil {
		return err
	}
	nsectors := k.m.sectorsOnDisk(b.index())
	if anySet(bitmap, m.sectorsPerBlock, m.bitmapArea*8) && !k.isMore("bitmap-padding") {
		k.add("bitmap-padding", off, "The sector bitmap of block %d has bits set behind that of the block's last sector.", b.index())
	}
	// In a dynamic disk they all are: its new blocks have no clear bits.
	if m.footer.Type == Differencing && anySet(bitmap, nsectors, m.sectorsPerBlock) {
		k.add("bitmap-past-disk", off, "The sector bitmap of block %d has bits set for sectors behind the disk's end.", b.index())
	}
	if k.isCalledFull(b.index()) && allSet(bitmap, 0, m.sectorsPerBlock) {
		k.batmap.full--
	}
	if m.footer.Type == Dynamic {
		return k.checkClear(b, bitmap, nsectors)
	}
	return nil
}

// checkClear looks for data under the clear bits of a block of a disk without a
// parent.
func (k *checkup) checkClear(b placedBlock, bitmap []byte, nsectors int64) error {
	m, dataOff := k.m, b.off()+k.m.bitmapArea
	for first, n := range absentRuns(bitmap, nsectors) {
		off := dataOff + first*SectorSize
		at, err := k.firstData(off, min(off+n*SectorSize, m.footerOff))
		if err != nil {
			return inPart("data", off, err)
		}
		if at < 0 {
			continue
		}
		if !k.isMore("bitmap-clear-data") {
			k.add("bitmap-clear-data", b.off(), "Block %d has data under clear bits of its sector bitmap, first at its sector %d: it reads as zeros here, and some software reads the data.",
				b.index(), (at-dataOff)/SectorSize)
		}
		return nil
	}
	return nil
}

// firstData is the offset of the first sector of the file between off and end
// that is not all zeros; -1 if there is none.
func (k *checkup) firstData(off, end int64) (int64, error) {
	if k.buf == nil {
		k.buf = make([]byte, len(zeroBytes))
	}
	for from, to := range dataOf(k.m.file, off, end) {
		for from < to {
			if err := k.ctx.Err(); err != nil {
				return 0, err
			}
			p := k.buf[:min(to-from, int64(len(k.buf)))]
			if err := readFull(k.m.file, p, from); err != nil {
				return 0, err
			}
			for s := range stretches(p, SectorSize) {
				if !s.zeros {
					return from + int64(s.from), nil
				}
			}
			from += int64(len(p))
		}
	}
	return -1, nil
}
