package main

import (
	"encoding"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd/internal/vhdtest"
)

// looks are the verbs that change nothing, with what they say in JSON of what putOperands writes. Space
// on the disk is 0 in that, and identifiers are "ID".
var looks = []struct {
	args []string
	code int
	json string
}{
	{[]string{"info", "leaf.vhd"}, exitOK,
		`{"virtual-size": 4194304, "filename": "leaf.vhd", "format": "vpc", "actual-size": 0, "cluster-size": 2097152, "dirty-flag": false,
			"backing-filename": ".\\base.vhd", "full-backing-filename": "base.vhd", "backing-filename-format": "vpc",
			"format-specific": {"type": "vpc", "data": {"disk-type": "differencing", "unique-id": "ID",
				"creator-application": "win", "creator-version": "10.0", "creator-host": "Wi2k", "original-size": 4194304, "file-size": 2100736,
				"geometry": {"cylinders": 120, "heads": 4, "sectors-per-track": 17}, "saved-state": false, "needs-recovery": false, "in-use": false,
				"blocks": {"allocated": 1, "total": 2}, "parent-unique-id": "ID",
				"parent-references": [{"origin": "W2ru", "path": ".\\base.vhd"}, {"origin": "header", "path": "base.vhd"}]}}}`},
	{[]string{"info", "--backing-chain", "base.vhd"}, exitOK,
		`[{"virtual-size": 4194304, "filename": "base.vhd", "format": "vpc", "actual-size": 0, "cluster-size": 2097152, "dirty-flag": false,
			"format-specific": {"type": "vpc", "data": {"disk-type": "dynamic", "unique-id": "ID",
				"creator-application": "win", "creator-version": "10.0", "creator-host": "Wi2k", "original-size": 4194304, "file-size": 2101760,
				"geometry": {"cylinders": 120, "heads": 4, "sectors-per-track": 17}, "saved-state": false, "needs-recovery": false, "in-use": false,
				"blocks": {"allocated": 1, "total": 2}}}}]`},
	{[]string{"info", "moved/child.vhd"}, exitOK,
		`{"virtual-size": 4194304, "filename": "moved/child.vhd", "format": "vpc", "actual-size": 0, "cluster-size": 2097152, "dirty-flag": false,
			"backing-filename": ".\\lost.vhd", "backing-filename-format": "vpc",
			"format-specific": {"type": "vpc", "data": {"disk-type": "differencing", "unique-id": "ID",
				"creator-application": "win", "creator-version": "10.0", "creator-host": "Wi2k", "original-size": 4194304, "file-size": 3072,
				"geometry": {"cylinders": 120, "heads": 4, "sectors-per-track": 17}, "saved-state": false, "needs-recovery": false, "in-use": false,
				"blocks": {"allocated": 0, "total": 2}, "parent-unique-id": "ID",
				"parent-references": [{"origin": "W2ru", "path": ".\\lost.vhd"}, {"origin": "header", "path": "lost.vhd"}],
				"parent-problem": "moved/child.vhd: parent not found"}}}`},
	{[]string{"map", "leaf.vhd"}, exitOK,
		`[{"start": 0, "length": 2097152, "depth": 1, "present": true, "zero": true, "data": false},
			{"start": 2097152, "length": 1024, "depth": 0, "present": true, "zero": false, "data": true, "offset": 3072, "filename": "leaf.vhd"},
			{"start": 2098176, "length": 2096128, "depth": 1, "present": true, "zero": false, "data": true, "offset": 5120, "filename": "base.vhd"}]`},
	{[]string{"ls", "moved"}, exitOK,
		`[{"filename": "moved/child.vhd", "format": "vpc", "virtual-size": 4194304, "actual-size": 0, "file-size": 3072,
			"disk-type": "differencing", "unique-id": "ID", "saved-state": false, "needs-recovery": false,
			"backing-filename": ".\\lost.vhd", "parent-unique-id": "ID", "parent-problem": "parent not found", "children": []}]`},
	{[]string{"check", "leaky.vhd", "none.vhd"}, exitNotChecked,
		`[{"filename": "leaky.vhd", "format": "vpc", "check-errors": 0, "corruptions": 0, "leaks": 1, "findings": [
			{"code": "slack", "severity": "leak", "image": "leaky.vhd", "structure": "file", "offset": 2101248,
				"message": "Behind the last block are 3145728 bytes that nothing uses, in which a block or more would fit."}]},
		{"filename": "none.vhd", "format": "vpc", "check-errors": 1, "corruptions": 0, "leaks": 0, "findings": [], "error": "none.vhd: no such file or directory"}]`},
	{[]string{"check", "leaky.vhd"}, exitLeaks,
		`{"filename": "leaky.vhd", "format": "vpc", "check-errors": 0, "corruptions": 0, "leaks": 1, "findings": [
			{"code": "slack", "severity": "leak", "image": "leaky.vhd", "structure": "file", "offset": 2101248,
				"message": "Behind the last block are 3145728 bytes that nothing uses, in which a block or more would fit."}]}`},
	{[]string{"report", "-R", "moved"}, exitOK,
		`{"directory": "moved", "trees": 2, "orphans": 1, "unreadable": 0, "changed-parents": 0, "file-size": 2104832, "actual-size": 0, "corruptions": 1, "leaks": 0, "notes": 0,
			"bytes-compacting": 0, "bytes-merging": 0, "merges": [], "images": [
			{"filename": "moved/child.vhd", "format": "vpc", "virtual-size": 4194304, "actual-size": 0, "file-size": 3072, "disk-type": "differencing",
				"unique-id": "ID", "saved-state": false, "needs-recovery": false, "backing-filename": ".\\lost.vhd", "parent-unique-id": "ID",
				"parent-problem": "parent not found", "parent-candidates": ["moved/bases/root.vhd"], "children": [], "in-use": false,
				"blocks": {"allocated": 0, "total": 2}, "findings": [{"code": "parent-not-found", "severity": "error", "image": "moved/child.vhd",
					"structure": "chain", "offset": 552,
					"message": "The image's parent can not be opened: parent not found; tried \"moved/lost.vhd\" (W2ru: no such file or directory)."}],
				"compact-problem": "moved/child.vhd: parent not found"},
			{"filename": "moved/bases/root.vhd", "format": "vpc", "virtual-size": 4194304, "actual-size": 0, "file-size": 2101760, "disk-type": "dynamic",
				"unique-id": "ID", "saved-state": false, "needs-recovery": false, "children": [], "in-use": false,
				"blocks": {"allocated": 1, "total": 2}, "findings": [], "compacted-size": 2101760}]}`},
	{[]string{"compare", "leaf.vhd", "base.vhd"}, exitDifferent,
		`{"filename": "leaf.vhd", "other-filename": "base.vhd", "virtual-size": 4194304, "other-virtual-size": 4194304,
			"same": false, "offset": 2097152, "bytes-compared": 1024}`},
	{[]string{"compare", "empty.vhd", "in.raw"}, exitOK,
		`{"filename": "empty.vhd", "other-filename": "in.raw", "virtual-size": 4194304, "other-virtual-size": 1000,
			"same": true, "bytes-compared": 1024}`},
	{[]string{"compare", "-s", "empty.vhd", "in.raw"}, exitDifferent,
		`{"filename": "empty.vhd", "other-filename": "in.raw", "virtual-size": 4194304, "other-virtual-size": 1000,
			"same": false, "bytes-compared": 0}`},
	{[]string{"diff", "leaf.vhd"}, exitOK, `[{"start": 2097152, "length": 1024}]`},
	{[]string{"diff", "--stored", "leaf.vhd", "sound.vhd"}, exitOK, `[{"start": 2097152, "length": 2097152}]`},
	{[]string{"measure", "leaf.vhd"}, exitOK, `{"required": 2097152, "fully-allocated": 4194304}`},
	{[]string{"measure", "-O", "vpc", "--size", "4M"}, exitOK, `{"required": 8192, "fully-allocated": 4210688}`},
}

