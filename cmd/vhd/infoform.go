package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-vhd/vhd"
)

// imageInfo tells of an image, with the keys of qemu-img info. Sizes are bytes.
type imageInfo struct {
	VirtualSize         int64          `json:"virtual-size"`
	Filename            string         `json:"filename"`
	Format              string         `json:"format"`
	ActualSize          int64          `json:"actual-size"` // what the file takes, without its holes
	ClusterSize         int64          `json:"cluster-size,omitempty"`
	DirtyFlag           bool           `json:"dirty-flag"`
	BackingFilename     string         `json:"backing-filename,omitempty"`      // as the image has it
	FullBackingFilename string         `json:"full-backing-filename,omitempty"` // where it was found
	BackingFormat       string         `json:"backing-filename-format,omitempty"`
	FormatSpecific      formatSpecific `json:"format-specific"`
}

type formatSpecific struct {
	Type string  `json:"type"`
	Data vhdInfo `json:"data"`
}

// vhdInfo is what only a VHD has. Identifiers are in the byte order of the
// file.
type vhdInfo struct {
	DiskType           string            `json:"disk-type"`
	UniqueID           string            `json:"unique-id"`
	Created            time.Time         `json:"created,omitzero"`
	CreatorApplication string            `json:"creator-application"`
	CreatorVersion     string            `json:"creator-version"`
	CreatorHost        string            `json:"creator-host"`
	OriginalSize       int64             `json:"original-size"`
	FileSize           int64             `json:"file-size"`
	Geometry           geometryInfo      `json:"geometry"`
	SavedState         bool              `json:"saved-state"`
	NeedsRecovery      bool              `json:"needs-recovery"`
	InUse              bool              `json:"in-use"` // another program is writing it
	Blocks             *blockInfo        `json:"blocks,omitempty"`
	ParentID           string            `json:"parent-unique-id,omitempty"`
	ParentTime         time.Time         `json:"parent-time,omitzero"`
	ParentReferences   []parentReference `json:"parent-references,omitempty"`
	ParentProblem      string            `json:"parent-problem,omitempty"` // why the chain can't be opened
}

type geometryInfo struct {
	Cylinders       uint16 `json:"cylinders"`
	Heads           uint8  `json:"heads"`
	SectorsPerTrack uint8  `json:"sectors-per-track"`
}

type blockInfo struct {
	Allocated int   `json:"allocated"`
	Total     int64 `json:"total"`
}

type parentReference struct {
	Origin string `json:"origin"`
	Path   string `json:"path"`
}

func describeFooter(f *vhd.Footer) vhdInfo {
	return vhdInfo{
		DiskType: f.Type.String(), UniqueID: f.ID.String(), Created: f.Time,
		CreatorApplication: tag(f.CreatorApplication), CreatorHost: tag(f.CreatorHost),
		CreatorVersion: fmt.Sprintf("%d.%d", f.CreatorVersion>>16, f.CreatorVersion&0xFFFF),
		OriginalSize:   f.OriginalSize, SavedState: f.SavedState != 0,
		Geometry: geometryInfo(f.Geometry),
	}
}

// tag is a word of four bytes without its padding.
func tag(b [4]byte) string { return strings.TrimRight(string(b[:]), " \x00") }

// printInfo writes a table.
func printInfo(stdout io.Writer, info imageInfo) error {
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	row := func(label, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", label, printable(fmt.Sprintf(format, args...)))
	}
	data := &info.FormatSpecific.Data
	row("image:", "%s", info.Filename)
	row("type:", "%s", data.DiskType)
	row("virtual size:", "%s", exactSize(info.VirtualSize))
	row("file size:", "%s, %s on disk", exactSize(data.FileSize), humanSize(info.ActualSize))
	if b := data.Blocks; b != nil {
		row("blocks:", "%d of %d allocated, %s each", b.Allocated, b.Total, humanSize(info.ClusterSize))
	}
	if data.ParentID != "" {
		info.printParent(row)
	}
	row("identifier:", "%s", data.UniqueID)
	row("creator:", "%q %s on %q%s", data.CreatorApplication, data.CreatorVersion, data.CreatorHost, timeWords(", ", data.Created))
	row("geometry:", "%d cylinders, %d heads, %d sectors a track", data.Geometry.Cylinders, data.Geometry.Heads, data.Geometry.SectorsPerTrack)
	if data.OriginalSize != info.VirtualSize {
		row("original size:", "%s", exactSize(data.OriginalSize))
	}
	for _, note := range info.notes() {
		row("note:", "%s", note)
	}
	return w.Flush()
}

// printParent adds the rows about the parent.
func (info *imageInfo) printParent(row func(label, format string, args ...any)) {
	data := &info.FormatSpecific.Data
	switch {
	case info.FullBackingFilename != "":
		row("parent:", "%s", info.FullBackingFilename)
	default:
		row("parent:", "can not be opened: %s", data.ParentProblem)
	}
	for _, ref := range data.ParentReferences {
		path := ref.Path
		if path == "" {
			path = "(unreadable)"
		}
		row("  stored as:", "%s (%s)", path, ref.Origin)
	}
	row("  identifier:", "%s", data.ParentID)
	if !data.ParentTime.IsZero() {
		row("  last changed:", "%s", timeWords("", data.ParentTime))
	}
}

// notes are what a user should know before using the image.
func (info *imageInfo) notes() []string {
	var notes []string
	data := &info.FormatSpecific.Data
	if data.InUse {
		notes = append(notes, "another program is writing it now")
	}
	if data.NeedsRecovery {
		notes = append(notes, "its footers differ, or one is lost: a writer did not finish, or the file was cut off; vhd map tells what can be read")
	}
	if data.SavedState {
		notes = append(notes, "it belongs to a machine in saved state")
	}
	if data.ParentProblem != "" {
		notes = append(notes, "without its parent only a part of the disk can be read; vhd info --chain tells where it was looked for")
	}
	return notes
}

func timeWords(before string, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return before + t.UTC().Format("2006-01-02 15:04:05 UTC")
}
