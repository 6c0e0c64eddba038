package vhd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"runtime"
	"sync"
	"syscall"
)

const (
	bulkPiece  = windowSize // what one worker takes at a time: so each block map is made once
	bulkBuffer = 512 << 10  // small enough to stay in a core's cache between reading and writing

	// maxBulkWorkers bounds the copies that run at once. More than one hides the
	// time of reading behind that of writing; many only wait for the same disk.
	maxBulkWorkers = 4

	// holeUnit is what file systems have holes in multiples of.
	holeUnit = 4096
)

// bulk goes through size bytes in pieces, several at a time.
type bulk struct {
	size     int64
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
				b.end(off, work(buf, off, min(bulkPiece, b.size-off)))
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
		b.next += bulkPiece
	}
	return off, ok
}

// end notes that a piece is done, or why it is not.
func (b *bulk) end(off int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.err = joinedFirst(b.err, err)
		return
	}
	b.ended[off] = true
	for b.ended[b.done] {
		delete(b.ended, b.done)
		b.done = min(b.done+bulkPiece, b.size)
	}
	if b.progress != nil && b.err == nil {
		b.progress(b.done, b.size)
	}
}

// joinedFirst is the first of two errors.
func joinedFirst(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// run is a piece of a buffer, zeros or not.
type run struct {
	from, to int
	zeros    bool
}

// runs takes p, which begins at a multiple of unit, apart into zeros, whole units
// of them, and data.
func runs(p []byte, unit int) iter.Seq[run] {
	return func(yield func(run) bool) {
		var r run
		for at := 0; at < len(p); at = r.to {
			end := min(at+unit, len(p))
			zeros := isZero(p[at:end])
			if zeros != r.zeros && r.to > r.from {
				if !yield(r) {
					return
				}
				r.from = at
			}
			r.to, r.zeros = end, zeros
		}
		if len(p) > 0 {
			yield(r)
		}
	}
}

func isZero(p []byte) bool { return bytes.Equal(p, zeroBytes[:len(p)]) }

// dataOf yields the pieces of a file between off and end that may hold anything
// but zeros: all of it where holes can't be told. It moves the file's position.
func dataOf(r io.ReaderAt, off, end int64) iter.Seq2[int64, int64] {
	return func(yield func(from, to int64) bool) {
		for off < end {
			from, to := nextData(r, off, end)
			if from < to && !yield(from, to) {
				return
			}
			off = to
		}
	}
}

// nextData is the first of them. What is in front of from is a hole.
func nextData(r io.ReaderAt, off, end int64) (from, to int64) {
	f, ok := r.(interface {
		io.Seeker
		syscall.Conn // it is one of the operating system's
	})
	if !ok || seekData == seekHole {
		return off, end
	}
	from, err := f.Seek(off, seekData)
	if errors.Is(err, errNoData) {
		return end, end
	}
	if err != nil || from < off {
		return off, end // it can't tell
	}
	if from >= end {
		return end, end
	}
	to, err = f.Seek(from, seekHole)
	if err != nil || to <= from {
		return from, end
	}
	return from, min(to, end)
}
