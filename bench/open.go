package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// benchOpening compares how long it takes to open the chains, as deep as they
// are, and to close them.
func benchOpening(c *chains, programs, placesFile string, rounds int) *table {
	progress("depth %d: opening", c.depth)
	libvhdi := newReopener(filepath.Join(programs, "libvhdi"), placesFile, c.images("vhd"))
	defer libvhdi.close()
	libqcow := newReopener(filepath.Join(programs, "libqcow"), placesFile, c.images("qcow2"))
	defer libqcow.close()
	takers := []*taker{
		{turn: openAndClose(openVHD, c)},
		{turn: libvhdi.turn, err: libvhdi.err},
		{turn: openAndClose(openQcow2, c), err: c.noQcow2},
		{turn: libqcow.turn, err: errors.Join(c.noQcow2, libqcow.err)},
	}
	takeTurns(takers, rounds)
	t := newTable(fmt.Sprintf("A chain of %d, opened and closed, milliseconds:", c.depth),
		[]string{"what opens", "ms"},
		[]string{"**VHD, by package vhd**", "VHD, by libvhdi (C)", "qcow2, by go-qcow2reader (Go)", "qcow2, by libqcow (C)"})
	t.fill(0, takers, rounds, func(took time.Duration) string { return number(took.Seconds() * 1000) })
	return t
}

func openAndClose(open opener, c *chains) func(int) (time.Duration, error) {
	return func(int) (time.Duration, error) {
		start := time.Now()
		disk, err := open(c)
		if err != nil {
			return 0, err
		}
		err = disk.Close()
		return time.Since(start), err
	}
}

// reopener has a program of readers/ open a chain time after time.
type reopener struct {
	*served
	err error
}

func newReopener(program, placesFile string, names []string) *reopener {
	if err := missing(program); err != nil {
		return &reopener{err: err}
	}
	served, err := serve(program, placesFile, names)
	return &reopener{served, err}
}

func (r *reopener) turn(int) (time.Duration, error) { return r.reopen() }

func (r *reopener) close() {
	if r.err == nil {
		_ = r.Close() // it only read
	}
}
