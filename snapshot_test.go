package vhd_test

import (
	"bytes"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// snapshotKinds are the leaves that snapshots are taken of.
var snapshotKinds = []struct {
	name string
	opts vhd.CreateOptions
}{
	{"a fixed disk", vhd.CreateOptions{Type: vhd.Fixed, Size: 5<<20 + 512}},
	{"a dynamic disk", vhd.CreateOptions{Size: 5<<20 + 512}},
	{"a dynamic disk of small blocks", vhd.CreateOptions{Size: 5<<20 + 512, BlockSize: 4096}},
	{"a child", vhd.CreateOptions{Parent: "base.vhd", BlockSize: 512 << 10}},
}

func forEachSnapshotKind(t *testing.T, test func(t *testing.T, dir string, disk *vhd.Disk)) {
	t.Helper()
	for _, kind := range snapshotKinds {
		t.Run("of "+kind.name, func(t *testing.T) {
			dir := t.TempDir()
			if kind.opts.Parent != "" {
				base, err := vhd.Create(filepath.Join(dir, "base.vhd"), vhd.CreateOptions{Size: 5<<20 + 512})
				require.NoError(t, err)
				require.NoError(t, base.Close())
				kind.opts.Parent = filepath.Join(dir, "base.vhd")
			}
			disk, err := vhd.Create(filepath.Join(dir, "first.vhd"), kind.opts)
			require.NoError(t, err)
			t.Cleanup(func() { _ = disk.Close() }) // of a test that failed
			test(t, dir, disk)
		})
	}
}

// fillAtRandom writes some pieces, of sectors and of bytes, to a disk and to its
// model.
func fillAtRandom(t testing.TB, disk *vhd.Disk, model []byte, rng *rand.Rand) {
	t.Helper()
	for range 40 {
		off := rng.IntN(len(model))
		n := min(1+rng.IntN(60<<10), len(model)-off)
		if rng.IntN(2) == 0 {
			off, n = off/vhd.SectorSize*vhd.SectorSize, max(n/vhd.SectorSize, 1)*vhd.SectorSize
		}
		p := bytes.Repeat([]byte{byte(1 + rng.IntN(255))}, n)
		if rng.IntN(8) == 0 {
			clear(p)
			require.NoError(t, disk.WriteZeroes(int64(off), int64(n)))
		} else {
			_, err := disk.WriteAt(p, int64(off))
			require.NoError(t, err)
		}
		copy(model[off:], p)
	}
}

func TestASnapshotKeepsWhatWasAndTakesWhatComes(t *testing.T) {
	forEachSnapshotKind(t, func(t *testing.T, dir string, disk *vhd.Disk) {
		t.Helper()
		rng := rand.New(rand.NewPCG(1, 1))
		name := func(n int) string {
			return filepath.Join(dir, []string{"first.vhd", "second.vhd", "third.vhd", "fourth.vhd"}[n])
		}
		model := make([]byte, disk.Size())
		depth := len(disk.Chain())
		var before [][]byte // what each image read as when it got a child
		var files [][]byte
		for n := 1; n < 4; n++ {
			fillAtRandom(t, disk, model, rng)
			require.NoError(t, disk.Snapshot(name(n), vhd.CreateOptions{}))
			require.Len(t, disk.Chain(), depth+n)
			require.Equal(t, name(n), disk.Chain()[0].Name())
			requireSameBytes(t, model, readAll(t, disk, disk.Size()), 0)
			file, err := os.ReadFile(name(n - 1))
			require.NoError(t, err)
			before, files = append(before, bytes.Clone(model)), append(files, file)
		}
		fillAtRandom(t, disk, model, rng)
		requireSameBytes(t, model, readAll(t, disk, disk.Size()), 0)
		require.NoError(t, disk.Close())

		for n, want := range before {
			file, err := os.ReadFile(name(n))
			require.NoError(t, err)
			require.True(t, bytes.Equal(files[n], file), "%s was changed as a parent", name(n))
			requireFileReadsAs(t, name(n), want)
			t.Run("7-Zip reads what was", func(t *testing.T) {
				requireSameBytes(t, want, vhdtest.SevenZip.Content(t, name(n)), 0)
			})
		}
		requireFileReadsAs(t, name(3), model)
		t.Run("7-Zip reads what is", func(t *testing.T) {
			requireSameBytes(t, model, vhdtest.SevenZip.Content(t, name(3)), 0)
		})
	})
}

func requireFileReadsAs(t testing.TB, name string, want []byte) {
	t.Helper()
	disk, err := vhd.Open(name, nil)
	require.NoError(t, err)
	defer disk.Close()
	require.False(t, disk.Chain()[0].NeedsRecovery())
	requireSameBytes(t, want, readAll(t, disk, disk.Size()), 0)
}

func TestASnapshotRecordsItsParentAsWindowsDoes(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first.vhd"), filepath.Join(dir, "second.vhd")
	disk, err := vhd.Create(first, vhd.CreateOptions{Size: 4 << 20})
	require.NoError(t, err)
	_, err = disk.WriteAt([]byte("some"), 0)
	require.NoError(t, err)
	id, made := uuid.UUID{7}, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	require.NoError(t, disk.Snapshot(second, vhd.CreateOptions{ID: id, Time: made, BlockSize: 1 << 20}))

	leaf, parent := disk.Chain()[0], disk.Chain()[1]
	header, ok := leaf.Header()
	require.True(t, ok)
	require.Equal(t, vhd.Differencing, leaf.Footer().Type)
	require.Equal(t, id, leaf.Footer().ID)
	require.True(t, made.Equal(leaf.Footer().Time))
	require.Equal(t, int64(1<<20), header.BlockSize)
	require.Equal(t, parent.Footer().ID, header.ParentID)
	require.Contains(t, leaf.ParentRefs(), vhd.ParentRef{Origin: "W2ru", Path: `.\first.vhd`})
	require.NoError(t, disk.Close())
	info, err := os.Stat(first) // nothing has written to it since
	require.NoError(t, err)
	require.True(t, info.ModTime().Truncate(time.Second).Equal(header.ParentTime), "the parent's time, in whole seconds")
}

func TestASnapshotThatFailsLeavesTheDiskAsItWas(t *testing.T) {
	forEachSnapshotKind(t, func(t *testing.T, dir string, disk *vhd.Disk) {
		t.Helper()
		model := make([]byte, disk.Size())
		rng := rand.New(rand.NewPCG(2, 2))
		fillAtRandom(t, disk, model, rng)
		there := filepath.Join(dir, "there")
		require.NoError(t, os.WriteFile(there, []byte("something else"), 0o600))

		chain := len(disk.Chain())
		for _, wrong := range []struct {
			name string
			opts vhd.CreateOptions
			want error
		}{
			{there, vhd.CreateOptions{}, fs.ErrExist},
			{"", vhd.CreateOptions{}, fs.ErrInvalid},
			{filepath.Join(dir, "nowhere", "new.vhd"), vhd.CreateOptions{}, fs.ErrNotExist},
			{filepath.Join(dir, "new.vhd"), vhd.CreateOptions{Type: vhd.Dynamic}, fs.ErrInvalid},
			{filepath.Join(dir, "new.vhd"), vhd.CreateOptions{Size: 1 << 20}, fs.ErrInvalid},
			{filepath.Join(dir, "new.vhd"), vhd.CreateOptions{Parent: "base.vhd"}, fs.ErrInvalid},
			{filepath.Join(dir, "new.vhd"), vhd.CreateOptions{BlockSize: 1000}, fs.ErrInvalid},
		} {
			err := disk.Snapshot(wrong.name, wrong.opts)
			require.ErrorIs(t, err, wrong.want)
			require.Len(t, disk.Chain(), chain)
			fillAtRandom(t, disk, model, rng)
		}
		require.NoFileExists(t, filepath.Join(dir, "new.vhd"))
		file, err := os.ReadFile(there)
		require.NoError(t, err)
		require.Equal(t, "something else", string(file))
		requireSameBytes(t, model, readAll(t, disk, disk.Size()), 0)
		require.NoError(t, disk.Close())
		requireFileReadsAs(t, filepath.Join(dir, "first.vhd"), model)
	})
}

func TestOnlyAnOpenWritableDiskTakesSnapshots(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "disk.vhd")
	disk, err := vhd.Create(name, vhd.CreateOptions{Size: 1 << 20})
	require.NoError(t, err)
	require.NoError(t, disk.Close())
	require.ErrorIs(t, disk.Snapshot(filepath.Join(dir, "new.vhd"), vhd.CreateOptions{}), vhd.ErrClosed)

	disk, err = vhd.Open(name, nil)
	require.NoError(t, err)
	require.ErrorIs(t, disk.Snapshot(filepath.Join(dir, "new.vhd"), vhd.CreateOptions{}), vhd.ErrReadOnly)
	require.NoError(t, disk.Close())

	disk, err = vhd.Open(name, &vhd.Options{Writable: true, MaxDepth: 2})
	require.NoError(t, err)
	require.NoError(t, disk.Snapshot(filepath.Join(dir, "new.vhd"), vhd.CreateOptions{}))
	require.ErrorIs(t, disk.Snapshot(filepath.Join(dir, "newer.vhd"), vhd.CreateOptions{}), vhd.ErrChainTooDeep)
	require.NoError(t, disk.Close())
}

