package vhd_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// compactBenchBlocks is how many blocks the child has that is compacted.
const compactBenchBlocks = 256

// BenchmarkCompact compacts children, beside cp of their files and an fsync.
func BenchmarkCompact(b *testing.B) {
	for _, c := range []struct {
		name string
		same func(block int) bool // as the parent's
	}{
		{"nothing to drop", func(int) bool { return false }},
		{"every other block is the parent's", func(block int) bool { return block%2 == 0 }},
		{"all is the parent's", func(int) bool { return true }},
	} {
		b.Run(c.name, func(b *testing.B) {
			dir := b.TempDir()
			base := vhdtest.NewDynamic(compactBenchBlocks * benchBlock)
			leaf := vhdtest.NewChild(base, "base.vhd")
			for i := range compactBenchBlocks {
				data := plain(byte(i)|1, benchBlock)
				base.Blocks = append(base.Blocks, vhdtest.Block{Index: i, Data: data, Align: 4096})
				if !c.same(i) {
					data = plain(byte(i)&^1, benchBlock)
				}
				leaf.Blocks = append(leaf.Blocks, vhdtest.Block{Index: i, Data: data, Align: 4096})
			}
			base.WriteFile(b, filepath.Join(dir, "base.vhd"))
			leaf.WriteFile(b, filepath.Join(dir, "leaf.vhd"))
			compacts := &racer{run: func() time.Duration { return compactCopy(b, dir) }}
			cp := &racer{run: func() time.Duration { return copyLeaf(b, dir) }}
			race(compacts, cp)
			compacts.reportSpeed(b, 1, compactBenchBlocks*benchBlock)
			b.ReportMetric(compacts.of(cp), "of-cp")
		})
	}
}

// compactCopy compacts a copy of the leaf.
func compactCopy(b *testing.B, dir string) time.Duration {
	b.Helper()
	copyLeaf(b, dir)
	name := filepath.Join(dir, "copy.vhd")
	disk, err := vhd.Open(name, &vhd.Options{Writable: true})
	require.NoError(b, err)
	took := timedWarm(compactBenchBlocks*benchBlock, func() { require.NoError(b, disk.Compact(b.Context(), vhd.CompactOptions{})) })
	require.NoError(b, disk.Close())
	return took
}

// copyLeaf copies the leaf, which takes its time.
func copyLeaf(b *testing.B, dir string) time.Duration {
	b.Helper()
	name := filepath.Join(dir, "copy.vhd")
	require.NoError(b, os.RemoveAll(name))
	return timedWarm(compactBenchBlocks*benchBlock, func() { copyAndSync(b, filepath.Join(dir, "leaf.vhd"), name) })
}
