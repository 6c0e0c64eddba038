package vhd_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-vhd/vhd"
)

// A child and its parents become one raw file, or anything that takes bytes.
func ExampleDisk_Export() {
	dir, remove := makeDir()
	defer remove()
	base, child := filepath.Join(dir, "base.vhd"), filepath.Join(dir, "child.vhd")
	makeImage(base, vhd.CreateOptions{Size: 64 << 20}, "old words", 0)
	makeImage(child, vhd.CreateOptions{Parent: base}, "new words", 1<<20)

	disk, err := vhd.Open(child, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	raw, err := os.Create(filepath.Join(dir, "child.raw"))
	if err != nil {
		log.Fatal(err)
	}
	defer raw.Close()
	n, err := disk.Export(context.Background(), raw, vhd.ExportOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(n, "bytes")

	sum := sha256.New()
	if _, err := disk.Export(context.Background(), sum, vhd.ExportOptions{}); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("sha256 %x\n", sum.Sum(nil))
	// Output:
	// 67108864 bytes
	// sha256 db06d29da357483c237471ace5a29e4abccf5cf7ada3780eb3b016ade224be67
}

// What changed since any image of the chain becomes a child of that image.
func ExampleDisk_Export_differencing() {
	dir, remove := makeDir()
	defer remove()
	base, monday, tuesday := filepath.Join(dir, "base.vhd"), filepath.Join(dir, "monday.vhd"), filepath.Join(dir, "tuesday.vhd")
	makeImage(base, vhd.CreateOptions{Size: 64 << 20}, "old words", 0)
	makeImage(monday, vhd.CreateOptions{Parent: base}, "words of Monday", 1<<20)
	makeImage(tuesday, vhd.CreateOptions{Parent: monday}, "words of Tuesday", 50<<20)

	disk, err := vhd.Open(tuesday, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	for e, err := range disk.ChangedExtents(0, 2, 0, disk.Size()) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(e.Length, "bytes at", e.Offset, "are", filepath.Base(disk.Chain()[e.Depth].Name())+"'s")
	}
	opts := vhd.ExportOptions{Type: vhd.Differencing, Base: 2}
	size, err := disk.ExportSize(context.Background(), opts)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(size, "bytes make a file of them")

	out, err := os.Create(filepath.Join(dir, "both days.vhd"))
	if err != nil {
		log.Fatal(err)
	}
	defer out.Close()
	if _, err := disk.Export(context.Background(), out, opts); err != nil {
		log.Fatal(err)
	}
	both, err := vhd.Open(out.Name(), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer both.Close()
	p := make([]byte, 16)
	if _, err := both.ReadAt(p, 50<<20); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, and the parent is %s\n", p, filepath.Base(both.Chain()[1].Name()))
	// Output:
	// 512 bytes at 1048576 are monday.vhd's
	// 512 bytes at 52428800 are tuesday.vhd's
	// 4222976 bytes make a file of them
	// words of Tuesday, and the parent is base.vhd
}

// A chain becomes one image without parents, which takes space only for what it holds.
func ExampleDisk_Export_dynamic() {
	dir, remove := makeDir()
	defer remove()
	base, child := filepath.Join(dir, "base.vhd"), filepath.Join(dir, "child.vhd")
	makeImage(base, vhd.CreateOptions{Size: 64 << 20}, "old words", 0)
	makeImage(child, vhd.CreateOptions{Parent: base}, "new words", 1<<20)

	disk, err := vhd.Open(child, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	out, err := os.Create(filepath.Join(dir, "whole.vhd"))
	if err != nil {
		log.Fatal(err)
	}
	defer out.Close()
	n, err := disk.Export(context.Background(), out, vhd.ExportOptions{Type: vhd.Dynamic, Sync: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(n, "bytes")

	whole, err := vhd.Open(out.Name(), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer whole.Close()
	p := make([]byte, 9)
	if _, err := whole.ReadAt(p, 1<<20); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d image: %s\n", len(whole.Chain()), p)
	// Output:
	// 2109440 bytes
	// 1 image: new words
}

// Azure takes fixed disks of whole MiB. They can be sent as they are made: to an http.Request,
// say, whose length has to be known before.
func ExampleDisk_Export_azure() {
	dir, remove := makeDir()
	defer remove()
	disk, err := vhd.Create(filepath.Join(dir, "disk.vhd"), vhd.CreateOptions{Size: 30<<20 + 512})
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()

	azure := vhd.ExportOptions{Azure: true}
	size, err := disk.ExportSize(context.Background(), azure)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(size, "bytes to come:", (size-512)>>20, "MiB and a footer")
	n, err := disk.Export(context.Background(), io.Discard, azure)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(n, "bytes")
	// Output:
	// 32506368 bytes to come: 31 MiB and a footer
	// 32506368 bytes
}

// How long a file will be is known before it is made.
func ExampleDisk_ExportSize() {
	dir, remove := makeDir()
	defer remove()
	name := filepath.Join(dir, "disk.vhd")
	makeImage(name, vhd.CreateOptions{Size: 64 << 20}, "takes a block of 2 MiB", 0)

	disk, err := vhd.Open(name, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	for _, diskType := range []vhd.DiskType{vhd.Fixed, vhd.Dynamic} {
		size, err := disk.ExportSize(context.Background(), vhd.ExportOptions{Type: diskType})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(diskType, size)
	}
	// Output:
	// fixed 67109376
	// dynamic 2109440
}

// Where a disk may differ from what one of its parents reads as is known without reading it.
func ExampleDisk_ChangedExtents() {
	dir, remove := makeDir()
	defer remove()
	base, child := filepath.Join(dir, "base.vhd"), filepath.Join(dir, "child.vhd")
	makeImage(base, vhd.CreateOptions{Size: 64 << 20}, "old words", 0)
	makeImage(child, vhd.CreateOptions{Parent: base}, "new words", 1<<20)

	disk, err := vhd.Open(child, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	for extent, err := range disk.ChangedExtents(0, 1, 0, disk.Size()) { // of the leaf, since its parent
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(extent.Length, "bytes at", extent.Offset)
	}
	// Output:
	// 512 bytes at 1048576
}

// Content goes into any disk that is writable, a child too.
func ExampleDisk_Import() {
	dir, remove := makeDir()
	defer remove()
	disk, err := vhd.Create(filepath.Join(dir, "disk.vhd"), vhd.CreateOptions{Size: 64 << 20})
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	content := strings.NewReader(strings.Repeat("\x00", 10<<20) + "words behind 10 MiB of zeros")
	err = disk.Import(context.Background(), content, content.Size(), vhd.ImportOptions{})
	if err != nil {
		log.Fatal(err)
	}
	if err := disk.Sync(); err != nil {
		log.Fatal(err)
	}
	p := make([]byte, 5)
	if _, err := disk.ReadAt(p, 10<<20); err != nil {
		log.Fatal(err)
	}
	blocks, err := disk.Chain()[0].AllocatedBlocks()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, in %d block\n", p, blocks)
	// Output: words, in 1 block
}
