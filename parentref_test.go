package vhd_test

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
	"github.com/stretchr/testify/require"
)

func refsOf(t testing.TB, img *vhdtest.Image) []vhd.ParentRef {
	t.Helper()
	file := img.Build(t)
	m, err := vhd.Inspect(bytes.NewReader(file), int64(len(file)))
	require.NoError(t, err)
	return m.ParentRefs()
}

func TestParentRefsAreInTheOrderTried(t *testing.T) {
	all := childWith(
		vhdtest.Wi2k(`C:\d\ansi.vhd`), vhdtest.W2ku(`C:\d\x.vhd`), vhdtest.MacX("/d/mac.vhd"), vhdtest.Wi2r(`ansi.vhd`),
		vhdtest.Mac(macAlias("alias.vhd")), vhdtest.W2ru(`.\x.vhd`),
	)
	all.ParentName = "header.vhd"
	tests := []struct {
		name string
		img  *vhdtest.Image
		want []vhd.ParentRef
	}{
		{"all of them", all, []vhd.ParentRef{
			{Origin: "W2ru", Path: `.\x.vhd`}, {Origin: "header", Path: "header.vhd"}, {Origin: "Wi2r", Path: "ansi.vhd"},
			{Origin: "Mac ", Path: "alias.vhd"}, {Origin: "MacX", Path: "file://localhost/d/mac.vhd"},
			{Origin: "W2ku", Path: `C:\d\x.vhd`}, {Origin: "Wi2k", Path: `C:\d\ansi.vhd`},
		}},
		{"Windows 10", like(func(img *vhdtest.Image) { img.LikeWindows10(elsewhere, nearby) }), []vhd.ParentRef{
			{Origin: "W2ru", Path: nearby}, {Origin: "header", Path: elsewhere}, {Origin: "W2ku", Path: elsewhere},
		}},
		{"Windows 7", like(func(img *vhdtest.Image) { img.LikeWindows7(elsewhere, nearby, 1) }), []vhd.ParentRef{
			{Origin: "W2ru", Path: nearby}, {Origin: "header", Path: elsewhere}, {Origin: "W2ku", Path: elsewhere},
		}},
		{"Virtual PC", like(func(img *vhdtest.Image) { img.LikeVirtualPC(elsewhere, "base.vhd", "base.vhd", 1) }), []vhd.ParentRef{
			{Origin: "W2ru", Path: "base.vhd"}, {Origin: "header", Path: "base.vhd"}, {Origin: "Wi2r", Path: "base.vhd"},
			{Origin: "W2ku", Path: elsewhere}, {Origin: "Wi2k", Path: elsewhere},
		}},
		{"several of one kind, as they stand", childWith(vhdtest.W2ru("1"), vhdtest.W2ru("2"), vhdtest.W2ru("3")), []vhd.ParentRef{
			{Origin: "W2ru", Path: "1"}, {Origin: "W2ru", Path: "2"}, {Origin: "W2ru", Path: "3"},
		}},
		{"a relative path under an absolute one's code is relative", childWith(vhdtest.W2ru(elsewhere), vhdtest.W2ku("x.vhd")), []vhd.ParentRef{
			{Origin: "W2ku", Path: "x.vhd"}, {Origin: "W2ru", Path: elsewhere},
		}},
		{"a relative URL as Xen writes it is relative", childWith(vhdtest.W2ku(elsewhere), vhdtest.MacXRaw("file://./base.vhd")), []vhd.ParentRef{
			{Origin: "MacX", Path: "file://./base.vhd"}, {Origin: "W2ku", Path: elsewhere},
		}},
		{"none", childWith(), nil},
		{"a dynamic disk's header is not looked at", func() *vhdtest.Image {
			img := vhdtest.NewDynamic(chainSize)
			img.ParentName, img.Locators[0] = "x.vhd", vhdtest.W2ru("x.vhd")
			return img
		}(), nil},
		{"a fixed disk has none", stampedParent(right), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, refsOf(t, tt.img))
		})
	}
}

