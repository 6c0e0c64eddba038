package vhd_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// requireRefused makes sure that an image is refused in every way to open it, with an error that says what is wrong,
// and that it is not changed.
func requireRefused(t testing.TB, file []byte, is error) vhd.FormatError {
	t.Helper()
	var format *vhd.FormatError
	img, err := vhd.Inspect(bytes.NewReader(file), int64(len(file)))
	require.ErrorAs(t, err, &format)
	require.ErrorIs(t, err, is)
	require.Nil(t, img)
	for _, writable := range []bool{false, true} {
		mem := inMemory(t, file)
		d, err := vhd.Open("disk.vhd", &vhd.Options{FS: mem, NoParents: true, Writable: writable})
		require.ErrorAs(t, err, &format)
		require.ErrorIs(t, err, is)
		require.Nil(t, d)
		require.True(t, strings.HasPrefix(err.Error(), "vhd: disk.vhd: "), "%v", err)
		require.NotContains(t, err.Error()[len("vhd: "):], " vhd: ", "the package is named once")
		require.True(t, bytes.Equal(file, fileOf(t, mem)))
	}
	require.NotEmpty(t, format.Part)
	require.NotNil(t, format.Got)
	require.NotNil(t, format.Want)
	return *format
}

func TestWhatIsNoVHDIsRefused(t *testing.T) {
	noise := make([]byte, 64<<10)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	for name, file := range map[string][]byte{
		"nothing":                nil,
		"one byte":               {'c'},
		"a cookie":               []byte("conectix"),
		"510 bytes":              make([]byte, 510),
		"511 zeros":              make([]byte, 511),
		"512 zeros":              make([]byte, 512),
		"a megabyte of zeros":    make([]byte, 1<<20),
		"text":                   bytes.Repeat([]byte("not a VHD\n"), 1000),
		"noise":                  noise,
		"a VHDX":                 append([]byte("vhdxfile"), make([]byte, 64<<10)...),
		"a footer and no header": vhdtest.NewDynamic(1 << 20).Build(t)[:512],
		"a header alone":         vhdtest.NewDynamic(1 << 20).Build(t)[512:1536],
	} {
		t.Run(name, func(t *testing.T) { requireRefused(t, file, vhd.ErrFormat) })
	}
}

func TestAWrongChecksumIsRefused(t *testing.T) {
	fixed := vhdtest.NewFixed(1<<20, nil).Build(t)
	fixed[len(fixed)-300]++
	format := requireRefused(t, fixed, vhd.ErrChecksum)
	require.Equal(t, vhd.FormatError{Part: "footer", Field: "checksum", Offset: 1<<20 + 64, Got: format.Got, Want: format.Want, Err: vhd.ErrChecksum}, format)

	dynamic := vhdtest.NewDynamic(1 << 20).Build(t)
	dynamic[512+1000]++
	format = requireRefused(t, dynamic, vhd.ErrChecksum)
	require.Equal(t, vhd.FormatError{Part: "dynamic header", Field: "checksum", Offset: 512 + 36, Got: format.Got, Want: format.Want, Err: vhd.ErrChecksum}, format)
}

// Wherever the end of a file was lost, it is refused, or it reads as it did, or its reads fail.
func TestATruncatedImageIsRefusedOrReadsRight(t *testing.T) {
	img := vhdtest.NewDynamic(12<<10, vhdtest.Block{Index: 1, Data: fill(1, 4096)}, vhdtest.Block{Index: 2, Data: fill(2, 4096)})
	img.BlockSize = 4096
	whole := img.Build(t)
	want := img.Content(t, nil)
	second := int(vhdtest.Entry(t, whole, 2)) * 512
	for size := range len(whole) {
		file := whole[:size]
		m, err := vhd.Inspect(bytes.NewReader(file), int64(size))
		var format *vhd.FormatError
		if err != nil {
			require.ErrorAs(t, err, &format, "%d bytes", size)
			continue
		}
		isOldFooter := size == len(whole)-1 // of 511 bytes, as others write on purpose
		require.Equal(t, !isOldFooter, m.NeedsRecovery(), "%d bytes", size)
		d, err := vhd.Open("disk.vhd", &vhd.Options{FS: inMemory(t, file)})
		require.NoError(t, err)
		for block := range int64(3) {
			p := make([]byte, 4096)
			_, err := d.ReadAt(p, block*4096)
			if err != nil {
				require.ErrorIs(t, err, vhd.ErrCorrupt, "%d bytes", size)
				continue
			}
			wantBlock := bytes.Clone(want[block*4096:][:4096])
			if block == 2 && size > second {
				clear(wantBlock[min(4096, max(0, size-second-512)):])
			}
			requireContent(t, wantBlock, p)
		}
		require.NoError(t, d.Close())
	}
}

