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
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// The promise of the package's documentation, kept by real processes on real
// files: a victim works on an image, says on a pipe what it is about to do, and
// is killed with SIGKILL somewhere in the middle of it. The kernel keeps what was
// written, so this leaves fewer states than a loss of power does (crash_test.go
// has those), but nothing in between is a model.

const (
	killDiskSize  = 4 << 20
	killSectors   = killDiskSize / vhd.SectorSize
	killsPerImage = 20
)

// killPrograms are what victims do. A victim tells of everything before it does
// it; killModel knows what that allows.
var killPrograms = []struct {
	name string
	run  func(v *killVictim) error
}{
	{"write", (*killVictim).runWrites},
	{"write beside Sync", (*killVictim).runWritesBesideSync},
	{"compact", (*killVictim).runCompact},
}

// What a victim says.
const (
	saysCreating   = "creating"
	saysCreated    = "created"
	saysOpening    = "opening"
	saysOpened     = "opened"
	saysWriting    = "writing" // off, n and version follow
	saysZeroing    = "zeroing" // off and n follow
	saysDone       = "done"    // with either
	saysSyncing    = "syncing"
	saysSynced     = "synced"
	saysClosing    = "closing"
	saysClosed     = "closed"
	saysCompacting = "compacting"
	saysCompacted  = "compacted"
	saysTouching   = "touching" // a file is written to, cut, synced or removed: inside one of the above
)

// said is one thing that a victim said.
type said struct {
	what    string
	off, n  int64
	version int
}

func parseSaid(line string) (s said, err error) {
	_, err = fmt.Sscanf(line, "%s %d %d %d", &s.what, &s.off, &s.n, &s.version)
	return s, err
}

// data is what a victim writes: in each sector its stamp, from off on.
func (s said) data() []byte {
	p := make([]byte, s.n)
	if s.what == saysZeroing {
		return p
	}
	for n := int64(0); n < s.n; {
		sector, at := (s.off+n)/vhd.SectorSize, (s.off+n)%vhd.SectorSize
		n += int64(copy(p[n:], stamp(int(sector), s.version)[at:]))
	}
	return p
}

// victimOrders are what a victim is to do.
type victimOrders struct {
	Program string
	Dir     string
	Seed    uint64
	Version int // of what it writes first

	Create    bool // the leaf is yet to be made
	Parent    string
	BlockSize int64

	// Touching makes the victim also tell of what the package does to files.
	// They are still the operating system's, but reached by an FS of the caller's.
	Touching bool
}

// killVictim is what runs in the process that is killed.
type killVictim struct {
	victimOrders
	rng  *rand.Rand
	pipe *os.File
	disk *vhd.Disk
}

// TestKillVictim is no test: it is the process that the one below kills.
func TestKillVictim(t *testing.T) {
	orders := os.Getenv("VHD_TEST_VICTIM")
	if orders == "" {
		t.Skip("runs in a process of its own, started by another test")
	}
	v := killVictim{pipe: os.NewFile(3, "pipe")}
	require.NoError(t, json.Unmarshal([]byte(orders), &v.victimOrders))
	v.rng = rand.New(rand.NewPCG(v.Seed, 1))
	for _, program := range killPrograms {
		if program.name == v.Program {
			require.NoError(t, v.open())
			require.NoError(t, program.run(&v))
			require.NoError(t, v.close())
		}
	}
}

// tell says one thing, in one write to the pipe, which nothing can tear.
func (v *killVictim) tell(s said) error {
	_, err := fmt.Fprintf(v.pipe, "%s %d %d %d\n", s.what, s.off, s.n, s.version)
	return err
}

// do does something between two words about it.
func (v *killVictim) do(before said, after string, what func() error) error {
	if err := v.tell(before); err != nil {
		return err
	}
	if err := what(); err != nil {
		return fmt.Errorf("%s: %w", before.what, err)
	}
	return v.tell(said{what: after})
}

// open opens the leaf for writing, or makes it.
func (v *killVictim) open() error {
	opts := vhd.CreateOptions{
		Options: vhd.Options{Writable: true}, Size: killDiskSize, BlockSize: v.BlockSize, Parent: v.Parent,
	}
	leaf := "leaf.vhd"
	if v.Touching {
		root, err := os.OpenRoot(v.Dir)
		if err != nil {
			return err
		}
		opts.FS = &tellingFS{swapFS{FS: vhd.RootFS(root)}, v}
	} else {
		leaf = filepath.Join(v.Dir, leaf)
		if v.Parent != "" {
			opts.Parent = filepath.Join(v.Dir, v.Parent)
		}
	}
	before, after := saysOpening, saysOpened
	if v.Create {
		before, after = saysCreating, saysCreated
	}
	return v.do(said{what: before}, after, func() (err error) {
		if v.Create {
			v.disk, err = vhd.Create(leaf, opts)
		} else {
			v.disk, err = vhd.Open(leaf, &opts.Options)
		}
		return err
	})
}

