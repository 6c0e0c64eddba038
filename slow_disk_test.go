package vhd_test

import (
	"bytes"
	"io/fs"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// slowFS is a storage whose reads take as long as those of a disk, and that
// counts how many are under way.
type slowFS struct {
	*vhdtest.MemFS
	inMemory       atomic.Bool // by now
	underWay, most atomic.Int64
}

func (f *slowFS) OpenFile(name string, flag int, perm fs.FileMode) (vhd.File, error) {
	file, err := f.MemFS.OpenFile(name, flag, perm)
	return slowFile{file, f}, err
}

type slowFile struct {
	vhd.File
	fs *slowFS
}

func (f slowFile) ReadAt(p []byte, off int64) (int, error) {
	now := f.fs.underWay.Add(1)
	defer f.fs.underWay.Add(-1)
	for most := f.fs.most.Load(); now > most && !f.fs.most.CompareAndSwap(most, now); most = f.fs.most.Load() {
	}
	if !f.fs.inMemory.Load() {
		time.Sleep(200 * time.Microsecond)
	}
	return f.File.ReadAt(p, off)
}

// Where bitmaps come from a slow disk, those of many images are read at once, and
// what the disk reads is the same.
func TestBitmapsAreReadTogetherFromASlowDisk(t *testing.T) {
	const nimages, block = 40, 2 << 20
	fsys := &slowFS{MemFS: vhdtest.NewMemFS()}
	img := vhdtest.NewDynamic(block, vhdtest.Block{Index: 0, Data: bytes.Repeat([]byte("base"), block/4)})
	want := bytes.Repeat([]byte("base"), block/4)
	require.NoError(t, fsys.WriteFile(countedName(nimages-1), img.Build(t)))
	for i := nimages - 2; i >= 0; i-- {
		own := bytes.Repeat([]byte{byte(i + 1)}, block)
		isOwn := func(sector int) bool { return sector%(i+7) == 0 }
		img = childOf(img, block, countedName(i+1), vhdtest.Block{Index: 0, Bitmap: vhdtest.Bitmap(block/vhd.SectorSize, isOwn), Data: own})
		require.NoError(t, fsys.WriteFile(countedName(i), img.Build(t)))
		for sector := 0; sector < block/vhd.SectorSize; sector += i + 7 {
			copy(want[sector*vhd.SectorSize:][:vhd.SectorSize], own)
		}
	}
	disk, err := vhd.Open(countedName(0), &vhd.Options{FS: fsys})
	require.NoError(t, err)
	defer disk.Close()
	require.EqualValues(t, 1, fsys.most.Load())
	got := make([]byte, vhd.SectorSize)
	_, err = disk.ReadAt(got, 0)
	require.NoError(t, err)
	require.Greater(t, fsys.most.Load(), int64(4))
	fsys.inMemory.Store(true)
	require.True(t, bytes.Equal(want, contentOf(t, disk)))
}
