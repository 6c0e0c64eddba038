package vhd_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// hostileNumbers are those at which sums and conversions go wrong.
var hostileNumbers = []uint64{
	0, 1, 2, 1<<8 - 1, 511, 512, 513, 1<<15 - 1, 1 << 16, 1<<31 - 1, 1 << 31, 1<<31 + 512, 1<<32 - 512, 1<<32 - 1, 1 << 32, 1 << 41, 1<<41 + 512,
	1<<63 - 512, 1<<63 - 1, 1 << 63, 1<<63 + 512, 1<<64 - 1024, 1<<64 - 512, 1<<64 - 1,
}

type integerField struct {
	name      string
	off, size int
}

var footerIntegers = []integerField{
	{"features", 8, 4}, {"version", 12, 4}, {"data offset", 16, 8}, {"time", 24, 4}, {"creator application", 28, 4}, {"creator version", 32, 4},
	{"creator host", 36, 4}, {"original size", 40, 8}, {"current size", 48, 8}, {"geometry", 56, 4}, {"type", 60, 4}, {"checksum", 64, 4}, {"saved state", 84, 1},
}

func headerIntegers() []integerField {
	fields := []integerField{
		{"data offset", 8, 8}, {"table offset", 16, 8}, {"version", 24, 4}, {"max table entries", 28, 4}, {"block size", 32, 4},
		{"checksum", 36, 4}, {"parent time", 56, 4}, {"reserved", 60, 4},
	}
	for slot := range 8 {
		at := 576 + 24*slot
		name := fmt.Sprintf("locator %d's ", slot)
		fields = append(fields, integerField{name + "code", at, 4}, integerField{name + "space", at + 4, 4}, integerField{name + "length", at + 8, 4},
			integerField{name + "reserved", at + 12, 4}, integerField{name + "offset", at + 16, 8})
	}
	return fields
}

// put stores the low bytes of n.
func (f integerField) put(structure []byte, n uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	copy(structure[f.off:f.off+f.size], b[8-f.size:])
}

func (f integerField) holds(n uint64) bool { return f.size == 8 || n < 1<<(8*f.size) }

// hostileImages are sound images for numbers to be put into.
func hostileImages(t testing.TB) map[string][]byte {
	t.Helper()
	base := vhdtest.NewFixed(128<<10, fill(1, 128<<10))
	dynamic := vhdtest.NewDynamic(1<<20, vhdtest.Block{Index: 1, Data: fill(2, 64<<10)})
	dynamic.BlockSize, dynamic.MaxEntries = 64<<10, 5000
	child := vhdtest.NewChild(base, "base.vhd", vhdtest.Block{Index: 0, Data: fill(3, 64<<10)})
	child.BlockSize = 64 << 10
	for slot := range child.Locators {
		child.Locators[slot] = vhdtest.W2ru(`.\base.vhd`)
	}
	return map[string][]byte{"fixed": base.Build(t), "dynamic": dynamic.Build(t), "differencing": child.Build(t)}
}

func TestHostileNumbersInAFooterDoNoHarm(t *testing.T) {
	for kind, sound := range hostileImages(t) {
		for _, field := range footerIntegers {
			t.Run(kind+", "+field.name, func(t *testing.T) {
				for _, n := range hostileNumbers {
					if !field.holds(n) {
						continue
					}
					edit := func(f []byte) { field.put(f, n) }
					file := bytes.Clone(sound)
					vhdtest.EditFooter(t, file, edit)
					if field.name == "checksum" { // which was made right again
						edit(vhdtest.EndFooter(t, file))
					}
					requireHarmless(t, file, fmt.Sprintf("%#x at the end", n))
					if kind == "fixed" {
						continue
					}
					vhdtest.EditCopy(t, file, edit)
					if field.name == "checksum" {
						edit(file[:512])
					}
					requireHarmless(t, file, fmt.Sprintf("%#x in both", n))
					clear(vhdtest.EndFooter(t, file))
					requireHarmless(t, file, fmt.Sprintf("%#x in the copy alone", n))
				}
			})
		}
	}
}

func TestHostileNumbersInAHeaderDoNoHarm(t *testing.T) {
	for kind, sound := range hostileImages(t) {
		if kind == "fixed" {
			continue
		}
		for _, field := range headerIntegers() {
			t.Run(kind+", "+field.name, func(t *testing.T) {
				for _, n := range hostileNumbers {
					if field.holds(n) {
						file := bytes.Clone(sound)
						vhdtest.EditHeader(t, file, func(h []byte) { field.put(h, n) })
						if field.name == "checksum" {
							field.put(vhdtest.Header(t, file), n)
						}
						requireHarmless(t, file, fmt.Sprintf("%#x", n))
					}
				}
			})
		}
	}
}

