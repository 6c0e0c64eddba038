package vhd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
)

// RepairOptions say how an image is repaired, or a repair undone.
type RepairOptions struct {
	// Options are as for Open. Writable goes without saying, and a parent is never
	// changed. It is opened, for reading, only where an interrupted change left the
	// image with two headers that name different parents: what is there tells which
	// of them is right. FS is also where the undo file is.
	Options
	// DryRun changes nothing, and takes the lock of a reader: the report tells
	// what would be done, and what would remain.
	DryRun bool
	// Undo is the name of the undo file, which must not exist yet; empty: the
	// image's with ".undo" behind it, or ".undo2" and so on if there is one.
	Undo string
	// Progress, if it is set, is told now and then how many bytes were gone
	// through, and how many there are as far as is known: total grows as more is
	// found to do. It holds up the work while it runs.
	Progress func(done, total int64)
}

// A RepairStep is one thing that a repair mends.
type RepairStep struct {
	Code      string `json:"code"`      // that of the finding that it mends
	Image     string `json:"image"`     // name of the file
	Structure string `json:"structure"` // that of the finding
	Offset    int64  `json:"offset"`    // of what changes, in bytes from the file's start
	Message   string `json:"message"`   // one sentence for people, which may change
}

// Repair mends what is wrong with an image as far as that can be done without
// guessing; docs/check.md tells of every finding whether it is, and how. Every
// sector that could be read reads the same afterwards. One that could not be read
// still can't: nothing is made up. The report tells what was done, and what Check
// finds afterwards. An image that can only be mended with its parent, which is not
// found, or not looked for as NoParents says, is left alone, and a finding says why.
//
// Before anything changes, an undo file is made and is durable. With it
// [UndoRepair] takes the image back to the bytes that it had. An image with which
// nothing is to be done is not written to, and there is no undo file.
//
// It may be stopped at any moment, by ctx, an error, or a loss of power: what
// could be read still can, and another repair does the rest. Once there is an undo file
// the report comes with the error, and has its name and the steps that were done by then.
// It has no findings then: nobody has looked what is left.
//
// The image's file keeps its time, where the FS can, so that its children are not taken
// for worthless.
//
// The image is locked as by a writer. Errors are those of Check, one that checks the
// parents too where a parent is looked for; an undo file that exists already is
// [fs.ErrExist]; too little room for it, and for what the image grows by, is ErrNoSpace
// where the FS can tell, and nothing is changed.
func Repair(ctx context.Context, name string, opts RepairOptions) (*Report, error) {
	opts.Writable = !opts.DryRun
	r := repairing{ctx: ctx, name: name, opts: &opts, chain: chain{opts: &opts.Options}}
	defer r.chain.close()
	report, err := r.run()
	return report, inFile(name, err)
}

// repairing is a repair under way.
type repairing struct {
	ctx   context.Context
	name  string
	opts  *RepairOptions
	chain chain // of one image, and perhaps its parent

	parent wantedParent

	file  *overlay // on which it is done first
	image *Image   // as the last check left it
	steps repairSteps

	done, total int64 // bytes
}

func (r *repairing) run() (*Report, error) {
	leaf, err := r.open()
	if err != nil {
		return nil, err
	}
	if err := r.findTwinsParent(); err != nil {
		return nil, err
	}
	r.file = newOverlay(leaf.file, leaf.info.Size())
	findings, err := r.plan()
	if err != nil {
		return nil, err
	}
	report := &Report{Findings: findings, Steps: r.steps.after(len(r.file.changes))}
	if r.opts.DryRun || len(r.file.changes) == 0 {
		return report, nil
	}
	undo, nchanges, err := r.do(leaf)
	switch {
	case undo == "":
		return nil, err
	case err != nil: // what would be found by now nobody has looked for
		report.Findings, report.Steps = []Finding{}, r.steps.after(nchanges)
	}
	report.Undo = undo
	return report, err
}

// open opens the file, of which nothing is believed yet.
func (r *repairing) open() (link, error) {
	l, err := r.chain.openFile(r.name, func(name string, f File) (link, error) {
		info, err := f.Stat()
		return link{img: &Image{name: name}, file: f, info: info}, err
	})
	if err == nil {
		r.chain.links = append(r.chain.links, &l)
	}
	return l, err
}

// maxRounds bounds how often it is looked again whether a repair has made
// something else come to light: space is found to be free once entries are
// cleared.
const maxRounds = 8

// plan repairs the overlay, and returns what is found there afterwards.
func (r *repairing) plan() ([]Finding, error) {
	for round := 0; ; round++ {
		findings, err := r.check()
		if err != nil {
			return nil, err
		}
		before := len(r.file.changes)
		if round < maxRounds && r.parent.why == "" {
			err = r.mend(codesOf(findings))
			r.steps.end(len(r.file.changes))
		}
		if err != nil {
			return nil, err
		}
		if len(r.file.changes) == before {
			return r.explained(findings), nil
		}
	}
}

// check checks the image as the overlay has it.
func (r *repairing) check() ([]Finding, error) {
	opts := CheckOptions{Options: r.opts.Options}
	before := r.total
	opts.Progress = func(done, total int64) {
		r.total = before + total
		r.progress(before + done)
	}
	c := checking{ctx: r.ctx, opts: &opts, chain: chain{opts: &opts.Options}, findings: []Finding{}}
	r.image = &Image{name: r.name, file: r.file}
	r.image.fileSize.Store(r.file.size)
	if _, err := c.checkImage(r.image); err != nil {
		return nil, err
	}
	slices.SortStableFunc(c.findings, func(a, b Finding) int { return int(b.Severity - a.Severity) })
	return c.findings, nil
}

