package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd/cmd/vhd/internal/picture"
)

func TestColoursAreWhatTheEnvironmentSays(t *testing.T) {
	for _, c := range []struct {
		environment map[string]string
		want        picture.Colours
	}{
		{map[string]string{"TERM": "xterm-256color"}, picture.Colours256},
		{map[string]string{"TERM": "xterm-256color", "COLORTERM": "truecolor"}, picture.TrueColour},
		{map[string]string{"TERM": "xterm-direct", "COLORTERM": "24bit"}, picture.TrueColour},
		{map[string]string{"TERM": "xterm", "COLORTERM": "truecolor", "NO_COLOR": "1"}, picture.NoColours},
		{map[string]string{"TERM": "xterm", "NO_COLOR": ""}, picture.Colours256}, // set and empty is not set
		{map[string]string{"TERM": "dumb", "COLORTERM": "truecolor"}, picture.NoColours},
	} {
		require.Equal(t, c.want, coloursOf(func(name string) string { return c.environment[name] }), "%v", c.environment)
	}
}

func TestWhatIsNoTerminalHas80ColumnsAndNoColours(t *testing.T) {
	t.Setenv("COLUMNS", "")
	require.Equal(t, picture.Terminal{Width: 80}, terminalOf(&bytes.Buffer{}))
	t.Setenv("COLUMNS", "132")
	require.Equal(t, picture.Terminal{Width: 132}, terminalOf(&bytes.Buffer{}))
	t.Setenv("COLUMNS", "-3")
	require.Equal(t, picture.Terminal{Width: 80}, terminalOf(&bytes.Buffer{}))
}
