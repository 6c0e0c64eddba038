package vhdtest

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Real images without blocks, and fixed ones, come out of the builder byte for byte from what their manifest tells.
func TestTheBuilderMakesWhatOthersMade(t *testing.T) {
	set := Corpus(t)
	for _, file := range []string{
		"azure-powershell/tiny.vhd", "go-vhd/win8.1-1GB.vhd", "go-vhd/win8.vhd", "go-vhd/win8-child.vhd",
		"go-vhd/qemu.vhd", "go-vhd/vbox.vhd", "dfvfs/fat-parent.vhd", "vhd-forensic/minimal.vhd",
		"vhd-forensic/fixed.vhd", "vhd-forensic/original-size-mismatch.vhd",
	} {
		t.Run(file, func(t *testing.T) {
			want, err := os.ReadFile(set.Path(file))
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, rebuild(t, set, file, want).Build(t)))
		})
	}
}

// rebuild takes from the file itself only what the manifest doesn't tell: who made it, the original size, the
// header's parent name, and a fixed disk's content.
func rebuild(t *testing.T, set *CorpusSet, file string, raw []byte) *Image {
	t.Helper()
	m := set.Find(t, file)
	footer := EndFooter(t, raw)
	epoch := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	img := &Image{
		Size: m.VirtualSize, ID: m.UUID, Time: uint32(m.Timestamp.Sub(epoch) / time.Second),
		App: string(footer[28:32]), AppVersion: binary.BigEndian.Uint32(footer[32:]), Host: string(footer[36:40]),
		OriginalSize: int64(binary.BigEndian.Uint64(footer[40:])), Type: map[string]Type{
			"fixed": Fixed, "dynamic": Dynamic, "differencing": Differencing,
		}[m.Kind],
		Geometry: &Geometry{uint16(m.CHS[0]), uint8(m.CHS[1]), uint8(m.CHS[2])},
	}
	if img.Type == Fixed {
		img.Data = raw[:m.VirtualSize]
		return img
	}
	require.Zero(t, m.Dynamic.BlocksAllocated)
	img.BlockSize, img.MaxEntries, img.BATOff = m.Dynamic.BlockSize, m.Dynamic.MaxEntries, int64(m.Dynamic.TableOffset)
	img.BATPadZero = m.Dynamic.BATPad == "00"
	for _, loc := range m.Locators {
		img.Locators[loc.Slot] = map[string]func(string) Locator{"W2ru": W2ru, "W2ku": W2ku}[loc.Code](loc.Text)
		img.Locators[loc.Slot].Off = loc.Offset
		img.Locators[loc.Slot].Area = int64(loc.Space)
		if loc.Code == "W2ku" {
			img.ParentName = loc.Text
		}
	}
	if m.Parent != "" {
		img.ParentID = set.Find(t, m.Parent).UUID
	}
	if img.App == "win " { // 4 KiB pages
		img.EndAlign = 4096
		img.BATArea = roundUp(img.BATOff+4*img.MaxEntries, 4096) - img.BATOff
	}
	return img
}
