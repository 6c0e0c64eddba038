package vhd_test

import (
	"errors"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/go-vhd/vhd"
)

// changeInChild makes a child of base, changes five bytes of it, and prints a
// line of it. The base stays as it is.
func changeInChild(base, child string) (err error) {
	disk, err := vhd.Create(child, vhd.CreateOptions{Parent: base}) // names of files
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disk.Close()) }()     // all is durable once Close returns nil
	if _, err := disk.WriteAt([]byte("Alice"), 0); err != nil { // which stays in the child
		return err
	}
	_, err = io.Copy(os.Stdout, io.NewSectionReader(disk, 0, 18)) // what was not changed comes from base
	return err
}

// A child of a base image is written, and read through the chain.
func Example() {
	dir, err := os.MkdirTemp("", "vhd-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	base := filepath.Join(dir, "base.vhd")
	disk, err := vhd.Create(base, vhd.CreateOptions{Size: 64 << 20})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := disk.WriteAt([]byte("Bobby lives here.\n"), 0); err != nil {
		log.Fatal(err)
	}
	if err := disk.Close(); err != nil {
		log.Fatal(err)
	}

	if err := changeInChild(base, filepath.Join(dir, "alice.vhd")); err != nil {
		log.Fatal(err)
	}
	// Output:
	// Alice lives here.
}
