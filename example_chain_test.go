package vhd_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"

	"github.com/go-vhd/vhd"
)

// makeDir makes an empty directory, and a function that removes it.
func makeDir() (dir string, remove func()) {
	dir, err := os.MkdirTemp("", "vhd-example-")
	if err != nil {
		log.Fatal(err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }
}

// makeImage makes an image with text at an offset.
func makeImage(name string, opts vhd.CreateOptions, text string, off int64) {
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		log.Fatal(err)
	}
	disk, err := vhd.Create(name, opts)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := disk.WriteAt([]byte(text), off); err != nil {
		log.Fatal(err)
	}
	if err := disk.Close(); err != nil {
		log.Fatal(err)
	}
}

// Opening a child opens its parents too.
func ExampleOpen() {
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
	for _, image := range disk.Chain() {
		fmt.Println(filepath.Base(image.Name()), "is a", image.Footer().Type, "disk")
	}
	p := make([]byte, 9)
	for _, off := range []int64{0, 1 << 20} {
		if _, err := disk.ReadAt(p, off); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", p)
	}
	// Output:
	// child.vhd is a differencing disk
	// base.vhd is a dynamic disk
	// old words
	// new words
}

// Opened for writing, a child takes the writes, and its parents stay as they
// are.
func ExampleOpen_writable() {
	dir, remove := makeDir()
	defer remove()
	base, child := filepath.Join(dir, "base.vhd"), filepath.Join(dir, "child.vhd")
	makeImage(base, vhd.CreateOptions{Size: 64 << 20}, "old words", 0)
	makeImage(child, vhd.CreateOptions{Parent: base}, "new words", 1<<20)

	disk, err := vhd.Open(child, &vhd.Options{Writable: true})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := disk.WriteAt([]byte("our"), 0); err != nil {
		log.Fatal(err)
	}
	if err := disk.Sync(); err != nil { // durable from here on
		log.Fatal(err)
	}
	p := make([]byte, 9)
	if _, err := disk.ReadAt(p, 0); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", p)
	if err := disk.Close(); err != nil { // syncs what was written since
		log.Fatal(err)
	}
	// Output:
	// our words
}

// Several children share a base, each with changes of its own.
func ExampleCreate() {
	dir, remove := makeDir()
	defer remove()
	base := filepath.Join(dir, "base.vhd")
	makeImage(base, vhd.CreateOptions{Size: 64 << 20}, "as it was", 0)

	for _, name := range []string{"alice", "bob"} {
		disk, err := vhd.Create(filepath.Join(dir, name+".vhd"), vhd.CreateOptions{Parent: base})
		if err != nil {
			log.Fatal(err)
		}
		p := make([]byte, 9)
		if _, err := disk.ReadAt(p, 0); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s finds it %s\n", name, p)
		if _, err := disk.WriteAt([]byte("changed! "), 0); err != nil {
			log.Fatal(err)
		}
		if err := disk.Close(); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// alice finds it as it was
	// bob finds it as it was
}

// A chain of images that are no files, such as objects that were downloaded, is
// put together by the caller.
func ExampleOpenChain() {
	dir, remove := makeDir()
	defer remove()
	base, child := filepath.Join(dir, "base.vhd"), filepath.Join(dir, "child.vhd")
	makeImage(base, vhd.CreateOptions{Size: 64 << 20}, "old words", 0)
	makeImage(child, vhd.CreateOptions{Parent: base}, "new", 0)

	var chain []vhd.File
	for _, name := range []string{child, base} { // leaf first
		image, err := os.ReadFile(name)
		if err != nil {
			log.Fatal(err)
		}
		chain = append(chain, vhd.ReadOnlyFile(bytes.NewReader(image), int64(len(image))))
	}
	disk, err := vhd.OpenChain(nil, chain...)
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	p := make([]byte, 9)
	if _, err := disk.ReadAt(p, 0); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d images: %s\n", len(disk.Chain()), p)
	// Output:
	// 2 images: new words
}

// Inspect tells what an image is and what it refers to, and opens nothing else.
func ExampleInspect() {
	dir, remove := makeDir()
	defer remove()
	base, child := filepath.Join(dir, "base.vhd"), filepath.Join(dir, "child.vhd")
	makeImage(base, vhd.CreateOptions{Size: 64 << 20}, "old words", 0)
	makeImage(child, vhd.CreateOptions{Parent: base}, "new words", 1<<20)

	file, err := os.Open(child)
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		log.Fatal(err)
	}
	image, err := vhd.Inspect(file, info.Size())
	if err != nil {
		log.Fatal(err)
	}
	footer := image.Footer()
	fmt.Println(footer.Type, "disk of", footer.CurrentSize, "bytes")
	for _, ref := range image.ParentRefs() {
		if ref.Origin == "W2ru" { // the path relative to the child
			fmt.Println("its parent is", ref.Path)
		}
	}
	// Output:
	// differencing disk of 67108864 bytes
	// its parent is .\base.vhd
}

