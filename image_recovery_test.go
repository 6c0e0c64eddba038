package vhd_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// fileOf is disk.vhd as it is by now.
func fileOf(t testing.TB, mem *vhdtest.MemFS) []byte {
	t.Helper()
	file, err := mem.ReadFile("disk.vhd")
	require.NoError(t, err)
	return file
}

// rewritten opens disk.vhd for writing, lets look at it, and closes it.
func rewritten(t testing.TB, mem *vhdtest.MemFS, look func(d *vhd.Disk)) []byte {
	t.Helper()
	d, err := vhd.Open("disk.vhd", &vhd.Options{FS: mem, NoParents: true, Writable: true})
	require.NoError(t, err)
	look(d)
	require.NoError(t, d.Close())
	return fileOf(t, mem)
}

// requireUntouched opens an image for reading and reads all of it, and makes sure that nothing is written.
func requireUntouched(t testing.TB, file []byte, look func(d *vhd.Disk)) {
	t.Helper()
	mem := inMemory(t, file)
	calls := vhdtest.NewRecordFS(mem)
	d, err := vhd.Open("disk.vhd", &vhd.Options{FS: calls, NoParents: true})
	require.NoError(t, err)
	look(d)
	require.NoError(t, d.Close())
	for _, op := range calls.Ops() {
		require.False(t, op.Mutates(), "%v", op)
	}
	require.True(t, bytes.Equal(file, fileOf(t, mem)), "the file has changed")
}

type damage struct {
	name   string
	footer vhdtest.FooterForm
	copies vhdtest.CopyForm
}

var damages = []damage{
	{"the end footer is zeros", vhdtest.FooterZeroed, vhdtest.CopySame},
	{"the end footer is as under a live Xen disk", vhdtest.FooterXen, vhdtest.CopySame},
	{"the end footer is cut off", vhdtest.FooterCut, vhdtest.CopySame},
	{"the copy is lost", vhdtest.FooterWhole, vhdtest.CopyLost},
	{"the copy is lost and the end has 511 bytes", vhdtest.Footer511, vhdtest.CopyLost},
	{"the two differ", vhdtest.FooterWhole, vhdtest.CopyOther},
	{"the two differ and the end has 511 bytes", vhdtest.Footer511, vhdtest.CopyOther},
}

// damagedImages are images of all kinds that have blocks, with one of each layout that matters to recovery.
func damagedImages() map[string]*vhdtest.Image {
	dynamic := vhdtest.NewDynamic(1<<20, vhdtest.Block{Index: 3, Data: fill(3, 64<<10)}, vhdtest.Block{Index: 0, Data: fill(1, 64<<10)})
	dynamic.BlockSize = 64 << 10
	aligned := vhdtest.NewDynamic(1<<20, vhdtest.Block{Index: 1, Data: fill(3, 64<<10), Align: 4096})
	aligned.BlockSize, aligned.EndAlign = 64<<10, 4096
	child := vhdtest.NewChild(dynamic, "base.vhd", vhdtest.Block{Index: 0, Data: fill(9, 2<<20)})
	child.LikeWindows10(`C:\d\base.vhd`, `.\base.vhd`)
	moved := vhdtest.NewDynamic(1<<20, vhdtest.Block{Index: 0, Data: fill(5, 512)}, vhdtest.Block{Index: 9, Data: fill(6, 512)})
	moved.BlockSize, moved.HeaderOff, moved.BATOff = 512, 8192, 16384
	return map[string]*vhdtest.Image{
		"dynamic": dynamic, "4 KiB aligned": aligned, "child of Windows": child, "small blocks, moved header": moved, "without blocks": vhdtest.NewDynamic(40 << 20),
	}
}