func TestAFormerLeafIsSharedByReadersAndKeptFromWriters(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first.vhd"), filepath.Join(dir, "second.vhd")
	disk, err := vhd.Create(first, vhd.CreateOptions{Size: 1 << 20})
	require.NoError(t, err)
	_, err = vhd.Open(first, nil)
	require.ErrorIs(t, err, vhd.ErrLocked)
	require.NoError(t, disk.Snapshot(second, vhd.CreateOptions{}))

	_, err = vhd.Open(first, &vhd.Options{Writable: true})
	require.ErrorIs(t, err, vhd.ErrLocked)
	_, err = vhd.Open(second, nil)
	require.ErrorIs(t, err, vhd.ErrLocked)
	reader, err := vhd.Open(first, nil)
	require.NoError(t, err)
	require.NoError(t, reader.Close())
	require.NoError(t, disk.Close())
	writer, err := vhd.Open(second, &vhd.Options{Writable: true})
	require.NoError(t, err)
	require.NoError(t, writer.Close())
}

// Readers and writers of sectors of their own notice nothing of snapshots that
// are taken beside them.
func TestReadersAndWritersGoOnBesideSnapshots(t *testing.T) {
	forEachSnapshotKind(t, func(t *testing.T, dir string, disk *vhd.Disk) {
		t.Helper()
		const workers, snapshots = 4, 5
		stop := make(chan struct{})
		var group sync.WaitGroup
		contents := make([][]byte, workers)
		share := disk.Size() / workers / vhd.SectorSize * vhd.SectorSize
		for worker := range workers {
			contents[worker] = make([]byte, share)
			group.Go(func() { writeOwnShare(t, disk, contents[worker], int64(worker)*share, stop) })
		}
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					for _, err := range disk.Extents(0, disk.Size()) {
						assertNoError(t, err)
					}
				}
			}
		})
		for n := range snapshots {
			assertNoError(t, disk.Snapshot(filepath.Join(dir, string(rune('a'+n))+".vhd"), vhd.CreateOptions{}))
		}
		close(stop)
		group.Wait()
		require.NoError(t, disk.Close())

		last, err := vhd.Open(filepath.Join(dir, string(rune('a'+snapshots-1))+".vhd"), nil)
		require.NoError(t, err)
		defer last.Close()
		for worker, want := range contents {
			got := make([]byte, share)
			_, err := last.ReadAt(got, int64(worker)*share)
			require.NoError(t, err)
			requireSameBytes(t, want, got, int64(worker)*share)
		}
	})
}

