package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// benchExport compares ways to make a raw file of a chain, until it is on
// stable storage: vhd export waits for that, the others are made to.
func benchExport(c *chains, command string, rounds int) *table {
	progress("depth %d: export", c.depth)
	out := filepath.Join(c.dir, "export.raw")
	takers := []*taker{
		{turn: export(c, "vhd", out, command, "export", c.leaf("vhd"), out)},
		{turn: export(c, "qcow2", out, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", c.leaf("qcow2"), out), err: c.noQcow2},
		{turn: export(c, "raw", out, "cp", "--sparse=always", c.raw(), out)},
	}
	takeTurns(takers, rounds)
	t := newTable(fmt.Sprintf("A chain of %d, copied to a raw file with holes, seconds until it is on stable storage:", c.depth),
		[]string{"what copies", "s"},
		[]string{"**VHD, by `vhd export`**", "qcow2, by `qemu-img convert`", "the raw file, by `cp --sparse=always`"})
	t.fill(0, takers, rounds, func(took time.Duration) string { return number(took.Seconds()) })
	return t
}

// export runs a program that makes the file out of what is in a format, and is in
// the page cache. The first time, it also looks whether that is right.
func export(c *chains, format, out, program string, args ...string) func(int) (time.Duration, error) {
	return func(round int) (time.Duration, error) {
		if err := warm(c.files(format)); err != nil {
			return 0, err
		}
		start := time.Now()
		if err := errors.Join(run(program, args...), syncFile(out)); err != nil {
			return 0, err
		}
		took := time.Since(start)
		if round == 0 {
			if err := c.checkRaw(out); err != nil {
				return 0, err
			}
		}
		return took, os.Remove(out)
	}
}

func syncFile(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (c *chains) checkRaw(name string) error {
	got, err := sumOfFile(name)
	if err != nil {
		return err
	}
	if want, err := c.sum(); err != nil || got != want {
		return errors.Join(errWrongBytes, err)
	}
	return nil
}
