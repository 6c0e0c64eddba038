package vhd_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"path/filepath"

	"github.com/go-vhd/vhd"
)

// What a child holds and its parent too takes no space any more once the child is compact.
func ExampleDisk_Compact() {
	dir, remove := makeDir()
	defer remove()
	base, child := filepath.Join(dir, "base.vhd"), filepath.Join(dir, "child.vhd")
	makeImage(base, vhd.CreateOptions{Size: 64 << 20}, "old words", 0)
	makeImage(child, vhd.CreateOptions{Parent: base}, "new words", 0)

	disk, err := vhd.Open(child, &vhd.Options{Writable: true})
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	if _, err := disk.WriteAt([]byte("old words"), 0); err != nil { // as they were
		log.Fatal(err)
	}
	leaf := disk.Chain()[0]
	before := leaf.FileSize()
	if err := disk.Compact(context.Background(), vhd.CompactOptions{}); err != nil {
		log.Fatal(err)
	}
	blocks, err := leaf.AllocatedBlocks()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("smaller:", leaf.FileSize() < before)
	fmt.Println(blocks, "blocks are left")
	// Output:
	// smaller: true
	// 0 blocks are left
}

// A disk is made smaller only if nothing is lost by that, or on demand.
func ExampleDisk_Resize() {
	dir, remove := makeDir()
	defer remove()
	name := filepath.Join(dir, "disk.vhd")
	makeImage(name, vhd.CreateOptions{Size: 64 << 20}, "words near the end", 60<<20)

	disk, err := vhd.Open(name, &vhd.Options{Writable: true})
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	if err := disk.Resize(context.Background(), 128<<20, vhd.ResizeOptions{}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(disk.Size(), "bytes")
	err = disk.Resize(context.Background(), 32<<20, vhd.ResizeOptions{})
	fmt.Println("content would be lost:", errors.Is(err, vhd.ErrDataLoss))
	// Output:
	// 134217728 bytes
	// content would be lost: true
}
