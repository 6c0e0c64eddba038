package vhdtest_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

func nothing(int) int      { return 0 }
func everything(n int) int { return n - 1 }

// picture draws a file as a letter for each sector, of its first byte: "." for
// zero, "?" for sectors that are not of one byte.
func picture(t testing.TB, m *vhdtest.MemFS, name string) string {
	t.Helper()
	b, err := m.ReadFile(name)
	if err != nil {
		require.ErrorIs(t, err, fs.ErrNotExist)
		return "none"
	}
	var drawn strings.Builder
	for sector := range slices.Chunk(b, 512) {
		switch letter := sector[0]; {
		case !bytes.Equal(sector, fill(letter, len(sector))):
			drawn.WriteByte('?')
		case letter == 0:
			drawn.WriteByte('.')
		default:
			drawn.WriteByte(letter)
		}
	}
	return drawn.String()
}

// based returns a CrashFS that holds the file "a" as picture draws it.
func based(t testing.TB, opts vhdtest.CrashOptions, drawn string) (*vhdtest.CrashFS, vhd.File) {
	t.Helper()
	m := vhdtest.NewMemFS()
	require.NoError(t, m.WriteFile("a", nil))
	f := openFile(t, m, "a", os.O_RDWR)
	for i, letter := range []byte(drawn) {
		writeAt(t, f, fill(letter, 512), int64(i)*512)
	}
	c := vhdtest.NewCrashFS(m, opts)
	return c, openFile(t, c, "a", os.O_RDWR)
}

// states returns the pictures of all states that a crash now may leave.
func states(t testing.TB, c *vhdtest.CrashFS, name string) []string {
	t.Helper()
	found := make(map[string]bool)
	for pick := range vhdtest.EveryPick() {
		found[picture(t, c.CrashWith(pick), name)] = true
	}
	return slices.Sorted(maps.Keys(found))
}

func TestWhatACrashMayLeave(t *testing.T) {
	const free, appending, prefix = vhdtest.AnyOrder, vhdtest.AppendOrder, vhdtest.PrefixOrder
	type file struct {
		testing.TB
		vhd.File
	}
	write := func(f file, drawn string, sector int64) {
		for i, letter := range []byte(drawn) {
			writeAt(f, f, fill(letter, 512), (sector+int64(i))*512)
		}
	}
	tests := []struct {
		name  string
		order vhdtest.Order
		was   string
		do    func(f file)
		want  []string
	}{
		{"nothing was done", free, "AB", func(file) {}, []string{"AB"}},
		{"each sector of a write survives by itself", free, "AB",
			func(f file) { writeAt(f, f, fill('x', 1024), 0) },
			[]string{"AB", "Ax", "xB", "xx"}},
		{"a sector that was written twice is found in any version", free, "A",
			func(f file) { write(f, "x", 0); write(f, "y", 0) },
			[]string{"A", "x", "y"}},
		{"a sector that was written and put back is found in any version", free, "A",
			func(f file) { write(f, "x", 0); write(f, "A", 0) },
			[]string{"A", "x"}},
		{"a write of a part of a sector is one of the sector", free, "A",
			func(f file) { writeAt(f, f, []byte("x"), 100) },
			[]string{"?", "A"}},
		{"a sector behind the end is lost or makes the file longer", free, "A",
			func(f file) { write(f, "x", 2) },
			[]string{"A", "A..", "A.x"}},
		{"growth and the sectors behind it survive by themselves", free, "",
			func(f file) { writeAt(f, f, fill('x', 1024), 0) },
			[]string{"", "..", ".x", "x", "x.", "xx"}},
		{"what was cut off is back or gone", free, "AB",
			func(f file) { require.NoError(f, f.Truncate(512)) },
			[]string{"A", "AB"}},
		{"what was cut off and grown again is back or zero", free, "AB",
			func(f file) { require.NoError(f, f.Truncate(512)); require.NoError(f, f.Truncate(1024)) },
			[]string{"A", "A.", "AB"}},
		{"a cut does not undo a write that came after it", free, "A",
			func(f file) { require.NoError(f, f.Truncate(0)); write(f, "x", 0) },
			[]string{"", ".", "A", "x"}},
		{"a sync makes durable what came before it", free, "AB",
			func(f file) { write(f, "x", 3); require.NoError(f, f.Sync()); write(f, "y", 0) },
			[]string{"AB.x", "yB.x"}},

		{"in append order the end never runs ahead of the data", appending, "A",
			func(f file) { write(f, "xy", 1) },
			[]string{"A", "Ax", "Axy"}},
		{"in append order sectors in the file survive by themselves", appending, "AB",
			func(f file) { write(f, "xyz", 0) },
			[]string{"AB", "ABz", "Ay", "Ayz", "xB", "xBz", "xy", "xyz"}},
		{"in append order a sector does not outlive the growth it needs", appending, "",
			func(f file) { write(f, "x", 0); write(f, "y", 0) },
			[]string{"", "x", "y"}},
		{"in append order sizes keep their order", appending, "ABC",
			func(f file) { require.NoError(f, f.Truncate(512)); require.NoError(f, f.Truncate(1024)) },
			[]string{"A", "A.", "ABC"}},

		{"in prefix order nothing survives what came before it", prefix, "AB",
			func(f file) {
				write(f, "x", 1)
				write(f, "y", 0)
				write(f, "z", 3)
				require.NoError(f, f.Truncate(512))
			},
			[]string{"AB", "Ax", "y", "yx", "yx.z"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, f := based(t, vhdtest.CrashOptions{Order: test.order}, test.was)
			test.do(file{t, f})
			require.Equal(t, test.want, states(t, c, "a"))
		})
	}
}

