package main

import (
	"cmp"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/go-vhd/vhd"
)

// reportFlags are the flags of report.
type reportFlags struct {
	workFlags
	recursive bool
	out       string // empty: no page is made
}

func reportCommand(a *app) *cobra.Command {
	var flags reportFlags
	cmd := &cobra.Command{
		Use:   "report [-R] [-o OUT] [--output human|json] [-p] [-q] DIR",
		Short: "Make a page that tells all about the images in a folder",
		Long: `Make a page for a browser that tells all about the images in the folder DIR: their
trees, their sizes, what vhd check --chain finds, what vhd compact and vhd merge
would give back with the commands for it, and a map of each disk, of the first 64 if
there are more. No image is changed.

The page is one file that needs no network. It replaces a file of the name OUT, but
no image; - is standard output. The same folder makes the same page. With --output
json, its numbers are told instead, and a page is made only with -o.

Images that other programs are using are looked at too, and marked: what is told of
them may be over by now. All data is read, since zeros can be given back.

The exit code is 0 if the page is whole, whatever it says of the images. It is 1 if
there is a folder in DIR that can not be read.`,
		Example: `  vhd report /srv/disks
  vhd report -R -o disks.html /srv/disks
  vhd report --output json .`,
		Args: flags.check,
		RunE: func(cmd *cobra.Command, args []string) error {
			if flags.output == outputJSON && !cmd.Flags().Changed("out") {
				flags.out = ""
			}
			return runReport(cmd, a, &flags, args[0])
		},

		SuggestFor:            []string{"page", "overview"},
		ValidArgsFunction:     inOrder(aDirectory),
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().BoolVarP(&flags.recursive, "recursive", "R", false, "look into the folders in DIR too")
	cmd.Flags().StringVarP(&flags.out, "out", "o", "report.html", "write the page to the file `OUT`")
	flags.addOutput(cmd)
	flags.addProgress(cmd)
	return cmd
}

func (f *reportFlags) check(_ *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return usageErrorf("DIR is missing")
	case len(args) > 1:
		return usageErrorf("%q is one argument too many", args[1])
	case args[0] == "":
		return usageErrorf("DIR is empty")
	case f.out == "":
		return usageErrorf("OUT is empty")
	case f.out == toStdout && f.output == outputJSON:
		return usageErrorf("the page and JSON can not both go to standard output: give OUT another name")
	}
	return nil
}

func runReport(cmd *cobra.Command, a *app, flags *reportFlags, dir string) error {
	if err := errors.Join(mustBeFolder(dir), flags.mayBeWritten()); err != nil {
		return err
	}
	trees, unread, err := scanFolder(cmd.Context(), a, dir, flags.recursive, nil)
	if err != nil {
		return flags.interrupted(dir, err)
	}
	page, err := flags.look(cmd, a, trees)
	if err != nil {
		return flags.interrupted(dir, err)
	}
	for _, err := range unread {
		reportError(cmd.ErrOrStderr(), cmd, err)
		page.Unread = append(page.Unread, bare(err.Error()))
	}
	if err := flags.write(page, cmd.OutOrStdout()); err != nil {
		return err
	}
	if len(unread) > 0 {
		return exitCodeError{exitError}
	}
	return nil
}

// interrupted is err, or, if the user ended the work, that there is nothing of it.
func (f *reportFlags) interrupted(dir string, err error) error {
	return orInterrupted(cmp.Or(f.out, dir), err, "nothing was made")
}

// mayBeWritten is why the page can't be, as far as that shows before the images are looked
// at, which takes long.
func (f *reportFlags) mayBeWritten() error {
	if f.out == "" || f.out == toStdout {
		return nil
	}
	_, err := replaceable(f.out, aReport)
	return err
}

// aReport is what an error calls the page.
const aReport = "a report"

// look looks at all images.
func (f *reportFlags) look(cmd *cobra.Command, a *app, trees *forest) (*reportPage, error) {
	progress, end := f.progressOf(cmd.ErrOrStderr(), "report")
	defer end()
	s := newSurvey(trees, a.options(), progress)
	if err := s.run(cmd.Context()); err != nil {
		return nil, err
	}
	return &reportPage{folderReport: s.report(), survey: s, Tree: trees.picture(), Hints: trees.hints(a.root, cmd.Name())}, nil
}

// write writes the page, and tells of it.
func (f *reportFlags) write(page *reportPage, stdout io.Writer) error {
	if f.out == "" {
		return f.print(stdout, page.folderReport)
	}
	content, err := page.html()
	if err != nil {
		return err
	}
	if f.out == toStdout {
		_, err := stdout.Write(content)
		return inFile(standardOutput, err)
	}
	if err := writeWhole(f.out, aReport, content); err != nil {
		return err
	}
	return f.print(stdout, page.folderReport, page.lines(f.out)...)
}

// folderReport is what a report tells in numbers. Sizes are bytes.
type folderReport struct {
	Directory      string         `json:"directory"`
	Trees          int            `json:"trees"`
	Orphans        int            `json:"orphans"`
	Unreadable     int            `json:"unreadable"`
	ChangedParents int            `json:"changed-parents"` // images whose parent's file was changed since
	FileSize       int64          `json:"file-size"`
	ActualSize     int64          `json:"actual-size"`
	Corruptions    int64          `json:"corruptions"`
	Leaks          int64          `json:"leaks"`
	Notes          int64          `json:"notes"`
	Compacting     int64          `json:"bytes-compacting"` // what it would give back
	Merging        int64          `json:"bytes-merging"`
	Images         []*imageReport `json:"images"`
	Merges         []*fold        `json:"merges"`
}

// imageReport is what a report tells of an image.
type imageReport struct {
	listed
	InUse          bool          `json:"in-use"`
	Blocks         *blockInfo    `json:"blocks,omitempty"`
	Findings       []vhd.Finding `json:"findings"`
	CheckProblem   string        `json:"check-problem,omitempty"` // why it could not be checked
	CompactedSize  int64         `json:"compacted-size,omitempty"`
	CompactProblem string        `json:"compact-problem,omitempty"` // why that can't be told

	node   *node
	parent string // where it was found, as seen from the folder
}

// GivenBack is what compacting the image would give back.
func (r *imageReport) GivenBack() int64 {
	if r.CompactedSize == 0 {
		return 0
	}
	return max(0, r.FileSize-r.CompactedSize)
}

// Errors is how many findings there are of that severity.
func (r *imageReport) Errors() int64 { return countOf(r.Findings, vhd.SeverityError) }

// Leaks is Errors of another severity.
func (r *imageReport) Leaks() int64 { return countOf(r.Findings, vhd.SeverityLeak) }

// Notes is Errors of the least severity.
func (r *imageReport) Notes() int64 { return countOf(r.Findings, vhd.SeverityInfo) }

// report puts together what was found.
func (s *survey) report() *folderReport {
	count := s.counts()
	r := &folderReport{Directory: s.dir, Trees: count.trees, Orphans: count.orphans, Unreadable: count.unreadable, ChangedParents: count.changedParents,
		Images: s.reports, Merges: s.folds}
	r.FileSize, r.ActualSize = s.sizes()
	for _, image := range r.Images {
		r.Corruptions += image.Errors()
		r.Leaks += image.Leaks()
		r.Notes += image.Notes()
		r.Compacting += image.GivenBack()
	}
	for _, f := range r.Merges {
		r.Merging += f.GivenBack()
	}
	return r
}