func TestADamagedFooterIsReadAroundAndMendedByWriters(t *testing.T) {
	for kind, img := range damagedImages() {
		sound := img.Build(t)
		for _, damage := range damages {
			t.Run(kind+", "+damage.name, func(t *testing.T) {
				hurt := *img
				hurt.Footer, hurt.Copy = damage.footer, damage.copies
				file := hurt.Build(t)
				requireDamaged := func(d *vhd.Disk) {
					require.True(t, d.Chain()[0].NeedsRecovery())
					require.Equal(t, uuid.UUID(img.ID), d.Chain()[0].Footer().ID)
					require.Zero(t, d.Chain()[0].Footer().SavedState, "the end footer counts, and the copy where there is none")
					requireOwn(t, img, d)
				}
				require.True(t, inspect(t, file).NeedsRecovery())
				requireUntouched(t, file, requireDamaged)

				mem := inMemory(t, file)
				mended := rewritten(t, mem, func(d *vhd.Disk) {
					require.False(t, d.Chain()[0].NeedsRecovery())
					requireOwn(t, img, d)
				})
				end := vhdtest.EndFooter(t, mended)
				requireContent(t, vhdtest.EndFooter(t, sound)[:len(end)], end)
				requireContent(t, vhdtest.EndFooter(t, sound), mended[:512]) // the copy
				if damage.copies == vhdtest.CopySame {
					require.Zero(t, len(mended)%4096, "a footer that was lost ends a page of 4 KiB")
				} else {
					require.Len(t, mended, len(file), "a footer that was there stays where it was")
				}
				requireUntouched(t, mended, func(d *vhd.Disk) {
					require.False(t, d.Chain()[0].NeedsRecovery())
					requireOwn(t, img, d)
				})
				require.True(t, bytes.Equal(mended, rewritten(t, mem, func(*vhd.Disk) {})), "there was nothing left to mend")
			})
		}
	}
}

// requireOwn compares what the image itself holds: its parent is not there.
func requireOwn(t testing.TB, img *vhdtest.Image, d *vhd.Disk) {
	t.Helper()
	own := *img
	own.Type = vhdtest.Dynamic
	want := own.Content(t, nil)
	for _, b := range img.Blocks {
		size := int64(2 << 20)
		if img.BlockSize != 0 {
			size = img.BlockSize
		}
		off := int64(b.Index) * size
		p := make([]byte, min(size, img.Size-off))
		_, err := d.ReadAt(p, off)
		require.NoError(t, err)
		requireContent(t, want[off:][:len(p)], p)
	}
}

func TestASoundImageIsNotChangedByOpeningItForWriting(t *testing.T) {
	images := damagedImages()
	images["fixed"] = vhdtest.NewFixed(1<<20, fill(1, 1<<20))
	for name, img := range images {
		t.Run(name, func(t *testing.T) {
			file := img.Build(t)
			require.True(t, bytes.Equal(file, rewritten(t, inMemory(t, file), func(*vhd.Disk) {})))
		})
	}
}

func TestBothFootersLostIsNoImage(t *testing.T) {
	for _, form := range []vhdtest.FooterForm{vhdtest.FooterZeroed, vhdtest.FooterXen, vhdtest.FooterCut} {
		img := vhdtest.NewDynamic(1 << 20)
		img.Footer, img.Copy = form, vhdtest.CopyLost
		requireRefused(t, img.Build(t), vhd.ErrFormat)
	}
}

func TestTheCopyCountsOnlyIfItsHeaderIsValid(t *testing.T) {
	img := vhdtest.NewDynamic(1 << 20)
	img.Footer = vhdtest.FooterCut
	file := img.Build(t)
	file[600]++
	requireRefused(t, file, vhd.ErrChecksum)
}

// A footer at the start says nothing of a fixed disk: it is the guest's. Where the end is lost it is no help either.
func TestACopyThatSaysFixedIsNotUsed(t *testing.T) {
	fixed := vhdtest.NewFixed(64<<10, nil).Build(t)
	file := append(bytes.Clone(fixed[len(fixed)-512:]), make([]byte, 64<<10)...)
	requireRefused(t, file, vhd.ErrFormat)
}

func TestAFooterForgedInsideAFixedDiskIsContent(t *testing.T) {
	forged := vhdtest.NewDynamic(32<<20, vhdtest.Block{Index: 0, Data: fill(0x66, 4096)})
	forged.BlockSize = 4096
	forgery := forged.Build(t)
	other := vhdtest.NewFixed(512, nil).Build(t)[512:]
	for name, put := range map[string]func(data []byte){
		"a whole dynamic disk at the start":  func(data []byte) { copy(data, forgery) },
		"a dynamic disk's footer at the end": func(data []byte) { copy(data[len(data)-512:], forgery[len(forgery)-512:]) },
		"a fixed disk's footer at the end":   func(data []byte) { copy(data[len(data)-512:], other) },
		"a footer of 511 bytes at the end":   func(data []byte) { copy(data[len(data)-511:], other[:511]) },
		"a footer one byte before the end":   func(data []byte) { copy(data[len(data)-513:], other) },
		"footers in every sector": func(data []byte) {
			for off := 0; off < len(data); off += 512 {
				copy(data[off:], forgery[:512])
			}
		},
	} {
		for _, form := range []vhdtest.FooterForm{vhdtest.FooterWhole, vhdtest.Footer511} {
			t.Run(fmt.Sprintf("%s, form %d", name, form), func(t *testing.T) {
				img := vhdtest.NewFixed(1<<20, fill(1, 1<<20))
				img.Footer = form
				put(img.Data)
				file := img.Build(t)
				requireUntouched(t, file, func(d *vhd.Disk) {
					require.Equal(t, vhd.Fixed, d.Chain()[0].Footer().Type)
					require.Equal(t, int64(1<<20), d.Size())
					require.False(t, d.Chain()[0].NeedsRecovery())
					requireContent(t, img.Data, contentOf(t, d))
				})
				require.True(t, bytes.Equal(file, rewritten(t, inMemory(t, file), func(*vhd.Disk) {})))
			})
		}
	}
}

