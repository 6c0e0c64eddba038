package vhd_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// What a program wrote that was killed is in the files, and need not be durable. Who finds it there in an image below must
// not drop from the leaf what that has too, before a loss of power can't take it away any more.

// killedAt opens a disk and uses it as a program that is killed at the n-th fsync of a file: nothing that it calls does
// anything from there on.
func killedAt(t testing.TB, fsys vhd.FS, name, file string, n int, use func(disk *vhd.Disk) error) {
	t.Helper()
	dying := vhdtest.NewFaultFS(fsys)
	disk, err := vhd.Open(name, &vhd.Options{FS: dying, Writable: true})
	require.NoError(t, err)
	dead := false
	dying.Arm(vhdtest.Fault{At: 1, All: true, Forever: true, Killed: true, Match: func(op vhdtest.Op) bool {
		if op.Kind == vhdtest.OpSync && op.Name == file {
			n--
		}
		dead = dead || n == 0
		return dead
	}})
	require.Error(t, use(disk))
	require.True(t, dead)
	_ = disk.Close() // which does nothing either
}

func TestP1WhatIsDroppedIsDurableBelow(t *testing.T) {
	const block = 64 << 10
	for _, c := range []struct {
		name   string
		killed func(t testing.TB, fsys vhd.FS)
		then   func(t testing.TB, leaf *vhd.Disk) error
		want   byte // in the second block
	}{
		{
			name: "a merge, then Compact",
			killed: func(t testing.TB, fsys vhd.FS) {
				t.Helper()
				killedAt(t, fsys, leafName, baseName, 4, func(d *vhd.Disk) error { return d.Merge(t.Context(), 0, 1, vhd.MergeOptions{}) })
			},
			then: func(t testing.TB, leaf *vhd.Disk) error {
				t.Helper()
				return leaf.Compact(t.Context(), vhd.CompactOptions{})
			},
			want: 'c',
		},
		{
			name:   "zeros below, then zeros",
			killed: freesTheSecondBlock,
			then: func(_ testing.TB, leaf *vhd.Disk) error {
				return errors.Join(leaf.WriteZeroes(block, block), leaf.Sync())
			},
			want: 0,
		},
		{
			name:   "zeros below, then a larger disk",
			killed: freesTheSecondBlock,
			then: func(t testing.TB, leaf *vhd.Disk) error {
				t.Helper()
				return errors.Join(leaf.Resize(t.Context(), block, vhd.ResizeOptions{AllowLoss: true}),
					leaf.Resize(t.Context(), 2*block, vhd.ResizeOptions{}))
			},
			want: 0,
		},
		{
			name: "the same elsewhere, then Rebase",
			killed: func(t testing.TB, fsys vhd.FS) {
				t.Helper()
				killedAt(t, fsys, otherName, otherName, 1, func(d *vhd.Disk) error {
					_, err := d.WriteAt(plain('p', block), 2*block)
					return errors.Join(err, d.Sync())
				})
			},
			then: func(_ testing.TB, leaf *vhd.Disk) error { return leaf.Rebase(otherName, vhd.RebaseOptions{}) },
			want: 'c',
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := vhdtest.NewMemFS()
			opts := vhd.CreateOptions{Options: vhd.Options{FS: files}, Size: 4 * block, BlockSize: block}
			write := func(b byte, off, n int) func(d *vhd.Disk) error {
				return func(d *vhd.Disk) error {
					_, err := d.WriteAt(bytes.Repeat([]byte{b}, n), int64(off))
					return err
				}
			}
			require.NoError(t, createAndFill(baseName, opts, write('p', 0, 4*block)))
			require.NoError(t, createAndFill(otherName, opts, write('o', 0, 4*block)))
			opts.Parent = baseName
			require.NoError(t, createAndFill(leafName, opts, write('c', block, block)))
			storage := vhdtest.NewCrashFS(files, vhdtest.CrashOptions{})
			c.killed(t, storage)
			leaf, err := vhd.Open(leafName, &vhd.Options{FS: storage, Writable: true})
			require.NoError(t, err)
			require.NoError(t, c.then(t, leaf))
			want := readAll(t, leaf, leaf.Size())
			require.NoError(t, leaf.Close())
			left := storage.CrashWith(func(int) int { return 0 }) // nothing that was not durable
			disk, err := vhd.Open(leafName, &vhd.Options{FS: left})
			require.NoError(t, err)
			got := readAll(t, disk, disk.Size())
			require.NoError(t, disk.Close())
			require.Equal(t, c.want, got[block])
			requireSameBytes(t, want, got, 0)
		})
	}
}

