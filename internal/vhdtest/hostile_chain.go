package vhdtest

// plainBase is the parent of plainChild, in base.vhd.
func plainBase() *Image {
	img := NewDynamic(hostileSize, Block{Index: 2, Data: stripes(0x12, 2*mib)}, Block{Index: 0, Data: stripes(0x11, 2*mib)})
	img.Time = 12345
	return img
}

// plainChild has every other 32 KiB of its first block, and nothing else. Its bitmap is of whole bytes.
func plainChild(parent *Image, parentName string) *Image {
	return NewChild(parent, parentName, Block{
		Index: 0, Data: stripes(0x21, 2*mib), Bitmap: Bitmap(4096, func(sector int) bool { return sector/64%2 == 0 }),
	})
}

// chainOf is the images, leaf first; the names are those of the leaf's parents.
func chainOf(images []*Image, parents ...string) *Chain {
	return &Chain{Images: images, Names: append([]string{HostileLeaf}, parents...)}
}

// plainChain is what most recipes about chains damage.
func plainChain() *Chain {
	base := plainBase()
	return chainOf([]*Image{plainChild(base, "base.vhd"), base}, "base.vhd")
}

// wholeChain is a chain that is sound.
func wholeChain(t TB, c *Chain) *HostileImage {
	t.Helper()
	return &HostileImage{Files: c.Files(t), Child: true, Told: c.Names, Content: c.Content(t)}
}

// chainLike is a recipe's maker for a sound chain whose child has another form.
func chainLike(form func(child, base *Image)) func(t TB) *HostileImage {
	return func(t TB) *HostileImage {
		t.Helper()
		c := plainChain()
		form(c.Images[0], c.Images[1])
		return wholeChain(t, c)
	}
}

// referring is chainLike for a child that refers to base.vhd by the locators given alone.
func referring(locators ...Locator) func(t TB) *HostileImage {
	return chainLike(func(child, _ *Image) {
		child.ParentName, child.Locators = "", [8]Locator{}
		copy(child.Locators[:], locators)
	})
}

// orphan is a recipe's maker for a child that is alone, with the references given, and can't be opened.
func orphan(why Refusal, header string, locators ...Locator) func(t TB) *HostileImage {
	return func(t TB) *HostileImage {
		t.Helper()
		child := plainChild(plainBase(), "")
		child.ParentName, child.Locators = header, [8]Locator{}
		copy(child.Locators[:], locators)
		h := fileAlone(child.Build(t))
		h.Child, h.Refused = true, why
		return h
	}
}
