package vhd_test

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd/internal/vhdtest"
)

// maxHostileCalls bounds the calls to the storage that an image can cause while it is inspected, read twice, written
// and read again, in place of the time that it takes: a disk whose bits change with every sector causes 17,000, most
// others less than 1,000.
const maxHostileCalls = 32 << 10

func TestHostileImagesComeOutAsSpecified(t *testing.T) {
	for _, recipe := range vhdtest.HostileRecipes() {
		t.Run(recipe.Name, func(t *testing.T) {
			image := recipe.Make(t)
			calls := vhdtest.NewRecordFS(putHostile(t, image))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := image.Check(calls, "d")
			runtime.ReadMemStats(&after)
			require.NoError(t, err)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16<<20))
			require.Less(t, calls.Count(), maxHostileCalls)
		})
	}
}

// putHostile is an FS that holds the image's files, seen from the directory d.
func putHostile(t testing.TB, image *vhdtest.HostileImage) *vhdtest.MemFS {
	t.Helper()
	mem := vhdtest.NewMemFS()
	for name, file := range image.Files {
		require.NoError(t, mem.WriteFile(path.Join("d", name), file))
	}
	for _, dir := range image.Dirs {
		require.NoError(t, mem.MkdirAll(path.Join("d", dir)))
	}
	return mem
}

func TestHostileImagesAreManyOfEachRow(t *testing.T) {
	rows, names := map[vhdtest.HostileRow]int{}, map[string]bool{}
	for _, recipe := range vhdtest.HostileRecipes() {
		rows[recipe.Row]++
		require.False(t, names[recipe.Name], "%s is there twice", recipe.Name)
		names[recipe.Name] = true
	}
	require.GreaterOrEqual(t, len(names), 60)
	for _, row := range []vhdtest.HostileRow{
		vhdtest.RowNoVHD, vhdtest.RowSizes, vhdtest.RowFooters, vhdtest.RowForged, vhdtest.RowBlocks, vhdtest.RowParents,
		vhdtest.RowOddLayout, vhdtest.RowOddChain,
	} {
		require.GreaterOrEqual(t, rows[row], 5, "%s", row)
	}
}

// The page that compares readers has a row for every image, and no other.
func TestTheHostileImagesAreThoseOfThePage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("docs", "hostile-images.md"))
	require.NoError(t, err)
	recipes := vhdtest.HostileRecipes()
	require.Contains(t, string(page), fmt.Sprintf("\n%d images.", len(recipes)))
	for _, recipe := range recipes {
		require.Contains(t, string(page), "\n| "+recipe.Name+" | ")
	}
}
