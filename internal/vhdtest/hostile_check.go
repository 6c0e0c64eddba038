package vhdtest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"

	"github.com/go-vhd/vhd"
)

// sentinels are what the engine says of each refusal.
var sentinels = map[Refusal]error{
	NotAVHD: vhd.ErrFormat, BadChecksum: vhd.ErrChecksum, Unsupported: vhd.ErrUnsupported, Corrupt: vhd.ErrCorrupt,
	ParentMissing: vhd.ErrParentNotFound, ParentWrong: vhd.ErrParentMismatch, ParentRaw: vhd.ErrUnsupported,
	ParentOutside: vhd.ErrOutsideRoot, ParentLoop: vhd.ErrChainLoop, ChainTooDeep: vhd.ErrChainTooDeep,
}

// Check has the engine inspect, open, read, and write the image whose files are in the directory dir of fsys. The
// error is what did not come as it must; the leaf is changed afterwards, where it may be.
func (h *HostileImage) Check(fsys vhd.FS, dir string) error {
	c := hostileCheck{image: h, fsys: fsys, dir: dir, got: make([]byte, checkPiece), want: make([]byte, checkPiece)}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"inspect", c.inspect}, {"read", c.read}, {"after reading", c.unchanged}, {"write", c.write}, {"after writing", c.written},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// checkPiece is how much is read at once, bytes.
const checkPiece = 64 << 10

// hostileCheck is one run of Check. It keeps to two small buffers, so that what it takes is the engine's.
type hostileCheck struct {
	image     *HostileImage
	fsys      vhd.FS
	dir       string
	got, want []byte

	stamped []int64 // sectors' offsets that stamp was written to
	isOpen  bool    // the leaf was opened for writing
}

// stamp is what is written.
var stamp = bytes.Repeat([]byte("written!"), SectorSize/8)

func (c *hostileCheck) leaf() string { return path.Join(c.dir, HostileLeaf) }

func (c *hostileCheck) inspect() (err error) {
	f, err := c.fsys.OpenFile(c.leaf(), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	img, err := vhd.Inspect(f, info.Size())
	if refused := c.image.Refused; refused != Sound && !refused.OfChain() {
		return refusedAs(refused, err)
	}
	if err != nil {
		return err
	}
	if img.NeedsRecovery() != c.image.NeedsRecovery {
		return fmt.Errorf("needs recovery: %v", img.NeedsRecovery())
	}
	img.ParentRefs()
	_, err = img.AllocatedBlocks()
	return err
}

// refusedAs is nil if err says what it must, and where.
func refusedAs(why Refusal, err error) error {
	if err == nil {
		return fmt.Errorf("not refused; want: %s", why)
	}
	isWrong := !errors.Is(err, sentinels[why]) || why == NotAVHD && errors.Is(err, vhd.ErrChecksum)
	format, isFormat := errors.AsType[*vhd.FormatError](err)
	lost, isLost := errors.AsType[*vhd.ParentError](err)
	switch {
	case why == ChainTooDeep:
	case why.OfChain():
		isWrong = isWrong || !isLost || lost.Child == ""
	default:
		isWrong = isWrong || !isFormat || format.Part == "" || format.Got == nil || format.Want == nil || format.Offset < 0
	}
	if isWrong {
		return fmt.Errorf("refused with %w; want: %s", err, why)
	}
	return nil
}

func (c *hostileCheck) read() error {
	d, err := vhd.Open(c.leaf(), &vhd.Options{FS: c.fsys})
	if c.image.Refused != Sound {
		return refusedAs(c.image.Refused, err)
	}
	if err != nil {
		return err
	}
	err = c.holds(d)
	if err == nil {
		err = c.holds(d) // from what it keeps in memory
	}
	return errors.Join(err, d.Close())
}

// holds reads all of the disk and compares it.
func (c *hostileCheck) holds(d *vhd.Disk) error {
	if size := int64(len(c.image.Content)); d.Size() != size {
		return fmt.Errorf("a disk of %d bytes, want %d", d.Size(), size)
	}
	for off := int64(0); off < d.Size(); off += checkPiece {
		n := min(checkPiece, d.Size()-off)
		if !c.image.IsLost(off, n) {
			if err := c.holdsPiece(d, off, n); err != nil {
				return err
			}
			continue
		}
		for sector := off; sector < off+n; sector += SectorSize {
			if err := c.holdsPiece(d, sector, SectorSize); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *hostileCheck) holdsPiece(d *vhd.Disk, off, n int64) error {
	got, want := c.got[:n], c.want[:n]
	_, err := d.ReadAt(got, off)
	switch {
	case c.image.IsLost(off, n):
		return refusedAs(Corrupt, err)
	case err != nil:
		return err
	}
	copy(want, c.image.Content[off:])
	for _, at := range c.stamped {
		if at >= off && at < off+n {
			copy(want[at-off:], stamp)
		}
	}
	if bytes.Equal(got, want) {
		return nil
	}
	for i := range want {
		if got[i] != want[i] {
			return fmt.Errorf("byte %d of the disk is %#02x, want %#02x", off+int64(i), got[i], want[i])
		}
	}
	return nil
}

// write writes two sectors, or is refused.
func (c *hostileCheck) write() error {
	d, err := vhd.Open(c.leaf(), &vhd.Options{FS: c.fsys, Writable: true})
	if why := orElse(c.image.Refused, c.image.Unwritable); why != Sound {
		return refusedAs(why, err)
	}
	if err != nil {
		return err
	}
	c.isOpen = true
	for _, off := range []int64{2 * SectorSize, d.Size() - SectorSize} {
		if off < 0 || off >= d.Size() || c.image.IsLost(off, SectorSize) {
			continue
		}
		if _, err := d.WriteAt(stamp, off); err != nil {
			return errors.Join(err, d.Close())
		}
		c.stamped = append(c.stamped, off)
	}
	err = c.holds(d)
	return errors.Join(err, d.Close())
}

// written looks at what the writer left.
func (c *hostileCheck) written() error {
	if err := c.unchanged(); err != nil || !c.isOpen {
		return err
	}
	d, err := vhd.Open(c.leaf(), &vhd.Options{FS: c.fsys})
	if err != nil {
		return err
	}
	err = c.holds(d)
	if d.Chain()[0].NeedsRecovery() {
		err = errors.Join(err, errors.New("it still needs recovery"))
	}
	return errors.Join(err, d.Close())
}

// unchanged compares the files with what they were, but for a leaf that was opened for writing.
func (c *hostileCheck) unchanged() error {
	for _, name := range slices.Sorted(maps.Keys(c.image.Files)) {
		if name == HostileLeaf && c.isOpen {
			continue
		}
		if err := c.isUnchanged(name, c.image.Files[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (c *hostileCheck) isUnchanged(name string, want []byte) (err error) {
	f, err := c.fsys.OpenFile(path.Join(c.dir, name), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != int64(len(want)) {
		return fmt.Errorf("the file has %d bytes now, and had %d", info.Size(), len(want))
	}
	for off := int64(0); off < info.Size(); off += checkPiece {
		got := c.got[:min(checkPiece, info.Size()-off)]
		if _, err := f.ReadAt(got, off); err != nil {
			return err
		}
		if !bytes.Equal(got, want[off:][:len(got)]) {
			return fmt.Errorf("the file has changed between bytes %d and %d", off, off+int64(len(got)))
		}
	}
	return nil
}