func TestParentRefsAreDecoded(t *testing.T) {
	tests := []struct {
		name string
		img  *vhdtest.Image
		want string
	}{
		{"UTF-16 beyond the first plane", childWith(vhdtest.W2ru("𝄞 ж.vhd")), "𝄞 ж.vhd"},
		{"UTF-16 up to a zero", childWith(vhdtest.W2ru("x.vhd\x00rest")), "x.vhd"},
		{"ANSI", childWith(vhdtest.Wi2r("Größe.vhd")), "Größe.vhd"},
		{"a URL stays one", childWith(vhdtest.MacXRaw("file://localhost/a%20b")), "file://localhost/a%20b"},
		{"a long path", childWith(vhdtest.W2ru(strings.Repeat("long/", 6000) + "x")), strings.Repeat("long/", 6000) + "x"},
		{"the header's name", childNaming("ディスク 𝄞"), "ディスク 𝄞"},
		{"the header's name that fills its field", childNaming(strings.Repeat("n", 256)), strings.Repeat("n", 256)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			refs := refsOf(t, tt.img)
			require.Len(t, refs, 1)
			require.Equal(t, tt.want, refs[0].Path)
		})
	}
}

func TestAReferenceThatCannotBeReadIsListedToo(t *testing.T) {
	tooLong, outside := vhdtest.W2ru("x.vhd"), vhdtest.W2ru("y.vhd")
	tooLong.Length = 1 << 31
	outside.Length = 60_000
	unknown := vhdtest.Locator{Code: 0x01020304, Data: []byte("?")}
	refs := refsOf(t, childWith(tooLong, unknown, outside, vhdtest.Mac([]byte("no alias")), vhdtest.W2ku(elsewhere)))
	require.Len(t, refs, 5)
	require.Contains(t, refs, vhd.ParentRef{Origin: "W2ku", Path: elsewhere})
	for _, ref := range refs {
		require.NotEmpty(t, ref.Origin)
		require.Equal(t, ref.Origin == "W2ku", ref.Path != "", "%v", ref)
	}
}

// The name that the attempt is about, the reference that led there, and why it
// is not the parent.
type attempt struct {
	origin, name string
	err          error
}

func TestParentErrorTellsEveryAttemptInItsOrder(t *testing.T) {
	for _, tr := range eachTree(t) {
		t.Run(tr.kind, func(t *testing.T) {
			tr.put(t, "d/base.vhd", stampedParent(wrong))
			tr.write(t, "d/junk.vhd", make([]byte, 4096))
			tr.put(t, "pool/Base.vhd", stampedParent(wrong))
			child := childWith(
				vhdtest.W2ku(`C:\x\gone.vhd`), vhdtest.W2ru(nearby), vhdtest.W2ru(`..\..\..\..\..\..\..\..\..\..\outside.vhd`),
				vhdtest.W2ru(`.\junk.vhd`), vhdtest.W2ru(`.\x:s`), vhdtest.W2ru(`.\child.vhd`),
			)
			tr.put(t, "d/child.vhd", child)
			opts := vhd.Options{Search: []string{"d"}, MapPath: func(stored string) []string {
				if stored == nearby {
					return []string{tr.name("d/mapped.vhd")}
				}
				return nil
			}}
			err := parentError(t, tr.fails(t, "d/child.vhd", opts))
			require.Equal(t, tr.name("d/child.vhd"), err.Child)
			want := []attempt{
				{"W2ru", tr.name("d/mapped.vhd"), fs.ErrNotExist},
				{"W2ru", tr.name("d/base.vhd"), vhd.ErrParentMismatch},
				{"W2ru", "", vhd.ErrOutsideRoot}, // outside.vhd, at the very top
				{"W2ru", tr.name("d/junk.vhd"), vhd.ErrFormat},
				{"W2ru", tr.name("d/child.vhd"), vhd.ErrChainLoop},
				{"W2ru", "", vhd.ErrOutsideRoot}, // a stream: it has no name
				{"W2ku", tr.name("d/gone.vhd"), fs.ErrNotExist},
				{"W2ku", tr.name("d/x/gone.vhd"), fs.ErrNotExist},
			}
			var got []string
			for _, a := range err.Attempts {
				got = append(got, a.String())
			}
			require.GreaterOrEqual(t, len(got), len(want), "%q", got)
			at := 0
			for _, w := range want {
				a := err.Attempts[at]
				require.Equal(t, w.origin, a.Ref.Origin, "%q", got)
				if w.name != "" {
					require.Equal(t, w.name, a.Name, "%q", got)
				}
				require.ErrorIs(t, a.Err, w.err, "%q", got)
				at++
			}
			require.ErrorIs(t, err, vhd.ErrChainLoop)
			require.Contains(t, err.Error(), "junk.vhd")
		})
	}
}