// A writer that opens it at all makes it whole, and it reads as it did before.
func TestATruncatedImageIsMendedOrLeftAlone(t *testing.T) {
	img := vhdtest.NewDynamic(12<<10, vhdtest.Block{Index: 1, Data: fill(1, 4096)}, vhdtest.Block{Index: 2, Data: fill(2, 4096)})
	img.BlockSize = 4096
	whole := img.Build(t)
	for size := 0; size < len(whole); size += 64 {
		file := whole[:size]
		mem := inMemory(t, file)
		d, err := vhd.Open("disk.vhd", &vhd.Options{FS: mem, Writable: true})
		if err != nil {
			var format *vhd.FormatError
			require.ErrorAs(t, err, &format, "%d bytes", size)
			requireContent(t, file, fileOf(t, mem))
			continue
		}
		want := contentOf(t, d)
		require.NoError(t, d.Close())
		mended := fileOf(t, mem)
		require.False(t, inspect(t, mended).NeedsRecovery())
		requireContent(t, want, contentOf(t, openFile(t, mended)))
		requireContent(t, contentOf(t, openFile(t, file)), want)
	}
}

func TestAFileShorterThanItWasSaidIsRefused(t *testing.T) {
	file := vhdtest.NewFixed(1<<20, nil).Build(t)
	for _, size := range []int64{int64(len(file)) + 512, 1 << 40, 1<<63 - 1, -1, -1 << 63} {
		_, err := vhd.Inspect(bytes.NewReader(file), size)
		require.Error(t, err, "%d", size)
		if size < 0 {
			require.ErrorIs(t, err, vhd.ErrFormat)
		}
	}
}

// A read that finds the end too early is no footer that is lost: what would be taken for the last block would be
// something else.
func TestAFileThatShrinksWhileItIsOpenedIsRefused(t *testing.T) {
	file := vhdtest.NewDynamic(1<<20, vhdtest.Block{Index: 0, Data: fill(1, 4096)}).Build(t)
	for _, size := range []int64{int64(len(file)) + 1, int64(len(file)) + 512, 2 * int64(len(file))} {
		_, err := vhd.Inspect(bytes.NewReader(file), size)
		require.ErrorIs(t, err, vhd.ErrFormat)
		require.ErrorContains(t, err, "its end")
	}
}

// victim is a child whose block 1 of four tests put where no block can be. It has a locator in front of the table and
// one behind it, and the header behind all. The second image is its parent.
func victim(t testing.TB) (*vhdtest.Image, *vhdtest.Image) {
	t.Helper()
	base := vhdtest.NewFixed(4*8192, fill(0x40, 4*8192))
	child := vhdtest.NewChild(base, "base.vhd")
	child.BlockSize = 8192
	for _, index := range []int{3, 1, 0} {
		child.Blocks = append(child.Blocks, vhdtest.Block{
			Index: index, Data: fill(byte(index), 8192), Bitmap: vhdtest.Bitmap(16, func(sector int) bool { return sector != 5 }),
		})
	}
	child.Locators = [8]vhdtest.Locator{vhdtest.W2ru(`.\base.vhd`), vhdtest.W2ku(`C:\d\base.vhd`).Behind()}
	child.HeaderOff = 64 << 10
	child.Slack = 8 << 10
	return child, base
}

