package vhd

import "sync/atomic"

// sparse is a large table of pointers that are nearly all nil, in two levels of
// which the second comes into being where it is needed. Neither looking up nor
// storing takes a lock.
type sparse[T any] struct {
	pages []atomic.Pointer[sparsePage[T]]
}

const sparsePageSize = 512

type sparsePage[T any] [sparsePageSize]atomic.Pointer[T]

// newSparse makes a table for indices from 0 to n-1.
func newSparse[T any](n int64) sparse[T] {
	return sparse[T]{make([]atomic.Pointer[sparsePage[T]], (n+sparsePageSize-1)/sparsePageSize)}
}

// get is what is stored at an index, or nil, as it is behind the table's end.
func (s *sparse[T]) get(index int64) *T {
	at := index / sparsePageSize
	if at >= int64(len(s.pages)) {
		return nil
	}
	page := s.pages[at].Load()
	if page == nil {
		return nil
	}
	return page[index%sparsePageSize].Load()
}

// slot is where the pointer of an index is stored.
func (s *sparse[T]) slot(index int64) *atomic.Pointer[T] {
	at := &s.pages[index/sparsePageSize]
	if at.Load() == nil {
		at.CompareAndSwap(nil, new(sparsePage[T])) // or another was quicker
	}
	return &at.Load()[index%sparsePageSize]
}
