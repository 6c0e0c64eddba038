package vhd_test

import (
	"crypto/sha256"
	"slices"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/go-vhd/vhd"
)

// repair has an image mended that becomes the sound one again.
func (c *chainMachine) repair(t *rapid.T) {
	c.damageAndRepair(t, modelDamages, requireAsSound)
}

// repairElsewhere has an image mended that keeps what it reads as, in other places.
func (c *chainMachine) repairElsewhere(t *rapid.T) {
	c.damageAndRepair(t, movingDamages, func(*rapid.T, *modelImage, []byte, []byte) {})
}

// damageAndRepair damages an image, repairs it, and maybe takes that back: what is sound is left alone, what is not becomes
// sound and reads the same, and an undo leaves what there was.
func (c *chainMachine) damageAndRepair(t *rapid.T, damages []modelDamage, compare func(t *rapid.T, image *modelImage, sound, mended []byte)) {
	t.Helper()
	c.offline(t, func() {
		at := c.drawImage(t)
		image := c.images[at]
		sound, err := c.files.read(image.name)
		require.NoError(t, err)
		d := rapid.SampledFrom(damages).Draw(t, "damage")
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
		compare(t, image, sound, mended)
		image.sum = sha256.Sum256(mended)
		c.readOnly(t, at)
		c.readOnly(t, len(c.images)-1)
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

// readOnly reads an image of the chain, and all below it, without changing any file.
func (c *chainMachine) readOnly(t *rapid.T, at int) {
	t.Helper()
	opts := c.opts
	opts.Writable = false
	disk, err := vhd.Open(c.images[at].name, &opts)
	require.NoError(t, err)
	requireDiskReads(t, disk, c.model.At(len(c.images)-1-at).Content())
	require.NoError(t, disk.Close())
	c.requireUnchanged(t)
}
