package vhd_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

var (
	createTime = time.Date(2021, 2, 3, 4, 5, 6, 789, time.UTC)
	createID   = uuid.MustParse("00112233-4455-6677-8899-aabbccddeeff")
)

// create makes an image in fsys, closes it, and returns its bytes.
func create(t testing.TB, fsys *vhdtest.MemFS, name string, opts vhd.CreateOptions) []byte {
	t.Helper()
	if opts.FS == nil {
		opts.FS = fsys
	}
	disk, err := vhd.Create(name, opts)
	require.NoError(t, err)
	require.Equal(t, name, disk.Chain()[0].Name())
	require.NoError(t, disk.Close())
	return mustReadFile(t, fsys, name)
}

// fromHex is what the hexadecimal digits say; blanks are for the reader.
func fromHex(t testing.TB, digits string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
	require.NoError(t, err)
	return b
}

// withChecksum puts the checksum of the specification where it belongs.
func withChecksum(structure []byte, at int) []byte {
	var sum uint32
	for _, b := range structure {
		sum += uint32(b)
	}
	binary.BigEndian.PutUint32(structure[at:], ^sum)
	return structure
}

// wantFooter is the footer of a disk of 10 MiB.
func wantFooter(t testing.TB, dataOffset, diskType string) []byte {
	t.Helper()
	footer := fromHex(t, `636f6e6563746978 00000002 00010000 `+dataOffset+` 27acdd72 67766864 00010000 5769326b
		0000000000a00000 0000000000a00000 012d 04 11 0000000`+diskType+` 00000000 00112233445566778899aabbccddeeff 00`)
	return withChecksum(append(footer, make([]byte, 427)...), 64)
}

func createOptions() vhd.CreateOptions {
	return vhd.CreateOptions{Size: 10 << 20, Time: createTime, ID: createID}
}

func TestCreateLaysADynamicDiskOutAsWindowsDoes(t *testing.T) {
	file := create(t, vhdtest.NewMemFS(), "disk.vhd", createOptions())
	footer := wantFooter(t, "0000000000000200", "3")
	header := fromHex(t, `6378737061727365 ffffffffffffffff 0000000000000600 00010000 00000005 00200000 00000000`)
	header = withChecksum(append(header, make([]byte, 1024-40)...), 36)

	require.Len(t, file, 8192)
	require.Equal(t, footer, file[:512], "the copy")
	require.Equal(t, header, file[512:1536])
	require.Equal(t, bytes.Repeat([]byte{0xFF}, 512), file[1536:2048], "the BAT and its padding")
	require.Equal(t, make([]byte, 7680-2048), file[2048:7680])
	require.Equal(t, footer, file[7680:])
}

func TestCreateLaysAFixedDiskOut(t *testing.T) {
	opts := createOptions()
	opts.Type = vhd.Fixed
	file := create(t, vhdtest.NewMemFS(), "disk.vhd", opts)
	require.Len(t, file, 10<<20+512)
	require.Equal(t, make([]byte, 10<<20), file[:10<<20])
	require.Equal(t, wantFooter(t, "ffffffffffffffff", "2"), file[10<<20:])
}

func TestCreateLaysAChildOutAsWindowsDoes(t *testing.T) {
	fsys := vhdtest.NewMemFS()
	require.NoError(t, fsys.MkdirAll("d"))
	require.NoError(t, fsys.MkdirAll("c"))
	parent := createOptions()
	parent.ID = uuid.MustParse("ffeeddcc-bbaa-9988-7766-554433221100")
	create(t, fsys, "d/ä.vhd", parent)
	require.NoError(t, fsys.Chtime("d/ä.vhd", time.Date(2021, 2, 3, 4, 5, 7, 999, time.UTC)))

	opts := createOptions()
	opts.Parent, opts.Size, opts.BlockSize, opts.Root = "d/ä.vhd", 0, 512<<10, "/"
	file := create(t, fsys, "c/child.vhd", opts)

	footer := wantFooter(t, "0000000000000200", "4")
	header := fromHex(t, `6378737061727365 ffffffffffffffff 0000000000003000 00010000 00000014 00080000 00000000
		ffeeddccbbaa99887766554433221100 27acdd73 00000000
		005c 0064 005c 00e4 002e 0076 0068 0064`) // \d\ä.vhd
	header = append(header, make([]byte, 576-len(header))...)
	header = append(header, fromHex(t, `57326b75 00001000 00000010 00000000 0000000000001000
		57327275 00001000 00000014 00000000 0000000000002000`)...)
	header = withChecksum(append(header, make([]byte, 1024-len(header))...), 36)

	require.Len(t, file, 20480)
	require.Equal(t, footer, file[:512])
	require.Equal(t, header, file[512:1536])
	absolute := fromHex(t, `5c00 6400 5c00 e400 2e00 7600 6800 6400`)
	require.Equal(t, append(absolute, make([]byte, 4096-len(absolute))...), file[4096:8192], "W2ku, and no NUL counted")
	relative := fromHex(t, `2e00 2e00 5c00 6400 5c00 e400 2e00 7600 6800 6400`) // ..\d\ä.vhd
	require.Equal(t, append(relative, make([]byte, 4096-len(relative))...), file[8192:12288], "W2ru")
	require.Equal(t, bytes.Repeat([]byte{0xFF}, 4096), file[12288:16384], "the BAT has a page")
	require.Equal(t, footer, file[20480-512:])
}

