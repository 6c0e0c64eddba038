package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/go-vhd/vhd"
)

const (
	syncEvery   = 1000     // writes
	clusterSize = 64 * kiB // of a qcow2 image as it is made here
)

// firstWrites compares writes of 4 KiB to new children, where nothing was
// written before.
type firstWrites struct {
	chains *chains
	rounds int
	n      int
	table  *table
}

func newFirstWrites(c *chains, depths []int, n, rounds int) *firstWrites {
	head := []string{"what writes"}
	for _, depth := range depths {
		head = append(head, fmt.Sprintf("on depth %d", depth))
	}
	n = min(n, int(c.size/clusterSize)) / syncEvery * syncEvery
	title := fmt.Sprintf("%s first writes of 4 KiB to a new child, a Sync every %s, thousands a second:", number(float64(n)), number(syncEvery))
	return &firstWrites{c, rounds, n, newTable(title, head, []string{
		"**VHD, by package vhd**, at random",
		"**VHD, by package vhd**, each to another 64 KiB",
		"qcow2, by qemu-img bench, the same places",
		"qcow2, by qemu-img bench, the same places, 64 at a time",
	})}
}

// measure writes to children of the images that are the leaves by now.
func (b *firstWrites) measure(column int) {
	progress("depth %d: first writes", b.chains.depth)
	takers := []*taker{
		{turn: b.ours(b.atRandom())},
		{turn: b.ours(b.apart())},
		{turn: b.qemu(1), err: b.chains.noQcow2},
		{turn: b.qemu(64), err: b.chains.noQcow2},
	}
	takeTurns(takers, b.rounds)
	b.table.fill(column, takers, b.rounds, func(took time.Duration) string {
		return number(float64(b.n) / 1000 / took.Seconds())
	})
}

// atRandom are places none of which comes twice.
func (b *firstWrites) atRandom() []int64 {
	rng := rand.New(rand.NewPCG(3, 0))
	places := make([]int64, b.n)
	for i, page := range rng.Perm(int(b.chains.size / small))[:b.n] {
		places[i] = int64(page) * small
	}
	return places
}

// apart are the places that qemu-img bench writes to: each is in a cluster of
// its own.
func (b *firstWrites) apart() []int64 {
	step := b.chains.stride(clusterSize)
	places := make([]int64, b.n)
	for i := range places {
		places[i] = int64(i) * step % b.chains.size
	}
	return places
}

// ours leaves out the Sync behind the last write, since qemu-img bench does not
// wait for that one.
func (b *firstWrites) ours(places []int64) func(int) (time.Duration, error) {
	return func(int) (time.Duration, error) {
		name := filepath.Join(b.chains.dir, "new.vhd")
		disk, err := vhd.Create(name, vhd.CreateOptions{Parent: b.chains.leaf("vhd")})
		if err != nil {
			return 0, err
		}
		took, err := writeAndSync(disk, places)
		return took, errors.Join(err, disk.Close(), os.Remove(name))
	}
}

func writeAndSync(disk *vhd.Disk, places []int64) (time.Duration, error) {
	p := make([]byte, small)
	p[0] = 1
	start := time.Now()
	for i, off := range places {
		if i > 0 && i%syncEvery == 0 {
			if err := disk.Sync(); err != nil {
				return 0, err
			}
		}
		if _, err := disk.WriteAt(p, off); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}

func (b *firstWrites) qemu(atATime int) func(int) (time.Duration, error) {
	return func(int) (time.Duration, error) {
		name := filepath.Join(b.chains.dir, "new.qcow2")
		if err := makeOverlay(name, b.chains.leaf("qcow2")); err != nil {
			return 0, err
		}
		took, err := runQemuBench(name, "-w",
			"-f", "qcow2",
			"-c", strconv.Itoa(b.n),
			"-d", strconv.Itoa(atATime),
			"-s", strconv.Itoa(small),
			"-S", strconv.FormatInt(b.chains.stride(clusterSize), 10),
			"--pattern", "1",
			"--flush-interval", strconv.Itoa(syncEvery))
		return took, errors.Join(err, os.Remove(name))
	}
}
