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
// are the offsets, there is none, whatever a guest made the block look like.
func (m *Image) findBatmap(offs []int64) error {
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

// dropBatmap overwrites the cookie of Xen's batmap: it says of blocks that they
// are full, and one that is freed is not.
func (d *Disk) dropBatmap() error {
	w := d.leaf()
	if err := zeroRange(w.file, w.img.batmap[0].off, batmapHeaderSize); err != nil {
		return inFile(w.img.name, err)
	}
	w.img.batmap = nil
	return nil
}
