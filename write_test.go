package vhd_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// W1 to W13 are the rules of the order in which a disk is written; each test
// names those that it looks at. What the tests look at is the list of calls
// that reached the storage.

// rig is a disk on storage in memory whose calls are recorded.
type rig struct {
	mem  *vhdtest.MemFS
	rec  *vhdtest.RecordFS
	disk *vhd.Disk
}

const rigName = "leaf.vhd"

// newRig makes a disk of 1 MiB in blocks of 64 KiB, if opts don't say
// otherwise.
func newRig(t testing.TB, opts vhd.CreateOptions) *rig {
	t.Helper()
	mem := vhdtest.NewMemFS()
	return createRig(t, mem, vhdtest.NewRecordFS(mem), opts)
}

func createRig(t testing.TB, mem *vhdtest.MemFS, rec *vhdtest.RecordFS, opts vhd.CreateOptions) *rig {
	t.Helper()
	if opts.Size == 0 {
		opts.Size = 1 << 20
	}
	if opts.BlockSize == 0 {
		opts.BlockSize = 64 << 10
	}
	opts.FS = rec
	disk, err := vhd.Create(rigName, opts)
	require.NoError(t, err)
	r := &rig{mem, rec, disk}
	t.Cleanup(func() { _ = r.disk.Close() })
	rec.Reset()
	return r
}

// newChildRig is newRig for a child of a dynamic disk of the same size, of
// which every byte is 'p'.
func newChildRig(t testing.TB, opts vhd.CreateOptions) *rig {
	t.Helper()
	r := newRig(t, vhd.CreateOptions{Size: opts.Size})
	r.write(t, bytes.Repeat([]byte("p"), int(r.disk.Size())), 0)
	require.NoError(t, r.disk.Close())
	require.NoError(t, r.mem.Rename(rigName, "parent.vhd"))
	opts.Parent = "parent.vhd"
	return createRig(t, r.mem, r.rec, opts)
}

func (r *rig) reopen(t testing.TB) {
	t.Helper()
	require.NoError(t, r.disk.Close())
	r.open(t)
}

func (r *rig) open(t testing.TB) {
	t.Helper()
	disk, err := vhd.Open(rigName, &vhd.Options{FS: r.rec, Writable: true})
	require.NoError(t, err)
	r.disk = disk
	r.rec.Reset()
}

func (r *rig) write(t testing.TB, p []byte, off int64) {
	t.Helper()
	n, err := r.disk.WriteAt(p, off)
	require.NoError(t, err)
	require.Equal(t, len(p), n)
}

// changes are the calls since the last time that change the leaf's file, or
// make its changes durable, as text without the name.
func (r *rig) changes() []string {
	var changes []string
	for _, op := range r.rec.Ops() {
		switch {
		case !op.Mutates():
		case op.Kind == vhdtest.OpWrite:
			changes = append(changes, fmt.Sprintf("write %d at %d", op.N, op.Off))
		case op.Kind == vhdtest.OpTruncate:
			changes = append(changes, fmt.Sprintf("truncate to %d", op.Off))
		default:
			changes = append(changes, op.Kind.String())
		}
	}
	r.rec.Reset()
	return changes
}

// fileOff is where the disk's byte off is in the leaf's file.
func (r *rig) fileOff(t testing.TB, off int64) int64 {
	t.Helper()
	for e, err := range r.disk.FileExtents(off, 1) {
		require.NoError(t, err)
		require.Equal(t, 0, e.Depth)
		return e.FileOffset
	}
	require.FailNow(t, "no extent", "at %d", off)
	return 0
}

func readAll(t testing.TB, d io.ReaderAt, size int64) []byte {
	t.Helper()
	p := bytes.Repeat([]byte{0xEE}, int(size))
	n, err := d.ReadAt(p, 0)
	require.NoError(t, err)
	require.Equal(t, len(p), n)
	return p
}

func writeOp(n, off int64) string { return fmt.Sprintf("write %d at %d", n, off) }

