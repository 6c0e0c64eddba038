package vhd

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/google/uuid"
)

// What a file holds.
var (
	// ErrFormat is in every error about a file that is not a VHD, or is one
	// whose structures contradict the specification or the file they are in.
	ErrFormat = errors.New("not a valid VHD")

	// ErrChecksum is in an error about a footer or a dynamic header whose
	// checksum is not that of its bytes. It also matches ErrFormat.
	ErrChecksum = fmt.Errorf("%w: checksum is wrong", ErrFormat)

	// ErrUnsupported is in an error about something that is well-formed and
	// that this package does not do, such as Xen's raw parents.
	ErrUnsupported = errors.New("unsupported")

	// ErrCorrupt is in an error about blocks that can not be where the block
	// allocation table says they are: past the end, in metadata, or shared.
	ErrCorrupt = errors.New("corrupt")
)

// Where a chain leads.
var (
	// ErrParentNotFound is in an error about a parent that is at none of the
	// places where it was looked for. It also matches [fs.ErrNotExist].
	ErrParentNotFound error = parentNotFoundError{}

	// ErrParentMismatch is in an error about a parent that was found and
	// has another identifier than its child recorded.
	ErrParentMismatch = errors.New("parent has another identifier")

	// ErrOutsideRoot is in an error about a parent that would have been
	// opened outside the directory that [Options].Root confines parents to.
	ErrOutsideRoot = errors.New("parent is outside the root directory")

	// ErrChainLoop is in an error about an image that is its own ancestor.
	ErrChainLoop = errors.New("chain of parents is a loop")

	// ErrChainTooDeep is in an error about a chain of more than
	// [Options].MaxDepth images.
	ErrChainTooDeep = errors.New("chain of parents is too deep")
)

// How a disk is used.
var (
	// ErrReadOnly is returned by writes to a disk that was not opened for
	// writing.
	ErrReadOnly = errors.New("disk is open read-only")

	// ErrLocked is in an error about an image that somebody else has open: a
	// writer excludes all, a reader excludes writers.
	ErrLocked = errors.New("image is in use")

	// ErrClosed is returned by every use of a closed disk.
	ErrClosed = errors.New("vhd: disk is closed")

	// ErrBroken is in every error that follows a failed fsync, or another
	// failure in the middle of what Sync does to the tables: what the file
	// holds is no longer known, so nothing is read or written any more. Close
	// the disk and open it again to recover what was durable.
	ErrBroken = errors.New("disk is broken by an earlier failure")

	// ErrOtherChildren is in an error about images that must not change or go, since
	// others have them as their parent, or may have: what could be one can't be read.
	ErrOtherChildren = errors.New("another image has it as its parent")

	// ErrNoSpace is in an error of an operation, or a step of one, that is not begun, since the
	// file system says that it has too little room for it. Where it can't say, and
	// elsewhere, a disk that is full shows as the operating system's error.
	ErrNoSpace = errors.New("not enough space")

	// ErrOutOfRange is in an error about an offset or a length that is
	// negative, and about a write that would pass the disk's end.
	ErrOutOfRange = errors.New("out of the disk's range")

	// ErrDataLoss is in an error about something that would lose what a disk
	// holds, such as a Resize that cuts off more than zeros.
	ErrDataLoss = errors.New("data would be lost")
)

// parentNotFoundError is the type of ErrParentNotFound.
type parentNotFoundError struct{}

func (parentNotFoundError) Error() string        { return "parent not found" }
func (parentNotFoundError) Is(target error) bool { return target == fs.ErrNotExist }

// A FormatError tells what is wrong with a structure of a file.
type FormatError struct {
	Part   string // the structure: "footer", "dynamic header", "BAT", …
	Field  string // the field of it, in the specification's words; empty: the whole
	Offset int64  // of the field, in bytes from the start of what was read
	Got    any    // what the file holds; nil: nothing worth showing
	Want   any    // what it should hold, as a value or in words
	Err    error  // ErrFormat, ErrChecksum, ErrUnsupported or ErrCorrupt
}

func (e *FormatError) Error() string {
	var b strings.Builder
	b.WriteString("vhd: " + e.Part)
	if e.Field != "" {
		b.WriteString(": " + e.Field)
	}
	fmt.Fprintf(&b, " at offset %d", e.Offset)
	if e.Err != nil {
		b.WriteString(": " + bare(e.Err))
	}
	if e.Got != nil {
		fmt.Fprintf(&b, ": got %v", e.Got)
	}
	if e.Want != nil {
		fmt.Fprintf(&b, ", want %v", e.Want)
	}
	return b.String()
}

