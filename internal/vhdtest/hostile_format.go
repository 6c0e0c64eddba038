package vhdtest

import "bytes"

// noVHDs are what is no VHD, or the beginning of one, or one that was written over.
func noVHDs() []HostileRecipe {
	constant := func(file []byte) func(t TB) []byte { return func(TB) []byte { return file } }
	var recipes []HostileRecipe
	for _, c := range []struct {
		name string
		why  Refusal
		file func(t TB) []byte
	}{
		{"an empty file", NotAVHD, constant(nil)},
		{"the cookie alone", NotAVHD, constant([]byte("conectix"))},
		{"510 bytes", NotAVHD, constant(make([]byte, 510))},
		{"a megabyte of zeros", NotAVHD, constant(make([]byte, mib))},
		{"text", NotAVHD, constant(bytes.Repeat([]byte("this is not a VHD\n"), 1000))},
		{"a VHDX", NotAVHD, constant(append([]byte("vhdxfile"), make([]byte, mib)...))},
		{"a qcow2 image", NotAVHD, constant(append([]byte("QFI\xfb\x00\x00\x00\x03"), make([]byte, mib)...))},
		{"the copy of a footer and nothing else", NotAVHD, cut(FooterSize)},
		{"a dynamic disk cut inside its header", NotAVHD, cut(1000)},
		{"a dynamic disk cut inside its table", NotAVHD, cut(FooterSize + HeaderSize + 8)},
		{"a dynamic disk's header without its footers", NotAVHD, edited(func(_ TB, f []byte) []byte { return f[512:1536] })},
		{"a fixed disk without its footer", NotAVHD, func(t TB) []byte { return plainFixed().Build(t)[:mib] }},
		{"a fixed disk that lacks its first half", NotAVHD, func(t TB) []byte { return plainFixed().Build(t)[mib/2:] }},
		{"a dynamic disk that calls itself fixed", NotAVHD, inFooters(60, 4, 2)},
		{"a fixed disk that calls itself dynamic", NotAVHD, fixedWith(60, 4, 3)},
		{"a disk of type 0", Unsupported, inFooters(60, 4, 0)},
		{"a disk of type 2^32-1", Unsupported, inFooters(60, 4, 1<<32-1)},
		{"a footer of version 2.0", Unsupported, inFooters(12, 4, 2<<16)},
		{"a header of version 2.0", Unsupported, inHeader(24, 4, 2<<16)},
		{"cookies in capitals", NotAVHD, edited(capitalCookies)},
		{"a header with another cookie", NotAVHD, edited(func(t TB, f []byte) []byte {
			EditHeader(t, f, func(h []byte) { copy(h, "cxsparsf") })
			return f
		})},
		{"a fixed disk with a wrong checksum", BadChecksum, func(t TB) []byte { return flipped(plainFixed().Build(t), mib+200) }},
		{"both footers with a wrong checksum", BadChecksum, edited(func(_ TB, f []byte) []byte {
			return flipped(f, 200, len(f)-FooterSize+200)
		})},
		{"both footers with a checksum of zero", BadChecksum, edited(func(_ TB, f []byte) []byte {
			clear(f[64:68])
			clear(f[len(f)-FooterSize+64:][:4])
			return f
		})},
		{"a header with a wrong checksum", BadChecksum, edited(func(_ TB, f []byte) []byte { return flipped(f, FooterSize+900) })},
		{"a header whose block size was written over", BadChecksum, edited(func(_ TB, f []byte) []byte { return flipped(f, FooterSize+33) })},
	} {
		recipes = append(recipes, HostileRecipe{RowNoVHD, c.name, refused(c.why, c.file)})
	}
	return append(recipes,
		HostileRecipe{RowNoVHD, "a disk of the deprecated type 1", leftOpen(refused(Unsupported, inFooters(60, 4, 1)))},
		HostileRecipe{RowNoVHD, "a disk of the deprecated type 6", leftOpen(refused(Unsupported, inFooters(60, 4, 6)))},
		HostileRecipe{RowNoVHD, "a dynamic disk cut between two blocks, like the first piece of a split one", cutBlocks(func(second int) int { return second }, false)},
		HostileRecipe{RowNoVHD, "a dynamic disk cut inside the first of its two blocks", cutBlocks(func(second int) int { return second - mib }, true)},
		HostileRecipe{RowNoVHD, "a dynamic disk cut inside its last block", cutLastBlock})
}

func capitalCookies(t TB, f []byte) []byte {
	t.Helper()
	for _, footer := range [][]byte{f[:FooterSize], EndFooter(t, f)} {
		copy(footer, "CONECTIX")
		MendFooter(t, footer)
	}
	return f
}

// cut is the first n bytes of a plain disk.
func cut(n int) func(t TB) []byte {
	return edited(func(_ TB, f []byte) []byte { return f[:n] })
}

// flipped is a file in which a bit of each byte at offs is another one.
func flipped(file []byte, offs ...int) []byte {
	for _, off := range offs {
		file[off] ^= 0x10
	}
	return file
}

func fixedWith(off, size int, n uint64) func(t TB) []byte {
	return func(t TB) []byte {
		t.Helper()
		file := plainFixed().Build(t)
		EditFooter(t, file, func(f []byte) { putUint(f[off:off+size], n) })
		return file
	}
}

// cutBlocks is a plain disk that ends where end says, given the offset of the second block in the file, which is
// block 0. Only the last block may be cut off: what is lost of others is lost, and must not read as zeros.
func cutBlocks(end func(second int) int, inFirst bool) func(t TB) *HostileImage {
	return func(t TB) *HostileImage {
		t.Helper()
		img := plain()
		file := img.Build(t)
		h := fileAlone(file[:end(int(Entry(t, file, 0))*SectorSize)])
		h.Content, h.NeedsRecovery, h.Unwritable = img.Content(t, nil), true, Corrupt
		h.Lost = []Range{{0, 2 * mib}}
		if inFirst {
			h.Lost = append(h.Lost, Range{4 * mib, hostileSize})
		}
		return h
	}
}

// cutLastBlock is a plain disk that ends in the middle of the block that is last in the file. What is missing of it
// reads as zeros, as one builder leaves it.
func cutLastBlock(t TB) *HostileImage {
	t.Helper()
	img := plain()
	file := img.Build(t)
	h := fileAlone(file[:int(Entry(t, file, 0))*SectorSize+SectorSize+mib])
	h.Content, h.NeedsRecovery = img.Content(t, nil), true
	clear(h.Content[mib : 2*mib])
	return h
}
