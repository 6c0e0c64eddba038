package vhd_test

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// structure is what has a binary form of its own.
type structure interface {
	encoding.BinaryMarshaler
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
}

// requireSameBytesAgain decodes a structure and encodes it. It says whether raw is one.
func requireSameBytesAgain(t testing.TB, s structure, raw []byte) bool {
	t.Helper()
	if err := s.UnmarshalBinary(raw); err != nil {
		require.True(t, errors.Is(err, vhd.ErrFormat) || errors.Is(err, vhd.ErrUnsupported), "%v", err)
		requireWhole(t, err, "a structure")
		return false
	}
	got, err := s.MarshalBinary()
	require.NoError(t, err)
	require.True(t, bytes.Equal(raw, got[:len(raw)]), "got %x, want %x", got, raw)
	got, err = s.AppendBinary([]byte("behind"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(raw, got[len("behind"):][:len(raw)]))
	return true
}

// requireYear makes sure that a time is one that the format can store.
func requireYear(t testing.TB, at time.Time) {
	t.Helper()
	if !at.IsZero() {
		require.GreaterOrEqual(t, at.Year(), 2000)
		require.LessOrEqual(t, at.Year(), 2136)
		require.Equal(t, time.UTC, at.Location())
	}
}

// sized is raw cut or filled up to n bytes, with the checksum mended if it is asked for.
func sized(raw []byte, n int, mend func(structure []byte)) []byte {
	structure := make([]byte, n)
	copy(structure, raw)
	if mend != nil {
		mend(structure)
	}
	return structure
}

func FuzzFooter(f *testing.F) {
	for _, file := range append(soundSeeds(f), hostileSetSeeds(f)...) {
		f.Add(file[max(0, len(file)-512):], false)
		f.Add(file[:min(512, len(file))], true)
	}
	reserved := vhdtest.NewFixed(1024, nil)
	reserved.FooterReserved = bytes.Repeat([]byte{0xA5}, 427)
	f.Add(reserved.Build(f)[1024:], true)
	for _, field := range footerIntegers {
		for _, n := range hostileNumbers {
			footer := vhdtest.NewFixed(1024, nil).Build(f)[1024:]
			field.put(footer, n)
			f.Add(footer, true)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, mended bool) {
		if mended {
			raw = sized(raw, min(max(len(raw), 511), 512), func(b []byte) { vhdtest.MendFooter(t, b) })
		}
		var footer vhd.Footer
		if !requireSameBytesAgain(t, &footer, raw) {
			return
		}
		requireYear(t, footer.Time)
		require.GreaterOrEqual(t, footer.CurrentSize, int64(0))
		require.GreaterOrEqual(t, footer.OriginalSize, int64(0))
		require.NotEmpty(t, fmt.Sprint(footer.Type, footer.Geometry, footer.ID))
		require.GreaterOrEqual(t, footer.Geometry.Size(), int64(0))
		vhd.GeometryOf(footer.CurrentSize)
	})
}

func FuzzDynamicHeader(f *testing.F) {
	for _, file := range append(soundSeeds(f), hostileSeeds(f)...) {
		if at := bytes.Index(file, []byte("cxsparse")); at >= 0 && at+1024 <= len(file) {
			f.Add(file[at:at+1024], at%1024 == 0)
		}
	}
	full := bytes.Repeat([]byte{0xA5}, 1024)
	copy(full, "cxsparse")
	copy(full[24:], []byte{0, 1, 0, 0})
	f.Add(full, true)
	f.Fuzz(func(t *testing.T, raw []byte, mended bool) {
		if mended {
			raw = sized(raw, 1024, func(b []byte) { vhdtest.MendHeader(t, b) })
		}
		var header vhd.DynamicHeader
		if !requireSameBytesAgain(t, &header, raw) {
			return
		}
		requireYear(t, header.ParentTime)
		name := header.ParentName.String()
		require.NotContains(t, name, "\x00")
		if again, err := vhd.NewParentName(name); err == nil && len(name) > 0 {
			require.Equal(t, name, again.String())
		}
		for _, l := range header.Locators {
			require.NotEmpty(t, l.Code.String())
			require.GreaterOrEqual(t, l.Space(), int64(l.DataSpace))
			require.GreaterOrEqual(t, l.DataLength, int64(0))
		}
	})
}
