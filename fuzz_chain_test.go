package vhd_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/go-vhd/vhd"
	"github.com/go-vhd/vhd/internal/vhdtest"
)

// FuzzChain opens chains that a script makes: how many images, of which sizes and blocks, what is in them, how each says
// who its parent is, and what is broken afterwards. Where nothing is, the chain must open and read as its builder says.
func FuzzChain(f *testing.F) {
	for _, script := range chainScripts() {
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		c := newFuzzChain(t, vhdtest.NewScript(script))
		s := c.subject(t)
		views, err := s.requireHarmlessReads(t)
		require.NotErrorIs(t, err, vhd.ErrChainTooDeep, "so few files can only be a loop")
		assembled := c.requireAssembled(t)
		if c.sound {
			require.NoError(t, err)
			require.Len(t, views, 1)
			requireSameBytes(t, c.Content(t), views[0].data, 0)
			requireSameViews(t, views, assembled)
		}
		s.requireHarmlessWrites(t, views, err)
	})
}

// chainScripts are scripts of chains: of one image, of many, of all forms, sound ones and others.
func chainScripts() [][]byte {
	scripts := [][]byte{{}, {3}, {1, 1, 1, 1, 1}}
	for kind := range byte(24) {
		script := []byte{kind % 6}
		for i := range byte(60) {
			script = append(script, i*kind%97, kind, i%(kind+1))
		}
		scripts = append(scripts, script)
	}
	return scripts
}

// fuzzChain is a chain that a script made.
type fuzzChain struct {
	vhdtest.Chain
	*vhdtest.Script

	files [][]byte // leaf first, as the images
	sound bool     // nothing about it is wrong
}

const maxFuzzLayers = 7

func newFuzzChain(t testing.TB, s *vhdtest.Script) *fuzzChain {
	t.Helper()
	c := &fuzzChain{Script: s, sound: true}
	nlayers := 1 + s.UpTo(maxFuzzLayers-1)
	for depth := nlayers - 1; depth >= 0; depth-- {
		c.addLayer(fmt.Sprintf("%d.vhd", depth))
	}
	for _, img := range c.Images {
		c.files = append(c.files, img.Build(t))
	}
	for c.More() && c.OneIn(4) {
		at := c.UpTo(nlayers - 1)
		file := vhdtest.Damage(c.files[at], c.Script, 3)
		c.sound = c.sound && bytes.Equal(file, c.files[at])
		c.files[at] = file
	}
	return c
}

// addLayer puts a new leaf on the chain.
func (c *fuzzChain) addLayer(name string) {
	img := &vhdtest.Image{Type: vhdtest.Dynamic, BlockSize: 512 << c.UpTo(4), Time: uint32(len(c.Names))}
	img.Size = vhd.SectorSize * int64(1+c.UpTo(60))
	img.ID = [16]byte{1, byte(len(c.Names))}
	if len(c.Images) > 0 {
		img.Type = vhdtest.Differencing
		c.refer(img)
	}
	if len(c.Images) == 0 && c.OneIn(3) {
		img.Type, img.BlockSize, img.Data = vhdtest.Fixed, 0, fill(0x40, img.Size)
	} else {
		c.blocks(img)
		c.form(img)
	}
	c.Images = append([]*vhdtest.Image{img}, c.Images...)
	c.Names = append([]string{name}, c.Names...)
}

// blocks allocates some of an image's blocks. Without a parent, what lies under a clear bit is zeros to all readers only
// if it is zeros.
func (c *fuzzChain) blocks(img *vhdtest.Image) {
	nblocks := int((img.Size + img.BlockSize - 1) / img.BlockSize)
	spb := img.SectorsPerBlock()
	for index := range nblocks {
		b := vhdtest.Block{Index: index, Data: fill(byte(16*len(c.Names)+index), img.BlockSize)}
		switch c.UpTo(4) {
		case 0:
			continue
		case 1:
			bits := byte(c.UpTo(255))
			b.Bitmap = vhdtest.Bitmap(spb, func(sector int) bool { return bits>>(sector%8)&1 == 1 })
		case 2:
			first, n := c.UpTo(spb), c.UpTo(spb)
			b.Bitmap = vhdtest.Bitmap(spb, func(sector int) bool { return sector >= first && sector < first+n })
		case 3:
			b.Gap = int64(c.UpTo(9)) * vhd.SectorSize
		}
		img.Blocks = append(img.Blocks, b)
		if c.OneIn(5) { // not in order
			last := len(img.Blocks) - 1
			img.Blocks[0], img.Blocks[last] = img.Blocks[last], img.Blocks[0]
		}
	}
}