func TestRelativePathsLeadFromTheChildToItsParent(t *testing.T) {
	for _, c := range []struct{ child, parent, want string }{
		{"child.vhd", "x.vhd", `.\x.vhd`},
		{"a/child.vhd", "a/x.vhd", `.\x.vhd`},
		{"c/child.vhd", "d/x.vhd", `..\d\x.vhd`},
		{"child.vhd", "d/x.vhd", `.\d\x.vhd`},
		{"a/b/child.vhd", "x.vhd", `..\..\x.vhd`},
		{"a/b/c/child.vhd", "a/d/x.vhd", `..\..\d\x.vhd`},
		{"/a/child.vhd", "/a/../b/x.vhd", `..\b\x.vhd`},
		{"a/child.vhd", "a/a/x.vhd", `.\a\x.vhd`},
		{"ab/child.vhd", "a/x.vhd", `..\a\x.vhd`},
		{"child.vhd", "a b%20ü🙂.vhd", `.\a b%20ü🙂.vhd`},
	} {
		t.Run(c.child+" to "+c.parent, func(t *testing.T) {
			fsys := vhdtest.NewMemFS()
			for _, name := range []string{c.child, c.parent} {
				require.NoError(t, fsys.MkdirAll(filepath.ToSlash(filepath.Dir(name))))
			}
			create(t, fsys, c.parent, vhd.CreateOptions{Size: 1 << 20})
			disk, err := vhd.Create(c.child, vhd.CreateOptions{Options: vhd.Options{FS: fsys}, Parent: c.parent})
			require.NoError(t, err)
			require.Equal(t, vhd.ParentRef{Origin: "W2ru", Path: c.want}, disk.Chain()[0].ParentRefs()[0])
			require.NoError(t, disk.Close())
			disk, err = vhd.Open(c.child, &vhd.Options{FS: fsys, Root: "/"})
			require.NoError(t, err)
			require.Len(t, disk.Chain(), 2)
			require.NoError(t, disk.Close())
		})
	}
}