func TestW1OverwritesAreOneWriteAndNoMetadata(t *testing.T) {
	for name, r := range map[string]*rig{
		"dynamic": newRig(t, vhd.CreateOptions{}),
		"child":   newChildRig(t, vhd.CreateOptions{}),
		"fixed":   newRig(t, vhd.CreateOptions{Type: vhd.Fixed}),
	} {
		t.Run(name, func(t *testing.T) {
			r.write(t, bytes.Repeat([]byte("a"), 128<<10), 64<<10)
			for _, state := range []string{"not synced", "synced", "reopened"} {
				switch state {
				case "synced":
					require.NoError(t, r.disk.Sync())
				case "reopened":
					r.reopen(t)
					r.write(t, []byte("unaligned"), 65<<10+3) // its block is read now
				}
				want := writeOp(4096, r.fileOff(t, 68<<10))
				r.changes()
				r.write(t, bytes.Repeat([]byte("b"), 4096), 68<<10)
				require.Equal(t, []string{want}, r.changes(), state)
				require.Equal(t, 0, r.rec.Count(vhdtest.OpRead), "an overwrite reads nothing")
				if state == "not synced" {
					continue
				}
				require.NoError(t, r.disk.Sync())
				require.Equal(t, []string{"sync"}, r.changes(), "without new metadata one fsync does (W4)")
			}
		})
	}
}

func TestW1OverwritesOfANewlyOpenedDiskTouchNoMetadata(t *testing.T) {
	r := newChildRig(t, vhd.CreateOptions{})
	r.write(t, bytes.Repeat([]byte("a"), 64<<10), 0)
	r.reopen(t)
	off := r.fileOff(t, 0)
	r.rec.Reset()
	r.write(t, bytes.Repeat([]byte("b"), 4096), 4096)
	require.NoError(t, r.disk.Sync())
	require.Equal(t, []string{writeOp(4096, off+4096), "sync"}, r.changes())
}

func TestW3TheFooterMovesBeforeABlockTakesItsPlace(t *testing.T) {
	r := newRig(t, vhd.CreateOptions{})
	require.EqualValues(t, 8192, r.disk.Chain()[0].FileSize())
	r.write(t, make([]byte, 512), 0) // zeros are data
	const (
		oldFooter = 7680
		bitmap    = oldFooter                  // as Windows has it
		newFooter = 8192 + 64<<10 + 4096 - 512 // a 16th of the disk is one block
	)
	changes := r.changes()
	require.Equal(t, []string{
		writeOp(512, newFooter), "sync", // (i), (ii)
		writeOp(512, oldFooter), // (iii): what was a footer is none any more
	}, changes[:3])
	require.Equal(t, writeOp(512, bitmap+512), changes[len(changes)-1]) // (iv)
	require.EqualValues(t, newFooter+512, r.disk.Chain()[0].FileSize())

	require.NoError(t, r.disk.Sync())
	require.Equal(t, []string{
		writeOp(512, bitmap), // nobody can reach it yet (W5)
		"sync",
		writeOp(512, 1536), // BAT
		"sync",
	}, r.changes())

	r.write(t, make([]byte, 512), 0)
	require.NoError(t, r.disk.Close())
	require.Equal(t, []string{writeOp(512, bitmap+512), "sync"}, r.changes(), "nothing is left to trim")
}

func TestW3ManyBlocksShareAMoveOfTheFooter(t *testing.T) {
	r := newRig(t, vhd.CreateOptions{Size: 16 << 20})
	for block := range int64(256) {
		r.write(t, []byte{1}, block<<16)
	}
	growths := r.rec.Count(vhdtest.OpSync)
	require.LessOrEqual(t, growths, 18, "each fsync of a growth pays for a 16th of the disk")
	require.GreaterOrEqual(t, growths, 16)
}

