package vhd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"

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

	// letsOthersIn is before how many of its changes others can write, the first
	// ones; before the others they would have to wait.
	letsOthersIn int
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
		name: "compact", life: true, often: 2, letsOthersIn: 1, changesFooters: true, run: (*world).compact,
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
	{name: "reopen", often: 1, run: (*world).reopen, short: []string{"reopen"}},
}

// crashOperations are those of programs whose storage loses power and does
// nothing worse.
func crashOperations() []*operation {
	return append(slices.Clone(operations), &operation{name: "crash", often: 1, run: (*world).losePower})
}

const (
	leafName = "leaf.vhd"
	baseName = "base.vhd"
	newName  = "new.vhd"

	otherName = "other.vhd" // an image with other content, and smaller
	copyName  = "copy.vhd"  // a copy of the base
)

// leafKind is a kind of leaf, and the storage that it must survive on.
type leafKind struct {
	name      string
	size      int64
	blockSize int64
	parent    vhd.DiskType // 0: none
	leaf      vhd.DiskType
	storage   vhdtest.CrashOptions

	cacheSize  int64 // of who writes; 0: what Options have it
	unfinished bool  // its end footer may be lost
}

// leafFiles are the files of a leafKind.
type leafFiles struct {
	leafKind
	files   *vhdtest.MemFS
	parent  []byte // the parent's file
	other   []byte // that of another image
	below   []byte // what the parent reads as; zeros if there is none
	content []byte // what the leaf reads as
}

// options are those of new images. Nothing in them is left to chance.
func (k leafKind) options(fsys vhd.FS, diskType vhd.DiskType, id byte) vhd.CreateOptions {
	opts := vhd.CreateOptions{
		Options: vhd.Options{FS: fsys}, Type: diskType, Size: k.size, BlockSize: k.blockSize,
		ID: uuid.UUID{id}, Time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	if diskType == vhd.Differencing {
		opts.Parent = baseName
	}
	return opts
}

// build makes the leaf, in which the first sector was written, and its parent, in
// which every third one was.
func (k leafKind) build() (*leafFiles, error) {
	l := &leafFiles{leafKind: k, files: vhdtest.NewMemFS(), below: make([]byte, k.size)}
	if k.parent != 0 {
		opts := k.options(l.files, k.parent, 1)
		opts.BlockSize = max(k.blockSize, 8192)
		for sector := 0; sector < int(k.size/vhd.SectorSize); sector += 3 {
			copy(sectorOfContent(l.below, sector), stamp(sector, 0))
		}
		err := createAndFill(baseName, opts, func(d *vhd.Disk) error { return writeStamps(d, l.below) })
		if err != nil {
			return nil, err
		}
		if err := l.buildOther(); err != nil {
			return nil, err
		}
	}
	l.content = bytes.Clone(l.below)
	copy(l.content, stamp(0, 1))
	return l, createAndFill(leafName, k.options(l.files, k.leaf, 2), func(d *vhd.Disk) error {
		_, err := d.WriteAt(stamp(0, 1), 0)
		return err
	})
}

// buildOther makes what a leaf may get in place of its parent: a copy of that, and
// an image that has something else in every second sector.
func (l *leafFiles) buildOther() error {
	l.parent, _ = l.files.ReadFile(baseName)
	if err := l.files.WriteFile(copyName, l.parent); err != nil {
		return err
	}
	opts := l.options(l.files, vhd.Dynamic, 4)
	opts.Size = l.size * 5 / 8 / vhd.SectorSize * vhd.SectorSize
	content := make([]byte, opts.Size)
	for sector := 0; sector < len(content)/vhd.SectorSize; sector += 2 {
		copy(sectorOfContent(content, sector), stamp(sector, 9999))
	}
	err := createAndFill(otherName, opts, func(d *vhd.Disk) error { return writeStamps(d, content) })
	l.other, _ = l.files.ReadFile(otherName)
	return err
}

func createAndFill(name string, opts vhd.CreateOptions, fill func(*vhd.Disk) error) error {
	disk, err := vhd.Create(name, opts)
	if err != nil {
		return err
	}
	if err := fill(disk); err != nil {
		return err
	}
	return disk.Close()
}

// writeStamps writes the sectors of content that are not zeros.
func writeStamps(disk *vhd.Disk, content []byte) error {
	for sector := range len(content) / vhd.SectorSize {
		p := sectorOfContent(content, sector)
		if p[0] == 0 {
			continue
		}
		if _, err := disk.WriteAt(p, int64(sector)*vhd.SectorSize); err != nil {
			return err
		}
	}
	return nil
}

// stamp is what version n of a sector holds.
func stamp(sector, version int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "%07d.%07d ", sector, version), vhd.SectorSize/16)
}

// stamps is what version v of n bytes at off holds.
func stamps(off, n, v int) []byte {
	first := off / vhd.SectorSize
	var sectors []byte
	for sector := first; sector*vhd.SectorSize < off+n; sector++ {
		sectors = append(sectors, stamp(sector, v)...)
	}
	return sectors[off-first*vhd.SectorSize:][:n]
}