func TestCreateRecordsRealPathsInFull(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	t.Chdir(dir)
	disk, err := vhd.Create("base.vhd", vhd.CreateOptions{Size: 1 << 20})
	require.NoError(t, err)
	require.NoError(t, disk.Close())
	modified := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	require.NoError(t, os.Chtimes("base.vhd", modified, modified))

	disk, err = vhd.Create("child.vhd", vhd.CreateOptions{Parent: "base.vhd"})
	require.NoError(t, err)
	want := strings.ReplaceAll(filepath.Join(dir, "base.vhd"), "/", `\`)
	require.Equal(t, []vhd.ParentRef{{Origin: "W2ru", Path: `.\base.vhd`}, {Origin: "header", Path: want}, {Origin: "W2ku", Path: want}},
		disk.Chain()[0].ParentRefs())
	h, _ := disk.Chain()[0].Header()
	require.Equal(t, modified, h.ParentTime.UTC())
	require.NoError(t, disk.Close())
}

func TestAPathTooLongForTheHeaderIsInTheLocatorsAlone(t *testing.T) {
	fsys := vhdtest.NewMemFS()
	dir := "/" + strings.Repeat("d", 200) + "/" + strings.Repeat("e", 200)
	require.NoError(t, fsys.MkdirAll(dir))
	create(t, fsys, dir+"/base.vhd", vhd.CreateOptions{Size: 1 << 20})
	create(t, fsys, dir+"/child.vhd", vhd.CreateOptions{Parent: dir + "/base.vhd"})
	disk, err := vhd.Open(dir+"/child.vhd", &vhd.Options{FS: fsys})
	require.NoError(t, err)
	var origins []string
	for _, ref := range disk.Chain()[0].ParentRefs() {
		origins = append(origins, ref.Origin)
	}
	require.Equal(t, []string{"W2ru", "W2ku"}, origins)
	require.NoError(t, disk.Close())
}

func TestANewImageNamesTheCreatorThatIsAskedFor(t *testing.T) {
	fsys := vhdtest.NewMemFS()
	opts := createOptions()
	opts.Creator = vhd.CreatorWindows
	windows, own := create(t, fsys, "windows.vhd", opts), create(t, fsys, "own.vhd", createOptions())
	require.Equal(t, "win ", string(windows[28:32]))
	require.Equal(t, "win ", string(windows[len(windows)-512:][28:32]))
	copy(own[28:], "win ")
	withChecksum(withoutChecksum(own[:512]), 64)
	require.Equal(t, own[:512], windows[:512], "nothing else is said in another way")

	d, err := vhd.Open("own.vhd", &vhd.Options{FS: fsys, Writable: true})
	require.NoError(t, err)
	require.NoError(t, d.Snapshot("top.vhd", vhd.CreateOptions{Creator: vhd.CreatorQemu}))
	require.Equal(t, [4]byte{'q', 'e', 'm', '2'}, d.Chain()[0].Footer().CreatorApplication)
	require.NoError(t, d.Close())
}

// withoutChecksum is a footer in which that is zeros.
func withoutChecksum(footer []byte) []byte {
	clear(footer[64:68])
	return footer
}

func TestCreateFillsInWhatIsNotSaid(t *testing.T) {
	fsys := vhdtest.NewMemFS()
	before := time.Now().Add(-2 * time.Second)
	base, err := vhd.Create("base.vhd", vhd.CreateOptions{Options: vhd.Options{FS: fsys}, Size: 3<<20 + 512})
	require.NoError(t, err)
	footer := base.Chain()[0].Footer()
	require.Equal(t, vhd.Dynamic, footer.Type)
	require.NotEqual(t, uuid.UUID{}, footer.ID)
	require.True(t, footer.Time.After(before) && !footer.Time.After(time.Now()), "%v", footer.Time)
	require.NoError(t, base.Close())
	child, err := vhd.Create("child.vhd", vhd.CreateOptions{Options: vhd.Options{FS: fsys}, Parent: "base.vhd"})
	require.NoError(t, err)
	require.EqualValues(t, 3<<20+512, child.Size())
	require.Equal(t, vhd.Differencing, child.Chain()[0].Footer().Type)
	require.NotEqual(t, footer.ID, child.Chain()[0].Footer().ID)
	h, ok := child.Chain()[0].Header()
	require.True(t, ok)
	require.EqualValues(t, 2<<20, h.BlockSize)
	require.EqualValues(t, 2, h.MaxTableEntries)
	require.NoError(t, child.Close())
}

func TestCreateRefusesWhatCanNotBe(t *testing.T) {
	fsys := vhdtest.NewMemFS()
	create(t, fsys, "parent.vhd", vhd.CreateOptions{Size: 1 << 20})
	require.NoError(t, fsys.WriteFile("a:b.vhd", mustReadFile(t, fsys, "parent.vhd")))
	require.NoError(t, fsys.WriteFile("text.vhd", bytes.Repeat([]byte("text"), 1000)))
	for name, c := range map[string]struct {
		opts vhd.CreateOptions
		want error
	}{
		"no size":                    {vhd.CreateOptions{}, fs.ErrInvalid},
		"a negative size":            {vhd.CreateOptions{Size: -512}, fs.ErrInvalid},
		"half sectors":               {vhd.CreateOptions{Size: 1000}, fs.ErrInvalid},
		"more than 2040 GiB":         {vhd.CreateOptions{Size: 2040<<30 + 512}, vhd.ErrUnsupported},
		"fixed, past int64":          {vhd.CreateOptions{Size: 1<<63 - 512, Type: vhd.Fixed}, vhd.ErrUnsupported},
		"blocks of 3 MiB":            {vhd.CreateOptions{Size: 1 << 20, BlockSize: 3 << 20}, fs.ErrInvalid},
		"blocks of 256":              {vhd.CreateOptions{Size: 1 << 20, BlockSize: 256}, fs.ErrInvalid},
		"blocks of 512 MiB":          {vhd.CreateOptions{Size: 1 << 20, BlockSize: 512 << 20}, fs.ErrInvalid},
		"negative blocks":            {vhd.CreateOptions{Size: 1 << 20, BlockSize: -512}, fs.ErrInvalid},
		"a creator of three bytes":   {vhd.CreateOptions{Size: 1 << 20, Creator: "win"}, fs.ErrInvalid},
		"a creator of five bytes":    {vhd.CreateOptions{Size: 1 << 20, Creator: "win 8"}, fs.ErrInvalid},
		"an unknown type":            {vhd.CreateOptions{Size: 1 << 20, Type: 7}, fs.ErrInvalid},
		"a child without a parent":   {vhd.CreateOptions{Size: 1 << 20, Type: vhd.Differencing}, fs.ErrInvalid},
		"a dynamic disk with one":    {vhd.CreateOptions{Size: 1 << 20, Type: vhd.Dynamic, Parent: "parent.vhd"}, fs.ErrInvalid},
		"a parent that isn't there":  {vhd.CreateOptions{Parent: "missing.vhd"}, fs.ErrNotExist},
		"a parent that is no VHD":    {vhd.CreateOptions{Parent: "text.vhd"}, vhd.ErrFormat},
		"a parent outside the root":  {vhd.CreateOptions{Options: vhd.Options{Root: "/d"}, Parent: "parent.vhd"}, vhd.ErrOutsideRoot},
		"a chain too deep":           {vhd.CreateOptions{Options: vhd.Options{MaxDepth: 1}, Parent: "parent.vhd"}, vhd.ErrChainTooDeep},
		"a name Windows can't store": {vhd.CreateOptions{Parent: "a:b.vhd"}, vhd.ErrUnsupported},
		"a time before 2000":         {vhd.CreateOptions{Size: 1 << 20, Time: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)}, vhd.ErrUnsupported},
		"a time after 2136":          {vhd.CreateOptions{Size: 1 << 20, Time: time.Date(2140, 1, 1, 0, 0, 0, 0, time.UTC)}, vhd.ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			c.opts.FS = fsys
			disk, err := vhd.Create("new.vhd", c.opts)
			require.ErrorIs(t, err, c.want)
			require.Nil(t, disk)
			require.Contains(t, err.Error(), "vhd: ")
			require.Equal(t, []string{"a:b.vhd", "parent.vhd", "text.vhd"}, namesIn(t, fsys, "/"))
		})
	}
}

func namesIn(t testing.TB, fsys vhd.FS, dir string) []string {
	t.Helper()
	entries, err := fsys.ReadDir(dir)
	require.NoError(t, err)
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestCreateLeavesAloneWhatHasTheName(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, os.WriteFile(at("file"), []byte("precious"), 0o600))
	require.NoError(t, os.Mkdir(at("dir"), 0o700))
	if err := os.Symlink("nowhere", at("broken link")); err != nil {
		t.Logf("without a symbolic link: %v", err)
	}
	for _, name := range namesIn(t, osDir{}, dir) {
		_, err := vhd.Create(at(name), vhd.CreateOptions{Size: 1 << 20})
		require.ErrorIs(t, err, fs.ErrExist, name)
	}
	got, err := os.ReadFile(at("file"))
	require.NoError(t, err)
	require.Equal(t, "precious", string(got))
	require.Subset(t, []string{"broken link", "dir", "file"}, namesIn(t, osDir{}, dir))
}

// osDir reads directories of the operating system.
type osDir struct{ vhd.FS }

func (osDir) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

func TestAChildThatHasItsParentsNameIsRefused(t *testing.T) {
	fsys := vhdtest.NewMemFS()
	before := create(t, fsys, "disk.vhd", vhd.CreateOptions{Size: 1 << 20})
	_, err := vhd.Create("disk.vhd", vhd.CreateOptions{Options: vhd.Options{FS: fsys}, Parent: "disk.vhd"})
	require.ErrorIs(t, err, fs.ErrExist)
	require.Equal(t, before, mustReadFile(t, fsys, "disk.vhd"))
}

func TestCreateThatFailsAnywhereLeavesAWholeImageOrNothing(t *testing.T) {
	for _, c := range []struct {
		name    string
		link    bool
		forever bool
		opts    vhd.CreateOptions
	}{
		{"with Link, once", true, false, vhd.CreateOptions{Size: 10 << 20}},
		{"with Link, for good", true, true, vhd.CreateOptions{Size: 10 << 20}},
		{"without Link, once", false, false, vhd.CreateOptions{Size: 10 << 20}},
		{"without Link, for good", false, true, vhd.CreateOptions{Size: 10 << 20}},
		{"child, once", true, false, vhd.CreateOptions{Parent: "parent.vhd"}},
		{"child without Link, once", false, false, vhd.CreateOptions{Parent: "parent.vhd"}},
		{"fixed, once", true, false, vhd.CreateOptions{Size: 1 << 20, Type: vhd.Fixed}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for at := 1; ; at++ {
				fsys := vhdtest.NewMemFS()
				create(t, fsys, "parent.vhd", vhd.CreateOptions{Size: 1 << 20})
				faults := vhdtest.NewFaultFS(fsys)
				c.opts.FS = faults
				if c.link {
					faults = vhdtest.NewFaultFS(fsys.Linking())
					c.opts.FS = faults.Linking()
				}
				faults.Arm(vhdtest.Fault{At: at, All: true, Forever: c.forever, Short: at%2 == 0})
				disk, err := vhd.Create("new.vhd", c.opts)
				faults.Disarm()
				if err == nil {
					require.NoError(t, disk.Close())
				} else {
					require.Nil(t, disk)
					require.ErrorIs(t, err, syscall.EIO)
				}
				requireWholeOrNothing(t, fsys, err != nil, c.forever, at)
				if faults.Fired() == 0 {
					require.NoError(t, err)
					require.Greater(t, at, 6)
					return
				}
			}
		})
	}
}

// requireWholeOrNothing looks at what a Create of new.vhd left.
func requireWholeOrNothing(t testing.TB, fsys *vhdtest.MemFS, failed, forever bool, at int) {
	t.Helper()
	names := namesIn(t, fsys, "/")
	_, err := fsys.Stat("new.vhd")
	isThere := err == nil
	if !forever {
		require.Equal(t, !failed, isThere, "call %d failed, Create failed: %v", at, failed)
		require.Subset(t, []string{"new.vhd", "parent.vhd"}, names, "call %d failed", at)
	}
	if isThere {
		disk, err := vhd.Open("new.vhd", &vhd.Options{FS: fsys, Writable: true})
		require.NoError(t, err, "call %d failed", at)
		requireSameBytes(t, make([]byte, disk.Size()), readAll(t, disk, disk.Size()), 0)
		require.NoError(t, disk.Close())
	}
}

func TestCreateNeverReplacesAFileThatCameMeanwhile(t *testing.T) {
	for _, linking := range []bool{true, false} {
		mem := vhdtest.NewMemFS()
		rec := vhdtest.NewRecordFS(mem.Linking())
		rec.Forbid = func(op vhdtest.Op) error {
			if op.Kind == vhdtest.OpSync { // the image is written, and about to get its name
				return mem.WriteFile("new.vhd", []byte("another's"))
			}
			return nil
		}
		var fsys vhd.FS = rec
		if linking {
			fsys = rec.Linking()
		}
		_, err := vhd.Create("new.vhd", vhd.CreateOptions{Options: vhd.Options{FS: fsys}, Size: 1 << 20})
		require.ErrorIs(t, err, fs.ErrExist)
		require.Equal(t, "another's", string(mustReadFile(t, mem, "new.vhd")))
		require.Equal(t, []string{"new.vhd"}, namesIn(t, mem, "/"))
	}
}

func TestCreateMakesAllDurableBeforeItGivesTheName(t *testing.T) {
	mem := vhdtest.NewMemFS()
	rec := vhdtest.NewRecordFS(mem.Linking())
	disk, err := vhd.Create("d.vhd", vhd.CreateOptions{Options: vhd.Options{FS: rec.Linking()}, Size: 1 << 20})
	require.NoError(t, err)
	var kinds []string
	for _, op := range rec.Ops() {
		if op.Mutates() && (len(kinds) == 0 || kinds[len(kinds)-1] != op.Kind.String()) {
			kinds = append(kinds, op.Kind.String())
		}
	}
	require.Equal(t, "sync link remove syncdir", strings.Join(kinds[len(kinds)-4:], " "))
	require.NoError(t, disk.Close())
}

// Windows 8 and later keep data at multiples of 4 KiB and the footer in front
// of one.
func TestDataAndFooterAreAlignedToPages(t *testing.T) {
	for _, block := range []int64{4096, 64 << 10, 512 << 10, 2 << 20, 16 << 20, 32 << 20} {
		for _, child := range []bool{false, true} {
			t.Run(fmt.Sprintf("blocks of %d, child %v", block, child), func(t *testing.T) {
				opts := vhd.CreateOptions{Size: 3*block - 512, BlockSize: block}
				r := newRig(t, opts)
				if child {
					require.NoError(t, r.disk.Close())
					require.NoError(t, r.mem.Rename(rigName, "parent.vhd"))
					opts.Parent = "parent.vhd"
					r = createRig(t, r.mem, r.rec, opts)
				}
				for i := int64(2); i >= 0; i-- {
					r.write(t, []byte{1}, i*block)
				}
				for i := range int64(3) {
					require.Zero(t, r.fileOff(t, i*block)%4096)
				}
				require.NoError(t, r.disk.Close())
				info, err := r.mem.Stat(rigName)
				require.NoError(t, err)
				require.Zero(t, info.Size()%4096)
				require.LessOrEqual(t, info.Size(), 3*(block+8192)+32768, "no slack is left")
			})
		}
	}
}

func TestALargeDiskIsMadeSmall(t *testing.T) {
	fsys := vhdtest.NewMemFS()
	disk, err := vhd.Create("large.vhd", vhd.CreateOptions{Options: vhd.Options{FS: fsys}, Size: 2040 << 30})
	require.NoError(t, err)
	_, err = disk.WriteAt([]byte("the last"), 2040<<30-8)
	require.NoError(t, err)
	require.NoError(t, disk.Close())
	info, err := fsys.Stat("large.vhd")
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(8<<20))
	disk, err = vhd.Open("large.vhd", &vhd.Options{FS: fsys})
	require.NoError(t, err)
	p := make([]byte, 16)
	_, err = disk.ReadAt(p, 2040<<30-16)
	require.NoError(t, err)
	require.Equal(t, "\x00\x00\x00\x00\x00\x00\x00\x00the last", string(p))
	require.NoError(t, disk.Close())
}

// Where the file system can tell that there is too little room, nothing is begun.
func TestAnImageThatFindsNoRoomIsNotBegun(t *testing.T) {
	for _, c := range []struct {
		opts vhd.CreateOptions
		need int64
	}{
		{vhd.CreateOptions{}, 8192},                               // copy, header, table; a page that ends with the footer
		{vhd.CreateOptions{BlockSize: 512}, 4096 + 64<<10 + 4096}, // 16,384 entries of the table
		{vhd.CreateOptions{Type: vhd.Fixed}, 512},                 // the data may be a hole
	} {
		mem := vhdtest.NewMemFS()
		c.opts.Size = 8 << 20
		c.opts.FS = scarceFS{mem, c.need - 1}
		_, err := vhd.Create("x.vhd", c.opts)
		require.ErrorIs(t, err, vhd.ErrNoSpace)
		require.ErrorContains(t, err, "x.vhd")
		entries, err := mem.ReadDir(".")
		require.NoError(t, err)
		require.Empty(t, entries)
		c.opts.FS = scarceFS{mem, c.need}
		disk, err := vhd.Create("x.vhd", c.opts)
		require.NoError(t, err)
		require.NoError(t, disk.Close())
		c.opts.FS = scarceFS{mem, 0}
		_, err = vhd.Create("x.vhd", c.opts)
		require.ErrorIs(t, err, fs.ErrExist, "%v", c.opts.Type)
	}
}