// Unwrap returns e.Err.
func (e *FormatError) Unwrap() error { return e.Err }

// A ParentError tells why no parent could be opened for an image, with every
// name that was tried.
type ParentError struct {
	Child    string          // the name of the image whose parent was sought
	ParentID uuid.UUID       // the identifier of the parent, as the child recorded it
	Attempts []ParentAttempt // in the order tried
	Err      error           // the most telling reason

	damaged []string // absolute names of files that are there, and no images that can be read
}

// A ParentAttempt is one name under which a parent was sought.
type ParentAttempt struct {
	Ref  ParentRef // what the child holds that led here
	Name string    // the name that was tried; empty: Ref could not be followed
	Err  error     // why it is not the parent
}

func (e *ParentError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "vhd: %s: %s", e.Child, bare(e.Err))
	for i, a := range e.Attempts {
		if i == 0 {
			b.WriteString("; tried ")
		} else {
			b.WriteString(", ")
		}
		b.WriteString(a.String())
	}
	return b.String()
}

// String returns the attempt in one line: the name, where it came from, and
// why it failed.
func (a ParentAttempt) String() string {
	name := a.Name
	if name == "" {
		name = a.Ref.Path
	}
	return fmt.Sprintf("%q (%s: %s)", name, a.Ref.Origin, bare(a.Err))
}

// Unwrap returns e.Err.
func (e *ParentError) Unwrap() error { return e.Err }

// partError says at which structure of a file, and where, the storage failed.
type partError struct {
	part string
	off  int64
	err  error
}

func (e *partError) Error() string {
	return fmt.Sprintf("%s at offset %d: %s", e.part, e.off, bare(e.err))
}

func (e *partError) Unwrap() error { return e.err }

// inPart names the structure that was read or written at off. A *FormatError
// does so itself.
func inPart(part string, off int64, err error) error {
	if err == nil || isFormatError(err) {
		return err
	}
	return &partError{part, off, err}
}

// isFormatError says whether err is about what a file holds, which asking again
// won't change.
func isFormatError(err error) bool {
	_, is := errors.AsType[*FormatError](err)
	return is
}

// A FileError says which file an error is about.
type FileError struct {
	Name string // as it was opened
	Err  error
}

func (e *FileError) Error() string { return "vhd: " + e.Name + ": " + bare(e.Err) }

// Unwrap returns e.Err.
func (e *FileError) Unwrap() error { return e.Err }

// inFile names the file that err is about, once.
func inFile(name string, err error) error {
	if err == nil {
		return nil
	}
	_, named := errors.AsType[*FileError](err)
	_, lost := errors.AsType[*ParentError](err)
	if named || lost {
		return err
	}
	return &FileError{name, err}
}

// bare is err's text without what its surroundings say already: the package's
// name and, for an error of the operating system, the name of the file.
func bare(err error) string {
	if path, ok := err.(*fs.PathError); ok { //nolint:errorlint // only the outermost layer is replaced
		if strings.HasPrefix(path.Op, "open") || strings.HasSuffix(path.Op, "stat") { // which goes without saying
			return path.Err.Error()
		}
		return path.Op + ": " + path.Err.Error()
	}
	return strings.TrimPrefix(err.Error(), "vhd: ")
}

// brokenError says why nothing is done with a disk any more.
type brokenError struct{ broken, cause error }

func (e *brokenError) Error() string   { return e.broken.Error() + ": " + bare(e.cause) }
func (e *brokenError) Unwrap() []error { return []error{e.broken, e.cause} }

// unseenChildError says why nobody can tell whether an image has other children.
type unseenChildError struct{ cause error }

func (e *unseenChildError) Error() string {
	return "can't tell whether there is another child: " + bare(e.cause)
}
func (e *unseenChildError) Unwrap() []error { return []error{ErrOtherChildren, e.cause} }

// joined is errors.Join without a wrapper where there is nothing to join.
func joined(err, other error) error {
	switch {
	case other == nil:
		return err
	case err == nil:
		return other
	}
	return errors.Join(err, other)
}