// Extents tell which image of the chain holds what.
func ExampleDisk_Extents() {
	dir, remove := makeDir()
	defer remove()
	base, child := filepath.Join(dir, "base.vhd"), filepath.Join(dir, "child.vhd")
	makeImage(base, vhd.CreateOptions{Size: 64 << 20}, "takes a block of 2 MiB", 0)
	makeImage(child, vhd.CreateOptions{Parent: base}, "takes a sector", 1<<20)

	disk, err := vhd.Open(child, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	for extent, err := range disk.Extents(0, disk.Size()) {
		switch {
		case err != nil:
			log.Fatal(err)
		case extent.Depth == vhd.Hole:
			fmt.Printf("%8d +%-8d zeros\n", extent.Offset, extent.Length)
		default:
			image := disk.Chain()[extent.Depth]
			fmt.Printf("%8d +%-8d %s\n", extent.Offset, extent.Length, filepath.Base(image.Name()))
		}
	}
	// Output:
	//        0 +1048576  base.vhd
	//  1048576 +512      child.vhd
	//  1049088 +1048064  base.vhd
	//  2097152 +65011712 zeros
}

// A parent is opened only in the directory that holds the image, unless Root
// names another one.
func ExampleOptions_root() {
	dir, remove := makeDir()
	defer remove()
	base, child := filepath.Join(dir, "bases", "base.vhd"), filepath.Join(dir, "alice", "child.vhd")
	makeImage(base, vhd.CreateOptions{Size: 64 << 20}, "old words", 0)
	makeImage(child, vhd.CreateOptions{Parent: base}, "new words", 1<<20)

	_, err := vhd.Open(child, nil)
	fmt.Println("outside:", errors.Is(err, vhd.ErrOutsideRoot))

	disk, err := vhd.Open(child, &vhd.Options{Root: dir})
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()
	fmt.Println("images:", len(disk.Chain()))
	// Output:
	// outside: true
	// images: 2
}

// The error of a parent that is not there tells every name that was tried.
func ExampleParentError() {
	dir, remove := makeDir()
	defer remove()
	base, child := filepath.Join(dir, "base.vhd"), filepath.Join(dir, "child.vhd")
	makeImage(base, vhd.CreateOptions{Size: 64 << 20}, "old words", 0)
	makeImage(child, vhd.CreateOptions{Parent: base}, "new words", 1<<20)
	if err := os.Remove(base); err != nil {
		log.Fatal(err)
	}

	_, err := vhd.Open(child, nil)
	if lost, ok := errors.AsType[*vhd.ParentError](err); ok {
		first := lost.Attempts[0]
		fmt.Println(lost.Err)
		fmt.Printf("first tried: %s, for %s, the path %s\n", filepath.Base(first.Name), first.Ref.Origin, first.Ref.Path)
		fmt.Println("does not exist:", errors.Is(first.Err, fs.ErrNotExist))
	}
	// Output:
	// parent not found
	// first tried: base.vhd, for W2ru, the path .\base.vhd
	// does not exist: true
}
