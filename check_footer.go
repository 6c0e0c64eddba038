package vhd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// checkFooters reads both footers and says what is wrong with either. ok is
// false if none can be used.
func (k *checkup) checkFooters() (ok bool, err error) {
	m, s := k.m, &k.chain.scratch
	err = m.readFooters(s)
	if size := m.FileSize(); size < oldFooterSize || err != nil && !isAboutStructure(err) {
		return false, err
	}
	end := rawFooter{bytes: s.end[:min(m.FileSize(), footerSize)]}
	end.off = m.FileSize() - int64(len(end.bytes))
	end.decode()
	end.decodeOld()
	if end.err == nil && end.footer.Type == Fixed {
		k.checkOldFooter(&end)
		return true, nil
	}
	if end.err != nil && err == nil && m.footer.Type == Fixed { // it was growing
		k.addTrailing(m.footerOff)
		return true, nil
	}
	first := rawFooter{bytes: s.start[:footerSize]}
	first.decode()
	if err != nil && errors.Is(end.err, ErrUnsupported) {
		return false, err
	}
	if err != nil && !end.hasCookie && (!first.hasCookie || first.err == nil) && !s.hasHeader() {
		return k.checkLonger(err)
	}
	if readErr := k.checkEnd(&end, &first); readErr != nil {
		return false, readErr
	}
	if end.saysFixed() && !first.hasCookie { // there is no copy of that, and nothing else to look at
		m.footer.Type = Fixed
		return false, nil
	}
	k.checkFooter("copy", "The footer's copy at the file's start", &first)
	return err == nil, nil
}

// hasHeader says whether a dynamic header is where it nearly always is. Its checksum
// is right, so this was an image, even if no footer is left.
func (s *scratch) hasHeader() bool {
	return new(DynamicHeader).UnmarshalBinary(s.start[footerSize:][:dynHeaderSize]) == nil
}

// checkEnd is about what stands at the end of the file, where the footer should.
func (k *checkup) checkEnd(end, first *rawFooter) error {
	if end.err == nil {
		k.checkOldFooter(end)
		if first.err == nil {
			k.compareFooters(end, first)
		}
		return nil
	}
	if !end.hasCookie && first.err == nil {
		found, err := k.findFooter(func(raw []byte, _ int64) bool { return bytes.Equal(raw, first.bytes) })
		if err != nil || found {
			return err
		}
	}
	k.checkFooter("footer", "The footer at the file's end", end)
	return nil
}

// checkLonger is for a file without footers: a fixed disk may have got something
// behind its footer. If not it never was an image, which err says. What is found
// may also be what a guest wrote, so nothing is mended on its word.
func (k *checkup) checkLonger(err error) (bool, error) {
	m := k.m
	var f Footer
	found, readErr := k.findFooter(func(raw []byte, off int64) bool {
		if f.UnmarshalBinary(raw) != nil || f.Type != Fixed || f.CurrentSize != off {
			return false
		}
		m.footer, m.footerOff = f, off
		return true
	})
	if readErr != nil || found {
		return found, readErr
	}
	return false, err
}

// findFooter looks for a footer not far in front of the file's end, and notes it
// if there is one that is right.
func (k *checkup) findFooter(isRight func(raw []byte, off int64) bool) (bool, error) {
	const far = 64 << 10
	size := k.m.FileSize()
	start := roundUp(max(0, size-far), SectorSize)
	tail := make([]byte, size-start)
	if err := readFull(k.m.file, tail, start); err != nil {
		return false, inPart(inFooter, start, err)
	}
	for at := roundUp(int64(len(tail)), SectorSize) - 2*SectorSize; at >= 0; at -= SectorSize {
		raw, off := tail[at:][:footerSize], start+at
		if off > 0 && bytes.HasPrefix(raw, []byte(footerCookie)) && isRight(raw, off) {
			k.addTrailing(off)
			return true, nil
		}
	}
	return false, nil
}

// addTrailing notes that more follows the footer at off.
func (k *checkup) addTrailing(off int64) {
	what := "the footer"
	if k.m.footer.Type == Fixed && !k.m.NeedsRecovery() {
		what = "what looks like the footer of a fixed disk"
	}
	k.add("trailing-bytes", off+footerSize, "Behind %s follow %d bytes more, and a footer should be the last thing in a file.", what, k.m.FileSize()-off-footerSize)
}

// isAboutStructure says whether err is about one of the structures, and not
// about a file that could not be read, or became shorter.
func isAboutStructure(err error) bool {
	e, ok := errors.AsType[*FormatError](err)
	return ok && e.Part != inFileItself
}

