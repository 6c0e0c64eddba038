package vhd

import (
	"encoding/binary"
	"slices"
)

// Xen keeps a map of the blocks whose every sector is present, behind the BAT;
// see blktap's "tdbatmap".
const (
	batmapCookie     = "tdbatmap"
	batmapHeaderSize = SectorSize
)

// findBatmap looks for Xen's batmap, whose header is right behind the BAT, so
// that nobody takes its space for free. Where the BAT has a block, of which offs
// are the offsets, there is none, whatever a guest made the block look like, also when
// that is gone: what was none once becomes none.
func (m *Image) findBatmap(offs []int64) error {
	if m.noBatmap {
		return nil
	}
	err := m.lookForBatmap(offs)
	m.noBatmap = err == nil && m.batmap == nil
	return err
}

func (m *Image) lookForBatmap(offs []int64) error {
	m.batmap = nil
	off := m.tableEnd()
	if off+batmapHeaderSize > m.footerOff {
		return nil
	}
	var raw [batmapHeaderSize]byte
	if err := readFull(m.file, raw[:], off); err != nil {
		return err
	}
	if string(raw[:len(batmapCookie)]) != batmapCookie {
		return nil
	}
	spans := []span{{"Xen's batmap", off, off + batmapHeaderSize}}
	mapOff := int64(binary.BigEndian.Uint64(raw[8:16])) //nolint:gosec // checked below
	mapSize := int64(binary.BigEndian.Uint32(raw[16:20])) * SectorSize
	if mapOff >= off && mapOff <= m.footerOff-mapSize {
		spans = append(spans, span{"Xen's batmap", mapOff, mapOff + mapSize})
	}
	for _, at := range offs {
		if slices.ContainsFunc(spans, func(s span) bool { return s.overlaps(at, at+m.blockBytes()) }) {
			return nil
		}
	}
	m.batmap = spans
	return nil
}

// rememberBatmap takes over what was found out about the image as it was before.
func (m *Image) rememberBatmap(before *Image) {
	m.noBatmap = before.noBatmap && m.tableEnd() == before.tableEnd()
}

// clearBatmap makes Xen's batmap call no block full, as one that is freed is not. It
// is a hint, so that is right whatever the blocks have; to be without one is not,
// since blktap does not write to an image of its own then. Of no part of it that gets
// to the disk the checksum fits. All of it is durable before the disk says of a block
// what a bit would belie.
//
// One that can't be right is overwritten.
func (d *Disk) clearBatmap() error {
	w := d.leaf()
	m := w.img
	if m.batmap == nil || m.noneFull {
		return nil
	}
	if !m.hasSoundBatmap() {
		return d.dropBatmap()
	}
	bits := m.batmap[1]
	header, err := m.emptyBatmap(m.tableEnd(), bits.off, bits.end-bits.off)
	if err == nil && header == nil {
		return d.dropBatmap()
	}
	if err == nil {
		err = zeroRange(w.file, bits.off, bits.end-bits.off)
	}
	if err == nil {
		_, err = writeFull(w.file, header, m.batmap[0].off)
	}
	m.noneFull = err == nil
	return inFile(m.name, inPart("Xen's batmap", m.batmap[0].off, err))
}

// hasSoundBatmap says whether the map has a bit for each entry that fits into the
// table's sectors, and is in a place of its own. Blocks are not in it, see findBatmap.
func (m *Image) hasSoundBatmap() bool {
	if len(m.batmap) < 2 {
		return false
	}
	bits := m.batmap[1]
	size := bits.end - bits.off
	if bits.off < m.batmap[0].end || size > maxBatmap || size < batmapSize((m.tableEnd()-m.header.TableOffset)/batEntrySize) {
		return false
	}
	taken := slices.Clone(m.metadata)
	for _, l := range m.header.Locators {
		if s, ok := m.setAside(l, nil); ok {
			taken = append(taken, s)
		}
	}
	return !slices.ContainsFunc(taken, func(s span) bool { return s.overlaps(m.batmap[0].off, bits.end) })
}

// batmapSize is how many bytes a map has for so many blocks.
func batmapSize(nblocks int64) int64 { return roundUp((nblocks+7)/8, SectorSize) }

// emptyBatmap is the header of the batmap, at off, for a map of size bytes at bitsOff
// in which no bit is set; nil if it is of a version that nobody here knows. Behind what
// is known here it may tell of a key.
func (m *Image) emptyBatmap(off, bitsOff, size int64) ([]byte, error) {
	const latest = 1<<16 | 2
	header := make([]byte, batmapHeaderSize)
	if err := readFull(m.file, header, off); err != nil {
		return nil, err
	}
	if binary.BigEndian.Uint32(header[20:]) > latest {
		return nil, nil
	}
	binary.BigEndian.PutUint64(header[8:], uint64(bitsOff))          //nolint:gosec // not negative
	binary.BigEndian.PutUint32(header[16:], uint32(size/SectorSize)) //nolint:gosec // of a BAT of 16 GiB
	binary.BigEndian.PutUint32(header[24:], ^uint32(0))
	return header, nil
}

// batmapFor is how many bytes have to be free behind a table of so many entries:
// for Xen's batmap, or else for what is not to be taken for one.
func (m *Image) batmapFor(nblocks int64) int64 {
	if m.batmap == nil {
		return batmapHeaderSize
	}
	return batmapHeaderSize + batmapSize(nblocks)
}

// moveBatmap puts an empty batmap behind a table of so many entries, which is
// another than the image has and ends at off. Where the image has no batmap, nothing
// there looks like the start of one.
func (d *Disk) moveBatmap(off, nblocks int64) error {
	w := d.leaf()
	err := zeroRange(w.file, off, w.img.batmapFor(nblocks))
	if err == nil && w.img.batmap != nil {
		var header []byte
		if header, err = w.img.emptyBatmap(w.img.tableEnd(), off+batmapHeaderSize, batmapSize(nblocks)); err == nil {
			_, err = writeFull(w.file, header, off)
		}
	}
	return inPart("BAT", off, err)
}

// moveBatmapHeader puts the header of the batmap behind a table that became shorter,
// which ends at off and counts by now: nobody looks for it where it was.
func (d *Disk) moveBatmapHeader(off int64) error {
	w := d.leaf()
	if w.img.batmap == nil || off == w.img.tableEnd() {
		return nil
	}
	header := make([]byte, batmapHeaderSize)
	err := readFull(w.file, header, w.img.tableEnd())
	if err == nil {
		_, err = writeFull(w.file, header, off)
	}
	return inPart("Xen's batmap", off, err)
}

// dropBatmap overwrites the header of Xen's batmap, which is none any more then.
func (d *Disk) dropBatmap() error {
	w := d.leaf()
	if err := zeroRange(w.file, w.img.batmap[0].off, batmapHeaderSize); err != nil {
		return inFile(w.img.name, err)
	}
	w.img.batmap, w.img.noBatmap = nil, true
	return nil
}
