package vhdtest

// oddChains are chains that are sound, and that some readers refuse or get wrong.
func oddChains() []HostileRecipe {
	return []HostileRecipe{
		{RowOddChain, "a child larger than its parent", chainLike(func(child, base *Image) {
			child.Size = base.Size + 3*mib
			child.Blocks = append(child.Blocks, Block{Index: 3, Data: stripes(0x22, 2*mib)})
		})},
		{RowOddChain, "a child smaller than its parent", chainLike(func(child, _ *Image) { child.Size = mib + SectorSize })},
		{RowOddChain, "a middle image smaller than the other two", smallMiddle},
		{RowOddChain, "bits that change with every sector", bitsLike(func(sector int) bool { return sector%2 == 1 })},
		{RowOddChain, "one bit clear in a whole block", bitsLike(func(sector int) bool { return sector != 1001 })},
		{RowOddChain, "one bit set in a whole block", bitsLike(func(sector int) bool { return sector == 1001 })},
		{RowOddChain, "a first bit that is not the block's", bitsLike(func(sector int) bool { return sector >= 3 })},
		{RowOddChain, "a block without any bit", bitsLike(func(int) bool { return false })},
		{RowOddChain, "zeros in a child over a parent's data", chainLike(func(child, _ *Image) {
			child.Blocks = []Block{{Index: 0}}
		})},
		{RowOddChain, "a child of smaller blocks than its parent", chainLike(func(child, _ *Image) {
			child.BlockSize = 512 << 10
			child.Blocks = []Block{{Index: 3, Data: stripes(0x22, 512<<10)}, {Index: 9, Data: stripes(0x23, 512<<10)}}
		})},
		{RowOddChain, "a child of larger blocks than its parent", chainLike(func(child, _ *Image) {
			child.BlockSize = 4 * mib
			child.Blocks[0].Bitmap = Bitmap(8192, func(sector int) bool { return sector/8%2 == 0 })
		})},
		{RowOddChain, "a child of a fixed disk with a footer of 511 bytes", childOf511},
		{RowOddChain, "a child of Windows 10", chainLike(func(child, _ *Image) { child.LikeWindows10(`C:\gone\base.vhd`, `.\base.vhd`) })},
		{RowOddChain, "a child of Windows 7", chainLike(func(child, base *Image) { child.LikeWindows7(`C:\gone\base.vhd`, `.\base.vhd`, base.Time) })},
		{RowOddChain, "a child of Virtual PC, with four locators in the last slots", chainLike(func(child, base *Image) {
			child.LikeVirtualPC(`C:\gone\base.vhd`, `.\base.vhd`, "base.vhd", base.Time)
		})},
		{RowOddChain, "a parent's time that is an hour off", chainLike(func(child, base *Image) { child.ParentTime = base.Time + 3600 })},
		{RowOddChain, "a locator's space in sectors", chainLike(func(child, _ *Image) { child.Locators[0].SpaceInSectors = true })},
		{RowOddChain, "a locator's space of 65,536 bytes that are not there", chainLike(func(child, _ *Image) { child.Locators[0].Space = 65536 })},
		{RowOddChain, "a locator's space of 2^32-1", chainLike(func(child, _ *Image) { child.Locators[0].Space = 1<<32 - 1 })},
		{RowOddChain, "a relative path without the dot", referring(W2ru(`base.vhd`))},
		{RowOddChain, "a relative path through the directory itself", referring(W2ru(`.\.\.\base.vhd`))},
		{RowOddChain, "a relative path with slashes", referring(W2ru(`./base.vhd`))},
		{RowOddChain, "a name in other letters' case", referring(W2ru(`.\BASE.VHD`))},
		{RowOddChain, "a file URL alone", referring(MacXRaw("file://./base.vhd"))},
		{RowOddChain, "an absolute path of another machine alone", referring(W2ku(`C:\d\base.vhd`))},
		{RowOddChain, "a deprecated relative path alone", referring(Wi2r(`.\base.vhd`))},
		{RowOddChain, "a name that is not ASCII", func(t TB) *HostileImage {
			base := plainBase()
			return wholeChain(t, chainOf([]*Image{plainChild(base, "Платте ä 𝄞.vhd"), base}, "Платте ä 𝄞.vhd"))
		}},
		{RowOddChain, "a stale copy where the absolute path leads", staleCopy},
		{RowOddChain, "another disk where the first path leads", otherDiskFirst},
		{RowOddChain, "identifiers of zeros", chainLike(func(child, base *Image) {
			base.ID, child.ID, child.ParentID = [16]byte{}, [16]byte{}, [16]byte{}
		})},
		{RowOddChain, "gaps of junk in a child", chainLike(func(child, _ *Image) {
			child.Blocks[0].Gap, child.Slack, child.SlackByte = 64<<10, 64<<10, 0xC7
		})},
	}
}

// bitsLike is a plain chain whose child has other bits, over data of its own everywhere: where they are clear that
// is junk.
func bitsLike(present func(sector int) bool) func(t TB) *HostileImage {
	return chainLike(func(child, _ *Image) { child.Blocks[0].Bitmap = Bitmap(4096, present) })
}

// smallMiddle reads as zeros past the middle's end, whatever the base has there.
func smallMiddle(t TB) *HostileImage {
	t.Helper()
	base := plainBase()
	mid := plainChild(base, "base.vhd")
	mid.Size = mib
	leaf := NewChild(mid, "mid.vhd", Block{Index: 1, Data: stripes(0x31, 2*mib)})
	leaf.Size = hostileSize
	return wholeChain(t, chainOf([]*Image{leaf, mid, base}, "mid.vhd", "base.vhd"))
}

func childOf511(t TB) *HostileImage {
	t.Helper()
	base := NewFixed(hostileSize, stripes(0x11, hostileSize))
	base.Footer = Footer511
	return wholeChain(t, chainOf([]*Image{plainChild(base, "base.vhd"), base}, "base.vhd"))
}

// staleCopy has a disk with the parent's identifier, and older bytes, where the absolute path ends.
func staleCopy(t TB) *HostileImage {
	t.Helper()
	h := referring(W2ku(`C:\d\stale.vhd`), W2ru(`.\base.vhd`))(t)
	stale := plainBase()
	stale.Blocks[0].Data = stripes(0x77, 2*mib)
	h.Files["stale.vhd"] = stale.Build(t)
	return h
}

// otherDiskFirst has a disk of another identifier under the first name, and the right one under the second.
func otherDiskFirst(t TB) *HostileImage {
	t.Helper()
	h := referring(W2ru(`.\other.vhd`), W2ru(`.\base.vhd`))(t)
	other := plainBase()
	other.ID[0]++
	other.Blocks[0].Data = stripes(0x77, 2*mib)
	h.Files["other.vhd"] = other.Build(t)
	return h
}
