package vhd_test

import (
	"encoding/binary"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-vhd/vhd"
)

// What Windows stores, and what package os calls it there. Unpaired surrogates are three bytes each.
func TestPathsInUTF16DecodeAndEncode(t *testing.T) {
	for name, test := range map[string]struct {
		units string // little-endian
		path  string
	}{
		"nothing":                         {"", ""},
		"a relative path":                 {"2e00 5c00 7800 2e00 7600 6800 6400", `.\x.vhd`},
		"beyond ASCII":                    {"e900 ac20 1504", "é€Е"},
		"a surrogate pair":                {"34d8 1edd", "𝄞"},
		"the last code point":             {"ffdb ffdf", "\U0010FFFF"},
		"a high surrogate alone":          {"00d8", "\xED\xA0\x80"},
		"a low surrogate alone":           {"ffdf", "\xED\xBF\xBF"},
		"a high surrogate before text":    {"6100 34d8 6200", "a\xED\xA0\xB4b"},
		"a low surrogate in front":        {"1edd 34d8 1edd", "\xED\xB4\x9E𝄞"},
		"two high surrogates and one low": {"34d8 34d8 1edd", "\xED\xA0\xB4𝄞"},
		"a swapped pair":                  {"1edd 34d8", "\xED\xB4\x9E\xED\xA0\xB4"},
		"a byte order mark in front":      {"fffe 6100", "\uFEFFa"},
		"a byte order mark inside":        {"6100 fffe", "a\uFEFF"},
		"a mark of the other order":       {"feff 6100", "\uFFFEa"},
		"marks behind a lone surrogate":   {"00d8 fffe feff", "\xED\xA0\x80\uFEFF\uFFFE"},
		"the replacement character":       {"fdff", "\uFFFD"},
		"before and behind surrogates":    {"ffd7 00e0", "\uD7FF\uE000"},
	} {
		t.Run(name, func(t *testing.T) {
			data := unhexExact(t, test.units)
			for _, code := range []vhd.PlatformCode{vhd.W2ru, vhd.W2ku} {
				path, err := code.DecodePath(data)
				require.NoError(t, err)
				require.Equal(t, test.path, path)
				encoded, err := code.EncodePath(test.path)
				require.NoError(t, err)
				require.Equal(t, string(data), string(encoded))
			}
			var want vhd.ParentName
			for i := 0; i < len(data); i += 2 {
				want[i], want[i+1] = data[i+1], data[i]
			}
			require.Equal(t, test.path, want.String())
			name, err := vhd.NewParentName(test.path)
			require.NoError(t, err)
			require.Equal(t, want, name)
		})
	}
}

func TestAPathInUTF16EndsAtTheFirstZeroAndAnOddByteIsNoCharacter(t *testing.T) {
	for name, test := range map[string]struct{ units, path string }{
		"a zero at the end":           {"6100 0000", "a"},
		"text behind a zero":          {"6100 0000 6200", "a"},
		"a zero in front":             {"0000 6200", ""},
		"a low byte of zero":          {"0001 6100", "Āa"},
		"an odd byte":                 {"6100 62", "a"},
		"one byte":                    {"61", ""},
		"half of a pair and a byte":   {"34d8 1e", "\xED\xA0\xB4"},
		"half of a pair and a zero":   {"34d8 0000", "\xED\xA0\xB4"},
		"a pair and an odd zero byte": {"34d8 1edd 00", "𝄞"},
	} {
		t.Run(name, func(t *testing.T) {
			path, err := vhd.W2ru.DecodePath(unhexExact(t, test.units))
			require.NoError(t, err)
			require.Equal(t, test.path, path)
		})
	}
}

func TestWhatIsNoTextIsNotEncodedToUTF16(t *testing.T) {
	for _, path := range []string{"a\x00", "\x00", "\xff", "a\xc3", "\xed\xa0", "\xc0\x80", "\xf4\x90\x80\x80", "\xed\xa0\x80\xff"} {
		for _, code := range []vhd.PlatformCode{vhd.W2ru, vhd.W2ku} {
			_, err := code.EncodePath(path)
			require.ErrorIs(t, err, vhd.ErrUnsupported, "%q", path)
		}
	}
}

func TestAnyCodeUnitsComeBackAsTheyWereStored(t *testing.T) {
	unit := rapid.OneOf(rapid.Uint16Range(1, 0xFFFF), rapid.Uint16Range(0xD7F0, 0xE010), rapid.SampledFrom([]uint16{0xFEFF, 0xFFFE, 0xFFFD, 0xFFFF}))
	rapid.Check(t, func(t *rapid.T) {
		units := rapid.SliceOfN(unit, 0, 256).Draw(t, "units")
		var little []byte
		var name vhd.ParentName
		for i, u := range units {
			little = binary.LittleEndian.AppendUint16(little, u)
			binary.BigEndian.PutUint16(name[2*i:], u)
		}
		path, err := vhd.W2ku.DecodePath(little)
		require.NoError(t, err)
		require.Equal(t, path, name.String())
		if text := string(utf16.Decode(units)); len(utf16.Encode([]rune(text))) == len(units) && !hasLone(units) {
			require.Equal(t, text, path)
		}
		encoded, err := vhd.W2ku.EncodePath(path)
		require.NoError(t, err)
		require.Equal(t, string(little), string(encoded))
		again, err := vhd.NewParentName(path)
		require.NoError(t, err)
		require.Equal(t, name, again)
	})
}

// hasLone says whether a surrogate has no partner.
func hasLone(units []uint16) bool {
	for i := 0; i < len(units); i++ {
		if !utf16.IsSurrogate(rune(units[i])) {
			continue
		}
		if i+1 == len(units) || utf16.DecodeRune(rune(units[i]), rune(units[i+1])) == '\uFFFD' {
			return true
		}
		i++
	}
	return false
}
