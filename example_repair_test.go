package vhd_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/go-vhd/vhd"
)

// makeDamaged makes an image that has lost its end, as in a copy that was interrupted.
func makeDamaged(name string) {
	makeImage(name, vhd.CreateOptions{Size: 64 << 20}, "words", 0)
	info, err := os.Stat(name)
	if err != nil {
		log.Fatal(err)
	}
	if err := os.Truncate(name, info.Size()-512); err != nil {
		log.Fatal(err)
	}
}

// What needs no guessing is mended. A dry run tells beforehand what that is.
func ExampleRepair() {
	dir, remove := makeDir()
	defer remove()
	name := filepath.Join(dir, "disk.vhd")
	makeDamaged(name)

	for _, dryRun := range []bool{true, false} {
		report, err := vhd.Repair(context.Background(), name, vhd.RepairOptions{DryRun: dryRun})
		if err != nil {
			log.Fatal(err)
		}
		for _, step := range report.Steps {
			fmt.Println("mends:", step.Structure, step.Code)
		}
		fmt.Println("remain:", len(report.Findings))
		if report.Undo != "" {
			fmt.Println("can be taken back with", filepath.Base(report.Undo))
		}
	}
	// Output:
	// mends: footer footer-lost
	// remain: 0
	// mends: footer footer-lost
	// remain: 0
	// can be taken back with disk.vhd.undo
}

// A repair is taken back, to the byte.
func ExampleUndoRepair() {
	dir, remove := makeDir()
	defer remove()
	name := filepath.Join(dir, "disk.vhd")
	makeDamaged(name)

	damaged := len(findings(name))
	report, err := vhd.Repair(context.Background(), name, vhd.RepairOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("repaired:", len(findings(name)) < damaged)
	if err := vhd.UndoRepair(context.Background(), name, vhd.RepairOptions{Undo: report.Undo}); err != nil {
		log.Fatal(err)
	}
	fmt.Println("as before:", len(findings(name)) == damaged)
	// Output:
	// repaired: true
	// as before: true
}

// findings are what a check finds in an image.
func findings(name string) []vhd.Finding {
	report, err := vhd.Check(context.Background(), name, vhd.CheckOptions{})
	if err != nil {
		log.Fatal(err)
	}
	return report.Findings
}
