package main

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestProgressIsSilentWhereNobodyLooks(t *testing.T) {
	var b bytes.Buffer
	p := newProgress(&b, "export")
	p.started = time.Time{}
	p.at(50, 100)
	p.end()
	require.Empty(t, b.String())

	f, err := os.Create(t.TempDir() + "/stderr")
	require.NoError(t, err)
	defer f.Close()
	require.False(t, isTerminal(f))
}

func TestProgressTellsShareRateAndTimeLeft(t *testing.T) {
	p := progress{verb: "export"}
	require.Equal(t, "export: 25% of 40 MiB, 2 MiB/s, 15s left", p.line(10<<20, 40<<20, 5*time.Second))
	require.Equal(t, "export: 0% of 40 MiB, 0 B/s", p.line(0, 40<<20, time.Second))
	p = progress{verb: "rebase", units: "images"}
	require.Equal(t, "rebase: 3 of 12 images, 9s left", p.line(3, 12, 3*time.Second))
}

func TestProgressTakesItsLineAway(t *testing.T) {
	var b bytes.Buffer
	p := progress{w: &b, verb: "export"}
	p.show("a long line")
	p.show("short")
	p.end()
	require.Equal(t, "\ra long line\rshort      \r     \r", b.String())

	b.Reset()
	p = progress{w: &b, started: now()}
	p.at(1, 2)
	p.end()
	require.Empty(t, b.String(), "what is done soon shows nothing")
}

func TestOnlyWhoAsksIsToldOfProgress(t *testing.T) {
	for _, c := range []struct {
		flags workFlags
		told  bool
	}{
		{workFlags{}, false}, {workFlags{progress: true}, true}, {workFlags{progress: true, quiet: true}, false},
	} {
		at, end := c.flags.progressOf(os.Stderr, "merge")
		require.Equal(t, c.told, at != nil)
		end()
	}
}
