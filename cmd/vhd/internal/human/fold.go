package human

import (
	"strings"
	"unicode/utf8"
)

// Fold is text in lines of so many letters at most, but for words that are longer.
func Fold(text string, width int) (lines []string) {
	for word := range strings.FieldsSeq(text) {
		if last := len(lines) - 1; last >= 0 && utf8.RuneCountInString(lines[last]+" "+word) <= width {
			lines[last] += " " + word
			continue
		}
		lines = append(lines, word)
	}
	return lines
}
