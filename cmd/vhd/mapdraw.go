package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/cmd/vhd/internal/picture"
)

// toStdout is the name of a file that stands for standard output.
const toStdout = "-"

// show shows a map in the terminal.
func (m *mapping) show() error {
	t := terminalOf(m.stdout)
	drawn := newMap(m.disk, printable(m.name), t.Cells(len(m.disk.Chain())), func(img *vhd.Image) string { return printable(img.Name()) })
	unreadable, err := fillMap(drawn, m.extents)
	if err != nil {
		return orInterrupted(m.name, err, "nothing was shown")
	}
	m.end()
	return errors.Join(inFile(standardOutput, drawn.WriteTerminal(m.stdout, t)), unreadable)
}

// draw draws a map in the file out, by write. It has names without directories, and so is
// the same wherever the images are.
func (m *mapping) draw(out string, write func(*picture.Map, io.Writer) error) error {
	if out != toStdout { // before all else: a map takes a while
		if _, err := replaceable(out, aPicture); err != nil {
			return err
		}
	}
	drawn := newMap(m.disk, printable(filepath.Base(m.name)), picture.MaxCells, func(img *vhd.Image) string { return printable(filepath.Base(img.Name())) })
	unreadable, err := fillMap(drawn, m.extents)
	if err != nil {
		return orInterrupted(out, err, "nothing was made")
	}
	m.end()
	if out == toStdout {
		return errors.Join(inFile(standardOutput, write(drawn, m.stdout)), unreadable)
	}
	var content bytes.Buffer
	if err := write(drawn, &content); err != nil {
		return inFile(out, err)
	}
	if err := writeWhole(out, aPicture, content.Bytes()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(m.stdout, "%s: a map of %s\n", printable(out), printable(m.name))
	return errors.Join(inFile(standardOutput, err), unreadable)
}

// aPicture is what an error calls a drawing.
const aPicture = "a picture"

// newMap is the map of a disk, of which fillMap tells it.
func newMap(d *vhd.Disk, name string, maxCells int64, nameOf func(*vhd.Image) string) *picture.Map {
	chain := d.Chain()
	var layers []picture.Layer
	for _, img := range chain {
		layers = append(layers, picture.Layer{Name: nameOf(img), FileSize: img.FileSize()})
	}
	header, _ := chain[0].Header() // a fixed image has neither that nor blocks
	return picture.NewMap(name, d.Size(), header.BlockSize, layers, maxCells)
}

// fillMap tells a map all about its disk. What can't be told of is in it as such, with the
// first reason. The error is that the user ended the work.
func fillMap(m *picture.Map, extents iter.Seq2[vhd.FileExtent, error]) (unreadable, err error) {
	var errs firstError
	for e, err := range extents {
		switch {
		case errs.note(err):
			m.Add(e.Length, picture.Unreadable)
		case e.Depth == vhd.Hole:
			m.Add(e.Length, picture.Hole)
		default:
			m.Add(e.Length, e.Depth)
		}
	}
	if errs.isEnd() {
		return nil, errs.err
	}
	return errs.err, nil
}
