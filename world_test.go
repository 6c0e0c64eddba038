package vhd_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

const (
	leafName = "leaf.vhd"
	baseName = "base.vhd"
	newName  = "new.vhd"
	flatName = "flat.vhd"

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
	apart      bool  // its blocks are, by less than one, and nearly all are there
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

// build makes the leaf, in which the first sector was written, or that of nearly all blocks,
// and its parent, in which every third one was.
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
	err := createAndFill(leafName, k.options(l.files, k.leaf, 2), l.fill)
	if k.apart && err == nil {
		file, _ := l.files.ReadFile(leafName)
		err = l.files.WriteFile(leafName, spreadOut(file))
	}
	return l, err
}

// fill writes what the leaf has.
func (l *leafFiles) fill(d *vhd.Disk) error {
	spb := int(l.blockSize) / vhd.SectorSize
	for block := 0; block == 0 || l.apart && block*spb*vhd.SectorSize < len(l.content); block++ {
		if block%5 == 4 {
			continue
		}
		p := sectorOfContent(l.content, block*spb)
		copy(p, stamp(block*spb, 1))
		if _, err := d.WriteAt(p, int64(block)*l.blockSize); err != nil {
			return err
		}
	}
	return nil
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

	made *newborn // what create makes; nil: nothing yet
	flat *newborn // what flatten makes; nil: nothing yet
}

// newborn is an image that is made in one step, whole or not at all.
type newborn struct {
	name   string
	reads  *promise
	safely bool // its name is durable
}

func newWorld(leaf *leafFiles, rng *rand.Rand) *world {
	w := &world{leaf: leaf, rng: rng, promise: newPromise(leaf.content), version: 1, names: []string{leafName}, below: map[string]*promise{}}
	w.setStorage(leaf.files)
	return w
}

func (w *world) setStorage(found *vhdtest.MemFS) {
	w.storage = vhdtest.NewCrashFS(found, w.leaf.storage)
	w.storage.OnOp = func(op vhdtest.Op) {
		if _, isBelow := w.below[op.Name]; isBelow && !w.merging && op.Kind != vhdtest.OpSync {
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
	if w.changes < w.step.op.letsOthersIn {
		w.letInAt(w.changes, func(p piece) bool { return op.Kind != vhdtest.OpSync || w.holds(p) })
	}
	w.changes++
}

// letInAt does what the step says is done beside it at a moment, to pieces to which it can be.
func (w *world) letInAt(moment int, can func(piece) bool) {
	w.others = true
	defer func() { w.others = false }()
	for _, b := range w.step.beside {
		if b.at != moment || w.othersErr != nil || !can(b.touches()) {
			continue
		}
		if err := b.op.run(w, b.step); err != nil {
			w.othersErr = fmt.Errorf("%v: %w", b.step, err)
		}
	}
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