func TestW2ABitmapWaitsForSync(t *testing.T) {
	r := newChildRig(t, vhd.CreateOptions{})
	r.write(t, make([]byte, 512), 0)
	data := r.fileOff(t, 0)
	require.NoError(t, r.disk.Sync())
	r.changes()

	r.write(t, make([]byte, 1024), 32<<10)
	require.Equal(t, []string{writeOp(1024, data+32<<10)}, r.changes())
	before := mustReadFile(t, r.mem, rigName)
	require.Equal(t, append([]byte{0x80}, make([]byte, 15)...), before[data-512:][:16])

	require.NoError(t, r.disk.Sync())
	require.Equal(t, []string{"sync", writeOp(512, data-512), "sync"}, r.changes(),
		"W4: the data is durable before a bit says so")
	after := mustReadFile(t, r.mem, rigName)
	require.Equal(t, []byte{0x80, 0, 0, 0, 0, 0, 0, 0, 0xC0, 0, 0, 0, 0, 0, 0, 0}, after[data-512:][:16])
}

func mustReadFile(t testing.TB, mem *vhdtest.MemFS, name string) []byte {
	t.Helper()
	b, err := mem.ReadFile(name)
	require.NoError(t, err)
	return b
}

// Only the dirty sectors of a large bitmap go out.
func TestW2OnlyTheChangedSectorsOfABitmapAreWritten(t *testing.T) {
	r := newChildRig(t, vhd.CreateOptions{Size: 12 << 20, BlockSize: 8 << 20}) // a bitmap of 2048 bytes
	r.write(t, make([]byte, 512), 0)
	data := r.fileOff(t, 0)
	require.NoError(t, r.disk.Sync())
	r.changes()
	r.write(t, make([]byte, 512), 4<<20+512) // bit 8193: in the bitmap's third sector
	r.changes()
	require.NoError(t, r.disk.Sync())
	require.Equal(t, []string{"sync", writeOp(512, data-2048+1024), "sync"}, r.changes())
}

// writeWatcher says of every write to the leaf whether it may be there: tables
// only while the disk syncs, and structures that are never rewritten never.
type writeWatcher struct {
	mu       sync.Mutex
	tableOff int64
	tableEnd int64
	syncing  bool
	wrong    []string
}

func (w *writeWatcher) look(op vhdtest.Op) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	inTable := op.Off < w.tableEnd && op.Off+op.N > w.tableOff
	switch {
	case op.Kind != vhdtest.OpWrite || w.tableEnd == 0:
	case op.Name != rigName:
		w.wrong = append(w.wrong, "a parent is written: "+op.String())
	case (op.Off|op.N)%vhd.SectorSize != 0:
		w.wrong = append(w.wrong, "not whole sectors (W12): "+op.String())
	case inTable && !w.syncing:
		w.wrong = append(w.wrong, "the BAT is written before a sync (W2): "+op.String())
	case op.Off < w.tableOff:
		w.wrong = append(w.wrong, "a header is rewritten (W13): "+op.String())
	}
	return nil
}

func (w *writeWatcher) during(do func() error) error {
	w.set(true)
	defer w.set(false)
	return do()
}

func (w *writeWatcher) set(syncing bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.syncing = syncing
}

func TestW12AllWritesAreWholeSectorsAndTheTableWaitsForSync(t *testing.T) {
	for _, blockSize := range []int64{512, 1024, 4096, 64 << 10, 2 << 20} {
		for _, child := range []bool{false, true} {
			t.Run(fmt.Sprintf("blocks of %d, child %v", blockSize, child), func(t *testing.T) {
				r := newRig(t, vhd.CreateOptions{Size: 300 << 10, BlockSize: blockSize})
				if child {
					r = newChildRig(t, vhd.CreateOptions{Size: 300 << 10, BlockSize: blockSize})
				}
				h, ok := r.disk.Chain()[0].Header()
				require.True(t, ok)
				w := &writeWatcher{tableOff: h.TableOffset, tableEnd: h.TableOffset + 4*int64(h.MaxTableEntries)}
				r.rec.Forbid = w.look
				rng := rand.New(rand.NewPCG(uint64(blockSize), 1))
				for range 150 {
					off := rng.Int64N(r.disk.Size())
					n := min(rng.Int64N(9000), r.disk.Size()-off)
					switch rng.IntN(8) {
					case 0:
						require.NoError(t, w.during(r.disk.Sync))
					case 1:
						require.NoError(t, r.disk.WriteZeroes(off, n))
					default:
						r.write(t, pattern(1, n), off)
					}
				}
				require.NoError(t, w.during(r.disk.Close))
				require.Empty(t, w.wrong)
			})
		}
	}
}

