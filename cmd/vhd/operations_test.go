package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd/internal/vhdtest"
)

// operation is one of those that make or change images, with what it says of itself in
// JSON, as a dry run and in earnest. IDs of new images are "ID" in that.
type operation struct {
	args   []string
	dryRun string // empty: it has none
	json   string
}

// operations work on what putOperands writes.
var operations = []operation{
	{[]string{"create", "-b", "base.vhd", "new.vhd"}, "",
		`{"filename": "new.vhd", "format": "vpc", "dry-run": false, "changed": true,
			"disk-type": "differencing", "virtual-size": 4194304, "backing-filename": "base.vhd"}`},
	{[]string{"snapshot", "leaf.vhd", "new.vhd"},
		`{"filename": "new.vhd", "format": "vpc", "dry-run": true, "changed": false,
			"disk-type": "differencing", "virtual-size": 4194304, "backing-filename": "leaf.vhd",
			"chain": ["new.vhd", "leaf.vhd", "base.vhd"]}`,
		`{"filename": "new.vhd", "format": "vpc", "dry-run": false, "changed": true,
			"disk-type": "differencing", "virtual-size": 4194304, "backing-filename": "leaf.vhd",
			"chain": ["new.vhd", "leaf.vhd", "base.vhd"]}`},
	{[]string{"merge", "leaf.vhd"},
		`{"filename": "leaf.vhd", "format": "vpc", "dry-run": true, "changed": false,
			"merged": ["leaf.vhd"], "into": "base.vhd", "bytes": 1024, "chain": ["base.vhd"]}`,
		`{"filename": "leaf.vhd", "format": "vpc", "dry-run": false, "changed": true,
			"merged": ["leaf.vhd"], "into": "base.vhd", "bytes": 1024, "chain": ["base.vhd"]}`},
	{[]string{"merge", "--to", "new.vhd", "leaf.vhd"},
		`{"filename": "leaf.vhd", "format": "vpc", "dry-run": true, "changed": false,
			"merged": ["leaf.vhd"], "into": "base.vhd", "to": "new.vhd", "bytes": 1024, "chain": ["leaf.vhd", "base.vhd"]}`,
		`{"filename": "leaf.vhd", "format": "vpc", "dry-run": false, "changed": true,
			"merged": ["leaf.vhd"], "into": "base.vhd", "to": "new.vhd", "bytes": 1024, "chain": ["leaf.vhd", "base.vhd"]}`},
	{[]string{"compact", "sound.vhd"},
		`{"filename": "sound.vhd", "format": "vpc", "dry-run": true, "changed": false, "bytes-before": 2101760, "bytes-after": 2101760}`,
		`{"filename": "sound.vhd", "format": "vpc", "dry-run": false, "changed": false, "bytes-before": 2101760, "bytes-after": 2101760}`},
	{[]string{"compact", "leaky.vhd"},
		`{"filename": "leaky.vhd", "format": "vpc", "dry-run": true, "changed": false, "bytes-before": 5247488, "bytes-after": 2105344}`,
		`{"filename": "leaky.vhd", "format": "vpc", "dry-run": false, "changed": true, "bytes-before": 5247488, "bytes-after": 2105344}`},
	{[]string{"resize", "sound.vhd", "8M"},
		`{"filename": "sound.vhd", "format": "vpc", "dry-run": true, "changed": false, "old-virtual-size": 4194304, "virtual-size": 8388608}`,
		`{"filename": "sound.vhd", "format": "vpc", "dry-run": false, "changed": true, "old-virtual-size": 4194304, "virtual-size": 8388608}`},
	{[]string{"resize", "sound.vhd", "+0"},
		`{"filename": "sound.vhd", "format": "vpc", "dry-run": true, "changed": false, "old-virtual-size": 4194304, "virtual-size": 4194304}`,
		`{"filename": "sound.vhd", "format": "vpc", "dry-run": false, "changed": false, "old-virtual-size": 4194304, "virtual-size": 4194304}`},
	{[]string{"rebase", "-b", "sound.vhd", "leaf.vhd"},
		`{"filename": "leaf.vhd", "format": "vpc", "dry-run": true, "changed": false, "backing-filename": "sound.vhd", "parent-unique-id": "ID",
			"parent-references": [{"origin": "W2ru", "path": ".\\sound.vhd"}, {"origin": "W2ku", "path": "DIR\\sound.vhd"}], "bytes": 0}`,
		`{"filename": "leaf.vhd", "format": "vpc", "dry-run": false, "changed": true, "backing-filename": "sound.vhd", "parent-unique-id": "ID",
			"parent-references": [{"origin": "W2ru", "path": ".\\sound.vhd"}, {"origin": "W2ku", "path": "DIR\\sound.vhd"}], "bytes": 0}`},
	{[]string{"rebase", "-b", "empty.vhd", "leaf.vhd"}, // the base's 16 KiB, without the 1 KiB that the leaf has
		`{"filename": "leaf.vhd", "format": "vpc", "dry-run": true, "changed": false, "backing-filename": "empty.vhd", "parent-unique-id": "ID",
			"parent-references": [{"origin": "W2ru", "path": ".\\empty.vhd"}, {"origin": "W2ku", "path": "DIR\\empty.vhd"}], "bytes": 15360}`,
		`{"filename": "leaf.vhd", "format": "vpc", "dry-run": false, "changed": true, "backing-filename": "empty.vhd", "parent-unique-id": "ID",
			"parent-references": [{"origin": "W2ru", "path": ".\\empty.vhd"}, {"origin": "W2ku", "path": "DIR\\empty.vhd"}], "bytes": 15360}`},
	{[]string{"rebase", "-u", "-b", "empty.vhd", "leaf.vhd"},
		`{"filename": "leaf.vhd", "format": "vpc", "dry-run": true, "changed": false, "backing-filename": "empty.vhd", "parent-unique-id": "ID",
			"parent-references": [{"origin": "W2ru", "path": ".\\empty.vhd"}, {"origin": "W2ku", "path": "DIR\\empty.vhd"}], "bytes": 0}`,
		`{"filename": "leaf.vhd", "format": "vpc", "dry-run": false, "changed": true, "backing-filename": "empty.vhd", "parent-unique-id": "ID",
			"parent-references": [{"origin": "W2ru", "path": ".\\empty.vhd"}, {"origin": "W2ku", "path": "DIR\\empty.vhd"}], "bytes": 0}`},
	{[]string{"rebase", "--tree", "moved"},
		`[{"filename": "moved/child.vhd", "format": "vpc", "dry-run": true, "changed": false, "backing-filename": "moved/bases/root.vhd", "bytes": 0}]`,
		`[{"filename": "moved/child.vhd", "format": "vpc", "dry-run": false, "changed": true, "backing-filename": "moved/bases/root.vhd", "bytes": 0}]`},
	{[]string{"rename", "base.vhd", "new.vhd"},
		`{"filename": "new.vhd", "format": "vpc", "dry-run": true, "changed": false, "former-filename": "base.vhd", "children": ["leaf.vhd"]}`,
		`{"filename": "new.vhd", "format": "vpc", "dry-run": false, "changed": true, "former-filename": "base.vhd", "children": ["leaf.vhd"]}`},
	{[]string{"export", "leaf.vhd", "new.raw"},
		`{"filename": "new.raw", "format": "raw", "dry-run": true, "changed": false, "source-filename": "leaf.vhd", "virtual-size": 4194304, "bytes": 4194304}`,
		`{"filename": "new.raw", "format": "raw", "dry-run": false, "changed": true, "source-filename": "leaf.vhd", "virtual-size": 4194304, "bytes": 4194304}`},
	{[]string{"convert", "--azure", "leaf.vhd", "new.vhd"},
		`{"filename": "new.vhd", "format": "vpc", "dry-run": true, "changed": false,
			"source-filename": "leaf.vhd", "disk-type": "fixed", "virtual-size": 20971520, "bytes": 20972032}`,
		`{"filename": "new.vhd", "format": "vpc", "dry-run": false, "changed": true,
			"source-filename": "leaf.vhd", "disk-type": "fixed", "virtual-size": 20971520, "bytes": 20972032}`},
	{[]string{"import", "-t", "fixed", "in.raw", "new.vhd"},
		`{"filename": "new.vhd", "format": "vpc", "dry-run": true, "changed": false,
			"source-filename": "in.raw", "disk-type": "fixed", "virtual-size": 1024, "bytes": 1536}`,
		`{"filename": "new.vhd", "format": "vpc", "dry-run": false, "changed": true,
			"source-filename": "in.raw", "disk-type": "fixed", "virtual-size": 1024, "bytes": 1536}`},
	{[]string{"repair", "sound.vhd"},
		`{"filename": "sound.vhd", "format": "vpc", "dry-run": true, "changed": false, "check-errors": 0, "corruptions": 0, "leaks": 0, "findings": [], "steps": []}`,
		`{"filename": "sound.vhd", "format": "vpc", "dry-run": false, "changed": false, "check-errors": 0, "corruptions": 0, "leaks": 0, "findings": [], "steps": []}`},
	{[]string{"repair", "--restore", "mended.vhd.undo", "mended.vhd"},
		`{"filename": "mended.vhd", "format": "vpc", "dry-run": true, "changed": false, "undo": "mended.vhd.undo"}`,
		`{"filename": "mended.vhd", "format": "vpc", "dry-run": false, "changed": true, "undo": "mended.vhd.undo"}`},
}