func TestAnUnevenEndIsFoundOldOrNew(t *testing.T) {
	c := vhdtest.NewCrashFS(nil, vhdtest.CrashOptions{})
	f := openFile(t, c, "a", rw)
	writeAt(t, f, fill('a', 100), 0)
	require.NoError(t, f.Sync())
	require.NoError(t, c.SyncDir("."))
	writeAt(t, f, fill('b', 700), 0)
	found := make(map[string]bool)
	for pick := range vhdtest.EveryPick() {
		b, err := c.CrashWith(pick).ReadFile("a")
		require.NoError(t, err)
		found[fmt.Sprintf("%d %c %d", len(b), b[0], bytes.Count(b, []byte("b")))] = true
	}
	require.Equal(t, []string{
		"100 a 0", "100 b 100", "512 b 512", // the end was not found, or the first sector brought it along
		"700 a 0", "700 a 188", "700 b 512", "700 b 700",
	}, slices.Sorted(maps.Keys(found)))
}

func TestNothingIsFoundButWhatIsDurableWhereNothingElseIsPicked(t *testing.T) {
	c, f := based(t, vhdtest.CrashOptions{}, "AB")
	writeAt(t, f, fill('x', 2048), 512)
	require.NoError(t, f.Sync())
	require.Zero(t, c.Unsynced())
	writeAt(t, f, fill('y', 2048), 0)
	openFile(t, c, "b", rw)
	require.Equal(t, 5, c.Unsynced())
	require.Equal(t, "Axxxx", picture(t, c.CrashWith(nothing), "a"))
	require.Equal(t, "none", picture(t, c.CrashWith(nothing), "b"))
	require.Equal(t, "yyyyx", picture(t, c.CrashWith(everything), "a"))
	require.Empty(t, picture(t, c.CrashWith(everything), "b"))
	require.Equal(t, "yyyyx", picture(t, c.Live(), "a"))
}

