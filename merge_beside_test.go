package vhd_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// stampedChain is a chain of six images, the first of which has a stamp in each sector and
// each other in some.
func stampedChain(t testing.TB, base vhd.DiskType) (names []string, content []byte) {
	t.Helper()
	dir := t.TempDir()
	content = make([]byte, mergeSize)
	for n := range 6 {
		name := filepath.Join(dir, fmt.Sprintf("image%d.vhd", n))
		opts := vhd.CreateOptions{Type: base, Size: mergeSize, BlockSize: 64 << 10}
		if n > 0 {
			opts = vhd.CreateOptions{Parent: names[0], BlockSize: int64(8<<10) << n}
		}
		disk, err := vhd.Create(name, opts)
		require.NoError(t, err)
		if n == 0 {
			copy(content, stamps(0, mergeSize, 0))
			_, err := disk.WriteAt(content, 0)
			require.NoError(t, err)
		}
		for sector := n; n > 0 && sector < mergeSize/vhd.SectorSize; sector += 40 + n*7 {
			p := stamp(sector, n)
			_, err := disk.WriteAt(p, int64(sector)*vhd.SectorSize)
			require.NoError(t, err)
			copy(sectorOfContent(content, sector), p)
		}
		require.NoError(t, disk.Close())
		names = append([]string{name}, names...)
	}
	return names, content
}

func TestReadersAndWritersGoOnBesideMerges(t *testing.T) {
	for _, base := range []vhd.DiskType{vhd.Dynamic, vhd.Fixed} {
		t.Run(fmt.Sprintf("on a %v base", base), func(t *testing.T) {
			names, content := stampedChain(t, base)
			disk, err := vhd.Open(names[0], &vhd.Options{Writable: true, CacheSize: 64 << 10})
			require.NoError(t, err)
			stop := make(chan struct{})
			var group sync.WaitGroup
			const workers = 3
			share := mergeSize / workers / vhd.SectorSize * vhd.SectorSize
			for worker := range workers {
				own := content[worker*share : (worker+1)*share]
				group.Go(func() { writeOwnShare(t, disk, own, int64(worker*share), stop) })
			}
			for _, levels := range [][2]int{{2, 3}, {1, 2}, {0, 1}, {1, 2}, {0, 1}} { // into the base in the end
				assertNoError(t, disk.Merge(t.Context(), levels[0], levels[1], vhd.MergeOptions{}))
			}
			close(stop)
			group.Wait()
			require.Equal(t, names[5:], namesOf(disk))
			require.NoError(t, disk.Close())
			requireFileReadsAs(t, names[5], content)
			requireFindings(t, names[5], withParents)
		})
	}
}

func TestSnapshotsAreTakenBesideMerges(t *testing.T) {
	names, content := stampedChain(t, vhd.Dynamic)
	disk, err := vhd.Open(names[0], &vhd.Options{Writable: true})
	require.NoError(t, err)
	stop := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() { writeOwnShare(t, disk, content, 0, stop) })
	name := func(n int) string { return filepath.Join(filepath.Dir(names[0]), fmt.Sprintf("snapshot%d.vhd", n)) }
	for n := range 5 {
		var merging sync.WaitGroup
		merging.Go(func() {
			if into := len(disk.Chain()) - 1; into > 0 { // else the snapshot of before was merged with all the rest
				assertNoError(t, disk.Merge(t.Context(), 0, into, vhd.MergeOptions{}))
			}
		})
		assertNoError(t, disk.Snapshot(name(n), vhd.CreateOptions{}))
		merging.Wait()
	}
	close(stop)
	group.Wait()
	last := disk.Chain()[0].Name()
	require.NoError(t, disk.Close())
	requireFileReadsAs(t, last, content)
	requireFindings(t, last, withParents)
}

func TestADeltaIsNotMadeOfABaseThatWasMerged(t *testing.T) {
	names, _ := stampedChain(t, vhd.Dynamic)
	disk, err := vhd.Open(names[0], &vhd.Options{Writable: true})
	require.NoError(t, err)
	defer disk.Close()
	var once sync.Once
	w := writerFunc(func(p []byte) (int, error) {
		once.Do(func() { assertNoError(t, disk.Merge(t.Context(), 1, 3, vhd.MergeOptions{})) })
		return len(p), nil
	})
	_, err = disk.Export(t.Context(), w, vhd.ExportOptions{Type: vhd.Differencing, Base: 2})
	require.ErrorIs(t, err, fs.ErrInvalid)
}