// sectorOf finds where something is.
func sectorOf(t testing.TB, file []byte, what string) uint32 {
	t.Helper()
	at := bytes.Index(file, []byte(what))
	require.Positive(t, at)
	return uint32(at / 512)
}

func TestABlockWhereNoneCanBeFailsAlone(t *testing.T) {
	child, base := victim(t)
	sound := child.Build(t)
	header := sectorOf(t, sound, "cxsparse")
	end := uint32(len(sound) / 512)
	table := uint32(binary.BigEndian.Uint64(vhdtest.Header(t, sound)[16:]) / 512)
	for name, entry := range map[string]uint32{
		"the footer's copy":             0,
		"the header":                    header,
		"the header's second sector":    header + 1,
		"the header, with its data":     header - 1,
		"the header, with its last":     header - 16,
		"the first locator":             sectorOf(t, sound, ".\x00\\\x00b"),
		"the second locator":            sectorOf(t, sound, "C\x00:\x00"),
		"the end footer":                end - 1,
		"the end of the file":           end,
		"behind the end of the file":    end + 1000,
		"as far as entries go":          0xFFFFFFFE,
		"half as far":                   0x80000000,
		"where bytes would overflow 32": 0x00800000,
		"the table":                     table,
	} {
		t.Run(name, func(t *testing.T) {
			file := bytes.Clone(sound)
			vhdtest.EditEntry(t, file, 1, entry)
			requireOneBadBlock(t, file, base.Build(t), child.Content(t, base.Data), 1, 8192)
			requireNotWritable(t, file)
		})
	}
}

// requireOneBadBlock reads all but one block right, and gets ErrCorrupt for that one.
func requireOneBadBlock(t testing.TB, leaf, base, want []byte, block, blockSize int64) {
	t.Helper()
	d := openAll(t, leaf, base)
	p := make([]byte, len(want))
	n, err := d.ReadAt(p, 0)
	require.Equal(t, block*blockSize, int64(n), "what is in front of the block is read")
	var format *vhd.FormatError
	require.ErrorAs(t, err, &format)
	require.ErrorIs(t, err, vhd.ErrCorrupt)
	require.Equal(t, "BAT", format.Part)
	require.NotEmpty(t, format.Field)
	require.NotNil(t, format.Got)
	require.NotNil(t, format.Want)
	requireContent(t, want[:n], p[:n])
	for off := int64(0); off < int64(len(want)); off += 512 {
		sector := make([]byte, 512)
		_, err := d.ReadAt(sector, off)
		if off/blockSize == block {
			require.ErrorIs(t, err, vhd.ErrCorrupt, "byte %d", off)
			continue
		}
		require.NoError(t, err)
		requireContent(t, want[off:off+512], sector)
	}
}

// What can't be told is told to be so, and what follows can be asked for.
func TestExtentsTellOfABlockWhereNoneCanBe(t *testing.T) {
	child, base := victim(t)
	file := child.Build(t)
	vhdtest.EditEntry(t, file, 1, 0xFFFFFFFE)
	d := openAll(t, file, base.Build(t))
	var got []vhd.Extent
	var failed []int
	for e, err := range d.Extents(0, d.Size()) {
		if err != nil {
			require.ErrorIs(t, err, vhd.ErrCorrupt)
			failed = append(failed, len(got))
		}
		got = append(got, e)
	}
	require.Equal(t, []vhd.Extent{
		{Offset: 0, Length: 5 * 512, Depth: 0}, {Offset: 5 * 512, Length: 512, Depth: 1}, {Offset: 6 * 512, Length: 10 * 512, Depth: 0},
		{Offset: 8192, Length: 8192, Depth: vhd.Hole}, {Offset: 2 * 8192, Length: 8192, Depth: 1},
		{Offset: 3 * 8192, Length: 5 * 512, Depth: 0}, {Offset: 3*8192 + 5*512, Length: 512, Depth: 1}, {Offset: 3*8192 + 6*512, Length: 10 * 512, Depth: 0},
	}, got)
	require.Equal(t, []int{3}, failed)
}

