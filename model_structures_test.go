package vhd_test

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// movingDamages are those whose repair leaves other bytes than the sound image had.
var movingDamages = []modelDamage{
	{"bat-overlap", toStructures(overlapBlocks)},
	{"bat-beyond-disk", toStructures(useEntryBehindDisk)},
	{"table-padding", toStructures(cutTableAtTheEnd)},
	{"locator-place", toStructures(loseLocator)},
	{"batmap-wrong", toStructures(misaddBatmap)},
	{"batmap-wrong", toStructures(shortenBatmap)},
	{"batmap-stale", toStructures(overstateBatmap)},
}

// structures are where things are in the file of an image with blocks, by the specification.
type structures struct {
	file, header          []byte
	tableOff, nentries    int
	nblocks               int // that the disk's size needs
	blockSize, bitmapSize int // bytes
}

// toStructures is a damage of images that have blocks.
func toStructures(hit func(t *rapid.T, s *structures, image *modelImage) []byte) func(*rapid.T, []byte, *modelImage) []byte {
	return func(t *rapid.T, sound []byte, image *modelImage) []byte {
		if image.diskType == vhd.Fixed {
			return nil
		}
		return hit(t, structuresOf(t, bytes.Clone(sound)), image)
	}
}

func structuresOf(t *rapid.T, file []byte) *structures {
	t.Helper()
	s := &structures{file: file, header: vhdtest.Header(t, file)}
	s.tableOff = int(binary.BigEndian.Uint64(s.header[16:]))
	s.nentries = int(binary.BigEndian.Uint32(s.header[28:]))
	s.blockSize = int(binary.BigEndian.Uint32(s.header[32:]))
	s.bitmapSize = (s.blockSize/512 + 4095) / 4096 * 512
	size := int(binary.BigEndian.Uint64(file[48:]))
	s.nblocks = (size + s.blockSize - 1) / s.blockSize
	return s
}

// footerOff is where the content of the file ends.
func (s *structures) footerOff() int { return len(s.file) - 512 }

// batmapOff is where the table ends, and a batmap may be.
func (s *structures) batmapOff() int { return batmapOff(s.tableOff, s.nentries) }

// batmapSize is what the batmap takes behind its header, with a bit for each entry that fits into the table's sectors.
func (s *structures) batmapSize() int { return ((s.batmapOff()-s.tableOff)/4/8 + 511) / 512 * 512 }

func (s *structures) hasBatmap() bool {
	return bytes.HasPrefix(s.file[s.batmapOff():], []byte("tdbatmap"))
}

// entry is the offset of a block; none: false.
func (s *structures) entry(block int) (off int, ok bool) {
	e := binary.BigEndian.Uint32(s.file[s.tableOff+4*block:])
	return int(e) * 512, e != vhdtest.Unallocated
}

// blocks are the offsets of those that are there, and the indices of those that are not.
func (s *structures) blocks() (present, absent []int) {
	for block := range s.nblocks {
		if off, ok := s.entry(block); ok {
			present = append(present, off)
		} else {
			absent = append(absent, block)
		}
	}
	return present, absent
}

// overlapsBlock says whether a block takes any of the bytes from off to end.
func (s *structures) overlapsBlock(off, end int) bool {
	present, _ := s.blocks()
	return slices.ContainsFunc(present, func(at int) bool { return at < end && off < at+s.bitmapSize+s.blockSize })
}

// overlapsMetadata says whether the header, the table, a batmap or a path takes any of the bytes from off to end.
func (s *structures) overlapsMetadata(off, end int) bool {
	header := int(binary.BigEndian.Uint64(s.file[16:]))
	spans := [][2]int{{0, 512}, {header, header + 1024}, {s.tableOff, s.batmapOff()}}
	if s.hasBatmap() {
		spans = append(spans, [2]int{s.batmapOff(), s.batmapOff() + 512 + s.batmapSize()})
	}
	for slot := range 8 {
		locator := s.header[576+24*slot:][:24]
		at := int(binary.BigEndian.Uint64(locator[16:]))
		spans = append(spans, [2]int{at, at + int(binary.BigEndian.Uint32(locator[4:]))})
	}
	return slices.ContainsFunc(spans, func(s [2]int) bool { return s[0] < end && off < s[1] })
}

// overlapBlocks puts a block that is not there over another one, where there are zeros for a bitmap: it holds nothing. Which
// of the two has to move depends on which is in front.
func overlapBlocks(t *rapid.T, s *structures, image *modelImage) []byte {
	if s.blockSize > 1<<20 { // large, and slow
		return nil
	}
	present, absent := s.blocks()
	size, inFront := s.bitmapSize+s.blockSize, rapid.Bool().Draw(t, "in front")
	var places []int
	for _, at := range present {
		from := at
		if inFront {
			from = max(at-size, 0) + 512
		}
		places = append(places, s.zeroBitmaps(from, from+size-512)...)
	}
	if len(places) == 0 || len(absent) == 0 {
		return nil
	}
	block, off := rapid.SampledFrom(absent).Draw(t, "block"), rapid.SampledFrom(places).Draw(t, "place")
	vhdtest.EditEntry(t, s.file, block, uint32(off/512))
	image.holes, image.rearranged = true, true
	image.clearData = image.clearData || image.diskType == vhd.Dynamic
	return s.file
}

