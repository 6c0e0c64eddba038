package vhdtest

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func recipeImage(t TB) []byte {
	t.Helper()
	img := NewChild(NewFixed(16<<10, nil), "base.vhd", Block{Index: 1, Data: []byte("here")}, Block{Index: 0})
	img.BlockSize = 4096
	return img.Build(t)
}

func TestARecipeWithoutEditsChangesNothing(t *testing.T) {
	image := recipeImage(t)
	require.Equal(t, image, Damage(image, NewScript(nil), 8))
	fixed := NewFixed(4096, []byte("data")).Build(t)
	require.Equal(t, fixed, Damage(fixed, NewScript(nil), 8))
}

func TestARecipeEditsAFieldAndMendsTheChecksum(t *testing.T) {
	image := recipeImage(t)
	// One edit, of the header: its fourth field, the number of entries, becomes the 24th edge.
	got := Damage(image, NewScript([]byte{1, 3, 0, 3, 0, 23}), 8)
	want := bytes.Clone(image)
	EditHeader(t, want, func(h []byte) { binary.BigEndian.PutUint32(h[28:], 1<<32-1) })
	require.Equal(t, want, got)

	// One edit, of both footers: the current size, to 512 and 7.
	got = Damage(image, NewScript([]byte{1, 2, 0, 4, 1, 6, 7}), 8)
	want = bytes.Clone(image)
	EditFooters(t, want, func(f []byte) { binary.BigEndian.PutUint64(f[48:], 519) })
	require.Equal(t, want, got)
}

func TestARecipeMovesABlock(t *testing.T) {
	got := Damage(recipeImage(t), NewScript([]byte{1, 5, 0, 0, 1, 0, 2}), 8)
	require.EqualValues(t, 2, Entry(t, got, 1))
}

func TestAnyBytesAreARecipe(t *testing.T) {
	image := recipeImage(t)
	sound := bytes.Clone(image)
	rapid.Check(t, func(rt *rapid.T) {
		recipe := rapid.SliceOf(rapid.Byte()).Draw(rt, "recipe")
		file := Damage(image, NewScript(recipe), 8)
		require.Equal(rt, sound, image, "what is damaged is a copy")
		require.Equal(rt, file, Damage(image, NewScript(recipe), 8), "a recipe says all")
		if len(file) >= FooterSize && bytes.HasPrefix(file[len(file)-FooterSize:], []byte("conectix")) {
			f := file[len(file)-FooterSize:]
			require.Equal(rt, checksum(f, footerChecksumOff), binary.BigEndian.Uint32(f[footerChecksumOff:]))
		}
	})
}

func TestAScriptThatEndedSaysZero(t *testing.T) {
	s := NewScript([]byte{7})
	require.True(t, s.More())
	require.EqualValues(t, 7, s.Byte())
	require.False(t, s.More())
	require.Zero(t, s.Byte())
	require.Zero(t, s.Uint(8))
	require.Zero(t, s.UpTo(1000))
	require.Zero(t, s.Number())
	require.False(t, s.OneIn(2))
}
