package vhdtest

import "slices"

// Content is what the disk reads as over its parent's content, which is nil for a disk without one: a sector
// that is here is the disk's own; one that isn't is the parent's, and zeros past the parent's end.
func (img *Image) Content(t TB, parent []byte) []byte {
	t.Helper()
	if img.Size > maxInMemory {
		t.Fatalf("vhdtest: a disk of %d bytes is too large for Content: use ContentRange", img.Size)
	}
	content := make([]byte, img.Size)
	if img.diskType() == Differencing {
		copy(content, parent)
	}
	img.overlay(content, 0)
	return content
}

// ContentRange is n bytes at off of what the first of chain, the leaf, reads as over the others.
func ContentRange(t TB, chain []*Image, off, n int64) []byte {
	t.Helper()
	if off < 0 || n < 0 || n > maxInMemory || off+n > chain[0].Size {
		t.Fatalf("vhdtest: %d bytes at %d of a disk of %d", n, off, chain[0].Size)
	}
	content := make([]byte, n)
	for _, img := range slices.Backward(chain) {
		if img.diskType() != Differencing {
			clear(content)
		}
		img.overlay(content, off)
		// Past this layer's end it reads as zeros to the next one, whatever lies below.
		if end := max(0, img.Size-off); end < n {
			clear(content[end:])
		}
	}
	return content
}

// overlay lays the sectors that are here over content, which begins at the disk's byte off.
func (img *Image) overlay(content []byte, off int64) {
	if img.diskType() == Fixed {
		overlayRun(content, off, img.Data, 0, int64(len(img.Data)))
		return
	}
	for i := range img.Blocks {
		b := &img.Blocks[i]
		start := int64(b.Index) * img.blockSize()
		if start >= off+int64(len(content)) || start+img.blockSize() <= off {
			continue
		}
		stored, bits := b.stored(img), b.bitmap(img)
		for sector := range int64(img.SectorsPerBlock()) {
			if bits[sector/8]&(0x80>>(sector%8)) != 0 {
				sectorData := stored[min(sector*SectorSize, int64(len(stored))):]
				sectorData = sectorData[:min(SectorSize, len(sectorData))]
				overlayRun(content, off, sectorData, start+sector*SectorSize, SectorSize)
			}
		}
	}
}

// overlayRun lays n bytes of data, and zeros where data ends, at the disk's byte at.
func overlayRun(content []byte, off int64, data []byte, at, n int64) {
	start, end := max(at, off), min(at+n, off+int64(len(content)))
	if start >= end {
		return
	}
	run := content[start-off : end-off]
	clear(run)
	copy(run, data[min(start-at, int64(len(data))):])
}
