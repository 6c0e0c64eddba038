package vhd

// SyncsRequested is how many times the disk was asked to sync, with the calls
// that still wait.
func SyncsRequested(d *Disk) uint64 { return d.syncs.requested.Load() }

// Reuses is how often space that was freed became free to be taken.
func Reuses(d *Disk) uint64 { return d.reuses.Load() }

// CachedBytes is what the disk's cache holds by its own count, and what its
// entries add up to.
func CachedBytes(d *Disk) (counted, held int64, entries int) {
	d.cache.mu.Lock()
	defer d.cache.mu.Unlock()
	for _, e := range d.cache.ring {
		held += e.node().cost
	}
	return d.cache.used, held, len(d.cache.ring)
}