// writeOwnShare writes to a part of the disk that nobody else writes to, and reads
// back what it wrote, until stop is closed.
func writeOwnShare(t testing.TB, disk *vhd.Disk, content []byte, at int64, stop <-chan struct{}) {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, uint64(at)))
	for round := 0; ; round++ {
		select {
		case <-stop:
			if round > 50 {
				return
			}
		default:
		}
		off := rng.IntN(len(content))
		n := min(1+rng.IntN(8<<10), len(content)-off)
		p := bytes.Repeat([]byte{byte(1 + rng.IntN(255))}, n)
		_, err := disk.WriteAt(p, at+int64(off))
		assertNoError(t, err)
		copy(content[off:], p)
		from := rng.IntN(len(content))
		got := make([]byte, min(16<<10, len(content)-from))
		_, err = disk.ReadAt(got, at+int64(from))
		assertNoError(t, err)
		if !bytes.Equal(content[from:][:len(got)], got) {
			t.Errorf("what is at %d is not what was written", at+int64(from))
			return
		}
	}
}

// assertNoError is for goroutines that may not end a test.
func assertNoError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func TestADiskOfFilesThatNobodyNamedHasNoSnapshots(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "disk.vhd")
	disk, err := vhd.Create(name, vhd.CreateOptions{Size: 1 << 20})
	require.NoError(t, err)
	require.NoError(t, disk.Close())
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	require.NoError(t, err)
	disk, err = vhd.OpenChain(&vhd.Options{Writable: true}, f)
	require.NoError(t, err)
	require.ErrorIs(t, disk.Snapshot(filepath.Join(dir, "new.vhd"), vhd.CreateOptions{}), vhd.ErrUnsupported)
	require.NoError(t, disk.Close())
}

