package main

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// putLevels writes base.vhd, middle.vhd and leaf.vhd: the middle one has written four sectors of the
// base's second block, of which two are what the base has, and the leaf one sector of the first block.
func putLevels(t *testing.T) {
	t.Helper()
	base := testBase()
	base.WriteFile(t, "base.vhd")
	middle := vhdtest.NewChild(base, "base.vhd", vhdtest.Block{
		Index: 1, Data: append(bytes.Repeat([]byte("base"), 256), bytes.Repeat([]byte("middle!!"), 128)...),
		Bitmap: vhdtest.Bitmap(blockSize/512, func(s int) bool { return s < 4 }),
	})
	middle.WriteFile(t, "middle.vhd")
	vhdtest.NewChild(middle, "middle.vhd", vhdtest.Block{
		Index: 0, Data: []byte("leaf"), Bitmap: vhdtest.Bitmap(blockSize/512, func(s int) bool { return s == 0 }),
	}).WriteFile(t, "leaf.vhd")
}

func TestDiffTellsWhatAnImageChanged(t *testing.T) {
	enter(t)
	putLevels(t)
	require.Equal(t, `  start   length
2098176     1024

Of 4 MiB, middle.vhd and base.vhd differ in 1 KiB, in 1 piece.
`, succeed(t, "diff", "middle.vhd"))
	require.Equal(t, `  start   length
2097152     2048

Of 4 MiB, middle.vhd and base.vhd have 2 KiB from different places, in 1 piece.
`, succeed(t, "diff", "--stored", "middle.vhd"))
	require.Equal(t, "[{\"start\":0,\"length\":512}]\n", succeed(t, "diff", "--output", "json", "leaf.vhd"))
	succeed(t, "create", "-q", "-b", "leaf.vhd", "new.vhd")
	require.Equal(t, "new.vhd and leaf.vhd hold the same.\n", succeed(t, "diff", "-p", "new.vhd"))
	require.Equal(t, "new.vhd and leaf.vhd have all from the same place.\n", succeed(t, "diff", "--stored", "new.vhd"))
	require.Equal(t, "[]\n", succeed(t, "diff", "--output", "json", "new.vhd"))
}

func TestDiffTakesImagesByNameAndByNumberInAnyOrder(t *testing.T) {
	enter(t)
	putLevels(t)
	whole := []span{{0, 512}, {2098176, 1024}}
	for _, c := range []struct {
		args []string
		want []span
	}{
		{[]string{"--from", "base.vhd"}, whole},
		{[]string{"--from", "2", "--to", "leaf.vhd"}, whole},
		{[]string{"--from", "0", "--to", "2"}, whole},
		{[]string{"--to", "1"}, whole[1:]},
		{[]string{"--to", "1", "--from", "0"}, whole[:1]},
	} {
		args := append([]string{"diff", "--output", "json"}, c.args...)
		require.Equal(t, c.want, decode[[]span](t, succeed(t, append(args, "leaf.vhd")...)), c.args)
	}
	require.Equal(t, "vhd: base.vhd: it has no parent from which it could differ\nhint: to compare it with another disk: vhd diff base.vhd OTHER\n", refuse(t, "diff", "base.vhd"))
	require.Equal(t, "vhd: --from none.vhd: no image of the chain is called so\nhint: the chain is leaf.vhd, middle.vhd, base.vhd\n", refuse(t, "diff", "--from", "none.vhd", "leaf.vhd"))
	require.Equal(t, "vhd: --to 3: no image of the chain is called so\nhint: the chain is leaf.vhd, middle.vhd, base.vhd\n", refuse(t, "diff", "--to", "3", "leaf.vhd"))
}

func TestDiffOfTwoDisks(t *testing.T) {
	enter(t)
	putTwins(t)
	require.Equal(t, `  start   length
2097152     1024

Of 4 MiB, bob.vhd and alice.vhd differ in 1 KiB, in 1 piece.
`, succeed(t, "diff", "bob.vhd", "alice.vhd"))
	succeed(t, "export", "-q", "alice.vhd", "alice.raw")
	require.Equal(t, "alice.raw and alice.vhd hold the same.\n", succeed(t, "diff", "-f", "raw", "-F", "vpc", "alice.raw", "alice.vhd"))
	require.Equal(t, []span{{0, testSize}}, decode[[]span](t, succeed(t, "diff", "--stored", "--output", "json", "alice.raw", "alice.vhd")))
	writeFile(t, "longer.raw", append(readFile(t, "alice.raw"), "end"...))
	require.Equal(t, `  start   length
4194304      512

Of 4 MiB, alice.vhd and longer.raw differ in 512 B, in 1 piece. The disks have 4 MiB (4194304 bytes) and 4 MiB (4194307 bytes).
`, succeed(t, "diff", "alice.vhd", "longer.raw"))
}

// differingSpans are the sectors in which two contents differ, found one by one.
func differingSpans(a, b []byte) []span {
	size := max(len(a), len(b))
	a, b = append(bytes.Clone(a), make([]byte, size-len(a))...), append(bytes.Clone(b), make([]byte, size-len(b))...)
	spans := []span{}
	for off := 0; off < size; off += 512 {
		if bytes.Equal(a[off:off+512], b[off:off+512]) {
			continue
		}
		if n := len(spans); n > 0 && spans[n-1].end() == int64(off) {
			spans[n-1].Length += 512
		} else {
			spans = append(spans, span{int64(off), 512})
		}
	}
	return spans
}

