package vhd_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// FuzzOperations does to a chain of disks, and to its model, what a script says. After each operation the two read the
// same; in the end the files hold it, as the witness reads them, and no parent changed.
func FuzzOperations(f *testing.F) {
	for kind := range byte(20) {
		script := []byte{kind, kind * 3, kind, 0}
		for i := range byte(100) {
			script = append(script, i*(kind+1), i*i*kind)
		}
		f.Add(script)
		f.Add([]byte{kind, 9, 3, 0, 0, 1, 2, 0, 3, 4, kind, 5, 6, 7, 8, 9, 10, 11})
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		o := operator{Script: vhdtest.NewScript(script), t: t, fsys: vhdtest.NewMemFS(), parents: map[string][]byte{}}
		o.createBase()
		defer func() { _ = o.disk.Close() }() // of a run that failed
		for n := 0; n < 40 && o.More(); n++ {
			o.step()
		}
		o.finish()
	})
}

// operator does what the script says.
type operator struct {
	*vhdtest.Script
	t       testing.TB
	fsys    *vhdtest.MemFS
	opts    vhd.Options
	disk    *vhd.Disk
	model   *vhdtest.Model
	block   int64
	names   []string // base first
	parents map[string][]byte
	writes  uint64
}

// mostOperatorLayers keeps a run short.
const mostOperatorLayers = 5

func (o *operator) createBase() {
	o.t.Helper()
	o.opts = vhd.Options{FS: o.fsys, Writable: true, CacheSize: []int64{0, 1, 700}[o.UpTo(2)]}
	opts := vhd.CreateOptions{Options: o.opts, Type: vhd.Dynamic}
	opts.Size, opts.BlockSize = o.form()
	o.model = vhdtest.NewModel(opts.Size)
	if o.OneIn(5) {
		opts.Type = vhd.Fixed
		o.model = vhdtest.NewModelOf(make([]byte, opts.Size))
	}
	o.create(opts)
}

// form is a size and a block size: a small disk, or one of two windows.
func (o *operator) form() (size, block int64) {
	block = 512 << o.UpTo(6)
	size = int64(1+o.UpTo(100)) * vhd.SectorSize
	if o.OneIn(16) {
		size = 2<<20 + int64(o.UpTo(20)-10)*vhd.SectorSize
	}
	return size, notTooMany(block, size)
}

// notTooMany is a block size with which a disk has hundreds of blocks at most. More take seconds without a cache: every
// block of a window needs the window's map, and the map all its blocks.
func notTooMany(block, size int64) int64 {
	if size > 1<<20 {
		return max(block, 8192)
	}
	return block
}

func (o *operator) create(opts vhd.CreateOptions) {
	o.t.Helper()
	name := fmt.Sprintf("%d.vhd", len(o.names))
	disk, err := vhd.Create(name, opts)
	require.NoError(o.t, err)
	o.disk, o.names, o.block = disk, append(o.names, name), max(opts.BlockSize, vhd.SectorSize)
	require.Equal(o.t, o.model.Size(), disk.Size())
}

// step does one operation and compares.
func (o *operator) step() {
	o.t.Helper()
	switch op := o.UpTo(15); op {
	case 0, 1, 2, 3, 4:
		o.write()
	case 5, 6:
		o.zero(o.span())
	case 7:
		o.freeBlocks()
	case 8, 9:
		require.NoError(o.t, o.disk.Sync())
	case 10, 11:
		o.reopen()
	case 12:
		o.newChild()
	case 13:
		o.passTheEnd()
	case 14:
		o.readSpan()
	case 15:
		o.inspect()
	}
	o.compare()
}

// span is a range of the disk: of bytes, of sectors or of blocks, with a skew.
func (o *operator) span() (off, n int64) {
	size := o.model.Size()
	unit := []int64{1, vhd.SectorSize, vhd.SectorSize, o.block}[o.UpTo(3)]
	place := func() int64 {
		if size > 1<<20 && o.Bit() { // where windows meet
			return min(max(2<<20+int64(int8(o.Byte()))*unit, 0), size)
		}
		return min(int64(o.UpTo(int(min(size/unit, 255))))*max(1, size/unit/255)*unit+int64(o.UpTo(4)/4), size)
	}
	off, end := place(), place()
	return min(off, end), min(max(off, end)-min(off, end), 64<<10)
}

