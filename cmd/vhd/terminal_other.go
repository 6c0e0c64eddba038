//go:build !unix && !windows

package main

import "os"

// windowWidth is how many columns a terminal has, or 0 if it does not tell.
func windowWidth(*os.File) int { return 0 }

// takesColours says whether a terminal understands sequences that control it.
func takesColours(*os.File) bool { return false }
