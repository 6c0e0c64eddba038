package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestANameBeginsLikeAnotherWithTheSameWholeLetter(t *testing.T) {
	enter(t)
	writeFile(t, "üö.vhd", nil) // of whose first letter the first byte is that of ä
	require.Equal(t, "vhd: äö.vhd: no such file or directory\nhint: vhd ls . shows the images there\n", refuse(t, "info", "äö.vhd"))
	writeFile(t, "Äx.vhd", nil)
	require.Equal(t, "vhd: äö.vhd: no such file or directory\nhint: is it Äx.vhd?\n", refuse(t, "info", "äö.vhd"))
}
