package vhdtest

import (
	"encoding/binary"
	"slices"
)

// HostileRow is a row of the design's table of bad input. Its rows about a full disk, an I/O error, a second writer
// and use after Close are about no file's bytes: other tests stand for those.
type HostileRow string

// The rows.
const (
	RowNoVHD     HostileRow = "not a VHD, truncated, checksum wrong"
	RowSizes     HostileRow = "block size 0, odd, absurd; table larger than the file; sizes that overflow"
	RowFooters   HostileRow = "an end footer lost, or the copy lost"
	RowForged    HostileRow = "footer forged inside a fixed disk"
	RowBlocks    HostileRow = "BAT entry to metadata, past the end, shared by two blocks"
	RowParents   HostileRow = "parent missing, wrong, a directory, outside the root, itself"
	RowOddLayout HostileRow = "sound but odd: layout and fields"
	RowOddChain  HostileRow = "sound but odd: chains"
)

// Refusal is why an image is not opened.
type Refusal string

// What is wrong with a file, and what with a chain.
const (
	Sound       Refusal = ""
	NotAVHD     Refusal = "not a valid VHD"
	BadChecksum Refusal = "a checksum is wrong"
	Unsupported Refusal = "well-formed, and of no kind that is read"
	Corrupt     Refusal = "blocks where none can be"

	ParentMissing Refusal = "the parent is nowhere"
	ParentWrong   Refusal = "the parent is another disk"
	ParentRaw     Refusal = "the parent is no VHD, as Xen has it"
	ParentOutside Refusal = "the parent is outside the root"
	ParentLoop    Refusal = "the chain is a loop"
	ChainTooDeep  Refusal = "the chain is too deep"
)

// OfChain says that nothing is wrong with the image itself: it can be inspected, and opened without its parents.
func (f Refusal) OfChain() bool {
	switch f {
	case ParentMissing, ParentWrong, ParentRaw, ParentOutside, ParentLoop, ChainTooDeep:
		return true
	default:
		return false
	}
}

// HostileLeaf is the name of the image that is opened, among HostileImage.Files.
const HostileLeaf = "disk.vhd"

// HostileImage is an image that is damaged, forged or odd, and what must come of it: by the specification where that
// says it, else by the design. Nothing of it was found out by asking the engine.
type HostileImage struct {
	Files map[string][]byte // by name, as seen from the leaf's directory
	Dirs  []string          // directories beside them
	Child bool              // the leaf is a differencing disk

	// Told are the chain's files, leaf first, for readers that are told them and look for none. Nil: those are not
	// asked, as finding the parents is the point.
	Told []string

	Refused       Refusal // why it is not opened at all; Sound: it is read
	Unwritable    Refusal // why it is not opened for writing, though it is read
	Content       []byte  // what it reads as
	Also          []byte  // what the specification allows as well; nil: nothing else
	Lost          []Range // where reads fail as corrupt: what Content says there means nothing
	NeedsRecovery bool

	// LeftOpen says that it is our rule, or a limit of ours, that it is refused, and not the specification's.
	LeftOpen bool
}

// Range is bytes of a disk.
type Range struct{ Off, End int64 }

// Overlaps says whether the range has one of n bytes at off.
func (r Range) Overlaps(off, n int64) bool { return off < r.End && r.Off < off+n }

// IsLost says whether reading n bytes at off must fail.
func (h *HostileImage) IsLost(off, n int64) bool {
	return slices.ContainsFunc(h.Lost, func(r Range) bool { return r.Overlaps(off, n) })
}

// HostileRecipe makes a HostileImage, each time the same.
type HostileRecipe struct {
	Row  HostileRow
	Name string
	Make func(t TB) *HostileImage
}

// HostileRecipes are all of them, in the order of the rows. Each is made only when it is asked for.
func HostileRecipes() []HostileRecipe {
	return slices.Concat(noVHDs(), hostileSizes(), lostFooters(), forgedFooters(), strayBlocks(), strayParents(), oddLayouts(), oddChains())
}

const (
	mib = 1 << 20

	// hostileSize is no multiple of the block size, so that the last block ends behind the disk.
	hostileSize = 5 * mib
)

