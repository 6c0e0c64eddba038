package vhd_test

import (
	"bufio"
	"context"
	"encoding/json"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// mistake is one that somebody could make in the order of writes: other lines
// stand in place of some.
//
// The go command's -overlay builds the package with it. That is the hook, and
// only this test reaches it: no other build has a line of a mistake in it.
type mistake struct {
	name  string
	edits []edit
}

type edit struct{ file, old, new string }

const (
	firstFsync = `
	if err := d.syncs.fsync(); err != nil {
		return err
	}
	if len(e.blocks) > 0 {`
	unreachable = `
	if err := d.writeUnreachable(e); err != nil {`
	published = `
		if err := d.writePublished(e); err != nil {`
)

var mistakes = []mistake{
	{"W3: the footer last", []edit{{"space.go", `
	if err := d.syncs.fsync(); err != nil {
		return err
	}
	m.footerOff = newOff`, `
	m.footerOff = newOff`}}},
	{"W3: a stale footer read as a bitmap", []edit{
		{"space.go", `zeroRange(d.leaf().file, oldOff, zeroEnd-oldOff)`, `zeroRange(d.leaf().file, oldOff, 0)`},
		{"flush.go", unreachable, `
	if err := error(nil); err != nil {`},
		{"flush.go", published, `
		if err := d.writeUnreachable(e); err != nil {
			return d.breakDown(err)
		}` + published},
	}},
	{"W4: no first fsync", []edit{{"flush.go", firstFsync, `
	if len(e.blocks) > 0 {`}}},
	{"W4: no last fsync", []edit{{"flush.go", `
		if err := d.syncs.fsync(); err != nil {
			return err
		}
	}
	d.publishEpoch(mu, e)`, `
	}
	d.publishEpoch(mu, e)`}}},
	{"W4: a live bitmap in a sync", []edit{{"flush.go", `copy(area, b.bitmap[b.dirtyFrom*SectorSize:])`, `copy(area, b.block.bitmap[b.dirtyFrom*SectorSize:])`}}},
	{"W5: the BAT before the bitmap", []edit{
		{"flush.go", unreachable, `
	if err := d.writePublished(e); err != nil {`},
		{"flush.go", published, `
		if err := d.writeUnreachable(e); err != nil {`},
	}},
	{"W6: freed space reused early", []edit{{"leaf.go", `
	w.freed = append(w.freed, b.off)
	b.off, b.bitmap`, `
	w.release(b.off)
	b.off, b.bitmap`}}},
	{"W6: what was freed beside a sync reused with what it freed", []edit{{"flush.go", `
	w.nflushing = 0
	w.trimClean()`, `
	w.nflushing = 0
	e.freed, w.freed = append(e.freed, w.freed...), nil
	w.trimClean()`}}},
	{"W4: a sync notes more than it took", []edit{{"flush.go", `b.block.published = b.off`, `b.block.published = b.block.off`}}},
	{"W7: both footers in flux", []edit{{"recover.go", `
		return inPart("footer", 0, err)
	}
	return d.syncs.fsync()`, `
		return inPart("footer", 0, err)
	}
	return nil`}}},
	{"W7: the old footer cut off before the new one is there", []edit{{"space.go", `
		return inPart("footer", off, err)
	}
	if err := d.syncs.fsync(); err != nil {
		return err
	}`, `
		return inPart("footer", off, err)
	}`}}},
	{"W10: reused space as it was", []edit{{"write.go", `if !w.hasParent() && !fresh {`, `if false && fresh {`}}},
	{"W11: another try after a failed fsync", []edit{{"flush.go", `return b.onFail(err)`, `return err`}}},
	{"W13: a header in place", []edit{{"headerchange.go", `c.away, err = c.room(dynHeaderSize)`, `c.away = c.home`}}},
	{"W13: a new header that is not durable", []edit{{"headerchange.go", `
	if err := d.syncs.fsync(); err != nil {
		return err
	}
	return c.lead(c.away`, `
	return c.lead(c.away`}}},
	{"W7: both footers in flux, as a size changes", []edit{{"headerchange.go", `
	return d.syncs.fsync()
}

// replaceFooter`, `
	return nil
}

// replaceFooter`}}},
	{"a merge that renews the parent before its child knows", []edit{{"merge.go", `
		if err := c.show(); err != nil {
			return err
		}
		if err := w.setID(id); err != nil {
			return c.disk.breakDown(err) // which of the two headers is right has to be found out
		}`, `
		if err := w.setID(id); err != nil {
			return c.disk.breakDown(err)
		}
		if err := c.show(); err != nil {
			return err
		}`}}},
	{"a merge that relinks before all is durable", []edit{{"merge.go", `
		err = m.receiver.finish()`, `
		err = nil`}, {"merge.go", `
		err = m.receiver.Sync()`, `
		err = nil`}}},
	{"a repair that waits for nothing to be durable", []edit{{"repair_overlay.go", `		return f.Sync()
`, `		return nil
`}}},
	{"a repair before its undo file", []edit{{"repair.go", `
	undo, dir, err := r.publish(u, leaf.info.Mode().Perm()&0o666|0o600)
`, `
	for _, c := range r.file.changes {
		_ = c.changeTo(leaf.file, r.goOn)
	}
	undo, dir, err := r.publish(u, leaf.info.Mode().Perm()&0o666|0o600)
`}}},
	{"a larger disk without zeros", []edit{{"sizeblocks.go", `err := g.makeZeros(ctx)`, `err := error(nil)`}}},
	{"a larger disk before its zeros are durable", []edit{{"sizeblocks.go", `
	if err := g.after.settle(); err != nil {`, `
	if err := error(nil); err != nil {`}}},
	{"a larger disk as soon as its file grows", []edit{{"sizeblocks.go", `after.leaf.footer = before.leaf.footer`, `_ = before.leaf.footer`}}},
	{"a larger disk with the entries that were there", []edit{{"sizeblocks.go", `
		return g.emptyTable(ctx)
	}
	c, err :=`, `
		return nil
	}
	c, err :=`}}},
	{"a larger fixed disk over its old footer", []edit{{"sizefixed.go", `func() error { return l.file.Truncate(growingSize(oldSize, off+footerSize)) },`, ``}}},
	{"a larger fixed disk with its old footer in it", []edit{{"sizefixed.go", `if end <= r.from {`, `if end != 0 {`}}},
	{"a smaller fixed disk cut off first", []edit{{"sizefixed.go", `
	if err := d.syncs.fsync(); err != nil {
		return err
	}
	if err := l.file.Truncate(r.to + footerSize)`, `
	if err := l.file.Truncate(r.to + footerSize)`}}},
	{"a snapshot of what is not durable", []edit{{"snapshot.go", `if err := d.settle(); err != nil {`, `if err := error(nil); d == nil {`}}},
	{"a snapshot, and writes to what is below", []edit{{"snapshot.go", `d.current.Store(after)`, `_ = after`}}},
	{"W6: dropped blocks' space taken by moved ones early", []edit{
		{"compacthome.go", `if err := d.settle(); err != nil {`, `if err := error(nil); d == nil {`},
		{"compactmove.go", `if err := d.flush(heldLock{}); err != nil {`, `if err := error(nil); d == nil {`},
		{"compactmove.go", `
	w.space = s`, `
	s.freeSlots, w.freed = append(s.freeSlots, w.freed...), nil
	w.space = s`},
	}},
	{"W6: gaps closed over blocks whose moving is not durable", []edit{{"compactgaps.go", `
			if err := c.disk.sync(); err != nil {
				return err
			}
		}
		if _, err`, `
			_ = c.disk
		}
		if _, err`}}},
	{"a table that comes home over blocks that are there", []edit{{"compacthome.go", `if err := c.makeRoom(ctx, h); err != nil {`, `if err := error(nil); err != nil {`}}},
	{"a locator that comes home late", []edit{{"compacthome.go", `
		if err := c.copyData(p.to, p.off, n); err != nil {
			return inPart(p.what, p.to, err)
		}
		p.set(&change.header, p.to)
	}`, `
		p.set(&change.header, p.to)
		defer c.copyData(p.to, p.off, n)
	}`}}},
	{"a compaction that relies on what is in memory alone below", []edit{{"compact.go", `if err := c.disk.syncBelow(); err != nil {`, `if err := error(nil); err != nil {`}}},
	{"W8: zeros over a parent's data dropped", []edit{{"compactdrop.go", `
	return c.findEqual(e, under, each)`, `
	return c.findZeros(e, each)`}}},
	{"a rebase that names the parent before what was copied is durable", []edit{
		{"rebase.go", `
		if err := r.disk.sync(); err != nil {
			return err
		}
	}
	if err := r.change()`, `
	}
	if err := r.change()`},
		{"headerchange.go", `
	if err := d.settle(); err != nil {
		return nil, err
	}
	offs, err :=`, `
	offs, err :=`},
		{"headerchange.go", `return c.disk.reloadLeaf()`, `return joined(c.disk.settle(), c.disk.reloadLeaf())`},
	}},
	{"a rebase that copies nothing", []edit{{"rebase.go", `return !r.isSameParent() && !r.opts.Unsafe`, `return false && !r.isSameParent()`}}},
	{"a new file's name before its content", []edit{{"create.go", `err = f.Sync()`, `err = nil`}}},
	{"a new file without a sync of its directory", []edit{{"create.go", `if err := d.fs.SyncDir(d.dir); err != nil {`, `if err := error(nil); err != nil {`}}},
}

// The tests on storage that loses power, or fails, would be worth nothing if
// they found nothing.
func TestEveryMistakeInTheOrderOfWritesIsFound(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("builds a program for every mistake")
	}
	for _, m := range mistakesToTry(t) {
		t.Run(m.name, func(t *testing.T) {
			t.Log(findMistake(t, m.build(t)))
		})
	}
}

