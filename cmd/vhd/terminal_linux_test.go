package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/go-vhd/vhd/internal/vhdtest"
)

// openTerminal opens a terminal of so many columns. What was written to it, read returns, and
// closes it.
func openTerminal(t *testing.T, columns uint16) (terminal *os.File, read func() string) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	fd := int(screen.Fd())
	require.NoError(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	require.NoError(t, err)
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: columns}))

	all := make(chan string)
	go func() {
		var b bytes.Buffer
		_, _ = b.ReadFrom(screen) // ends with an error when the terminal is closed
		all <- b.String()
	}()
	return terminal, func() string {
		require.NoError(t, terminal.Close())
		return strings.ReplaceAll(<-all, "\r\n", "\n")
	}
}

// shown runs the command with a terminal of so many columns as its standard output, and
// returns what comes out of that.
func shown(t *testing.T, columns uint16, args ...string) string {
	t.Helper()
	terminal, read := openTerminal(t, columns)
	var stderr bytes.Buffer
	require.Equal(t, exitOK, run(args, strings.NewReader(""), terminal, &stderr), &stderr)
	return read()
}

func TestWhatLooksAtManyThingsTellsHowFarItIs(t *testing.T) {
	enter(t)
	testChain(t)
	for _, c := range []struct{ line, want string }{
		{"map -p leaf.vhd", "map: 0% of 4 MiB"},
		{"map -p --svg - leaf.vhd", "map: 0% of 4 MiB"},
		{"map -p --output json leaf.vhd", "map: 0% of 4 MiB"},
		{"measure -p leaf.vhd", "measure: 0% of 4 MiB"},
		{"measure -p -O dynamic leaf.vhd", "measure: 100% of 4 MiB"},
		{"ls -p", "ls: 1 of 1 images"},
	} {
		terminal, read := openTerminal(t, 80)
		var stdout bytes.Buffer
		require.Equal(t, exitOK, run(strings.Fields(c.line), strings.NewReader(""), &stdout, terminal))
		require.Regexp(t, `^\r`+c.want+`.*\r +\r$`, read(), c.line)
		require.NotEmpty(t, stdout.String())
	}
}

func TestProgressIsNoWiderThanTheTerminal(t *testing.T) {
	t.Setenv("COLUMNS", "")
	terminal, read := openTerminal(t, 30)
	p := newProgress(terminal, "export", 0)
	for i := range int64(3) {
		p.next = now().Add(-1)
		p.at(i<<40, 100<<40)
	}
	p.end()
	for line := range strings.SplitSeq(read(), "\r") {
		require.Less(t, len(line), 30, "%q", line)
	}
}

func TestMapIsInColoursOnATerminal(t *testing.T) {
	enter(t)
	testChain(t)
	t.Setenv("COLUMNS", "")
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm-256color")
	t.Setenv("COLORTERM", "truecolor")
	const (
		off  = "\x1b[0m"
		leaf = "\x1b[0;38;2;0;0;0;48;2;247;230;38m"
		base = "\x1b[0;38;2;255;255;255;48;2;47;108;141m"
	)
	require.Equal(t, `leaf.vhd: a disk of 4 MiB. One cell is a block of 2 MiB.
A cell is two signs: what holds the most of it, and what holds the next most.

      0 B  ..`+base+`1`+leaf+`0`+off+`

     holds  share  file size  image
  `+leaf+`0`+off+`  1 KiB  <0.1%      2 MiB  leaf.vhd
  `+base+`1`+off+`  2 MiB  50.0%      2 MiB  base.vhd
  .  2 MiB  50.0%             zeros, in no image
`, shown(t, 80, "map", "leaf.vhd"))

	t.Setenv("COLORTERM", "")
	require.Contains(t, shown(t, 80, "map", "leaf.vhd"), "..\x1b[0;38;5;231;48;5;24m1\x1b[0;38;5;16;48;5;220m0"+off)

	t.Setenv("NO_COLOR", "1")
	require.Equal(t, succeed(t, "map", "leaf.vhd"), shown(t, 80, "map", "leaf.vhd"))
}

func TestMapIsAsWideAsTheTerminal(t *testing.T) {
	enter(t)
	t.Setenv("COLUMNS", "")
	t.Setenv("NO_COLOR", "1")
	succeed(t, "create", "-q", "-s", "40G", "x.vhd")
	for columns, want := range map[uint16]int{27: 8, 80: 32, 119: 48, 200: 88} {
		rows := strings.Split(shown(t, columns, "map", "x.vhd"), "\n")
		require.Contains(t, rows, "      0 B  "+strings.Repeat("..", want), columns)
	}
}

