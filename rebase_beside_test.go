package vhd_test

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
)

// Readers and writers of sectors of their own notice nothing when the disk gets one
// other parent after the other.
func TestReadersAndWritersGoOnBesideARebase(t *testing.T) {
	f := newLineage(t)
	f.create(t, "other.vhd", vhd.CreateOptions{Size: lineageSize / 2 / 512 * 512, BlockSize: 4096}, nil, rand.New(rand.NewPCG(7, 7)))
	f.export(t, "middle.vhd", "flat.vhd", vhd.ExportOptions{Type: vhd.Fixed})
	disk := f.open(t, vhd.Options{CacheSize: 64 << 10})
	const workers = 3
	share := int64(lineageSize / 4 / 512 * 512)
	stop := make(chan struct{})
	var group sync.WaitGroup
	contents := make([][]byte, workers)
	for worker := range workers {
		contents[worker] = f.leaf[int64(worker)*share:][:share]
		group.Go(func() { writeOwnShare(t, disk, contents[worker], int64(worker)*share, stop) })
	}
	group.Go(func() { zeroOwnShare(t, disk, f.leaf[workers*share:], workers*share, stop) })
	group.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				var stream bytes.Buffer
				_, err := disk.Export(t.Context(), &stream, vhd.ExportOptions{})
				assertNoError(t, err)
			}
		}
	})
	for _, parent := range []string{"flat.vhd", "base.vhd", "other.vhd", "middle.vhd", "other.vhd", "flat.vhd"} {
		assertNoError(t, disk.Rebase(f.name(parent), vhd.RebaseOptions{}))
	}
	close(stop)
	group.Wait()
	requireSameBytes(t, f.leaf, readAll(t, disk, lineageSize), 0)
	require.NoError(t, disk.Close())
	f.requireLeaf(t, f.leaf)
}

// zeroOwnShare writes to blocks of a part of the disk, and zeroes them, so that
// they are given back where nothing is below.
func zeroOwnShare(t testing.TB, disk *vhd.Disk, content []byte, at int64, stop <-chan struct{}) {
	t.Helper()
	rng := rand.New(rand.NewPCG(6, 6))
	for {
		select {
		case <-stop:
			return
		default:
		}
		off := rng.Int64N(int64(len(content)))
		n := min(int64(300<<10), int64(len(content))-off)
		if rng.IntN(2) == 0 {
			_, err := disk.WriteAt(bytes.Repeat([]byte{1}, int(n)), at+off)
			assertNoError(t, err)
			copy(content[off:], bytes.Repeat([]byte{1}, int(n)))
		} else {
			assertNoError(t, disk.WriteZeroes(at+off, n))
			clear(content[off : off+n])
		}
	}
}
