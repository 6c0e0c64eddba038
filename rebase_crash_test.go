package vhd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// After any crash of an unsafe rebase the leaf reads as with the one parent or with
// the other.
func TestEveryCrashOfAnUnsafeRebaseLeavesTheOneOrTheOther(t *testing.T) {
	tree := newTinyTree(t, [2]string{"base.vhd", ""}, [2]string{"other.vhd", ""}, [2]string{"leaf.vhd", "base.vhd"})
	with := func(parent string) []byte {
		content := bytes.Clone(tree.content[parent])
		for _, sector := range []int{2, 5} { // what the leaf holds
			copy(sectorOfContent(content, sector), stamp(sector, 2))
		}
		return content
	}
	was, is := with("base.vhd"), with("other.vhd")
	require.Equal(t, tree.content["leaf.vhd"], was)
	look := func(state *vhdtest.MemFS) error {
		err := mustReadAs(state.Clone(), "leaf.vhd", "", was)
		if err != nil {
			err = mustReadAs(state, "leaf.vhd", "", is)
		}
		return err
	}
	work := func(fsys vhd.FS) error {
		disk, err := vhd.Open("leaf.vhd", &vhd.Options{FS: fsys, Writable: true})
		if err != nil {
			return err
		}
		err = disk.Rebase("other.vhd", vhd.RebaseOptions{Unsafe: true})
		return errors.Join(err, disk.Close())
	}
	crashEverywhere(t, tree.files, false, work, look)
	failEverywhere(t, tree.files, false, work, look)
	require.NoError(t, work(tree.files))
	require.NoError(t, mustReadAs(tree.files, "leaf.vhd", "", is))
}

// othersChildren are children as others make them, and such as have little room or
// odd places for what a header points to.
var othersChildren = []struct {
	name  string
	shape func(img, parent *vhdtest.Image)
}{
	{"Windows 10", func(img, _ *vhdtest.Image) { img.LikeWindows10(`C:\gone\base.vhd`, `.\base.vhd`) }},
	{"Windows 7", func(img, parent *vhdtest.Image) {
		img.LikeWindows7(`C:\gone\base.vhd`, `.\base.vhd`, parent.Time)
	}},
	{"Virtual PC", func(img, parent *vhdtest.Image) {
		img.LikeVirtualPC(`C:\gone\base.vhd`, `.\base.vhd`, "base.vhd", parent.Time)
	}},
	{"nothing is free", func(*vhdtest.Image, *vhdtest.Image) {}},
	{"no blocks", func(img, _ *vhdtest.Image) { img.Blocks = nil }},
	{"the header is elsewhere", func(img, _ *vhdtest.Image) { img.HeaderOff = 8192 }},
	{"the header is elsewhere, and no room at 512", func(img, _ *vhdtest.Image) { img.HeaderOff, img.BATOff = 8192, 512 }},
	{"a footer of 511 bytes", func(img, _ *vhdtest.Image) { img.Footer = vhdtest.Footer511 }},
	{"no end footer", func(img, _ *vhdtest.Image) { img.Footer = vhdtest.FooterZeroed }},
	{"another copy", func(img, _ *vhdtest.Image) { img.Copy = vhdtest.CopyLost }},
	{"reserved bytes and unknown locators", func(img, _ *vhdtest.Image) {
		img.FooterReserved, img.HeaderReserved = []byte("footer's"), []byte("header's")
		img.Locators[3] = vhdtest.Locator{Code: 0x58595A21, Data: bytes.Repeat([]byte("who knows"), 70)}
		img.Locators[5] = vhdtest.MacX("/gone/base.vhd")
		img.Locators[6] = vhdtest.Locator{Code: 0x58595A22, Data: []byte("what")}.Behind()
	}},
}

// Whatever the layout of a child, and wherever its parent goes, all crashes on the
// way leave it as it reads, and what nobody understands as it is.
func TestEveryCrashOfARebaseOfOthersChildren(t *testing.T) {
	for _, c := range othersChildren {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			base := vhdtest.NewDynamic(64 << 10)
			base.BlockSize, base.Time = 4096, 12345
			base.Blocks = []vhdtest.Block{{Index: 1, Data: []byte("parent")}, {Index: 4, Data: bytes.Repeat([]byte("p"), 4096)}}
			child := vhdtest.NewChild(base, "base.vhd")
			child.BlockSize = 4096
			child.Blocks = []vhdtest.Block{{Index: 4, Data: []byte("child")}, {Index: 9, Data: bytes.Repeat([]byte("c"), 4096)}}
			c.shape(child, base)
			want := (&vhdtest.Chain{Images: []*vhdtest.Image{child, base}, Names: []string{"child.vhd", "base.vhd"}}).Content(t)
			long := strings.Repeat(strings.Repeat("d", 100)+"/", 7)

			files := vhdtest.NewMemFS()
			require.NoError(t, files.MkdirAll(strings.TrimSuffix(long, "/")))
			require.NoError(t, files.WriteFile("child.vhd", child.Build(t)))
			require.NoError(t, files.WriteFile("base.vhd", base.Build(t)))
			require.NoError(t, files.WriteFile(long+"base.vhd", base.Build(t)))
			other := vhdtest.NewDynamic(32 << 10)
			other.ID, other.BlockSize, other.Blocks = [16]byte{99}, 4096, []vhdtest.Block{{Index: 4, Data: []byte("other")}}
			require.NoError(t, files.WriteFile(long+"other.vhd", other.Build(t)))
			crashEverywhere(t, files, false, func(fsys vhd.FS) error {
				disk, err := vhd.Open("child.vhd", &vhd.Options{FS: fsys, Root: "/", Writable: true})
				if err != nil {
					return err
				}
				for _, parent := range []string{long + "base.vhd", "base.vhd", long + "other.vhd", long + "base.vhd"} {
					err = errors.Join(err, disk.Rebase(parent, vhd.RebaseOptions{}))
				}
				return errors.Join(err, disk.Close())
			}, func(state *vhdtest.MemFS) error { return mustKeep(state, child, want) })
		})
	}
}

// mustKeep says that a child reads as it did, and still has what nobody understands.
func mustKeep(state *vhdtest.MemFS, child *vhdtest.Image, want []byte) error {
	if err := mustReadAs(state, "child.vhd", "/", want); err != nil {
		return err
	}
	raw, err := state.ReadFile("child.vhd")
	if err != nil {
		return err
	}
	img, err := vhd.Inspect(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return err
	}
	header, _ := img.Header()
	for i, l := range child.Locators {
		if l.Code != 0x58595A21 && l.Code != 0x58595A22 {
			continue
		}
		is := header.Locators[i]
		if uint32(is.Code) != l.Code || !bytes.Equal(raw[is.DataOffset:][:is.DataLength], l.Data) {
			return fmt.Errorf("locator %d is another one: %+v", i, is)
		}
	}
	footer, copied := raw[len(raw)-512:], raw[:512]
	if child.Footer == vhdtest.Footer511 {
		footer = copied // its bytes are elsewhere
	}
	if !bytes.Equal(footer[85:][:len(child.FooterReserved)], child.FooterReserved) || !bytes.Equal(footer, copied) {
		return errors.New("the footers are not what they were")
	}
	report, err := vhd.Check(context.Background(), "child.vhd", vhd.CheckOptions{Options: vhd.Options{FS: state}})
	if err != nil {
		return err
	}
	for _, f := range report.Findings {
		if f.Severity == vhd.SeverityError {
			return fmt.Errorf("%s: %s", f.Code, f.Message)
		}
	}
	return nil
}
