package vhd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// UndoRepair takes an image back to exactly the bytes that it had before a
// repair. opts.Undo is the name of the undo file; after several repairs the one
// that was made last comes first. The file stays. Done again, it changes nothing.
//
// The repair may have ended early, and so may an undo: it is done again. An image
// that was written to since is left alone, as is another one than that of the undo
// file: the error matches [fs.ErrInvalid]. Writes to blocks that were there
// already, which change nothing but these, are neither noticed nor undone. The
// image's file keeps its time, where the FS can.
//
// With opts.DryRun it is looked whether it could be done. The image is locked as by
// a writer, or else by a reader. An undo file that is damaged is ErrFormat.
func UndoRepair(ctx context.Context, name string, opts RepairOptions) error {
	opts.Writable = !opts.DryRun
	if opts.Undo == "" {
		return inFile(name, fmt.Errorf("%w: an undo needs the name of the undo file", fs.ErrInvalid))
	}
	r := repairing{ctx: ctx, name: name, opts: &opts, chain: chain{opts: &opts.Options}}
	defer r.chain.close()
	u := restoring{repairing: &r, buf: make([]byte, maxUndoRun*SectorSize)}
	return inFile(name, u.checkAndRestore())
}

// restoring is an undo under way.
type restoring struct {
	*repairing
	undo File
	end  int64 // of what the undo file has in front of its sum

	before, least, most int64 // sizes of the image
	versions            []undoVersion

	target File // the image's file, to which nothing is laid over
	size   int64
	buf    []byte // of a run
	found  []byte // what the image has there
}

// undoRun is a run of sectors as they were.
type undoRun struct {
	off, end int64 // in the image
	from     int64 // in the undo file; 0: they are zeros
	p        []byte
}

func (u *restoring) checkAndRestore() error {
	leaf, err := u.open()
	if err != nil {
		return err
	}
	u.target, u.size = leaf.file, leaf.info.Size()
	if err := u.openUndo(); err != nil {
		return &FileError{u.opts.Undo, err}
	}
	defer func() { _ = u.undo.Close() }() // nothing was written
	if err := u.checkUndo(); err != nil {
		return &FileError{u.opts.Undo, err}
	}
	if err := u.verify(); err != nil {
		return err
	}
	if err := u.checkWitnesses(); err != nil || u.opts.DryRun {
		return err
	}
	defer keepTime(u.opts.files(), u.name, leaf.info.ModTime()) // the disk in it stays the same
	return u.restore()
}

func (u *restoring) openUndo() (err error) {
	u.undo, err = u.opts.files().OpenFile(u.opts.Undo, os.O_RDONLY, 0)
	return err
}

func wrongUndo(field string, off int64, got, want any) error {
	return &FormatError{Part: "undo file", Field: field, Offset: off, Got: got, Want: want, Err: ErrFormat}
}

// checkUndo reads all of the undo file, and keeps the versions.
func (u *restoring) checkUndo() error {
	info, err := u.undo.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errNotRegular
	}
	if info.Size() < undoHeaderSize+undoRunHead+sha256.Size {
		return wrongUndo("", 0, fmt.Sprintf("%d bytes", info.Size()), "an undo file of a repair")
	}
	u.end = info.Size() - sha256.Size
	var head [undoHeaderSize]byte
	if err := readFull(u.undo, head[:], 0); err != nil {
		return err
	}
	if string(head[:len(undoCookie)]) != undoCookie {
		return wrongUndo("cookie", 0, fmt.Sprintf("%q", head[:len(undoCookie)]), fmt.Sprintf("%q", undoCookie))
	}
	if err := u.checkSum(); err != nil {
		return err
	}
	number := func(off int) int64 { return int64(binary.BigEndian.Uint64(head[off:]) & (1<<62 - 1)) }
	u.before, u.least, u.most = number(16), number(24), number(32)
	nversions := number(40)
	if u.least > u.before || u.before > u.most {
		return wrongUndo("sizes", 16, fmt.Sprintf("%d, %d and %d", u.before, u.least, u.most), "one between the others")
	}
	if nversions > maxUndoVersions {
		return wrongUndo("number of versions", 40, nversions, fmt.Sprintf("at most %d", maxUndoVersions))
	}
	off, err := u.checkRuns()
	if err != nil {
		return err
	}
	if off != u.end-nversions*undoVersionSize {
		return wrongUndo("number of versions", 40, nversions, (u.end-off)/undoVersionSize)
	}
	if err := u.readVersions(off, nversions); err != nil {
		return err
	}
	return u.checkMost()
}

