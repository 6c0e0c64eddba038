package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/go-vhd/vhd"
)

// chains are the same disk three times: a raw file, a chain of VHD images and a
// chain of qcow2 images. They grow from one depth to the next, and the raw file
// always holds what both read as.
type chains struct {
	content
	dir     string
	depth   int   // -1 before there is a base
	noQcow2 error // why there is no chain of these
}

func newChains(dir string, c content) *chains {
	return &chains{
		content: c,
		dir:     dir,
		depth:   -1,
		noQcow2: missing("qemu-img", "qemu-io"),
	}
}

func (c *chains) raw() string { return filepath.Join(c.dir, "disk.raw") }

// image is the name of the image at a level; the base is at 0.
func (c *chains) image(level int, format string) string {
	return filepath.Join(c.dir, fmt.Sprintf("%d.%s", level, format))
}

func (c *chains) leaf(format string) string { return c.image(c.depth, format) }

// images are those of a chain, leaf first.
func (c *chains) images(format string) []string {
	var names []string
	for level := c.depth; level >= 0; level-- {
		names = append(names, c.image(level, format))
	}
	return names
}

// files are those that hold the disk in a format.
func (c *chains) files(format string) []string {
	if format == "raw" {
		return []string{c.raw()}
	}
	return c.images(format)
}

// growTo adds children until the chains have depth of them.
func (c *chains) growTo(depth int) error {
	if c.depth < 0 {
		if err := c.makeBase(); err != nil {
			return fmt.Errorf("making the base: %w", err)
		}
		c.depth = 0
	}
	for c.depth < depth {
		if err := c.addLevel(c.depth + 1); err != nil {
			return fmt.Errorf("making child %d: %w", c.depth+1, err)
		}
		c.depth++
	}
	return nil
}

func (c *chains) makeBase() error {
	raw, err := os.Create(c.raw())
	if err != nil {
		return err
	}
	if err := errors.Join(raw.Truncate(c.size), c.writeBase(raw), raw.Close()); err != nil {
		return err
	}
	disk, err := vhd.Create(c.image(0, "vhd"), vhd.CreateOptions{Size: c.size})
	if err != nil {
		return err
	}
	if err := errors.Join(c.writeBase(disk), disk.Close()); err != nil || c.noQcow2 != nil {
		return err
	}
	return run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", c.raw(), c.image(0, "qcow2"))
}

func (c *chains) addLevel(level int) error {
	raw, err := os.OpenFile(c.raw(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(c.writeLevel(raw, level), raw.Close()); err != nil {
		return err
	}
	disk, err := vhd.Create(c.image(level, "vhd"), vhd.CreateOptions{Parent: c.image(level-1, "vhd")})
	if err != nil {
		return err
	}
	if err := errors.Join(c.writeLevel(disk, level), disk.Close()); err != nil || c.noQcow2 != nil {
		return err
	}
	name := c.image(level, "qcow2")
	if err := makeOverlay(name, c.image(level-1, "qcow2")); err != nil {
		return err
	}
	return c.writeOverlay(name, level)
}

func makeOverlay(name, parent string) error {
	return run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", parent, name)
}

// writeOverlay has qemu-io write what content.writeLevel writes.
func (c *chains) writeOverlay(name string, level int) error {
	var script strings.Builder
	for _, f := range c.fills(level) {
		fmt.Fprintf(&script, "write -q -P %d %d %d\n", f.value, f.off, small)
	}
	cmd := exec.Command("qemu-io", "-f", "qcow2", name)
	cmd.Stdin = strings.NewReader(script.String())
	return runCommand(cmd)
}

// sum is the sha256 of the disk.
func (c *chains) sum() (string, error) { return sumOfFile(c.raw()) }

func sumOfFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	sum, err := sumOf(f)
	return sum, errors.Join(err, f.Close())
}

func sumOf(r io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.CopyBuffer(h, r, make([]byte, piece)); err != nil {
		return "", err
	}
	return string(h.Sum(nil)), nil
}
