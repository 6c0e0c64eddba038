package vhd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// madeAt is when a parent and its child are made, within a second.
var madeAt = time.Date(2026, 5, 6, 7, 8, 9, 300_000_000, time.UTC)

// requireChanged requires that a check of child.vhd and a scan both find its parent changed, or both not.
func requireChanged(t *testing.T, fsys vhd.FS, want bool) {
	t.Helper()
	opts := vhd.Options{FS: fsys}
	var codes []string
	if want {
		codes = []string{"parent-time"}
	}
	report, err := vhd.Check(t.Context(), "child.vhd", vhd.CheckOptions{Options: opts, Chain: true})
	require.NoError(t, err)
	require.Equal(t, codes, allCodes(report), "%+v", report.Findings)
	found, err := vhd.Scan(t.Context(), "/", vhd.ScanOptions{Options: opts})
	require.NoError(t, err)
	for _, s := range found {
		require.Equal(t, want && path.Base(s.Name) == "child.vhd", s.ParentChanged, s.Name)
	}
}

func TestAParentThatWasChangedSinceIsFoundToHaveBeen(t *testing.T) {
	second := madeAt.Truncate(time.Second)
	for _, c := range []struct {
		what string
		at   time.Time // of the file, when it is looked at
		want bool
	}{
		{"not changed", madeAt, false},
		{"a day later", madeAt.Add(24 * time.Hour), true},
		{"in the next second", second.Add(1100 * time.Millisecond), true},
		{"in the second after that", second.Add(2100 * time.Millisecond), true},
		{"in the same second, which nobody can know", second.Add(900 * time.Millisecond), false},
		{"an older file is in its place", madeAt.Add(-time.Hour), true},
		{"rounded down to two seconds by a file system", second.Truncate(2 * time.Second), false},
		{"rounded up to two seconds by a file system", second.Truncate(2 * time.Second).Add(2 * time.Second), false},
		{"three whole seconds later", second.Add(3 * time.Second), true},
	} {
		for _, creator := range []string{vhd.CreatorVHD, vhd.CreatorWindows, vhd.CreatorQemu} {
			t.Run(c.what+" "+creator, func(t *testing.T) {
				fsys := vhdtest.NewMemFS()
				fsys.Now = func() time.Time { return madeAt }
				create(t, fsys, "base.vhd", vhd.CreateOptions{Size: 1 << 20, Time: madeAt, Creator: creator})
				create(t, fsys, "child.vhd", vhd.CreateOptions{Parent: "base.vhd", Time: madeAt, Creator: creator})
				require.NoError(t, fsys.Chtime("base.vhd", c.at))
				requireChanged(t, fsys, c.want)
			})
		}
	}
}

// What Windows 7 records is when the parent was made, and says nothing of its file.
func TestAChildThatRecordsWhenItsParentWasMadeSaysNothingOfItsFile(t *testing.T) {
	for app, want := range map[string]bool{"win ": false, "gvhd": true} {
		base := checkedDisk()
		base.Time = secondsOf(madeAt)
		child := vhdtest.NewChild(base, "base.vhd")
		child.App, child.AppVersion, child.ParentTime = app, 0x00060001, base.Time
		if want {
			child.AppVersion = 0x00010000
		}
		fsys := vhdtest.NewMemFS()
		require.NoError(t, fsys.WriteFile("base.vhd", base.Build(t)))
		require.NoError(t, fsys.WriteFile("child.vhd", child.Build(t)))
		require.NoError(t, fsys.Chtime("base.vhd", madeAt.Add(time.Hour)))
		requireChanged(t, fsys, want)
	}
}

// On real files whatever is done to a chain leaves no parent that seems to be changed, however fast.
func TestNoParentOfANewChainSeemsToBeChanged(t *testing.T) {
	for round := range 8 {
		t.Run(fmt.Sprint("round ", round), func(t *testing.T) {
			f := newLineage(t)
			disk := f.open(t, vhd.Options{})
			require.NoError(t, disk.Snapshot(f.name("top.vhd"), vhd.CreateOptions{}))
			_, err := disk.WriteAt([]byte("more"), 12345)
			require.NoError(t, err)
			if round%2 == 1 {
				require.NoError(t, disk.Merge(t.Context(), 1, 2, vhd.MergeOptions{}))
			}
			require.NoError(t, disk.Close())
			found, err := vhd.Scan(t.Context(), f.dir, vhd.ScanOptions{})
			require.NoError(t, err)
			for _, s := range found {
				require.False(t, s.ParentChanged, s.Name)
			}
			report, err := vhd.Check(t.Context(), f.name("top.vhd"), withParents)
			require.NoError(t, err)
			require.NotContains(t, allCodes(report), "parent-time")
		})
	}
}