// freesTheSecondBlock makes zeros of the second block of the base, and is killed when the table says so, but not for good.
func freesTheSecondBlock(t testing.TB, fsys vhd.FS) {
	t.Helper()
	killedAt(t, fsys, baseName, baseName, 2, func(d *vhd.Disk) error {
		return errors.Join(d.WriteZeroes(64<<10, 64<<10), d.Sync())
	})
}

// refusingFS is an FS whose files, opened for reading, refuse to be synced, as Windows' do.
type refusingFS struct {
	vhd.FS
	refusal error
	synced  []string // that were opened for writing
}

func (r *refusingFS) OpenFile(name string, flag int, perm fs.FileMode) (vhd.File, error) {
	f, err := r.FS.OpenFile(name, flag, perm)
	return &refusingFile{f, r, name, flag != os.O_RDONLY}, err
}

type refusingFile struct {
	vhd.File
	fs       *refusingFS
	name     string
	writable bool
}

func (f *refusingFile) Sync() error {
	if !f.writable {
		return &fs.PathError{Op: "sync", Path: f.name, Err: f.fs.refusal}
	}
	f.fs.synced = append(f.fs.synced, f.name)
	return f.File.Sync()
}

func TestAnImageBelowThatIsOpenForReadingIsOpenedAgainToBeSynced(t *testing.T) {
	for _, refusal := range []error{syscall.EACCES, syscall.EPERM, syscall.EINVAL, errors.ErrUnsupported, vhd.ErrReadOnly} {
		base := compactDisk('p', 'q')
		files := inMemory(t, base.Build(t))
		require.NoError(t, files.Rename("disk.vhd", "base.vhd"))
		require.NoError(t, files.WriteFile(leafName, compactChild(base, blocksOf('p', 'x')...).Build(t)))
		refusing := &refusingFS{FS: files, refusal: refusal}
		disk, err := vhd.Open(leafName, &vhd.Options{FS: refusing, Writable: true})
		require.NoError(t, err)
		require.NoError(t, disk.Compact(t.Context(), vhd.CompactOptions{}))
		require.Contains(t, refusing.synced, baseName)
		require.NoError(t, disk.Close())
	}
}

// What can't be made durable is not there to rely on, and what is read of it from then on may be what it was.
func TestAnImageBelowThatCanNotBeSyncedBreaksTheDisk(t *testing.T) {
	base := compactDisk('p', 'q')
	name := "leaf.vhd"
	files := inMemory(t, base.Build(t))
	require.NoError(t, files.Rename("disk.vhd", "base.vhd"))
	require.NoError(t, files.WriteFile(name, compactChild(base, blocksOf('p', 'x')...).Build(t)))
	before := bytes.Clone(mustReadFile(t, files, name))
	faults := vhdtest.NewFaultFS(files)
	disk, err := vhd.Open(name, &vhd.Options{FS: faults, Writable: true})
	require.NoError(t, err)
	faults.Arm(vhdtest.Fault{At: 1, Match: func(op vhdtest.Op) bool { return op.Kind == vhdtest.OpSync && op.Name == baseName }})
	err = disk.Compact(t.Context(), vhd.CompactOptions{})
	require.ErrorIs(t, err, vhd.ErrBroken)
	require.ErrorIs(t, err, syscall.EIO)
	require.ErrorContains(t, err, "base.vhd")
	require.ErrorIs(t, disk.Compact(t.Context(), vhd.CompactOptions{}), vhd.ErrBroken)
	_ = disk.Close()
	require.True(t, bytes.Equal(before, mustReadFile(t, files, name)))
}
