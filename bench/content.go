package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
)

const (
	kiB = 1 << 10
	miB = 1 << 20

	piece      = miB     // of a read of the whole disk
	small      = 4 * kiB // a random read or write
	blockBytes = 2 * miB // what the base's data comes in
)

// content is what the disk holds. It decides every byte.
type content struct {
	size   int64 // bytes of disk
	data   int64 // bytes in the base, in blocks spread evenly over the disk
	writes int   // of 4 KiB in every child, anywhere on the disk
}

func (c content) check() error {
	switch {
	case c.size <= 0 || c.size%blockBytes != 0 || c.data <= 0 || c.data%blockBytes != 0:
		return fmt.Errorf("size and data must be multiples of %d MiB", blockBytes/miB)
	case c.size < syncEvery*clusterSize:
		return errors.New("size must be at least 64 MiB, for the first writes")
	case c.size%c.data != 0:
		return errors.New("size must be a multiple of data")
	case c.writes < 0:
		return errors.New("writes must not be negative")
	}
	return nil
}

// writeBase writes what the base holds: noise, which nobody can store as zeros.
func (c content) writeBase(w io.WriterAt) error {
	noise := rand.NewChaCha8([32]byte{1})
	block := make([]byte, blockBytes)
	for off := int64(0); off < c.size; off += blockBytes * (c.size / c.data) {
		_, _ = noise.Read(block) // never fails
		if _, err := w.WriteAt(block, off); err != nil {
			return err
		}
	}
	return nil
}

// fill is a write of 4 KiB of one byte, which qemu-io can do as well.
type fill struct {
	off   int64
	value byte
}

// fills are the writes to the child at a level, 1 being the base's child.
func (c content) fills(level int) []fill {
	rng := rand.New(rand.NewPCG(1, uint64(level)))
	fills := make([]fill, c.writes)
	for i := range fills {
		fills[i] = fill{rng.Int64N(c.size/small) * small, byte(1 + rng.IntN(255))}
	}
	return fills
}

func (c content) writeLevel(w io.WriterAt, level int) error {
	for _, f := range c.fills(level) {
		if _, err := w.WriteAt(bytes.Repeat([]byte{f.value}, small), f.off); err != nil {
			return err
		}
	}
	return nil
}

// places are n random offsets for reads of 4 KiB.
func (c content) places(n int) []int64 {
	rng := rand.New(rand.NewPCG(2, 0))
	places := make([]int64, n)
	for i := range places {
		places[i] = rng.Int64N(c.size/small) * small
	}
	return places
}

// stride is a step in bytes, a multiple of unit, that visits all units of the
// disk, far from each other, before one comes again. It is what qemu-img bench
// can do instead of choosing at random.
func (c content) stride(unit int64) int64 {
	const limit = 1<<31 - 1 // of qemu-img
	units := c.size / unit
	step := min(units*382/1000, limit/unit)
	for step > 1 && gcd(step, units) != 1 {
		step--
	}
	return max(step, 1) * unit
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
