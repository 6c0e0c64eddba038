package vhd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// operation is one that changes files. With an entry in operations it is run by
// the crash tests, at random and in every short workload, and by the fault
// tests.
type operation struct {
	name  string
	often int  // in programs that are drawn, beside the others
	most  int  // bytes of the piece of the disk that it takes; 0: it takes none
	alone bool // nobody can do it beside another

	// life says that it is one of the life of a chain. Workloads of three steps have it only
	// if VHD_CRASH_STEPS asks for them, as they would be very many.
	life bool

	fromStart bool // its piece is the disk's start, up to the end of the step's

	// letsOthersIn is before how many of its changes others can write, the first
	// ones; before the others they would have to wait.
	letsOthersIn int
	// tells is how often others can write when it tells of its progress, after the changes
	// before which they can.
	tells int
	// changesFooters says that the two footers differ meanwhile.
	changesFooters bool
	// short are the steps that every short workload is made of, on the tiny
	// disk: two blocks of four sectors, of which the very first is in the leaf.
	short []string

	// run does the step and tells the world what may be read from then on. Only
	// the storage makes it fail.
	run func(w *world, s step) error
}

var operations = []*operation{
	{
		name: "write", often: 8, most: 12 << 10, run: (*world).write,
		short: []string{"write 0+512", "write 512+512", "write 2048+512", "write 1024+2048", "write 700+1"},
	},
	{
		name: "zero", often: 4, most: 48 << 10, run: (*world).zero,
		short: []string{"zero 0+512", "zero 0+2048", "zero 1536+1024"},
	},
	{
		name: "sync", often: 5, letsOthersIn: 4, run: (*world).sync,
		short: []string{
			"sync", "sync | 0 write 512+512", "sync | 1 write 1024+512", "sync | 1 write 2048+512", "sync | 0 zero 0+2048",
			"sync | 1 zero 0+2048", "sync | 1 zero 2048+2048", "sync | 2 write 1024+512",
		},
	},
	{name: "grow", often: 1, run: (*world).grow},
	{name: "create", often: 1, run: (*world).create, short: []string{"create"}},
	{
		name: "snapshot", often: 2, letsOthersIn: 1, run: (*world).snapshot,
		short: []string{"snapshot | 0 write 512+512"},
	},
	{ // whose piece says which images: see levels
		name: "merge", life: true, often: 3, most: 48 << 10, alone: true, run: (*world).merge, short: []string{"merge 0+512"},
	},
	{
		name: "revert", life: true, often: 2, most: 48 << 10, run: (*world).revert,
		short: []string{"revert 0+2048"},
	},
	{
		name: "compact", life: true, often: 2, letsOthersIn: 1, tells: 6, changesFooters: true, run: (*world).compact,
		short: []string{"compact"},
	},
	{
		name: "resize", life: true, often: 3, most: math.MaxInt, alone: true, run: (*world).resize,
		short: []string{"resize 0+1024", "resize 2048+4096"},
	},
	{
		name: "rebase", life: true, often: 1, letsOthersIn: 1, changesFooters: true, run: (*world).rebase,
		short: []string{"rebase", "rebase | 0 write 512+512"},
	},
	{
		name: "import", life: true, often: 2, most: 48 << 10, fromStart: true, run: (*world).importContent,
		short: []string{"import 512+1024", "import 0+4096"},
	},
	{name: "flatten", life: true, often: 1, run: (*world).flatten, short: []string{"flatten"}},
	{name: "reopen", often: 1, run: (*world).reopen, short: []string{"reopen"}},
}

// crashOperations are those of programs whose storage loses power and does
// nothing worse.
func crashOperations() []*operation {
	return append(slices.Clone(operations), &operation{name: "crash", often: 1, run: (*world).losePower},
		&operation{name: "kill", often: 1, most: 48 << 10, alone: true, run: (*world).kill})
}

// touches is the piece of the disk that the step writes.
func (s step) touches() piece {
	if s.op.fromStart {
		return piece{0, s.off + s.n}
	}
	return s.piece
}

func (w *world) write(s step) error {
	p := w.onDisk(s.piece)
	return w.writeAt(p.off, p.n)
}

// onDisk is the part of a piece that is on the disk, which may be smaller by now.
func (w *world) onDisk(p piece) piece {
	off := min(p.off, w.promise.size())
	return piece{off, min(p.n, w.promise.size()-off)}
}

func (w *world) writeAt(off, n int) error {
	w.version++
	p := stamps(off, n, w.version)
	w.promise.writing(p, off)
	done, err := w.disk.WriteAt(p, int64(off))
	if err != nil {
		w.promise.failed(off+done, n-done)
	}
	return err
}

func (w *world) zero(s step) error {
	p := w.onDisk(s.piece)
	w.promise.writing(make([]byte, p.n), p.off)
	err := w.disk.WriteZeroes(int64(p.off), int64(p.n))
	if err != nil {
		w.promise.failed(p.off, p.n)
	}
	return err
}