// checkRuns makes sure that the runs hold all behind the least size, which may be
// cut off, and returns where they end. So an undo makes no file larger than what it
// has in its hands.
func (u *restoring) checkRuns() (off int64, err error) {
	from, end := int64(0), int64(0) // of the runs without a gap that are the last ones
	off, err = u.eachHead(func(run undoRun) error {
		u.total += 2 * (run.end - run.off) // they are compared, and put back
		if run.off != end {
			from = run.off
		}
		end = run.end
		return nil
	})
	if err == nil && u.least < u.before && (from > u.least || end < u.before) {
		err = wrongUndo("sizes", 16, fmt.Sprintf("%d, and %d as the least", u.before, u.least), "runs of all between the two")
	}
	return off, err
}

// checkMost makes sure that the image was larger only where a version says what it
// held.
func (u *restoring) checkMost() error {
	known := roundUp(u.before, SectorSize)
	if n := len(u.versions); n > 0 {
		known = max(known, (u.versions[n-1].sector+1)*SectorSize)
	}
	if u.most > known {
		return wrongUndo("most", 32, u.most, fmt.Sprintf("at most %d, of which it knows", known))
	}
	return nil
}

func (u *restoring) checkSum() error {
	sum := sha256.New()
	for off := int64(0); off < u.end; off += int64(len(u.buf)) {
		p := u.buf[:min(u.end-off, int64(len(u.buf)))]
		if err := joined(u.ctx.Err(), readFull(u.undo, p, off)); err != nil {
			return err
		}
		_, _ = sum.Write(p)
	}
	var is [sha256.Size]byte
	if err := readFull(u.undo, is[:], u.end); err != nil {
		return err
	}
	if !bytes.Equal(is[:], sum.Sum(nil)) {
		return wrongUndo("SHA-256", u.end, fmt.Sprintf("%x", is), fmt.Sprintf("%x", sum.Sum(nil)))
	}
	return nil
}

// eachHead calls f for all runs, without their bytes, and returns where they end.
func (u *restoring) eachHead(f func(undoRun) error) (end int64, err error) {
	last := int64(0)
	for off := int64(undoHeaderSize); ; {
		if err := u.ctx.Err(); err != nil {
			return 0, err
		}
		var head [undoRunHead]byte
		if off+undoRunHead > u.end {
			return 0, wrongUndo("runs", off, "their end", "a run of no sectors")
		}
		if err := readFull(u.undo, head[:], off); err != nil {
			return 0, err
		}
		off += undoRunHead
		sector, n := int64(binary.BigEndian.Uint64(head[:])&(1<<53-1)), int64(binary.BigEndian.Uint32(head[8:]))
		if n == 0 {
			return off, nil
		}
		run := undoRun{off: sector * SectorSize, end: (sector + n) * SectorSize}
		if n > maxUndoRun || run.off < last || run.end > roundUp(u.before, SectorSize) {
			return 0, wrongUndo("runs", off-undoRunHead, fmt.Sprintf("%d sectors from %d on", n, sector), "runs in order, inside the image")
		}
		last = run.end
		if binary.BigEndian.Uint32(head[12:]) != undoRunZeros {
			run.from = off
			off += n * SectorSize
		}
		if err := f(run); err != nil {
			return 0, err
		}
	}
}

// eachRun calls f for all runs. What f gets it may not keep.
func (u *restoring) eachRun(f func(undoRun) error) error {
	_, err := u.eachHead(func(run undoRun) error {
		run.p = u.buf[:run.end-run.off]
		if err := u.readRun(run.p, run, run.off); err != nil {
			return err
		}
		return f(run)
	})
	return err
}

// readRun reads what a run has at off of the image.
func (u *restoring) readRun(p []byte, run undoRun, off int64) error {
	if run.from == 0 {
		clear(p)
		return nil
	}
	return readPadded(u.undo, p, run.from+off-run.off, u.end)
}

// readVersions reads the versions, of which the file has as many as it says.
func (u *restoring) readVersions(off, n int64) error {
	raw := make([]byte, n*undoVersionSize)
	if err := readFull(u.undo, raw, off); err != nil {
		return err
	}
	for ; len(raw) > 0; raw = raw[undoVersionSize:] {
		v := undoVersion{int64(binary.BigEndian.Uint64(raw) & (1<<53 - 1)), [8]byte(raw[8:])}
		u.versions = append(u.versions, v)
	}
	if !slices.IsSortedFunc(u.versions, undoVersion.compare) {
		return wrongUndo("versions", off, "others", "versions in order")
	}
	return nil
}

// errOther is about an image that is not what the repair left.
func errOther(off int64) error {
	return fmt.Errorf("%w: at offset %d it is not what the repair left: it was written to since, or is another image", fs.ErrInvalid, off)
}

