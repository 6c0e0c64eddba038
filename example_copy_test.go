package vhd_test

import (
	"context"
	"crypto/sha256"
	"fmt"
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