func requireNotWritable(t testing.TB, file []byte) {
	t.Helper()
	mem := inMemory(t, file)
	calls := vhdtest.NewRecordFS(mem)
	_, err := vhd.Open("disk.vhd", &vhd.Options{FS: calls, NoParents: true, Writable: true})
	require.ErrorIs(t, err, vhd.ErrCorrupt)
	var format *vhd.FormatError
	require.ErrorAs(t, err, &format)
	require.Contains(t, err.Error(), "disk.vhd")
	require.False(t, slices.ContainsFunc(calls.Ops(), vhdtest.Op.Mutates))
	require.True(t, bytes.Equal(file, fileOf(t, mem)))
}

func TestBlocksThatOverlapAreNotWritten(t *testing.T) {
	child, base := victim(t)
	sound := child.Build(t)
	want := child.Content(t, base.Data)
	for name, distance := range map[string]uint32{"the same place": 0, "a sector further": 1, "the last sector of the other": 16} {
		t.Run(name, func(t *testing.T) {
			file := bytes.Clone(sound)
			vhdtest.EditEntry(t, file, 1, vhdtest.Entry(t, file, 3)+distance)
			requireNotWritable(t, file)

			d := openAll(t, file, base.Build(t))
			for _, block := range []int64{0, 2, 3} {
				p := make([]byte, 8192)
				_, err := d.ReadAt(p, block*8192)
				require.NoError(t, err)
				requireContent(t, want[block*8192:][:8192], p)
			}
		})
	}
}

// What ends behind the file's end and is not the last block is no block that was cut off.
func TestABlockCutOffThatIsNotTheLastFailsAlone(t *testing.T) {
	child, base := victim(t)
	child.HeaderOff, child.Slack = 0, 0
	child.Blocks[2].Cut = 4096 // of block 0, the last
	file := child.Build(t)
	want := child.Content(t, base.Data)
	vhdtest.EditEntry(t, file, 1, vhdtest.Entry(t, file, 0)-1)
	requireOneBadBlock(t, file, base.Build(t), want, 1, 8192)
	requireNotWritable(t, file)
}

// The last block is the last of those that can be.
func TestABadEntryDoesNotHarmALastBlockThatIsCutOff(t *testing.T) {
	for name, entry := range map[string]uint32{"past the end": 0x10000, "at the footer": 0} {
		t.Run(name, func(t *testing.T) {
			child, base := victim(t)
			child.HeaderOff, child.Slack = 0, 0
			child.Blocks[2].Cut = 4096
			file := child.Build(t)
			if name == "at the footer" {
				entry = uint32(len(file)/512) - 1
			}
			vhdtest.EditEntry(t, file, 1, entry)
			requireOneBadBlock(t, file, base.Build(t), child.Content(t, base.Data), 1, 8192)
			requireNotWritable(t, file)
		})
	}
}

func TestAReadThatFailsFailsAloneAndIsNotRemembered(t *testing.T) {
	img := vhdtest.NewDynamic(4*64<<10, vhdtest.Block{Index: 0, Data: fill(1, 64<<10)}, vhdtest.Block{Index: 2, Data: fill(2, 64<<10)})
	img.BlockSize = 64 << 10
	file := img.Build(t)
	want := img.Content(t, nil)
	bitmap := int64(vhdtest.Entry(t, file, 2)) * 512
	for name, test := range map[string]struct {
		off, end int64 // of the file: reads there fail
		first    int64 // byte of the disk that can't be read
		whole    bool  // nothing can be read
	}{
		"data of a block":        {bitmap + 512, bitmap + 513, 2 * 64 << 10, false},
		"the bitmap of a block":  {bitmap, bitmap + 1, 2 * 64 << 10, false},
		"the table":              {1536, 1540, 0, true},
		"a sector in the middle": {bitmap + 512 + 4096, bitmap + 512 + 4097, 2*64<<10 + 4096, false},
	} {
		t.Run(name, func(t *testing.T) {
			faults := vhdtest.NewFaultFS(inMemory(t, file))
			d, err := vhd.Open("disk.vhd", &vhd.Options{FS: faults})
			require.NoError(t, err)
			defer d.Close()
			faults.Arm(vhdtest.Fault{At: 1, Forever: true, All: true, Match: func(op vhdtest.Op) bool {
				return op.Kind == vhdtest.OpRead && op.Off < test.end && test.off < op.Off+op.N
			}})
			p := make([]byte, 512)
			_, err = d.ReadAt(p, test.first)
			require.ErrorIs(t, err, syscall.EIO)
			require.Contains(t, err.Error(), "disk.vhd")
			require.Positive(t, faults.Fired())
			if !test.whole {
				all := make([]byte, 3*64<<10)
				n, err := d.ReadAt(all, 0)
				require.ErrorIs(t, err, syscall.EIO)
				requireContent(t, want[:n], all[:n])
				_, err = d.ReadAt(p, 1000)
				require.NoError(t, err)
				require.Equal(t, want[1000:1512], p)
			}
			faults.Disarm()
			requireContent(t, want, contentOf(t, d))
		})
	}
}

