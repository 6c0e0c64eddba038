package picture

// A name in a box has this much room. Where it has more letters than one line has, it has two.
const (
	treeNameColumns = 27 // of a line
	treeNameLines   = 2
)

// shortNames are the names of images as their boxes have room for them. Those that differ stay different.
func shortNames(images []TreeImage) []string {
	const most = treeNameColumns*treeNameLines - (treeNameLines - 1) // a wide letter may not fit at the end of a line
	short := make([]string, len(images))
	for i := range images {
		short[i] = shorten(images[i].Name, most)
	}
	for range 16 { // each time the names of a group differ further behind
		groups := alike(images, short)
		for _, group := range groups {
			at := commonLetters(images, group)
			for _, i := range group {
				short[i] = shortenAround([]rune(images[i].Name), most, at)
			}
		}
		if len(groups) == 0 {
			break
		}
	}
	return short
}

// alike are the images, in groups, that share a short name and have several names.
func alike(images []TreeImage, short []string) (groups [][]int) {
	all := map[string][]int{}
	for i, s := range short {
		if s != images[i].Name {
			all[s] = append(all[s], i)
		}
	}
	for i, s := range short { // in order
		group := all[s]
		delete(all, s)
		for _, other := range group {
			if images[other].Name != images[i].Name {
				groups = append(groups, group)
				break
			}
		}
	}
	return groups
}

// commonLetters is how many letters the names of a group begin with alike.
func commonLetters(images []TreeImage, group []int) int {
	common := []rune(images[group[0]].Name)
	for _, i := range group[1:] {
		n := 0
		for _, r := range images[i].Name {
			if n == len(common) || r != common[n] {
				break
			}
			n++
		}
		if images[i].Name != images[group[0]].Name {
			common = common[:n]
		}
	}
	return len(common)
}

// shortenAround is shorten, but that the letters around one of them stay.
func shortenAround(letters []rune, columns, at int) string {
	const before = 4 // letters
	head := lineOf(letters, columns/3)
	rest := letters[max(len(head), at-before):]
	room := columns - columnsOf(head) - 1
	if columnsOf(rest) <= room {
		return string(head) + "…" + string(rest)
	}
	return string(head) + "…" + string(lineOf(rest, room-1)) + "…"
}

// lineOf is as many letters as there is room for.
func lineOf(letters []rune, columns int) []rune {
	n, wide := 0, 0
	for n < len(letters) {
		if wide += columnsOf(letters[n : n+1]); wide > columns {
			break
		}
		n++
	}
	return letters[:n]
}

// nameLines is how many lines the name has.
func (image *TreeImage) nameLines() int {
	if columnsOf([]rune(image.Name)) > treeNameColumns {
		return treeNameLines
	}
	return 1
}

// inLines is a short name in lines.
func inLines(short string) (lines []string) {
	letters := []rune(short)
	for len(letters) > 0 && len(lines) < treeNameLines {
		line := lineOf(letters, treeNameColumns)
		lines, letters = append(lines, string(line)), letters[len(line):]
	}
	return lines
}
