package vhd_test

import (
	"fmt"
	"log"
	"path/filepath"

	"github.com/go-vhd/vhd"
)

// A snapshot keeps what a disk holds, while whoever uses the disk goes on.
func ExampleDisk_Snapshot() {
	dir, remove := makeDir()
	defer remove()
	monday, tuesday := filepath.Join(dir, "monday.vhd"), filepath.Join(dir, "tuesday.vhd")
	disk, err := vhd.Create(monday, vhd.CreateOptions{Size: 64 << 20})
	if err != nil {
		log.Fatal(err)
	}
	write := func(words string) {
		if _, err := disk.WriteAt([]byte(words), 0); err != nil {
			log.Fatal(err)
		}
	}
	write("monday's words ")
	if err := disk.Snapshot(tuesday, vhd.CreateOptions{}); err != nil {
		log.Fatal(err)
	}
	write("tuesday's words")
	if err := disk.Close(); err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{monday, tuesday} {
		disk, err := vhd.Open(name, nil)
		if err != nil {
			log.Fatal(err)
		}
		words := make([]byte, 15)
		if _, err := disk.ReadAt(words, 0); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %q\n", filepath.Base(name), words)
		if err := disk.Close(); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// monday.vhd: "monday's words "
	// tuesday.vhd: "tuesday's words"
}
