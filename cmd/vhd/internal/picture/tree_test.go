package picture

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// chainOf is a tree of n images of which each is the only child of the one before.
func chainOf(n int) Tree {
	tree := Tree{Title: "chain", Summary: "a chain"}
	for i := range n {
		tree.Images = append(tree.Images, TreeImage{Parent: i - 1, Name: fmt.Sprintf("s%02d.vhd", i), Type: "differencing", Detail: "small", Bytes: 1})
	}
	return tree
}

// fanOf is a tree of one image and its n children.
func fanOf(n int) Tree {
	tree := chainOf(1)
	for range n {
		tree.Images = append(tree.Images, TreeImage{Parent: 0, Name: "child.vhd", Type: "differencing", Detail: "small", Note: "a note"})
	}
	return tree
}

// bushOf is a tree of n images, each of which has up to three children.
func bushOf(n int) Tree {
	tree := Tree{}
	var add func(parent, below int)
	add = func(parent, below int) {
		tree.Images = append(tree.Images, TreeImage{Parent: parent, Name: "i.vhd", Absent: parent < 0, Broken: parent < 0, Note: strings.Repeat("why ", below%20)})
		self := len(tree.Images) - 1
		for part := range 3 {
			if left := (below - 1 + part) / 3; left > 0 {
				add(self, left)
			}
		}
	}
	add(-1, n)
	return tree
}

func TestNoBoxOfATreeCoversAnother(t *testing.T) {
	forest := Tree{}
	for range 30 {
		forest.Images = append(forest.Images, TreeImage{Parent: -1})
	}
	for name, tree := range map[string]Tree{
		"none": {}, "one": chainOf(1), "chain": chainOf(12), "folded": chainOf(64), "long": chainOf(300), "fan": fanOf(200), "bush": bushOf(300), "forest": forest,
	} {
		l := newTreeLayout(tree.Images)
		for i, a := range l.boxes {
			require.LessOrEqual(t, a.x+treeBoxWidth, l.width, name)
			require.LessOrEqual(t, a.y+a.height, l.height, name)
			if a.parent >= 0 && !a.folded {
				require.GreaterOrEqual(t, a.y, l.boxes[a.parent].y+l.boxes[a.parent].height+treeDrop, "%s: a child is below its parent", name)
			}
			for _, b := range l.boxes[:i] {
				require.True(t, a.x >= b.x+treeBoxWidth || b.x >= a.x+treeBoxWidth || a.y >= b.y+b.height || b.y >= a.y+a.height, name)
			}
		}
	}
}

func TestEdgesToTheNextColumnAreInThePicture(t *testing.T) {
	for _, n := range []int{13, 64, 300} {
		l, nedges := newTreeLayout(chainOf(n).Images), 0
		for _, b := range l.boxes[1:] {
			if parent := l.boxes[b.parent]; b.y <= parent.y {
				require.Less(t, parent.y+parent.height+treeDrop/2, l.height)
				nedges++
			}
		}
		require.NotZero(t, nedges)
	}
}

func TestATreeFitsAScreenAsWideAsItsColumns(t *testing.T) {
	const page = 1200 - 2*16 // and its margins
	for _, tree := range []Tree{chainOf(64), chainOf(1000), fanOf(200), bushOf(200)} {
		require.LessOrEqual(t, newTreeLayout(tree.Images).width, page)
	}
	require.Less(t, newTreeLayout(chainOf(64).Images).height, 1000)
	require.Equal(t, treeBoxWidth, newTreeLayout(chainOf(12).Images).width, "it needs no columns")
}

// requireXML says that a document is one, and returns the text in it.
func requireXML(t *testing.T, document []byte) string {
	t.Helper()
	var text strings.Builder
	for dec := xml.NewDecoder(strings.NewReader(string(document))); ; {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return text.String()
		}
		require.NoError(t, err)
		if data, ok := token.(xml.CharData); ok {
			text.Write(data)
		}
	}
}

// Not all that show drawings know variables in their styles.
func TestNoDrawingNeedsVariables(t *testing.T) {
	for _, svg := range []string{string(chainOf(3).SVG()), drawn(t, mapOf(1, 3, 100, extent{5, 1}))} {
		require.NotContains(t, svg, "var(")
		require.Contains(t, svg, "@media(prefers-color-scheme:dark)")
	}
}

func TestTheSVGOfATreeIsTheSameEachTime(t *testing.T) {
	for _, tree := range []Tree{{}, chainOf(64), fanOf(200), bushOf(100), chainOf(20000)} {
		svg := tree.SVG()
		requireXML(t, svg)
		require.Equal(t, string(svg), string(tree.SVG()))
	}
}

