package vhdtest

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestTheModelReadsThroughToTheParent(t *testing.T) {
	m := NewModelOf(bytes.Repeat([]byte("p"), 1024))
	m.NewChild(2048)
	_, err := m.WriteAt([]byte("child"), 510)
	require.NoError(t, err)
	want := append(bytes.Repeat([]byte("p"), 510), "child"...)
	want = append(want, bytes.Repeat([]byte("p"), 1024-515)...)
	want = append(want, make([]byte, 1024)...)
	require.Equal(t, want, m.Content())
	require.Equal(t, bytes.Repeat([]byte("p"), 1024), m.Parent().Content())

	for sector, want := range []int{0, 0, NoOwner, NoOwner} {
		depth, certain := m.Owner(int64(sector))
		require.Equal(t, want, depth)
		require.True(t, certain)
	}
}

func TestTheModelReadsZerosWhereALayerBetweenEnds(t *testing.T) {
	m := NewModelOf(bytes.Repeat([]byte("g"), 1024))
	m.NewChild(512)
	m.NewChild(1024)
	require.Equal(t, append(bytes.Repeat([]byte("g"), 512), make([]byte, 512)...), m.Content())
}

func TestTheModelHidesTheParentUnderZeroes(t *testing.T) {
	m := NewModelOf(bytes.Repeat([]byte("p"), 1536))
	m.NewChild(1536)
	require.NoError(t, m.WriteZeroes(500, 524))
	want := bytes.Repeat([]byte("p"), 1536)
	clear(want[500:1024])
	require.Equal(t, want, m.Content())

	depth, certain := m.Owner(0)
	require.Equal(t, 0, depth)
	require.True(t, certain)
	_, certain = m.Owner(1)
	require.False(t, certain)
	require.NoError(t, m.WriteZeroes(1536, 0))
	require.Error(t, m.WriteZeroes(1536, 1))
	_, err := m.WriteAt([]byte{1, 2}, 1535)
	require.Error(t, err)
}

// The other way to tell a chain's content: copy the parent's whole content when a child is made.
func TestTheModelAgreesWithFullCopies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.Int64Range(0, 3000)
		size := sizes.Draw(t, "size")
		m, flat := NewModel(size), make([]byte, size)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			off := rapid.Int64Range(0, m.Size()).Draw(t, "off")
			n := rapid.Int64Range(0, m.Size()-off).Draw(t, "n")
			switch rapid.SampledFrom([]string{"write", "write", "zeroes", "child"}).Draw(t, "step") {
			case "write":
				p := bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, int(n))
				_, err := m.WriteAt(p, off)
				require.NoError(t, err)
				copy(flat[off:], p)
			case "zeroes":
				require.NoError(t, m.WriteZeroes(off, n))
				clear(flat[off : off+n])
			case "child":
				m.NewChild(sizes.Draw(t, "size"))
				grown := make([]byte, m.Size())
				copy(grown, flat)
				flat = grown
			}
			require.Equal(t, flat, m.Content())
			part := make([]byte, n)
			if off+n <= m.Size() {
				_, err := m.ReadAt(part, off)
				require.NoError(t, err)
				require.Equal(t, flat[off:off+n], part)
			}
		}
	})
}

func TestTheModelCompactedReadsTheSameAndHoldsOnlyWhatDiffers(t *testing.T) {
	m := NewModelOf(bytes.Repeat([]byte("p"), 4*SectorSize))
	m.NewChild(6 * SectorSize)
	for sector, data := range []string{"p", "x", "p", "\x00", "\x00", "y"} {
		_, err := m.WriteAt(bytes.Repeat([]byte(data), SectorSize), int64(sector)*SectorSize)
		require.NoError(t, err)
	}
	before := m.Content()
	m.Compact(SectorSize)
	require.Equal(t, before, m.Content())
	for sector, want := range []int{1, 0, 1, 0, NoOwner, 0} {
		owner, _ := m.Owner(int64(sector))
		require.Equal(t, want, owner, "sector %d", sector)
	}
}