func (o *operator) write() {
	o.t.Helper()
	off, n := o.span()
	o.writes++
	p := pattern(o.writes, n)
	got, err := o.disk.WriteAt(p, off)
	require.NoError(o.t, err)
	require.Equal(o.t, len(p), got)
	_, err = o.model.WriteAt(p, off)
	require.NoError(o.t, err)
}

func (o *operator) zero(off, n int64) {
	o.t.Helper()
	require.NoError(o.t, o.disk.WriteZeroes(off, n))
	require.NoError(o.t, o.model.WriteZeroes(off, n))
}

// freeBlocks zeroes whole blocks, or all.
func (o *operator) freeBlocks() {
	o.t.Helper()
	size := o.model.Size()
	if o.OneIn(4) {
		o.zero(0, size)
		return
	}
	off := int64(o.UpTo(int((size-1)/o.block))) * o.block
	o.zero(off, min(o.block*int64(1+o.UpTo(3)), size-off))
}

func (o *operator) reopen() {
	o.t.Helper()
	require.NoError(o.t, o.disk.Close())
	disk, err := vhd.Open(o.names[len(o.names)-1], &o.opts)
	require.NoError(o.t, err)
	o.disk = disk
	require.False(o.t, disk.Chain()[0].NeedsRecovery())
	require.Len(o.t, disk.Chain(), len(o.names))
}

func (o *operator) newChild() {
	o.t.Helper()
	if len(o.names) == mostOperatorLayers {
		return
	}
	require.NoError(o.t, o.disk.Close())
	parent := o.names[len(o.names)-1]
	o.parents[parent] = mustReadFile(o.t, o.fsys, parent)
	opts := vhd.CreateOptions{Options: o.opts, Parent: parent}
	size := o.model.Size()
	opts.Size, opts.BlockSize = o.form()
	if o.Bit() {
		opts.Size = 0
		opts.BlockSize = notTooMany(opts.BlockSize, size)
	} else {
		size = opts.Size
	}
	o.model.NewChild(size)
	o.create(opts)
}

func (o *operator) passTheEnd() {
	o.t.Helper()
	off := o.model.Size() - int64(o.UpTo(20))
	n, err := o.disk.WriteAt(make([]byte, 21), max(off, 0))
	require.ErrorIs(o.t, err, vhd.ErrOutOfRange)
	require.Zero(o.t, n)
	require.ErrorIs(o.t, o.disk.WriteZeroes(max(off, 0), 21), vhd.ErrOutOfRange)
}

func (o *operator) readSpan() {
	o.t.Helper()
	off, n := o.span()
	want, got := make([]byte, n), bytes.Repeat([]byte{0xEE}, int(n))
	_, err := o.model.ReadAt(want, off)
	require.NoError(o.t, err)
	_, err = o.disk.ReadAt(got, off)
	require.NoError(o.t, err)
	requireSameBytes(o.t, want, got, off)
}

func (o *operator) inspect() {
	o.t.Helper()
	n, err := o.disk.Chain()[0].AllocatedBlocks()
	require.NoError(o.t, err)
	require.LessOrEqual(o.t, int64(n), (o.model.Size()+o.block-1)/o.block)
}

// compare reads all of a small disk, or where it is worth it, and looks at the extents there.
func (o *operator) compare() {
	o.t.Helper()
	for _, v := range lookAt(o.t, o.disk) {
		require.Empty(o.t, v.errs)
		want := make([]byte, v.n)
		_, err := o.model.ReadAt(want, v.off)
		require.NoError(o.t, err)
		requireSameBytes(o.t, want, v.data, v.off)
		requireExtents(o.t, o.disk, v)
	}
}

// finish reopens the chain for reading, and reads its files as the specification says.
func (o *operator) finish() {
	o.t.Helper()
	o.reopen()
	o.compare()
	views := lookAt(o.t, o.disk)
	require.NoError(o.t, o.disk.Close())
	for name, file := range o.parents {
		require.True(o.t, bytes.Equal(file, mustReadFile(o.t, o.fsys, name)), "%s is a parent and changed", name)
	}
	s := subject{mem: o.fsys, dir: ".", name: o.names[len(o.names)-1], opts: vhd.Options{FS: o.fsys}}
	d, err := vhd.Open(s.name, &s.opts)
	require.NoError(o.t, err)
	requireSameViews(o.t, views, lookAt(o.t, d))
	s.witness(o.t, d).requireViews(o.t, views)
	require.NoError(o.t, d.Close())
}