func TestSnapshotsAtTheSameTimeStandOnOneAnother(t *testing.T) {
	const n = 6
	dir := t.TempDir()
	name := func(i int) string { return filepath.Join(dir, string(rune('a'+i))+".vhd") }
	disk, err := vhd.Create(filepath.Join(dir, "first.vhd"), vhd.CreateOptions{Size: 1 << 20})
	require.NoError(t, err)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { assertNoError(t, disk.Snapshot(name(i), vhd.CreateOptions{})) })
	}
	group.Wait()
	require.Len(t, disk.Chain(), n+1)
	require.NoError(t, disk.Close())
	deepest := 0
	for i := range n {
		d, err := vhd.Open(name(i), nil)
		require.NoError(t, err)
		deepest = max(deepest, len(d.Chain()))
		require.NoError(t, d.Close())
	}
	require.Equal(t, n+1, deepest)
}

// What is copied out and in beside snapshots is what it would be without, whatever
// the disk was before the first of them.
func TestExportsAndImportsGoOnBesideSnapshots(t *testing.T) {
	forEachSnapshotKind(t, func(t *testing.T, dir string, disk *vhd.Disk) {
		t.Helper()
		content := patchy(9, int(disk.Size()))
		_, err := disk.WriteAt(content, 0)
		require.NoError(t, err)
		stop := make(chan struct{})
		var group sync.WaitGroup
		group.Go(func() {
			for round := range 12 {
				assertNoError(t, disk.Snapshot(filepath.Join(dir, string(rune('a'+round))+".vhd"), vhd.CreateOptions{BlockSize: 64 << 10}))
			}
			close(stop)
		})
		for more := true; more; {
			select {
			case <-stop:
				more = false
			default:
			}
			var stream bytes.Buffer
			_, err := disk.Export(t.Context(), &stream, vhd.ExportOptions{})
			require.NoError(t, err)
			require.True(t, bytes.Equal(content, stream.Bytes()), "to a stream")

			file, err := os.Create(filepath.Join(dir, "out"))
			require.NoError(t, err)
			_, err = disk.Export(t.Context(), file, vhd.ExportOptions{})
			require.NoError(t, err)
			require.NoError(t, file.Close())
			out, err := os.ReadFile(file.Name())
			require.NoError(t, err)
			require.True(t, bytes.Equal(content, out), "to a file")

			content = patchy(uint64(len(stream.Bytes()))+content0(content), len(content))
			require.NoError(t, disk.Import(t.Context(), bytes.NewReader(content), disk.Size(), vhd.ImportOptions{}))
			requireSameBytes(t, content, readAll(t, disk, disk.Size()), 0)
		}
		group.Wait()
		require.NoError(t, disk.Close())
	})
}

// content0 is a number that another content has another one of.
func content0(content []byte) (n uint64) {
	for _, b := range content[:4096] {
		n = n*31 + uint64(b)
	}
	return n
}

