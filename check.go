package vhd

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
)

// CheckOptions say how an image is checked.
type CheckOptions struct {
	// Options are as for Open. A check never writes, and takes the lock of a
	// reader: Writable is [fs.ErrInvalid]. CacheSize is not used. NoParents goes
	// without saying unless Chain or Parent is set, and then it is fs.ErrInvalid.
	Options

	// Chain checks the parents too, which are found and opened as Open does, and
	// how each image goes with its parent. Without it, and without Parent, no other
	// file is opened.
	Chain bool

	// Parent finds the parents too, and checks how the image goes with the first, and whether
	// there is an end to its chain. The parents themselves are opened and not checked, and
	// Progress does not count them: of many images that share some, Parent for each of them,
	// and for each parent, finds what Chain does for all, and goes through each file once.
	// With Chain it says nothing more.
	Parent bool

	// Progress, if it is set, is told now and then how many bytes of the files are
	// gone through. With Chain, total grows with each parent that is found. It
	// holds up the check while it runs.
	Progress func(done, total int64)
}

// A Report is what a check found, or what a repair did and left. A repair that ended on
// its way has no findings.
type Report struct {
	Findings []Finding `json:"findings"` // most severe first, the leaf's before its parents'; nothing found: empty

	// Of a repair:
	Steps []RepairStep `json:"steps,omitempty"` // in the order in which they are done
	Undo  string       `json:"undo,omitempty"`  // name of the file that UndoRepair takes; empty: nothing was changed
}

// A Finding is one thing that is wrong with an image, or odd about it.
type Finding struct {
	Code      string   `json:"code"`      // such as "bat-overlap"; docs/check.md lists all. It means the same in all versions
	Severity  Severity `json:"severity"`  // how bad it is
	Image     string   `json:"image"`     // name of the file
	Structure string   `json:"structure"` // "file", "footer", "dynamic header", "parent locator", "BAT", "sector bitmap" or "chain"
	Offset    int64    `json:"offset"`    // of what the finding is about, in bytes from the file's start
	Message   string   `json:"message"`   // one sentence for people, which may change

	// Count is how many things like those in front of it the finding stands for, where
	// there are too many to list; 0: it is about one.
	Count int64 `json:"count,omitempty"`
}

// Severity says how bad a finding is. As text, in JSON too, it is its String.
type Severity int

const (
	// SeverityInfo is something odd that does no harm here. Other software may
	// take offence at it, or read something else.
	SeverityInfo Severity = iota
	// SeverityLeak is space in the file that nothing uses and nothing gives back.
	SeverityLeak
	// SeverityError is damage, or what others may take for damage: Open refuses
	// the image, or refuses to write it, or has to mend it, or a part can't be
	// read.
	SeverityError
)

var severityNames = [...]string{SeverityInfo: "info", SeverityLeak: "leak", SeverityError: "error"}

func (s Severity) String() string {
	if s < 0 || int(s) >= len(severityNames) {
		return fmt.Sprintf("severity %d", int(s))
	}
	return severityNames[s]
}

// MarshalText implements [encoding.TextMarshaler].
func (s Severity) MarshalText() ([]byte, error) {
	if s < 0 || int(s) >= len(severityNames) {
		return nil, fmt.Errorf("vhd: %w: %v", fs.ErrInvalid, s)
	}
	return []byte(s.String()), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Severity) UnmarshalText(text []byte) error {
	at := slices.Index(severityNames[:], string(text))
	if at < 0 {
		return fmt.Errorf("vhd: %w: severity %q", fs.ErrInvalid, text)
	}
	*s = Severity(at)
	return nil
}

// Check looks for all that is wrong with an image, or odd about it: with its
// structures one by one, whether its blocks have places of their own, and what
// space is lost. It goes on behind what is damaged as far as it can, so that it
// also tells of images that Open refuses. It changes nothing. What the blocks
// hold is looked at only where it should be zeros, and file systems never.
//
// An image without a finding of SeverityError opens for writing, if its parents
// open. One that has such findings may be read all the same.
//
// An error means that the check could not be done: the file can't be read, is no
// regular file, or is locked by a writer; it has neither a footer nor a dynamic
// header, which is ErrFormat; or it is of a kind that this package does not know, which is
// ErrUnsupported. A parent that is missing is a finding, and so is one that is
// damaged, which is checked all the same; one that is locked or can't be read is an
// error. The end of ctx ends the check, with ctx's error. If it is a parent that
// could not be checked, the report of what was found by then comes with the error.
func Check(ctx context.Context, name string, opts CheckOptions) (*Report, error) {
	if opts.Writable || (opts.Chain || opts.Parent) && opts.NoParents {
		return nil, inFile(name, fmt.Errorf("%w: a check neither writes nor does without the parents that it is to check", fs.ErrInvalid))
	}
	c := checking{ctx: ctx, opts: &opts, chain: chain{opts: &opts.Options}, findings: []Finding{}}
	defer c.chain.close()
	err := c.run(name)
	if err != nil && !c.hasLeaf {
		return nil, inFile(name, err)
	}
	slices.SortStableFunc(c.findings, func(a, b Finding) int { return int(b.Severity - a.Severity) })
	return &Report{Findings: c.findings}, inFile(name, err)
}

