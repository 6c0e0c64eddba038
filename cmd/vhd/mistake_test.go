package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAWrongCommandLineIsShownAsItWasMeant(t *testing.T) {
	enter(t)
	for _, c := range []struct{ line, want string }{
		{"create x.vhd 10MB", "vhd create x.vhd 10M"},
		{"create --size=10gb x.vhd", "vhd create --size=10g x.vhd"},
		{"create -s10GB x.vhd", "vhd create -s10G x.vhd"},
		{"resize x10GB +10GB", "vhd resize x10GB +10G"},
		{"create -t fixed 40G 5$", "vhd create -t fixed " + quote("5$") + " 40G"},
		{"map --otput=json x.vhd", "vhd map --output=json x.vhd"},
		{"exprot x.vhd y.raw", "vhd export x.vhd y.raw"},

		{"create 10GB 10GB", ""}, // which of them is the file?
		{"create x.vhd GB", ""},
		{"create x.vhd 10QB", ""},
		{"copy x.vhd y.vhd", ""}, // export or import
		{"map --nonsense x.vhd", ""},
	} {
		a := command(t, strings.Fields(c.line)...)
		require.Equal(t, exitUsage, a.code)
		_, hint, _ := strings.Cut(a.stderr, "\nhint: ")
		line, _, more := strings.Cut(hint, "; ")
		if !more {
			line = ""
		}
		require.Equal(t, c.want, line, c.line)
	}
}