// world is a leaf that a program is run on, and what may be read of it.
type world struct {
	leaf    *leafFiles
	storage *vhdtest.CrashFS
	faults  *vhdtest.FaultFS // around storage; nil: it does not fail
	rng     *rand.Rand
	onOp    func(vhdtest.Op) // called before each change of the storage

	step      *step // at work; nil: none
	changes   int   // that it has made
	others    bool  // somebody writes beside it
	othersErr error // what came of that

	disk    *vhd.Disk
	promise *promise
	version int // of the last stamp

	names     []string            // of the leaf, and of those that were, the newest last
	below     map[string]*promise // what these read as, for good
	snapshots int                 // that were taken
	snapping  string              // the name of a snapshot on its way, or of one that failed

	merging     bool   // a merge is on its way, or has failed
	heir        string // the name of the image that is becoming the leaf
	baseWritten bool   // something was merged into the base

	rebases int // that were begun

	made *promise // of the image that create makes; nil: there is none
	// madeSafely says that its name is durable.
	madeSafely bool
}

func newWorld(leaf *leafFiles, rng *rand.Rand) *world {
	w := &world{leaf: leaf, rng: rng, promise: newPromise(leaf.content), version: 1, names: []string{leafName}, below: map[string]*promise{}}
	w.setStorage(leaf.files)
	return w
}

func (w *world) setStorage(found *vhdtest.MemFS) {
	w.storage = vhdtest.NewCrashFS(found, w.leaf.storage)
	w.storage.OnOp = func(op vhdtest.Op) {
		if _, isBelow := w.below[op.Name]; isBelow && !w.merging {
			w.othersErr = fmt.Errorf("P3: a parent is changed: %v", op)
		}
		w.letOthersIn(op)
		if w.onOp != nil {
			w.onOp(op)
		}
	}
	if w.faults != nil {
		w.faults.SetInner(w.storage)
	}
}

// run runs a step, and what is done beside it.
func (w *world) run(s *step) error {
	w.step, w.changes, w.othersErr = s, 0, nil
	err := s.op.run(w, *s)
	w.step = nil
	return errors.Join(err, w.othersErr)
}

// letOthersIn does what the step says is done beside it at this moment. While an
// fsync runs a file can't grow: who tries would wait, and so would we. After a
// failure nobody comes any more: what is there has to be looked at first.
func (w *world) letOthersIn(op vhdtest.Op) {
	if w.step == nil || w.others {
		return
	}
	w.others = true
	defer func() { w.others = false }()
	for _, b := range w.step.beside {
		if b.at != w.changes || w.othersErr != nil || op.Kind == vhdtest.OpSync && !w.holds(b.piece) {
			continue
		}
		if err := b.op.run(w, b.step); err != nil {
			w.othersErr = fmt.Errorf("%v: %w", b.step, err)
		}
	}
	w.changes++
}

// fs is the storage as the disk gets to see it.
func (w *world) fs() vhd.FS {
	if w.faults != nil {
		return w.faults
	}
	return w.storage
}

// open opens the leaf. If that fails, the disk is as it was: none, or closed.
func (w *world) open() error {
	if name := w.leafIn(w.storage.Live()); name != w.leafName() {
		w.names = []string{name}
	}
	disk, err := vhd.Open(w.leafName(), &vhd.Options{FS: w.fs(), Writable: true, CacheSize: w.leaf.cacheSize})
	if err != nil {
		return err
	}
	w.disk = disk
	w.noteChain()
	return nil
}

// noteChain notes of which images the disk is by now, in front of the base.
func (w *world) noteChain() {
	w.names = nil
	for _, image := range w.disk.Chain() {
		if isBase := slices.Contains([]string{baseName, copyName, otherName}, image.Name()); !isBase || len(w.names) == 0 {
			w.names = append(w.names, image.Name())
		}
	}
	slices.Reverse(w.names)
}

// readLive checks that the disk reads as it must.
func (w *world) readLive() error {
	content, err := readWhole(w.disk)
	if err != nil {
		return err
	}
	return w.promise.live(content)
}

// readWhole reads a disk. One that never was is closed.
func readWhole(disk *vhd.Disk) ([]byte, error) {
	if disk == nil {
		return nil, vhd.ErrClosed
	}
	content := make([]byte, disk.Size())
	_, err := disk.ReadAt(content, 0)
	return content, err
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
func (w *world) compact(step) error {
	mark := w.promise.mark()
	err := w.disk.Compact(context.Background(), vhd.CompactOptions{})
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

// leafName is the name of the leaf by now.
func (w *world) leafName() string { return w.names[len(w.names)-1] }

// leafIn is the name of the leaf in what was left: that of the image that the leaf was
// being merged into, if the leaf is gone.
func (w *world) leafIn(state *vhdtest.MemFS) string {
	if _, err := state.Stat(w.leafName()); w.heir != "" && errors.Is(err, fs.ErrNotExist) {
		return w.heir
	}
	return w.leafName()
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
	w.made = newPromise(w.leaf.below)
	return createAndFill(newName, w.leaf.options(w.fs(), w.leaf.leaf, 3), func(*vhd.Disk) error {
		w.promise.changes++
		w.madeSafely = true
		return nil
	})
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
