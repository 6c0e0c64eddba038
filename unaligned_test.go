package vhd_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

const unalignedBlock = 64 << 10

// unalignedLeaf is a disk of 1 MiB in an FS, whose first block is there and
// whose footer does not start where a sector does; want is what it reads as.
func unalignedLeaf(t testing.TB, child bool, slack int64, form vhdtest.FooterForm) (mem *vhdtest.MemFS, want []byte) {
	t.Helper()
	first := vhdtest.Block{Index: 0, Data: fill(1, unalignedBlock)}
	leaf, parent := vhdtest.NewDynamic(1<<20, first), []byte(nil)
	mem = vhdtest.NewMemFS()
	if child {
		base := vhdtest.NewFixed(1<<20, fill(2, 1<<20))
		require.NoError(t, mem.WriteFile("base.vhd", base.Build(t)))
		leaf, parent = vhdtest.NewChild(base, "base.vhd", first), base.Data
	}
	leaf.BlockSize, leaf.Slack, leaf.SlackByte, leaf.Footer = unalignedBlock, slack, 0xDB, form
	require.NoError(t, mem.WriteFile(rigName, leaf.Build(t)))
	return mem, leaf.Content(t, parent)
}

// Data is written whole sectors at a time, also behind a footer that stands in
// the middle of one.
func TestADiskWhoseFooterIsUnalignedReadsBackWhatIsWritten(t *testing.T) {
	writes := []struct {
		what   string
		off, n int64
	}{
		{"a new block, whole", 5 * unalignedBlock, unalignedBlock},
		{"a part of one of its sectors", 5*unalignedBlock + 1000, 1},
		{"a part of its last sector", 6*unalignedBlock - 100, 99},
		{"the last bytes of a new block", 10*unalignedBlock - 3, 3},
		{"the block that was there", 700, 3000},
		{"the end of that block, and a new one", unalignedBlock - 300, 600},
		{"all blocks from the middle of one on", 2*unalignedBlock + 5000, 13*unalignedBlock + 77},
	}
	for _, form := range []vhdtest.FooterForm{vhdtest.FooterWhole, vhdtest.Footer511} {
		for _, slack := range []int64{0, 1, 100, 511} {
			for _, child := range []bool{false, true} {
				t.Run(fmt.Sprintf("slack %d, footer form %d, child %v", slack, form, child), func(t *testing.T) {
					mem, want := unalignedLeaf(t, child, slack, form)
					opts := &vhd.Options{FS: mem, Writable: true}
					disk, err := vhd.Open(rigName, opts)
					require.NoError(t, err)
					requireSameBytes(t, want, readAll(t, disk, disk.Size()), 0)
					for i, w := range writes {
						p := bytes.Repeat([]byte{byte('a' + i)}, int(w.n))
						n, err := disk.WriteAt(p, w.off)
						require.NoError(t, err, w.what)
						require.Len(t, p, n, w.what)
						copy(want[w.off:], p)
						requireSameBytes(t, want, readAll(t, disk, disk.Size()), 0)
						if i%3 > 0 {
							continue // the next is written to a disk that grew
						}
						require.NoError(t, disk.Close())
						disk, err = vhd.Open(rigName, opts)
						require.NoError(t, err)
						require.False(t, disk.Chain()[0].NeedsRecovery())
						requireSameBytes(t, want, readAll(t, disk, disk.Size()), 0)
					}
					require.NoError(t, disk.Close())
				})
			}
		}
	}
}
