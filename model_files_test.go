package vhd_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"path"
	"path/filepath"
	"slices"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-vhd/vhd"
)

// offline does something to the files of the disk, which is closed meanwhile.
func (c *chainMachine) offline(t *rapid.T, do func()) {
	t.Helper()
	c.close(t)
	c.freeze(t)
	do()
	c.checkFiles(t, closed)
	c.open(t)
	c.readAll(t)
}

// drawImage draws an image of the chain by its place in it, the base first.
func (c *chainMachine) drawImage(t *rapid.T) int {
	return rapid.IntRange(0, len(c.images)-1).Draw(t, "image")
}

func (c *chainMachine) drawNewName(t *rapid.T) string {
	return c.nextNameIn(rapid.SampledFrom(c.folders()).Draw(t, "folder"))
}

// requireUnchanged makes sure that no image is changed but those.
func (c *chainMachine) requireUnchanged(t *rapid.T, but ...*modelImage) {
	t.Helper()
	for _, image := range c.images {
		if !slices.Contains(but, image) {
			require.Equal(t, image.sum, c.sum(t, image.name), "%s changed", image.name)
		}
	}
}

// refersAnew notes that an image's reference was changed, which may be in another place now.
func (c *chainMachine) refersAnew(t *rapid.T, image *modelImage) {
	t.Helper()
	image.holes, image.rearranged, image.strayed, image.sum = true, true, false, c.sum(t, image.name)
}

// rename gives an image another name, maybe in another folder: its child refers to that, and nothing else changes.
func (c *chainMachine) rename(t *rapid.T) {
	c.offline(t, func() {
		at := c.drawImage(t)
		image, changed := c.images[at], []*modelImage(nil)
		name := c.drawNewName(t)
		t.Logf("rename %s to %s", image.name, name)
		children, err := vhd.Rename(t.Context(), image.name, name, vhd.RenameOptions{Options: c.searching()})
		require.NoError(t, err)
		_, err = c.files.read(image.name)
		require.Error(t, err)
		if at > 0 && path.Dir(name) != path.Dir(image.name) {
			changed = append(changed, image)
		}
		image.name = name
		for i, other := range c.images { // there may be other children, in the chain no more
			require.Equal(t, i == at+1, slices.Contains(children, other.name), "%v", children)
		}
		if at+1 < len(c.images) {
			changed = append(changed, c.images[at+1])
		}
		c.requireUnchanged(t, changed...)
		for _, image := range changed {
			c.refersAnew(t, image)
		}
	})
}

// searching are options to find images in all folders.
func (c *chainMachine) searching() vhd.Options {
	opts := c.opts
	opts.Search = c.folders()
	return opts
}

// move gives images other names and folders without a word to their children, and has these find them again.
func (c *chainMachine) move(t *rapid.T) {
	c.offline(t, func() {
		var moved, lost []*modelImage
		for i, image := range c.images {
			if rapid.Bool().Draw(t, "moves") {
				c.moveOne(t, image)
				moved = append(moved, image)
			}
			if i > 0 && slices.Contains(moved, c.images[i-1]) {
				lost = append(lost, image)
			}
		}
		opts := vhd.RebaseTreeOptions{Options: c.opts}
		for _, dry := range []bool{true, false} {
			opts.DryRun = dry
			require.ElementsMatch(t, c.withParents(lost), c.rebaseTree(t, opts))
			if dry {
				c.requireUnchanged(t)
			}
		}
		c.requireUnchanged(t, lost...)
		for _, image := range lost {
			c.refersAnew(t, image)
		}
		require.Empty(t, c.rebaseTree(t, opts), "what is found is left alone")
	})
}

func (c *chainMachine) moveOne(t *rapid.T, image *modelImage) {
	t.Helper()
	name := c.drawNewName(t)
	t.Logf("move %s to %s", image.name, name)
	require.NoError(t, c.files.rename(image.name, name))
	image.strayed = image.strayed || path.Dir(name) != path.Dir(image.name)
	image.name = name
}

// withParents are what is to become of images that lost their parents.
func (c *chainMachine) withParents(lost []*modelImage) []vhd.Rebased {
	var want []vhd.Rebased
	for i, image := range c.images {
		if slices.Contains(lost, image) {
			want = append(want, vhd.Rebased{Name: image.name, Parent: c.images[i-1].name})
		}
	}
	return want
}

