package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// table is a table of the figures that contenders reached.
type table struct {
	title string
	head  []string
	rows  [][]string
	notes []string
}

// newTable is a table with a row for each name, and cells to be filled.
func newTable(title string, head, names []string) *table {
	t := &table{title: title, head: head}
	for _, name := range names {
		row := make([]string, len(head))
		row[0] = name
		t.rows = append(t.rows, row)
	}
	return t
}

// String is the table as Markdown.
func (t *table) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s\n\n", t.title)
	writeRow(&s, t.head)
	fmt.Fprintf(&s, "|%s\n", strings.Repeat("---|", len(t.head)))
	for _, row := range t.rows {
		writeRow(&s, row)
	}
	fmt.Fprintln(&s)
	for _, note := range t.notes {
		fmt.Fprintf(&s, "- %s\n", note)
	}
	if len(t.notes) > 0 {
		fmt.Fprintln(&s)
	}
	return s.String()
}

func writeRow(s *strings.Builder, cells []string) {
	fmt.Fprintf(s, "| %s |\n", strings.Join(cells, " | "))
}

// fill fills a column, a cell for each taker, with figures made of their times.
func (t *table) fill(column int, takers []*taker, rounds int, figure func(time.Duration) string) {
	for row, taker := range takers {
		t.put(row, column, taker, rounds, figure)
	}
}

func (t *table) put(row, column int, taker *taker, rounds int, figure func(time.Duration) string) {
	t.rows[row][1+column] = t.cell(t.rows[row][0], taker, rounds, figure)
}

var (
	errMissing    = errors.New("missing")
	errWrongBytes = errors.New("wrong bytes")
)

// cell is a figure, and in brackets the number of turns that it took where
// these were fewer than the others'. Why there is none, if it isn't obvious,
// becomes a note.
func (t *table) cell(name string, taker *taker, rounds int, figure func(time.Duration) string) string {
	switch err := taker.err; {
	case errors.Is(err, errors.ErrUnsupported):
		return "–"
	case errors.Is(err, errWrongBytes):
		return "wrong bytes"
	case errors.Is(err, errMissing):
		t.note(name, err)
		return "missing"
	case err != nil:
		t.note(name, err)
		return "failed"
	case len(taker.times) < rounds:
		return fmt.Sprintf("%s (%d)", figure(taker.median()), len(taker.times))
	}
	return figure(taker.median())
}

func (t *table) note(name string, err error) {
	line, _, _ := strings.Cut(err.Error(), "\n")
	if note := name + ": " + line; !slices.Contains(t.notes, note) {
		t.notes = append(t.notes, note)
	}
}

// number has three digits, or as many as it takes, and commas between thousands.
func number(x float64) string {
	switch {
	case x < 10:
		return fmt.Sprintf("%.2f", x)
	case x < 100:
		return fmt.Sprintf("%.1f", x)
	}
	digits := fmt.Sprintf("%.0f", x)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
