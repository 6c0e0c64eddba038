package vhd

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestThePageOfCodesHasThoseOfTheCode(t *testing.T) {
	page, err := os.ReadFile("docs/check.md")
	require.NoError(t, err)
	for code, about := range checkCodes {
		require.Contains(t, string(page), fmt.Sprintf("\n| `%s` | %v | %s | ", code, about.severity, about.structure))
	}
	require.Equal(t, len(checkCodes), strings.Count(string(page), "\n| `"))
}

// What blocks cost in memory is bounded, however many claim to be in the file, and all that overlap are counted.
func TestBlocksThatOverlapAreDroppedAsTheyCome(t *testing.T) {
	m := &Image{header: DynamicHeader{BlockSize: 512, TableOffset: 1536}, bitmapArea: 512, sectorsPerBlock: 1, footerOff: 1 << 20}
	m.fileSize.Store(1<<20 + 512)
	k := checkup{checking: &checking{}, m: m}
	for block := range int64(50_000) {
		require.NoError(t, k.place(block, batEntry(8+block%1000)))
		require.LessOrEqual(t, int64(len(k.blocks)), int64(2*(1<<20+512)/1024+2))
	}
	k.keepSound()
	require.Empty(t, k.blocks)
	require.True(t, k.batWrong)
}
