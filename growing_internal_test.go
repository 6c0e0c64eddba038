package vhd

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// A file that grows gets, for a while, a size that tells where its footer is: little more than it needs.
func TestAGrowingFileIsLittleLongerThanItWillBe(t *testing.T) {
	for _, oldSize := range []int64{1024, 1023, 100<<20 + 511, 1<<40 + 512} {
		for _, more := range []int64{1, 511, 512, 513, 3 << 10, 8 << 10, 100<<10 + 1, 65<<20 + 512, 1<<30 - 1, 1<<30 + 1, 5 << 40, maxGrown - oldSize} {
			base := roundUp(oldSize, SectorSize)
			n := base + more
			size := growingSize(oldSize, n)
			require.Greater(t, size, n)
			require.LessOrEqual(t, size, n+more/8+2*SectorSize, "from %d to %d", oldSize, n)
			require.Positive(t, size%SectorSize)
			require.Less(t, size%SectorSize, int64(SectorSize-1), "one byte less than sectors is what other files have")
			got, ok := growingBase(size)
			require.True(t, ok)
			require.Equal(t, base, got, "from %d to %d", oldSize, n)
		}
	}
}

func TestNoSizeLeadsToAFooterThatIsNotThere(t *testing.T) {
	for remainder := range int64(SectorSize) {
		for _, sectors := range []int64{0, 1, 2, 100, 1 << 20, 1 << 50} {
			base, ok := growingBase(sectors*SectorSize + remainder)
			if ok {
				require.LessOrEqual(t, base, sectors*SectorSize)
				require.GreaterOrEqual(t, base, int64(0), fmt.Sprint(sectors, remainder))
			}
		}
	}
	m := Image{file: bytes.NewReader(make([]byte, 1025))}
	m.fileSize.Store(1025)
	found, err := m.readGrowing()
	require.NoError(t, err)
	require.False(t, found)
}