// Numbers are worst in company: sizes that only fit each other.
func TestHostileNumbersThatAgreeDoNoHarm(t *testing.T) {
	sound := hostileImages(t)["differencing"]
	for _, currentSize := range []uint64{512, 2 << 20, 1 << 31, 1 << 32, 1<<41 - 512, 1 << 41, 1<<41 + 512, 1<<63 - 512} {
		for _, blockSize := range []uint64{0, 1, 511, 512, 3 << 19, 1 << 21, 1 << 28, 1 << 29, 1 << 31, 1<<32 - 512} {
			for _, entries := range []uint64{0, 1, 1 << 20, 1 << 29, 1 << 30, 1<<32 - 1} {
				file := bytes.Clone(sound)
				vhdtest.EditFooters(t, file, func(f []byte) { binary.BigEndian.PutUint64(f[48:], currentSize) })
				vhdtest.EditHeader(t, file, func(h []byte) {
					binary.BigEndian.PutUint32(h[28:], uint32(entries))
					binary.BigEndian.PutUint32(h[32:], uint32(blockSize))
				})
				requireHarmless(t, file, fmt.Sprintf("%#x bytes, %#x blocks of %#x", currentSize, entries, blockSize))
			}
		}
	}
}

func TestHostileEntriesDoNoHarm(t *testing.T) {
	for kind, sound := range hostileImages(t) {
		if kind == "fixed" {
			continue
		}
		for _, block := range []int{0, 1} { // one that is in the file and one that isn't
			for _, n := range hostileNumbers {
				if n < 1<<32 {
					file := bytes.Clone(sound)
					vhdtest.EditEntry(t, file, block, uint32(n))
					requireHarmless(t, file, fmt.Sprintf("%s, block %d, %#x", kind, block, n))
				}
			}
		}
	}
}

// requireHarmless looks at an image in every way. It is refused with a whole FormatError, or it can be read, but for
// blocks that are ErrCorrupt; and all of that takes little memory.
func requireHarmless(t testing.TB, file []byte, what string) {
	t.Helper()
	mem := inMemory(t, file)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	useHostile(t, file, mem, what)
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16<<20), what)
}

func useHostile(t testing.TB, file []byte, mem *vhdtest.MemFS, what string) {
	t.Helper()
	img, err := vhd.Inspect(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		requireWhole(t, err, what)
	} else {
		_, err := img.AllocatedBlocks()
		require.NoError(t, err, what)
		img.ParentRefs()
	}
	report, checkErr := vhd.Check(t.Context(), "disk.vhd", vhd.CheckOptions{Options: vhd.Options{FS: mem}})
	isFlawed := checkErr != nil || len(errorsIn(report)) > 0
	for _, writable := range []bool{false, true} {
		d, err := vhd.Open("disk.vhd", &vhd.Options{FS: mem, NoParents: true, Writable: writable})
		if err != nil {
			requireWhole(t, err, what)
			require.True(t, isFlawed, what)
			continue
		}
		require.NotNil(t, img, what)
		if writable {
			require.Equal(t, img.NeedsRecovery(), isFlawed, what)
		}
		p := make([]byte, 4096)
		for _, off := range []int64{0, 64<<10 - 100, d.Size() / 2, d.Size() - 1000, d.Size() - 1} {
			_, err := d.ReadAt(p, max(off, 0))
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, vhd.ErrParentNotFound) {
				require.ErrorIs(t, err, vhd.ErrCorrupt, what)
			}
		}
		if writable {
			writeHostile(t, d, what)
		}
		require.NoError(t, d.Close(), what)
	}
}

// writeHostile writes a sector at the disk's start, middle and end: what may be written at all, can be.
func writeHostile(t testing.TB, d *vhd.Disk, what string) {
	t.Helper()
	sector := fill(0x7E, vhd.SectorSize)
	for _, off := range []int64{0, d.Size() / 2 &^ 511, d.Size() - vhd.SectorSize} {
		if d.Size() == 0 {
			continue
		}
		_, err := d.WriteAt(sector, off)
		require.NoError(t, err, what)
		p := make([]byte, len(sector))
		_, err = d.ReadAt(p, off)
		require.NoError(t, err, what)
		require.Equal(t, sector, p, what)
	}
}

func requireWhole(t testing.TB, err error, what string) vhd.FormatError {
	t.Helper()
	var format *vhd.FormatError
	require.ErrorAs(t, err, &format, what)
	require.NotEmpty(t, format.Part, what)
	require.NotNil(t, format.Got, what)
	require.NotNil(t, format.Want, what)
	require.Error(t, format.Err, what)
	require.GreaterOrEqual(t, format.Offset, int64(0), what)
	return *format
}

