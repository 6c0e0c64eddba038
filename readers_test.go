package vhd_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// TestOthersReadWhatIsMadeHere makes images by Create, WriteAt and WriteZeroes
// and has every reader that gets such an image right read it. What that is was
// measured: see vhdtest.ForQemu, ForSevenZip and ForLibvhdi.
func TestOthersReadWhatIsMadeHere(t *testing.T) {
	nimages := wanted(t, "VHD_READER_IMAGES", 200, 20)
	for _, reader := range []vhdtest.Reader{vhdtest.Qemu, vhdtest.SevenZip, vhdtest.Libvhdi} {
		reader.Need(t)
	}
	var mu sync.Mutex
	asked := map[string]int{}
	work := make(chan int)
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for seed := range work {
				t.Run(fmt.Sprintf("image %d", seed), func(t *testing.T) {
					img := makeForeignImage(t, uint64(seed))
					readers := img.readers()
					require.NotEmpty(t, readers, "%v", img.what)
					for _, reader := range readers {
						mu.Lock()
						asked[reader.Name]++
						mu.Unlock()
						requireSameBytes(t, img.model.Content(), reader.Content(t, img.names...), 0)
					}
				})
			}
		})
	}
	for seed := range nimages {
		work <- seed
	}
	close(work)
	group.Wait()
	t.Logf("asked: %v", asked)
	for _, reader := range []vhdtest.Reader{vhdtest.Qemu, vhdtest.SevenZip, vhdtest.Libvhdi} {
		require.Greater(t, asked[reader.Name], nimages/10, reader.Name)
	}
}

// foreignImage is a chain made for other readers.
type foreignImage struct {
	what       []string
	names      []string // leaf first
	model      *vhdtest.Model
	smallest   int64 // block size in the chain
	wholeBytes bool  // the bitmaps' runs end at bytes
	larger     bool  // a child is larger than its parent
	fixedBase  bool
}

func (i *foreignImage) readers() []vhdtest.Reader {
	var readers []vhdtest.Reader
	if len(i.names) == 1 && (i.fixedBase || i.smallest >= 4096) {
		readers = append(readers, vhdtest.Qemu)
	}
	if !i.larger {
		readers = append(readers, vhdtest.SevenZip)
	}
	if i.wholeBytes && !i.larger && (i.fixedBase && len(i.names) == 1 || i.smallest >= 1<<20) {
		readers = append(readers, vhdtest.Libvhdi)
	}
	return readers
}

// makeForeignImage makes, by its seed, a fixed disk, a dynamic disk, or a chain.
func makeForeignImage(t *testing.T, seed uint64) *foreignImage {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0xF0))
	img := &foreignImage{smallest: 1 << 30, wholeBytes: rng.IntN(2) == 0}
	depth := 0
	if seed%2 == 1 {
		depth = 1 + rng.IntN(4)
	}
	dir := t.TempDir()
	for level := 0; level <= depth; level++ {
		opts := vhd.CreateOptions{Type: vhd.Dynamic, BlockSize: img.blockSize(rng)}
		most := min(3<<20, opts.BlockSize*1000) / vhd.SectorSize
		opts.Size = (1 + rng.Int64N(most)) * vhd.SectorSize
		switch {
		case level > 0:
			opts.Type, opts.Parent = vhd.Differencing, img.names[0]
			opts.Size = min(opts.Size+most*vhd.SectorSize/2, img.model.Size())
		case rng.IntN(5) == 0:
			opts.Type, img.fixedBase = vhd.Fixed, true
		}
		name := filepath.Join(dir, fmt.Sprintf("ebene %d ä.vhd", level))
		img.what = append(img.what, fmt.Sprintf("%v of %d in %d", opts.Type, opts.Size, opts.BlockSize))
		disk, err := vhd.Create(name, opts)
		require.NoError(t, err)
		img.names = append([]string{name}, img.names...)
		if opts.Type != vhd.Fixed {
			img.smallest = min(img.smallest, opts.BlockSize)
		}
		if level == 0 {
			img.model = vhdtest.NewModel(opts.Size)
		} else {
			img.larger = img.larger || opts.Size > img.model.Size()
			img.model.NewChild(opts.Size)
		}
		img.fill(t, rng, disk)
		require.NoError(t, disk.Close())
	}
	return img
}

// blockSize keeps to those of one reader's more often than by chance: a reader
// that refuses one block size refuses the chain.
func (i *foreignImage) blockSize(rng *rand.Rand) int64 {
	if i.wholeBytes {
		return 1 << (20 + rng.IntN(3))
	}
	return 1 << (9 + rng.IntN(14))
}

// fill writes and zeroes, at whole bytes of bitmaps if need be.
func (i *foreignImage) fill(t *testing.T, rng *rand.Rand, disk *vhd.Disk) {
	t.Helper()
	unit := int64(1)
	if i.wholeBytes {
		unit = 8 * vhd.SectorSize
	}
	size := disk.Size()
	for range rng.IntN(12) {
		off := rng.Int64N(size) / unit * unit
		n := min(roundUpTo(1+rng.Int64N(100<<10), unit), size-off)
		if rng.IntN(4) == 0 {
			require.NoError(t, disk.WriteZeroes(off, n))
			require.NoError(t, i.model.WriteZeroes(off, n))
			continue
		}
		p := pattern(rng.Uint64()|1, n)
		_, err := disk.WriteAt(p, off)
		require.NoError(t, err)
		_, err = i.model.WriteAt(p, off)
		require.NoError(t, err)
		if rng.IntN(4) == 0 {
			require.NoError(t, disk.Sync())
		}
	}
	requireSameBytes(t, i.model.Content(), readAll(t, disk, size), 0)
}
