package vhd

import (
	"cmp"
	"io"
	"slices"
)

// table looks entries of one image's BAT up. It reads the BAT in pages when
// they are first needed, so that opening a large disk reads none of it.
type table struct {
	file     io.ReaderAt
	off      int64 // of the BAT in the file
	nentries int64 // that the disk's size needs: those behind are never looked at
	cache    *cache
	pages    sparse[batPage]
}

const batEntriesPerPage = 1024

// batPage is a piece of a BAT. It never changes: when the table does, the page
// is forgotten.
type batPage struct {
	cacheNode
	table *table
	index int64

	// One of the two: all entries as they are on disk, or those of blocks that are
	// allocated, in order. A child of a large disk has few.
	entries []byte
	few     []batBlock
}

// batBlock is an entry of a page, and which one it is.
type batBlock struct {
	at    int32
	entry batEntry
}

const (
	batPageOverhead = 112 // bytes, with its place in the cache
	batBlockSize    = 8

	// fewBlocks is the most for which a list is kept: half of what entries take.
	fewBlocks = batEntriesPerPage * batEntrySize / batBlockSize / 2
)

func newTable(m *Image, c *cache) *table {
	npages := (m.nblocks + batEntriesPerPage - 1) / batEntriesPerPage
	return &table{file: m.file, off: m.header.TableOffset, nentries: m.nblocks, cache: c, pages: newSparse[batPage](npages)}
}

// entry is the entry of a block, as it is on disk.
func (t *table) entry(block int64) (batEntry, error) {
	page, err := t.page(block / batEntriesPerPage)
	if err != nil {
		return noBlock, err
	}
	return page.entry(block), nil
}

// firstBlock is the first block from block on and before end that the table has
// a place for, or that it can't be asked about; end if there is none.
func (t *table) firstBlock(block, end int64) int64 {
	for block < end {
		page, err := t.page(block / batEntriesPerPage)
		if err != nil {
			return block
		}
		if at := page.first(block % batEntriesPerPage); at < batEntriesPerPage {
			return min(page.index*batEntriesPerPage+at, end)
		}
		block = (page.index + 1) * batEntriesPerPage
	}
	return end
}

// page is a page of the table, read if it must be.
func (t *table) page(index int64) (*batPage, error) {
	if page := t.pages.get(index); page != nil {
		page.touch()
		return page, nil
	}
	page, err := t.read(index)
	if err != nil {
		return nil, err
	}
	slot := t.pages.slot(index)
	if slot.CompareAndSwap(nil, page) {
		t.cache.add(page)
	}
	return page, nil
}

func (t *table) read(index int64) (*batPage, error) {
	first := index * batEntriesPerPage
	entries := make([]byte, min(batEntriesPerPage, t.nentries-first)*batEntrySize)
	off := t.off + first*batEntrySize
	if err := readFull(t.file, entries, off); err != nil {
		return nil, inPart("BAT", off, err)
	}
	page := &batPage{table: t, index: index}
	page.keep(entries)
	return page, nil
}

// keep keeps entries, or what they say if that is less.
func (p *batPage) keep(entries []byte) {
	n := int64(len(entries)) / batEntrySize
	var few [fewBlocks]batBlock
	nfew := 0
	for at := range n {
		e := batEntryOf(entries, at)
		if e == noBlock {
			continue
		}
		if nfew == len(few) {
			p.entries = entries
			p.cost = batPageOverhead + int64(len(entries))
			return
		}
		few[nfew] = batBlock{int32(at), e}
		nfew++
	}
	p.few = slices.Clone(few[:nfew])
	p.cost = batPageOverhead + int64(cap(p.few))*batBlockSize
}

// forget drops the page that holds a block's entry, after that changed on disk.
func (t *table) forget(block int64) {
	index := block / batEntriesPerPage
	if t.pages.get(index) == nil {
		return
	}
	if page := t.pages.slot(index).Swap(nil); page != nil {
		t.cache.remove(page)
	}
}

// entry is a block's entry, which is on the page.
func (p *batPage) entry(block int64) batEntry {
	at := block % batEntriesPerPage
	if p.entries != nil {
		return batEntryOf(p.entries, at)
	}
	if i := p.find(at); i < len(p.few) && int64(p.few[i].at) == at {
		return p.few[i].entry
	}
	return noBlock
}

// first is the first entry from at on that has a place for a block;
// batEntriesPerPage if there is none.
func (p *batPage) first(at int64) int64 {
	if p.entries != nil {
		for ; at < int64(len(p.entries))/batEntrySize; at++ {
			if batEntryOf(p.entries, at) != noBlock {
				return at
			}
		}
		return batEntriesPerPage
	}
	if i := p.find(at); i < len(p.few) {
		return int64(p.few[i].at)
	}
	return batEntriesPerPage
}

// find is the index of the first of few blocks that is not in front of at.
func (p *batPage) find(at int64) int {
	i, _ := slices.BinarySearchFunc(p.few, at, func(b batBlock, at int64) int { return cmp.Compare(int64(b.at), at) })
	return i
}

func (p *batPage) drop() { p.table.pages.slot(p.index).CompareAndSwap(p, nil) }
