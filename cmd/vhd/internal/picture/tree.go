package picture

// Tree is what a picture of images shows: who is whose child.
type Tree struct {
	Title   string // what the images are in
	Summary string // all in a sentence
	Images  []TreeImage
}

// TreeImage is a box in the picture.
type TreeImage struct {
	Parent   int    // which of Tree.Images, where it stands before its children; negative: none
	Name     string // shortened in the box, whole in the tooltip
	Type     string // fixed, dynamic, differencing, or empty: it is not known
	Detail   string // the box's second line; empty: it has none
	Bytes    int64  // the size of its file, which the box's bar shows
	Absent   bool   // it is a parent that is not among the images
	Note     string // what is special about it; empty: nothing
	Broken   bool   // Note tells what is wrong
	Cut      bool   // its parent is not to be had: the edge to it is broken
	Doubtful bool   // its parent's file was changed since: it may be worthless
	Tooltip  string // in lines
}

// The layout of the picture, in pixels.
const (
	treeBoxWidth   = 222
	treeLineHeight = 15 // of a line of text
	treePadding    = 9  // below the last one
	treeBarHeight  = 7  // what the bar takes
	treeAnchor     = 11 // where edges leave and enter a box, from its left
	treeGutter     = 22 // how far the children of one are to its right, if they are several
	treeGap        = 14 // between boxes beside one another
	treeDrop       = 20 // between a box and those below it: edges run here
	treeRootGap    = 16 // between trees, besides treeDrop

	treeColumns   = 5 // boxes beside one another, one less where they are moved to the right: so a page of 1200 has room
	treeWidth     = treeColumns*treeBoxWidth + (treeColumns-1)*treeGap
	treeFoldAfter = 12 // a chain without branches that is longer is drawn in columns,
	treeFoldRows  = 8  // each of so many boxes at least
)

// treeLayout is where all boxes are. An image with its descendants is a block: its box in
// the corner, an only child right below it, and several children beside one another, in as
// many shelves as they need.
type treeLayout struct {
	boxes         []treeBox
	roots         []int
	width, height int
}

type treeBox struct {
	parent   int
	children []int
	fold     []int // of the first one of a long chain: all of it, which is drawn in columns
	folded   bool  // it is in such a chain
	level    int   // how many of its ancestors have several children: so often it is moved to the right

	x, y, height  int
	width, bottom int // of the block: how wide it is, and how high
}

// height is that of an image's box.
func (image *TreeImage) height() int {
	n := treePadding + treeLineHeight*(image.nameLines()+len(image.noteLines()))
	if image.Detail != "" {
		n += treeLineHeight
	}
	if image.hasBar() {
		n += treeBarHeight
	}
	return n
}

func (image *TreeImage) hasBar() bool { return !image.Absent }

// newTreeLayout finds a place for each box. There is no recursion in it: a chain is as deep
// as whoever made the images likes.
func newTreeLayout(images []TreeImage) *treeLayout {
	l := &treeLayout{boxes: make([]treeBox, len(images))}
	for i := range images {
		b := &l.boxes[i]
		b.parent, b.height = images[i].Parent, images[i].height()
		if b.parent < 0 {
			l.roots = append(l.roots, i)
			continue
		}
		parent := &l.boxes[b.parent]
		parent.children = append(parent.children, i)
	}
	for i := range l.boxes {
		l.find(i)
	}
	for i := len(l.boxes) - 1; i >= 0; i-- {
		l.measure(&l.boxes[i])
	}
	l.width, l.height = l.shelve(l.roots, treeWidth, treeDrop+treeRootGap, func(i, x, y int) { l.boxes[i].x, l.boxes[i].y = x, y })
	for i := range l.boxes {
		l.place(&l.boxes[i])
	}
	return l
}

// find finds the level of a box, and whether a chain to be folded begins with it.
func (l *treeLayout) find(i int) {
	b := &l.boxes[i]
	if b.parent >= 0 {
		above := &l.boxes[b.parent]
		if b.level = above.level; len(above.children) == 1 {
			return
		}
		b.level++
	}
	chain := []int{i}
	for at := b; len(at.children) == 1; at = &l.boxes[at.children[0]] {
		chain = append(chain, at.children[0])
	}
	if len(chain) <= treeFoldAfter || len(l.boxes[chain[len(chain)-1]].children) > 0 {
		return
	}
	b.fold = chain
	for _, member := range chain {
		l.boxes[member].folded = true
	}
}

// room is how wide a block of a level may be before its boxes go to another shelf.
func (b *treeBox) room() int { return max(treeBoxWidth, treeWidth-b.level*treeGutter) }

// measure finds the size of a block, whose children have theirs.
func (l *treeLayout) measure(b *treeBox) {
	ignore := func(int, int, int) {}
	switch {
	case b.fold != nil:
		b.width, b.bottom = l.columns(b, ignore)
	case len(b.children) == 0:
		b.width, b.bottom = treeBoxWidth, b.height
	case len(b.children) == 1:
		child := &l.boxes[b.children[0]]
		b.width, b.bottom = child.width, b.height+treeDrop+child.bottom
	default:
		width, height := l.shelve(b.children, b.room()-treeGutter, treeDrop, ignore)
		b.width, b.bottom = treeGutter+width, b.height+treeDrop+height
	}
}

// place places the children of a box that has its place.
func (l *treeLayout) place(b *treeBox) {
	put := func(left, top int) func(i, x, y int) {
		return func(i, x, y int) { l.boxes[i].x, l.boxes[i].y = left+x, top+y }
	}
	switch {
	case b.fold != nil:
		l.columns(b, put(b.x, b.y))
	case b.folded || len(b.children) == 0:
	case len(b.children) == 1:
		put(b.x, b.y+b.height+treeDrop)(b.children[0], 0, 0)
	default:
		l.shelve(b.children, b.room()-treeGutter, treeDrop, put(b.x+treeGutter, b.y+b.height+treeDrop))
	}
}

// shelve puts blocks beside one another, and where there is no more room below those. It
// returns the size of all.
func (l *treeLayout) shelve(blocks []int, room, gap int, put func(i, x, y int)) (width, height int) {
	x, y := 0, 0
	for _, i := range blocks {
		b := &l.boxes[i]
		if x > 0 && x+b.width > room {
			x, y = 0, height+gap
		}
		put(i, x, y)
		width, height = max(width, x+b.width), max(height, y+b.bottom)
		x += b.width + treeGap
	}
	return width, height
}

// columns puts the boxes of a folded chain below one another, in several columns.
func (l *treeLayout) columns(b *treeBox, put func(i, x, y int)) (width, height int) {
	ncolumns := max(1, (b.room()+treeGap)/(treeBoxWidth+treeGap))
	nrows := max(treeFoldRows, (len(b.fold)+ncolumns-1)/ncolumns)
	x, y := 0, 0
	for nth, i := range b.fold {
		if nth > 0 && nth%nrows == 0 { // the edge there runs below the column
			height = max(height, y-treeDrop/2+1)
			x, y = x+treeBoxWidth+treeGap, 0
		}
		put(i, x, y)
		width, height = x+treeBoxWidth, max(height, y+l.boxes[i].height)
		y += l.boxes[i].height + treeDrop
	}
	return width, height
}