// The sum of 512 bytes is that of the first 511 if the last one is zero: the last byte of a copy is no difference.
func TestAnEndFooterOf511BytesAgreesWithItsCopyOf512(t *testing.T) {
	img := vhdtest.NewDynamic(1 << 20)
	img.Footer = vhdtest.Footer511
	require.False(t, inspect(t, img.Build(t)).NeedsRecovery())
	img.FooterReserved = []byte{1, 2, 3}
	require.False(t, inspect(t, img.Build(t)).NeedsRecovery())
}

func TestAWriterCompletesALastBlockThatIsCutOff(t *testing.T) {
	for _, form := range []vhdtest.FooterForm{vhdtest.FooterWhole, vhdtest.Footer511, vhdtest.FooterCut} {
		for _, cut := range []int64{1, 512, 1000, 4096, 64<<10 - 512, 64<<10 - 100, 64 << 10} {
			t.Run(fmt.Sprintf("form %d, %d bytes", form, cut), func(t *testing.T) {
				img := vhdtest.NewDynamic(1<<20,
					vhdtest.Block{Index: 2, Data: fill(2, 64<<10)}, vhdtest.Block{Index: 5, Data: fill(1, 64<<10), Cut: cut})
				img.BlockSize, img.Footer = 64<<10, form
				mem := inMemory(t, img.Build(t))
				want := img.Content(t, nil)
				whole := rewritten(t, mem, func(d *vhd.Disk) { requireContent(t, want, contentOf(t, d)) })

				off := int64(vhdtest.Entry(t, whole, 5)) * 512
				require.GreaterOrEqual(t, int64(len(whole)), off+512+64<<10+512)
				requireContent(t, want[5*64<<10:6*64<<10], whole[off+512:][:64<<10])
				requireContent(t, vhdtest.EndFooter(t, whole), whole[:512])
				requireContent(t, want, contentOf(t, openFile(t, whole)))

				grown := rewritten(t, mem, func(d *vhd.Disk) {
					_, err := d.WriteAt(fill(0x77, 512), 9*64<<10)
					require.NoError(t, err)
				})
				copy(want[9*64<<10:], fill(0x77, 512))
				requireContent(t, want, contentOf(t, openFile(t, grown)))
			})
		}
	}
}

// Each new block gets a place where a footer may have stood, and shows nothing of it.
func TestNewBlocksReadAsZerosWhereNothingWasWritten(t *testing.T) {
	for size := int64(512); size <= 64<<10; size *= 2 {
		t.Run(fmt.Sprintf("blocks of %d", size), func(t *testing.T) {
			const nblocks = 200
			img := vhdtest.NewDynamic(nblocks * size)
			img.BlockSize = size
			mem := inMemory(t, img.Build(t))
			want := make([]byte, img.Size)
			check := func(d *vhd.Disk) { requireContent(t, want, contentOf(t, d)) }
			rewritten(t, mem, func(d *vhd.Disk) {
				for block := range int64(nblocks) {
					stamp := fill(byte(block), 512)
					off := block*size + block*512%size
					copy(want[off:], stamp)
					_, err := d.WriteAt(stamp, off)
					require.NoError(t, err)
				}
				check(d)
			})
			check(openFile(t, fileOf(t, mem)))
		})
	}
}

// The footer's time and state are those of the end, and the copy follows.
func TestTheEndFooterWinsOverItsCopy(t *testing.T) {
	file := vhdtest.NewDynamic(4 << 20).Build(t)
	vhdtest.EditCopy(t, file, func(f []byte) { binary.BigEndian.PutUint64(f[48:], 2<<20) })
	img := inspect(t, file)
	require.True(t, img.NeedsRecovery())
	require.Equal(t, int64(4<<20), img.Footer().CurrentSize)
	mended := rewritten(t, inMemory(t, file), func(d *vhd.Disk) { require.Equal(t, int64(4<<20), d.Size()) })
	requireContent(t, mended[:512], mended[len(mended)-512:])
	requireContent(t, vhdtest.NewDynamic(4<<20).Build(t), mended)
}
