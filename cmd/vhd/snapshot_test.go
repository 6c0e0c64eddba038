package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

func TestSnapshotPutsANewImageOnTop(t *testing.T) {
	enter(t)
	testChain(t)
	want := vhdtest.SevenZip.Content(t, "leaf.vhd")
	require.Contains(t, succeed(t, "snapshot", "-p", "leaf.vhd", "new.vhd"), " on top of leaf.vhd, a chain of 3 images\n")
	info := decode[imageInfo](t, succeed(t, "info", "--output", "json", "new.vhd"))
	require.Equal(t, `.\leaf.vhd`, info.BackingFilename)
	require.Equal(t, want, vhdtest.SevenZip.Content(t, "new.vhd"))
}

func TestSnapshotDoesNotReplaceAFile(t *testing.T) {
	enter(t)
	testChain(t)
	writeFile(t, "new.vhd", []byte("precious"))
	require.Equal(t, "vhd: new.vhd: file already exists\nhint: "+hintExists+"\n", refuse(t, "snapshot", "leaf.vhd", "new.vhd"))
	require.Contains(t, refuse(t, "snapshot", "--dry-run", "leaf.vhd", "new.vhd"), "vhd: new.vhd: file already exists\n")
	require.Equal(t, "precious", string(readFile(t, "new.vhd")))
}

func TestSnapshotRefusesWhatItCanNotDo(t *testing.T) {
	enter(t)
	testChain(t)
	require.Contains(t, refuse(t, "snapshot", "none.vhd", "new.vhd"), "none.vhd: no such file or directory")
	require.NoFileExists(t, "new.vhd")
	for _, flag := range []string{"--dry-run", "-q"} {
		require.Contains(t, refuse(t, "snapshot", flag, "leaf.vhd", "none/new.vhd"), "none/new.vhd: there is no directory none\nhint: mkdir -p none\n")
	}
}

func TestASnapshotOfTheDeepestChainTellsHowToMakeItShorter(t *testing.T) {
	enter(t)
	image := testBase()
	image.WriteFile(t, "0.vhd")
	for i := 1; i < vhd.DefaultMaxDepth; i++ {
		image = vhdtest.NewChild(image, fmt.Sprintf("%d.vhd", i-1))
		image.ID = [16]byte{1, byte(i)}
		image.WriteFile(t, fmt.Sprintf("%d.vhd", i))
	}
	const shorter = "vhd merge --from 254.vhd --into 1.vhd 255.vhd"
	const want = "vhd: new.vhd: chain of parents is too deep: more than 256 images\nhint: fold some of them, which makes the chain shorter: " + shorter + "\n"
	require.Equal(t, want, refuse(t, "snapshot", "255.vhd", "new.vhd"))
	require.Equal(t, want, refuse(t, "snapshot", "--dry-run", "255.vhd", "new.vhd"))
	require.Equal(t, want, refuse(t, "create", "-b", "255.vhd", "new.vhd"))
	succeed(t, append(strings.Fields(shorter)[1:], "-q")...)
	succeed(t, "snapshot", "-q", "255.vhd", "new.vhd")
}
