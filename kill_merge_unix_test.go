//go:build unix

package vhd_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// mergeOrders are what a process that merges is to do.
type mergeOrders struct {
	Dir        string
	From, Into string // names of images
}

// levels are where the images are in the chain; ok is false if one is in it no more.
func (o mergeOrders) levels(disk *vhd.Disk) (from, into int, ok bool) {
	names := namesOf(disk)
	from, into = slices.Index(names, o.From), slices.Index(names, o.Into)
	return from, into, from >= 0 && into >= 0
}

// TestMergeVictim is no test: it is the process that the one below kills.
func TestMergeVictim(t *testing.T) {
	text := os.Getenv("VHD_TEST_MERGE")
	if text == "" {
		t.Skip("runs in a process of its own, started by another test")
	}
	var orders mergeOrders
	require.NoError(t, json.Unmarshal([]byte(text), &orders))
	root, err := os.OpenRoot(orders.Dir)
	require.NoError(t, err)
	v := &killVictim{pipe: os.NewFile(3, "pipe")}
	fsys := &tellingFS{swapFS{FS: vhd.RootFS(root)}, v}
	disk, err := vhd.Open(killMergeLeaf, &vhd.Options{FS: fsys, Writable: true})
	require.NoError(t, err)
	require.NoError(t, v.tell(said{what: saysOpened}))
	from, into, ok := orders.levels(disk)
	require.True(t, ok)
	require.NoError(t, disk.Merge(context.Background(), from, into, vhd.MergeOptions{}))
	require.NoError(t, disk.Close())
}

const killMergeLeaf = "image3.vhd"

// killMergeChain makes a chain of four images in files of their own.
func killMergeChain(t testing.TB, base vhd.DiskType) (files map[string][]byte, content []byte) {
	t.Helper()
	mem := vhdtest.NewMemFS()
	content = make([]byte, 1<<20)
	files = map[string][]byte{}
	for n := range 4 {
		name := fmt.Sprintf("image%d.vhd", n)
		opts := vhd.CreateOptions{Options: vhd.Options{FS: mem}, Type: base, Size: int64(len(content)), BlockSize: 16 << 10}
		if n > 0 {
			opts.Type, opts.Parent = vhd.Differencing, fmt.Sprintf("image%d.vhd", n-1)
		}
		require.NoError(t, createAndFill(name, opts, func(disk *vhd.Disk) error {
			for sector := 0; sector < len(content)/vhd.SectorSize; sector += 1 + n*5 {
				copy(sectorOfContent(content, sector), stamp(sector, n))
				if _, err := disk.WriteAt(stamp(sector, n), int64(sector)*vhd.SectorSize); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	for n := range 4 {
		name := fmt.Sprintf("image%d.vhd", n)
		var err error
		files[name], err = mem.ReadFile(name)
		require.NoError(t, err)
	}
	return files, content
}

func TestAMergeThatIsKilledIsCompletedByTheNext(t *testing.T) {
	t.Parallel()
	chains := map[vhd.DiskType]map[string][]byte{}
	var content []byte
	for _, base := range []vhd.DiskType{vhd.Dynamic, vhd.Fixed} {
		chains[base], content = killMergeChain(t, base)
	}
	rng := rand.New(rand.NewPCG(11, 11))
	kills, handedOver := 0, 0
	touches := map[string]int{} // of a merge that is not killed, by what it merges
	for kills < wanted(t, "VHD_MERGE_KILLS", 200, 20) {
		base := []vhd.DiskType{vhd.Dynamic, vhd.Fixed}[rng.IntN(2)]
		into := rng.IntN(3)
		from := into + 1 + rng.IntN(3-into)
		dir := t.TempDir()
		for name, file := range chains[base] {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), file, 0o666))
		}
		orders := mergeOrders{dir, fmt.Sprintf("image%d.vhd", from), fmt.Sprintf("image%d.vhd", into)}
		kind := fmt.Sprintf("%v %d %d", base, from, into)
		at := rng.IntN(max(touches[kind], 1)) + 1
		if rng.IntN(4) == 0 { // one of the last: then files go
			at = max(touches[kind]-rng.IntN(5), 1)
		}
		killed, n := orders.hunt(t, at)
		if !killed {
			touches[kind] = n
			continue
		}
		kills++
		if orders.complete(t, content) {
			handedOver++
		}
		require.NoError(t, os.RemoveAll(dir))
	}
	if kills >= 200 {
		require.Positive(t, handedOver)
	}
	t.Logf("%d kills, %d of them when the leaf was gone", kills, handedOver)
}

// hunt runs a merge until it has touched files so many times, and kills it then; 1 is
// not to kill it. It returns how often it touched any.
func (o mergeOrders) hunt(t testing.TB, at int) (killed bool, touches int) {
	t.Helper()
	raw, err := json.Marshal(o)
	require.NoError(t, err)
	cmd := again(t, "TestMergeVictim", "VHD_TEST_MERGE="+string(raw))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	heard, pipe, err := os.Pipe()
	require.NoError(t, err)
	defer heard.Close()
	cmd.ExtraFiles = []*os.File{pipe}
	require.NoError(t, cmd.Start())
	require.NoError(t, pipe.Close())
	opened := false
	for lines := bufio.NewScanner(heard); lines.Scan(); {
		s, err := parseSaid(lines.Text())
		require.NoError(t, err)
		opened = opened || s.what == saysOpened
		if !opened {
			continue
		}
		if touches++; touches == at && at > 1 {
			require.NoError(t, cmd.Process.Kill())
		}
	}
	return wasKilled(t, cmd.Wait(), &out), touches
}

// complete looks at what a merge that was killed left, and merges again. It returns whether
// the leaf was gone already.
func (o mergeOrders) complete(t testing.TB, content []byte) (handedOver bool) {
	t.Helper()
	leaf := filepath.Join(o.Dir, killMergeLeaf)
	if _, err := os.Stat(leaf); errors.Is(err, fs.ErrNotExist) {
		require.Equal(t, killMergeLeaf, o.From, "only a leaf that was merged goes")
		leaf, handedOver = filepath.Join(o.Dir, o.Into), true
	}
	reader, err := vhd.Open(leaf, nil)
	require.NoError(t, err)
	requireSameBytes(t, content, readAll(t, reader, reader.Size()), 0)
	require.NoError(t, reader.Close())

	disk, err := vhd.Open(leaf, &vhd.Options{Writable: true})
	require.NoError(t, err)
	o.From, o.Into = filepath.Join(o.Dir, o.From), filepath.Join(o.Dir, o.Into)
	from, into, ok := o.levels(disk)
	if ok {
		require.NoError(t, disk.Merge(context.Background(), from, into, vhd.MergeOptions{}))
		require.NoFileExists(t, o.From)
	}
	names := namesOf(disk)
	require.NotContains(t, names, o.From)
	require.Contains(t, names, o.Into)
	requireSameBytes(t, content, readAll(t, disk, disk.Size()), 0)
	require.NoError(t, disk.Close())
	requireFileReadsAs(t, names[0], content)
	if !ok { // the image that has another parent now may be left with two footers that differ
		for _, name := range names {
			_, err := vhd.Repair(context.Background(), name, vhd.RepairOptions{})
			require.NoError(t, err)
		}
	}
	requireFindings(t, names[0], withParents, "parent-time", "free-blocks", "header-moved")
	requireSameBytes(t, content, vhdtest.SevenZip.Content(t, names[0]), 0)
	return handedOver
}
