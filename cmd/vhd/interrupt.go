package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// stopsSoon is how long work may take to stop before the user is told that it does.
const stopsSoon = 500 * time.Millisecond

// interruptible does work, which ends with an exit code. Ctrl-C, or SIGTERM, ends its context: then it stops at
// a safe place, and says how things stand. The second does not wait for that: it is left where it
// is, as by a crash.
func interruptible(args []string, stderr io.Writer, work func(ctx context.Context) (code int)) (code int) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	ended := make(chan int, 1)
	go func() { ended <- work(ctx) }()

	select {
	case code := <-ended:
		return code
	case <-signals:
		cancel()
	}
	late := time.After(stopsSoon)
	for {
		select {
		case code := <-ended:
			return code
		case <-late:
			announce(stderr, "vhd: stopping at a safe place; Ctrl-C again ends it at once")
		case <-signals:
			announce(stderr, leftBy(args)...)
			return exitInterrupted
		}
	}
}

// announce tells something while the work goes on. On a terminal it takes the place of its progress, and of what
// was typed; written at one go, it is not mixed with more of that.
func announce(stderr io.Writer, lines ...string) {
	var text strings.Builder
	if isTerminal(stderr) {
		fmt.Fprintf(&text, "\r%*s\r", terminalOf(stderr).Width-1, "")
	}
	for _, line := range lines {
		fmt.Fprintln(&text, printable(line))
	}
	fmt.Fprint(stderr, text.String())
}

// left is how things stand after a verb that was left where it was.
type left struct {
	stands string
	next   string // what stands in front of the command line to be typed; empty: the same as after one Ctrl-C
}

// leftBehind are the verbs that change or make something. An image that was being written is
// mended by whoever writes to it next.
var leftBehind = map[string]left{
	"create":   {stands: "the image is there whole, or not at all; " + mayBeLeft},
	"snapshot": {stands: "the new image is there whole, or not at all; " + mayBeLeft},
	"merge":    {stands: "the disk reads as before, but not the images below it, and merging again does the rest"},
	"compact":  {stands: "the disk reads as before, and compacting again does the rest"},
	"resize":   {"the disk has its old size still, or the new one", "vhd info tells which; if it is the old one: "},
	"rebase":   {stands: "the disk reads as before, and the same rebase again does the rest"},
	"rename":   {stands: "the image has its old name, the new one, or both, and the same again does the rest"},
	"repair":   {stands: "what could be read still can, and the same again does the rest"},
	"export":   {stands: nothingMade},
	"import":   {stands: nothingMade},
	"convert":  {stands: nothingMade},
	"report":   {stands: nothingMade},
	"demo":     {"its images may be left, and can be removed", "when they are: "},
}

const (
	nothingMade = "nothing was made; " + mayBeLeft
	mayBeLeft   = "a file beside it may be left, whose name begins with a dot and ends with .vhd-tmp, and can be removed"
)

// leftBy tells how things stand after a command line that was left where it was, and what is
// to be typed then.
func leftBy(args []string) []string {
	l := left{stands: "nothing was changed"}
	cmd, rest, err := newCommand().Find(args)
	if err == nil && cmd.ParseFlags(rest) == nil {
		if dryRun, _ := cmd.Flags().GetBool("dry-run"); !dryRun {
			l = cmp.Or(leftBehind[cmd.Name()], l)
		}
	}
	return []string{
		"vhd: ended at once: " + l.stands,
		"hint: " + cmp.Or(l.next, takeUpAgain) + typed(args),
	}
}
