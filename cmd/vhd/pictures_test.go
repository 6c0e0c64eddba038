package main

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

var drawPictures = flag.Bool("draw-pictures", false, "draw those of the documents anew")

// pictures are those of the documents, and what draws them. They were looked at in a browser.
var pictures = map[string][]string{
	"map.svg":  {"map", "--svg", "-", "disks/alice.vhd"},
	"tree.svg": {"ls", "--svg", "-", "disks"},
}

// onDisk is what depends on the file system.
var onDisk = regexp.MustCompile(`[0-9.]+ [KMG]?i?B on disk`)

func TestPicturesOfTheDocumentsAreUpToDate(t *testing.T) {
	docs, err := filepath.Abs(filepath.Join(projectDir, "docs"))
	require.NoError(t, err)
	enter(t)
	makePictured(t, "disks")
	for name, line := range pictures {
		file := filepath.Join(docs, name)
		drawn := succeed(t, line...)
		shown, _ := os.ReadFile(file) // none: not up to date
		if onDisk.ReplaceAllString(string(shown), "") == onDisk.ReplaceAllString(drawn, "") {
			continue
		}
		require.True(t, *drawPictures, "make pictures draws docs/%s anew; then look at it", name)
		writeFile(t, file, []byte(drawn))
	}
}

// A browser draws the report, and not everywhere the same: what is compared is the page that was drawn. Its own
// drawings are made as those above.
func TestPicturesOfTheDocumentsShowAReport(t *testing.T) {
	file, err := filepath.Abs(filepath.Join(projectDir, "docs", "report.png"))
	require.NoError(t, err)
	require.FileExists(t, file)
	drawnPage, err := filepath.Abs(filepath.Join("testdata", "report-picture.html"))
	require.NoError(t, err)
	enter(t)
	makePictured(t, "disks")
	page := withoutDrawings(reportOn(t, "disks"))
	if !*drawPictures {
		drawn, _ := os.ReadFile(drawnPage) // none: not up to date
		require.Equal(t, string(drawn), page, "make pictures draws docs/report.png anew; then look at it")
		return
	}
	succeed(t, "report", "-q", "-o", "report.html", "disks")
	vhdtest.Screenshot(t, "report.html", file, 1200, 2262)
	writeFile(t, drawnPage, []byte(page))
}

// pictured is an image of the pictures, with pieces of whole random MiB in its disk.
type pictured struct {
	name, parent string
	pieces       int
	within       int64 // MiB
}

// makePictured makes the images of the pictures in a new folder, always the same bytes.
func makePictured(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, os.Mkdir(dir, 0o755))
	root, err := os.OpenRoot(dir) // so that the paths in the images are those of the folder
	require.NoError(t, err)
	defer root.Close()
	random := rand.New(rand.NewPCG(0, 0))
	for i, p := range []pictured{
		{name: "win.vhd", pieces: 24, within: 180},
		{name: "office.vhd", parent: "win.vhd", pieces: 14, within: 230},
		{name: "alice.vhd", parent: "office.vhd", pieces: 16, within: 250},
		{name: "bob.vhd", parent: "office.vhd", pieces: 5, within: 120},
		{name: "lab.vhd", parent: "win.vhd", pieces: 3, within: 90},
		{name: "lab-today.vhd", parent: "lab.vhd", pieces: 9, within: 60},
		{name: "old.vhd"},
		{name: "test.vhd", parent: "old.vhd", pieces: 2, within: 20},
	} {
		p.make(t, vhd.RootFS(root), byte(i), random)
	}
	require.NoError(t, root.Remove("old.vhd"))
}

func (p *pictured) make(t *testing.T, fsys vhd.FS, id byte, random *rand.Rand) {
	t.Helper()
	opts := vhd.CreateOptions{
		Options: vhd.Options{FS: fsys}, Parent: p.parent,
		ID: uuid.UUID{15: id + 1}, Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	if p.parent == "" {
		opts.Size = 256 << 20
	}
	disk, err := vhd.Create(p.name, opts)
	require.NoError(t, err)
	for range p.pieces {
		piece := bytes.Repeat([]byte("data"), (1+random.IntN(5))<<18)
		_, err := disk.WriteAt(piece, random.Int64N(p.within)<<20)
		require.NoError(t, err)
	}
	require.NoError(t, disk.Close())
}
