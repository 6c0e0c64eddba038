package vhd_test

import (
	"bytes"
	"io/fs"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// liveBytes is the memory that is in use.
func liveBytes() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// An error says where it comes from, and takes more memory than what is sound.
// Here every block is one.
func TestTheCacheStaysSmallThoughAllThatItHoldsIsErrors(t *testing.T) {
	const size, cacheSize = 64 << 20, 1 << 20
	img := vhdtest.NewDynamic(size)
	img.BlockSize = 512
	raw := img.Build(t)
	table := len(raw) - vhdtest.FooterSize - 4*size/512
	clear(raw[table : table+4*size/512]) // all blocks are over the footer's copy
	disk := openAllWith(t, &vhd.Options{CacheSize: cacheSize}, raw)
	before := liveBytes()
	for off := int64(0); off < size; off += 64 << 10 {
		_, err := disk.ReadAt(make([]byte, 1), off)
		require.ErrorIs(t, err, vhd.ErrCorrupt)
	}
	require.Less(t, liveBytes()-before, int64(4*cacheSize))
	runtime.KeepAlive(disk)
}

// Blocks that were only overwritten are as the file says, also while what others
// wrote is on its way there, and need not be kept.
func TestOverwritesBesideASyncTakeNoMemory(t *testing.T) {
	const nblocks, block = 40_000, 2 << 20
	fsys := &syncHookFS{MemFS: vhdtest.NewMemFS()}
	opts := vhd.Options{FS: fsys, Lock: vhd.LockNone, CacheSize: 1 << 20, Writable: true}
	d, err := vhd.Create("x.vhd", vhd.CreateOptions{Options: opts, Size: nblocks * block, BlockSize: block})
	require.NoError(t, err)
	touchAll := func() {
		for i := range int64(nblocks) {
			_, err := d.WriteAt([]byte{1}, i*block)
			require.NoError(t, err)
		}
	}
	touchAll()
	require.NoError(t, d.Close())
	d, err = vhd.Open("x.vhd", &opts)
	require.NoError(t, err)

	before, beside := liveBytes(), int64(0)
	once := sync.OnceFunc(func() {
		touchAll()
		beside = liveBytes() - before
	})
	fsys.beforeSync.Store(&once)
	require.NoError(t, d.Sync())
	require.Positive(t, beside)
	require.Less(t, beside, int64(10<<20))
	require.NoError(t, d.Close())
}

// syncHookFS calls beforeSync before each fsync, and beforeWrite before each
// write.
type syncHookFS struct {
	*vhdtest.MemFS
	beforeSync, beforeWrite atomic.Pointer[func()]
}

func (f *syncHookFS) OpenFile(name string, flag int, perm fs.FileMode) (vhd.File, error) {
	file, err := f.MemFS.OpenFile(name, flag, perm)
	return &syncHookFile{file, f}, err
}

type syncHookFile struct {
	vhd.File
	fs *syncHookFS
}

func (f *syncHookFile) Sync() error {
	if hook := f.fs.beforeSync.Load(); hook != nil {
		(*hook)()
	}
	return f.File.Sync()
}

func (f *syncHookFile) WriteAt(p []byte, off int64) (int, error) {
	if hook := f.fs.beforeWrite.Load(); hook != nil {
		(*hook)()
	}
	return f.File.WriteAt(p, off)
}

// A writer that waits for the storage holds the disk's lock; who reads what has
// its map must not wait for that. If it did, this test would not end.
func TestReadsThatFindTheirMapTakeNoLock(t *testing.T) {
	fsys := &syncHookFS{MemFS: vhdtest.NewMemFS()}
	d, err := vhd.Create("x.vhd", vhd.CreateOptions{Options: vhd.Options{FS: fsys, Lock: vhd.LockNone}, Size: 64 << 20})
	require.NoError(t, err)
	want := bytes.Repeat([]byte("x"), 4096)
	_, err = d.WriteAt(want, 0)
	require.NoError(t, err)
	got := make([]byte, 4096)
	_, err = d.ReadAt(got, 0)
	require.NoError(t, err)
	reads := 0
	read := func() {
		clear(got)
		_, err := d.ReadAt(got, 0)
		require.NoError(t, err)
		require.Equal(t, want, got)
		reads++
	}
	fsys.beforeWrite.Store(&read)
	_, err = d.WriteAt(want, 8<<20) // to a new block
	require.NoError(t, err)
	fsys.beforeWrite.Store(nil)
	require.Positive(t, reads)
	require.NoError(t, d.Close())
}

// What is read again and again stays, however much is read once beside it.
func TestWhatIsUsedSurvivesAScan(t *testing.T) {
	const window, nwindows = 2 << 20, 400
	base := vhdtest.NewDynamic(nwindows * window)
	for i := range nwindows {
		base.Blocks = append(base.Blocks, vhdtest.Block{Index: i, Data: []byte("data")})
	}
	disk, calls := countedChain(t, vhd.Options{CacheSize: 16 << 10}, vhdtest.NewChild(base, "1.vhd"), base)
	p := make([]byte, 512)
	read := func(i int64) {
		_, err := disk.ReadAt(p, i*window)
		require.NoError(t, err)
	}
	const nhot = 8
	made := 0
	for i := range int64(nwindows) {
		read(i)
		calls.Reset()
		for hot := range int64(nhot) {
			read(hot)
		}
		if i > nhot {
			made += calls.Count(vhdtest.OpRead) - nhot // of more than the data
		}
	}
	require.Zero(t, made, "so many reads to make maps again")
}

// Overwrites run beside one another, those of a disk just opened too: the first
// makes the map that the others find. If they waited for each other, this test would
// not end.
func TestOverwritesRunBesideOneAnother(t *testing.T) {
	fsys := &syncHookFS{MemFS: vhdtest.NewMemFS()}
	opts := vhd.Options{FS: fsys, Lock: vhd.LockNone, Writable: true}
	d, err := vhd.Create("x.vhd", vhd.CreateOptions{Options: opts, Size: 8 << 20})
	require.NoError(t, err)
	data := bytes.Repeat([]byte("x"), 4096)
	_, err = d.WriteAt(data, 0)
	require.NoError(t, err)
	require.NoError(t, d.Close())
	d, err = vhd.Open("x.vhd", &opts)
	require.NoError(t, err)
	_, err = d.WriteAt(data, 4096)
	require.NoError(t, err)
	nwrites := 0
	hook := func() {
		if nwrites++; nwrites > 1 {
			return
		}
		_, err := d.WriteAt(data, 8192)
		require.NoError(t, err)
	}
	fsys.beforeWrite.Store(&hook)
	_, err = d.WriteAt(data, 12288)
	require.NoError(t, err)
	require.Equal(t, 2, nwrites)
	fsys.beforeWrite.Store(nil)
	require.NoError(t, d.Close())
}
