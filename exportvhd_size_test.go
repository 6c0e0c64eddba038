package vhd_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// What a chain of two that holds nothing is exported as, and one whose leaf has
// something in every block.
func TestTheBoundsOfAnExportAreThoseOfAnEmptyDiskAndOfAFullOne(t *testing.T) {
	const size = 9<<20 + 512
	for _, opts := range []vhd.ExportOptions{
		{}, {Type: vhd.Fixed}, {Azure: true}, {Type: vhd.Dynamic}, {Type: vhd.Dynamic, BlockSize: 4096},
		{Type: vhd.Differencing, Base: 1}, {Type: vhd.Differencing, Base: 1, BlockSize: 512},
	} {
		base := vhdtest.NewDynamic(size)
		child := vhdtest.NewChild(base, "base.vhd")
		empty := openAll(t, child.Build(t), base.Build(t))
		for i := range 5 {
			child.Blocks = append(child.Blocks, vhdtest.Block{Index: i, Data: []byte("own")})
		}
		full := openAll(t, child.Build(t), base.Build(t))
		least, most, err := full.ExportBounds(opts)
		require.NoError(t, err)
		require.Len(t, exportVHD(t, empty, opts), int(least), "%+v", opts)
		require.Len(t, exportVHD(t, full, opts), int(most), "%+v", opts)
	}
}

func TestADiskTooLargeForBlocksIsExportedAsFixedOnly(t *testing.T) {
	const size = int64(vhd.MaxDynamicSize + 512)
	disk, err := vhd.Create("fixed.vhd", vhd.CreateOptions{Options: vhd.Options{FS: vhdtest.NewMemFS()}, Type: vhd.Fixed, Size: size})
	require.NoError(t, err)
	_, err = disk.ExportSize(t.Context(), vhd.ExportOptions{Type: vhd.Dynamic})
	require.ErrorIs(t, err, vhd.ErrUnsupported)
	n, err := disk.ExportSize(t.Context(), vhd.ExportOptions{Type: vhd.Fixed})
	require.NoError(t, err)
	require.Equal(t, size+512, n)
	require.NoError(t, disk.Close())
}

// emptyFixed is a fixed disk of zeros, however large.
type emptyFixed struct {
	size   int64 // of the file
	footer []byte
}

func newEmptyFixed(t testing.TB, size int64) vhd.File {
	t.Helper()
	footer, err := vhd.Footer{DataOffset: -1, OriginalSize: size, CurrentSize: size, Type: vhd.Fixed}.MarshalBinary()
	require.NoError(t, err)
	return vhd.ReadOnlyFile(emptyFixed{size + 512, footer}, size+512)
}

func (f emptyFixed) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	for i := range p {
		if at := off + int64(i) - (f.size - 512); at >= 0 && at < 512 {
			p[i] = f.footer[at]
		}
	}
	return len(p), nil
}

func TestADiskThatHasNoWholeMiBAnyMoreIsNotExportedForAzure(t *testing.T) {
	const largest = int64(1<<63-1-512) / (1 << 20) * (1 << 20) // that leaves room for a footer
	for size, want := range map[int64]error{largest: nil, largest + 512: vhd.ErrUnsupported, (1<<63 - 1 - 512) / 512 * 512: vhd.ErrUnsupported} {
		disk, err := vhd.OpenChain(nil, newEmptyFixed(t, size))
		require.NoError(t, err)
		n, err := disk.ExportSize(t.Context(), vhd.ExportOptions{Azure: true})
		require.ErrorIs(t, err, want)
		if want == nil {
			require.Equal(t, size+512, n)
		}
		require.NoError(t, disk.Close())
	}
}

// With small blocks, what is around the data takes more room than entries of the
// table can name.
func TestAnExportWhoseFileWouldPassTwoTiBIsRefused(t *testing.T) {
	opts := vhd.CreateOptions{Options: vhd.Options{FS: vhdtest.NewMemFS()}, Type: vhd.Fixed, Size: 1025 << 30}
	disk, err := vhd.Create("x.vhd", opts)
	require.NoError(t, err)
	_, err = disk.ExportSize(t.Context(), vhd.ExportOptions{Type: vhd.Dynamic, BlockSize: 4096})
	require.ErrorIs(t, err, vhd.ErrUnsupported)
	require.NoError(t, disk.Close())
}

// exportKinds are exports of each type of a chain of three.
var exportKinds = []vhd.ExportOptions{
	{}, {Type: vhd.Fixed}, {Type: vhd.Dynamic}, {Type: vhd.Differencing, Base: 2}, {Type: vhd.Differencing, Base: 1, BlockSize: 1 << 20},
}

func TestExportSizeTellsHowFarItIs(t *testing.T) {
	disk, err := vhd.Create("base.vhd", vhd.CreateOptions{Options: vhd.Options{FS: vhdtest.NewMemFS()}, Size: 3 << 30})
	require.NoError(t, err)
	defer disk.Close()
	var told []int64
	_, err = disk.ExportSize(t.Context(), vhd.ExportOptions{Type: vhd.Dynamic, Progress: func(done, total int64) {
		require.Equal(t, int64(3<<30), total)
		told = append(told, done)
	}})
	require.NoError(t, err)
	require.IsIncreasing(t, told)
	require.Greater(t, len(told), 2)
	require.Equal(t, int64(3<<30), told[len(told)-1])
}
