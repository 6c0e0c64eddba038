package vhdtest

// LikeWindows10 gives a child what Windows 10 writes: W2ku before the BAT, W2ru behind it, the header holds the
// parent's full path, no parent time, and everything in pages of 4 KiB. The paths are the parent's, `C:\d\x.vhd`
// and `.\x.vhd`. Like the two below it is called when the size and the blocks are set.
func (img *Image) LikeWindows10(absolute, relative string) {
	const page = 4096
	img.BATOff = 2 * page
	img.BATArea = roundUp(4*img.maxEntries(), page)
	w2ku, w2ru := W2ku(absolute).At(page), W2ru(relative).At(img.BATOff+img.BATArea)
	w2ku.Area, w2ru.Area = page, 16*page
	img.Locators = [8]Locator{w2ku, w2ru}
	img.ParentName, img.ParentTime = absolute, 0
	img.EndAlign = page
	for i := range img.Blocks {
		img.Blocks[i].Align = page
	}
}

// LikeWindows7 gives a child what Windows 7 writes: W2ku right behind the header, then the BAT, then W2ru; the
// header holds the parent's full path, and the parent time is that in the parent's footer. Nothing is aligned.
func (img *Image) LikeWindows7(absolute, relative string, parentTime uint32) {
	img.BATOff = 0x800
	table := roundUp(4*img.maxEntries(), SectorSize)
	img.Locators = [8]Locator{W2ku(absolute).At(0x600), W2ru(relative).At(max(0x1000, img.BATOff+table))}
	img.ParentName, img.ParentTime = absolute, parentTime
}

// LikeVirtualPC gives a child what Virtual PC writes: the first four slots are empty, the others hold two paths
// in two encodings each, and the header holds the parent's name without its directory.
func (img *Image) LikeVirtualPC(absolute, relative, name string, parentTime uint32) {
	img.BATOff = 0x600
	first := roundUp(img.BATOff+4*img.maxEntries(), SectorSize) + SectorSize
	img.Locators = [8]Locator{
		4: W2ku(absolute).At(first + 3*SectorSize),
		5: W2ru(relative).At(first + 2*SectorSize),
		6: Wi2k(absolute).At(first + SectorSize),
		7: Wi2r(relative).At(first),
	}
	img.App, img.AppVersion = "vpc ", 0x00010000
	img.ParentName, img.ParentTime = name, parentTime
}
