package vhd_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
)

// mergeBenchSize is how much a merge that is measured moves, bytes.
const mergeBenchSize = 1 << 30

// BenchmarkMerge merges a child of whole blocks into its parent, which has none,
// beside cp of the child's file and an fsync.
func BenchmarkMerge(b *testing.B) {
	dir := b.TempDir()
	child, base := filepath.Join(dir, "child.vhd"), filepath.Join(dir, "base.vhd")
	makeMergeBench(b, child, base)
	work := filepath.Join(dir, "work")
	ours := &racer{run: func() time.Duration {
		require.NoError(b, os.Mkdir(work, 0o777))
		for _, name := range []string{child, base} {
			copyAndSync(b, name, filepath.Join(work, filepath.Base(name)))
		}
		disk, err := vhd.Open(filepath.Join(work, "child.vhd"), &vhd.Options{Writable: true})
		require.NoError(b, err)
		took := timedWarm(mergeBenchSize, func() { require.NoError(b, disk.Merge(b.Context(), 0, 1, vhd.MergeOptions{})) })
		require.NoError(b, disk.Close())
		require.NoError(b, os.RemoveAll(work))
		return took
	}}
	yardstick := &racer{run: func() time.Duration {
		name := filepath.Join(dir, "copy")
		took := timedWarm(mergeBenchSize, func() { copyAndSync(b, child, name) })
		require.NoError(b, os.Remove(name))
		return took
	}}
	race(ours, yardstick)
	ours.reportSpeed(b, 1, mergeBenchSize)
	b.ReportMetric(ours.of(yardstick), "of-cp")
}

// makeMergeBench makes a child that has everything and a base that has nothing.
func makeMergeBench(b *testing.B, child, base string) {
	b.Helper()
	disk, err := vhd.Create(base, vhd.CreateOptions{Size: mergeBenchSize})
	require.NoError(b, err)
	require.NoError(b, disk.Close())
	disk, err = vhd.Create(child, vhd.CreateOptions{Parent: base})
	require.NoError(b, err)
	p := make([]byte, 2<<20)
	random := rand.NewChaCha8([32]byte{1})
	for off := int64(0); off < mergeBenchSize; off += int64(len(p)) {
		_, _ = random.Read(p)
		_, err := disk.WriteAt(p, off)
		require.NoError(b, err)
	}
	require.NoError(b, disk.Close())
}