// rebaseTree returns what became of the images of the chain. Others are in it no more, and may have lost their parents
// for good.
func (c *chainMachine) rebaseTree(t *rapid.T, opts vhd.RebaseTreeOptions) []vhd.Rebased {
	t.Helper()
	found, err := vhd.RebaseTree(t.Context(), c.opts.Root, opts)
	require.NoError(t, err)
	return slices.DeleteFunc(found, func(r vhd.Rebased) bool {
		return !slices.ContainsFunc(c.images, func(i *modelImage) bool { return i.name == filepath.ToSlash(r.Name) })
	})
}

// modelDamage is what happens to a sound image without harm to anything that it reads as.
type modelDamage struct {
	code string // what is found then
	// hit is the image with the damage; nil if that can't be.
	hit func(t *rapid.T, sound []byte, image *modelImage) []byte
}

var modelDamages = []modelDamage{
	{"", func(_ *rapid.T, sound []byte, _ *modelImage) []byte { return sound }},
	{"copy-lost", withBlocks(func(_ *rapid.T, file []byte) []byte { clear(file[:512]); return file })},
	{"copy-checksum", withBlocks(func(_ *rapid.T, file []byte) []byte { file[67]++; return file })},
	{"footers-differ", withBlocks(olderCopy)},
	{"footer-lost", withBlocks(func(_ *rapid.T, file []byte) []byte { clear(file[len(file)-512:]); return file })},
	{"footer-lost", withBlocks(func(_ *rapid.T, file []byte) []byte { return file[:len(file)-512] })},
	{"footer-checksum", withBlocks(func(_ *rapid.T, file []byte) []byte { file[len(file)-512+67]++; return file })},
	{"footer-511", func(_ *rapid.T, sound []byte, _ *modelImage) []byte { return sound[:len(sound)-1] }},
	{"trailing-bytes", withBlocks(appendJunk)}, // of a fixed disk nobody knows where it ends
	{"slack", junkInFrontOfFooter},
	{"block-cut", withBlocks(cutLastBlock)},
}

// withBlocks is a damage of images that are not fixed, to a copy.
func withBlocks(hit func(t *rapid.T, file []byte) []byte) func(*rapid.T, []byte, *modelImage) []byte {
	return func(t *rapid.T, sound []byte, image *modelImage) []byte {
		if image.diskType == vhd.Fixed {
			return nil
		}
		return hit(t, bytes.Clone(sound))
	}
}

// olderCopy gives the copy another time, and the checksum that goes with it.
func olderCopy(_ *rapid.T, file []byte) []byte {
	sum := binary.BigEndian.Uint32(file[64:])
	sum += uint32(file[27])
	file[27] ^= 1
	binary.BigEndian.PutUint32(file[64:], sum-uint32(file[27]))
	return file
}

func appendJunk(t *rapid.T, file []byte) []byte {
	n := rapid.IntRange(1, 3000).Draw(t, "bytes of junk")
	return append(file, pattern(77, int64(n))...)
}

// junkInFrontOfFooter leaves a gap in which a block and its bitmap fit, wherever they have to begin.
func junkInFrontOfFooter(_ *rapid.T, sound []byte, image *modelImage) []byte {
	if image.diskType == vhd.Fixed || image.blockSize > 1<<20 { // large, and slow
		return nil
	}
	at := len(sound) - 512
	return slices.Concat(sound[:at], pattern(78, image.blockSize*2+16<<10), sound[at:])
}

// cutLastBlock leaves out zeros at the end of the last block, if the file ends with one.
func cutLastBlock(t *rapid.T, file []byte) []byte {
	end := len(file) - 512
	table, blockSize := blockTable(file)
	last := -1
	for i := 0; i < len(table); i += 4 {
		if entry := binary.BigEndian.Uint32(table[i:]); entry != 1<<32-1 {
			last = max(last, int(entry)*512)
		}
	}
	bitmap := (blockSize/512/8 + 511) / 512 * 512
	if last+bitmap+blockSize != end {
		return nil
	}
	data := file[last+bitmap : end]
	most := (len(data) - len(bytes.TrimRight(data, "\x00"))) / 512
	if most == 0 {
		return nil
	}
	n := rapid.IntRange(1, most).Draw(t, "sectors that are cut off") * 512
	return slices.Concat(file[:end-n], file[end:])
}