// resize makes the disk end where the step's piece does, at a sector.
func (w *world) resize(s step) error {
	w.snapping = "" // one that failed may be left, and keeps its size
	size := (s.off + s.n + vhd.SectorSize - 1) / vhd.SectorSize * vhd.SectorSize
	if size == w.promise.size() {
		return w.disk.Resize(context.Background(), int64(size), vhd.ResizeOptions{})
	}
	mark := w.promise.mark()
	w.promise.resizing(size)
	err := w.disk.Resize(context.Background(), int64(size), vhd.ResizeOptions{})
	if errors.Is(err, vhd.ErrDataLoss) {
		err = w.disk.Resize(context.Background(), int64(size), vhd.ResizeOptions{AllowLoss: true})
	}
	switch {
	case errors.Is(err, vhd.ErrBroken): // it has the one size or the other
	case err != nil && w.disk.Size() != int64(size):
		w.promise.notResized()
	default:
		w.promise.synced(mark)
		w.promise.resized()
	}
	return err
}

// importContent makes the disk's start, up to the end of the step's piece, what another disk
// holds: zeros in front of the piece.
func (w *world) importContent(s step) error {
	p := w.onDisk(s.piece)
	w.version++
	content := append(make([]byte, p.off), stamps(p.off, p.n, w.version)...)
	w.promise.writing(content, 0)
	err := w.disk.Import(context.Background(), bytes.NewReader(content), int64(len(content)), vhd.ImportOptions{})
	if err != nil {
		w.promise.failed(0, len(content))
	}
	return err
}

// revert writes what is below the leaf: what is there then is there for nothing.
func (w *world) revert(s step) error {
	at := w.onDisk(s.piece)
	at.n = max(min(at.n, len(w.leaf.below)-at.off), 0)
	if at.n == 0 {
		return nil
	}
	p := w.leaf.below[at.off:][:at.n]
	w.promise.writing(p, at.off)
	done, err := w.disk.WriteAt(p, int64(at.off))
	if err != nil {
		w.promise.failed(at.off+done, at.n-done)
	}
	return err
}

// compact makes the leaf as small as it can be. That makes durable what was
// written.
func (w *world) compact(s step) error {
	mark := w.promise.mark()
	told := 0
	err := w.disk.Compact(context.Background(), vhd.CompactOptions{Progress: func(_, _ int64) {
		w.letInAt(s.op.letsOthersIn+told, func(piece) bool { return true })
		told++
	}})
	if w.disk.Chain()[0].Footer().Type == vhd.Fixed && errors.Is(err, vhd.ErrUnsupported) {
		return nil
	}
	if err == nil {
		w.promise.synced(mark)
	}
	return err
}

// grow writes into the first block that is not there yet.
func (w *world) grow(step) error {
	blockSize := int(w.leaf.blockSize)
	for off := 0; off < w.promise.size(); off += blockSize {
		if !w.holds(piece{off, min(blockSize, w.promise.size()-off)}) {
			return w.writeAt(off, vhd.SectorSize)
		}
	}
	return nil
}

// holds says whether every block that the piece lies in is in the leaf.
func (w *world) holds(p piece) bool {
	p = w.onDisk(p)
	if w.leaf.leaf == vhd.Fixed && len(w.names) == 1 {
		return true
	}
	blockSize := int(w.leaf.blockSize)
	for off := p.off / blockSize * blockSize; off < p.off+p.n; off += blockSize {
		there := false
		for e, err := range w.disk.Extents(int64(off), int64(min(blockSize, w.promise.size()-off))) {
			there = there || err == nil && e.Depth == 0
		}
		if !there {
			return false
		}
	}
	return true
}

func (w *world) sync(step) error {
	mark := w.promise.mark()
	if err := w.disk.Sync(); err != nil {
		return err
	}
	w.promise.synced(mark)
	return nil
}

// reopen closes the leaf, and opens it again.
func (w *world) reopen(step) error {
	if err := w.close(); err != nil {
		return err
	}
	return w.open()
}

func (w *world) close() error {
	mark := w.promise.mark()
	if err := w.disk.Close(); err != nil {
		return err
	}
	w.promise.synced(mark)
	return nil
}

// snapshot puts a new leaf on top. Until that is done, or if it fails, the old one
// is what counts; a new one that is there reads the same.
func (w *world) snapshot(step) error {
	if w.snapshots >= maxSnapshots {
		return nil
	}
	mark := w.promise.mark()
	w.snapping = fmt.Sprintf("snapshot-%d.vhd", w.snapshots+1)
	opts := w.leaf.options(nil, vhd.Differencing, byte(11+w.snapshots))
	opts.Parent, opts.Size = "", 0
	if err := w.disk.Snapshot(w.snapping, opts); err != nil {
		return err
	}
	w.promise.synced(mark)
	w.below[w.leafName()] = w.promise.frozen()
	w.names, w.snapping, w.snapshots = append(w.names, w.snapping), "", w.snapshots+1
	return nil
}

