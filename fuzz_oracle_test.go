package vhd_test

import (
	"bytes"
	"errors"
	"maps"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// What every fuzz target holds a file to, whatever is in it. Panics the fuzzer sees by itself; besides,
//
//   - memory: no more than mostMemory is allocated, whatever numbers the file holds;
//   - time: no more calls to the storage than the blocks in view need, which unlike seconds are the same everywhere;
//   - nothing outside of the directory is asked for, and nothing is changed that was opened to be read;
//   - what is refused is refused with a typed error that says what and where, and stays as it is;
//   - what is read is read again as the same, from caches and without, and is what a simpler reader finds (witness);
//   - what is written reads back, also after reopening, and there is nothing left to mend.

const mostMemory = 16 << 20

// requireLittleMemory counts as requireHarmless does, but does not stop the world for it: a fuzzer comes by here
// thousands of times a second.
func requireLittleMemory(t testing.TB, use func()) {
	t.Helper()
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	before := sample[0].Value.Uint64()
	use()
	metrics.Read(sample)
	require.Less(t, sample[0].Value.Uint64()-before, uint64(mostMemory), "bytes allocated")
}

// refusals are the reasons for which a file, or what it says of others, may be refused.
var refusals = []error{
	vhd.ErrFormat, vhd.ErrChecksum, vhd.ErrUnsupported, vhd.ErrCorrupt, vhd.ErrParentNotFound, vhd.ErrParentMismatch,
	vhd.ErrOutsideRoot, vhd.ErrChainLoop, vhd.ErrChainTooDeep,
}

// requireRefusal makes sure that err is about what a file holds: storage in memory does not fail by itself.
func requireRefusal(t testing.TB, err error) {
	t.Helper()
	require.True(t, strings.HasPrefix(err.Error(), "vhd: "), "%v", err)
	isReason := func(reason error) bool { return errors.Is(err, reason) }
	require.True(t, slices.ContainsFunc(refusals, isReason), "%v", err)
	if lost, ok := errors.AsType[*vhd.ParentError](err); ok {
		for _, a := range lost.Attempts {
			require.Error(t, a.Err)
			require.NotEmpty(t, a.Ref.Origin)
		}
		return
	}
	if _, ok := errors.AsType[*vhd.FormatError](err); ok {
		requireWhole(t, err, "a refusal")
	}
}

// subject is an image that nobody trusts, with what may be its parents.
type subject struct {
	mem   *vhdtest.MemFS
	dir   string // outside of which nothing may be asked for
	name  string
	opts  vhd.Options // but for FS and Writable
	calls int         // that opening it for reading may take
}

// aloneInMemory is an image without its parents.
func aloneInMemory(t testing.TB, file []byte) subject {
	t.Helper()
	s := subject{mem: vhdtest.NewMemFS(), dir: "d", name: "d/disk.vhd", opts: vhd.Options{NoParents: true}, calls: 32}
	require.NoError(t, s.mem.WriteFile(s.name, file))
	return s
}

func (s subject) open(t testing.TB, writable bool) (*vhd.Disk, *vhdtest.RecordFS, error) {
	t.Helper()
	rec := withinRoot(t, s.mem, s.dir)
	opts := s.opts
	opts.FS, opts.Writable = rec, writable
	d, err := vhd.Open(s.name, &opts)
	return d, rec, err
}

// requireHarmlessReads opens and reads the image. It returns what it saw, or nothing and why the image was refused.
func (s subject) requireHarmlessReads(t testing.TB) (views []view, err error) {
	t.Helper()
	requireLittleMemory(t, func() {
		var d *vhd.Disk
		var rec *vhdtest.RecordFS
		if d, rec, err = s.open(t, false); err != nil {
			require.Nil(t, d)
			requireRefusal(t, err)
			return
		}
		require.LessOrEqual(t, rec.Count(), s.calls+len(d.Chain())*8, "calls to open")
		requireFamily(t, d, s.opts.NoParents)
		rec.Reset()
		views = lookAt(t, d)
		requireFewCalls(t, rec, d)
		requireOddReads(t, d, views)
		for _, v := range views {
			requireExtents(t, d, v)
		}
		requireSameViews(t, views, lookAt(t, d))
		require.NoError(t, d.Close())
		require.False(t, slices.ContainsFunc(rec.Ops(), vhdtest.Op.Mutates), "opened for reading")
	})
	if err == nil {
		s.requireSameUncached(t, views)
	}
	return views, err
}

// requireFamily makes sure that every image of a chain is the parent that the one before it asks for, and another one.
func requireFamily(t testing.TB, d *vhd.Disk, endsEarly bool) {
	t.Helper()
	chain := d.Chain()
	seen := map[string]bool{}
	for i, img := range chain {
		require.False(t, seen[img.Name()], "%q is its own parent", img.Name())
		seen[img.Name()] = true
		needsParent := img.Footer().Type == vhd.Differencing
		if i == len(chain)-1 {
			require.True(t, !needsParent || endsEarly)
			return
		}
		require.True(t, needsParent)
		h, _ := img.Header()
		require.Equal(t, h.ParentID, chain[i+1].Footer().ID)
	}
}

// requireSameUncached reads again with a cache that holds next to nothing, and as the witness does.
func (s subject) requireSameUncached(t testing.TB, views []view) {
	t.Helper()
	s.opts.CacheSize = 1
	d, _, err := s.open(t, false)
	require.NoError(t, err, "it was opened before")
	requireSameViews(t, views, lookAt(t, d))
	s.witness(t, d).requireViews(t, views)
	require.NoError(t, d.Close())
}

func (s subject) witness(t testing.TB, d *vhd.Disk) witness {
	t.Helper()
	var w witness
	for _, img := range d.Chain() {
		w = append(w, newWitnessLayer(img, mustReadFile(t, s.mem, img.Name())))
	}
	return w
}

// requireFewCalls bounds the calls that the first look at a disk may take: for every window and layer, the pages of
// the BAT, the bitmaps of blocks that are there, and the data.
func requireFewCalls(t testing.TB, rec *vhdtest.RecordFS, d *vhd.Disk) {
	t.Helper()
	got := rec.Count()
	var nwindows, nsectors int64
	for _, place := range placesToLook(d.Size()) {
		nwindows += place.n/(2<<20) + 2
		nsectors += place.n / vhd.SectorSize
	}
	most := nsectors
	for _, img := range d.Chain() {
		nblocks, err := img.AllocatedBlocks()
		require.NoError(t, err)
		most += nwindows*(int64(min(nblocks, 4096))+8) + img.FileSize()>>16 + 1
	}
	require.LessOrEqual(t, int64(got), most, "calls to look at %d bytes of %d", nsectors*vhd.SectorSize, d.Size())
}

// place is whole sectors of a disk.
type place struct{ off, n int64 }

// placesToLook are all of a small disk; of a large one the start, the end, and where windows meet.
func placesToLook(size int64) []place {
	const window = 2 << 20
	switch {
	case size == 0:
		return nil
	case size <= 256<<10:
		return []place{{0, size}}
	}
	middle := size / 2 / vhd.SectorSize * vhd.SectorSize
	if size > window+80<<10 {
		middle = window - 16<<10
	}
	return []place{{0, 64 << 10}, {middle, 32 << 10}, {size - 32<<10, 32 << 10}}
}

func (p place) overlaps(other place) bool { return p.off < other.off+other.n && other.off < p.off+p.n }

// view is what a disk reads as in one place.
type view struct {
	place
	data []byte
	errs map[int64]string // of sectors that can't be read, counted from the place's first
}

// lookAt reads a disk where it is worth it. What can't be read is told sector by sector.
func lookAt(t testing.TB, d *vhd.Disk) []view {
	t.Helper()
	var views []view
	for _, at := range placesToLook(d.Size()) {
		views = append(views, lookAtPlace(t, d, at))
	}
	return views
}

func lookAtPlace(t testing.TB, d *vhd.Disk, at place) view {
	t.Helper()
	v := view{place: at, data: bytes.Repeat([]byte{0xEE}, int(at.n))}
	for done := int64(0); done < at.n; done += vhd.SectorSize {
		n, err := d.ReadAt(v.data[done:], at.off+done)
		if done += int64(n); err == nil {
			require.Equal(t, at.n, done)
			break
		}
		require.Zero(t, n%vhd.SectorSize, "sectors fail whole")
		requireUnreadable(t, err)
		if v.errs == nil {
			v.errs = map[int64]string{}
		}
		v.errs[done/vhd.SectorSize] = err.Error()
		clear(v.data[done : done+vhd.SectorSize])
	}
	return v
}

// requireUnreadable makes sure that err tells of a block where none can be, or of a parent that is not there.
func requireUnreadable(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, vhd.ErrParentNotFound) {
		return
	}
	require.ErrorIs(t, err, vhd.ErrCorrupt)
	requireWhole(t, err, "a read")
}

