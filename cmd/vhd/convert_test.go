package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd/internal/vhdtest"
)

func TestConvertUnderstandsTheLinesOfQemu(t *testing.T) {
	vhdtest.Qemu.Need(t)
	for _, c := range []struct{ line, diskType string }{ // of the last file; empty: raw
		{"convert -f vpc -O raw base.vhd new", ""},
		{"convert base.vhd new", ""},
		{"convert -O vpc base.vhd new", "dynamic"},
		{"convert -f raw -O vpc base.raw new", "dynamic"},
		{"convert -O vpc base.raw new", "dynamic"},
		{"convert -p -O vpc -o subformat=fixed base.vhd new", "fixed"},
		{"convert -p -f raw -O vpc -o subformat=fixed,force_size=on base.raw new", "fixed"},
		{"convert -q -f raw -O vpc -o subformat=dynamic -o force_size base.raw new", "dynamic"},
	} {
		t.Run(c.line, func(t *testing.T) {
			enter(t)
			base := testBase()
			base.WriteFile(t, "base.vhd")
			want := base.Content(t, nil)
			writeFile(t, "base.raw", want)
			succeed(t, strings.Fields(c.line)...)
			if c.diskType == "" {
				require.True(t, bytes.Equal(want, readFile(t, "new")))
				return
			}
			require.Equal(t, c.diskType, infoOf(t, "new").FormatSpecific.Data.DiskType)
			require.True(t, bytes.Equal(want, vhdtest.Qemu.Content(t, "new")))
			require.Equal(t, 0, qemuCompare(t, forQemu("new"), "driver=raw,file.filename=base.raw").code)
		})
	}
}

func TestConvertPutsADeltaOnTopOfAnImageOfTheChain(t *testing.T) {
	enter(t)
	putLevels(t)
	for i, backing := range []string{"base.vhd", "2", "./base.vhd"} {
		name := []string{"one.vhd", "two.vhd", "three.vhd"}[i]
		succeed(t, "convert", "-O", "vpc", "-B", backing, "-F", "vpc", "leaf.vhd", name)
		require.Equal(t, "base.vhd", infoOf(t, name).FullBackingFilename)
		require.Equal(t, name+" and leaf.vhd hold the same\n", succeed(t, "compare", name, "leaf.vhd"))
	}
	require.Equal(t, "vhd: -B other.vhd: no image of the chain is called so\nhint: the chain is leaf.vhd, middle.vhd, base.vhd\n",
		refuse(t, "convert", "-B", "other.vhd", "leaf.vhd", "new.vhd"))
	require.Contains(t, refuse(t, "convert", "-B", "leaf.vhd", "leaf.vhd", "new.vhd"), "vhd: -B leaf.vhd: it is what is copied, and no parent of that\nhint: the chain is leaf.vhd, middle.vhd, base.vhd\n")
	require.NoFileExists(t, "new.vhd")
}

// Raw content that nobody said is such is never copied as it is.
func TestConvertTakesNothingElseForRawContent(t *testing.T) {
	enter(t)
	testChain(t)
	writeFile(t, "in.raw", make([]byte, 4096))
	require.Contains(t, refuse(t, "convert", "in.raw", "out.raw"), "\nhint: if it is the raw content of a disk: vhd import in.raw NEW.vhd makes an image of it\n")
	require.Contains(t, refuse(t, "convert", "-f", "vpc", "-O", "vpc", "in.raw", "out.vhd"), "vhd: in.raw: footer: cookie at offset 3584: not a valid VHD")
	require.Contains(t, refuse(t, "convert", "-f", "raw", "-O", "vpc", "leaf.vhd", "out.vhd"), "vhd: leaf.vhd: it is a VHD image, not raw content\nhint: ")
	for name, file := range map[string]struct{ start, want string }{
		"x.qcow2": {"QFI\xfb", "it is a qcow2 image"}, "x.vhdx": {"vhdxfile", "it is a VHDX image"}, "cut.vhd": {"conectix", "footer"},
	} {
		writeFile(t, name, append([]byte(file.start), make([]byte, 4096)...))
		require.Contains(t, refuse(t, "convert", "-O", "vpc", name, "out.vhd"), "vhd: "+name+": "+file.want)
	}
	require.Equal(t, "vhd: none: no such file or directory\nhint: vhd ls . shows the images there\n", refuse(t, "convert", "-O", "vpc", "none", "out.vhd"))
	require.NoError(t, os.Remove("base.vhd"))
	require.Contains(t, refuse(t, "convert", "-O", "vpc", "leaf.vhd", "out.vhd"), "vhd: leaf.vhd: parent not found\n")
	require.NoFileExists(t, "out.vhd")
}

// Lines that people have in their fingers, and in their scripts.
func TestOtherVerbsUnderstandTheLinesOfQemu(t *testing.T) {
	enter(t)
	for _, line := range []string{
		"create -f vpc base.vhd 10M",
		"create -f vpc -o subformat=fixed fixed.vhd 10M",
		"create -f VPC -b base.vhd -F vpc child.vhd",
		"create -f vpc -b base.vhd -F vpc larger.vhd 20M",
		"create -f vpc new.vhd 10M",
		"info -f vpc --backing-chain --output=json child.vhd",
		"map -f vpc --output=json child.vhd",
		"check -f vpc child.vhd",
		"measure -f vpc -O raw --output=json child.vhd",
		"compare -f vpc -F vpc base.vhd child.vhd",
		"rebase -f vpc -F vpc -u -b new.vhd child.vhd",
		"resize -f vpc child.vhd +10G",
		"commit -f vpc child.vhd",
		"info -f vhd new.vhd",
	} {
		succeed(t, strings.Fields(line)...)
	}
	require.Equal(t, "fixed", infoOf(t, "fixed.vhd").FormatSpecific.Data.DiskType)
	require.EqualValues(t, 20<<20, infoOf(t, "larger.vhd").VirtualSize)
	require.Equal(t, int64(10<<30+10<<20), infoOf(t, "new.vhd").VirtualSize, "the child is merged into it")
	require.NoFileExists(t, "child.vhd")
}
