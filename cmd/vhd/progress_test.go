package main

import (
	"bytes"
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNobodyIsToldOfProgressWhereNoTerminalIs(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/stderr")
	require.NoError(t, err)
	defer f.Close()
	for _, stderr := range []io.Writer{f, &bytes.Buffer{}} {
		flags := workFlags{progress: true}
		at, end := flags.progressOf(stderr, "merge")
		require.Nil(t, at)
		end()
	}
}

func TestProgressIsToldUnlessTheUserWantsQuiet(t *testing.T) {
	terminal, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer terminal.Close()
	if !isTerminal(terminal) {
		t.Skip("nothing here can be taken for a terminal")
	}
	for _, c := range []struct {
		flags workFlags
		told  bool
	}{
		{workFlags{}, true}, {workFlags{progress: true}, true},
		{workFlags{quiet: true}, false}, {workFlags{progress: true, quiet: true}, false},
	} {
		at, end := c.flags.progressOf(terminal, "merge")
		require.Equal(t, c.told, at != nil)
		end()
	}
}

func TestProgressTellsShareAndRate(t *testing.T) {
	p := progress{verb: "export"}
	require.Equal(t, "export: 25% of 40 MiB, 2 MiB/s", p.line(10<<20, 40<<20, 2<<20, "", 80))
	require.Equal(t, "export: 0% of 40 MiB, 0 B/s", p.line(0, 40<<20, 0, "", 80))
	require.Equal(t, "export: 49% of 40 MiB", p.line(49*40<<20/100, 40<<20, -1, "", 80))
	p = progress{verb: "rebase", units: "images"}
	require.Equal(t, "rebase: 3 of 12 images", p.line(3, 12, 1, "", 80))
}

func TestProgressLeavesOutWhatThereIsNoRoomFor(t *testing.T) {
	p := progress{verb: "export"}
	for room, want := range map[int]string{
		40: "export: 25% of 40 MiB, 2 MiB/s, 15s left", 39: "export: 25%, 2 MiB/s, 15s left",
		29: "export: 25%, 15s left", 20: "export: 25%", 5: "expor", 0: "", -1: "",
	} {
		require.Equal(t, want, p.line(10<<20, 40<<20, 2<<20, ", 15s left", room), room)
	}
	p = progress{verb: "rebase", units: "images"}
	require.Equal(t, "rebase: 3 of 12, 5s left", p.line(3, 12, 1, ", 5s left", 29))
}

func TestTheTimeThatIsLeftIsToldAtOnce(t *testing.T) {
	require.Equal(t, ", 15s left", timeLeft(30<<20, 2<<20))
	require.Empty(t, timeLeft(30<<20, 0), "it stands still")
	var b bytes.Buffer
	p := newProgress(&b, "export", progressAfter)
	p.start, p.next = p.start.Add(-2*time.Second), p.start
	p.begun, p.recent = true, [2]moment{{t: p.start}, {t: p.start}}
	p.at(10<<20, 40<<20)
	require.Regexp(t, `^\rexport: 25% of 40 MiB, .* MiB/s, \d+s left$`, b.String(), "this is the first line")
}

// Work that is taken up again passes over what was done before.
func TestTheRateIsOnlyOfWhatIsDoneNow(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := progress{start: start, recent: [2]moment{{t: start}, {t: start}}}
	rateAt := func(milliseconds int, done int64) float64 {
		m := moment{start.Add(time.Duration(milliseconds) * time.Millisecond), done}
		p.settle(m)
		return p.rate(m)
	}
	require.Negative(t, rateAt(10, 0))
	require.Negative(t, rateAt(20, 4900))
	require.InDelta(t, 100, rateAt(1020, 5000), 0)

	p = progress{start: start, recent: p.recent}
	require.Negative(t, rateAt(3000, 4900), "it was looked for long")
	require.InDelta(t, 100, rateAt(4000, 5000), 0)
}

func TestTheRateIsThatOfTheLastSeconds(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := progress{recent: [2]moment{{t: start}, {t: start}}}
	at := func(seconds int, done int64) moment {
		return moment{start.Add(time.Duration(seconds) * time.Second), done}
	}
	require.Negative(t, p.rate(at(0, 0)))
	require.InDelta(t, 100, p.rate(at(1, 100)), 0)
	for second := range 10 { // 100 a second for ten of them
		p.rate(at(second+1, 100*int64(second+1)))
	}
	rates := []float64{}
	for second := range 8 { // and 10 a second from then on
		rates = append(rates, p.rate(at(second+11, 1000+10*int64(second+1))))
	}
	require.InDelta(t, 10, rates[7], 0, "what was before is forgotten: %v", rates)
	require.IsNonIncreasing(t, rates)
}

func TestProgressTakesItsLineAway(t *testing.T) {
	var b bytes.Buffer
	p := newProgress(&b, "export", 0)
	p.show("a long line")
	p.show("short")
	p.end()
	require.Equal(t, "\ra long line\rshort      \r     \r", b.String())
}

func TestWhatIsDoneSoonShowsNoProgressUnlessTheUserAsks(t *testing.T) {
	var b bytes.Buffer
	p := newProgress(&b, "export", time.Hour)
	p.at(1, 2)
	p.end()
	require.Empty(t, b.String())

	p = newProgress(&b, "export", 0)
	p.at(1<<20, 2<<20)
	require.Contains(t, b.String(), "\rexport: 50% of 2 MiB")
	shown := b.Len()
	p.next = now().Add(time.Hour)
	p.at(2<<20, 2<<20)
	require.Equal(t, shown, b.Len(), "the line changes now and then")
}
