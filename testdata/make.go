//go:build ignore

// Make makes the images of this folder again: go run testdata/make.go, with
// qemu-img installed. Those of this project come out the same byte for byte;
// those of qemu-img have another identifier and time, and read the same.
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/go-vhd/vhd"
	"github.com/google/uuid"
)

func main() {
	log.SetFlags(0)
	if err := run("testdata"); err != nil {
		log.Fatal(err)
	}
}

func run(dir string) error {
	old, err := filepath.Glob(filepath.Join(dir, "*.vhd"))
	if err != nil {
		return err
	}
	for _, name := range old {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	if err := makeOthers(dir); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir) // so that absolute paths are those of the folder
	if err != nil {
		return err
	}
	defer root.Close()
	return makeOurs(vhd.RootFS(root), lines())
}

// lines is 64 KiB of numbered lines.
func lines() []byte {
	var b bytes.Buffer
	for i := range 4096 {
		fmt.Fprintf(&b, "%015d\n", i)
	}
	return b.Bytes()
}

func makeOthers(dir string) error {
	raw, err := os.CreateTemp("", "lines")
	if err != nil {
		return err
	}
	defer os.Remove(raw.Name())
	defer raw.Close()
	if _, err := raw.Write(lines()); err != nil {
		return err
	}
	convert := exec.Command("qemu-img", "convert", "-q", "-f", "raw", "-O", "vpc", "-o", "subformat=fixed,force_size=on", raw.Name(), filepath.Join(dir, "qemu-fixed.vhd"))
	create := exec.Command("qemu-img", "create", "-q", "-f", "vpc", "-o", "subformat=dynamic,force_size=on", filepath.Join(dir, "qemu-dynamic.vhd"), "1M")
	for _, cmd := range []*exec.Cmd{convert, create} {
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return err
		}
	}
	return nil
}

// makeOurs makes a base that holds the lines, and a larger child of it, of other
// blocks, that holds one piece in the middle and one behind the base's end.
func makeOurs(fsys vhd.FS, content []byte) error {
	opts := vhd.CreateOptions{
		Options: vhd.Options{FS: fsys}, Size: int64(len(content)), BlockSize: 16 << 10,
		ID: uuid.MustParse("00000000-0000-4000-8000-000000000001"), Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	base, err := vhd.Create("base.vhd", opts)
	if err != nil {
		return err
	}
	if _, err := base.WriteAt(content, 0); err != nil {
		return err
	}
	if err := base.Close(); err != nil {
		return err
	}
	opts.Parent, opts.Size, opts.BlockSize = "base.vhd", 80<<10, 8<<10
	opts.ID = uuid.MustParse("00000000-0000-4000-8000-000000000002")
	child, err := vhd.Create("child.vhd", opts)
	if err != nil {
		return err
	}
	for _, off := range []int64{20000, 70000} {
		if _, err := child.WriteAt([]byte("the child's own"), off); err != nil {
			return err
		}
	}
	return child.Close()
}
