package main

import (
	"fmt"
	"time"
)

// readBench compares reads at some depths.
type readBench struct {
	chains     *chains
	contenders []contender
	rounds     int
	places     int

	sequential, random *table
}

func newReadBench(c *chains, contenders []contender, depths []int, places, rounds int) *readBench {
	head := []string{"what reads"}
	for _, depth := range depths {
		head = append(head, fmt.Sprintf("depth %d", depth))
	}
	var names []string
	for _, contender := range contenders {
		names = append(names, contender.name)
	}
	return &readBench{
		chains:     c,
		contenders: contenders,
		rounds:     rounds,
		places:     places,
		sequential: newTable("The whole disk, once from its beginning to its end, MiB of disk a second:", head, names),
		random:     newTable("4 KiB at random places, thousands a second:", head, names),
	}
}

// entrant is a contender at one depth.
type entrant struct {
	row    int
	files  []string
	reader reader
	err    error // why it doesn't take part
	batch  int   // places of a turn of random reads
}

// measure fills the column of the depth that the chains have, for the greedy
// contenders or for all others.
func (b *readBench) measure(column int, greedy bool) error {
	want, err := b.chains.sum()
	if err != nil {
		return err
	}
	var entrants []*entrant
	for row, contender := range b.contenders {
		if contender.greedy != greedy {
			continue
		}
		e := b.enter(contender, want)
		e.row, e.files = row, b.chains.files(contender.format)
		if e.reader != nil {
			defer e.reader.Close() // it only read
		}
		entrants = append(entrants, e)
	}
	b.measureSequential(column, entrants)
	b.measureRandom(column, entrants)
	return nil
}

// enter opens the disk for a contender and looks whether it reads the right
// bytes. That brings all into the page cache, and into the contender's own.
func (b *readBench) enter(contender contender, want string) *entrant {
	if contender.missing != nil {
		return &entrant{err: contender.missing}
	}
	progress("depth %d: checking %s", b.chains.depth, contender.name)
	reader, err := contender.open(b.chains)
	if err != nil {
		return &entrant{err: b.atDepth(err)}
	}
	sum, err := reader.sum()
	if err == nil && sum != want {
		err = errWrongBytes
	}
	return &entrant{reader: reader, err: b.atDepth(err)}
}

func (b *readBench) atDepth(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("depth %d: %w", b.chains.depth, err)
}

func (b *readBench) measureSequential(column int, entrants []*entrant) {
	progress("depth %d: sequential reads", b.chains.depth)
	takers := b.race(entrants, func(e *entrant, _ int) (time.Duration, error) { return e.reader.whole() })
	for i, e := range entrants {
		b.sequential.put(e.row, column, takers[i], b.rounds, func(took time.Duration) string {
			return number(float64(b.chains.size) / miB / took.Seconds())
		})
	}
}

// measureRandom has everyone read other places in each turn, so that nobody
// gets from a cache what only the turn before brought there.
func (b *readBench) measureRandom(column int, entrants []*entrant) {
	progress("depth %d: random reads", b.chains.depth)
	for _, e := range entrants {
		b.findBatch(e)
	}
	takers := b.race(entrants, func(e *entrant, round int) (time.Duration, error) {
		return e.reader.random((round+1)*e.batch%(b.places-e.batch+1), e.batch)
	})
	for i, e := range entrants {
		b.random.put(e.row, column, takers[i], b.rounds, func(took time.Duration) string {
			return number(float64(e.batch) / 1000 / took.Seconds())
		})
	}
}

// findBatch makes the turns of an entrant long enough to be measured.
func (b *readBench) findBatch(e *entrant) {
	const enough = 250 * time.Millisecond
	for e.batch = 64; e.err == nil && 2*e.batch <= b.places; e.batch *= 2 {
		took, err := e.reader.random(0, e.batch)
		e.err = b.atDepth(err)
		if took > enough {
			return
		}
	}
}

// race brings the files of whose turn it is into the page cache again, outside
// of the time: what was not read for a while may be gone from there, or slow,
// and others had their turns since.
func (b *readBench) race(entrants []*entrant, turn func(*entrant, int) (time.Duration, error)) []*taker {
	var takers []*taker
	for _, e := range entrants {
		takers = append(takers, &taker{
			err: e.err,
			turn: func(round int) (time.Duration, error) {
				if err := warm(e.files); err != nil {
					return 0, err
				}
				took, err := turn(e, round)
				return took, b.atDepth(err)
			},
		})
	}
	takeTurns(takers, b.rounds)
	return takers
}