// progress tells how far the repair is.
func (r *repairing) progress(done int64) {
	r.done = done
	if r.opts.Progress != nil {
		r.opts.Progress(r.done, r.total)
	}
}

// do does to the file what was done to the overlay, once the undo file is there.
// It returns the name of that, if there is one, and how many changes are made.
func (r *repairing) do(leaf link) (undo string, nchanges int, err error) {
	r.total += r.file.total()
	u, err := undoOf(r.file)
	if err != nil {
		return "", 0, err
	}
	if err := r.checkRoom(u); err != nil {
		return "", 0, err
	}
	undo, dir, err := r.publish(u, leaf.info.Mode().Perm()&0o666|0o600)
	if err != nil {
		return "", 0, err
	}
	if err := r.ctx.Err(); err != nil {
		return "", 0, joined(err, dir.takeBack())
	}
	defer keepTime(r.opts.files(), r.name, leaf.info.ModTime()) // the disk in it stays the same
	for i, c := range r.file.changes {
		if err = r.ctx.Err(); err == nil {
			err = c.changeTo(leaf.file, r.goOn)
		}
		if err != nil {
			return undo, i, fmt.Errorf("%w; %s can take back what was done by then, and another repair does the rest", err, undo)
		}
	}
	return undo, len(r.file.changes), nil
}

func (r *repairing) goOn(n int64) error {
	r.progress(r.done + n)
	return r.ctx.Err()
}

// checkRoom is why there is no room for the undo file and for what the image grows by.
func (r *repairing) checkRoom(u *undoing) error {
	n, err := u.size(r.ctx)
	if err != nil {
		return err
	}
	undo := cmp.Or(r.opts.Undo, r.name)
	if filepath.Dir(undo) == filepath.Dir(r.name) {
		return r.opts.checkRoom(r.name, n+r.file.grown())
	}
	return cmp.Or(r.opts.checkRoom(undo, n), r.opts.checkRoom(r.name, r.file.grown()))
}

// maxUndoFiles is how many undo files one image gets beside it.
const maxUndoFiles = 99

// publish makes the undo file, which holds what the image does: who may not read
// the one may not read the other, as perm says.
func (r *repairing) publish(u *undoing, perm fs.FileMode) (name string, dir directory, err error) {
	names := []string{r.opts.Undo}
	if r.opts.Undo == "" {
		names = []string{r.name + ".undo"}
		for i := 2; i <= maxUndoFiles; i++ {
			names = append(names, fmt.Sprintf("%s.undo%d", r.name, i))
		}
	}
	for _, name = range names {
		if dir, err = directoryOf(name, r.opts.FS); err == nil {
			dir.perm = perm
			err = dir.publish(func(f File) error { return u.write(r.ctx, &fileWriter{f: f}) })
		}
		if err == nil || !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err != nil {
		err = &FileError{name, fmt.Errorf("no undo file, and so no repair: %w", err)}
	}
	return name, dir, err
}

// codesOf are the codes of findings.
func codesOf(findings []Finding) map[string]bool {
	codes := map[string]bool{}
	for _, f := range findings {
		codes[f.Code] = true
	}
	return codes
}

// repairSteps are the steps of a repair, of which few of a code are told.
type repairSteps struct {
	steps []notedStep
	of    map[string]int // by code
}

// notedStep is a step, or more of a code than are told.
type notedStep struct {
	RepairStep
	more     int // steps of the code; 0: it is one
	nchanges int // of the file that are made when it is done; 0: not known yet
}

// add notes a step. The message is a sentence.
func (s *repairSteps) add(name, code string, off int64, format string, args ...any) {
	if s.of == nil {
		s.of = map[string]int{}
	}
	n := len(s.steps)
	switch s.of[code]++; {
	case s.of[code] <= maxFindings:
		s.steps = append(s.steps, notedStep{RepairStep: RepairStep{
			Code: code, Image: name, Structure: checkCodes[code].structure, Offset: off, Message: fmt.Sprintf(format, args...),
		}})
	case s.steps[n-1].Code == code && s.steps[n-1].more > 0 && s.steps[n-1].nchanges == 0:
		s.steps[n-1].more++
	default:
		s.steps = append(s.steps, notedStep{RepairStep: RepairStep{Code: code, Image: name, Structure: checkCodes[code].structure, Offset: off}, more: 1})
	}
}

// end says how many changes the file has had once all steps noted by now are done.
func (s *repairSteps) end(nchanges int) {
	for i := len(s.steps) - 1; i >= 0 && s.steps[i].nchanges == 0; i-- {
		s.steps[i].nchanges = nchanges
	}
}

// after are the steps that are done after so many changes of the file.
func (s *repairSteps) after(nchanges int) (done []RepairStep) {
	for _, step := range s.steps {
		if step.nchanges > nchanges {
			break
		}
		if step.more > 0 {
			step.Message = fmt.Sprintf("And %d more like these.", step.more)
		}
		done = append(done, step.RepairStep)
	}
	return done
}
