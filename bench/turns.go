package main

import (
	"slices"
	"time"
)

// taker takes turns with others.
type taker struct {
	turn  func(round int) (time.Duration, error)
	times []time.Duration
	err   error
}

// takeTurns gives each a turn in each round, so that whatever disturbs the
// machine disturbs all of them. Who fails is out.
func takeTurns(takers []*taker, rounds int) {
	for round := range rounds {
		for _, t := range takers {
			if t.err != nil || len(t.times) > 0 && round >= roundsOf(t.times[0], rounds) {
				continue
			}
			took, err := t.turn(round)
			if err != nil {
				t.err = err
				continue
			}
			t.times = append(t.times, took)
		}
	}
}

// roundsOf is how many rounds there are for one whose turn takes so long.
func roundsOf(turn time.Duration, rounds int) int {
	switch {
	case turn > 30*time.Second:
		return 1
	case turn > 5*time.Second:
		return min(3, rounds)
	}
	return rounds
}

func (t *taker) median() time.Duration {
	sorted := slices.Sorted(slices.Values(t.times))
	return sorted[len(sorted)/2]
}