// putOperands makes a new directory the current one, with an image for each operation.
func putOperands(t *testing.T) {
	t.Helper()
	t.Chdir(realDir(t))
	base := soundDisk()
	base.WriteFile(t, "base.vhd")
	vhdtest.NewChild(base, "base.vhd", vhdtest.Block{
		Index: 1, Data: []byte(strings.Repeat("leaf", 256)), Bitmap: vhdtest.Bitmap(blockSize/512, func(s int) bool { return s < 2 }),
	}).WriteFile(t, "leaf.vhd")
	soundDisk().WriteFile(t, "sound.vhd")
	leaky := soundDisk()
	leaky.Slack = 3 << 20
	leaky.WriteFile(t, "leaky.vhd")
	succeed(t, "create", "-q", "-s", "4M", "empty.vhd")
	require.NoError(t, os.MkdirAll("moved/bases", 0o755))
	base.WriteFile(t, "moved/bases/root.vhd")
	vhdtest.NewChild(base, "lost.vhd").WriteFile(t, "moved/child.vhd")
	writeFile(t, "in.raw", make([]byte, 1000))
	putLost(t)
	require.NoError(t, os.Rename("lost.vhd", "mended.vhd"))
	succeed(t, "repair", "-q", "mended.vhd")
}

// sums are the SHA-256 of all files below the current directory.
func sums(t *testing.T) map[string][32]byte {
	t.Helper()
	all := map[string][32]byte{}
	require.NoError(t, filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			all[name] = sha256.Sum256(readFile(t, name))
		}
		return err
	}))
	return all
}

