package vhd

import (
	"cmp"
	"context"
	"runtime"
	"sync"
)

const (
	bulkBuffer = 512 << 10 // small enough to stay in a core's cache between reading and writing

	// maxBulkWorkers bounds the copies that run at once. More than one hides the
	// time of reading behind that of writing; many only wait for the same disk.
	maxBulkWorkers = 4
)

// bulk goes through size bytes in pieces, several at a time.
type bulk struct {
	size     int64
	piece    int64 // what one worker takes at a time
	progress func(done, total int64)

	mu    sync.Mutex
	next  int64          // offset of the piece that is taken next
	ended map[int64]bool // pieces that are done before one in front of them
	done  int64          // all in front of it is done
	err   error          // the first
}

// run calls work for all pieces, with a buffer that no other call has, and
// returns up to where all of them are done. The first error, or the end of ctx,
// ends it.
func (b *bulk) run(ctx context.Context, work func(buf []byte, off, n int64) error) (int64, error) {
	b.ended = map[int64]bool{}
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), maxBulkWorkers) {
		workers.Go(func() {
			buf := make([]byte, bulkBuffer)
			for off, ok := b.take(ctx); ok; off, ok = b.take(ctx) {
				b.end(off, work(buf, off, min(b.piece, b.size-off)))
			}
		})
	}
	workers.Wait()
	return b.done, b.err
}

// take is the next piece, if there is one to do.
func (b *bulk) take(ctx context.Context) (off int64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil && b.next < b.size {
		b.err = ctx.Err()
	}
	off, ok = b.next, b.err == nil && b.next < b.size
	if ok {
		b.next += b.piece
	}
	return off, ok
}

// end notes that a piece is done, or why it is not.
func (b *bulk) end(off int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.err = cmp.Or(b.err, err) // the first counts
		return
	}
	b.ended[off] = true
	for b.ended[b.done] {
		delete(b.ended, b.done)
		b.done = min(b.done+b.piece, b.size)
	}
	if b.progress != nil && b.err == nil {
		b.progress(b.done, b.size)
	}
}
