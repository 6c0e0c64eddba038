package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
)

// progress tells on a terminal how far the work has come.
type progress struct {
	w     io.Writer
	verb  string
	units string // what is counted; empty: bytes

	start  time.Time
	next   time.Time // when the line may be shown, or change
	begun  bool      // something was told
	recent [2]moment // the rate is that since the first, and the second takes its place
	width  int       // of what stands in the line
}

// moment is how much was done, and when.
type moment struct {
	t    time.Time
	done int64
}

// What is done sooner shows nothing unless the user asks, the line changes no more often, and its
// rate is that of one to two spans: that of the whole would promise nonsense where parts of
// the work are faster than others. What is told of right at the start is no rate: work that is
// taken up again passes over what was done before.
const (
	progressAfter  = time.Second
	progressEvery  = 200 * time.Millisecond
	progressSpan   = 4 * time.Second
	progressSettle = 200 * time.Millisecond
)

func newProgress(stderr io.Writer, verb string, after time.Duration) *progress {
	start := moment{t: now()}
	return &progress{w: stderr, verb: verb, start: start.t, next: start.t.Add(after), recent: [2]moment{start, start}}
}

// at says how much is done, of how much by now.
func (p *progress) at(done, total int64) {
	m := moment{now(), done}
	p.settle(m)
	if m.t.Before(p.next) {
		return
	}
	p.next = m.t.Add(progressEvery)
	rate := p.rate(m)
	p.show(p.line(done, total, rate, timeLeft(total-done, rate), roomOf(p.w)-1)) // in the last column some terminals begin a new row
}

// settle lets the rate begin with what is told first, and behind all that is told right at the start.
func (p *progress) settle(m moment) {
	if !p.begun || m.t.Sub(p.start) < progressSettle {
		p.begun, p.recent = true, [2]moment{m, m}
	}
}

// rate is how much is done in a second of late. It is negative if that can't be told yet.
func (p *progress) rate(m moment) float64 {
	if m.t.Sub(p.recent[1].t) >= progressSpan {
		p.recent[0], p.recent[1] = p.recent[1], m
	}
	since := p.recent[0]
	if seconds := m.t.Sub(since.t).Seconds(); seconds > 0 {
		return float64(m.done-since.done) / seconds
	}
	return -1
}

// line is all that there is room for, and left, which may be empty, rather than what stands in front of it.
func (p *progress) line(done, total int64, rate float64, left string, room int) string {
	share, whole, speed := fmt.Sprintf("%s: %d of %d", p.verb, done, total), " "+p.units, ""
	if p.units == "" {
		share = fmt.Sprintf("%s: %.0f%%", p.verb, 100*float64(done)/float64(max(total, 1)))
		whole = " of " + humanSize(total)
		if rate >= 0 {
			speed = ", " + humanSize(int64(rate)) + "/s"
		}
	}
	for _, line := range []string{share + whole + speed + left, share + speed + left, share + left, share} {
		if len(line) <= room {
			return line
		}
	}
	return share[:max(0, room)]
}

// timeLeft is how long the rest takes at a rate, or empty.
func timeLeft(rest int64, rate float64) string {
	if rate <= 0 {
		return ""
	}
	left := time.Duration(float64(rest) / rate * float64(time.Second))
	return ", " + left.Round(time.Second).String() + " left"
}

// show replaces the line. The terminal may be narrower by now.
func (p *progress) show(line string) {
	before := min(p.width, max(0, roomOf(p.w)-1))
	fmt.Fprintf(p.w, "\r%s%s", line, strings.Repeat(" ", max(0, before-len(line))))
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

// clearingWriter takes the progress away before it writes, and writes whole lines: what is shown of
// the progress behind them begins a line of its own, on the same terminal. All that is written
// must end with a line's end: what stands behind the last one waits for its own.
type clearingWriter struct {
	io.Writer
	clear func()
	begun []byte // a line of which there is no end yet
}

func (w *clearingWriter) Write(p []byte) (int, error) {
	lines := bytes.LastIndexByte(p, '\n') + 1
	if lines > 0 {
		w.clear()
		if _, err := w.Writer.Write(append(w.begun, p[:lines]...)); err != nil {
			return 0, err
		}
		w.begun = w.begun[:0]
	}
	w.begun = append(w.begun, p[lines:]...)
	return len(p), nil
}

func now() time.Time {
	return time.Now() //nolint:forbidigo // for the rate that a person sees
}
