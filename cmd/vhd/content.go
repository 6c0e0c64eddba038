package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"math"
	"os"

	"github.com/go-vhd/vhd"
)

// content is what a disk, or a raw file, reads as, and where that is stored. Behind its
// end are zeros.
type content struct {
	io.Closer
	name    string
	size    int64
	reader  io.ReaderAt
	extents iter.Seq2[vhd.FileExtent, error]
	files   []fs.FileInfo // by the depth of extents; nil: not known
}

// openContent opens a file as the format that it has, or that was said.
func openContent(ctx context.Context, a *app, name string, format *formatValue) (*content, error) {
	if format.isRaw(name) {
		return openRawContent(name)
	}
	d, err := a.open(name)
	if err != nil {
		return nil, err
	}
	return contentOf(ctx, name, d), nil
}

// contentOf is that of a disk, whose leaf is called name.
func contentOf(ctx context.Context, name string, d *vhd.Disk) *content {
	c := &content{Closer: d, name: name, size: d.Size(), reader: d, extents: extentsOf(ctx, d, nil)}
	for _, img := range d.Chain() {
		info, err := os.Stat(img.Name())
		if err != nil {
			info = nil
		}
		c.files = append(c.files, info)
	}
	return c
}

// extentsOf is where all of a disk is stored, in pieces: who is to stop, or to tell how far it is, need
// not wait for the end of a large hole. Progress may be nil. The end of ctx is the last error.
func extentsOf(ctx context.Context, d *vhd.Disk, progress func(done, total int64)) iter.Seq2[vhd.FileExtent, error] {
	const piece = 1 << 30
	return func(yield func(vhd.FileExtent, error) bool) {
		for off := int64(0); off < d.Size(); off += piece {
			if err := ctx.Err(); err != nil {
				yield(vhd.FileExtent{}, err)
				return
			}
			if progress != nil {
				progress(off, d.Size())
			}
			for e, err := range d.FileExtents(off, piece) {
				if !yield(e, err) {
					return
				}
			}
		}
	}
}

// openRawContent opens a raw file. What is missing of its last sector is zeros.
func openRawContent(name string) (*content, error) {
	f, size, err := openFile(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(inFile(name, err), f.Close())
	}
	all := vhd.FileExtent{Extent: vhd.Extent{Length: sectorsUp(size)}}
	return &content{
		Closer: f, name: name, size: size, reader: f, files: []fs.FileInfo{info},
		extents: func(yield func(vhd.FileExtent, error) bool) { yield(all, nil) },
	}, nil
}

// sectorsUp is n, bytes, rounded up to whole sectors.
func sectorsUp(n int64) int64 { return n + (vhd.SectorSize-n%vhd.SectorSize)%vhd.SectorSize }

// read fills p with what is at off.
func (c *content) read(p []byte, off int64) error {
	there := int(min(max(c.size-off, 0), int64(len(p))))
	clear(p[there:])
	n, err := c.reader.ReadAt(p[:there], off)
	switch {
	case n == there:
		return nil
	case errors.Is(err, io.EOF): // a raw file has become shorter
		return inFile(c.name, io.ErrUnexpectedEOF)
	}
	return inRaw(c.name, err)
}

// cursor passes once over where a content is stored.
type cursor struct {
	content *content
	next    func() (vhd.FileExtent, error, bool)
	now     vhd.FileExtent
}

func (c *content) cursor() (at *cursor, stop func()) {
	next, stop := iter.Pull2(c.extents)
	return &cursor{content: c, next: next}, stop
}

// at comes to the byte at off, which is not in front of one that it was at, and returns
// where what is stored with it ends.
func (c *cursor) at(off int64) (end int64, err error) {
	for off >= c.now.Offset+c.now.Length {
		e, err, more := c.next()
		switch {
		case err != nil:
			return 0, err
		case !more:
			e.Extent = vhd.Extent{Offset: off, Length: math.MaxInt64 - off, Depth: vhd.Hole}
		}
		c.now = e
	}
	return c.now.Offset + c.now.Length, nil
}

// isStoredWith says whether what both are at, from off on, is zeros that no file holds, or the same
// bytes of the same file.
func (c *cursor) isStoredWith(o *cursor) bool {
	if c.now.Depth == vhd.Hole || o.now.Depth == vhd.Hole {
		return c.now.Depth == o.now.Depth
	}
	mine, other := c.content.files[c.now.Depth], o.content.files[o.now.Depth]
	return mine != nil && other != nil && os.SameFile(mine, other) &&
		c.now.FileOffset-c.now.Offset == o.now.FileOffset-o.now.Offset
}