func TestOfFilesThatNobodyAsksForOnlyWhatIsDurableIsFound(t *testing.T) {
	c, f := based(t, vhdtest.CrashOptions{}, "AB")
	other := openFile(t, c, "b", rw)
	require.NoError(t, c.SyncDir("."))
	writeAt(t, f, fill('y', 512), 0)
	writeAt(t, other, fill('z', 512), 0)
	require.Equal(t, "yB", picture(t, c.CrashWith(everything, "a"), "a"))
	require.Empty(t, picture(t, c.CrashWith(everything, "a"), "b"))
}

func TestWhatASectorHeldAlreadyIsNoNewState(t *testing.T) {
	c, f := based(t, vhdtest.CrashOptions{}, "AB")
	writeAt(t, f, fill('A', 512), 0)
	require.Zero(t, c.Unsynced())
}

func TestWhatIsDoneWhileASyncRunsIsNotMadeDurableByIt(t *testing.T) {
	c, f := based(t, vhdtest.CrashOptions{}, "AB")
	c.OnOp = func(op vhdtest.Op) {
		if op.Kind == vhdtest.OpSync {
			writeAt(t, f, fill('y', 512), 512)
		}
	}
	writeAt(t, f, fill('x', 512), 0)
	require.NoError(t, f.Sync())
	require.Equal(t, []string{"xB", "xy"}, states(t, c, "a"))
}

func TestANameIsDurableOnceItsDirectoryIsSynced(t *testing.T) {
	c := vhdtest.NewCrashFS(nil, vhdtest.CrashOptions{})
	f := openFile(t, c, "a", rw)
	writeAt(t, f, fill('x', 512), 0)
	require.NoError(t, f.Sync())
	require.Equal(t, []string{"none", "x"}, states(t, c, "a"))
	require.NoError(t, c.SyncDir("/"))
	require.Equal(t, []string{"x"}, states(t, c, "a"))
	require.NoError(t, c.Remove("a"))
	require.Equal(t, []string{"none", "x"}, states(t, c, "a"))
	require.NoError(t, c.SyncDir("."))
	require.Equal(t, []string{"none"}, states(t, c, "a"))
}

func TestADurableNameSaysNothingOfTheContent(t *testing.T) {
	c := vhdtest.NewCrashFS(nil, vhdtest.CrashOptions{})
	f := openFile(t, c, "a", rw)
	writeAt(t, f, fill('x', 512), 0)
	require.NoError(t, c.SyncDir("."))
	require.Equal(t, []string{"", ".", "x"}, states(t, c, "a"))
}

func TestARenameIsFoundWholeOrNotAtAll(t *testing.T) {
	for _, order := range []vhdtest.Order{vhdtest.AnyOrder, vhdtest.AppendOrder, vhdtest.PrefixOrder} {
		c, _ := based(t, vhdtest.CrashOptions{Order: order}, "A")
		b := openFile(t, c, "b", rw)
		writeAt(t, b, fill('B', 512), 0)
		require.NoError(t, b.Sync())
		require.NoError(t, c.SyncDir("."))
		require.NoError(t, c.Rename("b", "a"))
		require.Equal(t, []string{"A", "B"}, states(t, c, "a"))
		require.Equal(t, []string{"B", "none"}, states(t, c, "b"))
		require.NoError(t, c.SyncDir("."))
		require.Equal(t, []string{"B"}, states(t, c, "a"))
		require.Equal(t, []string{"none"}, states(t, c, "b"))
	}
}

func TestARenameBetweenDirectoriesWantsBothSynced(t *testing.T) {
	c, _ := based(t, vhdtest.CrashOptions{}, "A")
	require.NoError(t, c.MkdirAll("d"))
	require.NoError(t, c.Rename("a", "d/a"))
	require.NoError(t, c.SyncDir("d"))
	require.Equal(t, []string{"A", "none"}, states(t, c, "d/a"))
	require.NoError(t, c.SyncDir("."))
	require.Equal(t, []string{"A"}, states(t, c, "d/a"))
}