// A mistake that can't be made any more, as the code around it is another by now, would
// be found by nobody until all are tried.
func TestEveryMistakeCanBeMade(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("checks the types of the whole package for every mistake")
	}
	pkg, err := build.ImportDir(".", 0)
	require.NoError(t, err)
	fset := token.NewFileSet()
	checker := types.Config{Importer: importer.ForCompiler(fset, "source", nil)}
	sound := map[string]*ast.File{}
	for _, name := range pkg.GoFiles {
		sound[name], err = parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
	}
	for _, m := range mistakes {
		files := maps.Clone(sound)
		for name, copied := range m.copyTo(t, t.TempDir()) {
			files[name], err = parser.ParseFile(fset, copied, nil, parser.SkipObjectResolution)
			require.NoError(t, err, m.name)
		}
		_, err := checker.Check(pkg.ImportPath, fset, slices.Collect(maps.Values(files)), nil)
		require.NoError(t, err, m.name)
	}
}

// mistakesToTry are some of the mistakes, spread over the list, or all if that is
// asked for: for each a program is built.
func mistakesToTry(t testing.TB) (some []mistake) {
	t.Helper()
	n := min(wanted(t, "VHD_MISTAKES", 1, 0), len(mistakes))
	for i := range n {
		some = append(some, mistakes[i*len(mistakes)/n])
	}
	return some
}

