package vhd_test

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/go-vhd/vhd"
)

// promise is what may be read of a disk, sector by sector: by who uses it, and
// by who opens it after a crash.
type promise struct {
	// versions of each sector: what was synced last, and all that was written
	// since. The last one is what the disk reads as now.
	versions [][][]byte
	// unsure are the sectors that a failed call may have written or not.
	unsure []bool
	// changes counts how often another content became possible, or impossible.
	changes int
	// last are the sectors of the last call that wrote, from to.
	lastFrom, lastTo int
	// sizes that may be found, bytes; the last one is what the disk is to have. A
	// sector that has a version and is behind it reads as zeros once it is there.
	sizes []int
}

// newPromise is of a disk that holds content, all of it durable.
func newPromise(content []byte) *promise {
	p := &promise{}
	p.restart(content)
	return p
}

// restart is what a crash does: what is read then is all there is.
func (p *promise) restart(content []byte) {
	p.resizing(len(content))
	for sector := range len(content) / vhd.SectorSize {
		p.versions[sector] = [][]byte{bytes.Clone(sectorOfContent(content, sector))}
	}
	clear(p.unsure)
	p.resized()
}

// resizing notes that the disk is about to get another size.
func (p *promise) resizing(size int) {
	p.changes++
	p.sizes = append(slices.Clone(p.sizes), size)
	for len(p.versions)*vhd.SectorSize < size {
		p.versions = append(p.versions, [][]byte{make([]byte, vhd.SectorSize)})
		p.unsure = append(p.unsure, false)
	}
}

// resized notes that the disk has that size, for good.
func (p *promise) resized() {
	p.changes++
	p.sizes = p.sizes[len(p.sizes)-1:]
	for sector := p.size() / vhd.SectorSize; sector < len(p.versions); sector++ {
		p.versions[sector] = [][]byte{make([]byte, vhd.SectorSize)}
		p.unsure[sector] = false
	}
}

// notResized notes that the disk has the size that it had.
func (p *promise) notResized() { p.sizes = p.sizes[:len(p.sizes)-1] }

func sectorOfContent(content []byte, sector int) []byte {
	return content[sector*vhd.SectorSize:][:vhd.SectorSize]
}

func (p *promise) size() int { return p.sizes[len(p.sizes)-1] }

// nsectors is how many sectors the disk has.
func (p *promise) nsectors() int { return p.size() / vhd.SectorSize }

// now is what a sector reads as.
func (p *promise) now(sector int) []byte {
	return p.versions[sector][len(p.versions[sector])-1]
}

// with is the promise with another version of one sector, in flight.
func (p *promise) with(sector int, version []byte) *promise {
	more := *p
	more.versions = slices.Clone(p.versions)
	more.versions[sector] = append(slices.Clone(p.versions[sector]), version)
	return &more
}

// writing notes that b is about to be written at off.
func (p *promise) writing(b []byte, off int) {
	p.changes++
	p.lastFrom, p.lastTo = off/vhd.SectorSize, (off+len(b)+vhd.SectorSize-1)/vhd.SectorSize
	for len(b) > 0 {
		sector, in := off/vhd.SectorSize, off%vhd.SectorSize
		version := bytes.Clone(p.now(sector))
		n := copy(version[in:], b)
		p.versions[sector] = append(p.versions[sector], version)
		b, off = b[n:], off+n
	}
}

// frozen is the promise of a disk that nobody writes to any more, all of it
// durable.
func (p *promise) frozen() *promise {
	content := make([]byte, 0, p.size())
	for sector := range p.nsectors() {
		content = append(content, p.now(sector)...)
	}
	frozen := newPromise(content)
	for sector, unsure := range p.unsure[:p.nsectors()] {
		if n := len(p.versions[sector]); unsure && n > 1 {
			frozen.versions[sector] = slices.Clone(p.versions[sector][n-2:])
		}
	}
	return frozen
}

// failed notes that the call which was to write n bytes at off failed: each
// sector is as it was, or as it was to be.
func (p *promise) failed(off, n int) {
	for sector := off / vhd.SectorSize; sector*vhd.SectorSize < off+n; sector++ {
		p.unsure[sector] = true
	}
}

// mark remembers what has been written so far, for synced.
func (p *promise) mark() []int {
	mark := make([]int, len(p.versions))
	for sector, versions := range p.versions {
		mark[sector] = len(versions)
	}
	return mark
}

// synced notes that what had been written by mark is durable (P1).
func (p *promise) synced(mark []int) {
	p.changes++
	for sector, n := range mark {
		p.versions[sector] = slices.Clip(p.versions[sector][n-1:])
	}
}

// live is what is wrong with what the disk reads as. What was unsure is known
// now.
func (p *promise) live(content []byte) error {
	if len(content) != p.size() {
		return fmt.Errorf("a disk of %d bytes, want %d", len(content), p.size())
	}
	for sector := range p.nsectors() {
		got := sectorOfContent(content, sector)
		if bytes.Equal(got, p.now(sector)) {
			continue
		}
		versions := p.versions[sector]
		if !p.unsure[sector] || len(versions) < 2 || !bytes.Equal(got, versions[len(versions)-2]) {
			return fmt.Errorf("sector %d reads as %.20q…, want %.20q…", sector, got, p.now(sector))
		}
		p.versions[sector] = append(versions, bytes.Clone(got))
	}
	clear(p.unsure)
	return nil
}

// reopened is what is wrong with what the disk reads as after a Close that
// failed: any version may be what the file holds.
func (p *promise) reopened(content []byte) error {
	if _, err := p.afterCrash(content); err != nil {
		return err
	}
	for sector := range p.nsectors() {
		p.versions[sector] = append(p.versions[sector], bytes.Clone(sectorOfContent(content, sector)))
	}
	clear(p.unsure)
	return nil
}

// afterCrash is what is wrong with what the disk reads as after a crash. torn
// says that the last call which wrote is there in part.
func (p *promise) afterCrash(content []byte) (torn bool, err error) {
	var old, fresh bool
	if !slices.Contains(p.sizes, len(content)) {
		return false, fmt.Errorf("P2: a disk of %d bytes, want one of %v", len(content), p.sizes)
	}
	for sector, versions := range p.versions[:len(content)/vhd.SectorSize] {
		got := sectorOfContent(content, sector)
		at := slices.IndexFunc(versions, func(v []byte) bool { return bytes.Equal(v, got) })
		if at < 0 {
			broken := "P2: neither old nor new"
			if len(versions) == 1 {
				broken = "P1: not what was synced"
			}
			return false, fmt.Errorf("sector %d is %s: %.20q…", sector, broken, got)
		}
		if sector >= p.lastFrom && sector < p.lastTo && len(versions) > 1 {
			isNew := bytes.Equal(got, p.now(sector))
			old, fresh = old || !isNew, fresh || isNew
		}
	}
	return old && fresh, nil
}