// A delta stays one against the image that was asked for when others come on top.
func TestADeltaKeepsItsBaseBesideASnapshot(t *testing.T) {
	dir := t.TempDir()
	base, leaf := filepath.Join(dir, "base.vhd"), filepath.Join(dir, "leaf.vhd")
	content := patchy(5, 6<<20)
	disk, err := vhd.Create(base, vhd.CreateOptions{Size: int64(len(content))})
	require.NoError(t, err)
	_, err = disk.WriteAt(content, 0)
	require.NoError(t, err)
	require.NoError(t, disk.Snapshot(leaf, vhd.CreateOptions{}))
	_, err = disk.WriteAt(content[:100<<10], 3<<20)
	require.NoError(t, err)
	copy(content[3<<20:], content[:100<<10])

	snapshot := sync.OnceFunc(func() {
		require.NoError(t, disk.Snapshot(filepath.Join(dir, "later.vhd"), vhd.CreateOptions{}))
	})
	delta, err := os.Create(filepath.Join(dir, "delta.vhd"))
	require.NoError(t, err)
	_, err = disk.Export(t.Context(), writerFunc(func(p []byte) (int, error) {
		snapshot()
		return delta.Write(p)
	}), vhd.ExportOptions{Type: vhd.Differencing, Base: 1})
	require.NoError(t, err)
	require.NoError(t, delta.Close())
	require.NoError(t, disk.Close())
	requireFileReadsAs(t, delta.Name(), content)
}

type writerFunc func(p []byte) (int, error)

func (w writerFunc) Write(p []byte) (int, error) { return w(p) }

// A Resize may come between what a Snapshot checks and what it makes. Its image has the size that the disk has.
func TestASnapshotBesideAResizeHasTheSizeOfTheDisk(t *testing.T) {
	mem := vhdtest.NewMemFS()
	storage := vhdtest.NewCrashFS(mem, vhdtest.CrashOptions{})
	disk, err := vhd.Create("disk.vhd", vhd.CreateOptions{Options: vhd.Options{FS: storage}, Size: 1 << 20, BlockSize: 4096})
	require.NoError(t, err)
	_, err = disk.WriteAt(fill(1, 512), 0)
	require.NoError(t, err)
	resized := make(chan error, 1)
	var once sync.Once
	storage.OnOp = func(op vhdtest.Op) {
		if op.Kind != vhdtest.OpSync {
			return
		}
		once.Do(func() {
			go func() { resized <- disk.Resize(t.Context(), 2<<20, vhd.ResizeOptions{}) }()
		})
		time.Sleep(5 * time.Millisecond) // who waits for so long comes between the two steps of a Snapshot
	}
	require.NoError(t, disk.Sync())
	require.NoError(t, disk.Snapshot("leaf.vhd", vhd.CreateOptions{}))
	require.NoError(t, <-resized)
	_, err = disk.WriteAt(fill(2, 512), 2<<20-512)
	require.NoError(t, err)
	require.NoError(t, disk.Close())
	disk, err = vhd.Open("leaf.vhd", &vhd.Options{FS: storage})
	require.NoError(t, err)
	require.EqualValues(t, 2<<20, disk.Size())
	p := make([]byte, 512)
	_, err = disk.ReadAt(p, 2<<20-512)
	require.NoError(t, err)
	require.Equal(t, fill(2, 512), p)
	require.NoError(t, disk.Close())
}

// What a compaction would leave is asked of one leaf, even if there is another by the end.
func TestCompactSizeBesideASnapshotIsThatOfOneLeaf(t *testing.T) {
	mem := vhdtest.NewMemFS()
	disk, err := vhd.Create("disk.vhd", vhd.CreateOptions{Options: vhd.Options{FS: mem}, Size: 64 << 10, BlockSize: 4096})
	require.NoError(t, err)
	require.NoError(t, disk.Close())
	disk, err = vhd.Create("child.vhd", vhd.CreateOptions{Options: vhd.Options{FS: mem}, Parent: "disk.vhd", BlockSize: 4096})
	require.NoError(t, err)
	_, err = disk.WriteAt(fill(1, 32<<10), 0)
	require.NoError(t, err)
	var once sync.Once
	size, err := disk.CompactSize(t.Context(), vhd.CompactOptions{Progress: func(int64, int64) {
		once.Do(func() {
			require.NoError(t, disk.Snapshot("leaf.vhd", vhd.CreateOptions{}))
			_, err := disk.WriteAt(fill(2, 16<<10), 0)
			require.NoError(t, err)
		})
	}})
	require.NoError(t, err)
	require.NoError(t, disk.Compact(t.Context(), vhd.CompactOptions{}))
	require.NoError(t, disk.Close())
	leaf, err := mem.ReadFile("leaf.vhd")
	require.NoError(t, err)
	require.EqualValues(t, len(leaf), size)
}