// blockTable are the BAT's bytes, and the size of blocks.
func blockTable(file []byte) (table []byte, blockSize int) {
	header := file[binary.BigEndian.Uint64(file[16:]):]
	off, n := binary.BigEndian.Uint64(header[16:]), binary.BigEndian.Uint32(header[28:])
	return file[off:][:n*4], int(binary.BigEndian.Uint32(header[32:]))
}

// repair damages an image, repairs it, and maybe takes that back: what is sound is left alone, what is not becomes sound
// and reads the same, and an undo leaves what there was.
func (c *chainMachine) repair(t *rapid.T) {
	c.offline(t, func() {
		image := c.images[c.drawImage(t)]
		sound, err := c.files.read(image.name)
		require.NoError(t, err)
		d := rapid.SampledFrom(modelDamages).Draw(t, "damage")
		damaged := d.hit(t, sound, image)
		t.Logf("%s: %q", image.name, d.code)
		if damaged == nil || d.code == "" { // not of such an image, or none
			c.requireRepair(t, image, "", sound)
			return
		}
		require.NoError(t, c.files.write(image.name, damaged))
		c.requireRepair(t, image, d.code, damaged)
		mended, err := c.files.read(image.name)
		require.NoError(t, err)
		requireAsSound(t, image, sound, mended)
		image.sum = sha256.Sum256(mended)
		c.readOnly(t)
	})
}

// requireAsSound makes sure that a mended image is the sound one, but for space at its end that was given back.
func requireAsSound(t *rapid.T, image *modelImage, sound, mended []byte) {
	t.Helper()
	end := len(mended) - 512
	if lost := int64(len(sound) - len(mended)); lost > 0 && lost < image.blockSize+8192 {
		sound = slices.Concat(sound[:end], sound[len(sound)-512:])
	}
	requireSameBytes(t, sound, mended, 0)
}

// requireRepair repairs an image whose file is given, takes that back, and repairs it again.
func (c *chainMachine) requireRepair(t *rapid.T, image *modelImage, code string, file []byte) {
	t.Helper()
	opts := vhd.RepairOptions{Options: c.opts, DryRun: true}
	c.repairOnce(t, image, code, opts)
	c.requireFile(t, image, file)
	opts.DryRun = false
	for _, undone := range []bool{true, false} {
		undo := c.repairOnce(t, image, code, opts)
		c.repairOnce(t, image, "", opts)
		if undo == "" {
			require.Empty(t, code)
			c.requireFile(t, image, file)
			return
		}
		if undone {
			undoOpts := opts
			undoOpts.Undo = undo
			require.NoError(t, vhd.UndoRepair(t.Context(), image.name, undoOpts))
			c.requireFile(t, image, file)
		}
		require.NoError(t, c.files.remove(undo))
	}
}

func (c *chainMachine) requireFile(t *rapid.T, image *modelImage, want []byte) {
	t.Helper()
	got, err := c.files.read(image.name)
	require.NoError(t, err)
	requireSameBytes(t, want, got, 0)
}

// repairOnce repairs an image once and returns the name of the undo file. Nothing but code is mended, if that is not
// empty.
func (c *chainMachine) repairOnce(t *rapid.T, image *modelImage, code string, opts vhd.RepairOptions) (undo string) {
	t.Helper()
	report, err := vhd.Repair(t.Context(), image.name, opts)
	require.NoError(t, err)
	if code == "" {
		require.Empty(t, report.Steps)
		require.Empty(t, report.Undo)
		return ""
	}
	codes := stepCodes(report)
	require.Contains(t, codes, code)
	require.Subset(t, []string{code, "slack"}, codes) // there may be space for a block in what is behind a footer
	require.Equal(t, opts.DryRun, report.Undo == "")
	for _, f := range report.Findings {
		require.Contains(t, image.mayHave(false), f.Code, "%+v", f)
	}
	return report.Undo
}

// readOnly reads the disk without changing any file.
func (c *chainMachine) readOnly(t *rapid.T) {
	t.Helper()
	opts := c.opts
	opts.Writable = false
	disk, err := vhd.Open(c.leaf().name, &opts)
	require.NoError(t, err)
	requireDiskReads(t, disk, c.model.Content())
	require.NoError(t, disk.Close())
	c.requireUnchanged(t)
}