func TestAReadThatFailsAtOpenIsNoFormatError(t *testing.T) {
	img := vhdtest.NewDynamic(1 << 20)
	img.HeaderOff = 8192
	for at := 1; ; at++ {
		faults := vhdtest.NewFaultFS(inMemory(t, img.Build(t)))
		faults.Arm(vhdtest.Fault{At: at, All: true, Forever: true, Match: func(op vhdtest.Op) bool { return op.Kind == vhdtest.OpRead }})
		d, err := vhd.Open("disk.vhd", &vhd.Options{FS: faults, Writable: at%2 == 0})
		if faults.Fired() == 0 {
			require.NoError(t, err)
			require.NoError(t, d.Close())
			require.Greater(t, at, 3)
			return
		}
		require.ErrorIs(t, err, syscall.EIO)
		var format *vhd.FormatError
		require.NotErrorAs(t, err, &format)
	}
}

// What follows the header is read along with it, and is no reason to refuse an
// image when it can't be.
func TestAnImageOpensWhoseStructuresCanBeReadAndNothingBehindThem(t *testing.T) {
	img := vhdtest.NewDynamic(1<<20, vhdtest.Block{Index: 0, Data: bytes.Repeat([]byte("data"), 4096)})
	faults := vhdtest.NewFaultFS(inMemory(t, img.Build(t)))
	faults.Arm(vhdtest.Fault{At: 1, All: true, Forever: true, Match: func(op vhdtest.Op) bool {
		return op.Kind == vhdtest.OpRead && op.Off < 1536 && op.Off+op.N > 1536
	}})
	d, err := vhd.Open("disk.vhd", &vhd.Options{FS: faults})
	require.NoError(t, err)
	require.Positive(t, faults.Fired())
	require.Equal(t, []byte("data"), contentOf(t, d)[:4])
	require.NoError(t, d.Close())
}

func TestAFullDiskFailsTheWriteThatGrowsAndNothingElse(t *testing.T) {
	for _, short := range []bool{false, true} {
		t.Run(fmt.Sprintf("short writes %v", short), func(t *testing.T) {
			img := vhdtest.NewDynamic(8*64<<10, vhdtest.Block{Index: 0, Data: fill(1, 64<<10)})
			img.BlockSize = 64 << 10
			want := img.Content(t, nil)
			mem := inMemory(t, img.Build(t))
			size := int64(len(fileOf(t, mem)))
			faults := vhdtest.NewFaultFS(mem)
			d, err := vhd.Open("disk.vhd", &vhd.Options{FS: faults, Writable: true})
			require.NoError(t, err)
			faults.Arm(vhdtest.Fault{At: 1, Forever: true, Err: syscall.ENOSPC, Short: short, Match: func(op vhdtest.Op) bool {
				return op.Kind == vhdtest.OpWrite && op.Off+op.N > size
			}})
			n, err := d.WriteAt(fill(5, 4096), 3*64<<10)
			require.ErrorIs(t, err, syscall.ENOSPC)
			require.Zero(t, n)
			require.Contains(t, err.Error(), "disk.vhd")
			requireContent(t, want, contentOf(t, d))

			_, err = d.WriteAt(fill(6, 4096), 8192)
			require.NoError(t, err, "an allocated sector")
			copy(want[8192:], fill(6, 4096))
			require.NoError(t, d.Sync())
			requireContent(t, want, contentOf(t, d))
			require.False(t, inspect(t, fileOf(t, mem)).NeedsRecovery())

			faults.Disarm()
			_, err = d.WriteAt(fill(5, 4096), 3*64<<10)
			require.NoError(t, err, "there is space again")
			copy(want[3*64<<10:], fill(5, 4096))
			require.NoError(t, d.Close())
			requireContent(t, want, contentOf(t, openFile(t, fileOf(t, mem))))
		})
	}
}

