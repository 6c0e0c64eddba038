package vhdtest

import (
	"bytes"
	"iter"
	"math/rand/v2"
	"slices"
)

// Order says which unsynced changes may be found after a crash without others
// that came before them.
type Order int

const (
	// AnyOrder is the worst storage allowed: each sector, each size change and
	// each change of a name is found or not, whatever became of the others.
	AnyOrder Order = iota

	// AppendOrder is how journaling file systems behave that write data before
	// the size that uncovers it: of the size changes and the sectors behind
	// the end of a file the first so many are found, and so of the changes of
	// names. Sectors within the file as in AnyOrder.
	AppendOrder

	// PrefixOrder is storage that forgets and never reorders: of all changes
	// of a file the first so many are found, and so of the changes of names.
	PrefixOrder
)

// Space says what a crash leaves in the part of a file that was never written.
// What NewCrashFS was given is not touched.
type Space int

const (
	SpaceZeros Space = iota // zeros, as POSIX says
	SpaceNoise              // garbage, also where the size was synced
	SpaceStale              // garbage, and copies of the file's own first and last sectors
)

// effect is a part of a call that is found after a crash as a whole or not
// at all: a sector, or a change of the size.
type effect struct {
	off     int64
	data    []byte // the sector as it reads after the call; nil: a change of the size
	size    int64  // of the file after the call
	implied bool   // a change of the size that a write brought with it
	grows   bool   // a sector that reaches behind the end the file had
	lost    bool   // a sync of it failed: the next one does not make it durable
}

// crashNode is a file: what of it is durable, and what happened to it since.
type crashNode struct {
	live    *memNode
	durable sparse
	effects []effect
	first   int64 // number of effects that are gone from the front of the list
	doubted bool  // a sync failed: live content may be none that was ever durable
}

func newCrashNode(live *memNode, durable sparse) *crashNode {
	durable.settle()
	return &crashNode{live: live, durable: durable}
}

// sectors is what the sectors of a range held.
type sectors struct {
	off     int64
	data    []byte
	written []bool
}

func (s *sparse) sectors(off, n int64) sectors {
	from := off / sectorSize * sectorSize
	count := (off + n - from + sectorSize - 1) / sectorSize
	read := sectors{off: from, data: make([]byte, count*sectorSize), written: make([]bool, count)}
	s.readAt(read.data, from)
	for i := range read.written {
		read.written[i] = s.isWritten(from/sectorSize + int64(i))
	}
	return read
}

func (s sectors) sector(i int) []byte { return s.data[i*sectorSize:][:sectorSize:sectorSize] }

// wrote notes a write, given what the sectors held before it and the size
// that the file had.
func (n *crashNode) wrote(was sectors, size int64) {
	live := &n.live.data
	if live.size > size {
		n.effects = append(n.effects, effect{size: live.size, implied: true})
	}
	now := live.sectors(was.off, int64(len(was.data)))
	for i := range was.written {
		e := effect{off: was.off + int64(i)*sectorSize, data: now.sector(i), size: live.size}
		e.grows = min(e.off+sectorSize, e.size) > size
		// A sector that was rewritten with what it held is one state fewer.
		if e.grows || n.doubted || !was.written[i] || !bytes.Equal(was.sector(i), e.data) {
			n.effects = append(n.effects, e)
		}
	}
}

// truncated notes a change of the size.
func (n *crashNode) truncated(size int64) {
	if n.live.data.size != size || n.doubted {
		n.effects = append(n.effects, effect{size: n.live.data.size})
	}
}

// next returns the number that the next effect will have.
func (n *crashNode) next() int64 { return n.first + int64(len(n.effects)) }

// persist makes durable what happened before the effect numbered end.
func (n *crashNode) persist(end int64) {
	for len(n.effects) > 0 && n.first < end {
		if e := n.effects[0]; !e.lost {
			n.durable.apply(e, true)
		}
		n.effects = n.effects[1:]
		n.first++
	}
	n.effects = slices.Clone(n.effects) // lets go of the sectors in front
}

// failSync drops what is not yet durable, as the page cache of an operating
// system does: reads see it, and no later sync writes it.
func (n *crashNode) failSync() {
	n.doubted = true
	for i := range n.effects {
		n.effects[i].lost = true
	}
}

// apply does to a file what e did. Where e is a sector behind the end of the
// file, extend says whether the file grows. If not, the sector is hidden, and
// is lost if nothing else makes the file grow: see hide.
func (s *sparse) apply(e effect, extend bool) {
	size := s.size
	switch {
	case e.data != nil:
		s.writeAt(e.data, e.off) // whole: a sector that the end lies in is not torn there
		if extend {
			size = max(size, min(e.off+sectorSize, e.size))
		}
	case e.implied:
		size = max(size, e.size) // a write cuts nothing off
	default:
		size = e.size
		s.cut(size)
	}
	s.size = size
}

