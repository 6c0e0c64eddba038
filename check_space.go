package vhd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// checkSpace looks for space that nothing uses, and at Xen's batmap. Where
// blocks are not in places of their own, nobody can tell what is free.
func (k *checkup) checkSpace() (ok bool, err error) {
	m := k.m
	offs := make([]int64, 0, len(k.blocks))
	for _, b := range k.blocks {
		offs = append(offs, b.off())
	}
	k.checkSetAside(offs)
	if err := m.findBatmap(offs); err != nil {
		return false, err
	}
	taken, err := m.takenInWalk(k.walkEntries, offs)
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

// checkSetAside looks at what locators set aside behind their paths: something else
// may be there, such as blocks, at offs.
func (k *checkup) checkSetAside(offs []int64) {
	if !k.parented {
		return // nobody reads what locators say there
	}
	for slot, l := range k.m.header.Locators {
		if what, ok := k.inSpaceOf(slot, offs); ok {
			k.add("locator-space", k.m.locatorOff(slot)+4, "Parent locator %d sets %d bytes aside at %d, and in them is %s.", slot, l.Space(), l.DataOffset, what)
		}
	}
}

// inSpaceOf is what is in the space that a locator sets aside, and not in its path.
func (k *checkup) inSpaceOf(slot int, offs []int64) (what string, ok bool) {
	m, l := k.m, k.m.header.Locators[slot]
	if !m.holdsLocator(l) || l.Space() > m.footerOff-l.DataOffset {
		return "", false // which was told
	}
	path := span{off: l.DataOffset, end: l.DataOffset + l.DataLength}
	others := slices.Clone(m.structures())
	for i, other := range m.header.Locators {
		if i != slot && m.holdsLocator(other) {
			others = append(others, span{fmt.Sprintf("the path of locator %d", i), other.DataOffset, other.DataOffset + other.DataLength})
		}
	}
	behind := l.DataOffset + l.Space()
	for _, s := range others {
		if s.overlaps(path.end, behind) && !s.overlaps(path.off, path.end) {
			return s.what, true
		}
	}
	at, _ := slices.BinarySearch(offs, path.end-m.blockBytes()+1)
	if at < len(offs) && offs[at] < behind {
		return fmt.Sprintf("block %d", k.blocks[at].index()), true
	}
	return "", false
}

// checkFree looks for space that could be given back.
func (k *checkup) checkFree(offs []int64, taken []span) {
	m := k.m
	next, g := m.behindAll(offs, taken), m.findGaps(offs, taken)
	if g.large > 0 {
		k.add("free-blocks", g.firstLarge, "Gaps in the file take %d bytes that nothing uses; so many blocks would fit there: %d.", g.large, g.nblocks)
	}
	if _, ok := m.planSliding(offs, taken); ok {
		k.add("small-gaps", g.firstSmall, "Gaps in the file that are too small for a block take %d bytes that nothing uses, beside what aligns blocks; so many blocks would fit there together: %d.",
			g.small, g.small/m.blockBytes())
	}
	if m.hasSlack(next) {
		k.add("slack", next, "Behind the last block are %d bytes that nothing uses, in which a block or more would fit.", m.footerOff-next)
	}
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