// storedSpans are what ChangedExtents tells of a leaf and an image below it, whoever holds it.
func storedSpans(t *testing.T, name string, lower int) []span {
	t.Helper()
	d, err := vhd.Open(name, nil)
	require.NoError(t, err)
	defer d.Close()
	spans := []span{}
	for s, err := range joinSpans(func(yield func(span, error) bool) {
		for e, err := range d.ChangedExtents(0, lower, 0, d.Size()) {
			if !yield(span{e.Offset, e.Length}, err) {
				return
			}
		}
	}) {
		require.NoError(t, err)
		spans = append(spans, s)
	}
	return spans
}

func TestDiffOfLevelsEqualsTheModelAndChangedExtents(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			chain := vhdtest.RandomChain(seed, vhdtest.ChainOptions{Limits: vhdtest.Anything})
			names := chain.WriteDir(t, t.TempDir())
			upper := int(seed) % (len(chain.Images) - 1)
			for lower := upper + 1; lower < len(chain.Images); lower++ {
				args := []string{"diff", "--output", "json", "--from", fmt.Sprint(lower), "--to", fmt.Sprint(upper), names[0]}
				require.Equal(t, differingSpans(chain.ContentFrom(t, upper), chain.ContentFrom(t, lower)), decode[[]span](t, succeed(t, args...)))
				if chain.Images[upper].Size >= chain.Images[lower].Size { // behind its end, ChangedExtents tells nothing
					require.Equal(t, storedSpans(t, names[upper], lower-upper), decode[[]span](t, succeed(t, append(args, "--stored")...)))
				}
			}
		})
	}
}

func TestCompareEqualsTheModelForAnyTwoDisks(t *testing.T) {
	for seed := range uint64(12) {
		enter(t)
		one := vhdtest.RandomChain(seed, vhdtest.ChainOptions{Limits: vhdtest.Anything})
		two := vhdtest.RandomChain(seed+100, vhdtest.ChainOptions{Limits: vhdtest.Anything})
		a, b := one.WriteDir(t, t.TempDir())[0], two.WriteDir(t, t.TempDir())[0]
		want := differingSpans(one.Content(t), two.Content(t))
		require.Equal(t, want, decode[[]span](t, succeed(t, "diff", "--output", "json", a, b)))
		got := decode[compared](t, command(t, "compare", "--output", "json", a, b).stdout)
		require.Equal(t, len(want) == 0, got.Same)
		if !got.Same {
			require.Equal(t, want[0].Start, *got.Offset/512*512)
		}
	}
}

// The blocks of the image and the image itself are one file, at other places.
func TestDiffOfAnImageAndItsOwnFile(t *testing.T) {
	enter(t)
	base := testBase()
	base.WriteFile(t, "base.vhd")
	want := differingSpans(readFile(t, "base.vhd"), base.Content(t, nil))
	require.Equal(t, want, decode[[]span](t, succeed(t, "diff", "-f", "raw", "--output", "json", "base.vhd", "base.vhd")))
	require.Greater(t, want[len(want)-1].end(), int64(blockSize))
}

func TestDiffSaysWhatItCanNotRead(t *testing.T) {
	enter(t)
	putLevels(t)
	image := testBase().Build(t)
	vhdtest.EditEntry(t, image, 1, 1<<20)
	writeFile(t, "base.vhd", image)
	stderr := "vhd: base.vhd: BAT: entry 1 at offset 1540: corrupt: got sector 1048576, want a block in front of the file's end at sector 4101\n" +
		"hint: " + hintOfDamage("base.vhd") + "\n"
	require.Equal(t, answer{exitError, "[{\"start\":0,\"length\":512}]\n", stderr}, command(t, "diff", "--output", "json", "--from", "2", "leaf.vhd"))
	require.Equal(t, answer{exitError, "  start   length\n      0      512\n", stderr}, command(t, "diff", "--from", "2", "leaf.vhd"))
	require.Contains(t, refuse(t, "diff", "none.vhd"), "none.vhd: no such file or directory")
	require.Contains(t, refuse(t, "diff", "leaf.vhd", "none.vhd"), "none.vhd: no such file or directory")
}

func TestADiffThatIsInterruptedSaysHowFarItCame(t *testing.T) {
	enter(t)
	putTwins(t)
	for _, args := range [][]string{{"diff", "alice.vhd"}, {"diff", "--stored", "alice.vhd", "bob.vhd"}} {
		requireInterrupted(t, "alice.vhd: interrupted: what differs behind 0 is not told", args...)
	}
}

func TestProgressIsTakenAwayBeforeAnythingIsWritten(t *testing.T) {
	var b bytes.Buffer
	p := progress{w: &b, verb: "diff"}
	p.show("half")
	_, err := io.WriteString(&clearingWriter{Writer: &b, clear: p.end}, "line\n")
	require.NoError(t, err)
	require.Equal(t, "\rhalf\r    \rline\n", b.String())
}

func TestProgressTearsNoLine(t *testing.T) {
	var b bytes.Buffer
	p := progress{w: &b, verb: "diff"}
	w := &clearingWriter{Writer: &b, clear: p.end}
	for _, piece := range []string{"one\ntw", "", "o", "\nthree\n"} {
		p.show("half")
		_, err := io.WriteString(w, piece)
		require.NoError(t, err)
	}
	require.Equal(t, "\rhalf\r    \rone\n"+"\rhalf\rhalf\rhalf\r    \rtwo\nthree\n", b.String())
}
