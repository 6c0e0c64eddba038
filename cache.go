package vhd

import (
	"sync"
	"sync/atomic"
)

// cache bounds the memory of what can be read again: block maps and pages of
// BATs. When it is full the entries that nobody used since the hand last passed
// go first (CLOCK). Looking an entry up takes no lock; its owner holds a
// pointer to it, and only a new entry, or a dropped one, comes by here.
type cache struct {
	mu    sync.Mutex
	limit int64 // bytes
	used  int64
	ring  []cached
	hand  int
}

// cached is what a cache holds: a *blockMap or a *batPage.
type cached interface {
	node() *cacheNode
	drop() // the owner forgets the entry
}

// cacheNode is the cache's part of an entry.
type cacheNode struct {
	cost int64 // bytes
	used atomic.Bool
	at   int32 // place in the ring, plus one; 0: not in it; guarded by cache.mu
}

func (n *cacheNode) node() *cacheNode { return n }

// touch notes that the entry was of use. Most often that is known already, and
// nothing is written that another core reads.
func (n *cacheNode) touch() {
	if !n.used.Load() {
		n.used.Store(true)
	}
}

// add takes in e, which its owner has just published, and drops others until
// all fit.
func (c *cache) add(e cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ring = append(c.ring, e)
	e.node().at = int32(len(c.ring)) //nolint:gosec // what is in memory, by far less than 2^31
	c.used += e.node().cost
	for c.used > c.limit && len(c.ring) > 1 {
		c.hand %= len(c.ring)
		old := c.ring[c.hand]
		if old == e || old.node().used.Swap(false) {
			c.hand++
			continue
		}
		old.drop()
		c.unlink(old.node())
	}
}

// remove takes e out, if it is in, after its owner forgot it.
func (c *cache) remove(e cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.node().at != 0 {
		c.unlink(e.node())
	}
}

func (c *cache) unlink(n *cacheNode) {
	last := len(c.ring) - 1
	c.ring[n.at-1] = c.ring[last]
	c.ring[n.at-1].node().at = n.at
	c.ring[last] = nil
	c.ring = c.ring[:last]
	c.used -= n.cost
	n.at = 0
}