func TestAPlanOfASnapshotSaysWhatASnapshotWould(t *testing.T) {
	dir := t.TempDir()
	names := inDir(dir, "base.vhd", "leaf.vhd", "new.vhd", "leaf 12:30.vhd")
	newLine(t, vhd.Options{}, names[:2]...)
	before := filesOf(t, dir)
	for _, c := range []struct {
		leaf, name string
		opts       vhd.Options
		create     vhd.CreateOptions
		want       error
	}{
		{leaf: names[1], name: names[2]},
		{leaf: names[1], name: names[0], want: fs.ErrExist},
		{leaf: names[1], name: filepath.Join(dir, "none", "new.vhd"), want: fs.ErrNotExist},
		{leaf: names[1], name: names[2], opts: vhd.Options{MaxDepth: 2}, want: vhd.ErrChainTooDeep},
		{leaf: names[1], name: names[2], create: vhd.CreateOptions{BlockSize: 100}, want: fs.ErrInvalid},
		{leaf: names[1], want: fs.ErrInvalid},
		{leaf: names[3], name: names[2], want: vhd.ErrUnsupported},
	} {
		if c.leaf == names[3] {
			require.NoError(t, os.Rename(names[1], names[3]))
		}
		disk, err := vhd.Open(c.leaf, &c.opts)
		require.NoError(t, err)
		require.ErrorIs(t, disk.PlanSnapshot(c.name, c.create), c.want)
		require.NoError(t, disk.Close())
		require.ErrorIs(t, disk.PlanSnapshot(c.name, c.create), vhd.ErrClosed)
		c.opts.Writable = true
		disk, err = vhd.Open(c.leaf, &c.opts)
		require.NoError(t, err)
		if c.want != nil {
			require.ErrorIs(t, disk.Snapshot(c.name, c.create), c.want)
		}
		require.NoError(t, disk.Close())
	}
	require.NoError(t, os.Rename(names[3], names[1]))
	require.Equal(t, before, filesOf(t, dir))
}

// Where the file system can tell that there is too little room for the new image, nothing is begun.
func TestASnapshotThatFindsNoRoomIsNotBegun(t *testing.T) {
	mem := vhdtest.NewMemFS()
	newLine(t, vhd.Options{FS: mem}, "base.vhd")
	create := vhd.CreateOptions{BlockSize: 512}
	disk := openLine(t, "base.vhd", vhd.Options{FS: mem})
	require.NoError(t, disk.Snapshot("leaf.vhd", create))
	require.NoError(t, disk.Close())
	need := int64(len(mustReadFile(t, mem, "leaf.vhd")))
	require.NoError(t, mem.Remove("leaf.vhd"))
	for free, want := range map[int64]error{need - 1: vhd.ErrNoSpace, need: nil} {
		disk := openLine(t, "base.vhd", vhd.Options{FS: scarceFS{mem, free}})
		require.ErrorIs(t, disk.PlanSnapshot("leaf.vhd", create), want)
		require.ErrorIs(t, disk.PlanSnapshot("base.vhd", create), fs.ErrExist)
		err := disk.Snapshot("leaf.vhd", create)
		require.ErrorIs(t, err, want)
		if want != nil {
			require.ErrorContains(t, err, "leaf.vhd")
			require.Len(t, disk.Chain(), 1)
			entries, err := mem.ReadDir(".")
			require.NoError(t, err)
			require.Len(t, entries, 1)
		}
		require.NoError(t, disk.Close())
	}
}