// with is the arguments with flags in front of them.
func (o *operation) with(flags ...string) []string {
	return slices.Concat(o.args[:1], flags, o.args[1:])
}

// plain is JSON without what is another in each run.
func plain(t *testing.T, text string) string {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	text = strings.ReplaceAll(text, strings.ReplaceAll(strings.ReplaceAll(dir, "/", `\`), `\`, `\\`), "DIR")
	return regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`).ReplaceAllString(text, "ID")
}

func TestWhatOperationsSayInJSON(t *testing.T) {
	for _, o := range operations {
		t.Run(strings.Join(o.args, " "), func(t *testing.T) {
			putOperands(t)
			before := sums(t)
			if o.dryRun != "" {
				require.JSONEq(t, o.dryRun, plain(t, succeed(t, o.with("--dry-run", "--output", "json")...)))
				require.Equal(t, before, sums(t), "a dry run changes nothing")
			} else {
				require.Equal(t, exitUsage, command(t, o.with("--dry-run")...).code, "it has none")
			}
			require.JSONEq(t, o.json, plain(t, succeed(t, o.with("--output", "json")...)))
			changed := strings.Contains(o.json, `"changed": true`)
			require.Equal(t, changed, !mapsEqual(before, sums(t)), "changed says whether a file is another by now")
		})
	}
}

func mapsEqual(a, b map[string][32]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for name, sum := range a {
		if b[name] != sum {
			return false
		}
	}
	return true
}

func TestADryRunSaysInWordsWhatWouldBeAndChangesNothing(t *testing.T) {
	for _, o := range operations {
		if o.dryRun == "" {
			continue
		}
		putOperands(t)
		before := sums(t)
		says := succeed(t, o.with("--dry-run")...)
		require.NotEmpty(t, says, o.args)
		if strings.Contains(o.json, `"changed": true`) {
			require.Regexp(t, "would|can be", says)
		}
		require.Empty(t, succeed(t, o.with("--dry-run", "-q")...))
		require.Equal(t, before, sums(t), o.args)
	}
}

func TestOperationsCanBeQuiet(t *testing.T) {
	for _, o := range operations {
		putOperands(t)
		require.Empty(t, succeed(t, o.with("-q")...), o.args)
		putOperands(t)
		require.Empty(t, succeed(t, o.with("-q", "--output", "json")...), o.args)
		putOperands(t)
		require.NotEmpty(t, succeed(t, o.args...), o.args)
	}
}

// What opening for writing would mend stays as it is.
func TestADryRunLeavesWhatACrashLeft(t *testing.T) {
	putOperands(t)
	for _, name := range []string{"leaf.vhd", "leaky.vhd"} {
		require.NoError(t, os.Truncate(name, sizeOf(t, name)-512))
	}
	before := sums(t)
	for _, line := range []string{
		"snapshot leaf.vhd new.vhd", "merge leaf.vhd", "compact leaky.vhd", "resize leaf.vhd 8M", "rebase -b empty.vhd leaf.vhd", "rename base.vhd new.vhd", "export leaf.vhd new.raw", "repair leaf.vhd",
	} {
		o := operation{args: strings.Fields(line)}
		succeed(t, o.with("--dry-run")...)
		require.Equal(t, before, sums(t), line)
	}
}

func TestAnOperationThatIsInterruptedSaysHowThingsStand(t *testing.T) {
	putOperands(t)
	for _, o := range operations {
		if o.args[0] == "create" || o.args[0] == "snapshot" || slices.Contains(o.args, "+0") { // which take no time
			continue
		}
		a := interrupted(t, o.args...)
		require.Equal(t, answer{exitInterrupted, "", a.stderr}, a, o.args)
		require.Regexp(t, `^vhd: \S+: interrupted: [^\n]+\nhint: to take it up again: `+regexp.QuoteMeta(typed(o.args))+`\n$`, a.stderr)
		if o.dryRun != "" {
			before := sums(t)
			a = interrupted(t, o.with("--dry-run")...)
			require.Equal(t, answer{exitInterrupted, "", a.stderr}, a, o.args)
			require.Regexp(t, `^vhd: \S+: interrupted: nothing was changed\nhint: [^\n]+\n$`, a.stderr)
			require.Equal(t, before, sums(t), o.args)
		}
	}
}

// fullFile can't take anything.
type fullFile struct{}

func (fullFile) Write([]byte) (int, error) {
	return 0, &fs.PathError{Op: "write", Path: "out", Err: errors.New("it is full")}
}

func TestAResultThatCanNotBeWrittenIsAnError(t *testing.T) {
	putOperands(t)
	for _, form := range []string{outputHuman, outputJSON} {
		var stderr bytes.Buffer
		code := run([]string{"compact", "--output", form, "sound.vhd"}, strings.NewReader(""), fullFile{}, &stderr)
		require.Equal(t, answer{exitError, "", "vhd: standard output: write: it is full\n"}, answer{code, "", stderr.String()})
	}
}

// A dry run that begins well ends as the operation would.
func TestADryRunRefusesWhatTheOperationRefuses(t *testing.T) {
	putOperands(t)
	for _, line := range []string{
		"merge base.vhd", "merge --to base.vhd leaf.vhd", "merge --into 7 leaf.vhd", "compact in.raw", "resize sound.vhd 3T", "resize --shrink sound.vhd -4M",
		"resize --shrink sound.vhd 2M", "rebase -b leaf.vhd leaf.vhd", "rebase -b none.vhd leaf.vhd", "rebase -b sound.vhd base.vhd",
		"rebase -b empty.vhd moved/child.vhd", "rebase --tree none", "rebase --tree in.raw", "rename base.vhd leaf.vhd", "rename none.vhd new.vhd",
		"export leaf.vhd base.vhd", "export -O fixed leaf.vhd in.raw", "export -O differencing base.vhd new.vhd", "export leaf.vhd none/new.raw",
		"repair in.raw", "repair --restore in.raw sound.vhd",
	} {
		o := operation{args: strings.Fields(line)}
		before := sums(t)
		require.Equal(t, refuse(t, o.args...), refuse(t, o.with("--dry-run")...), line)
		require.Equal(t, before, sums(t))
	}
}

func TestTheSameFlagHasTheSameWordsEverywhere(t *testing.T) {
	type words struct{ usage, shorthand string }
	flags := map[string]words{}
	for _, cmd := range newCommand().Commands() {
		for _, name := range []string{"dry-run", "output", "progress", "quiet"} {
			flag := cmd.Flags().Lookup(name)
			if flag == nil {
				continue
			}
			want, known := flags[name]
			flags[name] = words{flag.Usage, flag.Shorthand}
			if known {
				require.Equal(t, want, flags[name], "%s --%s", cmd.Name(), name)
			}
			shown := "--" + name
			if flag.Shorthand != "" {
				shown = "-" + flag.Shorthand
			}
			require.Contains(t, cmd.UseLine(), "["+shown, cmd.Name())
		}
	}
	require.Len(t, flags, 4)
}
