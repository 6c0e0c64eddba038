// Hostile makes the images of internal/vhdtest's recipes, damaged, forged and
// odd ones, asks this package and other readers for each, and prints what came,
// as docs/hostile-images.md has it:
//
//	go run ./internal/hostile [-o directory to keep the images in]
//
// It exits with 1 where this package is not right, or takes more than 50 ms or
// 16 MiB for an image.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-vhd/vhd/internal/vhdtest"
)

func main() {
	log.SetFlags(0)
	keep := flag.String("o", "", "directory to keep the images in, which must not exist")
	flag.Parse()
	if err := run(*keep); err != nil {
		log.Fatal(err)
	}
}

// others are the readers beside this package.
var others = []vhdtest.Reader{vhdtest.Qemu, vhdtest.Libvhdi, vhdtest.SevenZip}

func run(keep string) (err error) {
	dir, err := os.MkdirTemp("", "hostile")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if keep == "" {
		keep = filepath.Join(dir, "images")
	}
	if err := os.Mkdir(keep, 0o755); err != nil {
		return err
	}
	if err := printVersions(); err != nil {
		return err
	}
	var results []result
	for i, recipe := range vhdtest.HostileRecipes() {
		r, err := tryOut(recipe, filepath.Join(keep, fmt.Sprintf("%03d", i+1)), filepath.Join(dir, "ours"))
		if err != nil {
			return fmt.Errorf("%s: %w", recipe.Name, err)
		}
		if i == 0 || recipe.Row != results[i-1].recipe.Row {
			printHead(recipe.Row)
		}
		printRow(r)
		results = append(results, r)
	}
	return printTotals(results)
}

// result is what came of one image.
type result struct {
	recipe vhdtest.HostileRecipe
	ours   measured
	others []outcome
}

// tryOut makes an image in keep, where others read it, and again in own, where
// this package writes it too.
func tryOut(recipe vhdtest.HostileRecipe, keep, own string) (result, error) {
	image := recipe.Make(failing{})
	r := result{recipe: recipe}
	if err := put(image, keep); err != nil {
		return r, err
	}
	for _, reader := range others {
		r.others = append(r.others, ask(reader, image, keep))
	}
	var err error
	if r.ours, err = askOurs(image, own); err != nil {
		return r, err
	}
	if strings.HasPrefix(keep, filepath.Dir(own)) { // nobody asked to keep it
		if err := os.RemoveAll(keep); err != nil {
			return r, err
		}
	}
	return r, nil
}

// leafDir is where the leaf is below an image's directory, so that there is an
// outside to it.
const leafDir = "d"

func put(image *vhdtest.HostileImage, dir string) error {
	for name, file := range image.Files {
		name = filepath.Join(dir, leafDir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, file, 0o644); err != nil {
			return err
		}
	}
	for _, name := range image.Dirs {
		if err := os.Mkdir(filepath.Join(dir, leafDir, name), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// failing is a vhdtest.TB that ends the program.
type failing struct{}

func (failing) Helper() {}

func (failing) Fatalf(format string, args ...any) { log.Fatalf(format, args...) }

func printVersions() error {
	var names []string
	for _, reader := range others {
		version, err := reader.Version(context.Background())
		if err != nil {
			return err
		}
		names = append(names, reader.Name+" "+version)
	}
	fmt.Printf("Asked: %s.\n", strings.Join(names, ", "))
	return nil
}

func printHead(row vhdtest.HostileRow) {
	names := []string{"image", "ours"}
	for _, reader := range others {
		names = append(names, reader.Name)
	}
	title := strings.ToUpper(string(row[:1])) + string(row[1:])
	fmt.Printf("\n## %s\n\n| %s |\n%s|\n", title, strings.Join(names, " | "), strings.Repeat("|---", len(names)))
}

func printRow(r result) {
	words := []string{string(r.ours.outcome)}
	for _, o := range r.others {
		words = append(words, o.inTable())
	}
	fmt.Printf("| %s | %s |\n", r.recipe.Name, strings.Join(words, " | "))
}

// printTotals prints how often each outcome came, and what this package took.
func printTotals(results []result) error {
	fmt.Println("\n## All\n\n| | right | refuses rightly | refuses | wrong bytes | accepts | hangs | crashes | not asked |\n|---|---|---|---|---|---|---|---|---|")
	printTotal("ours", results, func(r result) outcome { return r.ours.outcome })
	for i, reader := range others {
		printTotal(reader.Name, results, func(r result) outcome { return r.others[i] })
	}
	slowest, largest := results[0], results[0]
	var wrong []error
	for _, r := range results {
		if r.ours.ms > slowest.ours.ms {
			slowest = r
		}
		if r.ours.bytes > largest.ours.bytes {
			largest = r
		}
		if err := r.ours.verdict(); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", r.recipe.Name, err))
		}
	}
	fmt.Printf("\n%d images. Of ours the slowest took %.0f ms, the quickest of %d times; the most memory, %d MiB, took %s.\n", len(results),
		slowest.ours.ms, nruns, (largest.ours.bytes+1<<20-1)>>20, largest.recipe.Name)
	return errors.Join(wrong...)
}

func printTotal(name string, results []result, of func(r result) outcome) {
	counts := map[outcome]int{}
	for _, r := range results {
		counts[of(r)]++
	}
	row := []string{name}
	for _, o := range slices.Concat(good, bad, []outcome{notAsked}) {
		row = append(row, fmt.Sprint(counts[o]))
	}
	fmt.Printf("| %s |\n", strings.Join(row, " | "))
}
