package vhd_test

import (
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