func TestW6FreedSpaceIsNotUsedBeforeASync(t *testing.T) {
	r := newRig(t, vhd.CreateOptions{})
	const block = 64 << 10
	r.write(t, bytes.Repeat([]byte("a"), block), 0)
	r.write(t, bytes.Repeat([]byte("x"), block), 2*block)
	require.NoError(t, r.disk.Sync())
	freed := r.fileOff(t, 0)
	r.changes()

	require.NoError(t, r.disk.WriteZeroes(0, block))
	require.Empty(t, r.changes(), "giving space back writes nothing before Sync")
	r.write(t, []byte("b"), block)
	require.NotEqual(t, freed, r.fileOff(t, block))
	r.write(t, []byte("c"), 0) // the freed block comes back itself
	require.NotEqual(t, freed, r.fileOff(t, 0))
	for _, op := range r.rec.Ops() {
		if op.Kind == vhdtest.OpWrite {
			require.False(t, op.Off < freed+block && op.Off+op.N > freed-512, "%v writes to space that was freed", op)
		}
	}

	require.NoError(t, r.disk.Sync())
	r.write(t, []byte("d"), 3*block)
	require.Equal(t, freed, r.fileOff(t, 3*block), "after it, it is")

	want := make([]byte, r.disk.Size())
	want[0], want[block], want[3*block] = 'c', 'b', 'd'
	copy(want[2*block:], bytes.Repeat([]byte("x"), block))
	requireSameBytes(t, want, readAll(t, r.disk, r.disk.Size()), 0)
	r.reopen(t)
	requireSameBytes(t, want, readAll(t, r.disk, r.disk.Size()), 0)
}

// allOnes are the bits of n sectors, in whole sectors of bitmap.
func requireBitmapsAllOnes(t testing.TB, r *rig, block, nblocks int64) {
	t.Helper()
	area := roundUpTo(max(block/vhd.SectorSize/8, 1), vhd.SectorSize)
	file := mustReadFile(t, r.mem, rigName)
	for i := range nblocks {
		bitmap := file[r.fileOff(t, i*block)-area:][:area]
		for sector := range block / vhd.SectorSize {
			require.NotZero(t, bitmap[sector/8]&(0x80>>(sector%8)), "block %d, sector %d", i, sector)
		}
	}
}

func roundUpTo(n, unit int64) int64 { return (n + unit - 1) / unit * unit }

func TestW10BlocksWithoutAParentAreZerosAndTheirBitmapsAllOnes(t *testing.T) {
	for _, block := range []int64{512, 1024, 2048, 4096, 64 << 10, 4 << 20} {
		t.Run(fmt.Sprintf("blocks of %d", block), func(t *testing.T) {
			r := newRig(t, vhd.CreateOptions{Size: 40 * block, BlockSize: block})
			for i := range int64(20) { // garbage to be reused, and footers that move
				r.write(t, bytes.Repeat([]byte("g"), int(block)), i*block)
			}
			require.NoError(t, r.disk.Sync())
			require.NoError(t, r.disk.WriteZeroes(0, 20*block))
			require.NoError(t, r.disk.Sync())
			want := make([]byte, r.disk.Size())
			for i := range int64(40) { // of each block its first sector, and a half of its last
				r.write(t, []byte{byte(i + 1)}, i*block)
				r.write(t, []byte{0xAA}, i*block+block-256)
				want[i*block], want[i*block+block-256] = byte(i+1), 0xAA
			}
			requireSameBytes(t, want, readAll(t, r.disk, r.disk.Size()), 0)
			require.NoError(t, r.disk.Sync())
			requireBitmapsAllOnes(t, r, block, 40)
			file := mustReadFile(t, r.mem, rigName)
			for i := range int64(40) { // for who ignores bitmaps
				off := r.fileOff(t, i*block)
				requireSameBytes(t, want[i*block:][:block], file[off:][:block], off)
			}
			r.reopen(t)
			requireSameBytes(t, want, readAll(t, r.disk, r.disk.Size()), 0)
		})
	}
}