// rawFooter is what stands where a footer should.
type rawFooter struct {
	bytes     []byte // 512 or 511
	off       int64
	footer    Footer
	err       error // why it is none
	hasCookie bool
}

func (r *rawFooter) decode() {
	r.err = r.footer.UnmarshalBinary(r.bytes)
	r.hasCookie = bytes.HasPrefix(r.bytes, []byte(footerCookie))
}

// saysFixed says whether a footer that is damaged is that of a fixed disk, if that can
// be believed.
func (r *rawFooter) saysFixed() bool {
	return r.err != nil && r.hasCookie && DiskType(binary.BigEndian.Uint32(r.bytes[60:])) == Fixed
}

// decodeOld decodes a footer of 511 bytes, where one of 512 would end and is not.
func (r *rawFooter) decodeOld() {
	old := r.bytes[len(r.bytes)-oldFooterSize:]
	if r.err != nil && len(old) < len(r.bytes) && bytes.HasPrefix(old, []byte(footerCookie)) {
		r.bytes, r.off = old, r.off+1
		r.decode()
	}
}

func (k *checkup) checkOldFooter(end *rawFooter) {
	if end.err == nil && len(end.bytes) == oldFooterSize {
		k.add("footer-511", end.off, "The footer at the file's end has 511 bytes and not 512, as Virtual PC wrote it before 2004.")
	}
}

// checkFooter says why what stands where a footer should is none. which is
// "footer" or "copy", and the message begins with subject.
func (k *checkup) checkFooter(which, subject string, r *rawFooter) {
	e, ok := errors.AsType[*FormatError](r.err)
	if !ok {
		return
	}
	at := r.off + e.Offset
	switch e.Field {
	case "checksum":
		k.add(which+"-checksum", at, "%s is damaged: its checksum is %v, and that of its bytes is %v.", subject, e.Got, e.Want)
	case "version":
		k.add(which+"-version", at, "%s is of version %v, and not of %v.", subject, e.Got, e.Want)
	case "cookie":
		k.add(which+"-lost", at, "%s is lost: there %s.", subject, whatIsThere(r.bytes))
	default:
		k.add(which+"-size", at, "%s has the %s %v; it should be %v.", subject, e.Field, e.Got, e.Want)
	}
}

// whatIsThere tells of what stands in the place of a footer.
func whatIsThere(raw []byte) string {
	switch {
	case isZero(raw):
		return "are only zeros"
	case bytes.Count(raw, []byte{0xC7}) == len(raw):
		return "is 0xC7 in every byte, which Xen writes over it while it has the disk open"
	}
	return fmt.Sprintf("stands something else, which begins with %q", raw[:min(len(raw), len(footerCookie))])
}

// footerFields are the fields of a footer, which cover all of it.
var footerFields = []struct {
	name     string
	off, end int
}{
	{"features", 8, 12}, {"version", 12, 16}, {"data offset", 16, 24}, {"time stamp", 24, 28}, {"creator application", 28, 32},
	{"creator version", 32, 36}, {"creator host", 36, 40}, {"original size", 40, 48}, {"current size", 48, 56}, {"geometry", 56, 60},
	{"disk type", 60, 64}, {"unique id", 68, 84}, {"saved state", 84, 85}, {"reserved bytes", 85, 512},
}

// compareFooters says in which fields two sound footers differ. The copy counts
// in place of one of a type that nobody knows.
func (k *checkup) compareFooters(end, first *rawFooter) {
	for _, f := range footerFields {
		to := min(f.end, len(end.bytes))
		its, other := end.bytes[f.off:to], first.bytes[f.off:to]
		if bytes.Equal(its, other) {
			continue
		}
		if t := end.footer.Type; f.name == "disk type" && t != Dynamic && t != Differencing && hasBlocks(first.footer.Type) {
			k.add("disk-type", end.off+int64(f.off), "The footer at the file's end is of %v, which does not exist; its copy is of a %v disk.", t, first.footer.Type)
			k.m.footer = first.footer
			continue
		}
		difference := fmt.Sprintf(": %#x at the file's end, %#x in the copy at its start", its, other)
		if len(its) > len(end.footer.ID) {
			difference = ""
		}
		k.add("footers-differ", int64(f.off), "The two footers differ in the %s%s.", f.name, difference)
	}
}

func hasBlocks(t DiskType) bool { return t == Dynamic || t == Differencing }

