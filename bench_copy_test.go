package vhd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
)

// copying makes a racer of what makes a copy, under a name that nobody has. What
// it returns closes the copy, which may wait for the disk and is not measured.
func (c *benchChain) copying(b *testing.B, do func(name string) (end func() error)) *racer {
	b.Helper()
	name := filepath.Join(c.dir, "copy")
	return &racer{run: func() time.Duration {
		var end func() error
		took := timed(func() { end = do(name) })
		require.NoError(b, end())
		require.NoError(b, os.Remove(name))
		return took
	}}
}

// cp copies the raw file. It looks for zeros too.
func (c *benchChain) cp(b *testing.B) *racer {
	b.Helper()
	cp, err := exec.LookPath("cp")
	if err != nil {
		b.Skip("cp is missing")
	}
	raw := c.openRaw(b).Name()
	return c.copying(b, func(name string) func() error {
		out, err := exec.Command(cp, "--sparse=always", raw, name).CombinedOutput()
		if err != nil {
			b.Skipf("cp can't: %s", out)
		}
		return func() error { return nil }
	})
}

// BenchmarkExport makes raw files of chains, beside cp of the raw file.
func BenchmarkExport(b *testing.B) { benchmarkExport(b, vhd.ExportOptions{}) }

// BenchmarkExportDynamic makes dynamic images of chains, beside cp of the raw file.
func BenchmarkExportDynamic(b *testing.B) {
	benchmarkExport(b, vhd.ExportOptions{Type: vhd.Dynamic})
}

func benchmarkExport(b *testing.B, opts vhd.ExportOptions) {
	b.Helper()
	for _, c := range []*benchChain{scatteredChain, fullChain} {
		for _, depth := range []int{1, benchDepth} {
			b.Run(fmt.Sprintf("%s/depth %d", c.what, depth), func(b *testing.B) {
				c.make(b)
				disk := c.open(b, depth, nil)
				c.compareCopies(b, c.copying(b, func(name string) func() error {
					f, err := os.Create(name)
					require.NoError(b, err)
					_, err = disk.Export(b.Context(), f, opts)
					require.NoError(b, err)
					return f.Close
				}))
			})
		}
	}
}

// BenchmarkImport makes dynamic images of raw files, beside cp of them.
func BenchmarkImport(b *testing.B) {
	for _, c := range []*benchChain{scatteredChain, fullChain} {
		b.Run(c.what, func(b *testing.B) {
			c.make(b)
			raw := c.openRaw(b)
			c.compareCopies(b, c.copying(b, func(name string) func() error {
				disk, err := vhd.Create(name, vhd.CreateOptions{Size: c.size})
				require.NoError(b, err)
				require.NoError(b, disk.Import(b.Context(), raw, c.size, vhd.ImportOptions{}))
				return disk.Close
			}))
		})
	}
}

func (c *benchChain) compareCopies(b *testing.B, ours *racer) {
	b.Helper()
	cp := c.cp(b)
	race(ours, cp)
	ours.reportSpeed(b, 1, c.size)
	b.ReportMetric(ours.of(cp), "of-cp")
}
