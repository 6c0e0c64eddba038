// Package human says numbers as people do, and folds text for them.
package human

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// units are each 1024 times the one before.
var units = [...]string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}

// Size is a number of bytes, cut to three digits or so.
func Size(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n), 0
	for f >= 1023.5 && unit < len(units)-1 {
		f /= 1024
		unit++
	}
	digits := 0
	switch {
	case f < 9.995 && f != math.Trunc(f):
		digits = 2
	case f < 99.95 && f != math.Trunc(f):
		digits = 1
	}
	number := strconv.FormatFloat(f, 'f', digits, 64)
	if digits > 0 {
		number = strings.TrimRight(strings.TrimRight(number, "0"), ".")
	}
	return number + " " + units[unit]
}

// Offset is a number of bytes in the largest unit of which it is a whole number, so that
// nothing is cut off.
func Offset(n int64) string {
	unit := 0
	for n != 0 && n%1024 == 0 && unit < len(units)-1 {
		n /= 1024
		unit++
	}
	return fmt.Sprintf("%d %s", n, units[unit])
}

// Share is what n is of total, in percent. What is there is never 0, and what is missing
// something never all.
func Share(n, total int64) string {
	const least = 0.1
	percent := 100 * float64(n) / float64(max(total, 1))
	switch {
	case n == 0:
		return "0%"
	case n == total:
		return "100%"
	case percent < least:
		return "<0.1%"
	case percent > 100-least:
		return ">99.9%"
	}
	return strconv.FormatFloat(percent, 'f', 1, 64) + "%"
}