// failures are what tells that a mistake is found: it may be what is done that fails, or that never ends.
var failures = []string{promiseIsBroken, "--- FAIL", "panic: test timed out"}

// findMistake runs the tests of a program, as long as short ones are, until one fails, and
// returns what it says.
func findMistake(t testing.TB, program string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-test.v", "-test.short", "-test.timeout=15m", // it may hang
		"-test.run", "^(TestP[1-4]|TestEveryCrash|TestEveryFault)")
	cmd.Env = append(os.Environ(), "VHD_CRASH_STATES=", "VHD_CRASH_STEPS=", "VHD_FAULT_POINTS=") // as many as a short test wants
	output, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Wait() }() // it is killed, or has failed
	defer cancel()
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if slices.ContainsFunc(failures, func(words string) bool { return strings.Contains(lines.Text(), words) }) {
			found := []string{lines.Text()}
			for len(found) < 5 && lines.Scan() {
				found = append(found, lines.Text())
			}
			return strings.Join(found, "\n")
		}
	}
	require.NoError(t, lines.Err())
	t.Fatal("nothing was found")
	return ""
}

// copyTo makes the mistake in copies, in dir, of the files that it is in, and returns their
// names by those of the files.
func (m mistake) copyTo(t testing.TB, dir string) map[string]string {
	t.Helper()
	copies := map[string]string{}
	for _, e := range m.edits {
		if copies[e.file] == "" {
			copies[e.file] = filepath.Join(dir, e.file)
			source, err := os.ReadFile(e.file)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(copies[e.file], source, 0o600))
		}
		e.apply(t, copies[e.file])
	}
	return copies
}

// build builds the tests with the mistake, and returns their program.
func (m mistake) build(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	replace := map[string]string{}
	for name, copied := range m.copyTo(t, dir) {
		here, err := filepath.Abs(name)
		require.NoError(t, err)
		replace[here] = copied
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	program := filepath.Join(dir, "vhd.test")
	output, err := exec.Command("go", "test", "-c", "-vet=off", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, ".").CombinedOutput()
	require.NoError(t, err, "%s", output)
	return program
}

// apply makes the edit in a copy of its file.
func (e edit) apply(t testing.TB, name string) {
	t.Helper()
	source, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(source), e.old), "%s is another by now, and the mistake has to be made anew: %s", e.file, e.old)
	require.NoError(t, os.WriteFile(name, []byte(strings.Replace(string(source), e.old, e.new, 1)), 0o600))
}