func TestAnExportGoesOnBesideAMerge(t *testing.T) {
	names, content := stampedChain(t, vhd.Dynamic)
	disk, err := vhd.Open(names[0], &vhd.Options{Writable: true})
	require.NoError(t, err)
	defer disk.Close()
	var got bytes.Buffer
	w := writerFunc(func(p []byte) (int, error) {
		if len(disk.Chain()) > 1 {
			assertNoError(t, disk.Merge(t.Context(), 0, 1, vhd.MergeOptions{}))
		}
		return got.Write(p)
	})
	_, err = disk.Export(t.Context(), w, vhd.ExportOptions{})
	require.NoError(t, err)
	requireSameBytes(t, content, got.Bytes(), 0)
}

// What one merge writes to the images that it merges is not theirs until it ends, so another into a new file has none of it.
func TestAMergeIntoANewFileHasNothingOfOneOnItsWay(t *testing.T) {
	mem := vhdtest.NewMemFS()
	opts := vhd.CreateOptions{Options: vhd.Options{FS: mem}, Size: 8 << 20, BlockSize: 4096}
	disk, err := vhd.Create("base.vhd", opts)
	require.NoError(t, err)
	_, err = disk.WriteAt(fill(9, 8<<20), 0)
	require.NoError(t, err)
	require.NoError(t, disk.Snapshot("low.vhd", vhd.CreateOptions{BlockSize: 4096}))
	require.NoError(t, disk.Snapshot("high.vhd", vhd.CreateOptions{BlockSize: 4096}))
	_, err = disk.WriteAt(fill(1, 8<<20), 0)
	require.NoError(t, err)
	require.NoError(t, disk.Snapshot("leaf.vhd", vhd.CreateOptions{BlockSize: 4096}))
	merged := make(chan error, 1)
	var once sync.Once
	require.NoError(t, disk.Merge(t.Context(), 1, 3, vhd.MergeOptions{Progress: func(int64, int64) {
		once.Do(func() {
			go func() { merged <- disk.Merge(t.Context(), 2, 3, vhd.MergeOptions{Output: "new.vhd"}) }()
			select {
			case err := <-merged:
				merged <- err
			case <-time.After(100 * time.Millisecond): // it waits
			}
		})
	}}))
	if err := <-merged; err != nil {
		require.ErrorIs(t, err, fs.ErrInvalid, "by then there are not so many images")
	} else {
		other, err := vhd.Open("new.vhd", &vhd.Options{FS: mem})
		require.NoError(t, err)
		p := make([]byte, 8<<20)
		_, err = other.ReadAt(p, 0)
		require.NoError(t, err)
		require.True(t, bytes.Equal(fill(9, int64(len(p))), p), "it has what only high.vhd had")
		require.NoError(t, other.Close())
	}
	require.NoError(t, disk.Close())
}

// A reader that found the leaf with blocks, and no map of its window, waits while a fixed image takes the leaf's place.
func TestReadersThatWaitWhileAFixedDiskBecomesTheLeafReadOn(t *testing.T) {
	storage := vhdtest.NewCrashFS(nil, vhdtest.CrashOptions{})
	opts := vhd.Options{FS: storage}
	require.NoError(t, createAndFill("base.vhd", vhd.CreateOptions{Options: opts, Type: vhd.Fixed, Size: 64 << 20}, func(d *vhd.Disk) error {
		_, err := d.WriteAt(fill(1, 64<<20), 0)
		return err
	}))
	require.NoError(t, createAndFill("leaf.vhd", vhd.CreateOptions{Options: opts, Parent: "base.vhd"}, func(*vhd.Disk) error { return nil }))
	disk := openLine(t, "leaf.vhd", opts)
	want := readAll(t, disk, 64<<20)
	require.NoError(t, disk.Close())
	disk = openLine(t, "leaf.vhd", opts) // without a map
	var readers sync.WaitGroup
	storage.OnOp = func(op vhdtest.Op) {
		if op.Kind != vhdtest.OpRemove {
			return
		}
		for window := range int64(32) {
			readers.Go(func() {
				p := make([]byte, 4096)
				_, err := disk.ReadAt(p, window*(2<<20))
				assertNoError(t, err)
				if !bytes.Equal(want[window*(2<<20):][:len(p)], p) {
					t.Errorf("window %d is wrong", window)
				}
			})
		}
		<-time.After(100 * time.Millisecond) // they wait
	}
	require.NoError(t, disk.Merge(t.Context(), 0, 1, vhd.MergeOptions{}))
	readers.Wait()
}

