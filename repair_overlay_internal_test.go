package vhd

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// An overlay reads as a file to which the same is done, leaves the one below alone, and makes the same of it later.
func TestAnOverlayReadsAsAFileToWhichTheSameIsDone(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 17))
		base := make([]byte, 1+rng.IntN(4000))
		for i := range base {
			base[i] = byte(rng.Uint32())
		}
		f, err := os.Create(filepath.Join(t.TempDir(), "base"))
		require.NoError(t, err)
		_, err = f.Write(base)
		require.NoError(t, err)

		o, want := newOverlay(f, int64(len(base))), bytes.Clone(base)
		for range 30 {
			want = changeBoth(t, rng, o, want)
			got := make([]byte, len(want)+1)
			n, err := o.ReadAt(got, 0)
			require.Error(t, err, "that is more than there is")
			require.True(t, bytes.Equal(want, got[:n]), "seed %d", seed)
		}
		below, err := os.ReadFile(f.Name())
		require.NoError(t, err)
		require.True(t, bytes.Equal(base, below))
		for _, c := range o.changes {
			require.NoError(t, c.changeTo(f, func(int64) error { return nil }))
		}
		below, err = os.ReadFile(f.Name())
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, below), "seed %d", seed)
		require.NoError(t, f.Close())
	}
}

// changeBoth makes a change to an overlay, and to what it reads as.
func changeBoth(t testing.TB, rng *rand.Rand, o *overlay, want []byte) []byte {
	t.Helper()
	grown := func(n int) []byte { return append(want, make([]byte, max(0, n-len(want)))...) }
	switch off := rng.IntN(5000); rng.IntN(5) {
	case 0:
		require.NoError(t, o.Truncate(int64(off)))
		return grown(off)[:off:off]
	case 1:
		require.NoError(t, o.Sync())
	case 2:
		n := rng.IntN(len(want)/2 + 1)
		if n == 0 {
			return want
		}
		src := rng.IntN(len(want) - n + 1)
		dst := src + n + rng.IntN(500)
		o.copyRange(int64(dst), int64(src), int64(n))
		want = grown(dst + n)
		copy(want[dst:dst+n], want[src:])
	default:
		p := bytes.Repeat([]byte{byte(rng.Uint32()) & 1}, 1+rng.IntN(700)) // often what is there already
		n, err := o.WriteAt(p, int64(off))
		require.NoError(t, err)
		require.Len(t, p, n)
		want = grown(off + len(p))
		copy(want[off:], p)
	}
	return want
}

func TestAnOverlayKeepsABoundedNumberOfBytes(t *testing.T) {
	o := newOverlay(bytes.NewReader(nil), 0)
	p := bytes.Repeat([]byte{1}, 1<<20)
	for i := range int64(maxKept >> 20) {
		_, err := o.WriteAt(p, i<<20)
		require.NoError(t, err)
	}
	_, err := o.WriteAt(p, maxKept)
	require.ErrorIs(t, err, ErrUnsupported)
}
