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
//	              ^ base, at a sector             ^ base + 512·2^e + e + 1
//
// The size of a VHD is a multiple of 512, or one byte less.
const maxGrowingExponent = 52

// maxGrown is the largest fixed disk that another can become: beyond, no size of a file
// would tell where its footer was.
const maxGrown = SectorSize << (maxGrowingExponent - 1)

// growingSize is the size, of more than n bytes, that a file gets which grows from
// oldSize.
func growingSize(oldSize, n int64) int64 {
	base := roundUp(oldSize, SectorSize)
	e := bits.Len64(uint64((n - base - 1) / SectorSize)) //nolint:gosec // not negative: n is behind the file's end
	return base + SectorSize<<e + int64(e) + 1
}

// readGrowing finds the footer of a fixed disk whose growing was interrupted.
func (m *Image) readGrowing() (found bool, err error) {
	e := m.FileSize()%SectorSize - 1
	if e < 0 || e > maxGrowingExponent {
		return false, nil
	}
	base := m.FileSize() - e - 1 - SectorSize<<e
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