func TestAMapIsFoldedToANarrowTerminal(t *testing.T) {
	enter(t)
	testChain(t)
	t.Setenv("COLUMNS", "")
	t.Setenv("NO_COLOR", "1")
	require.Equal(t, `leaf.vhd: a disk of 4 MiB. One cell is a
block of 2 MiB.
A cell is two signs: what holds the most
of it, and what holds the next most.

      0 B  ..10

  0  leaf.vhd
     1 KiB, <0.1%, file 2 MiB
  1  base.vhd
     2 MiB, 50.0%, file 2 MiB
  .  zeros, in no image
     2 MiB, 50.0%
`, shown(t, 40, "map", "leaf.vhd"))
	succeed(t, "create", "-q", "-s", "40G", "x.vhd")
	for line := range strings.SplitSeq(shown(t, 24, "map", "x.vhd"), "\n") {
		require.LessOrEqual(t, len(line), 24, line)
	}
	require.Equal(t, succeed(t, "map", "x.vhd"), shown(t, 80, "map", "x.vhd"))
}

func TestNoDiskIsWrittenToATerminal(t *testing.T) {
	enter(t)
	testChain(t)
	terminal, read := openTerminal(t, 80)
	var stderr bytes.Buffer
	require.Equal(t, exitError, run([]string{"export", "leaf.vhd", "-"}, strings.NewReader(""), terminal, &stderr))
	require.Equal(t, "vhd: standard output: it is a terminal, which can not show a disk\nhint: name a file, or the command that takes it: vhd export leaf.vhd - | COMMAND\n", stderr.String())
	require.Empty(t, read())

	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer nowhere.Close()
	require.Equal(t, exitOK, run([]string{"export", "leaf.vhd", "-"}, strings.NewReader(""), nowhere, &stderr), &stderr)
}

func TestLsIsNoWiderThanTheTerminal(t *testing.T) {
	enter(t)
	t.Setenv("COLUMNS", "")
	put := func(name string, parent *vhdtest.Image, path string, change func(*vhdtest.Image)) *vhdtest.Image {
		child := vhdtest.NewChild(parent, "")
		child.Locators[0] = vhdtest.W2ru(path)
		change(child)
		return putImage(t, name, child)
	}
	changed := func(img *vhdtest.Image) { img.ParentTime = 60 } // seconds of the year 2000
	base := putImage(t, "base.vhd", testBase())
	alice := put("alice.vhd", base, `.\base.vhd`, changed)
	put("alice2.vhd", alice, `.\alice.vhd`, changed)
	put("bob.vhd", base, `.\base.vhd`, func(img *vhdtest.Image) { img.SavedState = 1 })
	putChild(t, "lost.vhd", &vhdtest.Image{Size: testSize, ID: idOf("gone")}, `C:\Virtual Machines\gone.vhd`)
	trees := func(columns uint16) string {
		out, _, _ := strings.Cut(shown(t, columns, "ls"), "\n\n")
		return out
	}
	require.Equal(t, `image                         type          virtual size  file size
base.vhd                      dynamic              4 MiB      2 MiB
├── alice.vhd                 differencing         4 MiB      3 KiB
│   │   ! its parent's file was changed since: if the disk in it was, this one
│   │     is worthless
│   └── alice2.vhd            differencing         4 MiB      3 KiB
│           ! its parent's file was changed since: if the disk in it was, this
│             one is worthless
└── bob.vhd                   differencing         4 MiB      3 KiB  saved state
C:\Virtual Machines\gone.vhd  ✕ missing
└── lost.vhd                  differencing         4 MiB      3 KiB`, trees(80))
	require.Equal(t, `base.vhd
│   dynamic 4 MiB, file 2 MiB
├── alice.vhd
│   │   differencing 4 MiB, file 3 KiB
│   │   ! its parent's file was changed
│   │     since: if the disk in it was,
│   │     this one is worthless
│   └── alice2.vhd
│           differencing 4 MiB, file 3
│           KiB
│           ! its parent's file was
│             changed since: if the disk
│             in it was, this one is
│             worthless
└── bob.vhd
        differencing 4 MiB, file 3 KiB
        saved state
C:\Virtual Machines\gone.vhd  ✕ missing
└── lost.vhd
        differencing 4 MiB, file 3 KiB`, trees(40))
	require.Equal(t, succeed(t, "ls"), shown(t, 200, "ls"), "what no terminal shows is not folded")
}

func TestWhatIsAnnouncedTakesThePlaceOfTheProgress(t *testing.T) {
	t.Setenv("COLUMNS", "")
	terminal, read := openTerminal(t, 30)
	newProgress(terminal, "export", 0).show("export: 12% of 40 GiB")
	announce(terminal, "vhd: stopping", "hint: wait")
	require.Equal(t, "\rexport: 12% of 40 GiB\r"+strings.Repeat(" ", 29)+"\rvhd: stopping\nhint: wait\n", read())
}