// checking is a check under way, of an image and perhaps its parents.
type checking struct {
	ctx      context.Context
	opts     *CheckOptions
	chain    chain
	findings []Finding
	hasLeaf  bool   // all of it was checked
	buf      []byte // for data under clear bits

	done, total int64 // bytes of files
}

func (c *checking) run(name string) error {
	leaf, err := c.chain.openFile(name, c.linkTo)
	if err != nil {
		return err
	}
	c.chain.links = append(c.chain.links, &leaf)
	parented, err := c.checkImage(leaf.img)
	c.hasLeaf = err == nil
	if err != nil || !c.opts.Chain && !c.opts.Parent || !parented {
		return err
	}
	if err := c.chain.enterPlace(name); err != nil {
		return err
	}
	defer c.chain.place.release()
	if c.opts.Chain {
		return c.checkParents()
	}
	return c.checkParent()
}

// linkTo is a file of which nothing has been read yet.
func (c *checking) linkTo(name string, f File) (link, error) {
	info, err := f.Stat()
	if err != nil {
		return link{}, err
	}
	m := &Image{name: name, file: f}
	m.fileSize.Store(info.Size())
	return link{img: m, file: f, info: info}, nil
}

// checkImage checks one image and fills it in, as far as that can be done. It
// says whether it tells of a parent.
func (c *checking) checkImage(m *Image) (parented bool, err error) {
	c.total += m.FileSize()
	k := checkup{checking: c, m: m, before: c.done}
	err = k.run()
	c.findings = k.appendTo(c.findings)
	if err == nil {
		c.progress(k.before + m.FileSize())
	}
	return k.parented, inFile(m.name, err)
}

// progress tells how far the check is.
func (c *checking) progress(done int64) {
	c.done = done
	if c.opts.Progress != nil {
		c.opts.Progress(done, c.total)
	}
}

// checkup is the check of one image.
type checkup struct {
	*checking
	m      *Image
	before int64 // bytes of other files that were gone through
	found

	parented bool // the header of a differencing disk could be read

	blocks   []placedBlock // those whose places are sound, by place
	lastOff  int64         // the file's last block
	batWrong bool          // of others, the places are not
	batmap   batmapCheck
	near     bitmapsRead
}

// run checks the image structure by structure, as long as one leads to the next.
func (k *checkup) run() error {
	for _, step := range []func(*checkup) (ok bool, err error){
		(*checkup).checkFooters, (*checkup).checkFields, (*checkup).checkHeader, (*checkup).checkBlocks, (*checkup).checkSpace, (*checkup).checkBitmaps,
	} {
		if err := k.ctx.Err(); err != nil {
			return err
		}
		if ok, err := step(k); err != nil || !ok {
			return err
		}
	}
	return nil
}

// maxFindings bounds how many findings of one code there are about one image:
// a table may have millions of wrong entries.
const maxFindings = 16

// found is what was found about one image, by code, in the order of the first
// finding of each.
type found struct {
	codes []string
	of    map[string]*foundCode
}

// foundCode are the findings of one code.
type foundCode struct {
	findings []Finding
	more     int64 // that are not listed
}

// add notes a finding. The message is a sentence.
func (k *checkup) add(code string, off int64, format string, args ...any) {
	if k.isMore(code) {
		return
	}
	about := checkCodes[code]
	list := k.of[code]
	list.findings = append(list.findings, Finding{
		Code: code, Severity: about.severity, Image: k.m.name, Structure: about.structure, Offset: off, Message: fmt.Sprintf(format, args...),
	})
}

// isMore says whether enough is told of a code, and then counts one more. Where
// there may be very many it is asked before the words are put together.
func (k *checkup) isMore(code string) bool {
	list := k.of[code]
	if list == nil {
		if k.of == nil {
			k.of = map[string]*foundCode{}
		}
		list = &foundCode{}
		k.of[code] = list
		k.codes = append(k.codes, code)
	}
	if len(list.findings) < maxFindings {
		return false
	}
	list.more++
	return true
}

// appendTo appends all that was found.
func (f *found) appendTo(findings []Finding) []Finding {
	for _, code := range f.codes {
		list := f.of[code]
		findings = append(findings, list.findings...)
		if list.more > 0 {
			last := list.findings[len(list.findings)-1]
			last.Message, last.Count = fmt.Sprintf("And %d more like these.", list.more), list.more
			findings = append(findings, last)
		}
	}
	return findings
}

// addFormat notes what a rule of Open's says.
func (k *checkup) addFormat(code string, e *FormatError) {
	k.add(code, e.Offset, "The %s's %s is %v; it should be %v.", e.Part, e.Field, e.Got, e.Want)
}
