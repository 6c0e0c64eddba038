package vhd_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/go-vhd/vhd"
)

// A child whose parent was moved is told where it is now, and can be read again.
func ExampleDisk_Rebase() {
	if err := rebaseToMoved(); err != nil {
		fmt.Println(err)
	}
	// Output: Base content of the first line
}

func rebaseToMoved() (err error) {
	dir, err := os.MkdirTemp("", "vhd")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	base, child, moved := filepath.Join(dir, "base.vhd"), filepath.Join(dir, "child.vhd"), filepath.Join(dir, "moved.vhd")
	if err := createBaseAndChild(base, child); err != nil {
		return err
	}
	if err := os.Rename(base, moved); err != nil { // vhd.Rename would have told the child
		return err
	}
	disk, err := vhd.Open(child, &vhd.Options{Writable: true, NoParents: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disk.Close()) }()
	if err := disk.Rebase(moved, vhd.RebaseOptions{}); err != nil {
		return err
	}
	p := make([]byte, 30)
	if _, err := disk.ReadAt(p, 0); err != nil {
		return err
	}
	fmt.Printf("%s\n", p)
	return nil
}

func createBaseAndChild(base, child string) error {
	disk, err := vhd.Create(base, vhd.CreateOptions{Size: 1 << 20})
	if err != nil {
		return err
	}
	_, err = disk.WriteAt([]byte("Base content of the first line"), 0)
	if err := errors.Join(err, disk.Close()); err != nil {
		return err
	}
	disk, err = vhd.Create(child, vhd.CreateOptions{Parent: base})
	if err != nil {
		return err
	}
	return disk.Close()
}
