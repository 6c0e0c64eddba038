package vhdtest

// lostFooters are disks of which one footer is lost, or says something else than the other.
func lostFooters() []HostileRecipe {
	return []HostileRecipe{
		{RowFooters, "an end footer of zeros", damaged(func(img *Image) { img.Footer = FooterZeroed })},
		{RowFooters, "an end footer overwritten as under a live Xen disk", damaged(func(img *Image) { img.Footer = FooterXen })},
		{RowFooters, "an end footer cut off", damaged(func(img *Image) { img.Footer = FooterCut })},
		{RowFooters, "an end footer with a wrong checksum", lostEnd(func(t TB, f []byte) { flipped(f, 200) })},
		{RowFooters, "an end footer without its first sector's half", lostEnd(func(_ TB, f []byte) { clear(f[:256]) })},
		{RowFooters, "a copy of zeros", damaged(func(img *Image) { img.Copy = CopyLost })},
		{RowFooters, "a copy with a wrong checksum", lostCopy(func(_ TB, f []byte) { flipped(f, 200) })},
		{RowFooters, "a copy that is older", damaged(func(img *Image) { img.Copy = CopyOther })},
		{RowFooters, "a copy that tells of a smaller disk", lostCopy(func(t TB, f []byte) {
			putUint(f[48:56], 2*mib)
			MendFooter(t, f)
		})},
		{RowFooters, "a copy that tells of a fixed disk", lostCopy(func(t TB, f []byte) {
			putUint(f[60:64], uint64(Fixed))
			MendFooter(t, f)
		})},
		{RowFooters, "a copy that tells of another header", lostCopy(func(t TB, f []byte) {
			putUint(f[16:24], 1<<40)
			MendFooter(t, f)
		})},
		{RowFooters, "an end footer of 511 bytes and no copy", damaged(func(img *Image) { img.Footer, img.Copy = Footer511, CopyLost })},
		{RowFooters, "no footer at the end and one that says fixed at the start", refused(NotAVHD, fixedCopyAlone)},
		{RowFooters, "a child whose end footer is lost", func(t TB) *HostileImage {
			c := plainChain()
			c.Images[0].Footer = FooterZeroed
			h := wholeChain(t, c)
			h.NeedsRecovery = true
			return h
		}},
	}
}

// lostEnd is a plain disk whose end footer is damaged.
func lostEnd(edit func(t TB, footer []byte)) func(t TB) *HostileImage {
	return func(t TB) *HostileImage {
		t.Helper()
		h := whole(t, plain())
		edit(t, EndFooter(t, h.Files[HostileLeaf]))
		h.NeedsRecovery = true
		return h
	}
}

// lostCopy is a plain disk whose copy is damaged: the end wins.
func lostCopy(edit func(t TB, footer []byte)) func(t TB) *HostileImage {
	return func(t TB) *HostileImage {
		t.Helper()
		h := whole(t, plain())
		edit(t, h.Files[HostileLeaf][:FooterSize])
		h.NeedsRecovery = true
		return h
	}
}

// fixedCopyAlone has no footer but the one at offset 0, where a fixed disk has none.
func fixedCopyAlone(t TB) []byte {
	t.Helper()
	fixed := plainFixed().Build(t)
	return append(fixed[mib:], fixed[:mib]...)
}

// forgedFooters are fixed disks into which a guest wrote structures. Whoever looks for them anywhere but at the
// file's end gives the guest the files of its host.
func forgedFooters() []HostileRecipe {
	forged := func(forge func(t TB, data []byte)) func(t TB) *HostileImage {
		return func(t TB) *HostileImage {
			t.Helper()
			data := stripes(9, mib)
			forge(t, data)
			return whole(t, NewFixed(mib, data))
		}
	}
	return []HostileRecipe{
		{RowForged, "a forged dynamic disk at the start of a fixed one", forged(func(t TB, data []byte) { copy(data, forgedDisk().Build(t)) })},
		{RowForged, "a forged child of a file of the host at the start of a fixed disk", forged(func(t TB, data []byte) {
			img := NewChild(NewFixed(mib, nil), "passwd")
			img.Locators = [8]Locator{MacX("/etc/passwd"), W2ru(`..\..\..\..\etc\passwd`)}
			copy(data, img.Build(t))
		})},
		{RowForged, "a forged footer in the middle of a fixed disk", forged(func(t TB, data []byte) { copy(data[mib/2:], NewFixed(mib/2, nil).footer(t)) })},
		{RowForged, "a forged footer in a fixed disk's last sector", forged(func(t TB, data []byte) { copy(data[mib-FooterSize:], forgedDisk().footer(t)) })},
		{RowForged, "a whole dynamic disk inside a fixed one, its end at the other's end", forged(func(t TB, data []byte) {
			file := forgedDisk().Build(t)
			copy(data, file[:FooterSize+HeaderSize])
			copy(data[mib-len(file):], file)
		})},
		{RowForged, "a forged footer at the end of a dynamic disk's data", func(t TB) *HostileImage {
			img := plain()
			copy(img.Blocks[1].Data[2*mib-FooterSize:], NewFixed(mib, nil).footer(t))
			return whole(t, img)
		}},
	}
}

// forgedDisk is small, and whole in itself.
func forgedDisk() *Image {
	img := NewDynamic(64<<10, Block{Index: 0, Data: stripes(0xF0, 64<<10)})
	img.BlockSize = 64 << 10
	return img
}