// form gives an image its outer form, all of which is legal.
func (c *fuzzChain) form(img *vhdtest.Image) {
	img.BATPadZero = c.Bit()
	if c.OneIn(3) {
		img.MaxEntries = (img.Size+img.BlockSize-1)/img.BlockSize + int64(c.UpTo(200))
	}
	switch c.UpTo(9) {
	case 1:
		img.HeaderOff = 8192
	case 2:
		img.Slack, img.SlackByte = int64(c.UpTo(20))*vhd.SectorSize, 0x5A
	case 3:
		img.EndAlign = 4096
	case 4:
		img.Footer = vhdtest.Footer511
	case 5:
		img.Copy = vhdtest.CopyLost
	case 6:
		img.Copy = vhdtest.CopyOther
	case 7:
		img.Footer = []vhdtest.FooterForm{vhdtest.FooterZeroed, vhdtest.FooterXen, vhdtest.FooterCut}[c.UpTo(2)]
	case 8:
		if len(img.Blocks) > 0 && img.BATOff == 0 { // else it may not be the file's last
			img.Blocks[len(img.Blocks)-1].Cut = int64(c.UpTo(img.SectorsPerBlock())) * vhd.SectorSize
		}
	}
}

// refer makes an image say who its parent is: rightly in all forms, or wrongly.
func (c *fuzzChain) refer(img *vhdtest.Image) {
	parent, name := c.Images[0], c.Names[0]
	img.ParentID, img.ParentName = parent.ID, name
	if c.Bit() {
		img.Size = parent.Size
	}
	slot, kind := c.UpTo(7), c.UpTo(19)
	if kind < 10 && c.Bit() {
		img.ParentName = `C:\gone\parent.vhd`
	}
	switch kind {
	case 0, 1, 2, 3:
		img.Locators[slot] = vhdtest.W2ru(`.\` + name)
	case 4:
		img.Locators[slot] = vhdtest.W2ku(`C:\Disks\` + name).Behind()
	case 5:
		img.Locators[slot] = vhdtest.Wi2r(name)
	case 6:
		img.Locators[slot] = vhdtest.MacX("/disks/" + name)
	case 7:
		img.LikeWindows7(`C:\Disks\`+name, `.\`+name, parent.Time)
	case 8:
		img.Locators[0], img.Locators[slot] = vhdtest.W2ru(`.\gone.vhd`), vhdtest.Wi2k(`C:\root\d\`+name)
	case 9:
		img.Locators[slot] = vhdtest.W2ru(`.\sub\..\` + name)
	case 10, 11, 12, 13: // the header's name alone
	default:
		c.sound = false
		c.referWrongly(img, slot, kind)
	}
}

func (c *fuzzChain) referWrongly(img *vhdtest.Image, slot, kind int) {
	other := fmt.Sprintf("%d.vhd", c.UpTo(maxFuzzLayers)) // itself, perhaps, or a child of its own
	switch kind {
	case 14:
		img.Locators[slot] = vhdtest.W2ru(`..\..\secret.vhd`)
	case 15:
		img.Locators[slot] = vhdtest.W2ru(`.\` + other)
	case 16:
		img.ParentName = other
	case 17:
		img.ParentID = [16]byte{1, byte(c.UpTo(maxFuzzLayers))}
	case 18:
		img.ID = img.ParentID
	case 19:
		img.ID, img.ParentID, img.ParentName = [16]byte{}, [16]byte{}, other
	}
}

// subject is the chain's files in root/d, where its leaf is opened. Outside stands what must not be found.
func (c *fuzzChain) subject(t testing.TB) subject {
	t.Helper()
	s := subject{mem: vhdtest.NewMemFS(), dir: "root/d", name: "root/d/" + c.Names[0], calls: (1 + maxFuzzLayers) * mostQuestions}
	for i, file := range c.files {
		require.NoError(t, s.mem.WriteFile("root/d/"+c.Names[i], file))
	}
	secret := vhdtest.NewFixed(512, fill(0x77, 512))
	secret.ID = [16]byte{1}
	require.NoError(t, s.mem.WriteFile("secret.vhd", secret.Build(t)))
	return s
}

// requireAssembled opens the files as OpenChain does, and says what it saw, or nothing.
func (c *fuzzChain) requireAssembled(t testing.TB) []view {
	t.Helper()
	var chain []vhd.File
	for _, file := range c.files {
		chain = append(chain, vhd.ReadOnlyFile(bytes.NewReader(file), int64(len(file))))
	}
	d, err := vhd.OpenChain(nil, chain...)
	if err != nil {
		requireRefusal(t, err)
		return nil
	}
	requireFamily(t, d, false)
	views := lookAt(t, d)
	requireSameViews(t, views, lookAt(t, d))
	var w witness
	for i, img := range d.Chain() {
		w = append(w, newWitnessLayer(img, c.files[i]))
	}
	w.requireViews(t, views)
	require.NoError(t, d.Close())
	return views
}