func TestWhatLooksSayInJSON(t *testing.T) {
	putOperands(t)
	before := sums(t)
	for _, look := range looks {
		a := command(t, slices.Concat(look.args[:1], []string{"--output", "json"}, look.args[1:])...)
		require.Equal(t, look.code, a.code, look.args)
		got := regexp.MustCompile(`"actual-size": \d+`).ReplaceAllString(plain(t, a.stdout), `"actual-size": 0`)
		require.JSONEq(t, look.json, got, "%v", look.args)
	}
	require.Equal(t, before, sums(t))
}

// verbs calls f for every verb.
func verbs(f func(cmd *cobra.Command)) {
	for _, cmd := range newCommand().Commands() {
		f(cmd)
	}
}

func TestEveryVerbThatSpeaksJSONHasItWrittenDown(t *testing.T) {
	var written []string
	for _, o := range operations {
		written = append(written, o.args[0])
	}
	for _, look := range looks {
		written = append(written, look.args[0])
	}
	verbs(func(cmd *cobra.Command) {
		if cmd.Flags().Lookup("output") != nil {
			require.Contains(t, written, cmd.Name())
			require.NotEmpty(t, emitted["vhd "+cmd.Name()], "%s in emitted", cmd.Name())
		}
	})
}

// emitted is of what type a verb's JSON is, or each object of its array.
var emitted = map[string]reflect.Type{
	"vhd info":             reflect.TypeFor[imageInfo](),
	"vhd ls":               reflect.TypeFor[listed](),
	"vhd map":              reflect.TypeFor[mapEntry](),
	"vhd report":           reflect.TypeFor[folderReport](),
	"vhd check":            reflect.TypeFor[checked](),
	"vhd repair":           reflect.TypeFor[repaired](),
	"vhd repair --restore": reflect.TypeFor[restored](),
	"vhd compare":          reflect.TypeFor[compared](),
	"vhd diff":             reflect.TypeFor[span](),
	"vhd measure":          reflect.TypeFor[measured](),
	"vhd create":           reflect.TypeFor[created](),
	"vhd snapshot":         reflect.TypeFor[snapshotted](),
	"vhd merge":            reflect.TypeFor[merged](),
	"vhd compact":          reflect.TypeFor[compacted](),
	"vhd resize":           reflect.TypeFor[resized](),
	"vhd rebase":           reflect.TypeFor[rebased](),
	"vhd rename":           reflect.TypeFor[renamed](),
	"vhd export":           reflect.TypeFor[copied](),
	"vhd import":           reflect.TypeFor[copied](),
	"vhd convert":          reflect.TypeFor[copied](),
}