func TestWhatIsWrongIsToldByMoreThanAColour(t *testing.T) {
	tree := Tree{Images: []TreeImage{
		{Parent: -1, Name: "gone.vhd", Absent: true, Broken: true, Note: "missing"},
		{Parent: 0, Name: "child.vhd", Type: "differencing", Cut: true},
		{Parent: -1, Name: "elsewhere.vhd", Absent: true, Note: "outside this folder"},
		{Parent: 2, Name: "other.vhd", Type: "differencing"},
		{Parent: -1, Name: "bad.vhd", Broken: true, Note: "not a valid VHD", Bytes: 5},
		{Parent: 3, Name: "old.vhd", Type: "differencing", Doubtful: true, Note: "changed since"},
	}}
	svg := string(tree.SVG())
	require.Equal(t, 1, strings.Count(svg, `<path class="cut"`))
	require.Equal(t, 1, strings.Count(svg, `<path class="edge"`))
	require.Equal(t, 2, strings.Count(svg, `<path class="cross"`), "one of them in the legend")
	text := requireXML(t, tree.SVG())
	require.Contains(t, text, "✕ missing")
	require.Contains(t, text, "✕ not a valid VHD")
	require.NotContains(t, text, "✕ outside")
	require.Equal(t, 1, strings.Count(svg, `<path class="doubt"`))
	require.Equal(t, 2, strings.Count(svg, `<path class="mark"`), "one of them in the legend")
	require.Contains(t, text, "! changed since")
	require.Regexp(t, `\.doubt\{[^}]*stroke-dasharray`, svg)
	require.Regexp(t, `\.cut\{[^}]*stroke-dasharray`, svg)
}

func TestNoNameGetsOutOfTheSVG(t *testing.T) {
	evil := "\"><script>alert(1)</script>&amp;'\x00\x1b[2J\xff\u202e\n"
	tree := Tree{Title: evil, Summary: evil, Images: []TreeImage{
		{Parent: -1, Name: evil, Type: evil, Detail: evil, Note: evil, Tooltip: evil, Broken: true, Bytes: 1},
	}}
	svg := tree.SVG()
	require.Contains(t, requireXML(t, svg), `"><script>alert(1)</script>&amp;'`, "whole in the tooltip")
	require.NotContains(t, string(svg), "<script")
	require.NotContains(t, string(svg), "\x1b")
}

func TestALongNameIsShortenedInTheMiddle(t *testing.T) {
	for _, c := range []struct {
		name    string
		columns int
		want    string
	}{
		{"short.vhd", 9, "short.vhd"},
		{"windows-10-alice.vhd", 11, "windo…e.vhd"},
		{"日本語の名前.vhd", 11, "日本語….vhd"},
		{"abc", 1, "…"},
		{"", 5, ""},
	} {
		got := shorten(c.name, c.columns)
		require.Equal(t, c.want, got)
		require.LessOrEqual(t, columnsOf([]rune(got)), c.columns)
	}
	tree := chainOf(1)
	tree.Images[0].Name = strings.Repeat("long-", 40) + "tail.vhd"
	text := requireXML(t, tree.SVG())
	require.Contains(t, text, tree.Images[0].Name)
	require.Contains(t, string(tree.SVG()), ">long-long-long-long-long-l…<")
	require.Contains(t, string(tree.SVG()), ">ng-long-long-long-tail.vhd<")
}

// namesIn are the names that stand in the boxes of a tree.
func namesIn(t *testing.T, tree Tree) (names []string) {
	t.Helper()
	for box := range strings.SplitSeq(string(tree.SVG()), `<g class="image`) {
		var name strings.Builder
		for _, line := range regexp.MustCompile(`<text class="name" [^>]*>([^<]*)<`).FindAllStringSubmatch(box, -1) {
			require.LessOrEqual(t, columnsOf([]rune(line[1])), treeNameColumns)
			name.WriteString(line[1])
		}
		if name.String() != "" {
			names = append(names, name.String())
		}
	}
	return names
}

func TestNamesThatDifferStayDifferent(t *testing.T) {
	long := strings.Repeat("long", 20)
	for _, format := range []string{
		"child number %02d with a rather long name that Windows people love (copy).vhd",
		"child with a rather long name that is number %02d of those that people love (copy).vhd",
		"%02d" + long + ".vhd", long + "%02d.vhd", long + "%02d" + long, long + long + "%02d" + long + long + ".vhd",
		strings.Repeat("日本", 20) + "%02d" + strings.Repeat("語", 40),
	} {
		tree, seen := chainOf(1), map[string]bool{}
		for i := range 40 {
			tree.Images = append(tree.Images, TreeImage{Name: fmt.Sprintf(format, i)})
		}
		for _, name := range namesIn(t, tree) {
			require.False(t, seen[name], "%s: %s", format, name)
			seen[name] = true
		}
		require.Len(t, seen, 41)
	}
	tree := fanOf(2)
	tree.Images[1].Name, tree.Images[2].Name = long, long
	require.Len(t, namesIn(t, tree), 3, "the same names are no reason to look on")
}

func TestANoteHasSeveralLinesAndNoMoreThanThree(t *testing.T) {
	image := TreeImage{Note: "missing: what is there has another identifier", Broken: true}
	require.Equal(t, []string{"✕ missing: what is there has another", "identifier"}, image.noteLines())
	image.Note = strings.Repeat("words ", 40)
	require.Len(t, image.noteLines(), 3)
	for _, line := range image.noteLines() {
		require.LessOrEqual(t, columnsOf([]rune(line)), treeLineColumns)
	}
	image = TreeImage{Note: " \n"}
	require.Empty(t, image.noteLines())
}
