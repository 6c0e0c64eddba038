package vhd_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/go-vhd/vhd"
)

// A check tells of damage, of space that is lost, and of what is odd, and changes nothing.
func ExampleCheck() {
	dir, remove := makeDir()
	defer remove()
	base, child := filepath.Join(dir, "base.vhd"), filepath.Join(dir, "child.vhd")
	makeImage(base, vhd.CreateOptions{Size: 64 << 20}, "old words", 0)
	makeImage(child, vhd.CreateOptions{Parent: base}, "new words", 1<<20)
	if err := os.Truncate(child, 2<<20); err != nil { // as a copy that was interrupted leaves it
		log.Fatal(err)
	}

	report, err := vhd.Check(context.Background(), child, vhd.CheckOptions{Chain: true})
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range report.Findings {
		fmt.Printf("%v %s: %s %s\n", f.Severity, filepath.Base(f.Image), f.Structure, f.Code)
	}
	// Output:
	// error child.vhd: footer footer-lost
	// info child.vhd: BAT block-cut
}
