package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// qemuBench is qemu-img bench, which tells the time itself. Its random reads
// come at a stride.
type qemuBench struct {
	chains *chains
	image  string // options of the image
	places []int64
}

func benchVHD(c *chains, places []int64) *qemuBench {
	// Without force_size_calc, the disk ends where its geometry does.
	return &qemuBench{c, "driver=vpc,force_size_calc=current_size,file.driver=file,file.filename=" + c.leaf("vhd"), places}
}

func benchQcow2(c *chains, places []int64) *qemuBench {
	return &qemuBench{c, "driver=qcow2,file.driver=file,file.filename=" + c.leaf("qcow2"), places}
}

func (r *qemuBench) whole() (time.Duration, error) {
	return r.bench(r.chains.size/piece, piece, piece, 0)
}

func (r *qemuBench) random(from, n int) (time.Duration, error) {
	return r.bench(int64(n), small, r.chains.stride(small), r.places[from])
}

func (r *qemuBench) bench(count, size, step, start int64) (time.Duration, error) {
	return runQemuBench(r.image, "--image-opts",
		"-c", strconv.FormatInt(count, 10),
		"-s", strconv.FormatInt(size, 10),
		"-S", strconv.FormatInt(step, 10),
		"-o", strconv.FormatInt(start, 10))
}

var benchTime = regexp.MustCompile(`Run completed in ([0-9.]+) seconds`)

func runQemuBench(image string, args ...string) (time.Duration, error) {
	cmd := exec.Command("qemu-img", append(append([]string{"bench"}, args...), image)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("qemu-img bench: %w: %s", err, out)
	}
	match := benchTime.FindSubmatch(out)
	if match == nil {
		return 0, fmt.Errorf("qemu-img bench tells no time: %s", out)
	}
	return time.ParseDuration(string(match[1]) + "s")
}

// sum has qemu-img compare the disk with the raw file: it writes it nowhere
// that it could be summed up.
func (r *qemuBench) sum() (string, error) {
	raw := "driver=raw,file.driver=file,file.filename=" + r.chains.raw()
	err := run("qemu-img", "compare", "--image-opts", raw, r.image)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 1 {
		return "another disk", nil
	}
	if err != nil {
		return "", err
	}
	return r.chains.sum()
}

func (r *qemuBench) Close() error { return nil }

// qemuNBD is a reader of what qemu-nbd serves.
type qemuNBD struct {
	*served
	server *exec.Cmd
	socket string
}

func openQemuNBD(c *chains, program, placesFile string) (reader, error) {
	socket := filepath.Join(c.dir, "nbd.sock")
	server := exec.Command("qemu-nbd", "--read-only", "--persistent", "--shared=2", "--format=qcow2",
		"--socket="+socket, c.leaf("qcow2"))
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		return nil, err
	}
	r := &qemuNBD{server: server, socket: socket}
	err := waitForFile(socket, 10*time.Second)
	if err == nil {
		r.served, err = serve(program, placesFile, []string{socket})
	}
	if err != nil {
		return nil, errors.Join(err, r.stop())
	}
	return r, nil
}

func waitForFile(name string, limit time.Duration) error {
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(name); err == nil {
			return nil
		}
	}
	return fmt.Errorf("no %s after %v", filepath.Base(name), limit)
}

func (r *qemuNBD) stop() error {
	err := r.server.Process.Kill()
	_ = r.server.Wait() // it was killed
	return errors.Join(err, os.Remove(r.socket))
}

func (r *qemuNBD) Close() error { return errors.Join(r.served.Close(), r.stop()) }