func TestNamesKeepTheirOrderWhereChangesDo(t *testing.T) {
	both := func(order vhdtest.Order) []string {
		c := vhdtest.NewCrashFS(nil, vhdtest.CrashOptions{Order: order})
		openFile(t, c, "a", rw)
		openFile(t, c, "b", rw)
		found := make(map[string]bool)
		for pick := range vhdtest.EveryPick() {
			m := c.CrashWith(pick)
			found["a="+picture(t, m, "a")+" b="+picture(t, m, "b")] = true
		}
		return slices.Sorted(maps.Keys(found))
	}
	require.Equal(t, []string{"a= b=", "a= b=none", "a=none b=", "a=none b=none"}, both(vhdtest.AnyOrder))
	require.Equal(t, []string{"a= b=", "a= b=none", "a=none b=none"}, both(vhdtest.PrefixOrder))
}

func TestALinkIsFoundOrNot(t *testing.T) {
	c, f := based(t, vhdtest.CrashOptions{}, "A")
	require.NoError(t, c.Linking().Link("a", "b"))
	require.ErrorIs(t, c.Linking().Link("a", "b"), fs.ErrExist)
	require.Equal(t, []string{"A", "none"}, states(t, c, "b"))
	require.NoError(t, c.SyncDir("."))
	writeAt(t, f, fill('x', 512), 0)
	for pick := range vhdtest.EveryPick() {
		m := c.CrashWith(pick)
		require.Equal(t, picture(t, m, "a"), picture(t, m, "b"), "two names of one file")
	}
}

func TestOpeningWithTruncationIsAChangeOfTheSize(t *testing.T) {
	c, _ := based(t, vhdtest.CrashOptions{}, "A")
	openFile(t, c, "a", os.O_RDWR|os.O_TRUNC)
	require.Equal(t, []string{"", "A"}, states(t, c, "a"))
}

func TestTheHookSeesEachChangeBeforeItIsMade(t *testing.T) {
	c := vhdtest.NewCrashFS(nil, vhdtest.CrashOptions{})
	var seen []string
	c.OnOp = func(op vhdtest.Op) {
		name := op.Name
		if op.Kind == vhdtest.OpSyncDir {
			name = "a"
		}
		seen = append(seen, op.Kind.String()+" "+picture(t, c.CrashWith(everything), name))
	}
	f := openFile(t, c, "a", rw)
	writeAt(t, f, fill('x', 512), 0)
	require.NoError(t, f.Truncate(1024))
	readAt(t, f, 512, 0)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
	openFile(t, c, "a", os.O_RDONLY)
	require.NoError(t, c.Rename("a", "b"))
	require.NoError(t, c.SyncDir("."))
	require.NoError(t, c.Remove("b"))
	require.Equal(t, []string{
		"open none", "write ", "truncate x", "sync x.", "rename x.", "syncdir none", "remove x.",
	}, seen[:7])
}

func TestASyncThatFailedDoesNotComeTrueLater(t *testing.T) {
	c, _ := based(t, vhdtest.CrashOptions{}, "AB")
	fault := vhdtest.NewFaultFS(c)
	f := openFile(t, fault, "a", os.O_RDWR)
	writeAt(t, f, fill('x', 512), 0)
	fault.Arm(vhdtest.Fault{At: 1})
	require.ErrorIs(t, f.Sync(), syscall.EIO)
	require.Equal(t, []string{"AB", "xB"}, states(t, c, "a"))
	require.NoError(t, f.Sync(), "the second one has nothing left to write")
	require.Equal(t, []string{"AB"}, states(t, c, "a"))
	require.Equal(t, byte('x'), readAt(t, f, 1, 0)[0])

	writeAt(t, f, fill('x', 512), 0)
	require.NoError(t, f.Sync())
	require.Equal(t, []string{"xB"}, states(t, c, "a"), "writing again is what helps")
}

