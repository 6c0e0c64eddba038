package vhd_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
)

// lifeOperations are what happens to a chain, and may be asked for at the same time.
var lifeOperations = []struct {
	name string
	do   func(disk *vhd.Disk, names []string) error
}{
	{"snapshot", func(d *vhd.Disk, names []string) error {
		return d.Snapshot(filepath.Join(filepath.Dir(names[0]), "snapshot.vhd"), vhd.CreateOptions{})
	}},
	{"merge of the leaf", func(d *vhd.Disk, _ []string) error {
		return d.Merge(context.Background(), 0, 2, vhd.MergeOptions{Force: true})
	}},
	{"merge below the leaf", func(d *vhd.Disk, _ []string) error {
		return d.Merge(context.Background(), 1, 3, vhd.MergeOptions{Force: true})
	}},
	{"merge into the base", func(d *vhd.Disk, _ []string) error {
		return d.Merge(context.Background(), 1, len(d.Chain())-1, vhd.MergeOptions{Force: true})
	}},
	{"compact", func(d *vhd.Disk, _ []string) error { return d.Compact(context.Background(), vhd.CompactOptions{}) }},
	{"resize", func(d *vhd.Disk, _ []string) error {
		return d.Resize(context.Background(), mergeSize+(3<<20), vhd.ResizeOptions{})
	}},
	{"rebase", func(d *vhd.Disk, names []string) error {
		return d.Rebase(names[len(names)-1], vhd.RebaseOptions{})
	}},
	{"close", func(d *vhd.Disk, _ []string) error { return d.Close() }},
}

// lifeErrors are what one may get since another has changed the chain, or closed the disk.
var lifeErrors = []error{nil, fs.ErrInvalid, vhd.ErrClosed, vhd.ErrUnsupported, fs.ErrExist}

func TestAnyTwoOperationsOfTheLifeOfAChainGoOnBesideEachOther(t *testing.T) {
	rounds := wanted(t, "VHD_BESIDE_ROUNDS", 1, 1)
	for i, first := range lifeOperations {
		for _, second := range lifeOperations[i:] {
			t.Run(first.name+" beside "+second.name, func(t *testing.T) {
				for range rounds {
					names, content := stampedChain(t, vhd.Dynamic)
					disk, err := vhd.Open(names[0], &vhd.Options{Writable: true})
					require.NoError(t, err)
					var group sync.WaitGroup
					for _, do := range []func(*vhd.Disk, []string) error{first.do, second.do} {
						group.Go(func() { assertLifeError(t, do(disk, names)) })
					}
					group.Wait()
					last := disk.Chain()[0].Name()
					if err := disk.Close(); err != nil {
						require.ErrorIs(t, err, vhd.ErrClosed)
					}
					again, err := vhd.Open(last, &vhd.Options{Writable: true})
					require.NoError(t, err)
					requireSameBytes(t, content, readAll(t, again, mergeSize), 0)
					require.NoError(t, again.Close())
				}
			})
		}
	}
}

func assertLifeError(t testing.TB, err error) {
	t.Helper()
	for _, may := range lifeErrors {
		if err == nil || may != nil && errors.Is(err, may) && !errors.Is(err, vhd.ErrBroken) {
			return
		}
	}
	t.Error(fmt.Errorf("it got %w", err))
}