// hide drops what was written behind the end.
func (s *sparse) hide() { s.cut(s.size) }

// crash returns what may be found of the file.
func (n *crashNode) crash(opts CrashOptions, noise [][]byte, pick func(int) int) sparse {
	found := n.durable.clone()
	switch opts.Order {
	case AnyOrder:
		n.crashAnyOrder(&found, pick)
	case AppendOrder:
		n.crashAppendOrder(&found, pick)
	case PrefixOrder:
		for _, e := range n.effects[:pick(len(n.effects)+1)] {
			found.applyInOrder(e)
		}
	}
	found.hide()
	if opts.Space != SpaceZeros && found.settled < found.size {
		if opts.Space == SpaceStale {
			noise = slices.Concat(noise, n.stale())
		}
		found.spoil(noise, int64(pick(len(noise))))
	}
	found.settle()
	return found
}

func (n *crashNode) crashAnyOrder(found *sparse, pick func(int) int) {
	for _, e := range n.effects {
		if pick(2) == 0 {
			continue
		}
		behind := e.data != nil && min(e.off+sectorSize, e.size) > found.size
		found.apply(e, behind && pick(2) == 1)
	}
}

func (n *crashNode) crashAppendOrder(found *sparse, pick func(int) int) {
	ordered := 0
	for _, e := range n.effects {
		if e.inOrder() {
			ordered++
		}
	}
	left := pick(ordered + 1)
	for _, e := range n.effects {
		switch {
		case e.implied: // comes with the sectors
		case !e.inOrder():
			if pick(2) == 1 {
				found.apply(e, false)
			}
		case left > 0:
			found.applyInOrder(e)
			left--
		}
	}
}

func (e effect) inOrder() bool { return e.grows || e.data == nil && !e.implied }

// applyInOrder is apply where the size never runs ahead of the data.
func (s *sparse) applyInOrder(e effect) {
	if !e.implied {
		s.apply(e, true)
	}
}

// stale returns sectors that the file holds where it matters: they are what
// a reused piece of storage is most misleading with.
func (n *crashNode) stale() [][]byte {
	last := max(0, n.durable.size-1) / sectorSize * sectorSize
	pool := [][]byte{n.durable.sectors(0, 1).data, n.durable.sectors(last, 1).data}
	if i := slices.IndexFunc(n.effects, func(e effect) bool { return e.data != nil }); i >= 0 {
		pool = append(pool, n.effects[i].data)
	}
	return pool
}

// newNoise returns sectors that make no sense: random ones, and one of ones.
func newNoise() [][]byte {
	random := rand.NewChaCha8([32]byte{1})
	pool := [][]byte{bytes.Repeat([]byte{0xff}, sectorSize)}
	for range 4 {
		b := make([]byte, sectorSize)
		_, _ = random.Read(b) // never fails
		pool = append(pool, b)
	}
	return pool
}

// nameChange is a change to the names of files. It is durable when all its
// directories were synced after it.
type nameChange struct {
	node     *crashNode
	from, to string   // "" for no name: a new file, a removed one
	unsynced []string // directories
	number   int64
}

// apply does what the change did, as far as it makes sense in names from
// which other changes are missing.
func (c nameChange) apply(names map[string]*crashNode) {
	if c.from != "" && names[c.from] == c.node {
		delete(names, c.from)
	}
	if c.to != "" {
		names[c.to] = c.node
	}
}

// randomPicks returns a pick that answers from rng. How much of what is
// unsynced survives is drawn first, so that states with nearly all and nearly
// nothing are as common as the others.
func randomPicks(rng *rand.Rand) func(int) int {
	eighths := rng.IntN(9)
	return func(n int) int {
		if n != 2 {
			return rng.IntN(n)
		}
		if rng.IntN(8) < eighths {
			return 1
		}
		return 0
	}
}

// EveryPick yields one function after another for [CrashFS.CrashWith], until
// each state that a crash may leave was made.
func EveryPick() iter.Seq[func(n int) int] {
	return func(yield func(func(int) int) bool) {
		var picks, limits []int
		for {
			used := 0
			pick := func(n int) int {
				if used == len(picks) {
					picks, limits = append(picks, 0), append(limits, n)
				}
				used++
				return picks[used-1]
			}
			if !yield(pick) {
				return
			}
			last := used - 1
			for last >= 0 && picks[last]+1 == limits[last] {
				last--
			}
			if last < 0 {
				return
			}
			picks, limits = picks[:last+1], limits[:last+1]
			picks[last]++
		}
	}
}