func (v *killVictim) close() error { return v.do(said{what: saysClosing}, saysClosed, v.disk.Close) }

func (v *killVictim) sync() error { return v.do(said{what: saysSyncing}, saysSynced, v.disk.Sync) }

// runWrites writes, zeroes and syncs.
func (v *killVictim) runWrites() error {
	for range 4 + v.rng.IntN(28) {
		change := v.change
		if v.rng.IntN(4) == 0 {
			change = v.sync
		}
		if err := change(); err != nil {
			return err
		}
	}
	return nil
}

// runWritesBesideSync writes and zeroes while another goroutine does nothing but
// sync.
func (v *killVictim) runWritesBesideSync() error {
	end, synced := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-end:
				synced <- nil
				return
			default:
			}
			if err := v.sync(); err != nil {
				synced <- err
				return
			}
		}
	}()
	var err error
	for range 4 + v.rng.IntN(60) {
		if err = v.change(); err != nil {
			break
		}
	}
	close(end)
	return errors.Join(err, <-synced)
}

// runCompact writes, much of it what the parent has there or zeros, and compacts.
func (v *killVictim) runCompact() error {
	for range 1 + v.rng.IntN(3) {
		for range 2 + v.rng.IntN(16) {
			if err := v.change(); err != nil {
				return err
			}
		}
		err := v.do(said{what: saysCompacting}, saysCompacted, func() error {
			return v.disk.Compact(context.Background(), vhd.CompactOptions{})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// change writes or zeroes somewhere.
func (v *killVictim) change() error {
	s := said{what: saysWriting, version: v.Version}
	v.Version++
	if v.Program == "compact" && v.rng.IntN(2) == 0 {
		s.version = 0 // the parent's
	}
	most := int64(48 << 10)
	if v.rng.IntN(4) == 0 {
		s, most = said{what: saysZeroing}, 256<<10
	}
	unit := []int64{1, vhd.SectorSize, v.BlockSize}[v.rng.IntN(3)]
	s.off = v.rng.Int64N(killDiskSize) / unit * unit
	s.n = min(max(v.rng.Int64N(most)/unit, 1)*unit, killDiskSize-s.off)
	return v.do(s, saysDone, func() error {
		if s.what == saysZeroing {
			return v.disk.WriteZeroes(s.off, s.n)
		}
		_, err := v.disk.WriteAt(s.data(), s.off)
		return err
	})
}

// tellingFS is the operating system's files, of which a victim tells.
type tellingFS struct {
	swapFS
	victim *killVictim
}

func (s *tellingFS) OpenFile(name string, flag int, perm fs.FileMode) (vhd.File, error) {
	f, err := s.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return tellingFile{f.(*os.File), s.victim}, nil
}

func (s *tellingFS) Remove(name string) error {
	return errors.Join(s.victim.tell(said{what: saysTouching}), s.FS.Remove(name))
}

type tellingFile struct {
	*os.File
	victim *killVictim
}

func (f tellingFile) touch() error { return f.victim.tell(said{what: saysTouching}) }

func (f tellingFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.touch(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

func (f tellingFile) Truncate(size int64) error {
	return errors.Join(f.touch(), f.File.Truncate(size))
}

func (f tellingFile) Sync() error { return errors.Join(f.touch(), f.File.Sync()) }

// killModel knows of each sector what may be read, from what a victim said.
type killModel struct {
	versions [][][]byte // by sector: what was durable or seen last, and all that came since
	syncing  []int      // by sector: the version that the Sync under way makes durable
	changing said       // what has not returned yet
	made     bool       // the leaf must be there
	phase    string     // what the victim did last
}

func newKillModel(content []byte) *killModel {
	m := &killModel{versions: make([][][]byte, killSectors), syncing: make([]int, killSectors)}
	for sector := range m.versions {
		m.versions[sector] = [][]byte{content[sector*vhd.SectorSize:][:vhd.SectorSize]}
	}
	return m
}

// hear notes what the victim said.
func (m *killModel) hear(s said) {
	if s.what != saysTouching {
		m.phase = s.what
	}
	switch s.what {
	case saysCreated:
		m.made = true
	case saysWriting, saysZeroing:
		m.changing = s
		m.change(s.data(), s.off)
	case saysDone:
		m.changing = said{}
	case saysSyncing, saysClosing, saysCompacting:
		m.beginSync()
	case saysSynced, saysClosed, saysCompacted:
		for sector, at := range m.syncing {
			m.versions[sector] = m.versions[sector][at:]
		}
	}
}

func (m *killModel) change(p []byte, off int64) {
	for len(p) > 0 {
		versions := &m.versions[off/vhd.SectorSize]
		next := slices.Clone((*versions)[len(*versions)-1])
		n := copy(next[off%vhd.SectorSize:], p)
		*versions = append(*versions, next)
		p, off = p[n:], off+int64(n)
	}
}

// beginSync notes what a Sync that begins now makes durable: all but what has
// not returned.
func (m *killModel) beginSync() {
	c := m.changing
	for sector, versions := range m.versions {
		m.syncing[sector] = len(versions) - 1
		if off := int64(sector) * vhd.SectorSize; off < c.off+c.n && off+vhd.SectorSize > c.off {
			m.syncing[sector]--
		}
	}
}

// requireSeen fails unless every sector of content is one of its versions. As the
// kernel lost nothing, who looks next must see the same.
func (m *killModel) requireSeen(t testing.TB, content []byte, when string) {
	t.Helper()
	for sector, versions := range m.versions {
		got := content[sector*vhd.SectorSize:][:vhd.SectorSize]
		at := slices.IndexFunc(versions, func(v []byte) bool { return bytes.Equal(v, got) })
		if at < 0 {
			t.Fatalf("%s: sector %d holds neither what was durable nor a later version: %.20q…, of %d like %.20q…",
				when, sector, got, len(versions), versions[0])
		}
		m.versions[sector] = [][]byte{versions[at]}
	}
	m.changing = said{}
}

// killImage is an image that victim after victim works on.
type killImage struct {
	t          *testing.T
	program    string // of all victims; empty: one that writes
	rng        *rand.Rand
	dir        string
	blockSize  int64
	parent     string // empty: none
	parentSum  string
	model      *killModel
	version    int
	unfinished int  // times that NeedsRecovery was found
	cut        bool // its end footer was taken away, and nobody has mended that yet
}

func newKillImage(t *testing.T, seed uint64) *killImage {
	t.Helper()
	k := &killImage{t: t, rng: rand.New(rand.NewPCG(seed, 2)), dir: t.TempDir()}
	k.blockSize = []int64{32 << 10, 512, 256 << 10, 4096}[seed%4]
	content := make([]byte, killDiskSize)
	if seed%5 != 4 {
		k.parent = "base.vhd"
		k.makeParent([]vhd.DiskType{vhd.Dynamic, vhd.Fixed}[seed%2], content)
		k.parentSum = fileSum(t, k.name(k.parent))
	}
	k.model = newKillModel(content)
	return k
}

func (k *killImage) name(rel string) string { return filepath.Join(k.dir, rel) }

// makeParent makes a parent of which every third run of sectors is stamped.
func (k *killImage) makeParent(diskType vhd.DiskType, content []byte) {
	k.t.Helper()
	const run = 100 << 10
	d, err := vhd.Create(k.name(k.parent), vhd.CreateOptions{Type: diskType, Size: killDiskSize, BlockSize: 16 << 10})
	require.NoError(k.t, err)
	for off := int64(0); off < killDiskSize; off += 3 * run {
		p := said{what: saysWriting, off: off, n: min(run, killDiskSize-off)}.data()
		copy(content[off:], p)
		_, err := d.WriteAt(p, off)
		require.NoError(k.t, err)
	}
	require.NoError(k.t, d.Close())
}

func (k *killImage) exists() bool {
	_, err := os.Lstat(k.name("leaf.vhd"))
	return err == nil
}

// aim is when a victim is killed: so many words behind one of a kind.
type aim struct {
	at            string // empty: whatever it says
	skip, further int    // of the kind, and of all
}

// aim aims at all that a victim does. What a call does within is told by some.
func (k *killImage) aim(touching bool) aim {
	within := 0
	if touching {
		within = k.rng.IntN(8)
	}
	if !k.exists() {
		return aim{saysCreating, 0, within}
	}
	ats := []string{"", saysOpening, saysWriting, saysZeroing, saysSyncing, saysClosing}
	if k.program == "compact" {
		ats, within = []string{"", saysClosing, saysCompacting, saysCompacting, saysCompacting, saysCompacting, saysCompacting}, 2*within
	}
	switch at := ats[k.rng.IntN(len(ats))]; at {
	case "":
		return aim{at, k.rng.IntN(40), 0}
	case saysOpening, saysClosing:
		return aim{at, 0, within}
	default:
		return aim{at, k.rng.IntN(3), within}
	}
}

// hits says whether it is time, now that the victim said what it said.
func (a *aim) hits(what string) bool {
	switch {
	case a.skip > 0 && (a.at == "" || a.at == what):
		a.skip--
	case a.skip == 0 && (a.at == "" || a.at == what):
		a.at, a.skip = "", -1
		return a.further == 0
	case a.skip < 0:
		a.further--
		return a.further == 0
	}
	return false
}

// drawProgram is what the next victim does: what the image is for, or any of the others.
func (k *killImage) drawProgram() string {
	if k.program != "" {
		return k.program
	}
	return killPrograms[k.rng.IntN(2)].name
}

// round lets a victim work, and kills it. It says whether the victim died of that,
// and in what.
func (k *killImage) round() (killed bool, phase string) {
	k.t.Helper()
	orders := victimOrders{
		Program: k.drawProgram(), Dir: k.dir, Seed: k.rng.Uint64(), Version: k.version,
		Create: !k.exists(), Parent: k.parent, BlockSize: k.blockSize, Touching: k.rng.IntN(2) == 0,
	}
	k.version += 1000
	k.model.phase = ""
	a := k.aim(orders.Touching)
	if a.at == saysOpening && k.rng.IntN(2) == 0 {
		k.cutFooter()
	}
	killed = k.hunt(orders, a)
	k.requirePromise(fmt.Sprintf("%+v, last heard of %s", orders, k.model.phase))
	return killed, k.model.phase
}

// hunt runs a victim until it is killed, or ends.
func (k *killImage) hunt(orders victimOrders, a aim) (killed bool) {
	k.t.Helper()
	raw, err := json.Marshal(orders)
	require.NoError(k.t, err)
	cmd := again(k.t, "TestKillVictim", "VHD_TEST_VICTIM="+string(raw))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	heard, pipe, err := os.Pipe()
	require.NoError(k.t, err)
	defer heard.Close()
	cmd.ExtraFiles = []*os.File{pipe}
	require.NoError(k.t, cmd.Start())
	require.NoError(k.t, pipe.Close())
	// What it said until it died is still in the pipe then.
	for lines := bufio.NewScanner(heard); lines.Scan(); {
		s, err := parseSaid(lines.Text())
		require.NoError(k.t, err)
		if a.hits(s.what) {
			require.NoError(k.t, cmd.Process.Kill())
		}
		k.model.hear(s)
	}
	return wasKilled(k.t, cmd.Wait(), &out)
}

// wasKilled says whether a process died of SIGKILL. Otherwise all must have gone
// well.
func wasKilled(t testing.TB, err error, out fmt.Stringer) bool {
	t.Helper()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if status := exit.Sys().(syscall.WaitStatus); status.Signaled() && status.Signal() == syscall.SIGKILL {
			return true
		}
	}
	require.NoError(t, err, "the victim: %s", out)
	return false
}

// requirePromise looks at what a victim left.
func (k *killImage) requirePromise(when string) {
	k.t.Helper()
	if !k.exists() {
		require.False(k.t, k.model.made, "%s: the image is gone", when)
		return
	}
	k.model.made = true
	k.requireReadable(when)
	if k.rng.IntN(2) == 0 { // otherwise the next victim mends it
		k.requireWritable(when)
	}
	if k.parent != "" {
		require.Equal(k.t, k.parentSum, fileSum(k.t, k.name(k.parent)), "%s: P3: the parent changed", when)
	}
}

// requireReadable fails unless the image opens read-only, unchanged.
func (k *killImage) requireReadable(when string) {
	k.t.Helper()
	before, err := os.ReadFile(k.name("leaf.vhd"))
	require.NoError(k.t, err)
	d, err := vhd.Open(k.name("leaf.vhd"), nil)
	require.NoError(k.t, err, "%s: P3: read-only", when)
	k.model.requireSeen(k.t, readAll(k.t, d, killDiskSize), when+": read-only")
	if d.Chain()[0].NeedsRecovery() {
		require.True(k.t, k.cut, "%s: the end footer is not there", when)
		k.unfinished++
	} else {
		k.cut = false
	}
	require.NoError(k.t, d.Close())
	after, err := os.ReadFile(k.name("leaf.vhd"))
	require.NoError(k.t, err)
	require.True(k.t, bytes.Equal(before, after), "%s: P3: opening read-only changed the file", when)
}

// requireWritable fails unless the image opens for writing, and reads the same.
func (k *killImage) requireWritable(when string) {
	k.t.Helper()
	d, err := vhd.Open(k.name("leaf.vhd"), &vhd.Options{Writable: true})
	require.NoError(k.t, err, "%s: P3: writable", when)
	require.False(k.t, d.Chain()[0].NeedsRecovery(), when)
	k.model.requireSeen(k.t, readAll(k.t, d, killDiskSize), when+": recovered")
	require.NoError(k.t, d.Close())
}

// cutFooter takes the end footer away, as a loss of power may: who opens the
// image next has something to mend, and is killed over it.
func (k *killImage) cutFooter() {
	k.t.Helper()
	raw, err := os.ReadFile(k.name("leaf.vhd"))
	require.NoError(k.t, err)
	if !bytes.Equal(raw[:vhd.SectorSize], raw[len(raw)-vhd.SectorSize:]) {
		return // the last one died of that
	}
	k.cut = true
	require.NoError(k.t, os.Truncate(k.name("leaf.vhd"), int64(len(raw)-vhd.SectorSize)))
}

// requireOthersRead compares with what another program reads.
func (k *killImage) requireOthersRead(t *testing.T) {
	t.Helper()
	vhdtest.SevenZip.Need(t)
	d, err := vhd.Open(k.name("leaf.vhd"), nil)
	require.NoError(t, err)
	defer d.Close()
	require.False(t, d.Chain()[0].NeedsRecovery())
	requireSameBytes(t, readAll(t, d, killDiskSize), vhdtest.SevenZip.Content(t, k.name("leaf.vhd")), 0)
}

func TestAKilledWriterLeavesWhatIsPromised(t *testing.T) {
	killVictims(t, "", func(c killTally) int { return c.inTheMiddle })
}

func TestAKilledCompactionLeavesWhatIsPromised(t *testing.T) {
	killVictims(t, "compact", func(c killTally) int { return c.phases[saysCompacting] })
}

// killVictims kills victims with a program, or those that write, until enough of
// the kills count.
func killVictims(t *testing.T, program string, counts func(killTally) int) {
	t.Helper()
	needAgain(t)
	var tally killTally
	kills := wanted(t, "VHD_KILLS", 200, killsPerImage)
	for seed := uint64(0); counts(tally) < kills; seed++ {
		require.LessOrEqual(t, seed, uint64(kills), "victims are not killed: %v", tally)
		require.True(t, t.Run(fmt.Sprintf("image %d", seed), func(t *testing.T) {
			k := newKillImage(t, seed)
			k.program = program
			for range killsPerImage {
				tally.add(k.round())
			}
			k.requireGoesOn()
			tally.unfinished += k.unfinished
			t.Run("7-Zip reads the same", k.requireOthersRead)
		}))
	}
	t.Log(tally)
}

// killTally is what became of victims.
type killTally struct {
	kills, inTheMiddle, survivors int
	phases                        map[string]int // of those killed: what was last heard of them
	unfinished                    int            // images that needed recovery
}

func (c *killTally) add(killed bool, phase string) {
	if !killed {
		c.survivors++
		return
	}
	if c.phases == nil {
		c.phases = map[string]int{}
	}
	c.kills++
	c.phases[phase]++
	if phase != saysClosed {
		c.inTheMiddle++
	}
}

func (c killTally) String() string {
	return fmt.Sprintf("%d kills, %d of them in the middle, behind %s; %d were done before; %d images needed recovery",
		c.kills, c.inTheMiddle, strings.Trim(fmt.Sprint(c.phases), "map[]"), c.survivors, c.unfinished)
}

// requireGoesOn lets a last victim live, which must do all that it is to.
func (k *killImage) requireGoesOn() {
	k.t.Helper()
	orders := victimOrders{
		Program: k.drawProgram(), Dir: k.dir, Seed: k.rng.Uint64(), Version: k.version,
		Create: !k.exists(), Parent: k.parent, BlockSize: k.blockSize,
	}
	require.False(k.t, k.hunt(orders, aim{at: "never"}))
	require.Equal(k.t, saysClosed, k.model.phase)
	k.requireReadable("at the end")
}