// A footer that was left behind lay in the data of a block smaller than its
// alignment, and was read as that.
func TestW10NoFooterIsLeftInTheDataOfSmallBlocks(t *testing.T) {
	for _, block := range []int64{1024, 2048} {
		r := newRig(t, vhd.CreateOptions{Size: 200 * block, BlockSize: block})
		want := make([]byte, r.disk.Size())
		for i := range int64(200) {
			r.write(t, []byte{0xFF}, i*block)
			want[i*block] = 0xFF
		}
		requireSameBytes(t, want, readAll(t, r.disk, r.disk.Size()), 0)
		r.reopen(t)
		requireSameBytes(t, want, readAll(t, r.disk, r.disk.Size()), 0)
	}
}

// W9: two writers of one sector never lose each other's bytes.
func TestW9WritersOfOneSectorKeepEachOthersBytes(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 30
	}
	for name, r := range map[string]*rig{
		"dynamic": newRig(t, vhd.CreateOptions{}),
		"child":   newChildRig(t, vhd.CreateOptions{}),
		"fixed":   newRig(t, vhd.CreateOptions{Type: vhd.Fixed}),
	} {
		t.Run(name, func(t *testing.T) {
			const writers, piece = 8, 192 // the pieces cross sectors
			var group sync.WaitGroup
			for w := range writers {
				group.Go(func() {
					for round := range rounds {
						p := bytes.Repeat([]byte{byte(w*31 + round)}, piece)
						n, err := r.disk.WriteAt(p, int64(100+w*piece))
						if err != nil || n != piece {
							t.Errorf("writer %d: %d, %v", w, n, err)
							return
						}
						if round%16 == 0 && w == 0 {
							if err := r.disk.Sync(); err != nil {
								t.Error(err)
							}
						}
						got := make([]byte, piece)
						if _, err := r.disk.ReadAt(got, int64(100+w*piece)); err != nil || !bytes.Equal(p, got) {
							t.Errorf("writer %d lost bytes in round %d: %v", w, round, err)
							return
						}
					}
				})
			}
			group.Wait()
		})
	}
}

func TestSyncsThatComeTogetherShareOne(t *testing.T) {
	mem := vhdtest.NewMemFS()
	rec := vhdtest.NewRecordFS(mem)
	r := createRig(t, mem, rec, vhd.CreateOptions{})
	r.write(t, make([]byte, 512), 0)
	require.NoError(t, r.disk.Sync())
	rec.Reset()

	entered, release := make(chan bool, 100), make(chan bool)
	rec.Forbid = func(op vhdtest.Op) error {
		if op.Kind == vhdtest.OpSync {
			entered <- true
			<-release
		}
		return nil
	}
	before := vhd.SyncsRequested(r.disk)
	errs := make(chan error, 20)
	var group sync.WaitGroup
	group.Go(func() { errs <- r.disk.Sync() })
	<-entered
	for range 10 {
		group.Go(func() { errs <- r.disk.Sync() })
	}
	for vhd.SyncsRequested(r.disk) < before+11 {
		runtime.Gosched()
	}
	close(release)
	group.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	require.Equal(t, []string{"sync", "sync"}, r.changes(), "the first, and one for the ten that came during it")
}

func TestADiskThatIsReadOnlyRefusesToChange(t *testing.T) {
	r := newRig(t, vhd.CreateOptions{})
	require.NoError(t, r.disk.Close())
	disk, err := vhd.Open(rigName, &vhd.Options{FS: r.rec})
	require.NoError(t, err)
	r.rec.Reset()
	_, err = disk.WriteAt([]byte{1}, 0)
	require.ErrorIs(t, err, vhd.ErrReadOnly)
	require.ErrorIs(t, disk.WriteZeroes(0, 1), vhd.ErrReadOnly)
	require.NoError(t, disk.Sync())
	require.NoError(t, disk.Close())
	require.Empty(t, r.changes())
}

