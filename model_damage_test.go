package vhd_test

import (
	"bytes"
	"encoding/binary"
	"slices"

	"pgregory.net/rapid"

	"github.com/go-vhd/vhd"
)

// modelDamage is what happens to an image without harm to anything that it reads as.
type modelDamage struct {
	code string // what is found then
	// hit is the image with the damage; nil if that can't be.
	hit func(t *rapid.T, sound []byte, image *modelImage) []byte
}

// modelDamages are those of which a repair makes the sound image again.
var modelDamages = []modelDamage{
	{"", func(_ *rapid.T, sound []byte, _ *modelImage) []byte { return sound }},
	{"copy-lost", withBlocks(func(_ *rapid.T, file []byte) []byte { clear(file[:512]); return file })},
	{"copy-checksum", withBlocks(func(_ *rapid.T, file []byte) []byte { file[67]++; return file })},
	{"footers-differ", withBlocks(olderCopy)},
	{"footer-lost", withBlocks(func(_ *rapid.T, file []byte) []byte { clear(file[len(file)-512:]); return file })},
	{"footer-lost", withBlocks(func(_ *rapid.T, file []byte) []byte { return file[:len(file)-512] })},
	{"footer-checksum", withBlocks(func(_ *rapid.T, file []byte) []byte { file[len(file)-512+67]++; return file })},
	{"footer-511", func(_ *rapid.T, sound []byte, _ *modelImage) []byte { return sound[:len(sound)-1] }},
	{"trailing-bytes", withBlocks(appendJunk)}, // of a fixed disk nobody knows where it ends
	{"slack", junkInFrontOfFooter},
	{"block-cut", toStructures(cutLastBlock)},
}

// withBlocks is a damage of images that are not fixed, to a copy.
func withBlocks(hit func(t *rapid.T, file []byte) []byte) func(*rapid.T, []byte, *modelImage) []byte {
	return func(t *rapid.T, sound []byte, image *modelImage) []byte {
		if image.diskType == vhd.Fixed {
			return nil
		}
		return hit(t, bytes.Clone(sound))
	}
}

// olderCopy gives the copy another time, and the checksum that goes with it.
func olderCopy(_ *rapid.T, file []byte) []byte {
	sum := binary.BigEndian.Uint32(file[64:])
	sum += uint32(file[27])
	file[27] ^= 1
	binary.BigEndian.PutUint32(file[64:], sum-uint32(file[27]))
	return file
}

func appendJunk(t *rapid.T, file []byte) []byte {
	n := rapid.IntRange(1, 3000).Draw(t, "bytes of junk")
	return append(file, pattern(77, int64(n))...)
}

// junkInFrontOfFooter leaves a gap in which a block and its bitmap fit, wherever they have to begin.
func junkInFrontOfFooter(_ *rapid.T, sound []byte, image *modelImage) []byte {
	if image.diskType == vhd.Fixed || image.blockSize > 1<<20 { // large, and slow
		return nil
	}
	at := len(sound) - 512
	return slices.Concat(sound[:at], pattern(78, image.blockSize*2+16<<10), sound[at:])
}

// cutLastBlock leaves out zeros at the end of the last block, if nothing else is behind it.
func cutLastBlock(t *rapid.T, s *structures, _ *modelImage) []byte {
	present, _ := s.blocks()
	if len(present) == 0 {
		return nil
	}
	data := slices.Max(present) + s.bitmapSize
	end := data + s.blockSize
	zerosFrom := data + len(bytes.TrimRight(s.file[data:s.footerOff()], "\x00"))
	most := (end - zerosFrom) / 512
	if most <= 0 || s.overlapsMetadata(end, s.footerOff()) {
		return nil
	}
	n := rapid.IntRange(1, most).Draw(t, "sectors that are cut off") * 512
	return slices.Concat(s.file[:end-n], s.file[s.footerOff():])
}
