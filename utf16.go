package vhd

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/unicode"
)

// Paths in a VHD are UTF-16 that nobody checked: Windows lets any code units
// be a file's name. Text goes through x/text; unpaired surrogates, which it
// would replace, pass as WTF-8, the three bytes each that package os gives
// them on Windows too. So every path comes back as it was stored.

// byteOrder is binary.LittleEndian, as in locators, or binary.BigEndian, as in
// the dynamic header.
type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// decodeUTF16 decodes b up to the first zero. An odd last byte is ignored.
func decodeUTF16(b []byte, order byteOrder) string {
	b = b[:len(b)&^1]
	if text, ok := decodeASCII(b, order); ok {
		return text
	}
	var text strings.Builder
	for start, i := 0, 0; ; {
		unit, size := nextUTF16(b[i:], order)
		switch {
		case size == 0 || unit == 0:
			text.WriteString(decodeWellFormed(b[start:i], order))
			return text.String()
		case utf16.IsSurrogate(unit):
			text.WriteString(decodeWellFormed(b[start:i], order))
			text.Write([]byte{0xED, 0x80 | byte(unit>>6&0x3F), 0x80 | byte(unit&0x3F)})
			start = i + size
		}
		i += size
	}
}

// decodeASCII does the same for what is all ASCII, as most paths are.
func decodeASCII(b []byte, order byteOrder) (text string, ok bool) {
	var short [128]byte
	ascii := short[:0]
	for ; len(b) > 0; b = b[2:] {
		unit := order.Uint16(b)
		switch {
		case unit == 0:
			return string(ascii), true
		case unit >= utf8.RuneSelf:
			return "", false
		}
		ascii = append(ascii, byte(unit))
	}
	return string(ascii), true
}

// nextUTF16 is the first code point of b, or unpaired surrogate, and its size
// in bytes; 0, 0 at the end.
func nextUTF16(b []byte, order byteOrder) (r rune, size int) {
	if len(b) < 2 {
		return 0, 0
	}
	first := rune(order.Uint16(b))
	if utf16.IsSurrogate(first) && len(b) >= 4 {
		if pair := utf16.DecodeRune(first, rune(order.Uint16(b[2:]))); pair != utf8.RuneError {
			return pair, 4
		}
	}
	return first, 2
}

func decodeWellFormed(b []byte, order byteOrder) string {
	text, err := utf16Encoding(order).NewDecoder().Bytes(b)
	if err != nil {
		return "" // the decoder replaces what it can't decode, and never fails
	}
	return string(text)
}

// encodeUTF16 is the way back of decodeUTF16. It fails if s is not UTF-8, or
// contains a zero, where reading would stop.
func encodeUTF16(s string, order byteOrder) ([]byte, error) {
	var b []byte
	for start, i := 0, 0; ; {
		surrogate := surrogateWTF8(s[i:])
		if i < len(s) && surrogate == 0 {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				return nil, fmt.Errorf("vhd: name %q: %w: it is not UTF-8", s, ErrUnsupported)
			}
			if r == 0 {
				return nil, fmt.Errorf("vhd: name %q: %w: it contains a zero", s, ErrUnsupported)
			}
			i += size
			continue
		}
		run, err := utf16Encoding(order).NewEncoder().Bytes([]byte(s[start:i]))
		if err != nil {
			return nil, fmt.Errorf("vhd: name %q: %w", s, err)
		}
		b = append(b, run...)
		if i == len(s) {
			return b, nil
		}
		b = order.AppendUint16(b, surrogate)
		i += 3
		start = i
	}
}

// surrogateWTF8 is the surrogate whose three bytes of WTF-8 s starts with, or
// 0.
func surrogateWTF8(s string) uint16 {
	if len(s) < 3 || s[0] != 0xED || s[1] < 0xA0 || s[1] > 0xBF || s[2]&0xC0 != 0x80 {
		return 0
	}
	return 0xD000 | uint16(s[1]&0x3F)<<6 | uint16(s[2]&0x3F)
}

func utf16Encoding(order byteOrder) encoding.Encoding {
	if order == byteOrder(binary.BigEndian) {
		return unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)
	}
	return unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)
}
