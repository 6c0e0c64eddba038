package vhdtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Reader is a program of other people's that reads VHD images.
type Reader struct {
	Name string

	debianPackage string
	find          func() error
	read          func(t testing.TB, w io.Writer, chain []string) error
}

// The readers. What each refuses or gets wrong was measured with the version named; see also the limits that
// ForQemu, ForSevenZip and ForLibvhdi keep random chains to.
//
// Qemu (qemu-img 7.2) reads single images; a differencing disk it reads without its parent, and says nothing.
//
// SevenZip (7zz 26.02) finds the parents itself, in the leaf's directory, by the name that the leaf holds.
//
// Libvhdi (20210425) is given its parents.
var (
	Qemu     = Reader{"qemu-img", "qemu-utils", sync.OnceValue(findQemu), readByQemu}
	SevenZip = Reader{"7zz", "7zip", sync.OnceValue(findSevenZip), readBySevenZip}
	Libvhdi  = Reader{"libvhdi", "python3-libvhdi", sync.OnceValue(findLibvhdi), readByLibvhdi}
)

// Need skips the test when the program isn't installed, or fails it where VHD_REQUIRE_READERS is 1.
func (r Reader) Need(t testing.TB) {
	t.Helper()
	err := r.find()
	if err == nil {
		return
	}
	if os.Getenv("VHD_REQUIRE_READERS") == "1" {
		t.Fatalf("%s is needed (Debian: apt-get install %s): %v", r.Name, r.debianPackage, err)
	}
	t.Skipf("%s is not here (Debian: apt-get install %s): %v", r.Name, r.debianPackage, err)
}

// Read writes the content of the chain's first file, the leaf, to w. The error is what the program said.
func (r Reader) Read(t testing.TB, w io.Writer, chain ...string) error {
	t.Helper()
	r.Need(t)
	return r.read(t, w, chain)
}

// Content is what the chain's first file, the leaf, reads as.
func (r Reader) Content(t testing.TB, chain ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := r.Read(t, &b, chain...); err != nil {
		t.Fatalf("%v", err)
	}
	return b.Bytes()
}

// Sum is the sha256, in hexadecimal, of what the chain's first file reads as: for disks too large for Content.
func (r Reader) Sum(t testing.TB, chain ...string) string {
	t.Helper()
	h := sha256.New()
	if err := r.Read(t, h, chain...); err != nil {
		t.Fatalf("%v", err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func findQemu() error     { return lookPath("qemu-img") }
func findSevenZip() error { return lookPath("7zz") }
func findLibvhdi() error  { return run(nil, python(), "-c", "import pyvhdi") }

func lookPath(program string) error {
	_, err := exec.LookPath(program)
	return err
}

// python is Debian's, for which python3-libvhdi is built, before any other.
func python() string {
	const debian = "/usr/bin/python3"
	if _, err := os.Stat(debian); err == nil {
		return debian
	}
	return "python3"
}

// readByQemu goes through a file: qemu-img convert seeks in its output.
func readByQemu(t testing.TB, w io.Writer, chain []string) (err error) {
	t.Helper()
	if len(chain) != 1 {
		return errors.New("vhdtest: qemu-img reads no VHD chains")
	}
	raw := filepath.Join(t.TempDir(), "raw")
	// Without current_size qemu takes the geometry for the size of what Virtual PC made.
	opts := "driver=vpc,force_size_calc=current_size,file.filename=" + strings.ReplaceAll(chain[0], ",", ",,")
	if err := run(nil, "qemu-img", "convert", "--image-opts", opts, "-O", "raw", raw); err != nil {
		return err
	}
	f, err := os.Open(raw)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(raw)) }()
	_, err = io.Copy(w, f)
	return err
}

// readBySevenZip names the format, since 7-Zip would go on into a file system that it finds in the disk.
func readBySevenZip(t testing.TB, w io.Writer, chain []string) error {
	t.Helper()
	return run(w, "7zz", "x", "-so", "-tvhd", "-bd", "--", chain[0])
}

const libvhdiScript = `
import sys, pyvhdi
files = []
for name in sys.argv[1:]:
    f = pyvhdi.file()
    f.open(name)
    files.append(f)
for i in reversed(range(len(files) - 1)):
    files[i].set_parent(files[i + 1])
left = files[0].get_media_size()
while left > 0:
    piece = files[0].read_buffer(min(left, 1 << 20))
    if not piece:
        sys.exit("short read: %d bytes are missing" % left)
    sys.stdout.buffer.write(piece)
    left -= len(piece)
`

func readByLibvhdi(t testing.TB, w io.Writer, chain []string) error {
	t.Helper()
	return run(w, python(), append([]string{"-c", libvhdiScript}, chain...)...)
}

func run(stdout io.Writer, program string, args ...string) error {
	cmd := exec.Command(program, args...)
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = stdout, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, args[len(args)-1], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return nil
}