func TestASecondWriterIsLockedOutByWhateverNameItComes(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "disk.vhd")
	vhdtest.NewDynamic(1<<20).WriteFile(t, name)
	names := []string{name}
	if hard := filepath.Join(dir, "hard.vhd"); os.Link(name, hard) == nil {
		names = append(names, hard)
	}
	if soft := filepath.Join(dir, "soft.vhd"); os.Symlink("disk.vhd", soft) == nil {
		names = append(names, soft)
	}
	first, err := vhd.Open(name, &vhd.Options{Writable: true})
	require.NoError(t, err)
	for _, other := range names {
		for _, writable := range []bool{true, false} {
			_, err := vhd.Open(other, &vhd.Options{Writable: writable})
			require.ErrorIs(t, err, vhd.ErrLocked, "%s, writable %v", other, writable)
		}
	}
	require.NoError(t, first.Close())

	reader, err := vhd.Open(name, nil)
	require.NoError(t, err)
	for _, other := range names {
		_, err := vhd.Open(other, &vhd.Options{Writable: true})
		require.ErrorIs(t, err, vhd.ErrLocked)
		second, err := vhd.Open(other, nil)
		require.NoError(t, err, "readers share")
		require.NoError(t, second.Close())
	}
	require.NoError(t, reader.Close())
	last, err := vhd.Open(names[len(names)-1], &vhd.Options{Writable: true})
	require.NoError(t, err)
	require.NoError(t, last.Close())
}

func TestAClosedDiskSaysThatItIsClosed(t *testing.T) {
	for kind, img := range map[string]*vhdtest.Image{"fixed": vhdtest.NewFixed(1<<20, nil), "dynamic": vhdtest.NewDynamic(1<<20, vhdtest.Block{Index: 0})} {
		for _, writable := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, writable %v", kind, writable), func(t *testing.T) {
				d, err := vhd.Open("disk.vhd", &vhd.Options{FS: inMemory(t, img.Build(t)), Writable: writable})
				require.NoError(t, err)
				require.NoError(t, d.Close())
				require.ErrorIs(t, d.Close(), vhd.ErrClosed)
				_, err = d.ReadAt(make([]byte, 1), 0)
				require.ErrorIs(t, err, vhd.ErrClosed)
				_, err = d.ReadAt(make([]byte, 1), 1<<30)
				require.ErrorIs(t, err, vhd.ErrClosed)
				_, err = d.WriteAt(make([]byte, 1), 0)
				require.ErrorIs(t, err, vhd.ErrClosed)
				require.ErrorIs(t, d.WriteZeroes(0, 512), vhd.ErrClosed)
				require.ErrorIs(t, d.Sync(), vhd.ErrClosed)
				asked := 0
				for _, err := range d.Extents(0, 1<<20) {
					require.ErrorIs(t, err, vhd.ErrClosed)
					asked++
				}
				require.Equal(t, 1, asked)
				require.Equal(t, int64(1<<20), d.Size())
				require.Len(t, d.Chain(), 1)
				if kind == "dynamic" {
					_, err = d.Chain()[0].AllocatedBlocks()
					require.ErrorIs(t, err, vhd.ErrClosed)
				}
			})
		}
	}
}

