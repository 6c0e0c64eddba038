package main

import (
	"slices"
	"strings"
)

// isNear says whether a word, with few letters changed for its length, is another, or begins it: of a short word
// one that differs in two letters is any other. How many dashes stand in front does not count.
func isNear(word, other string) bool {
	word, other = strings.ToLower(strings.TrimLeft(word, "-")), strings.ToLower(strings.TrimLeft(other, "-"))
	letters := []rune(word)
	return strings.HasPrefix(other, word) || lettersBetween(letters, []rune(other)) <= len(letters)/3
}

// lettersBetween is how many letters must be changed, put in, left out or swapped with the next one to make one word
// of another.
func lettersBetween(a, b []rune) int {
	before, last, row := []int(nil), make([]int, len(b)+1), make([]int, len(b)+1) // of a's first letters to b's
	for j := range last {
		last[j] = j
	}
	for i := range a {
		row[0] = i + 1
		for j := range b {
			change := last[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, slices.Clone(row)
	}
	return last[len(b)]
}
