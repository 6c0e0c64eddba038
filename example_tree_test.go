package vhd_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/go-vhd/vhd"
)

// A folder is looked through for images, and for who is whose parent.
func ExampleScan() {
	dir, remove := makeDir()
	defer remove()
	base := filepath.Join(dir, "base.vhd")
	makeImage(base, vhd.CreateOptions{Size: 64 << 20}, "old words", 0)
	makeImage(filepath.Join(dir, "alice.vhd"), vhd.CreateOptions{Parent: base}, "new words", 0)
	makeImage(filepath.Join(dir, "machines", "bob.vhd"), vhd.CreateOptions{Parent: base}, "other words", 0)

	images, err := vhd.Scan(context.Background(), dir, vhd.ScanOptions{Recursive: true})
	if err != nil {
		log.Fatal(err)
	}
	for _, image := range images {
		if image.Err != nil {
			log.Fatal(image.Err)
		}
		fmt.Print(filepath.Base(image.Name), ", ", image.Image.Footer().Type)
		if image.Parent != "" {
			fmt.Print(", child of ", filepath.Base(image.Parent))
		}
		fmt.Println()
	}
	// Output:
	// alice.vhd, differencing, child of base.vhd
	// base.vhd, dynamic
	// bob.vhd, differencing, child of base.vhd
}

// Images that were moved apart are told where their parents are now.
func ExampleRebaseTree() {
	dir, remove := makeDir()
	defer remove()
	base, child, moved := filepath.Join(dir, "base.vhd"), filepath.Join(dir, "child.vhd"), filepath.Join(dir, "bases", "win.vhd")
	makeImage(base, vhd.CreateOptions{Size: 64 << 20}, "old words", 0)
	makeImage(child, vhd.CreateOptions{Parent: base}, "new words", 1<<20)
	if err := os.Mkdir(filepath.Dir(moved), 0o777); err != nil {
		log.Fatal(err)
	}
	if err := os.Rename(base, moved); err != nil {
		log.Fatal(err)
	}

	mended, err := vhd.RebaseTree(context.Background(), dir, vhd.RebaseTreeOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for _, image := range mended {
		if image.Err != nil { // its parent is nowhere, or may be any of several
			log.Fatal(image.Err)
		}
		fmt.Println(filepath.Base(image.Name), "has its parent", filepath.Base(image.Parent), "again")
	}
	// Output:
	// child.vhd has its parent win.vhd again
}

// An image gets another name, and its children know.
func ExampleRename() {
	dir, remove := makeDir()
	defer remove()
	base, child, renamed := filepath.Join(dir, "base.vhd"), filepath.Join(dir, "child.vhd"), filepath.Join(dir, "win.vhd")
	makeImage(base, vhd.CreateOptions{Size: 64 << 20}, "old words", 0)
	makeImage(child, vhd.CreateOptions{Parent: base}, "new words", 1<<20)

	children, err := vhd.Rename(context.Background(), base, renamed, vhd.RenameOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range children {
		disk, err := vhd.Open(name, nil)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("the parent of", filepath.Base(name), "is", filepath.Base(disk.Chain()[1].Name()))
		if err := disk.Close(); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// the parent of child.vhd is win.vhd
}