// checkFields checks the fields of the footer that counts.
func (k *checkup) checkFields() (ok bool, err error) {
	m, f := k.m, &k.m.footer
	if size := m.FileSize(); size%SectorSize != 0 && m.footerOff != size-oldFooterSize {
		k.add("file-size", size, "The file has %d bytes, which is no multiple of 512.", size)
	}
	ok = true
	if err := m.checkSize(); err != nil {
		e, isFormat := errors.AsType[*FormatError](err)
		if !isFormat || errors.Is(err, ErrUnsupported) {
			return false, err
		}
		k.addFormat("disk-size", e)
		ok = false
	}
	k.checkSizes(ok)
	k.checkMarks()
	k.checkMaking()
	if f.Type == Fixed {
		return false, nil // there is nothing else
	}
	return true, nil
}

// checkSizes is about sizes that are odd and do no harm. isSound says that the
// current one is possible.
func (k *checkup) checkSizes(isSound bool) {
	m, f := k.m, &k.m.footer
	if f.OriginalSize != f.CurrentSize {
		k.add("original-size", m.footerFieldOff(40), "The disk was made with %d bytes and has %d by now; some software takes the one for the other.", f.OriginalSize, f.CurrentSize)
	}
	if f.Type != Fixed && f.CurrentSize > MaxDynamicSize {
		k.add("disk-large", m.footerFieldOff(48), "The disk has %d bytes; Windows opens no %v disk of more than %d.", f.CurrentSize, f.Type, int64(MaxDynamicSize))
	}
	if spare := m.footerOff - f.CurrentSize; f.Type == Fixed && isSound && spare > 0 {
		k.add("fixed-slack", f.CurrentSize, "The file holds %d bytes between the disk's end and its footer; some software takes them for a part of the disk.", spare)
	}
	is, should := f.Geometry, GeometryOf(f.CurrentSize)
	switch {
	case is == should:
	case is.Size() < should.Size():
		k.add("geometry", m.footerFieldOff(56), "The geometry is %d cylinders, %d heads and %d sectors a track, which reaches only %d of the disk's %d bytes.",
			is.Cylinders, is.Heads, is.SectorsPerTrack, is.Size(), f.CurrentSize)
	default:
		k.add("geometry", m.footerFieldOff(56), "The geometry is %d cylinders, %d heads and %d sectors a track; for the disk's size the specification has %d, %d and %d.",
			is.Cylinders, is.Heads, is.SectorsPerTrack, should.Cylinders, should.Heads, should.SectorsPerTrack)
	}
}

// checkMarks is about what the footer says of the disk's use, and bits that mean
// nothing.
func (k *checkup) checkMarks() {
	m, f := k.m, &k.m.footer
	if f.SavedState != 0 {
		k.add("saved-state", m.footerFieldOff(84), "The disk belongs to a machine in saved state; it should not be written or resized before that has gone on.")
	}
	if f.Features&featureTemporary != 0 {
		k.add("temporary", m.footerFieldOff(8), "The disk is marked as temporary: software may delete it when the machine is shut down.")
	}
	if f.Features&^featureTemporary != featureReserved {
		k.add("footer-features", m.footerFieldOff(8), "The features are %#08x; of the bits without a meaning, bit 1 alone should be set.", f.Features)
	}
	if f.Reserved != [427]byte{} {
		k.add("footer-reserved", m.footerFieldOff(85), "The reserved bytes of the footer are not all zeros; some software keeps data of its own there.")
	}
	if f.Type == Fixed && f.DataOffset != noOffset {
		k.add("footer-data-offset", m.footerFieldOff(16), "The data offset is %#x; in a fixed disk, which has no header, it should be all ones.", uint64(f.DataOffset)) //nolint:gosec // as the file has it
	}
}

// checkMaking is about what the footer says of how the disk came to be.
func (k *checkup) checkMaking() {
	m, f := k.m, &k.m.footer
	if f.ID == (uuid.UUID{}) {
		k.add("id-zero", m.footerFieldOff(68), "The disk's identifier is all zeros, so that no child can tell the disk from another.")
	}
	const mayBeOff = 24 * time.Hour // some write local time
	now := time.Now()               //nolint:forbidigo // a time to come is a mistake, and no other clock is at hand
	if f.Time.After(now.Add(mayBeOff)) {
		k.add("time-stamp", m.footerFieldOff(24), "The disk was made on %s, which is yet to come.", f.Time.Format(time.DateOnly))
	}
}