// stripes is n bytes, each eight of which tell the seed and their sector.
func stripes(seed byte, n int64) []byte {
	p := make([]byte, n)
	for off := int64(0); off+8 <= n; off += 8 {
		binary.BigEndian.PutUint64(p[off:], uint64(seed)<<56|0xA5<<48|uint64(off/SectorSize))
	}
	return p
}

// plain is the dynamic disk that most recipes damage. Block 2 stands first in the file, block 0 behind it, block 1
// is not allocated. Blocks are of 2 MiB, and bitmaps of whole bytes, as every reader can do them: what a reader gets
// wrong is what the recipe is about.
func plain() *Image {
	return NewDynamic(hostileSize, Block{Index: 2, Data: stripes(2, 2*mib)}, Block{Index: 0, Data: stripes(1, 2*mib)})
}

func plainFixed() *Image { return NewFixed(mib, stripes(9, mib)) }

// whole is an image without a parent that is sound.
func whole(t TB, img *Image) *HostileImage {
	t.Helper()
	h := fileAlone(img.Build(t))
	h.Content = img.Content(t, nil)
	return h
}

// like is a recipe's maker for a plain disk of another form, which is sound.
func like(form func(img *Image)) func(t TB) *HostileImage {
	return func(t TB) *HostileImage {
		t.Helper()
		img := plain()
		form(img)
		return whole(t, img)
	}
}

// damaged is like for one that needs recovery.
func damaged(form func(img *Image)) func(t TB) *HostileImage {
	return func(t TB) *HostileImage {
		t.Helper()
		h := like(form)(t)
		h.NeedsRecovery = true
		return h
	}
}

func fileAlone(file []byte) *HostileImage {
	return &HostileImage{Files: map[string][]byte{HostileLeaf: file}, Told: []string{HostileLeaf}}
}

// refused is a recipe's maker for a file that no reader can make sense of.
func refused(why Refusal, file func(t TB) []byte) func(t TB) *HostileImage {
	return func(t TB) *HostileImage {
		t.Helper()
		h := fileAlone(file(t))
		h.Refused = why
		return h
	}
}

// leftOpen marks what make makes.
func leftOpen(make func(t TB) *HostileImage) func(t TB) *HostileImage {
	return func(t TB) *HostileImage {
		t.Helper()
		h := make(t)
		h.LeftOpen = true
		return h
	}
}

// edited is a plain disk's file, changed.
func edited(edit func(t TB, file []byte) []byte) func(t TB) []byte {
	return func(t TB) []byte {
		t.Helper()
		return edit(t, plain().Build(t))
	}
}

// inFooters is a plain disk in whose footers a field of size bytes at off holds n.
func inFooters(off, size int, n uint64) func(t TB) []byte {
	return edited(func(t TB, file []byte) []byte {
		t.Helper()
		EditFooters(t, file, func(f []byte) { putUint(f[off:off+size], n) })
		return file
	})
}

// inHeader is a plain disk in whose dynamic header a field of size bytes at off holds n.
func inHeader(off, size int, n uint64) func(t TB) []byte {
	return edited(func(t TB, file []byte) []byte {
		t.Helper()
		EditHeader(t, file, func(h []byte) { putUint(h[off:off+size], n) })
		return file
	})
}

// putUint stores the low bytes of n, as many as the field has.
func putUint(field []byte, n uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	copy(field, b[8-len(field):])
}

// eachWith is a recipe for every number in a field, of which name makes the recipe's name.
func eachWith(row HostileRow, why Refusal, field func(n uint64) func(t TB) []byte, cases []numberCase) []HostileRecipe {
	var recipes []HostileRecipe
	for _, c := range cases {
		recipe := HostileRecipe{row, c.name, refused(orElse(c.why, why), field(c.n))}
		if c.leftOpen {
			recipe.Make = leftOpen(recipe.Make)
		}
		recipes = append(recipes, recipe)
	}
	return recipes
}

type numberCase struct {
	name     string
	n        uint64
	why      Refusal // Sound: as for the others
	leftOpen bool
}
