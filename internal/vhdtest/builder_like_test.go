package vhdtest

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAChildLikeVirtualPCsHasItsHeader(t *testing.T) {
	fragment := Corpus(t).Fragment(t, "libvhdi-virtualpc-differencing-dynheader.bin")
	img := &Image{Type: Differencing, Size: 512 << 20, ParentID: [16]byte(fragment[40:56])}
	// The fragment doesn't hold the paths. Its lengths are those of these.
	img.LikeVirtualPC(`C:\images\dynamic.vhd`, `.\dynamic.vhd`, "dynamic.vhd", 0x1922077C)
	require.Equal(t, fragment, Header(t, img.Build(t)))
}

func TestChildrenLikeOthersAreFoundByTheReadersOfChains(t *testing.T) {
	parent := NewDynamic(6<<20, Block{Index: 1, Data: []byte("parent")})
	parent.Time = 12345
	shapes := map[string]func(img *Image){
		"Windows 10": func(img *Image) { img.LikeWindows10(`C:\gone\parent.vhd`, `.\parent.vhd`) },
		"Windows 7":  func(img *Image) { img.LikeWindows7(`C:\gone\parent.vhd`, `.\parent.vhd`, parent.Time) },
		"Virtual PC": func(img *Image) {
			img.LikeVirtualPC(`C:\gone\parent.vhd`, `.\parent.vhd`, "parent.vhd", parent.Time)
		},
	}
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			child := NewChild(parent, "parent.vhd", Block{Index: 2, Data: []byte("child")}, Block{Index: 0})
			shape(child)
			c := &Chain{Images: []*Image{child, parent}, Names: []string{"child.vhd", "parent.vhd"}}
			requireContent(t, c, SevenZip.Content(t, c.WriteDir(t, t.TempDir())...))
			requireContent(t, c, Libvhdi.Content(t, c.WriteDir(t, t.TempDir())...))
		})
	}
}
