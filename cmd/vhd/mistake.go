package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
)

// mistake is an error about words of the command line of which it is known what was meant.
type mistake struct {
	error
	right map[string]string // what should stand in the place of a word
	line  []string          // the arguments as they were meant, where they stand in another order
}

func (e mistake) Unwrap() error { return e.error }

// swapped is that two words stand in each other's place.
func swapped(what, one, other string) error {
	return mistake{error: errors.New(what), right: map[string]string{one: other, other: one}}
}

// typedWords is the annotation of the root command that is what the user typed, with a byte between
// two words that none of them has.
const (
	typedWords = "typed"
	noWord     = "\x00"
)

// wordsTyped are the arguments of the whole command line.
func wordsTyped(cmd *cobra.Command) []string {
	return strings.Split(cmd.Root().Annotations[typedWords], noWord)
}

// correctedLine is the command line as it was meant, where err knows that; else it is empty.
func correctedLine(cmd *cobra.Command, err error) string {
	known, ok := errors.AsType[mistake](err)
	if !ok {
		return ""
	}
	if words := correctedWords(cmd, known); words != nil {
		return typed(words)
	}
	return ""
}

// correctedWords are the arguments of the command line as it was meant; nil: it can't be told.
func correctedWords(cmd *cobra.Command, known mistake) []string {
	if known.line != nil {
		return known.line
	}
	words := wordsTyped(cmd)
	ncorrected := 0
	for i, word := range words {
		if right, ok := known.rightFor(word); ok {
			words[i] = right
			ncorrected++
		}
	}
	if ncorrected != len(known.right) { // it can't be told which word it is
		return nil
	}
	return words
}

// rightFor is what should stand in the place of a word. It may be a part of one that begins with a
// flag or a sign, as in --size=10MB, or be a flag with a value behind it.
func (e mistake) rightFor(word string) (string, bool) {
	if right, ok := e.right[word]; ok {
		return right, true
	}
	for wrong, right := range e.right {
		if before, ok := strings.CutSuffix(word, wrong); ok && strings.ContainsAny(before[:1], "-+") {
			return before + right, true
		}
		if value, ok := strings.CutPrefix(word, wrong+"="); ok {
			return right + "=" + value, true
		}
	}
	return "", false
}
