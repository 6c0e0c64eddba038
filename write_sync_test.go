package vhd_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// atNextSync calls do in the middle of the next fsync.
func (r *rig) atNextSync(do func()) {
	done := false
	r.rec.Forbid = func(op vhdtest.Op) error {
		if op.Kind == vhdtest.OpSync && !done {
			done = true
			do()
		}
		return nil
	}
}

// A bitmap composed of what is present by now would publish sectors whose data
// no fsync has covered.
func TestW4ASyncPublishesNothingThatCameAfterItBegan(t *testing.T) {
	r := newChildRig(t, vhd.CreateOptions{})
	r.write(t, make([]byte, 512), 0)
	data := r.fileOff(t, 0)
	require.NoError(t, r.disk.Sync())
	bitmap := func() byte { return mustReadFile(t, r.mem, rigName)[data-512] }
	require.Equal(t, byte(0x80), bitmap())

	r.write(t, make([]byte, 512), 512)
	r.atNextSync(func() { r.write(t, make([]byte, 512), 1024) })
	require.NoError(t, r.disk.Sync())
	require.Equal(t, byte(0xC0), bitmap())
	require.NoError(t, r.disk.Sync())
	require.Equal(t, byte(0xE0), bitmap(), "it was left to the next")
}

func TestW4ABlockThatCameAfterASyncBeganIsNotInTheTable(t *testing.T) {
	r := newRig(t, vhd.CreateOptions{Size: 16 << 20})
	r.write(t, make([]byte, 512), 0) // the file has grown for many
	r.atNextSync(func() { r.write(t, make([]byte, 512), 64<<10) })
	require.NoError(t, r.disk.Sync())
	require.Equal(t, 1, allocatedBlocks(t, r.disk))
	require.NoError(t, r.disk.Sync())
	require.Equal(t, 2, allocatedBlocks(t, r.disk))
}

func TestABlockThatIsFreedWhileItIsPublishedIsGivenBackByTheNextSync(t *testing.T) {
	r := newRig(t, vhd.CreateOptions{Size: 16 << 20})
	r.write(t, []byte("x"), 0)
	r.atNextSync(func() { require.NoError(t, r.disk.WriteZeroes(0, 64<<10)) })
	require.NoError(t, r.disk.Sync())
	require.Equal(t, 1, allocatedBlocks(t, r.disk))
	require.NoError(t, r.disk.Sync())
	require.Zero(t, allocatedBlocks(t, r.disk))
	r.reopen(t)
	require.Equal(t, make([]byte, 512), readAll(t, r.disk, 512))
}

// Of the blocks that are as the file says a writer remembers some thousands,
// and finds the others again.
func TestWritersFindBlocksAgainThatTheyForgot(t *testing.T) {
	const (
		nblocks = 5200
		block   = 2 << 20
		freed   = 50
	)
	r := newRig(t, vhd.CreateOptions{Size: nblocks * block, BlockSize: block})
	sector := func(i int64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 504), uint64(i+1)) }
	requireBlocks := func(first, end int64) {
		t.Helper()
		p, zeros := make([]byte, 512), make([]byte, 512)
		for i := range int64(nblocks) {
			_, err := r.disk.ReadAt(p, i*block)
			require.NoError(t, err)
			want := zeros
			if i >= first && i < end {
				want = sector(i)
			}
			requireSameBytes(t, want, p, i*block)
		}
	}
	for i := range int64(nblocks - 1) {
		r.write(t, sector(i), i*block)
	}
	require.NoError(t, r.disk.Sync())
	r.write(t, sector(nblocks-1), (nblocks-1)*block)
	requireBlocks(0, nblocks)

	require.NoError(t, r.disk.Close())
	disk, err := vhd.Open(rigName, &vhd.Options{FS: r.rec, Writable: true, CacheSize: 1})
	require.NoError(t, err)
	r.disk = disk
	requireBlocks(0, nblocks)
	require.NoError(t, r.disk.WriteZeroes(0, freed*block))
	r.atNextSync(func() { // what is being published is in the file only later
		for i := int64(freed); i < nblocks; i++ {
			r.write(t, sector(i), i*block)
		}
		requireBlocks(freed, nblocks)
	})
	require.NoError(t, r.disk.Sync())
	requireBlocks(freed, nblocks)
	r.reopen(t)
	requireBlocks(freed, nblocks)
}
