package main

import (
	"errors"
	"path/filepath"
)

// contender is a way to read the disk.
type contender struct {
	name    string
	format  string // of the images that it reads
	missing error  // why it can't take part
	greedy  bool   // reads so much that others lose what they have in the page cache
	open    func(c *chains) (reader, error)
}

// contenders are all that are compared. The programs of readers/ are in the
// folder programs, as far as they could be built.
func contenders(programs string, places []int64, placesFile string) []contender {
	program := func(name string) string { return filepath.Join(programs, name) }
	return []contender{
		{
			name:   "raw file, by `os.File`",
			format: "raw",
			open:   func(c *chains) (reader, error) { return openInProcess(openRaw, c, places) },
		},
		{
			name:   "**VHD, by package vhd**",
			format: "vhd",
			open:   func(c *chains) (reader, error) { return openInProcess(openVHD, c, places) },
		},
		{
			name:    "VHD, by libvhdi (C)",
			format:  "vhd",
			missing: missing(program("libvhdi")),
			open: func(c *chains) (reader, error) {
				return serve(program("libvhdi"), placesFile, c.images("vhd"))
			},
		},
		{
			name:    "VHD, by 7-Zip",
			format:  "vhd",
			missing: missing("7zz"),
			greedy:  true, // of the holes in the files, too
			open:    func(c *chains) (reader, error) { return &sevenZip{c.leaf("vhd")}, nil },
		},
		{
			name:    "VHD, by qemu-img bench",
			format:  "vhd",
			missing: missing("qemu-img"),
			open:    func(c *chains) (reader, error) { return openSingleVHD(c, places) },
		},
		{
			name:    "qcow2, by go-qcow2reader (Go)",
			format:  "qcow2",
			missing: missing("qemu-img", "qemu-io"),
			open:    func(c *chains) (reader, error) { return openInProcess(openQcow2, c, places) },
		},
		{
			name:    "qcow2, by libqcow (C)",
			format:  "qcow2",
			missing: missing("qemu-img", "qemu-io", program("libqcow")),
			open: func(c *chains) (reader, error) {
				return serve(program("libqcow"), placesFile, c.images("qcow2"))
			},
		},
		{
			name:    "qcow2, by qemu-img bench",
			format:  "qcow2",
			missing: missing("qemu-img", "qemu-io"),
			open:    func(c *chains) (reader, error) { return benchQcow2(c, places), nil },
		},
		{
			name:    "qcow2, by qemu-nbd and libnbd",
			format:  "qcow2",
			missing: missing("qemu-img", "qemu-io", "qemu-nbd", program("libnbd")),
			open:    func(c *chains) (reader, error) { return openQemuNBD(c, program("libnbd"), placesFile) },
		},
	}
}

// openSingleVHD has qemu read an image without parents, which is all that it
// can: of a child, it reads what the child holds and nothing below.
func openSingleVHD(c *chains, places []int64) (reader, error) {
	if c.depth > 0 {
		return nil, errors.ErrUnsupported
	}
	return benchVHD(c, places), nil
}
