package vhd_test

import (
	"context"
	"fmt"
	"log"
	"path/filepath"

	"github.com/go-vhd/vhd"
)

// Monday's changes go down into the base, and the chain is shorter by one.
func ExampleDisk_Merge() {
	dir, remove := makeDir()
	defer remove()
	base, monday, tuesday := filepath.Join(dir, "base.vhd"), filepath.Join(dir, "monday.vhd"), filepath.Join(dir, "tuesday.vhd")
	makeImage(base, vhd.CreateOptions{Size: 64 << 20}, "old words", 0)
	makeImage(monday, vhd.CreateOptions{Parent: base}, "words of Monday", 1<<20)
	makeImage(tuesday, vhd.CreateOptions{Parent: monday}, "words of Tuesday", 50<<20)

	disk, err := vhd.Open(tuesday, &vhd.Options{Writable: true})
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	if err := disk.Merge(context.Background(), 1, 2, vhd.MergeOptions{}); err != nil { // depths in Chain
		log.Fatal(err)
	}
	for _, image := range disk.Chain() {
		fmt.Println(filepath.Base(image.Name()))
	}
	p := make([]byte, 15)
	if _, err := disk.ReadAt(p, 1<<20); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", p)
	// Output:
	// tuesday.vhd
	// base.vhd
	// words of Monday
}