func TestAfterCloseEverythingIsErrClosed(t *testing.T) {
	for _, writable := range []bool{false, true} {
		r := newRig(t, vhd.CreateOptions{})
		require.NoError(t, r.disk.Close())
		disk, err := vhd.Open(rigName, &vhd.Options{FS: r.rec, Writable: writable})
		require.NoError(t, err)
		require.NoError(t, disk.Close())
		requireDown(t, disk, vhd.ErrClosed)
		require.Equal(t, vhd.ErrClosed, disk.Close())
		require.EqualValues(t, 1<<20, disk.Size())
		require.Len(t, disk.Chain(), 1)
	}
}

// requireDown says that every call but Close fails with want.
func requireDown(t testing.TB, disk *vhd.Disk, want error) {
	t.Helper()
	_, err := disk.ReadAt(make([]byte, 1), 0)
	require.ErrorIs(t, err, want)
	_, err = disk.ReadAt(nil, disk.Size())
	require.ErrorIs(t, err, want)
	_, err = disk.WriteAt([]byte{1}, 0)
	require.ErrorIs(t, err, want)
	require.ErrorIs(t, disk.WriteZeroes(0, 1), want)
	require.ErrorIs(t, disk.Sync(), want)
	for _, err := range disk.Extents(0, 1) {
		require.ErrorIs(t, err, want)
	}
}

func TestRangesOutsideTheDiskAreErrOutOfRange(t *testing.T) {
	for _, diskType := range []vhd.DiskType{vhd.Fixed, vhd.Dynamic} {
		r := newRig(t, vhd.CreateOptions{Type: diskType})
		size := r.disk.Size()
		for _, span := range [][2]int64{{-1, 1}, {-1, 0}, {size, 1}, {size - 1, 2}, {size + 1, 0}, {1<<63 - 1, 1}} {
			n, err := r.disk.WriteAt(make([]byte, span[1]), span[0])
			require.ErrorIs(t, err, vhd.ErrOutOfRange, "%v", span)
			require.Zero(t, n)
			require.ErrorIs(t, r.disk.WriteZeroes(span[0], span[1]), vhd.ErrOutOfRange, "%v", span)
		}
		require.ErrorIs(t, r.disk.WriteZeroes(0, -1), vhd.ErrOutOfRange)
		require.ErrorIs(t, r.disk.WriteZeroes(512, 1<<63-1), vhd.ErrOutOfRange)
		_, err := r.disk.ReadAt(make([]byte, 1), -1)
		require.ErrorIs(t, err, vhd.ErrOutOfRange)
		_, err = r.disk.ReadAt(make([]byte, 1), size)
		require.Equal(t, io.EOF, err)
		_, err = r.disk.ReadAt(make([]byte, 1), 1<<63-1)
		require.Equal(t, io.EOF, err)
		r.write(t, nil, size)
		require.NoError(t, r.disk.WriteZeroes(size, 0))
		require.Empty(t, r.changes(), "nothing was written")
	}
}

// Opening for writing what a crash left: W7.
func TestW7AnOpenMendsTheEndFooterBeforeTheCopy(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*vhdtest.Image)
		want func(end int64) []string
	}{
		"the end footer is zeros": {func(i *vhdtest.Image) { i.Footer = vhdtest.FooterZeroed }, func(end int64) []string {
			return []string{writeOp(512, end), "sync", fmt.Sprintf("truncate to %d", end+512), "sync", writeOp(512, 0), "sync"}
		}},
		"the end footer is cut off": {func(i *vhdtest.Image) { i.Footer = vhdtest.FooterCut }, func(end int64) []string {
			return []string{writeOp(512, end), "sync", fmt.Sprintf("truncate to %d", end+512), "sync", writeOp(512, 0), "sync"}
		}},
		"the copy is lost": {func(i *vhdtest.Image) { i.Copy = vhdtest.CopyLost }, func(int64) []string { return []string{writeOp(512, 0), "sync"} }},
		"the copy differs": {func(i *vhdtest.Image) { i.Copy = vhdtest.CopyOther }, func(int64) []string { return []string{writeOp(512, 0), "sync"} }},
		"nothing is amiss": {func(*vhdtest.Image) {}, func(int64) []string { return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			img := vhdtest.NewDynamic(1<<20, vhdtest.Block{Index: 3, Align: 4096, Data: []byte("block three")})
			img.BlockSize = 64 << 10
			img.EndAlign = 4096
			c.edit(img)
			raw := img.Build(t)
			r := &rig{mem: vhdtest.NewMemFS()}
			r.rec = vhdtest.NewRecordFS(r.mem)
			require.NoError(t, r.mem.WriteFile(rigName, raw))

			disk, err := vhd.Open(rigName, &vhd.Options{FS: r.rec})
			require.NoError(t, err)
			require.Equal(t, len(c.want(0)) > 0, disk.Chain()[0].NeedsRecovery())
			requireSameBytes(t, img.Content(t, nil), readAll(t, disk, 1<<20), 0)
			require.NoError(t, disk.Close())
			require.Empty(t, r.changes(), "reading changes nothing")

			if disk, err = vhd.Open(rigName, &vhd.Options{FS: r.rec, Writable: true}); err == nil {
				r.disk = disk
			}
			require.NoError(t, err)
			require.False(t, disk.Chain()[0].NeedsRecovery())
			data := r.fileOff(t, 3<<16)
			require.Equal(t, c.want(roundUpTo(data+64<<10+512, 4096)-512), r.changes())
			requireSameBytes(t, img.Content(t, nil), readAll(t, disk, 1<<20), 0)
			require.NoError(t, disk.Close())
		})
	}
}

