package vhd

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// roomy is a chain in which 3 MiB are stored, of which 1 MiB are zeros over a parent's data.
func roomy(t *testing.T) *Disk {
	t.Helper()
	const mib = 1 << 20
	opts := Options{FS: RootFS(openRoot(t)), Writable: true}
	base, err := Create("base.vhd", CreateOptions{Options: opts, Size: 64 * mib, BlockSize: mib})
	require.NoError(t, err)
	_, err = base.WriteAt(bytes.Repeat([]byte("x"), 2*mib), 8*mib)
	require.NoError(t, err)
	require.NoError(t, base.Close())
	disk, err := Create("child.vhd", CreateOptions{Options: opts, Parent: "base.vhd", BlockSize: mib})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, disk.Close()) })
	_, err = disk.WriteAt(bytes.Repeat([]byte("x"), mib), 32*mib)
	require.NoError(t, err)
	_, err = disk.WriteAt(make([]byte, mib), 8*mib)
	require.NoError(t, err)
	require.NoError(t, disk.Sync())
	return disk
}

func TestAnExportNeedsRoomForWhatIsNoZeros(t *testing.T) {
	const mib = 1 << 20
	disk := roomy(t)
	for _, c := range []struct {
		opts ExportOptions
		need int64
	}{
		{ExportOptions{}, 2 * mib},
		{ExportOptions{Type: Fixed}, 2 * mib},
		{ExportOptions{Type: Dynamic}, 2 * mib},
		{ExportOptions{Type: Differencing, Base: 1}, mib},
	} {
		p, err := disk.planExport(t.Context(), c.opts, nil)
		require.NoError(t, err)
		require.NoError(t, p.checkFree(t.Context(), c.need), "%v", c.opts.Type)
		require.ErrorIs(t, p.checkFree(t.Context(), c.need-1), ErrNoSpace, "%v", c.opts.Type)
	}
}
