package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

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
`, succeed(t, "map", "leaf.vhd"))
}

func TestMapOfADiskWithoutSizeIsEmpty(t *testing.T) {
	enter(t)
	vhdtest.NewFixed(0, nil).WriteFile(t, "x.vhd")
	require.Equal(t, "[]\n", succeed(t, "map", "--output", "json", "x.vhd"))
}

func TestMapShowsWhatIsLeftOfADamagedImage(t *testing.T) {
	enter(t)
	base := vhdtest.NewDynamic(testSize, vhdtest.Block{Index: 0}, vhdtest.Block{Index: 1})
	image := base.Build(t)
	vhdtest.EditEntry(t, image, 0, 0)
	require.NoError(t, os.WriteFile("bad.vhd", image, 0o644))
	stderr := "vhd: bad.vhd: BAT: entry 0 at offset 1536: corrupt: got sector 0, want a block that does not overlap the footer's copy\n" +
		"hint: " + hintDamaged + "\n"
	require.Equal(t, answer{exitError, `  start   length  depth   offset  file
      0  2097152      ?        ?  unreadable
2097152  2097152      0  2100224  bad.vhd

Of 4 MiB, bad.vhd holds 2 MiB, and 2 MiB is zeros or unreadable.
`, stderr}, command(t, "map", "bad.vhd"))
	require.Equal(t, answer{exitError,
		`[{"start":2097152,"length":2097152,"depth":0,"present":true,"zero":false,"data":true,"offset":2100224,"filename":"bad.vhd"}]` + "\n",
		stderr}, command(t, "map", "--output", "json", "bad.vhd"))
}