func TestXensBatmapIsClearedWhenABlockIsGivenBack(t *testing.T) {
	mem := vhdtest.NewMemFS()
	img := vhdtest.NewDynamic(1<<20, vhdtest.Block{Index: 3, Off: 16384, Data: []byte("block three")}, vhdtest.Block{Index: 4})
	img.BlockSize = 64 << 10
	raw := img.Build(t)
	copy(raw[2048:], "tdbatmap\x00\x00\x00\x00\x00\x00\x0A\x00\x00\x00\x00\x01\x00\x01\x00\x02") // behind the BAT at 1536; the map at 2560
	raw[2560] = 0x18
	checkBatmap(t, mem, raw, 3<<16, 64<<10)
}

func TestXensBatmapInARealImageIsClearedWhenABlockIsGivenBack(t *testing.T) {
	set := vhdtest.Corpus(t)
	raw, err := os.ReadFile(set.Path("go-vhd/xapi.vhd"))
	require.NoError(t, err)
	require.Contains(t, string(raw), "tdbatmap")
	checkBatmap(t, vhdtest.NewMemFS(), raw, 0, 2<<20)
}

// checkBatmap opens an image that has a batmap, writes, and then frees a block.
func checkBatmap(t *testing.T, mem *vhdtest.MemFS, raw []byte, off, blockSize int64) {
	t.Helper()
	require.NoError(t, mem.WriteFile(rigName, raw))
	r := &rig{mem: mem, rec: vhdtest.NewRecordFS(mem)}
	r.open(t)
	at := bytes.Index(raw, []byte("tdbatmap"))
	require.Positive(t, at)
	r.write(t, bytes.Repeat([]byte("w"), int(blockSize)), off)
	require.NoError(t, r.disk.Sync())
	require.Equal(t, "tdbatmap", string(mustReadFile(t, mem, rigName)[at:][:8]), "writes leave it as it is")
	r.changes()
	require.NoError(t, r.disk.WriteZeroes(off, blockSize))
	require.NoError(t, r.disk.Sync())
	changes := r.changes()
	dropped, synced := slices.Index(changes, writeOp(512, int64(at))), slices.Index(changes, "sync")
	require.True(t, dropped >= 0 && dropped < synced, "cleared before the BAT says that the block is free: %v", changes)
	head := mustReadFile(t, mem, rigName)[at:][:512]
	require.Equal(t, "tdbatmap", string(head[:8]))
	require.Equal(t, ^uint32(0), binary.BigEndian.Uint32(head[24:]))
	bits := int(binary.BigEndian.Uint64(head[8:]))
	require.True(t, isZeros(mustReadFile(t, mem, rigName)[bits:][:binary.BigEndian.Uint32(head[16:])*512]))
	require.NoError(t, r.disk.Close())
	r.open(t)
	require.NoError(t, r.disk.Close())
}