// Anything may be wrong at once, in structures whose checksums are right.
func TestRandomDamageDoesNoHarm(t *testing.T) {
	n := 1500
	if testing.Short() {
		n = 200
	}
	images := hostileImages(t)
	for seed := range n {
		rng := rand.New(rand.NewPCG(uint64(seed), 4))
		kind := []string{"dynamic", "differencing"}[seed%2]
		file := bytes.Clone(images[kind])
		table := 1536 + 16 + rng.IntN(8192)
		for range 1 + rng.IntN(4) {
			where := [][]byte{file[8:85], file[512+8 : 512+64], file[512+576 : 512+768], file[1536:table], file[len(file)-504:]}[rng.IntN(5)]
			at := rng.IntN(len(where)-8) &^ 3
			field := integerField{"", at, 4 << rng.IntN(2)}
			field.put(where, hostileNumbers[rng.IntN(len(hostileNumbers))])
		}
		copy(file[12:], "\x00\x01\x00\x00")
		copy(file[512+24:], "\x00\x01\x00\x00")
		vhdtest.MendFooter(t, file[:512])
		vhdtest.MendHeader(t, file[512:1536])
		if rng.IntN(2) == 0 {
			copy(file[len(file)-512:], file[:512])
		}
		requireHarmless(t, file, fmt.Sprintf("seed %d", seed))
	}
}

// Which field is named, for each that is checked.
func TestAHostileNumberIsNamed(t *testing.T) {
	for name, test := range map[string]struct {
		header bool
		field  integerField
		n      uint64
		want   string
	}{
		"current size past 2^63":       {false, integerField{"", 48, 8}, 1 << 63, "current size"},
		"current size past 2 TiB":      {false, integerField{"", 48, 8}, 1<<41 + 512, "current size"},
		"current size of half sectors": {false, integerField{"", 48, 8}, 1<<20 + 256, "current size"},
		"original size past 2^63":      {false, integerField{"", 40, 8}, 1<<64 - 1, "original size"},
		"a type of none":               {false, integerField{"", 60, 4}, 0, "disk type"},
		"a type of the old days":       {false, integerField{"", 60, 4}, 6, "disk type"},
		"a header past the end":        {false, integerField{"", 16, 8}, 1 << 40, "data offset"},
		"a header nowhere":             {false, integerField{"", 16, 8}, 1<<64 - 1, "data offset"},
		"a header in the copy":         {false, integerField{"", 16, 8}, 0, "data offset"},
		"a header between sectors":     {false, integerField{"", 16, 8}, 513, "data offset"},
		"a table past the end":         {true, integerField{"", 16, 8}, 1 << 40, "table offset"},
		"a table past 2^63":            {true, integerField{"", 16, 8}, 1 << 63, "table offset"},
		"a table in the copy":          {true, integerField{"", 16, 8}, 0, "table offset"},
		"a table in the header":        {true, integerField{"", 16, 8}, 1024, "table offset"},
		"a table between sectors":      {true, integerField{"", 16, 8}, 1537, "table offset"},
		"a table past the file":        {true, integerField{"", 28, 4}, 1<<32 - 1, "max table entries"},
		"a table too short":            {true, integerField{"", 28, 4}, 0, "max table entries"},
		"blocks of nothing":            {true, integerField{"", 32, 4}, 0, "block size"},
		"blocks of 511 bytes":          {true, integerField{"", 32, 4}, 511, "block size"},
		"blocks of 3 sectors":          {true, integerField{"", 32, 4}, 1536, "block size"},
		"blocks of 512 MiB":            {true, integerField{"", 32, 4}, 512 << 20, "block size"},
		"blocks of 4 GiB":              {true, integerField{"", 32, 4}, 1<<32 - 1, "block size"},
	} {
		t.Run(name, func(t *testing.T) {
			file := vhdtest.NewDynamic(1<<20, vhdtest.Block{Index: 0}).Build(t)
			edit := func(b []byte) { test.field.put(b, test.n) }
			if test.header {
				vhdtest.EditHeader(t, file, edit)
			} else {
				vhdtest.EditFooters(t, file, edit)
			}
			_, err := vhd.Inspect(bytes.NewReader(file), int64(len(file)))
			format := requireWhole(t, err, name)
			require.Equal(t, test.want, format.Field)
			if test.header {
				require.Equal(t, "dynamic header", format.Part)
				require.Equal(t, int64(512+test.field.off), format.Offset)
			} else {
				require.Equal(t, "footer", format.Part)
				require.Equal(t, int64(len(file)-512+test.field.off), format.Offset)
			}
		})
	}
}
