package main

import (
	"cmp"
	"io"
	"math"
	"os"
	"runtime"
	"strconv"

	"github.com/go-vhd/vhd/cmd/vhd/internal/picture"
)

// noTerminalWidth is how wide text is that nobody looks at in a terminal.
const noTerminalWidth = 80

// isTerminal says whether a person may be looking at w.
func isTerminal(w io.Writer) bool { return terminalFile(w) != nil }

// showsText says whether w is a window of text. Other devices, such as the one that takes all, have no width.
func showsText(w io.Writer) bool {
	f := terminalFile(w)
	return f != nil && windowWidth(f) > 0
}

// terminalFile is w if it is a terminal, or nil.
func terminalFile(w io.Writer) *os.File {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return f
}

// terminalOf is what w can show: its width, and its colours.
func terminalOf(w io.Writer) picture.Terminal {
	t := picture.Terminal{Width: noTerminalWidth}
	if f := terminalFile(w); f != nil {
		t.Width, t.Folds = cmp.Or(windowWidth(f), t.Width), true
		if takesColours(f) {
			t.Colours = coloursOf(os.Getenv)
		}
	}
	if width, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && width > 0 {
		t.Width = width
	}
	return t
}

// roomOf is how long a line may be so that w shows it as one: what is no terminal may break it or not.
func roomOf(w io.Writer) int {
	if !isTerminal(w) {
		return math.MaxInt
	}
	return terminalOf(w).Width
}

// coloursOf is what the environment says of a terminal's colours. Whoever wants none sets
// NO_COLOR to anything (https://no-color.org).
func coloursOf(getenv func(string) string) picture.Colours {
	switch {
	case getenv("NO_COLOR") != "", getenv("TERM") == "dumb":
		return picture.NoColours
	case runtime.GOOS == "windows", getenv("COLORTERM") == "truecolor", getenv("COLORTERM") == "24bit":
		return picture.TrueColour
	}
	return picture.Colours256
}
