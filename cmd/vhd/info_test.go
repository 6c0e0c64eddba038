package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// output runs a program and returns what it says on stdout.
func output(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	return string(out)
}

func TestInfoTellsWhatAnImageIs(t *testing.T) {
	enter(t)
	_, base := testChain(t)
	base.ID = [16]byte(uuid.MustParse("01234567-89ab-cdef-0123-456789abcdef"))
	base.WriteFile(t, "known.vhd")
	out := succeed(t, "info", "known.vhd")
	require.Regexp(t, `file size: .* on disk`, out)
	require.Equal(t, `image:         known.vhd
type:          dynamic
virtual size:  4 MiB (4194304 bytes)
blocks:        1 of 2 allocated, 2 MiB each
identifier:    01234567-89ab-cdef-0123-456789abcdef
creator:       "win" 10.0 on "Wi2k", 2017-07-17 23:08:48 UTC
geometry:      120 cylinders, 4 heads, 17 sectors a track
`, withoutLine(out, "file size:"))
}

func withoutLine(text, start string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, start) {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestInfoHasTheKeysAndValuesOfQemu(t *testing.T) {
	vhdtest.Qemu.Need(t)
	enter(t)
	testBase().WriteFile(t, "dynamic.vhd")
	theirs := decode[map[string]any](t, output(t, "qemu-img", "info", "--output=json", "dynamic.vhd"))
	ours := decode[map[string]any](t, succeed(t, "info", "--output", "json", "dynamic.vhd"))
	require.Contains(t, theirs, "virtual-size")
	for key, value := range theirs {
		require.Equal(t, value, ours[key], key)
	}
}

func TestInfoOfAChildTellsItsReferences(t *testing.T) {
	enter(t)
	leaf, base := testChain(t)
	info := decode[imageInfo](t, succeed(t, "info", "--output", "json", "leaf.vhd"))
	require.Equal(t, `.\base.vhd`, info.BackingFilename)
	require.Equal(t, "base.vhd", info.FullBackingFilename)
	require.Equal(t, "vpc", info.BackingFormat)
	data := info.FormatSpecific.Data
	require.Equal(t, "differencing", data.DiskType)
	require.Equal(t, uuid.UUID(leaf.ID).String(), data.UniqueID)
	require.Equal(t, uuid.UUID(base.ID).String(), data.ParentID)
	require.Equal(t, []parentReference{{"W2ru", `.\base.vhd`}, {"header", "base.vhd"}}, data.ParentReferences)
	require.Equal(t, &blockInfo{Allocated: 1, Total: 2}, data.Blocks)
	require.Empty(t, data.ParentProblem)

	out := succeed(t, "info", "leaf.vhd")
	require.Contains(t, out, "\nparent:        base.vhd\n  stored as:   .\\base.vhd (W2ru)\n  stored as:   base.vhd (header)\n  identifier:  ")
}

func TestInfoNeedsNoParent(t *testing.T) {
	enter(t)
	testChain(t)
	require.NoError(t, os.Remove("base.vhd"))
	info := decode[imageInfo](t, succeed(t, "info", "--output", "json", "leaf.vhd"))
	require.Equal(t, `.\base.vhd`, info.BackingFilename)
	require.Empty(t, info.FullBackingFilename)
	require.Equal(t, "leaf.vhd: parent not found", info.FormatSpecific.Data.ParentProblem)

	out := succeed(t, "info", "leaf.vhd")
	require.Contains(t, out, "\nparent:        can not be opened: leaf.vhd: parent not found\n")
	require.Contains(t, out, "\nnote:          without its parent only a part of the disk can be read; vhd info --chain tells where it was looked for\n")
}

func TestInfoOfAChainIsLeafFirst(t *testing.T) {
	enter(t)
	testChain(t)
	succeed(t, "create", "-b", "leaf.vhd", "top.vhd")
	infos := decode[[]imageInfo](t, succeed(t, "info", "--chain", "--output", "json", "top.vhd"))
	var names, parents []string
	for _, info := range infos {
		names = append(names, info.Filename)
		parents = append(parents, info.FullBackingFilename)
	}
	require.Equal(t, []string{"top.vhd", "leaf.vhd", "base.vhd"}, names)
	require.Equal(t, []string{"leaf.vhd", "base.vhd", ""}, parents)

	tables := strings.Split(succeed(t, "info", "--chain", "top.vhd"), "\n\n")
	require.Len(t, tables, 3)
	require.Equal(t, tables[1]+"\n", succeed(t, "info", "leaf.vhd"))
	require.Len(t, decode[[]imageInfo](t, succeed(t, "info", "--chain", "--output", "json", "base.vhd")), 1)
}

func TestInfoOfAFixedDiskHasNoBlocks(t *testing.T) {
	enter(t)
	vhdtest.NewFixed(1<<20, []byte("fixed")).WriteFile(t, "fixed.vhd")
	keys := decode[map[string]any](t, succeed(t, "info", "--output", "json", "fixed.vhd"))
	require.NotContains(t, keys, "cluster-size")
	require.NotContains(t, keys, "backing-filename")
	require.NotContains(t, succeed(t, "info", "fixed.vhd"), "blocks:")
}

func TestInfoNotesWhatIsSpecial(t *testing.T) {
	enter(t)
	base := testBase()
	base.Copy, base.SavedState, base.OriginalSize = vhdtest.CopyLost, 1, 2<<20
	base.WriteFile(t, "base.vhd")
	out := succeed(t, "info", "base.vhd")
	require.Contains(t, out, "\noriginal size:  2 MiB (2097152 bytes)\n")
	require.Contains(t, out, "\nnote:           its footers differ, or one is lost: ")
	require.Contains(t, out, "\nnote:           it belongs to a machine in saved state\n")
	info := decode[imageInfo](t, succeed(t, "info", "--output", "json", "base.vhd"))
	require.True(t, info.DirtyFlag)
	require.True(t, info.FormatSpecific.Data.NeedsRecovery)
	require.True(t, info.FormatSpecific.Data.SavedState)
}

func TestInfoLooksAtAnImageThatIsBeingWritten(t *testing.T) {
	enter(t)
	testChain(t)
	d, err := vhd.Open("leaf.vhd", &vhd.Options{Writable: true})
	require.NoError(t, err)
	defer d.Close()
	require.True(t, decode[imageInfo](t, succeed(t, "info", "--output", "json", "leaf.vhd")).FormatSpecific.Data.InUse)
	infos := decode[[]imageInfo](t, succeed(t, "info", "--chain", "--output", "json", "leaf.vhd"))
	require.True(t, infos[0].FormatSpecific.Data.InUse)
	require.False(t, infos[1].FormatSpecific.Data.InUse)
	require.Contains(t, succeed(t, "info", "leaf.vhd"), "another program is writing it now")
}

func TestWhatAnImageSaysDoesNotControlTheTerminal(t *testing.T) {
	enter(t)
	base := testBase()
	leaf := vhdtest.NewChild(base, "\x1b[2J\nvhd: all is well\u202e.vhd")
	leaf.App = "\x1b[1m"
	leaf.WriteFile(t, "leaf.vhd")
	for _, a := range []answer{command(t, "info", "leaf.vhd"), command(t, "map", "leaf.vhd")} {
		for _, r := range a.stdout + a.stderr {
			require.False(t, r < ' ' && r != '\n' || r == '\u202e', "%q", a)
		}
		require.NotContains(t, a.stdout+a.stderr, "\nvhd: all is well")
		require.Contains(t, a.stdout+a.stderr, `\u001b[2J\u000avhd: all is well\u202e.vhd`)
	}
}

func TestInfoAndExportOfRealImages(t *testing.T) {
	corpus := vhdtest.Corpus(t)
	for _, img := range corpus.Images {
		t.Run(img.File, func(t *testing.T) {
			name := corpus.Path(img.File)
			info := decode[imageInfo](t, succeed(t, "info", "--output", "json", name))
			require.Equal(t, img.VirtualSize, info.VirtualSize)
			require.Equal(t, img.Kind, info.FormatSpecific.Data.DiskType)
			require.Equal(t, img.UUID.String(), info.FormatSpecific.Data.UniqueID)
			if img.Dynamic != nil {
				require.Equal(t, img.Dynamic.BlocksAllocated, info.FormatSpecific.Data.Blocks.Allocated)
			}
			if testing.Short() {
				return
			}
			raw := t.TempDir() + "/raw"
			succeed(t, "export", name, raw)
			require.Equal(t, img.ContentSHA256, hex.EncodeToString(sumOf(t, raw)))
		})
	}
}

func TestJSONKeepsItsKeys(t *testing.T) {
	enter(t)
	testChain(t)
	var compact bytes.Buffer
	require.NoError(t, json.Compact(&compact, []byte(succeed(t, "info", "--output", "json", "leaf.vhd"))))
	var keys []string
	dec := json.NewDecoder(&compact)
	require.NoError(t, eachKey(dec, "", func(key string) { keys = append(keys, key) }))
	require.Equal(t, []string{
		"virtual-size", "filename", "format", "actual-size", "cluster-size", "dirty-flag", "backing-filename",
		"full-backing-filename", "backing-filename-format", "format-specific",
		"format-specific.type", "format-specific.data",
		"format-specific.data.disk-type", "format-specific.data.unique-id",
		"format-specific.data.creator-application", "format-specific.data.creator-version", "format-specific.data.creator-host",
		"format-specific.data.original-size", "format-specific.data.file-size",
		"format-specific.data.geometry", "format-specific.data.geometry.cylinders", "format-specific.data.geometry.heads",
		"format-specific.data.geometry.sectors-per-track",
		"format-specific.data.saved-state", "format-specific.data.needs-recovery", "format-specific.data.in-use",
		"format-specific.data.blocks", "format-specific.data.blocks.allocated", "format-specific.data.blocks.total",
		"format-specific.data.parent-unique-id", "format-specific.data.parent-references",
		"format-specific.data.parent-references.origin", "format-specific.data.parent-references.path",
		"format-specific.data.parent-references.origin", "format-specific.data.parent-references.path",
	}, keys)
}

// eachKey calls f with every key of the value that dec comes to, with those
// above it in front.
func eachKey(dec *json.Decoder, above string, f func(key string)) error {
	start, err := dec.Token()
	if err != nil || start != json.Delim('{') && start != json.Delim('[') {
		return err
	}
	for dec.More() {
		inside := above
		if start == json.Delim('{') {
			key, err := dec.Token()
			if err != nil {
				return err
			}
			inside = strings.TrimPrefix(above+"."+key.(string), ".")
			f(inside)
		}
		if err := eachKey(dec, inside, f); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}
