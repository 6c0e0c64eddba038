package vhd_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// Disks that get another size while power is lost, each of them with something
// behind its end that must never come to light.

// resizedImage is a disk of 16 KiB, or of 8 KiB under a parent of 32.
type resizedImage struct {
	name  string
	spoil func(img *vhdtest.Image)
	edit  func(t testing.TB, file []byte) []byte
}

const (
	rubbish      = 0xA5
	resizedBlock = 1024 // so that 128 KiB need a sector of the table
)

func blockOf(index int, content byte) vhdtest.Block {
	return vhdtest.Block{Index: index, Data: bytes.Repeat([]byte{content}, resizedBlock)}
}

var resizedImages = []resizedImage{
	{name: "a last block with data behind the disk's end", spoil: func(img *vhdtest.Image) {
		img.Size -= vhd.SectorSize
		img.Blocks = append(img.Blocks, blockOf(int(img.Size/resizedBlock), rubbish))
	}},
	{name: "blocks behind the disk's end", spoil: func(img *vhdtest.Image) {
		img.MaxEntries = 300
		img.Blocks = append(img.Blocks, blockOf(16, rubbish), blockOf(17, rubbish), blockOf(150, rubbish))
	}},
	{name: "entries that are rubbish", spoil: func(img *vhdtest.Image) {
		img.MaxEntries, img.Entries = 140, map[int]uint32{}
		for i := 16; i < 22; i++ {
			img.Entries[i] = uint32(i) % 23
		}
	}},
	{name: "a padding of zeros", spoil: func(img *vhdtest.Image) { img.BATPadZero = true }},
	{name: "a block right behind the table", spoil: func(img *vhdtest.Image) { img.Blocks = slices.Insert(img.Blocks, 0, blockOf(1, rubbish)) }},
	{name: "a table between blocks, which has to move", spoil: func(img *vhdtest.Image) {
		img.BATOff = 8192
		img.Blocks[0].Off, img.Blocks[1].Off = 4096, 9216
	}},
	{name: "no blocks", spoil: func(img *vhdtest.Image) { img.Blocks = nil }},
	{name: "a footer of 511 bytes", spoil: func(img *vhdtest.Image) { img.Footer = vhdtest.Footer511 }},
	{name: "slack that does not end at a sector", spoil: func(img *vhdtest.Image) { img.Slack, img.SlackByte = 100, rubbish }},
	{name: "slack", spoil: func(img *vhdtest.Image) { img.Slack, img.SlackByte = 7*vhd.SectorSize, rubbish }},
	{name: "a header elsewhere", spoil: func(img *vhdtest.Image) { img.HeaderOff, img.BATOff = 1024, 2048 }},
	{name: "Xen's batmap", spoil: func(img *vhdtest.Image) { img.BATOff, img.BATArea = 2048, 1536 }, edit: func(t testing.TB, file []byte) []byte {
		t.Helper()
		return addBatmap(file)
	}},
}

// build makes the image, and its parent if it is to have one.
func (r resizedImage) build(t testing.TB, diskType vhd.DiskType, order vhdtest.Order) *leafFiles {
	t.Helper()
	img := &vhdtest.Image{Type: vhdtest.Type(diskType), Size: 16 << 10}
	files := vhdtest.NewMemFS()
	l := &leafFiles{files: files}
	var below []byte
	if diskType == vhd.Differencing {
		parent := &vhdtest.Image{Type: vhdtest.Fixed, Size: 2 * img.Size, Data: bytes.Repeat([]byte{3}, int(2*img.Size)), ID: [16]byte{9}}
		img = vhdtest.NewChild(parent, baseName)
		img.Size = 8 << 10
		l.parent, below = parent.Build(t), parent.Data
		require.NoError(t, files.WriteFile(baseName, l.parent))
	}
	img.ID = [16]byte{8}
	img.BlockSize = resizedBlock
	img.Blocks = []vhdtest.Block{blockOf(0, 1), blockOf(2, 2)}
	if diskType == vhd.Fixed {
		img.Data = bytes.Repeat([]byte{1, 0}, int(img.Size)/2)
	}
	r.spoil(img)
	if diskType == vhd.Fixed {
		img.Blocks, img.Data = nil, img.Data[:img.Size]
	}
	file := img.Build(t)
	if r.edit != nil && diskType != vhd.Fixed {
		file = r.edit(t, file)
	}
	require.NoError(t, files.WriteFile(leafName, file))
	l.leafKind = leafKind{
		name: fmt.Sprintf("%v, %s, order %d", diskType, r.name, order), size: img.Size, blockSize: img.BlockSize, leaf: diskType,
		storage: vhdtest.CrashOptions{Order: order}, unfinished: true,
	}
	l.below = make([]byte, img.Size)
	l.content = img.Content(t, below)
	return l
}

// resizedLeaves are disks of all types of those.
func resizedLeaves(t testing.TB, order vhdtest.Order) []*leafFiles {
	t.Helper()
	var leaves []*leafFiles
	for _, diskType := range []vhd.DiskType{vhd.Fixed, vhd.Dynamic, vhd.Differencing} {
		for _, r := range resizedImages {
			leaves = append(leaves, r.build(t, diskType, order))
		}
	}
	return leaves
}

// resizePrograms are what is done to each of them.
func resizePrograms(t testing.TB, size int64) []program {
	t.Helper()
	var programs []program
	for _, more := range []int64{-6 << 10, -512, 512, 1536, 4096, 20 << 10, 130 << 10} {
		if size+more <= 0 {
			continue
		}
		for _, text := range []string{"resize 0+%d; write 0+512; sync", "write 1000+5000; resize 0+%d; zero 0+16384", "resize 0+%d; resize 0+5120; resize 0+20480"} {
			p, err := parseProgram(fmt.Sprintf(text, size+more))
			require.NoError(t, err)
			programs = append(programs, p)
		}
	}
	return programs
}

func TestP2WhatWasBehindADisksEndNeverComesToLight(t *testing.T) {
	t.Parallel()
	every := 5 // of so many programs one is run
	if testing.Short() {
		every = 13
	}
	programs, states := 0, 0
	for _, order := range everyOrder {
		for _, leaf := range resizedLeaves(t, order) {
			for seed, p := range resizePrograms(t, leaf.size) {
				if programs++; programs%every != 0 {
					continue
				}
				run := newCrashRun(leaf, uint64(seed), atRandom)
				if err := run.run(p); err != nil {
					failShortest(t, leaf, uint64(seed), p, err)
				}
				states += run.states
			}
		}
	}
	t.Logf("%d states after crashes", states)
}

func TestEveryFaultOfAResizeIsToldAndLosesNothing(t *testing.T) {
	t.Parallel()
	every := 7 // of so many programs one is run
	if testing.Short() {
		every = 31
	}
	programs, points := 0, 0
	for _, leaf := range resizedLeaves(t, vhdtest.AnyOrder) {
		for _, more := range []int64{-3 << 10, 30 << 10, 140 << 10} {
			if programs++; programs%every != 0 {
				continue
			}
			p, err := parseProgram(fmt.Sprintf("resize 0+%d; write 0+3000", leaf.size+more))
			require.NoError(t, err)
			for _, kind := range faultKinds {
				points += failEveryCall(t, leaf, uint64(programs), p, kind)
			}
		}
	}
	t.Logf("%d points", points)
}
