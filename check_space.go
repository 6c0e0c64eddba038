package vhd

import (
	"encoding/binary"
	"errors"
)

// checkSpace looks for space that nothing uses, and at Xen's batmap. Where
// blocks are not in places of their own, nobody can tell what is free.
func (k *checkup) checkSpace() (ok bool, err error) {
	m := k.m
	offs := make([]int64, 0, len(k.blocks))
	for _, b := range k.blocks {
		offs = append(offs, b.off())
	}
	if err := m.findBatmap(offs); err != nil {
		return false, err
	}
	taken, err := m.takenByOthers(offs)
	if e, ok := errors.AsType[*FormatError](err); ok && isAboutStructure(err) {
		k.add("bat-overlap", e.Offset, "More entries of the BAT behind the disk's end are in use than blocks fit into the file: they overlap.")
		return true, nil
	}
	if err != nil || k.batWrong {
		return err == nil, err
	}
	k.checkFree(offs, taken)
	return true, k.readBatmap()
}

// checkFree looks for space that could be given back.
func (k *checkup) checkFree(offs []int64, taken []span) {
	m := k.m
	var nblocks, n, first int64
	next := m.behindAll(offs, taken)
	count := func(from, to int64) {
		slot := m.slotAt(from)
		if slot+m.blockBytes() > to || len(offs) > 0 && to == offs[0] && m.isFreePage(from, to) {
			return
		}
		if n == 0 {
			first = from
		}
		nblocks += 1 + (to-slot-m.blockBytes())/m.slotSize()
		n += to - from
	}
	for from, to := range m.freeSpace(offs, taken) {
		count(from, to)
	}
	if len(offs) > 0 { // there may be more behind the last
		for from, to := range gaps(taken, offs[len(offs)-1]+m.blockBytes(), next) {
			count(from, to)
		}
	}
	if n > 0 {
		k.add("free-blocks", first, "Gaps in the file take %d bytes that nothing uses; so many blocks would fit there: %d.", n, nblocks)
	}
	if m.hasSlack(next) {
		k.add("slack", next, "Behind the last block are %d bytes that nothing uses, in which a block or more would fit.", m.footerOff-next)
	}
}

// isFreePage says whether what is free in front of the first block, at to, is so in
// a new image, which has its footer there while it has no blocks. A small block
// would fit in.
func (m *Image) isFreePage(from, to int64) bool {
	return to == m.slotAt(roundUp(from, blockAlignment)+footerAt(0))
}

// batmapCheck is what Xen's batmap says: of each block, whether all of its
// sectors are present.
type batmapCheck struct {
	bits []byte // nil: there is none that could be held against the blocks
	full int64  // blocks that it calls full, and that have not been seen to be
}

// maxBatmap bounds the map that is held against the blocks, bytes: Xen's blocks
// are of 2 MiB, and so a disk of 2 TiB has one of 128 KiB.
const maxBatmap = 1 << 20

// readBatmap reads Xen's batmap and checks it by itself.
func (k *checkup) readBatmap() error {
	m := k.m
	if len(m.batmap) == 0 {
		return nil
	}
	at := m.batmap[0].off
	var header [batmapHeaderSize]byte
	if err := readFull(m.file, header[:], at); err != nil {
		return inPart("Xen's batmap", at, err)
	}
	if len(m.batmap) < 2 {
		k.add("batmap-wrong", at, "Xen's batmap is not where its header says, at %#x.", binary.BigEndian.Uint64(header[8:]))
		return nil
	}
	used, size := (m.nblocks+7)/8, m.batmap[1].end-m.batmap[1].off
	if size < used {
		k.add("batmap-wrong", at, "Xen's batmap has %d bytes, too few for %d blocks.", size, m.nblocks)
		return nil
	}
	if size > maxBatmap {
		return nil
	}
	bits := make([]byte, size)
	if err := readFull(m.file, bits, m.batmap[1].off); err != nil {
		return inPart("Xen's batmap", m.batmap[1].off, err)
	}
	// Version 1.1 takes bytes for signed, when it adds them up.
	if version := binary.BigEndian.Uint32(header[20:]); version != 1<<16|1 && binary.BigEndian.Uint32(header[24:]) != ^sumLong(bits) {
		k.add("batmap-wrong", at, "Xen's batmap is damaged: its checksum is %#08x, and that of its bytes is %#08x.", binary.BigEndian.Uint32(header[24:]), ^sumLong(bits))
		return nil
	}
	k.batmap.bits = bits
	for block := range m.nblocks {
		if anySet(bits, block, block+1) {
			k.batmap.full++
		}
	}
	return nil
}

// sumLong is sumBytes of more bytes than that can add up.
func sumLong(b []byte) uint32 {
	var sum uint32
	for len(b) > 0 {
		n := min(len(b), dynHeaderSize)
		sum += sumBytes(b[:n])
		b = b[n:]
	}
	return sum
}
