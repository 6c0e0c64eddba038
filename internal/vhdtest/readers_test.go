package vhdtest

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryReaderReadsASimpleDisk(t *testing.T) {
	fixed := NewFixed(1<<20, []byte("fixed"))
	dynamic := NewDynamic(5<<20, Block{Index: 1, Data: []byte("block one")})
	for _, reader := range []Reader{Qemu, SevenZip, Libvhdi} {
		t.Run(reader.Name, func(t *testing.T) {
			for _, img := range []*Image{fixed, dynamic} {
				name := filepath.Join(t.TempDir(), "a disk, and a comma.vhd")
				img.WriteFile(t, name)
				require.Equal(t, img.Content(t, nil), reader.Content(t, name))
			}
		})
	}
}

func TestTheReadersOfChainsReadAChain(t *testing.T) {
	parent := NewDynamic(4<<20, Block{Index: 0, Data: []byte("parent's first"), Bitmap: []byte{0xFF}})
	child := NewChild(parent, "parent.vhd", Block{Index: 0, Data: make([]byte, 16*512), Bitmap: []byte{0, 0xFF}})
	child.Blocks[0].Data[0] = '!'
	child.Blocks[0].Data[8*512] = 'c'
	dir := t.TempDir()
	names := []string{filepath.Join(dir, "child.vhd"), filepath.Join(dir, "parent.vhd")}
	child.WriteFile(t, names[0])
	parent.WriteFile(t, names[1])
	want := child.Content(t, parent.Content(t, nil))
	require.Equal(t, "parent's first", string(want[:14]))
	require.Equal(t, byte('c'), want[8*512])
	require.Equal(t, want, ContentRange(t, []*Image{child, parent}, 0, child.Size))

	for _, reader := range []Reader{SevenZip, Libvhdi} {
		t.Run(reader.Name, func(t *testing.T) {
			require.Equal(t, want, reader.Content(t, names...))
		})
	}
}