// keyRow is a row of the tables of docs/json.md, without the meaning.
type keyRow struct {
	key, kind string
	optional  bool
}

// rowsOf are the rows that a type needs. What an operation tells has a table of its own.
func rowsOf(above string, object reflect.Type) (rows []keyRow) {
	for field := range object.Fields() {
		tag, isKey := field.Tag.Lookup("json")
		switch {
		case field.Type == reflect.TypeFor[outcome]():
		case field.Anonymous:
			rows = append(rows, rowsOf(above, field.Type)...)
		case isKey:
			name, options, _ := strings.Cut(tag, ",")
			kind, inside := kindOf(field.Type)
			rows = append(rows, keyRow{above + name, kind, options != ""})
			if inside != nil {
				rows = append(rows, rowsOf(above+name+".", inside)...)
			}
		}
	}
	return rows
}

// kindOf is what JSON has for a type, and the type of the objects in it, if there are any.
func kindOf(of reflect.Type) (kind string, inside reflect.Type) {
	if of == reflect.TypeFor[time.Time]() {
		return "time", nil
	}
	if of.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return "string", nil
	}
	switch of.Kind() {
	case reflect.Pointer:
		return kindOf(of.Elem())
	case reflect.Struct:
		return "object", of
	case reflect.Slice:
		kind, inside = kindOf(of.Elem())
		return "array of " + kind + "s", inside
	case reflect.Bool:
		return "boolean", nil
	case reflect.String:
		return "string", nil
	default:
		return "integer", nil
	}
}

// documented are the tables of a document by the headings above them. A heading that names several verbs counts for each.
func documented(t *testing.T, name string) map[string][][]string {
	t.Helper()
	tables := map[string][][]string{}
	var headings []string
	for line := range strings.Lines(string(readFile(t, name))) {
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			headings = strings.Split(strings.TrimSpace(heading), ", ")
		}
		row, isRow := strings.CutPrefix(line, "| `")
		if !isRow {
			continue
		}
		cells := strings.Split(row, "|")
		for i := range cells {
			cells[i] = strings.Trim(cells[i], " `\n")
		}
		for _, heading := range headings {
			tables[heading] = append(tables[heading], cells)
		}
	}
	return tables
}

func TestTheDocumentOfJSONNamesEveryKeyAndNoOther(t *testing.T) {
	want := map[string][]keyRow{"What every operation tells": rowsOf("", reflect.TypeFor[outcome]())}
	for verb, object := range emitted {
		want[verb] = rowsOf("", object)
	}
	got := map[string][]keyRow{}
	for heading, rows := range documented(t, "../../docs/json.md") {
		for _, cells := range rows {
			got[heading] = append(got[heading], keyRow{cells[0], cells[1], cells[3] != ""})
		}
	}
	for heading, rows := range want {
		require.Equal(t, rows, got[heading], heading)
	}
	require.Len(t, got, len(want))
}

// What both tell is the same, as far as they speak of the same. The bits of dynamic disks qemu-img does not
// look at, and so all are set.
func TestInfoAndMapAreSupersetsOfQemus(t *testing.T) {
	vhdtest.Qemu.Need(t)
	for seed := range uint64(8) {
		enter(t)
		chain := vhdtest.RandomChain(seed, vhdtest.ChainOptions{Images: 1, Limits: vhdtest.ForQemu})
		for i := range chain.Images[0].Blocks {
			chain.Images[0].Blocks[i].Bitmap = nil
		}
		name := chain.WriteDir(t, ".")[0]
		theirs := decode[map[string]any](t, output(t, "qemu-img", "info", "--output=json", "--image-opts", forQemu(name)))
		ours := decode[map[string]any](t, succeed(t, "info", "--output", "json", name))
		for key, value := range theirs {
			require.IsType(t, value, ours[key], key)
		}
		for _, key := range []string{"virtual-size", "format", "actual-size", "cluster-size"} { // no file name: --image-opts stands for it
			require.Equal(t, theirs[key], ours[key], "seed %d: %s", seed, key)
		}
		theirMap := decode[[]map[string]any](t, output(t, "qemu-img", "map", "--output=json", "--image-opts", forQemu(name)))
		ourMap := decode[[]map[string]any](t, succeed(t, "map", "--output", "json", name))
		for i := range ourMap {
			delete(ourMap[i], "filename") // which qemu-img tells of raw files alone
		}
		require.Equal(t, theirMap, ourMap, "seed %d", seed)
	}
}
