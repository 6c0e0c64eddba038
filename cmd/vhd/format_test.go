package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd/internal/vhdtest"
)

// The names of new images that tell of another format.
func TestAnImageIsCalledAsAnotherFormatOnlyWhereItsOwnIsSaid(t *testing.T) {
	enter(t)
	testChain(t)
	writeFile(t, "in.raw", make([]byte, 1024))
	before := filesIn(t, ".")
	for _, line := range [][]string{
		{"create", "z.vhdx", "10M"}, {"import", "in.raw", "z.vhdx"}, {"export", "-O", "fixed", "leaf.vhd", "z.vhdx"},
		{"convert", "-O", "fixed", "in.raw", "z.vhdx"}, {"merge", "--to", "z.vhdx", "leaf.vhd"}, {"snapshot", "--dry-run", "leaf.vhd", "z.vhdx"},
	} {
		require.Contains(t, refuse(t, line...), "vhd: z.vhdx: VHDX is another format, and what vhd makes is a VHD\nhint: call it z.vhd; ", line)
	}
	require.Equal(t, before, filesIn(t, "."))
	succeed(t, "create", "-f", "vpc", "a.vhdx", "10M")
	succeed(t, "convert", "-O", "vpc", "leaf.vhd", "b.VHDX")
	succeed(t, "convert", "-O", "vpc", "in.raw", "c.vhdx")
	require.NotEmpty(t, vhdtest.Qemu.Content(t, "a.vhdx"))
}