func requireSameViews(t testing.TB, want, got []view) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		require.Equal(t, want[i].place, got[i].place)
		if !maps.Equal(want[i].errs, got[i].errs) {
			require.Equal(t, want[i].errs, got[i].errs)
		}
		requireSameBytes(t, want[i].data, got[i].data, want[i].off)
	}
}

// requireOddReads reads in other pieces than sectors, at the end and outside.
func requireOddReads(t testing.TB, d *vhd.Disk, views []view) {
	t.Helper()
	p := make([]byte, 700)
	_, err := d.ReadAt(p, -1)
	require.ErrorIs(t, err, vhd.ErrOutOfRange)
	n, err := d.ReadAt(p, d.Size())
	requireEOF(t, err)
	require.Zero(t, n)
	for _, v := range views {
		if v.n <= 1000 || v.errs != nil {
			continue
		}
		_, err := d.ReadAt(p, v.off+150)
		require.NoError(t, err)
		requireSameBytes(t, v.data[150:850], p, v.off+150)
		if v.off+v.n == d.Size() {
			n, err := d.ReadAt(p, d.Size()-99)
			requireEOF(t, err)
			requireSameBytes(t, v.data[v.n-99:], p[:n], d.Size()-99)
		}
	}
}

// requireExtents holds the extents of a place to what is read there. It is called too often to make a helper of every
// step.
func requireExtents(t testing.TB, d *vhd.Disk, v view) {
	t.Helper()
	chain := d.Chain()
	at, before := v.off, vhd.Hole
	for e, err := range d.FileExtents(v.off, v.n) {
		if flaw := v.flawOf(chain, e, err); e.Offset != at || flaw != "" {
			require.Failf(t, "wrong extent", "%v behind %d: %v: %s", e, at, err, flaw)
		}
		at += e.Length
	}
	require.Equal(t, v.off+v.n, at, "extents reach to the end")
	at = v.off
	for e, err := range d.Extents(v.off, v.n) {
		isNew := at == v.off || e.Depth != before || err != nil
		if e.Offset != at || e.Length <= 0 || !isNew {
			require.Failf(t, "wrong extent", "%v behind %d and depth %d: %v", e, at, before, err)
		}
		at, before = at+e.Length, e.Depth
		if err != nil {
			before = -2
		}
	}
	require.Equal(t, v.off+v.n, at, "extents reach to the end")
}