// rebase gives the leaf another parent, if it has one: a copy of what the base is,
// another image, the base, and so on.
func (w *world) rebase(step) error {
	if w.leaf.leaf != vhd.Differencing || w.baseWritten {
		return nil
	}
	mark := w.promise.mark()
	parent := []string{copyName, otherName, baseName}[w.rebases%3]
	w.rebases++
	err := w.disk.Rebase(parent, vhd.RebaseOptions{})
	w.noteChain()
	if err == nil {
		w.promise.synced(mark)
	}
	return err
}

// maxSnapshots are as many as a program makes.
const maxSnapshots = 3

// merge merges images. What the disk reads as stays; what the images below do,
// nobody knows until it is done.
func (w *world) merge(s step) error {
	from, into, ok := w.levels(s.piece)
	if !ok {
		return nil
	}
	chain := w.disk.Chain()
	receiver := chain[into].Name()
	reads := w.below[chain[from].Name()]
	w.promise.changes++
	w.merging = true
	if from == 0 {
		w.heir = receiver
	}
	w.baseWritten = w.baseWritten || receiver == baseName
	for _, image := range chain[from : into+1] {
		delete(w.below, image.Name())
	}
	mark := w.promise.mark()
	leftOver := w.snapping != "" // by a snapshot that failed: another child, which nobody needs
	w.snapping = ""
	err := w.disk.Merge(context.Background(), from, into, vhd.MergeOptions{Force: leftOver})
	w.noteChain()
	if err != nil {
		return err
	}
	w.merging, w.heir = false, ""
	if from == 0 {
		w.promise.synced(mark)
	} else {
		w.below[receiver] = reads
	}
	return nil
}

// mayWriteBase says whether something may be merged into the base: if that has no other
// child, and is on storage where new space is zeros, as all rely on who write disks
// without a parent.
func (w *world) mayWriteBase() bool {
	return w.made == nil && w.rebases == 0 && w.leaf.storage.Space == vhdtest.SpaceZeros
}

// levels are those of the images that a merge takes, as its piece says: its sector and
// its length choose among what is there.
func (w *world) levels(p piece) (from, into int, ok bool) {
	last := len(w.disk.Chain()) - 1
	if w.leaf.leafKind.parent != 0 && !w.mayWriteBase() {
		last--
	}
	if last < 1 {
		return 0, 0, false
	}
	from = p.off / vhd.SectorSize % last
	return from, from + 1 + max(p.n/vhd.SectorSize-1, 0)%(last-from), true
}

// create makes a sibling of the leaf, once.
func (w *world) create(step) error {
	if w.made != nil || w.baseWritten {
		return nil
	}
	w.promise.changes++
	w.made = &newborn{name: newName, reads: newPromise(w.leaf.below)}
	return createAndFill(newName, w.leaf.options(w.fs(), w.leaf.leaf, 3), func(*vhd.Disk) error {
		w.promise.changes++
		w.made.safely = true
		return nil
	})
}

// flatten makes, once, one image of the whole chain, which stays as it is.
func (w *world) flatten(step) error {
	base := len(w.disk.Chain()) - 1
	if w.flat != nil || base < 1 {
		return nil
	}
	w.promise.changes++
	w.flat = &newborn{name: flatName, reads: w.promise.frozen()}
	err := w.disk.Merge(context.Background(), 0, base, vhd.MergeOptions{Output: flatName})
	w.promise.changes++
	w.flat.safely = err == nil
	return err
}

// kill merges, and the program is killed meanwhile: what it wrote is in the files, and need
// not be durable.
func (w *world) kill(s step) error {
	if err := w.close(); err != nil {
		return err
	}
	w.faults = vhdtest.NewFaultFS(w.storage)
	defer func() { w.faults = nil }()
	if err := w.open(); err != nil {
		return err
	}
	w.faults.Arm(vhdtest.Fault{At: 1 + w.rng.IntN(80), All: true, Forever: true, Killed: true})
	mergeErr := w.merge(s)
	died := w.faults.Fired() > 0
	_ = w.disk.Close()
	w.faults = nil
	if mergeErr != nil && !died {
		return mergeErr
	}
	if err := w.open(); err != nil {
		return err
	}
	content, err := readWhole(w.disk)
	if err != nil {
		return err
	}
	return w.promise.reopened(content)
}

// losePower leaves what a crash might leave, and goes on with that.
func (w *world) losePower(step) error {
	w.setStorage(w.storage.Crash(w.rng))
	if err := w.open(); err != nil {
		return err
	}
	content, err := readWhole(w.disk)
	if err != nil {
		return err
	}
	if _, err := w.promise.afterCrash(content); err != nil {
		return err
	}
	w.promise.restart(content)
	return nil
}
