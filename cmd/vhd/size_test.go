package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSizesAreReadAsQemuReadsThem(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "512": 512, "512b": 512, "512B": 512, "1k": 1024, "64K": 64 << 10, "1.5M": 3 << 19, "40G": 40 << 30,
		"2T": 2 << 40, "1P": 1 << 50, "7E": 7 << 60, "3GiB": 3 << 30, "3gib": 3 << 30, "0.5K": 512, ".5k": 512,
		"9223372036854775807": 1<<63 - 1,
	} {
		got, err := parseSize(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
	}
	for s, want := range map[string]string{
		"": "want a number", "G": "want a number", "-1": "want a number", "+1": "want a number", "1 G": "want a number",
		"1X": "want a number", "1KB": "want a number", "1GG": "want a number", "1i": "want a number", "BiB": "want a number",
		"1BiB": "want a number", "0x10": "want a number", "1e3": "want a number", "1.2.3": "want a number", "Inf": "want a number",
		"NaN": "want a number", "1_000": "want a number", ".": "want a number", "0.3": "whole number", "1.0001K": "whole number",
		"8E": "too large", "9223372036854775808": "too large", "9.5E": "too large", "99999999999G": "too large",
	} {
		_, err := parseSize(s)
		require.ErrorContains(t, err, want, s)
	}
}

func TestSizesAreToldInThreeDigits(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1: "1 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 1<<20 - 1: "1 MiB", 10 << 20: "10 MiB",
		100000: "97.7 KiB", 1234567: "1.18 MiB", 123456789: "118 MiB", 1000 << 30: "1000 GiB", 2040 << 30: "1.99 TiB", 1<<63 - 1: "8 EiB",
	} {
		require.Equal(t, want, humanSize(n))
	}
	require.Equal(t, "512 bytes", exactSize(512))
	require.Equal(t, "1.5 KiB (1536 bytes)", exactSize(1536))
}

func TestATypeAndAFormKnowTheirWords(t *testing.T) {
	var diskType typeValue
	require.Empty(t, diskType.String())
	require.NoError(t, diskType.Set("Dynamic"))
	require.Equal(t, "dynamic", diskType.String())
	require.Error(t, diskType.Set("sparse"))

	var output outputValue
	require.NoError(t, output.Set("json"))
	require.Equal(t, "json", output.String())
	require.Error(t, output.Set("JSON"))
}
