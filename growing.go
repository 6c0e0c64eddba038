package vhd

import (
	"bytes"
	"math/bits"
)

// A fixed disk has one footer, at the file's end. A file that becomes longer may be
// found, after a crash, without what was written to its new end, and so without a
// footer; and what a guest wrote to the start of its disk must not be taken for
// one. So the size that the file gets for the time being tells where the footer is:
//
//	data | footer | zeros                         |
//	              ^ base, at a sector             ^ base + 512·growingSectors(code) + code
//
// The size of a VHD is a multiple of 512, or one byte less, which no code is.
const maxGrowingCode = 400

// maxGrown is the largest fixed disk that another can become: beyond, no code would tell
// where its footer was.
const maxGrown = SectorSize << 51

// growingSectors is how many sectors a code stands for: up to 15 itself, then eight numbers
// to each power of two, so that one is at most an eighth more than what is needed.
func growingSectors(code int64) int64 {
	if code < 16 {
		return code
	}
	return (8 + code%8) << (code/8 - 1)
}

// growingSize is the size, of more than n bytes, that a file gets which grows from
// oldSize.
func growingSize(oldSize, n int64) int64 {
	base := roundUp(oldSize, SectorSize)
	code := roundUp(n-base, SectorSize) / SectorSize
	if code >= 16 {
		shift := bits.Len64(uint64(code)) - 4
		code = int64(shift)*8 + roundUp(code, 1<<shift)>>shift
	}
	return base + SectorSize*growingSectors(code) + code
}

// growingBase is the end of what was in front of the zeros, in a file of that size.
func growingBase(size int64) (base int64, ok bool) {
	code := size % SectorSize
	if code == 0 || code > maxGrowingCode || growingSectors(code) > size/SectorSize {
		return 0, false
	}
	return (size/SectorSize - growingSectors(code)) * SectorSize, true
}

// readGrowing finds the footer of a fixed disk whose growing was interrupted.
func (m *Image) readGrowing() (found bool, err error) {
	base, ok := growingBase(m.FileSize())
	if !ok {
		return false, nil
	}
	if base < footerSize {
		return false, nil
	}
	// It may be one of 511 bytes, with a zero behind it, and need not end with a sector.
	var raw [2 * footerSize]byte
	start := max(base+1-int64(len(raw)), 0)
	p := raw[:base+1-start]
	if err := readFull(m.file, p, start); err != nil {
		return false, inPart(inFooter, start, err)
	}
	for at := len(p); at >= 0; at = bytes.LastIndex(p[:at], []byte(footerCookie)) {
		var f Footer
		if len(p)-at < footerSize || f.UnmarshalBinary(p[at:][:footerSize]) != nil || f.Type != Fixed {
			continue
		}
		m.footer, m.footerOff = f, start+int64(at)
		m.needsRecovery.Store(true)
		return true, nil
	}
	return false, nil
}
