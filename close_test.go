package vhd_test

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// A reader whose map is not in the cache asks where blocks are while Close gives
// back what the file had grown by too much.
func TestReadersBesideCloseGetTheirDataOrErrClosed(t *testing.T) {
	rounds := 5
	if testing.Short() {
		rounds = 2
	}
	const size, block, stretch, nreaders = 32 << 20, 4096, 1 << 20, 6
	buffers := make([][16 * stretch]byte, nreaders)
	want := make([]byte, size)
	for range rounds {
		disk, err := vhd.Create(rigName, vhd.CreateOptions{
			Options: vhd.Options{FS: vhdtest.NewMemFS(), CacheSize: 1}, Size: size, BlockSize: block,
		})
		require.NoError(t, err)
		for off := 0; off < size; off += stretch {
			copy(want[off:], fill(byte(off>>20), block))
			_, err = disk.WriteAt(want[off:off+block], int64(off))
			require.NoError(t, err)
		}
		require.NoError(t, disk.Sync())

		var started, ended sync.WaitGroup
		for reader := range nreaders {
			started.Add(1)
			ended.Go(func() {
				p := buffers[reader][:]
				for i := 0; ; i++ {
					off := (reader + i) % 16 * stretch
					if i == 1 {
						started.Done()
					}
					n, err := disk.ReadAt(p, int64(off))
					if !bytes.Equal(p[:n], want[off:off+n]) {
						t.Errorf("at %d: %d bytes are not those that were written", off, n)
					}
					if err == nil {
						continue
					}
					if !errors.Is(err, vhd.ErrClosed) {
						t.Errorf("beside Close: %v", err)
					}
					return
				}
			})
		}
		started.Wait()
		require.NoError(t, disk.Close())
		ended.Wait()
	}
}
