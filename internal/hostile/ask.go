package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// outcome is what came of asking a reader for an image.
type outcome string

const (
	right          outcome = "right"
	refusesRightly outcome = "refuses rightly" // what can't be read, or not all of it
	refuses        outcome = "refuses"         // what can be read
	wrongBytes     outcome = "wrong bytes"     // and says nothing
	accepts        outcome = "accepts"         // what can't be read, and says nothing
	hangs          outcome = "hangs"
	crashes        outcome = "crashes"
	notAsked       outcome = "-"
	notRight       outcome = "not right" // of this package: then the program says why
)

var (
	good = []outcome{right, refusesRightly, refuses}
	bad  = []outcome{wrongBytes, accepts, hangs, crashes}
)

// inTable makes what is bad stand out.
func (o outcome) inTable() string {
	if slices.Contains(bad, o) {
		return "**" + string(o) + "**"
	}
	return string(o)
}

const (
	// patience is how long another reader may take.
	patience = 10 * time.Second
	// enough of a disk that can't be read.
	enough = 64 << 20

	// nruns is how often this package is asked. The quickest time counts: what
	// made the others slower was other programs, and the disk.
	nruns           = 5
	maxMilliseconds = 50
	maxBytes        = 16 << 20
)

// ask asks another reader.
func ask(reader vhdtest.Reader, image *vhdtest.HostileImage, dir string) outcome {
	chain := []string{vhdtest.HostileLeaf}
	switch reader.Name {
	case vhdtest.Qemu.Name:
		if image.Child { // it reads them without their parents
			return notAsked
		}
	case vhdtest.Libvhdi.Name:
		if chain = image.Told; chain == nil {
			return notAsked
		}
	}
	names := make([]string, len(chain))
	for i, name := range chain {
		names[i] = filepath.Join(dir, leafDir, name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := comparison{image: image, isContent: true, isAlso: image.Also != nil}
	err := reader.Ask(ctx, &c, names...)
	exit, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case c.isOver: // and was stopped
		err = nil
	case ctx.Err() != nil:
		return hangs
	case exited && exit.ExitCode() < 0:
		return crashes
	}
	return c.outcome(err)
}

// comparison compares what a reader writes with what must come.
type comparison struct {
	image             *vhdtest.HostileImage
	n                 int // bytes so far
	isContent, isAlso bool
	isOver            bool
}

var errOver = errors.New("seen enough")

func (c *comparison) Write(p []byte) (int, error) {
	c.isContent = c.isContent && c.continues(c.image.Content, p)
	c.isAlso = c.isAlso && c.continues(c.image.Also, p)
	c.n += len(p)
	if c.isOver = c.n > enough; c.isOver {
		return 0, errOver
	}
	return len(p), nil
}

func (c *comparison) continues(content, p []byte) bool {
	return c.n+len(p) <= len(content) && bytes.Equal(content[c.n:c.n+len(p)], p)
}

func (c *comparison) outcome(err error) outcome {
	image := c.image
	unreadable := image.Refused != vhdtest.Sound || image.Lost != nil
	switch {
	case image.LeftOpen:
		return notAsked // but for whether it hangs or crashes
	case err != nil && unreadable:
		return refusesRightly
	case err != nil:
		return refuses
	case image.Refused != vhdtest.Sound:
		return accepts
	case image.Lost != nil:
		return wrongBytes
	case c.isContent && c.n == len(image.Content), c.isAlso && c.n == len(image.Also):
		return right
	}
	return wrongBytes
}

// measured is what came of this package's reading and writing.
type measured struct {
	outcome outcome
	err     error // what did not come as it must
	ms      float64
	bytes   uint64 // allocated in all
}

// askOurs has this package read and write the image, in a directory of its own
// each time, since what it writes stays written.
func askOurs(image *vhdtest.HostileImage, dir string) (measured, error) {
	var best measured
	for run := range nruns {
		if err := put(image, dir); err != nil {
			return best, err
		}
		m, err := askOursOnce(image, dir)
		if err != nil {
			return best, err
		}
		if run == 0 || m.err != nil || best.err == nil && m.ms < best.ms {
			best = m
		}
		if err := os.RemoveAll(dir); err != nil {
			return best, err
		}
	}
	return best, nil
}

func askOursOnce(image *vhdtest.HostileImage, dir string) (measured, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return measured{}, err
	}
	defer root.Close()
	m := measured{outcome: right}
	if image.Refused != vhdtest.Sound {
		m.outcome = refusesRightly
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	m.err = image.Check(vhd.RootFS(root), leafDir)
	m.ms = float64(time.Since(start).Microseconds()) / 1000
	runtime.ReadMemStats(&after)
	m.bytes = after.TotalAlloc - before.TotalAlloc
	if m.err != nil {
		m.outcome = notRight
	}
	return m, nil
}

// verdict is what is wrong with ours.
func (m measured) verdict() error {
	switch {
	case m.err != nil:
		return m.err
	case m.ms > maxMilliseconds:
		return fmt.Errorf("%.1f ms, want %d at most", m.ms, maxMilliseconds)
	case m.bytes > maxBytes:
		return fmt.Errorf("%d bytes of memory, want %d at most", m.bytes, maxBytes)
	}
	return nil
}
