package vhdtest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// strayParents are children whose parents can't be opened or must not be, and children whose references are wrong
// but for one.
func strayParents() []HostileRecipe {
	return slices.Concat(missingParents(), wrongParents(), outsideParents(), wrongLocators())
}

func missingParents() []HostileRecipe {
	return []HostileRecipe{
		{RowParents, "a child alone", orphan(ParentMissing, "base.vhd", W2ru(`.\base.vhd`), W2ku(`C:\d\base.vhd`))},
		{RowParents, "a child without any reference", orphan(ParentMissing, "")},
		{RowParents, "a child whose only locator is of a kind that nobody knows", orphan(ParentMissing, "", Locator{Code: 0x12345678, Data: []byte("base.vhd")})},
		{RowParents, "a child whose parent's name is one unpaired surrogate", orphan(ParentMissing, "", Locator{Code: CodeW2ru, Data: []byte{0, 0xD8}})},
		{RowParents, "a child with an odd byte for a path", orphan(ParentMissing, "", Locator{Code: CodeW2ru, Data: []byte{'b'}})},
		{RowParents, "a child whose parent is a directory", func(t TB) *HostileImage {
			h := orphan(ParentMissing, "base.vhd", W2ru(`.\base.vhd`))(t)
			h.Dirs, h.Told = []string{"base.vhd"}, nil
			return h
		}},
		{RowParents, "a child whose parent is text", badParent(ParentMissing, func(_ TB, _ []byte) []byte {
			return bytes.Repeat([]byte("this is not a VHD\n"), 1000)
		})},
		{RowParents, "a child whose parent's checksums are wrong", badParent(ParentMissing, func(_ TB, file []byte) []byte {
			return flipped(file, 200, len(file)-FooterSize+200)
		})},
		{RowParents, "a child whose parent is empty", badParent(ParentMissing, func(TB, []byte) []byte { return nil })},
		{RowParents, "a child whose parent's parent is nowhere", func(t TB) *HostileImage {
			base := plainBase()
			mid := plainChild(base, "base.vhd")
			h := wholeChain(t, chainOf([]*Image{plainChild(mid, "mid.vhd"), mid, base}, "mid.vhd", "base.vhd"))
			delete(h.Files, "base.vhd")
			h.Told, h.Refused = []string{HostileLeaf, "mid.vhd"}, ParentMissing
			return h
		}},
		{RowParents, "a child of a raw disk, as Xen has it", func(t TB) *HostileImage {
			base := NewFixed(hostileSize, nil)
			base.ID = [16]byte{}
			child := plainChild(base, "base.raw")
			child.App = "tap\x00"
			return &HostileImage{Files: map[string][]byte{HostileLeaf: child.Build(t), "base.raw": make([]byte, hostileSize)}, Child: true, Refused: ParentRaw}
		}},
	}
}

// badParent is a plain chain whose parent is something else.
func badParent(why Refusal, base func(t TB, file []byte) []byte) func(t TB) *HostileImage {
	return func(t TB) *HostileImage {
		t.Helper()
		h := wholeChain(t, plainChain())
		h.Files["base.vhd"] = base(t, h.Files["base.vhd"])
		h.Refused = why
		return h
	}
}