// verify makes sure that the image is what the repair left, or a part of it, or
// of an undo.
func (u *restoring) verify() error {
	behind := roundUp(u.before, SectorSize)
	if u.size < u.least || u.size > max(u.most, behind) {
		return fmt.Errorf("%w: it has %d bytes and is not what the repair left: it was written to since, or is another image", fs.ErrInvalid, u.size)
	}
	err := u.eachRun(func(run undoRun) error {
		now, err := u.now(run)
		if err != nil {
			return err
		}
		for at := 0; at < len(now); at += SectorSize {
			sector := now[at:][:SectorSize]
			if off := run.off + int64(at); !bytes.Equal(sector, run.p[at:][:SectorSize]) && !u.isVersion(off, sector) {
				return errOther(off)
			}
		}
		u.progress(u.done + int64(len(now)))
		return nil
	})
	if err != nil {
		return err
	}
	return eachPiece(behind, u.size, func(p []byte, off int64) error {
		if err := u.ctx.Err(); err != nil {
			return err
		}
		if err := readPadded(u.target, p, off, u.size); err != nil {
			return err
		}
		for at := 0; at < len(p); at += SectorSize {
			if !u.isVersion(off+int64(at), p[at:][:SectorSize]) {
				return errOther(off + int64(at))
			}
		}
		return nil
	})
}

// now is what the image has by now in place of a run.
func (u *restoring) now(run undoRun) ([]byte, error) {
	if u.found == nil {
		u.found = make([]byte, len(u.buf))
	}
	p := u.found[:len(run.p)]
	return p, readPadded(u.target, p, run.off, u.size)
}

// isVersion says whether a sector may hold what it does, when the repair or an
// undo of it ended anywhere. What was cut off may be zeros.
func (u *restoring) isVersion(off int64, sector []byte) bool {
	if off >= u.least/SectorSize*SectorSize && isZero(sector) {
		return true
	}
	_, is := slices.BinarySearchFunc(u.versions, newUndoVersion(off/SectorSize, sector), undoVersion.compare)
	return is
}

// formerImage is an image as it was before the repair.
type formerImage struct{ *restoring }

func (u formerImage) ReadAt(p []byte, off int64) (int, error) {
	if err := readPadded(u.target, p, off, u.size); err != nil {
		return 0, err
	}
	end := off + int64(len(p))
	_, err := u.eachHead(func(run undoRun) error {
		from, to := max(off, run.off), min(end, run.end)
		if from >= to {
			return nil
		}
		return u.readRun(p[from-off:to-off], run, from)
	})
	return len(p), err
}

// checkWitnesses makes sure that the undo file holds what every one does, and so
// knows the image: else one that holds nothing would be right for any.
func (u *restoring) checkWitnesses() error {
	witnesses, err := witnessesIn(formerImage{u}, u.before)
	if err != nil {
		return err
	}
	if len(witnesses) == 0 {
		return &FileError{u.opts.Undo, wrongUndo("runs", undoHeaderSize, "an image without a footer", "one that a repair mends")}
	}
	for _, w := range witnesses {
		if err := u.checkHolds(w); err != nil {
			return &FileError{u.opts.Undo, err}
		}
	}
	return nil
}

// checkHolds makes sure that the runs hold a piece of the image as it was.
func (u *restoring) checkHolds(w span) error {
	at, end := w.off/SectorSize*SectorSize, min(w.end, u.before)
	_, err := u.eachHead(func(run undoRun) error {
		if run.off <= at {
			at = max(at, run.end)
		}
		return nil
	})
	if err == nil && at < end {
		err = wrongUndo("runs", undoHeaderSize, fmt.Sprintf("none at %d of the image", at), "runs over its "+w.what)
	}
	return err
}

// restore puts back what was there. In the end the file has its size again: until
// then its last sector is a whole one.
func (u *restoring) restore() error {
	err := u.eachRun(func(run undoRun) error {
		now, err := u.now(run)
		if err != nil {
			return err
		}
		u.progress(u.done + int64(len(now)))
		if bytes.Equal(now, run.p) {
			return nil
		}
		_, err = writeFull(u.target, run.p, run.off)
		return inPart(inFileItself, run.off, err)
	})
	if err != nil {
		return err
	}
	info, err := u.target.Stat()
	if err != nil {
		return err
	}
	if info.Size() != u.before {
		if err := u.target.Sync(); err != nil {
			return err
		}
		if err := u.target.Truncate(u.before); err != nil {
			return err
		}
	}
	return u.target.Sync()
}