func TestAttemptsByOtherCaseComeAfterTheExactName(t *testing.T) {
	if caseFolds(t) {
		t.Skip("the file system here folds case itself")
	}
	for _, tr := range eachTree(t) {
		t.Run(tr.kind, func(t *testing.T) {
			tr.put(t, "d/Base.vhd", stampedParent(wrong))
			tr.put(t, "d/child.vhd", childWith(vhdtest.W2ru(nearby)))
			err := parentError(t, tr.fails(t, "d/child.vhd", vhd.Options{}))
			require.Len(t, err.Attempts, 2)
			require.Equal(t, tr.name("d/base.vhd"), err.Attempts[0].Name)
			require.ErrorIs(t, err.Attempts[0].Err, fs.ErrNotExist)
			require.Equal(t, tr.name("d/Base.vhd"), err.Attempts[1].Name)
			require.ErrorIs(t, err.Attempts[1].Err, vhd.ErrParentMismatch)
			require.ErrorIs(t, err, vhd.ErrParentMismatch)
		})
	}
}

func TestParentErrorIsTheMostTellingReason(t *testing.T) {
	const outside = `..\outside.vhd`
	gone, loop, mismatch, beyond := vhdtest.W2ru(`.\gone.vhd`), vhdtest.W2ru(`.\child.vhd`), vhdtest.W2ru(`.\wrong.vhd`), vhdtest.W2ru(outside)
	tests := []struct {
		name  string
		child *vhdtest.Image
		want  error
		nots  []error
	}{
		{"nothing stored", childWith(), vhd.ErrParentNotFound, []error{vhd.ErrOutsideRoot, vhd.ErrParentMismatch}},
		{"not there", childWith(gone), vhd.ErrParentNotFound, []error{vhd.ErrOutsideRoot, vhd.ErrParentMismatch}},
		{"not there, on another machine", childWith(gone, vhdtest.W2ku(elsewhere)), vhd.ErrParentNotFound, []error{vhd.ErrOutsideRoot}},
		{"not there, as Xen writes it", childWith(vhdtest.MacXRaw("file://./gone.vhd")), vhd.ErrParentNotFound, []error{vhd.ErrOutsideRoot}},
		{"not there, and a locator that can't be read", childWith(gone, vhdtest.Mac([]byte("?"))), vhd.ErrParentNotFound, []error{vhd.ErrOutsideRoot}},
		{"outside", childWith(gone, beyond), vhd.ErrOutsideRoot, []error{vhd.ErrParentNotFound}},
		{"mismatch after outside", childWith(beyond, gone, mismatch), vhd.ErrParentMismatch, []error{vhd.ErrOutsideRoot, vhd.ErrParentNotFound}},
		{"mismatch before outside", childWith(mismatch, beyond), vhd.ErrParentMismatch, nil},
		{"loop after all others", childWith(beyond, gone, mismatch, loop), vhd.ErrChainLoop, []error{vhd.ErrParentMismatch}},
		{"loop before all others", childWith(loop, mismatch, beyond, gone), vhd.ErrChainLoop, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, tr := range eachTree(t) {
				t.Run(tr.kind, func(t *testing.T) {
					tr.put(t, "outside.vhd", stampedParent(right))
					tr.put(t, "d/wrong.vhd", stampedParent(wrong))
					tr.put(t, "d/child.vhd", tt.child)
					err := parentError(t, tr.fails(t, "d/child.vhd", vhd.Options{}))
					require.ErrorIs(t, err.Err, tt.want)
					for _, not := range tt.nots {
						require.NotErrorIs(t, err, not)
					}
					require.Equal(t, 1, strings.Count(strings.ReplaceAll(err.Error(), ".vhd: ", ""), "vhd: "), "%v", err)
					if errors.Is(tt.want, vhd.ErrOutsideRoot) {
						require.Contains(t, err.Error(), "Root", "it names the option that would allow it")
					}
				})
			}
		})
	}
}

func TestAMissingGrandparentIsThatOfItsChild(t *testing.T) {
	for _, tr := range eachTree(t) {
		t.Run(tr.kind, func(t *testing.T) {
			tr.put(t, "d/child.vhd", childNamed(childID, parentID, vhdtest.W2ru(`.\mid.vhd`)))
			tr.put(t, "d/mid.vhd", childNamed(parentID, wrongID, vhdtest.W2ru(`.\gone.vhd`)))
			err := parentError(t, tr.fails(t, "d/child.vhd", vhd.Options{}))
			require.Equal(t, tr.name("d/mid.vhd"), err.Child)
			require.ErrorIs(t, err, vhd.ErrParentNotFound)
		})
	}
}
