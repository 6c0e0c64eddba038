package main

import (
	"os"

	"golang.org/x/sys/windows"
)

// windowWidth is how many columns a terminal has, or 0 if it does not tell.
func windowWidth(f *os.File) int {
	var info windows.ConsoleScreenBufferInfo
	if windows.GetConsoleScreenBufferInfo(windows.Handle(f.Fd()), &info) != nil {
		return 0
	}
	return int(info.Window.Right) - int(info.Window.Left) + 1
}

// takesColours says whether a terminal understands sequences that control it, which the
// consoles of Windows do when they are told to.
func takesColours(f *os.File) bool {
	console := windows.Handle(f.Fd())
	var mode uint32
	if windows.GetConsoleMode(console, &mode) != nil {
		return false
	}
	return windows.SetConsoleMode(console, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
