package vhd

import (
	"bytes"
	"io"
	"sync"
)

// table looks entries of one image's BAT up. It reads the BAT in pages when
// they are first needed, so that opening a large disk reads none of it.
type table struct {
	file     io.ReaderAt
	off      int64 // of the BAT in the file
	nentries int64 // that the disk's size needs: those behind are never looked at
	cache    *cache

	mu    sync.Mutex
	pages map[int64]*batPage
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

const batPageOverhead = 96 // bytes, with its places in the map and in the cache

func newTable(m *Image, c *cache) *table {
	return &table{file: m.file, off: m.header.TableOffset, nentries: m.nblocks, cache: c}
}

// entry is the entry of a block, as it is on disk.
func (t *table) entry(block int64) (batEntry, error) {
	page, err := t.page(block / batEntriesPerPage)
	if err != nil {
		return noBlock, err
	}
	page.touch()
	if page.entries == nil {
		return noBlock, nil
	}
	return batEntryOf(page.entries, block%batEntriesPerPage), nil
}

// absentFrom is for how many blocks, from block on, the page says at once that
// they are not allocated; 0: they have to be looked up.
func (t *table) absentFrom(block int64) int64 {
	page, err := t.page(block / batEntriesPerPage)
	if err != nil || page.entries != nil {
		return 0
	}
	page.touch()
	return batEntriesPerPage - block%batEntriesPerPage
}

// page is a page of the table, read if it must be.
func (t *table) page(index int64) (*batPage, error) {
	t.mu.Lock()
	page := t.pages[index]
	t.mu.Unlock()
	if page != nil {
		return page, nil
	}
	page, err := t.read(index)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	if other := t.pages[index]; other != nil {
		t.mu.Unlock()
		return other, nil
	}
	if t.pages == nil {
		t.pages = map[int64]*batPage{}
	}
	t.pages[index] = page
	t.mu.Unlock()
	t.cache.add(page)
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
	t.mu.Lock()
	page := t.pages[block/batEntriesPerPage]
	delete(t.pages, block/batEntriesPerPage)
	t.mu.Unlock()
	if page != nil {
		t.cache.remove(page)
	}
}

func (p *batPage) drop() {
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	if p.table.pages[p.index] == p {
		delete(p.table.pages, p.index)
	}
}
