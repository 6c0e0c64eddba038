//go:build unix

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// windowWidth is how many columns a terminal has, or 0 if it does not tell.
func windowWidth(f *os.File) int {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}

// takesColours says whether a terminal understands sequences that control it.
func takesColours(*os.File) bool { return true }
