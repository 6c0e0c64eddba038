package vhd_test

import (
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
)

// sums are the SHA-256 of all files in the directory.
func (f *lineage) sums(t testing.TB) map[string][32]byte {
	t.Helper()
	entries, err := os.ReadDir(f.dir)
	require.NoError(t, err)
	sums := map[string][32]byte{}
	for _, e := range entries {
		content, err := os.ReadFile(f.name(e.Name()))
		require.NoError(t, err)
		sums[e.Name()] = sha256.Sum256(content)
	}
	return sums
}

// differing counts the bytes of the sectors that the leaf does not hold, and that are
// others in below.
func (f *lineage) differing(t testing.TB, disk *vhd.Disk, below []byte) (n int64) {
	t.Helper()
	below = append(append([]byte{}, below...), make([]byte, len(f.leaf))...)
	for e, err := range disk.Extents(0, disk.Size()) {
		require.NoError(t, err)
		for off := e.Offset; e.Depth != 0 && off < e.Offset+e.Length; off += 512 {
			if string(f.leaf[off:off+512]) != string(below[off:off+512]) {
				n += 512
			}
		}
	}
	return n
}

// held is how many bytes of the disk the leaf itself has.
func held(t testing.TB, disk *vhd.Disk) (n int64) {
	t.Helper()
	for e, err := range disk.Extents(0, disk.Size()) {
		require.NoError(t, err)
		if e.Depth == 0 {
			n += e.Length
		}
	}
	return n
}

func TestAPlanTellsWhatARebaseWouldCopyAndChangesNothing(t *testing.T) {
	f := newLineage(t)
	parents := map[string][]byte{
		"base.vhd":    f.base,
		"middle.vhd":  f.middle, // whose own path it is
		"other.vhd":   f.create(t, "other.vhd", vhd.CreateOptions{Size: lineageSize, BlockSize: 4096}, nil, rand.New(rand.NewPCG(7, 7))),
		"smaller.vhd": f.create(t, "smaller.vhd", vhd.CreateOptions{Size: 3<<20 + 512}, nil, rand.New(rand.NewPCG(8, 8))),
	}
	f.export(t, "middle.vhd", "flat.vhd", vhd.ExportOptions{Type: vhd.Dynamic})
	parents["flat.vhd"] = f.middle
	before, leafFile := f.sums(t), readImageFile(t, f.name("leaf.vhd"))
	for name, below := range parents {
		for _, writable := range []bool{false, true} {
			disk, err := vhd.Open(f.name("leaf.vhd"), &vhd.Options{Writable: writable})
			require.NoError(t, err)
			last := int64(-1)
			plan, err := disk.PlanRebase(t.Context(), f.name(name), vhd.RebaseOptions{Progress: func(done, total int64) {
				require.EqualValues(t, lineageSize, total)
				require.Greater(t, done, last)
				last = done
			}})
			require.NoError(t, err)
			require.EqualValues(t, lineageSize, last)
			require.Equal(t, f.differing(t, disk, below), plan.Copied, name)
			require.Equal(t, imageOf(t, f.name(name)).Footer().ID, plan.ParentID)
			unsafe, err := disk.PlanRebase(t.Context(), f.name(name), vhd.RebaseOptions{Unsafe: true})
			require.NoError(t, err)
			require.Equal(t, vhd.RebasePlan{ParentID: plan.ParentID, Refs: plan.Refs}, unsafe)
			requireSameBytes(t, f.leaf, readAll(t, disk, lineageSize), 0)
			require.NoError(t, disk.Close())
			require.Equal(t, before, f.sums(t), name)

			disk = f.open(t, vhd.Options{})
			own := held(t, disk)
			require.NoError(t, disk.Rebase(f.name(name), vhd.RebaseOptions{}))
			require.Equal(t, plan.Copied, held(t, disk)-own, "what is copied then")
			require.Subset(t, disk.Chain()[0].ParentRefs(), plan.Refs)
			require.NoError(t, disk.Close())
			require.NoError(t, os.WriteFile(f.name("leaf.vhd"), leafFile, 0o600))
		}
	}
}

func readImageFile(t testing.TB, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(name)
	require.NoError(t, err)
	return content
}

func TestAPlanOfALostParentsRebaseNamesItsPaths(t *testing.T) {
	f := newLineage(t)
	require.NoError(t, os.Rename(f.name("middle.vhd"), f.name("moved.vhd")))
	before := f.sums(t)
	disk, err := vhd.Open(f.name("leaf.vhd"), &vhd.Options{NoParents: true})
	require.NoError(t, err)
	plan, err := disk.PlanRebase(t.Context(), f.name("moved.vhd"), vhd.RebaseOptions{})
	require.NoError(t, err)
	require.Equal(t, vhd.RebasePlan{
		ParentID: imageOf(t, f.name("moved.vhd")).Footer().ID,
		Refs: []vhd.ParentRef{
			{Origin: "W2ru", Path: `.\moved.vhd`},
			{Origin: "W2ku", Path: strings.ReplaceAll(f.name("moved.vhd"), "/", `\`)},
		},
	}, plan)
	require.NotEqual(t, uuid.UUID{}, plan.ParentID)
	_, err = disk.PlanRebase(t.Context(), f.name("base.vhd"), vhd.RebaseOptions{})
	require.ErrorIs(t, err, vhd.ErrParentNotFound)
	require.ErrorContains(t, err, "unsafe")
	require.NoError(t, disk.Close())
	require.Equal(t, before, f.sums(t))
}

func TestAPlanRefusesWhatARebaseRefuses(t *testing.T) {
	f := newLineage(t)
	disk, err := vhd.Open(f.name("leaf.vhd"), nil)
	require.NoError(t, err)
	for parent, want := range map[string]error{"leaf.vhd": vhd.ErrChainLoop, "nowhere.vhd": os.ErrNotExist} {
		_, err := disk.PlanRebase(t.Context(), f.name(parent), vhd.RebaseOptions{})
		require.ErrorIs(t, err, want, parent)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = disk.PlanRebase(ctx, f.name("base.vhd"), vhd.RebaseOptions{Progress: func(_, _ int64) { cancel() }})
	require.ErrorIs(t, err, context.Canceled)
	for range 20 {
		_, err = disk.PlanRebase(ctx, f.name("base.vhd"), vhd.RebaseOptions{Unsafe: true})
		require.ErrorIs(t, err, context.Canceled)
	}
	require.NoError(t, disk.Close())
	_, err = disk.PlanRebase(t.Context(), f.name("base.vhd"), vhd.RebaseOptions{})
	require.ErrorIs(t, err, vhd.ErrClosed)
}
