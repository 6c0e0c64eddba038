package main

import (
	"context"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

func TestMapEqualsQemuForSingleImages(t *testing.T) {
	vhdtest.Qemu.Need(t)
	enter(t)
	img := vhdtest.NewDynamic(21<<20, vhdtest.Block{Index: 3}, vhdtest.Block{Index: 1}, vhdtest.Block{Index: 2}, vhdtest.Block{Index: 10})
	img.WriteFile(t, "x.vhd")
	theirs := decode[[]map[string]any](t, output(t, "qemu-img", "map", "--output=json", "x.vhd"))
	ours := decode[[]map[string]any](t, succeed(t, "map", "--output", "json", "x.vhd"))
	for _, entry := range ours {
		if entry["data"] == true {
			require.Equal(t, "x.vhd", entry["filename"])
			delete(entry, "filename") // which this one does not tell
		}
	}
	require.Equal(t, theirs, ours)
}

func TestMapTellsWhoHoldsWhat(t *testing.T) {
	enter(t)
	testChain(t)
	require.Equal(t, `[{"start":0,"length":2097152,"depth":1,"present":true,"zero":true,"data":false},
{"start":2097152,"length":1024,"depth":0,"present":true,"zero":false,"data":true,"offset":3072,"filename":"leaf.vhd"},
{"start":2098176,"length":2096128,"depth":1,"present":true,"zero":false,"data":true,"offset":3584,"filename":"base.vhd"}]
`, succeed(t, "map", "--output", "json", "leaf.vhd"))
	require.Equal(t, `  start   length  depth   offset  file
      0  2097152      -        -  zeros
2097152     1024      0     3072  leaf.vhd
2098176  2096128      1     3584  base.vhd

Of 4 MiB, leaf.vhd holds 1 KiB, base.vhd holds 2 MiB, and 2 MiB is zeros.
`, succeed(t, "map", "--output", "table", "leaf.vhd"))
}

func TestMapOfADiskWithoutSizeIsEmpty(t *testing.T) {
	enter(t)
	vhdtest.NewFixed(0, nil).WriteFile(t, "x.vhd")
	require.Equal(t, "[]\n", succeed(t, "map", "--output", "json", "x.vhd"))
}

// A hole of many pieces is one.
func TestMapListsALargeHoleOnce(t *testing.T) {
	enter(t)
	succeed(t, "create", "-q", "x.vhd", "40G")
	require.Equal(t, `[{"start":0,"length":42949672960,"depth":0,"present":true,"zero":true,"data":false}]`+"\n", succeed(t, "map", "--output", "json", "x.vhd"))
}

func TestAListThatIsInterruptedSaysSo(t *testing.T) {
	enter(t)
	testChain(t)
	for form, begun := range map[string]string{"json": "[]\n", "table": "  start   length  depth   offset  file\n"} {
		require.Equal(t, answer{exitInterrupted, begun, "vhd: leaf.vhd: interrupted: what follows is not told\n" +
			"hint: to take it up again: vhd map --output " + form + " leaf.vhd\n"}, interrupted(t, "map", "--output", form, "leaf.vhd"))
	}
	requireInterrupted(t, "leaf.vhd: interrupted: nothing was told", "info", "--chain", "leaf.vhd")
}

// What was wrong before is told too.
func TestAMapThatIsInterruptedTellsOfDamageToo(t *testing.T) {
	var errs firstError
	require.True(t, errs.note(io.ErrUnexpectedEOF))
	require.True(t, errs.note(io.ErrNoProgress))
	require.True(t, errs.note(context.Canceled))
	require.EqualError(t, orInterrupted("x.vhd", errs.err, "it ended"), "unexpected EOF\nx.vhd: interrupted: it ended")
}

func TestWhereADiskIsStoredIsToldWithHowFarThatIs(t *testing.T) {
	enter(t)
	succeed(t, "create", "-q", "x.vhd", "5G")
	d, err := vhd.Open("x.vhd", nil)
	require.NoError(t, err)
	defer d.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var told []int64
	for e, err := range extentsOf(ctx, d, func(done, total int64) { told = append(told, done, total) }) {
		if e.Offset == 2<<30 {
			cancel()
		}
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			require.Zero(t, e.Length)
		}
	}
	require.Equal(t, []int64{0, 5 << 30, 1 << 30, 5 << 30, 2 << 30, 5 << 30}, told)
}

func TestMapShowsWhatIsLeftOfADamagedImage(t *testing.T) {
	enter(t)
	base := vhdtest.NewDynamic(testSize, vhdtest.Block{Index: 0}, vhdtest.Block{Index: 1})
	image := base.Build(t)
	vhdtest.EditEntry(t, image, 0, 0)
	require.NoError(t, os.WriteFile("bad.vhd", image, 0o644))
	stderr := "vhd: bad.vhd: BAT: entry 0 at offset 1536: corrupt: got sector 0, want a block that does not overlap the footer's copy\n" +
		"hint: " + hintOfDamage("bad.vhd") + "\n"
	require.Equal(t, answer{exitError, `  start   length  depth   offset  file
      0  2097152      ?        ?  unreadable
2097152  2097152      0  2100224  bad.vhd

Of 4 MiB, bad.vhd holds 2 MiB, and 2 MiB is zeros or unreadable.
`, stderr}, command(t, "map", "--output", "table", "bad.vhd"))
	require.Equal(t, answer{exitError,
		`[{"start":2097152,"length":2097152,"depth":0,"present":true,"zero":false,"data":true,"offset":2100224,"filename":"bad.vhd"}]` + "\n",
		stderr}, command(t, "map", "--output", "json", "bad.vhd"))
}
