package main

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/lima-vm/go-qcow2reader"

	"github.com/go-vhd/vhd"
)

// reader reads one disk, over and over. What it can't do is
// errors.ErrUnsupported.
type reader interface {
	// whole is how long it takes to read all of the disk in order.
	whole() (time.Duration, error)
	// random is how long it takes to read 4 KiB at each of n places, from the
	// given one on.
	random(from, n int) (time.Duration, error)
	// sum is the sha256 of the disk.
	sum() (string, error)
	io.Closer
}

// disk is one that a Go library reads.
type disk interface {
	io.ReaderAt
	io.Closer
}

// inProcess is the reader of such a disk.
type inProcess struct {
	disk   disk
	size   int64
	places []int64
	p      [piece]byte
}

func (r *inProcess) whole() (time.Duration, error) {
	start := time.Now()
	for off := int64(0); off < r.size; off += piece {
		if err := r.read(r.p[:min(piece, r.size-off)], off); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}

func (r *inProcess) random(from, n int) (time.Duration, error) {
	start := time.Now()
	for _, off := range r.places[from : from+n] {
		if err := r.read(r.p[:small], off); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}

// read takes the end of the disk for no error: a ReaderAt may tell of it with
// the last byte.
func (r *inProcess) read(p []byte, off int64) error {
	n, err := r.disk.ReadAt(p, off)
	if n == len(p) && errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (r *inProcess) sum() (string, error) { return sumOf(io.NewSectionReader(r.disk, 0, r.size)) }

func (r *inProcess) Close() error { return r.disk.Close() }

// opener opens the disk as a Go value.
type opener func(c *chains) (disk, error)

func openRaw(c *chains) (disk, error) { return os.Open(c.raw()) }

func openVHD(c *chains) (disk, error) { return vhd.Open(c.leaf("vhd"), nil) }

func openQcow2(c *chains) (disk, error) {
	f, err := os.Open(c.leaf("qcow2"))
	if err != nil {
		return nil, err
	}
	img, err := qcow2reader.Open(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := img.Readable(); err != nil {
		return nil, errors.Join(err, img.Close())
	}
	return img, nil
}

func openInProcess(open opener, c *chains, places []int64) (reader, error) {
	disk, err := open(c)
	if err != nil {
		return nil, err
	}
	return &inProcess{disk: disk, size: c.size, places: places}, nil
}
