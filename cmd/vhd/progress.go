package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// progress tells on a terminal how far the work has come. Elsewhere it is silent.
type progress struct {
	w     io.Writer // nil: not a terminal
	verb  string
	units string // what is counted; empty: bytes

	started, shown time.Time
	width          int // of what stands in the line
}

// Work that is done sooner shows nothing, and the line changes no more often.
const (
	progressAfter = time.Second
	progressEvery = 200 * time.Millisecond
)

func newProgress(stderr io.Writer, verb string) *progress {
	p := &progress{verb: verb}
	if isTerminal(stderr) {
		p.w, p.started = stderr, now()
	}
	return p
}

// isTerminal says whether a person may be looking at w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// at says how much is done, of how much by now.
func (p *progress) at(done, total int64) {
	if p.w == nil {
		return
	}
	t := now()
	if t.Sub(p.started) < progressAfter || t.Sub(p.shown) < progressEvery {
		return
	}
	p.shown = t
	p.show(p.line(done, total, t.Sub(p.started)))
}

func (p *progress) line(done, total int64, elapsed time.Duration) string {
	rate := float64(done) / elapsed.Seconds()
	line := fmt.Sprintf("%s: %d of %d %s", p.verb, done, total, p.units)
	if p.units == "" {
		percent := 100 * float64(done) / float64(max(total, 1))
		line = fmt.Sprintf("%s: %.0f%% of %s, %s/s", p.verb, percent, humanSize(total), humanSize(int64(rate)))
	}
	if rate > 0 {
		left := time.Duration(float64(total-done) / rate * float64(time.Second))
		line += ", " + left.Round(time.Second).String() + " left"
	}
	return line
}

// show replaces the line.
func (p *progress) show(line string) {
	fmt.Fprintf(p.w, "\r%s%s", line, strings.Repeat(" ", max(0, p.width-len(line))))
	p.width = len(line)
}

// end takes the line away, so that what follows begins at its start.
func (p *progress) end() {
	if p.width == 0 {
		return
	}
	p.show("")
	fmt.Fprint(p.w, "\r")
}

func now() time.Time {
	return time.Now() //nolint:forbidigo // for the rate that a person sees
}
