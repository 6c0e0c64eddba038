package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
)

// missing is errMissing unless all the programs are there.
func missing(programs ...string) error {
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is %w", filepath.Base(program), errMissing)
		}
	}
	return nil
}

func run(program string, args ...string) error {
	return runCommand(exec.Command(program, args...))
}

// runCommand runs a command and, if it fails, tells what it complained of.
func runCommand(cmd *exec.Cmd) error {
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd.Args[0], err, bytes.TrimSpace(complaint.Bytes()))
	}
	return nil
}