func TestGarbageIsFoundOnlyWhereNothingWasEverWritten(t *testing.T) {
	for _, space := range []vhdtest.Space{vhdtest.SpaceNoise, vhdtest.SpaceStale} {
		m := vhdtest.NewMemFS()
		f := openFile(t, m, "a", rw)
		writeAt(t, f, fill('A', 512), 0)
		require.NoError(t, f.Truncate(1024)) // a hole that was there before is no new space
		c := vhdtest.NewCrashFS(m, vhdtest.CrashOptions{Space: space})
		f = openFile(t, c, "a", os.O_RDWR)
		writeAt(t, f, fill('x', 512), 16*512)
		require.NoError(t, f.Sync())
		require.Equal(t, make([]byte, 512), readAt(t, f, 512, 2*512), "live space is zero")

		found := c.CrashWith(nothing)
		drawn := picture(t, found, "a")
		require.Len(t, drawn, 17)
		require.Equal(t, "A.", drawn[:2])
		require.Equal(t, "x", drawn[16:])
		require.Contains(t, drawn[2:16], "?")
		if space == vhdtest.SpaceStale {
			require.Contains(t, drawn[2:16], "A")
			require.Contains(t, drawn[2:16], "x")
		}
		requireGarbageStays(t, found)
	}
}

// requireGarbageStays checks that the garbage in "a" is content like any other,
// but for new space being zero.
func requireGarbageStays(t *testing.T, found *vhdtest.MemFS) {
	t.Helper()
	before, err := found.ReadFile("a")
	require.NoError(t, err)
	c := vhdtest.NewCrashFS(found, vhdtest.CrashOptions{Space: vhdtest.SpaceNoise})
	f := openFile(t, c, "a", os.O_RDWR)
	copy(before[1500:], fill('p', 1000)) // parts of sectors of garbage
	writeAt(t, f, fill('p', 1000), 1500)
	require.NoError(t, f.Sync())
	after, err := c.CrashWith(everything).ReadFile("a")
	require.NoError(t, err)
	require.True(t, bytes.Equal(before, after))

	require.NoError(t, f.Truncate(2600))
	require.NoError(t, f.Truncate(4096))
	require.Equal(t, append(before[:2600:2600], make([]byte, 1496)...), readAt(t, f, 4096, 0))
}

func TestAStateCanCrashAgain(t *testing.T) {
	c, f := based(t, vhdtest.CrashOptions{}, "A")
	writeAt(t, f, fill('x', 512), 0)
	again := vhdtest.NewCrashFS(c.CrashWith(everything), vhdtest.CrashOptions{})
	f2 := openFile(t, again, "a", os.O_RDWR)
	writeAt(t, f2, fill('y', 512), 0)
	require.Equal(t, []string{"x", "y"}, states(t, again, "a"))
	require.Equal(t, []string{"A", "x"}, states(t, c, "a"), "the first goes on as if nothing had happened")
}

func TestTheSameSeedFindsTheSameState(t *testing.T) {
	draw := func(seed uint64) string {
		c, f := based(t, vhdtest.CrashOptions{Space: vhdtest.SpaceStale}, "ABCDEFGH")
		for i := range 20 {
			g := openFile(t, c, fmt.Sprint("new", i), rw)
			writeAt(t, g, fill('g', 512), 512)
		}
		writeAt(t, f, fill('x', 5000), 700)
		m := c.Crash(rand.New(rand.NewPCG(seed, 0)))
		var drawn strings.Builder
		drawn.WriteString(picture(t, m, "a"))
		for i := range 20 {
			drawn.WriteString(" " + picture(t, m, fmt.Sprint("new", i)))
		}
		return drawn.String()
	}
	found := make(map[string]bool)
	for seed := range uint64(20) {
		first := draw(seed)
		require.Equal(t, first, draw(seed))
		found[first] = true
	}
	require.Greater(t, len(found), 10)
}