// What leaves the disk in a parent as it is, as far as its children see it, leaves them no parent that seems to be changed.
func TestWhatChangesNothingForTheChildrenLeavesTheirParentsTime(t *testing.T) {
	for _, c := range []struct {
		what string
		do   func(f *lineage) error
		want bool
	}{
		{what: "a compaction", do: func(f *lineage) error {
			return writing(f.name("base.vhd"), func(d *vhd.Disk) error { return d.Compact(t.Context(), vhd.CompactOptions{}) })
		}},
		{what: "a compaction that is ended", do: func(f *lineage) error {
			ctx, cancel := context.WithCancel(t.Context())
			return notCanceled(writing(f.name("base.vhd"), func(d *vhd.Disk) error {
				return d.Compact(ctx, vhd.CompactOptions{Progress: func(_, _ int64) { cancel() }})
			}))
		}},
		{what: "a compaction beside a write", want: true, do: func(f *lineage) error {
			return writing(f.name("base.vhd"), func(d *vhd.Disk) error {
				write := sync.OnceFunc(func() { _, _ = d.WriteAt([]byte{1}, 0) })
				return d.Compact(t.Context(), vhd.CompactOptions{Progress: func(_, _ int64) { write() }})
			})
		}},
		{what: "more size, and less again", do: func(f *lineage) error {
			return writing(f.name("base.vhd"), func(d *vhd.Disk) error {
				return errors.Join(d.Resize(t.Context(), 2*lineageSize, vhd.ResizeOptions{}), d.Resize(t.Context(), lineageSize, vhd.ResizeOptions{}))
			})
		}},
		{what: "less size, with a loss", want: true, do: func(f *lineage) error {
			return writing(f.name("base.vhd"), func(d *vhd.Disk) error {
				return d.Resize(t.Context(), vhd.SectorSize, vhd.ResizeOptions{AllowLoss: true})
			})
		}},
		{what: "a merge that is ended", do: func(f *lineage) error {
			ctx, cancel := context.WithCancel(t.Context())
			return notCanceled(writing(f.name("leaf.vhd"), func(d *vhd.Disk) error {
				return d.Merge(ctx, 0, 1, vhd.MergeOptions{Progress: func(_, _ int64) { cancel() }})
			}))
		}},
		{what: "a merge over an image between, which is mixed with it when it is ended", want: true, do: func(f *lineage) error {
			ctx, cancel := context.WithCancel(t.Context())
			return notCanceled(writing(f.name("leaf.vhd"), func(d *vhd.Disk) error {
				return d.Merge(ctx, 0, 2, vhd.MergeOptions{Progress: func(_, _ int64) { cancel() }})
			}))
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			f := newLineage(t)
			require.NoError(t, writing(f.name("base.vhd"), func(d *vhd.Disk) error {
				_, err := d.WriteAt(make([]byte, lineageSize), 0) // of which a compaction leaves nothing
				return errors.Join(err, d.Sync(), overwrite(d, f.base))
			}))
			for _, image := range [][2]string{{"base.vhd", "middle.vhd"}, {"middle.vhd", "leaf.vhd"}} {
				require.NoError(t, os.Chtimes(f.name(image[0]), time.Time{}, madeAt))
				require.NoError(t, writing(f.name(image[1]), func(d *vhd.Disk) error { return d.Rebase(f.name(image[0]), vhd.RebaseOptions{}) }))
			}
			require.NoError(t, c.do(f))
			found, err := vhd.Scan(t.Context(), f.dir, vhd.ScanOptions{})
			require.NoError(t, err)
			require.Len(t, found, 3)
			changed := map[string]bool{}
			for _, s := range found {
				changed[path.Base(s.Name)] = s.ParentChanged
			}
			require.Equal(t, map[string]bool{"base.vhd": false, "leaf.vhd": false, "middle.vhd": c.want}, changed)
		})
	}
}

// writing opens an image for writing, does something, and closes it.
func writing(name string, do func(d *vhd.Disk) error) error {
	d, err := vhd.Open(name, &vhd.Options{Writable: true})
	if err != nil {
		return err
	}
	return errors.Join(do(d), d.Close())
}

// overwrite writes all of a disk.
func overwrite(d *vhd.Disk, content []byte) error {
	_, err := d.WriteAt(content, 0)
	return err
}

// notCanceled is what else than the end of its context ended something.
func notCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return fmt.Errorf("it was not ended: %w", err)
}
