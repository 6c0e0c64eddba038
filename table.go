package vhd

import (
	"bytes"
	"io"
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
	table   *table
	index   int64
	entries []byte // as on disk; nil: no block of the page is allocated
}

const batPageOverhead = 96 // bytes, with its place in the cache

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
		next := min((page.index+1)*batEntriesPerPage, end)
		if page.entries == nil {
			block = next
		}
		for ; block < next; block++ {
			if page.entry(block) != noBlock {
				return block
			}
		}
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
	if bytes.Count(entries, []byte{0xFF}) < len(entries) {
		page.entries = entries
	}
	page.cost = batPageOverhead + int64(len(page.entries))
	return page, nil
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
	if p.entries == nil {
		return noBlock
	}
	return batEntryOf(p.entries, block%batEntriesPerPage)
}

func (p *batPage) drop() { p.table.pages.slot(p.index).CompareAndSwap(p, nil) }
