package vhdtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// Reader is a program of other people's that reads VHD images, or the pages that tell of them.
type Reader struct {
	Name string

	debianPackage string
	find          func() error
	version       func() []string // the command that tells it
	read          func(ctx context.Context, w io.Writer, chain []string) error
}

// The readers. What each refuses or gets wrong was measured with the version named; see also the limits that
// ForQemu, ForSevenZip and ForLibvhdi keep random chains to.
//
// Qemu (qemu-img 7.2) reads single images; a differencing disk it reads without its parent, and says nothing.
//
// SevenZip (7zz 26.02) finds the parents itself, in the leaf's directory, by the name that the leaf holds.
//
// Libvhdi (20210425) is given its parents.
//
// Chromium reads pages: their content is what it makes of them.
var (
	Qemu     = Reader{"qemu-img", "qemu-utils", sync.OnceValue(findQemu), qemuVersion, readByQemu}
	SevenZip = Reader{"7zz", "7zip", sync.OnceValue(findSevenZip), sevenZipVersion, readBySevenZip}
	Libvhdi  = Reader{"libvhdi", "python3-libvhdi", sync.OnceValue(findLibvhdi), libvhdiVersion, readByLibvhdi}
	Chromium = Reader{"chromium", "chromium", sync.OnceValue(findChromium), chromiumVersion, readByChromium}
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
	return r.Ask(t.Context(), w, chain...)
}

// Ask is Read for who is no test. The program is killed when ctx ends.
func (r Reader) Ask(ctx context.Context, w io.Writer, chain ...string) error {
	if err := r.find(); err != nil {
		return fmt.Errorf("%s is not here (Debian: apt-get install %s): %w", r.Name, r.debianPackage, err)
	}
	return r.read(ctx, w, chain)
}

var versionNumber = regexp.MustCompile(`\d+\.\d[\d.]*|\d{8}`)

// Version is the version of the program that is asked.
func (r Reader) Version(ctx context.Context) (string, error) {
	var b bytes.Buffer
	command := r.version()
	if err := run(ctx, &b, command[0], command[1:]...); err != nil {
		return "", err
	}
	return versionNumber.FindString(b.String()), nil
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
func findLibvhdi() error  { return run(context.Background(), nil, python(), "-c", "import pyvhdi") }
func findChromium() error { return lookPath("chromium") }

func qemuVersion() []string     { return []string{"qemu-img", "--version"} }
func sevenZipVersion() []string { return []string{"7zz", "i"} }
func chromiumVersion() []string { return []string{"chromium", "--version"} }
func libvhdiVersion() []string {
	return []string{python(), "-c", "import pyvhdi; print(pyvhdi.get_version())"}
}

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
func readByQemu(ctx context.Context, w io.Writer, chain []string) (err error) {
	if len(chain) != 1 {
		return errors.New("vhdtest: qemu-img reads no VHD chains")
	}
	dir, err := os.MkdirTemp("", "qemu-img")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	raw := filepath.Join(dir, "raw")
	// Without current_size qemu takes the geometry for the size of what Virtual PC made.
	opts := "driver=vpc,force_size_calc=current_size,file.filename=" + strings.ReplaceAll(chain[0], ",", ",,")
	if err := run(ctx, nil, "qemu-img", "convert", "--image-opts", opts, "-O", "raw", raw); err != nil {
		return err
	}
	f, err := os.Open(raw)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(w, f)
	return err
}

// readBySevenZip names the format, since 7-Zip would go on into a file system that it finds in the disk.
func readBySevenZip(ctx context.Context, w io.Writer, chain []string) error {
	return run(ctx, w, "7zz", "x", "-so", "-tvhd", "-bd", "--", chain[0])
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

func readByLibvhdi(ctx context.Context, w io.Writer, chain []string) error {
	return run(ctx, w, python(), append([]string{"-c", libvhdiScript}, chain...)...)
}

// readByChromium writes the document that the browser made of a page.
func readByChromium(ctx context.Context, w io.Writer, page []string) error {
	return chromium(ctx, w, page[0], "--dump-dom")
}

// Screenshot writes a picture of a page, of so many pixels, as a browser shows it, to the file out.
func Screenshot(t testing.TB, page, out string, width, height int) {
	t.Helper()
	Chromium.Need(t)
	err := chromium(t.Context(), io.Discard, page, "--hide-scrollbars", fmt.Sprintf("--window-size=%d,%d", width, height), "--screenshot="+out)
	if err != nil {
		t.Fatalf("%v", err)
	}
}

// chromium does something with a page. It starts none of what a browser does on its own, and keeps nothing.
func chromium(ctx context.Context, w io.Writer, page string, do ...string) (err error) {
	name, err := filepath.Abs(page)
	if err != nil {
		return err
	}
	profile, err := os.MkdirTemp("", "chromium")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(profile)) }()
	address := url.URL{Scheme: "file", Path: filepath.ToSlash(name)}
	args := []string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--user-data-dir=" + profile}
	return run(ctx, w, "chromium", append(append(args, do...), address.String())...)
}

func run(ctx context.Context, stdout io.Writer, program string, args ...string) error {
	// No WaitDelay: none of the programs starts others that outlive it and could keep its output open, and who takes
	// the output may need long for what is left in the pipe when the program ends.
	cmd := exec.CommandContext(ctx, program, args...)
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = stdout, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, args[len(args)-1], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return nil
}
