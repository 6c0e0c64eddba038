package vhd_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// gappedChain is a base full of data, and a child with sectors of its own in it:
// from each of first on, so many.
func gappedChain(t testing.TB, count int, first ...int) (child, base *vhdtest.Image, content []byte) {
	t.Helper()
	const block = 2 << 20
	random := rand.NewChaCha8([32]byte{1})
	content, own := make([]byte, block), make([]byte, block)
	_, _ = random.Read(content)
	_, _ = random.Read(own)
	base = vhdtest.NewDynamic(block, vhdtest.Block{Index: 0, Data: slices.Clone(content)})
	isOwn := func(sector int) bool {
		return slices.ContainsFunc(first, func(f int) bool { return sector >= f && sector < f+count })
	}
	for sector := range block / vhd.SectorSize {
		if isOwn(sector) {
			copy(content[sector*vhd.SectorSize:][:vhd.SectorSize], own[sector*vhd.SectorSize:])
		}
	}
	child = childOf(base, block, countedName(1), vhdtest.Block{Index: 0, Bitmap: vhdtest.Bitmap(block/vhd.SectorSize, isOwn), Data: own})
	return child, base, content
}

// Around what small writes put into a child, its parent is read with one call.
func TestAParentIsReadOverLittleGaps(t *testing.T) {
	for _, tt := range []struct {
		what         string
		count        int
		first        []int
		n, off       int64
		parent, leaf int // calls
	}{
		{"three gaps of 4 KiB", 8, []int{100, 300, 800}, 1 << 20, 0, 1, 3},
		{"from within one, to within another", 8, []int{100, 300, 800}, 700 * 512, 104 * 512, 1, 3},
		{"the largest gap", 16, []int{100}, 1 << 20, 0, 1, 1},
		{"one that is too large", 17, []int{100}, 1 << 20, 0, 2, 1},
		{"gaps side by side", 8, []int{100, 108}, 1 << 20, 0, 1, 1},
		{"not a whole sector", 8, []int{100}, 3000, 99*512 + 3, 1, 1},
		{"the parent alone", 8, []int{100}, 99 * 512, 0, 1, 0},
	} {
		child, base, content := gappedChain(t, tt.count, tt.first...)
		disk, calls := countedChain(t, vhd.Options{}, child, base)
		got := make([]byte, tt.n)
		for range 2 { // the second time with the map at hand
			calls.Reset()
			clear(got)
			_, err := disk.ReadAt(got, tt.off)
			require.NoError(t, err)
			require.True(t, bytes.Equal(content[tt.off:][:tt.n], got), tt.what)
		}
		var parent, leaf int
		for _, op := range calls.Ops() {
			if op.Name == countedName(0) {
				leaf++
			} else {
				parent++
			}
		}
		require.Equal(t, []int{tt.parent, tt.leaf}, []int{parent, leaf}, "%s: %v", tt.what, calls.Ops())
	}
}

// What lies in a gap is nobody's business: if it can't be read, the rest can.
func TestAGapThatCanNotBeReadIsNoError(t *testing.T) {
	child, base, content := gappedChain(t, 8, 100, 300)
	mem := vhdtest.NewMemFS()
	require.NoError(t, mem.WriteFile(countedName(0), child.Build(t)))
	raw := base.Build(t)
	require.NoError(t, mem.WriteFile(countedName(1), raw))
	faults := vhdtest.NewFaultFS(mem)
	disk, err := vhd.Open(countedName(0), &vhd.Options{FS: faults})
	require.NoError(t, err)
	defer disk.Close()
	dataOff := int64(bytes.Index(raw, content[:512]))
	require.Positive(t, dataOff)
	fail := func(name string, sector int64) {
		at := dataOff + sector*vhd.SectorSize
		faults.Arm(vhdtest.Fault{At: 1, All: true, Forever: true, Match: func(op vhdtest.Op) bool {
			return op.Kind == vhdtest.OpRead && op.Name == name && op.Off <= at && op.Off+op.N > at
		}})
	}

	fail(countedName(1), 302)
	got := make([]byte, 1<<20)
	_, err = disk.ReadAt(got, 0)
	require.NoError(t, err)
	require.Positive(t, faults.Fired())
	require.True(t, bytes.Equal(content[:1<<20], got))

	// What can't be read and is asked for fails where it is, and not before.
	fail(countedName(1), 400)
	n, err := disk.ReadAt(got, 0)
	require.ErrorIs(t, err, syscall.EIO)
	require.Equal(t, 308*vhd.SectorSize, n)
	require.True(t, bytes.Equal(content[:n], got[:n]))
}

// One place that can't be read costs one try too many, not one for each gap.
func TestAPlaceThatCanNotBeReadIsNotTriedOverAndOver(t *testing.T) {
	var every []int
	for sector := 0; sector < 2048; sector += 2 {
		every = append(every, sector)
	}
	child, base, content := gappedChain(t, 1, every...)
	mem := vhdtest.NewMemFS()
	require.NoError(t, mem.WriteFile(countedName(0), child.Build(t)))
	raw := base.Build(t)
	require.NoError(t, mem.WriteFile(countedName(1), raw))
	at := int64(bytes.Index(raw, content[512:1024])) - 512 + 2001*512
	calls := vhdtest.NewRecordFS(mem)
	faults := vhdtest.NewFaultFS(calls)
	disk, err := vhd.Open(countedName(0), &vhd.Options{FS: faults})
	require.NoError(t, err)
	defer disk.Close()
	faults.Arm(vhdtest.Fault{At: 1, All: true, Forever: true, Match: func(op vhdtest.Op) bool {
		return op.Kind == vhdtest.OpRead && op.Name == countedName(1) && op.Off <= at && op.Off+op.N > at
	}})
	got := make([]byte, 1<<20)
	n, err := disk.ReadAt(got, 0)
	require.ErrorIs(t, err, syscall.EIO)
	require.Equal(t, 2001*512, n)
	require.True(t, bytes.Equal(content[:n], got[:n]))
	require.Less(t, calls.Count(vhdtest.OpRead), 4000)
}

// What only a lost parent holds ends a read where it is, little as it may be.
func TestLittleOfALostParentEndsARead(t *testing.T) {
	child, _, content := gappedChain(t, 8, 0, 9, 18)
	mem := vhdtest.NewMemFS()
	require.NoError(t, mem.WriteFile(countedName(0), child.Build(t)))
	disk, err := vhd.Open(countedName(0), &vhd.Options{FS: mem, NoParents: true})
	require.NoError(t, err)
	defer disk.Close()
	got := make([]byte, 64<<10)
	n, err := disk.ReadAt(got, 0)
	require.ErrorIs(t, err, vhd.ErrParentNotFound)
	require.Equal(t, 8*512, n)
	require.True(t, bytes.Equal(content[:n], got[:n]))
	n, err = disk.ReadAt(got[:8*512], 9*512)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content[9*512:][:n], got[:n]))
}