// flawOf is what is wrong with an extent that came with err.
func (v *view) flawOf(chain []*vhd.Image, e vhd.FileExtent, err error) string {
	if e.Length <= 0 || e.Offset < v.off || e.Offset+e.Length > v.off+v.n {
		return "out of the range"
	}
	for sector := (e.Offset - v.off) / vhd.SectorSize; sector < (e.Offset-v.off+e.Length)/vhd.SectorSize; sector++ {
		if said, failed := v.errs[sector]; failed != (err != nil) {
			return "reading gave " + said
		}
	}
	if e.Depth == vhd.Hole {
		if data := v.data[e.Offset-v.off:][:e.Length]; bytes.Count(data, []byte{0}) < len(data) {
			return "a hole that does not read as zeros"
		}
		return ""
	}
	if e.FileOffset < 0 || e.FileOffset+e.Length >= chain[e.Depth].FileSize()+vhd.SectorSize || err != nil {
		return "not in the file"
	}
	return ""
}

// requireHarmlessWrites opens the image for writing and changes it. before is what it read as, err why it was refused.
func (s subject) requireHarmlessWrites(t testing.TB, before []view, refused error) {
	t.Helper()
	file := mustReadFile(t, s.mem, s.name)
	var after []view
	var leaf witnessLayer
	requireLittleMemory(t, func() {
		d, rec, err := s.open(t, true)
		if err != nil {
			s.requireLeftAlone(t, rec, err, refused)
			return
		}
		require.NoError(t, refused, "what can't be read can't be written")
		leaf = newWitnessLayer(d.Chain()[0], file)
		requireSameViews(t, before, lookAt(t, d))
		after = changeViews(t, d, before)
		requireSameViews(t, after, lookAt(t, d))
		for _, v := range after {
			requireExtents(t, d, v)
		}
		require.NoError(t, d.Close())
		for _, op := range rec.Ops() {
			harmless := !op.Mutates() || op.Kind == vhdtest.OpSync // what is below is made durable before it is relied on
			require.True(t, op.Name == s.name || harmless, "%v", op)
		}
	})
	if after != nil {
		s.requireFinished(t, after, leaf)
	}
}

// requireLeftAlone makes sure that an image that is not opened for writing is not changed, and can't be read either or
// has blocks where none can be.
func (s subject) requireLeftAlone(t testing.TB, rec *vhdtest.RecordFS, err, refused error) {
	t.Helper()
	requireRefusal(t, err)
	if refused == nil {
		require.ErrorIs(t, err, vhd.ErrCorrupt)
	}
	require.False(t, slices.ContainsFunc(rec.Ops(), vhdtest.Op.Mutates), "what is refused stays as it is")
}