func wrongParents() []HostileRecipe {
	return []HostileRecipe{
		{RowParents, "a child whose parent was replaced by another disk", badParent(ParentWrong, func(t TB, _ []byte) []byte {
			other := plainBase()
			other.ID[0]++
			return other.Build(t)
		})},
		{RowParents, "a child that is its own parent", func(t TB) *HostileImage {
			h := orphan(ParentLoop, HostileLeaf, W2ru(`.\`+HostileLeaf))(t)
			h.Told = nil
			return h
		}},
		{RowParents, "a child that is its own parent, by its identifier too", func(t TB) *HostileImage {
			child := plainChild(plainBase(), HostileLeaf)
			child.ParentID = child.ID
			h := fileAlone(child.Build(t))
			h.Child, h.Refused, h.Told = true, ParentLoop, nil
			return h
		}},
		{RowParents, "a child whose parent is a copy of itself", func(t TB) *HostileImage {
			child := plainChild(plainBase(), "base.vhd")
			child.ParentID = child.ID
			file := child.Build(t)
			return &HostileImage{Files: map[string][]byte{HostileLeaf: file, "base.vhd": file}, Child: true, Refused: ParentLoop}
		}},
		{RowParents, "two children that are each other's parents", func(t TB) *HostileImage {
			a, b := plainChild(plainBase(), "b.vhd"), plainChild(plainBase(), HostileLeaf)
			b.ID[0]++
			a.ParentID, b.ParentID = b.ID, a.ID
			return &HostileImage{Files: map[string][]byte{HostileLeaf: a.Build(t), "b.vhd": b.Build(t)}, Child: true, Refused: ParentLoop}
		}},
		{RowParents, "a chain of 257 images", leftOpen(deepChain)},
	}
}

// deepChain is one image too many. A sector is all that each holds.
func deepChain(t TB) *HostileImage {
	t.Helper()
	parent := NewFixed(SectorSize, stripes(1, SectorSize))
	h := &HostileImage{Files: map[string][]byte{"0.vhd": parent.Build(t)}, Child: true, Refused: ChainTooDeep}
	for depth := 1; depth <= 256; depth++ {
		child := NewChild(parent, fmt.Sprintf("%d.vhd", depth-1))
		child.BlockSize = SectorSize
		name := fmt.Sprintf("%d.vhd", depth)
		if depth == 256 {
			name = HostileLeaf
		}
		h.Files[name] = child.Build(t)
		parent = child
	}
	return h
}

// outsideParents are a child's ways to another directory. There, and where the path ends, is the child's right
// parent: only the way to it is wrong.
func outsideParents() []HostileRecipe {
	var recipes []HostileRecipe
	for _, c := range []struct {
		name    string
		header  string
		locator Locator
	}{
		{"a child whose parent is one directory up", "", W2ru(`..\outside.vhd`)},
		{"a child whose parent is one directory up, by the header's name", `..\outside.vhd`, Locator{}},
		{"a child whose parent is up and down again", "", W2ru(`.\x\..\..\outside.vhd`)},
		{"a child whose parent is far up", "", W2ru(strings.Repeat(`..\`, 200) + `outside.vhd`)},
		{"a child whose parent is one directory up, percent-coded", "", MacXRaw("file://./..%2Foutside.vhd")},
		{"a child whose parent is a file of the host", "", MacX("/etc/passwd")},
		{"a child whose parent is on another machine", "", W2ku(`\\server\share\outside.vhd`)},
		{"a child whose parent is a drive of Windows", "", W2ku(`\\.\PhysicalDrive0`)},
		{"a child whose parent is a device of Windows", "", W2ru(`.\CON.vhd`)},
		{"a child whose parent is a stream of a file", "", W2ru(`.\base.vhd:stream`)},
		{"a child whose path has 1,000 components", "", W2ru(strings.Repeat(`x\`, 1000) + `outside.vhd`)},
	} {
		recipes = append(recipes, HostileRecipe{RowParents, c.name, leftOpen(func(t TB) *HostileImage {
			h := orphan(ParentOutside, c.header, c.locator)(t)
			h.Files["../outside.vhd"] = plainBase().Build(t)
			h.Told = nil
			return h
		})})
	}
	return recipes
}

// wrongLocators are children of which one reference at least is right, so that they are read.
func wrongLocators() []HostileRecipe {
	right := W2ru(`.\base.vhd`)
	raw := func(data []byte) Locator { return Locator{Code: CodeW2ru, Data: data} }
	long := raw(utf16LE(strings.Repeat("a", 30000)))
	return []HostileRecipe{
		{RowParents, "a locator with zeros behind the path", referring(raw(utf16LE(".\\base.vhd\x00\x00junk")))},
		{RowParents, "a locator of an odd number of bytes", referring(raw(append(utf16LE(`.\base.vhd`), 'x')))},
		{RowParents, "a locator that is noise, and a right one behind it", referring(raw(stripes(0xEE, 300)), right)},
		{RowParents, "a locator of unpaired surrogates, and a right one", referring(raw(bytes.Repeat([]byte{0, 0xDC}, 100)), right)},
		{RowParents, "a locator of 30,000 letters, and a right one", referring(long, right)},
		{RowParents, "a locator of no bytes, and a right one", referring(Locator{Code: CodeW2ru}, right)},
		{RowParents, "a right locator in the last slot", referring(Locator{}, Locator{}, Locator{}, Locator{}, Locator{}, Locator{}, Locator{}, right)},
		{RowParents, "a locator that is an alias of noise, and a right one", referring(Mac(stripes(0xEE, 300)), right)},
		{RowParents, "eight locators of noise, and the header's right name", chainLike(func(child, _ *Image) {
			for slot := range child.Locators {
				child.Locators[slot] = raw(stripes(byte(slot+1), 64))
			}
		})},
		{RowParents, "a locator of 2^32-1 bytes, and a right one", referring(Locator{Code: CodeW2ku, Data: []byte("x"), Length: 1<<32 - 1}, right)},
		{RowParents, "a locator of 2^31 bytes, and a right one", referring(Locator{Code: CodeW2ku, Data: []byte("x"), Length: 1 << 31}, right)},
		{RowParents, "a locator at 2^64-512, and a right one", locatorAt(1<<64 - 512)},
		{RowParents, "a locator at 2^63, and a right one", locatorAt(1 << 63)},
		{RowParents, "a locator over the table, and a right one", locatorAt(2048)},
		{RowParents, "a locator over the header, and a right one", locatorAt(600)},
		{RowParents, "a locator past the end, where blocks would come to stand, and a right one", func(t TB) *HostileImage {
			h := locatorAt(1 << 40)(t)
			h.Unwritable = Corrupt
			return h
		}},
	}
}

// locatorAt is a chain whose child has a second locator that points anywhere.
func locatorAt(off uint64) func(t TB) *HostileImage {
	return func(t TB) *HostileImage {
		t.Helper()
		h := referring(W2ru(`.\base.vhd`), W2ku(`C:\d\base.vhd`).Behind())(t)
		EditHeader(t, h.Files[HostileLeaf], func(header []byte) { putUint(header[576+24+16:][:8], off) })
		return h
	}
}