// zeroBitmaps are the places from one to another where a block could begin, and would hold nothing.
func (s *structures) zeroBitmaps(from, to int) (places []int) {
	zeros := make([]byte, s.bitmapSize)
	for off := from; off < to; off += 512 {
		end := off + s.bitmapSize + s.blockSize
		if end <= s.footerOff() && bytes.HasPrefix(s.file[off:], zeros) && !s.overlapsMetadata(off, end) {
			places = append(places, off)
		}
	}
	return places
}

// useEntryBehindDisk makes the table larger, in its last sector, and has an entry there lead anywhere.
func useEntryBehindDisk(t *rapid.T, s *structures, image *modelImage) []byte {
	end := (s.batmapOff() - s.tableOff) / 4
	if s.nentries == end {
		return nil
	}
	for entry := s.nentries; entry < end; entry++ {
		binary.BigEndian.PutUint32(s.file[s.tableOff+4*entry:], vhdtest.Unallocated)
	}
	vhdtest.EditHeader(t, s.file, func(h []byte) { binary.BigEndian.PutUint32(h[28:], uint32(end)) })
	block := rapid.IntRange(s.nentries, end-1).Draw(t, "entry")
	vhdtest.EditEntry(t, s.file, block, rapid.Uint32Range(0, 1<<32-2).Draw(t, "sector"))
	image.roomyTable = true
	return s.file
}

// cutTableAtTheEnd puts the table behind all else, without what fills its last sector.
func cutTableAtTheEnd(t *rapid.T, s *structures, image *modelImage) []byte {
	if s.nentries*4%512 == 0 || s.hasBatmap() {
		return nil
	}
	end := s.footerOff()
	table := bytes.Clone(s.file[s.tableOff:][:4*s.nentries])
	vhdtest.EditHeader(t, s.file, func(h []byte) { binary.BigEndian.PutUint64(h[16:], uint64(end)) })
	image.holes, image.rearranged = true, true
	return slices.Concat(s.file[:end], table, s.file[end:])
}

// loseLocator adds a locator whose path is in no file.
func loseLocator(t *rapid.T, s *structures, image *modelImage) []byte {
	slot := slices.IndexFunc([]int{0, 1, 2, 3, 4, 5, 6, 7}, func(slot int) bool {
		return bytes.Equal(s.header[576+24*slot:][:24], make([]byte, 24))
	})
	if image.diskType != vhd.Differencing || slot < 0 {
		return nil
	}
	vhdtest.EditHeader(t, s.file, func(h []byte) {
		locator := h[576+24*slot:]
		copy(locator, "W2ru")
		binary.BigEndian.PutUint32(locator[4:], 512)
		binary.BigEndian.PutUint32(locator[8:], 20)
		binary.BigEndian.PutUint64(locator[16:], 1<<40)
	})
	image.holes, image.rearranged = true, true
	return s.file
}

// putBatmap writes a batmap behind the table if there is room, and returns its header and its bits.
func (s *structures) putBatmap(full byte) (header, bits []byte) {
	off, size := s.batmapOff(), s.batmapSize()
	end := off + 512 + size
	if end > s.footerOff() || s.overlapsBlock(off, end) || !s.hasBatmap() && s.overlapsMetadata(off, end) {
		return nil, nil
	}
	header, bits = s.file[off:][:512], s.file[off+512:end]
	clear(header)
	clear(bits)
	for block := range s.nblocks {
		bits[block/8] |= full & (0x80 >> (block % 8))
	}
	copy(header, "tdbatmap")
	binary.BigEndian.PutUint64(header[8:], uint64(off+512))
	binary.BigEndian.PutUint32(header[16:], uint32(size/512))
	binary.BigEndian.PutUint32(header[20:], 0x00010002)
	binary.BigEndian.PutUint32(header[24:], checksumOfBits(bits))
	return header, bits
}

// misaddBatmap has a batmap whose checksum is wrong.
func misaddBatmap(_ *rapid.T, s *structures, _ *modelImage) []byte {
	header, _ := s.putBatmap(0)
	if header == nil {
		return nil
	}
	header[24]++
	return s.file
}

// shortenBatmap has a batmap without bits. It is taken away, and leaves what it took to nobody.
func shortenBatmap(_ *rapid.T, s *structures, image *modelImage) []byte {
	header, _ := s.putBatmap(0)
	if header == nil {
		return nil
	}
	image.holes = true
	binary.BigEndian.PutUint32(header[16:], 0)
	return s.file
}

// overstateBatmap has a batmap that calls blocks full, also one that is not.
func overstateBatmap(t *rapid.T, s *structures, _ *modelImage) []byte {
	header, _ := s.putBatmap(byte(rapid.IntRange(1, 255).Draw(t, "full")))
	if header == nil || seenByXen(s.file, s.header).lie() < 0 {
		return nil
	}
	return s.file
}

// requireTrueBatmap fails if Xen would believe of a block of the leaf that it is full, and it is not.
func (c *chainMachine) requireTrueBatmap(t *rapid.T) {
	t.Helper()
	if c.leaf().diskType == vhd.Fixed {
		return
	}
	file, err := c.files.read(c.leaf().name)
	require.NoError(t, err)
	require.Equal(t, -1, seenByXen(file, vhdtest.Header(t, file)).lie())
}