// mostToReread is the largest file that is looked at as a whole: the blocks of a hostile image have up to 256 MiB.
const mostToReread = 4 << 20

// requireFinished opens an image again after it was written. before is what it was.
func (s subject) requireFinished(t testing.TB, want []view, before witnessLayer) {
	t.Helper()
	d, _, err := s.open(t, false)
	require.NoError(t, err)
	img := d.Chain()[0]
	require.False(t, img.NeedsRecovery())
	require.Equal(t, before.footer, img.Footer())
	h, _ := img.Header()
	require.Equal(t, before.header, h)
	requireSameViews(t, want, lookAt(t, d))
	small := img.FileSize() <= mostToReread
	if small {
		s.witness(t, d).requireViews(t, want)
	}
	require.NoError(t, d.Close())
	if !small {
		return
	}
	file := mustReadFile(t, s.mem, s.name)
	before.requireKept(t, file)
	d, _, err = s.open(t, true)
	require.NoError(t, err)
	require.NoError(t, d.Close())
	require.True(t, bytes.Equal(file, mustReadFile(t, s.mem, s.name)), "there was nothing left to mend")
}

// changeViews writes into every place, whole sectors and parts, and says what it reads as from then on.
func changeViews(t testing.TB, d *vhd.Disk, before []view) []view {
	t.Helper()
	after := []view{}
	for i, v := range before {
		v.data, v.errs = bytes.Clone(v.data), maps.Clone(v.errs)
		sector := v.n / 3 / vhd.SectorSize * vhd.SectorSize
		v.write(t, d, pattern(uint64(i+1), min(1536, v.n-sector)), sector)
		v.write(t, d, pattern(uint64(i+100), min(700, v.n-100)), 100)
		v.zero(t, d, max(0, v.n-4*vhd.SectorSize))
		after = append(after, v)
	}
	_, err := d.WriteAt([]byte{1}, d.Size())
	require.ErrorIs(t, err, vhd.ErrOutOfRange)
	require.ErrorIs(t, d.WriteZeroes(d.Size(), 1), vhd.ErrOutOfRange)
	return after
}

// write writes p at the byte at of the view. A part of a sector can't be written where the rest is not known.
func (v *view) write(t testing.TB, d *vhd.Disk, p []byte, at int64) {
	t.Helper()
	n, err := d.WriteAt(p, v.off+at)
	if err != nil {
		requireUnreadable(t, err)
		sector := (at + int64(n)) / vhd.SectorSize
		require.Contains(t, v.errs, sector)
		isPart := at%vhd.SectorSize != 0 && n == 0 || at+int64(len(p)) < (sector+1)*vhd.SectorSize
		require.True(t, isPart, "sector %d is written whole", sector)
	} else {
		require.Len(t, p, n)
	}
	v.put(p[:n], at)
}

// zero makes the view read as zeros from the byte at on.
func (v *view) zero(t testing.TB, d *vhd.Disk, at int64) {
	t.Helper()
	require.NoError(t, d.WriteZeroes(v.off+at, v.n-at))
	v.put(make([]byte, v.n-at), at)
}

func (v *view) put(p []byte, at int64) {
	copy(v.data[at:], p)
	for sector := (at + vhd.SectorSize - 1) / vhd.SectorSize; (sector+1)*vhd.SectorSize <= at+int64(len(p)); sector++ {
		delete(v.errs, sector)
	}
}

// requireSameInspection inspects a file alone: it is refused as Open refuses it, and tells the same every time.
func requireSameInspection(t testing.TB, file []byte, refused error) {
	t.Helper()
	requireLittleMemory(t, func() {
		img, err := vhd.Inspect(bytes.NewReader(file), int64(len(file)))
		if refused != nil {
			require.Nil(t, img)
			want, got := requireWhole(t, refused, "Open"), requireWhole(t, err, "Inspect")
			require.Equal(t, want, got)
			return
		}
		require.NoError(t, err)
		_, err = img.AllocatedBlocks()
		require.NoError(t, err)
		again, err := vhd.Inspect(bytes.NewReader(file), int64(len(file)))
		require.NoError(t, err)
		require.Equal(t, img.ParentRefs(), again.ParentRefs())
		require.Equal(t, img.Footer(), again.Footer())
		raw, err := img.Footer().MarshalBinary()
		require.NoError(t, err)
		require.Len(t, raw, vhd.SectorSize)
	})
}