func TestOffsetsOutsideTheDiskAreRefused(t *testing.T) {
	for kind, img := range map[string]*vhdtest.Image{"fixed": vhdtest.NewFixed(1<<20, nil), "dynamic": vhdtest.NewDynamic(1 << 20)} {
		t.Run(kind, func(t *testing.T) {
			mem := inMemory(t, img.Build(t))
			before := fileOf(t, mem)
			d, err := vhd.Open("disk.vhd", &vhd.Options{FS: mem, Writable: true})
			require.NoError(t, err)
			for _, off := range []int64{-1, -512, -1 << 63} {
				_, err := d.ReadAt(make([]byte, 512), off)
				require.ErrorIs(t, err, vhd.ErrOutOfRange)
				_, err = d.ReadAt(nil, off)
				require.ErrorIs(t, err, vhd.ErrOutOfRange)
				for _, n := range []int64{0, 1, 512} {
					_, err = d.WriteAt(make([]byte, n), off)
					require.ErrorIs(t, err, vhd.ErrOutOfRange)
					require.ErrorIs(t, d.WriteZeroes(off, n), vhd.ErrOutOfRange)
				}
				for _, err := range d.Extents(off, 512) {
					require.ErrorIs(t, err, vhd.ErrOutOfRange)
				}
			}
			for _, r := range [][2]int64{{0, -1}, {512, -1 << 63}, {0, 1<<20 + 1}, {1<<20 - 511, 512}, {1 << 20, 1}, {1<<63 - 1, 1}, {1<<63 - 1, 1<<63 - 1}, {1, 1<<63 - 1}} {
				require.ErrorIs(t, d.WriteZeroes(r[0], r[1]), vhd.ErrOutOfRange, "%v", r)
				if r[1] > 0 && r[1] <= 2<<20 {
					n, err := d.WriteAt(bytes.Repeat([]byte{1}, int(r[1])), r[0])
					require.ErrorIs(t, err, vhd.ErrOutOfRange, "%v", r)
					require.Zero(t, n)
				}
			}
			refused := 0
			for _, err := range d.Extents(0, -1) {
				require.ErrorIs(t, err, vhd.ErrOutOfRange)
				refused++
			}
			require.Equal(t, 1, refused)
			require.NoError(t, d.WriteZeroes(1<<20, 0))
			_, err = d.WriteAt(nil, 1<<20)
			require.NoError(t, err)
			require.NoError(t, d.Close())
			requireContent(t, before, fileOf(t, mem))
		})
	}
}

func TestTheEndOfTheDiskIsABareEOF(t *testing.T) {
	for kind, img := range map[string]*vhdtest.Image{"fixed": vhdtest.NewFixed(4096, fill(1, 4096)), "dynamic": vhdtest.NewDynamic(4096, vhdtest.Block{Data: fill(1, 4096)})} {
		t.Run(kind, func(t *testing.T) {
			d := openFile(t, img.Build(t))
			for _, test := range []struct {
				off  int64
				n    int
				want int
				err  error
			}{
				{0, 4096, 4096, nil}, {4095, 1, 1, nil}, {0, 4097, 4096, io.EOF}, {4095, 2, 1, io.EOF}, {4096, 1, 0, io.EOF},
				{1<<63 - 1, 9, 0, io.EOF}, {4096, 0, 0, nil}, {0, 0, 0, nil},
			} {
				p := bytes.Repeat([]byte{0xEE}, test.n)
				n, err := d.ReadAt(p, test.off)
				require.Equal(t, test.want, n)
				require.Equal(t, test.err, err, "%+v", test)
				if n > 0 {
					require.Equal(t, fill(1, 4096)[test.off:][:n], p[:n])
				}
			}
		})
	}
}

func TestAReadOnlyDiskRefusesWrites(t *testing.T) {
	requireUntouched(t, vhdtest.NewDynamic(1<<20).Build(t), func(d *vhd.Disk) {
		n, err := d.WriteAt([]byte{1}, 0)
		require.ErrorIs(t, err, vhd.ErrReadOnly)
		require.Zero(t, n)
		require.ErrorIs(t, d.WriteZeroes(0, 512), vhd.ErrReadOnly)
		require.NoError(t, d.Sync())
	})
}
