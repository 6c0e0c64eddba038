package vhd_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
)

// witness reads a chain of files, leaf first, as the specification says and a sector at a time: no maps, no caches, no
// runs. It takes from the engine only what footer and header say.
type witness []witnessLayer

type witnessLayer struct {
	file       []byte
	footer     vhd.Footer
	header     vhd.DynamicHeader
	footerOff  int64 // of the end footer; the file's end when there is none
	bitmapArea int64
	last       int64 // of the highest of the blocks in front of the footer
}

// What becomes of a sector.
type sectorFate int

const (
	sectorRead    sectorFate = iota
	sectorCorrupt            // its block is where none can be
	sectorMissing            // only a parent that is not there has it
)

func newWitnessLayer(img *vhd.Image, file []byte) witnessLayer {
	l := witnessLayer{file: file, footer: img.Footer(), footerOff: int64(len(file))}
	l.header, _ = img.Header()
	for _, n := range []int{511, 512} { // of the two, that of 512 bytes counts
		if len(file) >= n && new(vhd.Footer).UnmarshalBinary(file[len(file)-n:]) == nil {
			l.footerOff = int64(len(file) - n)
		}
	}
	if l.footer.Type == vhd.Fixed {
		return l
	}
	l.bitmapArea = (l.header.BlockSize/vhd.SectorSize + 4095) / 4096 * vhd.SectorSize
	for block := int64(0); block*l.header.BlockSize < l.footer.CurrentSize; block++ {
		off := l.blockOff(block)
		if off >= 0 && (off+l.bitmapArea <= l.footerOff || l.footerOff == int64(len(file))) {
			l.last = max(l.last, off)
		}
	}
	return l
}

// blockOff is where the BAT says that a block is; -1: nowhere.
func (l *witnessLayer) blockOff(block int64) int64 {
	entry := binary.BigEndian.Uint32(l.file[l.header.TableOffset+4*block:])
	if entry == 0xFFFFFFFF {
		return -1
	}
	return int64(entry) * vhd.SectorSize
}

// isMisplaced says whether no block can be at off: it would lie over metadata or past the footer. The end of the file
// may cut off the last.
func (l *witnessLayer) isMisplaced(off int64) bool {
	end := off + l.bitmapArea + l.header.BlockSize
	over := func(from, n int64) bool { return off < from+n && end > from }
	tableBytes := (int64(l.header.MaxTableEntries)*4 + 511) / 512 * 512
	if over(0, 512) || over(l.footer.DataOffset, 1024) || over(l.header.TableOffset, tableBytes) {
		return true
	}
	for _, loc := range l.header.Locators {
		used := l.footer.Type == vhd.Differencing && loc.Code != 0 && loc.DataLength > 0 && loc.DataLength <= 64<<10 && loc.DataOffset >= 512
		if used && loc.DataOffset <= int64(len(l.file))-loc.DataLength && over(loc.DataOffset, loc.DataLength) {
			return true
		}
	}
	return off+l.bitmapArea > l.footerOff || end > l.footerOff && off != l.last
}

// keptBytes are the file's bytes that no writer has a reason to change: what locators point to, and blocks behind the
// disk's end, as a disk has that was made smaller. What lies over something else is left out.
func (l *witnessLayer) keptBytes() []place {
	if l.footer.Type == vhd.Fixed {
		return nil
	}
	var kept []place
	add := func(p place) {
		table := place{l.header.TableOffset, (int64(l.header.MaxTableEntries)*4 + 511) / 512 * 512}
		if p.off >= 512 && p.off <= l.footerOff-p.n && !p.overlaps(table) {
			kept = append(kept, p)
		}
	}
	for _, loc := range l.header.Locators {
		if l.footer.Type == vhd.Differencing && loc.Code != 0 && loc.DataLength > 0 && loc.DataLength <= 64<<10 {
			add(place{loc.DataOffset, loc.DataLength})
		}
	}
	nblocks := (l.footer.CurrentSize + l.header.BlockSize - 1) / l.header.BlockSize
	blockBytes := l.bitmapArea + l.header.BlockSize
	used := make([]bool, len(l.file)/vhd.SectorSize+1)
	for block := range int64(l.header.MaxTableEntries) {
		p := place{l.blockOff(block), blockBytes}
		if p.off < 0 || l.isMisplaced(p.off) {
			continue
		}
		sectors := used[p.off/vhd.SectorSize : min(p.off+p.n, int64(len(l.file)))/vhd.SectorSize]
		if block < nblocks {
			for i := range sectors {
				sectors[i] = true
			}
		} else if !slices.Contains(sectors, true) {
			add(p)
		}
	}
	return kept
}

// requireKept makes sure that a writer left alone what is not its own.
func (l *witnessLayer) requireKept(t testing.TB, after []byte) {
	t.Helper()
	for _, p := range l.keptBytes() {
		require.GreaterOrEqual(t, int64(len(after)), p.off+p.n)
		requireSameBytes(t, l.file[p.off:p.off+p.n], after[p.off:p.off+p.n], p.off)
	}
	if l.footer.Type == vhd.Fixed {
		return
	}
	from := l.header.TableOffset + (l.footer.CurrentSize+l.header.BlockSize-1)/l.header.BlockSize*4
	end := l.header.TableOffset + int64(l.header.MaxTableEntries)*4
	requireSameBytes(t, l.file[from:end], after[from:end], from)
}

// sector reads a sector of the disk into p, which is zeros.
func (w witness) sector(p []byte, sector int64) sectorFate {
	for i := range w {
		l := &w[i]
		off := sector * vhd.SectorSize
		switch {
		case off >= l.footer.CurrentSize:
			return sectorRead
		case l.footer.Type == vhd.Fixed:
			copy(p, l.file[off:l.footerOff])
			return sectorRead
		}
		blockOff, inBlock := l.blockOff(off/l.header.BlockSize), off%l.header.BlockSize
		if blockOff < 0 {
			continue
		}
		if l.isMisplaced(blockOff) {
			return sectorCorrupt
		}
		if bit := inBlock / vhd.SectorSize; l.file[blockOff+bit/8]&(0x80>>(bit%8)) == 0 {
			continue
		}
		if data := blockOff + l.bitmapArea + inBlock; data < l.footerOff {
			copy(p, l.file[data:l.footerOff])
		}
		return sectorRead
	}
	if w[len(w)-1].footer.Type == vhd.Differencing {
		return sectorMissing
	}
	return sectorRead
}

// requireViews compares what was seen of a disk, sector by sector.
func (w witness) requireViews(t testing.TB, views []view) {
	t.Helper()
	for _, v := range views {
		want := make([]byte, v.n)
		for sector := range v.n / vhd.SectorSize {
			fate := w.sector(want[sector*vhd.SectorSize:][:vhd.SectorSize], v.off/vhd.SectorSize+sector)
			if _, failed := v.errs[sector]; failed != (fate != sectorRead) {
				require.Failf(t, "a sector reads, or does not", "sector %d of %v: error %q, witness %d", sector, v.place, v.errs[sector], fate)
			}
		}
		requireSameBytes(t, want, v.data, v.off)
	}
}