func TestADirectoryIsNotRenamed(t *testing.T) {
	c := vhdtest.NewCrashFS(nil, vhdtest.CrashOptions{})
	require.NoError(t, c.MkdirAll("d"))
	require.Error(t, c.Rename("d", "e"))
	require.ErrorIs(t, c.Rename("none", "e"), fs.ErrNotExist)
	require.ErrorIs(t, c.Remove("none"), fs.ErrNotExist)
	require.ErrorIs(t, c.SyncDir("none"), fs.ErrNotExist)
	entries, err := c.ReadDir(".")
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

func TestWritersBesideASyncAndCrashesAreSafe(t *testing.T) {
	c, f := based(t, vhdtest.CrashOptions{Space: vhdtest.SpaceNoise}, "ABCD")
	var wg sync.WaitGroup
	for i := range byte(4) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 0))
			for range 50 {
				_, err1 := f.WriteAt(fill('a'+i, 1000), rng.Int64N(5000))
				_, err2 := f.ReadAt(make([]byte, 100), 0)
				_, err3 := c.Crash(rng).ReadFile("a")
				if err1 != nil || err2 != nil || err3 != nil || f.Sync() != nil {
					t.Error("a call failed")
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, f.Sync())
	require.Zero(t, c.Unsynced())
	require.Equal(t, picture(t, c.Live(), "a"), picture(t, c.CrashWith(nothing), "a"))
}

// versions is what each sector of a file may hold after a crash.
type versions [32]map[byte]bool

func (v *versions) settle(now []byte) {
	for i := range v {
		v[i] = map[byte]bool{now[i*512]: true}
	}
}

func TestASectorIsFoundInAVersionThatItHadSinceTheSync(t *testing.T) {
	for _, order := range []vhdtest.Order{vhdtest.AnyOrder, vhdtest.AppendOrder, vhdtest.PrefixOrder} {
		rng := rand.New(rand.NewPCG(1, 2))
		m := vhdtest.NewMemFS()
		require.NoError(t, m.WriteFile("a", nil))
		c := vhdtest.NewCrashFS(m, vhdtest.CrashOptions{Order: order})
		f := openFile(t, c, "a", os.O_RDWR)
		var want versions
		now := make([]byte, len(want)*512)
		want.settle(now)
		for range 2000 {
			letter, from, n := byte('a'+rng.IntN(26)), rng.IntN(28), 1+rng.IntN(4)
			switch rng.IntN(10) {
			case 0:
				require.NoError(t, f.Sync())
				want.settle(now)
			case 1:
				require.NoError(t, f.Truncate(int64(from)*512))
				clear(now[from*512:])
				for i := from; i < len(want); i++ {
					want[i][0] = true
				}
			default:
				copy(now[from*512:], fill(letter, n*512))
				writeAt(t, f, fill(letter, n*512), int64(from)*512)
				for i := from; i < from+n; i++ {
					want[i][letter] = true
				}
			}
			requireVersions(t, c.Crash(rng), &want)
		}
	}
}

func requireVersions(t *testing.T, m *vhdtest.MemFS, want *versions) {
	t.Helper()
	b, err := m.ReadFile("a")
	require.NoError(t, err)
	require.Zero(t, len(b)%512)
	b = append(b, make([]byte, len(want)*512-len(b))...) // a sector that is missing was never there, or cut off
	for i := range want {
		sector := b[i*512:][:512]
		require.Equal(t, fill(sector[0], 512), sector)
		require.Contains(t, want[i], sector[0], "sector %d", i)
	}
}

// BenchmarkCrash makes a state of a small disk of which a few sectors are not
// durable, and reads one of them.
func BenchmarkCrash(b *testing.B) {
	m := vhdtest.NewMemFS()
	require.NoError(b, m.WriteFile("parent", fill('p', 2<<20)))
	require.NoError(b, m.WriteFile("a", fill('a', 64<<10)))
	c := vhdtest.NewCrashFS(m, vhdtest.CrashOptions{})
	f := openFile(b, c, "a", os.O_RDWR)
	writeAt(b, f, fill('x', 8192), 64<<10)
	rng := rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		c.Crash(rng)
	}
}