// Whose end footer is lost, the receiving image gets another end before anything is merged.
func TestAReceivingImageThatNeedsRecoveryIsReadRightThroughout(t *testing.T) {
	for _, tail := range []int64{20_000, 300_000} { // bytes in place of the footer
		for at := 1; readAtSync(t, tail, at); at++ {
		}
	}
}

// readAtSync reads a disk for the first time when the image that it is merged into is synced for the at-th time. It
// returns whether that comes about.
func readAtSync(t *testing.T, tail int64, at int) bool {
	t.Helper()
	storage := vhdtest.NewCrashFS(nil, vhdtest.CrashOptions{})
	faults := vhdtest.NewFaultFS(storage)
	opts := vhd.Options{FS: faults}
	newLine(t, opts, "base.vhd")
	require.NoError(t, createAndFill("leaf.vhd", vhd.CreateOptions{Options: opts, Parent: "base.vhd"}, func(d *vhd.Disk) error {
		for off := int64(1 << 20); off < 6<<20; off += 64 << 10 {
			if _, err := d.WriteAt(fill(2, 512), off); err != nil {
				return err
			}
		}
		return nil
	}))
	disk := openLine(t, "leaf.vhd", opts)
	want := readAll(t, disk, lineSize)
	require.NoError(t, disk.Close())
	replaceFooter(t, storage, "base.vhd", tail)
	disk = openLine(t, "leaf.vhd", opts)
	var readers sync.WaitGroup
	nsyncs := 0
	storage.OnOp = func(op vhdtest.Op) {
		if op.Kind != vhdtest.OpSync || op.Name != "base.vhd" {
			return
		}
		if nsyncs++; nsyncs == at {
			readers.Go(func() { assertReadsAs(t, disk, want) })
			<-time.After(10 * time.Millisecond) // it may have to wait
		}
	}
	faults.Arm(vhdtest.Fault{At: 1, Match: isKind(vhdtest.OpRemove)}) // of the leaf: all is merged, and it stays
	require.Error(t, disk.Merge(t.Context(), 0, 1, vhd.MergeOptions{}))
	faults.Disarm()
	readers.Wait()
	assertReadsAs(t, disk, want)
	require.NoError(t, disk.Close())
	return nsyncs >= at && !t.Failed()
}

// replaceFooter puts zeros where a file's last sector was, and behind.
func replaceFooter(t testing.TB, fsys vhd.FS, name string, n int64) {
	t.Helper()
	file, err := fsys.OpenFile(name, os.O_RDWR, 0)
	require.NoError(t, err)
	info, err := file.Stat()
	require.NoError(t, err)
	end := info.Size() - vhd.SectorSize
	require.NoError(t, file.Truncate(end))
	require.NoError(t, file.Truncate(end+n))
	require.NoError(t, file.Close())
}

func assertReadsAs(t testing.TB, disk *vhd.Disk, want []byte) {
	t.Helper()
	p := make([]byte, len(want))
	_, err := disk.ReadAt(p, 0)
	assertNoError(t, err)
	if !bytes.Equal(want, p) {
		t.Error("it reads otherwise")
	}
}

func TestAMergeIntoANewFileKeepsItsParentBesideASnapshot(t *testing.T) {
	storage := vhdtest.NewCrashFS(nil, vhdtest.CrashOptions{})
	opts := vhd.Options{FS: storage}
	newLine(t, opts, "base.vhd", "middle.vhd", "leaf.vhd")
	disk := openLine(t, "leaf.vhd", opts)
	want := readAll(t, disk, disk.Size())
	begun := false
	storage.OnOp = func(op vhdtest.Op) {
		if op.Kind == vhdtest.OpOpen && !begun { // the new file comes into being
			begun = true
			assertNoError(t, disk.Snapshot("snapshot.vhd", vhd.CreateOptions{}))
		}
	}
	require.NoError(t, disk.Merge(t.Context(), 0, 1, vhd.MergeOptions{Output: "new.vhd"}))
	require.True(t, begun)
	merged, err := vhd.Open("new.vhd", &vhd.Options{FS: storage})
	require.NoError(t, err)
	defer merged.Close()
	require.Equal(t, []string{"new.vhd", "base.vhd"}, namesOf(merged))
	requireSameBytes(t, want, readAll(t, merged, merged.Size()), 0)
}
